"""The platforms a kernel can run on, which of them work on this machine, and what the others lack.

A platform is a chip of `chips.toml` (`a2a3`, `a5`) and what stands in for it: `interp` is this repository's interpret
mode, `sim` is PyPTO's simulator, no suffix is the NPU itself. Nothing here imports PyPTO or changes anything.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from helpers import chips
from helpers.errors import PlatformError

__all__ = ["PLATFORMS", "PlatformError", "PyPTO", "installed_pypto", "missing", "resolve"]

PLATFORMS: tuple[str, ...] = (
    *(f"{name}interp" for name in reversed(chips.NAMES)),
    *(f"{name}{sim}" for sim in ("sim", "") for name in reversed(chips.OF_PYPTO)),
)
"""Every platform's name, in the toolchain's own scheme. `default` stands for the best one that works."""

# What `default` tries, best first: NPU, simulator, interpret mode; first the chip of the published figures.
_PREFERENCE = tuple(f"{name}{how}" for how in ("", "sim", "interp") for name in chips.OF_PYPTO)

INSTALL_GUIDE = "https://github.com/hw-native-sys/pypto/blob/main/docs/en/user/01-installation.md"

ENVIRONMENT = ("PATH", "PTOAS_ROOT", "ASCEND_HOME_PATH")
"""The environment variables that decide what is found."""


@dataclass(frozen=True)
class PyPTO:
    """What `import pypto` would give.

    Attributes:
        kind: "none": nothing; "hw-native-sys": the PyPTO of these kernels, with `pypto.language`; "other": a
            package of the same name without `pypto.language`, as CANN's on the package index is.
        location: The package's folder, None where there is none.
        version: Of the installed distribution, None where unknown.
        revision: The git commit it was built from, None where unknown.
    """

    kind: str
    location: Path | None = None
    version: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        if self.kind == "none":
            return "none"
        version = f" {self.version}" if self.version else ""
        if self.kind == "other":
            return f"the other one: a package{version} called pypto without pypto.language (CANN's)"
        revision = f"revision {self.revision[:12]}" if self.revision else "revision unknown"
        return f"hw-native-sys/pypto{version}, {revision}"


def resolve(name: str = "default") -> str:
    """The platform that `name` stands for, once it is certain that it works here.

    Args:
        name: One of PLATFORMS, or "default": the NPU if it works, else the simulator, else interpret mode.

    Raises:
        PlatformError: no platform has this name, or it does not work on this machine (says what is missing).
    """
    if name == "default":
        return _best(tuple(sys.path), *(os.environ.get(v) for v in ENVIRONMENT))
    lacks = missing(name)
    if lacks is not None:
        raise PlatformError(
            f"platform '{name}' does not work here: {lacks}. "
            "a2a3interp and a5interp work on every machine; `workbook doctor` shows them all."
        )
    return name


@functools.lru_cache(maxsize=8)
def _best(*_where: Any) -> str:
    """The best platform that works; looked up again when where to look (import path, environment) changes."""
    return next(p for p in _PREFERENCE if missing(p) is None)


def missing(name: str) -> str | None:
    """What platform `name` lacks on this machine, in words; None when it works.

    Raises:
        PlatformError: no platform has this name.
    """
    if name not in PLATFORMS:
        raise PlatformError(f"unknown platform {name!r}; there are: default, {', '.join(PLATFORMS)}")
    if name.endswith("interp"):
        return None
    return "; ".join(_lacks(name)) or None


def missing_compiler() -> str | None:
    """What PyPTO's compiler lacks on this machine, in words; None when kernels can be compiled (not: run)."""
    return "; ".join(_lacks_pypto()) or None


def toolchain_revision() -> str:
    """Names what compiles kernels here: another text when PyPTO, its runtime or its assembler is another one."""
    return _toolchain_revision(tuple(sys.path), *(os.environ.get(v) for v in ENVIRONMENT))


@functools.lru_cache(maxsize=8)
def _toolchain_revision(*_where: Any) -> str:
    found = [str(installed_pypto())]
    files = [*(installed_pypto().location or Path()).glob("pypto_core*"), assembler()]
    found += [f"{f} {f.stat().st_mtime_ns}" for f in map(Path, filter(None, files))]
    runtime = _find("simpler")
    if runtime is not None and runtime.origin:
        found.append(f"simpler {_revision(Path(runtime.origin).parent, 'simpler') or runtime.origin}")
    return "; ".join(found)


def installed_pypto() -> PyPTO:
    """Which PyPTO there is, found without importing it: an import could run or break another's package.

    Interpret mode's stand-in for `pypto.language` is not PyPTO and does not count.
    """
    package = _find("pypto")
    folders = list(package.submodule_search_locations or []) if package else []
    if package is None or not folders:
        return PyPTO("none")
    language = _find("pypto.language", folders)
    if language is None or language.origin is None:
        # A folder that merely has the name, such as a clone in the working directory, is no package.
        return PyPTO("none") if package.origin is None else PyPTO("other", Path(folders[0]), _version())
    location = Path(package.origin).parent if package.origin else Path(folders[0])
    return PyPTO("hw-native-sys", location, _version(), _revision(location))


def _lacks_pypto() -> list[str]:
    pypto = installed_pypto()
    if pypto.kind == "other":
        return [
            f"pypto.language is not importable: the package `pypto` in {pypto.location} is another project "
            "(CANN's, from the package index), not hw-native-sys/pypto"
        ]
    if pypto.kind == "none":
        return ["pypto.language is not importable: PyPTO (hw-native-sys/pypto) is not installed"]
    return []


def _lacks(name: str) -> list[str]:
    """What a simulator or NPU platform lacks, each with where it comes from."""
    lacks = _lacks_pypto()
    if _find("simpler") is None or _find("simpler_setup") is None:
        lacks.append("the runtime is not found (packages simpler and simpler_setup, hw-native-sys/simpler)")
    lack = _lacks_ptoas()
    if lack:
        lacks.append(lack)
    if name.endswith("sim"):
        # simpler builds a kernel for the simulator with this compiler (simpler_setup/toolchain.py).
        if shutil.which("g++-15") is None:
            lacks.append("g++-15, which builds kernels for the simulator, is not on PATH")
        # ... and looks with git at the revision of the PTO-ISA that kernels are built with (simpler_setup/pto_isa.py).
        if shutil.which("git") is None:
            lacks.append("git, with which the runtime checks its copy of PTO-ISA, is not on PATH")
        return lacks
    home = os.environ.get("ASCEND_HOME_PATH")
    if not home:
        lacks.append("CANN's toolkit is not found (ASCEND_HOME_PATH is not set)")
    elif not Path(home).is_dir():
        lacks.append(f"CANN's toolkit is not found (ASCEND_HOME_PATH is {home}, which is no folder)")
    if not any(Path("/dev").glob("davinci[0-9]*")):
        lacks.append("no NPU is found (/dev/davinci0 and so on)")
    return lacks


def parts() -> dict[str, str | None]:
    """What PyPTO's platforms need beside PyPTO itself, and where or which revision it is; None for what is absent."""
    runtime = _find("simpler")
    revision = runtime and runtime.origin and _revision(Path(runtime.origin).parent, "simpler")
    return {
        "runtime (simpler)": runtime and (f"revision {revision[:12]}" if revision else "revision unknown"),
        "assembler (ptoas)": assembler(),
        "g++-15": shutil.which("g++-15"),
        "PTO-ISA": _pto_isa(),
        "CANN's toolkit": os.environ.get("ASCEND_HOME_PATH"),
    }


def _pto_isa() -> str | None:
    """The copy of PTO-ISA that the runtime builds kernels with: the first build fetches it where there is none."""
    setup = _find("simpler_setup")
    if setup is None or not setup.origin:
        return None
    copy = Path(setup.origin).parent.parent / "build" / "pto-isa"
    head = copy / ".git" / "HEAD"
    found = head.read_text().strip() if head.is_file() else ""
    return f"revision {found[:12]}" if re.fullmatch("[0-9a-f]{40}", found) else "fetched when the first kernel is built"


def assembler() -> str | None:
    """The assembler that PyPTO would use: that of PTOAS_ROOT when this is set, else the one on PATH."""
    root = os.environ.get("PTOAS_ROOT")
    if not root:
        return shutil.which("ptoas")
    candidates = (Path(root) / name for name in ("ptoas", "ptoas.sh", "bin/ptoas"))
    return next((str(c) for c in candidates if c.is_file() and os.access(c, os.X_OK)), None)


def _lacks_ptoas() -> str | None:
    if assembler() is not None:
        return None
    root = os.environ.get("PTOAS_ROOT")
    where = f"PTOAS_ROOT is {root}, which holds no executable ptoas" if root else "PTOAS_ROOT is not set, none on PATH"
    return f"ptoas is not found ({where})"


def _find(name: str, path: Sequence[str] | None = None) -> ModuleSpec | None:
    """What would be imported as `name`, by asking each finder; unlike importlib's, imports no parent."""
    for finder in list(sys.meta_path):
        find = getattr(finder, "find_spec", None)
        if find is None or type(finder).__module__ == "helpers.interpret.pypto.language":
            continue
        spec = find(name, path)
        if spec is not None:
            return spec
    return None


def _version() -> str | None:
    try:
        return importlib.metadata.version("pypto")
    except importlib.metadata.PackageNotFoundError:
        return None


def _revision(location: Path, distribution: str = "pypto") -> str | None:
    """The commit a package was built from: of its clone when installed in place, else as pip wrote it down."""
    git = ["git", "-C", str(location)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", "__init__.py"], check=True, capture_output=True)
        found = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        return found.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    try:
        written = importlib.metadata.distribution(distribution).read_text("direct_url.json")
        return json.loads(written or "{}").get("vcs_info", {}).get("commit_id")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
