"""Puzzle matmul_tile: c = a @ b, one tile."""

import pypto.language as pl

M = 16
K = 64
N = 32


@pl.jit
def stub(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """c = a @ b."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        left = pl.slice(a, [M, K], [0, 0])  # noqa: F841
        right = pl.slice(b, [K, N], [0, 0])  # noqa: F841
        # multiply them, and store the product into c
    return c


@pl.jit
def solution(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """c = a @ b."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, N], [0, 0])
        c = pl.assemble(c, pl.matmul(left, right, out_dtype=pl.FP32), [0, 0])
    return c


@pl.jit
def wrong_elements(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """The product of elements."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, N], [0, 0])
        c = pl.assemble(c, pl.mul(left, right), [0, 0])
    return c


@pl.jit
def wrong_type(
    a: pl.Tensor[[M, K], pl.BF16],
    b: pl.Tensor[[K, N], pl.BF16],
    c: pl.Out[pl.Tensor[[M, N], pl.FP32]],
):
    """The sum is rounded to BF16 before it is stored."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="matmul"):
        left = pl.slice(a, [M, K], [0, 0])
        right = pl.slice(b, [K, N], [0, 0])
        product = pl.cast(pl.matmul(left, right, out_dtype=pl.FP32), target_type=pl.BF16, mode="rint")
        c = pl.assemble(c, pl.cast(product, target_type=pl.FP32), [0, 0])
    return c
