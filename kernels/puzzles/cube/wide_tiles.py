"""Puzzle wide_tiles: tiles of the weights whose rows are worth a load."""

import pypto.language as pl

N_DYN = pl.dynamic("N_DYN")
M = 16
K = 128
TILE_N = 32


@pl.jit
def stub(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N_DYN], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N_DYN], pl.FP32]],
):
    """c = a @ b; N is a multiple of 256."""
    for t in pl.spmd(pl.tensor.dim(b, 1) // TILE_N, name_hint="matmul"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, TILE_N], [0, t * TILE_N])
        c = pl.assemble(c, pl.matmul(left, right, out_dtype=pl.FP32), [0, t * TILE_N])
    return c


WIDE_N = 256


@pl.jit
def solution(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N_DYN], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N_DYN], pl.FP32]],
):
    """c = a @ b; N is a multiple of 256."""
    for t in pl.spmd(pl.tensor.dim(b, 1) // WIDE_N, name_hint="matmul"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, WIDE_N], [0, t * WIDE_N])
        c = pl.assemble(c, pl.matmul(left, right, out_dtype=pl.FP32), [0, t * WIDE_N])
    return c


@pl.jit
def wrong_half_as_wide(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N_DYN], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N_DYN], pl.FP32]],
):
    """Wider, and not wide enough."""
    for t in pl.spmd(pl.tensor.dim(b, 1) // 64, name_hint="matmul"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, 64], [0, t * 64])
        c = pl.assemble(c, pl.matmul(left, right, out_dtype=pl.FP32), [0, t * 64])
    return c


@pl.jit
def wrong_too_wide(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N_DYN], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N_DYN], pl.FP32]],
):
    """Tiles of 512 columns: not every N that is asked for is a multiple."""
    for t in pl.spmd(pl.tensor.dim(b, 1) // 512, name_hint="matmul"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, 512], [0, t * 512])
        c = pl.assemble(c, pl.matmul(left, right, out_dtype=pl.FP32), [0, t * 512])
    return c
