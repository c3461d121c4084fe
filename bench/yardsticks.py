"""The two yardstick kernels in `pl`, for `bench.interpreters`: an LM head and decode attention.

lm_head: x [16, 5120] BF16 with W [16384, 5120] BF16 transposed, tiles 16 x 256 x 512. attention: 16 sequences, 40
query and 8 KV heads of 128 (5 query heads padded to 16 rows), context 1024, KV pages of 128.
"""

import pypto.language as pl

M, K, V = 16, 5120, 16384
V_FULL = 152064  # Qwen3-14B's vocabulary, padded
N_TILE, K_TILE = 256, 512
B, KV, NB, QP, D, PAGE = 16, 8, 8, 16, 128, 128
SCALE = D**-0.5
LOWEST = -3.0e38
VOCAB = pl.dynamic("VOCAB")


@pl.jit
def lm_head(
    x: pl.Tensor[[M, K], pl.BF16],
    w: pl.Tensor[[VOCAB, K], pl.BF16],
    out: pl.Out[pl.Tensor[[M, VOCAB], pl.FP32]],
):
    """One block a tile of the vocabulary; the accumulator stays in L0C over the K-loop."""
    for block in pl.spmd(pl.tensor.dim(w, 0) // N_TILE, name_hint="lm_head"):
        col = block * N_TILE
        a = pl.slice(x, [M, K_TILE], [0, 0])
        b = pl.slice(w, [N_TILE, K_TILE], [col, 0])
        acc = pl.matmul(a, b, out_dtype=pl.FP32, b_trans=True)
        for i in pl.range(1, K // K_TILE):
            a_i = pl.slice(x, [M, K_TILE], [0, i * K_TILE])
            b_i = pl.slice(w, [N_TILE, K_TILE], [col, i * K_TILE])
            acc = pl.matmul_acc(acc, a_i, b_i, b_trans=True)
        out = pl.assemble(out, acc, [0, col])
    return out


@pl.jit
def attention(
    q: pl.Tensor[[B * KV * QP, D], pl.BF16],
    k: pl.Tensor[[B * NB * KV * PAGE, D], pl.BF16],
    v: pl.Tensor[[B * NB * KV * PAGE, D], pl.BF16],
    table: pl.Tensor[[B * NB], pl.INT32],
    lens: pl.Tensor[[B], pl.INT32],
    out: pl.Out[pl.Tensor[[B * KV * QP, D], pl.FP32]],
):
    """One block a (sequence, KV head): online softmax over the pages, running max and sum on chip."""
    for g in pl.spmd(B * KV, name_hint="attention"):
        n = pl.tensor.read(lens, [g // KV])
        q_tile = pl.slice(q, [QP, D], [g * QP, 0])
        top = pl.reshape(pl.full([1, QP], dtype=pl.FP32, value=LOWEST), [QP, 1])
        total = pl.reshape(pl.full([1, QP], dtype=pl.FP32, value=0.0), [QP, 1])
        acc = pl.full([QP, D], dtype=pl.FP32, value=0.0)
        for i in pl.range((n + PAGE - 1) // PAGE):
            page = pl.tensor.read(table, [g // KV * NB + i])
            row = (page * KV + g % KV) * PAGE
            k_tile = pl.slice(k, [PAGE, D], [row, 0])
            scores = pl.mul(pl.matmul(q_tile, k_tile, out_dtype=pl.FP32, b_trans=True), SCALE)
            valid = pl.cast(pl.min(PAGE, n - i * PAGE), pl.INDEX)
            scores = pl.fillpad(pl.set_validshape(scores, QP, valid), pad_value=pl.PadValue.min)
            new_top = pl.maximum(top, pl.row_max(scores))
            weights = pl.exp(pl.row_expand_sub(scores, new_top))
            keep = pl.exp(pl.sub(top, new_top))
            total = pl.add(pl.mul(total, keep), pl.row_sum(weights))
            v_tile = pl.slice(v, [PAGE, D], [row, 0])
            part = pl.matmul(pl.cast(weights, target_type=pl.BF16, mode="rint"), v_tile, out_dtype=pl.FP32)
            acc = pl.add(pl.row_expand_mul(acc, keep), part)
            top = new_top
        out = pl.assemble(out, pl.row_expand_div(acc, total), [g * QP, 0])
    return out
