"""Matrix products. Operands keep their type, products accumulate in FP32 (INT32, exactly, for integers).

Source: `DeduceMatmulProductInfo` (PyPTO src/ir/op/tile_ops/matmul.cpp) for types and valid shapes. The order in
which a product's K terms are added differs between torch and the cube; both accumulate in FP32.

Block-scaled products of A5: operands in FP8, one scale for 32 values along K. Source: `DeduceTileMatMulMxType` (PyPTO
src/ir/op/tile_ops/matmul_mx.cpp) for types, shapes and what is refused; the manual's page on types for the layouts of
scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from helpers.interpret.language.dtypes import BY_NAME, FP32, DType
from helpers.interpret.language.element_types import CUBE, CUBE_A5
from helpers.interpret.language.operation import Result
from helpers.interpret.language.tile_shapes import product_misfit
from helpers.interpret.machine import cuts
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops.common import dtype_of, full_shape, op, operand, operands
from helpers.interpret.ops.shapes import same_rank
from helpers.interpret.source.source import Place
from helpers.interpret.trace.program import Into
from helpers.interpret.values.extents import filled, fitted
from helpers.interpret.values.lanes import Lanes
from helpers.interpret.values.products import Product
from helpers.interpret.values.scales import BLOCK
from helpers.interpret.values.values import Memory, Tensor, Tile

INT32 = BY_NAME["INT32"]


def wide(x: Tile) -> torch.Tensor:
    """The operand's values in the type that torch multiplies, converted once."""
    if x.wide is None:
        x.wide = wide_of(x.data, x.dtype)
    return x.wide


def wide_of(data: torch.Tensor, dtype: DType) -> torch.Tensor:
    """Values in the type that torch multiplies: floats in FP32, integers as they are."""
    return data.float() if dtype.is_float and data.dtype != torch.float32 else data


@cache
def _int8_is_exact() -> bool:
    """Whether torch's INT8 product is exact here: without VNNI instructions oneDNN may saturate in between."""
    x = torch.full((64, 64), -128, dtype=torch.int8)
    x[::3] = 127
    try:
        return bool((torch._int_mm(x, x.t()) == x.long() @ x.t().long()).all())
    except (AttributeError, RuntimeError):
        return False


def multiply(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x @ y for operands as `wide` gives them: FP32, or exact INT32 (wrapping as the accumulator does)."""
    if x.dtype == torch.float32:
        return torch.matmul(x, y)
    if x.dtype == torch.int8 and x.shape[-1] > 1 and _int8_is_exact():
        if x.shape[-2] == 1:  # torch takes the strides of one row for those of a column, and reads elsewhere
            return multiply(x.expand(*x.shape[:-2], 2, x.shape[-1]).contiguous(), y)[..., :1, :]
        if x.dim() == y.dim() == 2:
            return torch._int_mm(x, y)
        lead = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        xs, ys = (t.expand(*lead, *t.shape[-2:]).flatten(0, -3) for t in (x, y))
        return torch.stack([torch._int_mm(a, b) for a, b in zip(xs, ys)]).view(*lead, x.shape[-2], y.shape[-1])
    if x.dtype not in (torch.int8, torch.uint8):
        return torch.matmul(x.long(), y.long()).to(torch.int32)
    out: torch.Tensor | int = 0
    for k in range(0, max(1, x.shape[-1]), 256):  # 256 products of bytes fit the 24 bits of FP32
        out = out + torch.matmul(x[..., k : k + 256].float(), y[..., k : k + 256, :].float()).to(torch.int32)
    return out


def product(m: Machine, at: Place, a: Tile, b: Tile, a_trans: bool, b_trans: bool) -> tuple:
    """Check two operands and account for their product; returns (shape, valid, accumulator dtype, lhs, rhs)."""
    if a.dtype is not b.dtype:
        raise m.fault(at, f"matmul of {a} and {b}: operands must have one element type", "pl.cast one of them")
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise m.fault(at, f"matmul of {a} and {b}: operands must have two dimensions")
    if len(a.shape) != len(b.shape):
        a, b = same_rank(m, at, a, b)
    rows, ka = (a.shape[-1], a.shape[-2]) if a_trans else a.shape[-2:]
    kb, cols = (b.shape[-1], b.shape[-2]) if b_trans else b.shape[-2:]
    if ka != kb:
        raise m.fault(
            at, f"matmul of {a}{'^T' if a_trans else ''} and {b}{'^T' if b_trans else ''}: K is {ka} and {kb}"
        )
    wrong = product_misfit(rows, ka, cols, a.dtype, a_trans, b_trans)
    if wrong is not None and not cuts.boxed(m, rows, ka, cols, a.dtype):
        raise m.fault(at, *wrong)
    lead = full_shape(a.shape[:-2], b.shape[:-2])
    if lead is None:
        raise m.fault(at, f"matmul of {a} and {b}: the axes in front differ, and none is 1")
    shape = (*lead, rows, cols)
    valid = None
    if a.valid is not None or b.valid is not None:
        va = a.valid or a.shape
        vb = b.valid or b.shape
        valid = (*lead, va[-1] if a_trans else va[-2], vb[-2] if b_trans else vb[-1])
        if not any(type(v) is Lanes for v in valid) and valid == shape:
            valid = None
    n = 1
    for s in lead:
        n *= s
    t = m.now.task
    t.cube = True
    t.cube_ops += 1
    t.cube_flops += 2 * n * rows * cols * ka
    if not m.now.quiet:
        m.onchip.step("cube", "", a.dtype, (n * rows, ka, cols), at)
    _l0(m, at, a, b)
    return shape, valid, FP32 if a.dtype.is_float else INT32, _Operand(a, a_trans), _Operand(b, b_trans)


@dataclass(frozen=True, slots=True)
class _Operand:
    """One side of a product."""

    tile: Tile
    transposed: bool

    def turned(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(-1, -2) if self.transposed else x


def factors(m: Machine, a: _Operand, b: _Operand) -> tuple[torch.Tensor, torch.Tensor]:
    """The two sides as torch multiplies them."""
    m.onchip.hold(max(_count(a.tile.shape), _count(b.tile.shape)))
    x, y = _same_k(a.tile, b.tile, a.transposed, b.transposed)
    return a.turned(x), b.turned(y)


def _later(m: Machine, a: _Operand, b: _Operand, c: Tile | None = None) -> Product | None:
    """The product, to be worked out when it is read, where that can pay: of two windows on global memory, the
    beginning of a K-loop, or going on (`c`) where the one before ended."""
    p, q = a.tile, b.tile
    if p.origin is None or q.origin is None or not p.dtype.is_float or p.wide is not None or q.wide is not None:
        return None
    if any(type(v) is Lanes for t in (p, q) for v in t.valid or ()):
        return None
    x, y = a.turned(p.data), b.turned(q.data)
    if x.shape[-1] != y.shape[-2]:
        return None
    out = Product(x, y, x.shape[-1], m.onchip.hold) if c is None else c.pending.extended(x, y)
    if out is not None:
        m.memory.share_product(out, p, q)
    return out


def _same_k(a: Tile, b: Tile, a_trans: bool, b_trans: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The operands' values, both with as much of K as both hold; K that is valid in some blocks only reads as zero."""
    x, y = wide(a), wide(b)
    if a.valid is None and b.valid is None:
        return x, y
    ka, kb = (-2 if a_trans else -1), (-1 if b_trans else -2)
    if a.valid is not None and type(a.valid[ka]) is Lanes:
        x = wide_of(filled(a, 0), a.dtype)
    if b.valid is not None and type(b.valid[kb]) is Lanes:
        y = wide_of(filled(b, 0), b.dtype)
    k = min(x.shape[ka], y.shape[kb])
    return x.narrow(ka, 0, k), y.narrow(kb, 0, k)


def _l0(m: Machine, at: Place, a: Tile, b: Tile) -> None:
    """The part of L0A and L0B that a product holds: PyPTO's AutoTileMatmulL0 (pass 15) cuts larger operands to fit."""
    for space, x in (("L0A", a), ("L0B", b)):
        if x.memory.space == space:
            continue
        need = -(-x.dtype.bits * _count(x.shape) // 8)
        m.now.task.memory.append(Memory(space, min(need, m.chip.buffers[space]), m.onchip.clock, at))


def _count(shape: tuple) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


def _loaded(m: Machine, at: Place, *xs: Any) -> None:
    """Operands of the cube come from global memory or UB: from L0C there is no way to L0A and L0B (`pto.tmov`)."""
    for x in xs:
        if type(x) is Tile and x.memory.space == "L0C":
            if x.memory.cut is not None and x.dtype.name in cuts.KEPT_IN_L1[m.chip.rules]:
                continue  # it is put together in L1, part by part
            raise m.fault(at, f"{x} is a product, and operand of another", "pl.cast it, or pl.move it to pl.Mem.Mat")


def _multiplied(m: Machine, at: Place, a: Tile, b: Tile) -> None:
    """Operands, read as such."""
    for x in (a, b):
        if x.memory.cut is not None:
            x.memory.cut.used(at, cuts.MULTIPLIED)
    cuts.page_by_page(m, a, b)


def _vector(m: Machine, at: Place, name: str, lhs: Any) -> None:
    """pl.gemv takes one row, and on A5 the assembler takes no pl.gemv."""
    if m.chip.rules == "a5":
        raise m.fault(at, f"pl.{name} on A5, which has no instruction for it", f"pl.{name.replace('gemv', 'matmul')}")
    if isinstance(lhs, (Tensor, Tile)) and lhs.shape[-2] != 1:
        raise m.fault(at, f"pl.{name} of {lhs}, which is no row", f"pl.{name.replace('gemv', 'matmul')}")


@op(
    "matmul", "lhs rhs out_dtype? a_trans? b_trans? c_matrix_nz?", tile="lhs rhs", result=Result("", valid="whole"),
    unit="cube", tensors=True, tiles_at=(0, 1), factors=(0, 1),
    types=("FP32 FP16 BF16 INT8 UINT8", "FP32 FP16 BF16 INT8 UINT8 FP8E4M3FN FP8E5M2"),
)  # fmt: skip
@op("batch_matmul", "lhs rhs", on="pl tile", tiles_only=True, unit="cube", types=(CUBE, CUBE_A5), factors=(0, 1))
def matmul(
    m: Machine, at: Place, lhs: Any, rhs: Any, out_dtype: Any = None, a_trans: bool = False, b_trans: bool = False,
    c_matrix_nz: bool = False, acc_phase: Any = None,
) -> Tile:  # fmt: skip
    """lhs @ rhs. [M, K] x [K, N] -> [M, N]; more dimensions are batches."""
    _loaded(m, at, lhs, rhs)
    a, b = operands(m, at, lhs, rhs, space="L1")
    _multiplied(m, at, a, b)
    shape, valid, dtype, x, y = product(m, at, a, b, a_trans, b_trans)
    out = dtype if out_dtype is None else dtype_of(m, at, out_dtype)
    later = None if m.now.dry or out is not FP32 else _later(m, x, y)
    data = None if m.now.dry or later is not None else _cast(multiply(*factors(m, x, y)), out)
    tile = m.onchip.tile(at, data, shape, out, valid, "L0C")
    tile.pending, tile.pages = later, full_pages(shape)
    cuts.watched(m, tile, a, b, None, (shape[-2], a.shape[-2 if a_trans else -1], shape[-1]))
    return tile


def full_pages(shape: tuple[int, ...]) -> bool:
    """True for the shape of several products, which leave L0C one by one, to where they are stored
    (src/ir/transforms/flatten_tile_nd_to_2d/batch_matmul.cpp; what else is done with them PyPTO cannot compile)."""
    return any(n > 1 for n in shape[:-2])


@op(
    "matmul_acc", "acc lhs rhs a_trans? b_trans? init_cond?", tile="acc lhs rhs init_cond?",
    result=Result("first", type=True, valid="whole"), unit="cube", tensors=True, tiles_at=(0, 1, 2),
    factors=(1, 2),
)  # fmt: skip
@op("batch_matmul_acc", "acc lhs rhs", on="tile", unit="cube")
def matmul_acc(
    m: Machine, at: Place, acc: Any, lhs: Any, rhs: Any, a_trans: bool = False, b_trans: bool = False,
    init_cond: Any = None, acc_phase: Any = None,
) -> Tile:  # fmt: skip
    """acc + lhs @ rhs, in the accumulator; with `init_cond` true, lhs @ rhs alone."""
    if type(acc) is Tensor or (type(acc) is Tile and (acc.memory.loaded or acc.memory.space not in ("L0C", ""))):
        raise m.fault(
            at, f"matmul_acc into {acc}: nothing is moved to L0C, where the cube adds", "start with a pl.matmul"
        )
    _loaded(m, at, lhs, rhs)
    if init_cond is not None and max(len(t.shape) for t in (acc, lhs, rhs)) > 2:  # op_conversion_registry.cpp
        raise m.fault(
            at, f"matmul_acc with init_cond= of {lhs} and {rhs}: of more than two axes it is several products",
            "loop over the axes in front",
        )  # fmt: skip
    a, b = operands(m, at, lhs, rhs, space="L1")
    _multiplied(m, at, a, b)
    shape, valid, dtype, x, y = product(m, at, a, b, a_trans, b_trans)
    c = operand(m, at, acc, "L0C")
    m.now.task.events.append(Into(c.memory))
    if full_pages(shape):
        raise m.fault(
            at, f"matmul_acc of {a} and {b}, which are several products: PyPTO compiles no such accumulator",
            "loop over the axes in front",
        )  # fmt: skip
    if c.memory.cut is not None and m.onchip.parted is not None:
        c.memory.cut.used(at, cuts.CARRIED)
    if c.shape != shape:
        raise m.fault(at, f"matmul_acc into {c} of a product of shape {list(shape)}")
    if c.dtype is not dtype:
        raise m.fault(at, f"matmul_acc into {c}: the accumulator is {dtype}", f"start it with out_dtype=pl.{dtype}")
    _check_window(m, at, c)
    if init_cond is not None and bool(init_cond):
        data = None if m.now.dry else multiply(*factors(m, x, y))
    elif c.valid is None and valid is not None:  # what is not valid in the product leaves the accumulator as it was
        data = (
            None
            if m.now.dry
            else fitted(Tile(multiply(*factors(m, x, y)), shape, dtype, valid, c.memory), shape) + c.data
        )
        valid = None
    elif c.pending is not None and c.valid == valid and c.window is None and (later := _later(m, x, y, c)) is not None:
        c.memory.last = m.onchip.clock
        out = Tile(None, shape, dtype, valid, c.memory)
        out.pending = later
        return out
    else:
        data = None if m.now.dry else _accumulate(fitted(c, valid or shape), *factors(m, x, y))
    c.memory.last = m.onchip.clock
    return in_place(m, c, data, shape, dtype, valid)


def _accumulate(c: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if c.dtype == torch.float32:
        if c.dim() == x.dim() == y.dim() == 2:
            return torch.addmm(c, x, y)
        if c.dim() == x.dim() == y.dim() == 3:
            return torch.baddbmm(c, x, y)
    return c + multiply(x, y)


BLOCK_COLUMNS = 16  # of L0C: it lies in columns of blocks that are 16 wide, each as high as the tile


def _check_window(m: Machine, at: Place, c: Tile) -> None:
    """A product goes into a part of an accumulator only where that is contiguous in L0C: all rows of some columns, or
    columns of one block (PyPTO src/ir/transforms/canonicalize_tile_slice_pass.cpp)."""
    if c.window is None or len(c.shape) != 2:
        return
    whole, (_, columns) = c.window
    inside_one = columns.start // BLOCK_COLUMNS == (columns.start + c.shape[1] - 1) // BLOCK_COLUMNS
    if c.shape[0] != whole.shape[0] and not inside_one:
        raise m.fault(
            at, f"matmul_acc into part of L0C: {list(c.shape)} of {list(whole.shape)}, not contiguous in L0C",
            f"put the parts side by side: [{c.shape[0]}, n * {c.shape[1]}], and slice columns of it",
        )  # fmt: skip


def in_place(m: Machine, c: Tile, data: torch.Tensor | None, shape: tuple, dtype: DType, valid: tuple | None) -> Tile:
    """The accumulator's next value: a new value in the same L0C buffer, and in the accumulator it is a part of."""
    out = Tile(data, shape, dtype, valid, c.memory)
    out.window = c.window
    if c.window is not None and data is not None:
        whole, where = c.window
        lead = data.shape[:1] if data.dim() > len(shape) and not whole.batched else ()
        whole.data = whole.data.expand(*lead, *whole.data.shape).clone()
        whole.data[(..., *where)] = data
    return out


@op(
    "matmul_bias", "lhs rhs bias", on="pl tile", tiles_only=True, result=Result("", valid="whole"), unit="cube",
    types=(CUBE, CUBE_A5), factors=(0, 1),
)  # fmt: skip
def matmul_bias(m: Machine, at: Place, lhs: Any, rhs: Any, bias: Any, acc_phase: Any = None) -> Tile:
    """lhs @ rhs + bias, the bias [1, N] added to every row in the accumulator."""
    _loaded(m, at, lhs, rhs)
    a, b, c = operands(m, at, lhs, rhs, bias, space="L1")
    shape, valid, dtype, x, y = product(m, at, a, b, False, False)
    if c.shape != (1, shape[-1]) or c.dtype is not dtype:
        raise m.fault(at, f"the bias {c} of a product of shape {list(shape)}", f"[1, {shape[-1]}] {dtype}")
    _multiplied(m, at, a, b)
    data = None if m.now.dry else multiply(*factors(m, x, y)) + wide(c)
    tile = m.onchip.tile(at, data, shape, dtype, valid, "L0C")
    cuts.watched(m, tile, a, b, c, (shape[-2], a.shape[-1], shape[-1]))
    return tile


@op("gemv", "lhs rhs acc_phase?", on="pl tile", tiles_only=True, unit="cube", types=(CUBE, CUBE_A5))
def gemv(m: Machine, at: Place, lhs: Any, rhs: Any, acc_phase: Any = None) -> Tile:
    """The product of a row [1, K] and a matrix [K, N]."""
    _vector(m, at, "gemv", lhs)
    return matmul(m, at, lhs, rhs)


@op("gemv_acc", "acc lhs rhs acc_phase?", on="pl tile", tiles_only=True, unit="cube")
def gemv_acc(m: Machine, at: Place, acc: Any, lhs: Any, rhs: Any, acc_phase: Any = None) -> Tile:
    """acc + the product of a row and a matrix."""
    _vector(m, at, "gemv_acc", lhs)
    return matmul_acc(m, at, acc, lhs, rhs)


@op("gemv_bias", "lhs rhs bias acc_phase?", on="pl tile", tiles_only=True, unit="cube", types=(CUBE, CUBE_A5))
def gemv_bias(m: Machine, at: Place, lhs: Any, rhs: Any, bias: Any, acc_phase: Any = None) -> Tile:
    """The product of a row and a matrix, and a bias [1, N]."""
    _vector(m, at, "gemv_bias", lhs)
    return matmul_bias(m, at, lhs, rhs, bias)


def _cast(data: torch.Tensor, dtype: DType) -> torch.Tensor:
    return data if data.dtype == dtype.torch else data.to(dtype.torch)


@op("matmul_mx", "lhs lhs_scale rhs rhs_scale", on="pl tile")
def matmul_mx(m: Machine, at: Place, lhs: Any, lhs_scale: Any, rhs: Any, rhs_scale: Any) -> Tile:
    """(lhs * its scales) @ (rhs * its scales), FP32 [M, N]. lhs [M, K] and rhs [K, N] are FP8E4M3FN, their scales
    FP8E8M0 [M, K / 32] and [K / 32, N]; M is a multiple of 16, K of 64, N of 32."""
    data, shape, dtype, valid = _scaled(m, at, lhs, lhs_scale, rhs, rhs_scale)
    return m.onchip.tile(at, data, shape, dtype, valid, "L0C")


@op("matmul_mx_acc", "acc lhs lhs_scale rhs rhs_scale", on="pl tile")
def matmul_mx_acc(m: Machine, at: Place, acc: Any, lhs: Any, lhs_scale: Any, rhs: Any, rhs_scale: Any) -> Tile:
    """acc + matmul_mx(...), in the accumulator."""
    data, shape, dtype, valid = _scaled(m, at, lhs, lhs_scale, rhs, rhs_scale)
    c = operand(m, at, acc, "L0C")
    if c.shape != shape or c.dtype is not dtype:
        raise m.fault(at, f"matmul_mx_acc into {c} of a product {list(shape)} {dtype}")
    if data is not None:
        data = data + fitted(c, valid or shape)
    return in_place(m, c, data, shape, dtype, valid)


@op("matmul_mx_bias", "lhs lhs_scale rhs rhs_scale bias", on="pl tile")
def matmul_mx_bias(m: Machine, at: Place, lhs: Any, lhs_scale: Any, rhs: Any, rhs_scale: Any, bias: Any) -> Tile:
    """matmul_mx(...) + bias, the bias [1, N] FP32 added to every row."""
    data, shape, dtype, valid = _scaled(m, at, lhs, lhs_scale, rhs, rhs_scale)
    b = operand(m, at, bias, "L1")
    if b.shape != (1, shape[1]) or b.dtype is not dtype:
        raise m.fault(at, f"matmul_mx_bias with {b}", f"a bias [1, {shape[1]}] {dtype}")
    return m.onchip.tile(at, None if data is None else data + wide(b), shape, dtype, valid, "L0C")


def _scaled(m: Machine, at: Place, lhs: Any, lhs_scale: Any, rhs: Any, rhs_scale: Any) -> tuple:
    """(data, shape, element type, valid shape) of the product."""
    if m.chip.rules != "a5":
        raise m.fault(at, f"a block-scaled product on {m.chip.title}", "it is an instruction of A5: run on a5interp")
    a, b = operands(m, at, lhs, rhs, space="L1")
    for x in (a, b):
        if x.dtype.name != "FP8E4M3FN":
            raise m.fault(at, f"a block-scaled product of {x}", "operands are FP8E4M3FN: pl.cast(x, pl.FP8E4M3FN)")
    shape, valid, dtype, x, y = product(m, at, a, b, False, False)
    (rows, k), columns = a.shape, b.shape[1]
    for what, n, multiple in (("M", rows, 16), ("K", k, 2 * BLOCK), ("N", columns, 32)):
        if n % multiple:
            raise m.fault(at, f"a block-scaled product with {what} = {n}", f"a multiple of {multiple}")
    s = _scales(m, at, lhs_scale, "MX_A_ZZ", "pl.Mem.LeftScale", (rows, k // BLOCK))
    t = _scales(m, at, rhs_scale, "MX_B_NN", "pl.Mem.RightScale", (k // BLOCK, columns))
    if m.now.dry:
        return None, shape, dtype, valid
    left, right = factors(m, x, y)
    n = left.shape[-1]
    left = left * s.data.float().repeat_interleave(BLOCK, -1)[..., : left.shape[-2], :n]
    right = right * t.data.float().repeat_interleave(BLOCK, -2)[..., :n, : right.shape[-1]]
    return multiply(left, right), shape, dtype, valid


def _scales(m: Machine, at: Place, scales: Any, layout: str, space: str, shape: tuple[int, int]) -> Tile:
    if type(scales) is not Tile or scales.scales != layout:
        raise m.fault(
            at, f"these scales are not loaded from a tensor in pl.{layout}",
            f"pl.Tensor[[...], pl.FP8E8M0, pl.{layout}], pl.load into pl.Mem.Mat, pl.move to {space}",
        )  # fmt: skip
    if scales.shape != shape or scales.dtype.name != "FP8E8M0":
        raise m.fault(at, f"scales {scales}", f"{list(shape)} FP8E8M0")
    return operand(m, at, scales, scales.memory.space)
