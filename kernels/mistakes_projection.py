"""Defects of projections, MLP and LM head, each beside its repair: pypto-lib pull requests 662, 387, 90 and 391.

`wrong_*` has the defect, `right_*` has not; everything else is the same. Kernels are cut down to what the defect needs.
"""

import pypto.language as pl

from kernels.qwen3 import BATCH, HEAD_DIM

BATCH_DYN = pl.dynamic("BATCH_DYN")

K_TILE = 128
K = 4 * K_TILE
COLUMNS = 512
CHUNK = 128
WIDE = 8192
WIDER = 25600
PIECE = 1024
TILES = 2


@pl.jit
def wrong_peeled(
    a: pl.Tensor[[BATCH, K], pl.BF16],
    b: pl.Tensor[[K, CHUNK], pl.BF16],
    c: pl.Out[pl.Tensor[[BATCH, CHUNK], pl.FP32]],
):
    """a @ b; the first turn is written before the pipeline, so nothing computes while its tiles are loaded."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="product"):
        a_tile = pl.slice(a, [BATCH, K_TILE], [0, 0])
        b_tile = pl.slice(b, [K_TILE, CHUNK], [0, 0])
        acc = pl.matmul(a_tile, b_tile, out_dtype=pl.FP32)
        for k in pl.pipeline(1, K // K_TILE, stage=2):
            a_next = pl.slice(a, [BATCH, K_TILE], [0, k * K_TILE])
            b_next = pl.slice(b, [K_TILE, CHUNK], [k * K_TILE, 0])
            acc = pl.matmul_acc(acc, a_next, b_next)
        c = pl.assemble(c, acc, [0, 0])
    return c


@pl.jit
def right_peeled(
    a: pl.Tensor[[BATCH, K], pl.BF16],
    b: pl.Tensor[[K, CHUNK], pl.BF16],
    c: pl.Out[pl.Tensor[[BATCH, CHUNK], pl.FP32]],
):
    """All turns are in the pipeline; the first one starts the accumulator."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="product"):
        acc = pl.create_tensor([BATCH, CHUNK], dtype=pl.FP32)
        for k in pl.pipeline(K // K_TILE, stage=2):
            a_tile = pl.slice(a, [BATCH, K_TILE], [0, k * K_TILE])
            b_tile = pl.slice(b, [K_TILE, CHUNK], [k * K_TILE, 0])
            acc = pl.matmul_acc(acc, a_tile, b_tile, init_cond=(k == 0))
        c = pl.assemble(c, acc, [0, 0])
    return c


@pl.jit
def rounded(
    a: pl.Tensor[[BATCH, K], pl.BF16],
    b: pl.Tensor[[K, CHUNK], pl.BF16],
    c: pl.Out[pl.Tensor[[BATCH, CHUNK], pl.BF16]],
):
    """silu-free core of an MLP: 2 (a @ b), rounded to BF16 before and after the doubling, as its golden is not."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="product"):
        acc = pl.matmul(pl.slice(a, [BATCH, K], [0, 0]), pl.slice(b, [K, CHUNK], [0, 0]), out_dtype=pl.FP32)
        once = pl.cast(pl.cast(acc, target_type=pl.BF16, mode="rint"), target_type=pl.FP32)
        c = pl.assemble(c, pl.cast(pl.mul(once, 1.1), target_type=pl.BF16, mode="rint"), [0, 0])
    return c


@pl.jit
def wrong_unread(
    x: pl.Tensor[[BATCH, COLUMNS], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, COLUMNS], pl.FP32]],
):
    """Twice x; also its square, the final_normed of the pull request, which nothing reads."""
    squared = pl.create_tensor([BATCH, COLUMNS], dtype=pl.FP32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="times2"):
        tile = pl.slice(x, [BATCH, COLUMNS], [0, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [0, 0])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="square"):
        again = pl.slice(x, [BATCH, COLUMNS], [0, 0])
        squared = pl.assemble(squared, pl.mul(again, again), [0, 0])
    return y


@pl.jit
def right_unread(
    x: pl.Tensor[[BATCH, COLUMNS], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, COLUMNS], pl.FP32]],
):
    """Only what is read is computed."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="times2"):
        tile = pl.slice(x, [BATCH, COLUMNS], [0, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [0, 0])
    return y


@pl.jit
def wrong_first_chunk(
    x: pl.Tensor[[BATCH, COLUMNS], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, COLUMNS], pl.FP32]],
):
    """Twice x in the first chunk of columns; the others are zero, as long as somebody else makes them so."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="single"):
        tile = pl.slice(x, [BATCH, CHUNK], [0, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [0, 0])
    return y


@pl.jit
def right_first_chunk(
    x: pl.Tensor[[BATCH, COLUMNS], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, COLUMNS], pl.FP32]],
):
    """The other chunks are written with zeros."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="single"):
        tile = pl.slice(x, [BATCH, CHUNK], [0, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [0, 0])
        for c in pl.range(1, COLUMNS // CHUNK):
            y = pl.assemble(y, pl.full([BATCH, CHUNK], dtype=pl.FP32, value=0.0), [0, c * CHUNK])
    return y


@pl.jit
def wrong_wide(
    x: pl.Tensor[[BATCH, WIDE], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, WIDE], pl.FP32]],
):
    """Twice x, all 8192 columns of it in one tile: 512 KiB."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="times2"):
        tile = pl.slice(x, [BATCH, WIDE], [0, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [0, 0])
    return y


@pl.jit
def right_wide(
    x: pl.Tensor[[BATCH, WIDE], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, WIDE], pl.FP32]],
):
    """The same in pieces of 64 KiB."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="times2"):
        for c in pl.range(WIDE // PIECE):
            tile = pl.slice(x, [BATCH, PIECE], [0, c * PIECE])
            y = pl.assemble(y, pl.mul(tile, 2.0), [0, c * PIECE])
    return y


@pl.jit
def wrong_wider(
    x: pl.Tensor[[BATCH, WIDER], pl.BF16],
    y: pl.Out[pl.Tensor[[BATCH, WIDER], pl.BF16]],
):
    """A copy of x, all 25600 columns of the MLP in one BF16 tile: 800 KiB."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="copy"):
        tile = pl.slice(x, [BATCH, WIDER], [0, 0])
        y = pl.assemble(y, tile, [0, 0])
    return y


@pl.jit
def right_wider(
    x: pl.Tensor[[BATCH, WIDER], pl.BF16],
    y: pl.Out[pl.Tensor[[BATCH, WIDER], pl.BF16]],
):
    """The same in pieces of 32 KiB."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="copy"):
        for c in pl.range(WIDER // PIECE):
            tile = pl.slice(x, [BATCH, PIECE], [0, c * PIECE])
            y = pl.assemble(y, tile, [0, c * PIECE])
    return y


@pl.jit
def wrong_valid_rows(
    x: pl.Tensor[[TILES * BATCH, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[TILES * BATCH, HEAD_DIM], pl.FP32]],
    batch: pl.Scalar[pl.INT32],
):
    """Twice x, for the rows that are real; a tile that begins after the last real row has a negative number of them."""
    for t in pl.spmd(TILES, name_hint="tile"):
        row = t * BATCH
        rows = pl.cast(pl.min(BATCH, batch - row), pl.INDEX)
        tile = pl.slice(x, [BATCH, HEAD_DIM], [row, 0], valid_shape=[rows, HEAD_DIM])
        y = pl.assemble(y, pl.mul(tile, 2.0), [row, 0])
    return y


@pl.jit
def right_valid_rows(
    x: pl.Tensor[[TILES * BATCH, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[TILES * BATCH, HEAD_DIM], pl.FP32]],
    batch: pl.Scalar[pl.INT32],
):
    """No tile is launched that has no row: a store of none is as undefined as one of a negative number."""
    for t in pl.spmd((batch + BATCH - 1) // BATCH, name_hint="tile"):
        row = t * BATCH
        rows = pl.cast(pl.min(BATCH, batch - row), pl.INDEX)
        tile = pl.slice(x, [BATCH, HEAD_DIM], [row, 0], valid_shape=[rows, HEAD_DIM])
        y = pl.assemble(y, pl.mul(tile, 2.0), [row, 0])
    return y
