"""A wrong result ends with where it begins: beside a kernel that is right, or by the intermediates of the golden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from golden.spec import TensorSpec
from helpers.sanitize import check
from helpers.sanitize.check_stages import check_stage
from helpers.stages import find
from tests.kernelgen import kernel

SOFTMAX = """
@pl.jit
def k(x: pl.Tensor[[32, 128], pl.FP32], y: pl.Out[pl.Tensor[[32, 128], pl.FP32]]):
    weights = pl.create_tensor([32, 128], dtype=pl.FP32)
    for b in pl.spmd(2, name_hint="weigh"):
        rows = x[b * 16 : b * 16 + 16, :]
        top = pl.row_max(rows)
        weights[b * 16 : b * 16 + 16, :] = pl.exp(pl.row_expand_sub(rows, top))
    for b in pl.spmd(2, name_hint="divide"):
        part = weights[b * 16 : b * 16 + 16, :]
        y[b * 16 : b * 16 + 16, :] = pl.row_expand_div(part, pl.row_sum(part))
    return y
"""
SPECS = [
    TensorSpec("x", [32, 128], torch.float32, init_value=torch.linspace(-4, 4, 4096).view(32, 128)),
    TensorSpec("y", [32, 128], torch.float32, is_output=True),
]
MISTAKES = {  # what is replaced, by what, the line that is named
    "top": ("pl.row_max(rows)", "pl.mul(pl.row_max(rows), 0.5)", "exp(pl.row_expand_sub(rows, top))"),
    "weights": ("pl.exp(pl.row_expand_sub(rows, top))", "pl.sub(rows, rows)", "pl.sub(rows, rows)"),
    "sum": ("pl.row_sum(part)", "pl.add(pl.row_sum(part), 1.0)", "pl.add(pl.row_sum(part), 1.0)"),
}


def golden(values: dict) -> None:
    values["y"][:] = torch.softmax(values["x"].double(), -1)


def with_intermediates(values: dict) -> None:
    golden(values)
    x = values["x"].double()
    values["weights"] = torch.exp(x - x.amax(-1, keepdim=True)).float()


def wrong_result(wrong: Callable, reference: Callable, **options: object):
    found = check(wrong, SPECS, reference, rtol=1e-5, atol=1e-5, sweeps=False, on=("a2a3",), **options)
    return next(f for f in found if f.kind == "wrong-result")


@pytest.mark.parametrize("name", ["weights", "sum"])
def test_beside_a_kernel_that_is_right(name: str):
    old, new, line = MISTAKES[name]
    right, wrong = kernel(SOFTMAX), kernel(SOFTMAX.replace(old, new))
    also_wrong = kernel(SOFTMAX.replace("row_sum(part)", "row_max(part)"))
    found = wrong_result(wrong, golden, beside={"'other'": also_wrong, "'naive'": right})
    assert found.fix.startswith("it first differs at ")
    assert line in found.fix
    assert "in 'naive', which is right" in found.fix


def test_nothing_is_said_beside_kernels_that_are_wrong_too():
    wrong = kernel(SOFTMAX.replace(*MISTAKES["sum"][:2]))
    found = wrong_result(wrong, golden, beside={"'other'": wrong})
    assert "differs" not in found.fix
    assert "workbook debug" in found.fix


@pytest.mark.parametrize("name", ["top", "weights"])
def test_by_the_intermediates_of_the_golden(name: str):
    old, new, _ = MISTAKES[name]
    if name == "top":  # a softmax is the same whatever is subtracted: only its weights are not the golden's
        old, new = "pl.exp(pl.row_expand_sub(rows, top))", "pl.mul(pl.exp(pl.row_expand_sub(rows, top)), rows)"
    found = wrong_result(kernel(SOFTMAX.replace(old, new)), with_intermediates)
    assert found.fix.startswith("'weights' is the first that is wrong, in ")
    assert "'weigh'" in found.fix


def test_intermediates_that_are_right_say_no_more():
    found = wrong_result(kernel(SOFTMAX.replace(*MISTAKES["sum"][:2])), with_intermediates)
    assert "workbook debug" in found.fix


def test_a_version_of_a_stage_is_held_against_its_neighbours():

    right, wrong = kernel(SOFTMAX), kernel(SOFTMAX.replace(*MISTAKES["sum"][:2]))
    stage = replace(
        find("rope_kv_cache"), versions={"naive": right, "fused": wrong}, specs=lambda **_: SPECS, reference=golden,
        batch=None, context=False, compare_fn={},
    )  # fmt: skip
    found = check_stage(stage, "fused", sweeps=False)
    (fix,) = [f.fix for f in found if f.kind == "wrong-result"]
    assert "in 'naive', which is right" in fix
