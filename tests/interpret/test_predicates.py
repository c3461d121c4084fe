"""A launch with predicate= that is false runs nothing, and its results are the tensors as they were."""

from __future__ import annotations

import kernelgen
import pytest
import torch
from kernelgen import module, same

TWO = """
    @pl.program
    class P:
        @pl.function(type=pl.FunctionType.InCore)
        def fill(self, x: pl.Tensor[[16, 16], pl.FP32], a: pl.Out[pl.Tensor[[16, 16], pl.FP32]],
                 b: pl.Out[pl.Tensor[[16, 16], pl.FP32]]) -> pl.Tensor[[16, 16], pl.FP32]:
            t = pl.load(x, [0, 0], [16, 16])
            second = pl.store(pl.add(t, 2.0), [0, 0], b)
            a = pl.store(pl.add(t, 1.0), [0, 0], a)
            return {returned}

        @pl.function(type=pl.FunctionType.InCore)
        def copy(self, x: pl.Tensor[[16, 16], pl.FP32],
                 y: pl.Out[pl.Tensor[[16, 16], pl.FP32]]) -> pl.Tensor[[16, 16], pl.FP32]:
            y = pl.store(pl.load(x, [0, 0], [16, 16]), [0, 0], y)
            return y

        @pl.function(type=pl.FunctionType.Orchestration)
        def main(self, x: pl.Tensor[[16, 16], pl.FP32], gate: pl.Tensor[[16], pl.INT32],
                 a: pl.InOut[pl.Tensor[[16, 16], pl.FP32]], b: pl.InOut[pl.Tensor[[16, 16], pl.FP32]],
                 y: pl.Out[pl.Tensor[[16, 16], pl.FP32]], z: pl.Out[pl.Tensor[[16, 16], pl.FP32]]):
            with pl.manual_scope():
                {bound}, tid = {launch}(self.fill, x, a, b, {blocks}predicate=(gate[0] > 0))
                y, _ = pl.submit(self.copy, {first}, y, deps=[tid])
                z, _ = pl.submit(self.copy, {second}, z, deps=[tid])
            return y, z
"""


@pytest.mark.parametrize("runs", [False, True], ids=["skipped", "run"])
@pytest.mark.parametrize("launch", ["pl.submit", "pl.spmd_submit"])
@pytest.mark.parametrize(
    ("returned", "bound", "first", "second"),
    [("a", "a", "a", "b"), ("second", "b", "a", "b"), ("second", "w", "a", "w")],
)
def test_results_of_a_skipped_launch(launch: str, runs: bool, returned: str, bound: str, first: str, second: str):
    blocks = "core_num=1, " if launch == "pl.spmd_submit" else ""
    source = TWO.format(returned=returned, bound=bound, launch=launch, blocks=blocks, first=first, second=second)
    x, a, b, y, z = (torch.full((16, 16), v) for v in (5.0, 10.0, 20.0, 0.0, 0.0))
    trace = kernelgen.run(module(source).P, x, torch.tensor([int(runs)] * 16, dtype=torch.int32), a, b, y, z)
    same(y, torch.full((16, 16), 6.0 if runs else 10.0))
    same(z, torch.full((16, 16), 7.0 if runs else 20.0))
    assert sum(d.skipped for d in trace.dispatches) == (not runs)


@pytest.mark.parametrize("runs", [False, True], ids=["skipped", "run"])
def test_a_skipped_spmd_leaves_what_was_there(runs: bool):
    source = """
        @pl.jit
        def k(gate: pl.Tensor[[16], pl.INT32], x: pl.Tensor[[64, 16], pl.FP32],
              y: pl.InOut[pl.Tensor[[64, 16], pl.FP32]]):
            with pl.manual_scope():
                with pl.spmd(4, predicate=(gate[0] > 0)) as tid:
                    i = pl.get_block_idx()
                    y[i * 16 : i * 16 + 16, :] = pl.add(x[i * 16 : i * 16 + 16, :], 1.0)
                with pl.at(level=pl.Level.CORE_GROUP, deps=[tid]):
                    y[0:16, :] = pl.add(y[0:16, :], 0.5)
            return y
    """
    x, y = torch.full((64, 16), 3.0), torch.full((64, 16), 10.0)
    kernelgen.run(source, torch.tensor([int(runs)] * 16, dtype=torch.int32), x, y)
    want = torch.full((64, 16), 4.0 if runs else 10.0)
    want[:16] += 0.5
    same(y, want)
