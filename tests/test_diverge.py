"""`diverge`: at which line a kernel first makes other values than another one, and the command of that name."""

from __future__ import annotations

import kernelgen
import pytest
import torch
from typer.testing import CliRunner

from golden.spec import TensorSpec
from helpers.cli import app
from helpers.errors import InputError
from helpers.inside import diverge

KERNEL = """
@pl.jit
def k(a: pl.Tensor[[64, 32], pl.FP32], o: pl.Out[pl.Tensor[[64, 32], pl.FP32]]):
    for i in pl.spmd(4, name_hint="softmax"):
        x = pl.slice(a, [16, 32], [i * 16, 0])
        m = pl.row_max(x)
        e = pl.exp(pl.row_expand_sub(x, m))
        s = pl.row_sum(e)
        o[i * 16 : i * 16 + 16, :] = pl.row_expand_div(e, s)
    return o
"""
EDITS = [
    ("pl.row_expand_sub(x, m)", "pl.row_expand_mul(x, m)", "e = pl.exp(pl.row_expand_mul(x, m))"),
    ("pl.exp(pl.row_expand_sub(x, m))", "pl.abs(pl.row_expand_sub(x, m))", "e = pl.abs(pl.row_expand_sub(x, m))"),
    ("pl.row_sum(e)", "pl.row_max(e)", "s = pl.row_max(e)"),
    ("pl.row_expand_div(e, s)", "pl.row_expand_mul(e, s)", "o[i * 16 : i * 16 + 16, :] = pl.row_expand_mul(e, s)"),
    ("[i * 16, 0]", "[16, 0]", "x = pl.slice(a, [16, 32], [16, 0])"),
]


def specs() -> list:
    def random() -> torch.Tensor:
        return torch.randn(64, 32, generator=torch.Generator().manual_seed(0))

    return [
        TensorSpec("a", [64, 32], torch.float32, init_value=random),
        TensorSpec("o", [64, 32], torch.float32, is_output=True),
    ]


@pytest.mark.parametrize("above", ["", "# a line above\n\n"], ids=["", "moved"])
@pytest.mark.parametrize(("old", "new", "line"), EDITS)
def test_the_edited_line_is_named(old: str, new: str, line: str, above: str):
    before, now = kernelgen.kernel(KERNEL), kernelgen.kernel(above + KERNEL.replace(old, new))
    found = diverge(now, before, specs())
    assert found.spot.code.strip() == line
    assert found.task == "softmax"
    assert found.now != found.before


def test_kernels_that_agree_do_not_part():
    before = kernelgen.kernel(KERNEL)
    for same in ("pl.row_max(pl.mul(x, 1.0))", "pl.row_min(x)"):  # softmax does not depend on what is subtracted
        assert diverge(kernelgen.kernel(KERNEL.replace("pl.row_max(x)", same)), before, specs()) is None


@pytest.mark.parametrize(
    ("now", "before", "how", "said"),
    [
        ("mlp.mixed", "mlp.nothing", {}, "has no version 'nothing'"),
        ("nowhere.py:k", "mlp", {}, "there is no file"),
        ("mlp", "mlp", {"platform": "a5sim"}, "a2a3interp or a5interp"),
        (len, len, {}, "specs="),
    ],
)
def test_what_cannot_be_compared(now, before, how: dict, said: str):
    with pytest.raises(InputError, match=said):
        diverge(now, before, **how)


FILE = """
import torch
import pypto.language as pl
from golden import TensorSpec, run_jit

{kernel}

if __name__ == "__main__":
    specs = [
        TensorSpec("a", [64, 32], torch.float32, init_value=lambda: torch.ones(64, 32)),
        TensorSpec("o", [64, 32], torch.float32, is_output=True),
    ]
    run_jit(k, specs, lambda values: values["o"].copy_(values["a"].softmax(1)))
"""


def test_the_command(tmp_path):
    (tmp_path / "was.py").write_text(FILE.format(kernel=KERNEL))
    (tmp_path / "now.py").write_text(FILE.format(kernel=KERNEL.replace("pl.row_sum(e)", "pl.row_max(e)")))
    was, now = f"{tmp_path}/was.py:k", f"{tmp_path}/now.py:k"
    parts = CliRunner().invoke(app, ["diverge", now, was])
    assert parts.exit_code == 1, parts.output
    assert "`s = pl.row_max(e)`, task 'softmax' 0 block 0, element [0, 0]: 1 here, 32 in" in parts.output
    alike = CliRunner().invoke(app, ["diverge", was, was])
    assert alike.exit_code == 0
    assert "up to rounding" in alike.output


def test_the_debug_command(tmp_path):
    (tmp_path / "was.py").write_text(FILE.format(kernel=KERNEL))
    done = CliRunner().invoke(app, ["debug", f"{tmp_path}/was.py:k", "--wrote", "o[17, 3]"], input="n\np m\nr\nq\n")
    assert done.exit_code == 0, done.output
    for said in ("block 1 of 4 of task 'softmax'", "made m = tile [16, 1] FP32", "what the task stored is off by"):
        assert said in done.output


def test_another_valid_part_is_named():
    before = kernelgen.kernel(PARTLY)
    now = kernelgen.kernel(PARTLY.replace("valid_shape=[16, n]", "valid_shape=[16, n - 1]"))
    found = diverge(now, before, specs())
    assert found.spot.code.strip().startswith("x = pl.slice(")
    assert found.text("the other").endswith("the valid part is [16, 19] here, [16, 20] in the other")


PARTLY = """
@pl.jit
def k(a: pl.Tensor[[64, 32], pl.FP32], o: pl.Out[pl.Tensor[[64, 32], pl.FP32]]):
    n = 20
    for i in pl.spmd(4, name_hint="partly"):
        x = pl.slice(a, [16, 32], [i * 16, 0], valid_shape=[16, n])
        o[i * 16 : i * 16 + 16, :] = pl.mul(x, 2.0)
    return o
"""


def test_elements_that_only_one_writes_are_named():
    before = kernelgen.kernel(KERNEL.replace("pl.spmd(4,", "pl.spmd(3,"))
    found = diverge(kernelgen.kernel(KERNEL), before, specs())
    assert found.spot.code.strip() == 'for i in pl.spmd(4, name_hint="softmax"):'
    assert found.text("the other").endswith("it has 4 blocks here, 3 in the other")
    shifted = KERNEL.replace("4, name", "3, name").replace("i * 16", "(i + 1) * 16")
    found = diverge(kernelgen.kernel(shifted), before, specs())
    assert found.spot.code.strip().startswith("x = pl.slice(")


def test_a_launch_that_one_skips_is_named():
    source = """
@pl.jit
def k(a: pl.Tensor[[64, 32], pl.FP32], o: pl.Out[pl.Tensor[[64, 32], pl.FP32]]):
    gate = pl.create_tensor([8], dtype=pl.INT32, init_value=1)
    with pl.manual_scope():
        with pl.spmd(4, name_hint="twice", predicate=(gate[0] > 0)) as tid:
            i = pl.tile.get_block_idx()
            o[i * 16 : i * 16 + 16, :] = pl.mul(a[i * 16 : i * 16 + 16, :], 2.0)
    return o
"""
    before, now = kernelgen.kernel(source), kernelgen.kernel(source.replace("> 0", "<= 0"))
    found = diverge(now, before, specs())
    assert "predicate=(gate[0] <= 0)" in found.spot.code
    assert found.text("the other").endswith("it is skipped here and runs in the other")
