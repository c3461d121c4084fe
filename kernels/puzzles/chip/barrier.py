"""Puzzle barrier: two phases of one launch."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
WIDTH = 64
TILE = 16


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = exp(x), tiles in reverse order, by way of scratch."""
    rows = pl.tensor.dim(x, 0)
    tiles = rows // TILE
    scratch = pl.create_tensor([rows, WIDTH], dtype=pl.FP32)
    with pl.spmd(pl.system.available_aiv_count(), name_hint="phases") as _done:
        core = pl.get_block_idx()
        cores = pl.get_block_num()
        for t in pl.range(core, tiles, cores):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            scratch = pl.assemble(scratch, pl.exp(tile), [t * TILE, 0])
        # here every block has to wait for all others
        for u in pl.range(core, tiles, cores):
            other = pl.slice(scratch, [TILE, WIDTH], [(tiles - 1 - u) * TILE, 0])
            y = pl.assemble(y, other, [u * TILE, 0])
    return y


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """y = exp(x), tiles in reverse order, by way of scratch."""
    rows = pl.tensor.dim(x, 0)
    tiles = rows // TILE
    scratch = pl.create_tensor([rows, WIDTH], dtype=pl.FP32)
    with pl.spmd(pl.system.available_aiv_count(), name_hint="phases", sync_start=True) as _done:
        core = pl.get_block_idx()
        cores = pl.get_block_num()
        for t in pl.range(core, tiles, cores):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            scratch = pl.assemble(scratch, pl.exp(tile), [t * TILE, 0])
        pl.system.cacheinvalid()
        pl.system.fence()
        pl.system.syncall(core_type="aiv_only")
        pl.system.cacheinvalid()
        for u in pl.range(core, tiles, cores):
            other = pl.slice(scratch, [TILE, WIDTH], [(tiles - 1 - u) * TILE, 0])
            y = pl.assemble(y, other, [u * TILE, 0])
    return y


@pl.jit
def wrong_waves(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """The barrier is there; nothing says that all blocks start together."""
    rows = pl.tensor.dim(x, 0)
    tiles = rows // TILE
    scratch = pl.create_tensor([rows, WIDTH], dtype=pl.FP32)
    with pl.spmd(pl.system.available_aiv_count(), name_hint="phases") as _done:
        core = pl.get_block_idx()
        cores = pl.get_block_num()
        for t in pl.range(core, tiles, cores):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            scratch = pl.assemble(scratch, pl.exp(tile), [t * TILE, 0])
        pl.system.cacheinvalid()
        pl.system.fence()
        pl.system.syncall(core_type="aiv_only")
        pl.system.cacheinvalid()
        for u in pl.range(core, tiles, cores):
            other = pl.slice(scratch, [TILE, WIDTH], [(tiles - 1 - u) * TILE, 0])
            y = pl.assemble(y, other, [u * TILE, 0])
    return y


@pl.jit
def wrong_count(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """48 blocks: all vector cores of A2/A3, and not all of A5."""
    rows = pl.tensor.dim(x, 0)
    tiles = rows // TILE
    scratch = pl.create_tensor([rows, WIDTH], dtype=pl.FP32)
    with pl.spmd(48, name_hint="phases", sync_start=True) as _done:
        core = pl.get_block_idx()
        cores = pl.get_block_num()
        for t in pl.range(core, tiles, cores):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            scratch = pl.assemble(scratch, pl.exp(tile), [t * TILE, 0])
        pl.system.cacheinvalid()
        pl.system.fence()
        pl.system.syncall(core_type="aiv_only")
        pl.system.cacheinvalid()
        for u in pl.range(core, tiles, cores):
            other = pl.slice(scratch, [TILE, WIDTH], [(tiles - 1 - u) * TILE, 0])
            y = pl.assemble(y, other, [u * TILE, 0])
    return y


@pl.jit
def wrong_two_launches(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32]],
):
    """Right, in two launches: no barrier, and twice the tasks."""
    rows = pl.tensor.dim(x, 0)
    tiles = rows // TILE
    scratch = pl.create_tensor([rows, WIDTH], dtype=pl.FP32)
    with pl.spmd(pl.system.available_aiv_count(), name_hint="phases") as _first:
        core = pl.get_block_idx()
        cores = pl.get_block_num()
        for t in pl.range(core, tiles, cores):
            tile = pl.slice(x, [TILE, WIDTH], [t * TILE, 0])
            scratch = pl.assemble(scratch, pl.exp(tile), [t * TILE, 0])
    with pl.spmd(pl.system.available_aiv_count(), name_hint="mirror") as _second:
        me = pl.get_block_idx()
        for u in pl.range(me, tiles, pl.get_block_num()):
            other = pl.slice(scratch, [TILE, WIDTH], [(tiles - 1 - u) * TILE, 0])
            y = pl.assemble(y, other, [u * TILE, 0])
    return y
