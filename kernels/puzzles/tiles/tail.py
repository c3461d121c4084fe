"""Puzzle tail: y = 2 x, any number of rows."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
WIDTH = 64
TILE = 16


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = 2 x."""
    rows = pl.tensor.dim(x, 0)
    for t in pl.spmd(rows // TILE, name_hint="twice"):
        row = t * TILE
        tile = pl.slice(x, [TILE, WIDTH], [row, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [row, 0])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = 2 x."""
    rows = pl.tensor.dim(x, 0)
    for t in pl.spmd((rows + TILE - 1) // TILE, name_hint="twice"):
        row = t * TILE
        real = pl.min(TILE, rows - row)
        tile = pl.slice(x, [TILE, WIDTH], [row, 0], valid_shape=[real, WIDTH])
        y = pl.assemble(y, pl.mul(tile, 2.0), [row, 0])
    return y


@pl.jit
def wrong_whole_tile(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """One more block, and its tile is loaded whole."""
    rows = pl.tensor.dim(x, 0)
    for t in pl.spmd((rows + TILE - 1) // TILE, name_hint="twice"):
        row = t * TILE
        tile = pl.slice(x, [TILE, WIDTH], [row, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [row, 0])
    return y


@pl.jit
def wrong_one_block_more(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Always a block more, which has nothing to do where the rows fill their tiles."""
    rows = pl.tensor.dim(x, 0)
    for t in pl.spmd(rows // TILE + 1, name_hint="twice"):
        row = t * TILE
        real = pl.min(TILE, rows - row)
        tile = pl.slice(x, [TILE, WIDTH], [row, 0], valid_shape=[real, WIDTH])
        y = pl.assemble(y, pl.mul(tile, 2.0), [row, 0])
    return y


@pl.jit
def wrong_row_by_row(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Right, without a tail: a task for each row."""
    rows = pl.tensor.dim(x, 0)
    for row in pl.spmd(rows, name_hint="twice"):
        y = pl.assemble(y, pl.mul(pl.slice(x, [1, WIDTH], [row, 0]), 2.0), [row, 0])
    return y
