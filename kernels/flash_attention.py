"""Attention of one decode step over the paged KV cache of one Qwen3-14B layer, in four versions, separate to fused.

The new token of every sequence is first normed, rotated and written to the cache, as in stage rope_kv_cache. Then
each of its query heads attends to the n tokens in its sequence's pages: softmax(q K^T / sqrt(HEAD_DIM)) V. Online
softmax takes the pages one by one. Page p alone gives

    s_p = q K_p^T / sqrt(HEAD_DIM)    top_p = max(s_p)    w_p = exp(s_p - top_p)    total_p = sum(w_p)    o_p = w_p V_p

and two results join, up to rounding, in any order, once both are brought to one max: with top = max(top_a, top_b),
total = total_a exp(top_a - top) + total_b exp(top_b - top), o likewise. In the end the output is o / total. The
versions compute the same numbers; what changes is where they live and who waits for whom:

`separate`  QK, softmax, SV and merge of each page are tasks; what they hand on crosses global memory
`flat`      each step is one dispatch over all (sequence, KV head); pages leave partial results, merged at the end
`mixed`     QK, softmax and SV share a region: scores and weights pass between its cores, without scratch
`fused`     everything is one kernel as wide as the chip; its phases meet at barriers, a table balances the pages

The five query heads of a KV head are padded to the Q_PAD = 16 rows of the smallest cube tile, so all of them go
through the cube together. The vector unit wants FP32 columns of whole 32-byte blocks, hence Q_ROWS = 8 of those
rows are stored and merged, and five reach the output. The last page of a sequence is full of other things past its
end. Their scores are filled with the lowest number; of V only the `valid_shape` is loaded, for even a weight of zero
would not hide a NaN. Weights are BF16 when they meet V, their sum is taken before they are rounded.
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

SCALE = HEAD_DIM**-0.5
LOWEST = -3.0e38  # below any score
Q_ROWS = 8
Q_PAD_ROWS = BATCH * KV_HEADS * Q_PAD  # scratch is made for BATCH sequences; rows of absent ones stay untouched
PART_ROWS = Q_PAD_ROWS * MAX_PAGES  # a part: what one page gives for one (sequence, KV head)
RUN = 4  # KV heads of one page that a block of `fused` takes at a time
RUNS_A_PAGE = KV_HEADS // RUN


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
def new_token(
    q_heads: pl.Tensor[[BATCH * HEADS, HEAD_DIM], pl.FP32],
    k_heads: pl.Tensor[[BATCH * KV_HEADS, HEAD_DIM], pl.FP32],
    v_heads: pl.Tensor[[BATCH * KV_HEADS, HEAD_DIM], pl.FP32],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[BATCH_DYN], pl.INT32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    q_padded: pl.Tensor[[Q_PAD_ROWS, HEAD_DIM], pl.BF16],
    layer_idx: pl.Scalar[pl.INT32],
    layer_row: pl.Scalar[pl.INDEX],
    head: pl.Scalar[pl.INDEX],
):
    """The work of stage rope_kv_cache for one head of one sequence; `head` = sequence * KV_HEADS + KV head."""
    b = head // KV_HEADS
    pos = pl.tensor.read(seq_lens, [b]) - 1
    page = pl.tensor.read(block_table, [b * MAX_PAGES + pos // PAGE])
    offset = pl.tensor.read(slot_mapping, [b]) % PAGE
    cache_row = layer_row + (page * KV_HEADS + head % KV_HEADS) * PAGE + offset
    q_weight = pl.slice(q_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
    k_weight = pl.slice(k_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
    cos = pl.slice(rope_cos, [1, HEAD_DIM], [pos, 0])
    sin = pl.slice(rope_sin, [1, HEAD_DIM], [pos, 0])

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


@pl.jit.inline
def page_softmax(scores: pl.Tensor[[Q_PAD, PAGE], pl.FP32]):
    """One page's weights exp(scores * SCALE - max) in BF16, and the max and the sum of each row. Valid columns only."""
    scaled = pl.fillpad(pl.mul(scores, SCALE), pad_value=pl.PadValue.min)
    top = pl.row_max(scaled)
    exponentials = pl.exp(pl.row_expand_sub(scaled, top))
    total = pl.row_sum(exponentials)
    weights = pl.cast(exponentials, target_type=pl.BF16, mode="rint")
    return weights, top, total


@pl.jit.inline
def joined(
    o_a: pl.Tensor[[Q_ROWS, HEAD_DIM], pl.FP32],
    top_a: pl.Tensor[[Q_ROWS, 1], pl.FP32],
    total_a: pl.Tensor[[Q_ROWS, 1], pl.FP32],
    o_b: pl.Tensor[[Q_ROWS, HEAD_DIM], pl.FP32],
    top_b: pl.Tensor[[Q_ROWS, 1], pl.FP32],
    total_b: pl.Tensor[[Q_ROWS, 1], pl.FP32],
):
    """Two partial results as one: both brought to the larger max, then added."""
    top = pl.maximum(top_a, top_b)
    scale_a = pl.exp(pl.sub(top_a, top))
    scale_b = pl.exp(pl.sub(top_b, top))
    total = pl.add(pl.mul(total_a, scale_a), pl.mul(total_b, scale_b))
    o = pl.add(pl.row_expand_mul(o_a, scale_a), pl.row_expand_mul(o_b, scale_b))
    return o, top, total


@pl.jit.inline
def write_out(
    o: pl.Tensor[[Q_ROWS, HEAD_DIM], pl.FP32],
    total: pl.Tensor[[Q_ROWS, 1], pl.FP32],
    attn_out: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    head: pl.Scalar[pl.INDEX],
):
    """o / total of the five query heads of a KV head, side by side in their sequence's row of the output."""
    attention = pl.row_expand_div(o, total)
    rows = pl.cast(attention[0:Q_PER_KV, :], target_type=pl.BF16, mode="rint")
    row = pl.reshape(rows, [1, Q_PER_KV * HEAD_DIM])
    attn_out = pl.assemble(attn_out, row, [head // KV_HEADS, head % KV_HEADS * (Q_PER_KV * HEAD_DIM)])
    return attn_out


@pl.jit.inline
def merge_head(
    o_parts: pl.Tensor[[PART_ROWS, HEAD_DIM], pl.FP32],
    max_parts: pl.Tensor[[PART_ROWS, 1], pl.FP32],
    sum_parts: pl.Tensor[[PART_ROWS, 1], pl.FP32],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    attn_out: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    head: pl.Scalar[pl.INDEX],
):
    """The output of one head of one sequence from the parts of its pages."""
    pages = (pl.tensor.read(seq_lens, [head // KV_HEADS]) + PAGE - 1) // PAGE
    first = head * MAX_PAGES * Q_PAD
    o = pl.slice(o_parts, [Q_ROWS, HEAD_DIM], [first, 0])
    top = pl.slice(max_parts, [Q_ROWS, 1], [first, 0])
    total = pl.slice(sum_parts, [Q_ROWS, 1], [first, 0])
    for p in pl.range(1, pages):
        part = first + p * Q_PAD
        o_p = pl.slice(o_parts, [Q_ROWS, HEAD_DIM], [part, 0])
        top_p = pl.slice(max_parts, [Q_ROWS, 1], [part, 0])
        total_p = pl.slice(sum_parts, [Q_ROWS, 1], [part, 0])
        o, top, total = joined(o, top, total, o_p, top_p, total_p)
    attn_out = write_out(o, total, attn_out, head)
    return attn_out


@pl.jit.inline
def separate_attention(
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
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    attn_out: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    layer_idx: pl.Scalar[pl.INT32],
):
    """The work of `separate`, which the naive decode layer does too."""
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))
    batch = pl.tensor.dim(seq_lens, 0)
    heads = batch * KV_HEADS
    q_padded = pl.create_tensor([Q_PAD_ROWS, HEAD_DIM], dtype=pl.BF16)

    for head in pl.spmd(heads, name_hint="rope_kv_cache"):
        k_cache, v_cache, q_padded = new_token(
            q_heads, k_heads, v_heads, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table,
            slot_mapping, k_cache, v_cache, q_padded, layer_idx, layer_row, head,
        )  # fmt: skip

    for b in pl.parallel(batch):
        length = pl.tensor.read(seq_lens, [b])
        for kv in pl.parallel(KV_HEADS):
            kv_head = b * KV_HEADS + kv
            o_all = pl.create_tensor([Q_ROWS, HEAD_DIM], dtype=pl.FP32)
            max_all = pl.create_tensor([Q_ROWS, 1], dtype=pl.FP32)
            sum_all = pl.create_tensor([Q_ROWS, 1], dtype=pl.FP32)

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="start"):
                o_all = pl.assemble(o_all, pl.full([Q_ROWS, HEAD_DIM], dtype=pl.FP32, value=0.0), [0, 0])
                lowest = pl.reshape(pl.full([1, Q_ROWS], dtype=pl.FP32, value=LOWEST), [Q_ROWS, 1])
                nothing = pl.reshape(pl.full([1, Q_ROWS], dtype=pl.FP32, value=0.0), [Q_ROWS, 1])
                max_all = pl.assemble(max_all, lowest, [0, 0])
                sum_all = pl.assemble(sum_all, nothing, [0, 0])

            for p in pl.range((length + PAGE - 1) // PAGE):
                tokens = pl.cast(pl.min(PAGE, length - p * PAGE), pl.INDEX)
                page = pl.tensor.read(block_table, [b * MAX_PAGES + p])
                row = layer_row + (page * KV_HEADS + kv) * PAGE
                scores = pl.create_tensor([Q_PAD, PAGE], dtype=pl.FP32)
                weights = pl.create_tensor([Q_PAD, PAGE], dtype=pl.BF16)
                o_page = pl.create_tensor([Q_PAD, HEAD_DIM], dtype=pl.FP32)
                max_page = pl.create_tensor([Q_PAD, 1], dtype=pl.FP32)
                sum_page = pl.create_tensor([Q_PAD, 1], dtype=pl.FP32)

                with pl.at(level=pl.Level.CORE_GROUP, name_hint="qk"):
                    q = pl.slice(q_padded, [Q_PAD, HEAD_DIM], [kv_head * Q_PAD, 0])
                    k = pl.slice(k_cache, [PAGE, HEAD_DIM], [row, 0])
                    scores = pl.assemble(scores, pl.matmul(q, k, out_dtype=pl.FP32, b_trans=True), [0, 0])

                with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
                    s = pl.slice(scores, [Q_PAD, PAGE], [0, 0], valid_shape=[Q_PAD, tokens])
                    s_weights, s_top, s_total = page_softmax(s)
                    weights = pl.assemble(weights, s_weights, [0, 0])
                    max_page = pl.assemble(max_page, s_top, [0, 0])
                    sum_page = pl.assemble(sum_page, s_total, [0, 0])

                with pl.at(level=pl.Level.CORE_GROUP, name_hint="sv"):
                    w = pl.slice(weights, [Q_PAD, PAGE], [0, 0], valid_shape=[Q_PAD, tokens])
                    v = pl.slice(v_cache, [PAGE, HEAD_DIM], [row, 0], valid_shape=[tokens, HEAD_DIM])
                    o_page = pl.assemble(o_page, pl.matmul(w, v, out_dtype=pl.FP32), [0, 0])

                with pl.at(level=pl.Level.CORE_GROUP, name_hint="merge"):
                    o = pl.slice(o_all, [Q_ROWS, HEAD_DIM], [0, 0])
                    top = pl.slice(max_all, [Q_ROWS, 1], [0, 0])
                    total = pl.slice(sum_all, [Q_ROWS, 1], [0, 0])
                    o_p = pl.slice(o_page, [Q_ROWS, HEAD_DIM], [0, 0])
                    top_p = pl.slice(max_page, [Q_ROWS, 1], [0, 0])
                    total_p = pl.slice(sum_page, [Q_ROWS, 1], [0, 0])
                    o, top, total = joined(o, top, total, o_p, top_p, total_p)
                    o_all = pl.assemble(o_all, o, [0, 0])
                    max_all = pl.assemble(max_all, top, [0, 0])
                    sum_all = pl.assemble(sum_all, total, [0, 0])

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="finish"):
                o_end = pl.slice(o_all, [Q_ROWS, HEAD_DIM], [0, 0])
                total_end = pl.slice(sum_all, [Q_ROWS, 1], [0, 0])
                attn_out = write_out(o_end, total_end, attn_out, kv_head)
    return k_cache, v_cache, attn_out


@pl.jit
def separate(
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
    attn_out: pl.InOut[pl.Tensor[[BATCH, HIDDEN], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """A task for each step of each page: four for every (sequence, KV head, page), 16,768 at 16 x 4096 tokens.

    The idea: take the math apart and make every step a task of one kind of core. It is the version to check the
    others against. It is slow because a step is one cube instruction or a few vector ones while a task costs a
    dispatch, because scores, weights and partial results travel through global memory between cube and vector,
    and because each page's merge waits for that of the page before.
    """
    k_cache, v_cache, attn_out = separate_attention(
        q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table, slot_mapping,
        k_cache, v_cache, attn_out, layer_idx,
    )  # fmt: skip
    return k_cache, v_cache, attn_out


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
    attn_out: pl.InOut[pl.Tensor[[BATCH, HIDDEN], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """A dispatch for each step, pages in a loop inside its blocks: 640 tasks at batch 16, at any length.

    The idea: flatten sequences and KV heads into the block index of a `pl.spmd`, one for each step. A block walks
    over its pages with two loads in flight (`pl.pipeline`). Pages do not wait for each other any more: each leaves
    its partial result, max and sum in scratch of its own, and the last dispatch merges them. Scores and weights
    still cross global memory, now those of the whole batch before the next step begins.
    """
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))
    heads = pl.tensor.dim(seq_lens, 0) * KV_HEADS
    q_padded = pl.create_tensor([Q_PAD_ROWS, HEAD_DIM], dtype=pl.BF16)
    scores = pl.create_tensor([PART_ROWS, PAGE], dtype=pl.FP32)
    weights = pl.create_tensor([PART_ROWS, PAGE], dtype=pl.BF16)
    o_parts = pl.create_tensor([PART_ROWS, HEAD_DIM], dtype=pl.FP32)
    max_parts = pl.create_tensor([PART_ROWS, 1], dtype=pl.FP32)
    sum_parts = pl.create_tensor([PART_ROWS, 1], dtype=pl.FP32)

    for head in pl.spmd(heads, name_hint="rope_kv_cache"):
        k_cache, v_cache, q_padded = new_token(
            q_heads, k_heads, v_heads, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table,
            slot_mapping, k_cache, v_cache, q_padded, layer_idx, layer_row, head,
        )  # fmt: skip

    for head in pl.spmd(heads, name_hint="qk"):
        b = head // KV_HEADS
        q = pl.slice(q_padded, [Q_PAD, HEAD_DIM], [head * Q_PAD, 0])
        for p in pl.pipeline((pl.tensor.read(seq_lens, [b]) + PAGE - 1) // PAGE, stage=2):
            page = pl.tensor.read(block_table, [b * MAX_PAGES + p])
            row = layer_row + (page * KV_HEADS + head % KV_HEADS) * PAGE
            part = (head * MAX_PAGES + p) * Q_PAD
            k = pl.slice(k_cache, [PAGE, HEAD_DIM], [row, 0])
            scores = pl.assemble(scores, pl.matmul(q, k, out_dtype=pl.FP32, b_trans=True), [part, 0])

    for head in pl.spmd(heads, name_hint="softmax"):
        length = pl.tensor.read(seq_lens, [head // KV_HEADS])
        for p in pl.pipeline((length + PAGE - 1) // PAGE, stage=2):
            tokens = pl.cast(pl.min(PAGE, length - p * PAGE), pl.INDEX)
            part = (head * MAX_PAGES + p) * Q_PAD
            s = pl.slice(scores, [Q_PAD, PAGE], [part, 0], valid_shape=[Q_PAD, tokens])
            s_weights, s_top, s_total = page_softmax(s)
            weights = pl.assemble(weights, s_weights, [part, 0])
            max_parts = pl.assemble(max_parts, s_top, [part, 0])
            sum_parts = pl.assemble(sum_parts, s_total, [part, 0])

    for head in pl.spmd(heads, name_hint="sv"):
        b = head // KV_HEADS
        length = pl.tensor.read(seq_lens, [b])
        for p in pl.pipeline((length + PAGE - 1) // PAGE, stage=2):
            tokens = pl.cast(pl.min(PAGE, length - p * PAGE), pl.INDEX)
            page = pl.tensor.read(block_table, [b * MAX_PAGES + p])
            row = layer_row + (page * KV_HEADS + head % KV_HEADS) * PAGE
            part = (head * MAX_PAGES + p) * Q_PAD
            w = pl.slice(weights, [Q_PAD, PAGE], [part, 0], valid_shape=[Q_PAD, tokens])
            v = pl.slice(v_cache, [PAGE, HEAD_DIM], [row, 0], valid_shape=[tokens, HEAD_DIM])
            o = pl.matmul(w, v, out_dtype=pl.FP32)
            o_parts = pl.assemble(o_parts, pl.set_validshape(o, Q_ROWS, HEAD_DIM), [part, 0])

    for head in pl.spmd(heads, name_hint="merge"):
        attn_out = merge_head(o_parts, max_parts, sum_parts, seq_lens, attn_out, head)
    return k_cache, v_cache, attn_out


@pl.jit
def mixed(
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
    attn_out: pl.InOut[pl.Tensor[[BATCH, HIDDEN], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """QK, softmax and SV of a page in one mixed cube and vector region: 384 tasks at batch 16.

    The idea: let the cube hand the scores to the vector cores, and take the weights back, within one block: through a
    ring of two 8 KiB slots, which A5 keeps on chip and A2/A3 in global memory. Two dispatches and the scratch of
    scores and weights are gone. `pl.split(UP_DOWN)` gives each of the two vector cores beside a cube half of the 16
    rows, and 8 rows still make a column of 32 bytes. What is left: a block has as much to do as its sequence is long,
    so the longest sequence decides when the dispatch ends.
    """
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))
    heads = pl.tensor.dim(seq_lens, 0) * KV_HEADS
    q_padded = pl.create_tensor([Q_PAD_ROWS, HEAD_DIM], dtype=pl.BF16)
    o_parts = pl.create_tensor([PART_ROWS, HEAD_DIM], dtype=pl.FP32)
    max_parts = pl.create_tensor([PART_ROWS, 1], dtype=pl.FP32)
    sum_parts = pl.create_tensor([PART_ROWS, 1], dtype=pl.FP32)

    for head in pl.spmd(heads, name_hint="rope_kv_cache"):
        k_cache, v_cache, q_padded = new_token(
            q_heads, k_heads, v_heads, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table,
            slot_mapping, k_cache, v_cache, q_padded, layer_idx, layer_row, head,
        )  # fmt: skip

    for head in pl.spmd(heads, name_hint="attention", optimizations=[pl.split(pl.SplitMode.UP_DOWN)]):
        b = head // KV_HEADS
        length = pl.tensor.read(seq_lens, [b])
        q = pl.slice(q_padded, [Q_PAD, HEAD_DIM], [head * Q_PAD, 0])
        for p in pl.range((length + PAGE - 1) // PAGE):
            tokens = pl.cast(pl.min(PAGE, length - p * PAGE), pl.INDEX)
            page = pl.tensor.read(block_table, [b * MAX_PAGES + p])
            row = layer_row + (page * KV_HEADS + head % KV_HEADS) * PAGE
            part = (head * MAX_PAGES + p) * Q_PAD

            k = pl.slice(k_cache, [PAGE, HEAD_DIM], [row, 0])
            scores = pl.mul(pl.matmul(q, k, out_dtype=pl.FP32, b_trans=True), SCALE)  # cube, then vector
            scores = pl.fillpad(pl.set_validshape(scores, Q_PAD, tokens), pad_value=pl.PadValue.min)
            top = pl.row_max(scores)
            exponentials = pl.exp(pl.row_expand_sub(scores, top))
            max_parts = pl.assemble(max_parts, top, [part, 0])
            sum_parts = pl.assemble(sum_parts, pl.row_sum(exponentials), [part, 0])
            weights = pl.cast(exponentials, target_type=pl.BF16, mode="rint")
            weights = pl.set_validshape(weights, Q_PAD, tokens)

            v = pl.slice(v_cache, [PAGE, HEAD_DIM], [row, 0], valid_shape=[tokens, HEAD_DIM])
            o = pl.matmul(weights, v, out_dtype=pl.FP32)  # cube again
            o_parts = pl.assemble(o_parts, pl.set_validshape(o, Q_ROWS, HEAD_DIM), [part, 0])

    for head in pl.spmd(heads, name_hint="merge"):
        attn_out = merge_head(o_parts, max_parts, sum_parts, seq_lens, attn_out, head)
    return k_cache, v_cache, attn_out


@pl.jit.inline
def list_pages(
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    work: pl.Tensor[[BATCH * MAX_PAGES], pl.INT32],
    work_pages: pl.Tensor[[1], pl.INT32],
):
    """work = the entries of block_table that hold a page of a sequence, work_pages = how many; in the caller's task."""
    count = 0
    for b in pl.range(pl.tensor.dim(seq_lens, 0)):
        pages = (pl.tensor.read(seq_lens, [b]) + PAGE - 1) // PAGE
        for p in pl.range(pages):
            pl.tensor.write(work, [count + p], pl.cast(b * MAX_PAGES + p, pl.INT32))
        count = count + pages
    pl.tensor.write(work_pages, [0], pl.cast(count, pl.INT32))
    return work, work_pages


@pl.jit.inline
def launch_attention(
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
    work: pl.Tensor[[BATCH * MAX_PAGES], pl.INT32],
    work_pages: pl.Tensor[[1], pl.INT32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    attn_out: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    layer_idx: pl.Scalar[pl.INT32],
    table_ready: pl.Scalar[pl.TASK_ID],
):
    """The one launch of `fused`: new token, pages and merge, a barrier between them; it waits for the work table."""
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))
    heads = pl.tensor.dim(seq_lens, 0) * KV_HEADS
    q_padded = pl.create_tensor([Q_PAD_ROWS, HEAD_DIM], dtype=pl.BF16)
    o_parts = pl.create_tensor([PART_ROWS, HEAD_DIM], dtype=pl.FP32)
    max_parts = pl.create_tensor([PART_ROWS, 1], dtype=pl.FP32)
    sum_parts = pl.create_tensor([PART_ROWS, 1], dtype=pl.FP32)
    groups = pl.system.available_cluster_count()

    with pl.spmd(groups, name_hint="attention", deps=[table_ready], sync_start=True) as _done:
        core = pl.get_block_idx()
        cores = pl.get_block_num()

        # Phase 0, vector: the new token. Each vector lane takes every (2 * cores)-th head.
        for lane in pl.split_aiv(2, mode=pl.SplitMode.NONE):
            for head in pl.range(core * 2 + lane, heads, cores * 2):
                k_cache, v_cache, q_padded = new_token(
                    q_heads, k_heads, v_heads, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens,
                    block_table, slot_mapping, k_cache, v_cache, q_padded, layer_idx, layer_row, head,
                )  # fmt: skip

        # What the phase wrote leaves the caches of its core; then all cores meet; then nobody reads stale lines.
        pl.system.cacheinvalid()
        pl.system.fence()
        pl.system.syncall(core_type="mix")
        pl.system.cacheinvalid()

        # Phase 1, cube and vector: the pages. Each core group takes every cores-th run of the work table.
        runs = pl.cast(pl.tensor.read(work_pages, [0]), pl.INDEX) * RUNS_A_PAGE
        for run in pl.range(core, runs, cores):
            entry = pl.cast(pl.tensor.read(work, [run // RUNS_A_PAGE]), pl.INDEX)
            b = entry // MAX_PAGES
            p = entry % MAX_PAGES
            tokens = pl.cast(pl.min(PAGE, pl.tensor.read(seq_lens, [b]) - p * PAGE), pl.INDEX)
            page = pl.cast(pl.tensor.read(block_table, [entry]), pl.INDEX)
            for i in pl.pipeline(RUN, stage=2):
                kv = run % RUNS_A_PAGE * RUN + i
                row = layer_row + (page * KV_HEADS + kv) * PAGE
                part = ((b * KV_HEADS + kv) * MAX_PAGES + p) * Q_PAD

                q = pl.slice(q_padded, [Q_PAD, HEAD_DIM], [(b * KV_HEADS + kv) * Q_PAD, 0])
                k = pl.slice(k_cache, [PAGE, HEAD_DIM], [row, 0])
                scores = pl.matmul(q, k, out_dtype=pl.FP32, b_trans=True)
                for lane in pl.split_aiv(2, mode=pl.SplitMode.UP_DOWN):
                    half = pl.mul(pl.aiv_shard(scores), SCALE)
                    half = pl.fillpad(pl.set_validshape(half, Q_PAD // 2, tokens), pad_value=pl.PadValue.min)
                    top = pl.row_max(half)
                    exponentials = pl.exp(pl.row_expand_sub(half, top))
                    max_parts = pl.assemble(max_parts, top, [part + lane * (Q_PAD // 2), 0])
                    total = pl.row_sum(exponentials)
                    sum_parts = pl.assemble(sum_parts, total, [part + lane * (Q_PAD // 2), 0])
                    half_weights = pl.cast(exponentials, target_type=pl.BF16, mode="rint")
                    half_weights = pl.set_validshape(half_weights, Q_PAD // 2, tokens)
                    weights = pl.aic_gather(half_weights)
                v = pl.slice(v_cache, [PAGE, HEAD_DIM], [row, 0], valid_shape=[tokens, HEAD_DIM])
                o = pl.matmul(weights, v, out_dtype=pl.FP32)
                o_parts = pl.assemble(o_parts, pl.set_validshape(o, Q_ROWS, HEAD_DIM), [part, 0])

        pl.system.cacheinvalid()
        pl.system.fence()
        pl.system.syncall(core_type="mix")
        pl.system.cacheinvalid()

        # Phase 2, vector: the merge, heads over lanes as in phase 0.
        for lane in pl.split_aiv(2, mode=pl.SplitMode.NONE):
            for head in pl.range(core * 2 + lane, heads, cores * 2):
                attn_out = merge_head(o_parts, max_parts, sum_parts, seq_lens, attn_out, head)
    return k_cache, v_cache, attn_out


@pl.jit
def fused(
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
    attn_out: pl.InOut[pl.Tensor[[BATCH, HIDDEN], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """One kernel from the projections to the output, a block for each core group, `syncall` between its phases.

    The idea: launch once, with as many blocks as the chip has core groups (24 on A2/A3, 36 on A5), and divide the
    work inside. A table lists every page of every sequence and nothing else; taking every 24th (36th) entry gives
    all blocks the same work to within RUN heads of a page, however ragged the lengths. RUN is a constant, so the
    cube can run ahead of the softmax. The barrier is of the hard kind: it needs every core. So the launch has the
    device's block count, starts all blocks at once (`sync_start`), and in the manual scope nothing but the table,
    which it waits for, is there to hold a core. 25 tasks on A2/A3, 37 on A5, at any batch and length.
    """
    work = pl.create_tensor([BATCH * MAX_PAGES], dtype=pl.INT32)
    work_pages = pl.create_tensor([1], dtype=pl.INT32)
    with pl.manual_scope():
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="work_table") as table_ready:
            work, work_pages = list_pages(seq_lens, work, work_pages)
        k_cache, v_cache, attn_out = launch_attention(
            q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table,
            slot_mapping, work, work_pages, k_cache, v_cache, attn_out, layer_idx, table_ready,
        )  # fmt: skip
    return k_cache, v_cache, attn_out
