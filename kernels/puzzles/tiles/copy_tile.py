"""Puzzle copy_tile: y = x, one tile."""

import pypto.language as pl

ROWS = 16
WIDTH = 64


@pl.jit
def stub(
    x: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
):
    """y = x."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="copy"):
        tile = pl.slice(x, [ROWS, WIDTH], [0, 0])  # noqa: F841
        # the tile is on chip now: store it into y
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
):
    """y = x."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="copy"):
        tile = pl.slice(x, [ROWS, WIDTH], [0, 0])
        y = pl.assemble(y, tile, [0, 0])
    return y


@pl.jit
def wrong_half(
    x: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
):
    """Half of the rows."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="copy"):
        tile = pl.slice(x, [ROWS // 2, WIDTH], [0, 0])
        y = pl.assemble(y, tile, [0, 0])
    return y


@pl.jit
def wrong_name(
    x: pl.Tensor[[ROWS, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, WIDTH], pl.FP32]],
):
    """y becomes a name of the tile; nothing is stored."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="copy"):
        y = pl.slice(x, [ROWS, WIDTH], [0, 0])
    return y
