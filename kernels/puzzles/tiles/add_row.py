"""Puzzle add_row: y = x + w, w one row."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
WIDTH = 128
TILE = 16


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = x + w, with w added to each row."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="add_row"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        row = pl.slice(w, [1, WIDTH], [0, 0])  # noqa: F841
        y = pl.assemble(y, tile, [t * TILE, 0])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = x + w, with w added to each row."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="add_row"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        row = pl.slice(w, [1, WIDTH], [0, 0])
        y = pl.assemble(y, pl.col_expand_add(tile, row), [t * TILE, 0])
    return y


@pl.jit
def wrong_plain_add(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """As torch would write it."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="add_row"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        row = pl.slice(w, [1, WIDTH], [0, 0])
        y = pl.assemble(y, pl.add(tile, row), [t * TILE, 0])
    return y


@pl.jit
def wrong_times(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """The one of the family that is used most."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="add_row"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        row = pl.slice(w, [1, WIDTH], [0, 0])
        y = pl.assemble(y, pl.col_expand_mul(tile, row), [t * TILE, 0])
    return y


@pl.jit
def wrong_row_by_row(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Right, a row at a time: w is loaded for each."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="add_row"):
        for r in pl.range(TILE):
            one = pl.slice(x, [1, WIDTH], [t * TILE + r, 0])
            row = pl.slice(w, [1, WIDTH], [0, 0])
            y = pl.assemble(y, pl.add(one, row), [t * TILE + r, 0])
    return y
