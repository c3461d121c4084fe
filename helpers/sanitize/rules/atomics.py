"""Sums in global memory that several tasks add to in no order: of floats they depend on which one comes first.

A sum of integers, or of floats that need no rounding, does not. So a finding needs the proof: the kernel runs again in
another order that is allowed, and an output is not the same, bit by bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from helpers.interpret.source.source import Place
from helpers.interpret.trace.boxes import clear
from helpers.interpret.trace.trace import ATOMIC, Access, Dispatch, Trace
from helpers.sanitize.rules import touched
from helpers.sanitize.rules.findings import HINT, Finding
from helpers.sanitize.rules.order import ancestors

MOST_PAIRS = 100  # of launches that add to one buffer


@dataclass(frozen=True)
class Sum:
    """Elements that two tasks add to, neither of which waits for the other: where, and which launches.

    `earlier` is `later` where they are blocks of one launch.
    """

    place: Place
    buffer: int
    earlier: int
    later: int


def sums(trace: Trace) -> list[Sum]:
    """The first sum of floats in no order at each line that adds."""
    out: dict[Place, Sum] = {}
    adding: dict[int, list[Dispatch]] = {}
    for d in trace.dispatches:
        mine = {a.buffer: a.place for a, _, _ in _adds(trace, d)}
        for buffer, place in mine.items():
            adding.setdefault(buffer, []).append(d)
            if place not in out and _blocks_meet(trace, d, buffer):
                out[place] = Sum(place, buffer, d.index, d.index)
    past = ancestors(trace) if any(len(ds) > 1 for ds in adding.values()) else None
    for buffer, launches in adding.items() if past is not None else ():
        ends = [(launches[0], launches[-1])] if len(launches) > 1 else []
        for first, second in (*ends, *itertools.islice(itertools.pairwise(launches), MOST_PAIRS)):
            place = next(a.place for a, _, _ in _adds(trace, second) if a.buffer == buffer)
            if place in out or (past(second.index) >> first.index) & 1:
                continue
            if _launches_meet(trace, first, second, buffer):
                out[place] = Sum(place, buffer, first.index, second.index)
    return list(out.values())


def finding(trace: Trace, s: Sum, proof: str) -> Finding:
    """A sum whose order changes an output."""
    b, d = trace.buffers[s.buffer], trace.dispatches[s.later]
    who = f"blocks of task '{d.name}'" if s.earlier == s.later else f"launches of task '{d.name}'"
    return Finding(
        "atomic-order", HINT,
        f"{who} add to the same elements of {touched.name(b)} in the order in which they end: the sum rounds otherwise "
        "with each order of blocks",
        s.place, b.place, "declared here" if b.argument else "allocated here", d.name,
        fix="nothing, where a result may differ from run to run by rounding; else give each block a part of its own, "
        "and add those up in one task", proof=proof,
    )  # fmt: skip


def _adds(trace: Trace, d: Dispatch) -> Iterator[tuple[Access, object, np.ndarray]]:
    """The atomic additions of floats that a launch makes: (access, offsets, blocks)."""
    for part in d.parts:
        shapes = part.chunk.shapes
        for n in np.flatnonzero([trace.shapes[s].mode == ATOMIC for s in shapes.tolist()]).tolist():
            access = trace.shapes[shapes[n]]
            if access.elements and trace.buffers[access.buffer].dtype.is_float:
                yield access, part.at(part.chunk.offsets[n]), touched.blocks(part)


def _blocks_meet(trace: Trace, d: Dispatch, buffer: int) -> bool:
    if d.blocks < 2:
        return False
    owner = np.zeros(trace.buffers[buffer].size, np.int32)  # 1 + the block that added
    for access, offsets, ids in _adds(trace, d):
        if access.buffer != buffer:
            continue
        for row, block in enumerate(ids.tolist()):
            at = int(offsets[row]) if np.ndim(offsets) else int(offsets)
            for _, view in touched.views(owner, access, at, np.array([block])):
                if ((view != 0) & (view != 1 + block)).any():
                    return True
                view[...] = 1 + block
    return False


def _launches_meet(trace: Trace, first: Dispatch, second: Dispatch, buffer: int) -> bool:
    theirs = [(a, np.unique(o)) for a, o, _ in _adds(trace, first) if a.buffer == buffer]
    for mine, offsets, _ in _adds(trace, second):
        if mine.buffer != buffer:
            continue
        for other, there in theirs:
            apart = clear(np.unique(offsets), mine.extent, mine.strides, there, other.extent, other.strides)
            if not apart.all():
                return True
    return False
