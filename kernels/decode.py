"""One decode step of Qwen3-14B: its layers one after the other, then the logits and the greedy token of each sequence.

The layers' weights are stacked, rows of one layer after those of the one before, and so are the caches. A loop of
orchestration hands each layer the output of the one before it. How many layers there are, the tensors say. After the
last one comes stage lm_head; `chunks` is its choice between all logits, those of one chunk, and none. The tokens leave
the device, and their embeddings come back as the next step's hidden_states.

`naive`   the first version of each stage
`fused`   the last version of each stage

Copied elsewhere, this file needs those of the stages it imports, and kernels/qwen3.py, beside it.
"""

import pypto.language as pl

from kernels.decode_layer import fused_layer, naive_layer
from kernels.flash_attention import list_pages
from kernels.lm_head import narrow_logits, wide_logits
from kernels.qwen3 import BATCH, HEAD_DIM, HIDDEN, KV_HIDDEN, MAX_PAGES, VOCAB_PADDED

BATCH_DYN = pl.dynamic("BATCH_DYN")  # real sequences, at most BATCH
TABLE_DYN = pl.dynamic("TABLE_DYN")  # real sequences * MAX_PAGES
LAYERS_DYN = pl.dynamic("LAYERS_DYN")
ROPE_ROWS_DYN = pl.dynamic("ROPE_ROWS_DYN")  # positions that have a cosine and a sine
CACHE_ROWS_DYN = pl.dynamic("CACHE_ROWS_DYN")  # layers * pages * KV_HEADS * PAGE
HIDDEN_ROWS_DYN = pl.dynamic("HIDDEN_ROWS_DYN")  # layers * HIDDEN
INTER_DYN = pl.dynamic("INTER_DYN")  # width of the MLP: INTERMEDIATE
INTER_ROWS_DYN = pl.dynamic("INTER_ROWS_DYN")  # layers * the width of the MLP


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
    final_norm_weight: pl.Tensor[[1, HIDDEN], pl.FP32],
    lm_head_weight: pl.Tensor[[VOCAB_PADDED, HIDDEN], pl.BF16],
    logits: pl.Out[pl.Tensor[[BATCH_DYN, VOCAB_PADDED], pl.FP32]],
    tokens: pl.Out[pl.Tensor[[BATCH_DYN], pl.INT32]],
    chunks: pl.Scalar[pl.INT32],
):
    """The first version of every stage: 80,548 tasks for two layers at 16 x 4096 tokens and all logits.

    The idea: a layer is a function of the one before it. `current` is the tensor that one left; each layer gets a new
    one for its output, so no layer has to wait until another has read what it is about to overwrite.
    """
    current = hidden_states
    for layer_idx in pl.range(pl.tensor.dim(input_norm_weight, 0)):
        following = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
        k_cache, v_cache, current = naive_layer(
            current, input_norm_weight, wq, wk, wv, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens,
            block_table, slot_mapping, k_cache, v_cache, wo, post_norm_weight, w_gate, w_up, w_down, following,
            layer_idx,
        )  # fmt: skip
    logits, tokens = narrow_logits(current, final_norm_weight, lm_head_weight, seq_lens, logits, tokens, chunks)
    return k_cache, v_cache, logits, tokens


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
    final_norm_weight: pl.Tensor[[1, HIDDEN], pl.FP32],
    lm_head_weight: pl.Tensor[[VOCAB_PADDED, HIDDEN], pl.BF16],
    logits: pl.Out[pl.Tensor[[BATCH_DYN, VOCAB_PADDED], pl.FP32]],
    tokens: pl.Out[pl.Tensor[[BATCH_DYN], pl.INT32]],
    chunks: pl.Scalar[pl.INT32],
):
    """The last version of every stage: 946 tasks on A2/A3 for two layers and all logits.

    The idea: what depends on no layer is done once. The attention's table of pages is the same for all layers.
    """
    work = pl.create_tensor([BATCH * MAX_PAGES], dtype=pl.INT32)
    work_pages = pl.create_tensor([1], dtype=pl.INT32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="work_table") as table_ready:
        work, work_pages = list_pages(seq_lens, work, work_pages)
    current = hidden_states
    for layer_idx in pl.range(pl.tensor.dim(input_norm_weight, 0)):
        following = pl.create_tensor([BATCH, HIDDEN], dtype=pl.BF16)
        k_cache, v_cache, current = fused_layer(
            current, input_norm_weight, wq, wk, wv, q_norm_weight, k_norm_weight, rope_cos, rope_sin, seq_lens,
            block_table, slot_mapping, work, work_pages, k_cache, v_cache, wo, post_norm_weight, w_gate, w_up,
            w_down, following, layer_idx, table_ready,
        )  # fmt: skip
    logits, tokens = wide_logits(current, final_norm_weight, lm_head_weight, seq_lens, logits, tokens, chunks)
    return k_cache, v_cache, logits, tokens
