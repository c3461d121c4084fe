"""Everything of a decoder layer after its attention, one decode step, in three versions.

    resid  = hidden + attn_out @ wo                                     output projection and residual, FP32
    normed = resid / sqrt(mean(resid^2) + EPS) * weight                 post-attention RMSNorm, rounded to BF16
    mlp    = silu(normed @ w_gate) * (normed @ w_up)                    SwiGLU, silu(x) = x / (1 + exp(-x)), BF16
    out    = resid + mlp @ w_down                                       down projection and residual, BF16

The versions differ in how sums over K are made and in what crosses global memory between cube and vector:

`partial_products`  the down projection as partial products: each tile of mlp is multiplied as soon as it is
                    there, and every product is a task that stores it and another one that adds it up
`accumulate`        every sum stays in the accumulator, down a K-loop; only whole results cross to the vector side
`mixed`             cube and vector work in one root: what the cube accumulates goes to the vector cores without a
                    launch between, gate and up share one K-loop, tiles are wide

Widths are not in this file: the kernels take them from the tensors, and serve a model of any width that their
tiles divide, such as Qwen3-14B (kernels/qwen3.py) and the 32B shape (kernels/qwen3_32b.py). Rows beyond the
real batch are not loaded, count as zero and stay zero in `out`.
"""

import pypto.language as pl

from kernels.qwen3 import BATCH, EPS

BATCH_DYN = pl.dynamic("BATCH_DYN")  # real sequences, at most BATCH
LAYERS_DYN = pl.dynamic("LAYERS_DYN")
HIDDEN_DYN = pl.dynamic("HIDDEN_DYN")
INTER_DYN = pl.dynamic("INTER_DYN")
HIDDEN_ROWS_DYN = pl.dynamic("HIDDEN_ROWS_DYN")  # layers * hidden
INTER_ROWS_DYN = pl.dynamic("INTER_ROWS_DYN")  # layers * intermediate

# Tiles of the first two versions. Source: PR 90 of hw-native-sys/pypto-lib.
TILE_N = 64  # columns of the output projection, of gate and of up; depth of a step of the down projection
TILE_K = 128  # depth of a step of their K-loops; columns of the down projection
SEED_TILES = 8  # tiles that a task of `seed_sums` fills

# Tiles of `mixed`: rows of 512 bytes, the unit in which memory is read. Two weights of [MIXED_K, WIDE_N], twice
# because loads run ahead, are 256 KiB of the 512 KiB of L1. A step is all of L0B: the compiler cuts a deeper one up
# only where the first product of a sum stands before the loop, where its loads overlap with nothing.
WIDE_N = 256
WIDE_K = 128
MIXED_K = 128


@pl.jit.inline
def seed_sums(
    hidden_states: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    resid: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    total: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    batch: pl.Scalar[pl.INDEX],
):
    """resid = hidden in FP32, zero beyond the real rows, and total = 0; a task for each SEED_TILES tiles."""
    for group in pl.parallel(pl.tensor.dim(hidden_states, 1) // (SEED_TILES * TILE_N)):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="seed_sums"):
            for t in pl.range(SEED_TILES):
                n0 = (group * SEED_TILES + t) * TILE_N
                rows = pl.slice(hidden_states, [BATCH, TILE_N], [0, n0], valid_shape=[batch, TILE_N])
                x = pl.cast(pl.fillpad(rows, pad_value=pl.PadValue.zero), target_type=pl.FP32)
                resid = pl.assemble(resid, x, [0, n0])
                total = pl.assemble(total, pl.full([BATCH, TILE_N], dtype=pl.FP32, value=0.0), [0, n0])
    return resid, total


@pl.jit.inline
def out_proj(
    attn_out: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    projected: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    n0: pl.Scalar[pl.INDEX],
    batch: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """TILE_N columns of attn_out @ this layer's wo, the real rows of them, in one task."""
    hidden = pl.tensor.dim(wo, 1)
    layer_row = layer_idx * hidden
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="out_proj"):
        x = pl.slice(attn_out, [BATCH, TILE_K], [0, 0], valid_shape=[batch, TILE_K])
        w = pl.slice(wo, [TILE_K, TILE_N], [layer_row, n0])
        acc = pl.matmul(x, w, out_dtype=pl.FP32)
        for kb in pl.range(1, hidden // TILE_K):
            x_k = pl.slice(attn_out, [BATCH, TILE_K], [0, kb * TILE_K], valid_shape=[batch, TILE_K])
            w_k = pl.slice(wo, [TILE_K, TILE_N], [layer_row + kb * TILE_K, n0])
            acc = pl.matmul_acc(acc, x_k, w_k)
        projected = pl.assemble(projected, acc, [0, n0])
    return projected


@pl.jit.inline
def post_rmsnorm(
    resid: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    normed: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    layer_idx: pl.Scalar[pl.INT32],
):
    """RMSNorm of each row in FP32, rounded to BF16, in one task; the width of a row comes from the tensor."""
    hidden = pl.tensor.dim(resid, 1)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="post_rmsnorm"):
        square_sum = pl.full([1, BATCH], dtype=pl.FP32, value=0.0)
        for nb in pl.pipeline(hidden // WIDE_N, stage=2):
            x = pl.slice(resid, [BATCH, WIDE_N], [0, nb * WIDE_N])
            square_sum = pl.add(square_sum, pl.reshape(pl.row_sum(pl.mul(x, x)), [1, BATCH]))
        mean_square = pl.div(square_sum, pl.cast(pl.cast(hidden, pl.INT32), pl.FP32))
        scale = pl.reshape(pl.recip(pl.sqrt(pl.add(mean_square, EPS))), [BATCH, 1])
        for nb in pl.pipeline(hidden // WIDE_N, stage=2):
            x = pl.slice(resid, [BATCH, WIDE_N], [0, nb * WIDE_N])
            weight = pl.slice(norm_weight, [1, WIDE_N], [layer_idx, nb * WIDE_N])
            x = pl.col_expand_mul(pl.row_expand_mul(x, scale), weight)
            normed = pl.assemble(normed, pl.cast(x, target_type=pl.BF16, mode="rint"), [0, nb * WIDE_N])
    return normed


@pl.jit.inline
def gate_or_up(
    normed: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    weight: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    product: pl.Tensor[[BATCH, INTER_DYN], pl.FP32],
    n0: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """TILE_N columns of normed @ this layer's w_gate or w_up, in one task."""
    hidden = pl.tensor.dim(normed, 1)
    layer_row = layer_idx * hidden
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="gate_or_up"):
        x = pl.slice(normed, [BATCH, TILE_K], [0, 0])
        w = pl.slice(weight, [TILE_K, TILE_N], [layer_row, n0])
        acc = pl.matmul(x, w, out_dtype=pl.FP32)
        for kb in pl.range(1, hidden // TILE_K):
            x_k = pl.slice(normed, [BATCH, TILE_K], [0, kb * TILE_K])
            w_k = pl.slice(weight, [TILE_K, TILE_N], [layer_row + kb * TILE_K, n0])
            acc = pl.matmul_acc(acc, x_k, w_k)
        product = pl.assemble(product, acc, [0, n0])
    return product


@pl.jit.inline
def silu_mul(
    gate: pl.Tensor[[BATCH, INTER_DYN], pl.FP32],
    up: pl.Tensor[[BATCH, INTER_DYN], pl.FP32],
    mlp: pl.Tensor[[BATCH, INTER_DYN], pl.BF16],
    n0: pl.Scalar[pl.INDEX],
):
    """TILE_N columns of silu(gate) * up, rounded to BF16, in one task."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="silu"):
        g = pl.slice(gate, [BATCH, TILE_N], [0, n0])
        u = pl.slice(up, [BATCH, TILE_N], [0, n0])
        sigmoid = pl.recip(pl.add(pl.exp(pl.neg(g)), 1.0))
        activated = pl.mul(pl.mul(g, sigmoid), u)
        mlp = pl.assemble(mlp, pl.cast(activated, target_type=pl.BF16, mode="rint"), [0, n0])
    return mlp


@pl.jit.inline
def down_by_products(
    mlp: pl.Tensor[[BATCH, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    total: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    k0: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Add to `total` what TILE_N columns of mlp give with their rows of this layer's w_down: two tasks a tile."""
    hidden = pl.tensor.dim(w_down, 1)
    inter = pl.tensor.dim(mlp, 1)
    inter_row = layer_idx * inter
    partial = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)
    for down_idx in pl.parallel(hidden // TILE_K):
        d0 = down_idx * TILE_K
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="down_product"):
            x = pl.slice(mlp, [BATCH, TILE_N], [0, k0])
            w = pl.slice(w_down, [TILE_N, TILE_K], [inter_row + k0, d0])
            partial = pl.assemble(partial, pl.matmul(x, w, out_dtype=pl.FP32), [0, d0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="down_add"):
            product = pl.slice(partial, [BATCH, TILE_K], [0, d0])
            so_far = pl.slice(total, [BATCH, TILE_K], [0, d0])
            total = pl.assemble(total, pl.add(so_far, product), [0, d0])
    return total


@pl.jit.inline
def down_by_accumulator(
    mlp: pl.Tensor[[BATCH, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    total: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    d0: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """TILE_K columns of mlp @ this layer's w_down, in one task."""
    inter = pl.tensor.dim(mlp, 1)
    inter_row = layer_idx * inter
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="down_proj"):
        x = pl.slice(mlp, [BATCH, TILE_N], [0, 0])
        w = pl.slice(w_down, [TILE_N, TILE_K], [inter_row, d0])
        acc = pl.matmul(x, w, out_dtype=pl.FP32)
        for kb in pl.range(1, inter // TILE_N):
            x_k = pl.slice(mlp, [BATCH, TILE_N], [0, kb * TILE_N])
            w_k = pl.slice(w_down, [TILE_N, TILE_K], [inter_row + kb * TILE_N, d0])
            acc = pl.matmul_acc(acc, x_k, w_k)
        total = pl.assemble(total, acc, [0, d0])
    return total


@pl.jit.inline
def final_residual(
    resid: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    total: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    out: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    d0: pl.Scalar[pl.INDEX],
):
    """TILE_K columns of resid + total, rounded to BF16, in one task."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="final_residual"):
        rows = pl.slice(resid, [BATCH, TILE_K], [0, d0])
        result = pl.add(rows, pl.slice(total, [BATCH, TILE_K], [0, d0]))
        out = pl.assemble(out, pl.cast(result, target_type=pl.BF16, mode="rint"), [0, d0])
    return out


@pl.jit.inline
def out_proj_residual(
    attn_out: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    hidden_states: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    resid: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    batch: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """resid = hidden + attn_out @ this layer's wo, zero beyond the real rows; a mixed block for WIDE_N columns."""
    hidden = pl.tensor.dim(wo, 1)
    layer_row = layer_idx * hidden
    blocks = hidden // WIDE_N
    for block in pl.spmd(blocks, name_hint="out_proj_residual", optimizations=[pl.split(pl.SplitMode.UP_DOWN)]):
        n0 = block * WIDE_N
        acc = pl.create_tensor([BATCH, WIDE_N], dtype=pl.FP32)
        for kb in pl.pipeline(hidden // WIDE_K, stage=2):
            x_k = pl.slice(attn_out, [BATCH, WIDE_K], [0, kb * WIDE_K], valid_shape=[batch, WIDE_K])
            w_k = pl.slice(wo, [WIDE_K, WIDE_N], [layer_row + kb * WIDE_K, n0])
            acc = pl.matmul_acc(acc, x_k, w_k, init_cond=(kb == 0))
        rows = pl.slice(hidden_states, [BATCH, WIDE_N], [0, n0], valid_shape=[batch, WIDE_N])
        result = pl.add(pl.cast(rows, target_type=pl.FP32), acc)
        resid = pl.assemble(resid, pl.fillpad(result, pad_value=pl.PadValue.zero), [0, n0])
    return resid


@pl.jit.inline
def gate_up_silu(
    normed: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    mlp: pl.Tensor[[BATCH, INTER_DYN], pl.BF16],
    layer_idx: pl.Scalar[pl.INT32],
):
    """mlp = silu(normed @ w_gate) * (normed @ w_up) with this layer's weights; a mixed block for WIDE_N columns."""
    hidden = pl.tensor.dim(normed, 1)
    layer_row = layer_idx * hidden
    blocks = pl.tensor.dim(w_gate, 1) // WIDE_N
    for block in pl.spmd(blocks, name_hint="gate_up_silu", optimizations=[pl.split(pl.SplitMode.UP_DOWN)]):
        n0 = block * WIDE_N
        gate = pl.create_tensor([BATCH, WIDE_N], dtype=pl.FP32)
        up = pl.create_tensor([BATCH, WIDE_N], dtype=pl.FP32)
        for kb in pl.pipeline(hidden // MIXED_K, stage=2):
            k0 = kb * MIXED_K
            x_k = pl.slice(normed, [BATCH, MIXED_K], [0, k0])
            w_g = pl.slice(w_gate, [MIXED_K, WIDE_N], [layer_row + k0, n0])
            w_u = pl.slice(w_up, [MIXED_K, WIDE_N], [layer_row + k0, n0])
            gate = pl.matmul_acc(gate, x_k, w_g, init_cond=(kb == 0))
            up = pl.matmul_acc(up, x_k, w_u, init_cond=(kb == 0))
        sigmoid = pl.recip(pl.add(pl.exp(pl.neg(gate)), 1.0))
        activated = pl.mul(pl.mul(gate, sigmoid), up)
        mlp = pl.assemble(mlp, pl.cast(activated, target_type=pl.BF16, mode="rint"), [0, n0])
    return mlp


@pl.jit.inline
def down_proj_residual(
    mlp: pl.Tensor[[BATCH, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    resid: pl.Tensor[[BATCH, HIDDEN_DYN], pl.FP32],
    out: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    layer_idx: pl.Scalar[pl.INT32],
):
    """out = resid + mlp @ this layer's w_down, rounded to BF16; a mixed block for WIDE_N columns."""
    inter = pl.tensor.dim(mlp, 1)
    inter_row = layer_idx * inter
    blocks = pl.tensor.dim(w_down, 1) // WIDE_N
    for block in pl.spmd(blocks, name_hint="down_proj_residual", optimizations=[pl.split(pl.SplitMode.UP_DOWN)]):
        d0 = block * WIDE_N
        acc = pl.create_tensor([BATCH, WIDE_N], dtype=pl.FP32)
        for kb in pl.pipeline(inter // WIDE_K, stage=2):
            x_k = pl.slice(mlp, [BATCH, WIDE_K], [0, kb * WIDE_K])
            w_k = pl.slice(w_down, [WIDE_K, WIDE_N], [inter_row + kb * WIDE_K, d0])
            acc = pl.matmul_acc(acc, x_k, w_k, init_cond=(kb == 0))
        result = pl.add(pl.slice(resid, [BATCH, WIDE_N], [0, d0]), acc)
        out = pl.assemble(out, pl.cast(result, target_type=pl.BF16, mode="rint"), [0, d0])
    return out


@pl.jit.inline
def partial_products_mlp(
    attn_out: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    hidden_states: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wo: pl.Tensor[[HIDDEN_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    out: pl.Tensor[[BATCH, HIDDEN_DYN], pl.BF16],
    layer_idx: pl.Scalar[pl.INT32],
):
    """The work of `partial_products`, which the naive decode layer does too."""
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

    resid, total = seed_sums(hidden_states, resid, total, batch)
    for tile_idx in pl.parallel(hidden // TILE_N):
        n0 = tile_idx * TILE_N
        projected = out_proj(attn_out, wo, projected, n0, batch, layer_idx)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="add_residual"):
            product = pl.slice(projected, [BATCH, TILE_N], [0, n0], valid_shape=[batch, TILE_N])
            so_far = pl.slice(resid, [BATCH, TILE_N], [0, n0], valid_shape=[batch, TILE_N])
            resid = pl.assemble(resid, pl.add(so_far, product), [0, n0])

    normed = post_rmsnorm(resid, norm_weight, normed, layer_idx)

    for inter_idx in pl.range(inter // TILE_N):
        k0 = inter_idx * TILE_N
        gate = gate_or_up(normed, w_gate, gate, k0, layer_idx)
        up = gate_or_up(normed, w_up, up, k0, layer_idx)
        mlp = silu_mul(gate, up, mlp, k0)
        total = down_by_products(mlp, w_down, total, k0, layer_idx)

    for down_idx in pl.parallel(hidden // TILE_K):
        final_residual(resid, total, out, down_idx * TILE_K)  # bare: PyPTO takes its result to be as wide as `resid`
    return out


@pl.jit
def partial_products(
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
    """A task for each partial product of the down projection and one to add it: 22,787 tasks for Qwen3-14B.

    The idea: follow the data. A tile of 64 columns of mlp is all that 64 rows of w_down wait for, so it is
    multiplied with them at once, in tiles of 128 columns, and each product is added to a sum in global memory.
    That is 83 tasks a tile of mlp, nearly all of them a product of 16 x 64 x 128, and as many round trips of
    8 KiB through global memory; what they cost is dispatches. Of the tasks of PR 90's before, each is here.
    """
    out = partial_products_mlp(
        attn_out, hidden_states, norm_weight, wo, w_gate, w_up, w_down, seq_lens, out, layer_idx,
    )  # fmt: skip
    return out


@pl.jit
def accumulate(
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
    """Sums stay in the accumulator: 1,057 tasks for Qwen3-14B.

    The idea: keep the whole of mlp, then let `matmul_acc` walk down K. A tile of the down projection is one
    task again, its sum over all of K never leaves the cube, and the residual is added once, at its end. Tiles
    are those of `partial_products`. It has 66 tasks less than PR 90's after at the 32B shape (1,585, not
    1,651): those fill buffers with zeros that are overwritten whole before anything reads them.
    """
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

    for tile_idx in pl.parallel(hidden // TILE_N):
        n0 = tile_idx * TILE_N
        projected = out_proj(attn_out, wo, projected, n0, batch, layer_idx)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="add_residual"):
            rows = pl.slice(hidden_states, [BATCH, TILE_N], [0, n0], valid_shape=[batch, TILE_N])
            product = pl.slice(projected, [BATCH, TILE_N], [0, n0], valid_shape=[batch, TILE_N])
            result = pl.add(pl.cast(rows, target_type=pl.FP32), product)
            resid = pl.assemble(resid, pl.fillpad(result, pad_value=pl.PadValue.zero), [0, n0])

    normed = post_rmsnorm(resid, norm_weight, normed, layer_idx)

    for inter_idx in pl.parallel(inter // TILE_N):
        k0 = inter_idx * TILE_N
        gate = gate_or_up(normed, w_gate, gate, k0, layer_idx)
        up = gate_or_up(normed, w_up, up, k0, layer_idx)
        mlp = silu_mul(gate, up, mlp, k0)

    for down_idx in pl.parallel(hidden // TILE_K):
        d0 = down_idx * TILE_K
        total = down_by_accumulator(mlp, w_down, total, d0, layer_idx)
        out = final_residual(resid, total, out, d0)
    return out


@pl.jit
def mixed(
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
    """Three mixed roots and a norm: 20 + 1 + 68 + 20 tasks for Qwen3-14B.

    The idea: no launch between a product and what is done with it. In a mixed root the cube runs the K-loop and
    hands its accumulator to the vector cores of the same core group, which add the residual or compute SiLU. On A5
    the tile goes straight into their memory; on A2/A3 it goes out to global memory and comes back, through a ring
    that the compiler makes, so what is saved there is the launch and not the bytes. `pl.split` UP_DOWN gives each
    of the two vector cores 8 of the 16 rows: both work, and a buffer holds half a tile. Gate and up need the same
    rows of `normed`: one K-loop loads them once and feeds two accumulators.
    The residual is the first operand of its sum, for a sum has the valid rows of its first operand; what is
    not valid is filled with zeros before it is stored.
    """
    batch = pl.tensor.dim(seq_lens, 0)
    hidden = pl.tensor.dim(hidden_states, 1)
    inter = pl.tensor.dim(w_gate, 1)
    resid = pl.create_tensor([BATCH, hidden], dtype=pl.FP32)
    normed = pl.create_tensor([BATCH, hidden], dtype=pl.BF16)
    mlp = pl.create_tensor([BATCH, inter], dtype=pl.BF16)

    resid = out_proj_residual(attn_out, hidden_states, wo, resid, batch, layer_idx)
    normed = post_rmsnorm(resid, norm_weight, normed, layer_idx)
    mlp = gate_up_silu(normed, w_gate, w_up, mlp, layer_idx)
    out = down_proj_residual(mlp, w_down, resid, out, layer_idx)
    return out
