"""First kernels: RMSNorm over rows of WIDTH elements, in two tasks for each tile of rows, and in one.

For a row x, in FP32: x / sqrt(mean(x^2) + EPS) * weight, rounded to BF16. The number of rows is a multiple of
TILE_ROWS.
"""

import pypto.language as pl

from kernels.qwen3 import EPS

WIDTH = 512
TILE_ROWS = 16
ROWS_DYN = pl.dynamic("ROWS_DYN")


@pl.jit.inline
def normalize(rows: pl.Tensor[[TILE_ROWS, WIDTH], pl.FP32]):
    """Each row divided by its root mean square."""
    mean_square = pl.mul(pl.row_sum(pl.mul(rows, rows)), 1.0 / WIDTH)
    scale = pl.recip(pl.sqrt(pl.add(mean_square, EPS)))
    normed = pl.row_expand_mul(rows, scale)
    return normed


@pl.jit
def two_tasks(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    weight: pl.Tensor[[1, WIDTH], pl.FP32],
    out: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.BF16]],
):
    """A task to normalize and one to weigh; between them the tile goes out to global memory and back."""
    rows = pl.tensor.dim(x, 0)
    normed = pl.create_tensor([rows, WIDTH], dtype=pl.FP32)
    for tile in pl.parallel(rows // TILE_ROWS):
        row = tile * TILE_ROWS
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="normalize"):
            x_tile = pl.slice(x, [TILE_ROWS, WIDTH], [row, 0])
            x_tile = normalize(x_tile)
            normed = pl.assemble(normed, x_tile, [row, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="weigh"):
            n_tile = pl.slice(normed, [TILE_ROWS, WIDTH], [row, 0])
            w = pl.slice(weight, [1, WIDTH], [0, 0])
            weighed = pl.col_expand_mul(n_tile, w)
            out = pl.assemble(out, pl.cast(weighed, target_type=pl.BF16, mode="rint"), [row, 0])
    return out


@pl.jit
def one_task(
    x: pl.Tensor[[ROWS_DYN, WIDTH], pl.FP32],
    weight: pl.Tensor[[1, WIDTH], pl.FP32],
    out: pl.Out[pl.Tensor[[ROWS_DYN, WIDTH], pl.BF16]],
):
    """Both steps in one task: the tile stays on chip, and one launch has a block for every tile."""
    for tile in pl.spmd(pl.tensor.dim(x, 0) // TILE_ROWS, name_hint="rms_norm"):
        row = tile * TILE_ROWS
        x_tile = pl.slice(x, [TILE_ROWS, WIDTH], [row, 0])
        x_tile = normalize(x_tile)
        w = pl.slice(weight, [1, WIDTH], [0, 0])
        weighed = pl.col_expand_mul(x_tile, w)
        out = pl.assemble(out, pl.cast(weighed, target_type=pl.BF16, mode="rint"), [row, 0])
    return out
