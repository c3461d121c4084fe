"""Q, K and V between `spmd` and `split_k` of stage qkv_proj: the norm's factor is multiplied in at the end."""

import pypto.language as pl

from kernels.qkv_proj import (
    BATCH_DYN,
    GROUP_N,
    LAYERS_DYN,
    WEIGHT_ROWS_DYN,
    WIDTH_DYN,
    project_by_block,
    rms_scale,
    weighted_rows,
)
from kernels.qwen3 import BATCH, HIDDEN, KV_HIDDEN


@pl.jit.inline
def project_then_scale(
    weighted: pl.Tensor[[BATCH, HIDDEN], pl.BF16],
    scale: pl.Tensor[[1, BATCH], pl.FP32],
    weight: pl.Tensor[[WEIGHT_ROWS_DYN, WIDTH_DYN], pl.BF16],
    out: pl.Tensor[[BATCH, WIDTH_DYN], pl.FP32],
    layer_idx: pl.Scalar[pl.INT32],
):
    """out = weighted @ this layer's weight * scale: a launch for the products, one for the factor."""
    groups = pl.tensor.dim(weight, 1) // GROUP_N
    out = project_by_block(weighted, weight, out, layer_idx)
    for block in pl.spmd(groups, name_hint="scale"):
        total = pl.slice(out, [BATCH, GROUP_N], [0, block * GROUP_N])
        column = pl.reshape(pl.slice(scale, [1, BATCH], [0, 0]), [BATCH, 1])
        out = pl.assemble(out, pl.row_expand_mul(total, column), [0, block * GROUP_N])
    return out


@pl.jit
def factor_last(
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
    """`spmd` whose products do not wait for the norm: a row's 1/rms is multiplied in when they are done."""
    batch = pl.tensor.dim(seq_lens, 0)
    weighted = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
    scale = pl.create_tensor([1, BATCH], dtype=pl.FP32)
    weighted = weighted_rows(hidden_states, norm_weight, weighted, batch, layer_idx)
    scale = rms_scale(hidden_states, scale, batch)
    q_proj = project_then_scale(weighted, scale, wq, q_proj, layer_idx)
    k_proj = project_then_scale(weighted, scale, wk, k_proj, layer_idx)
    v_proj = project_then_scale(weighted, scale, wv, v_proj, layer_idx)
    return q_proj, k_proj, v_proj
