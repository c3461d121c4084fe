"""The `workbook` command: run stages against their golden, list them, say what works on this machine."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from helpers.errors import InputError, KernelError, WorkbookError
from helpers.files import whole
from helpers.puzzles import command as puzzles_command

if TYPE_CHECKING:
    from helpers.interpret.trace.trace import Trace

WHAT = "A stage (see `workbook list`), FILE.py or FILE.py:KERNEL."

app = typer.Typer(
    help="Run PyPTO kernels, stage by stage, and hold them against their golden.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# A checkout of pypto-lib has a `golden` of its own; commands are run inside it, or with it on PYTHONPATH.
sys.path.insert(0, str(Path(__file__).parent.parent))

FAILED, REFUSED, INTERRUPTED = 1, 2, 130  # exit codes: a FAIL verdict, an error, Ctrl-C


def plainly(command: Callable) -> Callable:
    """Show a WorkbookError as its message alone, and end with exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except WorkbookError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(REFUSED) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except OSError as error:
            print(f"error: {error.strerror or error}: {error.filename}", file=sys.stderr)
            raise typer.Exit(REFUSED) from None
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
            print(f"error: the workbook itself failed, which is a defect of it: {what}", file=sys.stderr)
            raise typer.Exit(REFUSED) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None

    return wrapped


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

    console = _console()
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
            with _console().status(f"{one.name} {label} on {platform} ..."):
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
    _console().print(table)


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
    code, traces = _script(file, context.args, trace_only)
    for trace in traces:
        title = f"{trace.label}: {trace.tasks:,} tasks" + (f"; {trace.partial}" if trace.partial else "")
        table = Table("task", "count", title=title, title_justify="left")
        for name, count in trace.tasks_by_name().items():
            table.add_row(name, f"{count:,}")
        Console().print(table)
    raise typer.Exit(code)


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
    console = _console()
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
            with _console().status(f"checking {one.name} {label} ..."):
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

    with _console().status(f"{what} on {platform} ..."):
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

    with _console().status(f"{now} beside {before} ..."):
        found = compare(now, before, size="full" if full else "small", platform=platform)
    if found is None:
        print(f"no task of {now} writes other values than in {before}, up to rounding")
        return
    print(found.text(before))
    raise typer.Exit(FAILED)


@app.command()
@plainly
def new(
    name: Annotated[str, typer.Argument(help="A Python module's name.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to write it.")] = Path("."),
) -> None:
    """Write a new kernel with its golden, its test and its notebook, all of which run and pass; then edit them."""
    from helpers.live.new import new as write

    console = _console()
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

    raise typer.Exit(watch_terminal(parse(what, chip), _console(), saves))


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
) -> None:
    """Predict how long a kernel takes on the chip, and show what the time goes to.

    Interpret mode follows the kernel's control flow, and computes what that goes by and nothing else. Where that is too
    much, a stage is run, and what is shown of a script is called partial. Options that are not known go to the script.
    """
    from helpers import chips, file_stages, stages
    from helpers.profile import export, profile, time_tables

    if chip not in (None, "a2a3", "a5"):
        raise InputError(f"--chip is {chip!r}: must be a2a3 or a5")
    console = _console()
    found = []
    file, kernel = file_stages.split(what)
    if kernel:
        other = [n for n, v in (("--version", version), ("--batch", batch)) if v is not None] + context.args
        if other:
            raise InputError(f"{what} is one kernel, on the specs of its file: it takes no {other[0]}")
        (one, *_) = file_stages.found(what)
        found = [(what, stages.trace_settled(one.versions[kernel], one.specs(), chip=chip or "a2a3"))]
    elif file is not None:
        if version is not None:
            raise InputError(f"--version belongs to a stage; say {what}:{version}")
        code, traces = _script(Path(what), context.args, trace_only=True)
        if code:
            raise typer.Exit(code)
        if not traces:
            raise InputError(f"{what} has run no kernel")
        found = [(Path(what).name, trace) for trace in traces]
    else:
        if context.args:
            raise InputError(f"unknown option {context.args[0]}")
        (stage,) = file_stages.having([stages.find(what)], version)
        for label in [version] if version else stage.versions:
            with console.status(f"{what} {label} ..."):
                specs = stage.specs(batch=stage.batch if batch is None else batch)
                trace = stages.trace_settled(stage.versions[label], specs, chip=chip or "a2a3")
            found.append((f"{what} {label}", trace))
    if len(found) > 1 and (perfetto or deps):
        raise InputError("a file is for one run: name one --version" if version is None else "the script runs several")
    for title, trace in found:
        with console.status(f"{title}: {trace.tasks:,} tasks ..."):
            predicted = profile(trace, chips.chip(chip) if chip else None)
        console.print(time_tables.summary(predicted, title))
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
    from helpers import plots
    from helpers.profile.ablation import ablate as steps

    if chip not in ("a2a3", "a5"):
        raise InputError(f"--chip is {chip!r}: must be a2a3 or a5")
    console = _console()
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
    console = _console()
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


app.command()(plainly(puzzles_command.puzzles))


@app.command()
@plainly
def doctor() -> None:
    """What is installed, which platforms work on this machine, and what the others lack."""
    from helpers import doctor as report

    report.show(_console())


def _script(file: Path, args: list[str], trace_only: bool) -> tuple[int, list[Trace]]:
    """Run a script; an exception of its own is an error that shows its line.

    Raises:
        InputError: there is no such file, or it ended with an exception.
    """
    from helpers.interpret.pypto.script import run_script, told_at_its_line

    with told_at_its_line(file):
        return run_script(file, args, trace_only)


def _console() -> Console:
    """Standard output; wide enough for the table where it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=140)
