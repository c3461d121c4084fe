"""Regions with pl.auto_chunk: a task for every chunk of turns, one for what stands between the loops."""

from __future__ import annotations

import pytest
import torch
from kernelgen import run, same, sevens, values

HEAD = "@pl.jit\ndef k(x: pl.Tensor[[64, 16], pl.FP32], o: pl.Out[pl.Tensor[[64, 16], pl.FP32]]):\n"


@pytest.mark.parametrize(
    ("bounds", "tasks", "turns"),
    [("8, chunk=2", 4, range(8)), ("1, 8, chunk=3", 3, range(1, 8)), ("0, 8, 2, chunk=3", 2, range(0, 8, 2)),
     ("N, chunk=CHUNK", 2, range(6)), ("3, chunk=8", 1, range(3))],
)  # fmt: skip
def test_chunks(bounds: str, tasks: int, turns: range):
    x, o = values((64, 16), "FP32", 0), sevens((64, 16), "FP32")
    text = f"""
N = 6
CHUNK = 4


{HEAD}    s = pl.create_tensor([8, 16], dtype=pl.FP32)
    with pl.at(level=pl.Level.CORE_GROUP, optimizations=[pl.auto_chunk, pl.split(pl.SplitMode.UP_DOWN)], name_hint="q"):
        s[:, :] = pl.mul(x[0:8, :], 2.0)
        for i in pl.parallel({bounds}):
            t = pl.add(x[i * 8 : i * 8 + 8, :], s[:, :])
            o[i * 8 : i * 8 + 8, :] = t
    return o
"""
    trace = run(text, x, o)
    want = sevens((64, 16), "FP32")
    for i in turns:
        want[i * 8 : i * 8 + 8] = x[i * 8 : i * 8 + 8] + 2 * x[:8]
    same(o, want)
    assert trace.tasks_by_name() == {"q": tasks + 1}
    assert torch.equal(x, values((64, 16), "FP32", 0))
