"""Defects of attention kernels, each beside its repair: what reviewers found in pypto-lib pull requests 662, 387, 656.

`wrong_*` has the defect, `right_*` has not; everything else is the same. Kernels are cut down to what the defect needs.
"""

import pypto.language as pl

from kernels.qwen3 import BATCH, HEAD_DIM, KV_HEADS, MAX_PAGES, PAGE, Q_PAD

BATCH_DYN = pl.dynamic("BATCH_DYN")
CTX_DYN = pl.dynamic("CTX_DYN")
TOKENS_DYN = pl.dynamic("TOKENS_DYN")

GROUPS = KV_HEADS
ROWS = GROUPS * Q_PAD
WINDOW = 16
WINDOWS = 10
LOWEST = -3.0e38


@pl.jit
def wrong_scratch_row(
    scores: pl.Tensor[[ROWS, CTX_DYN], pl.FP32],
    top: pl.Out[pl.Tensor[[ROWS, 1], pl.FP32]],
):
    """Largest score of each row; scratch has rows for the groups, and the page is added to them."""
    pages = pl.tensor.dim(scores, 1) // PAGE
    parts = pl.create_tensor([ROWS, 1], dtype=pl.FP32)
    for g in pl.spmd(GROUPS, name_hint="page_top"):
        for p in pl.range(pages):
            page = pl.slice(scores, [Q_PAD, PAGE], [g * Q_PAD, p * PAGE])
            parts = pl.assemble(parts, pl.row_max(page), [(g + p) * Q_PAD, 0])
    for g in pl.spmd(GROUPS, name_hint="finish"):
        best = pl.slice(parts, [Q_PAD, 1], [g * Q_PAD, 0])
        for p in pl.range(1, pages):
            best = pl.maximum(best, pl.slice(parts, [Q_PAD, 1], [(g + p) * Q_PAD, 0]))
        top = pl.assemble(top, best, [g * Q_PAD, 0])
    return top


@pl.jit
def wrong_aliased_row(
    scores: pl.Tensor[[ROWS, CTX_DYN], pl.FP32],
    top: pl.Out[pl.Tensor[[ROWS, 1], pl.FP32]],
):
    """The same with more scratch: nothing is out of bounds, and page 1 of a group lies on page 0 of the next."""
    pages = pl.tensor.dim(scores, 1) // PAGE
    parts = pl.create_tensor([ROWS + MAX_PAGES * Q_PAD, 1], dtype=pl.FP32)
    for g in pl.spmd(GROUPS, name_hint="page_top"):
        for p in pl.range(pages):
            page = pl.slice(scores, [Q_PAD, PAGE], [g * Q_PAD, p * PAGE])
            parts = pl.assemble(parts, pl.row_max(page), [(g + p) * Q_PAD, 0])
    for g in pl.spmd(GROUPS, name_hint="finish"):
        best = pl.slice(parts, [Q_PAD, 1], [g * Q_PAD, 0])
        for p in pl.range(1, pages):
            best = pl.maximum(best, pl.slice(parts, [Q_PAD, 1], [(g + p) * Q_PAD, 0]))
        top = pl.assemble(top, best, [g * Q_PAD, 0])
    return top


@pl.jit
def right_scratch_row(
    scores: pl.Tensor[[ROWS, CTX_DYN], pl.FP32],
    top: pl.Out[pl.Tensor[[ROWS, 1], pl.FP32]],
):
    """A row of scratch for every page of every group."""
    pages = pl.tensor.dim(scores, 1) // PAGE
    parts = pl.create_tensor([ROWS * MAX_PAGES, 1], dtype=pl.FP32)
    for g in pl.spmd(GROUPS, name_hint="page_top"):
        for p in pl.range(pages):
            page = pl.slice(scores, [Q_PAD, PAGE], [g * Q_PAD, p * PAGE])
            parts = pl.assemble(parts, pl.row_max(page), [(g * MAX_PAGES + p) * Q_PAD, 0])
    for g in pl.spmd(GROUPS, name_hint="finish"):
        best = pl.slice(parts, [Q_PAD, 1], [g * MAX_PAGES * Q_PAD, 0])
        for p in pl.range(1, pages):
            best = pl.maximum(best, pl.slice(parts, [Q_PAD, 1], [(g * MAX_PAGES + p) * Q_PAD, 0]))
        top = pl.assemble(top, best, [g * Q_PAD, 0])
    return top


@pl.jit
def wrong_unmerged(
    scores: pl.Tensor[[Q_PAD, CTX_DYN], pl.FP32],
    total: pl.Out[pl.Tensor[[Q_PAD, 1], pl.FP32]],
):
    """Softmax denominator over pages; the sum of a page is added as it is, whatever the largest score before it."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="denominator"):
        top = pl.reshape(pl.full([1, Q_PAD], dtype=pl.FP32, value=LOWEST), [Q_PAD, 1])
        total_tile = pl.reshape(pl.full([1, Q_PAD], dtype=pl.FP32, value=0.0), [Q_PAD, 1])
        for p in pl.range(pl.tensor.dim(scores, 1) // PAGE):
            page = pl.slice(scores, [Q_PAD, PAGE], [0, p * PAGE])
            top = pl.row_max(page)
            total_tile = pl.add(total_tile, pl.row_sum(pl.exp(pl.row_expand_sub(page, top))))
        total = pl.assemble(total, total_tile, [0, 0])
    return total


@pl.jit
def right_unmerged(
    scores: pl.Tensor[[Q_PAD, CTX_DYN], pl.FP32],
    total: pl.Out[pl.Tensor[[Q_PAD, 1], pl.FP32]],
):
    """The sum so far is brought to the new maximum before a page is added."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="denominator"):
        top = pl.reshape(pl.full([1, Q_PAD], dtype=pl.FP32, value=LOWEST), [Q_PAD, 1])
        total_tile = pl.reshape(pl.full([1, Q_PAD], dtype=pl.FP32, value=0.0), [Q_PAD, 1])
        for p in pl.range(pl.tensor.dim(scores, 1) // PAGE):
            page = pl.slice(scores, [Q_PAD, PAGE], [0, p * PAGE])
            new_top = pl.maximum(top, pl.row_max(page))
            total_tile = pl.mul(total_tile, pl.exp(pl.sub(top, new_top)))
            total_tile = pl.add(total_tile, pl.row_sum(pl.exp(pl.row_expand_sub(page, new_top))))
            top = new_top
        total = pl.assemble(total, total_tile, [0, 0])
    return total


@pl.jit
def wrong_one_page(
    scores: pl.Tensor[[Q_PAD, CTX_DYN], pl.FP32],
    top: pl.Out[pl.Tensor[[Q_PAD, 1], pl.FP32]],
):
    """Largest score; every page is taken to be full. With 128 tokens, the only length it was tried with, it is."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="top"):
        best = pl.reshape(pl.full([1, Q_PAD], dtype=pl.FP32, value=LOWEST), [Q_PAD, 1])
        for p in pl.range((pl.tensor.dim(scores, 1) + PAGE - 1) // PAGE):
            page = pl.slice(scores, [Q_PAD, PAGE], [0, p * PAGE])
            best = pl.maximum(best, pl.row_max(page))
        top = pl.assemble(top, best, [0, 0])
    return top


@pl.jit
def right_one_page(
    scores: pl.Tensor[[Q_PAD, CTX_DYN], pl.FP32],
    top: pl.Out[pl.Tensor[[Q_PAD, 1], pl.FP32]],
):
    """The last page has as many tokens as are left."""
    ctx = pl.tensor.dim(scores, 1)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="top"):
        best = pl.reshape(pl.full([1, Q_PAD], dtype=pl.FP32, value=LOWEST), [Q_PAD, 1])
        for p in pl.range((ctx + PAGE - 1) // PAGE):
            tokens = pl.min(PAGE, ctx - p * PAGE)
            page = pl.slice(scores, [Q_PAD, PAGE], [0, p * PAGE], valid_shape=[Q_PAD, tokens])
            best = pl.maximum(best, pl.row_max(pl.fillpad(page, pad_value=pl.PadValue.min)))
        top = pl.assemble(top, best, [0, 0])
    return top


@pl.jit
def wrong_windows(
    x: pl.Tensor[[TOKENS_DYN, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[TOKENS_DYN, HEAD_DIM], pl.FP32]],
):
    """Twice x, in ten windows of 16 tokens: as many as a tile had when this was written."""
    for w in pl.spmd(WINDOWS, name_hint="window"):
        tile = pl.slice(x, [WINDOW, HEAD_DIM], [w * WINDOW, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [w * WINDOW, 0])
    return y


@pl.jit
def right_windows(
    x: pl.Tensor[[TOKENS_DYN, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[TOKENS_DYN, HEAD_DIM], pl.FP32]],
):
    """As many windows as the tokens need."""
    for w in pl.spmd(pl.tensor.dim(x, 0) // WINDOW, name_hint="window"):
        tile = pl.slice(x, [WINDOW, HEAD_DIM], [w * WINDOW, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [w * WINDOW, 0])
    return y


@pl.jit
def wrong_groups(
    parts: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    out: pl.Out[pl.Tensor[[Q_PAD, HEAD_DIM], pl.FP32]],
):
    """Sum over groups of twice their parts; the pair loop is gone, so only even groups are written."""
    scratch = pl.create_tensor([ROWS, HEAD_DIM], dtype=pl.FP32)
    for pair in pl.spmd(GROUPS // 2, name_hint="group"):
        group = pair * 2
        tile = pl.slice(parts, [Q_PAD, HEAD_DIM], [group * Q_PAD, 0])
        scratch = pl.assemble(scratch, pl.mul(tile, 2.0), [group * Q_PAD, 0])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="reduce"):
        total = pl.full([Q_PAD, HEAD_DIM], dtype=pl.FP32, value=0.0)
        for g in pl.range(GROUPS):
            total = pl.add(total, pl.slice(scratch, [Q_PAD, HEAD_DIM], [g * Q_PAD, 0]))
        out = pl.assemble(out, total, [0, 0])
    return out


@pl.jit
def right_groups(
    parts: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    out: pl.Out[pl.Tensor[[Q_PAD, HEAD_DIM], pl.FP32]],
):
    """Both groups of each pair are written."""
    scratch = pl.create_tensor([ROWS, HEAD_DIM], dtype=pl.FP32)
    for pair in pl.spmd(GROUPS // 2, name_hint="group"):
        for i in pl.range(2):
            group = pair * 2 + i
            tile = pl.slice(parts, [Q_PAD, HEAD_DIM], [group * Q_PAD, 0])
            scratch = pl.assemble(scratch, pl.mul(tile, 2.0), [group * Q_PAD, 0])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="reduce"):
        total = pl.full([Q_PAD, HEAD_DIM], dtype=pl.FP32, value=0.0)
        for g in pl.range(GROUPS):
            total = pl.add(total, pl.slice(scratch, [Q_PAD, HEAD_DIM], [g * Q_PAD, 0]))
        out = pl.assemble(out, total, [0, 0])
    return out


@pl.jit
def wrong_padded_lanes(
    x: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    y: pl.Out[pl.Tensor[[BATCH, HEAD_DIM], pl.FP32]],
):
    """Each row of x times the length of its sequence; all lanes of the batch tile look theirs up."""
    for b in pl.spmd(BATCH, name_hint="lane"):
        length = pl.tensor.read(seq_lens, [b])
        row = pl.slice(x, [1, HEAD_DIM], [b, 0])
        y = pl.assemble(y, pl.mul(row, pl.cast(length, pl.FP32)), [b, 0])
    return y


@pl.jit
def right_padded_lanes(
    x: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    seq_lens: pl.Tensor[[BATCH_DYN], pl.INT32],
    y: pl.Out[pl.Tensor[[BATCH, HEAD_DIM], pl.FP32]],
):
    """Only lanes that have a sequence run."""
    for b in pl.spmd(pl.tensor.dim(seq_lens, 0), name_hint="lane"):
        length = pl.tensor.read(seq_lens, [b])
        row = pl.slice(x, [1, HEAD_DIM], [b, 0])
        y = pl.assemble(y, pl.mul(row, pl.cast(length, pl.FP32)), [b, 0])
    return y


@pl.jit
def wrong_barrier(
    x: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
    zeros: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
):
    """Twice x in two phases; tasks that fill another output with zeros can hold a core while all wait for it."""
    half = pl.create_tensor([ROWS, HEAD_DIM], dtype=pl.FP32)
    with pl.manual_scope():
        for z in pl.spmd(GROUPS, name_hint="zero_fill"):
            zeros = pl.assemble(zeros, pl.full([Q_PAD, HEAD_DIM], dtype=pl.FP32, value=0.0), [z * Q_PAD, 0])
        with pl.spmd(pl.system.available_aiv_count(), name_hint="phases") as _done:
            core = pl.get_block_idx()
            cores = pl.get_block_num()
            for g in pl.range(core, GROUPS, cores):
                half = pl.assemble(half, pl.mul(pl.slice(x, [Q_PAD, HEAD_DIM], [g * Q_PAD, 0]), 2.0), [g * Q_PAD, 0])
            pl.system.cacheinvalid()
            pl.system.fence()
            pl.system.syncall(core_type="aiv_only")
            pl.system.cacheinvalid()
            for h in pl.range(core, GROUPS, cores):
                other = (GROUPS - 1 - h) * Q_PAD
                y = pl.assemble(y, pl.mul(pl.slice(half, [Q_PAD, HEAD_DIM], [other, 0]), 1.0), [other, 0])
    return y, zeros


@pl.jit
def right_barrier(
    x: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
    zeros: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
):
    """The phases start together or not at all, once there is a core for each of their blocks."""
    half = pl.create_tensor([ROWS, HEAD_DIM], dtype=pl.FP32)
    with pl.manual_scope():
        for z in pl.spmd(GROUPS, name_hint="zero_fill"):
            zeros = pl.assemble(zeros, pl.full([Q_PAD, HEAD_DIM], dtype=pl.FP32, value=0.0), [z * Q_PAD, 0])
        with pl.spmd(pl.system.available_aiv_count(), name_hint="phases", sync_start=True) as _done:
            core = pl.get_block_idx()
            cores = pl.get_block_num()
            for g in pl.range(core, GROUPS, cores):
                half = pl.assemble(half, pl.mul(pl.slice(x, [Q_PAD, HEAD_DIM], [g * Q_PAD, 0]), 2.0), [g * Q_PAD, 0])
            pl.system.cacheinvalid()
            pl.system.fence()
            pl.system.syncall(core_type="aiv_only")
            pl.system.cacheinvalid()
            for h in pl.range(core, GROUPS, cores):
                other = (GROUPS - 1 - h) * Q_PAD
                y = pl.assemble(y, pl.mul(pl.slice(half, [Q_PAD, HEAD_DIM], [other, 0]), 1.0), [other, 0])
    return y, zeros


@pl.jit
def wrong_probe(
    x: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
):
    """Two phases on 47 vector cores: the 48th was taken for measurements, and the barrier waits for it too."""
    half = pl.create_tensor([ROWS, HEAD_DIM], dtype=pl.FP32)
    with pl.spmd(47, name_hint="phases", sync_start=True) as _done:
        core = pl.get_block_idx()
        cores = pl.get_block_num()
        for g in pl.range(core, GROUPS, cores):
            half = pl.assemble(half, pl.mul(pl.slice(x, [Q_PAD, HEAD_DIM], [g * Q_PAD, 0]), 2.0), [g * Q_PAD, 0])
        pl.system.cacheinvalid()
        pl.system.fence()
        pl.system.syncall(core_type="aiv_only")
        pl.system.cacheinvalid()
        for h in pl.range(core, GROUPS, cores):
            other = (GROUPS - 1 - h) * Q_PAD
            y = pl.assemble(y, pl.mul(pl.slice(half, [Q_PAD, HEAD_DIM], [other, 0]), 1.0), [other, 0])
    return y


@pl.jit
def right_probe(
    x: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
):
    """As many blocks as the device has vector cores, whatever the device."""
    half = pl.create_tensor([ROWS, HEAD_DIM], dtype=pl.FP32)
    with pl.spmd(pl.system.available_aiv_count(), name_hint="phases", sync_start=True) as _done:
        core = pl.get_block_idx()
        cores = pl.get_block_num()
        for g in pl.range(core, GROUPS, cores):
            half = pl.assemble(half, pl.mul(pl.slice(x, [Q_PAD, HEAD_DIM], [g * Q_PAD, 0]), 2.0), [g * Q_PAD, 0])
        pl.system.cacheinvalid()
        pl.system.fence()
        pl.system.syncall(core_type="aiv_only")
        pl.system.cacheinvalid()
        for h in pl.range(core, GROUPS, cores):
            other = (GROUPS - 1 - h) * Q_PAD
            y = pl.assemble(y, pl.mul(pl.slice(half, [Q_PAD, HEAD_DIM], [other, 0]), 1.0), [other, 0])
    return y


@pl.jit
def wrong_loop(
    x: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
):
    """Twice x; a loop that was over something once, whose variable nothing uses any more."""
    for g in pl.spmd(GROUPS, name_hint="times2"):
        for head in pl.range(4):  # noqa: B007
            y = pl.assemble(y, pl.mul(pl.slice(x, [Q_PAD, HEAD_DIM], [g * Q_PAD, 0]), 2.0), [g * Q_PAD, 0])
    return y


@pl.jit
def right_loop(
    x: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
):
    """Once is enough."""
    for g in pl.spmd(GROUPS, name_hint="times2"):
        y = pl.assemble(y, pl.mul(pl.slice(x, [Q_PAD, HEAD_DIM], [g * Q_PAD, 0]), 2.0), [g * Q_PAD, 0])
    return y


@pl.jit
def wrong_manual(
    x: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
):
    """Twice x, plus one, in two launches of a manual scope, the second of which waits for nothing."""
    doubled = pl.create_tensor([ROWS, HEAD_DIM], dtype=pl.FP32)
    with pl.manual_scope():
        with pl.spmd(GROUPS, name_hint="times2") as _first:
            g = pl.get_block_idx()
            tile = pl.slice(x, [Q_PAD, HEAD_DIM], [g * Q_PAD, 0])
            doubled = pl.assemble(doubled, pl.mul(tile, 2.0), [g * Q_PAD, 0])
        with pl.spmd(GROUPS, name_hint="add_one") as _second:
            h = pl.get_block_idx()
            tile2 = pl.slice(doubled, [Q_PAD, HEAD_DIM], [h * Q_PAD, 0])
            y = pl.assemble(y, pl.add(tile2, 1.0), [h * Q_PAD, 0])
    return y


@pl.jit
def right_manual(
    x: pl.Tensor[[ROWS, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[ROWS, HEAD_DIM], pl.FP32]],
):
    """The second launch waits for the first, and says so."""
    doubled = pl.create_tensor([ROWS, HEAD_DIM], dtype=pl.FP32)
    with pl.manual_scope():
        with pl.spmd(GROUPS, name_hint="times2") as first:
            g = pl.get_block_idx()
            tile = pl.slice(x, [Q_PAD, HEAD_DIM], [g * Q_PAD, 0])
            doubled = pl.assemble(doubled, pl.mul(tile, 2.0), [g * Q_PAD, 0])
        with pl.spmd(GROUPS, name_hint="add_one", deps=[first]) as _second:
            h = pl.get_block_idx()
            tile2 = pl.slice(doubled, [Q_PAD, HEAD_DIM], [h * Q_PAD, 0])
            y = pl.assemble(y, pl.add(tile2, 1.0), [h * Q_PAD, 0])
    return y
