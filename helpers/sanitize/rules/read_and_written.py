"""Memory that is read before it is written, never written, or written and never read; parameters used as declared.

One walk over a trace in program order, with a bit for each element of each buffer that says whether it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import ATOMIC, READ, WRITE, Access, Trace
from helpers.interpret.values.values import Buffer
from helpers.sanitize.rules import origin, touched
from helpers.sanitize.rules.findings import ERROR, HINT, WARNING, Finding


@dataclass(frozen=True)
class Stale:
    """A read of elements that nothing has written: where, of which buffer, by which task, which elements."""

    place: Place
    buffer: int
    task: str
    block: int
    elements: np.ndarray


@dataclass
class Memory:
    """What the walk found. `masks`: for each buffer that did not begin written, a bool for each element."""

    stale: list[Stale]
    masks: dict[int, np.ndarray]
    left: dict[int, int]  # elements that are not written
    reads: dict[int, Place]  # first read of each buffer
    writes: dict[int, tuple[Place, str]]  # last write of each buffer, and its task


def walk(trace: Trace, directions: dict[str, str], initialised: Iterable[str] = (), dry: bool = False) -> Memory:
    """Go through a trace in program order.

    Args:
        directions: "In", "Out" or "InOut" of each tensor parameter.
        dry: The run was one without arithmetic.
        initialised: Parameters declared Out that hold values before the run all the same.
    """
    began = set(initialised)
    masks: dict[int, np.ndarray] = {}
    left: dict[int, int] = {}
    for b in trace.buffers:
        held = (directions.get(b.name, "In") != "Out" or b.name in began) if b.argument else b.initialised
        left[b.id] = 0 if held else b.size
    found = Memory([], masks, left, {}, {})
    seen: set[tuple] = set()

    def visit(access: Access, offsets: object, ids: np.ndarray, task: str) -> None:
        b = access.buffer
        if access.mode in (READ, ATOMIC):
            found.reads.setdefault(b, access.place)
            if left[b] and (key := (access.place, b)) not in seen:
                for blocks, view in touched.views(_mask(masks, trace, b), access, offsets, ids):
                    if view.all():
                        continue
                    row = int(np.flatnonzero(~view.reshape(len(view), -1).all(1))[0])
                    offset = int(offsets[list(ids).index(blocks[row])] if np.ndim(offsets) else offsets)
                    gone = touched.marked(access, offset, ~view[row])
                    found.stale.append(Stale(access.place, b, task, int(blocks[min(row, len(blocks) - 1)]), gone))
                    seen.add(key)
                    break
        if access.mode in (WRITE, ATOMIC):
            found.writes[b] = (access.place, task)
            if left[b]:
                for _, view in touched.views(_mask(masks, trace, b), access, offsets, ids):
                    new = view.size - int(np.count_nonzero(view))
                    if new:
                        view[...] = True
                        left[b] -= new

    host = sorted(trace.host, key=lambda h: h[0])
    for d in trace.dispatches:
        while host and host[0][0] <= d.index:
            _, access, offset = host.pop(0)
            visit(access, offset, np.zeros(1, np.int64), "orchestration")
        for access, offset in d.gates:
            visit(access, offset, np.zeros(1, np.int64), d.name)
        for part in d.parts:
            ids = touched.blocks(part)
            for access, offsets in touched.accesses(trace, part):
                visit(access, offsets, ids, d.name)
    for _, access, offset in host:
        visit(access, offset, np.zeros(1, np.int64), "orchestration")
    if dry:  # turns of a loop that run as one have their copies in orchestration noted before their launches
        found.stale = [s for s in found.stale if s.task != "orchestration" or not masks[s.buffer][s.elements].all()]
    return found


def _mask(masks: dict[int, np.ndarray], trace: Trace, b: int) -> np.ndarray:
    if b not in masks:
        masks[b] = np.zeros(trace.buffers[b].size, bool)
    return masks[b]


def written(memory: Memory, b: Buffer) -> np.ndarray | None:
    """Which elements of a buffer that began without values hold some at the end, flat; None: all."""
    return None if not memory.left[b.id] else memory.masks.get(b.id, np.zeros(b.size, bool))


def uninitialized(trace: Trace, memory: Memory, reaches: bool | None, proof: str = "") -> list[Finding]:
    """Reads of what nothing has written. `reaches`: whether an output depends on it; None: not known."""
    out = []
    for s in memory.stale:
        b = trace.buffers[s.buffer]
        where = touched.text(b, s.elements)
        harmless = reaches is False
        out.append(
            Finding(
                "uninitialized-read",
                HINT if harmless else ERROR,
                f"task '{s.task}' reads {len(s.elements):,} elements of {touched.name(b)} that nothing has written",
                s.place,
                b.place,
                "declared here" if b.argument else "allocated here",
                s.task,
                where,
                "write them first, in a task this one waits for; or read only what is written (valid_shape=)",
                proof,
            )
        )
    return out


def unwritten(
    trace: Trace,
    memory: Memory,
    directions: dict[str, str],
    extents: Iterable[int],
    rebound: Callable[[str], Place | None] = lambda _: None,
) -> list[Finding]:
    """Elements of outputs that no task writes. `rebound`: where the name of one is bound to something else.

    Rows from a dynamic extent on are padding: an output of 16 rows with a batch of 5 may leave the last 11 alone.
    """
    sizes = set(extents)
    out = []
    for b in trace.buffers:
        if not b.argument or directions.get(b.name) != "Out" or not memory.left[b.id]:
            continue
        mask = _mask(memory.masks, trace, b.id)
        shape = b.shape or (b.size,)
        gone = ~mask.reshape(shape)
        if touched.is_padding(gone, sizes):
            continue
        what = f"{int(gone.sum()):,} of {b.size:,} elements of output '{b.name}' are never written"
        fix = "write them; or, where they are to keep what they hold, declare the parameter pl.InOut"
        found = _gone(trace, memory, b, gone, ERROR, what, fix)
        at = rebound(b.name) if b.id not in memory.writes else None
        if at is not None:
            what += f": '{b.name}' is bound to something else, which stores nothing"
            fix = f"store a tile to it: {b.name} = pl.assemble({b.name}, tile, offset)"
            found = replace(found, what=what, place=at, other=b.place, role="declared here", fix=fix)
        out.append(found)
    return out


def _gone(
    trace: Trace, memory: Memory, b: Buffer, gone: np.ndarray, severity: str, what: str, fix: str
) -> Finding:  # fmt: skip
    """Elements that nothing writes: at the loop that stops before it comes to them, else at the last that writes."""
    where = touched.around(b, gone)
    stops = origin.short(trace, b, gone)
    if stops is not None:
        what += f": {stops.turns:,} turn{'s' * (stops.turns > 1)} more of this loop would"
        place, other, role, task = stops.place, stops.wrote, "written here", stops.task
    else:
        place, task = memory.writes.get(b.id, (None, ""))
        other, role = (b.place, "declared here") if place else (None, "")
    return Finding("unwritten-output", severity, what, place or b.place, other, role, task, where, fix)


def partly_written(trace: Trace, memory: Memory, directions: dict[str, str]) -> list[Finding]:
    """Rows of a pl.InOut parameter of which a part is written, where the kernel reads none of it.

    Such a parameter keeps what no task writes: rows of padding, the rest of a cache. Those are whole rows; the other
    part of a row that is written is more likely forgotten.
    """

    def narrow(a: Access) -> bool:
        b = trace.buffers[a.buffer]
        row = b.shape[-1] if b.shape else 1
        return a.elements > 0 and (a.strides[-1:] != (1,) or a.extent[-1] != row)

    ways = {b.id for b in trace.buffers if b.argument and directions.get(b.name) == "InOut"}
    ways -= memory.reads.keys()
    wanted = sorted({a.buffer for a in trace.shapes if a.mode == WRITE and a.buffer in ways and narrow(a)})
    masks = {b: np.zeros(trace.buffers[b].size, bool) for b in wanted}
    for part in (part for d in trace.dispatches for part in d.parts if wanted):
        for access, offsets in touched.accesses(trace, part):
            if access.mode == WRITE and access.buffer in masks:
                for _, view in touched.views(masks[access.buffer], access, offsets, touched.blocks(part)):
                    view[...] = True
    out = []
    for b, mask in ((trace.buffers[n], m) for n, m in masks.items()):
        rows = mask.reshape(b.shape)
        gone = ~rows & rows.any(-1, keepdims=True)
        if gone.any():
            what = (
                f"{int(gone.sum()):,} elements of '{b.name}', in rows that are written otherwise, are neither read nor "
            )
            out.append(_gone(trace, memory, b, gone, WARNING, f"{what}written", "write them too"))
    return out


def unread(trace: Trace, memory: Memory, elsewhere: Callable[[Buffer, bool], bool]) -> list[Finding]:
    """Tensors of the kernel's own that are written and that nothing reads.

    Args:
        elsewhere: Whether another way would read one, given whether another tensor of its line is read.
    """
    out = []
    read = {b.place for b in trace.buffers if b.id in memory.reads}
    for b in trace.buffers:
        if b.argument or b.id in memory.reads or b.id not in memory.writes or elsewhere(b, b.place in read):
            continue
        place, task = memory.writes[b.id]
        out.append(
            Finding(
                "unread-result",
                WARNING,
                f"task '{task}' writes {touched.name(b)}, and nothing reads it",
                place,
                b.place,
                "allocated here",
                task,
                f"{b.size:,} elements",
                "remove the work; or make it an output, if it is there to be measured",
            )
        )
    return out


def directions_of(trace: Trace, memory: Memory, directions: dict[str, str]) -> list[Finding]:
    """Parameters that are written though declared as inputs."""
    out = []
    for b in trace.buffers:
        if b.argument and directions.get(b.name) == "In" and b.id in memory.writes:
            place, task = memory.writes[b.id]
            out.append(
                Finding(
                    "direction",
                    WARNING,
                    f"task '{task}' writes '{b.name}', which is declared as an input",
                    place,
                    b.place,
                    "declared here",
                    task,
                    "",
                    "declare it pl.InOut, or pl.Out where all of it is written: callers and the scheduler go by it",
                )
            )
    return out


def stored_nothing(trace: Trace) -> list[Finding]:
    """Stores of windows of which nothing is valid: PTO-ISA wants at least one row and column (docs/isa/TSTORE.md)."""
    found: dict[Place, list] = {}
    empty = np.array([a.mode != READ and not a.elements for a in trace.shapes], bool)
    for d in trace.dispatches if empty.any() else ():
        for part in d.parts:
            for n in part.chunk.shapes[empty[part.chunk.shapes]].tolist():
                a = trace.shapes[n]
                found.setdefault(a.place, [a, d, int(touched.blocks(part)[0]), 0])[3] += len(part)
    return [
        Finding(
            "valid-extent",
            ERROR,
            f"{f'block {block} of ' if d.blocks > 1 else ''}task '{d.name}' stores a window of {list(a.extent)} valid "
            f"elements to {touched.name(trace.buffers[a.buffer])}: a store has at least one row and one column",
            place,
            None,
            "",
            d.name,
            fix="leave the store out where nothing is valid (an `if` around it), or launch fewer blocks",
            count=count,
        )
        for place, (a, d, block, count) in found.items()
    ]


def accumulated_low(trace: Trace) -> list[Finding]:
    """Sums kept in global memory in 16 bits: a task reads a box, adds to it and writes it, again and again."""
    written = {a.buffer for a in trace.shapes if a.mode != READ}
    low = {b.id for b in trace.buffers if b.dtype.is_float and b.dtype.bits < 32 and b.id in written}
    if not low:
        return []
    shapes = np.array([a.buffer in low for a in trace.shapes], bool)
    turns: dict[tuple, int] = {}
    atomic: dict[tuple, int] = {}
    for d in trace.dispatches:
        for part in d.parts:
            chunk = part.chunk
            read: dict[tuple, Place] = {}
            for n in np.flatnonzero(shapes[chunk.shapes]).tolist():
                access = trace.shapes[chunk.shapes[n]]
                first = int(np.ravel(part.at(chunk.offsets[n]))[0]) if access.elements else -1
                box = (access.buffer, access.extent, access.strides, first)
                if access.mode == READ:
                    read[box] = access.place
                elif access.mode == ATOMIC:
                    atomic[access.place, box] = atomic.get((access.place, box), 0) + 1
                elif box in read:
                    key = (access.place, read[box], box)
                    turns[key] = turns.get(key, 0) + 1
    out = []
    for (place, box), n in atomic.items():
        if n > 1:
            out.append(_low(trace, place, None, box[0], n))
    for (place, source, box), n in turns.items():
        if n > 1:
            out.append(_low(trace, place, source, box[0], n))
    return out


def _low(trace: Trace, place: Place, source: Place | None, buffer: int, n: int) -> Finding:
    b = trace.buffers[buffer]
    return Finding(
        "low-precision-accumulation",
        WARNING,
        f"{touched.name(b)} is {b.dtype} and is added to {n} times: it rounds every time",
        place,
        source,
        "read here" if source else "",
        fix="keep the sum in FP32, on chip where it fits, and cast once at the end",
    )
