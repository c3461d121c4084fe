"""Puzzle pipeline: a K-loop whose loads run ahead of its products."""

import pypto.language as pl

K_DYN = pl.dynamic("K_DYN")
M = 16
N = 256
TILE_K = 128


@pl.jit
def stub(
    a: pl.Tensor[[M, K_DYN], pl.BF16],
    b: pl.Tensor[[K_DYN, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """c = a @ b; K is a multiple of TILE_K."""
    steps = pl.tensor.dim(a, 1) // TILE_K
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        acc = pl.create_tensor([M, N], dtype=pl.FP32)
        for k in pl.range(steps):
            left = pl.slice(a, [M, TILE_K], [0, k * TILE_K])
            right = pl.slice(b, [TILE_K, N], [k * TILE_K, 0])
            acc = pl.matmul_acc(acc, left, right, init_cond=(k == 0))
        c = pl.assemble(c, acc, [0, 0])
    return c


@pl.jit
def solution(
    a: pl.Tensor[[M, K_DYN], pl.BF16],
    b: pl.Tensor[[K_DYN, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """c = a @ b; K is a multiple of TILE_K."""
    steps = pl.tensor.dim(a, 1) // TILE_K
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        acc = pl.create_tensor([M, N], dtype=pl.FP32)
        for k in pl.pipeline(steps, stage=2):
            left = pl.slice(a, [M, TILE_K], [0, k * TILE_K])
            right = pl.slice(b, [TILE_K, N], [k * TILE_K, 0])
            acc = pl.matmul_acc(acc, left, right, init_cond=(k == 0))
        c = pl.assemble(c, acc, [0, 0])
    return c


@pl.jit
def wrong_unrolled(
    a: pl.Tensor[[M, K_DYN], pl.BF16],
    b: pl.Tensor[[K_DYN, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """Smaller steps in place of a pipeline."""
    steps = pl.tensor.dim(a, 1) // 64
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        acc = pl.create_tensor([M, N], dtype=pl.FP32)
        for k in pl.range(steps):
            left = pl.slice(a, [M, 64], [0, k * 64])
            right = pl.slice(b, [64, N], [k * 64, 0])
            acc = pl.matmul_acc(acc, left, right, init_cond=(k == 0))
        c = pl.assemble(c, acc, [0, 0])
    return c


@pl.jit
def wrong_start(
    a: pl.Tensor[[M, K_DYN], pl.BF16],
    b: pl.Tensor[[K_DYN, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """Nothing says where the sum begins."""
    steps = pl.tensor.dim(a, 1) // TILE_K
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        acc = pl.create_tensor([M, N], dtype=pl.FP32)
        for k in pl.pipeline(steps, stage=2):
            left = pl.slice(a, [M, TILE_K], [0, k * TILE_K])
            right = pl.slice(b, [TILE_K, N], [k * TILE_K, 0])
            acc = pl.matmul_acc(acc, left, right)
        c = pl.assemble(c, acc, [0, 0])
    return c
