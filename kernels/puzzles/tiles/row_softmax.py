"""Puzzle row_softmax: the softmax of each row."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
WIDTH = 128
TILE = 16


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = exp(x) / sum(exp(x)), row by row."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="softmax"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        weights = pl.exp(tile)
        y = pl.assemble(y, weights, [t * TILE, 0])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = exp(x - max(x)) / sum(exp(x - max(x))), row by row."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="softmax"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        weights = pl.exp(pl.row_expand_sub(tile, pl.row_max(tile)))
        y = pl.assemble(y, pl.row_expand_div(weights, pl.row_sum(weights)), [t * TILE, 0])
    return y


@pl.jit
def wrong_no_max(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Without the maximum: exp overflows at 89."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="softmax"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        weights = pl.exp(tile)
        y = pl.assemble(y, pl.row_expand_div(weights, pl.row_sum(weights)), [t * TILE, 0])
    return y


@pl.jit
def wrong_columns(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Along the wrong axis."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="softmax"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        weights = pl.exp(pl.col_expand_sub(tile, pl.col_max(tile)))
        y = pl.assemble(y, pl.col_expand_div(weights, pl.col_sum(weights)), [t * TILE, 0])
    return y


@pl.jit
def wrong_loaded_twice(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Right, but the tile is loaded for its maximum and once more for the rest."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="softmax"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        again = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        weights = pl.exp(pl.row_expand_sub(again, pl.row_max(tile)))
        y = pl.assemble(y, pl.row_expand_div(weights, pl.row_sum(weights)), [t * TILE, 0])
    return y
