"""How findings are shown: text, HTML, JSON, SARIF; how they are grouped; the command."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from golden import mistakes as golden
from helpers import cli
from helpers.course import defects
from helpers.interpret.source.source import Place
from helpers.sanitize import ERROR, HINT, KINDS, WARNING, Finding, check, grouped, report, worst
from kernels import mistakes_attention as attention

HERE = Place(__file__, 3, 1)
THERE = Place(__file__, 5, 8)


@pytest.fixture(scope="module")
def found() -> list[Finding]:
    return defects.find("656e").check()


def test_text_has_both_lines_of_source_and_what_to_do(found: list[Finding]):
    text = report.text(found)
    assert "tile2 = pl.slice(doubled" in text
    assert "doubled = pl.assemble(doubled" in text
    assert "kernels/mistakes_attention.py:" in text
    assert "fix: bind 'times2' with `as tid`" in text
    assert text.endswith("1 error")
    assert report.text([]) == "no findings"


def test_json_holds_everything(found: list[Finding]):
    data = json.loads(report.as_json(found, subject="kernel"))
    assert data["subject"] == "kernel"
    assert data["summary"] == {"error": 1, "warning": 0, "hint": 0}
    (f,) = data["findings"]
    assert f["kind"] == "race"
    assert f["place"]["line"] == found[0].line
    assert f["other"]["file"] == "kernels/mistakes_attention.py"


def test_sarif_is_what_the_standard_asks_for(found: list[Finding]):
    findings = [*found, Finding("syncall", WARNING, "no place"), Finding("peeled-pipeline", HINT, "a hint", HERE)]
    log = json.loads(report.as_sarif(findings))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [r["id"] for r in run["tool"]["driver"]["rules"]]
    assert rules == ["race", "syncall", "peeled-pipeline"]
    assert all(r["shortDescription"]["text"] == KINDS[r["id"]] for r in run["tool"]["driver"]["rules"])
    assert [r["level"] for r in run["results"]] == ["error", "warning", "note"]
    assert all(rules[r["ruleIndex"]] == r["ruleId"] for r in run["results"])
    where = run["results"][0]["locations"][0]["physicalLocation"]
    assert where["artifactLocation"]["uri"] == "kernels/mistakes_attention.py"
    assert where["region"]["startLine"] == found[0].line
    assert run["results"][0]["relatedLocations"][0]["message"]["text"] == "written here"
    assert "locations" not in run["results"][1]


def closed(required: str, optional: str = "", **properties: object) -> dict[str, object]:
    """The schema of an object that has these properties and no others."""
    names = [*required.split(), *optional.split()]
    return {
        "type": "object", "required": required.split(), "additionalProperties": False,
        "properties": {n: properties.get(n, {"type": "string"}) for n in names},
    }  # fmt: skip


def array(of: dict[str, object]) -> dict[str, object]:
    return {"type": "array", "items": of}


POSITIVE = {"type": "integer", "minimum": 1}
MESSAGE = closed("text")
PHYSICAL = closed(
    "artifactLocation region",
    artifactLocation=closed("uri", uri={"type": "string", "pattern": "^[A-Za-z0-9/._~:%-]+$"}),
    region=closed("startLine startColumn", startLine=POSITIVE, startColumn=POSITIVE),
)
RELATED = closed("physicalLocation message", physicalLocation=PHYSICAL, message=MESSAGE)
RULE = closed("id shortDescription", shortDescription=MESSAGE)
RESULT = closed(
    "ruleId ruleIndex level message", "locations relatedLocations",
    ruleIndex={"type": "integer", "minimum": 0}, level={"enum": ["none", "note", "warning", "error"]},
    message=MESSAGE, locations=array(closed("physicalLocation", physicalLocation=PHYSICAL)),
    relatedLocations=array(RELATED),
)  # fmt: skip
TOOL = closed("driver", driver=closed("name rules", rules=array(RULE)))
RUN = closed("tool results", tool=TOOL, results=array(RESULT))
LOG = closed("$schema version runs", version={"const": "2.1.0"}, runs=array(RUN))
"""The part of the SARIF 2.1.0 schema that a report uses: names, types, least values, words, and nothing else.

Source: sarif-schema-2.1.0.json, OASIS, errata 01, which forbids properties that it does not name."""


def test_every_defect_is_told_in_the_terms_of_the_sarif_schema():
    """Findings of each defect of the docs, with a place, two and none."""
    findings = [f for defect in defects.DEFECTS for f in defect.check()]
    odd = Finding("race", ERROR, "elsewhere", Place("/some where/a#b%é.py", 1, 1), Place("a b#é.py", 2, 1))
    assert len({f.kind for f in findings}) > 10
    valid = jsonschema.Draft202012Validator(LOG, format_checker=jsonschema.FormatChecker())
    for these in ([], [*findings, odd, Finding("syncall", WARNING, "no place")]):
        valid.validate(json.loads(report.as_sarif(these)))


def test_html_escapes_what_a_kernel_says():
    page = report.as_html([Finding("race", ERROR, "a < b & <script>", HERE, fix="<b>")])
    assert "a &lt; b &amp; &lt;script&gt;" in page
    assert "<script>" not in page


def test_findings_of_a_line_and_kind_are_one_and_the_worst_come_first():
    findings = [
        Finding("unread-result", WARNING, "second", HERE),
        Finding("race", ERROR, "first", HERE, THERE),
        Finding("unread-result", WARNING, "the same again", HERE),
        Finding("race", ERROR, "another pair", HERE, HERE),
        Finding("peeled-pipeline", HINT, "last", HERE),
    ]
    got = grouped(findings)
    assert [(f.kind, f.count) for f in got] == [("race", 1), ("race", 1), ("unread-result", 2), ("peeled-pipeline", 1)]
    assert worst(got) == ERROR
    assert worst([]) is None


def test_the_command_checks_a_script_and_writes_reports(tmp_path: Path):
    script = defects.find("656c").wrong
    out = {"json": tmp_path / "f.json", "sarif": tmp_path / "f.sarif"}
    asked = ["check", str(script), "--json", str(out["json"]), "--sarif", str(out["sarif"])]
    result = CliRunner().invoke(cli.app, asked)
    assert result.exit_code == cli.FAILED, result.output
    assert "debug-option: dump_passes is on" in result.output
    assert json.loads(out["json"].read_text())["findings"][0]["kind"] == "debug-option"
    assert json.loads(out["sarif"].read_text())["runs"][0]["results"][0]["ruleId"] == "debug-option"


def test_the_command_is_silent_about_a_clean_stage():
    result = CliRunner().invoke(cli.app, ["check", "rope_kv_cache", "--version", "flat", "--batch", "2", "--dry"])
    assert result.exit_code == 0, result.output
    assert result.output.strip() == "no findings"


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["no_such.py"], ["mlp", "--version", "nothing"], ["mlp", "--other"]]
)
def test_the_command_refuses_what_is_not_there(arguments: list[str]):
    result = CliRunner().invoke(cli.app, ["check", *arguments])
    assert result.exit_code == cli.REFUSED, result.output


def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path):
    script = tmp_path / "driver.py"
    script.write_text("raise SystemExit('it ran')\n")
    result = CliRunner().invoke(cli.app, ["check", str(script), "--json", str(tmp_path / "none" / "f.json")])
    assert result.exit_code == cli.REFUSED
    assert "there is no folder" in result.output
    assert "it ran" not in result.output


@pytest.mark.parametrize(
    ("dry", "want"), [([], {"uninitialized-read", "wrong-result"}), (["--dry"], {"uninitialized-read"})]
)
def test_a_script_is_gone_through_without_arithmetic_when_that_is_asked(tmp_path: Path, dry: list[str], want: set[str]):
    script, out = tmp_path / "driver.py", tmp_path / "f.json"
    script.write_text(
        "from golden import run_jit\n"
        "from golden.mistakes import groups, group_sum\n"
        "from kernels.mistakes_attention import wrong_groups\n"
        "run_jit(wrong_groups, groups(), group_sum, rtol=1e-4, atol=1e-4)\n"
    )
    result = CliRunner().invoke(cli.app, ["check", *dry, str(script), "--json", str(out)])
    assert result.exit_code == cli.FAILED, result.output
    found = json.loads(out.read_text())["findings"]
    assert {f["kind"] for f in found} == want
    assert any(f["proof"] for f in found) != bool(dry)


def test_a_kernel_that_is_refused_is_a_finding():
    from kernels import mistakes

    (f,) = check(mistakes.augmented, golden.wide())
    assert f.kind == "language"
    assert "augmented assignment" in f.what


def test_dry_compares_and_proves_nothing():
    (f,) = check(attention.wrong_manual, golden.rows(), golden.double, dry=True)
    assert f.kind == "race"
    assert f.proof == ""
