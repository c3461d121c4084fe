"""Puzzle balance_ragged: sequences of all lengths, and the same work for every core."""

import pypto.language as pl

BATCH_DYN = pl.dynamic("BATCH_DYN")
ROWS_DYN = pl.dynamic("ROWS_DYN")
TILE = 16
WIDTH = 512
MOST = 16  # tiles of the longest sequence


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    tiles: pl.Tensor[[BATCH_DYN], pl.INT32],
    y: pl.InOut[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = exp(x) in the first tiles[b] tiles of sequence b, a block for each sequence."""
    batch = pl.tensor.dim(tiles, 0)
    for b in pl.spmd(batch, name_hint="exp"):
        for t in pl.range(pl.tensor.read(tiles, [b])):
            row = (b * MOST + t) * TILE
            y = pl.assemble(y, pl.exp(pl.slice(x, [TILE, WIDTH], [row, 0])), [row, 0])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    tiles: pl.Tensor[[BATCH_DYN], pl.INT32],
    y: pl.InOut[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = exp(x) in the first tiles[b] tiles of sequence b, tiles dealt out to all vector cores."""
    batch = pl.tensor.dim(tiles, 0)
    for block in pl.spmd(pl.system.available_aiv_count(), name_hint="exp"):
        blocks = pl.get_block_num()
        before = 0
        for b in pl.range(batch):
            mine = pl.cast(pl.tensor.read(tiles, [b]), pl.INDEX)
            first = (block + blocks - before % blocks) % blocks
            for t in pl.range(first, mine, blocks):
                row = (b * MOST + t) * TILE
                y = pl.assemble(y, pl.exp(pl.slice(x, [TILE, WIDTH], [row, 0])), [row, 0])
            before = before + mine
    return y


@pl.jit
def wrong_same_first(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    tiles: pl.Tensor[[BATCH_DYN], pl.INT32],
    y: pl.InOut[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Dealt out anew for each sequence, always from core 0 on: the first cores get a tile of every one."""
    batch = pl.tensor.dim(tiles, 0)
    for block in pl.spmd(pl.system.available_aiv_count(), name_hint="exp"):
        blocks = pl.get_block_num()
        for b in pl.range(batch):
            for t in pl.range(block, pl.cast(pl.tensor.read(tiles, [b]), pl.INDEX), blocks):
                row = (b * MOST + t) * TILE
                y = pl.assemble(y, pl.exp(pl.slice(x, [TILE, WIDTH], [row, 0])), [row, 0])
    return y


@pl.jit
def wrong_all_tiles(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    tiles: pl.Tensor[[BATCH_DYN], pl.INT32],
    y: pl.InOut[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Balanced, with work on tiles that no sequence has."""
    batch = pl.tensor.dim(tiles, 0)
    for block in pl.spmd(pl.system.available_aiv_count(), name_hint="exp"):
        for t in pl.range(block, batch * MOST, pl.get_block_num()):
            y = pl.assemble(y, pl.exp(pl.slice(x, [TILE, WIDTH], [t * TILE, 0])), [t * TILE, 0])
    return y


@pl.jit
def wrong_places(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    tiles: pl.Tensor[[BATCH_DYN], pl.INT32],
    y: pl.InOut[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """All places are dealt out, real or not: the blocks of the last places of sequences have nothing to do."""
    batch = pl.tensor.dim(tiles, 0)
    for block in pl.spmd(pl.system.available_aiv_count(), name_hint="exp"):
        for p in pl.range(block, batch * MOST, pl.get_block_num()):
            if p % MOST < pl.cast(pl.tensor.read(tiles, [p // MOST]), pl.INDEX):
                y = pl.assemble(y, pl.exp(pl.slice(x, [TILE, WIDTH], [p * TILE, 0])), [p * TILE, 0])
    return y
