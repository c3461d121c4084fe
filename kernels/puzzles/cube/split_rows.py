"""Puzzle split_rows: the rows of a product over both vector cores of a core group."""

import pypto.language as pl

M = 64
K = 64
N = 256


@pl.jit
def stub(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """c = exp(a @ b)."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul_exp"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, N], [0, 0])
        c = pl.assemble(c, pl.exp(pl.matmul(left, right, out_dtype=pl.FP32)), [0, 0])
    return c


@pl.jit
def solution(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """c = exp(a @ b)."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul_exp", optimizations=[pl.split(pl.SplitMode.UP_DOWN)]):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, N], [0, 0])
        c = pl.assemble(c, pl.exp(pl.matmul(left, right, out_dtype=pl.FP32)), [0, 0])
    return c


@pl.jit
def wrong_two_halves(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """Two tasks of half the rows: it fits, and loads b twice."""
    for t in pl.spmd(2, name_hint="matmul_exp"):
        left = pl.slice(a, [M // 2, K], [t * (M // 2), 0])
        right = pl.slice(b, [K, N], [0, 0])
        c = pl.assemble(c, pl.exp(pl.matmul(left, right, out_dtype=pl.FP32)), [t * (M // 2), 0])
    return c
