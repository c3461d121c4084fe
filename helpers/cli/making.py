"""Writing kernels: a new one, running at every save, puzzles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from helpers.cli import plain
from helpers.cli.plain import app, plainly
from helpers.puzzles import command as puzzles_command


@app.command()
@plainly
def new(
    name: Annotated[str, typer.Argument(help="A Python module's name.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to write it.")] = Path("."),
) -> None:
    """Write a new kernel with its golden, its test and its notebook, all of which run and pass; then edit them."""
    from helpers.live.new import new as write

    console = plain.console()
    with console.status(f"writing {name}, running its notebook ..."):
        written = write(name, folder)
    kernel = written[0]
    for path in written:
        console.print(f"wrote {path}")
    console.print(
        f"edit {kernel.name} first, while this shows what each save does: workbook watch {kernel}:fused\n"
        f"then {written[1].name}, which says what is right; python -m pytest {written[2]} --nbval {written[3]}"
    )


@app.command()
@plainly
def watch(
    what: Annotated[str, typer.Argument(help="STAGE, STAGE.VERSION, FILE.py or FILE.py:KERNEL.")],
    chip: Annotated[str, typer.Option(help="a2a3 or a5.")] = "a2a3",
    saves: Annotated[int | None, typer.Option(help="End after so many saves.", show_default="Ctrl-C ends it")] = None,
) -> None:
    """Run a kernel at every save of its file, its golden, or what they import, and show what the save did.

    Verdict, error over tolerance, predicted time, tasks, bytes and on-chip memory stand beside those of the save before
    and of the best. A file's specs and golden are those that it hands to golden.run_jit when it is run as a script.
    """
    from helpers.live.subject import parse
    from helpers.live.terminal import watch_terminal

    raise typer.Exit(watch_terminal(parse(what, chip), plain.console(), saves))


app.command()(plainly(puzzles_command.puzzles))
