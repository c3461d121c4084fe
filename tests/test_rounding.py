"""What each line's rounding costs: parts that add up to what is measured, and that predict what FP32 gains."""

from __future__ import annotations

import kernelgen
import pytest
import torch

from golden.spec import values_of
from helpers import stages
from helpers.inside import inside, redone, rounding
from helpers.interpret.language.dtypes import BY_NAME
from helpers.run import run

LAST = [(name, one.names[-1]) for name, one in stages.STAGES.items()]


@pytest.mark.parametrize(("name", "version"), LAST)
def test_the_parts_of_the_lines_add_up_to_the_error(name: str, version: str):
    stage = stages.find(name)
    kernel = stage.versions[version]
    args = values_of(stage.specs(**stage.small))
    done = run(kernel, args, platform="a2a3interp", keep=True)
    names = dict.fromkeys(d.name for d in done.trace.dispatches if not d.dummy)
    priced = 0
    for task in list(names)[:6]:
        found = rounding(inside(done, task))
        if found.measured > 0:
            priced += 1
            assert 0.5 <= found.added / found.measured <= 2, (task, found)
            assert sum(p.share for p in found.prices) == pytest.approx(1)
    assert priced


@pytest.mark.parametrize(("name", "version"), LAST)
def test_what_fp32_would_gain_is_predicted(name: str, version: str):
    """For each task's cast with the largest share: predicted from the shares, and measured by doing it again.

    Where nearly nothing is left, it is the rounding of FP32 sums, whose order `redone` does not follow.
    """
    stage = stages.find(name)
    done = run(stage.versions[version], values_of(stage.specs(**stage.small)), platform="a2a3interp", keep=True)
    tried = 0
    for task in dict.fromkeys(d.name for d in done.trace.dispatches if not d.dummy):
        opened = inside(done, task)
        found = rounding(opened)
        narrow = next((p for p in found.prices if BY_NAME[p.dtype].bits < 32), None)
        if narrow is None:
            continue
        tried += 1
        assert redone(opened) == pytest.approx(found.measured, rel=0.1)
        predicted, measured = found.in_fp32(narrow.line), redone(opened, fp32=narrow.line)
        little = max(predicted, measured) < found.measured / 1000
        assert predicted == measured == 0 or 0.5 / (1 + little) <= predicted / measured <= 2 * (1 + little), (
            task,
            found,
        )
        assert measured < found.measured
    assert tried


KERNEL = """
@pl.jit
def k(x: pl.Tensor[[16, 64], pl.FP32], y: pl.Tensor[[16, 64], pl.FP32], o: pl.Out[pl.Tensor[[16, 64], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        a = pl.cast(x, pl.{first})
        b = pl.cast(y, pl.FP16)
        product = pl.mul(pl.cast(a, pl.FP32), pl.cast(b, pl.FP32))
        o[:, :] = pl.exp(product)
    return o
"""


@pytest.fixture(scope="module")
def opened():
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(16, 64, generator=g), torch.rand(16, 64, generator=g)

    def run(source: str):
        return inside(kernelgen.kernel(source), args=[x, y, torch.zeros(16, 64)])

    return run


def test_the_dearest_line_is_named_and_without_it_the_error_falls_as_predicted(opened):
    before = rounding(opened(KERNEL.format(first="BF16")))
    dearest, second, *_ = before.prices
    assert dearest.code == "a = pl.cast(x, pl.BF16)"
    assert dearest.dtype == "BF16"
    assert 0.3 < dearest.ulps <= 0.51
    assert second.code == "b = pl.cast(y, pl.FP16)"
    predicted = before.without(dearest.line)
    without = KERNEL.format(first="BF16").replace("pl.cast(x, pl.BF16)", "pl.mul(x, 1.0)").replace(
        "pl.cast(a, pl.FP32)", "a"
    )  # fmt: skip
    after = rounding(opened(without))
    assert after.measured < before.measured / 3
    assert 0.5 <= predicted / after.measured <= 2
    assert after.prices[0].code == second.code


def test_what_cannot_be_done_again_is_named():
    kernel = kernelgen.kernel("""
@pl.jit
def k(x: pl.Tensor[[16, 64], pl.FP32], o: pl.Out[pl.Tensor[[16, 64], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        t = pl.load(x, [0, 0], [16, 64])
        u = pl.lrelu(t, 0.1)
        o = pl.store(pl.mul(u, 3.3), [0, 0], o)
    return o
""")
    found = rounding(inside(kernel, args=[torch.randn(16, 64), torch.zeros(16, 64)]))
    assert found.kept == ("lrelu",)
    assert [p.code for p in found.prices] == ["o = pl.store(pl.mul(u, 3.3), [0, 0], o)"]


def test_an_exact_task_has_no_price():
    kernel = kernelgen.kernel("""
@pl.jit
def k(x: pl.Tensor[[16, 64], pl.FP32], o: pl.Out[pl.Tensor[[16, 64], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        o[:, :] = pl.mul(x, 2.0)
    return o
""")
    found = rounding(inside(kernel, args=[torch.randn(16, 64), torch.zeros(16, 64)]))
    assert found.measured == found.added == 0
    assert not any(p.error for p in found.prices)
