"""Prefill: Qwen3-14B's layers on the tokens of prompts, in three versions, a task a step to a dispatch a step.

Per layer, for the hidden states x of the tokens of one sequence, in order:

    normed = rmsnorm(x); q, k, v = normed @ wq, normed @ wk, normed @ wv
    q, k   = rope(rmsnorm of each head); k and v go to the paged cache
    attn   = causal attention of q over the cache: a token at position p sees positions 0 to p
    resid  = x + attn @ wo
    x      = resid + (silu(rmsnorm(resid) @ w_gate) * (rmsnorm(resid) @ w_up)) @ w_down

A call brings a chunk of each sequence, packed one after the other: rows chunk_offsets[b] to chunk_offsets[b] +
chunk_lens[b] are its tokens at positions seq_lens[b] - chunk_lens[b] to seq_lens[b] - 1. What is before a chunk was
written to the cache by earlier calls, or there is nothing before it. All versions compute the same, for any chunks:

`per_token`  a task a token and step of attention: 58 of them a token, 676 for a tile of 64 tokens
`spmd`       each step one dispatch of a fixed number of blocks, which stride over the work of a tile
`chunked`    tiles of all tokens that there are, whichever sequence they are of: weights are read once for all

Attention goes page by page, as in kernels/flash_attention.py: a page gives o, max and sum, which join those of the
pages before. From `spmd` on, WINDOW tokens go together: a window is the five query heads of a KV head for 16
positions that begin at a multiple of 16, head by head: 80 rows, five tiles of the cube with no row of padding.
A window never crosses a page, so its keys are one run of rows in the cache, and only its last page needs a mask.

Rows that are no tokens are neither loaded nor stored. Widths are not in this file but the head's: the kernels take
them from the tensors, and serve a model of any width that their tiles divide.
"""

import pypto.language as pl

from kernels.qwen3 import (
    EPS,
    HALF_DIM,
    HEAD_DIM,
    HEADS,
    KV_HEADS,
    KV_HIDDEN,
    MAX_CHUNK,
    MAX_PAGES,
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


# `per_token`: phases of a tile, then of a token. The runtime goes by the tensors that it hands to a task: inside a
# `pl.range`, tasks that write one tensor wait for each other, wherever in it they write. So each task is handed
# scratch of its own, or the rows of the whole that it fills, and the task that reads the whole waits for all. Rows:
# PyPTO takes a window of columns that a task writes for a dense tensor. So groups of columns lie below each other. Only
# `out_proj_residual` and `silu`, which are short, write columns of one tensor and wait for each other.


@pl.jit.inline
def tile_projections(
    hidden_states: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, Q_WIDTH], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    q_normed: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_normed: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], pl.FP32],
    row: pl.Scalar[pl.INDEX],
    rows: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Q and K, projected and normed head by head, and V, of one tile; a task for QKV_TILES tiles of the cube."""
    hidden = pl.tensor.dim(input_norm_weight, 1)
    weight_row = layer_idx * hidden
    normed = pl.create_tensor([TILE, hidden], dtype=pl.BF16)
    q_proj = pl.create_tensor([Q_WIDTH // QKV_GROUP * TILE, QKV_GROUP], dtype=pl.FP32)
    k_proj = pl.create_tensor([KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], dtype=pl.FP32)

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="input_rmsnorm"):
        for group in pl.range((rows + NORM_ROWS - 1) // NORM_ROWS):
            first = group * NORM_ROWS
            count = pl.min(NORM_ROWS, rows - first)
            normed = norm_hidden(hidden_states, input_norm_weight, normed, row + first, first, count, layer_idx)

    for group in pl.parallel(Q_WIDTH // QKV_GROUP):
        q_part = pl.slice(q_proj, [TILE, QKV_GROUP], [group * TILE, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="q_proj"):
            for t in pl.range(QKV_TILES):
                n0 = group * QKV_GROUP + t * QKV_N
                q_acc = narrow_product(normed, wq, rows, weight_row, n0)
                q_part = pl.assemble(q_part, q_acc, [0, t * QKV_N])

    for group in pl.parallel(KV_HIDDEN // QKV_GROUP):
        k_part = pl.slice(k_proj, [TILE, QKV_GROUP], [group * TILE, 0])
        v_part = pl.slice(v_proj, [TILE, QKV_GROUP], [group * TILE, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="kv_proj"):
            for t in pl.range(QKV_TILES):
                n0 = group * QKV_GROUP + t * QKV_N
                k_acc = narrow_product(normed, wk, rows, weight_row, n0)
                k_part = pl.assemble(k_part, k_acc, [0, t * QKV_N])
                v_acc = narrow_product(normed, wv, rows, weight_row, n0)
                v_part = pl.assemble(v_part, v_acc, [0, t * QKV_N])

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="q_norm"):
        q_weight = pl.slice(q_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        for item in pl.range(HEADS * ((rows + Q_PAD - 1) // Q_PAD)):
            first = item // HEADS * Q_PAD
            count = pl.min(Q_PAD, rows - first)
            head = item % HEADS
            q_row = head // HEADS_IN_GROUP * TILE + first
            column = head % HEADS_IN_GROUP * HEAD_DIM
            q = pl.slice(q_proj, [Q_PAD, HEAD_DIM], [q_row, column], valid_shape=[count, HEAD_DIM])
            q = head_norm(q, q_weight)
            q_normed = pl.assemble(q_normed, q, [first, head * HEAD_DIM])

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="k_norm"):
        k_weight = pl.slice(k_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        for item in pl.range(KV_HEADS * ((rows + Q_PAD - 1) // Q_PAD)):
            first = item // KV_HEADS * Q_PAD
            count = pl.min(Q_PAD, rows - first)
            head = item % KV_HEADS
            k_row = head // HEADS_IN_GROUP * TILE + first
            column = head % HEADS_IN_GROUP * HEAD_DIM
            k = pl.slice(k_proj, [Q_PAD, HEAD_DIM], [k_row, column], valid_shape=[count, HEAD_DIM])
            k = head_norm(k, k_weight)
            k_normed = pl.assemble(k_normed, k, [first, head * HEAD_DIM])
    return q_normed, k_normed, v_proj


@pl.jit.inline
def rotate_token(
    heads: pl.Tensor[[Q_PAD, HEAD_DIM], pl.FP32],
    cos: pl.Tensor[[1, HEAD_DIM], pl.FP32],
    sin: pl.Tensor[[1, HEAD_DIM], pl.FP32],
):
    """RoPE of heads of one token, element i of the low half with element i of the high half; the halves in BF16."""
    lo = heads[:, 0:HALF_DIM]
    hi = heads[:, HALF_DIM:HEAD_DIM]
    turned_lo = pl.sub(
        pl.col_expand_mul(lo, cos[:, 0:HALF_DIM]),
        pl.col_expand_mul(hi, sin[:, 0:HALF_DIM]),
    )
    turned_hi = pl.add(
        pl.col_expand_mul(hi, cos[:, HALF_DIM:HEAD_DIM]),
        pl.col_expand_mul(lo, sin[:, HALF_DIM:HEAD_DIM]),
    )
    out_lo = pl.cast(turned_lo, target_type=pl.BF16, mode="rint")
    out_hi = pl.cast(turned_hi, target_type=pl.BF16, mode="rint")
    return out_lo, out_hi


@pl.jit.inline
def token_attention(
    q_normed: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_normed: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    attn: pl.Tensor[[TILE, Q_WIDTH], pl.BF16],
    b: pl.Scalar[pl.INDEX],
    t: pl.Scalar[pl.INDEX],
    pos: pl.Scalar[pl.INDEX],
    slot: pl.Scalar[pl.INDEX],
    layer_row: pl.Scalar[pl.INDEX],
):
    """Token `t` of the tile, at position `pos`: two tasks, then seven for each KV head; its row of `attn`."""
    q_heads = pl.reshape(q_normed, [TILE * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_normed, [TILE * KV_HEADS, HEAD_DIM])
    pages = pos // PAGE + 1
    q_padded = pl.create_tensor([KV_HEADS * Q_PAD, HEAD_DIM], dtype=pl.BF16)

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="q_pad"):
        for kv in pl.range(KV_HEADS):
            q_padded = pl.assemble(q_padded, pl.full([Q_PAD, HEAD_DIM], dtype=pl.BF16, value=0.0), [kv * Q_PAD, 0])

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="rope_kv_cache"):
        cos = pl.slice(rope_cos, [1, HEAD_DIM], [pos, 0])
        sin = pl.slice(rope_sin, [1, HEAD_DIM], [pos, 0])
        for kv in pl.range(KV_HEADS):
            head = t * KV_HEADS + kv
            cache_row = layer_row + (slot // PAGE * KV_HEADS + kv) * PAGE + slot % PAGE
            q = pl.slice(q_heads, [Q_PAD, HEAD_DIM], [head * Q_PER_KV, 0], valid_shape=[Q_PER_KV, HEAD_DIM])
            q_lo, q_hi = rotate_token(q, cos, sin)
            q_padded = pl.assemble(q_padded, q_lo, [kv * Q_PAD, 0])
            q_padded = pl.assemble(q_padded, q_hi, [kv * Q_PAD, HALF_DIM])
            k = pl.slice(k_heads, [Q_PAD, HEAD_DIM], [head, 0], valid_shape=[1, HEAD_DIM])
            k_lo, k_hi = rotate_token(k, cos, sin)
            k_cache = pl.assemble(k_cache, k_lo, [cache_row, 0])
            k_cache = pl.assemble(k_cache, k_hi, [cache_row, HALF_DIM])
            v_row = kv // HEADS_IN_GROUP * TILE + t
            v = pl.slice(v_proj, [1, HEAD_DIM], [v_row, kv % HEADS_IN_GROUP * HEAD_DIM])
            v_cache = pl.assemble(v_cache, pl.cast(v, target_type=pl.BF16, mode="rint"), [cache_row, 0])

    for kv in pl.parallel(KV_HEADS):
        scores = pl.create_tensor([MAX_PAGES * Q_PAD, PAGE], dtype=pl.FP32)
        weights = pl.create_tensor([MAX_PAGES * Q_PAD, PAGE], dtype=pl.BF16)
        o_pages = pl.create_tensor([MAX_PAGES * Q_PAD, HEAD_DIM], dtype=pl.FP32)
        max_pages = pl.create_tensor([MAX_PAGES * Q_PAD, 1], dtype=pl.FP32)
        sum_pages = pl.create_tensor([MAX_PAGES * Q_PAD, 1], dtype=pl.FP32)
        o_all = pl.create_tensor([Q_PAD, HEAD_DIM], dtype=pl.FP32)
        max_all = pl.create_tensor([Q_PAD, 1], dtype=pl.FP32)
        sum_all = pl.create_tensor([Q_PAD, 1], dtype=pl.FP32)
        context = pl.create_tensor([Q_PAD, HEAD_DIM], dtype=pl.BF16)
        attn_part = pl.slice(attn, [1, Q_PER_KV * HEAD_DIM], [t, kv * Q_PER_KV * HEAD_DIM])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="qk"):
            for p in pl.range(pages):
                tokens = pl.min(PAGE, pos + 1 - p * PAGE)
                page = pl.cast(pl.tensor.read(block_table, [b * MAX_PAGES + p]), pl.INDEX)
                k_row = layer_row + (page * KV_HEADS + kv) * PAGE
                q_all = pl.slice(q_padded, [Q_PAD, HEAD_DIM], [kv * Q_PAD, 0])
                k_page = pl.slice(k_cache, [PAGE, HEAD_DIM], [k_row, 0], valid_shape=[tokens, HEAD_DIM])
                s_page = pl.matmul(q_all, k_page, out_dtype=pl.FP32, b_trans=True)
                scores = pl.assemble(scores, s_page, [p * Q_PAD, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
            for p in pl.range(pages):
                tokens = pl.min(PAGE, pos + 1 - p * PAGE)
                s = pl.slice(scores, [Q_PAD, PAGE], [p * Q_PAD, 0], valid_shape=[Q_PAD, tokens])
                s_weights, s_top, s_total = page_softmax(s)
                weights = pl.assemble(weights, s_weights, [p * Q_PAD, 0])
                max_pages = pl.assemble(max_pages, s_top, [p * Q_PAD, 0])
                sum_pages = pl.assemble(sum_pages, s_total, [p * Q_PAD, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="sv"):
            for p in pl.range(pages):
                tokens = pl.min(PAGE, pos + 1 - p * PAGE)
                page = pl.cast(pl.tensor.read(block_table, [b * MAX_PAGES + p]), pl.INDEX)
                v_row = layer_row + (page * KV_HEADS + kv) * PAGE
                w = pl.slice(weights, [Q_PAD, PAGE], [p * Q_PAD, 0], valid_shape=[Q_PAD, tokens])
                v_page = pl.slice(v_cache, [PAGE, HEAD_DIM], [v_row, 0], valid_shape=[tokens, HEAD_DIM])
                o_pages = pl.assemble(o_pages, pl.matmul(w, v_page, out_dtype=pl.FP32), [p * Q_PAD, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="online_softmax_init"):
            o_all = pl.assemble(o_all, pl.full([Q_PAD, HEAD_DIM], dtype=pl.FP32, value=0.0), [0, 0])
            lowest = pl.reshape(pl.full([1, Q_PAD], dtype=pl.FP32, value=LOWEST), [Q_PAD, 1])
            nothing = pl.reshape(pl.full([1, Q_PAD], dtype=pl.FP32, value=0.0), [Q_PAD, 1])
            max_all = pl.assemble(max_all, lowest, [0, 0])
            sum_all = pl.assemble(sum_all, nothing, [0, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="online_softmax"):
            o = pl.slice(o_all, [Q_PAD, HEAD_DIM], [0, 0])
            top = pl.slice(max_all, [Q_PAD, 1], [0, 0])
            total = pl.slice(sum_all, [Q_PAD, 1], [0, 0])
            for p in pl.range(pages):
                o_p = pl.slice(o_pages, [Q_PAD, HEAD_DIM], [p * Q_PAD, 0])
                top_p = pl.slice(max_pages, [Q_PAD, 1], [p * Q_PAD, 0])
                total_p = pl.slice(sum_pages, [Q_PAD, 1], [p * Q_PAD, 0])
                o, top, total = joined(o, top, total, o_p, top_p, total_p)
            o_all = pl.assemble(o_all, o, [0, 0])
            max_all = pl.assemble(max_all, top, [0, 0])
            sum_all = pl.assemble(sum_all, total, [0, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="context"):
            o_end = pl.slice(o_all, [Q_PAD, HEAD_DIM], [0, 0])
            total_end = pl.slice(sum_all, [Q_PAD, 1], [0, 0])
            rows = pl.cast(pl.row_expand_div(o_end, total_end), target_type=pl.BF16, mode="rint")
            context = pl.assemble(context, rows, [0, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="write_back"):
            for i in pl.range(Q_PER_KV):
                c_row = pl.slice(context, [1, HEAD_DIM], [i, 0])
                attn_part = pl.assemble(attn_part, c_row, [0, i * HEAD_DIM])
    return k_cache, v_cache, attn


@pl.jit.inline
def tile_layer_end(
    attn: pl.Tensor[[TILE, Q_WIDTH], pl.BF16],
    hidden_states: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    wo: pl.Tensor[[Q_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    row: pl.Scalar[pl.INDEX],
    rows: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Output projection, norm, MLP, residuals of one tile: a task a tile of the cube, another for what follows it."""
    hidden = pl.tensor.dim(wo, 1)
    inter = pl.tensor.dim(w_gate, 1)
    weight_row = layer_idx * hidden
    wo_row = layer_idx * Q_WIDTH
    down_row = layer_idx * inter
    resid = pl.create_tensor([TILE, hidden], dtype=pl.FP32)
    normed = pl.create_tensor([TILE, hidden], dtype=pl.BF16)
    mlp = pl.create_tensor([TILE, inter], dtype=pl.BF16)

    for ob in pl.parallel(hidden // OUT_N):
        n0 = ob * OUT_N
        projected = pl.create_tensor([TILE, OUT_N], dtype=pl.FP32)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="out_proj"):
            o_acc = narrow_product(attn, wo, rows, wo_row, n0)
            projected = pl.assemble(projected, o_acc, [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="out_proj_residual"):
            x_n = pl.slice(hidden_states, [TILE, OUT_N], [row, n0], valid_shape=[rows, OUT_N])
            o = pl.slice(projected, [TILE, OUT_N], [0, 0], valid_shape=[rows, OUT_N])
            resid = pl.assemble(resid, pl.add(pl.cast(x_n, target_type=pl.FP32), o), [0, n0])

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="post_rmsnorm"):
        for group in pl.range((rows + NORM_ROWS - 1) // NORM_ROWS):
            first = group * NORM_ROWS
            count = pl.min(NORM_ROWS, rows - first)
            normed = norm_resid(resid, post_norm_weight, normed, first, count, layer_idx)

    for ib in pl.parallel(inter // MLP_N):
        n0 = ib * MLP_N
        gate = pl.create_tensor([TILE, MLP_N], dtype=pl.FP32)
        up = pl.create_tensor([TILE, MLP_N], dtype=pl.FP32)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="gate_proj"):
            g_acc = mlp_product(normed, w_gate, rows, weight_row, n0)
            gate = pl.assemble(gate, g_acc, [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="up_proj"):
            u_acc = mlp_product(normed, w_up, rows, weight_row, n0)
            up = pl.assemble(up, u_acc, [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="silu"):
            gate_n = pl.slice(gate, [TILE, MLP_N], [0, 0], valid_shape=[rows, MLP_N])
            sigmoid = pl.recip(pl.add(pl.exp(pl.neg(gate_n)), 1.0))
            up_n = pl.slice(up, [TILE, MLP_N], [0, 0], valid_shape=[rows, MLP_N])
            activated = pl.mul(pl.mul(gate_n, sigmoid), up_n)
            mlp = pl.assemble(mlp, pl.cast(activated, target_type=pl.BF16, mode="rint"), [0, n0])

    for db in pl.parallel(hidden // MLP_N):
        d0 = db * MLP_N
        down = pl.create_tensor([TILE, MLP_N], dtype=pl.FP32)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="down_proj"):
            d_acc = mlp_product(mlp, w_down, rows, down_row, d0)
            down = pl.assemble(down, d_acc, [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="down_proj_residual"):
            r = pl.slice(resid, [TILE, MLP_N], [0, d0], valid_shape=[rows, MLP_N])
            d = pl.slice(down, [TILE, MLP_N], [0, 0], valid_shape=[rows, MLP_N])
            result = pl.cast(pl.add(r, d), target_type=pl.BF16, mode="rint")
            hidden_states = pl.assemble(hidden_states, result, [row, d0])
    return hidden_states


# `spmd` and `chunked`: steps, each one dispatch, of any number of tokens.


@pl.jit.inline
def projections(
    hidden_states: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, Q_WIDTH], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_proj: pl.Tensor[[ROWS_DYN, Q_WIDTH], pl.FP32],
    k_proj: pl.Tensor[[ROWS_DYN, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[ROWS_DYN, KV_HIDDEN], pl.FP32],
    row: pl.Scalar[pl.INDEX],
    tokens: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Norm, Q, K and V of `tokens` rows of hidden_states from `row` on, in rows from 0 on."""
    scratch_rows = pl.tensor.dim(q_proj, 0)
    hidden = pl.tensor.dim(input_norm_weight, 1)
    weight_row = layer_idx * hidden
    tiles = (tokens + TILE - 1) // TILE
    q_items = Q_WIDTH // WIDE_N * tiles
    kv_items = KV_HEADS * tiles
    normed = pl.create_tensor([scratch_rows, hidden], dtype=pl.BF16)

    for block in pl.spmd(NORM_BLOCKS, name_hint="input_rmsnorm"):
        for group in pl.range(block, (tokens + NORM_ROWS - 1) // NORM_ROWS, NORM_BLOCKS):
            first = group * NORM_ROWS
            count = pl.min(NORM_ROWS, tokens - first)
            normed = norm_hidden(hidden_states, input_norm_weight, normed, row + first, first, count, layer_idx)

    for block in pl.spmd(Q_BLOCKS, name_hint="q_proj"):
        for item in pl.range(block, q_items, Q_BLOCKS):
            first = item % tiles * TILE
            rows = pl.min(TILE, tokens - first)
            n0 = item // tiles * WIDE_N
            q_acc = wide_product(normed, wq, first, rows, weight_row, n0)
            q_proj = pl.assemble(q_proj, q_acc, [first, n0])

    for block in pl.spmd(KV_BLOCKS, name_hint="kv_proj"):
        for item in pl.range(block, kv_items, KV_BLOCKS):
            first = item % tiles * TILE
            rows = pl.min(TILE, tokens - first)
            n0 = item // tiles * HEAD_DIM
            k_acc = pl.create_tensor([TILE, HEAD_DIM], dtype=pl.FP32)
            v_acc = pl.create_tensor([TILE, HEAD_DIM], dtype=pl.FP32)
            for kb in pl.pipeline(hidden // WIDE_K, stage=2):
                k0 = kb * WIDE_K
                x_k = pl.slice(normed, [TILE, WIDE_K], [first, k0], valid_shape=[rows, WIDE_K])
                wk_k = pl.slice(wk, [WIDE_K, HEAD_DIM], [weight_row + k0, n0])
                k_acc = pl.matmul_acc(k_acc, x_k, wk_k, init_cond=(kb == 0))
                wv_k = pl.slice(wv, [WIDE_K, HEAD_DIM], [weight_row + k0, n0])
                v_acc = pl.matmul_acc(v_acc, x_k, wv_k, init_cond=(kb == 0))
            k_proj = pl.assemble(k_proj, pl.set_validshape(k_acc, rows, HEAD_DIM), [first, n0])
            v_proj = pl.assemble(v_proj, pl.set_validshape(v_acc, rows, HEAD_DIM), [first, n0])
    return q_proj, k_proj, v_proj


@pl.jit.inline
def rotate_tokens(
    heads: pl.Tensor[[WINDOW, HEAD_DIM], pl.FP32],
    cos: pl.Tensor[[WINDOW, HEAD_DIM], pl.FP32],
    sin: pl.Tensor[[WINDOW, HEAD_DIM], pl.FP32],
):
    """RoPE of one head of WINDOW tokens, a row of the tables for each; the halves in BF16, zero where no token is.

    The assembler takes no half of a tile that is valid in part: all are made whole first.
    """
    x = pl.fillpad(heads, pad_value=pl.PadValue.zero)
    c = pl.fillpad(cos, pad_value=pl.PadValue.zero)
    s = pl.fillpad(sin, pad_value=pl.PadValue.zero)
    turned_lo = pl.sub(pl.mul(x[:, 0:HALF_DIM], c[:, 0:HALF_DIM]), pl.mul(x[:, HALF_DIM:], s[:, 0:HALF_DIM]))
    turned_hi = pl.add(pl.mul(x[:, HALF_DIM:], c[:, HALF_DIM:]), pl.mul(x[:, 0:HALF_DIM], s[:, HALF_DIM:]))
    out_lo = pl.cast(turned_lo, target_type=pl.BF16, mode="rint")
    out_hi = pl.cast(turned_hi, target_type=pl.BF16, mode="rint")
    return out_lo, out_hi


@pl.jit.inline
def causal_mask(mask: pl.Tensor[[WINDOW, MASK_N], pl.FP32]):
    """0 where column - PAGE <= row, LOWEST elsewhere: the mask of a window is PAGE columns of it, see `page_phases`."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="causal_mask"):
        mask = pl.assemble(mask, pl.full([WINDOW, MASK_N], dtype=pl.FP32, value=LOWEST), [0, 0])
        for t in pl.range(WINDOW):
            seen = pl.set_validshape(pl.full([1, MASK_N], dtype=pl.FP32, value=0.0), 1, PAGE + 1 + t)
            mask = pl.assemble(mask, seen, [t, 0])
    return mask


@pl.jit.inline
def page_phases(
    q_windows: pl.Tensor[[SCRATCH_ROWS, HEAD_DIM], pl.BF16],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    mask: pl.Tensor[[WINDOW, MASK_N], pl.FP32],
    o_page: pl.Tensor[[SCRATCH_ROWS, HEAD_DIM], pl.FP32],
    max_page: pl.Tensor[[SCRATCH_ROWS, 1], pl.FP32],
    sum_page: pl.Tensor[[SCRATCH_ROWS, 1], pl.FP32],
    b: pl.Scalar[pl.INDEX],
    p: pl.Scalar[pl.INDEX],
    windows: pl.Scalar[pl.INDEX],
    base: pl.Scalar[pl.INDEX],
    start: pl.Scalar[pl.INDEX],
    end: pl.Scalar[pl.INDEX],
    layer_row: pl.Scalar[pl.INDEX],
):
    """What page `p` of sequence `b` alone gives for every window that sees it: o, max and sum of each row.

    Of `windows` windows, the first is number `base` of its sequence; those from PAGE_WINDOWS * p on see the page.
    """
    skipped = pl.max(0, p * PAGE_WINDOWS - base)
    seeing = windows - skipped
    items = KV_HEADS * seeing
    tokens = pl.min(PAGE, end - p * PAGE)
    scores = pl.create_tensor([SCRATCH_ROWS, PAGE], dtype=pl.FP32)
    weights = pl.create_tensor([SCRATCH_ROWS, PAGE], dtype=pl.BF16)

    for block in pl.spmd(ATTENTION_BLOCKS, name_hint="qk"):
        page = pl.cast(pl.tensor.read(block_table, [b * MAX_PAGES + p]), pl.INDEX)
        for item in pl.range(block, items, ATTENTION_BLOCKS):
            kv = item // seeing
            w_row = (kv * windows + skipped + item % seeing) * WINDOW_ROWS
            k_row = layer_row + (page * KV_HEADS + kv) * PAGE
            q = pl.slice(q_windows, [WINDOW_ROWS, HEAD_DIM], [w_row, 0])
            k = pl.slice(k_cache, [PAGE, HEAD_DIM], [k_row, 0], valid_shape=[tokens, HEAD_DIM])
            scores = pl.assemble(scores, pl.matmul(q, k, out_dtype=pl.FP32, b_trans=True), [w_row, 0])

    for block in pl.spmd(ATTENTION_BLOCKS, name_hint="softmax"):
        for item in pl.range(block, items, ATTENTION_BLOCKS):
            w = skipped + item % seeing
            w_row = (item // seeing * windows + w) * WINDOW_ROWS
            first = pl.max(start, (base + w) * WINDOW)
            into = pl.min(PAGE - 1, first - p * PAGE)
            hidden_later = pl.slice(mask, [WINDOW, PAGE], [0, PAGE - into])
            for i in pl.pipeline(Q_PER_KV, stage=2):
                row = w_row + i * WINDOW
                s = pl.slice(scores, [WINDOW, PAGE], [row, 0], valid_shape=[WINDOW, tokens])
                s_weights, s_top, s_total = masked_softmax(s, hidden_later)
                weights = pl.assemble(weights, s_weights, [row, 0])
                max_page = pl.assemble(max_page, s_top, [row, 0])
                sum_page = pl.assemble(sum_page, s_total, [row, 0])

    for block in pl.spmd(ATTENTION_BLOCKS, name_hint="sv"):
        page = pl.cast(pl.tensor.read(block_table, [b * MAX_PAGES + p]), pl.INDEX)
        for item in pl.range(block, items, ATTENTION_BLOCKS):
            kv = item // seeing
            w_row = (kv * windows + skipped + item % seeing) * WINDOW_ROWS
            v_row = layer_row + (page * KV_HEADS + kv) * PAGE
            weights_p = pl.slice(weights, [WINDOW_ROWS, PAGE], [w_row, 0], valid_shape=[WINDOW_ROWS, tokens])
            v = pl.slice(v_cache, [PAGE, HEAD_DIM], [v_row, 0], valid_shape=[tokens, HEAD_DIM])
            o_page = pl.assemble(o_page, pl.matmul(weights_p, v, out_dtype=pl.FP32), [w_row, 0])
    return o_page, max_page, sum_page


@pl.jit.inline
def attention(
    q_proj: pl.Tensor[[ROWS_DYN, Q_WIDTH], pl.FP32],
    k_proj: pl.Tensor[[ROWS_DYN, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[ROWS_DYN, KV_HIDDEN], pl.FP32],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[TOKENS_DYN], pl.INT32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    mask: pl.Tensor[[WINDOW, MASK_N], pl.FP32],
    attn: pl.Tensor[[ROWS_DYN, Q_WIDTH], pl.BF16],
    b: pl.Scalar[pl.INDEX],
    start: pl.Scalar[pl.INDEX],
    end: pl.Scalar[pl.INDEX],
    scratch_row: pl.Scalar[pl.INDEX],
    row: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Sequence `b`, positions `start` to `end` - 1: norms, RoPE, K and V to the cache, attention over all pages.

    The first of them has row `scratch_row` in q_proj, k_proj, v_proj and attn, and row `row` in slot_mapping.
    """
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))
    base = start // WINDOW
    windows = (end - 1) // WINDOW - base + 1
    items = KV_HEADS * windows
    q_windows = pl.create_tensor([SCRATCH_ROWS, HEAD_DIM], dtype=pl.BF16)
    o_all = pl.create_tensor([SCRATCH_ROWS, HEAD_DIM], dtype=pl.FP32)
    max_all = pl.create_tensor([SCRATCH_ROWS, 1], dtype=pl.FP32)
    sum_all = pl.create_tensor([SCRATCH_ROWS, 1], dtype=pl.FP32)

    for block in pl.spmd(ROPE_BLOCKS, name_hint="rope_kv_cache"):
        q_weight = pl.slice(q_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        k_weight = pl.slice(k_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        for item in pl.range(block, items, ROPE_BLOCKS):
            kv = item // windows
            w = base + item % windows
            first = pl.max(start, w * WINDOW)
            count = pl.min(end, (w + 1) * WINDOW) - first
            x_row = scratch_row + first - start
            slot = pl.cast(pl.tensor.read(slot_mapping, [row + first - start]), pl.INDEX)
            cache_row = layer_row + (slot // PAGE * KV_HEADS + kv) * PAGE + slot % PAGE
            cos = pl.slice(rope_cos, [WINDOW, HEAD_DIM], [first, 0], valid_shape=[count, HEAD_DIM])
            sin = pl.slice(rope_sin, [WINDOW, HEAD_DIM], [first, 0], valid_shape=[count, HEAD_DIM])

            k = pl.slice(k_proj, [WINDOW, HEAD_DIM], [x_row, kv * HEAD_DIM], valid_shape=[count, HEAD_DIM])
            k = head_norm(k, k_weight)
            k_lo, k_hi = rotate_tokens(k, cos, sin)
            k_cache = pl.assemble(k_cache, pl.set_validshape(k_lo, count, HALF_DIM), [cache_row, 0])
            k_cache = pl.assemble(k_cache, pl.set_validshape(k_hi, count, HALF_DIM), [cache_row, HALF_DIM])
            v = pl.slice(v_proj, [WINDOW, HEAD_DIM], [x_row, kv * HEAD_DIM], valid_shape=[count, HEAD_DIM])
            v_cache = pl.assemble(v_cache, pl.cast(v, target_type=pl.BF16, mode="rint"), [cache_row, 0])
            for i in pl.range(Q_PER_KV):
                column = (kv * Q_PER_KV + i) * HEAD_DIM
                q = pl.slice(q_proj, [WINDOW, HEAD_DIM], [x_row, column], valid_shape=[count, HEAD_DIM])
                q = head_norm(q, q_weight)
                q_lo, q_hi = rotate_tokens(q, cos, sin)
                q_row = item * WINDOW_ROWS + i * WINDOW
                q_windows = pl.assemble(q_windows, q_lo, [q_row, 0])
                q_windows = pl.assemble(q_windows, q_hi, [q_row, HALF_DIM])

    # Every window sees page 0: what that gives is where o, max and sum begin.
    o_all, max_all, sum_all = page_phases(
        q_windows, k_cache, v_cache, block_table, mask, o_all, max_all, sum_all,
        b, 0, windows, base, start, end, layer_row,
    )  # fmt: skip
    for p in pl.range(1, (end + PAGE - 1) // PAGE):
        o_page = pl.create_tensor([SCRATCH_ROWS, HEAD_DIM], dtype=pl.FP32)
        max_page = pl.create_tensor([SCRATCH_ROWS, 1], dtype=pl.FP32)
        sum_page = pl.create_tensor([SCRATCH_ROWS, 1], dtype=pl.FP32)
        o_page, max_page, sum_page = page_phases(
            q_windows, k_cache, v_cache, block_table, mask, o_page, max_page, sum_page,
            b, p, windows, base, start, end, layer_row,
        )  # fmt: skip
        skipped = pl.max(0, p * PAGE_WINDOWS - base)
        seeing = windows - skipped
        for block in pl.spmd(ATTENTION_BLOCKS, name_hint="merge"):
            for item in pl.range(block, KV_HEADS * seeing, ATTENTION_BLOCKS):
                w_row = (item // seeing * windows + skipped + item % seeing) * WINDOW_ROWS
                for i in pl.pipeline(Q_PER_KV, stage=2):
                    m_row = w_row + i * WINDOW
                    o = pl.slice(o_all, [WINDOW, HEAD_DIM], [m_row, 0])
                    top = pl.slice(max_all, [WINDOW, 1], [m_row, 0])
                    total = pl.slice(sum_all, [WINDOW, 1], [m_row, 0])
                    o_p = pl.slice(o_page, [WINDOW, HEAD_DIM], [m_row, 0])
                    top_p = pl.slice(max_page, [WINDOW, 1], [m_row, 0])
                    total_p = pl.slice(sum_page, [WINDOW, 1], [m_row, 0])
                    o, top, total = joined(o, top, total, o_p, top_p, total_p)
                    o_all = pl.assemble(o_all, o, [m_row, 0])
                    max_all = pl.assemble(max_all, top, [m_row, 0])
                    sum_all = pl.assemble(sum_all, total, [m_row, 0])

    for block in pl.spmd(ATTENTION_BLOCKS, name_hint="finalize"):
        for item in pl.range(block, items, ATTENTION_BLOCKS):
            w = base + item % windows
            first = pl.max(start, w * WINDOW)
            count = pl.min(end, (w + 1) * WINDOW) - first
            for i in pl.pipeline(Q_PER_KV, stage=2):
                f_row = item * WINDOW_ROWS + i * WINDOW
                o_end = pl.slice(o_all, [WINDOW, HEAD_DIM], [f_row, 0], valid_shape=[count, HEAD_DIM])
                total_end = pl.slice(sum_all, [WINDOW, 1], [f_row, 0])
                context = pl.cast(pl.row_expand_div(o_end, total_end), target_type=pl.BF16, mode="rint")
                column = (item // windows * Q_PER_KV + i) * HEAD_DIM
                attn = pl.assemble(attn, context, [scratch_row + first - start, column])
    return k_cache, v_cache, attn


@pl.jit.inline
def layer_end(
    attn: pl.Tensor[[ROWS_DYN, Q_WIDTH], pl.BF16],
    hidden_states: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    wo: pl.Tensor[[Q_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    row: pl.Scalar[pl.INDEX],
    tokens: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Output projection, norm, MLP and residuals of `tokens` rows of attn; hidden_states from `row` on."""
    scratch_rows = pl.tensor.dim(attn, 0)
    hidden = pl.tensor.dim(wo, 1)
    inter = pl.tensor.dim(w_gate, 1)
    weight_row = layer_idx * hidden
    wo_row = layer_idx * Q_WIDTH
    down_row = layer_idx * inter
    tiles = (tokens + TILE - 1) // TILE
    hidden_items = hidden // WIDE_N * tiles
    inter_items = inter // WIDE_N * tiles
    parts = (tokens + VECTOR_ROWS - 1) // VECTOR_ROWS  # of the vector work
    projected = pl.create_tensor([scratch_rows, hidden], dtype=pl.FP32)
    resid = pl.create_tensor([scratch_rows, hidden], dtype=pl.FP32)
    normed = pl.create_tensor([scratch_rows, hidden], dtype=pl.BF16)
    gate = pl.create_tensor([scratch_rows, inter], dtype=pl.FP32)
    up = pl.create_tensor([scratch_rows, inter], dtype=pl.FP32)
    mlp = pl.create_tensor([scratch_rows, inter], dtype=pl.BF16)
    down = pl.create_tensor([scratch_rows, hidden], dtype=pl.FP32)

    for block in pl.spmd(OUT_BLOCKS, name_hint="out_proj"):
        for item in pl.range(block, hidden_items, OUT_BLOCKS):
            first = item % tiles * TILE
            rows = pl.min(TILE, tokens - first)
            n0 = item // tiles * WIDE_N
            o_acc = wide_product(attn, wo, first, rows, wo_row, n0)
            projected = pl.assemble(projected, o_acc, [first, n0])

    for block in pl.spmd(OUT_BLOCKS, name_hint="out_proj_residual"):
        for item in pl.range(block, hidden // VECTOR_N * parts, OUT_BLOCKS):
            first = item % parts * VECTOR_ROWS
            rows = pl.min(VECTOR_ROWS, tokens - first)
            n0 = item // parts * VECTOR_N
            x_n = pl.slice(hidden_states, [VECTOR_ROWS, VECTOR_N], [row + first, n0], valid_shape=[rows, VECTOR_N])
            o = pl.slice(projected, [VECTOR_ROWS, VECTOR_N], [first, n0], valid_shape=[rows, VECTOR_N])
            resid = pl.assemble(resid, pl.add(pl.cast(x_n, target_type=pl.FP32), o), [first, n0])

    for block in pl.spmd(NORM_BLOCKS, name_hint="post_rmsnorm"):
        for group in pl.range(block, (tokens + NORM_ROWS - 1) // NORM_ROWS, NORM_BLOCKS):
            first = group * NORM_ROWS
            count = pl.min(NORM_ROWS, tokens - first)
            normed = norm_resid(resid, post_norm_weight, normed, first, count, layer_idx)

    for block in pl.spmd(MLP_BLOCKS, name_hint="gate_up_proj"):
        for item in pl.range(block, inter_items, MLP_BLOCKS):
            first = item % tiles * TILE
            rows = pl.min(TILE, tokens - first)
            n0 = item // tiles * WIDE_N
            g_acc = pl.create_tensor([TILE, WIDE_N], dtype=pl.FP32)
            u_acc = pl.create_tensor([TILE, WIDE_N], dtype=pl.FP32)
            for kb in pl.pipeline(hidden // WIDE_K, stage=2):
                k0 = kb * WIDE_K
                x_k = pl.slice(normed, [TILE, WIDE_K], [first, k0], valid_shape=[rows, WIDE_K])
                gate_k = pl.slice(w_gate, [WIDE_K, WIDE_N], [weight_row + k0, n0])
                g_acc = pl.matmul_acc(g_acc, x_k, gate_k, init_cond=(kb == 0))
                up_k = pl.slice(w_up, [WIDE_K, WIDE_N], [weight_row + k0, n0])
                u_acc = pl.matmul_acc(u_acc, x_k, up_k, init_cond=(kb == 0))
            gate = pl.assemble(gate, pl.set_validshape(g_acc, rows, WIDE_N), [first, n0])
            up = pl.assemble(up, pl.set_validshape(u_acc, rows, WIDE_N), [first, n0])

    for block in pl.spmd(MLP_BLOCKS, name_hint="silu"):
        for item in pl.range(block, inter // VECTOR_N * parts, MLP_BLOCKS):
            first = item % parts * VECTOR_ROWS
            rows = pl.min(VECTOR_ROWS, tokens - first)
            n0 = item // parts * VECTOR_N
            gate_n = pl.slice(gate, [VECTOR_ROWS, VECTOR_N], [first, n0], valid_shape=[rows, VECTOR_N])
            sigmoid = pl.recip(pl.add(pl.exp(pl.neg(gate_n)), 1.0))
            up_n = pl.slice(up, [VECTOR_ROWS, VECTOR_N], [first, n0], valid_shape=[rows, VECTOR_N])
            activated = pl.mul(pl.mul(gate_n, sigmoid), up_n)
            mlp = pl.assemble(mlp, pl.cast(activated, target_type=pl.BF16, mode="rint"), [first, n0])

    for block in pl.spmd(OUT_BLOCKS, name_hint="down_proj"):
        for item in pl.range(block, hidden_items, OUT_BLOCKS):
            first = item % tiles * TILE
            rows = pl.min(TILE, tokens - first)
            n0 = item // tiles * WIDE_N
            d_acc = wide_product(mlp, w_down, first, rows, down_row, n0)
            down = pl.assemble(down, d_acc, [first, n0])

    for block in pl.spmd(OUT_BLOCKS, name_hint="down_proj_residual"):
        for item in pl.range(block, hidden // VECTOR_N * parts, OUT_BLOCKS):
            first = item % parts * VECTOR_ROWS
            rows = pl.min(VECTOR_ROWS, tokens - first)
            n0 = item // parts * VECTOR_N
            r = pl.slice(resid, [VECTOR_ROWS, VECTOR_N], [first, n0], valid_shape=[rows, VECTOR_N])
            d = pl.slice(down, [VECTOR_ROWS, VECTOR_N], [first, n0], valid_shape=[rows, VECTOR_N])
            result = pl.cast(pl.add(r, d), target_type=pl.BF16, mode="rint")
            hidden_states = pl.assemble(hidden_states, result, [row + first, n0])
    return hidden_states


# The versions.


@pl.jit
def per_token(
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, Q_WIDTH], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    wo: pl.Tensor[[Q_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    chunk_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    chunk_offsets: pl.Tensor[[BATCH_DYN], pl.INT32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[TOKENS_DYN], pl.INT32],
    k_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    v_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    hidden_states: pl.InOut[pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16]],
):
    """58 tasks a token, 676 a tile: 8,776 a layer of 128 tokens at Qwen3-14B's widths.

    The idea: write prefill as decode, a token at a time, each phase of each KV head a task. It is the version to
    check the others against, and what PR 662 of hw-native-sys/pypto-lib found: the projections go 64 tokens at a
    time, but then every token pays seven dispatches for each of its eight KV heads, for products of 16 rows, five
    of them real. All of them see the same keys.
    """
    layers = pl.tensor.dim(input_norm_weight, 0)
    for layer_idx in pl.range(layers):
        layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // layers)
        for b in pl.range(pl.tensor.dim(seq_lens, 0)):
            chunk = pl.cast(pl.tensor.read(chunk_lens, [b]), pl.INDEX)
            start = pl.cast(pl.tensor.read(seq_lens, [b]), pl.INDEX) - chunk
            for tile in pl.range((chunk + TILE - 1) // TILE):
                rows = pl.min(TILE, chunk - tile * TILE)
                row = pl.cast(pl.tensor.read(chunk_offsets, [b]), pl.INDEX) + tile * TILE
                q_normed = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.FP32)
                k_normed = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                v_proj = pl.create_tensor([KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], dtype=pl.FP32)
                attn = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.BF16)
                q_normed, k_normed, v_proj = tile_projections(
                    hidden_states, input_norm_weight, wq, wk, wv, q_norm_weight, k_norm_weight,
                    q_normed, k_normed, v_proj, row, rows, layer_idx,
                )  # fmt: skip
                for t in pl.range(rows):
                    slot = pl.cast(pl.tensor.read(slot_mapping, [row + t]), pl.INDEX)
                    k_cache, v_cache, attn = token_attention(
                        q_normed, k_normed, v_proj, rope_cos, rope_sin, block_table, k_cache, v_cache, attn,
                        b, t, start + tile * TILE + t, slot, layer_row,
                    )  # fmt: skip
                hidden_states = tile_layer_end(
                    attn, hidden_states, wo, post_norm_weight, w_gate, w_up, w_down, row, rows, layer_idx
                )
    return k_cache, v_cache, hidden_states


@pl.jit
def spmd(
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, Q_WIDTH], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    wo: pl.Tensor[[Q_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    chunk_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    chunk_offsets: pl.Tensor[[BATCH_DYN], pl.INT32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[TOKENS_DYN], pl.INT32],
    k_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    v_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    hidden_states: pl.InOut[pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16]],
):
    """Every step of a tile one dispatch: 252 tasks for a tile in a sequence's first page, 64 more for each other page.

    The idea: give a dispatch a fixed number of blocks, as many as keep the cores busy, and let each block stride over
    the work items, whatever their number. Attention is cut into windows of 16 tokens, so that keys are loaded and
    multiplied for all of them at once; their running o, max and sum lie in scratch, and every further page is merged
    into them, however many there are. Loads run ahead of products (`pl.pipeline`).
    """
    layers = pl.tensor.dim(input_norm_weight, 0)
    mask = pl.create_tensor([WINDOW, MASK_N], dtype=pl.FP32)
    mask = causal_mask(mask)
    for layer_idx in pl.range(layers):
        for b in pl.range(pl.tensor.dim(seq_lens, 0)):
            chunk = pl.cast(pl.tensor.read(chunk_lens, [b]), pl.INDEX)
            first_pos = pl.cast(pl.tensor.read(seq_lens, [b]), pl.INDEX) - chunk
            for tile in pl.range((chunk + TILE - 1) // TILE):
                rows = pl.min(TILE, chunk - tile * TILE)
                row = pl.cast(pl.tensor.read(chunk_offsets, [b]), pl.INDEX) + tile * TILE
                start = first_pos + tile * TILE
                q_proj = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.FP32)
                k_proj = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                v_proj = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                attn = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.BF16)
                q_proj, k_proj, v_proj = projections(
                    hidden_states, input_norm_weight, wq, wk, wv, q_proj, k_proj, v_proj, row, rows, layer_idx
                )
                k_cache, v_cache, attn = attention(
                    q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, rope_cos, rope_sin, block_table,
                    slot_mapping, k_cache, v_cache, mask, attn, b, start, start + rows, 0, row, layer_idx,
                )  # fmt: skip
                hidden_states = layer_end(
                    attn, hidden_states, wo, post_norm_weight, w_gate, w_up, w_down, row, rows, layer_idx
                )
    return k_cache, v_cache, hidden_states


@pl.jit
def chunked(
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, Q_WIDTH], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    wo: pl.Tensor[[Q_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    chunk_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    chunk_offsets: pl.Tensor[[BATCH_DYN], pl.INT32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[TOKENS_DYN], pl.INT32],
    k_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    v_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    hidden_states: pl.InOut[pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16]],
):
    """The steps of `spmd`, each for all tokens of the call: 252 tasks a layer in one sequence's first page.

    The idea: a tile is 64 tokens, of whichever sequence. `spmd` has a tile of its own for the end of each chunk, and
    reads all weights for it: 0.66 GB for a chunk of three tokens. Only attention needs to know whose tokens they are,
    so only attention goes sequence by sequence, over the whole chunk and all of the cache before it. Weights are read
    once for each 64 tokens of the call. That is what makes chunked prefill pay: a server cuts long prompts into
    chunks, so that no prompt holds up the others, and fills each call with chunks of whatever it has.
    """
    layers = pl.tensor.dim(input_norm_weight, 0)
    tokens = pl.tensor.dim(hidden_states, 0)
    mask = pl.create_tensor([WINDOW, MASK_N], dtype=pl.FP32)
    mask = causal_mask(mask)
    for layer_idx in pl.range(layers):
        q_proj = pl.create_tensor([tokens, Q_WIDTH], dtype=pl.FP32)
        k_proj = pl.create_tensor([tokens, KV_HIDDEN], dtype=pl.FP32)
        v_proj = pl.create_tensor([tokens, KV_HIDDEN], dtype=pl.FP32)
        attn = pl.create_tensor([tokens, Q_WIDTH], dtype=pl.BF16)
        q_proj, k_proj, v_proj = projections(
            hidden_states, input_norm_weight, wq, wk, wv, q_proj, k_proj, v_proj, 0, tokens, layer_idx
        )
        for b in pl.range(pl.tensor.dim(seq_lens, 0)):
            row = pl.cast(pl.tensor.read(chunk_offsets, [b]), pl.INDEX)
            end = pl.cast(pl.tensor.read(seq_lens, [b]), pl.INDEX)
            start = end - pl.cast(pl.tensor.read(chunk_lens, [b]), pl.INDEX)
            k_cache, v_cache, attn = attention(
                q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, rope_cos, rope_sin, block_table,
                slot_mapping, k_cache, v_cache, mask, attn, b, start, end, row, row, layer_idx,
            )  # fmt: skip
        hidden_states = layer_end(attn, hidden_states, wo, post_norm_weight, w_gate, w_up, w_down, 0, tokens, layer_idx)
    return k_cache, v_cache, hidden_states
