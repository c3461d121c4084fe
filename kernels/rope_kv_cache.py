"""RoPE and the paged KV cache, one decode step of one Qwen3-14B layer, in three versions from naive to flat.

For every sequence and every KV head: RMSNorm and RoPE of its five query heads, padded with zeros to the 16
rows of the smallest cube tile; RMSNorm and RoPE of its key head, written to the paged cache; its value head,
written beside the key. The versions compute the same numbers with the same helpers. What changes is where the
work is cut into tasks, hence what travels through global memory and what waits for what:

`naive`         a task for each small step; what a step leaves for the next crosses global memory
`per_sequence`  a task for each sequence; what a step leaves for the next stays in the vector buffer
`flat`          one dispatch with a block for each (sequence, KV head); all of them run side by side

Heads are rows: [BATCH, HEADS * HEAD_DIM] is read as [BATCH * HEADS, HEAD_DIM], which moves nothing. A tile is
Q_PAD rows tall even when it carries five heads or one, and `valid_shape` says how many of them are real: only
those are loaded, computed and stored. It is that tall because the sum over each row makes an FP32 column, and
the vector unit wants a column to fill whole blocks of 32 bytes: a multiple of eight rows. `mode="rint"` is
the rounding torch has, to the nearest, ties to even.
"""

import pypto.language as pl

from kernels.qwen3 import (
    BATCH,
    EPS,
    HALF_DIM,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    KV_HEADS,
    KV_HIDDEN,
    MAX_PAGES,
    PAGE,
    Q_PAD,
    Q_PER_KV,
)

BATCH_DYN = pl.dynamic("BATCH_DYN")  # real sequences, at most BATCH
TABLE_DYN = pl.dynamic("TABLE_DYN")  # real sequences * MAX_PAGES
LAYERS_DYN = pl.dynamic("LAYERS_DYN")
ROPE_ROWS_DYN = pl.dynamic("ROPE_ROWS_DYN")  # positions that have a cosine and a sine
CACHE_ROWS_DYN = pl.dynamic("CACHE_ROWS_DYN")  # layers * pages * KV_HEADS * PAGE
Q_ROWS_DYN = pl.dynamic("Q_ROWS_DYN")  # real sequences * KV_HEADS * Q_PAD


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
def rotate(
    heads: pl.Tensor[[Q_PAD, HEAD_DIM], pl.FP32],
    cos: pl.Tensor[[1, HEAD_DIM], pl.FP32],
    sin: pl.Tensor[[1, HEAD_DIM], pl.FP32],
):
    """RoPE of each row, element i of the low half with element i of the high half; the two halves in BF16."""
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
def whole_head(
    q_heads: pl.Tensor[[BATCH * HEADS, HEAD_DIM], pl.FP32],
    k_heads: pl.Tensor[[BATCH * KV_HEADS, HEAD_DIM], pl.FP32],
    v_heads: pl.Tensor[[BATCH * KV_HEADS, HEAD_DIM], pl.FP32],
    q_weight: pl.Tensor[[1, HEAD_DIM], pl.FP32],
    k_weight: pl.Tensor[[1, HEAD_DIM], pl.FP32],
    cos: pl.Tensor[[1, HEAD_DIM], pl.FP32],
    sin: pl.Tensor[[1, HEAD_DIM], pl.FP32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    q_padded: pl.Tensor[[Q_ROWS_DYN, HEAD_DIM], pl.BF16],
    head: pl.Scalar[pl.INDEX],
    cache_row: pl.Scalar[pl.INDEX],
):
    """The work of one head of one sequence in the caller's task; `head` = sequence * KV_HEADS + KV head."""
    q = pl.slice(q_heads, [Q_PAD, HEAD_DIM], [head * Q_PER_KV, 0], valid_shape=[Q_PER_KV, HEAD_DIM])
    q = head_norm(q, q_weight)
    q_lo, q_hi = rotate(q, cos, sin)
    q_padded = pl.assemble(q_padded, pl.fillpad(q_lo, pad_value=pl.PadValue.zero), [head * Q_PAD, 0])
    q_padded = pl.assemble(q_padded, pl.fillpad(q_hi, pad_value=pl.PadValue.zero), [head * Q_PAD, HALF_DIM])

    k = pl.slice(k_heads, [Q_PAD, HEAD_DIM], [head, 0], valid_shape=[1, HEAD_DIM])
    k = head_norm(k, k_weight)
    k_lo, k_hi = rotate(k, cos, sin)
    k_cache = pl.assemble(k_cache, k_lo, [cache_row, 0])  # the one valid row
    k_cache = pl.assemble(k_cache, k_hi, [cache_row, HALF_DIM])

    v = pl.slice(v_heads, [1, HEAD_DIM], [head, 0])
    v_cache = pl.assemble(v_cache, pl.cast(v, target_type=pl.BF16, mode="rint"), [cache_row, 0])
    return k_cache, v_cache, q_padded


@pl.jit
def naive(
    q_proj: pl.Tensor[[BATCH, HIDDEN], pl.FP32],
    k_proj: pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[BATCH_DYN], pl.INT32],
    k_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    v_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    q_padded: pl.Out[pl.Tensor[[Q_ROWS_DYN, HEAD_DIM], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """A task for each step: six for every (sequence, KV head), 768 at batch 16.

    The idea: write the math down one step after the other and make every step a task. It is the version to
    check the others against. It is slow because a step is a few vector instructions while a task costs a
    dispatch, and because normed and rotated heads are stored to scratch only to be loaded again.
    """
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))

    q_normed = pl.create_tensor([BATCH * HEADS, HEAD_DIM], dtype=pl.FP32)
    q_rotated = pl.create_tensor([BATCH * HEADS, HEAD_DIM], dtype=pl.BF16)
    k_normed = pl.create_tensor([BATCH * KV_HEADS, HEAD_DIM], dtype=pl.FP32)

    for b in pl.parallel(pl.tensor.dim(seq_lens, 0)):
        pos = pl.tensor.read(seq_lens, [b]) - 1
        page = pl.tensor.read(block_table, [b * MAX_PAGES + pos // PAGE])
        offset = pl.tensor.read(slot_mapping, [b]) % PAGE
        for kv in pl.parallel(KV_HEADS):
            head = b * KV_HEADS + kv
            q_head = head * Q_PER_KV
            cache_row = layer_row + (page * KV_HEADS + kv) * PAGE + offset

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="q_norm"):
                q = pl.slice(q_heads, [Q_PAD, HEAD_DIM], [q_head, 0], valid_shape=[Q_PER_KV, HEAD_DIM])
                q_weight = pl.slice(q_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
                q = head_norm(q, q_weight)
                q_normed = pl.assemble(q_normed, q, [q_head, 0])

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="q_rotate"):
                q_in = pl.slice(q_normed, [Q_PAD, HEAD_DIM], [q_head, 0], valid_shape=[Q_PER_KV, HEAD_DIM])
                q_cos = pl.slice(rope_cos, [1, HEAD_DIM], [pos, 0])
                q_sin = pl.slice(rope_sin, [1, HEAD_DIM], [pos, 0])
                q_lo, q_hi = rotate(q_in, q_cos, q_sin)
                q_rotated = pl.assemble(q_rotated, q_lo, [q_head, 0])
                q_rotated = pl.assemble(q_rotated, q_hi, [q_head, HALF_DIM])

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="q_pad"):
                q_rows = pl.slice(q_rotated, [Q_PAD, HEAD_DIM], [q_head, 0], valid_shape=[Q_PER_KV, HEAD_DIM])
                q_tile = pl.fillpad(q_rows, pad_value=pl.PadValue.zero)
                q_padded = pl.assemble(q_padded, q_tile, [head * Q_PAD, 0])

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="k_norm"):
                k = pl.slice(k_heads, [Q_PAD, HEAD_DIM], [head, 0], valid_shape=[1, HEAD_DIM])
                k_weight = pl.slice(k_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
                k = head_norm(k, k_weight)
                k_normed = pl.assemble(k_normed, k, [head, 0])

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="k_rotate"):
                k_in = pl.slice(k_normed, [Q_PAD, HEAD_DIM], [head, 0], valid_shape=[1, HEAD_DIM])
                k_cos = pl.slice(rope_cos, [1, HEAD_DIM], [pos, 0])
                k_sin = pl.slice(rope_sin, [1, HEAD_DIM], [pos, 0])
                k_lo, k_hi = rotate(k_in, k_cos, k_sin)
                k_cache = pl.assemble(k_cache, k_lo, [cache_row, 0])
                k_cache = pl.assemble(k_cache, k_hi, [cache_row, HALF_DIM])

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="v_write"):
                v = pl.slice(v_heads, [1, HEAD_DIM], [head, 0])
                v_cache = pl.assemble(v_cache, pl.cast(v, target_type=pl.BF16, mode="rint"), [cache_row, 0])
    return k_cache, v_cache, q_padded


@pl.jit
def per_sequence(
    q_proj: pl.Tensor[[BATCH, HIDDEN], pl.FP32],
    k_proj: pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[BATCH_DYN], pl.INT32],
    k_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    v_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    q_padded: pl.Out[pl.Tensor[[Q_ROWS_DYN, HEAD_DIM], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """A task for each sequence, which walks over the KV heads: 16 tasks at batch 16.

    The idea: fuse the steps. A head needs nothing from any other head, and a tile is 8 KiB, so a whole head
    fits into the vector buffer many times over. What a step leaves for the next stays there: the scratch and
    its traffic are gone, a dispatch pays for 48 steps, and the cosine, the sine and both norm weights are
    loaded once a sequence. What is left: every task declares the whole caches as read and written, for which
    rows it writes is known only at run time, so the runtime lets one sequence wait for another.
    """
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))

    for b in pl.parallel(pl.tensor.dim(seq_lens, 0)):
        pos = pl.tensor.read(seq_lens, [b]) - 1
        page = pl.tensor.read(block_table, [b * MAX_PAGES + pos // PAGE])
        offset = pl.tensor.read(slot_mapping, [b]) % PAGE
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="rope_kv_cache"):
            q_weight = pl.slice(q_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
            k_weight = pl.slice(k_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
            cos = pl.slice(rope_cos, [1, HEAD_DIM], [pos, 0])
            sin = pl.slice(rope_sin, [1, HEAD_DIM], [pos, 0])
            for kv in pl.range(KV_HEADS):
                head = b * KV_HEADS + kv
                cache_row = layer_row + (page * KV_HEADS + kv) * PAGE + offset
                k_cache, v_cache, q_padded = whole_head(
                    q_heads, k_heads, v_heads, q_weight, k_weight, cos, sin,
                    k_cache, v_cache, q_padded, head, cache_row,
                )  # fmt: skip
    return k_cache, v_cache, q_padded


@pl.jit
def flat(
    q_proj: pl.Tensor[[BATCH, HIDDEN], pl.FP32],
    k_proj: pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[BATCH_DYN], pl.INT32],
    k_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    v_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    q_padded: pl.Out[pl.Tensor[[Q_ROWS_DYN, HEAD_DIM], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """One dispatch with a block for each (sequence, KV head): 128 blocks at batch 16, 8 at batch 1.

    The idea: flatten the two loops into one index and hand it to a single `pl.spmd`. The work of a head is
    what it is in `per_sequence`, but `pl.spmd` says that the blocks are independent, so nothing waits: every
    vector core gets some, eight of them even with one sequence, and the orchestrator submits once. A block
    looks up its own page, and loads its own cosine, sine and weights: 2 KiB more to read, the price of
    independence.
    """
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))

    for head in pl.spmd(pl.tensor.dim(seq_lens, 0) * KV_HEADS, name_hint="rope_kv_cache"):
        b = head // KV_HEADS
        kv = head % KV_HEADS
        pos = pl.tensor.read(seq_lens, [b]) - 1
        page = pl.tensor.read(block_table, [b * MAX_PAGES + pos // PAGE])
        offset = pl.tensor.read(slot_mapping, [b]) % PAGE
        cache_row = layer_row + (page * KV_HEADS + kv) * PAGE + offset
        q_weight = pl.slice(q_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        k_weight = pl.slice(k_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        cos = pl.slice(rope_cos, [1, HEAD_DIM], [pos, 0])
        sin = pl.slice(rope_sin, [1, HEAD_DIM], [pos, 0])
        k_cache, v_cache, q_padded = whole_head(
            q_heads, k_heads, v_heads, q_weight, k_weight, cos, sin,
            k_cache, v_cache, q_padded, head, cache_row,
        )  # fmt: skip
    return k_cache, v_cache, q_padded
