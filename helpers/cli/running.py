"""Running kernels: stages against their golden, scripts as they stand, figures; what stages there are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from helpers.cli import plain
from helpers.cli.plain import FAILED, WHAT, app, plainly
from helpers.errors import InputError


@app.command()
@plainly
def run(
    stage: Annotated[str | None, typer.Argument(help=WHAT)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every stage there is.")] = False,
    version: Annotated[str | None, typer.Option(help="One version of the stage.", show_default="all of them")] = None,
    last: Annotated[bool, typer.Option("--last", help="Only the last version of each stage.")] = False,
    platform: Annotated[str, typer.Option(help="Where to run, see `workbook doctor`.")] = "default",
    batch: Annotated[int | None, typer.Option(help="Sequences, 1 to 16.", show_default="16, 1 for prefill")] = None,
    ctx: Annotated[
        str | None,
        typer.Option(help="Tokens of every sequence, or of each, with commas.", show_default="ragged, up to 4096"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same inputs.")] = 0,
    weights: Annotated[
        Path | None,
        typer.Option(help="Directory of a local Qwen3-14B checkpoint in safetensors.", show_default="seeded weights"),
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="The largest errors too: numbers that differ with the processor.")
    ] = False,
    dump_args: Annotated[
        int, typer.Option(help="Keep values of tasks' arguments: 1 marked ones, 2 all.", show_default="0")
    ] = 0,
    dump_task: Annotated[list[str] | None, typer.Option(help="Only of this task: a name or a number.")] = None,
    out: Annotated[Path, typer.Option(help="The folder for dumps, see docs/debug.md.")] = Path("outputs"),
    html: Annotated[Path | None, typer.Option(help="Also execute the notebooks and write them to this folder.")] = None,
) -> None:
    """Run a stage, or all, at the model's full shapes, and print one table.

    The exit code is 0 when every verdict is PASS, 1 when one is FAIL, 2 when something could not be run.
    """
    if every == (stage is not None):
        raise InputError("name one stage (see `workbook list`), or say --all")
    if last and version is not None:
        raise InputError("--version names one version, --last another: give one of them")

    from helpers import file_stages, platforms, result_table, stages

    every_one = [s for one in stages.STAGES.values() for s in file_stages.having([one], version)] if every else []
    chosen = every_one or file_stages.having(file_stages.found(stage), version)
    lengths = stages.parse_ctx(ctx)
    name = platforms.resolve(platform)
    dumped = dump_args or (2 if dump_task else 0)
    options = {"enable_dump_args": dumped, "dump_tasks": dump_task or None} if dumped else None
    checkpoint = None
    if weights is not None:
        from golden.weights import having_weights

        checkpoint, chosen = having_weights(weights, chosen, every)

    console = plain.console()
    table = result_table.empty(errors)
    failures = []
    try:
        for one in chosen:
            for label in [version] if version else list(one.versions)[-1 if last else 0 :]:
                with console.status(f"{one.name} {label} on {name} ..."):
                    result = stages.run_stage(
                        one, label, platform=name, batch=batch, ctx=lengths, seed=seed, weights=checkpoint,
                        options=options,
                    )  # fmt: skip
                if dumped:
                    written = result.dumps.write(out / f"{one.name}_{label}_{name}") if result.dumps else "nowhere"
                    print(f"{one.name} {label}: {len(result.dumps)} dumps in {written}", file=sys.stderr)
                table.add_row(*result_table.row(one, label, result, errors))
                if not result.passed:
                    failures.append(f"{one.name} {label}: {result.error}")
    finally:
        if table.row_count:
            console.print(f"{name}; {result_table.BELOW}")
            console.print(table)
    if html is not None:
        from helpers.course import notebooks

        paths = (
            notebooks.find() if every else [p for one in chosen if one.notebook for p in notebooks.find(one.notebook)]
        )
        failures += notebooks.write_html(paths, html, console)
    for failure in failures:
        print(f"FAIL {failure}", file=sys.stderr)
    if failures:
        raise typer.Exit(FAILED)


@app.command()
@plainly
def plot(
    stage: Annotated[str, typer.Argument(help=WHAT)],
    figures: Annotated[list[str] | None, typer.Argument(help="Which; a name that is none says what there are.")] = None,
    version: Annotated[str | None, typer.Option(help="One version of the stage.", show_default="all of them")] = None,
    platform: Annotated[str, typer.Option(help="An interpret-mode platform.")] = "a2a3interp",
    out: Annotated[Path, typer.Option(help="The folder to write them to.")] = Path("out"),
) -> None:
    """Run a stage, or the kernels of a file, and write figures of it as PNG files."""
    from helpers import file_stages, stages
    from helpers.plots import written

    wanted = written.chosen(figures or [])
    if not platform.endswith("interp"):
        raise InputError(f"--platform is {platform!r}: figures are of interpret mode, a2a3interp or a5interp")
    results = {}
    for one in file_stages.having(file_stages.found(stage), version):
        for label in [version] if version else one.versions:
            with plain.console().status(f"{one.name} {label} on {platform} ..."):
                again = sum(known.split(" ")[0] == label for known in results)  # a file may run a kernel twice
                results[f"{label} {again + 1}" if again else label] = stages.run_stage(one, label, platform=platform)
    for path in written.write(results, wanted, out, one.name):
        print(path)


@app.command(name="list")
@plainly
def list_stages() -> None:
    """The stages, their versions from naive to fused, and their notebooks."""
    from helpers import stages

    table = Table("stage", "versions", "notebook", "what it is", box=None, padding=(0, 3, 0, 0))
    for one in {**stages.STAGES, **stages.beside()}.values():
        notebook = f"notebooks/{one.notebook}.ipynb" if one.notebook else "-"
        table.add_row(one.name, " -> ".join(one.names), notebook, one.title)
    plain.console().print(table)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@plainly
def interpret(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A kernel script, such as a file of pypto-lib, as it stands.")],
    trace_only: Annotated[
        bool, typer.Option("--trace-only", help="Control flow only: no arithmetic, no weights, no golden.")
    ] = False,
) -> None:
    """Run a kernel script in interpret mode, with its own arguments, and print the tasks it launched.

    The platform the script asks for (a2a3, a5sim ...) means that chip, interpreted. The exit code is the script's.
    """
    code, traces = plain.script(file, context.args, trace_only)
    for trace in traces:
        title = f"{trace.label}: {trace.tasks:,} tasks" + (f"; {trace.partial}" if trace.partial else "")
        table = Table("task", "count", title=title, title_justify="left")
        for name, count in trace.tasks_by_name().items():
            table.add_row(name, f"{count:,}")
        Console().print(table)
    raise typer.Exit(code)
