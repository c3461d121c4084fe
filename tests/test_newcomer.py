"""The path of somebody new, in an empty folder that is not this repository: new, edit, watch, check, profile, test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
TIME = 300  # seconds for a command on a busy machine


def python(folder: Path, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *args], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=TIME
    )


def workbook(folder: Path, *args: str) -> subprocess.CompletedProcess:
    return python(folder, "-m", "helpers", *args)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("newcomer")
    written = workbook(made, "new", "mine")
    assert written.returncode == 0, written.stderr
    assert "edit mine.py first" in written.stdout
    assert {f.name for f in made.iterdir()} == {"mine.py", "mine_golden.py", "test_mine.py", "mine.ipynb"}
    return made


def test_what_is_written_passes_its_own_tests(folder: Path):
    ran = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py", "--nbval", "mine.ipynb")
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


def test_nothing_is_found_in_it(folder: Path):
    ran = workbook(folder, "check", "mine.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "no findings" in ran.stdout


def test_its_time_is_predicted(folder: Path):
    ran = workbook(folder, "profile", "mine.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "PREDICTED" in ran.stdout
    assert "rms_norm" in ran.stdout


def test_what_takes_a_stage_takes_the_file(folder: Path):
    ran = workbook(folder, "run", "mine.py", "--errors")
    assert ran.returncode == 0, ran.stderr
    assert [line.split()[:2] for line in ran.stdout.splitlines() if "PASS" in line] == [
        ["mine", "naive"],
        ["mine", "fused"],
    ]
    one = workbook(folder, "run", "mine.py", "--version", "naive")
    assert one.returncode == 0, one.stderr
    assert one.stdout.count("PASS") == 1
    side_by_side = workbook(folder, "compare", "mine.py:fused", "--platforms", "a2a3interp,a5interp")
    assert side_by_side.returncode == 0, side_by_side.stderr
    assert "no difference" in side_by_side.stdout
    (folder / "bare.py").write_text("import pypto.language as pl\n")
    (folder / "broken.py").write_text("x = (\n")
    for args, says in (
        (("check", "mine.py:nobody"), "runs no kernel 'nobody'; it runs: naive, fused"),
        (("check", "bare.py"), "runs no kernel, so nothing is checked"),
        (("profile", "mine.py:nobody"), "the file runs naive, fused"),
        (("profile", "mine.py:fused", "--batch", "3"), "takes no --batch"),
        (("compile", "nowhere.py:k"), "there is no file nowhere.py"),
        (("run", "broken.py"), "broken.py:1"),
        (("watch", "nowhere.py:k"), "there is no file nowhere.py"),
        (("run", "mine.py:nobody"), "the file runs naive, fused"),
        (("run", "mine.py", "--ctx", "3"), "specs of its own"),
        (("run", "mine.py", "--batch", "3"), "specs of its own"),
        (("run", "mine.py", "--version", "nobody"), "there are: naive, fused"),
        (("run", "nowhere.py"), "there is no file nowhere.py"),
        (("plot", "mine.py", "portrait"), "no figure is called portrait"),
    ):
        wrong = workbook(folder, *args)
        assert wrong.returncode == 2
        assert says in wrong.stderr
        assert len(wrong.stderr.strip().splitlines()) <= 4
    (folder / "bare.py").unlink()
    (folder / "broken.py").unlink()


def test_its_figures_are_written(folder: Path, tmp_path: Path):
    ran = workbook(folder, "plot", "mine.py", "error_map", "swimlane", "ladder", "--out", str(tmp_path / "made"))
    assert ran.returncode == 0, ran.stderr
    names = {f"mine-{v}-{n}.png" for v in ("naive", "fused") for n in ("error_map", "swimlane")} | {"mine-ladder.png"}
    assert {f.name for f in (tmp_path / "made").iterdir()} == names
    assert all(f.read_bytes().startswith(b"\x89PNG") for f in (tmp_path / "made").iterdir())


def test_the_kernel_is_a_script(folder: Path):
    ran = python(folder, "mine.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("PASS") >= 2


def test_a_name_that_is_taken_writes_nothing(folder: Path):
    before = (folder / "mine.py").read_text()
    ran = workbook(folder, "new", "mine")
    assert ran.returncode == 2
    assert "mine.py" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) <= 4
    assert (folder / "mine.py").read_text() == before


def test_an_edit_is_seen_while_it_is_watched(folder: Path):
    file = folder / "mine.py"
    text = file.read_text()
    command = [sys.executable, "-u", "-m", "helpers", "watch", "mine.py:fused", "--saves", "3"]
    watching = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    seen: list[str] = []
    try:
        for edited in (text.replace("1.0 / WIDTH", "2.0 / WIDTH"), text, None):
            for line in watching.stdout:
                seen.append(line)
                if "PASS" in line or "FAIL" in line:
                    break
            if edited is not None:
                file.write_text(edited)
        assert watching.wait(TIME) == 0
    finally:
        watching.kill()
        watching.wait()
        file.write_text(text)
    verdicts = [next(v for v in ("PASS", "FAIL") if v in line) for line in seen if "PASS" in line or "FAIL" in line]
    assert verdicts[0] == "PASS"
    assert "FAIL" in verdicts
    assert verdicts[-1] == "PASS"
