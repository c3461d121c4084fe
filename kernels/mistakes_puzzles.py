"""Puzzles of notebook 07: each kernel has one defect, and nothing here says which."""

import pypto.language as pl

from kernels.qwen3 import BATCH, HEAD_DIM, KV_HEADS, Q_PAD

ROWS_DYN = pl.dynamic("ROWS_DYN")
ROWS = KV_HEADS * Q_PAD
TILE = 16
STEPS = 64


@pl.jit
def tail(
    x: pl.Tensor[[ROWS_DYN, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, HEAD_DIM], pl.FP32]],
):
    """Twice x."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="times2"):
        tile = pl.slice(x, [TILE, HEAD_DIM], [t * TILE, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [t * TILE, 0])
    return y


@pl.jit
def chain(
    x: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
):
    """(2 x + 1)^2 - 2 x."""
    a = pl.create_tensor([ROWS, HEAD_DIM], dtype=pl.FP32)
    b = pl.create_tensor([ROWS, HEAD_DIM], dtype=pl.FP32)
    with pl.manual_scope():
        with pl.spmd(KV_HEADS, name_hint="times2") as doubled:
            i = pl.get_block_idx() * Q_PAD
            a = pl.assemble(a, pl.mul(pl.slice(x, [Q_PAD, HEAD_DIM], [i, 0]), 2.0), [i, 0])
        with pl.spmd(KV_HEADS, name_hint="square", deps=[doubled]) as _squared:
            j = pl.get_block_idx() * Q_PAD
            more = pl.add(pl.slice(a, [Q_PAD, HEAD_DIM], [j, 0]), 1.0)
            b = pl.assemble(b, pl.mul(more, more), [j, 0])
        with pl.spmd(KV_HEADS, name_hint="subtract", deps=[doubled]) as _done:
            k = pl.get_block_idx() * Q_PAD
            left = pl.slice(b, [Q_PAD, HEAD_DIM], [k, 0])
            y = pl.assemble(y, pl.sub(left, pl.slice(a, [Q_PAD, HEAD_DIM], [k, 0])), [k, 0])
    return y


@pl.jit
def steps(
    x: pl.Tensor[[STEPS * BATCH, HEAD_DIM], pl.FP16],
    y: pl.Out[pl.Tensor[[BATCH, HEAD_DIM], pl.FP16]],
):
    """The sum of 64 tiles of x."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="sum"):
        total = pl.full([BATCH, HEAD_DIM], dtype=pl.FP16, value=0.0)
        for s in pl.range(STEPS):
            total = pl.add(total, pl.slice(x, [BATCH, HEAD_DIM], [s * BATCH, 0]))
        y = pl.assemble(y, total, [0, 0])
    return y


@pl.jit
def pairs(
    x: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
):
    """Twice x, two rows of tiles a block."""
    for t in pl.spmd(KV_HEADS // 2, name_hint="times2"):
        for i in pl.range(2):
            row = (t + i) * Q_PAD
            tile = pl.slice(x, [Q_PAD, HEAD_DIM], [row, 0])
            y = pl.assemble(y, pl.mul(tile, 2.0), [row, 0])
    return y
