"""Asking PyPTO itself: its compiler, several platforms side by side, what is installed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from helpers.cli import plain
from helpers.cli.plain import FAILED, WHAT, app, plainly
from helpers.errors import InputError, KernelError


@app.command(name="compile")
@plainly
def compile_(
    what: Annotated[str | None, typer.Argument(help=WHAT)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every stage there is.")] = False,
    version: Annotated[str | None, typer.Option(help="One version of the stage.", show_default="all of them")] = None,
    platform: Annotated[str, typer.Option(help="PyPTO's: a5sim, a2a3sim, a5, a2a3; several with commas.")] = "a5sim",
) -> None:
    """Ask PyPTO's compiler: its verdict, on-chip use against the limits, hints at kernel lines, generated files.

    Needs PyPTO itself, no assembler, simulator or NPU. The exit code is 0 when it takes every kernel, 1 when it
    refuses one, 2 when it could not be asked.
    """
    if every == (what is not None):
        raise InputError("name one stage (see `workbook list`) or a file, or say --all")

    from helpers import file_stages, stages
    from helpers.toolchain import compiler_tables, near

    names = [name.strip() for name in platform.split(",")]
    file, kernel = file_stages.split(what or "")
    version = kernel or version
    chosen = [] if file else list(stages.STAGES.values()) if every else [stages.find(what)]
    if not file and version is not None and not all(version in one.names for one in chosen):
        raise InputError(f"no version {version!r} of {what or 'every stage'}; see `workbook list`")
    for name in names:
        near.require_compiler(name)
    rows: list[tuple[str, near.Compilation | near.Refusal]] = []
    for name in names:
        if file is not None:
            rows += [(compiler_tables.kernel_title(file, k.kernel), k) for k in near.compile_file(file, name, version)]
        for stage in chosen:
            for label in [version] if version else stage.versions:
                try:
                    rows.append((f"{stage.name} {label}", near.compile_kernel(stage.versions[label], name)))
                except KernelError as error:
                    rows.append((f"{stage.name} {label}", near.Refusal(label, name, error)))
    console = plain.console()
    console.print(compiler_tables.verdicts(rows))
    refused = [(title, one) for title, one in rows if isinstance(one, near.Refusal)]
    if not every:
        for title, one in rows:
            if not isinstance(one, near.Refusal):
                compiler_tables.details(title, one, console)
    for title, one in refused:
        print(f"REFUSED {title}: {one.error}", file=sys.stderr)
    if refused:
        raise typer.Exit(FAILED)


@app.command()
@plainly
def compare(
    stage: Annotated[str, typer.Argument(help=WHAT)],
    platforms: Annotated[str, typer.Option(help="Platforms, with commas; the first is compared with.")] = (
        "a5interp,a5sim"
    ),
    version: Annotated[str | None, typer.Option(help="One version of the stage.", show_default="all of them")] = None,
    batch: Annotated[int | None, typer.Option(help="Sequences of a stage, 1 to 16.", show_default="2")] = None,
    ctx: Annotated[
        str | None, typer.Option(help="Tokens of every sequence, or of each, with commas.", show_default="ragged")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same inputs.")] = 0,
) -> None:
    """Put a stage on several platforms side by side: outputs, tasks, dependencies, on-chip peaks.

    Where PyPTO can compile and not run, what the compiler's own orchestration would launch is compared. The exit code
    is 0 when all that differs is explained, 1 when something is not, 2 when a platform could not be asked.
    """
    from helpers import file_stages, stages
    from helpers.toolchain import compiler_tables
    from helpers.toolchain.side_by_side import compare as put_side_by_side

    chosen = file_stages.having(file_stages.found(stage), version)
    names = [name.strip() for name in platforms.split(",")]
    lengths = stages.parse_ctx(ctx)
    console = plain.console()
    agree = True
    for one, label in [(s, v) for s in chosen for v in ([version] if version else s.versions)]:
        with console.status(f"{one.name} {label} ..."):
            some = 2 if batch is None and one.batch is not None else batch
            found = put_side_by_side(one, label, names, batch=some, ctx=lengths, seed=seed)
        console.print(compiler_tables.comparison(found))
        console.print(compiler_tables.differences(found))
        console.print()
        for side in found.sides:
            if side.lacks:
                print(f"{side.platform}: {side.lacks}", file=sys.stderr)
        agree = agree and found.agrees
    if not agree:
        raise typer.Exit(FAILED)


@app.command()
@plainly
def doctor() -> None:
    """What is installed, which platforms work on this machine, and what the others lack."""
    from helpers import doctor as report

    report.show(plain.console())
