"""A product of square matrices as PTO-ISA's example gemm_performance does it, whose times and pipes are public.

24 cores have a part of C each, in tiles of 128 x 256; K in steps of 256 that L1 holds twice, four products of 64 each.
Source: PTO-ISA, kernels/manual/a2a3/gemm_performance/README.md.
"""

import pypto.language as pl

SIZE = 6144
ROWS, COLS, STEP = 128, 256, 256
DOWN, ACROSS = 4, 6  # parts of C
TILES_DOWN, TILES_ACROSS = SIZE // DOWN // ROWS, SIZE // ACROSS // COLS


@pl.jit
def gemm(
    a: pl.Tensor[[SIZE, SIZE], pl.FP16],
    b: pl.Tensor[[SIZE, SIZE], pl.FP16],
    c: pl.Out[pl.Tensor[[SIZE, SIZE], pl.FP32]],
):
    """c = a @ b^T."""
    for core in pl.spmd(DOWN * ACROSS, name_hint="gemm"):
        for tile in pl.range(TILES_DOWN * TILES_ACROSS):
            row = (core // ACROSS * TILES_DOWN + tile // TILES_ACROSS) * ROWS
            col = (core % ACROSS * TILES_ACROSS + tile % TILES_ACROSS) * COLS
            acc = pl.create_tensor([ROWS, COLS], dtype=pl.FP32)
            for step in pl.pipeline(SIZE // STEP, stage=2):
                x = pl.slice(a, [ROWS, STEP], [row, step * STEP])
                y = pl.slice(b, [COLS, STEP], [col, step * STEP])
                acc = pl.matmul_acc(acc, x, y, b_trans=True, init_cond=(step == 0))
            c[row : row + ROWS, col : col + COLS] = acc
    return c
