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

import torch

from helpers.interpret.language.dtypes import BY_NAME, DType, wrap
from helpers.interpret.machine.batches import Conflict
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops.common import describe, everywhere, in_ub, op, operand, operands, vector
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
        m.scratch(at, x)
    valid = None
    if x.valid is not None:
        limit = x.valid[axis]
        if type(limit) is not Lanes and limit <= 0:
            raise m.fault(at, f"a reduction over an empty valid shape {list(x.valid)} of {x}", kind="valid extent")
        valid = list(x.valid)
        valid[axis] = 1
        valid = tuple(valid) if tuple(valid) != tuple(shape) else None
    data = None
    if not m.dry:
        data = x.data
        if x.valid is not None and type(x.valid[axis]) is Lanes:
            extents = held(x.shape, x.valid)
            limits = [x.valid[a] if a == rank + axis else n for a, n in enumerate(extents)]
            data = torch.where(
                inside(extents, tuple(limits)), data, torch.tensor(neutral(data.dtype), dtype=data.dtype)
            )
        if name == "sum" and axis == -2 and dtype.is_float and dtype.bits == 16:
            if x.valid is not None and type(x.valid[axis]) is Lanes:
                raise Conflict  # how sums pair off depends on how many rows there are
            data = column_sum(data, m.chip.name, tmp is not None)
        else:
            data = fold(data, axis)
        if data.dtype != dtype.torch:
            data = data.to(dtype.torch)
        data = wrap(data, dtype)
    return m.tile(at, data, tuple(shape), dtype, valid)


def _check_room(m: Machine, at: Place, x: Tile, tmp: Any, exact: bool) -> None:
    """The scratch that a kernel gives: PyPTO python/pypto/language/op/unified_ops.py says how large it must be."""
    if not isinstance(tmp, Tile):
        raise m.fault(at, f"tmp_tile is {describe(tmp)}", "pl.create_tile(...)")
    m.touch(tmp)
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
                m.scratch(at, t)
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
    if not m.dry:
        plain = x.valid is None and v.valid is None
        fn = partial(divide, m, at) if name == "div" else EXPAND[name]
        data = wrap(fn(x.data, v.data if plain else fitted(v, held(x.shape, x.valid))), x.dtype)
    return m.tile(at, data, x.shape, x.dtype, x.valid)


def _repeated(m: Machine, at: Place, v: Tile, shape: tuple) -> Tile:
    """A block of 32 bytes a row, over and over along the row: what row_expand_add takes instead of a column, too
    (`DeduceTileRowExpandAddType` in PyPTO src/ir/op/tile_ops/broadcast.cpp)."""
    data = None
    if not m.dry:
        times = -(-shape[-1] // v.shape[-1])
        data = torch.cat([fitted(v, held(v.shape, v.valid))] * times, -1)[..., : shape[-1]]
    valid = None if v.valid is None else (*v.valid[:-1], shape[-1])
    return m.alias(v, data, shape, v.dtype, valid)


def _define() -> None:
    for name in FOLDS:
        for kind, axis in (("row", -1), ("col", -2)):

            def fold(m: Machine, at: Place, input: Any, tmp_tile: Any = None, _n: str = name, _a: int = axis) -> Tile:
                return reduce(m, at, _n, _a, input, tmp_tile)

            op(*everywhere(f"{kind}_{name}"))(fold)
    for name in (*EXPAND, "div"):
        for kind in ("row", "col"):

            def spread(
                m: Machine, at: Place, lhs: Any, rhs: Any, tmp: Any = None, _n: str = name, _k: str = kind
            ) -> Tile:
                return expand(m, at, _n, _k == "row", lhs, rhs)

            op(*everywhere(f"{kind}_expand_{name}"))(spread)


_define()


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
    if not m.dry:
        lead = (v.data.shape[0],) if v.batched else ()
        extents = held(target.shape, target.valid)
        data = fitted(v, extents).expand(*lead, *extents)
    return m.tile(at, data, target.shape, v.dtype, target.valid)


def _promoted(a: DType, b: DType) -> str:
    """What PyPTO makes of two types: the float, the wider, the signed, the first (src/ir/op/type_inference.cpp)."""
    return max((a, b), key=lambda d: (d.is_float, d.bits, d.name.startswith("INT"))).name


@op(*everywhere("row_expand"))
def row_expand(m: Machine, at: Place, target: Any, vec: Any) -> Tile:
    """A column repeated along the rows of `target`."""
    return broadcast(m, at, True, target, vec)


@op(*everywhere("col_expand"))
def col_expand(m: Machine, at: Place, target: Any, vec: Any) -> Tile:
    """A row repeated along the columns of `target`."""
    return broadcast(m, at, False, target, vec)
