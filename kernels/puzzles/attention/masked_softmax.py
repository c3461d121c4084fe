"""Puzzle masked_softmax: the softmax of the first n columns."""

import pypto.language as pl

ROWS = 16
WIDTH = 128


@pl.jit
def stub(
    s: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    w: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
    n: pl.Scalar[pl.INT32],
):
    """w = softmax of the first n columns of s, 0 in the others."""
    real = pl.cast(n, pl.INDEX)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
        scores = pl.slice(s, [ROWS, WIDTH], [0, 0], valid_shape=[ROWS, real])
        weights = pl.exp(pl.row_expand_sub(scores, pl.row_max(scores)))
        w = pl.assemble(w, pl.row_expand_div(weights, pl.row_sum(weights)), [0, 0])
    return w


@pl.jit
def solution(
    s: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    w: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
    n: pl.Scalar[pl.INT32],
):
    """w = softmax of the first n columns of s, 0 in the others."""
    real = pl.cast(n, pl.INDEX)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
        part = pl.slice(s, [ROWS, WIDTH], [0, 0], valid_shape=[ROWS, real])
        scores = pl.fillpad(part, pad_value=pl.PadValue.min)
        weights = pl.exp(pl.row_expand_sub(scores, pl.row_max(scores)))
        w = pl.assemble(w, pl.row_expand_div(weights, pl.row_sum(weights)), [0, 0])
    return w


@pl.jit
def wrong_zeros(
    s: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    w: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
    n: pl.Scalar[pl.INT32],
):
    """Scores of 0 are no scores that are absent: exp(0 - max) counts."""
    real = pl.cast(n, pl.INDEX)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
        part = pl.slice(s, [ROWS, WIDTH], [0, 0], valid_shape=[ROWS, real])
        scores = pl.fillpad(part, pad_value=pl.PadValue.zero)
        weights = pl.exp(pl.row_expand_sub(scores, pl.row_max(scores)))
        w = pl.assemble(w, pl.row_expand_div(weights, pl.row_sum(weights)), [0, 0])
    return w


@pl.jit
def wrong_everything(
    s: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    w: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
    n: pl.Scalar[pl.INT32],
):
    """All columns, whatever n is."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
        scores = pl.slice(s, [ROWS, WIDTH], [0, 0])
        weights = pl.exp(pl.row_expand_sub(scores, pl.row_max(scores)))
        w = pl.assemble(w, pl.row_expand_div(weights, pl.row_sum(weights)), [0, 0])
    return w
