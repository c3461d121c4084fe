"""Blocks that meet at pl.system.syncall: each phase sees what all blocks did before, and is counted once."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import few, kernel, run, seeds, values
from test_lanes import both

from helpers.interpret.trace.boxes import intervals_apart

# Rows are squared, then everyone adds the row of its neighbour, then the sum of both phases goes out.
PHASES = """
R = pl.dynamic('R')


@pl.jit
def k(
    x: pl.Tensor[[R, 8], pl.FP32],
    squares: pl.InOut[pl.Tensor[[R, 8], pl.FP32]],
    sums: pl.InOut[pl.Tensor[[R, 8], pl.FP32]],
    o: pl.InOut[pl.Tensor[[R, 8], pl.FP32]],
):
    for b in pl.spmd(pl.tensor.dim(x, 0)):
        t = x[b : b + 1, :]
        squares[b : b + 1, :] = pl.mul(t, t)
        pl.system.syncall(core_type="mix")
        n = (b + 1) % pl.get_block_num()
        sums[b : b + 1, :] = pl.add(squares[b : b + 1, :], squares[n : n + 1, :])
        pl.system.syncall(core_type="mix")
        o[b : b + 1, :] = pl.add(sums[n : n + 1, :], x[b : b + 1, :])
"""


@few
@given(st.integers(2, 20), seeds)
def test_a_phase_sees_what_all_blocks_did_before(n: int, seed: int):
    x, *outputs = (values((n, 8), "FP32", seed + i) for i in range(4))
    both(kernel(PHASES), x, *outputs)
    sums = x * x + (x * x).roll(-1, 0)
    assert torch.equal(outputs[1], sums)
    assert torch.equal(outputs[2], sums.roll(-1, 0) + x)


def test_each_phase_is_counted_once():
    n, row = 6, 8 * 4
    trace = run(PHASES, *(torch.ones([n, 8]) for _ in range(4)))
    assert trace.tasks == n
    assert trace.gm_read_bytes == n * row * (1 + 2 + 2)
    assert trace.gm_write_bytes == n * row * 3
    assert trace.total("vector_ops") == n * 3


# A batch of turns is given up (the inner loop's buffers are shared), so its pl.range ends without its last turn.
GIVEN_UP = """
@pl.jit
def k(x: pl.Tensor[[4, 8], pl.FP32], o: pl.InOut[pl.Tensor[[4, 8], pl.FP32]]):
    for b in pl.parallel(4):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="before"):
            o[b : b + 1, :] = pl.mul(x[b : b + 1, :], 2.0)
        for i in pl.range(2):
            t = pl.create_tensor([1, 8], dtype=pl.FP32)
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="inside"):
                t[:] = pl.mul(x[b : b + 1, :], 3.0)
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="after"):
                o[b : b + 1, :] = pl.add(o[b : b + 1, :], t)
"""


def test_a_loop_that_was_given_up_leaves_no_mark():
    trace = both(kernel(GIVEN_UP), torch.ones([4, 8]), torch.zeros([4, 8]))
    assert {(d.name, d.sequential) for d in trace.dispatches} == {("before", False), ("inside", True), ("after", True)}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=12))
def test_intervals_of_different_owners(intervals: list[tuple[int, int, int]]):
    start, length, owner = (np.array(column) for column in zip(*intervals))
    end = start + length
    apart = (end[:, None] <= start) | (end <= start[:, None]) | (owner[:, None] == owner)
    assert intervals_apart(start, end, owner) == apart.all()


# The loop before the barrier leaves nothing behind, unless it counts: then a later phase has to go through it again.
LOOPS = """
R = pl.dynamic('R')


@pl.jit
def k(
    x: pl.Tensor[[R, 256], pl.FP32],
    turns: pl.Tensor[[R], pl.INT32],
    sums: pl.InOut[pl.Tensor[[R, 256], pl.FP32]],
    o: pl.InOut[pl.Tensor[[R, 256], pl.FP32]],
):
    for b in pl.spmd(pl.tensor.dim(x, 0)):
        mine = pl.cast(pl.tensor.read(turns, [b]), pl.INDEX)
        gone = 0
        for i in pl.range(mine):
            large = pl.mul(pl.add(x[b : b + 1, :], 1.0), 2.0)
            sums[b : b + 1, :] = pl.add(sums[b : b + 1, :], large)
            {count}
        pl.system.syncall(core_type="mix")
        n = (b + 1) % pl.get_block_num()
        for i in pl.range(pl.cast(pl.tensor.read(turns, [n]), pl.INDEX)):
            o[b : b + 1, :] = pl.add(o[b : b + 1, :], sums[n : n + 1, :])
        pl.system.syncall(core_type="mix")
        o[b : b + 1, :] = pl.add(o[b : b + 1, :], sums[b + {read} : b + {read} + 1, :])
"""


@few
@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), seeds)
def test_a_loop_that_leaves_nothing_is_passed_over_after_the_barrier(turns: list[int], seed: int):
    n = len(turns)
    x, *start = (values((n, 256), "FP32", seed + i) for i in range(3))
    found = []
    for count, read in (("pass", "0"), ("gone = gone + 1", "gone - mine")):
        sums, o = (t.clone() for t in start)
        trace = both(kernel(LOOPS.format(count=count, read=read)), x, torch.tensor(turns, dtype=torch.int32), sums, o)
        chunks = [p.chunk for d in trace.dispatches for p in d.parts]
        work = sorted((int(b), c.phase, c.work) for c in chunks for b in c.blocks)
        found.append((sums, o, work, [max(c.peaks.get("UB", 0) for c in chunks if c.phase == n) for n in range(3)]))
    (sums, o, *counted), (sums_again, o_again, *counted_again) = found
    assert torch.equal(sums, sums_again)
    assert torch.equal(o, o_again)
    assert counted == counted_again
    wanted = start[0].clone()
    for b, mine in enumerate(turns):
        for _ in range(mine):
            wanted[b] += (x[b] + 1) * 2
    assert torch.equal(sums, wanted)


def test_a_tile_crosses_a_barrier_beside_loops_that_are_passed_over():
    """The tile is needed after both barriers: then all before them is gone through, with values, and is right."""
    source = """
@pl.jit
def k(
    x: pl.Tensor[[8, 64], pl.FP32],
    s: pl.InOut[pl.Tensor[[8, 64], pl.FP32]],
    o: pl.InOut[pl.Tensor[[8, 64], pl.FP32]],
):
    for b in pl.spmd(8):
        acc = pl.mul(x[b : b + 1, :], 2.0)
        for i in pl.range(1 + b % 3):
            s[b : b + 1, :] = pl.add(s[b : b + 1, :], x[b : b + 1, :])
        pl.system.syncall(core_type="mix")
        n = (b + 1) % 8
        for i in pl.range(1 + b % 2):
            o[b : b + 1, :] = pl.add(o[b : b + 1, :], s[n : n + 1, :])
        pl.system.syncall(core_type="mix")
        o[b : b + 1, :] = pl.add(o[b : b + 1, :], acc)
"""
    x = torch.arange(512.0).view(8, 64)
    s, o = torch.zeros(8, 64), torch.zeros(8, 64)
    both(kernel(source), x, s, o)
    block = torch.arange(8).view(8, 1)
    assert torch.equal(s, x * (1 + block % 3))
    assert torch.equal(o, s.roll(-1, 0) * (1 + block % 2) + 2 * x)


def test_what_a_loop_leaves_on_chip_is_there_after_the_barrier():
    """A tile that the loop binds again is needed later: the loop is gone through, with its values."""
    source = """
@pl.jit
def k(
    x: pl.Tensor[[4, 64], pl.FP32],
    s: pl.InOut[pl.Tensor[[4, 64], pl.FP32]],
    o: pl.InOut[pl.Tensor[[4, 64], pl.FP32]],
):
    for b in pl.spmd(4):
        acc = pl.mul(x[b : b + 1, :], 1.0)
        for i in pl.range(3):
            acc = pl.add(acc, x[b : b + 1, :])
        s[b : b + 1, :] = acc
        pl.system.syncall(core_type="mix")
        n = (b + 1) % 4
        o[b : b + 1, :] = pl.add(acc, s[n : n + 1, :])
"""
    x = torch.arange(256.0).view(4, 64)
    s, o = torch.zeros(4, 64), torch.zeros(4, 64)
    both(kernel(source), x, s, o)
    assert torch.equal(o, 4 * (x + x.roll(-1, 0)))
