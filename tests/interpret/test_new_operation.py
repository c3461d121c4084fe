"""A newcomer adds an operation: one declaration in one file of `ops/`. It runs, is checked, and has its help."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

DECLARATION = '''

@op("softsign", "input", tile="tile", types=FLOAT, result=LIKE_FIRST, unit="vector", tiles_at=(0,))
def softsign(m: Machine, at: Place, input: Any) -> Tile:
    """x / (1 + |x|), element by element."""
    x = in_ub(m, at, input)
    vector(m, x.shape, x.dtype, "softsign")
    return m.onchip.tile(at, None if m.now.dry else x.data / (1 + x.data.abs()), x.shape, x.dtype, x.valid)
'''

SCRIPT = """
import torch
import pypto.language as pl
from helpers.run import run
import kernels_here

x, o = torch.linspace(-3, 3, 512).view(16, 32), torch.zeros(16, 32)
trace = run(kernels_here.squash, [x, o], platform="a5interp").trace
torch.testing.assert_close(o, torch.nn.functional.softsign(x))
assert trace.total("vector_ops") == 1
for kernel, said in (
    (kernels_here.whole, "INT32: it takes FP32, FP16"),
    (kernels_here.number, "the number `2.0`, where a tile stands"),
    (kernels_here.twice, "softsign: too many positional arguments"),
):
    try:
        run(kernel, [torch.zeros(16, 32, dtype=torch.int32) for _ in range(2)], platform="a5interp")
    except Exception as e:
        assert said in str(e), e
        assert "kernels_here.py:" in str(e)
    else:
        raise AssertionError(f"{kernel} was taken")
assert "x / (1 + |x|)" in pl.softsign.__doc__
assert "softsign" in dir(pl)
print("done")
"""

KERNELS = """
import pypto.language as pl


@pl.jit
def squash(x: pl.Tensor[[16, 32], pl.FP32], o: pl.Out[pl.Tensor[[16, 32], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        o[:, :] = pl.softsign(x)
    return o


@pl.jit
def whole(x: pl.Tensor[[16, 32], pl.INT32], o: pl.Out[pl.Tensor[[16, 32], pl.INT32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        o[:, :] = pl.softsign(x)
    return o


@pl.jit
def number(x: pl.Tensor[[16, 32], pl.INT32], o: pl.Out[pl.Tensor[[16, 32], pl.INT32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        o[:, :] = pl.softsign(2.0)
    return o


@pl.jit
def twice(x: pl.Tensor[[16, 32], pl.INT32], o: pl.Out[pl.Tensor[[16, 32], pl.INT32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        o[:, :] = pl.softsign(x, x)
    return o
"""


def test_an_operation_is_one_declaration(tmp_path):
    for room in ("helpers", "golden", "kernels"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "helpers/interpret/ops/elementwise.py").open("a") as f:
        f.write(DECLARATION)
    (tmp_path / "kernels_here.py").write_text(KERNELS)
    (tmp_path / "uses.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "uses.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == "done", done.stderr
