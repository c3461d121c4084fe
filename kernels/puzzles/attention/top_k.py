"""Puzzle top_k: the sixteen largest of each row, and where they are."""

import pypto.language as pl

ROWS_DYN = pl.dynamic("ROWS_DYN")
WIDTH = 512
TOP = 16


@pl.jit
def stub(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    values: pl.Out[pl.Tensor[[ROWS_DYN, TOP], pl.FP32]],
    places: pl.Out[pl.Tensor[[ROWS_DYN, TOP], pl.INT32]],
):
    """The TOP largest elements of each row, largest first, and their columns."""
    for r in pl.spmd(pl.tensor.dim(x, 0), name_hint="top_k"):
        row = pl.slice(x, [1, WIDTH], [r, 0])
        columns = pl.arange(0, [1, WIDTH], dtype=pl.UINT32)
        pairs = pl.sort32(row, columns)
        # each 32 are sorted; the whole row is not yet
        best = pl.slice(pairs, [1, 2 * TOP], [0, 0])
        values = pl.assemble(values, pl.gather(best, mask_pattern=pl.tile.MaskPattern.P0101), [r, 0])
        found = pl.gather(best, mask_pattern=pl.tile.MaskPattern.P1010, output_dtype=pl.INT32)
        places = pl.assemble(places, found, [r, 0])
    return values, places


@pl.jit
def solution(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    values: pl.Out[pl.Tensor[[ROWS_DYN, TOP], pl.FP32]],
    places: pl.Out[pl.Tensor[[ROWS_DYN, TOP], pl.INT32]],
):
    """The TOP largest elements of each row, largest first, and their columns."""
    for r in pl.spmd(pl.tensor.dim(x, 0), name_hint="top_k"):
        row = pl.slice(x, [1, WIDTH], [r, 0])
        columns = pl.arange(0, [1, WIDTH], dtype=pl.UINT32)
        pairs = pl.sort32(row, columns)
        pairs = pl.mrgsort(pairs, block_len=64)
        pairs = pl.mrgsort(pairs, block_len=256)
        best = pl.slice(pairs, [1, 2 * TOP], [0, 0])
        values = pl.assemble(values, pl.gather(best, mask_pattern=pl.tile.MaskPattern.P0101), [r, 0])
        found = pl.gather(best, mask_pattern=pl.tile.MaskPattern.P1010, output_dtype=pl.INT32)
        places = pl.assemble(places, found, [r, 0])
    return values, places


@pl.jit
def wrong_one_merge(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    values: pl.Out[pl.Tensor[[ROWS_DYN, TOP], pl.FP32]],
    places: pl.Out[pl.Tensor[[ROWS_DYN, TOP], pl.INT32]],
):
    """One merge: runs of 128 are sorted, and the first of four is looked at."""
    for r in pl.spmd(pl.tensor.dim(x, 0), name_hint="top_k"):
        row = pl.slice(x, [1, WIDTH], [r, 0])
        columns = pl.arange(0, [1, WIDTH], dtype=pl.UINT32)
        pairs = pl.mrgsort(pl.sort32(row, columns), block_len=64)
        best = pl.slice(pairs, [1, 2 * TOP], [0, 0])
        values = pl.assemble(values, pl.gather(best, mask_pattern=pl.tile.MaskPattern.P0101), [r, 0])
        found = pl.gather(best, mask_pattern=pl.tile.MaskPattern.P1010, output_dtype=pl.INT32)
        places = pl.assemble(places, found, [r, 0])
    return values, places


@pl.jit
def wrong_length(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    values: pl.Out[pl.Tensor[[ROWS_DYN, TOP], pl.FP32]],
    places: pl.Out[pl.Tensor[[ROWS_DYN, TOP], pl.INT32]],
):
    """A length in pairs, where elements are counted."""
    for r in pl.spmd(pl.tensor.dim(x, 0), name_hint="top_k"):
        row = pl.slice(x, [1, WIDTH], [r, 0])
        columns = pl.arange(0, [1, WIDTH], dtype=pl.UINT32)
        pairs = pl.mrgsort(pl.sort32(row, columns), block_len=32)
        best = pl.slice(pairs, [1, 2 * TOP], [0, 0])
        values = pl.assemble(values, pl.gather(best, mask_pattern=pl.tile.MaskPattern.P0101), [r, 0])
        found = pl.gather(best, mask_pattern=pl.tile.MaskPattern.P1010, output_dtype=pl.INT32)
        places = pl.assemble(places, found, [r, 0])
    return values, places
