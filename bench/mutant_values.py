"""Edits that make numbers wrong in kernels one column of whose output is large: all the others are small beside it."""

from __future__ import annotations

from collections.abc import Iterable

from bench.mutant_subjects import VALUE, Mutant


def _of(subject: str, edits: Iterable[tuple[str, str, str, str]]) -> list[Mutant]:
    """Mutants of values from (what, after, old, new)."""
    return [Mutant(f"{subject} beside a large column", VALUE, *edit) for edit in edits]


_ONE = ("def one_task", "weighed = pl.col_expand_mul(x_tile, w)")
_THEN = "weighed = pl.col_expand_mul(x_tile, w)\n        weighed = "
_TWO = ("def two_tasks", "weighed = pl.col_expand_mul(n_tile, w)")
_HEAD = ("def head_norm", "pl.row_expand_mul(heads, scale)")
_OUT = ("def write_out", "attention = pl.row_expand_div(o, total)")
_ACTIVATED = ("def gate_up_silu", "pl.mul(pl.mul(gate, sigmoid), up)")
_RESULT = ("def down_proj_residual", "result = pl.add(pl.slice(resid, [BATCH, WIDE_N], [0, d0]), acc)")

EDITS: tuple[Mutant, ...] = (
    *_of("hello.one_task", [
        ("the sign is lost", *_ONE, f"{_THEN}pl.maximum(weighed, pl.neg(weighed))"),
        ("the sign is turned", *_ONE, f"{_THEN}pl.neg(weighed)"),
        ("negative numbers become zero", *_ONE, f"{_THEN}pl.maximum(weighed, 0.0)"),
        ("numbers above one become one", *_ONE, f"{_THEN}pl.minimum(weighed, 1.0)"),
        ("a twentieth too much", *_ONE, f"{_THEN}pl.mul(weighed, 1.05)"),
        ("a fiftieth is added", *_ONE, f"{_THEN}pl.add(weighed, 0.02)"),
        ("whole numbers only", *_ONE,
         f'{_THEN}pl.cast(pl.cast(weighed, target_type=pl.INT32, mode="trunc"), target_type=pl.FP32)'),
        ("the weight is added", *_ONE, "weighed = pl.col_expand_add(x_tile, w)"),
        ("the root is left out", "def normalize", "pl.sqrt(pl.add(mean_square, EPS))", "pl.add(mean_square, EPS)"),
        ("epsilon is a tenth", "def normalize", "pl.add(mean_square, EPS)", "pl.add(mean_square, 0.1)"),
        ("the sum of half of a row", "def normalize", "pl.row_sum(pl.mul(rows, rows))",
         "pl.row_sum(pl.mul(rows[:, 0:256], rows[:, 0:256]))"),
        ("the largest square in place of their sum", "def normalize", "pl.row_sum(pl.mul(rows, rows))",
         "pl.row_max(pl.mul(rows, rows))"),
        ("the sum of numbers, not of squares", "def normalize", "pl.row_sum(pl.mul(rows, rows))", "pl.row_sum(rows)"),
        ("every block takes the first tile", "def one_task", "pl.slice(x, [TILE_ROWS, WIDTH], [row, 0])",
         "pl.slice(x, [TILE_ROWS, WIDTH], [0, 0])"),
        ("blocks take rows half a tile apart", "def one_task", "pl.slice(x, [TILE_ROWS, WIDTH], [row, 0])",
         "pl.slice(x, [TILE_ROWS, WIDTH], [row // 2, 0])"),
    ]),
    *_of("hello.two_tasks", [
        ("the sign is lost", *_TWO, "weighed = pl.mul(pl.maximum(n_tile, pl.neg(n_tile)), 1.0)"),
        ("the weight is left out", *_TWO, "weighed = pl.mul(n_tile, 1.0)"),
        ("numbers are not normed", "def two_tasks", "x_tile = normalize(x_tile)", "x_tile = pl.mul(x_tile, 1.0)"),
    ]),
    *_of("rope_kv_cache.flat", [
        ("the root is left out", "def head_norm", "pl.sqrt(pl.add(mean_square, EPS))", "pl.add(mean_square, EPS)"),
        ("the sign is lost", *_HEAD, "pl.row_expand_mul(pl.maximum(heads, pl.neg(heads)), scale)"),
        ("epsilon is a tenth", "def head_norm", "pl.add(mean_square, EPS)", "pl.add(mean_square, 0.1)"),
        ("the halves are swapped", "def rotate", "return out_lo, out_hi", "return out_hi, out_lo"),
        ("the high half turns the other way", "turned_hi =", "pl.add(", "pl.sub("),
        ("the low half is not turned", "turned_lo =", "pl.col_expand_mul(hi, sin[:, 0:HALF_DIM])",
         "pl.col_expand_mul(hi, pl.mul(sin[:, 0:HALF_DIM], 0.0))"),
        ("K's weight for Q", "def whole_head", "head_norm(q, q_weight)", "head_norm(q, k_weight)"),
        ("Q's weight for K", "def whole_head", "head_norm(k, k_weight)", "head_norm(k, q_weight)"),
        ("the angle of the position before", "def flat", "pl.slice(rope_cos, [1, HEAD_DIM], [pos, 0])",
         "pl.slice(rope_cos, [1, HEAD_DIM], [pl.max(pos - 1, 0), 0])"),
        ("V is halved", "def whole_head", "pl.slice(v_heads, [1, HEAD_DIM], [head, 0])",
         "pl.mul(pl.slice(v_heads, [1, HEAD_DIM], [head, 0]), 0.5)"),
    ]),
    *_of("flash_attention.flat", [
        ("the first result is not rescaled", "def joined", "pl.row_expand_mul(o_a, scale_a)", "o_a"),
        ("the second result is not rescaled", "def joined", "pl.row_expand_mul(o_b, scale_b)", "o_b"),
        ("the first sum is not rescaled", "def joined", "pl.mul(total_a, scale_a)", "total_a"),
        ("both get the first one's scale", "def joined", "pl.exp(pl.sub(top_b, top))", "pl.exp(pl.sub(top_a, top))"),
        ("the sign is lost", *_OUT, f"{_OUT[1]}\n    attention = pl.maximum(attention, pl.neg(attention))"),
        ("negative numbers become zero", *_OUT, f"{_OUT[1]}\n    attention = pl.maximum(attention, 0.0)"),
        ("a twentieth is added", *_OUT, f"{_OUT[1]}\n    attention = pl.add(attention, 0.05)"),
        ("the largest weight in place of their sum", "def page_softmax", "pl.row_sum(exponentials)",
         "pl.row_max(exponentials)"),
        ("scores are scaled twice", "def page_softmax", "pl.mul(scores, SCALE)", "pl.mul(scores, SCALE * SCALE)"),
        ("exponentials of what is not below zero", "def page_softmax", "pl.exp(pl.row_expand_sub(scaled, top))",
         "pl.exp(pl.mul(pl.row_expand_sub(scaled, top), 0.5))"),
        ("the merge takes every second page", "def merge_head", "pl.range(1, pages)", "pl.range(1, pages, 2)"),
    ]),
    *_of("mlp.mixed", [
        ("no sigmoid", *_ACTIVATED, "pl.mul(gate, up)"),
        ("the sigmoid alone", *_ACTIVATED, "pl.mul(sigmoid, up)"),
        ("the sign of the gate is lost", *_ACTIVATED, "pl.mul(pl.mul(pl.maximum(gate, pl.neg(gate)), sigmoid), up)"),
        ("the sigmoid of the negative", "def gate_up_silu", "pl.exp(pl.neg(gate))", "pl.exp(gate)"),
        ("the residual is left out", *_RESULT, "result = pl.mul(acc, 1.0)"),
        ("the product is left out", *_RESULT, "result = pl.add(pl.slice(resid, [BATCH, WIDE_N], [0, d0]), 0.0)"),
        ("the sign is lost", *_RESULT, f"{_RESULT[1]}\n        result = pl.maximum(result, pl.neg(result))"),
        ("negative numbers become zero", *_RESULT, f"{_RESULT[1]}\n        result = pl.maximum(result, 0.0)"),
        ("half of the hidden columns are summed", "def down_proj_residual", "pl.pipeline(inter // WIDE_K,",
         "pl.pipeline(inter // WIDE_K // 2,"),
        ("the first half of the residual twice", "def down_proj_residual", "pl.slice(resid, [BATCH, WIDE_N], [0, d0])",
         "pl.slice(resid, [BATCH, WIDE_N], [0, d0 // 2])"),
    ]),
)  # fmt: skip
