"""Proof by running again: in an order that a missing dependency allows, or over memory that held something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from helpers.chips import Chip
from helpers.errors import WorkbookError
from helpers.interpret.call import interpret
from helpers.interpret.machine import Replay
from helpers.interpret.trace import Trace
from helpers.sanitize.order import Clash, ancestors

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
    memory: dict[int, torch.Tensor] = {}
    try:
        if clash.edge is None:
            subject.run(values, replay=Replay(backward=True))
            order = f"with the blocks of '{trace.dispatches[clash.dispatch].name}' run from the last to the first"
        else:
            past = ancestors(trace)
            if past is None:
                return ""
            bits = past(clash.edge.later)
            first = frozenset(i for i in range(clash.edge.later + 1) if i == clash.edge.later or (bits >> i) & 1)
            rest = frozenset(d.index for d in trace.dispatches) - first
            subject.run(values, replay=Replay(only=first, memory=memory))
            subject.run(values, replay=Replay(only=rest, memory=memory))
            a, b = trace.dispatches[clash.edge.later].name, trace.dispatches[clash.edge.earlier].name
            order = f"with '{a}' before '{b}'"
    except WorkbookError as error:
        return f"run in an order that is allowed, the kernel fails: {error.what or error}"
    changed = _changed(subject, outputs, values)
    if changed is None:
        return f"{order} the outputs are the same on these inputs"
    return f"{order}, an order that is allowed, {changed}"


def refilled(subject: Subject, outputs: Mapping[str, torch.Tensor]) -> tuple[bool, str]:
    """Run over memory that held other values; whether an output depends on them, and how."""
    values = subject.make()
    try:
        subject.run(values, fill=FILL)
    except (WorkbookError, RuntimeError) as error:
        return True, f"with other values in it, the kernel fails: {getattr(error, 'what', '') or error}"
    changed = _changed(subject, outputs, values)
    if changed is None:
        return False, "no output depends on it for these inputs"
    return True, f"with other values in it, {changed}"


def _changed(subject: Subject, outputs: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> str | None:
    """What another run changed, in words.

    The first run may have been on tensors that begin elsewhere in a cache line, where torch adds in another order: a
    difference counts where it is one from a plain run on tensors made like those of the other run, too.
    """
    if difference(outputs, values) is None:
        return None
    plain = subject.make()
    subject.run(plain)
    return difference({n: plain[n] for n in outputs}, values)


def difference(was: Mapping[str, torch.Tensor], now: Mapping[str, Any]) -> str | None:
    """The first output that differs bit by bit, in words."""
    for name, before in was.items():
        after = now[name]
        if torch.equal(before, after):
            continue
        same = (before == after) | ((before != before) & (after != after))
        n = int((~same).sum())
        if n:
            at = tuple((~same).nonzero()[0].tolist())
            return (
                f"{n:,} of {before.numel():,} elements of '{name}' differ, "
                f"the first at {list(at)}: {before[at].item():.6g} and {after[at].item():.6g}"
            )
    return None
