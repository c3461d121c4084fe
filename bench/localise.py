"""`diverge` of a kernel and its mutants that make numbers wrong: does it name the line that was edited?

python -m bench.localise [NAME ...]     all, or those whose name contains NAME
python -m bench.localise --write        also write the counts into docs/debug.md
"""

from __future__ import annotations

import difflib
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import mutants
from bench.mutant_subjects import SUBJECTS, VALUE, Mutant
from helpers.errors import WorkbookError
from helpers.inside.diverge import diverge

PAGE = Path(__file__).parents[1] / "docs" / "debug.md"
BEGIN, END = "<!-- localised: written by python -m bench.localise --write -->", "<!-- end of localised -->"
LINE, USE, OTHER, NONE, FAILS = "the edited line", "the first use of what it makes", "another line", "nothing", "fails"


def outcome(mutant: Mutant) -> tuple[str, str]:
    """What `diverge` names, as one of the kinds above, and the line that it names."""
    subject = SUBJECTS[mutant.subject]
    before, after = mutants.source(subject), mutants.mutated(mutant)
    kernels = [getattr(mutants._module(subject.file, text), subject.version) for text in (after, before)]
    try:
        found = diverge(*kernels, subject.specs())
    except WorkbookError as error:
        return FAILS, str(error).splitlines()[0]
    if found is None:
        return NONE, ""
    changed = _changed(before, after)
    if found.spot.line in changed:
        return LINE, found.spot.code.strip()
    if found.spot.line in _uses(after.splitlines(), changed):
        return USE, found.spot.code.strip()
    return OTHER, found.spot.code.strip()


def _changed(before: str, after: str) -> set[int]:
    """Lines of the second text that differ from the first, counted from 1; of a removed line the next one."""
    old, new = before.splitlines(), after.splitlines()
    out = set()
    for kind, _, _, start, end in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if kind != "equal":
            out.update(range(start + 1, max(end, start + 1) + 1))
    return out


def _uses(lines: list[str], changed: set[int]) -> set[int]:
    """For each name that a changed line binds, the next line that mentions it."""
    out = set()
    for n in changed:
        bound = re.match(r"\s*(?:for )?(\w+)(?:\s*=| in )", lines[n - 1])
        if bound is not None:
            later = (i for i in range(n, len(lines)) if re.search(rf"\b{bound[1]}\b", lines[i]))
            out.update(i + 1 for i in [next(later, n - 1)])
    return out


def main(arguments: Sequence[str]) -> int:
    """Run them and print the table."""
    console = Console(width=160)
    write, names = "--write" in arguments, [a for a in arguments if not a.startswith("--")]
    chosen = [m for m in mutants.MUTANTS if m.family == VALUE and not m.survives]
    chosen = [m for m in chosen if not names or any(n in m.name for n in names)]
    table, counts = Table("mutant", "named", "line", box=None, padding=(0, 2, 0, 0)), Counter()
    for mutant in chosen:
        kind, line = outcome(mutant)
        counts[kind] += 1
        if kind != LINE:
            table.add_row(mutant.name, kind, line)
    console.print(table)
    said = summary(counts)
    console.print(said)
    if write:
        page = PAGE.read_text()
        PAGE.write_text(page[: page.index(BEGIN)] + f"{BEGIN}\n{said}\n" + page[page.index(END) :])
    return 0


def summary(counts: Counter[str]) -> str:
    """One sentence for the page."""
    total = counts.total()
    named = counts[LINE] + counts[USE]
    rest = ", ".join(f"{counts[k]} {k}" for k in (OTHER, NONE, FAILS) if counts[k])
    return (
        f"Of {total} edits that make numbers wrong `diverge` names the edited line in {counts[LINE]} and the first use "
        f"of what it makes in {counts[USE]}: {named / total:.0%}." + (f" The rest: {rest}." if rest else "")
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
