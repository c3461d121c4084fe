"""Block-scaled products of A5: operands in FP8, one scale for 32 values along K, accumulated in FP32.

Source: `DeduceTileMatMulMxType` (PyPTO src/ir/op/tile_ops/matmul_mx.cpp) for types, shapes and what is refused; the
manual's page on types for the layouts of scales.
"""

from __future__ import annotations

from typing import Any

from helpers.interpret.extents import fitted
from helpers.interpret.machine import Machine
from helpers.interpret.ops.common import op, operand, operands
from helpers.interpret.ops.cube import factors, in_place, multiply, product, wide
from helpers.interpret.scales import BLOCK
from helpers.interpret.source import Place
from helpers.interpret.values import Tile, held


@op("matmul_mx", "tile.matmul_mx")
def matmul_mx(m: Machine, at: Place, lhs: Any, lhs_scale: Any, rhs: Any, rhs_scale: Any) -> Tile:
    """(lhs * its scales) @ (rhs * its scales), FP32 [M, N]. lhs [M, K] and rhs [K, N] are FP8E4M3FN, their scales
    FP8E8M0 [M, K / 32] and [K / 32, N]; M is a multiple of 16, K of 64, N of 32."""
    data, shape, dtype, valid = _scaled(m, at, lhs, lhs_scale, rhs, rhs_scale)
    return m.tile(at, data, shape, dtype, valid, "L0C")


@op("matmul_mx_acc", "tile.matmul_mx_acc")
def matmul_mx_acc(m: Machine, at: Place, acc: Any, lhs: Any, lhs_scale: Any, rhs: Any, rhs_scale: Any) -> Tile:
    """acc + matmul_mx(...), in the accumulator."""
    data, shape, dtype, valid = _scaled(m, at, lhs, lhs_scale, rhs, rhs_scale)
    c = operand(m, at, acc, "L0C")
    if c.shape != shape or c.dtype is not dtype:
        raise m.fault(at, f"matmul_mx_acc into {c} of a product {list(shape)} {dtype}")
    if data is not None:
        data = data + fitted(c, held(shape, valid))
    return in_place(m, c, data, shape, dtype, valid)


@op("matmul_mx_bias", "tile.matmul_mx_bias")
def matmul_mx_bias(m: Machine, at: Place, lhs: Any, lhs_scale: Any, rhs: Any, rhs_scale: Any, bias: Any) -> Tile:
    """matmul_mx(...) + bias, the bias [1, N] FP32 added to every row."""
    data, shape, dtype, valid = _scaled(m, at, lhs, lhs_scale, rhs, rhs_scale)
    b = operand(m, at, bias, "L1")
    if b.shape != (1, shape[1]) or b.dtype is not dtype:
        raise m.fault(at, f"matmul_mx_bias with {b}", f"a bias [1, {shape[1]}] {dtype}")
    return m.tile(at, None if data is None else data + wide(b), shape, dtype, valid, "L0C")


def _scaled(m: Machine, at: Place, lhs: Any, lhs_scale: Any, rhs: Any, rhs_scale: Any) -> tuple:
    """(data, shape, element type, valid shape) of the product."""
    if m.chip.name != "a5":
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
    if m.dry:
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
