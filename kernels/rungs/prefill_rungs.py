"""Prefill between `per_token` and `spmd` of stage prefill: first how attention is cut and launched, then the rest."""

import pypto.language as pl

from kernels.prefill_parts.by_chunk import (
    attend,
    causal_mask,
    layer_end,
    projections,
)
from kernels.prefill_parts.by_token import (
    tile_layer_end,
    tile_projections,
)
from kernels.prefill_parts.tiles import (
    BATCH_DYN,
    CACHE_ROWS_DYN,
    HIDDEN_DYN,
    HIDDEN_ROWS_DYN,
    INTER_DYN,
    INTER_ROWS_DYN,
    LAYERS_DYN,
    MASK_N,
    Q_ROWS_DYN,
    Q_WIDTH,
    QKV_GROUP,
    ROPE_ROWS_DYN,
    SCRATCH_ROWS,
    TABLE_DYN,
    TILE,
    TOKENS_DYN,
    WINDOW,
)
from kernels.qwen3 import HEAD_DIM, KV_HIDDEN
from kernels.rungs.prefill_launches import (
    end_in_launches,
    norms_in_launches,
    projections_in_launches,
)
from kernels.rungs.prefill_windows import (
    one_window,
    one_window_at_once,
    turned_windows,
)


@pl.jit
def sixteen_tokens(
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
    """`per_token` whose attention takes windows of 16 tokens, in the same phases, each of a KV head a task."""
    layers = pl.tensor.dim(input_norm_weight, 0)
    mask = pl.create_tensor([WINDOW, MASK_N], dtype=pl.FP32)
    mask = causal_mask(mask)
    for layer_idx in pl.range(layers):
        layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // layers)
        for b in pl.range(pl.tensor.dim(seq_lens, 0)):
            chunk = pl.cast(pl.tensor.read(chunk_lens, [b]), pl.INDEX)
            first_pos = pl.cast(pl.tensor.read(seq_lens, [b]), pl.INDEX) - chunk
            for tile in pl.range((chunk + TILE - 1) // TILE):
                rows = pl.min(TILE, chunk - tile * TILE)
                row = pl.cast(pl.tensor.read(chunk_offsets, [b]), pl.INDEX) + tile * TILE
                start = first_pos + tile * TILE
                end = start + rows
                base = start // WINDOW
                windows = (end - 1) // WINDOW - base + 1
                q_normed = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.FP32)
                k_normed = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                v_parts = pl.create_tensor([KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], dtype=pl.FP32)
                attn = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.BF16)
                q_normed, k_normed, v_parts = tile_projections(
                    hidden_states, input_norm_weight, wq, wk, wv, q_norm_weight, k_norm_weight,
                    q_normed, k_normed, v_parts, row, rows, layer_idx,
                )  # fmt: skip
                for w in pl.range(windows):
                    first = pl.max(start, (base + w) * WINDOW)
                    count = pl.min(end, (base + w + 1) * WINDOW) - first
                    slot = pl.cast(pl.tensor.read(slot_mapping, [row + first - start]), pl.INDEX)
                    k_cache, v_cache, attn = one_window(
                        q_normed, k_normed, v_parts, rope_cos, rope_sin, block_table, mask, k_cache, v_cache, attn,
                        b, first - start, count, first, first + count, slot, layer_row,
                    )  # fmt: skip
                hidden_states = tile_layer_end(
                    attn, hidden_states, wo, post_norm_weight, w_gate, w_up, w_down, row, rows, layer_idx
                )
    return k_cache, v_cache, hidden_states


@pl.jit
def one_end(
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
    """`sixteen_tokens` with one task for what follows the products of a window, not four."""
    layers = pl.tensor.dim(input_norm_weight, 0)
    mask = pl.create_tensor([WINDOW, MASK_N], dtype=pl.FP32)
    mask = causal_mask(mask)
    for layer_idx in pl.range(layers):
        layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // layers)
        for b in pl.range(pl.tensor.dim(seq_lens, 0)):
            chunk = pl.cast(pl.tensor.read(chunk_lens, [b]), pl.INDEX)
            first_pos = pl.cast(pl.tensor.read(seq_lens, [b]), pl.INDEX) - chunk
            for tile in pl.range((chunk + TILE - 1) // TILE):
                rows = pl.min(TILE, chunk - tile * TILE)
                row = pl.cast(pl.tensor.read(chunk_offsets, [b]), pl.INDEX) + tile * TILE
                start = first_pos + tile * TILE
                end = start + rows
                base = start // WINDOW
                windows = (end - 1) // WINDOW - base + 1
                q_normed = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.FP32)
                k_normed = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                v_parts = pl.create_tensor([KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], dtype=pl.FP32)
                attn = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.BF16)
                q_normed, k_normed, v_parts = tile_projections(
                    hidden_states, input_norm_weight, wq, wk, wv, q_norm_weight, k_norm_weight,
                    q_normed, k_normed, v_parts, row, rows, layer_idx,
                )  # fmt: skip
                for w in pl.range(windows):
                    first = pl.max(start, (base + w) * WINDOW)
                    count = pl.min(end, (base + w + 1) * WINDOW) - first
                    slot = pl.cast(pl.tensor.read(slot_mapping, [row + first - start]), pl.INDEX)
                    k_cache, v_cache, attn = one_window_at_once(
                        q_normed, k_normed, v_parts, rope_cos, rope_sin, block_table, mask, k_cache, v_cache, attn,
                        b, first - start, count, first, first + count, slot, layer_row,
                    )  # fmt: skip
                hidden_states = tile_layer_end(
                    attn, hidden_states, wo, post_norm_weight, w_gate, w_up, w_down, row, rows, layer_idx
                )
    return k_cache, v_cache, hidden_states


@pl.jit
def attention_step_by_step(
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
    """`one_end` with one launch a step of attention, not a task a window and KV head."""
    layers = pl.tensor.dim(input_norm_weight, 0)
    mask = pl.create_tensor([WINDOW, MASK_N], dtype=pl.FP32)
    mask = causal_mask(mask)
    for layer_idx in pl.range(layers):
        layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // layers)
        for b in pl.range(pl.tensor.dim(seq_lens, 0)):
            chunk = pl.cast(pl.tensor.read(chunk_lens, [b]), pl.INDEX)
            first_pos = pl.cast(pl.tensor.read(seq_lens, [b]), pl.INDEX) - chunk
            for tile in pl.range((chunk + TILE - 1) // TILE):
                rows = pl.min(TILE, chunk - tile * TILE)
                row = pl.cast(pl.tensor.read(chunk_offsets, [b]), pl.INDEX) + tile * TILE
                start = first_pos + tile * TILE
                end = start + rows
                base = start // WINDOW
                windows = (end - 1) // WINDOW - base + 1
                q_normed = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.FP32)
                k_normed = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                v_parts = pl.create_tensor([KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], dtype=pl.FP32)
                attn = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.BF16)
                q_normed, k_normed, v_parts = tile_projections(
                    hidden_states, input_norm_weight, wq, wk, wv, q_norm_weight, k_norm_weight,
                    q_normed, k_normed, v_parts, row, rows, layer_idx,
                )  # fmt: skip
                q_windows = pl.create_tensor([SCRATCH_ROWS, HEAD_DIM], dtype=pl.BF16)
                k_cache, v_cache, q_windows = turned_windows(
                    q_normed, k_normed, v_parts, rope_cos, rope_sin, slot_mapping, k_cache, v_cache, q_windows,
                    start, end, base, windows, row, layer_row,
                )  # fmt: skip
                attn = attend(
                    q_windows, k_cache, v_cache, block_table, mask, attn, b, start, end, base, windows, 0, layer_row
                )
                hidden_states = tile_layer_end(
                    attn, hidden_states, wo, post_norm_weight, w_gate, w_up, w_down, row, rows, layer_idx
                )
    return k_cache, v_cache, hidden_states


@pl.jit
def all_step_by_step(
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
    """`attention_step_by_step` with one launch a step of everything, not a task a tile."""
    layers = pl.tensor.dim(input_norm_weight, 0)
    mask = pl.create_tensor([WINDOW, MASK_N], dtype=pl.FP32)
    mask = causal_mask(mask)
    for layer_idx in pl.range(layers):
        layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // layers)
        for b in pl.range(pl.tensor.dim(seq_lens, 0)):
            chunk = pl.cast(pl.tensor.read(chunk_lens, [b]), pl.INDEX)
            first_pos = pl.cast(pl.tensor.read(seq_lens, [b]), pl.INDEX) - chunk
            for tile in pl.range((chunk + TILE - 1) // TILE):
                rows = pl.min(TILE, chunk - tile * TILE)
                row = pl.cast(pl.tensor.read(chunk_offsets, [b]), pl.INDEX) + tile * TILE
                start = first_pos + tile * TILE
                end = start + rows
                base = start // WINDOW
                windows = (end - 1) // WINDOW - base + 1
                q_normed = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.FP32)
                k_normed = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                v_parts = pl.create_tensor([KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], dtype=pl.FP32)
                attn = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.BF16)
                q_proj = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.FP32)
                k_proj = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                v_proj = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                q_proj, k_proj, v_proj = projections_in_launches(
                    hidden_states, input_norm_weight, wq, wk, wv, q_proj, k_proj, v_proj, row, rows, layer_idx
                )
                q_normed, k_normed, v_parts = norms_in_launches(
                    q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, q_normed, k_normed, v_parts, rows, layer_idx
                )
                q_windows = pl.create_tensor([SCRATCH_ROWS, HEAD_DIM], dtype=pl.BF16)
                k_cache, v_cache, q_windows = turned_windows(
                    q_normed, k_normed, v_parts, rope_cos, rope_sin, slot_mapping, k_cache, v_cache, q_windows,
                    start, end, base, windows, row, layer_row,
                )  # fmt: skip
                attn = attend(
                    q_windows, k_cache, v_cache, block_table, mask, attn, b, start, end, base, windows, 0, layer_row
                )
                hidden_states = end_in_launches(
                    attn, hidden_states, wo, post_norm_weight, w_gate, w_up, w_down, row, rows, layer_idx
                )
    return k_cache, v_cache, hidden_states


@pl.jit
def shared_loops(
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
    """`all_step_by_step` with one loop for K and V, and one for gate and up; `spmd` with norms of heads before RoPE."""
    layers = pl.tensor.dim(input_norm_weight, 0)
    mask = pl.create_tensor([WINDOW, MASK_N], dtype=pl.FP32)
    mask = causal_mask(mask)
    for layer_idx in pl.range(layers):
        layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // layers)
        for b in pl.range(pl.tensor.dim(seq_lens, 0)):
            chunk = pl.cast(pl.tensor.read(chunk_lens, [b]), pl.INDEX)
            first_pos = pl.cast(pl.tensor.read(seq_lens, [b]), pl.INDEX) - chunk
            for tile in pl.range((chunk + TILE - 1) // TILE):
                rows = pl.min(TILE, chunk - tile * TILE)
                row = pl.cast(pl.tensor.read(chunk_offsets, [b]), pl.INDEX) + tile * TILE
                start = first_pos + tile * TILE
                end = start + rows
                base = start // WINDOW
                windows = (end - 1) // WINDOW - base + 1
                q_normed = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.FP32)
                k_normed = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                v_parts = pl.create_tensor([KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], dtype=pl.FP32)
                attn = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.BF16)
                q_proj = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.FP32)
                k_proj = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                v_proj = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
                q_proj, k_proj, v_proj = projections(
                    hidden_states, input_norm_weight, wq, wk, wv, q_proj, k_proj, v_proj, row, rows, layer_idx
                )
                q_normed, k_normed, v_parts = norms_in_launches(
                    q_proj, k_proj, v_proj, q_norm_weight, k_norm_weight, q_normed, k_normed, v_parts, rows, layer_idx
                )
                q_windows = pl.create_tensor([SCRATCH_ROWS, HEAD_DIM], dtype=pl.BF16)
                k_cache, v_cache, q_windows = turned_windows(
                    q_normed, k_normed, v_parts, rope_cos, rope_sin, slot_mapping, k_cache, v_cache, q_windows,
                    start, end, base, windows, row, layer_row,
                )  # fmt: skip
                attn = attend(
                    q_windows, k_cache, v_cache, block_table, mask, attn, b, start, end, base, windows, 0, layer_row
                )
                hidden_states = layer_end(
                    attn, hidden_states, wo, post_norm_weight, w_gate, w_up, w_down, row, rows, layer_idx
                )
    return k_cache, v_cache, hidden_states
