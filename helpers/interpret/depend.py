"""Which task waits for which: as the program says, and as its memory accesses require.

Two graphs over the dispatches of a trace, edges pointing from the earlier to the later:

- `stated`: what the runtime would enforce. Edges declared with deps=, and, outside manual scopes, those inferred
  from the tensors that orchestration hands to each task and what the task does with them.
- `required`: what the elements really touched demand: read after write, write after write, write after read.

A required edge that no chain of stated edges enforces is a race.

The inference is that of PyPTO and its runtime. PyPTO's DeriveCallDirections (docs/en/dev/passes/37) turns a tensor
that a task only writes into InOut when a sequential loop is around, when the same scope wrote it before, or when the
kernel declares it InOut; else into OutputExisting. The runtime (simpler, pto_dep_compute.h) makes a task wait for the
last writers that overlap its Input and InOut tensors, and records it as a writer of its InOut and OutputExisting ones;
an InOut that covers an earlier write replaces it. Reads are not recorded, so the runtime never infers write after read
(simpler, docs/war-anti-dependency.md). Inside a manual scope a task neither looks up nor records anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx
import numpy as np

from helpers.interpret.trace import IN, INOUT, OUT, READ, Argument, Dispatch, Trace

KINDS = ("read after write", "write after write", "write after read")


@dataclass(frozen=True)
class Edge:
    """`later` must come after `earlier`; `why` is "deps", "inferred" or one of KINDS, on buffer `buffer` (-1: none)."""

    earlier: int
    later: int
    why: str
    buffer: int = -1


def declared(trace: Trace) -> list[Edge]:
    """Edges written with deps=."""
    return [Edge(e, d.index, "deps") for d in trace.dispatches for e in d.deps]


def inferred(trace: Trace, inout: Iterable[int] = ()) -> list[Edge]:
    """Edges that the runtime infers from task arguments; `inout` are buffers that the kernel declares InOut."""
    inout = frozenset(inout)
    writers: dict[int, list[tuple[Argument, int]]] = {}
    out: dict[tuple[int, int], Edge] = {}
    for d in trace.dispatches:
        if d.manual or d.dummy:
            continue
        mine = [(a, direction(d, a, bits, inout)) for a, bits in d.arguments.items() if tracked(trace, d, a)]
        for a, kind in mine:
            if kind == "OutputExisting":
                continue
            kept = []
            for w, writer in writers.get(a.buffer, ()):
                status = overlap(w, a)
                if status != "none" and writer != d.index:
                    out.setdefault((writer, d.index), Edge(writer, d.index, "inferred", a.buffer))
                if status == "covered" and kind == "InOut" and writer != d.index:
                    continue
                kept.append((w, writer))
            if a.buffer in writers:
                writers[a.buffer] = kept
        for a, kind in mine:
            if kind != "Input":
                writers.setdefault(a.buffer, []).append((a, d.index))
    return list(out.values())


def tracked(trace: Trace, d: Dispatch, a: Argument) -> bool:
    """False for what opted out: pl.create_tensor(manual_dep=True) and no_dep_args."""
    return not trace.buffers[a.buffer].manual_dep and a.buffer not in d.no_dep


def direction(d: Dispatch, a: Argument, bits: int, inout: frozenset[int]) -> str:
    """How the runtime is told of an argument: Input, InOut or OutputExisting."""
    if bits == IN:
        return "Input"
    if bits == INOUT:
        return "InOut"
    return "InOut" if d.sequential or a.buffer in d.rewritten or a.buffer in inout else "OutputExisting"


def overlap(written: Argument, mine: Argument) -> str:
    """ "none", "covered" (all of `written` lies in `mine`) or "other", as the runtime's tensor map decides it."""
    end = written.offset + _span(written)
    if not (mine.offset < end and written.offset < mine.offset + _span(mine)):
        return "none"
    if written.strides != mine.strides or not mine.strides or mine.strides[-1] != 1:
        return "other"
    if any(a % b for a, b in zip(mine.strides, mine.strides[1:])):
        return "other"
    inside = True
    p, q = written.offset, mine.offset
    for s, n, m in zip(mine.strides, written.extent, mine.extent):
        lo, start = p // s, q // s
        p, q = p % s, q % s
        if not (lo < start + m and start < lo + n):
            return "none"
        inside = inside and start <= lo and lo + n <= start + m
    return "covered" if inside else "other"


def _span(a: Argument) -> int:
    return 1 + sum((n - 1) * s for n, s in zip(a.extent, a.strides))


def required(trace: Trace) -> list[Edge]:
    """Edges that the elements touched demand, nearest ones only: to the last writers and to the readers since.

    Boxes of equal strides are compared exactly, others by the range of elements they span.
    """
    history: dict[int, list[tuple[int, int, object]]] = {}  # buffer -> (dispatch, mode, boxes)
    out: dict[tuple[int, int, str], Edge] = {}
    for d in trace.dispatches:
        if d.dummy:
            continue
        for (buffer, mode), boxes in _boxes(trace, d).items():
            past = history.setdefault(buffer, [])
            for earlier, was, theirs in reversed(past):
                if (mode == READ and was == READ) or earlier == d.index:
                    continue
                if not _touch(theirs, boxes):
                    continue
                why = KINDS[0] if mode == READ else KINDS[2] if was == READ else KINDS[1]
                out.setdefault((earlier, d.index, why), Edge(earlier, d.index, why, buffer))
        for (buffer, mode), boxes in _boxes(trace, d).items():
            history[buffer].append((d.index, mode, boxes))
    return list(out.values())


def _boxes(trace: Trace, d: Dispatch) -> dict[tuple[int, int], list[tuple[tuple, tuple, np.ndarray]]]:
    """Accesses of a dispatch by (buffer, READ or not): (extent, strides, sorted unique offsets)."""
    found: dict[tuple, list[np.ndarray]] = {}
    for p in d.parts:
        for s, off in zip(p.chunk.shapes, p.chunk.offsets):
            a = trace.shapes[s]
            key = (a.buffer, READ if a.mode == READ else OUT, a.extent, a.strides)
            found.setdefault(key, []).append(np.ravel(p.at(off)))
    out: dict[tuple[int, int], list] = {}
    for (buffer, mode, extent, strides), offsets in found.items():
        out.setdefault((buffer, mode), []).append((extent, strides, np.unique(np.concatenate(offsets))))
    return out


def _touch(theirs: list, mine: list) -> bool:
    return any(_cross(a, b) for a in theirs for b in mine)


def _cross(a: tuple, b: tuple) -> bool:
    """True when a box of `a` overlaps a box of `b`."""
    (ea, sa, oa), (eb, sb, ob) = a, b
    span_a = 1 + sum((n - 1) * s for n, s in zip(ea, sa))
    span_b = 1 + sum((n - 1) * s for n, s in zip(eb, sb))
    if oa[-1] + span_a <= ob[0] or ob[-1] + span_b <= oa[0]:
        return False
    near = (oa[:, None] < ob[None, :] + span_b) & (ob[None, :] < oa[:, None] + span_a)
    if sa != sb:
        return bool(near.any())
    i, j = np.nonzero(near)
    p, q = oa[i], ob[j]
    meet = np.ones(len(p), bool)
    for s, n, m in zip(sa, ea, eb):
        lo, start = p // s, q // s
        p, q = p % s, q % s
        meet &= (lo < start + m) & (start < lo + n)
    return bool(meet.any())


def graph(trace: Trace, edges: Iterable[Edge]) -> nx.DiGraph:
    """Dispatches as nodes, edges with their reason."""
    g = nx.DiGraph()
    g.add_nodes_from(d.index for d in trace.dispatches)
    g.add_edges_from((e.earlier, e.later, {"why": e.why, "buffer": e.buffer}) for e in edges)
    return g


def races(trace: Trace, inout: Iterable[int] = ()) -> list[Edge]:
    """Required edges that no chain of stated edges enforces."""
    stated = graph(trace, [*declared(trace), *inferred(trace, inout)])
    after: dict[int, frozenset[int]] = {}
    out = []
    for e in required(trace):
        if e.earlier not in after:
            after[e.earlier] = frozenset(nx.descendants(stated, e.earlier))
        if e.later not in after[e.earlier]:
            out.append(e)
    return out
