"""pyproject.toml and environment.yml say the same; every pin is exact; what is installed is pinned."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.platforms import installed_pypto

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent

# The package index's name -> conda-forge's, where they differ by more than case.
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base", "playwright": "playwright-python"}
# Only in environment.yml: conda installs the interpreter and pip itself.
CONDA_ONLY = {"python", "pip"}
# Listed but not installed here: from Python 3.11 on tomllib is there, as the marker in pyproject.toml says.
NOT_INSTALLED = {"tomli"} if sys.version_info >= (3, 11) else set()


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pyproject_pins() -> dict[str, str]:
    """Name on the package index (lower case) -> exact version, environment markers dropped."""
    pins = {}
    for line in project()["dependencies"] + project()["optional-dependencies"]["dev"]:
        found = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.]*)(\s*;.*)?", line)
        assert found, f"pyproject.toml: {line!r} is not an exact pin"
        pins[found[1].lower()] = found[2]
    return pins


def conda_pins() -> dict[str, str]:
    """Name at conda-forge -> what stands after it."""
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert all(isinstance(line, str) for line in lines), "environment.yml must not hide pins in a pip section"
    return {name: rest for name, _, rest in (line.partition(" ") for line in lines)}


def test_same_names_and_pins():
    wanted = {CONDA_NAMES.get(name, name): f"=={version}" for name, version in pyproject_pins().items()}
    found = {name: rest for name, rest in conda_pins().items() if name not in CONDA_ONLY}
    assert found == wanted


def test_same_python():
    assert conda_pins()["python"] == project()["requires-python"] == ">=3.10,<3.13"


def test_pypto_is_a_dependency_of_neither_and_both_say_why():
    assert not [name for name in [*pyproject_pins(), *conda_pins()] if name.startswith("pypto")]
    for file in ("environment.yml", "README.md"):
        text = (ROOT / file).read_text()
        assert "hw-native-sys/pypto" in text, file
        assert "another project" in text, file
        assert "CANN" in text, file


@pytest.mark.parametrize("name", sorted(pyproject_pins().keys() - NOT_INSTALLED))
def test_installed_version_is_the_pinned_one(name: str):
    installed = importlib.metadata.version(name).partition("+")[0]  # torch adds its build, as in +cpu
    assert installed == pyproject_pins()[name]


def test_pypto_language_is_there_in_any_python_of_the_environment(tmp_path: Path):
    (tmp_path / "kernel.py").write_text(
        "import pypto.language as pl\n\n\n@pl.jit\ndef k(x: pl.InOut[pl.Tensor[[16, 16], pl.FP32]]):\n    return x\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", "import pypto.language; import kernel; print(kernel.k)"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "kernel.k" in said.stdout


def test_a_package_that_hides_the_workbooks_is_named(tmp_path: Path):
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "__init__.py").write_text("")
    said = subprocess.run([sys.executable, "-c", "import pypto.language"], cwd=tmp_path, capture_output=True, text=True)
    if installed_pypto().kind != "hw-native-sys":
        assert "hides the workbook's package 'helpers'" in said.stderr


def test_nothing_is_imported_before_pypto_is_asked_for():
    code = "import sys; print(sorted(m for m in sys.modules if m.startswith(('helpers', 'torch', 'numpy'))))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("fails", ["", "avx2", "the whole suite"])
def test_what_ci_runs(fails: str, tmp_path: Path):
    """Three kinds of processor, then the whole suite whatever came before; the exit code says whether all passed."""
    make = """#!/bin/sh
echo "$1 ${ATEN_CPU_CAPABILITY:-native} ${MKL_ENABLE_INSTRUCTIONS:-native} ${OMP_NUM_THREADS:-any}" >> "$LOG"
case "$FAILS $1 $ATEN_CPU_CAPABILITY" in "avx2 test-numbers avx2" | "the whole suite test "*) exit 2 ;; esac
"""
    for name, text in {"make": make, "chromium": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    ours = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS")
    outside = {name: value for name, value in os.environ.items() if name not in ours}
    log = tmp_path / "log"
    environment = {**outside, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(log), "FAILS": fails}
    done = subprocess.run([ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True)
    numbers = [f"test-numbers {kind}" for kind in ("default SSE4_2 4", "avx2 AVX2 1", "native native 4")]
    assert log.read_text().splitlines() == ["setup native native any", *numbers, "test native native any"]
    told = {"": [], "avx2": ["avx2 with 1 threads"]}.get(fails, [fails])
    assert done.returncode == bool(told)
    assert done.stderr.splitlines() == [f"failed: {one}" for one in told]


def test_what_is_left_out_as_the_same_on_every_processor_is_there():
    """A name in the Makefile that no file has would leave nothing out, and a wrong one the wrong file."""
    left_out = re.search(r"^SAME := ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    names = left_out.replace("\\", " ").split()
    assert len(names) > 10
    assert [name for name in names if not (ROOT / "tests" / f"{name}.py").is_file()] == []
