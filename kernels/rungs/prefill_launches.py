"""Projections, norms of heads, and what follows attention, in prefill's rungs: one launch a step of a tile of tokens.

Each projection of a pair, K and V, gate and up, has a loop of its own; tiles are as wide as the constants say.
"""

import pypto.language as pl

from kernels.prefill_parts.tiles import (
    DEPTH_DYN,
    HIDDEN_DYN,
    HIDDEN_ROWS_DYN,
    INTER_DYN,
    INTER_ROWS_DYN,
    KV_BLOCKS,
    LAYERS_DYN,
    MLP_BLOCKS,
    NORM_BLOCKS,
    NORM_ROWS,
    OUT_BLOCKS,
    Q_BLOCKS,
    Q_ROWS_DYN,
    Q_WIDTH,
    QKV_GROUP,
    ROPE_BLOCKS,
    TILE,
    TILE_K,
    TOKENS_DYN,
    WEIGHT_ROWS_DYN,
    WIDTH_DYN,
    X_ROWS_DYN,
    head_norm,
    norm_hidden,
    norm_resid,
)
from kernels.qwen3 import (
    HEAD_DIM,
    HEADS,
    KV_HEADS,
    KV_HIDDEN,
    Q_PAD,
)

# Tiles of the projections; those of `per_token` are 64 columns wide.
PROJ_N = 64  # of Q
PROJ_KV_N = 64  # of K and V
# Tiles after attention; those of `per_token` are 64 and 128 columns wide.
END_N = 64  # of the output projection
END_MLP_N = 128  # of gate, up and down
END_ROWS = 64  # of the vector work, whose tiles are as wide:
END_VECTOR_N = 64
END_MLP_VECTOR_N = 128
AHEAD = 1  # tiles of each operand of a product on chip; 2: one loads while the other is multiplied


@pl.jit.inline
def kv_product(
    x: pl.Tensor[[X_ROWS_DYN, DEPTH_DYN], pl.BF16],
    weight: pl.Tensor[[WEIGHT_ROWS_DYN, WIDTH_DYN], pl.BF16],
    rows: pl.Scalar[pl.INDEX],
    weight_row: pl.Scalar[pl.INDEX],
    n0: pl.Scalar[pl.INDEX],
):
    """x[:rows, :] @ weight[weight_row :, n0 : n0 + PROJ_KV_N]."""
    acc = pl.create_tensor([TILE, PROJ_KV_N], dtype=pl.FP32)
    for kb in pl.pipeline(pl.tensor.dim(x, 1) // TILE_K, stage=AHEAD):
        x_k = pl.slice(x, [TILE, TILE_K], [0, kb * TILE_K], valid_shape=[rows, TILE_K])
        w_k = pl.slice(weight, [TILE_K, PROJ_KV_N], [weight_row + kb * TILE_K, n0])
        acc = pl.matmul_acc(acc, x_k, w_k, init_cond=(kb == 0))
    product = pl.set_validshape(acc, rows, PROJ_KV_N)
    return product


@pl.jit.inline
def mlp_product(
    x: pl.Tensor[[X_ROWS_DYN, DEPTH_DYN], pl.BF16],
    weight: pl.Tensor[[WEIGHT_ROWS_DYN, WIDTH_DYN], pl.BF16],
    rows: pl.Scalar[pl.INDEX],
    weight_row: pl.Scalar[pl.INDEX],
    n0: pl.Scalar[pl.INDEX],
):
    """x[:rows, :] @ weight[weight_row :, n0 : n0 + END_MLP_N]."""
    acc = pl.create_tensor([TILE, END_MLP_N], dtype=pl.FP32)
    for kb in pl.pipeline(pl.tensor.dim(x, 1) // TILE_K, stage=AHEAD):
        x_k = pl.slice(x, [TILE, TILE_K], [0, kb * TILE_K], valid_shape=[rows, TILE_K])
        w_k = pl.slice(weight, [TILE_K, END_MLP_N], [weight_row + kb * TILE_K, n0])
        acc = pl.matmul_acc(acc, x_k, w_k, init_cond=(kb == 0))
    product = pl.set_validshape(acc, rows, END_MLP_N)
    return product


@pl.jit.inline
def projections_in_launches(
    hidden_states: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, Q_WIDTH], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_proj: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_proj: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    row: pl.Scalar[pl.INDEX],
    rows: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Norm, Q, K and V of one tile, a launch for each but K and V, whose blocks stride over the tiles of the cube."""
    hidden = pl.tensor.dim(input_norm_weight, 1)
    weight_row = layer_idx * hidden
    normed = pl.create_tensor([TILE, hidden], dtype=pl.BF16)

    for block in pl.spmd(NORM_BLOCKS, name_hint="input_rmsnorm"):
        for group in pl.range(block, (rows + NORM_ROWS - 1) // NORM_ROWS, NORM_BLOCKS):
            first = group * NORM_ROWS
            count = pl.min(NORM_ROWS, rows - first)
            normed = norm_hidden(hidden_states, input_norm_weight, normed, row + first, first, count, layer_idx)

    for block in pl.spmd(Q_BLOCKS, name_hint="q_proj"):
        for item in pl.range(block, Q_WIDTH // PROJ_N, Q_BLOCKS):
            q_acc = pl.create_tensor([TILE, PROJ_N], dtype=pl.FP32)
            for kb in pl.pipeline(hidden // TILE_K, stage=AHEAD):
                x_k = pl.slice(normed, [TILE, TILE_K], [0, kb * TILE_K], valid_shape=[rows, TILE_K])
                wq_k = pl.slice(wq, [TILE_K, PROJ_N], [weight_row + kb * TILE_K, item * PROJ_N])
                q_acc = pl.matmul_acc(q_acc, x_k, wq_k, init_cond=(kb == 0))
            q_proj = pl.assemble(q_proj, pl.set_validshape(q_acc, rows, PROJ_N), [0, item * PROJ_N])

    for block in pl.spmd(KV_BLOCKS, name_hint="kv_proj"):
        for item in pl.range(block, KV_HIDDEN // PROJ_KV_N, KV_BLOCKS):
            k_acc = kv_product(normed, wk, rows, weight_row, item * PROJ_KV_N)
            k_proj = pl.assemble(k_proj, k_acc, [0, item * PROJ_KV_N])
            v_acc = kv_product(normed, wv, rows, weight_row, item * PROJ_KV_N)
            v_proj = pl.assemble(v_proj, v_acc, [0, item * PROJ_KV_N])
    return q_proj, k_proj, v_proj


@pl.jit.inline
def norms_in_launches(
    q_proj: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_proj: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    q_normed: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_normed: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_parts: pl.Tensor[[KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], pl.FP32],
    rows: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """The heads of Q and K, normed, a launch each; V as `turned_window` takes it."""
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
            g_acc = mlp_product(normed, w_gate, rows, weight_row, item * END_MLP_N)
            gate = pl.assemble(gate, g_acc, [0, item * END_MLP_N])

    for block in pl.spmd(MLP_BLOCKS, name_hint="up_proj"):
        for item in pl.range(block, inter // END_MLP_N, MLP_BLOCKS):
            u_acc = mlp_product(normed, w_up, rows, weight_row, item * END_MLP_N)
            up = pl.assemble(up, u_acc, [0, item * END_MLP_N])

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
            d_acc = mlp_product(mlp, w_down, rows, down_row, item * END_MLP_N)
            down = pl.assemble(down, d_acc, [0, item * END_MLP_N])

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
