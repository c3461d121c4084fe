"""Kernels that are refused on purpose, to show what the refusal says. Nothing here is to be copied."""

import pypto.language as pl

WIDTH = 512
TILE_ROWS = 16
TALL = 128  # rows: 256 KiB in FP32


@pl.jit
def augmented(
    x: pl.Tensor[[TILE_ROWS, WIDTH], pl.FP32],
    out: pl.Out[pl.Tensor[[TILE_ROWS, WIDTH], pl.FP32]],
):
    """Doubles x, with an assignment that Python has and the language has not."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="times2"):
        tile = pl.slice(x, [TILE_ROWS, WIDTH], [0, 0])
        tile *= 2.0
        out = pl.assemble(out, tile, [0, 0])
    return out


@pl.jit
def too_tall(
    x: pl.Tensor[[TALL, WIDTH], pl.FP32],
    out: pl.Out[pl.Tensor[[TALL, WIDTH], pl.FP32]],
):
    """Doubles x, in one tile that is larger than the vector buffer of any chip."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="times2"):
        tile = pl.slice(x, [TALL, WIDTH], [0, 0])
        out = pl.assemble(out, pl.mul(tile, 2.0), [0, 0])
    return out
