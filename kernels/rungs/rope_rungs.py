"""RoPE and the paged KV cache between the versions of stage rope_kv_cache: one change at a time.

`head_at_once`   all steps of a (sequence, KV head) are one task; the tasks still wait for each other through the caches
`side_by_side`   `per_sequence` as one launch of independent blocks, a sequence each
`striding`       `flat` with as many blocks as the chip has vector cores, which stride over the heads
"""

import pypto.language as pl

from kernels.qwen3 import BATCH, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, KV_HIDDEN, MAX_PAGES, PAGE
from kernels.rope_kv_cache import (
    BATCH_DYN,
    CACHE_ROWS_DYN,
    LAYERS_DYN,
    Q_ROWS_DYN,
    ROPE_ROWS_DYN,
    TABLE_DYN,
    whole_head,
)


@pl.jit
def head_at_once(
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
    """`naive` with all six steps of a head in one task: 128 tasks at batch 16, a chain."""
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))

    for b in pl.parallel(pl.tensor.dim(seq_lens, 0)):
        pos = pl.tensor.read(seq_lens, [b]) - 1
        page = pl.tensor.read(block_table, [b * MAX_PAGES + pos // PAGE])
        offset = pl.tensor.read(slot_mapping, [b]) % PAGE
        for kv in pl.parallel(KV_HEADS):
            head = b * KV_HEADS + kv
            cache_row = layer_row + (page * KV_HEADS + kv) * PAGE + offset
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="rope_kv_cache"):
                q_weight = pl.slice(q_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
                k_weight = pl.slice(k_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
                cos = pl.slice(rope_cos, [1, HEAD_DIM], [pos, 0])
                sin = pl.slice(rope_sin, [1, HEAD_DIM], [pos, 0])
                k_cache, v_cache, q_padded = whole_head(
                    q_heads, k_heads, v_heads, q_weight, k_weight, cos, sin,
                    k_cache, v_cache, q_padded, head, cache_row,
                )  # fmt: skip
    return k_cache, v_cache, q_padded


@pl.jit
def side_by_side(
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
    """`per_sequence` as a `pl.spmd`, whose blocks wait for nobody: 16 blocks at batch 16."""
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))

    for b in pl.spmd(pl.tensor.dim(seq_lens, 0), name_hint="rope_kv_cache"):
        pos = pl.tensor.read(seq_lens, [b]) - 1
        page = pl.tensor.read(block_table, [b * MAX_PAGES + pos // PAGE])
        offset = pl.tensor.read(slot_mapping, [b]) % PAGE
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
def striding(
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
    """`flat` with a block for each vector core of the chip, 48 or 72: block i takes every 48th (72nd) head."""
    q_heads = pl.reshape(q_proj, [BATCH * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_proj, [BATCH * KV_HEADS, HEAD_DIM])
    v_heads = pl.reshape(v_proj, [BATCH * KV_HEADS, HEAD_DIM])
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))

    with pl.spmd(pl.system.available_aiv_count(), name_hint="rope_kv_cache") as _done:
        for head in pl.range(pl.get_block_idx(), pl.tensor.dim(seq_lens, 0) * KV_HEADS, pl.get_block_num()):
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
