"""What is wrong with a kernel: sanitizers, the debugger, where two runs part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from helpers.cli import plain
from helpers.cli.plain import FAILED, WHAT, app, plainly
from helpers.errors import InputError


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@plainly
def check(
    context: typer.Context,
    subject: Annotated[str, typer.Argument(help=WHAT)],
    version: Annotated[str | None, typer.Option(help="One version of the stage.", show_default="all of them")] = None,
    batch: Annotated[int | None, typer.Option(help="Sequences.", show_default="the stage's own")] = None,
    ctx: Annotated[
        str | None, typer.Option(help="Tokens of every sequence, or of each, with commas.", show_default="ragged")
    ] = None,
    dry: Annotated[bool, typer.Option("--dry", help="No arithmetic: no golden, no proofs by running again.")] = False,
    json: Annotated[Path | None, typer.Option(help="Also write the findings to this file, as JSON.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="Also write the findings to this file, as SARIF 2.1.0.")] = None,
) -> None:
    """Run a kernel under every sanitizer and print what is wrong with it, with the lines of its source.

    A stage is also tried at the sizes that break kernels. A script runs as it stands, with its own arguments (those
    that this command does not know, or that follow `--`); every kernel it runs is checked.

    The exit code is 0 without errors and warnings (hints do not count), 1 with some, 2 when something could not be run.
    """
    from helpers import file_stages, stages
    from helpers.sanitize import report
    from helpers.sanitize.rules.findings import HINT, worst

    for file in (json, sarif):
        if file is not None and not file.resolve().parent.is_dir():
            raise InputError(f"{file}: there is no folder {file.resolve().parent}; make it first")
    json, sarif = (file and file.resolve() for file in (json, sarif))  # a script may change the working directory
    found = []
    file, kernel = file_stages.split(subject)
    if file is not None:
        from helpers.sanitize.check_scripts import check_script

        taken = {"--version": version, "--batch": batch, "--ctx": ctx}  # they are the script's
        own = [*(text for n, v in taken.items() if v is not None for text in (n, str(v))), *context.args]
        found = check_script(file, own, dry, kernel)
    else:
        from helpers.sanitize.check_stages import check_stage

        if context.args:
            raise InputError(f"a stage takes no {' '.join(context.args)}")
        one = stages.find(subject)
        (one,) = file_stages.having([one], version)
        for label in [version] if version else one.versions:
            with plain.console().status(f"checking {one.name} {label} ..."):
                found += check_stage(one, label, batch=batch, ctx=stages.parse_ctx(ctx), dry=dry)
    report.show(found)
    if json is not None:
        report.write(json, report.as_json(found, subject=subject))
    if sarif is not None:
        report.write(sarif, report.as_sarif(found))
    if worst(found) not in (None, HINT):
        raise typer.Exit(FAILED)


@app.command()
@plainly
def debug(
    what: Annotated[str, typer.Argument(help="STAGE, STAGE.VERSION, FILE.py or FILE.py:KERNEL.")],
    task: Annotated[
        str | None, typer.Option(help="A launch's number, or a task's name.", show_default="the one that fails, or 0")
    ] = None,
    block: Annotated[int, typer.Option(help="Which of its blocks.")] = 0,
    line: Annotated[int | None, typer.Option(help="In place of --task: the first task that runs this line.")] = None,
    wrote: Annotated[str | None, typer.Option(help='In place of --task: who wrote an element, "out[3, 17]".')] = None,
    when: Annotated[str | None, typer.Option(help='Begin where this is true, such as "(x > 1e4).any()".')] = None,
    small: Annotated[bool, typer.Option("--small", help="At the shapes that `workbook watch` tries first.")] = False,
    platform: Annotated[str, typer.Option(help="a2a3interp or a5interp.")] = "a2a3interp",
) -> None:
    """Open one task of a run and step through its operations: what each took, what it made, what is on chip."""
    from helpers.inside import inside
    from helpers.inside.debugger import Debugger

    with plain.console().status(f"{what} on {platform} ..."):
        opened = inside(
            what, task, block, wrote=wrote, line=line, size="small" if small else "full", platform=platform
        )  # fmt: skip
    prompt = Debugger(opened, opened.at(line) if line is not None else 0)
    if when is not None:
        prompt.onecmd(f"until {when}")
    prompt.cmdloop()


@app.command()
@plainly
def diverge(
    now: Annotated[str, typer.Argument(help="STAGE.VERSION or FILE.py:KERNEL.")],
    before: Annotated[str, typer.Argument(help="What it is held against: FILE.py:KERNEL as it was, another version.")],
    full: Annotated[bool, typer.Option("--full", help="At the full shapes.", show_default="small ones")] = False,
    platform: Annotated[str, typer.Option(help="a2a3interp or a5interp.")] = "a2a3interp",
) -> None:
    """Run two kernels on the same inputs and say at which line the first first makes other values than the second.

    The exit code is 0 where they agree up to rounding, 1 where they do not.
    """
    from helpers.inside import diverge as compare

    with plain.console().status(f"{now} beside {before} ..."):
        found = compare(now, before, size="full" if full else "small", platform=platform)
    if found is None:
        print(f"no task of {now} writes other values than in {before}, up to rounding")
        return
    print(found.text(before))
    raise typer.Exit(FAILED)
