"""Which PyPTO is found, what each platform lacks, and that finding out imports and breaks nothing."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from helpers import platforms
from helpers.errors import PlatformError, WorkbookError
from helpers.interpret.pypto import language
from helpers.stages import STAGES

ROOT = Path(__file__).parent.parent
EXPLODES = "raise RuntimeError('this package was imported')\n"
DEVICE_PLATFORMS = ("a5sim", "a2a3sim", "a5", "a2a3")


def finders() -> list:
    """Those of packages and of distributions. Once some test has imported the backport `importlib_metadata`, only its
    finder knows distributions."""
    return [PathFinder, *(f for f in sys.meta_path if type(f).__name__ == "MetadataPathFinder")]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all there is to import from, on a machine with no toolchain."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", finders())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("PTOAS_ROOT", raising=False)
    monkeypatch.delenv("ASCEND_HOME_PATH", raising=False)
    return tmp_path


def write(site: Path, *files: str, text: str = EXPLODES) -> None:
    for file in files:
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_distribution(site: Path, version: str, direct_url: str = "{}") -> None:
    write(site, f"pypto-{version}.dist-info/METADATA", text=f"Name: pypto\nVersion: {version}\n")
    write(site, f"pypto-{version}.dist-info/direct_url.json", text=direct_url)


def write_executable(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def test_no_pypto(site: Path):
    assert platforms.installed_pypto() == platforms.PyPTO("none")
    assert "not installed" in platforms.missing("a5sim")


def test_a_mere_folder_of_that_name_is_no_pypto(site: Path):
    write(site, "pypto/README.md")
    assert platforms.installed_pypto().kind == "none"


def test_cann_pypto_is_the_other_one(site: Path):
    write(site, "pypto/__init__.py", "pypto/frontend/__init__.py")
    write_distribution(site, "0.3.1")
    assert platforms.installed_pypto() == platforms.PyPTO("other", site / "pypto", "0.3.1")
    assert "other one" in str(platforms.installed_pypto())
    for name in DEVICE_PLATFORMS:
        assert "another project (CANN's" in platforms.missing(name)


def test_real_pypto_and_its_revision(site: Path):
    write(site, "pypto/__init__.py", "pypto/language/__init__.py")
    write_distribution(site, "0.1.0", '{"url": "x", "vcs_info": {"commit_id": "0123456789abcdef"}}')
    found = platforms.installed_pypto()
    assert found == platforms.PyPTO("hw-native-sys", site / "pypto", "0.1.0", "0123456789abcdef")
    assert str(found) == "hw-native-sys/pypto 0.1.0, revision 0123456789ab"
    assert "pypto.language" not in platforms.missing("a5sim")


def test_revision_of_a_clone_that_is_installed_in_place(site: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()  # git is needed to make a clone
    write(site, "pypto/__init__.py", "pypto/language/__init__.py")
    git = ["git", "-C", str(site), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "pypto"], check=True)
    subprocess.run([*git, "commit", "-qm", "t"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    monkeypatch.setattr(sys, "path", [str(site)])
    monkeypatch.setattr(sys, "meta_path", finders())
    assert platforms.installed_pypto().revision == head.stdout.strip()


def test_stand_in_is_not_pypto(site: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "meta_path", [PathFinder, language.StandInFinder()])
    assert platforms.installed_pypto().kind == "none"
    write(site, "pypto/__init__.py")
    assert platforms.installed_pypto().kind == "other"


def test_everything_missing_is_said(site: Path):
    for name in ("a5sim", "a2a3sim"):
        lacks = platforms.missing(name)
        for word in ("pypto.language", "simpler_setup", "ptoas", "g++-15"):
            assert word in lacks
        assert "NPU" not in lacks
    for name in ("a5", "a2a3"):
        lacks = platforms.missing(name)
        for word in ("pypto.language", "simpler_setup", "ptoas", "ASCEND_HOME_PATH"):
            assert word in lacks
        assert "g++-15" not in lacks


def test_what_is_there_is_not_said_to_be_missing(site: Path, monkeypatch: pytest.MonkeyPatch):
    write(site, "pypto/__init__.py", "pypto/language/__init__.py")
    write(site, "simpler/__init__.py", "simpler_setup/__init__.py")
    write_executable(site / "bin" / "g++-15")
    assert "git" in platforms.missing("a5sim")
    write_executable(site / "bin" / "git")
    monkeypatch.setenv("PTOAS_ROOT", str(site / "ptoas"))
    assert platforms.missing("a5sim") == (
        f"ptoas is not found (PTOAS_ROOT is {site / 'ptoas'}, which holds no executable ptoas)"
    )
    assert platforms.missing_compiler() is None
    write_executable(site / "ptoas" / "ptoas")
    assert platforms.missing("a5sim") is None
    assert platforms.resolve("a5sim") == "a5sim"
    assert platforms.resolve("default") == "a2a3sim"
    monkeypatch.setenv("ASCEND_HOME_PATH", str(site / "nowhere"))
    assert "is no folder" in platforms.missing("a5")


@pytest.mark.parametrize("name", ["a5interp", "a2a3interp"])
def test_interpret_mode_works_everywhere(site: Path, name: str):
    assert platforms.missing(name) is None
    assert platforms.resolve(name) == name


def test_default_is_interpret_mode_where_nothing_else_works(site: Path):
    assert platforms.resolve() == platforms.resolve("default") == "a2a3interp"


def test_default_prefers_the_npu_then_the_simulator(monkeypatch: pytest.MonkeyPatch):
    works = {"a5interp", "a2a3interp", "a5sim"}
    monkeypatch.setattr(platforms, "missing", lambda name: None if name in works else "all of it")
    assert platforms.resolve() == "a5sim"
    works.add("a5")
    platforms._best.cache_clear()  # what is installed does not change while a process runs; here it does
    assert platforms.resolve() == "a5"


@pytest.mark.parametrize("name", DEVICE_PLATFORMS)
def test_absent_platform_is_an_error_that_says_what_is_missing(site: Path, name: str):
    with pytest.raises(PlatformError) as caught:
        platforms.resolve(name)
    assert platforms.missing(name) in str(caught.value)


@pytest.mark.parametrize("name", ["", "a5 ", "A5interp", "gpu", "a3interp"])
def test_unknown_platform_lists_the_known(name: str):
    for ask in (platforms.missing, platforms.resolve):
        with pytest.raises(PlatformError) as caught:
            ask(name)
        assert all(known in str(caught.value) for known in ("default", *platforms.PLATFORMS))
        assert isinstance(caught.value, (WorkbookError, ValueError))


def test_cann_pypto_still_works_beside_the_kernels(tmp_path: Path):
    """In a process of its own: looking does not import it; imported beside the kernels it is itself."""
    write(tmp_path, "pypto/__init__.py", text="WHOSE = 'CANN'\n")
    write(tmp_path, "pypto/op.py", text="def add(): return 'added'\n")
    code = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
sys.path.append({sysconfig.get_path("purelib")!r})
from helpers import platforms
assert platforms.installed_pypto().kind == "other"
assert "pypto" not in sys.modules
import kernels.qwen3
import pypto.language as pl
import pypto
from pypto import op
assert pypto.WHOSE == "CANN" and op.add() == "added"
assert pl.FP32 is not None
assert platforms.installed_pypto().kind == "other"
print("fine")
"""
    # -S: without the .pth files of an installed PyPTO, which would come first
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr


def test_the_language_and_the_list_of_stages_take_no_torch():
    """It takes a second to import, which nobody is to wait for who only reads a kernel's file."""
    code = "import sys, pypto.language, kernels.mlp, helpers.stages as s; [one.names for one in s.STAGES.values()]"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], cwd=ROOT, check=True)


def test_the_names_of_versions_are_those_of_the_kernels():
    assert all(one.names == tuple(one.versions) for one in STAGES.values())
