"""Proof by running again: in an order that a missing dependency allows, or over memory that held something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from helpers.chips import Chip
from helpers.errors import WorkbookError
from helpers.interpret.call import interpret
from helpers.interpret.machine.machine import Replay
from helpers.interpret.trace.trace import Trace
from helpers.interpret.values import fp4
from helpers.interpret.values.extents import vary
from helpers.sanitize.rules.order import Clash, ancestors
from helpers.sanitize.rules.rounding import apart

FILL = 111.0  # what memory holds in the second run: a value of every type


@dataclass(frozen=True)
class Subject:
    """A kernel and how to make the values of one run of it: tensors of its own each time."""

    kernel: Any
    make: Callable[[], dict[str, Any]]
    chip: Chip

    def run(self, values: dict[str, Any], **options: Any) -> Trace:
        """Run the kernel in place on `values`."""
        return interpret(self.kernel, values, f"{self.chip.name}interp", self.chip, fit=False, **options)


def reordered(subject: Subject, trace: Trace, clash: Clash, outputs: Mapping[str, torch.Tensor]) -> str:
    """Run with the two sides of a clash the other way round, and say what that does to the outputs.

    Between launches, the later one runs first, after all that it surely waits for. Between blocks, they run from the
    last to the first. Every launch runs once, on what memory holds when its turn comes.
    """
    values = subject.make()
    try:
        if clash.edge is None:
            subject.run(values, replay=Replay(backward=frozenset([clash.dispatch])))
            order = f"with the blocks of '{trace.dispatches[clash.dispatch].name}' run from the last to the first"
        else:
            if not _swapped(subject, trace, clash.edge.later, values):
                return ""
            a, b = trace.dispatches[clash.edge.later].name, trace.dispatches[clash.edge.earlier].name
            order = f"with '{a}' before '{b}'"
    except WorkbookError as error:
        return f"run in an order that is allowed, the kernel fails: {error.what or error}"
    changed = _changed(subject, outputs, values)
    if changed is None:
        return f"{order} the outputs are the same on these inputs"
    return f"{order}, an order that is allowed, {changed}"


def in_another_order(
    subject: Subject, trace: Trace, launches: Sequence[int], earlier: int | None, outputs: Mapping[str, torch.Tensor]
) -> str:
    """Run the last of `launches` before launch `earlier`, or, with None, the blocks of all of them from the last to the
    first; say what that changes in the outputs, "" if nothing."""
    other = subject.make()
    name = trace.dispatches[launches[-1]].name
    try:
        if earlier is None:
            subject.run(other, replay=Replay(backward=frozenset(launches)))
            order = f"with the blocks of '{name}' run from the last to the first"
        else:
            _swapped(subject, trace, launches[-1], other)
            order = f"with the later launch of '{name}' run first"
        changed = difference(outputs, other)
        if changed is None:
            return ""
        plain = subject.make()
        subject.run(plain, replay=Replay())  # in the same batches, on which it may depend how torch rounds
    except WorkbookError:
        return ""  # which another finding says
    changed = difference({n: plain[n] for n in outputs}, other)
    return f"{order}, {changed}" if changed else ""


def _swapped(subject: Subject, trace: Trace, later: int, values: dict[str, Any]) -> bool:
    """Run launch `later` after no more than what it surely waits for, then the rest; False for traces too long."""
    past = ancestors(trace)
    if past is None:
        return False
    memory: dict[int, torch.Tensor] = {}
    first = frozenset(i for i in range(later + 1) if i == later or (past(later) >> i) & 1)
    rest = frozenset(d.index for d in trace.dispatches) - first
    subject.run(values, replay=Replay(only=first, memory=memory))
    subject.run(values, replay=Replay(only=rest, memory=memory))
    return True


def refilled(
    subject: Subject, outputs: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor | None]
) -> tuple[bool, str]:
    """Run over memory that held other values; whether an output depends on them, and how.

    Args:
        own: The parameters declared pl.Out. What a caller's tensor holds there is not copied in (simpler,
            runtime_maker.cpp: the bytes of an output that nothing writes are undefined), so it is other values too.
            For each which elements the kernel writes, None: all. Only those are compared.
    """

    def run(fill: float | None) -> dict[str, Any]:
        values = subject.make()
        for name in own if fill is not None else ():
            values[name] = vary(torch.empty_like(values[name]), fill)
        subject.run(values, fill=fill)
        return values

    try:
        values = run(FILL)
    except (WorkbookError, RuntimeError) as error:
        return True, f"with other values in it, the kernel fails: {getattr(error, 'what', '') or error}"
    changed = difference(outputs, values, own)
    if changed is not None:
        # The first run may have been on tensors that begin elsewhere in a cache line, where torch adds in another
        # order: a difference counts where it is one from a plain run on tensors made like those of the other run, too.
        plain = run(None)
        changed = difference({n: plain[n] for n in outputs}, values, own)
    if changed is None:
        return False, "no output depends on it for these inputs"
    return True, f"with other values in it, {changed}"


def _changed(subject: Subject, outputs: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> str | None:
    """What another run changed, in words; a difference counts as in `refilled`."""
    if difference(outputs, values) is None:
        return None
    plain = subject.make()
    subject.run(plain)
    return difference({n: plain[n] for n in outputs}, values)


def difference(
    was: Mapping[str, torch.Tensor], now: Mapping[str, Any], where: Mapping[str, torch.Tensor | None] | None = None
) -> str | None:
    """The first output that differs bit by bit, in words; `where`: of some outputs which elements count."""
    for name, before in was.items():
        before, after = fp4.elements(before), fp4.elements(now[name])
        if torch.equal(before, after):
            continue
        same = (before == after) | ((before != before) & (after != after))
        counted = (where or {}).get(name)
        if counted is not None:
            same |= ~counted
        n = int((~same).sum())
        if n:
            at = tuple((~same).nonzero()[0].tolist())
            a, b = apart(before[at].item(), after[at].item())
            return f"{n:,} of {before.numel():,} elements of '{name}' differ, the first at {list(at)}: {a} and {b}"
    return None
