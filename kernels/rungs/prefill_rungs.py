"""Prefill between `per_token` and `spmd` of stage prefill: what follows attention in steps, then the projections."""

import pypto.language as pl

from kernels.prefill_parts.by_chunk import (
    layer_end,
    projections,
)
from kernels.prefill_parts.by_token import (
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
    MLP_BLOCKS,
    NORM_BLOCKS,
    NORM_ROWS,
    OUT_BLOCKS,
    Q_ROWS_DYN,
    Q_WIDTH,
    QKV_GROUP,
    ROPE_BLOCKS,
    ROPE_ROWS_DYN,
    TABLE_DYN,
    TILE,
    TILE_K,
    TOKENS_DYN,
    head_norm,
    norm_resid,
)
from kernels.qwen3 import HEAD_DIM, HEADS, KV_HEADS, KV_HIDDEN, Q_PAD

# Tiles after attention; those of `per_token` are 64 and 128 columns wide.
END_N = 64  # of the output projection
END_MLP_N = 128  # of gate, up and down
END_ROWS = 64  # of the vector work, whose tiles are as wide:
END_VECTOR_N = 64
END_MLP_VECTOR_N = 128
AHEAD = 1  # tiles of each operand on chip; 2: one loads while the other is multiplied


@pl.jit.inline
def end_in_launches(
    attn: pl.Tensor[[TILE, Q_WIDTH], pl.BF16],
    hidden_states: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    wo: pl.Tensor[[Q_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    row: pl.Scalar[pl.INDEX],
    rows: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """`tile_layer_end` with one launch a step, whose blocks stride over the tiles."""
    hidden = pl.tensor.dim(wo, 1)
    inter = pl.tensor.dim(w_gate, 1)
    weight_row = layer_idx * hidden
    wo_row = layer_idx * Q_WIDTH
    down_row = layer_idx * inter
    parts = (rows + END_ROWS - 1) // END_ROWS  # of the vector work
    projected = pl.create_tensor([TILE, hidden], dtype=pl.FP32)
    resid = pl.create_tensor([TILE, hidden], dtype=pl.FP32)
    normed = pl.create_tensor([TILE, hidden], dtype=pl.BF16)
    gate = pl.create_tensor([TILE, inter], dtype=pl.FP32)
    up = pl.create_tensor([TILE, inter], dtype=pl.FP32)
    mlp = pl.create_tensor([TILE, inter], dtype=pl.BF16)
    down = pl.create_tensor([TILE, hidden], dtype=pl.FP32)

    for block in pl.spmd(OUT_BLOCKS, name_hint="out_proj"):
        for item in pl.range(block, hidden // END_N, OUT_BLOCKS):
            o_acc = pl.create_tensor([TILE, END_N], dtype=pl.FP32)
            for kb in pl.pipeline(Q_WIDTH // TILE_K, stage=AHEAD):
                a_k = pl.slice(attn, [TILE, TILE_K], [0, kb * TILE_K], valid_shape=[rows, TILE_K])
                wo_k = pl.slice(wo, [TILE_K, END_N], [wo_row + kb * TILE_K, item * END_N])
                o_acc = pl.matmul_acc(o_acc, a_k, wo_k, init_cond=(kb == 0))
            projected = pl.assemble(projected, pl.set_validshape(o_acc, rows, END_N), [0, item * END_N])

    for block in pl.spmd(OUT_BLOCKS, name_hint="out_proj_residual"):
        for item in pl.range(block, hidden // END_VECTOR_N * parts, OUT_BLOCKS):
            first = item % parts * END_ROWS
            count = pl.min(END_ROWS, rows - first)
            n0 = item // parts * END_VECTOR_N
            x = pl.slice(hidden_states, [END_ROWS, END_VECTOR_N], [row + first, n0], valid_shape=[count, END_VECTOR_N])
            o = pl.slice(projected, [END_ROWS, END_VECTOR_N], [first, n0], valid_shape=[count, END_VECTOR_N])
            resid = pl.assemble(resid, pl.add(pl.cast(x, target_type=pl.FP32), o), [first, n0])

    for block in pl.spmd(NORM_BLOCKS, name_hint="post_rmsnorm"):
        for group in pl.range(block, (rows + NORM_ROWS - 1) // NORM_ROWS, NORM_BLOCKS):
            n_first = group * NORM_ROWS
            n_count = pl.min(NORM_ROWS, rows - n_first)
            normed = norm_resid(resid, post_norm_weight, normed, n_first, n_count, layer_idx)

    for block in pl.spmd(MLP_BLOCKS, name_hint="gate_proj"):
        for item in pl.range(block, inter // END_MLP_N, MLP_BLOCKS):
            g_acc = pl.create_tensor([TILE, END_MLP_N], dtype=pl.FP32)
            for kb in pl.pipeline(hidden // TILE_K, stage=AHEAD):
                x_k = pl.slice(normed, [TILE, TILE_K], [0, kb * TILE_K], valid_shape=[rows, TILE_K])
                gate_k = pl.slice(w_gate, [TILE_K, END_MLP_N], [weight_row + kb * TILE_K, item * END_MLP_N])
                g_acc = pl.matmul_acc(g_acc, x_k, gate_k, init_cond=(kb == 0))
            gate = pl.assemble(gate, pl.set_validshape(g_acc, rows, END_MLP_N), [0, item * END_MLP_N])

    for block in pl.spmd(MLP_BLOCKS, name_hint="up_proj"):
        for item in pl.range(block, inter // END_MLP_N, MLP_BLOCKS):
            u_acc = pl.create_tensor([TILE, END_MLP_N], dtype=pl.FP32)
            for kb in pl.pipeline(hidden // TILE_K, stage=AHEAD):
                x_u = pl.slice(normed, [TILE, TILE_K], [0, kb * TILE_K], valid_shape=[rows, TILE_K])
                up_k = pl.slice(w_up, [TILE_K, END_MLP_N], [weight_row + kb * TILE_K, item * END_MLP_N])
                u_acc = pl.matmul_acc(u_acc, x_u, up_k, init_cond=(kb == 0))
            up = pl.assemble(up, pl.set_validshape(u_acc, rows, END_MLP_N), [0, item * END_MLP_N])

    for block in pl.spmd(MLP_BLOCKS, name_hint="silu"):
        for item in pl.range(block, inter // END_MLP_VECTOR_N * parts, MLP_BLOCKS):
            s_first = item % parts * END_ROWS
            s_count = pl.min(END_ROWS, rows - s_first)
            s0 = item // parts * END_MLP_VECTOR_N
            g_n = pl.slice(gate, [END_ROWS, END_MLP_VECTOR_N], [s_first, s0], valid_shape=[s_count, END_MLP_VECTOR_N])
            sigmoid = pl.recip(pl.add(pl.exp(pl.neg(g_n)), 1.0))
            u_n = pl.slice(up, [END_ROWS, END_MLP_VECTOR_N], [s_first, s0], valid_shape=[s_count, END_MLP_VECTOR_N])
            activated = pl.mul(pl.mul(g_n, sigmoid), u_n)
            mlp = pl.assemble(mlp, pl.cast(activated, target_type=pl.BF16, mode="rint"), [s_first, s0])

    for block in pl.spmd(OUT_BLOCKS, name_hint="down_proj"):
        for item in pl.range(block, hidden // END_MLP_N, OUT_BLOCKS):
            d_acc = pl.create_tensor([TILE, END_MLP_N], dtype=pl.FP32)
            for kb in pl.pipeline(inter // TILE_K, stage=AHEAD):
                m_k = pl.slice(mlp, [TILE, TILE_K], [0, kb * TILE_K], valid_shape=[rows, TILE_K])
                down_k = pl.slice(w_down, [TILE_K, END_MLP_N], [down_row + kb * TILE_K, item * END_MLP_N])
                d_acc = pl.matmul_acc(d_acc, m_k, down_k, init_cond=(kb == 0))
            down = pl.assemble(down, pl.set_validshape(d_acc, rows, END_MLP_N), [0, item * END_MLP_N])

    for block in pl.spmd(OUT_BLOCKS, name_hint="down_proj_residual"):
        for item in pl.range(block, hidden // END_MLP_VECTOR_N * parts, OUT_BLOCKS):
            d_first = item % parts * END_ROWS
            d_count = pl.min(END_ROWS, rows - d_first)
            d0 = item // parts * END_MLP_VECTOR_N
            r = pl.slice(resid, [END_ROWS, END_MLP_VECTOR_N], [d_first, d0], valid_shape=[d_count, END_MLP_VECTOR_N])
            d = pl.slice(down, [END_ROWS, END_MLP_VECTOR_N], [d_first, d0], valid_shape=[d_count, END_MLP_VECTOR_N])
            result = pl.cast(pl.add(r, d), target_type=pl.BF16, mode="rint")
            hidden_states = pl.assemble(hidden_states, result, [row + d_first, d0])
    return hidden_states


@pl.jit.inline
def projections_in_steps(
    hidden_states: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, Q_WIDTH], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    q_normed: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_normed: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_parts: pl.Tensor[[KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], pl.FP32],
    row: pl.Scalar[pl.INDEX],
    rows: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """`tile_projections` in the launches of `spmd`, then norms head by head, and V as `token_attention` takes it."""
    q_proj = pl.create_tensor([TILE, Q_WIDTH], dtype=pl.FP32)
    k_proj = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
    v_proj = pl.create_tensor([TILE, KV_HIDDEN], dtype=pl.FP32)
    q_proj, k_proj, v_proj = projections(
        hidden_states, input_norm_weight, wq, wk, wv, q_proj, k_proj, v_proj, row, rows, layer_idx
    )
    groups = (rows + Q_PAD - 1) // Q_PAD
    for block in pl.spmd(ROPE_BLOCKS, name_hint="q_norm"):
        q_weight = pl.slice(q_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        for item in pl.range(block, HEADS * groups, ROPE_BLOCKS):
            first = item // HEADS * Q_PAD
            count = pl.min(Q_PAD, rows - first)
            column = item % HEADS * HEAD_DIM
            q = pl.slice(q_proj, [Q_PAD, HEAD_DIM], [first, column], valid_shape=[count, HEAD_DIM])
            q = head_norm(q, q_weight)
            q_normed = pl.assemble(q_normed, q, [first, column])
    for block in pl.spmd(ROPE_BLOCKS, name_hint="k_norm"):
        k_weight = pl.slice(k_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        for item in pl.range(block, KV_HEADS * groups, ROPE_BLOCKS):
            k_first = item // KV_HEADS * Q_PAD
            k_count = pl.min(Q_PAD, rows - k_first)
            k_column = item % KV_HEADS * HEAD_DIM
            k = pl.slice(k_proj, [Q_PAD, HEAD_DIM], [k_first, k_column], valid_shape=[k_count, HEAD_DIM])
            k = head_norm(k, k_weight)
            k_normed = pl.assemble(k_normed, k, [k_first, k_column])
            v = pl.slice(v_proj, [Q_PAD, HEAD_DIM], [k_first, k_column], valid_shape=[k_count, HEAD_DIM])
            v_parts = pl.assemble(v_parts, v, [k_column // QKV_GROUP * TILE + k_first, k_column % QKV_GROUP])
    return q_normed, k_normed, v_parts


@pl.jit
def end_step_by_step(
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
    """`per_token` whose output projection and MLP are one launch a step; gate and up are two of them."""
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
                hidden_states = end_in_launches(
                    attn, hidden_states, wo, post_norm_weight, w_gate, w_up, w_down, row, rows, layer_idx
                )
    return k_cache, v_cache, hidden_states


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
    """`per_token` whose output projection and MLP are those of `spmd`: gate and up share a launch and its loop."""
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


@pl.jit
def all_but_attention(
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
    """`end_by_steps` whose projections are those of `spmd`, too: only attention goes token by token."""
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
                q_normed, k_normed, v_proj = projections_in_steps(
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
