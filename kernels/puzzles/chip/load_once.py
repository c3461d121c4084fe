"""Puzzle load_once: what all turns of a loop need is loaded before it."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
WIDTH = 256
TILE = 16
BLOCKS = 8


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[TILE, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = x + w, with w added to each tile of 16 rows."""
    tiles = pl.tensor.dim(x, 0) // TILE
    for block in pl.spmd(BLOCKS, name_hint="add"):
        for t in pl.range(block, tiles, BLOCKS):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            more = pl.slice(w, [TILE, WIDTH], [0, 0])
            y = pl.assemble(y, pl.add(tile, more), [t * TILE, 0])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[TILE, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = x + w, with w added to each tile of 16 rows."""
    tiles = pl.tensor.dim(x, 0) // TILE
    for block in pl.spmd(BLOCKS, name_hint="add"):
        more = pl.slice(w, [TILE, WIDTH], [0, 0])
        for t in pl.range(block, tiles, BLOCKS):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            y = pl.assemble(y, pl.add(tile, more), [t * TILE, 0])
    return y


@pl.jit
def wrong_pipeline(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[TILE, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Loads that run ahead are still loads."""
    tiles = pl.tensor.dim(x, 0) // TILE
    for block in pl.spmd(BLOCKS, name_hint="add"):
        for t in pl.pipeline(block, tiles, BLOCKS, stage=2):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            more = pl.slice(w, [TILE, WIDTH], [0, 0])
            y = pl.assemble(y, pl.add(tile, more), [t * TILE, 0])
    return y


@pl.jit
def wrong_doubled(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    w: pl.Tensor[[TILE, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """The sum takes the place of w, which grows from turn to turn."""
    tiles = pl.tensor.dim(x, 0) // TILE
    for block in pl.spmd(BLOCKS, name_hint="add"):
        more = pl.slice(w, [TILE, WIDTH], [0, 0])
        for t in pl.range(block, tiles, BLOCKS):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            more = pl.add(tile, more)
            y = pl.assemble(y, more, [t * TILE, 0])
    return y
