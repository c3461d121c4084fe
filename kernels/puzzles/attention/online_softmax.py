"""Puzzle online_softmax: the softmax of rows that do not fit on chip."""

import pypto.language as pl

COLS_DYN = pl.dynamic("COLS_DYN")
ROWS = 16
CHUNK = 128


@pl.jit
def stub(
    x: pl.Tensor[[ROWS, COLS_DYN], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, COLS_DYN], pl.FP32]],
):
    """y = softmax of each row, chunk by chunk."""
    chunks = pl.tensor.dim(x, 1) // CHUNK
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
        first = pl.slice(x, [ROWS, CHUNK], [0, 0])
        top = pl.row_max(first)
        total = pl.row_sum(pl.exp(pl.row_expand_sub(first, top)))
        # top and total are those of the first chunk; here they have to take in the others
        for c in pl.range(chunks):
            part = pl.slice(x, [ROWS, CHUNK], [0, c * CHUNK])
            weights = pl.exp(pl.row_expand_sub(part, top))
            y = pl.assemble(y, pl.row_expand_div(weights, total), [0, c * CHUNK])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS, COLS_DYN], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, COLS_DYN], pl.FP32]],
):
    """y = softmax of each row, chunk by chunk."""
    chunks = pl.tensor.dim(x, 1) // CHUNK
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
        first = pl.slice(x, [ROWS, CHUNK], [0, 0])
        top = pl.row_max(first)
        total = pl.row_sum(pl.exp(pl.row_expand_sub(first, top)))
        for c in pl.range(1, chunks):
            part = pl.slice(x, [ROWS, CHUNK], [0, c * CHUNK])
            larger = pl.maximum(top, pl.row_max(part))
            so_far = pl.mul(total, pl.exp(pl.sub(top, larger)))
            total = pl.add(so_far, pl.row_sum(pl.exp(pl.row_expand_sub(part, larger))))
            top = larger
        for c in pl.range(chunks):
            part = pl.slice(x, [ROWS, CHUNK], [0, c * CHUNK])
            weights = pl.exp(pl.row_expand_sub(part, top))
            y = pl.assemble(y, pl.row_expand_div(weights, total), [0, c * CHUNK])
    return y


@pl.jit
def wrong_not_rescaled(
    x: pl.Tensor[[ROWS, COLS_DYN], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, COLS_DYN], pl.FP32]],
):
    """The sum so far is not brought to the new maximum."""
    chunks = pl.tensor.dim(x, 1) // CHUNK
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
        first = pl.slice(x, [ROWS, CHUNK], [0, 0])
        top = pl.row_max(first)
        total = pl.row_sum(pl.exp(pl.row_expand_sub(first, top)))
        for c in pl.range(1, chunks):
            part = pl.slice(x, [ROWS, CHUNK], [0, c * CHUNK])
            top = pl.maximum(top, pl.row_max(part))
            total = pl.add(total, pl.row_sum(pl.exp(pl.row_expand_sub(part, top))))
        for c in pl.range(chunks):
            part = pl.slice(x, [ROWS, CHUNK], [0, c * CHUNK])
            weights = pl.exp(pl.row_expand_sub(part, top))
            y = pl.assemble(y, pl.row_expand_div(weights, total), [0, c * CHUNK])
    return y


@pl.jit
def wrong_three_passes(
    x: pl.Tensor[[ROWS, COLS_DYN], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, COLS_DYN], pl.FP32]],
):
    """Right, with a pass for the maximum and another for the sum: x is read three times."""
    chunks = pl.tensor.dim(x, 1) // CHUNK
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
        top = pl.row_max(pl.slice(x, [ROWS, CHUNK], [0, 0]))
        for c in pl.range(1, chunks):
            top = pl.maximum(top, pl.row_max(pl.slice(x, [ROWS, CHUNK], [0, c * CHUNK])))
        total = pl.row_sum(pl.exp(pl.row_expand_sub(pl.slice(x, [ROWS, CHUNK], [0, 0]), top)))
        for c in pl.range(1, chunks):
            part = pl.slice(x, [ROWS, CHUNK], [0, c * CHUNK])
            total = pl.add(total, pl.row_sum(pl.exp(pl.row_expand_sub(part, top))))
        for c in pl.range(chunks):
            part = pl.slice(x, [ROWS, CHUNK], [0, c * CHUNK])
            weights = pl.exp(pl.row_expand_sub(part, top))
            y = pl.assemble(y, pl.row_expand_div(weights, total), [0, c * CHUNK])
    return y
