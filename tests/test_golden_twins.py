"""golden.twins: the same values in the same memory, until one side writes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from golden import TensorSpec, run_jit, runner
from golden.twins import twins
from helpers import cli


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.int32, torch.float8_e4m3fn])
def test_a_write_to_one_leaves_the_other_alone(dtype: torch.dtype):
    values = torch.arange(6000).view(60, 100).to(torch.int8).to(dtype)
    first, second = twins(values.t())
    for t in (first, second):
        assert (t.shape, t.dtype, t.is_contiguous()) == (values.t().shape, dtype, True)
    first.zero_()
    assert torch.equal(second.float(), values.t().float())
    assert not first.float().any()


def test_nothing_has_twins_too():
    first, second = twins(torch.empty(0, 4))
    assert first.shape == second.shape == (0, 4)


def test_a_script_may_write_a_large_input(tmp_path: Path):
    """Its golden works on what went in."""
    script = tmp_path / "driver.py"
    script.write_text(
        "import torch\n"
        "from golden import TensorSpec, run_jit\n"
        "import pypto.language as pl\n"
        "@pl.jit\n"
        "def k(x: pl.Tensor[[1 << 20, 40], pl.FP32], y: pl.Out[pl.Tensor[[16, 40], pl.FP32]]):\n"
        "    with pl.at(level=pl.Level.CORE_GROUP):\n"
        "        a = pl.add(pl.slice(x, [16, 40], [0, 0]), 1.0)\n"
        "        x = pl.assemble(x, a, [0, 0])\n"
        "        y = pl.assemble(y, a, [0, 0])\n"
        "    return y\n"
        "def golden(values):\n"
        "    values['y'][:] = values['x'][:16] + 1\n"
        "specs = [TensorSpec('x', [1 << 20, 40], torch.float32, init_value=1.0),\n"
        "         TensorSpec('y', [16, 40], torch.float32, is_output=True)]\n"
        "result = run_jit(k, specs, golden)\n"
        "raise SystemExit(not result.passed)\n"
    )
    result = CliRunner().invoke(cli.app, ["interpret", str(script)])
    assert result.exit_code == 0, result.output
    assert "modified its input 'x'" in result.output


@pytest.mark.parametrize("written", ["", "x = pl.assemble(x, a, [0, 0])"])
def test_interpret_mode_says_which_large_input_was_written(tmp_path: Path, monkeypatch, written: str):
    """Such an input is neither copied nor sealed: the trace says what writes it."""
    file = tmp_path / "writes_its_input.py"
    file.write_text(
        "import pypto.language as pl\n"
        "@pl.jit\n"
        "def k(x: pl.Tensor[[64, 32], pl.FP32], y: pl.Out[pl.Tensor[[16, 32], pl.FP32]]):\n"
        "    with pl.at(level=pl.Level.CORE_GROUP):\n"
        "        a = pl.add(pl.slice(x, [16, 32], [0, 0]), 1.0)\n"
        f"        {written or 'pass'}\n"
        "        y = pl.assemble(y, a, [0, 0])\n"
        "    return y\n"
    )
    monkeypatch.setattr(runner, "_LARGE", 64)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, file.stem, raising=False)
    kernel = importlib.import_module(file.stem).k
    specs = [TensorSpec("x", [64, 32], torch.float32), TensorSpec("y", [16, 32], torch.float32, is_output=True)]
    result = run_jit(kernel, specs, runtime_cfg={"platform": "a2a3interp"}, quiet=True)
    assert result.passed == (not written)
    if written:
        assert "modified its input 'x':" in result.error
        assert "writes_its_input.py:6 writes it" in result.error
