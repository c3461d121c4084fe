"""Comparisons, selection by a mask, and arithmetic with conditions: cmp, sel, part_*, prelu, tri, random.

Masks. A comparison on tiles (`pl.tile.cmp`, `pl.cmps`) gives a packed mask: UINT8, one bit an element, the lowest
bit first, columns rounded up to 32 bytes, of which ceil(columns / 8) are valid (`MakePackedPredicateTileType` in
PyPTO src/ir/op/tile_ops/elementwise.cpp; bit order from PTO-ISA include/pto/cpu/TCmp.h). A comparison on tensors
(`pl.cmp`, `pl.tensor.cmp`) gives 1 and 0 in the type of its first operand (`RegisterCmpOps` in PyPTO
src/ir/transforms/op_conversion_registry.cpp). Interpret mode does not tell the two levels apart once values are on
chip, so an unqualified `pl.cmp` always gives 1 and 0; `pl.sel` and `pl.sels` take either (`TRUTHS`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from helpers.interpret.language.dtypes import BY_NAME, INT32, wrap
from helpers.interpret.language.element_types import EIGHT, FLOAT, FOUR, NINE, SIX_WORDS
from helpers.interpret.language.operation import ALL, LAID_OUT, TYPED, WRITTEN
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops.common import (
    check_rows,
    check_scratch,
    check_type,
    describe,
    dtype_of,
    full_shape,
    in_ub,
    op,
    operand,
    operands,
    scalar,
    static,
    vector,
)
from helpers.interpret.ops.elementwise import binary
from helpers.interpret.ops.shapes import same_rank
from helpers.interpret.source.source import Place
from helpers.interpret.values.bits import bits_of
from helpers.interpret.values.extents import filled, fitted, inside
from helpers.interpret.values.lanes import Lanes, each, is_scalar
from helpers.interpret.values.values import Tile, held

UINT8, UINT32 = BY_NAME["UINT8"], BY_NAME["UINT32"]

TRUTHS: weakref.WeakSet[Tile] = weakref.WeakSet()
"""Tiles of 1 and 0 that `pl.cmp` gave: of an integer type, another tile is a packed mask."""

COMPARISONS: tuple[tuple[str, Callable], ...] = (
    ("eq", torch.eq), ("ne", torch.ne), ("lt", torch.lt), ("le", torch.le), ("gt", torch.gt), ("ge", torch.ge),
)  # fmt: skip


def comparison(m: Machine, at: Place, code: Any) -> Callable:
    """The function that a comparison code (0..5, or its name: eq ne lt le gt ge) stands for."""
    names = [n for n, _ in COMPARISONS]
    number = names.index(code) if code in names else code
    if not isinstance(number, int) or not 0 <= number <= 5:
        raise m.fault(at, f"comparison {code!r}", "use 0..5: eq, ne, lt, le, gt, ge")
    return COMPARISONS[number][1]


MASK_BYTES = 32  # rows of a packed mask are a multiple of that


def _pair(m: Machine, at: Place, name: str, lhs: Any, rhs: Any) -> tuple[Tile, Any, tuple, tuple | None]:
    """Two operands, the second a tile or a scalar; their common shape and the valid shape of the first."""
    if is_scalar(rhs):
        x = operand(m, at, lhs)
        if isinstance(rhs, float) and not x.dtype.is_float and not float(rhs).is_integer():
            raise m.fault(at, f"pl.{name} of {x} and the fraction {rhs}", "cast the tile to FP32 first")
        return x, rhs, x.shape, x.valid
    x, y = operands(m, at, lhs, rhs)
    if x.dtype is not y.dtype:
        raise m.fault(at, f"pl.{name} of {x} and {y}: there is no promotion", "pl.cast one of them")
    shape = full_shape(x.shape, y.shape)
    if shape is None:
        raise m.fault(at, f"pl.{name} of {x} and {y}: shapes do not match")
    x, y = same_rank(m, at, x, y)
    check_rows(m, at, name, x, y)
    return x, y, shape, _valid(x, y, shape)


def _valid(x: Tile, y: Tile, shape: tuple) -> tuple | None:
    """The valid shape of the first operand; where that is broadcast, the second's."""
    if x.shape == shape:
        return x.valid
    pairs = zip(x.valid or x.shape, y.valid or y.shape, x.shape, shape)
    valid = tuple(v if n == s else w for v, w, n, s in pairs)
    return None if all(type(v) is not Lanes for v in valid) and valid == shape else valid


def _fitted(m: Machine, at: Place, tile: Tile, wanted: tuple) -> torch.Tensor:
    """The data of a tile as far as wanted; lanes that are not valid are used where it has fewer."""
    return fitted(tile, wanted, lambda: m.memory.undefined(at))


def _compare(m: Machine, at: Place, x: Tile, y: Any, shape: tuple, valid: tuple | None, fn: Callable) -> torch.Tensor:
    extents = held(shape, valid)
    other = _fitted(m, at, y, valid or shape) if type(y) is Tile else scalar(y, len(shape), x.dtype)
    out = fn(_fitted(m, at, x, valid or shape), other)
    return out.expand(*out.shape[: out.dim() - len(extents)], *extents)


def _compared(m: Machine, at: Place, lhs: Any, rhs: Any) -> tuple[Tile, Any, tuple, tuple | None]:
    """`_pair`; on A5 `pto.tcmp` wants operands of the mask's shape (`TCmpOp::verify`): a row of 32 elements
    has a mask of 32 bytes, no other row has one of its own extent."""
    x, y, shape, valid = _pair(m, at, "cmp", lhs, rhs)
    if m.chip.rules == "a5" and type(y) is Tile and (x.shape != y.shape or x.shape[-1] != MASK_BYTES):
        raise m.fault(
            at, f"pl.cmp of {x} and {y}: PyPTO's assembler takes two tiles on A5 of {MASK_BYTES} columns only",
            "pl.cmp(pl.sub(a, b), 0.0), or parts of that many columns",
        )  # fmt: skip
    return x, y, shape, valid


@op("cmp", "lhs rhs cmp_type?", on="pl tensor", types=("FP32 FP16 INT32", NINE))
def cmp(m: Machine, at: Place, lhs: Any, rhs: Any, cmp_type: Any = 0) -> Tile:
    """1 where the comparison holds, 0 elsewhere, in the shape and type of `lhs`."""
    fn = comparison(m, at, cmp_type)
    x, y, shape, valid = _compared(m, at, lhs, rhs)
    if x.shape[-1] == 1:
        raise m.fault(at, f"pl.cmp of the column {x}: its mask is no column", "pl.reshape it to a row")
    vector(m, shape, x.dtype, "cmp")
    data = None if m.now.dry else _compare(m, at, x, y, shape, valid, fn).to(x.dtype.torch)
    out = m.onchip.tile(at, data, shape, x.dtype, valid)
    TRUTHS.add(out)
    return out


@op("cmp", "lhs rhs cmp_type?", on="tile", types=("FP32 FP16 INT32", NINE))
@op(
    "cmps", "lhs rhs cmp_type?", on="pl tile", tiles_only=True, number_second=True, tiles_at=(0,),
    types=(f"{FOUR} UINT16", EIGHT),
)  # fmt: skip
def packed_cmp(m: Machine, at: Place, lhs: Any, rhs: Any, cmp_type: Any = 0) -> Tile:
    """A packed mask: [..., C] gives UINT8 [..., ceil(C/8) rounded up to 32], valid [..., ceil(C/8)]."""
    fn = comparison(m, at, cmp_type)
    x, y, shape, valid = _compared(m, at, lhs, rhs)
    vector(m, shape, x.dtype, "cmp")
    packed = (*shape[:-1], -(-shape[-1] // (8 * MASK_BYTES)) * MASK_BYTES)
    limits = shape if valid is None else valid
    last = each(lambda v: -(-v // 8), limits[-1])
    data = None
    if not m.now.dry:
        data = pack(_compare(m, at, x, y, shape, valid, fn))
        if type(last) is Lanes:
            data = torch.nn.functional.pad(data, (0, packed[-1] - data.shape[-1]))
    return m.onchip.tile(at, data, packed, UINT8, (*limits[:-1], last))


def pack(truth: torch.Tensor) -> torch.Tensor:
    """Booleans [..., C] as bytes [..., ceil(C/8)], the lowest bit first."""
    n = truth.shape[-1]
    padded = torch.nn.functional.pad(truth, (0, -n % 8)).view(*truth.shape[:-1], -1, 8)
    return (padded.to(torch.uint8) << torch.arange(8, dtype=torch.uint8)).sum(-1, dtype=torch.uint8)


def unpack(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Booleans [..., n * bits] from words of `bits` bits [..., n], the lowest bit first."""
    return ((words.unsqueeze(-1) >> torch.arange(bits, dtype=words.dtype)) & 1).flatten(-2).to(torch.bool)


def _truth(m: Machine, at: Place, name: str, mask: Tile, shape: tuple, valid: tuple | None) -> torch.Tensor | None:
    """Which elements a mask selects, of a tile of this shape and valid shape."""
    need = -(-shape[-1] // mask.dtype.bits)
    plain = mask.shape == shape and (mask.dtype.is_float or mask in TRUTHS)
    packed = not mask.dtype.is_float and len(mask.shape) == len(shape) and mask.shape[-1] >= need
    if not packed and not plain:
        raise m.fault(
            at, f"pl.{name} over {list(shape)} with the mask {mask}",
            f"a mask is what pl.cmp or pl.cmps gives: one bit an element, UINT8 [..., >= {-(-shape[-1] // 8)}]",
        )  # fmt: skip
    if m.now.dry:
        return None
    if plain:
        return _fitted(m, at, mask, valid or shape) != 0
    extents = held(shape, valid)
    have, wanted = held(mask.shape, mask.valid), (*extents[:-1], -(-extents[-1] // mask.dtype.bits))
    words = filled(mask, m.memory.undefined(at) if any(h < w for h, w in zip(have, wanted)) else 0)
    return unpack(bits_of(words, mask.dtype), mask.dtype.bits)[(..., *(slice(0, n) for n in extents))]


@op("sel", "mask lhs rhs tmp", on="pl tile", tiles_only=True, tiles_at=(0, 1, 2, 3), apart=(0, 3))
def sel(m: Machine, at: Place, mask: Any, lhs: Any, rhs: Any, tmp: Any = None) -> Tile:
    """`lhs` where the mask is set, `rhs` elsewhere. Both have one element type; `tmp` is scratch."""
    mask = in_ub(m, at, mask)
    check_scratch(m, at, "sel", tmp)
    x, y, shape, valid = _pair(m, at, "sel", lhs, rhs)
    if type(y) is Tile and (x.shape[-1] == 1) != (y.shape[-1] == 1):
        raise m.fault(at, f"pl.sel of {x} and {y}: a column is not broadcast", "pl.row_expand it")
    chosen = _truth(m, at, "sel", mask, shape, valid)
    vector(m, shape, x.dtype, "sel")
    m.onchip.touch(mask)
    data = None
    if not m.now.dry:
        wanted = valid or shape
        other = _fitted(m, at, y, wanted) if type(y) is Tile else torch.as_tensor(scalar(y, len(shape), x.dtype))
        data = torch.where(chosen, _fitted(m, at, x, wanted), wrap(other.to(x.dtype.torch), x.dtype))
    return m.onchip.tile(at, data, shape, x.dtype, valid)


@op("sels", "mask src tmp scalar", on="pl tile", tiles_only=True, apart=(0,))
def sels(m: Machine, at: Place, mask: Any, src: Any, tmp: Any, scalar: Any) -> Tile:
    """`src` where the mask is set, a scalar elsewhere; `tmp` is scratch."""
    if not is_scalar(scalar):
        raise m.fault(at, f"pl.sels with {describe(scalar)}", "the last operand is a scalar; pl.sel takes two tiles")
    check_scratch(m, at, "sels", tmp)
    if isinstance(mask, Tile) and (mask.dtype.is_float or mask.dtype.bits > 32):
        raise m.fault(at, f"pl.sels with the mask {mask}", "the mask of pl.cmps, packed into integers")
    narrow = ("INT8", "UINT8") if m.chip.rules == "a2a3" else ()
    if isinstance(src, Tile) and src.dtype.name in ("BF16", "INT64", "UINT64", *narrow):
        raise m.fault(at, f"pl.sels of {src}", "pl.cast it to FP32" if src.dtype.is_float else "pl.cast it to INT32")
    return sel(m, at, mask, src, scalar)


# ---- arithmetic with a condition -------------------------------------------------------------------------


@op(
    "prelu", "tile slope tmp", on="pl tile", tiles_only=True, result=TYPED, unit="vector", tiles_at=(0, 1, 2),
    apart=ALL, types=FLOAT,
)  # fmt: skip
def prelu(m: Machine, at: Place, tile: Any, slope: Any, tmp: Any = None) -> Tile:
    """x where x > 0, else x * slope; the slope is a tile. (PTO-ISA docs/isa/TPRELU.md)"""
    check_scratch(m, at, "prelu", tmp, "UINT8")
    x = operand(m, at, tile)
    if type(slope) is Tile and slope.shape != x.shape:
        raise m.fault(at, f"pl.prelu of {x} with the slope {slope}", "a slope of the same shape")
    if type(slope) is Tile and slope.valid != x.valid:
        raise m.fault(at, f"pl.prelu of {x} with the slope {slope}", "a slope as much of which is valid")
    if m.chip.rules == "a2a3" and type(tmp) is Tile and tmp.shape[-2] <= (x.valid or x.shape)[-2]:
        raise m.fault(at, f"pl.prelu of {x} with the scratch {tmp}", "one row more than are valid")
    return _leaky(m, at, "prelu", x, slope)


@op(
    "lrelu", "tile slope", on="pl tile", tiles_only=True, result=TYPED, unit="vector", number_second=True,
    tiles_at=(0,), same_number=True, types=FLOAT,
)  # fmt: skip
def lrelu(m: Machine, at: Place, tile: Any, slope: Any) -> Tile:
    """x where x > 0, else x * slope; the slope is a scalar.

    So PTO-ISA's docs/isa/TLRELU.md; PyPTO's docstring says max(x, slope * x), which differs for a slope above 1.
    """
    if not is_scalar(slope):
        raise m.fault(at, f"pl.lrelu with the slope {describe(slope)}", "give a scalar, or use pl.prelu")
    return _leaky(m, at, "lrelu", tile, slope)


def _leaky(m: Machine, at: Place, name: str, tile: Any, slope: Any) -> Tile:
    x, s, shape, valid = _pair(m, at, name, tile, slope)
    if not x.dtype.is_float:
        raise m.fault(at, f"pl.{name} of {x}", "it is defined for FP16 and FP32: pl.cast it")
    vector(m, shape, x.dtype, name)
    data = None
    if not m.now.dry:
        a = _fitted(m, at, x, valid or shape)
        b = _fitted(m, at, s, valid or shape) if type(s) is Tile else _number(s, len(shape))
        data = torch.where(a > 0, a, (a * b).to(a.dtype))
    return m.onchip.tile(at, data, shape, x.dtype, valid)


def _number(s: Any, rank: int) -> Any:
    s = scalar(s, rank)
    return s.float() if isinstance(s, torch.Tensor) else s


PARTS: dict[str, Callable] = {
    "part_add": torch.add, "part_mul": torch.mul, "part_max": torch.maximum, "part_min": torch.minimum,
}  # fmt: skip


def part(m: Machine, at: Place, name: str, lhs: Any, rhs: Any) -> Tile:
    """Combine two tiles of one shape where both are valid; where one is, its value.

    The result is valid where the first operand is (PyPTO `DeduceTileOpElementwiseBinaryType`); what is done within
    is PTO-ISA's include/pto/cpu/TPartOp.hpp.
    """
    x, y = operands(m, at, lhs, rhs)
    if x.dtype is not y.dtype:
        raise m.fault(at, f"pl.{name} of {x} and {y}: there is no promotion", "pl.cast one of them")
    if x.shape != y.shape:
        raise m.fault(at, f"pl.{name} of {x} and {y}: shapes do not match")
    vector(m, x.shape, x.dtype, name)
    data = None
    if not m.now.dry:
        fn, extents = PARTS[name], held(x.shape, x.valid)
        a, b = (fitted(t, x.valid or x.shape) for t in (x, y))
        if y.valid is None:
            data = fn(a, b)
        else:
            limits = tuple(v if type(v) is Lanes else min(v, n) for v, n in zip(y.valid, extents))
            data = torch.where(inside(extents, limits), fn(a, b), a)
        if x.valid is not None and any(type(v) is Lanes for v in x.valid):
            data = torch.where(inside(extents, x.valid), data, b)
        data = wrap(data, x.dtype)
    return m.onchip.tile(at, data, x.shape, x.dtype, x.valid)


def three(m: Machine, at: Place, name: str, a: Any, b: Any, c: Any) -> Tile:
    """a + b + c or a - b - c, rounded after each step; `b` may be a scalar.

    PyPTO defines subc and subsc as a - b - c (language reference and src/ir/op/tile_ops/elementwise.cpp);
    PTO-ISA's TSUBC page and CPU reference add c instead. The language's definition is what is done here.
    """
    step = "add" if name.startswith("add") else "sub"
    tiles = [t for t in (a, b, c) if type(t) is Tile]
    if step == "add" and len({t.shape for t in tiles}) > 1:
        raise m.fault(at, f"pl.{name} of {', '.join(map(str, tiles))}", "tiles of one shape")
    if any((t.shape[-1] == 1) != (tiles[0].shape[-1] == 1) for t in tiles) and name == "subsc":
        raise m.fault(at, f"pl.{name} of {', '.join(map(str, tiles))}: a column is not broadcast", "pl.row_expand it")
    return binary(m, at, step, binary(m, at, step, a, b), c)


def _part(name: str, says: str) -> None:
    def compute(m: Machine, at: Place, lhs: Any, rhs: Any) -> Tile:
        return part(m, at, name, lhs, rhs)

    known = {"result": LAID_OUT, "unit": "vector", "tiles_at": (0, 1), "types": (FOUR, NINE)}
    op(name, "lhs rhs", tile="src0 src1", says=f"{says} of two tiles where both are valid.", **known)(compute)


def _three(name: str, says: str, number: bool) -> None:
    def compute(m: Machine, at: Place, lhs: Any, rhs: Any, rhs2: Any) -> Tile:
        if number and not is_scalar(rhs):
            raise m.fault(at, f"pl.{name} with {describe(rhs)}", "the second operand is a scalar")
        return three(m, at, name, lhs, rhs, rhs2)

    tiles = (0, 2) if number else (0, 1, 2)
    op(name, "lhs rhs rhs2", on="pl tile", tiles_only=True, says=says, number_second=number, tiles_at=tiles)(compute)


_part("part_add", "The sum")
_part("part_mul", "The product")
_part("part_max", "The larger")
_part("part_min", "The smaller")
_three("addc", "lhs + rhs + rhs2.", False)
_three("subc", "lhs - rhs - rhs2.", False)
_three("addsc", "lhs + rhs + rhs2, where rhs is a number.", True)
_three("subsc", "lhs - rhs - rhs2, where rhs is a number.", True)


# ---- made from nothing -----------------------------------------------------------------------------------


@op(
    "tri", "diagonal shape valid_shape? dtype? upper?", on="pl tile", gives="tile", types=(SIX_WORDS, NINE),
    result=WRITTEN, fills="counted",
)  # fmt: skip
def tri(
    m: Machine, at: Place, diagonal: Any, shape: Any, valid_shape: Any = None, dtype: Any = INT32, upper: bool = False
) -> Tile:
    """1 where column <= row + diagonal (with `upper`: >=), 0 elsewhere; only the valid part is written.

    Source: PyPTO language reference, PTO-ISA docs/isa/TTRI.md.
    """
    shape, d = static(m, at, shape), dtype_of(m, at, dtype)
    if len(shape) != 2 or not is_scalar(diagonal):
        raise m.fault(at, f"pl.tri of shape {list(shape)} and diagonal {describe(diagonal)}", "it makes a 2-D tile")
    check_type(m, at, "tri", d)
    vector(m, shape, d, "tri")
    valid = _written(m, at, "tri", shape, valid_shape)
    data = None
    if not m.now.dry:
        rows, cols = held(shape, valid)
        distance = torch.arange(cols) - torch.arange(rows).view(-1, 1)
        limit = scalar(diagonal, 2)
        data = (distance >= limit if upper else distance <= limit).to(d.torch)
    return m.onchip.tile(at, data, shape, d, valid)


def _written(m: Machine, at: Place, name: str, shape: tuple, valid_shape: Any) -> tuple | None:
    if valid_shape is None:
        return None
    valid = static(m, at, valid_shape, "valid_shape")
    if len(valid) != len(shape) or any(v > n for v, n in zip(valid, shape)):
        raise m.fault(at, f"pl.{name}: valid_shape {list(valid)} of shape {list(shape)}")
    return None if valid == shape else valid


# Philox4x32 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): multipliers and key increments.
_MULTIPLIERS, _WEYL, _LOW = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 0xFFFFFFFF


@op(
    "random", "key0 key1 counter0 counter1 counter2 counter3 shape dtype? rounds?",
    tile="key0 key1 counter0 counter1 counter2 counter3 shape valid_shape? dtype? rounds?", gives="either",
    result=WRITTEN, fills="counted",
)  # fmt: skip
def random(
    m: Machine, at: Place, key0: Any, key1: Any, counter0: Any, counter1: Any, counter2: Any, counter3: Any,
    shape: Any, valid_shape: Any = None, dtype: Any = UINT32, rounds: int = 10,
) -> Tile:  # fmt: skip
    """Philox4x32 numbers of a key and a counter, as A5's TRANDOM places them.

    One counter gives four elements in a row, the next counter the next four; 256 elements make a step. After the
    last step of a row of C columns the counter goes on by (C - 1) % 64 + 1, after others by 64 (PTO-ISA
    include/pto/npu/a5/TRandom.hpp). PTO-ISA's CPU reference has the same numbers at other places.
    """
    shape, d = static(m, at, shape), dtype_of(m, at, dtype)
    if d.name not in ("INT32", "UINT32") or rounds not in (7, 10) or len(shape) != 2:
        what = f"pl.random of {d} {list(shape)} in {rounds} rounds"
        raise m.fault(at, what, "it makes 2-D INT32 or UINT32 in 7 or 10 rounds")
    vector(m, shape, d, "random")
    valid = _written(m, at, "random", shape, valid_shape)
    data = None
    if not m.now.dry:
        seeds = (key0, key1, counter0, counter1, counter2, counter3)
        data = torch.from_numpy(_random(seeds, held(shape, valid), rounds)).to(torch.int64)
        data = data.to(torch.int32) if d is INT32 else data
    return m.onchip.tile(at, data, shape, d, valid)


def _random(seeds: tuple, extents: tuple, rounds: int) -> np.ndarray:
    """UINT32 numbers [(blocks,) rows, columns]."""
    rows, cols = extents
    lanes = max((len(s.values) for s in seeds if type(s) is Lanes), default=0)
    words = [np.broadcast_to(s.values if type(s) is Lanes else s, (lanes,) if lanes else ()) for s in seeds]
    words = [(np.asarray(w, np.int64) & _LOW).astype(np.uint64)[..., None, None] for w in words]
    a_row = 64 * (-(-cols // 256) - 1) + (cols - 1) % 64 + 1
    groups = np.arange(-(-cols // 4))
    steps = (np.arange(rows)[:, None] * a_row + groups).astype(np.uint64)
    counter, carry = [], steps
    for w in words[2:]:
        total = w + carry
        counter.append(total & np.uint64(_LOW))
        carry = total >> np.uint64(32)
    key = [np.broadcast_to(w, np.broadcast_shapes(w.shape, steps.shape)) for w in words[:2]]
    out = np.stack(philox(counter, key, rounds), -1)
    return out.reshape(*out.shape[:-2], -1)[..., :cols].astype(np.int64)


def philox(counter: list, key: list, rounds: int) -> list:
    """Philox4x32: four words of counter and two of key, each a UINT64 array below 2^32, to four such words."""
    low, shift = np.uint64(_LOW), np.uint64(32)
    for _ in range(rounds):
        a, b = counter[0] * np.uint64(_MULTIPLIERS[0]), counter[2] * np.uint64(_MULTIPLIERS[1])
        counter = [(b >> shift) ^ counter[1] ^ key[0], b & low, (a >> shift) ^ counter[3] ^ key[1], a & low]
        key = [(k + np.uint64(w)) & low for k, w in zip(key, _WEYL)]
    return counter
