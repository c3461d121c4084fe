"""A decoder layer between `naive` and `fused` of stage decode_layer: one stage after the other in its last version.

`attention_fused`  `naive` with the attention of `fused`
`projected`        and with its projections; what `fused` changes of this one is the rest, output projection and MLP
"""

import pypto.language as pl

from kernels.decode_layer import (
    BATCH_DYN,
    CACHE_ROWS_DYN,
    HIDDEN_ROWS_DYN,
    INTER_DYN,
    INTER_ROWS_DYN,
    LAYERS_DYN,
    ROPE_ROWS_DYN,
    TABLE_DYN,
)
from kernels.flash_attention import launch_attention, list_pages
from kernels.mlp import partial_products_mlp
from kernels.qkv_proj import input_rmsnorm, project_by_split, project_by_tile, rms_scale, weighted_rows
from kernels.qwen3 import BATCH, HEAD_DIM, HIDDEN, KV_HIDDEN, MAX_PAGES


@pl.jit
def attention_fused(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[BATCH_DYN], pl.INT32],
    k_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    v_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN], pl.BF16],
    out: pl.Out[pl.Tensor[[BATCH, HIDDEN], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """`naive` whose attention is one kernel with a table and barriers."""
    batch = pl.tensor.dim(seq_lens, 0)
    normed = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    q_proj = pl.create_tensor([BATCH, HIDDEN], dtype=pl.FP32)
    k_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    v_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    attn_out = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    work = pl.create_tensor([BATCH * MAX_PAGES], dtype=pl.INT32)
    work_pages = pl.create_tensor([1], dtype=pl.INT32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="work_table") as table_ready:
        work, work_pages = list_pages(seq_lens, work, work_pages)

    normed = input_rmsnorm(hidden_states, input_norm_weight, normed, batch, layer_idx)
    q_proj = project_by_tile(normed, wq, q_proj, layer_idx)
    k_proj = project_by_tile(normed, wk, k_proj, layer_idx)
    v_proj = project_by_tile(normed, wv, v_proj, layer_idx)
    k_cache, v_cache, attn_out = launch_attention(
        q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table,
        slot_mapping, work, work_pages, k_cache, v_cache, attn_out, layer_idx, table_ready,
    )  # fmt: skip
    out = partial_products_mlp(
        attn_out, hidden_states, post_norm_weight, wo, w_gate, w_up, w_down, seq_lens, out, layer_idx
    )
    return k_cache, v_cache, out


@pl.jit
def projected(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[BATCH_DYN], pl.INT32],
    k_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    v_cache: pl.InOut[pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16]],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN], pl.BF16],
    out: pl.Out[pl.Tensor[[BATCH, HIDDEN], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """`attention_fused` whose projections have K in four parts and their norm at the end."""
    batch = pl.tensor.dim(seq_lens, 0)
    weighted = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    scale = pl.create_tensor([1, BATCH], dtype=pl.FP32)
    q_proj = pl.create_tensor([BATCH, HIDDEN], dtype=pl.FP32)
    k_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    v_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    attn_out = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    work = pl.create_tensor([BATCH * MAX_PAGES], dtype=pl.INT32)
    work_pages = pl.create_tensor([1], dtype=pl.INT32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="work_table") as table_ready:
        work, work_pages = list_pages(seq_lens, work, work_pages)

    weighted = weighted_rows(hidden_states, input_norm_weight, weighted, batch, layer_idx)
    scale = rms_scale(hidden_states, scale, batch)
    q_proj = project_by_split(weighted, scale, wq, q_proj, layer_idx)
    k_proj = project_by_split(weighted, scale, wk, k_proj, layer_idx)
    v_proj = project_by_split(weighted, scale, wv, v_proj, layer_idx)
    k_cache, v_cache, attn_out = launch_attention(
        q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table,
        slot_mapping, work, work_pages, k_cache, v_cache, attn_out, layer_idx, table_ready,
    )  # fmt: skip
    out = partial_products_mlp(
        attn_out, hidden_states, post_norm_weight, wo, w_gate, w_up, w_down, seq_lens, out, layer_idx
    )
    return k_cache, v_cache, out
