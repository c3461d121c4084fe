"""One decoder layer of Qwen3-14B, one decode step, out of the stages: from its input to its output, with the cache.

    q, k, v  = RMSNorm(hidden) @ wq, wk, wv                          stage qkv_proj
    attn     = attention of q to the cache, k and v written to it    stage flash_attention, rope_kv_cache in it
    out      = hidden + attn @ wo + MLP(...)                         stage mlp

`naive` puts the first version of each stage after the other, `fused` the last. Nothing is computed in this file: a
stage hands the next one a tensor, and from the tensors the runtime infers which task waits for which.

Copied elsewhere, this file needs those of the stages it imports, and kernels/qwen3.py, beside it.
"""

import pypto.language as pl

from kernels.flash_attention import launch_attention, list_pages, separate_attention
from kernels.mlp import down_proj_residual, gate_up_silu, out_proj_residual, partial_products_mlp, post_rmsnorm
from kernels.qkv_proj import input_rmsnorm, project_by_split, project_by_tile, rms_scale, weighted_rows
from kernels.qwen3 import BATCH, HEAD_DIM, HIDDEN, KV_HIDDEN, MAX_PAGES

BATCH_DYN = pl.dynamic("BATCH_DYN")  # real sequences, at most BATCH
TABLE_DYN = pl.dynamic("TABLE_DYN")  # real sequences * MAX_PAGES
LAYERS_DYN = pl.dynamic("LAYERS_DYN")
ROPE_ROWS_DYN = pl.dynamic("ROPE_ROWS_DYN")  # positions that have a cosine and a sine
CACHE_ROWS_DYN = pl.dynamic("CACHE_ROWS_DYN")  # layers * pages * KV_HEADS * PAGE
HIDDEN_ROWS_DYN = pl.dynamic("HIDDEN_ROWS_DYN")  # layers * HIDDEN
INTER_DYN = pl.dynamic("INTER_DYN")  # width of the MLP: INTERMEDIATE
INTER_ROWS_DYN = pl.dynamic("INTER_ROWS_DYN")  # layers * the width of the MLP


@pl.jit.inline
def naive_layer(
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
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN], pl.BF16],
    out: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    layer_idx: pl.Scalar[pl.INT32],
):
    """One layer of the first versions: `tile`, `separate`, `partial_products`."""
    batch = pl.tensor.dim(seq_lens, 0)
    normed = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    q_proj = pl.create_tensor([BATCH, HIDDEN], dtype=pl.FP32)
    k_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    v_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    attn_out = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)

    normed = input_rmsnorm(hidden_states, input_norm_weight, normed, batch, layer_idx)
    q_proj = project_by_tile(normed, wq, q_proj, layer_idx)
    k_proj = project_by_tile(normed, wk, k_proj, layer_idx)
    v_proj = project_by_tile(normed, wv, v_proj, layer_idx)
    k_cache, v_cache, attn_out = separate_attention(
        q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table,
        slot_mapping, k_cache, v_cache, attn_out, layer_idx,
    )  # fmt: skip
    out = partial_products_mlp(
        attn_out, hidden_states, post_norm_weight, wo, w_gate, w_up, w_down, seq_lens, out, layer_idx
    )
    return k_cache, v_cache, out


@pl.jit.inline
def fused_layer(
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
    work: pl.Tensor[[BATCH * MAX_PAGES], pl.INT32],
    work_pages: pl.Tensor[[1], pl.INT32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN], pl.BF16],
    out: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    layer_idx: pl.Scalar[pl.INT32],
    table_ready: pl.Scalar[pl.TASK_ID],
):
    """One layer of the last versions: `split_k`, `fused` with its work table given, `mixed`.

    The attention is launched here without the manual scope of its stage: it has to wait for the projections, and
    the output projection for it. In a manual scope nobody would, for a task there neither looks for the writers
    of what it reads nor is found as one.
    """
    batch = pl.tensor.dim(seq_lens, 0)
    inter = pl.tensor.dim(w_gate, 1)
    weighted = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    scale = pl.create_tensor([1, BATCH], dtype=pl.FP32)
    q_proj = pl.create_tensor([BATCH, HIDDEN], dtype=pl.FP32)
    k_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    v_proj = pl.create_tensor([BATCH, KV_HIDDEN], dtype=pl.FP32)
    attn_out = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    resid = pl.create_tensor([BATCH, HIDDEN], dtype=pl.FP32)
    normed = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    mlp = pl.create_tensor([BATCH, inter], dtype=pl.BF16)

    weighted = weighted_rows(hidden_states, input_norm_weight, weighted, batch, layer_idx)
    scale = rms_scale(hidden_states, scale, batch)
    q_proj = project_by_split(weighted, scale, wq, q_proj, layer_idx)
    k_proj = project_by_split(weighted, scale, wk, k_proj, layer_idx)
    v_proj = project_by_split(weighted, scale, wv, v_proj, layer_idx)
    k_cache, v_cache, attn_out = launch_attention(
        q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens, block_table,
        slot_mapping, work, work_pages, k_cache, v_cache, attn_out, layer_idx, table_ready,
    )  # fmt: skip
    resid = out_proj_residual(attn_out, hidden_states, wo, resid, batch, layer_idx)
    normed = post_rmsnorm(resid, post_norm_weight, normed, layer_idx)
    mlp = gate_up_silu(normed, w_gate, w_up, mlp, layer_idx)
    out = down_proj_residual(mlp, w_down, resid, out, layer_idx)
    return k_cache, v_cache, out


@pl.jit
def naive(
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
    """The first version of every stage, one after the other: 39,668 tasks at 16 x 4096 tokens.

    The idea: stages fit together as they are, since each leaves its result in global memory, whole. It is the layer to
    check the other against.
    """
    k_cache, v_cache, out = naive_layer(
        hidden_states, input_norm_weight, wq, wk, wv, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens,
        block_table, slot_mapping, k_cache, v_cache, wo, post_norm_weight, w_gate, w_up, w_down, out, layer_idx,
    )  # fmt: skip
    return k_cache, v_cache, out


@pl.jit
def fused(
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
    """The last version of every stage: 313 tasks on A2/A3, 325 on A5, at any batch and length.

    The idea: compose what was fused, and let the runtime order it. The attention's barrier needs every core at once,
    and other tasks may be ready at the same time, such as those that fill sums with zeros. `sync_start` keeps the two
    apart: the blocks start together or not at all.
    """
    work = pl.create_tensor([BATCH * MAX_PAGES], dtype=pl.INT32)
    work_pages = pl.create_tensor([1], dtype=pl.INT32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="work_table") as table_ready:
        work, work_pages = list_pages(seq_lens, work, work_pages)
    k_cache, v_cache, out = fused_layer(
        hidden_states, input_norm_weight, wq, wk, wv, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens,
        block_table, slot_mapping, work, work_pages, k_cache, v_cache, wo, post_norm_weight, w_gate, w_up, w_down,
        out, layer_idx, table_ready,
    )  # fmt: skip
    return k_cache, v_cache, out
