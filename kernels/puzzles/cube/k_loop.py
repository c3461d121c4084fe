"""Puzzle k_loop: c = a @ b, a sum over a long K."""

import pypto.language as pl

K_DYN = pl.dynamic("K_DYN")
M = 16
N = 128
TILE_K = 64


@pl.jit
def stub(
    a: pl.Tensor[[M, K_DYN], pl.BF16],
    b: pl.Tensor[[K_DYN, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """c = a @ b; K is a multiple of TILE_K."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        left = pl.slice(a, [M, TILE_K], [0, 0])
        right = pl.slice(b, [TILE_K, N], [0, 0])
        acc = pl.matmul(left, right, out_dtype=pl.FP32)
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
        left = pl.slice(a, [M, TILE_K], [0, 0])
        right = pl.slice(b, [TILE_K, N], [0, 0])
        acc = pl.matmul(left, right, out_dtype=pl.FP32)
        for k in pl.range(1, steps):
            left_k = pl.slice(a, [M, TILE_K], [0, k * TILE_K])
            right_k = pl.slice(b, [TILE_K, N], [k * TILE_K, 0])
            acc = pl.matmul_acc(acc, left_k, right_k)
        c = pl.assemble(c, acc, [0, 0])
    return c


@pl.jit
def wrong_twice(
    a: pl.Tensor[[M, K_DYN], pl.BF16],
    b: pl.Tensor[[K_DYN, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """The loop begins at 0, so the first step counts twice."""
    steps = pl.tensor.dim(a, 1) // TILE_K
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        left = pl.slice(a, [M, TILE_K], [0, 0])
        right = pl.slice(b, [TILE_K, N], [0, 0])
        acc = pl.matmul(left, right, out_dtype=pl.FP32)
        for k in pl.range(steps):
            left_k = pl.slice(a, [M, TILE_K], [0, k * TILE_K])
            right_k = pl.slice(b, [TILE_K, N], [k * TILE_K, 0])
            acc = pl.matmul_acc(acc, left_k, right_k)
        c = pl.assemble(c, acc, [0, 0])
    return c


@pl.jit
def wrong_partial_products(
    a: pl.Tensor[[M, K_DYN], pl.BF16],
    b: pl.Tensor[[K_DYN, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """Each step's product goes through global memory, and a task adds it."""
    steps = pl.tensor.dim(a, 1) // TILE_K
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="zero"):
        c = pl.assemble(c, pl.full([M, N], dtype=pl.FP32, value=0.0), [0, 0])
    for k in pl.range(steps):
        product = pl.create_tensor([M, N], dtype=pl.FP32)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
            left_k = pl.slice(a, [M, TILE_K], [0, k * TILE_K])
            right_k = pl.slice(b, [TILE_K, N], [k * TILE_K, 0])
            product = pl.assemble(product, pl.matmul(left_k, right_k, out_dtype=pl.FP32), [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="add"):
            total = pl.add(pl.slice(c, [M, N], [0, 0]), pl.slice(product, [M, N], [0, 0]))
            c = pl.assemble(c, total, [0, 0])
    return c
