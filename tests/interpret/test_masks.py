"""Blocks that go different ways where nothing but numbers is computed run together, as one after the other."""

from __future__ import annotations

import time

import pytest
import torch
from kernelgen import kernel, run, same
from test_lanes import both

from helpers.errors import FaultError
from helpers.interpret.machine import batches
from helpers.interpret.machine.now import Running

HEAD = """
@pl.jit
def k(x: pl.Tensor[[32, 64], pl.INT32], n: pl.Tensor[[32], pl.INT32], y: pl.InOut[pl.Tensor[[32, 64], pl.INT32]]):
    for t in pl.spmd(32):
        m = pl.read(n, [t])
"""
BODIES = {
    "an if": """
        for c in pl.range(64):
            if c < m:
                v = pl.read(x, [t, c])
                pl.write(y, [t, c], v)
            else:
                pl.write(y, [t, c], pl.cast(-1, pl.INT32))
    """,
    "an if without else": """
        for c in pl.range(64):
            if c % 3 == m % 3:
                pl.write(y, [t, c], m)
    """,
    "a loop of other lengths": """
        s = pl.read(x, [t, 0])
        for c in pl.range(m):
            s = s + pl.read(x, [t, c])
        pl.write(y, [t, 0], s)
    """,
    "a loop that begins elsewhere": """
        for c in pl.range(m, 64, 3):
            pl.write(y, [t, c], pl.cast(c, pl.INT32))
    """,
    "loops in ifs in loops": """
        k0 = pl.cast(0, pl.INT32)
        last = pl.cast(-5, pl.INT32)
        for c in pl.range(m % 7):
            if pl.read(x, [t, c]) > 0:
                for d in pl.range(c + m % 3):
                    k0 = k0 + pl.read(x, [t, d]) * pl.cast(d, pl.INT32)
                    if k0 > 500:
                        k0 = k0 - pl.cast(1000, pl.INT32)
                        pl.write(y, [t, d], k0)
            else:
                last = k0 // pl.cast(3, pl.INT32)
        pl.write(y, [t, 62], k0)
        pl.write(y, [t, 63], last)
    """,
    "an elif": """
        for c in pl.range(64):
            v = pl.read(x, [t, c])
            if v < -10:
                pl.write(y, [t, c], -v)
            elif v < 0:
                w = v * v
                pl.write(y, [t, c], w)
            elif v == 0 and c > m:
                pl.write(y, [t, c], pl.cast(7, pl.INT32))
    """,
    "indices that others do not have": """
        if m < 32:
            pl.write(y, [t, 0], pl.read(x, [m, 1]))
        if m > 0:
            q = 640 // m
            pl.write(y, [t, 1], pl.cast(q, pl.INT32))
    """,
    "elements of a tile": """
        row = pl.create_tensor([1, 64], dtype=pl.INT32)
        row[:, :] = pl.full([1, 64], dtype=pl.INT32, value=-1)
        for c in pl.range(64):
            if c < m:
                pl.write(row, [0, c], pl.read(x, [t, c]))
        y[t : t + 1, :] = row
    """,
    "elements of a tile that others do not have": """
        row = pl.create_tensor([1, 64], dtype=pl.INT32)
        row[:, :] = pl.full([1, 64], dtype=pl.INT32, value=5)
        if m < 32:
            pl.write(row, [0, m + 32], m)
            pl.write(row, [0, m * 2], pl.read(row, [0, m + 32]))
        y[t : t + 1, :] = row
    """,
}


def arguments(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-40, 40, (32, 64), generator=g, dtype=torch.int32)
    n = torch.randint(0, 64, (32,), generator=g, dtype=torch.int32)
    n[:4] = torch.tensor([0, 63, 1, 32])
    return x, n, torch.full((32, 64), 9, dtype=torch.int32)


@pytest.mark.parametrize("name", BODIES)
def test_blocks_go_different_ways_together(name: str):
    k = kernel(f"{HEAD}{BODIES[name].rstrip()}\n    return y\n")
    for seed in range(3):
        both(k, *arguments(seed))


@pytest.mark.parametrize("name", BODIES)
def test_one_block_runs_alone_and_all_others_as_one(name: str, monkeypatch):
    runs = []
    chunk = Running.chunk

    def counted(self, launched, blocks, *block):
        runs.append(len(blocks))
        return chunk(self, launched, blocks, *block)

    monkeypatch.setattr(Running, "chunk", counted)
    batches.BATCH_SIZES.clear()
    run(f"{HEAD}{BODIES[name].rstrip()}\n    return y\n", *arguments(1))
    assert runs == [1, 31]


def test_what_they_write_is_right():
    k = kernel(f"{HEAD}{BODIES['an if'].rstrip()}\n    return y\n")
    x, n, y = arguments(1)
    both(k, x, n, y)
    same(y, torch.where(torch.arange(64) < n[:, None], x, -1))


def test_what_they_write_to_a_tile_is_right():
    x, n, y = arguments(1)
    run(f"{HEAD}{BODIES['elements of a tile'].rstrip()}\n    return y\n", x, n, y)
    same(y, torch.where(torch.arange(64) < n[:, None], x, -1))


def test_a_block_that_reads_outside_is_named():
    source = f"""{HEAD}
        if m > 60:
            pl.write(y, [t, 0], pl.read(x, [m, 1]))
        else:
            pl.write(y, [t, 0], m)
    return y
"""
    x, n, y = arguments(1)
    n[:] = torch.arange(32)
    n[17] = 61
    with pytest.raises(FaultError, match=r"(?s)outside 'x'.*block 17 of 32"):
        both(kernel(source), x, n, y)


def test_a_division_by_zero_in_the_arm_not_taken_is_none():
    source = f"""{HEAD}
        if m != 0:
            pl.write(y, [t, 0], pl.cast(100, pl.INT32) // m)
        else:
            pl.write(y, [t, 0], pl.cast(-1, pl.INT32))
    return y
"""
    x, n, y = arguments(1)
    both(kernel(source), x, n, y)
    want = [-1 if v == 0 else 100 // v for v in n.tolist()]
    assert y[:, 0].tolist() == want


def test_blocks_that_hand_a_number_on_still_run_in_order():
    source = """
        @pl.jit
        def k(n: pl.Tensor[[16], pl.INT32], y: pl.InOut[pl.Tensor[[32], pl.INT32]]):
            for t in pl.spmd(16):
                m = pl.read(n, [t])
                if m > 0:
                    v = pl.read(y, [t])
                    pl.write(y, [t + 1], v + m)
            return y
    """
    n, y = torch.tensor([1, 2, 0, 4] * 4, dtype=torch.int32), torch.zeros(32, dtype=torch.int32)
    both(kernel(source), n, y)
    want = [0] * 32
    for t, m in enumerate(n.tolist()):
        if m > 0:
            want[t + 1] = want[t] + m
    assert y.tolist() == want


def test_tiles_before_and_after():
    """What holds a tile is not masked; what is masked stands between."""
    source = """
        @pl.jit
        def k(x: pl.Tensor[[256, 16], pl.FP32], n: pl.Tensor[[16], pl.INT32], y: pl.Out[pl.Tensor[[256, 16], pl.FP32]]):
            for t in pl.spmd(16):
                m = pl.read(n, [t])
                s = pl.cast(0, pl.INT32)
                for c in pl.range(m):
                    s = s + pl.cast(c, pl.INT32)
                if s > 5:
                    s = pl.cast(5, pl.INT32)
                f = pl.cast(s, pl.FP32)
                y[t * 16 : t * 16 + 16, :] = pl.mul(x[t * 16 : t * 16 + 16, :], f)
            return y
    """
    x, n, y = torch.randn(256, 16), torch.arange(16, dtype=torch.int32) % 6, torch.zeros(256, 16)
    both(kernel(source), x, n, y)
    factor = torch.tensor([min(m * (m - 1) // 2, 5) for m in n.tolist()])
    same(y, x * factor.repeat_interleave(16)[:, None])


def test_many_single_numbers_take_no_minutes():
    source = """
        @pl.jit
        def k(n: pl.Tensor[[128], pl.INT32], y: pl.Out[pl.Tensor[[128, 256], pl.INT32]]):
            for t in pl.spmd(128):
                m = pl.read(n, [t])
                for c in pl.range(256):
                    if c < m:
                        pl.write(y, [t, c], m)
                    else:
                        pl.write(y, [t, c], pl.cast(-1, pl.INT32))
            return y
    """
    n, y = torch.arange(128, dtype=torch.int32), torch.zeros(128, 256, dtype=torch.int32)
    start = time.process_time()
    run(source, n, y)
    assert time.process_time() - start < 8  # one after the other takes longer than that for each of four parts
    same(y, torch.where(torch.arange(256) < n[:, None], n[:, None], -1).int())


def test_a_fault_of_one_arm_is_said_of_its_block():
    """The batch is given up within the arm: its blocks run one by one, and no mask is left over."""
    x, n = torch.zeros(32, 64, dtype=torch.int32), torch.zeros(32, dtype=torch.int32)
    n[5], n[7] = 50, 70
    k = kernel(f"""{HEAD}
        if m > 40:
            v = pl.read(x, [t, m])
            pl.write(y, [t, 0], v)
    return y
""")
    with pytest.raises(FaultError, match=r"axis 1 from 70 to 71 of extent 64.*block 7 of 32"):
        run(k, x, n, x.clone())
    n[7] = 63
    trace = run(k, x, n, x.clone())
    assert trace.total("stores") == 2
