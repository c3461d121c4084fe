"""The data of tiles at the extents that an operation needs, and windows cut to what is valid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from helpers.interpret.language.dtypes import DType
from helpers.interpret.values import fp4
from helpers.interpret.values.lanes import Lanes, larger, settled, smaller
from helpers.interpret.values.values import Tensor, Tile


def poison(dtype: DType) -> float:
    """What never-written memory holds: NaN, or the smallest value of an integer type."""
    if dtype.is_float:
        return float("nan")
    return 1 if dtype.torch is torch.bool else torch.iinfo(dtype.torch).min


LARGE = 256  # times that much is what memory of floats is filled with for a proof, with either sign in turn


def vary(data: torch.Tensor, fill: float) -> torch.Tensor:
    """Fill memory for a run that shows what depends on it; floats so that no maximum and no minimum swallows it."""
    if fp4.is_packed(data):
        data.view(torch.uint8).fill_(0x22 if fill > 0 else 0xAA)  # 1 and -1
        return data
    if not data.dtype.is_floating_point or data.dtype.itemsize < 2:
        return data.fill_(fill)
    data.fill_(LARGE * fill)
    data.view(-1)[1::2].neg_()
    return data


def most_elements(shape: Sequence) -> int:
    """Elements of a shape; of the block that has most where they differ."""
    n = 1
    for s in shape:
        n *= int(s.values.max()) if type(s) is Lanes else s
    return n


def moved_bytes(w: Tensor) -> int | np.ndarray:
    """Bytes of the valid part of a window; one number a block where they differ."""
    n: Any = 1
    for s in w.shape if w.valid is None else w.valid:
        n = n * lane_values(s)
    return (n * w.dtype.bits + 7) // 8


def plain(x: Any) -> Any:
    """A scalar as it is shown: one a block becomes a list."""
    return x.values.tolist() if type(x) is Lanes else x


def lane_values(v: Any) -> Any:
    """A scalar as NumPy takes it."""
    return v.values if type(v) is Lanes else v


def narrowed(sizes: tuple, t: Tensor, offsets: Sequence, valid: Sequence | None) -> tuple | None:
    """The valid shape of a window: what was asked for, cut to what is valid in `t`. None when all is valid."""
    if valid is None and t.valid is None:
        return None
    out = list(sizes) if valid is None else [settled(v) if type(v) is Lanes else int(v) for v in valid]
    if t.valid is not None:
        out = [settled(smaller(v, larger(0, limit - o))) for v, limit, o in zip(out, t.valid, offsets)]
    if all(type(v) is not Lanes and v == s for v, s in zip(out, sizes)):
        return None
    return tuple(out)


def leaves_gap(have: Sequence[int], new: Sequence[int], at: Sequence[int]) -> bool:
    """True when a part [0, have) and a part [at, at + new) are no part [0, n) together: what is valid of a tensor or a
    tile is one rectangle from the origin (`InferWriteValidShapeUnion` in PyPTO src/ir/op/type_inference.cpp)."""
    if 0 in have:
        return any(at)
    growing = [i for i, (o, n, h) in enumerate(zip(at, new, have)) if o + n > h]
    if not growing or (not any(at) and all(n >= h for n, h in zip(new, have))):
        return False
    axis = growing[0]
    beside = any(o or n != h for i, (o, n, h) in enumerate(zip(at, new, have)) if i != axis)
    return len(growing) > 1 or at[axis] > have[axis] or beside


def filled(tile: Tile, fill: float) -> torch.Tensor:
    """The data of a tile at its full shape, `fill` outside its valid part."""
    data, shape, valid = tile.data, tile.shape, tile.valid
    if valid is None:
        return data
    rank = len(shape)
    if any(type(v) is Lanes for v in valid):
        mask = inside(tuple(data.shape[-rank:]), valid)
        data = torch.where(mask, data, torch.tensor(fill, dtype=data.dtype))
    if tuple(data.shape[-rank:]) == shape:
        return data
    out = torch.full((*data.shape[:-rank], *shape), fill, dtype=data.dtype)
    out[(..., *(slice(0, n) for n in data.shape[-rank:]))] = data
    return out


def fitted(tile: Tile, wanted: Sequence, fill: Callable[[], float] = float) -> torch.Tensor:
    """The data of a tile as far as `wanted`; axes of extent 1 stay as they broadcast.

    Args:
        wanted: An extent for each axis; a Lanes where it differs from block to block: the axis is whole then, and
            what it holds beyond its extent is not looked at.
        fill: Gives what lanes hold that are wanted and not valid; called only if there are some.
    """
    rank, data = len(tile.shape), tile.data
    have = tuple(data.shape[-rank:])
    extents = tuple(h if n == 1 else n if type(w) is Lanes else w for h, n, w in zip(have, tile.shape, wanted))
    lacks = tile.valid is not None and _lacks(tile, wanted)
    if have == extents and not lacks:
        return data
    value = fill() if lacks else 0
    data = data[(..., *(slice(0, min(h, e)) for h, e in zip(have, extents)))]
    if lacks and any(type(v) is Lanes for v in tile.valid):
        mask = inside(tuple(data.shape[-rank:]), tile.valid)
        data = torch.where(mask, data, torch.tensor(value, dtype=data.dtype))
    if any(h < e for h, e in zip(have, extents)):
        out = torch.full((*data.shape[:-rank], *extents), value, dtype=data.dtype)
        out[(..., *(slice(0, n) for n in data.shape[-rank:]))] = data
        return out
    return data


def _lacks(tile: Tile, wanted: Sequence) -> bool:
    """Whether lanes are wanted, in some block, that are not valid."""
    axes = zip(tile.shape, tile.valid, wanted)
    return any(n != 1 and v is not w and np.any(lane_values(v) < lane_values(w)) for n, v, w in axes)


def inside(shape: tuple, valid: tuple) -> torch.Tensor:
    """Boolean mask of the valid part; with a block axis where an extent differs from block to block."""
    mask = None
    rank = len(shape)
    for axis, (n, v) in enumerate(zip(shape, valid)):
        index = torch.arange(n).view([n if a == axis else 1 for a in range(rank)])
        limit = torch.as_tensor(v.values).view(-1, *[1] * rank) if type(v) is Lanes else v
        part = index < limit
        mask = part if mask is None else mask & part
    return mask
