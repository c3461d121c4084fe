"""Puzzle split_k_atomic: one tile of a product, K over many cubes."""

import pypto.language as pl

M = 16
N = 256
K = 8192
TILE_K = 128
PARTS = 16


@pl.jit
def stub(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """c = a @ b, on one cube."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        acc = pl.create_tensor([M, N], dtype=pl.FP32)
        for k in pl.pipeline(K // TILE_K, stage=2):
            left = pl.slice(a, [M, TILE_K], [0, k * TILE_K])
            right = pl.slice(b, [TILE_K, N], [k * TILE_K, 0])
            acc = pl.matmul_acc(acc, left, right, init_cond=(k == 0))
        c = pl.assemble(c, acc, [0, 0])
    return c


@pl.jit
def solution(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """c = a @ b, PARTS blocks that add up what they have."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="zero"):
        c = pl.assemble(c, pl.full([M, N], dtype=pl.FP32, value=0.0), [0, 0])
    for part in pl.spmd(PARTS, name_hint="matmul"):
        acc = pl.create_tensor([M, N], dtype=pl.FP32)
        for k in pl.pipeline(K // PARTS // TILE_K, stage=2):
            k0 = part * (K // PARTS) + k * TILE_K
            left = pl.slice(a, [M, TILE_K], [0, k0])
            right = pl.slice(b, [TILE_K, N], [k0, 0])
            acc = pl.matmul_acc(acc, left, right, init_cond=(k == 0))
        c = pl.assemble(c, acc, [0, 0], atomic=pl.AtomicType.Add)
    return c


@pl.jit
def wrong_no_zero(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """Added to whatever c held."""
    for part in pl.spmd(PARTS, name_hint="matmul"):
        acc = pl.create_tensor([M, N], dtype=pl.FP32)
        for k in pl.pipeline(K // PARTS // TILE_K, stage=2):
            k0 = part * (K // PARTS) + k * TILE_K
            left = pl.slice(a, [M, TILE_K], [0, k0])
            right = pl.slice(b, [TILE_K, N], [k0, 0])
            acc = pl.matmul_acc(acc, left, right, init_cond=(k == 0))
        c = pl.assemble(c, acc, [0, 0], atomic=pl.AtomicType.Add)
    return c


@pl.jit
def wrong_plain_store(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """Each part stores over what another one has stored."""
    for part in pl.spmd(PARTS, name_hint="matmul"):
        acc = pl.create_tensor([M, N], dtype=pl.FP32)
        for k in pl.pipeline(K // PARTS // TILE_K, stage=2):
            k0 = part * (K // PARTS) + k * TILE_K
            left = pl.slice(a, [M, TILE_K], [0, k0])
            right = pl.slice(b, [TILE_K, N], [k0, 0])
            acc = pl.matmul_acc(acc, left, right, init_cond=(k == 0))
        c = pl.assemble(c, acc, [0, 0])
    return c
