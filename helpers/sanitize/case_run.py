"""One case of a check: the values that a kernel is given, and what its run showed."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from golden.spec import ScalarSpec, TensorSpec
from helpers.errors import InputError
from helpers.interpret.call import arrange
from helpers.interpret.call import check as check_arguments
from helpers.interpret.lowering.compiled import Compiled
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import Trace
from helpers.sanitize.cases import Specs
from helpers.sanitize.rules import order, read_and_written
from helpers.sanitize.rules.findings import Finding

NO_MEMORY = 1 << 20  # bytes: float tensors of this size and more have no memory in a run without arithmetic


@dataclass
class Run:
    """One run of a case and what was seen.

    `values` are what it ran on and wrote, `before` copies of what those held that both go in and come out.
    """

    trace: Trace | None
    findings: list[Finding]
    clashes: list[tuple[Finding, order.Clash]] = field(default_factory=list)
    memory: read_and_written.Memory | None = None
    values: dict[str, Any] = field(default_factory=dict)
    before: dict[str, torch.Tensor] = field(default_factory=dict)


def bytes_of(specs: Specs) -> int:
    return sum(math.prod(s.shape) * s.dtype.itemsize for s in specs if isinstance(s, TensorSpec))


def make(specs: Specs, dry: bool) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for s in specs:
        if isinstance(s, ScalarSpec):
            out[s.name] = s.to_python()
        elif dry and s.dtype.is_floating_point and math.prod(s.shape) * s.dtype.itemsize >= NO_MEMORY:
            out[s.name] = torch.empty(s.shape, dtype=s.dtype, device="meta")
        else:
            out[s.name] = s.create_tensor()
    return out


def arguments(compiled: Compiled, specs: Specs, made: dict[str, Any]) -> dict[str, Any]:
    """Values by parameter name: specs are in parameter order and may have names of their own."""
    names = [p.name for p in compiled.parameters]
    if set(made) <= set(names):
        return made
    if len(specs) > len(names):
        raise InputError(f"kernel '{compiled.name}' takes {len(names)} arguments, there are {len(specs)} specs")
    return {n: made[s.name] for n, s in zip(names, specs)}


def again(compiled: Compiled, specs: Specs, run: Run) -> dict[str, Any]:
    """The values that a run began with: its own tensors where it left inputs alone, others for the rest."""
    written = {run.trace.buffers[b].name for b in run.memory.writes if run.trace.buffers[b].argument}
    again = dict(run.values)
    for name, s in by_parameter(compiled, specs).items():
        if name in run.before:
            again[name] = run.before[name].clone()
        elif name in written or getattr(s, "is_output", False):
            again[name] = s.create_tensor()
    return again


def by_parameter(compiled: Compiled, specs: Specs) -> dict[str, Any]:
    """The specs by the names of the kernel's parameters."""
    return arguments(compiled, specs, {s.name: s for s in specs})


def directions(compiled: Compiled) -> dict[str, str]:
    """ "In", "Out" or "InOut" of each tensor parameter."""
    return {p.name: p.type.direction for p in compiled.parameters if p.type.kind == "tensor"}


def extents(compiled: Compiled, made: dict[str, Any]) -> list[int]:
    """What is dynamic in a run: extents of dynamic dimensions, integer scalars."""
    arguments = arrange(compiled, made)
    sizes = list(check_arguments(compiled, arguments, True).values())
    return sizes + [v for v in arguments if isinstance(v, int) and not isinstance(v, bool)]


def raised_at(error: Exception, file: str = "") -> Place | None:
    """The line of a file that an exception came through last; of any file that is not this project's."""
    ours = str(Path(__file__).parents[2] / "helpers")
    lines = [(frame.f_code.co_filename, n) for frame, n in traceback.walk_tb(error.__traceback__)]
    theirs = [(f, n) for f, n in lines if (f == file if file else not f.startswith(ours))]
    return Place(theirs[-1][0], theirs[-1][1], 1) if theirs else None
