"""What `per_token` of stage prefill is made of: phases of a tile, then of a token, each of a KV head a task.

The runtime goes by the tensors that it hands to a task: inside a `pl.range`, tasks that write one tensor wait for each
other, wherever in it they write. So each task is handed scratch of its own, or the rows of the whole that it fills, and
the task that reads the whole waits for all. Rows: PyPTO takes a window of columns that a task writes for a dense
tensor. So groups of columns lie below each other. Only `out_proj_residual` and `silu`, which are short, write columns
of one tensor and wait for each other.
"""

import pypto.language as pl

from kernels.prefill_parts.tiles import (
    CACHE_ROWS_DYN,
    HEADS_IN_GROUP,
    HIDDEN_DYN,
    HIDDEN_ROWS_DYN,
    INTER_DYN,
    INTER_ROWS_DYN,
    LAYERS_DYN,
    LOWEST,
    MLP_N,
    NORM_ROWS,
    OUT_N,
    Q_ROWS_DYN,
    Q_WIDTH,
    QKV_GROUP,
    QKV_N,
    QKV_TILES,
    ROPE_ROWS_DYN,
    TABLE_DYN,
    TILE,
    TOKENS_DYN,
    head_norm,
    joined,
    mlp_product,
    narrow_product,
    norm_hidden,
    norm_resid,
    page_softmax,
)
from kernels.qwen3 import (
    HALF_DIM,
    HEAD_DIM,
    HEADS,
    KV_HEADS,
    KV_HIDDEN,
    MAX_PAGES,
    PAGE,
    Q_PAD,
    Q_PER_KV,
)


@pl.jit.inline
def tile_projections(
    hidden_states: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, Q_WIDTH], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    q_normed: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_normed: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], pl.FP32],
    row: pl.Scalar[pl.INDEX],
    rows: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Q and K, projected and normed head by head, and V, of one tile; a task for QKV_TILES tiles of the cube."""
    hidden = pl.tensor.dim(input_norm_weight, 1)
    weight_row = layer_idx * hidden
    normed = pl.create_tensor([TILE, hidden], dtype=pl.BF16)
    q_proj = pl.create_tensor([Q_WIDTH // QKV_GROUP * TILE, QKV_GROUP], dtype=pl.FP32)
    k_proj = pl.create_tensor([KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], dtype=pl.FP32)

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="input_rmsnorm"):
        for group in pl.range((rows + NORM_ROWS - 1) // NORM_ROWS):
            first = group * NORM_ROWS
            count = pl.min(NORM_ROWS, rows - first)
            normed = norm_hidden(hidden_states, input_norm_weight, normed, row + first, first, count, layer_idx)

    for group in pl.parallel(Q_WIDTH // QKV_GROUP):
        q_part = pl.slice(q_proj, [TILE, QKV_GROUP], [group * TILE, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="q_proj"):
            for t in pl.range(QKV_TILES):
                n0 = group * QKV_GROUP + t * QKV_N
                q_acc = narrow_product(normed, wq, rows, weight_row, n0)
                q_part = pl.assemble(q_part, q_acc, [0, t * QKV_N])

    for group in pl.parallel(KV_HIDDEN // QKV_GROUP):
        k_part = pl.slice(k_proj, [TILE, QKV_GROUP], [group * TILE, 0])
        v_part = pl.slice(v_proj, [TILE, QKV_GROUP], [group * TILE, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="kv_proj"):
            for t in pl.range(QKV_TILES):
                n0 = group * QKV_GROUP + t * QKV_N
                k_acc = narrow_product(normed, wk, rows, weight_row, n0)
                k_part = pl.assemble(k_part, k_acc, [0, t * QKV_N])
                v_acc = narrow_product(normed, wv, rows, weight_row, n0)
                v_part = pl.assemble(v_part, v_acc, [0, t * QKV_N])

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="q_norm"):
        q_weight = pl.slice(q_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        for item in pl.range(HEADS * ((rows + Q_PAD - 1) // Q_PAD)):
            first = item // HEADS * Q_PAD
            count = pl.min(Q_PAD, rows - first)
            head = item % HEADS
            q_row = head // HEADS_IN_GROUP * TILE + first
            column = head % HEADS_IN_GROUP * HEAD_DIM
            q = pl.slice(q_proj, [Q_PAD, HEAD_DIM], [q_row, column], valid_shape=[count, HEAD_DIM])
            q = head_norm(q, q_weight)
            q_normed = pl.assemble(q_normed, q, [first, head * HEAD_DIM])

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="k_norm"):
        k_weight = pl.slice(k_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        for item in pl.range(KV_HEADS * ((rows + Q_PAD - 1) // Q_PAD)):
            first = item // KV_HEADS * Q_PAD
            count = pl.min(Q_PAD, rows - first)
            head = item % KV_HEADS
            k_row = head // HEADS_IN_GROUP * TILE + first
            column = head % HEADS_IN_GROUP * HEAD_DIM
            k = pl.slice(k_proj, [Q_PAD, HEAD_DIM], [k_row, column], valid_shape=[count, HEAD_DIM])
            k = head_norm(k, k_weight)
            k_normed = pl.assemble(k_normed, k, [first, head * HEAD_DIM])
    return q_normed, k_normed, v_proj


@pl.jit.inline
def rotate_token(
    heads: pl.Tensor[[Q_PAD, HEAD_DIM], pl.FP32],
    cos: pl.Tensor[[1, HEAD_DIM], pl.FP32],
    sin: pl.Tensor[[1, HEAD_DIM], pl.FP32],
):
    """RoPE of heads of one token, element i of the low half with element i of the high half; the halves in BF16."""
    lo = heads[:, 0:HALF_DIM]
    hi = heads[:, HALF_DIM:HEAD_DIM]
    turned_lo = pl.sub(
        pl.col_expand_mul(lo, cos[:, 0:HALF_DIM]),
        pl.col_expand_mul(hi, sin[:, 0:HALF_DIM]),
    )
    turned_hi = pl.add(
        pl.col_expand_mul(hi, cos[:, HALF_DIM:HEAD_DIM]),
        pl.col_expand_mul(lo, sin[:, HALF_DIM:HEAD_DIM]),
    )
    out_lo = pl.cast(turned_lo, target_type=pl.BF16, mode="rint")
    out_hi = pl.cast(turned_hi, target_type=pl.BF16, mode="rint")
    return out_lo, out_hi


@pl.jit.inline
def token_attention(
    q_normed: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_normed: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    attn: pl.Tensor[[TILE, Q_WIDTH], pl.BF16],
    b: pl.Scalar[pl.INDEX],
    t: pl.Scalar[pl.INDEX],
    pos: pl.Scalar[pl.INDEX],
    slot: pl.Scalar[pl.INDEX],
    layer_row: pl.Scalar[pl.INDEX],
):
    """Token `t` of the tile, at position `pos`: two tasks, then seven for each KV head; its row of `attn`."""
    q_heads = pl.reshape(q_normed, [TILE * HEADS, HEAD_DIM])
    k_heads = pl.reshape(k_normed, [TILE * KV_HEADS, HEAD_DIM])
    pages = pos // PAGE + 1
    q_padded = pl.create_tensor([KV_HEADS * Q_PAD, HEAD_DIM], dtype=pl.BF16)

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="q_pad"):
        for kv in pl.range(KV_HEADS):
            q_padded = pl.assemble(q_padded, pl.full([Q_PAD, HEAD_DIM], dtype=pl.BF16, value=0.0), [kv * Q_PAD, 0])

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="rope_kv_cache"):
        cos = pl.slice(rope_cos, [1, HEAD_DIM], [pos, 0])
        sin = pl.slice(rope_sin, [1, HEAD_DIM], [pos, 0])
        for kv in pl.range(KV_HEADS):
            head = t * KV_HEADS + kv
            cache_row = layer_row + (slot // PAGE * KV_HEADS + kv) * PAGE + slot % PAGE
            q = pl.slice(q_heads, [Q_PAD, HEAD_DIM], [head * Q_PER_KV, 0], valid_shape=[Q_PER_KV, HEAD_DIM])
            q_lo, q_hi = rotate_token(q, cos, sin)
            q_padded = pl.assemble(q_padded, q_lo, [kv * Q_PAD, 0])
            q_padded = pl.assemble(q_padded, q_hi, [kv * Q_PAD, HALF_DIM])
            k = pl.slice(k_heads, [Q_PAD, HEAD_DIM], [head, 0], valid_shape=[1, HEAD_DIM])
            k_lo, k_hi = rotate_token(k, cos, sin)
            k_cache = pl.assemble(k_cache, k_lo, [cache_row, 0])
            k_cache = pl.assemble(k_cache, k_hi, [cache_row, HALF_DIM])
            v_row = kv // HEADS_IN_GROUP * TILE + t
            v = pl.slice(v_proj, [1, HEAD_DIM], [v_row, kv % HEADS_IN_GROUP * HEAD_DIM])
            v_cache = pl.assemble(v_cache, pl.cast(v, target_type=pl.BF16, mode="rint"), [cache_row, 0])

    for kv in pl.parallel(KV_HEADS):
        scores = pl.create_tensor([MAX_PAGES * Q_PAD, PAGE], dtype=pl.FP32)
        weights = pl.create_tensor([MAX_PAGES * Q_PAD, PAGE], dtype=pl.BF16)
        o_pages = pl.create_tensor([MAX_PAGES * Q_PAD, HEAD_DIM], dtype=pl.FP32)
        max_pages = pl.create_tensor([MAX_PAGES * Q_PAD, 1], dtype=pl.FP32)
        sum_pages = pl.create_tensor([MAX_PAGES * Q_PAD, 1], dtype=pl.FP32)
        o_all = pl.create_tensor([Q_PAD, HEAD_DIM], dtype=pl.FP32)
        max_all = pl.create_tensor([Q_PAD, 1], dtype=pl.FP32)
        sum_all = pl.create_tensor([Q_PAD, 1], dtype=pl.FP32)
        context = pl.create_tensor([Q_PAD, HEAD_DIM], dtype=pl.BF16)
        attn_part = pl.slice(attn, [1, Q_PER_KV * HEAD_DIM], [t, kv * Q_PER_KV * HEAD_DIM])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="qk"):
            for p in pl.range(pages):
                tokens = pl.min(PAGE, pos + 1 - p * PAGE)
                page = pl.cast(pl.tensor.read(block_table, [b * MAX_PAGES + p]), pl.INDEX)
                k_row = layer_row + (page * KV_HEADS + kv) * PAGE
                q_all = pl.slice(q_padded, [Q_PAD, HEAD_DIM], [kv * Q_PAD, 0])
                k_page = pl.slice(k_cache, [PAGE, HEAD_DIM], [k_row, 0], valid_shape=[tokens, HEAD_DIM])
                s_page = pl.matmul(q_all, k_page, out_dtype=pl.FP32, b_trans=True)
                scores = pl.assemble(scores, s_page, [p * Q_PAD, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
            for p in pl.range(pages):
                tokens = pl.min(PAGE, pos + 1 - p * PAGE)
                s = pl.slice(scores, [Q_PAD, PAGE], [p * Q_PAD, 0], valid_shape=[Q_PAD, tokens])
                s_weights, s_top, s_total = page_softmax(s)
                weights = pl.assemble(weights, s_weights, [p * Q_PAD, 0])
                max_pages = pl.assemble(max_pages, s_top, [p * Q_PAD, 0])
                sum_pages = pl.assemble(sum_pages, s_total, [p * Q_PAD, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="sv"):
            for p in pl.range(pages):
                tokens = pl.min(PAGE, pos + 1 - p * PAGE)
                page = pl.cast(pl.tensor.read(block_table, [b * MAX_PAGES + p]), pl.INDEX)
                v_row = layer_row + (page * KV_HEADS + kv) * PAGE
                w = pl.slice(weights, [Q_PAD, PAGE], [p * Q_PAD, 0], valid_shape=[Q_PAD, tokens])
                v_page = pl.slice(v_cache, [PAGE, HEAD_DIM], [v_row, 0], valid_shape=[tokens, HEAD_DIM])
                o_pages = pl.assemble(o_pages, pl.matmul(w, v_page, out_dtype=pl.FP32), [p * Q_PAD, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="online_softmax_init"):
            o_all = pl.assemble(o_all, pl.full([Q_PAD, HEAD_DIM], dtype=pl.FP32, value=0.0), [0, 0])
            lowest = pl.reshape(pl.full([1, Q_PAD], dtype=pl.FP32, value=LOWEST), [Q_PAD, 1])
            nothing = pl.reshape(pl.full([1, Q_PAD], dtype=pl.FP32, value=0.0), [Q_PAD, 1])
            max_all = pl.assemble(max_all, lowest, [0, 0])
            sum_all = pl.assemble(sum_all, nothing, [0, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="online_softmax"):
            o = pl.slice(o_all, [Q_PAD, HEAD_DIM], [0, 0])
            top = pl.slice(max_all, [Q_PAD, 1], [0, 0])
            total = pl.slice(sum_all, [Q_PAD, 1], [0, 0])
            for p in pl.range(pages):
                o_p = pl.slice(o_pages, [Q_PAD, HEAD_DIM], [p * Q_PAD, 0])
                top_p = pl.slice(max_pages, [Q_PAD, 1], [p * Q_PAD, 0])
                total_p = pl.slice(sum_pages, [Q_PAD, 1], [p * Q_PAD, 0])
                o, top, total = joined(o, top, total, o_p, top_p, total_p)
            o_all = pl.assemble(o_all, o, [0, 0])
            max_all = pl.assemble(max_all, top, [0, 0])
            sum_all = pl.assemble(sum_all, total, [0, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="context"):
            o_end = pl.slice(o_all, [Q_PAD, HEAD_DIM], [0, 0])
            total_end = pl.slice(sum_all, [Q_PAD, 1], [0, 0])
            rows = pl.cast(pl.row_expand_div(o_end, total_end), target_type=pl.BF16, mode="rint")
            context = pl.assemble(context, rows, [0, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="write_back"):
            for i in pl.range(Q_PER_KV):
                c_row = pl.slice(context, [1, HEAD_DIM], [i, 0])
                attn_part = pl.assemble(attn_part, c_row, [0, i * HEAD_DIM])
    return k_cache, v_cache, attn


@pl.jit.inline
def tile_layer_end(
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
    """Output projection, norm, MLP, residuals of one tile: a task a tile of the cube, another for what follows it."""
    hidden = pl.tensor.dim(wo, 1)
    inter = pl.tensor.dim(w_gate, 1)
    weight_row = layer_idx * hidden
    wo_row = layer_idx * Q_WIDTH
    down_row = layer_idx * inter
    resid = pl.create_tensor([TILE, hidden], dtype=pl.FP32)
    normed = pl.create_tensor([TILE, hidden], dtype=pl.BF16)
    mlp = pl.create_tensor([TILE, inter], dtype=pl.BF16)

    for ob in pl.parallel(hidden // OUT_N):
        n0 = ob * OUT_N
        projected = pl.create_tensor([TILE, OUT_N], dtype=pl.FP32)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="out_proj"):
            o_acc = narrow_product(attn, wo, rows, wo_row, n0)
            projected = pl.assemble(projected, o_acc, [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="out_proj_residual"):
            x_n = pl.slice(hidden_states, [TILE, OUT_N], [row, n0], valid_shape=[rows, OUT_N])
            o = pl.slice(projected, [TILE, OUT_N], [0, 0], valid_shape=[rows, OUT_N])
            resid = pl.assemble(resid, pl.add(pl.cast(x_n, target_type=pl.FP32), o), [0, n0])

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="post_rmsnorm"):
        for group in pl.range((rows + NORM_ROWS - 1) // NORM_ROWS):
            first = group * NORM_ROWS
            count = pl.min(NORM_ROWS, rows - first)
            normed = norm_resid(resid, post_norm_weight, normed, first, count, layer_idx)

    for ib in pl.parallel(inter // MLP_N):
        n0 = ib * MLP_N
        gate = pl.create_tensor([TILE, MLP_N], dtype=pl.FP32)
        up = pl.create_tensor([TILE, MLP_N], dtype=pl.FP32)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="gate_proj"):
            g_acc = mlp_product(normed, w_gate, rows, weight_row, n0)
            gate = pl.assemble(gate, g_acc, [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="up_proj"):
            u_acc = mlp_product(normed, w_up, rows, weight_row, n0)
            up = pl.assemble(up, u_acc, [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="silu"):
            gate_n = pl.slice(gate, [TILE, MLP_N], [0, 0], valid_shape=[rows, MLP_N])
            sigmoid = pl.recip(pl.add(pl.exp(pl.neg(gate_n)), 1.0))
            up_n = pl.slice(up, [TILE, MLP_N], [0, 0], valid_shape=[rows, MLP_N])
            activated = pl.mul(pl.mul(gate_n, sigmoid), up_n)
            mlp = pl.assemble(mlp, pl.cast(activated, target_type=pl.BF16, mode="rint"), [0, n0])

    for db in pl.parallel(hidden // MLP_N):
        d0 = db * MLP_N
        down = pl.create_tensor([TILE, MLP_N], dtype=pl.FP32)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="down_proj"):
            d_acc = mlp_product(mlp, w_down, rows, down_row, d0)
            down = pl.assemble(down, d_acc, [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="down_proj_residual"):
            r = pl.slice(resid, [TILE, MLP_N], [0, d0], valid_shape=[rows, MLP_N])
            d = pl.slice(down, [TILE, MLP_N], [0, 0], valid_shape=[rows, MLP_N])
            result = pl.cast(pl.add(r, d), target_type=pl.BF16, mode="rint")
            hidden_states = pl.assemble(hidden_states, result, [row, d0])
    return hidden_states
