"""Puzzle quantise: rows in INT8, with a scale for each."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
WIDTH = 128
TILE = 16
TINY = 1e-6


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    q: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.INT8]],
    scale: pl.Out[pl.Tensor[[ROWS_DYN, 1], pl.FP32]],
):
    """scale = max |x| / 127 of each row, q = x / scale, rounded."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="quantise"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        largest = pl.row_max(tile)
        scale = pl.assemble(scale, largest, [t * TILE, 0])
        q = pl.assemble(q, pl.cast(tile, target_type=pl.INT8, mode="rint"), [t * TILE, 0])
    return q, scale


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    q: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.INT8]],
    scale: pl.Out[pl.Tensor[[ROWS_DYN, 1], pl.FP32]],
):
    """scale = max |x| / 127 of each row, q = x / scale, rounded."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="quantise"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        largest = pl.maximum(pl.row_max(pl.abs(tile)), TINY)
        step = pl.mul(largest, 1.0 / 127)
        scale = pl.assemble(scale, step, [t * TILE, 0])
        steps = pl.row_expand_div(tile, step)
        q = pl.assemble(q, pl.cast(steps, target_type=pl.INT8, mode="rint"), [t * TILE, 0])
    return q, scale


@pl.jit
def wrong_no_abs(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    q: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.INT8]],
    scale: pl.Out[pl.Tensor[[ROWS_DYN, 1], pl.FP32]],
):
    """The largest value, not the largest absolute value."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="quantise"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        largest = pl.maximum(pl.row_max(tile), TINY)
        step = pl.mul(largest, 1.0 / 127)
        scale = pl.assemble(scale, step, [t * TILE, 0])
        steps = pl.row_expand_div(tile, step)
        q = pl.assemble(q, pl.cast(steps, target_type=pl.INT8, mode="rint"), [t * TILE, 0])
    return q, scale


@pl.jit
def wrong_trunc(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    q: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.INT8]],
    scale: pl.Out[pl.Tensor[[ROWS_DYN, 1], pl.FP32]],
):
    """Rounded toward zero."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="quantise"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        largest = pl.maximum(pl.row_max(pl.abs(tile)), TINY)
        step = pl.mul(largest, 1.0 / 127)
        scale = pl.assemble(scale, step, [t * TILE, 0])
        steps = pl.row_expand_div(tile, step)
        q = pl.assemble(q, pl.cast(steps, target_type=pl.INT8, mode="trunc"), [t * TILE, 0])
    return q, scale


@pl.jit
def wrong_loaded_twice(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    q: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.INT8]],
    scale: pl.Out[pl.Tensor[[ROWS_DYN, 1], pl.FP32]],
):
    """Right, but the tile is loaded for its scale and once more for its values."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="quantise"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        largest = pl.maximum(pl.row_max(pl.abs(tile)), TINY)
        step = pl.mul(largest, 1.0 / 127)
        scale = pl.assemble(scale, step, [t * TILE, 0])
        again = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        steps = pl.row_expand_div(again, step)
        q = pl.assemble(q, pl.cast(steps, target_type=pl.INT8, mode="rint"), [t * TILE, 0])
    return q, scale
