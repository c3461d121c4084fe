"""Boxes in a buffer: where windows lie when blocks point to different places, and whether they overlap.

A box is an offset, an extent and strides, all in elements. Offsets of several blocks come as one array.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import product

import numpy as np
import torch

from helpers.interpret.trace.trace import ATOMIC, READ, Access
from helpers.interpret.values.values import Buffer, Tensor


def affine_step(offsets: np.ndarray) -> int | None:
    """The common non-negative difference of consecutive offsets, or None."""
    if len(offsets) == 1:
        return 0
    step = int(offsets[1] - offsets[0])
    if step < 0 or not (np.diff(offsets) == step).all():
        return None
    return step


def row_index(w: Tensor) -> tuple[Callable, torch.Tensor] | None:
    """How to reach a window at irregular places as rows of a 2-D table of its buffer, or None.

    Works for windows whose last two axes are rows of one pitch at the same column in every block.
    """
    if len(w.shape) < 1 or w.strides[-1] != 1 or any(s != 1 for s in w.shape[:-2]):
        return None
    pitch = w.strides[-2] if len(w.shape) > 1 else w.shape[-1]
    rows, cols = (w.shape[-2] if len(w.shape) > 1 else 1), w.shape[-1]
    column = int(w.offset[0] % pitch)
    if (w.offset % pitch != column).any() or column + cols > pitch:
        return None
    first = w.offset // pitch
    index = torch.from_numpy((first[:, None] + np.arange(rows)).reshape(-1))

    def table(buffer: Buffer) -> torch.Tensor:
        count = (buffer.size - column - cols) // pitch + 1
        return torch.as_strided(buffer.base, (count, cols), (pitch, 1), buffer.origin + column)

    return table, index


def disjoint(offsets: np.ndarray, w: Tensor) -> bool:
    """True when boxes of one shape at these offsets do not overlap."""
    ordered = np.sort(offsets)
    if (np.diff(ordered) >= span(w)).all():
        return True
    apart = clear(offsets, w.shape, w.strides, offsets, w.shape, w.strides)
    np.fill_diagonal(apart, True)
    return bool(apart.all())


def span(w: Tensor) -> int:
    """Elements from the first to one past the last of a window, in its buffer."""
    return 1 + sum((e - 1) * s for e, s in zip(w.shape, w.strides))


def clear(
    ao: np.ndarray, ae: tuple[int, ...], strides: tuple[int, ...], bo: np.ndarray, be: tuple[int, ...], other: tuple
) -> np.ndarray:
    """[i, j]: box `ae` at `ao[i]` and box `be` at `bo[j]` are apart. Boxes of different strides count as wholes."""
    if strides != other:
        a_span = 1 + sum((e - 1) * s for e, s in zip(ae, strides))
        b_span = 1 + sum((e - 1) * s for e, s in zip(be, other))
        return (ao[:, None] + a_span <= bo[None, :]) | (bo[None, :] + b_span <= ao[:, None])
    apart = np.zeros((len(ao), len(bo)), bool)
    rest_a, rest_b = ao, bo
    for s, ea, eb in sorted(zip(strides, ae, be), key=lambda axis: -axis[0]):  # one coordinate an axis
        ca, cb = (rest_a // s)[:, None], (rest_b // s)[None, :]
        apart |= (ca + ea <= cb) | (cb + eb <= ca)
        rest_a, rest_b = rest_a % s, rest_b % s
    return apart


def intervals_apart(starts: np.ndarray, ends: np.ndarray, owners: np.ndarray) -> bool:
    """True when no interval [start, end) overlaps one of another owner (owners are counted from 0)."""
    shift = owners * (ends.max() + 1)  # owners one after the other, so that sorting keeps them together
    order = np.argsort(starts + shift, kind="stable")
    start, reach = (starts + shift)[order], np.maximum.accumulate((ends + shift)[order])
    first = np.flatnonzero(np.r_[True, start[1:] > reach[:-1]])  # of intervals of one owner that touch
    last = np.r_[first[1:], len(start)] - 1
    shift = shift[order][first]
    start, reach = start[first] - shift, reach[last] - shift
    order = np.argsort(start, kind="stable")
    return bool((start[order][1:] >= reach[order][:-1]).all())


def separate(entries: list, lanes: int) -> bool:
    """True when no two blocks overlap in a buffer, of whose accesses `entries` at least one is a write.

    Those of one atomic add may: what one statement of many blocks adds, is added block by block. What two statements
    add to the same place may not, for one block would come to the second before another one to the first.
    """
    starts = np.concatenate([np.broadcast_to(offset, lanes) for _, offset in entries])
    spans = np.repeat([access.span for access, _ in entries], lanes)
    if intervals_apart(starts, starts + spans, np.tile(np.arange(lanes), len(entries))):
        return True
    for i, (a, ao) in enumerate(entries):
        for k, (b, bo) in enumerate(entries[i:]):
            if (a.mode == READ and b.mode == READ) or (k == 0 and a.mode == ATOMIC):
                continue
            ao_, bo_ = np.broadcast_to(ao, lanes), np.broadcast_to(bo, lanes)
            apart = clear(ao_, a.extent, a.strides, bo_, b.extent, b.strides)
            np.fill_diagonal(apart, True)
            if not apart.all():
                return False
    return True


def _whole_apart(groups: list[dict[int, np.ndarray]], shapes: list[Access]) -> bool:
    """True when no box of one group, taken as a whole, overlaps one of another in the same buffer."""
    by_buffer: dict[int, list[tuple[int, int, np.ndarray]]] = defaultdict(list)
    for i, g in enumerate(groups):
        for s, o in g.items():
            by_buffer[shapes[s].buffer].append((i, shapes[s].span, o))
    for boxes in by_buffer.values():
        owners, spans = ([b[n] for b in boxes] for n in (0, 1))
        counts, starts = [len(o) for _, _, o in boxes], np.concatenate([o for _, _, o in boxes])
        if not intervals_apart(starts, starts + np.repeat(spans, counts), np.repeat(owners, counts)):
            return False
    return True


def unrelated(groups: list[list[tuple[int, np.ndarray]]], shapes: list[Access]) -> bool:
    """True when no box of one group overlaps a box of another, one of them written.

    A group is what blocks that ran together did: for each access, its number in `shapes` and its offsets.
    """
    merged = []
    for group in groups:
        boxes: dict[int, list[np.ndarray]] = {}
        for shape, offsets in group:
            boxes.setdefault(shape, []).append(np.atleast_1d(offsets))
        merged.append({shape: np.unique(np.concatenate(parts)) for shape, parts in boxes.items()})
    if _whole_apart(merged, shapes):
        return True
    for i, one in enumerate(merged):
        for other in merged[i + 1 :]:
            for (n, ao), (k, bo) in product(one.items(), other.items()):
                a, b = shapes[n], shapes[k]
                if a.buffer != b.buffer or a.mode == b.mode == READ:
                    continue
                if not clear(ao, a.extent, a.strides, bo, b.extent, b.strides).all():
                    return False
    return True
