"""Puzzle paged_gather: the pages of a sequence, one after the other."""

import pypto.language as pl

CACHE_ROWS_DYN = pl.dynamic("CACHE_ROWS_DYN")
PAGES_DYN = pl.dynamic("PAGES_DYN")
OUT_ROWS_DYN = pl.dynamic("OUT_ROWS_DYN")
PAGE = 16
WIDTH = 64


@pl.jit
def stub(
    cache: pl.Tensor[[CACHE_ROWS_DYN, WIDTH], pl.FP32],
    table: pl.Tensor[[PAGES_DYN], pl.INT32],
    y: pl.Out[pl.Tensor[[OUT_ROWS_DYN, WIDTH], pl.FP32]],
):
    """Page i of y is page table[i] of cache."""
    pages = pl.tensor.dim(table, 0)
    for i in pl.spmd(pages, name_hint="gather"):
        tile = pl.slice(cache, [PAGE, WIDTH], [i * PAGE, 0])
        y = pl.assemble(y, tile, [i * PAGE, 0])
    return y


@pl.jit
def solution(
    cache: pl.Tensor[[CACHE_ROWS_DYN, WIDTH], pl.FP32],
    table: pl.Tensor[[PAGES_DYN], pl.INT32],
    y: pl.Out[pl.Tensor[[OUT_ROWS_DYN, WIDTH], pl.FP32]],
):
    """Page i of y is page table[i] of cache."""
    pages = pl.tensor.dim(table, 0)
    for i in pl.spmd(pages, name_hint="gather"):
        page = pl.tensor.read(table, [i])
        tile = pl.slice(cache, [PAGE, WIDTH], [page * PAGE, 0])
        y = pl.assemble(y, tile, [i * PAGE, 0])
    return y


@pl.jit
def wrong_row(
    cache: pl.Tensor[[CACHE_ROWS_DYN, WIDTH], pl.FP32],
    table: pl.Tensor[[PAGES_DYN], pl.INT32],
    y: pl.Out[pl.Tensor[[OUT_ROWS_DYN, WIDTH], pl.FP32]],
):
    """The number of the page is taken for its first row."""
    pages = pl.tensor.dim(table, 0)
    for i in pl.spmd(pages, name_hint="gather"):
        page = pl.tensor.read(table, [i])
        tile = pl.slice(cache, [PAGE, WIDTH], [page, 0])
        y = pl.assemble(y, tile, [i * PAGE, 0])
    return y


@pl.jit
def wrong_scatter(
    cache: pl.Tensor[[CACHE_ROWS_DYN, WIDTH], pl.FP32],
    table: pl.Tensor[[PAGES_DYN], pl.INT32],
    y: pl.Out[pl.Tensor[[OUT_ROWS_DYN, WIDTH], pl.FP32]],
):
    """The table is applied to where pages go, not to where they come from."""
    pages = pl.tensor.dim(table, 0)
    for i in pl.spmd(pages, name_hint="gather"):
        page = pl.tensor.read(table, [i])
        tile = pl.slice(cache, [PAGE, WIDTH], [i * PAGE, 0])
        y = pl.assemble(y, tile, [page * PAGE, 0])
    return y


@pl.jit
def wrong_page_by_page(
    cache: pl.Tensor[[CACHE_ROWS_DYN, WIDTH], pl.FP32],
    table: pl.Tensor[[PAGES_DYN], pl.INT32],
    y: pl.Out[pl.Tensor[[OUT_ROWS_DYN, WIDTH], pl.FP32]],
):
    """Right, with a block for each page of the cache, which looks for itself in the table."""
    pages = pl.tensor.dim(table, 0)
    for page in pl.spmd(pl.tensor.dim(cache, 0) // PAGE, name_hint="gather"):
        for i in pl.range(pages):
            if pl.cast(pl.tensor.read(table, [i]), pl.INDEX) == page:
                y = pl.assemble(y, pl.slice(cache, [PAGE, WIDTH], [page * PAGE, 0]), [i * PAGE, 0])
    return y
