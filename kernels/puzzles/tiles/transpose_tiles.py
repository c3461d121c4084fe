"""Puzzle transpose_tiles: y = x transposed, tile by tile."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
COLS_DYN = pl.dynamic("COLS_DYN")
TILE = 32


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, COLS_DYN], pl.FP32],
    y: pl.Out[pl.Tensor[[COLS_DYN, ROWS_DYN], pl.FP32]],
):
    """y[c, r] = x[r, c]."""
    across = pl.tensor.dim(x, 1) // TILE
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE * across, name_hint="transpose"):
        row = t // across * TILE
        column = t % across * TILE
        tile = pl.slice(x, [TILE, TILE], [row, column])
        y = pl.assemble(y, tile, [column, row])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, COLS_DYN], pl.FP32],
    y: pl.Out[pl.Tensor[[COLS_DYN, ROWS_DYN], pl.FP32]],
):
    """y[c, r] = x[r, c]."""
    across = pl.tensor.dim(x, 1) // TILE
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE * across, name_hint="transpose"):
        row = t // across * TILE
        column = t % across * TILE
        tile = pl.slice(x, [TILE, TILE], [row, column])
        y = pl.assemble(y, pl.transpose(tile, 0, 1), [column, row])
    return y


@pl.jit
def wrong_place(
    x: pl.Tensor[[ROWS_DYN, COLS_DYN], pl.FP32],
    y: pl.Out[pl.Tensor[[COLS_DYN, ROWS_DYN], pl.FP32]],
):
    """Each tile is turned, and stays where it was."""
    across = pl.tensor.dim(x, 1) // TILE
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE * across, name_hint="transpose"):
        row = t // across * TILE
        column = t % across * TILE
        tile = pl.slice(x, [TILE, TILE], [row, column])
        y = pl.assemble(y, pl.transpose(tile, 0, 1), [row, column])
    return y


@pl.jit
def wrong_small_tiles(
    x: pl.Tensor[[ROWS_DYN, COLS_DYN], pl.FP32],
    y: pl.Out[pl.Tensor[[COLS_DYN, ROWS_DYN], pl.FP32]],
):
    """Right, in tiles of 16: four times the tasks."""
    across = pl.tensor.dim(x, 1) // (TILE // 2)
    for t in pl.spmd(pl.tensor.dim(x, 0) // (TILE // 2) * across, name_hint="transpose"):
        row = t // across * (TILE // 2)
        column = t % across * (TILE // 2)
        tile = pl.slice(x, [TILE // 2, TILE // 2], [row, column])
        y = pl.assemble(y, pl.transpose(tile, 0, 1), [column, row])
    return y
