"""What tasks touch of a buffer, as rectangles, and who must wait for whom because of it.

A buffer is looked at as a table whose rows are as long as its tensors' rows (`pitch`). The boxes that tasks touch are
rectangles of it; their edges cut the table into cells, none of which is touched in part. Going through the tasks in
order, each cell remembers who wrote it last, who added to it since, and who read it since: what a task must wait for
is found without comparing it to every task before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from helpers.interpret.trace.trace import ATOMIC, READ, WRITE

NOBODY = -1
CELLS = 1 << 22  # of a table that are held at once: larger ones are gone through in bands of rows

AFTER_WRITE, OVERWRITE, AFTER_READ = "read after write", "write after write", "write after read"


def pitch(strides: Iterable[tuple[int, ...]], size: int) -> int:
    """The row length, in elements, of a buffer of `size` elements: the commonest step from row to row."""
    steps = Counter(min((s for s in each if s > 1), default=size) for each in strides)
    return steps.most_common(1)[0][0] if steps else size


def rectangles(
    offsets: np.ndarray, extent: tuple[int, ...], strides: tuple[int, ...], row: int
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of one shape as rectangles of a table with rows of `row` elements.

    Args:
        offsets: int64 [n]: where each box begins, in elements.
        extent, strides: Of a box, in elements.
        row: Length of a row.

    Returns:
        (int64 [m, 4]: first row, end row, first column, end column; int64 [m]: which box each is a part of).
    """
    axes: list[list[int]] = []  # [extent, stride], the widest stride first; dense neighbours are one
    for e, s in sorted(zip(extent, strides), key=lambda axis: -axis[1]):
        if e == 1:
            continue
        if axes and axes[-1][1] == e * s:
            axes[-1] = [axes[-1][0] * e, s]
        else:
            axes.append([e, s])
    length = axes.pop()[0] if axes and axes[-1][1] == 1 else 1
    column = offsets % row
    owner = np.arange(len(offsets))
    high = 1
    within = sum((e - 1) * s for e, s in axes if s % row)
    down = next((a for a in axes if a[1] == row), None)
    if down is not None and bool((column + within + length <= row).all()):
        high = down[0]
        axes.remove(down)
    for e, s in axes:
        offsets = (offsets[:, None] + np.arange(e) * s).reshape(-1)
        owner = np.repeat(owner, e)
    first, column = offsets // row, offsets % row
    end = column + length
    if high > 1 or bool((end <= row).all()):
        return np.stack([first, first + high, column, end], 1), owner
    last, rest = first + (end - 1) // row, (end - 1) % row + 1  # runs that go on in further rows
    full = np.full_like(first, row)
    zero = np.zeros_like(first)
    top, bottom = first + (column > 0), np.where(rest == row, last + 1, last)
    parts = [
        (np.stack([top, bottom, zero, full], 1), top < bottom),
        (np.stack([first, first + 1, column, np.minimum(end, row)], 1), column > 0),
        (np.stack([last, last + 1, zero, rest], 1), (rest < row) & ((last > first) | (column == 0))),
    ]
    return np.concatenate([p[keep] for p, keep in parts]), np.concatenate([owner[keep] for _, keep in parts])


def union(boxes: np.ndarray) -> np.ndarray:
    """The same area in fewer rectangles: those that touch along columns or along rows become one."""
    for start, other in ((2, 0), (0, 2)):
        if len(boxes) < 2:
            break
        boxes = _joined(boxes, start, other)
    return boxes


def _joined(boxes: np.ndarray, start: int, other: int) -> np.ndarray:
    """Join rectangles of equal extent along one axis that touch or overlap along the other (column `start`)."""
    boxes = boxes[np.lexsort((boxes[:, start], boxes[:, other + 1], boxes[:, other]))]
    lo, hi = boxes[:, start], boxes[:, start + 1]
    new = np.r_[True, (boxes[1:, other] != boxes[:-1, other]) | (boxes[1:, other + 1] != boxes[:-1, other + 1])]
    shift = np.cumsum(new) * (hi.max() + 1)  # groups one after the other, so that one running maximum does for all
    reach = np.maximum.accumulate(hi + shift)
    new[1:] |= (lo + shift)[1:] > reach[:-1]
    first = np.flatnonzero(new)
    out = boxes[first]
    out[:, start + 1] = np.maximum.reduceat(hi, first)
    return out


def waits(touches: list[tuple[int, int, np.ndarray]]) -> Iterator[tuple[int, int, str]]:
    """(earlier, later, why) for the nearest tasks that each must come after, because of one buffer.

    Between two that are not nearest there is a chain of these. Additions are not ordered among themselves.

    Args:
        touches: In the order of the program: (task, READ, WRITE or ATOMIC, its rectangles). Of one task, what it reads
            comes first.
    """
    every = np.concatenate([boxes for _, _, boxes in touches])
    rows, columns = np.unique(every[:, :2]), np.unique(every[:, 2:])
    band = max(1, CELLS // max(1, len(columns) - 1))
    placed = [
        (task, mode, np.searchsorted(rows, boxes[:, :2]), np.searchsorted(columns, boxes[:, 2:]))
        for task, mode, boxes in touches
    ]
    seen: set[tuple[int, int, str]] = set()
    for low in range(0, len(rows) - 1, band):
        high = min(low + band, len(rows) - 1)
        cells = _Cells(high - low, len(columns) - 1)
        for task, mode, r, c in placed:
            slices = [
                (slice(max(r0, low) - low, min(r1, high) - low), slice(c0, c1))
                for (r0, r1), (c0, c1) in zip(r.tolist(), c.tolist())
                if r0 < high and r1 > low
            ]
            for edge in cells.touch(task, mode, slices) if slices else ():
                if edge not in seen:
                    seen.add(edge)
                    yield edge


class _Cells:
    """Who touched each cell: the last writer, and chains of those that added to it and read it since."""

    def __init__(self, rows: int, columns: int) -> None:
        self.writer = np.full((rows, columns), NOBODY, np.int32)
        self.adders = np.full((rows, columns), NOBODY, np.int32)
        self.readers = np.full((rows, columns), NOBODY, np.int32)
        self.chain: list[tuple[int, int]] = []  # (task, number of the next link)

    def touch(self, task: int, mode: int, slices: list[tuple[slice, slice]]) -> Iterable[tuple[int, int, str]]:
        """Note that a task touches cells; returns what it waits for."""
        out: set[tuple[int, int, str]] = set()
        written = self._tasks(self.writer, slices)
        added = self._linked(self.adders, slices)
        if mode == READ:
            out |= {(t, task, AFTER_WRITE) for t in written | added}
        else:
            out |= {(t, task, AFTER_READ) for t in self._linked(self.readers, slices)}
            out |= {(t, task, OVERWRITE) for t in (written if mode == ATOMIC else written | added)}
        if mode == WRITE:
            for s in slices:
                self.writer[s], self.adders[s], self.readers[s] = task, NOBODY, NOBODY
        else:
            self._add(self.readers if mode == READ else self.adders, task, slices)
        return [e for e in out if e[0] != task]

    @staticmethod
    def _tasks(cells: np.ndarray, slices: list[tuple[slice, slice]]) -> set[int]:
        out: set[int] = set()
        for s in slices:
            part = cells[s]
            out.update(part.ravel().tolist() if part.size < 8 else np.unique(part).tolist())
        out.discard(NOBODY)
        return out

    def _linked(self, heads: np.ndarray, slices: list[tuple[slice, slice]]) -> set[int]:
        out: set[int] = set()
        done: set[int] = set()
        for link in self._tasks(heads, slices):
            while link != NOBODY and link not in done:
                done.add(link)
                task, link = self.chain[link]
                out.add(task)
        return out

    def _add(self, heads: np.ndarray, task: int, slices: list[tuple[slice, slice]]) -> None:
        links: dict[int, int] = {}  # the same chain with this task in front, made once
        for s in slices:
            part = heads[s]
            found, which = np.unique(part, return_inverse=True)
            for link in found.tolist():
                if link not in links:
                    if link != NOBODY and self.chain[link][0] == task:
                        links[link] = link
                        continue
                    links[link] = len(self.chain)
                    self.chain.append((task, link))
            heads[s] = np.array([links[link] for link in found.tolist()], np.int32)[which.reshape(part.shape)]
