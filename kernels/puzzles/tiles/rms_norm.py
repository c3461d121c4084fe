"""Puzzle rms_norm: each row divided by its root mean square, times a weight."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
WIDTH = 128
TILE = 16
EPS = 1e-6


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = x / sqrt(mean(x^2) + EPS) * w, row by row."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rms_norm"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        weighed = pl.col_expand_mul(tile, pl.slice(w, [1, WIDTH], [0, 0]))
        y = pl.assemble(y, weighed, [t * TILE, 0])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = x / sqrt(mean(x^2) + EPS) * w, row by row."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rms_norm"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        mean_square = pl.mul(pl.row_sum(pl.mul(tile, tile)), 1.0 / WIDTH)
        factor = pl.rsqrt(pl.add(mean_square, EPS))
        weighed = pl.col_expand_mul(pl.row_expand_mul(tile, factor), pl.slice(w, [1, WIDTH], [0, 0]))
        y = pl.assemble(y, weighed, [t * TILE, 0])
    return y


@pl.jit
def wrong_no_eps(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Without EPS: a row of zeros becomes 0 / 0."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rms_norm"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        factor = pl.rsqrt(pl.mul(pl.row_sum(pl.mul(tile, tile)), 1.0 / WIDTH))
        weighed = pl.col_expand_mul(pl.row_expand_mul(tile, factor), pl.slice(w, [1, WIDTH], [0, 0]))
        y = pl.assemble(y, weighed, [t * TILE, 0])
    return y


@pl.jit
def wrong_sum(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """The sum of squares in place of their mean."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rms_norm"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        factor = pl.rsqrt(pl.add(pl.row_sum(pl.mul(tile, tile)), EPS))
        weighed = pl.col_expand_mul(pl.row_expand_mul(tile, factor), pl.slice(w, [1, WIDTH], [0, 0]))
        y = pl.assemble(y, weighed, [t * TILE, 0])
    return y


@pl.jit
def wrong_eps_of_root(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """EPS added to the root: only rows as small as its root show it."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="rms_norm"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        mean_square = pl.mul(pl.row_sum(pl.mul(tile, tile)), 1.0 / WIDTH)
        factor = pl.recip(pl.add(pl.sqrt(mean_square), EPS))
        weighed = pl.col_expand_mul(pl.row_expand_mul(tile, factor), pl.slice(w, [1, WIDTH], [0, 0]))
        y = pl.assemble(y, weighed, [t * TILE, 0])
    return y


@pl.jit
def wrong_two_tasks(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Right, with a task for the factors: they go out to GM, and x is loaded twice."""
    factors = pl.create_tensor([pl.tensor.dim(x, 0), 1], dtype=pl.FP32)
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="factor"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        mean_square = pl.mul(pl.row_sum(pl.mul(tile, tile)), 1.0 / WIDTH)
        factors = pl.assemble(factors, pl.rsqrt(pl.add(mean_square, EPS)), [t * TILE, 0])
    for u in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="scale"):
        again = pl.slice(x, [TILE, WIDTH], [u * TILE, 0])
        factor = pl.slice(factors, [TILE, 1], [u * TILE, 0])
        weighed = pl.col_expand_mul(pl.row_expand_mul(again, factor), pl.slice(w, [1, WIDTH], [0, 0]))
        y = pl.assemble(y, weighed, [u * TILE, 0])
    return y
