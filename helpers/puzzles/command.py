"""`workbook puzzles`: how far they are; an answer checked; a hint, the solution; copies of the notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from helpers.errors import InputError


def puzzles(
    name: Annotated[
        str | None, typer.Argument(help="A puzzle's name or number.", show_default="how far all are")
    ] = None,
    hint: Annotated[bool, typer.Option("--hint", help="The next hint.")] = False,
    solution: Annotated[bool, typer.Option("--solution", help="The solution.")] = False,
    statement: Annotated[bool, typer.Option("--statement", help="What is asked.")] = False,
    picture: Annotated[Path | None, typer.Option(help="What went wrong, as a PNG file.")] = None,
    copies: Annotated[bool, typer.Option("--copies", help="Copy the notebooks beside the answers, to edit.")] = False,
) -> None:
    """Kernels that you write: show how far you are, or check the answer to one.

    An answer is a file in out/answers; a puzzle that has none yet gets its stub there, and its statement is printed.
    The exit code is 0 when the answer passes, 1 when it does not, 2 when there is no such puzzle.
    """
    from helpers.puzzles import kept_progress

    if copies:
        for path in kept_progress.copies():
            print(path)
        return
    from helpers.puzzles import answers, table
    from helpers.puzzles.found import find
    from helpers.puzzles.verdict import par

    if name is None:
        if hint or solution or statement or picture is not None:
            raise InputError("name a puzzle: workbook puzzles NAME")
        print(f"{table.text(table.rows())}\nanswers are in {kept_progress.folder()}")
        return
    entry = find(name)
    file, begun = kept_progress.answer(entry.name), kept_progress.answer(entry.name).exists()
    if hint:
        print(answers.hint(entry))
    if solution:
        print(answers.solution(entry))
    if statement or not (begun or hint or solution):
        from helpers.puzzles.pages import statement as text_of

        print(f"{text_of(entry)}\n\nPar: {par(entry)}")
    if hint or solution or statement:
        return
    if not begun:
        print(f"\nThe stub is in {answers.begin(entry)}. Edit it, then: workbook puzzles {entry.name}")
        return
    raise typer.Exit(_check(name, file, picture))


def _check(name: str, file: Path, picture: Path | None) -> int:
    """Check the answer in a file and say what came of it; the exit code."""
    from helpers.puzzles import answers, pictures
    from helpers.puzzles.found import find
    from helpers.puzzles.verdict import text

    entry = find(name)
    checked = answers.check_file(entry)
    if checked.untouched:
        print(f"this is the stub as it stands; edit {file}")
    print(text(entry, checked.verdict))
    fig = pictures.wrong(entry, checked.verdict) if picture is not None else None
    if fig is not None:
        picture.write_bytes(fig.png())
        print(f"  picture: {picture}")
    return 0 if checked.verdict.solved else 1
