"""Input RMSNorm and the Q, K and V projections, one decode step of one Qwen3-14B layer, in four versions.

    normed = hidden / sqrt(mean(hidden^2) + EPS) * weight           rounded to BF16: the cube multiplies BF16
    q_proj = normed @ wq,  k_proj = normed @ wk,  v_proj = normed @ wv      summed in FP32, and left in FP32

16 rows are one cube tile, so all of this is one pass over the weights: [HIDDEN, HIDDEN] and two times
[HIDDEN, KV_HIDDEN], 73 MB of BF16, each element used for 16 products. How fast it is depends on how well the
weights stream in. The versions cut the same products into tasks:

`tile`      a task for each tile of 64 columns
`grouped`   a task for each group of four tiles, multiplied as one tile of 256 columns
`spmd`      one dispatch a projection with a block for each group; loads of the K-loop overlap its products
`split_k`   K is split as well, for blocks enough to fill the cores; they add their parts up in the outputs

Rows of hidden_states beyond the real batch are not loaded. They count as zero, and so the outputs' rows there
are zero whatever the padding holds.
"""

import pypto.language as pl

from kernels.qwen3 import BATCH, EPS, HIDDEN, KV_HIDDEN

BATCH_DYN = pl.dynamic("BATCH_DYN")  # real sequences, at most BATCH
LAYERS_DYN = pl.dynamic("LAYERS_DYN")
WEIGHT_ROWS_DYN = pl.dynamic("WEIGHT_ROWS_DYN")  # layers * HIDDEN
WIDTH_DYN = pl.dynamic("WIDTH_DYN")  # columns of a projection: HIDDEN or KV_HIDDEN

TILE_N = 64  # columns of a narrow tile
GROUP_N = 256  # columns of a group of four of them: rows of 512 bytes, the unit in which memory is read
TILE_K = 256  # depth of a step of a K-loop; with GROUP_N 136 KiB of L1, twice where loads run ahead
SPLITS = 4  # parts of K in `split_k`
SPLIT_K = HIDDEN // SPLITS
SPLIT_TILE_K = 128  # depth of a step of a part: with GROUP_N all of L0B, so that the first one can be in the pipeline
NORM_N = 512  # columns of a step of the norm: 32 KiB of FP32


@pl.jit.inline
def input_rmsnorm(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    normed: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    batch: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """RMSNorm of the real rows in FP32, rounded to BF16, in one task; the other rows of `normed` become zero."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="input_rmsnorm"):
        square_sum = pl.full([1, BATCH], dtype=pl.FP32, value=0.0)
        for nb in pl.range(HIDDEN // NORM_N):
            rows = pl.slice(hidden_states, [BATCH, NORM_N], [0, nb * NORM_N], valid_shape=[batch, NORM_N])
            x = pl.cast(pl.fillpad(rows, pad_value=pl.PadValue.zero), target_type=pl.FP32)
            square_sum = pl.add(square_sum, pl.reshape(pl.row_sum(pl.mul(x, x)), [1, BATCH]))
        mean_square = pl.mul(square_sum, 1.0 / HIDDEN)
        scale = pl.reshape(pl.recip(pl.sqrt(pl.add(mean_square, EPS))), [BATCH, 1])
        for nb in pl.range(HIDDEN // NORM_N):
            rows = pl.slice(hidden_states, [BATCH, NORM_N], [0, nb * NORM_N], valid_shape=[batch, NORM_N])
            x = pl.cast(pl.fillpad(rows, pad_value=pl.PadValue.zero), target_type=pl.FP32)
            weight = pl.slice(norm_weight, [1, NORM_N], [layer_idx, nb * NORM_N])
            x = pl.col_expand_mul(pl.row_expand_mul(x, scale), weight)
            normed = pl.assemble(normed, pl.cast(x, target_type=pl.BF16, mode="rint"), [0, nb * NORM_N])
    return normed


@pl.jit.inline
def project_by_tile(
    normed: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    weight: pl.Tensor[[WEIGHT_ROWS_DYN, WIDTH_DYN], pl.BF16],
    out: pl.Tensor[[BATCH, WIDTH_DYN], pl.FP32],
    layer_idx: pl.Scalar[pl.INT32],
):
    """out = normed @ this layer's weight, a task for each TILE_N columns."""
    layer_row = layer_idx * HIDDEN
    for tile_idx in pl.parallel(pl.tensor.dim(weight, 1) // TILE_N):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="project_tile"):
            n0 = tile_idx * TILE_N
            x = pl.slice(normed, [BATCH, TILE_K], [0, 0])
            w = pl.slice(weight, [TILE_K, TILE_N], [layer_row, n0])
            acc = pl.matmul(x, w, out_dtype=pl.FP32)
            for kb in pl.range(1, HIDDEN // TILE_K):
                x_k = pl.slice(normed, [BATCH, TILE_K], [0, kb * TILE_K])
                w_k = pl.slice(weight, [TILE_K, TILE_N], [layer_row + kb * TILE_K, n0])
                acc = pl.matmul_acc(acc, x_k, w_k)
            out = pl.assemble(out, acc, [0, n0])
    return out


@pl.jit.inline
def project_by_group(
    normed: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    weight: pl.Tensor[[WEIGHT_ROWS_DYN, WIDTH_DYN], pl.BF16],
    out: pl.Tensor[[BATCH, WIDTH_DYN], pl.FP32],
    layer_idx: pl.Scalar[pl.INT32],
):
    """out = normed @ this layer's weight, a task for each GROUP_N columns."""
    layer_row = layer_idx * HIDDEN
    for group_idx in pl.parallel(pl.tensor.dim(weight, 1) // GROUP_N):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="project_group"):
            n0 = group_idx * GROUP_N
            x = pl.slice(normed, [BATCH, TILE_K], [0, 0])
            w = pl.slice(weight, [TILE_K, GROUP_N], [layer_row, n0])
            acc = pl.matmul(x, w, out_dtype=pl.FP32)
            for kb in pl.range(1, HIDDEN // TILE_K):
                x_k = pl.slice(normed, [BATCH, TILE_K], [0, kb * TILE_K])
                w_k = pl.slice(weight, [TILE_K, GROUP_N], [layer_row + kb * TILE_K, n0])
                acc = pl.matmul_acc(acc, x_k, w_k)
            out = pl.assemble(out, acc, [0, n0])
    return out


@pl.jit.inline
def project_by_block(
    normed: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    weight: pl.Tensor[[WEIGHT_ROWS_DYN, WIDTH_DYN], pl.BF16],
    out: pl.Tensor[[BATCH, WIDTH_DYN], pl.FP32],
    layer_idx: pl.Scalar[pl.INT32],
):
    """out = normed @ this layer's weight, one dispatch with a block for each GROUP_N columns."""
    layer_row = layer_idx * HIDDEN
    groups = pl.tensor.dim(weight, 1) // GROUP_N
    for block in pl.spmd(groups, name_hint="project_block"):
        n0 = block * GROUP_N
        acc = pl.create_tensor([BATCH, GROUP_N], dtype=pl.FP32)
        for kb in pl.pipeline(HIDDEN // TILE_K, stage=2):
            x_k = pl.slice(normed, [BATCH, TILE_K], [0, kb * TILE_K])
            w_k = pl.slice(weight, [TILE_K, GROUP_N], [layer_row + kb * TILE_K, n0])
            if kb == 0:
                acc = pl.matmul(x_k, w_k, out_dtype=pl.FP32)
            else:
                acc = pl.matmul_acc(acc, x_k, w_k)
        out = pl.assemble(out, acc, [0, n0])
    return out


@pl.jit.inline
def rms_scale(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    scale: pl.Tensor[[1, BATCH], pl.FP32],
    batch: pl.Scalar[pl.INDEX],
):
    """1 / sqrt(mean(row^2) + EPS) of each real row, in one task; 1 / sqrt(EPS) for the others."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="rms_scale"):
        square_sum = pl.full([1, BATCH], dtype=pl.FP32, value=0.0)
        for nb in pl.pipeline(HIDDEN // NORM_N, stage=2):
            rows = pl.slice(hidden_states, [BATCH, NORM_N], [0, nb * NORM_N], valid_shape=[batch, NORM_N])
            x = pl.cast(pl.fillpad(rows, pad_value=pl.PadValue.zero), target_type=pl.FP32)
            square_sum = pl.add(square_sum, pl.reshape(pl.row_sum(pl.mul(x, x)), [1, BATCH]))
        mean_square = pl.mul(square_sum, 1.0 / HIDDEN)
        scale = pl.assemble(scale, pl.recip(pl.sqrt(pl.add(mean_square, EPS))), [0, 0])
    return scale


@pl.jit.inline
def weighted_rows(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    weighted: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    batch: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """hidden * norm_weight of the real rows, rounded to BF16, a block for each NORM_N columns; zero elsewhere."""
    for block in pl.spmd(HIDDEN // NORM_N, name_hint="weighted_rows"):
        rows = pl.slice(hidden_states, [BATCH, NORM_N], [0, block * NORM_N], valid_shape=[batch, NORM_N])
        x = pl.cast(pl.fillpad(rows, pad_value=pl.PadValue.zero), target_type=pl.FP32)
        x = pl.col_expand_mul(x, pl.slice(norm_weight, [1, NORM_N], [layer_idx, block * NORM_N]))
        weighted = pl.assemble(weighted, pl.cast(x, target_type=pl.BF16, mode="rint"), [0, block * NORM_N])
    return weighted


@pl.jit.inline
def project_by_split(
    weighted: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    scale: pl.Tensor[[1, BATCH], pl.FP32],
    weight: pl.Tensor[[WEIGHT_ROWS_DYN, WIDTH_DYN], pl.BF16],
    out: pl.Tensor[[BATCH, WIDTH_DYN], pl.FP32],
    layer_idx: pl.Scalar[pl.INT32],
):
    """out = weighted @ this layer's weight * scale: seeded with zero, summed by blocks of SPLIT_K, then scaled."""
    layer_row = layer_idx * HIDDEN
    groups = pl.tensor.dim(weight, 1) // GROUP_N
    for block in pl.spmd(groups, name_hint="seed"):
        zero = pl.full([BATCH, GROUP_N], dtype=pl.FP32, value=0.0)
        out = pl.assemble(out, zero, [0, block * GROUP_N])
    for block in pl.spmd(groups * SPLITS, name_hint="project_split"):
        n0 = block // SPLITS * GROUP_N
        first = block % SPLITS * SPLIT_K
        acc = pl.create_tensor([BATCH, GROUP_N], dtype=pl.FP32)
        for kb in pl.pipeline(SPLIT_K // SPLIT_TILE_K, stage=2):
            k0 = first + kb * SPLIT_TILE_K
            x_k = pl.slice(weighted, [BATCH, SPLIT_TILE_K], [0, k0])
            w_k = pl.slice(weight, [SPLIT_TILE_K, GROUP_N], [layer_row + k0, n0])
            acc = pl.matmul_acc(acc, x_k, w_k, init_cond=(kb == 0))
        out = pl.assemble(out, acc, [0, n0], atomic=pl.AtomicType.Add)
    for block in pl.spmd(groups, name_hint="scale"):
        total = pl.slice(out, [BATCH, GROUP_N], [0, block * GROUP_N])
        column = pl.reshape(pl.slice(scale, [1, BATCH], [0, 0]), [BATCH, 1])
        out = pl.assemble(out, pl.row_expand_mul(total, column), [0, block * GROUP_N])
    return out


@pl.jit
def tile(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    wq: pl.Tensor[[WEIGHT_ROWS_DYN, HIDDEN], pl.BF16],
    wk: pl.Tensor[[WEIGHT_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[WEIGHT_ROWS_DYN, KV_HIDDEN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    q_proj: pl.Out[pl.Tensor[[BATCH, HIDDEN], pl.FP32]],
    k_proj: pl.Out[pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32]],
    v_proj: pl.Out[pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """A task for each tile of 64 output columns: 112 of them, after one for the norm.

    The idea: the output in tiles, and all of K in the tile's task, so that the sum stays in the accumulator
    and a task needs nothing from another one. The tile is narrow: a row of it is 128 bytes of the weights,
    a quarter of what memory hands out at once, and every task loads all of `normed` for its 64 columns.
    """
    batch = pl.tensor.dim(seq_lens, 0)
    normed = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    normed = input_rmsnorm(hidden_states, norm_weight, normed, batch, layer_idx)
    q_proj = project_by_tile(normed, wq, q_proj, layer_idx)
    k_proj = project_by_tile(normed, wk, k_proj, layer_idx)
    v_proj = project_by_tile(normed, wv, v_proj, layer_idx)
    return q_proj, k_proj, v_proj


@pl.jit
def grouped(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    wq: pl.Tensor[[WEIGHT_ROWS_DYN, HIDDEN], pl.BF16],
    wk: pl.Tensor[[WEIGHT_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[WEIGHT_ROWS_DYN, KV_HIDDEN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    q_proj: pl.Out[pl.Tensor[[BATCH, HIDDEN], pl.FP32]],
    k_proj: pl.Out[pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32]],
    v_proj: pl.Out[pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """A task for each group of four neighbouring tiles: 28 of them.

    The idea: group tiles. Four tiles side by side are one tile of 256 columns, so a task that takes all four
    loads `normed` once for them, reads the weights in rows of 512 bytes, and pays for one dispatch.
    """
    batch = pl.tensor.dim(seq_lens, 0)
    normed = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    normed = input_rmsnorm(hidden_states, norm_weight, normed, batch, layer_idx)
    q_proj = project_by_group(normed, wq, q_proj, layer_idx)
    k_proj = project_by_group(normed, wk, k_proj, layer_idx)
    v_proj = project_by_group(normed, wv, v_proj, layer_idx)
    return q_proj, k_proj, v_proj


@pl.jit
def spmd(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    wq: pl.Tensor[[WEIGHT_ROWS_DYN, HIDDEN], pl.BF16],
    wk: pl.Tensor[[WEIGHT_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[WEIGHT_ROWS_DYN, KV_HIDDEN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    q_proj: pl.Out[pl.Tensor[[BATCH, HIDDEN], pl.FP32]],
    k_proj: pl.Out[pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32]],
    v_proj: pl.Out[pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """One dispatch a projection, a block for each group: 20 + 4 + 4 blocks.

    The idea: let what is independent run side by side. `pl.spmd` hands all groups of a projection to the cores
    at once; inside a block, `pl.pipeline` keeps two steps of the K-loop in L1, so the weights of the next step
    load while the cube multiplies this one's.
    """
    batch = pl.tensor.dim(seq_lens, 0)
    normed = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    normed = input_rmsnorm(hidden_states, norm_weight, normed, batch, layer_idx)
    q_proj = project_by_block(normed, wq, q_proj, layer_idx)
    k_proj = project_by_block(normed, wk, k_proj, layer_idx)
    v_proj = project_by_block(normed, wv, v_proj, layer_idx)
    return q_proj, k_proj, v_proj


@pl.jit
def split_k(
    hidden_states: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN], pl.FP32],
    wq: pl.Tensor[[WEIGHT_ROWS_DYN, HIDDEN], pl.BF16],
    wk: pl.Tensor[[WEIGHT_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[WEIGHT_ROWS_DYN, KV_HIDDEN], pl.BF16],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    q_proj: pl.Out[pl.Tensor[[BATCH, HIDDEN], pl.FP32]],
    k_proj: pl.Out[pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32]],
    v_proj: pl.Out[pl.Tensor[[BATCH, KV_HIDDEN], pl.FP32]],
    layer_idx: pl.Scalar[pl.INT32],
):
    """K in four parts: 80 + 16 + 16 blocks that add into seeded outputs; 1/rms waits until after the products.

    The idea: 28 blocks on 24 cores are two rounds, the second nearly empty. Quarters of K make four times as
    many blocks a quarter as long, which leave little idle at the end. The parts meet in global memory: the
    outputs start as zero and every block adds its sum atomically, in whatever order they finish.
    A row's 1/rms is one factor of all its products, so it can be multiplied in at the end. Then the products
    need only hidden * weight, which every block of `weighted_rows` has at once, and do not wait for the sum of
    squares over the whole row, which one core is meanwhile busy with.
    """
    batch = pl.tensor.dim(seq_lens, 0)
    weighted = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    scale = pl.create_tensor([1, BATCH], dtype=pl.FP32)
    weighted = weighted_rows(hidden_states, norm_weight, weighted, batch, layer_idx)
    scale = rms_scale(hidden_states, scale, batch)
    q_proj = project_by_split(weighted, scale, wq, q_proj, layer_idx)
    k_proj = project_by_split(weighted, scale, wk, k_proj, layer_idx)
    v_proj = project_by_split(weighted, scale, wv, v_proj, layer_idx)
    return q_proj, k_proj, v_proj
