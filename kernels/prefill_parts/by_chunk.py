"""What `spmd` and `chunked` of stage prefill are made of: steps, each one dispatch, of any number of tokens."""

import pypto.language as pl

from kernels.prefill_parts.tiles import (
    ATTENTION_BLOCKS,
    CACHE_ROWS_DYN,
    HIDDEN_DYN,
    HIDDEN_ROWS_DYN,
    INTER_DYN,
    INTER_ROWS_DYN,
    KV_BLOCKS,
    LAYERS_DYN,
    LOWEST,
    MASK_N,
    MLP_BLOCKS,
    NORM_BLOCKS,
    NORM_ROWS,
    OUT_BLOCKS,
    PAGE_WINDOWS,
    Q_BLOCKS,
    Q_ROWS_DYN,
    Q_WIDTH,
    ROPE_BLOCKS,
    ROPE_ROWS_DYN,
    ROWS_DYN,
    SCRATCH_ROWS,
    TABLE_DYN,
    TILE,
    TOKENS_DYN,
    VECTOR_N,
    VECTOR_ROWS,
    WIDE_K,
    WIDE_N,
    WINDOW,
    WINDOW_ROWS,
    head_norm,
    joined,
    masked_softmax,
    norm_hidden,
    norm_resid,
    wide_product,
)
from kernels.qwen3 import (
    HALF_DIM,
    HEAD_DIM,
    KV_HEADS,
    KV_HIDDEN,
    MAX_PAGES,
    PAGE,
    Q_PER_KV,
)


@pl.jit.inline
def projections(
    hidden_states: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    input_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    wq: pl.Tensor[[HIDDEN_ROWS_DYN, Q_WIDTH], pl.BF16],
    wk: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    wv: pl.Tensor[[HIDDEN_ROWS_DYN, KV_HIDDEN], pl.BF16],
    q_proj: pl.Tensor[[ROWS_DYN, Q_WIDTH], pl.FP32],
    k_proj: pl.Tensor[[ROWS_DYN, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[ROWS_DYN, KV_HIDDEN], pl.FP32],
    row: pl.Scalar[pl.INDEX],
    tokens: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Norm, Q, K and V of `tokens` rows of hidden_states from `row` on, in rows from 0 on."""
    scratch_rows = pl.tensor.dim(q_proj, 0)
    hidden = pl.tensor.dim(input_norm_weight, 1)
    weight_row = layer_idx * hidden
    tiles = (tokens + TILE - 1) // TILE
    q_items = Q_WIDTH // WIDE_N * tiles
    kv_items = KV_HEADS * tiles
    normed = pl.create_tensor([scratch_rows, hidden], dtype=pl.BF16)

    for block in pl.spmd(NORM_BLOCKS, name_hint="input_rmsnorm"):
        for group in pl.range(block, (tokens + NORM_ROWS - 1) // NORM_ROWS, NORM_BLOCKS):
            first = group * NORM_ROWS
            count = pl.min(NORM_ROWS, tokens - first)
            normed = norm_hidden(hidden_states, input_norm_weight, normed, row + first, first, count, layer_idx)

    for block in pl.spmd(Q_BLOCKS, name_hint="q_proj"):
        for item in pl.range(block, q_items, Q_BLOCKS):
            first = item % tiles * TILE
            rows = pl.min(TILE, tokens - first)
            n0 = item // tiles * WIDE_N
            q_acc = wide_product(normed, wq, first, rows, weight_row, n0)
            q_proj = pl.assemble(q_proj, q_acc, [first, n0])

    for block in pl.spmd(KV_BLOCKS, name_hint="kv_proj"):
        for item in pl.range(block, kv_items, KV_BLOCKS):
            first = item % tiles * TILE
            rows = pl.min(TILE, tokens - first)
            n0 = item // tiles * HEAD_DIM
            k_acc = pl.create_tensor([TILE, HEAD_DIM], dtype=pl.FP32)
            v_acc = pl.create_tensor([TILE, HEAD_DIM], dtype=pl.FP32)
            for kb in pl.pipeline(hidden // WIDE_K, stage=2):
                k0 = kb * WIDE_K
                x_k = pl.slice(normed, [TILE, WIDE_K], [first, k0], valid_shape=[rows, WIDE_K])
                wk_k = pl.slice(wk, [WIDE_K, HEAD_DIM], [weight_row + k0, n0])
                k_acc = pl.matmul_acc(k_acc, x_k, wk_k, init_cond=(kb == 0))
                wv_k = pl.slice(wv, [WIDE_K, HEAD_DIM], [weight_row + k0, n0])
                v_acc = pl.matmul_acc(v_acc, x_k, wv_k, init_cond=(kb == 0))
            k_proj = pl.assemble(k_proj, pl.set_validshape(k_acc, rows, HEAD_DIM), [first, n0])
            v_proj = pl.assemble(v_proj, pl.set_validshape(v_acc, rows, HEAD_DIM), [first, n0])
    return q_proj, k_proj, v_proj


@pl.jit.inline
def rotate_tokens(
    heads: pl.Tensor[[WINDOW, HEAD_DIM], pl.FP32],
    cos: pl.Tensor[[WINDOW, HEAD_DIM], pl.FP32],
    sin: pl.Tensor[[WINDOW, HEAD_DIM], pl.FP32],
):
    """RoPE of one head of WINDOW tokens, a row of the tables for each; the halves in BF16, zero where no token is.

    The assembler takes no half of a tile that is valid in part: all are made whole first.
    """
    x = pl.fillpad(heads, pad_value=pl.PadValue.zero)
    c = pl.fillpad(cos, pad_value=pl.PadValue.zero)
    s = pl.fillpad(sin, pad_value=pl.PadValue.zero)
    turned_lo = pl.sub(pl.mul(x[:, 0:HALF_DIM], c[:, 0:HALF_DIM]), pl.mul(x[:, HALF_DIM:], s[:, 0:HALF_DIM]))
    turned_hi = pl.add(pl.mul(x[:, HALF_DIM:], c[:, HALF_DIM:]), pl.mul(x[:, 0:HALF_DIM], s[:, HALF_DIM:]))
    out_lo = pl.cast(turned_lo, target_type=pl.BF16, mode="rint")
    out_hi = pl.cast(turned_hi, target_type=pl.BF16, mode="rint")
    return out_lo, out_hi


@pl.jit.inline
def causal_mask(mask: pl.Tensor[[WINDOW, MASK_N], pl.FP32]):
    """0 where column - PAGE <= row, LOWEST elsewhere: the mask of a window is PAGE columns of it, see `page_phases`."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="causal_mask"):
        mask = pl.assemble(mask, pl.full([WINDOW, MASK_N], dtype=pl.FP32, value=LOWEST), [0, 0])
        for t in pl.range(WINDOW):
            seen = pl.set_validshape(pl.full([1, MASK_N], dtype=pl.FP32, value=0.0), 1, PAGE + 1 + t)
            mask = pl.assemble(mask, seen, [t, 0])
    return mask


@pl.jit.inline
def page_phases(
    q_windows: pl.Tensor[[SCRATCH_ROWS, HEAD_DIM], pl.BF16],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    mask: pl.Tensor[[WINDOW, MASK_N], pl.FP32],
    o_page: pl.Tensor[[SCRATCH_ROWS, HEAD_DIM], pl.FP32],
    max_page: pl.Tensor[[SCRATCH_ROWS, 1], pl.FP32],
    sum_page: pl.Tensor[[SCRATCH_ROWS, 1], pl.FP32],
    b: pl.Scalar[pl.INDEX],
    p: pl.Scalar[pl.INDEX],
    windows: pl.Scalar[pl.INDEX],
    base: pl.Scalar[pl.INDEX],
    start: pl.Scalar[pl.INDEX],
    end: pl.Scalar[pl.INDEX],
    layer_row: pl.Scalar[pl.INDEX],
):
    """What page `p` of sequence `b` alone gives for every window that sees it: o, max and sum of each row.

    Of `windows` windows, the first is number `base` of its sequence; those from PAGE_WINDOWS * p on see the page.
    """
    skipped = pl.max(0, p * PAGE_WINDOWS - base)
    seeing = windows - skipped
    items = KV_HEADS * seeing
    tokens = pl.min(PAGE, end - p * PAGE)
    scores = pl.create_tensor([SCRATCH_ROWS, PAGE], dtype=pl.FP32)
    weights = pl.create_tensor([SCRATCH_ROWS, PAGE], dtype=pl.BF16)

    for block in pl.spmd(ATTENTION_BLOCKS, name_hint="qk"):
        page = pl.cast(pl.tensor.read(block_table, [b * MAX_PAGES + p]), pl.INDEX)
        for item in pl.range(block, items, ATTENTION_BLOCKS):
            kv = item // seeing
            w_row = (kv * windows + skipped + item % seeing) * WINDOW_ROWS
            k_row = layer_row + (page * KV_HEADS + kv) * PAGE
            q = pl.slice(q_windows, [WINDOW_ROWS, HEAD_DIM], [w_row, 0])
            k = pl.slice(k_cache, [PAGE, HEAD_DIM], [k_row, 0], valid_shape=[tokens, HEAD_DIM])
            scores = pl.assemble(scores, pl.matmul(q, k, out_dtype=pl.FP32, b_trans=True), [w_row, 0])

    for block in pl.spmd(ATTENTION_BLOCKS, name_hint="softmax"):
        for item in pl.range(block, items, ATTENTION_BLOCKS):
            w = skipped + item % seeing
            w_row = (item // seeing * windows + w) * WINDOW_ROWS
            first = pl.max(start, (base + w) * WINDOW)
            into = pl.min(PAGE - 1, first - p * PAGE)
            hidden_later = pl.slice(mask, [WINDOW, PAGE], [0, PAGE - into])
            for i in pl.pipeline(Q_PER_KV, stage=2):
                row = w_row + i * WINDOW
                s = pl.slice(scores, [WINDOW, PAGE], [row, 0], valid_shape=[WINDOW, tokens])
                s_weights, s_top, s_total = masked_softmax(s, hidden_later)
                weights = pl.assemble(weights, s_weights, [row, 0])
                max_page = pl.assemble(max_page, s_top, [row, 0])
                sum_page = pl.assemble(sum_page, s_total, [row, 0])

    for block in pl.spmd(ATTENTION_BLOCKS, name_hint="sv"):
        page = pl.cast(pl.tensor.read(block_table, [b * MAX_PAGES + p]), pl.INDEX)
        for item in pl.range(block, items, ATTENTION_BLOCKS):
            kv = item // seeing
            w_row = (kv * windows + skipped + item % seeing) * WINDOW_ROWS
            v_row = layer_row + (page * KV_HEADS + kv) * PAGE
            weights_p = pl.slice(weights, [WINDOW_ROWS, PAGE], [w_row, 0], valid_shape=[WINDOW_ROWS, tokens])
            v = pl.slice(v_cache, [PAGE, HEAD_DIM], [v_row, 0], valid_shape=[tokens, HEAD_DIM])
            o_page = pl.assemble(o_page, pl.matmul(weights_p, v, out_dtype=pl.FP32), [w_row, 0])
    return o_page, max_page, sum_page


@pl.jit.inline
def attend(
    q_windows: pl.Tensor[[SCRATCH_ROWS, HEAD_DIM], pl.BF16],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    mask: pl.Tensor[[WINDOW, MASK_N], pl.FP32],
    attn: pl.Tensor[[ROWS_DYN, Q_WIDTH], pl.BF16],
    b: pl.Scalar[pl.INDEX],
    start: pl.Scalar[pl.INDEX],
    end: pl.Scalar[pl.INDEX],
    base: pl.Scalar[pl.INDEX],
    windows: pl.Scalar[pl.INDEX],
    scratch_row: pl.Scalar[pl.INDEX],
    layer_row: pl.Scalar[pl.INDEX],
):
    """Attention of `windows` windows of sequence `b`, from number `base` on, over all pages; to attn's rows."""
    items = KV_HEADS * windows
    o_all = pl.create_tensor([SCRATCH_ROWS, HEAD_DIM], dtype=pl.FP32)
    max_all = pl.create_tensor([SCRATCH_ROWS, 1], dtype=pl.FP32)
    sum_all = pl.create_tensor([SCRATCH_ROWS, 1], dtype=pl.FP32)

    # Every window sees page 0: what that gives is where o, max and sum begin.
    o_all, max_all, sum_all = page_phases(
        q_windows, k_cache, v_cache, block_table, mask, o_all, max_all, sum_all,
        b, 0, windows, base, start, end, layer_row,
    )  # fmt: skip
    for p in pl.range(1, (end + PAGE - 1) // PAGE):
        o_page = pl.create_tensor([SCRATCH_ROWS, HEAD_DIM], dtype=pl.FP32)
        max_page = pl.create_tensor([SCRATCH_ROWS, 1], dtype=pl.FP32)
        sum_page = pl.create_tensor([SCRATCH_ROWS, 1], dtype=pl.FP32)
        o_page, max_page, sum_page = page_phases(
            q_windows, k_cache, v_cache, block_table, mask, o_page, max_page, sum_page,
            b, p, windows, base, start, end, layer_row,
        )  # fmt: skip
        skipped = pl.max(0, p * PAGE_WINDOWS - base)
        seeing = windows - skipped
        for block in pl.spmd(ATTENTION_BLOCKS, name_hint="merge"):
            for item in pl.range(block, KV_HEADS * seeing, ATTENTION_BLOCKS):
                w_row = (item // seeing * windows + skipped + item % seeing) * WINDOW_ROWS
                for i in pl.pipeline(Q_PER_KV, stage=2):
                    m_row = w_row + i * WINDOW
                    o = pl.slice(o_all, [WINDOW, HEAD_DIM], [m_row, 0])
                    top = pl.slice(max_all, [WINDOW, 1], [m_row, 0])
                    total = pl.slice(sum_all, [WINDOW, 1], [m_row, 0])
                    o_p = pl.slice(o_page, [WINDOW, HEAD_DIM], [m_row, 0])
                    top_p = pl.slice(max_page, [WINDOW, 1], [m_row, 0])
                    total_p = pl.slice(sum_page, [WINDOW, 1], [m_row, 0])
                    o, top, total = joined(o, top, total, o_p, top_p, total_p)
                    o_all = pl.assemble(o_all, o, [m_row, 0])
                    max_all = pl.assemble(max_all, top, [m_row, 0])
                    sum_all = pl.assemble(sum_all, total, [m_row, 0])

    for block in pl.spmd(ATTENTION_BLOCKS, name_hint="finalize"):
        for item in pl.range(block, items, ATTENTION_BLOCKS):
            w = base + item % windows
            first = pl.max(start, w * WINDOW)
            count = pl.min(end, (w + 1) * WINDOW) - first
            for i in pl.pipeline(Q_PER_KV, stage=2):
                f_row = item * WINDOW_ROWS + i * WINDOW
                o_end = pl.slice(o_all, [WINDOW, HEAD_DIM], [f_row, 0], valid_shape=[count, HEAD_DIM])
                total_end = pl.slice(sum_all, [WINDOW, 1], [f_row, 0])
                context = pl.cast(pl.row_expand_div(o_end, total_end), target_type=pl.BF16, mode="rint")
                column = (item // windows * Q_PER_KV + i) * HEAD_DIM
                attn = pl.assemble(attn, context, [scratch_row + first - start, column])
    return attn


@pl.jit.inline
def attention(
    q_proj: pl.Tensor[[ROWS_DYN, Q_WIDTH], pl.FP32],
    k_proj: pl.Tensor[[ROWS_DYN, KV_HIDDEN], pl.FP32],
    v_proj: pl.Tensor[[ROWS_DYN, KV_HIDDEN], pl.FP32],
    q_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    k_norm_weight: pl.Tensor[[LAYERS_DYN, HEAD_DIM], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    slot_mapping: pl.Tensor[[TOKENS_DYN], pl.INT32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    mask: pl.Tensor[[WINDOW, MASK_N], pl.FP32],
    attn: pl.Tensor[[ROWS_DYN, Q_WIDTH], pl.BF16],
    b: pl.Scalar[pl.INDEX],
    start: pl.Scalar[pl.INDEX],
    end: pl.Scalar[pl.INDEX],
    scratch_row: pl.Scalar[pl.INDEX],
    row: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Sequence `b`, positions `start` to `end` - 1: norms, RoPE, K and V to the cache, attention over all pages.

    The first of them has row `scratch_row` in q_proj, k_proj, v_proj and attn, and row `row` in slot_mapping.
    """
    layer_row = layer_idx * (pl.tensor.dim(k_cache, 0) // pl.tensor.dim(q_norm_weight, 0))
    base = start // WINDOW
    windows = (end - 1) // WINDOW - base + 1
    items = KV_HEADS * windows
    q_windows = pl.create_tensor([SCRATCH_ROWS, HEAD_DIM], dtype=pl.BF16)

    for block in pl.spmd(ROPE_BLOCKS, name_hint="rope_kv_cache"):
        q_weight = pl.slice(q_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        k_weight = pl.slice(k_norm_weight, [1, HEAD_DIM], [layer_idx, 0])
        for item in pl.range(block, items, ROPE_BLOCKS):
            kv = item // windows
            w = base + item % windows
            first = pl.max(start, w * WINDOW)
            count = pl.min(end, (w + 1) * WINDOW) - first
            x_row = scratch_row + first - start
            slot = pl.cast(pl.tensor.read(slot_mapping, [row + first - start]), pl.INDEX)
            cache_row = layer_row + (slot // PAGE * KV_HEADS + kv) * PAGE + slot % PAGE
            cos = pl.slice(rope_cos, [WINDOW, HEAD_DIM], [first, 0], valid_shape=[count, HEAD_DIM])
            sin = pl.slice(rope_sin, [WINDOW, HEAD_DIM], [first, 0], valid_shape=[count, HEAD_DIM])

            k = pl.slice(k_proj, [WINDOW, HEAD_DIM], [x_row, kv * HEAD_DIM], valid_shape=[count, HEAD_DIM])
            k = head_norm(k, k_weight)
            k_lo, k_hi = rotate_tokens(k, cos, sin)
            k_cache = pl.assemble(k_cache, pl.set_validshape(k_lo, count, HALF_DIM), [cache_row, 0])
            k_cache = pl.assemble(k_cache, pl.set_validshape(k_hi, count, HALF_DIM), [cache_row, HALF_DIM])
            v = pl.slice(v_proj, [WINDOW, HEAD_DIM], [x_row, kv * HEAD_DIM], valid_shape=[count, HEAD_DIM])
            v_cache = pl.assemble(v_cache, pl.cast(v, target_type=pl.BF16, mode="rint"), [cache_row, 0])
            for i in pl.range(Q_PER_KV):
                column = (kv * Q_PER_KV + i) * HEAD_DIM
                q = pl.slice(q_proj, [WINDOW, HEAD_DIM], [x_row, column], valid_shape=[count, HEAD_DIM])
                q = head_norm(q, q_weight)
                q_lo, q_hi = rotate_tokens(q, cos, sin)
                q_row = item * WINDOW_ROWS + i * WINDOW
                q_windows = pl.assemble(q_windows, q_lo, [q_row, 0])
                q_windows = pl.assemble(q_windows, q_hi, [q_row, HALF_DIM])

    attn = attend(
        q_windows, k_cache, v_cache, block_table, mask, attn, b, start, end, base, windows, scratch_row, layer_row
    )
    return k_cache, v_cache, attn


@pl.jit.inline
def layer_end(
    attn: pl.Tensor[[ROWS_DYN, Q_WIDTH], pl.BF16],
    hidden_states: pl.Tensor[[TOKENS_DYN, HIDDEN_DYN], pl.BF16],
    wo: pl.Tensor[[Q_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    post_norm_weight: pl.Tensor[[LAYERS_DYN, HIDDEN_DYN], pl.FP32],
    w_gate: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_up: pl.Tensor[[HIDDEN_ROWS_DYN, INTER_DYN], pl.BF16],
    w_down: pl.Tensor[[INTER_ROWS_DYN, HIDDEN_DYN], pl.BF16],
    row: pl.Scalar[pl.INDEX],
    tokens: pl.Scalar[pl.INDEX],
    layer_idx: pl.Scalar[pl.INT32],
):
    """Output projection, norm, MLP and residuals of `tokens` rows of attn; hidden_states from `row` on."""
    scratch_rows = pl.tensor.dim(attn, 0)
    hidden = pl.tensor.dim(wo, 1)
    inter = pl.tensor.dim(w_gate, 1)
    weight_row = layer_idx * hidden
    wo_row = layer_idx * Q_WIDTH
    down_row = layer_idx * inter
    tiles = (tokens + TILE - 1) // TILE
    hidden_items = hidden // WIDE_N * tiles
    inter_items = inter // WIDE_N * tiles
    parts = (tokens + VECTOR_ROWS - 1) // VECTOR_ROWS  # of the vector work
    projected = pl.create_tensor([scratch_rows, hidden], dtype=pl.FP32)
    resid = pl.create_tensor([scratch_rows, hidden], dtype=pl.FP32)
    normed = pl.create_tensor([scratch_rows, hidden], dtype=pl.BF16)
    gate = pl.create_tensor([scratch_rows, inter], dtype=pl.FP32)
    up = pl.create_tensor([scratch_rows, inter], dtype=pl.FP32)
    mlp = pl.create_tensor([scratch_rows, inter], dtype=pl.BF16)
    down = pl.create_tensor([scratch_rows, hidden], dtype=pl.FP32)

    for block in pl.spmd(OUT_BLOCKS, name_hint="out_proj"):
        for item in pl.range(block, hidden_items, OUT_BLOCKS):
            first = item % tiles * TILE
            rows = pl.min(TILE, tokens - first)
            n0 = item // tiles * WIDE_N
            o_acc = wide_product(attn, wo, first, rows, wo_row, n0)
            projected = pl.assemble(projected, o_acc, [first, n0])

    for block in pl.spmd(OUT_BLOCKS, name_hint="out_proj_residual"):
        for item in pl.range(block, hidden // VECTOR_N * parts, OUT_BLOCKS):
            first = item % parts * VECTOR_ROWS
            rows = pl.min(VECTOR_ROWS, tokens - first)
            n0 = item // parts * VECTOR_N
            x_n = pl.slice(hidden_states, [VECTOR_ROWS, VECTOR_N], [row + first, n0], valid_shape=[rows, VECTOR_N])
            o = pl.slice(projected, [VECTOR_ROWS, VECTOR_N], [first, n0], valid_shape=[rows, VECTOR_N])
            resid = pl.assemble(resid, pl.add(pl.cast(x_n, target_type=pl.FP32), o), [first, n0])

    for block in pl.spmd(NORM_BLOCKS, name_hint="post_rmsnorm"):
        for group in pl.range(block, (tokens + NORM_ROWS - 1) // NORM_ROWS, NORM_BLOCKS):
            first = group * NORM_ROWS
            count = pl.min(NORM_ROWS, tokens - first)
            normed = norm_resid(resid, post_norm_weight, normed, first, count, layer_idx)

    for block in pl.spmd(MLP_BLOCKS, name_hint="gate_up_proj"):
        for item in pl.range(block, inter_items, MLP_BLOCKS):
            first = item % tiles * TILE
            rows = pl.min(TILE, tokens - first)
            n0 = item // tiles * WIDE_N
            g_acc = pl.create_tensor([TILE, WIDE_N], dtype=pl.FP32)
            u_acc = pl.create_tensor([TILE, WIDE_N], dtype=pl.FP32)
            for kb in pl.pipeline(hidden // WIDE_K, stage=2):
                k0 = kb * WIDE_K
                x_k = pl.slice(normed, [TILE, WIDE_K], [first, k0], valid_shape=[rows, WIDE_K])
                gate_k = pl.slice(w_gate, [WIDE_K, WIDE_N], [weight_row + k0, n0])
                g_acc = pl.matmul_acc(g_acc, x_k, gate_k, init_cond=(kb == 0))
                up_k = pl.slice(w_up, [WIDE_K, WIDE_N], [weight_row + k0, n0])
                u_acc = pl.matmul_acc(u_acc, x_k, up_k, init_cond=(kb == 0))
            gate = pl.assemble(gate, pl.set_validshape(g_acc, rows, WIDE_N), [first, n0])
            up = pl.assemble(up, pl.set_validshape(u_acc, rows, WIDE_N), [first, n0])

    for block in pl.spmd(MLP_BLOCKS, name_hint="silu"):
        for item in pl.range(block, inter // VECTOR_N * parts, MLP_BLOCKS):
            first = item % parts * VECTOR_ROWS
            rows = pl.min(VECTOR_ROWS, tokens - first)
            n0 = item // parts * VECTOR_N
            gate_n = pl.slice(gate, [VECTOR_ROWS, VECTOR_N], [first, n0], valid_shape=[rows, VECTOR_N])
            sigmoid = pl.recip(pl.add(pl.exp(pl.neg(gate_n)), 1.0))
            up_n = pl.slice(up, [VECTOR_ROWS, VECTOR_N], [first, n0], valid_shape=[rows, VECTOR_N])
            activated = pl.mul(pl.mul(gate_n, sigmoid), up_n)
            mlp = pl.assemble(mlp, pl.cast(activated, target_type=pl.BF16, mode="rint"), [first, n0])

    for block in pl.spmd(OUT_BLOCKS, name_hint="down_proj"):
        for item in pl.range(block, hidden_items, OUT_BLOCKS):
            first = item % tiles * TILE
            rows = pl.min(TILE, tokens - first)
            n0 = item // tiles * WIDE_N
            d_acc = wide_product(mlp, w_down, first, rows, down_row, n0)
            down = pl.assemble(down, d_acc, [first, n0])

    for block in pl.spmd(OUT_BLOCKS, name_hint="down_proj_residual"):
        for item in pl.range(block, hidden // VECTOR_N * parts, OUT_BLOCKS):
            first = item % parts * VECTOR_ROWS
            rows = pl.min(VECTOR_ROWS, tokens - first)
            n0 = item // parts * VECTOR_N
            r = pl.slice(resid, [VECTOR_ROWS, VECTOR_N], [first, n0], valid_shape=[rows, VECTOR_N])
            d = pl.slice(down, [VECTOR_ROWS, VECTOR_N], [first, n0], valid_shape=[rows, VECTOR_N])
            result = pl.cast(pl.add(r, d), target_type=pl.BF16, mode="rint")
            hidden_states = pl.assemble(hidden_states, result, [row + first, n0])
    return hidden_states
