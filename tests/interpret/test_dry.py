"""Runs without arithmetic leave the trace that a real run leaves, however their turns are grouped."""

from __future__ import annotations

import torch
from kernelgen import kernel
from test_lanes import groups, one_by_one, record

from helpers.chips import chip
from helpers.interpret.call import interpret
from helpers.interpret.trace import depend
from helpers.interpret.trace.trace import Trace

TOKENS = kernel("""
@pl.jit
def k(x: pl.Tensor[[64, 32], pl.FP32], n: pl.Tensor[[8], pl.INT32], o: pl.InOut[pl.Tensor[[64, 32], pl.FP32]]):
    for t in pl.range(8):
        scratch = pl.create_tensor([8, 32], dtype=pl.FP32)
        rows = pl.read(n, [t])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="fill"):
            v = pl.slice(x, [8, 32], [t * 8, 0], valid_shape=[rows, 32])
            scratch[0:8, :] = pl.mul(pl.fillpad(v, pad_value=pl.PadValue.zero), 2.0)
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="use"):
            u = pl.slice(scratch, [8, 32], [0, 0])
            o[t * 8 : t * 8 + 8, :] = pl.add(u, 1.0)
    return o
""")


def dry(k, *args) -> Trace:
    return interpret(k, list(args), "a2a3interp", chip("a2a3"), dry=True)


def inputs() -> tuple[torch.Tensor, ...]:
    return torch.randn(64, 32), torch.tensor([3, 8, 1, 8, 5, 3, 7, 2], dtype=torch.int32), torch.zeros(64, 32)


def test_turns_that_move_different_extents_stay_together():
    x, n, o = inputs()
    together = dry(TOKENS, x, n, o)
    assert groups(together).count(1) < 16  # turns of one extent share a chunk
    with one_by_one():
        alone = dry(TOKENS, x, n, o)
    real = interpret(TOKENS, [x, n, o], "a2a3interp", chip("a2a3"))
    assert record(together) == record(alone) == record(real)
    assert together.gm_read_bytes == (int(n.sum()) + 64) * 32 * 4


def test_each_turn_allocates_anew():
    """Turns that only share the name of their scratch are not ordered, whichever way they ran."""
    trace = dry(TOKENS, *inputs())
    assert [(e.earlier, e.later) for e in depend.required(trace)] == [(2 * t, 2 * t + 1) for t in range(8)]
    assert depend.races(trace) == []
    assert sum(b.size for b in trace.buffers if not b.argument) == 8 * 8 * 32
