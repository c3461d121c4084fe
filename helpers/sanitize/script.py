"""Checking a kernel script as it stands: every kernel it runs, on the values it runs it with, and its own golden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from helpers.chips import Chip
from helpers.errors import InputError, WorkbookError
from helpers.interpret import script
from helpers.interpret.call import arrange
from helpers.interpret.lower import compile_kernel
from helpers.interpret.trace import Trace
from helpers.sanitize import lint, values
from helpers.sanitize.check import certain, look, of_error, of_text
from helpers.sanitize.findings import ERROR, Finding, grouped
from helpers.sanitize.replay import Subject

MOST_BYTES = 1 << 31  # of a kernel's arguments that are kept for further runs


def check_script(file: Path, args: Sequence[str], trace_only: bool = False) -> list[Finding]:
    """Run a script with its own arguments and return what is wrong with the kernels it runs, and with itself.

    Raises:
        InputError: there is no such file.
    """
    if not file.is_file():
        raise InputError(f"there is no file {file}")
    found: list[Finding] = lint.script(file)
    last: dict[str, Any] = {}

    def interpret(kernel: Any, given: Sequence[Any] | Mapping[str, Any], platform: str, on: Chip, dry: bool) -> Trace:
        compiled = compile_kernel(kernel)
        found.extend(of_text(compiled))
        made = dict(zip([p.name for p in compiled.parameters], arrange(compiled, given)))
        tensors = [v for v in made.values() if isinstance(v, torch.Tensor)]
        keep = not dry and sum(t.nbytes for t in tensors) <= MOST_BYTES
        before = {n: v.clone() if isinstance(v, torch.Tensor) else v for n, v in made.items()} if keep else {}
        subject = Subject(
            kernel, lambda: {n: v.clone() if isinstance(v, torch.Tensor) else v for n, v in before.items()}, on
        )
        try:
            trace = subject.run(made, dry=dry)
        except WorkbookError as error:
            found.append(of_error(error))
            raise
        run = look(trace, compiled, made, on, dry)
        last["run"], last["names"] = run, made
        found.extend(certain(subject, compiled, run) if keep else [*run.findings, *(f for f, _ in run.clashes)])
        return trace

    def compared(outputs: Mapping, expected: Mapping, inputs: Mapping, rtol: float, atol: float, fns: Mapping) -> None:
        run = last["run"]
        given = lint.tolerance(file)
        found.extend(
            values.against_golden(run.trace, run.memory, outputs, expected, inputs, rtol, atol, fns or {}, given)
        )

    try:
        code, _ = script.run_script(file, args, trace_only, script.Observer(interpret, compared))
    except WorkbookError as error:
        if not any(f.place == error.place and f.what == error.what for f in found):
            found.append(of_error(error))
        code = 0
    except Exception as error:  # the script's own
        raise InputError(f"{file} ended with {type(error).__name__}: {error}") from error
    if code and not any(f.severity == ERROR for f in found):
        raise InputError(f"{file} ended with exit code {code}")
    return grouped(found)
