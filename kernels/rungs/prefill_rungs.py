"""Prefill between `per_token` and `spmd` of stage prefill: what follows attention in the form of `spmd`."""

import pypto.language as pl

from kernels.prefill import (
    BATCH_DYN,
    CACHE_ROWS_DYN,
    HIDDEN_DYN,
    HIDDEN_ROWS_DYN,
    INTER_DYN,
    INTER_ROWS_DYN,
    LAYERS_DYN,
    Q_ROWS_DYN,
    Q_WIDTH,
    QKV_GROUP,
    ROPE_ROWS_DYN,
    TABLE_DYN,
    TILE,
    TOKENS_DYN,
    layer_end,
    tile_projections,
    token_attention,
)
from kernels.qwen3 import HEAD_DIM, KV_HIDDEN


@pl.jit
def end_by_steps(
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
    """`per_token` whose output projection and MLP are one launch a step, with wide tiles and loads that run ahead."""
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
                hidden_states = layer_end(
                    attn, hidden_states, wo, post_norm_weight, w_gate, w_up, w_down, row, rows, layer_idx
                )
    return k_cache, v_cache, hidden_states
