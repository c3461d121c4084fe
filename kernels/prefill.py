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

from kernels.prefill_parts.by_chunk import (
    attention,
    causal_mask,
    layer_end,
    projections,
)
from kernels.prefill_parts.by_token import (
    tile_layer_end,
    tile_projections,
    token_attention,
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
    TABLE_DYN,
    TILE,
    TOKENS_DYN,
    WINDOW,
)
from kernels.qwen3 import (
    HEAD_DIM,
    KV_HIDDEN,
)


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
