"""A script's findings are kept however it ends; the exit code 2 is for one that ran nothing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers import cli
from helpers.sanitize import check, check_scripts

KERNEL = """import sys
import torch
import pypto.language as pl
from golden import TensorSpec, run_jit


@pl.jit
def k(x: pl.Tensor[[64, 16], pl.FP32], y: pl.Out[pl.Tensor[[64, 16], pl.FP32]]):
    {scratch}
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="k"):
        a = pl.mul(x[:, :], 2.0)
        {more}
        y = pl.assemble(y, a, [0, 0])
    return y


def golden(v):
    v["y"][:] = {factor} * v["x"]


x = TensorSpec("x", [64, 16], torch.float32, init_value=torch.ones)
specs = [x, TensorSpec("y", [64, 16], torch.float32, is_output=True)]
"""
RUN = "r = run_jit(k, specs, golden)\n"


def checked(
    tmp_path: Path, end: str, factor: str = "2", scratch: str = "pass", more: str = "pass"
) -> tuple[int, list[dict], str]:
    script, out = tmp_path / "script.py", tmp_path / "f.json"
    script.write_text(KERNEL.format(scratch=scratch, more=more, factor=factor) + end)
    done = CliRunner().invoke(cli.app, ["check", str(script), "--json", str(out)])
    return done.exit_code, json.loads(out.read_text())["findings"] if out.exists() else [], done.output


@pytest.mark.parametrize(
    "end",
    [
        RUN + "sys.exit(0 if r.passed else 1)",
        RUN + "raise SystemExit(3)",
        RUN + "sys.exit('it failed')",
        RUN + "assert r.passed",
        RUN + "raise ValueError('of the script')",
        "from helpers.run import run\nx, y = torch.ones(64, 16), torch.zeros(64, 16)\nrun(k, [x, y])\n" + RUN
        + "torch.testing.assert_close(y, 3 * x)",
        RUN + "sys.exit()",
        RUN,
    ],
)  # fmt: skip
def test_a_wrong_result_is_told(tmp_path: Path, end: str):
    code, found, _ = checked(tmp_path, end, factor="3")
    assert code == cli.FAILED
    assert [f["kind"] for f in found] == ["wrong-result"]


@pytest.mark.parametrize("end", [RUN + "sys.exit(1)", RUN + "raise KeyError('of the script')"])
def test_a_warning_is_told_beside_a_failure_that_nothing_explains(tmp_path: Path, end: str):
    scratch, more = "t = pl.create_tensor([64, 16], dtype=pl.FP32)", "t = pl.assemble(t, a, [0, 0])"
    code, found, output = checked(tmp_path, end, scratch=scratch, more=more)
    assert code == cli.FAILED
    assert {f["kind"] for f in found} == {"script-failed", "unread-result"}
    failed = next(f for f in found if f["kind"] == "script-failed")
    if "KeyError" in end:
        assert "KeyError: 'of the script'" in failed["what"]
        assert "raise KeyError" in output  # the script's own line is shown
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "end", ["sys.exit(1)", "sys.exit('usage')", "raise ValueError('no file')", "import nothing_of_this_name"]
)
def test_a_script_that_runs_nothing_could_not_be_run(tmp_path: Path, end: str):
    code, found, output = checked(tmp_path, end)
    assert code == cli.REFUSED
    assert found == []
    assert "before it ran a kernel" in output
    assert "Traceback" not in output


def test_a_refusal_that_the_script_catches_is_told(tmp_path: Path):
    end = "try:\n    run_jit(k, specs, golden)\nexcept Exception:\n    sys.exit(1)\n"
    code, found, _ = checked(tmp_path, end, more="print(1)")
    assert code == cli.FAILED
    assert [f["kind"] for f in found] == ["language"]


def test_a_golden_that_fails_leaves_the_findings(tmp_path: Path):
    path = tmp_path / "script.py"
    scratch, more = "t = pl.create_tensor([64, 16], dtype=pl.FP32)", "t = pl.assemble(t, a, [0, 0])"
    path.write_text(KERNEL.format(scratch=scratch, more=more, factor=2))
    spec = importlib.util.spec_from_file_location("golden_that_fails", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def reference(values: dict) -> None:
        values["z"][:] = 0

    found = {f.kind: f for f in check(module.k, module.specs, reference)}
    assert set(found) == {"script-failed", "unread-result"}
    assert "KeyError: 'z'" in found["script-failed"].what
    assert found["script-failed"].place.file == __file__


LARGE = """import torch
import pypto.language as pl
from golden import TensorSpec, run_jit


@pl.jit
def k(w: pl.Tensor[[4096, 64], pl.FP32], c: pl.Tensor[[64, 64], pl.FP32], y: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
    t = pl.create_tensor([64, 64], dtype=pl.FP32)
    with pl.at(level=pl.Level.CORE_GROUP):
        t[0:32, :] = pl.add(c[0:32, :], w[0:32, :])
        c[32:64, :] = pl.mul(c[32:64, :], 2.0)
    with pl.at(level=pl.Level.CORE_GROUP):
        a = t[:, :]
        y[0:32, :] = a[{rows}, :]
        y[32:64, :] = c[32:64, :]
    return y


def golden(v):
    v["c"][32:] *= 2
    v["y"].copy_(v["c"])
    v["y"][:32] += v["w"][:32]


c = TensorSpec("c", [64, 64], torch.float32, init_value=torch.randn, is_output=True)
w = TensorSpec("w", [4096, 64], torch.float32, init_value=torch.randn)
run_jit(k, [w, c, TensorSpec("y", [64, 64], torch.float32, is_output=True)], golden)
"""


@pytest.mark.parametrize(
    ("rows", "most", "severity", "proof"),
    [
        ("0:32", 1 << 17, "hint", "no output depends on it"),  # w is not copied, c is: it is written, whatever it says
        ("16:48", 1 << 17, "error", "with other values in it, 1,024 of 4,096 elements of 'y' differ"),
        ("0:32", 1 << 10, "error", "none was looked for"),
    ],
)
def test_a_read_is_proved_where_the_arguments_are_too_many_to_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, most: int, severity: str, proof: str
):
    monkeypatch.setattr(check_scripts, "MOST_BYTES", most)
    script = tmp_path / "script.py"
    script.write_text(LARGE.format(rows=rows))
    found = [f for f in check_scripts.check_script(script, []) if f.kind == "uninitialized-read"]
    assert [(f.severity, proof in f.proof) for f in found] == [(severity, True)]
