"""Arithmetic element by element, and casts: two operands, one operand, scalars, comparisons, bits.

Semantics. There is no promotion: both operands have one element type (PyPTO manual, Types). The result is
computed in that type; BF16 and FP16 are rounded after every operation, as the vector unit does. Of smaller
operands columns are broadcast, and rows are not (`_check_broadcast`); the valid shape of the result is that of the
first operand (`DeduceTileOpElementwiseBinaryType` in PyPTO's src/ir/op/tile_ops/elementwise.cpp).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from helpers.interpret.language import dtypes
from helpers.interpret.language.dtypes import DType, wrap
from helpers.interpret.language.element_types import EIGHT, FLOAT, FOUR, INTEGERS, NINE, SIX, SIX_WORDS, WORDS
from helpers.interpret.language.operation import ALL, LAID_OUT, LIKE_BOTH, LIKE_FIRST, Result
from helpers.interpret.machine import cuts
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops.common import (
    check_rows,
    check_scratch,
    describe,
    dtype_of,
    full_shape,
    in_ub,
    op,
    operands,
    scalar,
    vector,
)
from helpers.interpret.ops.shapes import same_rank
from helpers.interpret.source.source import Place
from helpers.interpret.values import fp4, numbers
from helpers.interpret.values.division import divide, modulo, remainder
from helpers.interpret.values.extents import fitted
from helpers.interpret.values.lanes import Lanes, is_scalar
from helpers.interpret.values.numbers import larger, smaller
from helpers.interpret.values.values import Tensor, Tile


def _larger(a: torch.Tensor, b: Any) -> torch.Tensor:
    return torch.maximum(a, b) if isinstance(b, torch.Tensor) else a.clamp(min=b)


def _smaller(a: torch.Tensor, b: Any) -> torch.Tensor:
    return torch.minimum(a, b) if isinstance(b, torch.Tensor) else a.clamp(max=b)


BITS = {"and_", "or_", "xor", "shl", "shr", "not_"}  # defined for integers only

# What is computed of elements, by the name of the operation; the declarations below fill these.
BINARY: dict[str, Callable] = {}
DIVISIONS: dict[str, Callable] = {}  # these take the machine and the place, too
UNARY: dict[str, Callable] = {}


def binary(m: Machine, at: Place, name: str, a: Any, b: Any) -> Any:
    """`name` of two operands; the second may be a scalar."""
    fn = BINARY[name] if name in BINARY else partial(DIVISIONS[name], m, at)
    if is_scalar(a):
        if is_scalar(b):
            raise m.fault(at, f"pl.{name} of two scalars", "write it with an operator, or use pl.max / pl.min")
        raise m.fault(
            at, f"pl.{name}: the first operand is {describe(a)}", "put the tensor first and the scalar second"
        )
    x = in_ub(m, at, a)
    if name in BITS and x.dtype.is_float:
        raise m.fault(at, f"pl.{name} of {x}: bits are for integers", "pl.cast it to an integer type first")
    if is_scalar(b):
        shape, other = x.shape, b
        if isinstance(b, float) and name in BITS:
            raise m.fault(at, f"pl.{name} of {x} and the float {b}: bits are for integers")
        if isinstance(b, float) and not x.dtype.is_float and not float(b).is_integer():
            raise m.fault(at, f"pl.{name} of {x} and the fraction {b}", "cast the tile to FP32 first")
    else:
        x, y = operands(m, at, x, b)
        if x.dtype is not y.dtype:
            raise m.fault(at, f"pl.{name} of {x} and {y}: there is no promotion", "pl.cast one of them")
        shape = full_shape(x.shape, y.shape)
        if shape is None:
            raise m.fault(at, f"pl.{name} of {x} and {y}: shapes do not match")
        if len(x.shape) != len(y.shape):
            x, y = same_rank(m, at, x, y)
        if x.shape != y.shape or x.valid != y.valid:
            _check_broadcast(m, at, name, x, y)
        other = y
    vector(m, shape, x.dtype, name if type(b) is Tile or type(b) is Tensor else f"{name}s")
    if name == "add" and type(other) is Tile and x.dtype.is_float and x.dtype.bits < 32:
        if x.memory.place is at or other.memory.place is at:  # the sum of the turn before
            m.trace.note("low-precision sum", at, f"a sum is kept in {x.dtype}, and rounds every time it is added to")
    valid = x.valid
    if type(other) is Tile and shape != x.shape:  # where the first operand is broadcast, the second says what is valid
        pairs = zip(x.valid or x.shape, other.valid or other.shape, x.shape, shape)
        valid = tuple(v if n == s else w for v, w, n, s in pairs)
        if all(type(v) is not Lanes for v in valid) and valid == shape:
            valid = None
    data = None
    if not m.now.dry:
        if type(other) is not Tile:
            data = fn(x.data, scalar(other, len(shape), x.dtype))
        elif x.valid is None and other.valid is None:
            data = fn(x.data, other.data)
        else:
            data = fn(*(fitted(t, valid or shape, lambda: m.memory.undefined(at)) for t in (x, other)))
        data = wrap(data if data.dtype == x.dtype.torch else data.to(x.dtype.torch), x.dtype)
    return m.onchip.tile(at, data, shape, x.dtype, valid)


def covers(column: Tile, x: Tile) -> bool:
    """False when fewer rows of a column are valid than of a tile (src/ir/transforms/op_conversion_registry.cpp)."""
    rows, wanted = (column.valid or column.shape)[-2], (x.valid or x.shape)[-2]
    return type(rows) is Lanes or type(wanted) is Lanes or rows >= wanted


def _check_broadcast(m: Machine, at: Place, name: str, x: Tile, y: Tile) -> None:
    """Which operations broadcast, and what.

    Source: tried on PyPTO, its assembler and, for values, a2a3sim: pl.div takes a column as divisor and
    nothing else, and operands with one valid shape; of the others only pl.add, pl.sub and pl.mul take a column, and
    pl.sub subtracts one that comes first, too.
    """
    column = any(a.shape[-1] == 1 != b.shape[-1] for a, b in ((x, y), (y, x)))
    if name == "div" and x.shape == y.shape:
        raise m.fault(
            at, f"pl.div of {x} by {y}: their valid shapes differ", "pl.fillpad them, or pl.set_validshape of one"
        )
    if name == "div" and (x.shape[-1] == 1 or y.shape[-1] != 1 or x.shape[:-1] != y.shape[:-1]):
        raise m.fault(at, f"pl.div of {x} by {y}: shapes do not match", "pl.row_expand_div or pl.col_expand_div")
    if name == "div" and not covers(y, x):
        raise m.fault(at, f"pl.div of {x} by {y}: of the divisor fewer rows are valid", "pl.set_validshape of one")
    if column and name == "sub" and x.shape[-1] == 1:
        raise m.fault(
            at, f"pl.sub of the column {x} and {y}: PyPTO makes it a pl.row_expand_sub, which subtracts the column",
            "pl.row_expand_add(pl.neg(the tile), the column)",
        )  # fmt: skip
    if column and name not in ("add", "sub", "mul", "div"):
        fix = f"pl.row_expand_{name[:3]}" if name in ("maximum", "minimum") else "pl.row_expand the column"
        raise m.fault(at, f"pl.{name} of {x} and {y}: a column is not broadcast", fix)
    check_rows(m, at, name, x, y)


def unary(m: Machine, at: Place, name: str, a: Any) -> Tile:
    """`name` of one operand."""
    x = in_ub(m, at, a)
    if name in BITS and x.dtype.is_float:
        raise m.fault(at, f"pl.{name} of {x}: bits are for integers", "pl.cast it to an integer type first")
    vector(m, x.shape, x.dtype, name)
    data = None if m.now.dry else wrap(UNARY[name](x.data), x.dtype)
    if data is not None and data.dtype != x.dtype.torch:
        raise m.fault(at, f"pl.{name} of {x}", "pl.cast it to FP32 first")
    return m.onchip.tile(at, data, x.shape, x.dtype, x.valid)


def _binary(name: str) -> Callable:
    """The operation `name`: with a scratch tile for those that the vector unit computes in steps."""

    def plain(m: Machine, at: Place, lhs: Any, rhs: Any) -> Any:
        return binary(m, at, name, lhs, rhs)

    def divide(m: Machine, at: Place, lhs: Any, rhs: Any, high_precision: bool = False) -> Any:
        if high_precision and is_scalar(rhs):
            raise m.fault(at, "pl.div by a number with high_precision=True", "leave it out, or pl.full the divisor")
        return binary(m, at, name, lhs, rhs)

    def stepped(m: Machine, at: Place, lhs: Any, rhs: Any, tmp: Any = None) -> Any:
        if type(lhs) is Tile:
            check_scratch(m, at, name, tmp, lhs.dtype.name)
            if is_scalar(rhs) and type(tmp) is Tile:
                _check_rems(m, at, lhs, rhs, tmp)
        return binary(m, at, name, lhs, rhs)

    return divide if name == "div" else stepped if name in ("rem", "xor") else plain


def _check_rems(m: Machine, at: Place, x: Tile, number: Any, tmp: Tile) -> None:
    """pl.rems wants rows, scratch that broadcasts to their shape, and a number of their type (the assembler)."""
    if full_shape(x.shape, tmp.shape) is None or 1 in (x.shape[-1], tmp.shape[-1]):
        raise m.fault(at, f"pl.rems of {x} with the scratch {tmp}", "scratch of its shape, and no columns")
    if isinstance(number, float) and not x.dtype.is_float:
        raise m.fault(at, f"pl.rems of {x} and the float {number}", "an integer")


def _two(name: str, computes: Callable, says: str, types: Any, number: dict[str, Any], **known: Any) -> None:
    """Declare an operation on two tiles, and its form whose second operand is a number (what `number` says of it)."""
    (DIVISIONS if computes in (divide, modulo, remainder) else BINARY)[name] = computes
    fn, takes = _binary(name), known.pop("takes", "lhs rhs")
    known = {"tiles_at": (0,)} | known
    op(name, takes, says=says, types=types, result=LIKE_BOTH, unit="vector", **known)(fn)
    known.pop("apart_with_number", None)
    known |= {"takes": "lhs rhs" if takes.startswith("lhs rhs h") else takes} | number
    said = f"{says} The second operand is a number."
    op(f"{name.rstrip('_')}s", says=said, result=LAID_OUT, unit="vector", number_second=True, **known)(fn)


def _one(
    name: str, computes: Callable, says: str, types: Any, takes: str = "input", tile: str = "tile", **known: Any
) -> None:
    """Declare an operation on each element of one tile."""
    UNARY[name] = computes

    def compute(m: Machine, at: Place, input: Any, tmp: Any = None, high_precision: bool = False) -> Tile:
        if type(tmp) is Tile and isinstance(input, Tile) and (tmp.dtype, tmp.shape) != (input.dtype, input.shape):
            raise m.fault(at, f"pl.{name} of {input} with the scratch {tmp}", "scratch of its shape and type")
        return unary(m, at, name, input)

    result = {"result": LIKE_FIRST, "unit": "vector", "tiles_at": (0,)}
    op(name, takes, says=says, types=types, tile=tile, **result, **known)(compute)


_of_tensors = {"on": "tensor tile"}
_of_tiles = {"on": "pl tile", "tiles_only": True}
_scratch = {"takes": "lhs rhs tmp?", "tensor": "lhs rhs", "tile": "lhs rhs tmp"}
_two("add", torch.add, "The sum.", (FOUR, NINE), {"types": (FOUR, SIX), **_of_tensors})
_two("sub", torch.sub, "The difference.", (FOUR, EIGHT), {"types": (FOUR, SIX), **_of_tensors})
_two("mul", torch.mul, "The product of elements.", (FOUR, SIX_WORDS), {"types": (FOUR, SIX), **_of_tensors})
_two("maximum", _larger, "The larger element.", (FOUR, EIGHT), {"types": (FOUR, SIX), **_of_tiles})
_two("minimum", _smaller, "The smaller element.", (FOUR, NINE), {"types": (FOUR, SIX), **_of_tiles})
_two("and_", torch.bitwise_and, "Bits that are set in both.", INTEGERS,
     {"types": ("INT16 UINT16 INT8 UINT8", INTEGERS), "apart": ALL}, apart_with_number=ALL)  # fmt: skip
_two("or_", torch.bitwise_or, "Bits that are set in one or both.", INTEGERS,
     {"types": ("INT16 UINT16 INT8 UINT8", INTEGERS), "apart": ALL}, apart_with_number=ALL)  # fmt: skip
_two("xor", torch.bitwise_xor, "Bits that are set in one of both.", (f"{INTEGERS} INT64 UINT64", INTEGERS),
     {"types": ("INT16 UINT16", INTEGERS), "apart": ALL, "tiles_at": (0,)}, apart_with_number=ALL, tiles_at=(0, 2),
     **_scratch)  # fmt: skip
_two("shl", torch.bitwise_left_shift, "Bits moved to the left.", INTEGERS, {"types": f"{INTEGERS} INT64 UINT64"})
_two("shr", torch.bitwise_right_shift, "Bits moved to the right.", INTEGERS, {"types": (WORDS, INTEGERS)})
_two("div", divide, "The quotient.", (FLOAT, FOUR), {"types": (FOUR, EIGHT), **_of_tensors},
     takes="lhs rhs high_precision?")  # fmt: skip
_two("fmod", modulo, "The remainder of a division, with the dividend's sign.", (FOUR, SIX_WORDS),
     {"types": (FOUR, SIX_WORDS)}, apart=ALL, same_number=True)  # fmt: skip
_two("rem", remainder, "The remainder of a division, with the divisor's sign.", ("FP32 INT32", SIX_WORDS),
     {"types": ("FP32 INT32", SIX_WORDS), "same_number": True, "tiles_at": (0, 2)}, tiles_at=(0, 1, 2),
     takes="lhs rhs tmp", **_of_tiles)  # fmt: skip

_one("exp", torch.exp, "e to the power of each element.", FLOAT)
_one("log", torch.log, "The natural logarithm.", FLOAT, "input high_precision?", "tile high_precision?")
_one("sin", torch.sin, "The sine.", "FP32")
_one("cos", torch.cos, "The cosine.", "FP32")
_one("sqrt", torch.sqrt, "The square root.", FLOAT)
_one("rsqrt", torch.rsqrt, "One over the square root.", FLOAT, "input high_precision?", "tile tmp?", apart=ALL)
_one("recip", torch.reciprocal, "One over each element.", (FOUR, FLOAT), "input high_precision?",
     "tile high_precision?", apart=ALL)  # fmt: skip
_one("neg", torch.neg, "Each element with its other sign.", (FOUR, NINE))
_one("abs", torch.abs, "The absolute value.", FLOAT)
_one("relu", torch.relu, "The larger of each element and zero.", "FP32 FP16 INT32", "tile", **_of_tiles)
_one("not_", torch.bitwise_not, "Every bit the other way.", "INT16 UINT16")


@op("min", "lhs rhs", on="pl tile", gives="number")
def min_(m: Machine, at: Place, lhs: Any, rhs: Any) -> Any:
    """The smaller of two scalars."""
    _need_scalars(m, at, "min", lhs, rhs)
    return smaller(lhs, rhs)


@op("max", "lhs rhs", on="pl tile", gives="number")
def max_(m: Machine, at: Place, lhs: Any, rhs: Any) -> Any:
    """The larger of two scalars."""
    _need_scalars(m, at, "max", lhs, rhs)
    return larger(lhs, rhs)


def _need_scalars(m: Machine, at: Place, name: str, *xs: Any) -> None:
    for x in xs:
        if isinstance(x, (Tensor, Tile)):
            raise m.fault(at, f"pl.{name} compares scalars, not {describe(x)}", f"use pl.{name}imum, or pl.row_{name}")


# pl.cast: from one element type to another, in the steps that the chip has.
#
# A chip converts some pairs of types in one instruction (`pto.tcvt`); PyPTO's pass 14 (LegalizeTileCast) makes of the
# others the shortest chain of such, each of which rounds. Source: src/ir/transforms/legalize_tile_cast_pass.cpp and the
# tables of src/backend/910B and 950; the page of that pass lists the lengths of the chains.


_FP8 = "FP8E4M3FN FP8E5M2"

# From types, to types: by way of.
_CHAINS = {
    "a2a3": (
        ("FP32 INT32 INT16", "INT8 UINT8", "FP16"),
        ("INT8", "UINT8", "FP16"),
        ("UINT8", "INT8", "FP16"),
        ("FP16 INT64 INT32 INT16", "BF16", "FP32"),
        ("BF16 INT64", "FP16 INT16", "FP32"),
        ("BF16 INT64", "INT8 UINT8", "FP32 FP16"),
    ),
    "a5": (
        ("FP32 BF16 INT16 UINT8", "INT8", "FP16"),
        ("FP32 BF16 INT8", "UINT8", "FP16"),
        ("FP32 FP16 BF16 INT64 INT8", "UINT16", "INT32"),
        (f"FP16 INT64 INT32 INT16 {_FP8}", "BF16", "FP32"),
        (f"INT64 INT32 {_FP8}", "FP16", "FP32"),
        (f"BF16 INT64 {_FP8}", "INT16", "FP32"),
        (f"FP16 BF16 INT64 INT32 INT16 {_FP8}", _FP8, "FP32"),
        ("INT8 UINT8", _FP8, "FP16 FP32"),
        (f"INT64 INT32 {_FP8}", "INT8", "FP32 FP16"),
        (_FP8, "UINT8", "FP32 FP16"),
        (_FP8, "UINT16", "FP32 INT32"),
        ("INT64", "UINT8", "INT32"),
        ("INT16", "UINT16", "UINT32"),
        ("UINT32", "INT8", "INT16 FP16"),
        ("FP4", _FP8, "BF16 FP32"),
        ("FP4", "INT8 UINT8", "BF16 FP16"),
        ("FP32", "FP4", "BF16"),
        (f"FP16 INT64 INT32 INT16 {_FP8}", "FP4", "FP32 BF16"),
        ("INT8 UINT8", "FP4", "FP16 FP32 BF16"),
    ),
}  # fmt: skip
BY_WAY_OF = {
    chip: {
        (s, t): tuple(dtypes.BY_NAME[w] for w in way.split())
        for sources, targets, way in rows
        for s in sources.split()
        for t in targets.split()
    }
    for chip, rows in _CHAINS.items()
}

MODES = ("none", "rint", "round", "floor", "ceil", "trunc", "odd")


@op(
    "cast", "input target_type mode?", tile="tile target_type mode?",
    result=Result("first", layout=True, valid="first"), unit="vector", apart_when_wider=True,
)  # fmt: skip
def cast(m: Machine, at: Place, input: Any, target_type: Any, mode: Any = "round", folds: bool = False) -> Any:
    """Another element type, of a tile or of a scalar.

    Float to float rounds to nearest, ties to even, whatever the mode: so does PTO-ISA's CPU reference
    (include/pto/cpu/TCvt.hpp), which PyPTO's simulators run. The device's own CAST_ROUND (the default mode) rounds
    ties away from zero; write mode="rint" where that matters. Float to integer rounds by the mode: none, rint (ties
    to even), round (ties away), floor, ceil, trunc, odd.
    """
    d = dtype_of(m, at, target_type)
    if is_scalar(input):
        return numbers.cast(m, at, input, d)
    if folds and cuts.folds(m.chip, input):
        return _folded(m, at, input, d)
    x = in_ub(m, at, input)
    if x.dtype is d:
        raise m.fault(at, f"pl.cast of {x} to its own type", "remove the cast")
    vector(m, x.shape, x.dtype if x.dtype.bits > d.bits else d, "cast")
    how = _mode(m, at, mode)
    data = None if m.now.dry else converted(x.data, x.dtype, d, how, m.chip.rules)
    return m.onchip.tile(at, data, x.shape, d, x.valid)


def _folded(m: Machine, at: Place, x: Tile, d: DType) -> Tile:
    """A product goes from L0C to L1, rounded to nearest even on its way: no vector core has to do with it."""
    if x.memory.cut is not None:
        x.memory.cut.used(at, cuts.FOLDED)
    m.onchip.touch(x)
    if not m.now.quiet:
        m.onchip.step("move", "L0C-L1", d, (x.shape[0], x.shape[1] * d.bits // 8), at)
    return m.onchip.tile(at, None if m.now.dry else x.data.to(d.torch), x.shape, d, x.valid, "L1")


def _mode(m: Machine, at: Place, mode: Any) -> str:
    name = MODES[mode] if isinstance(mode, int) and 0 <= mode < len(MODES) else mode
    if name not in MODES:
        raise m.fault(at, f"cast mode {mode!r}", f"use one of {', '.join(MODES)}")
    return name


def converted(data: torch.Tensor, src: DType, dst: DType, mode: str, chip: str) -> torch.Tensor:
    """Values of `src` in the carrier of `dst`, by way of the types that the chip takes."""
    for way in (*BY_WAY_OF[chip].get((src.name, dst.name), ()), dst):
        data, src = _step(data, src, way, mode), way
    return data


def _step(data: torch.Tensor, src: DType, dst: DType, mode: str) -> torch.Tensor:
    """What one instruction converts."""
    if src.is_float and not dst.is_float:
        return _whole(data if data.dtype == torch.float32 else data.float(), dst, mode)
    if dst is dtypes.FP4:
        return fp4.nearest(data)
    if dst.name == "FP8E4M3FN":  # it has no infinity
        data = data.clamp(-448, 448)
    return dtypes.wrap(data.to(dst.torch), dst)


def _whole(x: torch.Tensor, dst: DType, mode: str) -> torch.Tensor:
    """Floats as integers, rounded by the mode: the nearest that the type has of what is out of range, 0 of NaN."""
    if mode == "round":
        x = _away(x)
    elif mode in ("rint", "odd"):
        x = _odd(x) if mode == "odd" else torch.round(x)
    elif mode == "floor":
        x = torch.floor(x)
    elif mode == "ceil":
        x = torch.ceil(x)
    bits, signed = numbers.width(dst)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if signed and bool((x.abs() <= min(high, 1 << 24)).all()):
        return x.to(dst.torch)
    x = torch.nan_to_num(x.double(), nan=0.0, posinf=torch.inf, neginf=-torch.inf)
    if bits < 64:
        return x.clamp(low, high).long().to(dst.torch)
    top = x >= 2.0**63  # of which FP64 has no largest below
    return torch.where(top, high, torch.where(top, 0.0, x.clamp(min=low)).long())


def _away(x: torch.Tensor) -> torch.Tensor:
    # x + 0.5 can itself round up in FP32 (0.49999997 + 0.5 = 1), so the fraction is looked at instead
    whole = torch.trunc(x)
    return torch.where((x - whole).abs() >= 0.5, whole + torch.sign(x), whole)


def _odd(x: torch.Tensor) -> torch.Tensor:
    low = torch.floor(x)
    tie = (x - low) == 0.5
    return torch.where(tie, torch.where(low.remainder(2) == 1, low, low + 1), torch.round(x))
