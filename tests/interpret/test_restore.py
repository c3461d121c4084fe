"""A run that fails, or is interrupted, leaves its arguments as they were."""

from __future__ import annotations

import pypto.language as pl
import pytest
import torch

import kernels  # noqa: F401 - makes pypto.language importable
from helpers.errors import FaultError
from helpers.interpret.machine import gm, machine
from helpers.run import run

ROWS, COLS = 64, 32


@pl.jit
def late_fault(
    x: pl.Tensor[[ROWS, COLS], pl.FP32], at: pl.Tensor[[4], pl.INT32], out: pl.InOut[pl.Tensor[[ROWS, COLS], pl.FP32]]
):
    for i in pl.range(4):
        with pl.at(level=pl.Level.CORE_GROUP):
            row = pl.tensor.read(at, [i])
            t = pl.slice(x, [16, COLS], [0, 0])
            out = pl.assemble(out, pl.add(t, 1.0), [row, 0])
    for b in pl.spmd(4):
        s_row = pl.tensor.read(at, [b])
        s = pl.slice(out, [16, COLS], [b * 16, 0])
        out = pl.assemble(out, pl.mul(s, 2.0), [s_row, 0])
    return out


def arguments(*rows: int) -> list[torch.Tensor]:
    return [torch.randn(ROWS, COLS), torch.tensor(rows, dtype=torch.int32), torch.randn(ROWS, COLS)]


def test_a_fault_changes_nothing():
    args = arguments(0, 16, 32, 60)  # the last is outside
    before = args[2].clone()
    with pytest.raises(FaultError, match="outside 'out'"):
        run(late_fault, args)
    assert torch.equal(args[2], before)


def test_without_a_fault_the_result_stays():
    args = arguments(0, 16, 32, 48)
    run(late_fault, args)
    assert torch.equal(args[2], (args[0][:16] + 1).mul(2).repeat(4, 1))


def test_an_interruption_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    args = arguments(0, 16, 32, 48)
    before = args[2].clone()
    stored = gm.GlobalMemory.store
    calls = []

    def store(self, *a):
        calls.append(a)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return stored(self, *a)

    monkeypatch.setattr(gm.GlobalMemory, "store", store)
    with pytest.raises(KeyboardInterrupt):
        run(late_fault, args)
    assert torch.equal(args[2], before)


def test_what_cannot_be_put_back_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "LOG_BYTES", 16)
    args = arguments(0, 16, 32, 60)
    with pytest.raises(FaultError, match="half written"):
        run(late_fault, args)
