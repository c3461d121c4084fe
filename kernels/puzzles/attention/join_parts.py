"""Puzzle join_parts: partial results of attention become one."""

import pypto.language as pl

PART_ROWS_DYN = pl.dynamic("PART_ROWS_DYN")
ROWS = 16
DIM = 128


@pl.jit
def stub(
    o: pl.Tensor[[PART_ROWS_DYN, DIM], pl.FP32],
    top: pl.Tensor[[PART_ROWS_DYN, 1], pl.FP32],
    total: pl.Tensor[[PART_ROWS_DYN, 1], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, DIM], pl.FP32]],
):
    """y = the attention of all parts; part p has rows p * ROWS to p * ROWS + ROWS."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="join"):
        o_all = pl.slice(o, [ROWS, DIM], [0, 0])
        top_all = pl.slice(top, [ROWS, 1], [0, 0])  # noqa: F841
        total_all = pl.slice(total, [ROWS, 1], [0, 0])
        # the other parts are missing
        y = pl.assemble(y, pl.row_expand_div(o_all, total_all), [0, 0])
    return y


@pl.jit
def solution(
    o: pl.Tensor[[PART_ROWS_DYN, DIM], pl.FP32],
    top: pl.Tensor[[PART_ROWS_DYN, 1], pl.FP32],
    total: pl.Tensor[[PART_ROWS_DYN, 1], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, DIM], pl.FP32]],
):
    """y = the attention of all parts; part p has rows p * ROWS to p * ROWS + ROWS."""
    parts = pl.tensor.dim(o, 0) // ROWS
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="join"):
        o_all = pl.slice(o, [ROWS, DIM], [0, 0])
        top_all = pl.slice(top, [ROWS, 1], [0, 0])
        total_all = pl.slice(total, [ROWS, 1], [0, 0])
        for p in pl.range(1, parts):
            o_p = pl.slice(o, [ROWS, DIM], [p * ROWS, 0])
            top_p = pl.slice(top, [ROWS, 1], [p * ROWS, 0])
            total_p = pl.slice(total, [ROWS, 1], [p * ROWS, 0])
            larger = pl.maximum(top_all, top_p)
            scale_all = pl.exp(pl.sub(top_all, larger))
            scale_p = pl.exp(pl.sub(top_p, larger))
            o_all = pl.add(pl.row_expand_mul(o_all, scale_all), pl.row_expand_mul(o_p, scale_p))
            total_all = pl.add(pl.mul(total_all, scale_all), pl.mul(total_p, scale_p))
            top_all = larger
        y = pl.assemble(y, pl.row_expand_div(o_all, total_all), [0, 0])
    return y


@pl.jit
def wrong_sum(
    o: pl.Tensor[[PART_ROWS_DYN, DIM], pl.FP32],
    top: pl.Tensor[[PART_ROWS_DYN, 1], pl.FP32],
    total: pl.Tensor[[PART_ROWS_DYN, 1], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, DIM], pl.FP32]],
):
    """Plain sums: right only where all maxima are equal."""
    parts = pl.tensor.dim(o, 0) // ROWS
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="join"):
        o_all = pl.slice(o, [ROWS, DIM], [0, 0])
        total_all = pl.slice(total, [ROWS, 1], [0, 0])
        for p in pl.range(1, parts):
            o_all = pl.add(o_all, pl.slice(o, [ROWS, DIM], [p * ROWS, 0]))
            total_all = pl.add(total_all, pl.slice(total, [ROWS, 1], [p * ROWS, 0]))
        y = pl.assemble(y, pl.row_expand_div(o_all, total_all), [0, 0])
    return y


@pl.jit
def wrong_mean(
    o: pl.Tensor[[PART_ROWS_DYN, DIM], pl.FP32],
    top: pl.Tensor[[PART_ROWS_DYN, 1], pl.FP32],
    total: pl.Tensor[[PART_ROWS_DYN, 1], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, DIM], pl.FP32]],
):
    """Each part normalised alone, then added."""
    parts = pl.tensor.dim(o, 0) // ROWS
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="join"):
        y_all = pl.row_expand_div(pl.slice(o, [ROWS, DIM], [0, 0]), pl.slice(total, [ROWS, 1], [0, 0]))
        for p in pl.range(1, parts):
            o_p = pl.slice(o, [ROWS, DIM], [p * ROWS, 0])
            y_all = pl.add(y_all, pl.row_expand_div(o_p, pl.slice(total, [ROWS, 1], [p * ROWS, 0])))
        y = pl.assemble(y, y_all, [0, 0])
    return y


@pl.jit
def wrong_two_passes(
    o: pl.Tensor[[PART_ROWS_DYN, DIM], pl.FP32],
    top: pl.Tensor[[PART_ROWS_DYN, 1], pl.FP32],
    total: pl.Tensor[[PART_ROWS_DYN, 1], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, DIM], pl.FP32]],
):
    """Right, in two passes: the maximum of all parts first, then all again."""
    parts = pl.tensor.dim(o, 0) // ROWS
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="join"):
        top_all = pl.slice(top, [ROWS, 1], [0, 0])
        for p in pl.range(1, parts):
            top_all = pl.maximum(top_all, pl.slice(top, [ROWS, 1], [p * ROWS, 0]))
        scale = pl.exp(pl.sub(pl.slice(top, [ROWS, 1], [0, 0]), top_all))
        o_all = pl.row_expand_mul(pl.slice(o, [ROWS, DIM], [0, 0]), scale)
        total_all = pl.mul(pl.slice(total, [ROWS, 1], [0, 0]), scale)
        for q in pl.range(1, parts):
            scale_q = pl.exp(pl.sub(pl.slice(top, [ROWS, 1], [q * ROWS, 0]), top_all))
            o_all = pl.add(o_all, pl.row_expand_mul(pl.slice(o, [ROWS, DIM], [q * ROWS, 0]), scale_q))
            total_all = pl.add(total_all, pl.mul(pl.slice(total, [ROWS, 1], [q * ROWS, 0]), scale_q))
        y = pl.assemble(y, pl.row_expand_div(o_all, total_all), [0, 0])
    return y
