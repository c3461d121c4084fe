"""Checking a kernel script as it stands: every kernel it runs, on the values it runs it with, and its own golden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from helpers.chips import Chip
from helpers.errors import InputError, WorkbookError
from helpers.interpret import call, running_script
from helpers.interpret.call import arrange
from helpers.interpret.lowering.compiled import Compiled
from helpers.interpret.lowering.lower import compile_kernel
from helpers.interpret.pypto import script
from helpers.interpret.trace.trace import READ, Trace
from helpers.sanitize.case_run import Run, extents, raised_at
from helpers.sanitize.check import certain, look, of_error, of_text
from helpers.sanitize.rules import lint, results
from helpers.sanitize.rules.findings import ERROR, Finding, grouped
from helpers.sanitize.rules.replay import Subject

MOST_BYTES = 1 << 31  # of a kernel's arguments that are copied for further runs


@dataclass(frozen=True)
class _Last:
    """A kernel that the script ran, on what, and what was seen."""

    run: Run
    compiled: Compiled
    made: dict[str, Any]


def _to_copy(kernel: Any, made: dict[str, Any], on: Chip) -> set[str]:
    """The tensors that another run needs a copy of: all, or where these are too many, those that the kernel writes."""
    tensors = {n: v for n, v in made.items() if isinstance(v, torch.Tensor) and v.layout == torch.strided}
    if sum(t.nbytes for t in tensors.values()) <= MOST_BYTES:
        return set(tensors)
    return _written(Subject(kernel, dict, on).run(made, dry=True))


def _written(trace: Trace) -> set[str]:
    """The arguments that a run wrote to, and those that are declared as outputs."""
    stored = {a.buffer for a in trace.shapes if a.mode != READ}
    return {b.name for b in trace.buffers if b.argument and (b.id in stored or b.direction != "In")}


def check_script(file: Path, args: Sequence[str], trace_only: bool = False, only: str | None = None) -> list[Finding]:
    """Run a script with its own arguments and return what is wrong with the kernels it runs, and with itself.

    Args:
        only: The one kernel of it that is looked at.

    Raises:
        InputError: there is no such file, the script ended before it ran a kernel, or it does not run that one.
    """
    if not file.is_file():
        raise InputError(f"there is no file {file}")
    found: list[Finding] = lint.script(file)
    ran: list[_Last] = []
    others: dict[str, None] = {}  # kernels that were run and not looked at
    last: _Last | None = None  # what was run last, if it is looked at

    def interpret(kernel: Any, given: Sequence[Any] | Mapping[str, Any], platform: str, on: Chip, dry: bool) -> Trace:
        nonlocal last
        last = None
        name = getattr(kernel, "__name__", "")
        if only not in (None, name):
            others[name] = None
            return call.interpret(kernel, given, platform, on, dry)
        try:
            compiled = compile_kernel(kernel)
            found.extend(of_text(compiled))
            made = dict(zip([p.name for p in compiled.parameters], arrange(compiled, given)))
            copied = set() if dry else _to_copy(kernel, made, on)
            keep = not dry and sum(made[n].nbytes for n in copied) <= MOST_BYTES
            before = {n: v.clone() if n in copied else v for n, v in made.items()} if keep else {}
            subject = Subject(kernel, lambda: {n: v.clone() if n in copied else v for n, v in before.items()}, on)
            trace = subject.run(made, dry=dry)
        except WorkbookError as error:
            found.append(of_error(error))
            raise
        run = look(trace, compiled, made, on, dry)
        keep = keep and _written(trace) <= copied
        last = _Last(run, compiled, made)
        ran.append(last)
        if keep:
            found.extend(certain(subject, compiled, run))
        else:
            proof = "" if dry else "none was looked for: the kernel writes too much to be run again beside it"
            found.extend(replace(f, proof=proof) if f.kind == "uninitialized-read" else f for f in run.findings)
            found.extend(replace(f, proof=proof) for f, _ in run.clashes)
        return trace

    def compared(outputs: Mapping, expected: Mapping, inputs: Mapping, rtol: float, atol: float, fns: Mapping) -> None:
        if last is None:
            return
        parameters = {n: p for n, v in outputs.items() for p, t in last.made.items() if t is v}
        seen = results.Seen(
            last.run.trace, last.run.memory, parameters, extents(last.compiled, last.made), lint.tolerance(file)
        )
        found.extend(results.against_golden(seen, outputs, expected, inputs, rtol, atol, fns or {}))

    try:
        code, _ = script.run_script(file, args, trace_only, running_script.Observer(interpret, compared))
        failed = f"exit code {code}" if code else ""
        place = None
    except WorkbookError as error:
        if not any(f.place == error.place and f.what == error.what for f in found):
            found.append(of_error(error))
        return grouped(found)
    except Exception as error:  # the script's own
        failed, place = f"{type(error).__name__}: {error}".strip().rstrip(":"), raised_at(error, str(file))
        if not ran and not found:
            raise InputError(f"{file} ended with {failed}, before it ran a kernel") from error
    if only is not None and not ran and not any(f.severity == ERROR for f in found):
        raise InputError(f"{file} runs no kernel {only!r}; it runs: {', '.join(others) or 'none'}")
    if not failed and not ran and not others and not found:
        raise InputError(
            f"{file} runs no kernel, so nothing is checked. It has to call\n"
            "  golden.run_jit(kernel, specs, golden_fn)  under  if __name__ == '__main__':"
        )
    if failed and not any(f.severity == ERROR for f in found):
        if not ran:
            raise InputError(f"{file} ended with {failed}, before it ran a kernel")
        found.append(
            Finding(
                "script-failed", ERROR, f"the script ended with {failed}", place,
                fix="the kernels ran to their end, and nothing else that is found here says why it failed",
            )
        )  # fmt: skip
    return grouped(found)
