"""Puzzle rope: rotary position embedding, low half with high half."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
DIM = 128
HALF = 64
TILE = 16


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, DIM], pl.FP32],
    cos: pl.Tensor[[ROWS_DYN, HALF], pl.FP32],
    sin: pl.Tensor[[ROWS_DYN, HALF], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, DIM], pl.FP32]],
):
    """y = x turned: element i of a row with element i + HALF."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rope"):
        row = t * TILE
        low = pl.slice(x, [TILE, HALF], [row, 0])
        high = pl.slice(x, [TILE, HALF], [row, HALF])
        c = pl.slice(cos, [TILE, HALF], [row, 0])
        y = pl.assemble(y, pl.mul(low, c), [row, 0])
        y = pl.assemble(y, pl.mul(high, c), [row, HALF])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, DIM], pl.FP32],
    cos: pl.Tensor[[ROWS_DYN, HALF], pl.FP32],
    sin: pl.Tensor[[ROWS_DYN, HALF], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, DIM], pl.FP32]],
):
    """y = x turned: element i of a row with element i + HALF."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rope"):
        row = t * TILE
        low = pl.slice(x, [TILE, HALF], [row, 0])
        high = pl.slice(x, [TILE, HALF], [row, HALF])
        c = pl.slice(cos, [TILE, HALF], [row, 0])
        s = pl.slice(sin, [TILE, HALF], [row, 0])
        y = pl.assemble(y, pl.sub(pl.mul(low, c), pl.mul(high, s)), [row, 0])
        y = pl.assemble(y, pl.add(pl.mul(high, c), pl.mul(low, s)), [row, HALF])
    return y


@pl.jit
def wrong_turned_twice(
    x: pl.Tensor[[ROWS_DYN, DIM], pl.FP32],
    cos: pl.Tensor[[ROWS_DYN, HALF], pl.FP32],
    sin: pl.Tensor[[ROWS_DYN, HALF], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, DIM], pl.FP32]],
):
    """The high half is made from the low half that has been turned already."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rope"):
        row = t * TILE
        low = pl.slice(x, [TILE, HALF], [row, 0])
        high = pl.slice(x, [TILE, HALF], [row, HALF])
        c = pl.slice(cos, [TILE, HALF], [row, 0])
        s = pl.slice(sin, [TILE, HALF], [row, 0])
        low = pl.sub(pl.mul(low, c), pl.mul(high, s))
        high = pl.add(pl.mul(high, c), pl.mul(low, s))
        y = pl.assemble(y, low, [row, 0])
        y = pl.assemble(y, high, [row, HALF])
    return y


@pl.jit
def wrong_one_position(
    x: pl.Tensor[[ROWS_DYN, DIM], pl.FP32],
    cos: pl.Tensor[[ROWS_DYN, HALF], pl.FP32],
    sin: pl.Tensor[[ROWS_DYN, HALF], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, DIM], pl.FP32]],
):
    """Every tile takes the angles of the first one."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rope"):
        row = t * TILE
        low = pl.slice(x, [TILE, HALF], [row, 0])
        high = pl.slice(x, [TILE, HALF], [row, HALF])
        c = pl.slice(cos, [TILE, HALF], [0, 0])
        s = pl.slice(sin, [TILE, HALF], [0, 0])
        y = pl.assemble(y, pl.sub(pl.mul(low, c), pl.mul(high, s)), [row, 0])
        y = pl.assemble(y, pl.add(pl.mul(high, c), pl.mul(low, s)), [row, HALF])
    return y


@pl.jit
def wrong_task_a_half(
    x: pl.Tensor[[ROWS_DYN, DIM], pl.FP32],
    cos: pl.Tensor[[ROWS_DYN, HALF], pl.FP32],
    sin: pl.Tensor[[ROWS_DYN, HALF], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, DIM], pl.FP32]],
):
    """Right, with a task for each half: both load all."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rope"):
        row = t * TILE
        low = pl.slice(x, [TILE, HALF], [row, 0])
        high = pl.slice(x, [TILE, HALF], [row, HALF])
        c = pl.slice(cos, [TILE, HALF], [row, 0])
        s = pl.slice(sin, [TILE, HALF], [row, 0])
        y = pl.assemble(y, pl.sub(pl.mul(low, c), pl.mul(high, s)), [row, 0])
    for u in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rope_high"):
        row_u = u * TILE
        low_u = pl.slice(x, [TILE, HALF], [row_u, 0])
        high_u = pl.slice(x, [TILE, HALF], [row_u, HALF])
        c_u = pl.slice(cos, [TILE, HALF], [row_u, 0])
        s_u = pl.slice(sin, [TILE, HALF], [row_u, 0])
        y = pl.assemble(y, pl.add(pl.mul(high_u, c_u), pl.mul(low_u, s_u)), [row_u, HALF])
    return y
