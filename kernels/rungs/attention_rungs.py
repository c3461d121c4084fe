"""Attention between the versions of stage flash_attention: one change at a time.

`merged_last`  `separate` whose pages leave their partial results, which one launch merges at the end: no chain
`walking`      `merged_last` whose tasks take all pages of a head, one after the other
`shared_out`   `mixed` whose blocks are as many as core groups and take pages from a table, not heads of sequences
"""

import pypto.language as pl

from kernels.flash_attention import (
    BATCH_DYN,
    CACHE_ROWS_DYN,
    LAYERS_DYN,
    PART_ROWS,
    Q_PAD_ROWS,
    Q_ROWS,
    ROPE_ROWS_DYN,
    RUN,
    RUNS_A_PAGE,
    SCALE,
    TABLE_DYN,
    list_pages,
    merge_head,
    new_token,
    page_softmax,
)
from kernels.qwen3 import BATCH, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, KV_HIDDEN, MAX_PAGES, PAGE, Q_PAD


@pl.jit
def merged_last(
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
    """`separate` without its chain: each page leaves its partial result in GM, the last launch merges them."""
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

    for b in pl.parallel(pl.tensor.dim(seq_lens, 0)):
        length = pl.tensor.read(seq_lens, [b])
        for kv in pl.parallel(KV_HEADS):
            kv_head = b * KV_HEADS + kv
            for p in pl.range((length + PAGE - 1) // PAGE):
                tokens = pl.cast(pl.min(PAGE, length - p * PAGE), pl.INDEX)
                page = pl.tensor.read(block_table, [b * MAX_PAGES + p])
                row = layer_row + (page * KV_HEADS + kv) * PAGE
                part = (kv_head * MAX_PAGES + p) * Q_PAD
                scores = pl.create_tensor([Q_PAD, PAGE], dtype=pl.FP32)
                weights = pl.create_tensor([Q_PAD, PAGE], dtype=pl.BF16)

                with pl.at(level=pl.Level.CORE_GROUP, name_hint="qk"):
                    q = pl.slice(q_padded, [Q_PAD, HEAD_DIM], [kv_head * Q_PAD, 0])
                    k = pl.slice(k_cache, [PAGE, HEAD_DIM], [row, 0])
                    scores = pl.assemble(scores, pl.matmul(q, k, out_dtype=pl.FP32, b_trans=True), [0, 0])

                with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
                    s = pl.slice(scores, [Q_PAD, PAGE], [0, 0], valid_shape=[Q_PAD, tokens])
                    s_weights, s_top, s_total = page_softmax(s)
                    weights = pl.assemble(weights, s_weights, [0, 0])
                    max_parts = pl.assemble(max_parts, s_top, [part, 0])
                    sum_parts = pl.assemble(sum_parts, s_total, [part, 0])

                with pl.at(level=pl.Level.CORE_GROUP, name_hint="sv"):
                    w = pl.slice(weights, [Q_PAD, PAGE], [0, 0], valid_shape=[Q_PAD, tokens])
                    v = pl.slice(v_cache, [PAGE, HEAD_DIM], [row, 0], valid_shape=[tokens, HEAD_DIM])
                    o = pl.matmul(w, v, out_dtype=pl.FP32)
                    o_parts = pl.assemble(o_parts, pl.set_validshape(o, Q_ROWS, HEAD_DIM), [part, 0])

    for head in pl.spmd(heads, name_hint="merge"):
        attn_out = merge_head(o_parts, max_parts, sum_parts, seq_lens, attn_out, head)
    return k_cache, v_cache, attn_out


@pl.jit
def walking(
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
    """`merged_last` whose tasks take all pages of a head: three tasks a head, each a launch."""
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

    for b in pl.parallel(pl.tensor.dim(seq_lens, 0)):
        length = pl.tensor.read(seq_lens, [b])
        for kv in pl.parallel(KV_HEADS):
            kv_head = b * KV_HEADS + kv
            scores = pl.create_tensor([MAX_PAGES * Q_PAD, PAGE], dtype=pl.FP32)
            weights = pl.create_tensor([MAX_PAGES * Q_PAD, PAGE], dtype=pl.BF16)

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="qk"):
                q = pl.slice(q_padded, [Q_PAD, HEAD_DIM], [kv_head * Q_PAD, 0])
                for p in pl.range((length + PAGE - 1) // PAGE):
                    page = pl.tensor.read(block_table, [b * MAX_PAGES + p])
                    row = layer_row + (page * KV_HEADS + kv) * PAGE
                    k = pl.slice(k_cache, [PAGE, HEAD_DIM], [row, 0])
                    scores = pl.assemble(scores, pl.matmul(q, k, out_dtype=pl.FP32, b_trans=True), [p * Q_PAD, 0])

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
                for p in pl.range((length + PAGE - 1) // PAGE):
                    tokens = pl.cast(pl.min(PAGE, length - p * PAGE), pl.INDEX)
                    part = (kv_head * MAX_PAGES + p) * Q_PAD
                    s = pl.slice(scores, [Q_PAD, PAGE], [p * Q_PAD, 0], valid_shape=[Q_PAD, tokens])
                    s_weights, s_top, s_total = page_softmax(s)
                    weights = pl.assemble(weights, s_weights, [p * Q_PAD, 0])
                    max_parts = pl.assemble(max_parts, s_top, [part, 0])
                    sum_parts = pl.assemble(sum_parts, s_total, [part, 0])

            with pl.at(level=pl.Level.CORE_GROUP, name_hint="sv"):
                for p in pl.range((length + PAGE - 1) // PAGE):
                    tokens = pl.cast(pl.min(PAGE, length - p * PAGE), pl.INDEX)
                    page = pl.tensor.read(block_table, [b * MAX_PAGES + p])
                    row = layer_row + (page * KV_HEADS + kv) * PAGE
                    part = (kv_head * MAX_PAGES + p) * Q_PAD
                    w = pl.slice(weights, [Q_PAD, PAGE], [p * Q_PAD, 0], valid_shape=[Q_PAD, tokens])
                    v = pl.slice(v_cache, [PAGE, HEAD_DIM], [row, 0], valid_shape=[tokens, HEAD_DIM])
                    o = pl.matmul(w, v, out_dtype=pl.FP32)
                    o_parts = pl.assemble(o_parts, pl.set_validshape(o, Q_ROWS, HEAD_DIM), [part, 0])

    for head in pl.spmd(heads, name_hint="merge"):
        attn_out = merge_head(o_parts, max_parts, sum_parts, seq_lens, attn_out, head)
    return k_cache, v_cache, attn_out


@pl.jit
def shared_out(
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
    """`mixed` with pages handed out evenly: a table lists them, block i takes every 24th (36th) run of it from i on."""
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))
    heads = pl.tensor.dim(seq_lens, 0) * KV_HEADS
    q_padded = pl.create_tensor([Q_PAD_ROWS, HEAD_DIM], dtype=pl.BF16)
    o_parts = pl.create_tensor([PART_ROWS, HEAD_DIM], dtype=pl.FP32)
    max_parts = pl.create_tensor([PART_ROWS, 1], dtype=pl.FP32)
    sum_parts = pl.create_tensor([PART_ROWS, 1], dtype=pl.FP32)

    work = pl.create_tensor([BATCH * MAX_PAGES], dtype=pl.INT32)
    work_pages = pl.create_tensor([1], dtype=pl.INT32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="work_table"):
        work, work_pages = list_pages(seq_lens, work, work_pages)

    for head in pl.spmd(heads, name_hint="rope_kv_cache"):
        k_cache, v_cache, q_padded = new_token(
            q_heads, k_heads, v_heads, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table,
            slot_mapping, k_cache, v_cache, q_padded, layer_idx, layer_row, head,
        )  # fmt: skip

    with pl.spmd(pl.system.available_cluster_count(), name_hint="attention") as _done:
        core = pl.get_block_idx()
        cores = pl.get_block_num()
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

    for head in pl.spmd(heads, name_hint="merge"):
        attn_out = merge_head(o_parts, max_parts, sum_parts, seq_lens, attn_out, head)
    return k_cache, v_cache, attn_out
