"""Who wrote what of a buffer, as the runtime's tensor map remembers it (simpler, pto_tensormap.h).

The map compares windows of the same strides axis by axis, others by their first and last element.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from helpers.interpret.trace.trace import Argument


class Writers:
    """The writers of one buffer.

    Nearly every buffer is written and read tile by tile: windows of one extent and strides whose first index along
    each axis is a multiple of the extent. Two of these are the same or apart, so an offset is enough to find those that
    meet one. As long as all that was written are such tiles, `tiles` has them by offset; every other question is
    answered by comparing with all windows, as arrays that catch up when they are needed.
    """

    def __init__(self) -> None:
        self.windows: list[Argument | None] = []  # None: forgotten, and free for the next one
        self.tasks: list[int] = []
        self.free: list[int] = []  # places in these lists
        self.tile: Argument | None = None  # the first window
        self.tiles: dict[int, list[int]] | None = {}  # offset -> places; None: not all windows are tiles alike
        self.changed: set[int] = set()  # places that the arrays have not caught up with
        self.spans = np.zeros((2, 0), np.int64)  # first element and end of each window; empty where it is forgotten
        self.layout = np.zeros(0, np.int64)  # number of each window's strides in `layouts`
        self.layouts: dict[tuple[int, ...], int] = {}
        self.boxes = np.zeros((2, 0, 0), np.int64)  # first index and end along each axis

    def append(self, a: Argument, task: int) -> None:
        """`task` wrote `a`."""
        if self.free:
            place = self.free.pop()
            self.windows[place], self.tasks[place] = a, task
        else:
            place = len(self.tasks)
            self.windows.append(a)
            self.tasks.append(task)
        self.changed.add(place)
        if self.tile is None:
            self.tile = a
            if 0 in a.extent or not _regular(a.strides):
                self.tiles = None
        if self.tiles is not None:
            if self._is_tile(a):
                self.tiles.setdefault(a.offset, []).append(place)
            else:
                self.tiles = None

    def meeting(self, a: Argument, replaces: bool) -> list[int]:
        """The tasks that wrote what may meet `a`, in order; `replaces`: windows that lie in `a` are forgotten."""
        if self.tiles is not None and self._is_tile(a):
            places = self.tiles.get(a.offset, ())
            found = [self.tasks[p] for p in places]
            if replaces and found:
                self._forget(self.tiles.pop(a.offset))
            return found
        return self._compared(a, replaces)

    def _compared(self, a: Argument, replaces: bool) -> list[int]:
        self._catch_up()
        start, end = self.spans
        found = np.flatnonzero((start < a.offset + _span(a)) & (end > a.offset))
        layout = self.layouts.get(a.strides)
        covered = found[:0]
        if layout is not None and _regular(a.strides):
            alike = self.layout[found] == layout
            meets, inside = np.ones(len(found), bool), alike
            for axis, index in enumerate(_first(a)):
                lo, hi = self.boxes[:, axis, found]
                meets = meets & (index < hi) & (lo < index + a.extent[axis])
                inside = inside & (index <= lo) & (hi <= index + a.extent[axis])
            meets |= ~alike
            found, covered = found[meets], found[meets & inside]
        tasks = sorted(self.tasks[p] for p in found.tolist())
        if replaces:
            places = covered.tolist()
            for p in places if self.tiles is not None else ():
                self.tiles.pop(self.windows[p].offset, None)  # all windows at one offset are covered together
            self._forget(places)
        return tasks

    def _forget(self, places: list[int]) -> None:
        for p in places:
            self.windows[p] = None
        self.free += places
        self.changed.update(places)

    def _is_tile(self, a: Argument) -> bool:
        """Whether `a` is a tile like the others, while all are."""
        if a.extent != self.tile.extent or a.strides != self.tile.strides:
            return False
        if a.offset in self.tiles:
            return True
        rest = a.offset
        for n, s in zip(a.extent, a.strides):
            if rest // s % n:
                return False
            rest %= s
        return True

    def _catch_up(self) -> None:
        more = len(self.windows) - len(self.layout)
        if more > 0:
            more = max(more, len(self.layout))  # at least twice as many, so that growing stays cheap
            self.spans = np.pad(self.spans, ((0, 0), (0, more)))
            self.layout = np.pad(self.layout, (0, more))
            self.boxes = np.pad(self.boxes, ((0, 0), (0, 0), (0, more)))
        places: dict[tuple[int, ...], list[int]] = {}
        for p in self.changed:
            if (a := self.windows[p]) is not None:
                places.setdefault(a.strides, []).append(p)
            else:
                self.spans[:, p] = 0
        self.changed.clear()
        for strides, mine in places.items():
            rest = np.array([self.windows[p].offset for p in mine])
            extents = np.array([self.windows[p].extent for p in mine]).reshape(len(mine), -1)
            self.spans[:, mine] = rest, rest + 1 + (extents - 1) @ np.array(strides, np.int64)
            self.layout[mine] = self.layouts.setdefault(strides, len(self.layouts))
            if not _regular(strides):
                continue
            axes = len(strides) - self.boxes.shape[1]
            if axes > 0:
                self.boxes = np.pad(self.boxes, ((0, 0), (0, axes), (0, 0)))
            for axis, stride in enumerate(strides):
                first, rest = np.divmod(rest, stride)
                self.boxes[:, axis, mine] = first, first + extents[:, axis]


def _regular(strides: tuple[int, ...]) -> bool:
    """Whether the runtime's tensor map can tell where along each axis an element lies."""
    return bool(strides) and strides[-1] == 1 and not any(a % b for a, b in pairwise(strides))


def _first(a: Argument) -> list[int]:
    """The first index of a regular window along each axis."""
    out, rest = [], a.offset
    for s in a.strides:
        out.append(rest // s)
        rest %= s
    return out


def _span(a: Argument) -> int:
    """Elements from the first of a window to the end of its last."""
    return 1 + sum((n - 1) * s for n, s in zip(a.extent, a.strides))
