"""Single edits of kernels, and which of them the sanitizers and the goldens notice.

    python -m bench.mutants [NAME ...]      run them (all, or those whose name contains NAME) and print the table
    python -m bench.mutants --write         also write the table into docs/sanitizers.md

A mutant is noticed by the sanitizers when they report something that they do not report of the kernel as it is; by the
golden when the result is outside the tolerance. All but mutants of values have to be noticed by the sanitizers alone.
None may be excused: a result that is wrong is an error, and the tolerance is not told to be too tight.

`mutant_subjects` has the kernels and how they are checked, `mutant_edits`, `mutant_values` and `mutant_scopes` the
edits, `mutant_kernels` kernels that are there for this alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

from bench import mutant_edits, mutant_scopes, mutant_values
from bench.mutant_subjects import FAMILIES, SUBJECTS, VALUE, Mutant, Subject
from helpers.sanitize import Finding

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "sanitizers.md"
BEGIN, END = "<!-- mutants: written by python -m bench.mutants --write -->", "<!-- end of mutants -->"
OF_THE_GOLDEN = ("wrong-result", "tolerance")
MUTANTS: tuple[Mutant, ...] = (*mutant_edits.EDITS, *mutant_values.EDITS, *mutant_scopes.EDITS)


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="mutants-"))


def _module(file: Path, text: str) -> ModuleType:
    name = f"{file.stem}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    path = _folder() / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


def source(subject: Subject) -> str:
    """The text of the kernel's module."""
    return subject.file.read_text()


def mutated(mutant: Mutant) -> str:
    """The text of the kernel's module with the edit.

    Raises:
        ValueError: the kernel has changed, and the place is not there any more.
    """
    text = source(SUBJECTS[mutant.subject])
    start = text.find(mutant.after)
    at = text.find(mutant.old, start)
    if start < 0 or at < 0:
        raise ValueError(f"mutant {mutant.name!r}: there is no {mutant.old!r} after {mutant.after!r}")
    return text[:at] + mutant.new + text[at + len(mutant.old) :]


@cache
def clean(subject: str, sweeps: bool) -> frozenset[tuple[str, str]]:
    """Kind and text of what is found in the kernel as it is."""
    s = SUBJECTS[subject]
    return frozenset((f.kind, f.what) for f in s.check(_module(s.file, source(s)), sweeps))


@dataclass(frozen=True)
class Outcome:
    """What noticed a mutant: findings of the sanitizers, and whether the golden differs.

    `excused`: a tolerance was told to be too tight.
    """

    mutant: Mutant
    sanitizers: tuple[Finding, ...]
    golden: bool
    excused: bool
    seconds: float

    @property
    def caught(self) -> bool:
        """True when the sanitizers or the golden noticed it."""
        return bool(self.sanitizers) or self.golden


def outcome(mutant: Mutant) -> Outcome:
    """Check a mutant: at the given sizes, and at others where that does not decide it."""
    start = time.perf_counter()
    subject = SUBJECTS[mutant.subject]
    module = _module(subject.file, mutated(mutant))
    for sweeps in (False, True):
        known = clean(mutant.subject, sweeps)
        found = [f for f in subject.check(module, sweeps) if (f.kind, f.what) not in known]
        seen = tuple(f for f in found if f.kind not in OF_THE_GOLDEN)
        if seen or (mutant.family == VALUE and found):
            break
    excused = any(f.kind == "tolerance" for f in found)
    return Outcome(mutant, seen, len(seen) < len(found), excused, time.perf_counter() - start)


def row(o: Outcome) -> tuple[str, ...]:
    """A mutant's line of the table."""
    best = o.sanitizers[0] if o.sanitizers else None
    found = f"{best.severity}: {best.kind}" + (f" with {best.case}" if best.case else "") if best else "-"
    return o.mutant.subject, o.mutant.family, o.mutant.what, found, "differs" if o.golden else "-"


def main(arguments: Sequence[str]) -> int:
    """Run the mutants named and print the table; the exit code counts those that had to be noticed and were not."""
    wanted = [a for a in arguments if not a.startswith("--")]
    chosen = [m for m in MUTANTS if not wanted or any(w in m.name for w in wanted)]
    console = Console(soft_wrap=True)
    outcomes = []
    for m in chosen:
        outcomes.append(outcome(m))
        o = outcomes[-1]
        console.print(f"{o.seconds:6.1f} s  {' | '.join(row(o))}{'' if o.caught else '   SURVIVES'}", highlight=False)
    missed = [o for o in outcomes if not o.caught and not o.mutant.survives]
    alone = [o for o in outcomes if o.mutant.family != VALUE and not o.sanitizers and not o.mutant.survives]
    table = Table("family", "mutants", "by sanitizers", "by the golden", "by either")
    for family in FAMILIES:
        of = [o for o in outcomes if o.mutant.family == family]
        table.add_row(
            family, str(len(of)), str(sum(bool(o.sanitizers) for o in of)), str(sum(o.golden for o in of)),
            str(sum(o.caught for o in of)),
        )  # fmt: skip
    console.print(table)
    excused = [o for o in outcomes if o.excused]
    for o in dict.fromkeys([*missed, *alone]):
        console.print(f"missed: {o.mutant.name}", highlight=False)
    for o in excused:
        console.print(f"excused: {o.mutant.name}", highlight=False)
    if "--write" in arguments:
        PAGE.write_text(written(PAGE.read_text(), outcomes))
    return len(missed) + len(alone) + len(excused)


def written(page: str, outcomes: Sequence[Outcome]) -> str:
    """The page with the table of these outcomes between its marks."""
    caught = sum(o.caught for o in outcomes)
    ordered = [o for o in outcomes if o.mutant.family != VALUE]
    lines = [
        f"{len(outcomes)} mutants, {caught} noticed ({caught / len(outcomes):.1%}); of the {len(ordered)} that are not "
        f"of values {sum(bool(o.sanitizers) for o in ordered)} by the sanitizers alone. Taken for a tolerance that is "
        f"too tight: {sum(o.excused for o in outcomes)}.", "",
        "| kernel | family | edit | sanitizers | golden |", "|---|---|---|---|---|",
        *("| " + " | ".join(row(o)) + " |" for o in outcomes),
    ]  # fmt: skip
    survivors = [f"- {o.mutant.name}: {o.mutant.survives}" for o in outcomes if o.mutant.survives]
    lines += ["", "Those that survive:", "", *survivors]
    before, rest = page.split(BEGIN)
    body = "\n".join(lines).rstrip()
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
