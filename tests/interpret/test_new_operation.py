"""A newcomer adds an operation, by one declaration in one file of `ops/`: it runs, is checked, and has its help. Or a
chip, by tables of `chips.toml`: it runs, and its times are predicted."""

from __future__ import annotations

import os
import re
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


CHIP_SCRIPT = """
import torch
import kernels
from helpers import chips, doctor, platforms
from helpers.errors import FaultError, PlatformError
from helpers.profile import profile
from helpers.run import run
from kernels import hello

def traced(name):
    args = [torch.ones(64, hello.WIDTH), torch.ones(1, hello.WIDTH), torch.zeros(64, hello.WIDTH).bfloat16()]
    return run(hello.two_tasks, args, platform=f"{name}interp").trace, args[2]

assert chips.NAMES == ("a2a3", "a5", "tiny", "half"), chips.NAMES
assert [p for p in platforms.PLATFORMS if p.startswith("half")] == ["halfinterp"]
trace, out = traced("half")
assert torch.equal(out, traced("a5")[1]) and out.any()
p = profile(trace)
assert p.chip.cube_cores == 1 and p.makespan > profile(traced("a5")[0]).makespan
try:
    traced("tiny")
except FaultError as e:
    assert "bytes of UB at once; A chip of a test has 1,024" in str(e), e
else:
    raise AssertionError("more than the chip holds")
print("done")
"""


def copied(to: Path) -> None:
    """What a newcomer has of the repository."""
    for room in ("helpers", "golden", "kernels"):
        shutil.copytree(ROOT / room, to / room, ignore=shutil.ignore_patterns("__pycache__"))


def like(chip: str, name: str, **other: str) -> str:
    """The tables of a chip that is as another one, but for some lines of it."""
    text = (ROOT / "helpers/chips/chips.toml").read_text()
    text = text[text.index(f"[{chip}]") :].replace(f"[{chip}", f"[{name}")
    for key, value in {"title": '"A chip of a test"', **other}.items():
        text, n = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, count=1, flags=re.MULTILINE)
        assert n == 1, key
    return "\n" + text.replace(f"[{name}]", f'[{name}]\nrules = "{chip}"', 1)


def test_a_chip_is_tables_of_one_file(tmp_path):
    copied(tmp_path)
    with (tmp_path / "helpers/chips/chips.toml").open("a") as f:
        f.write(like("a5", "tiny", UB="1") + like("a5", "half", cube_cores="1", vector_cores="2", clusters="1"))
    (tmp_path / "uses.py").write_text(CHIP_SCRIPT)
    done = subprocess.run(
        [sys.executable, "uses.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == "done", done.stderr


def test_an_operation_is_one_declaration(tmp_path):
    copied(tmp_path)
    with (tmp_path / "helpers/interpret/ops/elementwise.py").open("a") as f:
        f.write(DECLARATION)
    (tmp_path / "kernels_here.py").write_text(KERNELS)
    (tmp_path / "uses.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "uses.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == "done", done.stderr
