"""Runs without arithmetic that compute what control flow reads, and nothing else.

How often a loop runs, which arm of an if, which blocks a launch has: a kernel may take that from memory that an
earlier task wrote. Without arithmetic it is not there. So the kernel is gone through again, and the launches that
wrote such memory are run this time, with all that they read in turn, until nothing is asked for that is not known.
What would be much work is guessed first (GUESSES): if all guesses give the same work, it decides nothing, and is not
computed. If it decides something, it is computed all the same, unless that is too much: then the trace is `partial`.

What a run had to compute is remembered: the next one of the same kernel, for another chip or other lengths, begins with
it where the arguments that this takes have the shapes that they had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch

from helpers.chips import Chip
from helpers.errors import FaultError
from helpers.interpret.call import arrange, interpret
from helpers.interpret.lowering.lower import compile_kernel
from helpers.interpret.machine.batches import Unfollowed
from helpers.interpret.machine.machine import Follow
from helpers.interpret.trace.trace import READ, WRITE, Trace

PASSES = 12
# What may be computed, in seconds at 1e11 FLOPs of products and 1e9 elements of vector work a second (measured with
# bench.interpreters on two cores), and how much memory may be kept; from when on guesses are tried first, in the same
# seconds and those that it takes to make arguments, at 1e8 random elements a second.
SECONDS, BYTES, MUCH = 10.0, 1 << 31, 0.5
MADE = 1e8
GUESSES = 0, 1, 4096, 512, 64, 8

_computed: WeakKeyDictionary[Callable, tuple[dict, Follow]] = WeakKeyDictionary()  # by a kernel's code: shapes, what


def trace(
    kernel: Any,
    args: Sequence[Any] | Mapping[str, Any],
    platform: str,
    chip: Chip,
    make: Mapping[str, Callable[[], torch.Tensor]] | None = None,
    tell: Callable[[int], None] | None = None,
) -> Trace:
    """The trace of a run without arithmetic; no tensor of `args` changes.

    Args:
        make: For arguments without memory (torch's "meta" device): what they would hold.
        tell: Called with n when n tasks are about to be gone through together.

    Raises:
        KernelError, InputError, FaultError: as `interpret`.
    """
    compiled = compile_kernel(kernel)
    names, values = [p.name for p in compiled.parameters], arrange(compiled, args)
    arguments = {n: v for n, v in zip(names, values) if isinstance(v, torch.Tensor)}
    shapes = {n: (x.shape, x.dtype, not x.is_meta or n in (make or {})) for n, x in arguments.items()}
    known, computed = _computed.get(compiled.run, ({}, Follow()))
    wanted, too_much, tried = computed.again() if known.items() <= shapes.items() else Follow(), (set(), set()), False
    values_of = dict(zip(names, values))
    once = partial(interpret, kernel, platform=platform, chip=chip, dry=True, tell=tell)
    for _ in range(PASSES):
        given = _given(arguments, wanted, make or {})
        found, fault = wanted.again(repeats=True), None
        try:
            once([given.get(n, v) for n, v in zip(names, values)], follow=found)
        except FaultError as e:
            fault = e
        except Unfollowed:
            pass
        if not found.asked and not found.asked_of:
            if fault is not None:
                raise fault
            _computed[compiled.run] = {n: shapes[n] for n in wanted.memory if n in shapes}, wanted
            return found.trace
        grown = found.again()
        asked = [({m}, set()) for m in found.asked - too_much[0]] + [(set(), {s}) for s in found.asked_of - too_much[1]]
        apart = [_grown(found.trace, wanted, *one) for one in asked]
        for _, one in sorted(zip(apart, asked), key=lambda pair: _seconds(found.trace, pair[0])):
            more = _grown(found.trace, grown, *one)
            kept = {n: arguments[n] for n in more.memory if n in arguments}
            made = all(n in (make or {}) for n, x in kept.items() if x.is_meta)
            if made and sum(x.nbytes for x in kept.values()) <= BYTES and _seconds(found.trace, more) <= SECONDS:
                grown = more
            else:
                too_much[0].update(one[0])
                too_much[1].update(one[1])
        if (grown.memory, grown.sites) == (wanted.memory, wanted.sites):
            break
        to_make = sum(x.numel() for n, x in arguments.items() if n in grown.memory - wanted.memory and x.is_meta)
        if not tried and _seconds(found.trace, grown) + to_make / MADE > MUCH:
            tried = True
            given_now = partial(_given, arguments, wanted, make or {})
            with suppress(FaultError):  # a fault of a guess; the kernel's own comes again
                guessed = _guessed(once, values_of, given_now, wanted)
                if not guessed.blind:
                    return guessed
        wanted = grown
    return _guessed(once, values_of, lambda: _given(arguments, wanted, make or {}), wanted)


def _given(arguments: Mapping[str, torch.Tensor], wanted: Follow, make: Mapping[str, Callable]) -> dict:
    """The arguments that a pass keeps, each with memory of its own."""
    kept = {n: x for n, x in arguments.items() if n in wanted.memory}
    return {n: make[n]() if x.is_meta else x.clone() for n, x in kept.items()}


def _grown(t: Trace, wanted: Follow, asked: set, asked_of: set) -> Follow:
    """`wanted` and what another pass has to keep and run so that this is known too: all that its launches read."""
    memory, sites = wanted.memory | asked, wanted.sites | asked_of
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
            return Follow(frozenset(memory), frozenset(sites), wanted.inside)
        sites, memory = more, kept


def _seconds(t: Trace, wanted: Follow) -> float:
    """How long the launches that are to be run would take."""
    parts = [p for d in t.dispatches if d.place in wanted.sites for p in d.parts]
    return sum((p.chunk.work.cube_flops / 1e11 + p.chunk.work.vector_elements / 1e9) * len(p) for p in parts)


def _guessed(once: Callable[..., Trace], args: dict, given: Callable[[], dict], wanted: Follow) -> Trace:
    """Through with each of GUESSES for what is not known, which decides nothing when all give the same work.

    A loop over no item shows nothing, over one what it does; a larger guess is for bounds that are divided first, and
    for comparisons with other numbers than these. The largest that is not out of bounds where it is an offset will do.
    `once`: goes through the kernel. `given`: makes the arguments that are kept.
    """
    found: list[Trace] = []
    faults: list[FaultError] = []

    def guessed(guess: int) -> Trace:
        try:
            return once(list({**args, **given()}.values()), follow=wanted.again(), guess=guess)
        except Unfollowed:  # what was not asked for before is, where the guess leads
            return once(list(args.values()), guess=guess)

    for guess in GUESSES:
        try:
            found.append(guessed(guess))
        except FaultError as e:
            if e.kind == "on-chip overflow":  # tiles have constant extents, so it is no matter of the guess
                raise
            if guess > 1 and e.kind == "out of bounds":
                continue
            faults.append(e)
        if guess > 1 or faults or (found and work(found[0]) != work(found[-1])):
            break
    if not found:
        raise faults[0]
    last = found[-1]
    last.blind = bool(faults) or work(found[0]) != work(last)
    if last.blind:
        last.partial = "loops or launches go by numbers that the kernel computes, which this run has not computed"
    return last


def work(t: Trace) -> tuple:
    """What a trace's tasks do, as far as two runs of a kernel can differ in it."""
    fields = ("cube_flops", "vector_elements", "loads", "stores", "gm_read_bytes", "gm_write_bytes", "ring_bytes")
    return t.tasks_by_name(), [t.total(f) for f in fields]
