"""In a notebook: errors without frames of the interpreter, kernels in cells."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

CELL = """
import kernels, torch
import pypto.language as pl
from helpers.run import run

@pl.jit
def wrong(x: pl.InOut[pl.Tensor[[16, 16], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        x[:, :] = pl.sigmoid(x[:, :])
    return x

run(wrong, [torch.zeros(16, 16)], platform="a2a3interp")
"""


@pytest.fixture
def shell():
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    yield made
    InteractiveShell.clear_instance()


def test_an_error_is_its_own_lines(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]):
    shell.run_cell(CELL)
    said = capsys.readouterr().out
    assert "sigmoid" in said
    assert "call.py" not in said
    assert len(said.strip().splitlines()) <= 6
    assert "^" in said


def test_frames_are_there_on_request(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]):
    shell.run_line_magic("xmode", "Verbose")
    shell.run_cell(CELL)
    assert "call.py" in capsys.readouterr().out


FILE = """%%kernel mine.py
import pypto.language as pl

@pl.jit
def twice(x: pl.InOut[pl.Tensor[[16, 16], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        x[:, :] = pl.mul(x[:, :], 2.0)
    return x
"""


def test_a_cell_becomes_a_module_and_runs(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    shell.run_line_magic("load_ext", "helpers")
    use = "import torch\nt = torch.ones(16, 16); twice(t); print('sum', float(t.sum()))"
    shell.run_cell(FILE)
    shell.run_cell(use)
    assert "sum 512.0" in capsys.readouterr().out
    assert "def twice" in (tmp_path / "mine.py").read_text()
    shell.run_cell(FILE.replace("2.0", "3.0"))
    shell.run_cell(use)
    assert "sum 768.0" in capsys.readouterr().out
    shell.run_cell(FILE.replace("mine.py", "no/where.py"))
    assert "there is no folder" in capsys.readouterr().out
