"""Attention of prefill's rungs: windows of 16 tokens, whose heads are normed already.

`one_window`, `one_window_at_once`  a window, each phase of each KV head a task, as `token_attention` has them
`turned_windows`                    RoPE of all windows of a tile in one launch, before `attend` of prefill_parts
"""

import pypto.language as pl

from kernels.prefill_parts.by_chunk import rotate_tokens
from kernels.prefill_parts.tiles import (
    CACHE_ROWS_DYN,
    HEADS_IN_GROUP,
    LOWEST,
    MASK_N,
    Q_WIDTH,
    QKV_GROUP,
    ROPE_BLOCKS,
    ROPE_ROWS_DYN,
    SCRATCH_ROWS,
    TABLE_DYN,
    TILE,
    TOKENS_DYN,
    WINDOW,
    WINDOW_ROWS,
    joined,
    masked_softmax,
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
def window_phases(
    q_windows: pl.Tensor[[KV_HEADS * WINDOW_ROWS, HEAD_DIM], pl.BF16],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    mask: pl.Tensor[[WINDOW, MASK_N], pl.FP32],
    o_pages: pl.Tensor[[MAX_PAGES * WINDOW_ROWS, HEAD_DIM], pl.FP32],
    max_pages: pl.Tensor[[MAX_PAGES * WINDOW_ROWS, 1], pl.FP32],
    sum_pages: pl.Tensor[[MAX_PAGES * WINDOW_ROWS, 1], pl.FP32],
    kv: pl.Scalar[pl.INDEX],
    b: pl.Scalar[pl.INDEX],
    first: pl.Scalar[pl.INDEX],
    end: pl.Scalar[pl.INDEX],
    layer_row: pl.Scalar[pl.INDEX],
):
    """QK, softmax and SV of a window that begins at position `first`, over all its pages, a task each."""
    pages = first // PAGE + 1
    scores = pl.create_tensor([MAX_PAGES * WINDOW_ROWS, PAGE], dtype=pl.FP32)
    weights = pl.create_tensor([MAX_PAGES * WINDOW_ROWS, PAGE], dtype=pl.BF16)

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="qk"):
        for p in pl.range(pages):
            tokens = pl.min(PAGE, end - p * PAGE)
            page = pl.cast(pl.tensor.read(block_table, [b * MAX_PAGES + p]), pl.INDEX)
            k_row = layer_row + (page * KV_HEADS + kv) * PAGE
            q = pl.slice(q_windows, [WINDOW_ROWS, HEAD_DIM], [kv * WINDOW_ROWS, 0])
            k = pl.slice(k_cache, [PAGE, HEAD_DIM], [k_row, 0], valid_shape=[tokens, HEAD_DIM])
            s_page = pl.matmul(q, k, out_dtype=pl.FP32, b_trans=True)
            scores = pl.assemble(scores, s_page, [p * WINDOW_ROWS, 0])

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="softmax"):
        for p in pl.range(pages):
            tokens = pl.min(PAGE, end - p * PAGE)
            into = pl.min(PAGE - 1, first - p * PAGE)
            hidden_later = pl.slice(mask, [WINDOW, PAGE], [0, PAGE - into])
            for i in pl.pipeline(Q_PER_KV, stage=2):
                s_row = p * WINDOW_ROWS + i * WINDOW
                s = pl.slice(scores, [WINDOW, PAGE], [s_row, 0], valid_shape=[WINDOW, tokens])
                s_weights, s_top, s_total = masked_softmax(s, hidden_later)
                weights = pl.assemble(weights, s_weights, [s_row, 0])
                max_pages = pl.assemble(max_pages, s_top, [s_row, 0])
                sum_pages = pl.assemble(sum_pages, s_total, [s_row, 0])

    with pl.at(level=pl.Level.CORE_GROUP, name_hint="sv"):
        for p in pl.range(pages):
            tokens = pl.min(PAGE, end - p * PAGE)
            page = pl.cast(pl.tensor.read(block_table, [b * MAX_PAGES + p]), pl.INDEX)
            v_row = layer_row + (page * KV_HEADS + kv) * PAGE
            w = pl.slice(weights, [WINDOW_ROWS, PAGE], [p * WINDOW_ROWS, 0], valid_shape=[WINDOW_ROWS, tokens])
            v = pl.slice(v_cache, [PAGE, HEAD_DIM], [v_row, 0], valid_shape=[tokens, HEAD_DIM])
            o_pages = pl.assemble(o_pages, pl.matmul(w, v, out_dtype=pl.FP32), [p * WINDOW_ROWS, 0])
    return o_pages, max_pages, sum_pages


@pl.jit.inline
def turned_window(
    q_normed: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_normed: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_parts: pl.Tensor[[KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    q_windows: pl.Tensor[[SCRATCH_ROWS, HEAD_DIM], pl.BF16],
    kv: pl.Scalar[pl.INDEX],
    t: pl.Scalar[pl.INDEX],
    count: pl.Scalar[pl.INDEX],
    first: pl.Scalar[pl.INDEX],
    slot: pl.Scalar[pl.INDEX],
    q_row: pl.Scalar[pl.INDEX],
    layer_row: pl.Scalar[pl.INDEX],
):
    """RoPE of one KV head of a window, `count` tokens of the tile from `t` on; K and V to the cache."""
    cache_row = layer_row + (slot // PAGE * KV_HEADS + kv) * PAGE + slot % PAGE
    cos = pl.slice(rope_cos, [WINDOW, HEAD_DIM], [first, 0], valid_shape=[count, HEAD_DIM])
    sin = pl.slice(rope_sin, [WINDOW, HEAD_DIM], [first, 0], valid_shape=[count, HEAD_DIM])
    k = pl.slice(k_normed, [WINDOW, HEAD_DIM], [t, kv * HEAD_DIM], valid_shape=[count, HEAD_DIM])
    k_lo, k_hi = rotate_tokens(k, cos, sin)
    k_cache = pl.assemble(k_cache, pl.set_validshape(k_lo, count, HALF_DIM), [cache_row, 0])
    k_cache = pl.assemble(k_cache, pl.set_validshape(k_hi, count, HALF_DIM), [cache_row, HALF_DIM])
    v_row = kv // HEADS_IN_GROUP * TILE + t
    v_column = kv % HEADS_IN_GROUP * HEAD_DIM
    v = pl.slice(v_parts, [WINDOW, HEAD_DIM], [v_row, v_column], valid_shape=[count, HEAD_DIM])
    v_cache = pl.assemble(v_cache, pl.cast(v, target_type=pl.BF16, mode="rint"), [cache_row, 0])
    for i in pl.range(Q_PER_KV):
        column = (kv * Q_PER_KV + i) * HEAD_DIM
        q = pl.slice(q_normed, [WINDOW, HEAD_DIM], [t, column], valid_shape=[count, HEAD_DIM])
        q_lo, q_hi = rotate_tokens(q, cos, sin)
        q_windows = pl.assemble(q_windows, q_lo, [q_row + i * WINDOW, 0])
        q_windows = pl.assemble(q_windows, q_hi, [q_row + i * WINDOW, HALF_DIM])
    return k_cache, v_cache, q_windows


@pl.jit.inline
def one_window(
    q_normed: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_normed: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_parts: pl.Tensor[[KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    mask: pl.Tensor[[WINDOW, MASK_N], pl.FP32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    attn: pl.Tensor[[TILE, Q_WIDTH], pl.BF16],
    b: pl.Scalar[pl.INDEX],
    t: pl.Scalar[pl.INDEX],
    count: pl.Scalar[pl.INDEX],
    first: pl.Scalar[pl.INDEX],
    end: pl.Scalar[pl.INDEX],
    slot: pl.Scalar[pl.INDEX],
    layer_row: pl.Scalar[pl.INDEX],
):
    """`token_attention` for a window: `count` tokens from `t` of the tile on, at positions from `first` on.

    A window needs no padding, so `q_pad` is gone: a task, then seven for each KV head.
    """
    pages = first // PAGE + 1
    q_windows = pl.create_tensor([KV_HEADS * WINDOW_ROWS, HEAD_DIM], dtype=pl.BF16)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="rope_kv_cache"):
        for kv in pl.range(KV_HEADS):
            k_cache, v_cache, q_windows = turned_window(
                q_normed, k_normed, v_parts, rope_cos, rope_sin, k_cache, v_cache, q_windows,
                kv, t, count, first, slot, kv * WINDOW_ROWS, layer_row,
            )  # fmt: skip

    for kv in pl.parallel(KV_HEADS):
        o_pages = pl.create_tensor([MAX_PAGES * WINDOW_ROWS, HEAD_DIM], dtype=pl.FP32)
        max_pages = pl.create_tensor([MAX_PAGES * WINDOW_ROWS, 1], dtype=pl.FP32)
        sum_pages = pl.create_tensor([MAX_PAGES * WINDOW_ROWS, 1], dtype=pl.FP32)
        o_pages, max_pages, sum_pages = window_phases(
            q_windows, k_cache, v_cache, block_table, mask, o_pages, max_pages, sum_pages,
            kv, b, first, end, layer_row,
        )  # fmt: skip
        o_all = pl.create_tensor([WINDOW_ROWS, HEAD_DIM], dtype=pl.FP32)
        max_all = pl.create_tensor([WINDOW_ROWS, 1], dtype=pl.FP32)
        sum_all = pl.create_tensor([WINDOW_ROWS, 1], dtype=pl.FP32)
        context = pl.create_tensor([WINDOW_ROWS, HEAD_DIM], dtype=pl.BF16)

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="online_softmax_init"):
            for i in pl.range(Q_PER_KV):
                o_all = pl.assemble(o_all, pl.full([WINDOW, HEAD_DIM], dtype=pl.FP32, value=0.0), [i * WINDOW, 0])
                lowest = pl.reshape(pl.full([1, WINDOW], dtype=pl.FP32, value=LOWEST), [WINDOW, 1])
                nothing = pl.reshape(pl.full([1, WINDOW], dtype=pl.FP32, value=0.0), [WINDOW, 1])
                max_all = pl.assemble(max_all, lowest, [i * WINDOW, 0])
                sum_all = pl.assemble(sum_all, nothing, [i * WINDOW, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="online_softmax"):
            for i in pl.pipeline(Q_PER_KV, stage=2):
                o = pl.slice(o_all, [WINDOW, HEAD_DIM], [i * WINDOW, 0])
                top = pl.slice(max_all, [WINDOW, 1], [i * WINDOW, 0])
                total = pl.slice(sum_all, [WINDOW, 1], [i * WINDOW, 0])
                for p in pl.range(pages):
                    p_row = p * WINDOW_ROWS + i * WINDOW
                    o_p = pl.slice(o_pages, [WINDOW, HEAD_DIM], [p_row, 0])
                    top_p = pl.slice(max_pages, [WINDOW, 1], [p_row, 0])
                    total_p = pl.slice(sum_pages, [WINDOW, 1], [p_row, 0])
                    o, top, total = joined(o, top, total, o_p, top_p, total_p)
                o_all = pl.assemble(o_all, o, [i * WINDOW, 0])
                max_all = pl.assemble(max_all, top, [i * WINDOW, 0])
                sum_all = pl.assemble(sum_all, total, [i * WINDOW, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="context"):
            for i in pl.pipeline(Q_PER_KV, stage=2):
                o_end = pl.slice(o_all, [WINDOW, HEAD_DIM], [i * WINDOW, 0])
                total_end = pl.slice(sum_all, [WINDOW, 1], [i * WINDOW, 0])
                rows = pl.cast(pl.row_expand_div(o_end, total_end), target_type=pl.BF16, mode="rint")
                context = pl.assemble(context, rows, [i * WINDOW, 0])

        with pl.at(level=pl.Level.CORE_GROUP, name_hint="write_back"):
            for i in pl.pipeline(Q_PER_KV, stage=2):
                c = pl.slice(context, [WINDOW, HEAD_DIM], [i * WINDOW, 0], valid_shape=[count, HEAD_DIM])
                attn = pl.assemble(attn, c, [t, (kv * Q_PER_KV + i) * HEAD_DIM])
    return k_cache, v_cache, attn


@pl.jit.inline
def one_window_at_once(
    q_normed: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_normed: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_parts: pl.Tensor[[KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    block_table: pl.Tensor[[TABLE_DYN], pl.INT32],
    mask: pl.Tensor[[WINDOW, MASK_N], pl.FP32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    attn: pl.Tensor[[TILE, Q_WIDTH], pl.BF16],
    b: pl.Scalar[pl.INDEX],
    t: pl.Scalar[pl.INDEX],
    count: pl.Scalar[pl.INDEX],
    first: pl.Scalar[pl.INDEX],
    end: pl.Scalar[pl.INDEX],
    slot: pl.Scalar[pl.INDEX],
    layer_row: pl.Scalar[pl.INDEX],
):
    """`one_window` that begins with page 0, not with nothing, and keeps o, max and sum on chip to the end."""
    pages = first // PAGE + 1
    q_windows = pl.create_tensor([KV_HEADS * WINDOW_ROWS, HEAD_DIM], dtype=pl.BF16)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="rope_kv_cache"):
        for kv in pl.range(KV_HEADS):
            k_cache, v_cache, q_windows = turned_window(
                q_normed, k_normed, v_parts, rope_cos, rope_sin, k_cache, v_cache, q_windows,
                kv, t, count, first, slot, kv * WINDOW_ROWS, layer_row,
            )  # fmt: skip

    for kv in pl.parallel(KV_HEADS):
        o_pages = pl.create_tensor([MAX_PAGES * WINDOW_ROWS, HEAD_DIM], dtype=pl.FP32)
        max_pages = pl.create_tensor([MAX_PAGES * WINDOW_ROWS, 1], dtype=pl.FP32)
        sum_pages = pl.create_tensor([MAX_PAGES * WINDOW_ROWS, 1], dtype=pl.FP32)
        o_pages, max_pages, sum_pages = window_phases(
            q_windows, k_cache, v_cache, block_table, mask, o_pages, max_pages, sum_pages,
            kv, b, first, end, layer_row,
        )  # fmt: skip
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="finalize"):
            for i in pl.pipeline(Q_PER_KV, stage=2):
                o = pl.slice(o_pages, [WINDOW, HEAD_DIM], [i * WINDOW, 0])
                top = pl.slice(max_pages, [WINDOW, 1], [i * WINDOW, 0])
                total = pl.slice(sum_pages, [WINDOW, 1], [i * WINDOW, 0])
                for p in pl.range(1, pages):
                    p_row = p * WINDOW_ROWS + i * WINDOW
                    o_p = pl.slice(o_pages, [WINDOW, HEAD_DIM], [p_row, 0])
                    top_p = pl.slice(max_pages, [WINDOW, 1], [p_row, 0])
                    total_p = pl.slice(sum_pages, [WINDOW, 1], [p_row, 0])
                    o, top, total = joined(o, top, total, o_p, top_p, total_p)
                rows = pl.cast(pl.row_expand_div(o, total), target_type=pl.BF16, mode="rint")
                rows = pl.set_validshape(rows, count, HEAD_DIM)
                attn = pl.assemble(attn, rows, [t, (kv * Q_PER_KV + i) * HEAD_DIM])
    return k_cache, v_cache, attn


@pl.jit.inline
def turned_windows(
    q_normed: pl.Tensor[[TILE, Q_WIDTH], pl.FP32],
    k_normed: pl.Tensor[[TILE, KV_HIDDEN], pl.FP32],
    v_parts: pl.Tensor[[KV_HIDDEN // QKV_GROUP * TILE, QKV_GROUP], pl.FP32],
    rope_cos: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    rope_sin: pl.Tensor[[ROPE_ROWS_DYN, HEAD_DIM], pl.FP32],
    slot_mapping: pl.Tensor[[TOKENS_DYN], pl.INT32],
    k_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    v_cache: pl.Tensor[[CACHE_ROWS_DYN, HEAD_DIM], pl.BF16],
    q_windows: pl.Tensor[[SCRATCH_ROWS, HEAD_DIM], pl.BF16],
    start: pl.Scalar[pl.INDEX],
    end: pl.Scalar[pl.INDEX],
    base: pl.Scalar[pl.INDEX],
    windows: pl.Scalar[pl.INDEX],
    row: pl.Scalar[pl.INDEX],
    layer_row: pl.Scalar[pl.INDEX],
):
    """RoPE of all windows of a tile, one launch; K and V to the cache, Q to q_windows."""
    for block in pl.spmd(ROPE_BLOCKS, name_hint="rope_kv_cache"):
        for item in pl.range(block, KV_HEADS * windows, ROPE_BLOCKS):
            w = base + item % windows
            first = pl.max(start, w * WINDOW)
            count = pl.min(end, (w + 1) * WINDOW) - first
            slot = pl.cast(pl.tensor.read(slot_mapping, [row + first - start]), pl.INDEX)
            k_cache, v_cache, q_windows = turned_window(
                q_normed, k_normed, v_parts, rope_cos, rope_sin, k_cache, v_cache, q_windows,
                item // windows, first - start, count, first, slot, item * WINDOW_ROWS, layer_row,
            )  # fmt: skip
    return k_cache, v_cache, q_windows
