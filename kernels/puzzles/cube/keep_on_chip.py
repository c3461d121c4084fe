"""Puzzle keep_on_chip: a product and its epilogue in one task."""

import pypto.language as pl

N_DYN = pl.dynamic("N_DYN")
M = 16
K = 128
TILE_N = 128


@pl.jit
def stub(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N_DYN], pl.BF16],
    bias: pl.Tensor[[1, N_DYN], pl.FP32],
    c: pl.Out[pl.Tensor[[M, N_DYN], pl.FP32]],
):
    """c = a @ b + bias, in two tasks a tile."""
    n = pl.tensor.dim(b, 1)
    product = pl.create_tensor([M, n], dtype=pl.FP32)
    for t in pl.spmd(n // TILE_N, name_hint="matmul"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, TILE_N], [0, t * TILE_N])
        product = pl.assemble(product, pl.matmul(left, right, out_dtype=pl.FP32), [0, t * TILE_N])
    for t in pl.spmd(n // TILE_N, name_hint="add_bias"):
        tile = pl.slice(product, [M, TILE_N], [0, t * TILE_N])
        row = pl.slice(bias, [1, TILE_N], [0, t * TILE_N])
        c = pl.assemble(c, pl.col_expand_add(tile, row), [0, t * TILE_N])
    return c


@pl.jit
def solution(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N_DYN], pl.BF16],
    bias: pl.Tensor[[1, N_DYN], pl.FP32],
    c: pl.Out[pl.Tensor[[M, N_DYN], pl.FP32]],
):
    """c = a @ b + bias, in one task a tile."""
    for t in pl.spmd(pl.tensor.dim(b, 1) // TILE_N, name_hint="matmul_bias"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, TILE_N], [0, t * TILE_N])
        row = pl.slice(bias, [1, TILE_N], [0, t * TILE_N])
        biased = pl.col_expand_add(pl.matmul(left, right, out_dtype=pl.FP32), row)
        c = pl.assemble(c, biased, [0, t * TILE_N])
    return c


@pl.jit
def wrong_first_bias(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N_DYN], pl.BF16],
    bias: pl.Tensor[[1, N_DYN], pl.FP32],
    c: pl.Out[pl.Tensor[[M, N_DYN], pl.FP32]],
):
    """Every tile gets the bias of the first one."""
    for t in pl.spmd(pl.tensor.dim(b, 1) // TILE_N, name_hint="matmul_bias"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, TILE_N], [0, t * TILE_N])
        row = pl.slice(bias, [1, TILE_N], [0, 0])
        biased = pl.col_expand_add(pl.matmul(left, right, out_dtype=pl.FP32), row)
        c = pl.assemble(c, biased, [0, t * TILE_N])
    return c


@pl.jit
def wrong_reread(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N_DYN], pl.BF16],
    bias: pl.Tensor[[1, N_DYN], pl.FP32],
    c: pl.Out[pl.Tensor[[M, N_DYN], pl.FP32]],
):
    """c holds the product first, and a second launch reads it back."""
    n = pl.tensor.dim(b, 1)
    for t in pl.spmd(n // TILE_N, name_hint="matmul"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, TILE_N], [0, t * TILE_N])
        c = pl.assemble(c, pl.matmul(left, right, out_dtype=pl.FP32), [0, t * TILE_N])
    for t in pl.spmd(n // TILE_N, name_hint="add_bias"):
        tile = pl.slice(c, [M, TILE_N], [0, t * TILE_N])
        row = pl.slice(bias, [1, TILE_N], [0, t * TILE_N])
        c = pl.assemble(c, pl.col_expand_add(tile, row), [0, t * TILE_N])
    return c
