"""The `workbook` command: what it prints, its exit codes, and that errors are messages, not tracebacks."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from helpers import cli, doctor, platforms, result_table, stages
from helpers.course import notebooks
from helpers.errors import FaultError, InputError
from kernels.qwen3 import KV_HEADS

ROOT = Path(__file__).parent.parent
SMALL = ("run", "rope_kv_cache", "--version", "flat", "--batch", "2", "--ctx", "5,130")


def workbook(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def refused(*arguments: str) -> str:
    """The message of a command that must be refused: exit code 2, nothing on standard output, no traceback."""
    result = workbook(*arguments)
    assert result.exit_code == cli.REFUSED == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture
def stage() -> stages.Stage:
    return stages.STAGES["rope_kv_cache"]


def test_run_prints_one_table_with_a_verdict():
    result = workbook(*SMALL)
    assert result.exit_code == 0, result.output
    title, heading, *rows = result.stdout.splitlines()
    assert title.startswith(f"{platforms.resolve()}; UB L1 L0A L0B L0C: ")
    assert "in KiB" in title
    assert heading.split() == "stage version tolerance outside tasks seconds UB L1 L0A L0B L0C verdict".split()
    assert len(rows) == 1
    assert rows[0].split()[:2] == ["rope_kv_cache", "flat"]
    outside, _tasks, _seconds, ub, *others, verdict = rows[0].split()[-9:]
    assert outside == "0"
    assert 8 < float(ub) < 184
    assert others == ["0", "0", "0", "0"]
    assert verdict == "PASS"
    assert max(map(len, result.stdout.splitlines())) < 125


def test_the_largest_errors_on_request():
    """What a processor's rounding decides is no part of the table that every machine prints alike."""
    heading, row = workbook(*SMALL, "--errors").stdout.splitlines()[1:]
    assert heading.split()[2:8] == ["tolerance", "max", "abs", "max", "rel", "outside"]
    max_abs, max_rel = map(float, row.split()[-11:-9])
    assert 0 <= max_abs < 1
    assert 0 <= max_rel < 2**-6


def test_the_readme_shows_the_table_that_every_machine_prints():
    """All of it but the seconds, and the peaks of kernels that go by what they compute (see Trace.blind)."""
    text = (ROOT / "README.md").read_text().split("```text\n")[1].split("```")[0]
    title, heading, *rows = text.splitlines()
    assert heading.split() == "stage version tolerance outside tasks seconds UB L1 L0A L0B L0C verdict".split()
    assert title.split(";")[1].split(":")[0].split() == list(result_table.ON_CHIP)
    for row, stage in zip(rows, stages.STAGES.values(), strict=True):
        version = list(stage.versions)[-1]
        trace = stages.trace_stage(stage, version)
        *named, outside, tasks, _seconds, peaks = row.removesuffix(" PASS").rsplit(maxsplit=8)[:4] + [
            row.split()[-6:-1]
        ]
        assert " ".join(" ".join(named).split()) == f"{stage.name} {version} {stage.tolerance}"
        assert (outside, tasks) == ("0", f"{trace.tasks:,}")
        if not trace.blind:
            assert peaks == [f"{trace.peaks()[buffer] / 1024:.3g}" for buffer in result_table.ON_CHIP]


def test_run_without_version_runs_the_ladder_in_order(stage: stages.Stage):
    result = workbook("run", stage.name, "--batch", "2", "--ctx", "1", "--platform", "a5interp")
    assert result.exit_code == 0, result.output
    title, *lines = result.stdout.splitlines()
    rows = [line.split() for line in lines[1:]]
    assert [row[1] for row in rows] == list(stage.versions) == ["naive", "per_sequence", "flat"]
    assert title.startswith("a5interp;")
    naive, per_sequence, flat = (int(row[-8].replace(",", "")) for row in rows)
    assert (per_sequence, flat) == (2, 2 * KV_HEADS)  # a task a sequence; one for each KV head of each
    assert naive > flat


def test_run_with_last_runs_the_last_version(stage: stages.Stage):
    result = workbook("run", stage.name, "--last", "--batch", "1", "--ctx", "1")
    assert result.exit_code == 0, result.output
    assert [line.split()[1] for line in result.stdout.splitlines()[2:]] == ["flat"]
    assert "--last" in refused("run", stage.name, "--last", "--version", "naive")


def test_a_wrong_result_is_a_fail_and_exit_code_1(stage: stages.Stage, monkeypatch: pytest.MonkeyPatch):
    def wrong(values: dict) -> None:
        stage.reference(values)
        values["q_padded"][3] += 1

    monkeypatch.setitem(stages.STAGES, stage.name, dataclasses.replace(stage, reference=wrong))
    result = workbook(*SMALL)
    assert result.exit_code == cli.FAILED == 1
    assert result.stdout.split()[-1] == "FAIL"
    assert "FAIL rope_kv_cache flat" in result.stderr
    assert "q_padded" in result.stderr


def test_a_fault_keeps_the_rows_before_it(stage: stages.Stage, monkeypatch: pytest.MonkeyPatch):
    ran = stages.run_stage

    def faulty(one: stages.Stage, version: str, **how: object) -> object:
        if version == "per_sequence":
            raise FaultError("kernel.py:1:1: out of bounds [16, 128]")
        return ran(one, version, **how)

    monkeypatch.setattr(stages, "run_stage", faulty)
    result = workbook("run", stage.name, "--batch", "1", "--ctx", "1")
    assert result.exit_code == cli.REFUSED
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == ["version", "naive"]
    assert result.stderr == "error: kernel.py:1:1: out of bounds [16, 128]\n"


def test_html_adds_the_notebooks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    asked = []

    def pretend(paths: list[Path], folder: Path, console: object) -> list[str]:
        asked.append(([path.stem for path in paths], folder))
        return ["01_rope_kv_cache.ipynb: a cell failed"]

    monkeypatch.setattr(notebooks, "write_html", pretend)
    result = workbook(*SMALL, "--html", str(tmp_path))
    assert asked == [(["01_rope_kv_cache"], tmp_path)]
    assert result.exit_code == cli.FAILED
    assert "FAIL 01_rope_kv_cache.ipynb: a cell failed" in result.stderr


def test_unknown_names_list_the_known():
    assert "rope_kv_cache" in refused("run", "nonesuch")
    message = refused("run", "rope_kv_cache", "--version", "nonesuch")
    assert "naive, per_sequence, flat" in message
    message = refused("run", "rope_kv_cache", "--platform", "nonesuch")
    assert all(name in message for name in ("default", *platforms.PLATFORMS))


def test_absent_platform_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platforms, "missing", lambda name: "the moon" if name == "a5sim" else None)
    assert "the moon" in refused("run", "rope_kv_cache", "--platform", "a5sim")


@pytest.mark.parametrize("batch", ["0", "17", "-1"])
def test_batch_out_of_range(batch: str):
    assert "16" in refused("run", "rope_kv_cache", "--batch", batch)


@pytest.mark.parametrize("ctx", ["0", "-3", "4097", "1,2", "1.5", "x", "", "1,,2"])
def test_bad_ctx(ctx: str):
    assert "ctx" in refused("run", "rope_kv_cache", "--batch", "3", "--ctx", ctx)


def test_a_stage_or_all_but_not_both():
    for arguments in (["run"], ["run", "rope_kv_cache", "--all"]):
        assert "--all" in refused(*arguments)


@pytest.mark.parametrize(
    ("text", "lengths"), [(None, None), ("4096", 4096), ("1,128", [1, 128]), ("7,", None), ("a", None)]
)
def test_parse_ctx(text: str | None, lengths: int | list[int] | None):
    if text is not None and lengths is None:
        with pytest.raises(InputError, match="whole number"):
            stages.parse_ctx(text)
    else:
        assert stages.parse_ctx(text) == lengths


def test_list_names_stages_versions_and_notebooks():
    result = workbook("list")
    assert result.exit_code == 0
    assert "rope_kv_cache" in result.stdout
    assert "naive -> per_sequence -> flat" in result.stdout
    assert "notebooks/01_rope_kv_cache.ipynb" in result.stdout


def test_the_notebooks_that_stages_name_are_there():
    named = [one.notebook for one in stages.STAGES.values() if one.notebook]
    assert named
    for name in named:
        assert notebooks.find(name)


def test_doctor_says_what_works_and_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    lacks = {"a5sim": "no this; no [that]", "a2a3": "no NPU"}
    monkeypatch.setattr(platforms, "missing", lacks.get)
    monkeypatch.setattr(platforms, "installed_pypto", lambda: platforms.PyPTO("other", ROOT, "9.9"))
    result = workbook("doctor")
    assert result.exit_code == 0, result.output
    for text in (sys.version.split()[0], doctor.version("torch"), doctor.version("jupyterlab")):
        assert text in result.stdout
    assert "the other one" in result.stdout
    assert platforms.INSTALL_GUIDE in result.stdout
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert "yes" not in lines["a5sim"]
    assert "no this" in lines["a5sim"]
    assert "no [that]" in result.stdout
    assert lines["a5"].split()[1:] == ["yes,", "the", "default", "no"]  # the last: compiles; the other pypto does not
    assert lines["a5interp"].split()[1:] == ["yes", "-"]


def test_python_m_helpers_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "helpers", "run", "nonesuch"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == cli.REFUSED
    assert done.stderr == "error: unknown stage 'nonesuch'; there are: " + ", ".join(stages.STAGES) + "\n"


def test_a_golden_of_somebody_elses_is_not_taken_for_ours(tmp_path: Path):
    """Bug: started in a checkout of pypto-lib, `workbook interpret` imported the `golden` that lies there."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "__init__.py").write_text("raise SystemExit('not this one')\n")
    (tmp_path / "script.py").write_text("import golden\nprint(golden.__file__)\n")
    command = (sys.executable, "-m", "helpers", "interpret", "script.py")
    said = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
                          capture_output=True, text=True)  # fmt: skip
    assert said.stdout.startswith(str(ROOT / "golden")), said
