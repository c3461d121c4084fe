"""Runs without arithmetic that compute what control flow reads, and nothing else.

How often a loop runs, which arm of an if, which blocks a launch has: a kernel may take that from memory that an
earlier task wrote. Without arithmetic it is not there. So the kernel is gone through again, and the launches that
wrote such memory are run this time, with all that they read in turn, until nothing is asked for that is not known.
Where that would be too much work, what is not known is taken for 0 and for 1: if both give the same work, it decides
nothing; if not, the trace is `partial`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from helpers.chips import Chip
from helpers.errors import FaultError
from helpers.interpret.batches import Unfollowed
from helpers.interpret.call import arrange, interpret
from helpers.interpret.lower import compile_kernel
from helpers.interpret.machine import UNKNOWN, Follow
from helpers.interpret.trace import READ, WRITE, Trace

PASSES = 12
# What may be computed, in seconds at 1e11 FLOPs of products and 1e9 elements of vector work a second (measured with
# bench.interpreters on two cores), and how much memory may be kept.
SECONDS, BYTES = 10.0, 1 << 31


def trace(
    kernel: Any,
    args: Sequence[Any] | Mapping[str, Any],
    platform: str,
    chip: Chip,
    make: Mapping[str, Callable[[], torch.Tensor]] | None = None,
) -> Trace:
    """The trace of a run without arithmetic; no tensor of `args` changes.

    Args:
        make: For arguments without memory (torch's "meta" device): what they would hold.

    Raises:
        KernelError, InputError, FaultError: as `interpret`.
    """
    compiled = compile_kernel(kernel)
    names, values = [p.name for p in compiled.parameters], arrange(compiled, args)
    wanted = Follow()
    for _ in range(PASSES):
        given = _given(names, values, wanted, make or {})
        if given is None:
            break
        found, fault = wanted.again(), None
        try:
            interpret(kernel, given, platform, chip, dry=True, follow=found)
        except FaultError as e:
            fault = e
        except Unfollowed:
            pass
        if not found.asked and not found.asked_of:
            if fault is not None:
                raise fault
            return found.trace
        grown = _grown(found)
        if (grown.memory, grown.sites) == (wanted.memory, wanted.sites) or _seconds(found.trace, grown) > SECONDS:
            break
        wanted = grown
    return _guessed(kernel, args, platform, chip)


def _given(names: list[str], values: list, wanted: Follow, make: Mapping[str, Callable]) -> list | None:
    """The arguments of a pass, with memory of their own where it is kept; None where that is too much or not known."""
    out, total = [], 0
    for name, value in zip(names, values):
        if name in wanted.memory and isinstance(value, torch.Tensor):
            total += value.numel() * value.element_size()
            if total > BYTES or (value.device.type == "meta" and name not in make):
                return None
            value = make[name]() if value.device.type == "meta" else value.clone()
        out.append(value)
    return out


def _grown(found: Follow) -> Follow:
    """What the next pass has to keep and to run: what this one asked for, and all that those launches read."""
    t = found.trace
    memory, sites = found.memory | found.asked, found.sites | found.asked_of
    reads: dict[Any, set] = {}
    writes: dict[Any, set] = {}
    seen: dict[int, tuple[set, set]] = {}
    for d in t.dispatches:
        for p in d.parts:
            if id(p.chunk) not in seen:
                accesses = [t.shapes[s] for s in set(p.chunk.shapes.tolist())]
                seen[id(p.chunk)] = (
                    {t.buffers[a.buffer].key for a in accesses if a.mode != WRITE},
                    {t.buffers[a.buffer].key for a in accesses if a.mode != READ},
                )
            read, written = seen[id(p.chunk)]
            reads.setdefault(d.place, set()).update(read)
            writes.setdefault(d.place, set()).update(written)
    while True:
        more = sites | {place for place, written in writes.items() if written & memory}
        kept = memory.union(*(reads.get(place, ()) for place in more))
        if (more, kept) == (sites, memory):
            return Follow(frozenset(memory), frozenset(sites), found.inside)
        sites, memory = more, kept


def _seconds(t: Trace, wanted: Follow) -> float:
    """How long the launches that are to be run would take."""
    parts = [p for d in t.dispatches if d.place in wanted.sites for p in d.parts]
    return sum((p.chunk.work.cube_flops / 1e11 + p.chunk.work.vector_elements / 1e9) * len(p) for p in parts)


def _guessed(kernel: Any, args: Any, platform: str, chip: Chip) -> Trace:
    """Twice through, with 0 and with 1 for what is not known: a loop over 0 items shows nothing, over one what it does.

    When both give the same work, elements of that kind decide nothing.
    """
    found: list[Trace] = []
    faults: list[FaultError] = []
    for guess in (0, 1):
        token = UNKNOWN.set(guess)
        try:
            found.append(interpret(kernel, args, platform, chip, dry=True))
        except FaultError as e:
            if e.kind == "on-chip overflow":  # tiles have constant extents, so it is no matter of the guess
                raise
            faults.append(e)
        finally:
            UNKNOWN.reset(token)
    if not found:
        raise faults[0]
    last = found[-1]
    last.blind = bool(faults) or work(found[0]) != work(last)
    if last.blind:
        last.partial = "loops or launches go by numbers that the kernel computes, which this run has not computed"
    return last


def work(t: Trace) -> tuple:
    """What a trace's tasks do, as far as two runs of a kernel can differ in it."""
    fields = ("cube_flops", "vector_elements", "loads", "stores", "gm_read_bytes", "gm_write_bytes")
    return t.tasks_by_name(), [t.total(f) for f in fields]
