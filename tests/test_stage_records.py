"""A stage is one record beside its golden: what is added is found, run, checked, drawn; nothing else is edited."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers import cli, stages
from helpers.errors import InputError, WorkbookError
from helpers.profile.sweep import sweep
from helpers.tuning import attempt
from helpers.widgets import explore

ROOT = Path(__file__).parents[1]
KERNELS = """import pypto.language as pl

ROWS = 64
TILE = 16


@pl.jit
def twice(x: pl.Tensor[[ROWS, 128], pl.FP32], y: pl.Out[pl.Tensor[[ROWS, 128], pl.FP32]]):
    for b in pl.spmd(ROWS // TILE, name_hint="twice"):
        y[b * TILE : b * TILE + TILE, :] = pl.mul(x[b * TILE : b * TILE + TILE, :], 2.0)
    return y
"""
GOLDEN = """import torch

from golden import TensorSpec, Tolerance

STAGE = {
    "title": "Everything twice",
    "versions": {"twice": {"TILE": ("rows of a tile", (8, 16, 32))}},
}
TOLERANCE = Tolerance(rtol=0.0, atol=0.0, text="exact")


def specs():
    return [
        TensorSpec("x", [64, 128], torch.float32, init_value=torch.ones(64, 128)),
        TensorSpec("y", [64, 128], torch.float32, is_output=True),
    ]


def reference(values):
    values["y"][:] = 2 * values["x"]
"""
RUN = """

if __name__ == "__main__":
    import doubling_golden as golden
    from golden import run_jit

    run_jit(twice, golden.specs(), golden.reference)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a kernel, its golden and its record."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    for name in ("doubling", "doubling_golden"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "doubling.py").write_text(KERNELS + RUN)
    (tmp_path / "doubling_golden.py").write_text(GOLDEN)
    return tmp_path


def said(*args: str) -> str:
    done = CliRunner().invoke(cli.app, args)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_stage_is_its_record(folder: Path):
    assert "Everything twice" in said("list")
    assert "doubling twice   exact" in said("run", "doubling")
    assert "no findings" in said("check", "doubling")
    assert "PREDICTED" in said("profile", "doubling")
    written = said("plot", "doubling", "swimlane", "ladder", "--out", str(folder / "out"))
    assert {f.name for f in (folder / "out").iterdir()} == {"doubling-twice-swimlane.png", "doubling-ladder.png"}
    assert "doubling-ladder.png" in written
    stage = stages.find("doubling")
    assert attempt(stage, "twice", chip="a2a3", batch=None, TILE=32).tasks == 2
    explorer = explore("doubling", TILE=8, live=False)
    assert "doubling twice, TILE 8 on a2a3interp: PASS" in repr(explorer)
    assert "tasks: 8" in repr(explorer)
    points = sweep(stage.versions["twice"], {"TILE": (16, 32)}, specs=stage.specs, best=0, jobs=1, progress=False)
    assert {p.values["TILE"]: p.tasks for p in points} == {16: 4, 32: 2}


def test_large_inputs_that_are_kept_follow_their_golden(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """They are kept for the next run of the stage; once its golden is loaded again they are made again."""
    monkeypatch.setattr(stages, "_LARGE", 1)  # byte: the input is a large one
    stage = stages.find("doubling")
    assert stages.run_stage(stage, "twice").expected["y"].unique().tolist() == [2.0]
    (folder / "doubling_golden.py").write_text(GOLDEN.replace("torch.ones(64, 128)", "torch.full([64, 128], 3.0)"))
    importlib.reload(sys.modules["doubling_golden"])
    assert stages.run_stage(stage, "twice").expected["y"].unique().tolist() == [6.0]


def test_explore_takes_a_file(folder: Path):
    explorer = explore("doubling.py", live=False)
    assert "doubling.py twice on a2a3interp: PASS" in repr(explorer)
    assert repr(explore("doubling.py:twice", live=False)) == repr(explorer).replace("doubling.py", "doubling.py:twice")
    text = (folder / "doubling.py").read_text()
    (folder / "doubling.py").write_text(text.replace("2.0", "3.0"))
    assert "doubling.py twice on a2a3interp: FAIL" in repr(explore("doubling.py", live=False))
    for what, why in (("doubling.py:thrice", "the file runs twice"), ("none.py", "there is no file none.py")):
        with pytest.raises(InputError, match=why):
            explore(what)
    with pytest.raises(ValueError, match="versions are twice"):
        explore("doubling.py", batch=3)


WRONG = {
    'STAGE = {"versions": {"twice": {}}, "titel": "x"}': "knows no titel",
    'STAGE = {"title": "x"}': 'has no "versions"',
    'STAGE = {"versions": names()}': "must be plain data",
    "STAGE = {": "SyntaxError",
    "STAGE = (3,)": "knows no 3",
}


@pytest.mark.parametrize("record", WRONG)
def test_a_record_that_is_none_says_so_at_its_line(folder: Path, record: str):
    start = GOLDEN.index("STAGE = {")
    text = GOLDEN[:start] + record + GOLDEN[GOLDEN.index("\nTOLERANCE") :]
    (folder / "doubling_golden.py").write_text(text)
    with pytest.raises(WorkbookError, match=r"doubling_golden\.py:\d+: ") as caught:
        stages.find("doubling")
    assert WRONG[record] in str(caught.value)


def test_stages_are_listed_in_half_a_second_and_without_torch():
    """Of processor time: another program may run."""
    code = "import helpers.stages, sys, time; print(time.process_time(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, torch = done.stdout.split()
    assert torch == "False"
    assert float(seconds) < 0.5


def test_the_order_is_the_decoders():
    assert list(stages.STAGES)[:4] == ["qkv_proj", "rope_kv_cache", "flash_attention", "mlp"]
    assert all(isinstance(one.order, int) for one in stages.STAGES.values())
