"""Tensors of a run against a golden that names intermediates: the first one that is wrong, and who wrote it."""

from __future__ import annotations

import kernelgen
import pytest
import torch

from helpers.errors import InputError
from helpers.inside import against
from helpers.run import Run, run

KERNEL = """
@pl.jit
def k(x: pl.Tensor[[64, 32], pl.FP32], out: pl.InOut[pl.Tensor[[64, 32], pl.FP32]]):
    squares = pl.create_tensor([64, 32], dtype=pl.FP32)
    scaled = pl.create_tensor([64, 32], dtype=pl.FP32)
    for i in pl.spmd(4, name_hint="square"):
        squares[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], x[i * 16 : i * 16 + 16, :])
    for i in pl.spmd(4, name_hint="scale"):
        scaled[i * 16 : i * 16 + 16, :] = pl.mul(squares[i * 16 : i * 16 + 16, :], 0.5)
    for i in pl.spmd(4, name_hint="add"):
        out[i * 16 : i * 16 + 16, :] = pl.add(out[i * 16 : i * 16 + 16, :], scaled[i * 16 : i * 16 + 16, :])
    return out
"""


def golden(values: dict) -> None:
    values["squares"] = values["x"] ** 2
    values["scaled"] = values["squares"] * 0.5
    values["out"] = values["out"] + values["scaled"]


def kept(source: str) -> Run:
    g = torch.Generator().manual_seed(1)
    return run(kernelgen.kernel(source), [torch.rand(64, 32, generator=g) + 1, torch.ones(64, 32)], keep=True)


def test_a_run_that_is_right():
    assert against(kept(KERNEL), golden) is None


@pytest.mark.parametrize(
    ("old", "new", "name", "right", "task"),
    [
        ("pl.mul(x[", "pl.add(x[", "squares", (), "square"),
        ("0.5)", "0.25)", "scaled", ("squares",), "scale"),
        ("= pl.add(out", "= pl.sub(out", "out", ("squares", "scaled"), "add"),
    ],
)
def test_the_first_wrong_one_is_named(old: str, new: str, name: str, right: tuple, task: str):
    found = against(kept(KERNEL.replace(old, new)), golden)
    assert (found.name, found.right, found.writer.launch.name) == (name, right, task)
    assert f"'{name}' is the first that is wrong, in 2,048 of 2,048 elements: [0, 0] is " in str(found)
    assert f"block 0 of task '{task}' wrote it at " in str(found)
    opened = found.open()
    assert opened.launch.name == task
    assert opened.block == 0


def test_one_block_that_is_wrong():
    source = KERNEL.replace("pl.mul(squares[i * 16 : i * 16 + 16, :], 0.5)", "pl.mul(squares[0:16, :], 0.5)")
    found = against(kept(source), golden)
    assert found.index == (16, 0)
    assert found.count == 48 * 32
    assert found.writer.block == 1


def test_tensors_may_be_given_by_name():
    done = kept(KERNEL)
    assert against(done, {"scaled": done.kept.memory[0].view(64, 32) ** 2 * 0.5}) is None


def test_what_cannot_be_compared():
    with pytest.raises(InputError, match="none of the kernel's tensors: x, out, squares, scaled"):
        against(kept(KERNEL), {"nothing": torch.zeros(1)})
    with pytest.raises(InputError, match=r"'squares' has 2,048 elements and the golden's 1"):
        against(kept(KERNEL), {"squares": torch.zeros(1)})
    with pytest.raises(InputError, match="keep=True"):
        against(run(kernelgen.kernel(KERNEL), [torch.ones(64, 32), torch.ones(64, 32)]), golden)
