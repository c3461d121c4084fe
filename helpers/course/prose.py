"""The prose of a notebook: its sentences, the numbers in them, and which sentences say what something is worth.

`loose` finds what nothing checks. A number is held where the notebook's own stored outputs show it (nbval compares
those), where a claim of `helpers.course.claims` has it, or where it is a fact of the model, of a chip or of a
published row. A sentence that says what is faster, what is saved or why is held by a claim, and by nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import nbformat

from helpers import chips
from helpers.course.claims import CLAIMS, plain
from kernels import qwen3, qwen3_32b

ROOT = Path(__file__).parents[2]
_NUMBER = re.compile(r"(?<![\w.#])-?\d[\d,]*(?:\.\d+)?(?!\w)")
_PARTS = "half|third|quarter|fifth|sixth|seventh|eighth|ninth|tenth|twelfth|seventeenth|twentieth"
_SHARE = re.compile(
    rf"\b(?:(?:a|an|two|three|one|nearly|about) (?:{_PARTS})s?|half the time|times (?:as|more|fewer|less)|a factor of|"
    r"most of)\b"
)
_ASKED = re.compile(r"\b[Ww]hat (?:of )?(?:each|every|it|that|they|a rung|the step)[^.;:,]*")  # of what comes elsewhere
_WORTH = re.compile(
    r"\b(?:faster|fastest|slower|slowest|saves?|saved|buys?|bought|worth|no time|as long|ahead of|nearly everything|"
    r"nearly all|because|that is why)\b"
)
_PUBLIC = re.compile(r"#\d+|[Pp]ull request|[Pp]ublished|[Mm]easured")
# What a number may stand in that says nothing which could be wrong: links, code, formulas, names of exercises, pull
# requests and notebooks, how long it takes to read.
_ASIDE = (
    r"\$\$.*?\$\$", r"\$[^$]*\$", r"`[^`]*`", r"\[[^\]]*\]\([^)]*\)", r"\*\*\d\.\d\*\*", r"^#+ .*$",
    r"(?:[Pp]ull requests?|PR|notebooks?) #?\d+", r"#\d+", r"\d+ minutes", r"\b0\db?\b", r"(?:FP|BF|INT)\d+",
)  # fmt: skip


def sentences(path: Path) -> list[tuple[str, bool]]:
    """The sentences of a notebook's markdown, each on one line (a row of a table is one), and whether their cell speaks
    of something published."""
    out: list[tuple[str, bool]] = []
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type != "markdown":
            continue
        text = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
        for part in re.split(r"\n\s*\n|\n(?=[*|#-])", text):
            one = " ".join(part.split()) if not part.startswith("#") else part
            public = bool(_PUBLIC.search(cell.source))
            out += [(s, public) for s in re.split(r"(?<=[.?!])\s+(?=[A-Z*`(])", one) if s]
    return out


def numbers(sentence: str) -> list[str]:
    """The numbers of a sentence, without commas, and its shares in words, but for those that say nothing which could be
    wrong."""
    for aside in _ASIDE:
        sentence = re.sub(aside, " ", sentence, flags=re.DOTALL | re.MULTILINE)
    return _numbers(sentence) + _SHARE.findall(sentence)


def _numbers(text: str) -> list[str]:
    return [n.replace(",", "") for n in _NUMBER.findall(text)]


def says_worth(sentence: str) -> bool:
    """Whether a sentence says what is faster, what is saved or why; a question does not."""
    return bool(_WORTH.search(_ASKED.sub("", sentence))) and not sentence.rstrip().endswith("?")


@cache
def facts() -> frozenset[str]:
    """Numbers that stand in a file of facts: the model's shapes, the chips."""
    found: set[str] = set()
    for module in (qwen3, qwen3_32b):
        found |= {_written(v) for v in vars(module).values() if type(v) in (int, float)}
    for name in ("a2a3", "a5"):
        chip = chips.chip(name)
        found |= {_written(n) for n in (chip.cube_cores, chip.vector_cores, chip.clusters)}
        found |= {_written(n // 1024) for n in chip.buffers.values()} | {_written(chip.memory.line)}
    return frozenset(found)


@cache
def published() -> frozenset[str]:
    """Numbers of bench/published.csv, and a thousandth of them: microseconds as milliseconds."""
    rows = (ROOT / "bench" / "published.csv").read_text(encoding="utf-8")
    found = [float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", rows)]
    return frozenset(_written(n) for n in found) | frozenset(_written(n / 1000) for n in found)


def _written(n: float) -> str:
    return f"{n:.10g}"


def outputs(path: Path) -> str:
    """The text that a notebook's cells have stored, and what they were given."""
    out: list[str] = []
    for cell in nbformat.read(path, 4).cells:
        out += [cell.source] if cell.cell_type == "code" else []
        for o in cell.get("outputs", ()):
            out.append(o.get("text", "") or o.get("data", {}).get("text/plain", ""))
    return "\n".join(out)


def loose(path: Path) -> list[tuple[str, str]]:
    """What nothing checks: (the number, or "worth", and the sentence)."""
    claimed = [plain(c.sentence) for c in CLAIMS if c.notebook == path.stem]
    shown = set(_numbers(re.sub(r"exercise (\S+)", "", outputs(path)))) | facts()
    found = []
    for sentence, public in sentences(path):
        text = plain(sentence)
        if text.endswith("?"):
            continue
        mine = [c for c in claimed if c in text or text in c or _overlaps(c, text)]
        known = shown | published() if public else shown
        found += [(n, text) for n in numbers(sentence) if n not in known and not _claimed(n, mine) and not _counted(n)]
        if says_worth(sentence) and not mine:
            found.append(("worth", text))
    return found


def _claimed(n: str, claims: list[str]) -> bool:
    return any(n in c or n in _numbers(c) for c in claims)


def _overlaps(claim: str, text: str) -> bool:
    """Whether a claim that runs over several sentences has this one, but for its end or beginning."""
    return any(part in text for part in re.split(r"(?<=[.?!]) ", claim) if len(part) > 20)


def _counted(n: str) -> bool:
    """Small whole numbers count what the sentence names, and are read with it."""
    return re.fullmatch(r"\d", n) is not None


def report(paths: Iterable[Path]) -> str:
    """What is loose in some notebooks, a line each."""
    return "\n".join(f"{p.stem}: {n}: {s}" for p in paths for n, s in loose(p))
