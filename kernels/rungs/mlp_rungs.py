"""The MLP between `accumulate` and `mixed` of stage mlp: launches for tiles or steps, wide tiles, a shared loop."""

import pypto.language as pl

from kernels.mlp import BATCH_DYN, HIDDEN_DYN, HIDDEN_ROWS_DYN, INTER_DYN, INTER_ROWS_DYN, LAYERS_DYN, post_rmsnorm
from kernels.qwen3 import BATCH

# Tiles: those of `accumulate` are OUT_N 64, DOWN_N 128, DOWN_K 64.
OUT_N = 256  # columns of the output projection, of gate and of up
OUT_K = 128  # depth of a step of their K-loops
DOWN_N = 256  # columns of the down projection
DOWN_K = 128  # depth of a step of its K-loop
AHEAD = 2  # tiles of each operand on chip; 1: none loads while another is multiplied


# A tile of each product, in whatever task it is called: all steps of K in one loop.


@pl.jit.inline
def out_tile(
    attn_out: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    n0: pl.Scalar[pl.INDEX],
    batch: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """OUT_N columns of attn_out @ this layer's wo, the real rows of them."""
    hidden = pl.tensor.dim(wo, 1)
    acc = pl.create_tensor([BATCH, OUT_N], dtype=pl.FP32)
    for kb in pl.pipeline(hidden // OUT_K, stage=AHEAD):
        x_k = pl.slice(attn_out, [BATCH, OUT_K], [0, kb * OUT_K], valid_shape=[batch, OUT_K])
        w_k = pl.slice(wo, [OUT_K, OUT_N], [layer_idx * hidden + kb * OUT_K, n0])
        acc = pl.matmul_acc(acc, x_k, w_k, init_cond=(kb == 0))
    return acc


@pl.jit.inline
def inter_tile(
    normed: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    weight: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    n0: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """OUT_N columns of normed @ this layer's w_gate or w_up."""
    hidden = pl.tensor.dim(normed, 1)
    acc = pl.create_tensor([BATCH, OUT_N], dtype=pl.FP32)
    for kb in pl.pipeline(hidden // OUT_K, stage=AHEAD):
        x_k = pl.slice(normed, [BATCH, OUT_K], [0, kb * OUT_K])
        w_k = pl.slice(weight, [OUT_K, OUT_N], [layer_idx * hidden + kb * OUT_K, n0])
        acc = pl.matmul_acc(acc, x_k, w_k, init_cond=(kb == 0))
    return acc


@pl.jit.inline
def down_tile(
    mlp: pl.Tensor[[BATCH, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    n0: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """DOWN_N columns of mlp @ this layer's w_down."""
    inter = pl.tensor.dim(mlp, 1)
    acc = pl.create_tensor([BATCH, DOWN_N], dtype=pl.FP32)
    for kb in pl.pipeline(inter // DOWN_K, stage=AHEAD):
        x_k = pl.slice(mlp, [BATCH, DOWN_K], [0, kb * DOWN_K])
        w_k = pl.slice(w_down, [DOWN_K, DOWN_N], [layer_idx * inter + kb * DOWN_K, n0])
        acc = pl.matmul_acc(acc, x_k, w_k, init_cond=(kb == 0))
    return acc


# What follows a product, a tile of it.


@pl.jit.inline
def with_hidden(
    hidden_states: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    projected: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    n0: pl.Scalar[pl.INDEX],
    batch: pl.Scalar[pl.INDEX],
):
    """hidden + projected, zero beyond the real rows."""
    rows = pl.slice(hidden_states, [BATCH, OUT_N], [0, n0], valid_shape=[batch, OUT_N])
    product = pl.slice(projected, [BATCH, OUT_N], [0, n0], valid_shape=[batch, OUT_N])
    result = pl.fillpad(pl.add(pl.cast(rows, target_type=pl.FP32), product), pad_value=pl.PadValue.zero)
    return result


@pl.jit.inline
def activated(
    gate: pl.Tensor[[BATCH, INTER_DYN], pl.FP32],
    up: pl.Tensor[[BATCH, INTER_DYN], pl.FP32],
    n0: pl.Scalar[pl.INDEX],
):
    """silu(gate) * up, rounded to BF16."""
    g = pl.slice(gate, [BATCH, OUT_N], [0, n0])
    u = pl.slice(up, [BATCH, OUT_N], [0, n0])
    sigmoid = pl.recip(pl.add(pl.exp(pl.neg(g)), 1.0))
    result = pl.cast(pl.mul(pl.mul(g, sigmoid), u), target_type=pl.BF16, mode="rint")
    return result


@pl.jit.inline
def with_resid(
    resid: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    total: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    n0: pl.Scalar[pl.INDEX],
):
    """resid + total, rounded to BF16."""
    r = pl.slice(resid, [BATCH, DOWN_N], [0, n0])
    result = pl.cast(pl.add(r, pl.slice(total, [BATCH, DOWN_N], [0, n0])), target_type=pl.BF16, mode="rint")
    return result


# The rungs.


@pl.jit
def tile_by_tile(
    attn_out: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    hidden_states: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    out: pl.Out[pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """`accumulate` whose K-loops have their first product inside, with tiles of any width: a launch for each tile."""
    batch = pl.tensor.dim(seq_lens, 0)
    hidden = pl.tensor.dim(hidden_states, 1)
    inter = pl.tensor.dim(w_gate, 1)
    resid = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)
    projected = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)
    normed = pl.create_tensor([BATCH, hidden], dtype=pl.BF16)
    gate = pl.create_tensor([BATCH, inter], dtype=pl.FP32)
    up = pl.create_tensor([BATCH, inter], dtype=pl.FP32)
    mlp = pl.create_tensor([BATCH, inter], dtype=pl.BF16)
    total = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)

    for tile in pl.parallel(hidden // OUT_N):
        n0 = tile * OUT_N
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="out_proj"):
            o_acc = out_tile(attn_out, wo, n0, batch, layer_idx)
            projected = pl.assemble(projected, o_acc, [0, n0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="add_residual"):
            o_sum = with_hidden(hidden_states, projected, n0, batch)
            resid = pl.assemble(resid, o_sum, [0, n0])

    normed = post_rmsnorm(resid, norm_weight, normed, layer_idx)

    for tile in pl.parallel(inter // OUT_N):
        k0 = tile * OUT_N
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="gate_or_up"):
            g_acc = inter_tile(normed, w_gate, k0, layer_idx)
            gate = pl.assemble(gate, g_acc, [0, k0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="gate_or_up"):
            u_acc = inter_tile(normed, w_up, k0, layer_idx)
            up = pl.assemble(up, u_acc, [0, k0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="silu"):
            act = activated(gate, up, k0)
            mlp = pl.assemble(mlp, act, [0, k0])

    for tile in pl.parallel(hidden // DOWN_N):
        d0 = tile * DOWN_N
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="down_proj"):
            d_acc = down_tile(mlp, w_down, d0, layer_idx)
            total = pl.assemble(total, d_acc, [0, d0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="final_residual"):
            d_sum = with_resid(resid, total, d0)
            out = pl.assemble(out, d_sum, [0, d0])
    return out


@pl.jit
def step_by_step(
    attn_out: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    hidden_states: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    out: pl.Out[pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """`tile_by_tile` with one launch a step, a block for each tile."""
    batch = pl.tensor.dim(seq_lens, 0)
    hidden = pl.tensor.dim(hidden_states, 1)
    inter = pl.tensor.dim(w_gate, 1)
    resid = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)
    projected = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)
    normed = pl.create_tensor([BATCH, hidden], dtype=pl.BF16)
    gate = pl.create_tensor([BATCH, inter], dtype=pl.FP32)
    up = pl.create_tensor([BATCH, inter], dtype=pl.FP32)
    mlp = pl.create_tensor([BATCH, inter], dtype=pl.BF16)
    total = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)

    for block in pl.spmd(hidden // OUT_N, name_hint="out_proj"):
        o_acc = out_tile(attn_out, wo, block * OUT_N, batch, layer_idx)
        projected = pl.assemble(projected, o_acc, [0, block * OUT_N])
    for block in pl.spmd(hidden // OUT_N, name_hint="add_residual"):
        o_sum = with_hidden(hidden_states, projected, block * OUT_N, batch)
        resid = pl.assemble(resid, o_sum, [0, block * OUT_N])

    normed = post_rmsnorm(resid, norm_weight, normed, layer_idx)

    for block in pl.spmd(inter // OUT_N, name_hint="gate_or_up"):
        g_acc = inter_tile(normed, w_gate, block * OUT_N, layer_idx)
        gate = pl.assemble(gate, g_acc, [0, block * OUT_N])
    for block in pl.spmd(inter // OUT_N, name_hint="gate_or_up"):
        u_acc = inter_tile(normed, w_up, block * OUT_N, layer_idx)
        up = pl.assemble(up, u_acc, [0, block * OUT_N])
    for block in pl.spmd(inter // OUT_N, name_hint="silu"):
        act = activated(gate, up, block * OUT_N)
        mlp = pl.assemble(mlp, act, [0, block * OUT_N])

    for block in pl.spmd(hidden // DOWN_N, name_hint="down_proj"):
        d_acc = down_tile(mlp, w_down, block * DOWN_N, layer_idx)
        total = pl.assemble(total, d_acc, [0, block * DOWN_N])
    for block in pl.spmd(hidden // DOWN_N, name_hint="final_residual"):
        d_sum = with_resid(resid, total, block * DOWN_N)
        out = pl.assemble(out, d_sum, [0, block * DOWN_N])
    return out


@pl.jit
def one_loop(
    attn_out: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    hidden_states: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    out: pl.Out[pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """`step_by_step` whose gate and up share a K-loop: a step's piece of `normed` is loaded once."""
    batch = pl.tensor.dim(seq_lens, 0)
    hidden = pl.tensor.dim(hidden_states, 1)
    inter = pl.tensor.dim(w_gate, 1)
    layer_row = layer_idx * hidden
    resid = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)
    projected = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)
    normed = pl.create_tensor([BATCH, hidden], dtype=pl.BF16)
    gate = pl.create_tensor([BATCH, inter], dtype=pl.FP32)
    up = pl.create_tensor([BATCH, inter], dtype=pl.FP32)
    mlp = pl.create_tensor([BATCH, inter], dtype=pl.BF16)
    total = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)

    for block in pl.spmd(hidden // OUT_N, name_hint="out_proj"):
        o_acc = out_tile(attn_out, wo, block * OUT_N, batch, layer_idx)
        projected = pl.assemble(projected, o_acc, [0, block * OUT_N])
    for block in pl.spmd(hidden // OUT_N, name_hint="add_residual"):
        o_sum = with_hidden(hidden_states, projected, block * OUT_N, batch)
        resid = pl.assemble(resid, o_sum, [0, block * OUT_N])

    normed = post_rmsnorm(resid, norm_weight, normed, layer_idx)

    for block in pl.spmd(inter // OUT_N, name_hint="gate_and_up"):
        g_acc = pl.create_tensor([BATCH, OUT_N], dtype=pl.FP32)
        u_acc = pl.create_tensor([BATCH, OUT_N], dtype=pl.FP32)
        for kb in pl.pipeline(hidden // OUT_K, stage=AHEAD):
            x_k = pl.slice(normed, [BATCH, OUT_K], [0, kb * OUT_K])
            w_g = pl.slice(w_gate, [OUT_K, OUT_N], [layer_row + kb * OUT_K, block * OUT_N])
            w_u = pl.slice(w_up, [OUT_K, OUT_N], [layer_row + kb * OUT_K, block * OUT_N])
            g_acc = pl.matmul_acc(g_acc, x_k, w_g, init_cond=(kb == 0))
            u_acc = pl.matmul_acc(u_acc, x_k, w_u, init_cond=(kb == 0))
        gate = pl.assemble(gate, g_acc, [0, block * OUT_N])
        up = pl.assemble(up, u_acc, [0, block * OUT_N])
    for block in pl.spmd(inter // OUT_N, name_hint="silu"):
        act = activated(gate, up, block * OUT_N)
        mlp = pl.assemble(mlp, act, [0, block * OUT_N])

    for block in pl.spmd(hidden // DOWN_N, name_hint="down_proj"):
        d_acc = down_tile(mlp, w_down, block * DOWN_N, layer_idx)
        total = pl.assemble(total, d_acc, [0, block * DOWN_N])
    for block in pl.spmd(hidden // DOWN_N, name_hint="final_residual"):
        d_sum = with_resid(resid, total, block * DOWN_N)
        out = pl.assemble(out, d_sum, [0, block * DOWN_N])
    return out
