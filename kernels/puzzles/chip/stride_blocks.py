"""Puzzle stride_blocks: a block for each core, and tiles in turn."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
WIDTH = 256
TILE = 16


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = exp(x), a block for each tile."""
    for t in pl.spmd(pl.tensor.dim(x, 0) // TILE, name_hint="exp"):
        tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
        y = pl.assemble(y, pl.exp(tile), [t * TILE, 0])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = exp(x), a block for each vector core."""
    tiles = pl.tensor.dim(x, 0) // TILE
    for block in pl.spmd(pl.system.available_aiv_count(), name_hint="exp"):
        for t in pl.range(block, tiles, pl.get_block_num()):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            y = pl.assemble(y, pl.exp(tile), [t * TILE, 0])
    return y


@pl.jit
def wrong_share(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Equal shares, rounded down: the rest of the division is nobody's."""
    tiles = pl.tensor.dim(x, 0) // TILE
    for block in pl.spmd(pl.system.available_aiv_count(), name_hint="exp"):
        share = tiles // pl.get_block_num()
        for t in pl.range(block * share, block * share + share):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            y = pl.assemble(y, pl.exp(tile), [t * TILE, 0])
    return y


@pl.jit
def wrong_no_stride(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Each block goes on to the last tile, one by one: right numbers, made by many blocks at once."""
    tiles = pl.tensor.dim(x, 0) // TILE
    for block in pl.spmd(pl.system.available_aiv_count(), name_hint="exp"):
        for t in pl.range(block, tiles):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            y = pl.assemble(y, pl.exp(tile), [t * TILE, 0])
    return y


@pl.jit
def wrong_few_blocks(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Eight blocks: fewer tasks than par, and most cores idle."""
    tiles = pl.tensor.dim(x, 0) // TILE
    for block in pl.spmd(8, name_hint="exp"):
        for t in pl.range(block, tiles, 8):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            y = pl.assemble(y, pl.exp(tile), [t * TILE, 0])
    return y
