"""Puzzle fuse: SiLU in one task a tile."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
WIDTH = 256
TILE = 16


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = x / (1 + exp(-x)), in two tasks a tile."""
    rows = pl.tensor.dim(x, 0)
    below = pl.create_tensor([rows, WIDTH], dtype=pl.FP32)
    for t in pl.spmd(rows // TILE, name_hint="below"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        below = pl.assemble(below, pl.add(pl.exp(pl.neg(tile)), 1.0), [t * TILE, 0])
    for t in pl.spmd(rows // TILE, name_hint="divide"):
        above = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        y = pl.assemble(y, pl.div(above, pl.slice(below, [TILE, WIDTH], [t * TILE, 0])), [t * TILE, 0])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = x / (1 + exp(-x)), in one task a tile."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="silu"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        below = pl.add(pl.exp(pl.neg(tile)), 1.0)
        y = pl.assemble(y, pl.div(tile, below), [t * TILE, 0])
    return y


@pl.jit
def wrong_scratch(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """One task, and the tile still goes to global memory and back."""
    rows = pl.tensor.dim(x, 0)
    below = pl.create_tensor([rows, WIDTH], dtype=pl.FP32)
    for t in pl.spmd(rows // TILE, name_hint="silu"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        below = pl.assemble(below, pl.add(pl.exp(pl.neg(tile)), 1.0), [t * TILE, 0])
        y = pl.assemble(y, pl.div(tile, pl.slice(below, [TILE, WIDTH], [t * TILE, 0])), [t * TILE, 0])
    return y


@pl.jit
def wrong_sign(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """The minus is lost on the way."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="silu"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        below = pl.add(pl.exp(tile), 1.0)
        y = pl.assemble(y, pl.div(tile, below), [t * TILE, 0])
    return y
