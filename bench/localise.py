"""`diverge` of a kernel and its mutants that make numbers wrong: does it name the line that was edited?

python -m bench.localise [NAME ...]     all, or those whose name contains NAME
python -m bench.localise --write        also write the counts into docs/debug.md
"""

from __future__ import annotations

import ast
import difflib
import itertools
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import mutants
from bench.mutant_subjects import SUBJECTS, VALUE, Mutant
from helpers.course.defects import DEFECTS, Defect
from helpers.errors import WorkbookError
from helpers.inside.diverge import diverge
from helpers.interpret.lowering.lower import compile_kernel

PAGE = Path(__file__).parents[1] / "docs" / "debug.md"
BEGIN, END = "<!-- localised: written by python -m bench.localise --write -->", "<!-- end of localised -->"
LINE, USE, OTHER, NONE, FAILS = "the edited line", "the first use of what it makes", "another line", "nothing", "fails"
ERROR = "an error at either"  # the kernel is refused, or fails, there


def outcome(mutant: Mutant) -> tuple[str, str]:
    """What `diverge` names, as one of the kinds above, and the line that it names."""
    subject = SUBJECTS[mutant.subject]
    before, after = mutants.source(subject), mutants.mutated(mutant)
    kernels = [getattr(mutants._module(subject.file, text), subject.version) for text in (after, before)]
    try:
        found = diverge(*kernels, subject.specs())
    except WorkbookError as error:
        at = re.search(r":(\d+):\d+$", str(error), re.MULTILINE)
        changed = _changed(before, after)
        named = at is not None and int(at[1]) in changed | _uses(after, changed)
        return (ERROR if named else FAILS), str(error).splitlines()[0]
    if found is None:
        return NONE, ""
    changed = _changed(before, after)
    if found.spot.line in changed:
        return LINE, found.spot.code.strip()
    if found.spot.line in _uses(after, changed):
        return USE, found.spot.code.strip()
    return OTHER, found.spot.code.strip()


def of_defect(defect: Defect) -> tuple[str, str] | None:
    """The same of a defect of notebook 07 and its repair; None where no number is wrong."""
    if isinstance(defect.wrong, Path) or defect.wrong is defect.right:
        return None
    sizes = [dict(zip(defect.sweep, sizes)) for sizes in itertools.product(*defect.sweep.values())]
    for size in ({}, *sizes):
        try:
            found = diverge(defect.wrong, defect.right, defect.specs(**size))
        except WorkbookError:  # it is refused: other findings say so
            continue
        if found is None:
            continue
        wrong, right = (compile_kernel(k).source for k in (defect.wrong, defect.right))
        lines = Path(wrong.file).read_text().splitlines()
        texts = ["\n".join(lines[s.tree.lineno - 1 : s.tree.end_lineno]) for s in (right, wrong)]
        changed, line = _changed(*texts), found.spot.line - wrong.tree.lineno + 1
        kind = LINE if line in changed else USE if line in _uses(texts[1], changed) else OTHER
        return kind, found.spot.code.strip()
    return None


def _changed(before: str, after: str) -> set[int]:
    """Lines of the second text that differ from the first, counted from 1; of a removed line those around it."""
    old, new = before.splitlines(), after.splitlines()
    out = set()
    for kind, _, _, start, end in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if kind != "equal":
            out.update(range(start + 1, end + 1) if end > start else (start, start + 1))
    return out


def _uses(text: str, changed: set[int]) -> set[int]:
    """Lines of the first statement that uses what a changed statement makes, for each name that it does.

    A statement makes the names that it binds; the head of a loop or an if, those that are bound in it; a return, those
    that its callers bind; a call of a function of this file, the parameters of that one.
    """
    tree = ast.parse(text)
    functions = {f.name: f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)}
    out: set[int] = set()
    for f in functions.values():
        for s in (s for s in ast.walk(f) if isinstance(s, ast.stmt) and s is not f and changed & _head(s)):
            out |= _first_uses(functions, f, s, _bound(s))
            if hasattr(s, "body"):  # what a loop has made is used after it, too
                out |= _first_uses(functions, f, s.body[-1], _bound(s))
            if isinstance(s, ast.Return):
                for g in functions.values():
                    calls = [t for t in ast.walk(g) if isinstance(t, ast.Assign) and f.name in _called(t)]
                    out |= {n for t in calls for n in _first_uses(functions, g, t, _bound(t))}
            for name in _called(s) & set(functions):
                g = functions[name]
                out |= _first_uses(functions, g, g.args, {a.arg for a in g.args.args})
    return out


def _head(s: ast.stmt) -> set[int]:
    """The lines of a statement without those of the statements in it."""
    inner = {n for t in ast.iter_child_nodes(s) if isinstance(t, ast.stmt) for n in range(t.lineno, t.end_lineno + 1)}
    return set(range(s.lineno, s.end_lineno + 1)) - inner


def _bound(s: ast.stmt) -> set[str]:
    return {n.id for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _called(s: ast.stmt) -> set[str]:
    return {n.func.id for n in ast.walk(s) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def _first_uses(functions: dict[str, ast.FunctionDef], f: ast.FunctionDef, after: ast.AST, names: set[str]) -> set[int]:
    """The lines of the first statement of a function after another one that reads each of the names."""
    end = max(_head(after)) if isinstance(after, ast.stmt) else f.body[0].lineno - 1
    later = sorted(
        (s for s in ast.walk(f) if isinstance(s, ast.stmt) and s is not f and s.lineno > end), key=lambda s: s.lineno
    )
    out: set[int] = set()
    for name in names:
        for s in later:
            head = _head(s)
            if any(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) and n.lineno in head
                   for n in ast.walk(s)):  # fmt: skip
                out |= head
                for g in (functions[c] for c in _called(s) & set(functions)):  # it is handed on, not used yet
                    out |= _first_uses(functions, g, g.args, {a.arg for a in g.args.args})
                break
    return out


def main(arguments: Sequence[str]) -> int:
    """Run them and print the table."""
    console = Console(width=160)
    write, names = "--write" in arguments, [a for a in arguments if not a.startswith("--")]
    chosen = [m for m in mutants.MUTANTS if m.family == VALUE and not m.survives]
    chosen = [m for m in chosen if not names or any(n in m.name for n in names)]
    table, counts = Table("mutant", "named", "line", box=None, padding=(0, 2, 0, 0)), Counter()
    defects = Counter()
    for defect in DEFECTS if not names else ():
        found = of_defect(defect)
        if found is not None:
            defects[found[0]] += 1
            table.add_row(f"{defect.name} {defect.title}", *found)
    for mutant in chosen:
        kind, line = outcome(mutant)
        counts[kind] += 1
        if kind != LINE:
            table.add_row(mutant.name, kind, line)
    console.print(table)
    said = summary(counts, "edits that make numbers wrong")
    if defects:
        said += "\n" + summary(defects, "defects of notebook 07 that make numbers wrong")
    console.print(said)
    if write:
        page = PAGE.read_text()
        PAGE.write_text(page[: page.index(BEGIN)] + f"{BEGIN}\n{said}\n" + page[page.index(END) :])
    return 0


def summary(counts: Counter[str], what: str) -> str:
    """One sentence for the page."""
    total = counts.total()
    named = counts[LINE] + counts[USE] + counts[ERROR]
    rest = ", ".join(f"{counts[k]} {k}" for k in (OTHER, NONE, FAILS) if counts[k])
    return (
        f"Of {total} {what} `diverge` names the line in {counts[LINE]} and the first use of what it makes in "
        f"{counts[USE]}, or the kernel fails at either, in {counts[ERROR]}: {named / total:.0%}."
        + (f" The rest: {rest}." if rest else "")
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
