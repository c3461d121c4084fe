"""Findings as people and machines read them: text, HTML beside the source line, JSON, SARIF 2.1.0."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from helpers.errors import shown
from helpers.files import whole
from helpers.interpret.source.source import Place
from helpers.sanitize.rules.findings import ERROR, HINT, KINDS, SEVERITIES, WARNING, Finding

COLOURS = {ERROR: "bold red", WARNING: "yellow", HINT: "cyan"}
LEVELS = {ERROR: "error", WARNING: "warning", HINT: "note"}  # SARIF's words

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def show(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print findings with their source lines, then one line that counts them."""
    console = console or Console(highlight=False, soft_wrap=True)
    for f in findings:
        for line, style in lines(f):
            console.print(Text(line, style=style))
        console.print()
    console.print(Text(summary(findings)))


def lines(f: Finding) -> list[tuple[str, str]]:
    """A finding as (line of text, style)."""
    out = [(f"{f.severity}: {f.kind}: {f.what}", COLOURS[f.severity])]
    out += [(line, "") for line in _spot(f.place, "at")]
    if f.other is not None and f.other != f.place:
        out += [(line, "") for line in _spot(f.other, f.role or "and")]
    for label, value in _details(f):
        out.append((f"  {label}: {value}", ""))
    return out


def _details(f: Finding) -> list[tuple[str, str]]:
    pairs = [("elements", f.region), ("with", f.case), ("chip", f.chip), ("proof", f.proof), ("fix", f.fix)]
    if f.count > 1:
        pairs.insert(0, ("times", f"{f.count:,}"))
    return [(label, value) for label, value in pairs if value]


def _spot(place: Place | None, label: str) -> list[str]:
    if place is None:
        return []
    code = source(place)
    return [f"  {label} {shown(place.file)}:{place.line}", *([f"    {code}"] if code else [])]


def source(place: Place) -> str:
    """The line of source at a place, without its indentation."""
    return place.code.strip()


def text(findings: Sequence[Finding]) -> str:
    """What `show` prints, plain."""
    blocks = ["\n".join(line for line, _ in lines(f)) for f in findings]
    return "\n\n".join([*blocks, summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    """ "2 errors, 1 hint" or "no findings"."""
    counts = {s: sum(f.severity == s for f in findings) for s in SEVERITIES}
    return ", ".join(f"{n} {s}{'s' * (n > 1)}" for s, n in counts.items() if n) or "no findings"


def as_html(findings: Sequence[Finding]) -> str:
    """Findings beside their source lines, for a notebook."""
    colours = {ERROR: "#b3261e", WARNING: "#8a5a00", HINT: "#00658a"}
    out = []
    for f in findings:
        spots = [(f.place, ""), (f.other if f.other != f.place else None, f.role)]
        code = "".join(
            f"<div style='font-size:85%;color:#666'>{html.escape(f'{role} ' if role else '')}"
            f"{html.escape(shown(p.file))}:{p.line}</div><pre style='margin:0 0 4px 0'>{html.escape(source(p))}</pre>"
            for p, role in spots
            if p is not None
        )
        details = "".join(
            f"<div><span style='color:#666'>{label}</span> {html.escape(value)}</div>" for label, value in _details(f)
        )
        out.append(
            f"<div style='border-left:4px solid {colours[f.severity]};padding:2px 10px;margin:8px 0'>"
            f"<div><b style='color:{colours[f.severity]}'>{f.severity}</b> <code>{f.kind}</code> "
            f"{html.escape(f.what)}</div>{code}{details}</div>"
        )
    return "".join([*out, f"<div>{summary(findings)}</div>"])


def as_json(findings: Sequence[Finding], **about: Any) -> str:
    """Findings as JSON: {"findings": [...], "summary": {severity: count}} and whatever `about` says."""
    counts = {s: sum(f.severity == s for f in findings) for s in SEVERITIES}
    return json.dumps({**about, "summary": counts, "findings": [f.as_dict() for f in findings]}, indent=2)


def as_sarif(findings: Sequence[Finding]) -> str:
    """Findings as a SARIF 2.1.0 log, which code hosts show beside the lines of a change."""
    kinds = list(dict.fromkeys(f.kind for f in findings))
    rules = [{"id": k, "shortDescription": {"text": KINDS[k]}} for k in kinds]
    results = []
    for f in findings:
        result: dict[str, Any] = {
            "ruleId": f.kind,
            "ruleIndex": kinds.index(f.kind),
            "level": LEVELS[f.severity],
            "message": {"text": " ".join([f.what + "."] + [f"{label}: {value}." for label, value in _details(f)])},
        }
        if f.place is not None:
            result["locations"] = [_location(f.place)]
        if f.other is not None and f.other != f.place:
            result["relatedLocations"] = [{**_location(f.other), "message": {"text": f.role or "see also"}}]
        results.append(result)
    driver = {"name": "workbook check", "rules": rules}
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=2)


def _location(place: Place) -> dict[str, Any]:
    name = shown(place.file)
    uri = quote(name.replace(os.sep, "/")) if not os.path.isabs(name) else Path(name).as_uri()
    region = {"startLine": place.line, "startColumn": place.column}
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}


def write(path: Path, content: str) -> None:
    """Write a report to a file, which is there whole or not at all."""
    with whole(path) as file:
        file.write(content)
