"""golden.twins: the same values in the same memory, until one side writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

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
