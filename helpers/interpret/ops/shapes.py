"""Another shape for the same elements: reshape, transpose, concat, valid shapes and what pads them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from helpers.interpret.language.dtypes import DType
from helpers.interpret.language.operation import ALL, TYPED, WRITTEN_LAID_OUT, Result
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops import halves
from helpers.interpret.ops.common import (
    describe,
    elements,
    in_ub,
    op,
    operand,
    operands,
    static,
    vector,
)
from helpers.interpret.source.source import Place
from helpers.interpret.values.extents import filled, fitted, poison
from helpers.interpret.values.lanes import Lanes, settled
from helpers.interpret.values.values import Tensor, Tile, dense_strides, held


@op("dim", "tensor axis", on="pl tensor", gives="index", tensors=True)
def dim(m: Machine, at: Place, tensor: Any, axis: int) -> int:
    """The extent of an axis."""
    if not isinstance(tensor, (Tensor, Tile)):
        raise m.fault(at, f"pl.tensor.dim of {describe(tensor)}")
    if not -len(tensor.shape) <= axis < len(tensor.shape):
        raise m.fault(at, f"axis {axis} of {tensor}")
    return tensor.shape[axis]


# ---- views -----------------------------------------------------------------------------------------------


@op(
    "reshape", "input shape", tensor="tensor shape", tile="tile shape", result=WRITTEN_LAID_OUT, orchestration=True,
    tensors=True, tiles_at=(0,),
)  # fmt: skip
def reshape(m: Machine, at: Place, x: Any, shape: Any) -> Tensor | Tile:
    """The same elements under another shape."""
    if not isinstance(x, (Tensor, Tile)):
        raise m.fault(at, f"pl.reshape of {describe(x)}")
    shape = static(m, at, shape)
    if elements(shape) != elements(x.shape):
        raise m.fault(at, f"pl.reshape of {x} to {list(shape)}: {elements(x.shape)} elements to {elements(shape)}")
    valid = _reshaped_valid(m, at, x, shape)
    if type(x) is Tensor:
        strides = _reshaped_strides(x, shape)
        if strides is None:
            raise m.fault(at, f"pl.reshape of a window whose rows are not contiguous: {x}", "reshape before slicing")
        return Tensor(x.buffer, x.offset, shape, strides, x.dtype, valid)
    data = None
    if not m.now.dry:
        data = x.data.reshape(*(x.data.shape[:1] if x.batched else ()), *held(shape, valid))
    out = m.onchip.alias(x, data, shape, x.dtype, valid)
    out.pages = out.crossed = x.pages  # of several products it cannot be stored any more
    halves.reshaped(m, at, x, out)
    return out


def same_rank(m: Machine, at: Place, a: Tile, b: Tile) -> tuple[Tile, Tile]:
    """Two tiles of one rank: the smaller one gets axes of extent 1 in front, as broadcasting has it."""
    more = len(a.shape) - len(b.shape)
    if more > 0:
        b = reshape(m, at, b, [1] * more + list(b.shape))
    elif more < 0:
        a = reshape(m, at, a, [1] * -more + list(a.shape))
    return a, b


def _reshaped_valid(m: Machine, at: Place, x: Any, shape: tuple) -> tuple | None:
    if x.valid is None:
        return None
    kept = [(n, v) for n, v in zip(x.shape, x.valid) if n != 1]
    new = [n for n in shape if n != 1]
    if [n for n, _ in kept] == new:  # only axes of extent 1 come or go
        rest = iter(v for _, v in kept)
        return tuple(1 if n == 1 else next(rest) for n in shape)
    lead = x.valid[0]
    if x.valid[1:] == x.shape[1:] and x.shape[0] and type(lead) is not Lanes:
        rows = lead * math.prod(x.shape[1:])
        inner = math.prod(shape[1:])
        if rows % inner == 0:
            return (rows // inner, *shape[1:])
    raise m.fault(at, f"pl.reshape to {list(shape)} of a partly valid {x}", "pl.fillpad it first")


def _reshaped_strides(x: Tensor, shape: tuple) -> tuple | None:
    if x.contiguous:
        return dense_strides(shape)
    try:
        probe = torch.empty_strided(x.shape, x.strides, device="meta").view(shape)
    except RuntimeError:
        return None
    return tuple(probe.stride())


@op(
    "transpose", "input axis1 axis2", tensor="tensor axis1 axis2", tile="tile axis1 axis2 tmp_tile?", result=TYPED,
    orchestration=True, tensors=True, tiles_at=(0,), apart=ALL,
)  # fmt: skip
def transpose(m: Machine, at: Place, x: Any, axis1: int, axis2: int, tmp_tile: Any = None) -> Tensor | Tile:
    """Two axes exchanged."""
    rank = len(x.shape)
    if not (-rank <= axis1 < rank and -rank <= axis2 < rank):
        raise m.fault(at, f"pl.transpose of {x} along axis {axis1} and {axis2}, of {rank}")
    a, b = axis1 % rank, axis2 % rank
    if a == b:
        raise m.fault(at, f"pl.transpose of {x} along axis {axis1} and {axis2}", "two axes that differ")
    if type(tmp_tile) is Tile and tmp_tile.dtype is not x.dtype:
        raise m.fault(at, f"pl.transpose of {x} with the scratch {tmp_tile}", f"pl.create_tile(..., pl.{x.dtype})")

    def swap(t: tuple | None) -> tuple | None:
        if t is None:
            return None
        out = list(t)
        out[a], out[b] = out[b], out[a]
        return tuple(out)

    if type(x) is Tensor:
        return Tensor(x.buffer, x.offset, swap(x.shape), swap(x.strides), x.dtype, swap(x.valid))
    x = operand(m, at, x)
    if rank > 2 and {a, b} != {rank - 2, rank - 1}:  # src/ir/transforms/flatten_tile_nd_to_2d/transpose.cpp
        raise m.fault(
            at, f"pl.transpose of axes {a} and {b} of {x}, on chip: an instruction turns the last two axes only",
            "transpose the tensor in orchestration, or store each part at its place",
        )  # fmt: skip
    # Into a column: rows of one element. Of a column, which is column-major: `pto.ttrans` takes that on A5 only.
    if rank == 2 and (x.shape[0] == 1 or (x.shape[1] == 1 and m.chip.rules == "a2a3")):
        raise m.fault(at, f"pl.transpose of {x}, on chip", f"pl.reshape(x, {list(swap(x.shape))})")
    if x.memory.space == "L0C" and m.chip.rules == "a2a3":  # laid out in blocks
        raise m.fault(at, f"pl.transpose of the product {x}", "exchange the operands: pl.matmul(..., b_trans=True)")
    vector(m, x.shape, x.dtype, "transpose")
    data = None if m.now.dry else x.data.transpose(a - rank, b - rank).contiguous()
    return m.onchip.tile(at, data, swap(x.shape), x.dtype, swap(x.valid), x.memory.space)


@op("transpose_view", "tile", on="tile")
def transpose_view(m: Machine, at: Place, x: Any) -> Tile:
    """The last two axes exchanged, without moving data."""
    x = operand(m, at, x, "L1")
    data = None if m.now.dry else x.data.transpose(-1, -2)
    shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
    valid = None if x.valid is None else (*x.valid[:-2], x.valid[-1], x.valid[-2])
    return m.onchip.alias(x, data, shape, x.dtype, valid)


@op("concat", "src0 src1", result=Result("", type=True, valid="whole"), unit="vector", tiles_at=(0, 1), apart=ALL)
def concat(m: Machine, at: Place, src0: Any, src1: Any) -> Tile:
    """Two tiles side by side along the last axis."""
    a, b = operands(m, at, src0, src1)
    if a.shape[:-1] != b.shape[:-1] or a.dtype is not b.dtype:
        raise m.fault(at, f"pl.concat of {a} and {b}")
    shape = (*a.shape[:-1], a.shape[-1] + b.shape[-1])
    vector(m, shape, a.dtype, "concat")
    data = None
    if not m.now.dry:
        x, y = (filled(t, 0 if t.valid is None else m.memory.undefined(at)) for t in (a, b))
        if a.batched != b.batched:
            n = (x if a.batched else y).shape[0]
            x, y = x.expand(n, *a.shape), y.expand(n, *b.shape)
        data = torch.cat([x, y], -1)
    return m.onchip.tile(at, data, shape, a.dtype)


@op(
    "set_validshape", "input valid_rows valid_cols", tensor="tensor valid_rows valid_cols",
    tile="tile valid_rows valid_cols", result=Result("first", type=True, layout=True), unit="vector", moves=True,
    tiles_at=(0,),
)  # fmt: skip
def set_validshape(m: Machine, at: Place, x: Any, valid_rows: Any, valid_cols: Any) -> Tensor | Tile:
    """The same tile with another valid shape; nothing moves. In a region a tensor is loaded for it.

    Raises:
        FaultError: an extent is negative or larger than the tile.
    """
    if not isinstance(x, (Tensor, Tile)) or len(x.shape) != 2:
        raise m.fault(at, f"pl.set_validshape of {describe(x)}", "it takes a tile of two dimensions")
    for name, v, n in (("valid_rows", valid_rows, x.shape[0]), ("valid_cols", valid_cols, x.shape[1])):
        values = v.values if type(v) is Lanes else np.asarray(v)
        if (values < 0).any() or (values > n).any():
            what = f"pl.set_validshape: {name} = {v} of {n}"
            raise m.fault(at, what, "pl.min(n, rows); and no task where nothing is left", kind="valid extent")
    valid: tuple | None = (settled(valid_rows), settled(valid_cols))
    if not any(type(v) is Lanes for v in valid) and valid == x.shape:
        valid = None
    if type(x) is Tensor:
        if m.now.task is None:
            return Tensor(x.buffer, x.offset, x.shape, x.strides, x.dtype, valid)
        x = m.memory.load(at, x)
    if x.view:  # src/backend/common/pto_ops_datamove.cpp
        raise m.fault(
            at, f"pl.set_validshape of {x}, a part of another tile: what is valid of it is its type's",
            "pl.slice(tile, shape, offset, valid_shape=[...]), or pl.set_validshape of the tile it is taken from",
        )  # fmt: skip
    data, holds = None, held(x.shape, valid)
    if not m.now.dry:
        data = fitted(x, valid or x.shape, lambda: m.memory.undefined(at))[(..., *(slice(0, n) for n in holds))]
    return m.onchip.alias(x, data, x.shape, x.dtype, valid)


@op(
    "fillpad", "value pad_value?", tensor="tensor pad_value?", tile="tile pad_value?",
    result=Result("first", type=True, layout=True), unit="vector", tiles_at=(0,),
)  # fmt: skip
@op("fillpad_inplace", "tile pad_value?", on="tile", tiles_at=(0,))
def fillpad(m: Machine, at: Place, value: Any, pad_value: Any = "zero") -> Tile:
    """What lies outside the valid part is set to `pad_value`; the result is valid everywhere."""
    x = in_ub(m, at, value)
    vector(m, x.shape, x.dtype, "fillpad")
    data = x.data
    if not m.now.dry and x.valid is not None:
        data = filled(x, pad(m, at, pad_value, x.dtype))
    out = m.onchip.tile(at, data, x.shape, x.dtype)
    if x.valid is None and x.origin is not None:
        m.memory.share(out, x.origin)
    return out


def pad(m: Machine, at: Place, value: Any, dtype: DType) -> float:
    """The number that a pad value stands for: infinities for floats, as PTO-ISA's TFILLPAD has it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value in (0, math.inf, -math.inf):
            return value if dtype.is_float or value == 0 else poison(dtype)
        raise m.fault(at, f"pad value {value}", "use pl.PadValue.zero, .min or .max")
    name = getattr(value, "name", str(value)).rsplit(".", 1)[-1]
    if name in ("zero", "null"):
        return 0
    if dtype.is_float:
        return -math.inf if name == "min" else math.inf
    info = torch.iinfo(dtype.torch)
    return info.min if name == "min" else info.max
