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
(simpler, docs/war-anti-dependency.md). Inside a manual scope a task neither looks up nor records anything. What the
compiler of an earlier day did otherwise is in `helpers.interpret.trace.compilers`.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from weakref import WeakKeyDictionary

import networkx as nx
import numpy as np

from helpers.interpret.trace.cells import pitch, rectangles, union, waits
from helpers.interpret.trace.compilers import TODAY, Compiler
from helpers.interpret.trace.edges import KINDS, WHYS, Edge, Edges
from helpers.interpret.trace.trace import IN, INOUT, READ, Argument, Chunk, Dispatch, Trace
from helpers.interpret.trace.writers import Writers

_stated: WeakKeyDictionary[Trace, tuple[int, Compiler, Edges]] = WeakKeyDictionary()


def stated(trace: Trace, compiler: Compiler = TODAY) -> Edges:
    """What the runtime would enforce of a finished run: `declared`, then `inferred`. Found once for each trace."""
    launches, by, edges = _stated.get(trace, (-1, None, None))
    if launches != len(trace.dispatches) or by != compiler:
        edges = Edges.joined(declared(trace), inferred(trace, trace.inout, compiler))
        _stated[trace] = (len(trace.dispatches), compiler, edges)
    return edges


def waves(trace: Trace, edges: Iterable[Edge]) -> np.ndarray:
    """For each launch the number of launches that must end before it, one after the other, at least; INT64 [launches].

    With cores without limit, launches of one wave run side by side; the largest wave + 1 is the longest chain.
    """
    earlier, later = (x.tolist() for x in Edges.of(edges).pairs())
    wave = [0] * len(trace.dispatches)
    for a, b in zip(earlier, later):
        wave[b] = max(wave[b], wave[a] + 1)
    return np.array(wave, np.int64)


def longest_chain(trace: Trace) -> int:
    """Launches that must run one after the other, at least."""
    return int(waves(trace, stated(trace)).max(initial=-1)) + 1


def declared(trace: Trace) -> Edges:
    """Edges written with deps=."""
    return Edges.of(Edge(e, d.index, "deps") for d in trace.dispatches for e in d.deps)


def inferred(trace: Trace, inout: Iterable[int] = (), compiler: Compiler = TODAY) -> Edges:
    """Edges that the runtime infers from task arguments; `inout` are buffers that the kernel declares InOut.

    Of a real run: those that it did infer, whatever the `compiler`.
    """
    if trace.recorded is not None:
        return Edges.of(e for e in trace.recorded.edges if e.why != "deps")
    inout = frozenset(inout)
    writers: defaultdict[int, Writers] = defaultdict(Writers)
    earlier, buffers, count = array("i"), array("i"), array("i")
    turns = _Turns(trace)
    for d in trace.dispatches:
        found: dict[int, int] = {}  # a task that this one waits for -> the first buffer because of which it does
        if not (d.manual or d.dummy):
            mine = [
                (
                    a,
                    direction(d, a, bits, inout)
                    if compiler is TODAY
                    else _earlier(trace, d, a, bits, inout, compiler, turns),
                )
                for a, bits in d.arguments.items()
                if tracked(trace, d, a)
            ]
            for a, kind in mine:
                if kind != "OutputExisting" and a.buffer in writers:
                    for writer in writers[a.buffer].meeting(a, replaces=kind == "InOut"):
                        found.setdefault(writer, a.buffer)
            for a, kind in mine:
                if kind != "Input":
                    writers[a.buffer].append(a, d.index)
        earlier.extend(found)
        buffers.extend(found.values())
        count.append(len(found))
    later = np.repeat([d.index for d in trace.dispatches], count).astype(np.int32)
    why = np.full(len(later), WHYS.index("inferred"), np.int8)
    return Edges(np.array(earlier, np.int32), later, why, np.array(buffers, np.int32))


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


def _earlier(
    trace: Trace, d: Dispatch, a: Argument, bits: int, inout: frozenset[int], compiler: Compiler, turns: _Turns
) -> str:
    """`direction` by an earlier compiler's rules."""
    if bits in (IN, INOUT):
        return "Input" if bits == IN else "InOut"
    created = not trace.buffers[a.buffer].argument
    if compiler.created:
        return "InOut" if created or a.buffer in inout else "OutputExisting"
    if a.buffer in inout:
        return "InOut"
    if not (created or compiler.parameters):
        return "OutputExisting"
    apart = compiler.apart and turns.differ(d, a.buffer)
    return "InOut" if (d.sequential and not apart) or a.buffer in d.rewritten else "OutputExisting"


class _Turns:
    """Where the launches of one line stored last, by buffer."""

    def __init__(self, trace: Trace):
        self.trace = trace
        self.last: dict[tuple[int, int], int] = {}

    def differ(self, d: Dispatch, buffer: int) -> bool:
        """Whether a launch stores somewhere else than the one of the same line before it."""
        shapes = self.trace.shapes
        first = min(
            (
                int(np.min(p.at(offset)))
                for p in d.parts
                for s, offset in zip(p.chunk.shapes.tolist(), p.chunk.offsets)
                if shapes[s].buffer == buffer and shapes[s].mode != READ
            ),
            default=-1,
        )
        key = id(d.place), buffer
        before, self.last[key] = self.last.get(key), first
        return before != first


def required(trace: Trace) -> list[Edge]:
    """Edges that the elements touched demand: each task after the nearest ones that it must come after.

    Two tasks that touch one element, one of them to write it, are either such an edge or joined by a chain of them.
    Atomic additions are in no order among themselves.
    """
    return sorted(_required(trace), key=lambda e: (e.later, e.earlier, KINDS.index(e.why)))


def _required(trace: Trace) -> Iterator[Edge]:
    touches = _touches(trace)
    seen: set[tuple[int, int, str]] = set()
    for buffer in sorted(touches):
        for edge in waits(touches[buffer]):
            if edge not in seen:
                seen.add(edge)
                yield Edge(*edge, buffer)


def _touches(trace: Trace) -> dict[int, list[tuple[int, int, np.ndarray]]]:
    """What `cells.waits` takes, for each buffer that several launches touch and one writes."""
    users: dict[int, set[int]] = {}
    written = set()
    strides: dict[int, list] = {}
    for d in trace.dispatches:
        touched = {s for p in (() if d.dummy else d.parts) for s in p.chunk.shapes.tolist()}
        for a in (*(trace.shapes[s] for s in sorted(touched)), *(a for a, _ in d.gates)):
            users.setdefault(a.buffer, set()).add(d.index)
            if a.mode != READ:
                written.add(a.buffer)
            if a.strides not in (known := strides.setdefault(a.buffer, [])):
                known.append(a.strides)
    rows = {b: pitch(strides[b], trace.buffers[b].size) for b in written if len(users[b]) > 1}
    pieces: dict[int, dict] = {}  # id of a chunk -> what it touches
    out: dict[int, list[tuple[int, int, np.ndarray]]] = {}
    for d in trace.dispatches:
        found: dict[tuple[int, int], list[np.ndarray]] = {}
        for a, offset in d.gates:
            if a.buffer in rows:
                boxes, _ = rectangles(np.array([offset]), a.extent, a.strides, rows[a.buffer])
                found.setdefault((a.buffer, READ), []).append(boxes)
        for p in () if d.dummy else d.parts:
            key = id(p.chunk)
            if key not in pieces:
                pieces[key] = _pieces(trace, p.chunk, rows)
            for where, parts in pieces[key].items():
                for boxes, first in parts:
                    mine = boxes if p.row is None else boxes[first[p.row] : first[p.row + 1]]
                    found.setdefault(where, []).append(mine)
        for buffer, mode in sorted(found):  # READ comes first
            boxes = np.concatenate(found[buffer, mode])
            out.setdefault(buffer, []).append((d.index, mode, union(boxes)))
    return out


def _pieces(trace: Trace, chunk: Chunk, rows: dict[int, int]) -> dict[tuple[int, int], list]:
    """By (buffer, mode): rectangles that the chunk's blocks touch, ordered by block, and where those of each begin."""
    offsets: dict[int, list[np.ndarray]] = {}
    count = len(chunk.blocks)
    for s, off in zip(chunk.shapes.tolist(), chunk.offsets):
        if trace.shapes[s].buffer in rows:
            offsets.setdefault(s, []).append(np.broadcast_to(off, count))
    out: dict[tuple[int, int], list] = {}
    for s, found in offsets.items():
        a = trace.shapes[s]
        if not a.elements:
            continue
        flat = np.stack(found, 1).astype(np.int64)
        boxes, owner = rectangles(flat.reshape(-1), a.extent, a.strides, rows[a.buffer])
        owner //= len(found)
        order = np.argsort(owner, kind="stable")
        first = np.searchsorted(owner[order], np.arange(count + 1))
        out.setdefault((a.buffer, a.mode), []).append((boxes[order], first))
    return out


def graph(trace: Trace, edges: Iterable[Edge]) -> nx.DiGraph:
    """Dispatches as nodes, edges with their reason."""
    g = nx.DiGraph()
    g.add_nodes_from(d.index for d in trace.dispatches)
    g.add_edges_from((e.earlier, e.later, {"why": e.why, "buffer": e.buffer}) for e in edges)
    return g


def races(trace: Trace) -> list[Edge]:
    """Required edges that no chain of stated edges enforces."""
    before: dict[int, set[int]] = {}
    edges = stated(trace)
    for earlier, later in zip(edges.earlier.tolist(), edges.later.tolist()):
        before.setdefault(later, set()).add(earlier)
    open_ = [e for e in required(trace) if e.earlier not in before.get(e.later, ())]
    return unordered(open_, before)


SOURCES = 4096  # launches whose successors are looked for at once, a bit each


def unordered(edges: list[Edge], before: Mapping[int, Iterable[int]]) -> list[Edge]:
    """Those of `edges` that no chain enforces; `before`: launch -> those that it waits for, all of them earlier."""
    sources = sorted({e.earlier for e in edges})
    out = []
    for i in range(0, len(sources), SOURCES):
        bit = {s: 1 << n for n, s in enumerate(sources[i : i + SOURCES])}
        mine = [e for e in edges if e.earlier in bit]
        reach: dict[int, int] = {}  # launch -> sources that it comes after, and itself
        for d in range(sources[i], max(e.later for e in mine) + 1):
            bits = bit.get(d, 0)
            for p in before.get(d, ()):
                bits |= reach.get(p, 0)
            if bits:
                reach[d] = bits
        out += [e for e in mine if not reach.get(e.later, 0) & bit[e.earlier]]
    return sorted(out, key=lambda e: (e.later, e.earlier, KINDS.index(e.why)))
