"""The first tensor of a run that is not what a golden says: its intermediates by name, then its outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from helpers.errors import InputError, shown
from helpers.inside.divergence import assigned
from helpers.inside.opened import Inside, check_kept, inside
from helpers.interpret.trace.trace import READ
from helpers.interpret.values.values import Buffer
from helpers.run import Run
from helpers.sanitize.rules import origin
from helpers.sanitize.rules.origin import Writer
from helpers.sanitize.rules.rounding import apart


@dataclass(frozen=True)
class Wrong:
    """A tensor that is wrong.

    Attributes:
        name: Of the parameter, or of what `pl.create_tensor` is assigned to.
        index, actual, expected: The first wrong element in memory order, its value and what the golden says.
        count, of: How many elements are wrong, of all.
        writer: What wrote that element last; None: nothing did.
        right: The tensors before it that are right.
        run: The run.
    """

    name: str
    index: tuple[int, ...]
    actual: float | int
    expected: float | int
    count: int
    of: int
    writer: Writer | None
    right: tuple[str, ...]
    run: Run

    def __str__(self) -> str:
        a, b = apart(self.actual, self.expected)
        by = "nothing wrote it"
        if self.writer is not None:
            place = self.writer.place
            by = f"{self.writer.text} wrote it at {shown(place.file)}:{place.line} `{place.code.strip()}`"
        before = f"; right before it: {', '.join(self.right)}" if self.right else ""
        return (
            f"'{self.name}' is the first that is wrong, in {self.count:,} of {self.of:,} elements: "
            f"{list(self.index)} is {a}, golden {b}; {by}{before}"
        )

    def open(self) -> Inside:
        """The task that wrote the element.

        Raises:
            InputError: nothing did.
        """
        if self.writer is None:
            raise InputError(f"no task wrote {self.name}{list(self.index)}")
        return inside(self.run, self.writer.launch.index, self.writer.block)


def against(
    run: Run, golden: Mapping[str, torch.Tensor] | Callable[[dict[str, Any]], Any], *, rtol: float = 1e-5,
    atol: float = 1e-5,
) -> Wrong | None:  # fmt: skip
    """Hold the tensors of a run against those of a golden, in the order in which the run wrote them first.

    Args:
        run: A run that was kept, `helpers.run.run(..., keep=True)`.
        golden: Tensors by name; or a function that fills them into a dict of the kernel's arguments as they were before
            the run, as goldens of stages do: under the names of outputs, and under those of intermediates, which are
            the names that the kernel assigns `pl.create_tensor` to. Of a name that occurs several times the first.
        rtol, atol: Of each element.

    Returns:
        The first that is wrong, None where none is. An element that nothing was written to is not compared.

    Raises:
        InputError: the run was not kept; the golden and the kernel have no name in common.
    """
    check_kept(run)
    if callable(golden):
        with run.kept.beginning():
            values = {b.name: run.kept.memory[b.id].clone() for b in run.trace.buffers if b.argument}
        golden(values)
        golden = values
    counts: Counter[str] = Counter()
    found: list[tuple[int, str, Buffer]] = []
    first = _first_writes(run)
    for b in run.trace.buffers:
        name = b.name if b.argument else assigned(b.place)
        counts[name] += 1
        if counts[name] == 1 and name in golden and b.id in first:
            found.append((first[b.id], name, b))
    if not found:
        raise InputError(f"the golden has none of the kernel's tensors: {', '.join(counts)}")
    right: list[str] = []
    for _, name, b in sorted(found, key=lambda f: f[0]):
        actual, expected = run.kept.memory[b.id].view(-1), golden[name].reshape(-1)
        if actual.numel() != expected.numel():
            raise InputError(f"'{name}' has {actual.numel():,} elements and the golden's {expected.numel():,}")
        wrong = ~torch.isclose(actual.double(), expected.double(), rtol=rtol, atol=atol)
        if not b.argument and actual.is_floating_point():
            wrong &= ~actual.isnan()  # nothing was written there
        if wrong.any():
            flat = int(wrong.nonzero()[0])
            index = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), tuple(b.shape)))
            writer = origin.writer(run.trace, b.id, flat)
            return Wrong(
                name, index, actual[flat].item(), expected[flat].item(), int(wrong.sum()), wrong.numel(), writer,
                tuple(right), run,
            )  # fmt: skip
        right.append(name)
    return None


def _first_writes(run: Run) -> dict[int, int]:
    """Of each buffer that tasks write, the number of the first launch that does."""
    out: dict[int, int] = {}
    for d in run.trace.dispatches:
        for part in d.parts:
            for shape in set(part.chunk.shapes.tolist()):
                access = run.trace.shapes[shape]
                if access.mode != READ:
                    out.setdefault(access.buffer, d.index)
    return out
