"""Many blocks at once give what one after the other gives: the same bits, the same trace, the same errors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import kernelgen
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from kernelgen import few, kernel, same, seeds, values

from helpers.errors import FaultError
from helpers.interpret.machine import batches
from helpers.interpret.trace.trace import Trace


@contextmanager
def one_by_one() -> Iterator[None]:
    """No batches: a block at a time, in order."""
    before, batches.BATCH_ELEMENTS = batches.BATCH_ELEMENTS, 1
    batches.BATCH_SIZES.clear()
    try:
        yield
    finally:
        batches.BATCH_ELEMENTS = before
        batches.BATCH_SIZES.clear()


@contextmanager
def never_apart() -> Iterator[None]:
    """No batch is taken apart because its blocks would do different things."""

    def apart(ids: np.ndarray, values: np.ndarray) -> list:
        raise AssertionError(f"blocks {ids} went apart by {values}")

    before, batches.split_by = batches.split_by, apart
    try:
        yield
    finally:
        batches.split_by = before


def record(trace: Trace) -> tuple:
    """What must not depend on how blocks were grouped. Allocations are counted in the order that launches use them."""
    numbers: dict[tuple, int] = {}

    def part(buffer: int, offset: int) -> tuple:
        b = trace.buffers[buffer]
        size = b.size // b.parts
        where, offset = divmod(offset, size)
        return numbers.setdefault((buffer, where), len(numbers)), b.name, size, b.dtype, offset

    launches = []
    for d in trace.dispatches:
        arguments = [(*part(a.buffer, a.offset), a.extent, a.strides, bits) for a, bits in d.arguments.items()]
        again = {part(a.buffer, a.offset)[0] for a in d.arguments if a.buffer in d.rewritten}
        launches.append((d.name, d.kind, d.blocks, d.deps, again, d.sequential, arguments))
    touched = [
        sorted((b, part(a.buffer, o)[1:], part(a.buffer, o)[0], a.mode, a.extent, a.strides, a.place.line)
               for b, a, o in trace.accesses(d))
        for d in trace.dispatches
    ]  # fmt: skip
    buffers: Counter = Counter()
    for b in trace.buffers:
        buffers[b.name, b.size // b.parts, b.dtype] += b.parts
    work = {w: trace.total(w) for w in ("cube_flops", "vector_elements", "vector_ops", "cube_ops", "loads", "stores")}
    return (
        launches,
        buffers,
        touched,
        work,
        trace.tasks_by_name(),
        trace.gm_read_bytes,
        trace.gm_write_bytes,
        trace.peaks(),
    )


def both(k, *args, on: str = "a2a3") -> Trace:
    """Run both ways, hold all tensors and the traces equal; the tensors passed have the results."""
    other = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
    with one_by_one():
        want = kernelgen.run(k, *other, on=on)
    assert set(groups(want)) <= {1}
    got = kernelgen.run(k, *args, on=on)
    for a, b in zip(args, other):
        if isinstance(a, torch.Tensor):
            same(a, b)
    assert record(got) == record(want)
    return got


def groups(trace: Trace) -> list[int]:
    """How many blocks each chunk had."""
    chunks = {id(p.chunk): p.chunk for d in trace.dispatches for p in d.parts}
    return [len(c.blocks) for c in chunks.values()]


ROWS = "DYN = pl.dynamic('DYN')\nN = pl.dynamic('N')\nM = pl.dynamic('M')\n"
X = "x: pl.Tensor[[DYN, 8], pl.FP32]"
O = "o: pl.InOut[pl.Tensor[[DYN, 8], pl.FP32]]"  # noqa: E741
I = "i: pl.Tensor[[N], pl.INT32]"  # noqa: E741


def source(parameters: list[str], body: str) -> str:
    lines = "\n".join("    " + line for line in body.strip("\n").split("\n"))
    return f"{ROWS}\n\n@pl.jit\ndef k({', '.join(parameters)}):\n{lines}\n"


PLAIN = source(
    [X, O],
    """
for b in pl.spmd(pl.tensor.dim(x, 0) // 8):
    t = pl.row_expand_mul(x[b * 8 : b * 8 + 8, :], pl.row_sum(x[b * 8 : b * 8 + 8, :]))
    o[b * 8 : b * 8 + 8, :] = pl.add(pl.mul(t, pl.cast(pl.cast(b, pl.INT32), pl.FP32) * 0.1), pl.cast(b, pl.INT32))
""",
)


@few
@given(st.integers(1, 20), seeds)
def test_regular_blocks(n: int, seed: int):
    trace = both(kernel(PLAIN), values((8 * n, 8), "FP32", seed), values((8 * n, 8), "FP32", seed + 1))
    assert groups(trace) == ([1, n - 1] if n > 1 else [1])


SCALARS = {
    "times an index": "pl.mul(t, pl.cast(b * 257, pl.INT32))",
    "times a fraction": "pl.mul(t, pl.cast(pl.cast(b, pl.INT32), pl.FP32) * 0.1)",
    "times a read": "pl.mul(t, pl.read(x, [b, 0]))",
    "times a read integer": "pl.mul(t, pl.cast(i[b] * 3, pl.INT32))",
    "larger": "pl.maximum(t, pl.cast(pl.cast(b, pl.INT32), pl.FP32) * 0.3 - 1.0)",
    "smaller": "pl.minimum(t, pl.cast(pl.min(b, 3) * pl.max(b, 2) - 7, pl.INT32))",
    "of a cast": "pl.mul(t, pl.cast(pl.cast(b, pl.INT32), pl.FP32) / 3.0)",
    "a row sum": "pl.row_expand_add(t, pl.row_max(t, pl.create_tile([16, 16], dtype=T)))",
    "bits": "pl.add(t, pl.cast((b << 2) + (b >> 1) + b % 3 + b // 2 - -b, pl.INT32))",
}


@pytest.mark.parametrize("dtype", ["FP32", "BF16", "FP16", "INT32"])
@pytest.mark.parametrize("how", SCALARS)
def test_scalars_of_a_block(how: str, dtype: str):
    if dtype == "INT32" and how not in ("times an index", "times a read integer", "smaller", "bits"):
        how = "times an index"
    if dtype == "BF16" and how == "a row sum":
        return  # no chip has it
    k = kernel(
        source(
            [X, I, f"u: pl.Tensor[[128, 16], pl.{dtype}]", f"v: pl.Out[pl.Tensor[[128, 16], pl.{dtype}]]"],
            f"""
for b in pl.spmd(8):
    t = pl.load(u, [b * 16, 0], [16, 16])
    v = pl.store({SCALARS[how].replace("T)", f"pl.{dtype})")}, [b * 16, 0], v)
""",
        )
    )
    u = values((128, 16), dtype, 1)
    trace = both(k, values((32, 8), "FP32", 2), torch.arange(5, 13, dtype=torch.int32), u, torch.zeros_like(u), on="a5")
    assert groups(trace) == [1, 7]


RAGGED = source(
    [X, I, O],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    n = i[b]
    t = pl.mul(x[b : b + 1, :], 1.0)
    for j in pl.range(n):
        t = pl.add(t, x[j : j + 1, :])
    if n % 2 == 1:
        t = pl.mul(t, 3.0)
    elif n > 4:
        t = pl.exp(pl.minimum(t, 1.0))
    o[b : b + 1, :] = t
""",
)


@few
@given(st.lists(st.integers(0, 6), min_size=1, max_size=16), seeds)
def test_ragged_control_flow(counts: list[int], seed: int):
    n = len(counts)
    x, o = values((n + 8, 8), "FP32", seed), values((n + 8, 8), "FP32", seed + 1)
    trace = both(kernel(RAGGED), x, torch.tensor(counts, dtype=torch.int32), o)
    # block 0 alone, the others in one group for each trip count
    assert sorted(groups(trace)) == sorted([1, *[counts[1:].count(v) for v in set(counts[1:])]])


GATHER = source(
    [X, I, O],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    r = i[b]
    o[b * 2 : b * 2 + 2, :] = pl.mul(x[r : r + 2, :], 2.0)
""",
)
SCATTER = source(
    [X, I, O],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    r = i[b]
    o[r : r + 2, :] = pl.mul(x[b * 2 : b * 2 + 2, :], 2.0)
""",
)
ADDED = source(
    [X, I, O],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    r = i[b]
    o = pl.assemble(o, pl.mul(x[b * 2 : b * 2 + 2, :], 0.1), [r, 0], atomic=pl.AtomicType.Add)
""",
)
WIDE = [p.replace("8]", "16]") for p in (X, O)]
HALVES = source(
    [WIDE[0], I, WIDE[1]],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    r = i[b]
    o[r : r + 1, 0:8] = pl.mul(x[r : r + 1, 8:16], 2.0)
    o[r : r + 1, 8:16] = pl.add(x[r : r + 1, 0:8], 2.0)
""",
)
TILES = source(
    [WIDE[0], I, WIDE[1]],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    r = i[b]
    t = pl.create_tile([4, 16], dtype=pl.FP32, target_memory=pl.Mem.Vec)
    u = pl.fillpad(pl.set_validshape(pl.load(x, [r, 0], [4, 16]), r % 4 + 1, 16), pad_value=pl.PadValue.zero)
    t = pl.assemble(pl.add(u, 0.0), pl.load(x, [b, 0], [1, 16]), [1, 0])
    pl.store(pl.concat(t[:, 8:16], t[:, 0:8]), [b * 4, 0], o)
""",
)


@pytest.mark.parametrize(
    "body", [GATHER, SCATTER, ADDED, HALVES, TILES], ids=["gather", "scatter", "added", "halves", "tiles"]
)
@few
@given(st.lists(st.integers(0, 28), min_size=1, max_size=12), seeds)
def test_index_table(body: str, table: list[int], seed: int):
    """Any places: disjoint, touching, overlapping, the same twice. Later blocks win, as in program order."""
    n = 16 if body in (HALVES, TILES) else 8
    x, o = values((64, n), "FP32", seed), values((64, n), "FP32", seed + 1)
    both(kernel(body), x, torch.tensor(table, dtype=torch.int32), o)


def test_overlapping_writes_are_undone_and_done_in_order():
    table = torch.tensor([0, 20, 5, 6, 6, 9], dtype=torch.int32)
    x, o = values((64, 8), "FP32", 0), values((64, 8), "FP32", 1)
    want = o.clone()
    for b, r in enumerate(table.tolist()):
        want[r : r + 2] = x[2 * b : 2 * b + 2] * 2
    trace = both(kernel(SCATTER), x, table, o)
    same(o, want)
    assert groups(trace) == [1] * 6
    assert trace.tasks == 6
    assert trace.gm_write_bytes == 6 * 2 * 8 * 4
    assert trace.gm_read_bytes == 6 * (2 * 8 * 4 + 4)


SHARED = source(
    [X, O],
    """
for b in pl.spmd(6):
    o[0:1, :] = pl.mul(x[b : b + 1, :], 2.0)
""",
)
CHAIN = source(
    [X, O],
    """
for b in pl.spmd(6):
    o[b + 1 : b + 2, :] = pl.add(o[b : b + 1, :], x[b : b + 1, :])
""",
)
ANTI = source(
    [X, O],
    """
for b in pl.spmd(6):
    o[b : b + 1, :] = pl.add(o[b + 1 : b + 2, :], x[b : b + 1, :])
""",
)
ATOMIC = source(
    [X, O],
    """
for b in pl.spmd(6):
    o = pl.assemble(o, pl.mul(x[b : b + 1, :], 0.1), [b % 2, 0], atomic=pl.AtomicType.Add)
""",
)
ATOMIC_HERE = source(
    [X, O],
    """
for b in pl.spmd(6):
    o = pl.assemble(o, pl.mul(x[b : b + 1, :], 0.1), [0, 0], atomic=pl.AtomicType.Add)
""",
)
ATOMIC_ALIKE = source(
    [X, O],
    """
for b in pl.spmd(6):
    o = pl.assemble(o, pl.mul(x[1:2, :], 0.1), [0, 0], atomic=pl.AtomicType.Add)
""",
)
ATOMIC_TWICE = source(
    [X, O],
    """
for b in pl.spmd(6):
    o = pl.assemble(o, pl.mul(x[b : b + 1, :], 0.1), [b % 2, 0], atomic=pl.AtomicType.Add)
    o = pl.assemble(o, pl.mul(x[b + 1 : b + 2, :], 0.3), [(b + 1) % 2, 0], atomic=pl.AtomicType.Add)
""",
)
ATOMIC_LOOP = source(
    [X, O],
    """
for b in pl.spmd(6):
    for k in pl.range(2):
        o = pl.assemble(o, pl.mul(x[b + k : b + k + 1, :], 0.1), [2 * (b // 3) + k, 0], atomic=pl.AtomicType.Add)
""",
)
ATOMIC_READ = source(
    [X, O],
    """
for b in pl.spmd(6):
    o = pl.assemble(o, pl.mul(x[b : b + 1, :], 0.1), [b // 3, 0], atomic=pl.AtomicType.Add)
    o[b + 2 : b + 3, :] = pl.mul(o[b // 3 : b // 3 + 1, :], 1.5)
""",
)
OWN = source(
    [X, O],
    """
for b in pl.spmd(6):
    o[b * 2 : b * 2 + 1, :] = pl.mul(x[b : b + 1, :], 2.0)
    o[b * 2 + 1 : b * 2 + 2, :] = pl.add(o[b * 2 : b * 2 + 1, :], 1.0)
    o[b * 2 : b * 2 + 2, :] = pl.mul(o[b * 2 : b * 2 + 2, :], 3.0)
""",
)
IN_PLACE = source(
    [X, O],
    """
for b in pl.spmd(6):
    t = o[b * 2 : b * 2 + 2, :]
    u = t[0:1, :]
    o[b * 2 : b * 2 + 2, :] = pl.mul(x[b : b + 2, :], 2.0)
    o[b * 2 : b * 2 + 2, :] = pl.add(o[b * 2 : b * 2 + 2, :], t)
    o[b * 2 : b * 2 + 1, :] = pl.add(o[b * 2 : b * 2 + 1, :], u)
""",
)
WRITES = source(
    [X, O],
    """
for b in pl.spmd(6):
    pl.write(o, [b, b], pl.read(x, [b, 1]) * 2.0)
    pl.write(o, [b, 7], pl.read(o, [b, b]))
""",
)


def in_order(name: str, x: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
    """The same written with torch, block after block."""
    o = o.clone()
    for b in range(6):
        r = slice(2 * b, 2 * b + 2)
        if name == "shared":
            o[0] = x[b] * 2
        elif name == "chain":
            o[b + 1] = o[b] + x[b]
        elif name == "anti":
            o[b] = o[b + 1] + x[b]
        elif name == "atomic":
            o[b % 2] += x[b] * 0.1
        elif name == "atomic, one place":
            o[0] += x[b] * 0.1
        elif name == "atomic, the same":
            o[0] += x[1] * 0.1
        elif name == "atomic, two at a place":
            o[b % 2] += x[b] * 0.1
            o[(b + 1) % 2] += x[b + 1] * 0.3
        elif name == "atomic, turns":
            o[2 * (b // 3)] += x[b] * 0.1
            o[2 * (b // 3) + 1] += x[b + 1] * 0.1
        elif name == "atomic, then read":
            o[b // 3] += x[b] * 0.1
            o[b + 2] = o[b // 3] * 1.5
        elif name == "own":
            o[2 * b] = x[b] * 2
            o[2 * b + 1] = o[2 * b] + 1
            o[r] = o[r] * 3
        elif name == "in place":
            t = o[r].clone()
            o[r] = x[b : b + 2] * 2
            o[r] = o[r] + t
            o[2 * b] = o[2 * b] + t[0]
        else:
            o[b, b] = x[b, 1] * 2
            o[b, 7] = o[b, b]
    return o


MEMORY = {
    "shared": (SHARED, [1] * 6), "chain": (CHAIN, [1] * 6), "anti": (ANTI, [1] * 6), "atomic": (ATOMIC, [1, 5]),
    "atomic, one place": (ATOMIC_HERE, [1, 5]), "atomic, the same": (ATOMIC_ALIKE, [1, 5]),
    "atomic, two at a place": (ATOMIC_TWICE, [1] * 6), "atomic, turns": (ATOMIC_LOOP, [1, 5]),
    "atomic, then read": (ATOMIC_READ, [1] * 6),
    "own": (OWN, [1, 5]), "in place": (IN_PLACE, [1, 5]), "elements": (WRITES, [1, 5]),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
@few
@given(seeds)
def test_memory_of_blocks(name: str, seed: int):
    """Blocks that share what they write run in order; those that touch only their own run together."""
    x, o = values((16, 8), "FP32", seed), values((16, 8), "FP32", seed + 1)
    want = in_order(name, x, o)
    trace = both(kernel(MEMORY[name][0]), x, o)
    same(o, want)
    assert groups(trace) == MEMORY[name][1]


CUBE = source(
    [
        "x: pl.Tensor[[DYN, 32], pl.BF16]",
        "w: pl.Tensor[[32, 32], pl.BF16]",
        I,
        "o: pl.Out[pl.Tensor[[DYN, 32], pl.FP32]]",
    ],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    r = i[b]
    acc = pl.matmul(x[b * 16 : b * 16 + 16, 0:16], w[0:16, :], out_dtype=pl.FP32)
    acc = pl.matmul_acc(acc, x[b * 16 : b * 16 + 16, 16:32], w[16:32, :])
    o[r * 16 : r * 16 + 16, :] = acc
""",
)


@few
@given(st.permutations(range(8)), seeds)
def test_cube_blocks(order: list[int], seed: int):
    x, w, o = (
        values((128, 32), "BF16", seed, -9, 9).round(),
        values((32, 32), "BF16", seed, -9, 9).round(),
        torch.zeros(128, 32),
    )
    trace = both(kernel(CUBE), x, w, torch.tensor(order, dtype=torch.int32), o)
    for b, r in enumerate(order):
        same(o[16 * r : 16 * r + 16], x[16 * b : 16 * b + 16].float() @ w.float())
    assert groups(trace) == [1, 7]


VALID = source(
    [X, I, O],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    n = pl.cast(i[b], pl.INDEX)
    t = pl.slice(x, [8, 8], [b * 4, 0], valid_shape=[n, 8])
    u = pl.mul(t, 2.0)
    s = pl.col_sum(u)
    o[b * 2 : b * 2 + 1, :] = s
    o[b * 2 + 1 : b * 2 + 2, :] = pl.col_max(pl.fillpad(u, pad_value=pl.PadValue.min))
""",
)
STORED = source(
    [X, I, O],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    t = pl.slice(x, [4, 8], [b * 4, 0], valid_shape=[pl.min(i[b], 4), 8])
    o[b * 4 : b * 4 + 4, :] = pl.exp(t)
""",
)


@pytest.mark.parametrize("body", [VALID, STORED], ids=["folded", "stored"])
@few
@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), seeds)
def test_valid_shapes_of_a_block(body: str, extents: list[int], seed: int):
    """The last block's window reaches past the end of x; what is valid of it does not."""
    n = len(extents) + 1
    extents = [*extents, 2]
    x, o = values((4 * n, 8), "FP32", seed), values((4 * n, 8), "FP32", seed + 1)
    both(kernel(body), x, torch.tensor(extents, dtype=torch.int32), o)


LOADED = """
for b in pl.spmd(pl.tensor.dim(i, 0) // 2):
    n = pl.cast(i[2 * b], pl.INDEX)
    k = pl.cast(i[2 * b + 1], pl.INDEX)
    t = pl.slice(x, [8, 8], [b * 4, 0], valid_shape=[n, k])
    u = {}
    o[b * 8 : b * 8 + 8, :] = pl.fillpad(u, pad_value=pl.PadValue.max)
"""
ONES = "pl.full([8, 8], dtype=pl.FP32, value=1.0)"
OTHER = "pl.slice(x, [8, 8], [b * 4, 0], valid_shape=[n, pl.min(k, n)])"
USES = {
    "plain": "pl.mul(t, 2.0)", "two": "pl.sub(t, pl.exp(t))", "whole": f"pl.add({ONES}, t)",
    "cast": "pl.cast(pl.cast(t, pl.INT32), pl.FP32)",
    "row_max": "pl.row_expand_sub(t, pl.row_max(t))", "row_sum": "pl.row_expand_mul(t, pl.row_sum(t))",
    "padded": "pl.mul(pl.fillpad(t, pad_value=pl.PadValue.min), 2.0)",
    "padded, summed": f"pl.row_expand_add({ONES}, pl.row_sum(pl.fillpad(t, pad_value=pl.PadValue.zero)))",
    "narrowed": "pl.mul(pl.set_validshape(pl.mul(t, 1.0), n, 1), 3.0)",
    "root": "pl.rsqrt(pl.add(pl.mul(t, t), 0.5))", "larger": "pl.maximum(t, 0.25)",
}  # fmt: skip
APART = {  # what asks whether one row or column is valid, or as many as of another tile
    "row_min": "pl.row_expand_add(t, pl.row_min(t))", "col_sum": "pl.col_expand_mul(t, pl.col_sum(t))",
    "col_max": "pl.col_expand_sub(t, pl.col_max(t))",
    "partner": f"pl.sub(pl.exp(t), {OTHER})",
    "into a column": f"pl.row_expand_sub({ONES}, pl.set_validshape(pl.row_max(t), 8, 1))",
}  # fmt: skip


@pytest.mark.parametrize("use", [*USES.values(), *APART.values()], ids=[*USES, *APART])
@few
@given(st.lists(st.integers(1, 8), min_size=6, max_size=12), seeds, st.booleans())
def test_loads_whose_valid_shape_is_that_of_their_block(use: str, extents: list[int], seed: int, past: bool):
    """One batch, whatever is valid of each block's tile; where a window reaches past the end of x, the same values."""
    extents = [*extents[: len(extents) // 2 * 2 - 2], 4, 8]
    blocks = len(extents) // 2
    x, o = values((4 * blocks + 4 * (not past), 8), "FP32", seed), torch.zeros(8 * blocks, 8)
    body = source([X.replace("DYN", "M"), I, O], LOADED.format(use))
    with nullcontext() if past or use in APART.values() else never_apart():
        both(kernel(body), x, torch.tensor(extents, dtype=torch.int32), o)


RAGGED_K = source(
    [
        "x: pl.Tensor[[DYN, 32], pl.BF16]",
        "w: pl.Tensor[[M, 32], pl.BF16]",
        I,
        "o: pl.Out[pl.Tensor[[DYN, 32], pl.FP32]]",
    ],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    n = pl.cast(i[b], pl.INDEX)
    left = pl.slice(x, [16, 32], [b * 16, 0], valid_shape=[16, n])
    right = pl.slice(w, [32, 32], [b * 16, 0], valid_shape=[n, 32])
    acc = pl.matmul(left, right, out_dtype=pl.FP32)
    acc = pl.matmul_acc(acc, left, right)
    o[b * 16 : b * 16 + 16, :] = acc
""",
)


@few
@given(st.lists(st.integers(1, 32), min_size=3, max_size=8), seeds)
def test_products_over_as_much_of_k_as_is_valid_in_their_block(extents: list[int], seed: int):
    n = len(extents)
    x = values((16 * n, 32), "BF16", seed, -9, 9).round()
    w = values((16 * n + 16, 32), "BF16", seed + 1, -9, 9).round()
    o = torch.zeros(16 * n, 32)
    with never_apart():
        both(kernel(RAGGED_K), x, w, torch.tensor(extents, dtype=torch.int32), o)
    for b, k in enumerate(extents):
        left, right = x[16 * b : 16 * b + 16, :k].float(), w[16 * b : 16 * b + k].float()
        same(o[16 * b : 16 * b + 16], 2 * (left @ right))


FAULT = source(
    [X, I, O],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    o[b : b + 1, :] = pl.mul(x[b : b + 1, :], 2.0)
    r = i[b]
    o[b : b + 1, :] = pl.add(o[b : b + 1, :], x[r : r + 1, :])
""",
)


@few
@given(st.integers(0, 7), st.sampled_from([-1, 16, 1000]))
def test_fault_in_one_block(block: int, row: int):
    """The message names the block and what it did; what earlier blocks wrote is put back."""
    table = torch.zeros(8, dtype=torch.int32)
    table[block] = row
    messages, results = [], []
    for how in (nullcontext(), one_by_one()):
        x, o = values((16, 8), "FP32", 0), torch.zeros(16, 8)
        with how, pytest.raises(FaultError) as e:
            kernelgen.run(kernel(FAULT), x, table, o)
        messages.append(str(e.value))
        results.append(o)
    assert f"[block {block} of 8]" in messages[0]
    assert f"axis 0 from {row} to {row + 1} of extent 16" in messages[0]
    assert re.search(r":12:\d+\n", messages[0])
    assert messages[0] == messages[1]
    assert all((o == 0).all() for o in results)


LAST = source(
    [X, O],
    """
for b in pl.spmd(6):
    v = pl.cast(b * 2, pl.INT32)
    t = pl.mul(x[b : b + 1, :], v)
    o[b : b + 1, :] = t
with pl.at(level=pl.Level.CORE_GROUP):
    o[7:8, :] = pl.mul(x[0:1, :], v)
""",
)


def test_what_a_spmd_leaves_is_its_last_block():
    x, o = values((8, 8), "FP32", 0), torch.zeros(8, 8)
    both(kernel(LAST), x, o)
    same(o[7], x[0] * 10)


def test_the_batch_is_bounded():
    """As many blocks as their tiles may have elements together, after the first, which is measured."""
    k = kernel("""
    @pl.jit
    def k(x: pl.Tensor[[8704, 256], pl.FP32], o: pl.Out[pl.Tensor[[8704, 256], pl.FP32]]):
        for b in pl.spmd(34):
            o[b * 256 : b * 256 + 64, :] = pl.exp(x[b * 256 : b * 256 + 64, :])
    """)
    x = torch.rand(8704, 256)
    trace = kernelgen.run(k, x, torch.zeros_like(x))
    size = batches.BATCH_ELEMENTS // (64 * 256)
    whole, rest = divmod(33, size)
    assert groups(trace) == [1] + [size] * whole + [rest] * (rest > 0)
    assert np.concatenate([p.chunk.blocks for p in trace.dispatches[0].parts]).tolist() == list(range(34))


# Turns of a pl.parallel in orchestration, each launching tasks of its own


def turns(parameters: list[str], count: str, *regions: str, before: str = "") -> str:
    lines = [before] if before else []
    lines.append(f"for b in pl.parallel({count}):")
    for body in regions:
        lines.append("    with pl.at(level=pl.Level.CORE_GROUP):")
        lines += ["        " + line for line in body.strip("\n").split("\n")]
    return source(parameters, "\n".join(lines))


SCRATCH = source(
    [X, O],
    """
for b in pl.parallel(pl.tensor.dim(x, 0) // 8):
    s = pl.create_tensor([8, 8], dtype=pl.FP32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="first"):
        s[:, :] = pl.mul(x[b * 8 : b * 8 + 8, :], pl.cast(b, pl.INT32))
        t = pl.row_max(x[b * 8 : b * 8 + 8, :])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="second"):
        o[b * 8 : b * 8 + 8, :] = pl.row_expand_add(s[:, :], t[:, :])
""",
)
TABLE = source(
    [X, I, O],
    """
for b in pl.parallel(pl.tensor.dim(i, 0)):
    r = pl.read(i, [b])
    with pl.at(level=pl.Level.CORE_GROUP):
        o[r : r + 2, :] = pl.add(o[r : r + 2, :], x[b : b + 2, :])
""",
)
COUNTED = source(
    [X, I, "o: pl.InOut[pl.Tensor[[N, 8], pl.FP32]]"],
    """
for b in pl.parallel(pl.tensor.dim(i, 0)):
    n = pl.read(i, [b])
    for j in pl.range(n):
        with pl.at(level=pl.Level.CORE_GROUP):
            o[b : b + 1, :] = pl.add(o[b : b + 1, :], x[j : j + 1, :])
""",
)
HANDED = source(
    [X, O],
    """
p = 1
for b in pl.parallel(6):
    with pl.at(level=pl.Level.CORE_GROUP):
        o[b : b + 1, :] = pl.mul(x[b : b + 1, :], pl.cast(p, pl.INT32))
    p = p * 2
""",
)


@few
@given(st.integers(1, 12), seeds)
def test_turns_with_scratch(n: int, seed: int):
    x, o = values((8 * n, 8), "FP32", seed), torch.zeros(8 * n, 8)
    trace = both(kernel(SCRATCH), x, o)
    same(o, x * torch.arange(n).repeat_interleave(8).view(8 * n, 1) + x.amax(1, keepdim=True))
    assert trace.tasks_by_name() == {"first": n, "second": n}


@few
@given(st.lists(st.integers(0, 28), min_size=1, max_size=10), seeds)
def test_turns_that_may_share_memory(table: list[int], seed: int):
    x, o = values((64, 8), "FP32", seed), values((64, 8), "FP32", seed + 1)
    want = o.clone()
    for b, r in enumerate(table):
        want[r : r + 2] += x[b : b + 2]
    both(kernel(TABLE), x, torch.tensor(table, dtype=torch.int32), o)
    same(o, want)


@few
@given(st.lists(st.integers(0, 3), min_size=1, max_size=10), seeds)
@example([1, 1, 2, 1, 3, 2], 0)
def test_turns_of_different_length(counts: list[int], seed: int):
    n = len(counts)
    x, o = values((8, 8), "FP32", seed), values((n, 8), "FP32", seed + 1)
    want = o.clone()
    for b, c in enumerate(counts):
        for j in range(c):
            want[b] += x[j]
    trace = both(kernel(COUNTED), x, torch.tensor(counts, dtype=torch.int32), o)
    same(o, want)
    assert trace.tasks == sum(counts)


TRANSPOSED = source(
    [X, I, O],
    """
t = pl.transpose(o, 0, 1)
for b in pl.spmd(pl.tensor.dim(i, 0)):
    r = i[b]
    t[0:4, r : r + 8] = pl.add(t[0:4, r + 1 : r + 9], pl.cast(b, pl.INT32))
""",
)


@few
@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), seeds)
@example([9, 2, 0], 0)
def test_blocks_of_a_transposed_tensor(table: list[int], seed: int):
    x, o = values((24, 8), "FP32", seed), values((24, 8), "FP32", seed + 1)
    want = o.clone().T
    for b, r in enumerate(table):
        want[0:4, r : r + 8] = want[0:4, r + 1 : r + 9] + b
    both(kernel(TRANSPOSED), x, torch.tensor(table, dtype=torch.int32), o)
    same(o, want.T)


@few
@given(seeds)
def test_turns_that_hand_a_value_on(seed: int):
    x, o = values((6, 8), "FP32", seed), torch.zeros(6, 8)
    both(kernel(HANDED), x, o)
    same(o, x * torch.tensor([1, 2, 4, 8, 16, 32]).view(6, 1))


RAGGED_SHARED = source(
    [X, I, O],
    """
for b in pl.spmd(pl.tensor.dim(i, 0)):
    n = i[b]
    t = pl.mul(x[b : b + 1, :], 2.0)
    for j in pl.range(n):
        t = pl.add(t, x[j : j + 1, :])
    o = pl.assemble(o, pl.add(t, o[b // 2 : b // 2 + 1, :]), [b // 2, 0])
""",
)


@few
@given(st.lists(st.integers(0, 2), min_size=1, max_size=10), seeds)
@example([0, 1, 2, 1, 2, 2], 0)
def test_ragged_blocks_that_share_what_they_write(counts: list[int], seed: int):
    x, o = values((16, 8), "FP32", seed), torch.zeros(16, 8)
    both(kernel(RAGGED_SHARED), x, torch.tensor(counts, dtype=torch.int32), o)
