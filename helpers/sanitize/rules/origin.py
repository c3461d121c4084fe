"""Where a wrong element comes from, as far as a trace tells: what wrote it, and a load that leaves out what it should
take.

The last line that writes an output is seldom the one that is wrong. A slice that is cut too short, or shifted by less
than the blocks are apart, shows in the trace by what it leaves behind: a tensor is written, or passed in, and part of
it reaches nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import READ, Access, Dispatch, Part, Trace
from helpers.interpret.values.values import Buffer
from helpers.sanitize.rules import touched
from helpers.sanitize.rules.order import loops

MOST_LAUNCHES = 2_000  # of a trace that is looked through


@dataclass(frozen=True)
class Writer:
    """The access that wrote an element last: its line, its launch, and the block."""

    place: Place
    launch: Dispatch
    block: int

    @property
    def text(self) -> str:
        """ "block 3 of task 'qk'"; of a launch with one block only the task."""
        return f"block {self.block} of task '{self.launch.name}'" if self.launch.blocks > 1 else self.task

    @property
    def task(self) -> str:
        return f"task '{self.launch.name}'"


@dataclass(frozen=True)
class Gap:
    """A load whose tensor holds more than anything reads: its line, the task, and in words what is left out."""

    place: Place
    task: str
    what: str


def writer(trace: Trace, buffer: int, element: int) -> Writer | None:
    """What wrote an element of a buffer last."""
    for d in reversed(trace.dispatches):
        for part in reversed(d.parts):
            for access, offsets in reversed(list(_of(trace, part, buffer))):
                if access.mode == READ:
                    continue
                inside = _holds(access, np.atleast_1d(offsets), element)
                if inside.any():
                    ids = touched.blocks(part)
                    row = int(np.flatnonzero(inside)[-1])
                    return Writer(access.place, d, int(ids[row] if np.ndim(offsets) else ids[-1]))
    return None


def _of(trace: Trace, part: Part, buffer: int) -> Iterator[tuple[Access, object]]:
    return ((a, o) for a, o in touched.accesses(trace, part) if a.buffer == buffer and a.elements)


def _holds(access: Access, offsets: np.ndarray, element: int) -> np.ndarray:
    """Whether the box at each offset has the element."""
    rest = element - offsets.astype(np.int64)
    inside = rest >= 0
    for stride, extent in sorted(zip(access.strides, access.extent), reverse=True):
        if stride:
            step = np.minimum(rest // stride, extent - 1)
            rest = rest - step * stride
    return inside & (rest == 0)


def gap(trace: Trace, origin: Writer, padding: set[int]) -> Gap | None:
    """The one load, among those that lead to what `origin` wrote, that leaves out part of its tensor; None where there
    is none, or more than one.

    Of a tensor of the kernel's own, what something wrote and nothing reads is left out. A caller's tensor may hold more
    than one run needs (pages, other layers): there the boxes that the line reads must overlap too.

    Args:
        padding: Extents that are dynamic: what lies from one on holds no data, and nobody has to read it.
    """
    if len(trace.dispatches) > MOST_LAUNCHES:
        return None
    lines: dict[int, dict[Place, str]] = {}  # buffer -> the lines that read it, and their tasks
    todo, done = [origin.launch], {origin.launch.index}
    while todo:
        d = todo.pop()
        for access in _shapes(trace, d):
            if access.mode != READ or not access.elements:
                continue
            known = access.buffer in lines
            lines.setdefault(access.buffer, {}).setdefault(access.place, d.name)
            for before in () if known else trace.dispatches[: d.index]:
                wrote = any(a.buffer == access.buffer and a.mode != READ for a in _shapes(trace, before))
                if wrote and before.index not in done:
                    done.add(before.index)
                    todo.append(before)
    found = []
    for b, places in lines.items():
        if len(places) == 1 and (left := _left(trace, b, padding)):
            ((place, task),) = places.items()
            found.append(Gap(place, task, left))
    return found[0] if len(found) == 1 else None


def _shapes(trace: Trace, d: Dispatch) -> list[Access]:
    return [trace.shapes[n] for n in sorted({n for p in d.parts for n in p.chunk.shapes.tolist()})]


def _left(trace: Trace, buffer: int, padding: set[int]) -> str:
    """In words: the elements of a buffer that hold something and that nothing reads; "" where there are none."""
    b = trace.buffers[buffer]
    if b.parts > 1 or b.layout or any(a.buffer == buffer for _, a, _ in trace.host):
        return ""
    times, held = np.zeros(b.size, np.uint8), np.full(b.size, b.argument or b.initialised)
    seen: set[tuple] = set()
    for d in trace.dispatches:
        for part in d.parts:
            for access, offsets in _of(trace, part, buffer):
                if access.mode != READ:
                    for _, view in touched.views(held, access, offsets, touched.blocks(part)):
                        view[...] = True
                    continue
                for offset in np.unique(offsets):
                    box = (access.extent, access.strides, int(offset))
                    if box not in seen:
                        seen.add(box)
                        for _, view in touched.views(times, access, int(offset), np.zeros(1, int)):
                            np.minimum(view, 100, out=view)
                            view += 1
    gone = (held & (times == 0)).reshape(b.shape or (b.size,))
    if not gone.any() or not times.any() or touched.is_padding(gone, padding):
        return ""
    if b.argument and times.max() < 2:
        return ""
    return f"nothing reads {touched.around(b, gone)}"


@dataclass(frozen=True)
class Short:
    """A loop, or a launch, that stops before all is written: its line, the one that writes, the turns that are left."""

    place: Place
    wrote: Place
    task: str
    turns: int


def short(trace: Trace, b: Buffer, gone: np.ndarray) -> Short | None:
    """The loop whose next turns, or the turns before its first, would write what is True in `gone`, an array of the
    buffer's shape, and nothing else; None where the steps of no loop lead there.
    """
    if len(trace.dispatches) > MOST_LAUNCHES:
        return None
    writes: dict[Place, list[tuple[Dispatch, Access, np.ndarray]]] = {}
    for d in trace.dispatches:
        for part in d.parts:
            for access, offsets in _of(trace, part, b.id):
                if access.mode != READ:
                    all_ = np.broadcast_to(offsets, len(touched.blocks(part)))
                    writes.setdefault(access.place, []).append((d, access, all_))
    for place, made in writes.items():
        if len({(a.extent, a.strides) for _, a, _ in made}) > 1:
            continue
        d, access, _ = made[0]
        starts = np.unique(np.concatenate([o for _, _, o in made]))
        steps = np.unique(np.diff(starts))
        turns, rest = divmod(int(gone.sum()), access.elements)
        if len(steps) != 1 or rest or not turns:
            continue
        more = np.arange(1, turns + 1) * int(steps[0])
        for first in (starts[-1] + more, starts[0] - more[::-1]):
            loop = _loop(d, made, place) if _covers(gone, access, first) else None
            if loop is not None:
                return Short(loop, place, d.name, turns)
    return None


def _covers(gone: np.ndarray, access: Access, offsets: np.ndarray) -> bool:
    """Whether the boxes at these offsets are all of what is True in `gone`."""
    if offsets[0] < 0 or offsets[-1] + access.span > gone.size:
        return False
    seen = np.zeros(gone.size, bool)
    for offset in offsets.tolist():
        for _, view in touched.views(seen, access, offset, np.zeros(1, int)):
            view[...] = True
    return bool((seen == gone.reshape(-1)).all())


def _loop(d: Dispatch, made: list[tuple[Dispatch, Access, np.ndarray]], place: Place) -> Place | None:
    """The line whose turns these accesses are: a launch of blocks, or the one loop around the access or its launch."""
    launches = {d.index for d, _, _ in made}
    if len(launches) == 1 and sum(len(o) for _, _, o in made) == d.blocks > 1:
        return d.place
    around = loops(d.place if len(launches) > 1 else place)
    if len(around) != 1:
        return None
    return (
        replace(place, line=around[0], column=1) if len(launches) == 1 else replace(d.place, line=around[0], column=1)
    )
