"""__NAME__: each row of x divided by its root mean square, times a weight.

    y[r, c] = x[r, c] / sqrt(mean(x[r, :]^2) + EPS) * weight[c]

Steps: `naive`, two launches with the rows' factors in global memory between them; `fused`, one launch, in which a row's
factor stays on chip.
"""

import pypto.language as pl

ROWS = 128
WIDTH = 512
TILE = 16  # rows of a tile: a block's share
EPS = 1e-6


@pl.jit
def naive(
    x: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    weight: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
):
    """Two launches: the factor of every row, then the rows times their factors."""
    factors = pl.create_tensor([ROWS, 8], dtype=pl.FP32)  # 8 columns: a row of a tile is at least 32 bytes
    for b in pl.spmd(ROWS // TILE, name_hint="factor"):
        rows = x[b * TILE : b * TILE + TILE, :]
        mean = pl.mul(pl.row_sum(pl.mul(rows, rows)), 1.0 / WIDTH)
        factor = pl.rsqrt(pl.add(mean, EPS))
        factors[b * TILE : b * TILE + TILE, :] = pl.row_expand_mul(pl.full([TILE, 8], dtype=pl.FP32, value=1.0), factor)
    for b in pl.spmd(ROWS // TILE, name_hint="scale"):
        rows = x[b * TILE : b * TILE + TILE, :]
        factor = pl.row_max(factors[b * TILE : b * TILE + TILE, :])
        y[b * TILE : b * TILE + TILE, :] = pl.col_expand_mul(pl.row_expand_mul(rows, factor), weight[:, :])
    return y


@pl.jit
def fused(
    x: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    weight: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
):
    """One launch: x is read once, and no factor goes through global memory."""
    for b in pl.spmd(ROWS // TILE, name_hint="rms_norm"):
        rows = x[b * TILE : b * TILE + TILE, :]
        mean = pl.mul(pl.row_sum(pl.mul(rows, rows)), 1.0 / WIDTH)
        factor = pl.rsqrt(pl.add(mean, EPS))
        y[b * TILE : b * TILE + TILE, :] = pl.col_expand_mul(pl.row_expand_mul(rows, factor), weight[:, :])
    return y
