"""Scatters: elements, columns or rows put where an index or a pattern says.

Two elements for one place: the later one, row by row, stays (PyPTO src/ir/op/tile_ops/scatter.cpp). What a scatter
does not write keeps what it held: that is the language's definition at both levels; PTO-ISA's own TSCATTER leaves it
undefined, and PyPTO restores it for the tensor forms (`RegisterScatterOps` in its op_conversion_registry.cpp).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from helpers.interpret.language.dtypes import INT32
from helpers.interpret.language.operation import TYPED
from helpers.interpret.machine.batches import Conflict
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops.common import describe, elements, op, operands, vector
from helpers.interpret.ops.gather import checked, pattern, same_lead
from helpers.interpret.source.source import Place
from helpers.interpret.values.bits import bits_of, of_bits
from helpers.interpret.values.extents import filled, fitted, inside
from helpers.interpret.values.lanes import Lanes
from helpers.interpret.values.values import Tensor, Tile, held

ELEMENTS = {"INT8", "INT16", "INT32", "FP16", "BF16", "FP32"}  # what TSCATTER moves


def _updated(m: Machine, target: Tile, data: torch.Tensor | None) -> Tile:
    """The target's next value, in the same buffer. `data` has the target's full shape."""
    if data is not None:
        data = data[(..., *(slice(0, n) for n in held(target.shape, target.valid)))]
    return Tile(data, target.shape, target.dtype, target.valid, target.memory)


def _put(target: Tile, cells: torch.Tensor, values: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
    """The target's data with `values` [(blocks,) n] at the flat places `cells`; where `keep` is false, nothing."""
    rank = len(target.shape)
    base = bits_of(filled(target, 0), target.dtype)
    base, cells = same_lead(base.flatten(-rank), cells, 1)
    values, cells = same_lead(bits_of(values.contiguous(), target.dtype), cells, 1)
    base, cells = same_lead(base, cells, 1)
    out = base.numpy().copy()
    where, new = cells.numpy(), values.numpy()
    for block in np.ndindex(out.shape[:-1]):
        if keep is None:
            out[block][where[block]] = new[block]
        else:
            k = keep.numpy()[block] if keep.dim() > 1 else keep.numpy()
            out[block][where[block][k]] = new[block][k]
    raw = torch.from_numpy(out).view(*out.shape[:-1], *target.shape)
    return of_bits(raw, target.dtype)


def _check(m: Machine, at: Place, target: Tile, source: Tile, index: Tile) -> None:
    if target.dtype is not source.dtype or target.dtype.name not in ELEMENTS:
        raise m.fault(at, f"pl.scatter of {source} into {target}", f"one element type of {', '.join(sorted(ELEMENTS))}")
    bits = 32 if target.dtype.bits == 32 else 16
    if index.dtype.name != f"INT{bits}":
        raise m.fault(at, f"pl.scatter into {target} with the index {index}", f"the index must be INT{bits}")
    if index.shape != source.shape or len(source.shape) != 2:
        raise m.fault(at, f"pl.scatter of {source} with the index {index}", "both must have one shape [R, C]")


def _check_count(m: Machine, at: Place, what: str, x: Tile, n: int, most: int) -> None:
    """The instruction counts elements of less than 32 bits in INT16 (src/ir/transforms/op_conversion_registry.cpp)."""
    if x.dtype.bits < 32 and n > most:
        raise m.fault(
            at, f"{what} {x}: it counts {n} elements of {x.dtype}, and its index of 16 bits counts {most}",
            "a smaller tile, or a type of 32 bits",
        )  # fmt: skip


def _kept(index: Tile, extents: tuple) -> torch.Tensor | None:
    """Which elements of an index are real, flat; None for all."""
    if index.valid is None or not any(type(v) is Lanes for v in index.valid):
        return None
    return inside(extents, index.valid).flatten(-2)


@op("scatter", "input dim? index? src? * mask_pattern? dst?", on="pl tensor", gives="either", tensors=True)
def scatter(
    m: Machine, at: Place, input: Any, dim: Any = None, index: Any = None, src: Any = None, *,
    mask_pattern: Any = None, dst: Any = None,
) -> Tile:  # fmt: skip
    """By index: `input` with out[b, index[b, k]] = src[b, k]. By pattern: `dst` with `input` in the marked columns."""
    by_index = [dim is not None, index is not None, src is not None]
    if (mask_pattern is None) == (not any(by_index)) or (mask_pattern is not None and dst is None):
        raise m.fault(at, "pl.scatter takes dim=, index= and src=, or mask_pattern= and dst=")
    if mask_pattern is not None:
        return scatter_mask(m, at, dst, input, mask_pattern)
    if not all(by_index):
        raise m.fault(at, "pl.scatter by index needs dim=, index= and src=")
    x, i, s = operands(m, at, input, index, src)
    if len(x.shape) != 2 or dim not in (-1, 1):
        raise m.fault(at, f"pl.scatter into {x} along axis {dim}", "two dimensions, along the last")
    _check(m, at, x, s, i)
    if s.shape[0] > x.shape[0] or s.shape[1] > x.shape[1]:
        raise m.fault(at, f"pl.scatter of {s} into {x}: the source is larger")
    _check_count(m, at, "pl.scatter into", x, s.shape[0] * x.shape[1], 2**15)
    vector(m, i.shape, x.dtype, "scatter")
    data = None
    if not m.now.dry:
        rows, cols = held(i.shape, i.valid)
        cells = checked(m, at, i, x.shape[1], f"the columns of {x}")
        cells = cells + torch.arange(rows).view(-1, 1) * x.shape[1]
        new = fitted(s, i.valid or i.shape, lambda: m.memory.undefined(at))
        data = _put(x, cells.flatten(-2), new.flatten(-2), _kept(i, (rows, cols)))
        data = data[(..., *(slice(0, n) for n in held(x.shape, x.valid)))]
    return m.onchip.tile(at, data, x.shape, x.dtype, x.valid)


@op("scatter", "dst src indexes", on="tile", gives="either", tensors=True)
def tile_scatter(m: Machine, at: Place, dst: Any, src: Any, indexes: Any) -> Tile:
    """dst.flat[indexes[i, j]] = src[i, j]: indices count elements of the whole tile, row by row."""
    x, s, i = operands(m, at, dst, src, indexes)
    _check(m, at, x, s, i)
    vector(m, i.shape, x.dtype, "scatter")
    data = None
    if not m.now.dry:
        extents = held(i.shape, i.valid)
        cells = checked(m, at, i, elements(x.shape), f"the elements of {x}").flatten(-2)
        data = _put(
            x, cells, fitted(s, i.valid or i.shape, lambda: m.memory.undefined(at)).flatten(-2), _kept(i, extents)
        )
    return _updated(m, x, data)


@op("scatter_mask", "dst src mask_pattern", on="tile")
def scatter_mask(m: Machine, at: Place, dst: Any, src: Any, mask_pattern: Any) -> Tile:
    """`dst` [R, C * step] with the columns of `src` [R, C] where the pattern marks them."""
    x, s = operands(m, at, dst, src)
    step, first = pattern(m, at, mask_pattern)
    if x.dtype is not s.dtype or x.dtype.name not in ELEMENTS:
        raise m.fault(at, f"pl.scatter of {s} into {x}", f"one element type of {', '.join(sorted(ELEMENTS))}")
    if len(x.shape) != 2 or x.shape != (s.shape[0], s.shape[-1] * step):
        raise m.fault(at, f"pl.scatter of {s} into {x}: the pattern needs {[s.shape[0], s.shape[-1] * step]}")
    vector(m, x.shape, x.dtype, "scatter")
    data = None
    if not m.now.dry:
        new, data = same_lead(s.data, filled(x, 0), 2)
        data = data.clone()
        data[..., : new.shape[-2], first : first + new.shape[-1] * step : step] = new
    return _updated(m, x, data)


@op("scatter_update", "input *args **kwargs", result=TYPED, unit="vector", moves=True, gives="either", tensors=True)
def scatter_update(m: Machine, at: Place, input: Any, *args: Any, **named: Any) -> Tile:
    """Rows of `input` replaced: input[index[i, j]] = src[i * s + j], rows counted over all axes but the last.

    `input` [rows, d], `index` [b, s], `src` [b * s, d], or four axes [blocks, block size, 1, d] and [b, s, 1, d].
    Takes (input, dim, index, src) or (input, index, src, dim=-2).
    """
    dim, index, src = _update_arguments(m, at, args, named)
    if dim != -2:
        raise m.fault(at, f"pl.scatter_update along axis {dim}", "dim=-2 is what there is")
    x, i, s = operands(m, at, input, index, src)
    if x.dtype is not s.dtype or len(x.shape) != len(s.shape) or len(x.shape) not in (2, 4) or len(i.shape) != 2:
        raise m.fault(at, f"pl.scatter_update of {x} with {s} at {i}", "[rows, d] with [b * s, d] at [b, s]")
    if i.dtype.is_float or s.shape[-1] != x.shape[-1] or elements(s.shape[:-1]) != elements(i.shape):
        raise m.fault(at, f"pl.scatter_update of {x} with {s} at {i}", "one row of the source for each index")
    if i.valid is not None or s.valid is not None:
        raise m.fault(at, f"pl.scatter_update of {x} with the partly valid {i if i.valid else s}", "pl.fillpad it")
    if len(x.shape) != 2:
        raise m.fault(at, f"pl.scatter_update of {x}: PyPTO compiles it of two axes only", "pl.reshape it")
    _check_count(m, at, "pl.scatter_update into", x, elements(x.shape), 2**15 - 1)
    vector(m, s.shape, s.dtype, "scatter")
    data = None
    if not m.now.dry:
        rows, d = elements(x.shape[:-1]), x.shape[-1]
        cells = checked(m, at, i, rows, f"the rows of {x}").flatten(-2)
        cells = (cells.unsqueeze(-1) * d + torch.arange(d)).flatten(-2)
        data = _put(x, cells, s.data.flatten(-len(s.shape)), None)
    return _updated(m, x, data)


def _update_arguments(m: Machine, at: Place, args: tuple, named: dict) -> tuple:
    left = list(args)
    dim = named.get("dim", -2)
    if left and isinstance(left[0], int):
        dim = left.pop(0)
    index = named["index"] if "index" in named else left.pop(0) if left else None
    src = named["src"] if "src" in named else left.pop(0) if left else None
    if index is None or src is None or left or set(named) - {"dim", "index", "src"}:
        raise m.fault(at, "pl.scatter_update takes (input, dim, index, src)")
    return dim, index, src


@op("mscatter", "src idx output_tensor", on="pl tile", gives="either", tensors=True)
def mscatter(m: Machine, at: Place, src: Any, idx: Any, output_tensor: Any) -> Any:
    """output.flat[idx[i, j]] = src[i, j], from a tile to global memory; returns the tensor."""
    t = output_tensor
    if type(t) is not Tensor or not t.contiguous or isinstance(t.offset, np.ndarray):
        raise m.fault(at, f"pl.mscatter into {describe(t)}", "a tensor that is not a strided window")
    s, i = operands(m, at, src, idx)
    if s.dtype is not t.dtype or s.dtype.name not in {"FP16", "FP32", "INT16", "INT32"}:
        raise m.fault(at, f"pl.mscatter of {s} into {t}", "one element type of FP16, FP32, INT16, INT32")
    if i.dtype is not INT32 or i.shape != s.shape:
        raise m.fault(at, f"pl.mscatter of {s} with the index {i}", "INT32 of the shape of the source")
    if m.batches.batch is not None:
        raise Conflict  # blocks may write the same places
    total = elements(t.shape)
    if m.now.dry:
        m.memory.store(at, _flat(t, 0, total), m.onchip.tile(at, None, (total,), t.dtype, space=""))
        return t
    cells = checked(m, at, i, total, f"the elements of {t}").flatten().numpy()
    values = fitted(s, i.valid or i.shape, lambda: m.memory.undefined(at)).flatten()
    places, last = np.unique(cells[::-1], return_index=True)
    values = values[torch.from_numpy(len(cells) - 1 - last)]
    for run in np.split(np.arange(len(places)), np.flatnonzero(np.diff(places) != 1) + 1):
        if len(run):
            n, first = len(run), int(places[run[0]])
            tile = Tile(values[run[0] : run[0] + n], (n,), t.dtype, None, s.memory)
            m.memory.store(at, _flat(t, first, n), tile)
    return t


def _flat(t: Tensor, first: int, n: int) -> Tensor:
    """`n` elements of a contiguous tensor, as a window of one axis."""
    return Tensor(t.buffer, t.offset + first, (n,), (1,), t.dtype, None, t.root or t)
