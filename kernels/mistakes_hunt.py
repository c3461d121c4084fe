"""Kernels of notebook 07 that break no rule of memory or order: only their numbers are wrong. Each beside its repair.

`wrong_*` has the defect, `right_*` has not; everything else is the same.
"""

import pypto.language as pl

from kernels.qwen3 import BATCH, EPS, HALF_DIM, HEAD_DIM

SEQUENCES = 8
HEADS_OF = 2  # heads of a sequence
ROWS = 16  # of a head in the cache
WIDTH = 512


@pl.jit
def wrong_rotation(
    x: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    cos: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    sin: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, HEAD_DIM], pl.FP32]],
):
    """RoPE of a row for each position."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="rotate"):
        tile = pl.slice(x, [BATCH, HEAD_DIM], [0, 0])
        c = pl.slice(cos, [BATCH, HEAD_DIM], [0, 0])
        s = pl.slice(sin, [BATCH, HEAD_DIM], [0, 0])
        lo = tile[:, 0:HALF_DIM]
        hi = tile[:, HALF_DIM:HEAD_DIM]
        lo = pl.sub(pl.mul(lo, c[:, 0:HALF_DIM]), pl.mul(hi, s[:, 0:HALF_DIM]))
        hi = pl.add(pl.mul(hi, c[:, HALF_DIM:HEAD_DIM]), pl.mul(lo, s[:, HALF_DIM:HEAD_DIM]))
        y = pl.assemble(y, lo, [0, 0])
        y = pl.assemble(y, hi, [0, HALF_DIM])
    return y


@pl.jit
def right_rotation(
    x: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    cos: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    sin: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, HEAD_DIM], pl.FP32]],
):
    """Both halves are made of the halves that came in."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="rotate"):
        tile = pl.slice(x, [BATCH, HEAD_DIM], [0, 0])
        c = pl.slice(cos, [BATCH, HEAD_DIM], [0, 0])
        s = pl.slice(sin, [BATCH, HEAD_DIM], [0, 0])
        lo = tile[:, 0:HALF_DIM]
        hi = tile[:, HALF_DIM:HEAD_DIM]
        turned = pl.sub(pl.mul(lo, c[:, 0:HALF_DIM]), pl.mul(hi, s[:, 0:HALF_DIM]))
        hi = pl.add(pl.mul(hi, c[:, HALF_DIM:HEAD_DIM]), pl.mul(lo, s[:, HALF_DIM:HEAD_DIM]))
        y = pl.assemble(y, turned, [0, 0])
        y = pl.assemble(y, hi, [0, HALF_DIM])
    return y


@pl.jit
def wrong_join(
    o_a: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    top_a: pl.Tensor[[BATCH, 1], pl.FP32],
    total_a: pl.Tensor[[BATCH, 1], pl.FP32],
    o_b: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    top_b: pl.Tensor[[BATCH, 1], pl.FP32],
    total_b: pl.Tensor[[BATCH, 1], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, HEAD_DIM], pl.FP32]],
):
    """Attention from the partial results of two pages."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="join"):
        m_a = pl.slice(top_a, [BATCH, 1], [0, 0])
        m_b = pl.slice(top_b, [BATCH, 1], [0, 0])
        m = pl.maximum(m_a, m_b)
        scale_a = pl.exp(pl.sub(m_a, m))
        scale_b = pl.exp(pl.sub(m_b, m))
        t_a = pl.mul(pl.slice(total_a, [BATCH, 1], [0, 0]), scale_a)
        t_b = pl.mul(pl.slice(total_b, [BATCH, 1], [0, 0]), scale_b)
        part_a = pl.row_expand_mul(pl.slice(o_a, [BATCH, HEAD_DIM], [0, 0]), scale_b)
        part_b = pl.row_expand_mul(pl.slice(o_b, [BATCH, HEAD_DIM], [0, 0]), scale_a)
        y = pl.assemble(y, pl.row_expand_div(pl.add(part_a, part_b), pl.add(t_a, t_b)), [0, 0])
    return y


@pl.jit
def right_join(
    o_a: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    top_a: pl.Tensor[[BATCH, 1], pl.FP32],
    total_a: pl.Tensor[[BATCH, 1], pl.FP32],
    o_b: pl.Tensor[[BATCH, HEAD_DIM], pl.FP32],
    top_b: pl.Tensor[[BATCH, 1], pl.FP32],
    total_b: pl.Tensor[[BATCH, 1], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, HEAD_DIM], pl.FP32]],
):
    """Each page's output is scaled as its sum is."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="join"):
        m_a = pl.slice(top_a, [BATCH, 1], [0, 0])
        m_b = pl.slice(top_b, [BATCH, 1], [0, 0])
        m = pl.maximum(m_a, m_b)
        scale_a = pl.exp(pl.sub(m_a, m))
        scale_b = pl.exp(pl.sub(m_b, m))
        t_a = pl.mul(pl.slice(total_a, [BATCH, 1], [0, 0]), scale_a)
        t_b = pl.mul(pl.slice(total_b, [BATCH, 1], [0, 0]), scale_b)
        part_a = pl.row_expand_mul(pl.slice(o_a, [BATCH, HEAD_DIM], [0, 0]), scale_a)
        part_b = pl.row_expand_mul(pl.slice(o_b, [BATCH, HEAD_DIM], [0, 0]), scale_b)
        y = pl.assemble(y, pl.row_expand_div(pl.add(part_a, part_b), pl.add(t_a, t_b)), [0, 0])
    return y


@pl.jit
def wrong_page(
    cache: pl.Tensor[[SEQUENCES * HEADS_OF * ROWS, HEAD_DIM], pl.FP32],
    table: pl.Tensor[[SEQUENCES], pl.INT32],
    y: pl.Out[pl.Tensor[[SEQUENCES * HEADS_OF * ROWS, HEAD_DIM], pl.FP32]],
):
    """Twice what the cache holds for each head of each sequence, from the page that the table names."""
    for block in pl.spmd(SEQUENCES * HEADS_OF, name_hint="head"):
        page = pl.tensor.read(table, [block % SEQUENCES])
        row = (page * HEADS_OF + block % HEADS_OF) * ROWS
        tile = pl.slice(cache, [ROWS, HEAD_DIM], [row, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [block * ROWS, 0])
    return y


@pl.jit
def right_page(
    cache: pl.Tensor[[SEQUENCES * HEADS_OF * ROWS, HEAD_DIM], pl.FP32],
    table: pl.Tensor[[SEQUENCES], pl.INT32],
    y: pl.Out[pl.Tensor[[SEQUENCES * HEADS_OF * ROWS, HEAD_DIM], pl.FP32]],
):
    """A block is a sequence and a head: the sequence is its number over the heads of one."""
    for block in pl.spmd(SEQUENCES * HEADS_OF, name_hint="head"):
        page = pl.tensor.read(table, [block // HEADS_OF])
        row = (page * HEADS_OF + block % HEADS_OF) * ROWS
        tile = pl.slice(cache, [ROWS, HEAD_DIM], [row, 0])
        y = pl.assemble(y, pl.mul(tile, 2.0), [block * ROWS, 0])
    return y


@pl.jit
def wrong_gate(
    x: pl.Tensor[[BATCH, HEAD_DIM], pl.BF16],
    w_gate: pl.Tensor[[HEAD_DIM, HEAD_DIM], pl.BF16],
    w_up: pl.Tensor[[HEAD_DIM, HEAD_DIM], pl.BF16],
    w_down: pl.Tensor[[HEAD_DIM, HEAD_DIM], pl.BF16],
    y: pl.Out[pl.Tensor[[BATCH, HEAD_DIM], pl.FP32]],
):
    """(silu(x @ w_gate) * (x @ w_up)) @ w_down."""
    gate = pl.create_tensor([BATCH, HEAD_DIM], dtype=pl.FP32)
    up = pl.create_tensor([BATCH, HEAD_DIM], dtype=pl.FP32)
    act = pl.create_tensor([BATCH, HEAD_DIM], dtype=pl.BF16)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="gate_proj"):
        x_g = pl.slice(x, [BATCH, HEAD_DIM], [0, 0])
        gate = pl.assemble(
            gate, pl.matmul(x_g, pl.slice(w_gate, [HEAD_DIM, HEAD_DIM], [0, 0]), out_dtype=pl.FP32), [0, 0]
        )
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="up_proj"):
        x_u = pl.slice(x, [BATCH, HEAD_DIM], [0, 0])
        up = pl.assemble(up, pl.matmul(x_u, pl.slice(w_up, [HEAD_DIM, HEAD_DIM], [0, 0]), out_dtype=pl.FP32), [0, 0])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="silu"):
        g = pl.slice(gate, [BATCH, HEAD_DIM], [0, 0])
        u = pl.slice(up, [BATCH, HEAD_DIM], [0, 0])
        sigmoid = pl.recip(pl.add(pl.exp(pl.neg(u)), 1.0))
        product = pl.mul(pl.mul(g, sigmoid), u)
        act = pl.assemble(act, pl.cast(product, target_type=pl.BF16, mode="rint"), [0, 0])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="down_proj"):
        a = pl.slice(act, [BATCH, HEAD_DIM], [0, 0])
        y = pl.assemble(y, pl.matmul(a, pl.slice(w_down, [HEAD_DIM, HEAD_DIM], [0, 0]), out_dtype=pl.FP32), [0, 0])
    return y


@pl.jit
def right_gate(
    x: pl.Tensor[[BATCH, HEAD_DIM], pl.BF16],
    w_gate: pl.Tensor[[HEAD_DIM, HEAD_DIM], pl.BF16],
    w_up: pl.Tensor[[HEAD_DIM, HEAD_DIM], pl.BF16],
    w_down: pl.Tensor[[HEAD_DIM, HEAD_DIM], pl.BF16],
    y: pl.Out[pl.Tensor[[BATCH, HEAD_DIM], pl.FP32]],
):
    """The sigmoid is that of the gate."""
    gate = pl.create_tensor([BATCH, HEAD_DIM], dtype=pl.FP32)
    up = pl.create_tensor([BATCH, HEAD_DIM], dtype=pl.FP32)
    act = pl.create_tensor([BATCH, HEAD_DIM], dtype=pl.BF16)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="gate_proj"):
        x_g = pl.slice(x, [BATCH, HEAD_DIM], [0, 0])
        gate = pl.assemble(
            gate, pl.matmul(x_g, pl.slice(w_gate, [HEAD_DIM, HEAD_DIM], [0, 0]), out_dtype=pl.FP32), [0, 0]
        )
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="up_proj"):
        x_u = pl.slice(x, [BATCH, HEAD_DIM], [0, 0])
        up = pl.assemble(up, pl.matmul(x_u, pl.slice(w_up, [HEAD_DIM, HEAD_DIM], [0, 0]), out_dtype=pl.FP32), [0, 0])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="silu"):
        g = pl.slice(gate, [BATCH, HEAD_DIM], [0, 0])
        u = pl.slice(up, [BATCH, HEAD_DIM], [0, 0])
        sigmoid = pl.recip(pl.add(pl.exp(pl.neg(g)), 1.0))
        product = pl.mul(pl.mul(g, sigmoid), u)
        act = pl.assemble(act, pl.cast(product, target_type=pl.BF16, mode="rint"), [0, 0])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="down_proj"):
        a = pl.slice(act, [BATCH, HEAD_DIM], [0, 0])
        y = pl.assemble(y, pl.matmul(a, pl.slice(w_down, [HEAD_DIM, HEAD_DIM], [0, 0]), out_dtype=pl.FP32), [0, 0])
    return y


@pl.jit
def wrong_cast(
    x: pl.Tensor[[BATCH, WIDTH], pl.FP32],
    weight: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, WIDTH], pl.BF16]],
):
    """RMSNorm of each row, rounded to BF16."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="rms_norm"):
        tile = pl.slice(x, [BATCH, WIDTH], [0, 0])
        w = pl.slice(weight, [1, WIDTH], [0, 0])
        mean_square = pl.mul(pl.row_sum(pl.mul(tile, tile)), 1.0 / WIDTH)
        scale = pl.recip(pl.sqrt(pl.add(mean_square, EPS)))
        normed = pl.cast(pl.row_expand_mul(tile, scale), target_type=pl.BF16, mode="rint")
        weighted = pl.col_expand_mul(pl.cast(normed, target_type=pl.FP32), w)
        y = pl.assemble(y, pl.cast(weighted, target_type=pl.BF16, mode="rint"), [0, 0])
    return y


@pl.jit
def right_cast(
    x: pl.Tensor[[BATCH, WIDTH], pl.FP32],
    weight: pl.Tensor[[1, WIDTH], pl.FP32],
    y: pl.Out[pl.Tensor[[BATCH, WIDTH], pl.BF16]],
):
    """It is rounded once, at the end."""
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="rms_norm"):
        tile = pl.slice(x, [BATCH, WIDTH], [0, 0])
        w = pl.slice(weight, [1, WIDTH], [0, 0])
        mean_square = pl.mul(pl.row_sum(pl.mul(tile, tile)), 1.0 / WIDTH)
        scale = pl.recip(pl.sqrt(pl.add(mean_square, EPS)))
        weighted = pl.col_expand_mul(pl.row_expand_mul(tile, scale), w)
        y = pl.assemble(y, pl.cast(weighted, target_type=pl.BF16, mode="rint"), [0, 0])
    return y
