"""What the versions of stage prefill share: tile sizes, blocks of each dispatch, and the math of tiles."""

import pypto.language as pl

from kernels.qwen3 import (
    EPS,
    HEAD_DIM,
    HEADS,
    KV_HEADS,
    MAX_CHUNK,
    PAGE,
    Q_PAD,
    Q_PER_KV,
)

TOKENS_DYN = pl.dynamic("TOKENS_DYN")  # of all chunks
BATCH_DYN = pl.dynamic("BATCH_DYN")
TABLE_DYN = pl.dynamic("TABLE_DYN")  # sequences * MAX_PAGES
LAYERS_DYN = pl.dynamic("LAYERS_DYN")
HIDDEN_DYN = pl.dynamic("HIDDEN_DYN")
INTER_DYN = pl.dynamic("INTER_DYN")
HIDDEN_ROWS_DYN = pl.dynamic("HIDDEN_ROWS_DYN")  # layers * hidden
Q_ROWS_DYN = pl.dynamic("Q_ROWS_DYN")  # layers * Q_WIDTH
INTER_ROWS_DYN = pl.dynamic("INTER_ROWS_DYN")  # layers * intermediate
ROPE_ROWS_DYN = pl.dynamic("ROPE_ROWS_DYN")  # positions that have a cosine and a sine
CACHE_ROWS_DYN = pl.dynamic("CACHE_ROWS_DYN")  # layers * pages * KV_HEADS * PAGE
ROWS_DYN = pl.dynamic("ROWS_DYN")  # of scratch for tokens
X_ROWS_DYN = pl.dynamic("X_ROWS_DYN")  # these four: of any product
DEPTH_DYN = pl.dynamic("DEPTH_DYN")
WEIGHT_ROWS_DYN = pl.dynamic("WEIGHT_ROWS_DYN")
WIDTH_DYN = pl.dynamic("WIDTH_DYN")

SCALE = HEAD_DIM**-0.5
LOWEST = -3.0e38  # below any score; finite, so that scores can be added to it
Q_WIDTH = HEADS * HEAD_DIM
TILE = 64  # tokens of a tile of the projections and of the MLP

# Tiles of `per_token`. Source: PR 662 of hw-native-sys/pypto-lib, before.
TILE_K = 128  # depth of a step of a K-loop
QKV_N, QKV_TILES = 64, 4  # columns of a tile of the Q, K and V projections; tiles that a task makes
QKV_GROUP = QKV_TILES * QKV_N
HEADS_IN_GROUP = QKV_GROUP // HEAD_DIM
OUT_N = 64  # columns of a tile of the output projection
MLP_N = 128  # columns of a tile of gate, up and down
O_ROWS = 8  # rows of a token's five query heads that are stored: a FP32 column is whole 32-byte blocks

# Tiles of `spmd` and `chunked`: rows of 512 bytes, the unit in which memory is read.
WIDE_N = 256
WIDE_K = 128  # with WIDE_N all of L0B
NORM_ROWS, NORM_N = 8, 512  # of an RMSNorm
VECTOR_ROWS, VECTOR_N = 32, 256  # of other vector work on whole rows

# Micro-windows of attention.
WINDOW = 16  # positions
WINDOW_ROWS = Q_PER_KV * WINDOW
PAGE_WINDOWS = PAGE // WINDOW
MASK_N = 2 * PAGE
SCRATCH_ROWS = KV_HEADS * (MAX_CHUNK // WINDOW + 1) * WINDOW_ROWS

# Blocks of each dispatch.
NORM_BLOCKS = 8
Q_BLOCKS = 20
KV_BLOCKS = 8
ROPE_BLOCKS = 16
ATTENTION_BLOCKS = 16
OUT_BLOCKS = 20
MLP_BLOCKS = 24


# The math of tiles, in whatever task it is called.


@pl.jit.inline
def head_norm(
    heads: pl.Tensor[[Q_PAD, HEAD_DIM], pl.FP32],
    weight: pl.Tensor[[1, HEAD_DIM], pl.FP32],
):
    """RMSNorm of each row: heads / sqrt(mean(heads^2) + EPS) * weight, all in FP32."""
    mean_square = pl.mul(pl.row_sum(pl.mul(heads, heads)), 1.0 / HEAD_DIM)
    scale = pl.recip(pl.sqrt(pl.add(mean_square, EPS)))
    normed = pl.col_expand_mul(pl.row_expand_mul(heads, scale), weight)
    return normed


@pl.jit.inline
def page_softmax(scores: pl.Tensor[[Q_PAD, PAGE], pl.FP32]):
    """One page's weights exp(scores * SCALE - max) in BF16, and max and sum of each row. Valid columns only."""
    filled = pl.fillpad(pl.mul(scores, SCALE), pad_value=pl.PadValue.min)
    top = pl.row_max(filled)
    exponentials = pl.exp(pl.row_expand_sub(filled, top))
    total = pl.row_sum(exponentials)
    weights = pl.cast(exponentials, target_type=pl.BF16, mode="rint")
    return weights, top, total


@pl.jit.inline
def masked_softmax(
    scores: pl.Tensor[[WINDOW, PAGE], pl.FP32],
    mask: pl.Tensor[[WINDOW, PAGE], pl.FP32],
):
    """One page's weights exp(scores * SCALE + mask - max) in BF16, and max and sum of each row. Valid columns only."""
    filled = pl.fillpad(pl.add(pl.mul(scores, SCALE), mask), pad_value=pl.PadValue.min)
    top = pl.row_max(filled)
    exponentials = pl.exp(pl.row_expand_sub(filled, top))
    total = pl.row_sum(exponentials)
    weights = pl.cast(exponentials, target_type=pl.BF16, mode="rint")
    return weights, top, total


@pl.jit.inline
def joined(
    o_a: pl.Tensor[[Q_PAD, HEAD_DIM], pl.FP32],
    top_a: pl.Tensor[[Q_PAD, 1], pl.FP32],
    total_a: pl.Tensor[[Q_PAD, 1], pl.FP32],
    o_b: pl.Tensor[[Q_PAD, HEAD_DIM], pl.FP32],
    top_b: pl.Tensor[[Q_PAD, 1], pl.FP32],
    total_b: pl.Tensor[[Q_PAD, 1], pl.FP32],
):
    """Two partial results as one: both brought to the larger max, then added."""
    top = pl.maximum(top_a, top_b)
    scale_a = pl.exp(pl.sub(top_a, top))
    scale_b = pl.exp(pl.sub(top_b, top))
    total = pl.add(pl.mul(total_a, scale_a), pl.mul(total_b, scale_b))
    o = pl.add(pl.row_expand_mul(o_a, scale_a), pl.row_expand_mul(o_b, scale_b))
    return o, top, total


@pl.jit.inline
def norm_hidden(
    x: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    normed: pl.Tensor[[ROWS_DYN, HIDDEN_DYN], pl.BF16],
    x_row: pl.Scalar[pl.INDEX],
    row: pl.Scalar[pl.INDEX],
    rows: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """RMSNorm of up to NORM_ROWS rows of hidden states from row `x_row`, in FP32, rounded to BF16 at `row`."""
    hidden = pl.tensor.dim(norm_weight, 1)
    square_sum = pl.full([1, NORM_ROWS], dtype=pl.FP32, value=0.0)
    for nb in pl.pipeline(hidden // NORM_N, stage=2):
        part = pl.slice(x, [NORM_ROWS, NORM_N], [x_row, nb * NORM_N], valid_shape=[rows, NORM_N])
        part_x = pl.cast(pl.fillpad(part, pad_value=pl.PadValue.zero), target_type=pl.FP32)
        square_sum = pl.add(square_sum, pl.reshape(pl.row_sum(pl.mul(part_x, part_x)), [1, NORM_ROWS]))
    mean_square = pl.div(square_sum, pl.cast(pl.cast(hidden, pl.INT32), pl.FP32))
    scale = pl.reshape(pl.recip(pl.sqrt(pl.add(mean_square, EPS))), [NORM_ROWS, 1])
    for nb in pl.pipeline(hidden // NORM_N, stage=2):
        part = pl.slice(x, [NORM_ROWS, NORM_N], [x_row, nb * NORM_N], valid_shape=[rows, NORM_N])
        weight = pl.slice(norm_weight, [1, NORM_N], [layer_idx, nb * NORM_N])
        part_n = pl.col_expand_mul(pl.row_expand_mul(pl.cast(part, target_type=pl.FP32), scale), weight)
        normed = pl.assemble(normed, pl.cast(part_n, target_type=pl.BF16, mode="rint"), [row, nb * NORM_N])
    return normed


@pl.jit.inline
def norm_resid(
    x: pl.Tensor[[ROWS_DYN, HIDDEN_DYN], pl.FP32],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    normed: pl.Tensor[[ROWS_DYN, HIDDEN_DYN], pl.BF16],
    row: pl.Scalar[pl.INDEX],
    rows: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """RMSNorm of up to NORM_ROWS rows of the FP32 residual, rounded to BF16."""
    hidden = pl.tensor.dim(norm_weight, 1)
    square_sum = pl.full([1, NORM_ROWS], dtype=pl.FP32, value=0.0)
    for nb in pl.pipeline(hidden // NORM_N, stage=2):
        part = pl.slice(x, [NORM_ROWS, NORM_N], [row, nb * NORM_N], valid_shape=[rows, NORM_N])
        part_x = pl.fillpad(part, pad_value=pl.PadValue.zero)
        square_sum = pl.add(square_sum, pl.reshape(pl.row_sum(pl.mul(part_x, part_x)), [1, NORM_ROWS]))
    mean_square = pl.div(square_sum, pl.cast(pl.cast(hidden, pl.INT32), pl.FP32))
    scale = pl.reshape(pl.recip(pl.sqrt(pl.add(mean_square, EPS))), [NORM_ROWS, 1])
    for nb in pl.pipeline(hidden // NORM_N, stage=2):
        part = pl.slice(x, [NORM_ROWS, NORM_N], [row, nb * NORM_N], valid_shape=[rows, NORM_N])
        weight = pl.slice(norm_weight, [1, NORM_N], [layer_idx, nb * NORM_N])
        part_n = pl.col_expand_mul(pl.row_expand_mul(part, scale), weight)
        normed = pl.assemble(normed, pl.cast(part_n, target_type=pl.BF16, mode="rint"), [row, nb * NORM_N])
    return normed


@pl.jit.inline
def narrow_product(
    x: pl.Tensor[[X_ROWS_DYN, DEPTH_DYN], pl.BF16],
    weight: pl.Tensor[[WEIGHT_ROWS_DYN, WIDTH_DYN], pl.BF16],
    rows: pl.Scalar[pl.INDEX],
    weight_row: pl.Scalar[pl.INDEX],
    n0: pl.Scalar[pl.INDEX],
):
    """x[0:rows, :] @ weight[weight_row :, n0 : n0 + QKV_N], steps one after the other."""
    acc = pl.matmul(
        pl.slice(x, [TILE, TILE_K], [0, 0], valid_shape=[rows, TILE_K]),
        pl.slice(weight, [TILE_K, QKV_N], [weight_row, n0]),
        out_dtype=pl.FP32,
    )
    for kb in pl.range(1, pl.tensor.dim(x, 1) // TILE_K):
        x_k = pl.slice(x, [TILE, TILE_K], [0, kb * TILE_K], valid_shape=[rows, TILE_K])
        w_k = pl.slice(weight, [TILE_K, QKV_N], [weight_row + kb * TILE_K, n0])
        acc = pl.matmul_acc(acc, x_k, w_k)
    return acc


@pl.jit.inline
def mlp_product(
    x: pl.Tensor[[X_ROWS_DYN, DEPTH_DYN], pl.BF16],
    weight: pl.Tensor[[WEIGHT_ROWS_DYN, WIDTH_DYN], pl.BF16],
    rows: pl.Scalar[pl.INDEX],
    weight_row: pl.Scalar[pl.INDEX],
    n0: pl.Scalar[pl.INDEX],
):
    """The same for MLP_N columns: extents of tiles are constants, so it takes a function of its own."""
    acc = pl.matmul(
        pl.slice(x, [TILE, TILE_K], [0, 0], valid_shape=[rows, TILE_K]),
        pl.slice(weight, [TILE_K, MLP_N], [weight_row, n0]),
        out_dtype=pl.FP32,
    )
    for kb in pl.range(1, pl.tensor.dim(x, 1) // TILE_K):
        x_k = pl.slice(x, [TILE, TILE_K], [0, kb * TILE_K], valid_shape=[rows, TILE_K])
        w_k = pl.slice(weight, [TILE_K, MLP_N], [weight_row + kb * TILE_K, n0])
        acc = pl.matmul_acc(acc, x_k, w_k)
    return acc


@pl.jit.inline
def wide_product(
    x: pl.Tensor[[X_ROWS_DYN, DEPTH_DYN], pl.BF16],
    weight: pl.Tensor[[WEIGHT_ROWS_DYN, WIDTH_DYN], pl.BF16],
    row: pl.Scalar[pl.INDEX],
    rows: pl.Scalar[pl.INDEX],
    weight_row: pl.Scalar[pl.INDEX],
    n0: pl.Scalar[pl.INDEX],
):
    """x[row : row + rows, :] @ weight[weight_row :, n0 : n0 + WIDE_N]; loads run ahead, the first one too."""
    acc = pl.create_tensor([TILE, WIDE_N], dtype=pl.FP32)
    for kb in pl.pipeline(pl.tensor.dim(x, 1) // WIDE_K, stage=2):
        x_k = pl.slice(x, [TILE, WIDE_K], [row, kb * WIDE_K], valid_shape=[rows, WIDE_K])
        w_k = pl.slice(weight, [WIDE_K, WIDE_N], [weight_row + kb * WIDE_K, n0])
        acc = pl.matmul_acc(acc, x_k, w_k, init_cond=(kb == 0))
    product = pl.set_validshape(acc, rows, WIDE_N)
    return product
