"""The one entry that runs a kernel, on whatever platform: `run(kernel, args, platform=...)`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from helpers.chips import chip
from helpers.errors import InputError
from helpers.interpret import dumps, follow, running_script
from helpers.interpret.call import interpret
from helpers.interpret.language.decorated import unwrap
from helpers.interpret.lowering.lower import signature
from helpers.interpret.machine.machine import LOG_BYTES
from helpers.interpret.trace.dumped import DumpRecorder
from helpers.interpret.trace.trace import Trace
from helpers.interpret.values.kept import Kept, Log
from helpers.platforms import resolve


@dataclass(frozen=True)
class Run:
    """What a run was: the platform that really ran it, its duration in seconds, and the trace it left.

    `notes` says which files have changed since the kernel was loaded from them, and which parameters it writes that are
    declared as inputs. `dumps`: values of tasks' arguments, where the option enable_dump_args asked for them. `kernel`
    and `kept`: what `helpers.inside` opens a task of this run with, where it was asked to be kept.
    """

    platform: str
    seconds: float
    trace: Trace | None
    dumps: dumps.Dumps = field(default_factory=dumps.Dumps, repr=False)
    kernel: Any = field(default=None, repr=False)
    kept: Kept | None = field(default=None, repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.trace.outdated, *self.trace.misdeclared()) if self.trace is not None else ()


def run(
    kernel: Any,
    args: Sequence[Any] | Mapping[str, Any],
    *,
    platform: str = "default",
    dry: bool = False,
    options: Mapping[str, Any] | None = None,
    make: Mapping[str, Callable[[], Any]] | None = None,
    keep: bool = False,
    tell: Callable[[int], None] | None = None,
) -> Run:
    """Run a kernel in place on `args` and say on which platform that was.

    Args:
        kernel: a function decorated with @pl.jit.
        args: contiguous CPU tensors and numbers, in parameter order or by name.
        platform: "default" or a name of `helpers.platforms.PLATFORMS`.
        dry: interpret mode follows the control flow and leaves the trace without the arithmetic, but for what control
            flow goes by; PyPTO's platforms compile and do not run.
        make: what arguments without memory would hold, by name, for a dry run that has to know.
        options: of PyPTO's RunConfig, such as device_id, for its platforms. Of use to interpret mode: enable_dump_args,
            1 for what pl.dump_tag and dumps= mark, 2 for every argument, 3 for the layout of every argument; on every
            platform dump_tasks, the names or numbers of the tasks to dump.
        keep: interpret mode keeps its global memory and what it overwrites there, so that any task of the run can be
            opened at once: `helpers.inside.inside(run, task)`. Leave the arguments as they are until then.
        tell: interpret mode calls it with n when n tasks are about to run together. What it raises ends the run, and
            the arguments hold again what they held before. A task may be told of more than once: tasks that could not
            run together run again, and a `pl.system.syncall` divides a task in parts.

    Raises:
        PlatformError: the platform does not exist or does not work here.
        InputError: an argument does not fit; nothing has run.
        KernelError: the kernel's source is not in the language.
        FaultError: the kernel did something wrong while it ran.
        ToolchainError: PyPTO itself failed: a crash, a time-out, a full disk.
    """
    script = running_script.current()
    name = resolve(running_script.interpreted(platform) if script is not None else platform)
    dry = dry or tracing()
    level, tasks = dumps.asked(options)
    if not name.endswith("interp"):
        return _run_on_toolchain(kernel, args, name, dry, options)
    start, found = time.perf_counter(), dumps.Dumps()
    watched = script is not None and script.observer is not None
    on = chip(name.removesuffix("interp"))
    kept = Kept(Log(LOG_BYTES)) if keep and not dry and not watched else None
    if dry and not watched:
        trace = follow.trace(kernel, args, name, on, make, tell)
    elif watched:
        trace = script.observer.interpret(kernel, args, name, on, dry)
    else:
        keeper = DumpRecorder(level, tasks) if level else None
        trace = interpret(kernel, args, name, on, dry, dumps=keeper, kept=kept, tell=tell)
        found = found if keeper is None else dumps.of_run(keeper, trace)
    if not watched:
        for note in trace.misdeclared():
            _say(note)
    if script is not None:
        script.traces.append(trace)
    return Run(name, time.perf_counter() - start, trace, found, kernel, kept)


_SAID: set[str] = set()


def _say(note: str) -> None:
    """Write a note to standard error, once."""
    if note not in _SAID:
        _SAID.add(note)
        print(f"note: {note}", file=sys.stderr)


def _run_on_toolchain(kernel: Any, args: Any, platform: str, dry: bool, options: Mapping[str, Any] | None) -> Run:
    from helpers.toolchain import near  # here, so that interpret mode costs nothing of it

    if dry:
        return Run(platform, near.compile_kernel(kernel, platform, args).seconds, None)
    return Run(platform, *near.run(kernel, args, platform, options))


def parameters(kernel: Any) -> list[str] | None:
    """The names of a kernel's parameters, in order; None for what is no kernel that interpret mode reads.

    Raises:
        KernelError: its source cannot be read, or a parameter has no usable type.
    """
    return [p.name for p in signature(kernel).parameters] if unwrap(kernel) is not None else None


def records_writes(kernel: Any, platform: str) -> bool:
    """True where the trace of a run will say which arguments it wrote: a `pl` kernel in interpret mode.

    Raises:
        PlatformError: the platform does not exist or does not work here.
    """
    return unwrap(kernel) is not None and resolve(platform).endswith("interp")


def tracing() -> bool:
    """True while a script runs with --trace-only: kernels follow their control flow and compute nothing."""
    script = running_script.current()
    return script is not None and script.trace_only


def compared(*what: Any) -> None:
    """Tell whoever looks on while a script runs what is compared, see `helpers.interpret.running_script.Observer`."""
    script = running_script.current()
    if script is not None and script.observer is not None:
        script.observer.compared(*what)


def scripted() -> bool:
    """True while a script that is not this repository's runs, see `helpers.interpret.pypto.script`."""
    return running_script.current() is not None


def call(kernel: Any, args: tuple, kwargs: dict, config: Any) -> None:
    """What calling a decorated kernel does where PyPTO is not installed."""
    if args and kwargs:
        raise InputError("pass a kernel's arguments all by position or all by name")
    if config is not None and not hasattr(config, "platform"):
        raise InputError(f"config= takes a RunConfig, not {config!r}")
    asked = {"enable_dump_args": getattr(config, "enable_dump_args", 0)}
    ran = run(kernel, kwargs or args, platform=getattr(config, "platform", None) or "default", options=asked)
    if ran.dumps:
        name = getattr(kernel, "__name__", "kernel")
        made = Path("build_output") / f"{name}_{datetime.now():%Y%m%d_%H%M%S}"
        folder = getattr(config, "save_kernels_dir", None) or made
        print(f"args_dump written to {ran.dumps.write(Path(folder) / 'dfx_outputs')}")
