"""Two dumps of the same kernel side by side: interpret mode's, and one that a simulator or an NPU wrote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from helpers.interpret.dumps import Dump, Dumps
from helpers.interpret.trace.trace import READ, Trace


@dataclass(frozen=True, eq=False)
class Difference:
    """An argument of a task that differs: where first, and in how many elements.

    Attributes:
        ours, theirs: The two dumps.
        element: The first element that differs; None where the shapes do.
        count: How many do.
    """

    ours: Dump
    theirs: Dump
    element: tuple[int, ...] | None = None
    count: int = 0

    def __str__(self) -> str:
        if self.element is None:
            return f"{self.ours} is {list(self.theirs.shape)} of {self.theirs.dtype} there"
        here, there = (d.data[self.element].item() for d in (self.ours, self.theirs))
        return f"{self.ours}: element {list(self.element)} is {here} here and {there} there; {self.count:,} differ"


def differences(trace: Trace, ours: Dumps, theirs: Dumps, rtol: float = 0.0, atol: float = 0.0) -> list[Difference]:
    """What differs between a run's dumps and others of the same kernel on the same arguments, in the order of tasks.

    Compared is what a task reads before it and what it writes after it, element by element: what else lies in an
    argument is nobody's. NaN is NaN.

    Args:
        trace: Of the run that made `ours`.
        rtol, atol: What |ours - theirs| may be, as in golden.compare.
    """
    there = {(d.task, d.index, d.stage): d for d in theirs}
    out = []
    for d in ours:
        other = there.get((d.task, d.index, d.stage))
        if other is None or d.data is None or other.data is None:
            continue
        if (d.shape, d.dtype) != (other.shape, other.dtype):
            out.append(Difference(d, other))
            continue
        a, b = d.data, other.data
        if d.data.is_floating_point():
            a, b = a.double(), b.double()
        same = torch.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True) if a.is_floating_point() else a == b
        where = (~same & _touched(trace, d)).nonzero()
        if len(where):
            out.append(Difference(d, other, tuple(where[0].tolist()), len(where)))
    return out


def _touched(trace: Trace, d: Dump) -> torch.Tensor:
    """Which elements of an argument its task reads, or writes."""
    launch = trace.dispatches[d.task]
    argument = list(launch.arguments)[d.index]
    size = trace.buffers[argument.buffer].size
    marks = torch.zeros(size, dtype=torch.bool)
    for _, access, offset in trace.accesses(launch):
        if access.buffer == argument.buffer and (access.mode == READ) == d.before:
            torch.as_strided(marks, access.extent, access.strides, int(np.asarray(offset))).fill_(True)
    return torch.as_strided(marks, d.shape, d.strides, d.offset)
