"""Reductions along a row or a column, and the broadcasts that undo them.

A reduction folds only the valid part of its input (PyPTO src/ir/op/tile_ops/reduction.cpp; PTO-ISA TROWSUM
takes its bounds from the source's valid shape). Row sums of BF16 and FP16 accumulate in FP32 and round once, column
sums round after every addition (`column_sums`); of FP32, torch's order of summation is pairwise, the device's is not
specified (manual, Catalog, Reductions).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from helpers.interpret.language.dtypes import BY_NAME, DType, wrap
from helpers.interpret.language.element_types import EIGHT, FLOAT, FOUR, NINE
from helpers.interpret.language.operation import ALL, FOLD, LAID_OUT, LIKE_FIRST_WHOLE
from helpers.interpret.machine.batches import Conflict
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops.common import describe, in_ub, op, operand, operands, vector
from helpers.interpret.ops.shapes import same_rank
from helpers.interpret.source.source import Place
from helpers.interpret.values.column_sums import column_sum
from helpers.interpret.values.division import divide
from helpers.interpret.values.extents import fitted, inside
from helpers.interpret.values.lanes import Lanes
from helpers.interpret.values.values import Tile, held


def _lowest(t: torch.dtype) -> float:
    return float("-inf") if t.is_floating_point else torch.iinfo(t).min


def _highest(t: torch.dtype) -> float:
    return float("inf") if t.is_floating_point else torch.iinfo(t).max


# name -> (function over one axis with keepdim, neutral value of a torch type)
FOLDS: dict[str, tuple[Callable, Callable]] = {
    "sum": (lambda x, d: x.sum(d, keepdim=True, dtype=x.dtype), lambda t: 0),
    "max": (lambda x, d: x.amax(d, keepdim=True), _lowest),
    "min": (lambda x, d: x.amin(d, keepdim=True), _highest),
    "prod": (lambda x, d: x.prod(d, keepdim=True, dtype=x.dtype), lambda t: 1),
    "argmax": (lambda x, d: x.argmax(d, keepdim=True), _lowest),
    "argmin": (lambda x, d: x.argmin(d, keepdim=True), _highest),
}


def reduce(m: Machine, at: Place, name: str, axis: int, x: Any, tmp: Any = None) -> Tile:
    """Fold axis -1 (rows) or -2 (columns) of a tile to extent 1, in steps for which `tmp` is the room."""
    x = in_ub(m, at, x)
    rank = len(x.shape)
    if rank < 2:
        raise m.fault(at, f"a reduction of {x}", "reshape it to two dimensions")
    if axis == -1 and (x.shape[-1] == 1 or (name == "min" and x.memory.space == "L0C")):
        what = "the column" if x.shape[-1] == 1 else "a product"
        raise m.fault(
            at,
            f"pl.row_{name} of {what} {x}",
            "it is a column already" if x.shape[-1] == 1 else "store it, and load it again",
        )
    fold, neutral = FOLDS[name]
    shape = list(x.shape)
    shape[axis] = 1
    dtype = BY_NAME["INT32"] if name.startswith("arg") else x.dtype
    vector(m, x.shape, x.dtype, f"{'row' if axis == -1 else 'col'}_{name}")
    if tmp is not None:
        _check_room(m, at, x, tmp, exact=axis == -1 and name.startswith("arg"))
    elif axis == -1 or name.startswith("arg"):  # what PyPTO makes where the tensor form is written
        m.onchip.scratch(at, x)
    valid = None
    if x.valid is not None:
        limit = x.valid[axis]
        if type(limit) is Lanes:
            if (limit.values <= 0).any():
                raise Conflict  # one by one, the first block where it is so says so
        elif limit <= 0:
            raise m.fault(at, f"a reduction over an empty valid shape {list(x.valid)} of {x}", kind="valid extent")
        valid = list(x.valid)
        valid[axis] = 1
        valid = None if all(type(v) is not Lanes and v == n for v, n in zip(valid, shape)) else tuple(valid)
    data = None
    if not m.now.dry:
        if name == "sum" and axis == -2 and dtype.is_float and dtype.bits == 16:
            fold = lambda values, _: column_sum(values, m.chip.rules, tmp is not None)  # noqa: E731
        if x.valid is None or type(x.valid[axis]) is not Lanes:
            data = fold(x.data, axis)
        elif name in ("sum", "prod") and dtype.is_float:
            data = _each(x, axis, fold)
        else:
            extents = held(x.shape, x.valid)
            limits = [x.valid[a] if a == rank + axis else n for a, n in enumerate(extents)]
            outside = torch.tensor(neutral(x.data.dtype), dtype=x.data.dtype)
            data = fold(torch.where(inside(extents, tuple(limits)), x.data, outside), axis)
        if data.dtype != dtype.torch:
            data = data.to(dtype.torch)
        data = wrap(data, dtype)
    return m.onchip.tile(at, data, tuple(shape), dtype, valid)


def _each(x: Tile, axis: int, fold: Callable) -> torch.Tensor:
    """Fold as much as is valid in each block, for what rounds as the number of values has it."""
    limits = x.valid[axis].values
    values = x.data if x.batched else x.data.expand(len(limits), *x.data.shape)
    shape = list(values.shape)
    shape[axis] = 1
    out = torch.empty(shape, dtype=values.dtype)
    for n in np.unique(limits):
        blocks = torch.from_numpy(np.flatnonzero(limits == n))
        out[blocks] = fold(values[blocks].narrow(axis, 0, int(n)), axis)
    return out


def _check_room(m: Machine, at: Place, x: Tile, tmp: Any, exact: bool) -> None:
    """The scratch that a kernel gives: PyPTO python/pypto/language/op/unified_ops.py says how large it must be."""
    if not isinstance(tmp, Tile):
        raise m.fault(at, f"tmp_tile is {describe(tmp)}", "pl.create_tile(...)")
    m.onchip.touch(tmp)
    fits = tmp.shape == x.shape or (
        not exact and len(tmp.shape) == len(x.shape) and all(t >= n for t, n in zip(tmp.shape, x.shape))
    )
    if not fits or tmp.dtype is not x.dtype:
        raise m.fault(at, f"tmp_tile {tmp} for {x}", "make it of the shape and type of the input")


EXPAND: dict[str, Callable] = {
    "mul": torch.mul,
    "add": torch.add,
    "sub": torch.sub,
    "max": torch.maximum,
    "min": torch.minimum,
    "expdif": lambda x, v: torch.exp(x - v),
}


# What pl.row_expand_* does to each element, as an operation of its own.
SAME = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "max": "maximum", "min": "minimum"}


def expand(m: Machine, at: Place, name: str, row: bool, a: Any, b: Any) -> Tile:
    """`a` combined with `b` broadcast along its rows ([R, 1]) or columns ([1, C])."""
    x, v = operands(m, at, a, b)
    if not row:
        for t in (x, v):
            if t.strided:  # it is copied out for this operation
                m.onchip.scratch(at, t)
    kind = "row" if row else "col"
    wanted = (*x.shape[:-1], 1) if row else (*x.shape[:-2], 1, x.shape[-1])
    if len(v.shape) < len(wanted) and v.shape == wanted[-len(v.shape) :]:
        v = same_rank(m, at, x, v)[1]
    if row and name == "add" and v.shape == (*x.shape[:-1], 256 // x.dtype.bits):
        v = _repeated(m, at, v, x.shape)
        wanted = x.shape
    if v.shape != wanted:
        raise m.fault(
            at, f"pl.{kind}_expand_{name} of {x} with {v}", f"the second operand must have shape {list(wanted)}"
        )
    if row and x.shape[-1] == 1:
        raise m.fault(at, f"pl.row_expand_{name} of the column {x}", f"pl.{SAME[name]}" if name in SAME else None)
    if row and name == "add" and x.memory.space == "L0C":
        raise m.fault(at, f"pl.row_expand_add of the product {x}", "store it, and load it again")
    if row and name == "add" and (x.valid or x.shape)[-2] != (v.valid or v.shape)[-2]:
        raise m.fault(at, f"pl.row_expand_add of {x} with {v}: as many rows have to be valid", "pl.set_validshape")
    if x.dtype is not v.dtype:
        raise m.fault(at, f"pl.{kind}_expand_{name} of {x} with {v}: there is no promotion", "pl.cast one of them")
    vector(m, x.shape, x.dtype, name)
    data = None
    if not m.now.dry:
        plain = x.valid is None and v.valid is None
        fn = partial(divide, m, at) if name == "div" else EXPAND[name]
        other = v.data if plain else fitted(v, x.valid or x.shape, lambda: m.memory.undefined(at))
        data = wrap(fn(x.data, other), x.dtype)
    return m.onchip.tile(at, data, x.shape, x.dtype, x.valid)


def _repeated(m: Machine, at: Place, v: Tile, shape: tuple) -> Tile:
    """A block of 32 bytes a row, over and over along the row: what row_expand_add takes instead of a column, too
    (`DeduceTileRowExpandAddType` in PyPTO src/ir/op/tile_ops/broadcast.cpp)."""
    data = None
    if not m.now.dry:
        times = -(-shape[-1] // v.shape[-1])
        data = torch.cat([fitted(v, v.valid or v.shape)] * times, -1)[..., : shape[-1]]
    valid = None if v.valid is None else (*v.valid[:-1], shape[-1])
    return m.onchip.alias(v, data, shape, v.dtype, valid)


def _fold(what: str, says: str, rows: Any, columns: Any, takes: str, **of_columns: Any) -> None:
    """Declare a reduction, along rows and along columns; `takes`: what the form for columns is called with."""
    first = what.startswith("arg")  # it gives indices, of INT32
    of_both = {} if first else {"result": FOLD, "unit": "vector", "tiles_at": (0,)}

    def row(m: Machine, at: Place, input: Any, tmp_tile: Any = None) -> Tile:
        return reduce(m, at, what, -1, input, tmp_tile)

    def column(m: Machine, at: Place, input: Any, tmp_tile: Any = None) -> Tile:
        return reduce(m, at, what, -2, input, tmp_tile)

    scratch = {"takes": "input tmp_tile?", "tensor": "input", "tile": "tile tmp_tile"}
    op(f"row_{what}", says=f"{says} of each row.", types=rows, apart=ALL, **scratch, **of_both)(row)
    forms = {
        "none": {"takes": "input", "tile": "tile"},
        "scratch": scratch,
        "may": {**scratch, "tile": "tile tmp_tile?"},
    }
    op(f"col_{what}", says=f"{says} of each column.", types=columns, **forms[takes], **of_both, **of_columns)(column)


_fold("sum", "The sum", FOUR, (FOUR, NINE), "may")
_fold("max", "The largest element", FOUR, (FOUR, NINE), "none")
_fold("min", "The smallest element", FOUR, (FOUR, NINE), "none")
_fold("prod", "The product", FOUR, (FOUR, "FP32 FP16 BF16 INT32 INT16 UINT32 UINT16"), "none")
_fold("argmax", "Where the largest element is", FOUR, ("FP32 FP16 UINT32 UINT16", NINE), "scratch", apart=ALL)
_fold("argmin", "Where the smallest element is", FOUR, ("FP32 FP16 UINT32 UINT16", NINE), "scratch", apart=ALL)


def _expand(name: str, says: str, rows: Any, columns: Any, **of_rows: Any) -> None:
    """Declare an operation of a tile and a column, and one of a tile and a row."""

    def row(m: Machine, at: Place, lhs: Any, rhs: Any, tmp: Any = None) -> Tile:
        return expand(m, at, name, True, lhs, rhs)

    def column(m: Machine, at: Place, lhs: Any, rhs: Any, tmp: Any = None) -> Tile:
        return expand(m, at, name, False, lhs, rhs)

    of_both: dict[str, Any] = {"unit": "vector", "result": LIKE_FIRST_WHOLE, "apart": (1,)}
    if name in ("max", "min", "expdif"):
        of_both |= {"result": LAID_OUT, "tiles_at": (0, 1)}
    with_row = {"takes": "lhs rhs", "tensor": "tensor row_vec", "tile": "tile row_vec", **of_both, **of_rows}
    op(f"row_expand_{name}", says=f"{says} a column [R, 1], repeated along the rows.", types=rows, **with_row)(row)
    with_column = {"takes": "lhs rhs", "tensor": "tensor col_vec", "tile": "tile col_vec", **of_both}
    op(f"col_expand_{name}", says=f"{says} a row [1, C], repeated along the columns.", types=columns, **with_column)(
        column
    )


_expand("add", "A tile plus", (FOUR, f"{FOUR} INT8"), (FOUR, EIGHT), takes="lhs rhs tmp?", tile="tile row_vec tmp?",
        apart=(1, 2))  # fmt: skip
_expand("sub", "A tile minus", (FOUR, EIGHT), (FOUR, EIGHT))
_expand("mul", "A tile times", (FOUR, EIGHT), (FOUR, EIGHT))
_expand("div", "A tile divided by", (FLOAT, EIGHT), (FLOAT, EIGHT))
_expand("max", "The larger of a tile and", (FOUR, EIGHT), (FOUR, EIGHT))
_expand("min", "The smaller of a tile and", (FOUR, EIGHT), (FOUR, EIGHT))
_expand("expdif", "e to the power of a tile minus", FLOAT, FLOAT)


def broadcast(m: Machine, at: Place, row: bool, target: Any, vec: Any) -> Tile:
    """`vec` ([R, 1] or [1, C]) repeated to the shape of `target`, of which only the shape counts."""
    v = operand(m, at, vec)
    if type(target) is Tile:
        in_ub(m, at, target)
    wanted = (*target.shape[:-1], 1) if row else (*target.shape[:-2], 1, target.shape[-1])
    if v.shape != wanted or target.shape[-1] == 1:
        raise m.fault(
            at, f"pl.{'row' if row else 'col'}_expand of {v} to {target}",
            f"the second operand must have shape {list(wanted)}, and the first be no column",
        )  # fmt: skip
    if _promoted(target.dtype, v.dtype) != v.dtype.name:
        raise m.fault(
            at, f"pl.{'row' if row else 'col'}_expand of {v} to {target}: the instruction takes one type, and PyPTO"
            f" makes the result {_promoted(target.dtype, v.dtype)}", f"pl.cast the second operand to {target.dtype}",
        )  # fmt: skip
    vector(m, target.shape, target.dtype, "expand")
    data = None
    if not m.now.dry:
        lead = (v.data.shape[0],) if v.batched else ()
        extents = held(target.shape, target.valid)
        data = fitted(v, target.valid or target.shape, lambda: m.memory.undefined(at)).expand(*lead, *extents)
    return m.onchip.tile(at, data, target.shape, v.dtype, target.valid)


def _promoted(a: DType, b: DType) -> str:
    """What PyPTO makes of two types: the float, the wider, the signed, the first (src/ir/op/type_inference.cpp)."""
    return max((a, b), key=lambda d: (d.is_float, d.bits, d.name.startswith("INT"))).name


@op(
    "row_expand", "lhs rhs", tensor="target row_vec", tile="target row_vec", result=LAID_OUT, unit="vector",
    tiles_at=(0, 1), apart=(1,),
)  # fmt: skip
def row_expand(m: Machine, at: Place, target: Any, vec: Any) -> Tile:
    """A column repeated along the rows of `target`."""
    return broadcast(m, at, True, target, vec)


@op(
    "col_expand", "lhs rhs", tensor="tensor col_vec", tile="target col_vec", result=LAID_OUT, unit="vector",
    tiles_at=(0, 1), apart=(1,),
)  # fmt: skip
def col_expand(m: Machine, at: Place, target: Any, vec: Any) -> Tile:
    """A row repeated along the columns of `target`."""
    return broadcast(m, at, False, target, vec)
