"""A decoder layer between `naive` and `fused` of stage decode_layer: one stage after the other in its last version.

`mlp_mixed`        `naive` with the output projection and MLP of `fused`
`attention_fused`  and with its attention; what `fused` changes of this one is the rest, the projections
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
from kernels.flash_attention import launch_attention, list_pages, separate_attention
from kernels.mlp import down_proj_residual, gate_up_silu, out_proj_residual, post_rmsnorm
from kernels.qkv_proj import input_rmsnorm, project_by_tile
from kernels.qwen3 import BATCH, HEAD_DIM, HIDDEN, KV_HIDDEN, MAX_PAGES


@pl.jit
def mlp_mixed(
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
    """`naive` whose output projection and MLP have cube and vector work in one region."""
    batch = pl.tensor.dim(seq_lens, 0)
    inter = pl.tensor.dim(w_gate, 1)
    normed = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    q_proj = pl.create_tensor([BATCH, HIDDEN], dtype=pl.FP32)
    k_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    v_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    attn_out = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    resid = pl.create_tensor([BATCH, HIDDEN], dtype=pl.FP32)
    normed_resid = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    mlp = pl.create_tensor([BATCH, inter], dtype=pl.BF16)

    normed = input_rmsnorm(hidden_states, input_norm_weight, normed, batch, layer_idx)
    q_proj = project_by_tile(normed, wq, q_proj, layer_idx)
    k_proj = project_by_tile(normed, wk, k_proj, layer_idx)
    v_proj = project_by_tile(normed, wv, v_proj, layer_idx)
    k_cache, v_cache, attn_out = separate_attention(
        q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table,
        slot_mapping, k_cache, v_cache, attn_out, layer_idx,
    )  # fmt: skip
    resid = out_proj_residual(attn_out, hidden_states, wo, resid, batch, layer_idx)
    normed_resid = post_rmsnorm(resid, post_norm_weight, normed_resid, layer_idx)
    mlp = gate_up_silu(normed_resid, w_gate, w_up, mlp, layer_idx)
    out = down_proj_residual(mlp, w_down, resid, out, layer_idx)
    return k_cache, v_cache, out


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
    """`mlp_mixed` whose attention is one kernel with a table and barriers."""
    batch = pl.tensor.dim(seq_lens, 0)
    inter = pl.tensor.dim(w_gate, 1)
    normed = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    q_proj = pl.create_tensor([BATCH, HIDDEN], dtype=pl.FP32)
    k_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    v_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    attn_out = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    resid = pl.create_tensor([BATCH, HIDDEN], dtype=pl.FP32)
    normed_resid = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    mlp = pl.create_tensor([BATCH, inter], dtype=pl.BF16)
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
    resid = out_proj_residual(attn_out, hidden_states, wo, resid, batch, layer_idx)
    normed_resid = post_rmsnorm(resid, post_norm_weight, normed_resid, layer_idx)
    mlp = gate_up_silu(normed_resid, w_gate, w_up, mlp, layer_idx)
    out = down_proj_residual(mlp, w_down, resid, out, layer_idx)
    return k_cache, v_cache, out
