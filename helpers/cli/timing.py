"""Predicted time: what it goes to, what single changes are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from helpers.cli import plain
from helpers.cli.plain import WHAT, app, plainly
from helpers.errors import InputError
from helpers.files import whole


@app.command(name="profile", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@plainly
def profile_kernel(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help=WHAT)],
    version: Annotated[str | None, typer.Option(help="One version of the stage.", show_default="all of them")] = None,
    chip: Annotated[str | None, typer.Option(help="a2a3 or a5.", show_default="a2a3; of a script, its own")] = None,
    batch: Annotated[
        int | None, typer.Option(help="Sequences of a stage, 1 to 16.", show_default="the stage's own")
    ] = None,
    perfetto: Annotated[
        Path | None, typer.Option(help="Write the run as Chrome trace events, for ui.perfetto.dev.")
    ] = None,
    deps: Annotated[Path | None, typer.Option(help="Write the task graph as JSON.")] = None,
    pypto: Annotated[
        str | None, typer.Option(help="With PyPTO's compiler of this day: 2026-05-25.", show_default="today's")
    ] = None,
) -> None:
    """Predict how long a kernel takes on the chip, show what the time goes to, and which changes would help most.

    Interpret mode follows the kernel's control flow, and computes what that goes by and nothing else. Where that is too
    much, a stage is run, and what is shown of a script is called partial. Options that are not known go to the script.
    """
    from helpers import chips, file_stages, stages
    from helpers.interpret.trace import compilers
    from helpers.profile import export, levers, profile, time_tables

    if chip not in (None, *chips.NAMES):
        raise InputError(f"--chip is {chip!r}: must be {' or '.join(chips.NAMES)}")
    compiler = compilers.parse(pypto)
    console = plain.console()
    found = []
    file, kernel = file_stages.split(what)
    if kernel:
        other = [n for n, v in (("--version", version), ("--batch", batch)) if v is not None] + context.args
        if other:
            raise InputError(f"{what} is one kernel, on the specs of its file: it takes no {other[0]}")
        (one, *_) = file_stages.found(what)
        found = [(what, stages.trace_settled(one.versions[kernel], one.specs(), chip=chip or "a2a3"), None, "")]
    elif file is not None:
        if version is not None:
            raise InputError(f"--version belongs to a stage; say {what}:{version}")
        code, traces = plain.script(Path(what), context.args, trace_only=True)
        if code:
            raise typer.Exit(code)
        if not traces:
            raise InputError(f"{what} has run no kernel")
        found = [(Path(what).name, trace, None, "") for trace in traces]
    else:
        if context.args:
            raise InputError(f"unknown option {context.args[0]}")
        (stage,) = file_stages.having([stages.find(what)], version)
        for label in [version] if version else stage.versions:
            with console.status(f"{what} {label} ..."):
                specs = stage.specs(batch=stage.batch if batch is None else batch)
                trace = stages.trace_settled(stage.versions[label], specs, chip=chip or "a2a3")
            found.append((f"{what} {label}", trace, stage, label))
    if len(found) > 1 and (perfetto or deps):
        raise InputError("a file is for one run: name one --version" if version is None else "the script runs several")
    for title, trace, of, label in found:
        with console.status(f"{title}: {trace.tasks:,} tasks ..."):
            predicted = profile(trace, chips.chip(chip) if chip else None, compiler=compiler)
        console.print(time_tables.summary(predicted, title))
        with console.status(f"{title}: what would help ..."):
            console.print(time_tables.helping(levers.all_levers(predicted, of, label, batch)))
        console.print()
        if perfetto:
            export.write_chrome_trace(predicted, perfetto)
            console.print(f"{perfetto}: open it at ui.perfetto.dev")
        if deps:
            export.write_dependencies(predicted, deps)
            console.print(f"{deps}: the task graph")


@app.command()
@plainly
def ablate(
    stage: Annotated[str, typer.Argument(help="A stage that names the changes of its versions: see `workbook list`.")],
    version: Annotated[str | None, typer.Option(help="The step to this version.", show_default="every step")] = None,
    chip: Annotated[str, typer.Option(help="a2a3 or a5.")] = "a2a3",
    batch: Annotated[int | None, typer.Option(help="Sequences, 1 to 16.", show_default="the stage's own")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw it: one file, of one --version.")] = None,
) -> None:
    """Predict what each single change between two versions of a stage is worth, by kernels that differ in it alone."""
    from helpers import chips, plots
    from helpers.profile.ablation import ablate as steps

    if chip not in chips.NAMES:
        raise InputError(f"--chip is {chip!r}: must be {' or '.join(chips.NAMES)}")
    console = plain.console()
    with console.status(f"{stage} ..."):
        found = steps(stage, version, chip, batch)
    if png is not None and len(found) > 1:
        raise InputError("--png is for one step: name one --version")
    for step in found:
        console.print(str(step), highlight=False)
    if png is not None:
        with whole(png, "wb") as file:
            file.write(plots.ablation(found[0]).png())
        console.print(f"{png}: the figure")
