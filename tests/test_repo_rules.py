"""Rules that hold for the repository as a whole: who imports whom, what no file may name, no hidden skips."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from helpers.interpret.language import followed

ROOT = Path(__file__).parent.parent


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], check=True, capture_output=True)
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def imports(source: str) -> set[str]:
    """The modules a source imports, at any depth; `from a import b` gives a.b. Relative: a dot first."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def inside(name: str, modules: Iterable[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


# Who imports whom


COMPOSED = {
    "attention_rungs", "by_chunk", "by_token", "decode", "decode_layer", "layer_rungs", "mlp_rungs", "prefill",
    "prefill_launches", "prefill_rungs", "prefill_windows", "qkv_rungs", "rope_rungs",
}  # fmt: skip
"""Kernels that are put together from those of the stages, and so import their modules."""


def kernel_violations(source: str, composed: bool = False) -> list[str]:
    allowed = ("pypto.language", "kernels") if composed else ("pypto.language", "kernels.qwen3")
    return [n for n in sorted(imports(source)) if not inside(n, allowed)]


def golden_violations(source: str) -> list[str]:
    return [n for n in sorted(imports(source)) if inside(n, ("kernels",)) and not inside(n, ("kernels.qwen3",))]


KERNEL_MODULES = [path for path in sorted((ROOT / "kernels").rglob("*.py")) if path.name != "__init__.py"]
GOLDEN_MODULES = sorted((ROOT / "golden").rglob("*.py"))


def test_there_are_kernels_and_goldens():
    assert {path.name for path in KERNEL_MODULES} >= {"qwen3.py", "rope_kv_cache.py"}
    assert {path.name for path in GOLDEN_MODULES} >= {"spec.py", "rope_kv_cache.py"}


@pytest.mark.parametrize("path", KERNEL_MODULES, ids=lambda path: path.stem)
def test_kernels_import_only_the_language_and_the_shapes(path: Path):
    assert kernel_violations(path.read_text(), path.stem in COMPOSED) == []


def test_shapes_import_nothing():
    assert imports((ROOT / "kernels" / "qwen3.py").read_text()) == set()


def test_the_kernels_package_only_makes_the_language_importable():
    assert imports((ROOT / "kernels" / "__init__.py").read_text()) == {"helpers.interpret.pypto.language"}


@pytest.mark.parametrize("path", GOLDEN_MODULES, ids=lambda path: path.stem)
def test_goldens_import_no_kernel(path: Path):
    assert golden_violations(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import torch",
        "from helpers.run import run",
        "def f():\n    import numpy as np",
        "from . import x",
        "import pypto",
    ],
)
def test_the_kernel_rule_can_fail(line: str):
    assert kernel_violations(f"import pypto.language as pl\nfrom kernels.qwen3 import HIDDEN\n{line}\n")


@pytest.mark.parametrize("line", ["import kernels", "from kernels import flat", "import kernels.rope_kv_cache as k"])
def test_the_golden_rule_can_fail(line: str):
    assert golden_violations(f"import torch\nfrom kernels import qwen3\n{line}\n")


@pytest.mark.parametrize("module", ["helpers", "helpers.cli", "helpers.doctor", "helpers.platforms"])
def test_light_modules_import_neither_torch_nor_pypto(module: str):
    code = f"import sys, {module}; print([m for m in ('torch', 'pypto', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


# What no file may name. Patterns are put together here so that this file does not match itself.

_FOLDERS = "work|root|home|Users|opt|mnt|tmp|scratch"
_HOSTS = ("pypi", "pythonhosted", "anaconda", "conda", "npmjs", "artifactory", "pytorch")
MACHINE_PATH = re.compile(rf"(?<![\w.$~}}/*-])/(?:{_FOLDERS})/[\w.-]")
REGISTRY_HOST = re.compile(rf"\b(?:[\w-]+\.)*(?:{'|'.join(_HOSTS)})\.(?:org|com|io|cn)\b", re.IGNORECASE)
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".cfg", ".csv", ".json", ".ipynb", ".txt", ".sh", ""}


def named(text: str) -> list[str]:
    return [found[0] for pattern in (MACHINE_PATH, REGISTRY_HOST) for found in pattern.finditer(text)]


def test_no_file_names_a_machine_path_or_a_registry_host():
    found = {str(path.relative_to(ROOT)): named(path.read_text()) for path in tracked() if path.suffix in TEXT}
    assert len(found) > 10
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize("place", ["work/main/x.py", "root/.cache", "home/me/y", "opt/wheels", "tmp/z"])
def test_the_path_rule_can_fail(place: str):
    assert named(f'open("/{place}")')
    assert named(f"see /{place}.")
    assert named("File " + "/" + place)


@pytest.mark.parametrize("name", ["pypi.{}", "files.pythonhosted.{}", "conda.anaconda.{}", "download.pytorch.{}"])
def test_the_host_rule_can_fail(name: str):
    assert named(f"https://{name.format('org')}/simple")


def test_what_the_rules_let_through():
    for fine in (
        "a/work/b",
        "../home/x",
        "$HOME/tmp/x",
        "https://github.com/hw-native-sys/pypto",
        "/dev/davinci0",
    ):
        assert named(fine) == []


# What is followed is named once


def followed_in(text: str) -> list[str]:
    """The revisions of `helpers.interpret.language.followed` that a text names."""
    names = (followed.PYPTO, followed.ASSEMBLER_COMMIT, followed.SIMPLER, f"ptoas {followed.ASSEMBLER}")
    return [name for name in names if name in text]


def test_the_code_names_the_pypto_that_it_follows_in_one_place():
    found = {path.name for path in (ROOT / "helpers").rglob("*.py") if followed_in(path.read_text())}
    assert found == {"followed.py"}


def test_the_rule_of_revisions_can_fail():
    assert followed_in(f"# tried on PyPTO {followed.PYPTO} with ptoas {followed.ASSEMBLER}")
    assert not followed_in("# tried on PyPTO with its assembler")


# No hidden skips

SKIPS = {"skip", "skipif", "xfail", "importorskip", "skipUnless", "skipIf", "SkipTest"}


def skips(source: str) -> list[str]:
    """Attributes and names by which a source skips a test or expects it to fail."""
    names = (getattr(node, "attr", getattr(node, "id", None)) for node in ast.walk(ast.parse(source)))
    return sorted({name for name in names if name in SKIPS})


def notebook_skips(notebook: dict) -> list[str]:
    """Cells that nbval would not run."""
    return [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if "nbval-skip" in cell["metadata"].get("tags", []) or "NBVAL_SKIP" in "".join(cell["source"])
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.stem)
def test_no_test_is_skipped_but_by_its_marker(path: Path):
    assert skips(path.read_text()) == (["skip"] if path.name == "conftest.py" else [])


def test_no_notebook_cell_is_skipped():
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in notebooks][:2] == ["00_start_here", "00b_tasks_and_tiles"]
    for path in notebooks:
        assert notebook_skips(json.loads(path.read_text())) == [], path.name


def test_the_skip_rules_can_fail():
    assert skips("import pytest\n@pytest.mark.skipif(True, reason='')\ndef test(): ...") == ["skipif"]
    assert skips("import pytest\nx = pytest.importorskip('x')") == ["importorskip"]
    assert notebook_skips({"cells": [{"metadata": {"tags": ["nbval-skip"]}, "source": ["x"]}]}) == ["x"]


# Links

LINK = re.compile(r"\]\(([^)#\s]+)")


def dead_links(page: Path, text: str) -> list[str]:
    """Links to files of this repository that are not there."""
    targets = [target for target in LINK.findall(text) if not re.match(r"[a-z]+:", target)]
    return [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in sorted(ROOT.glob("docs/*.md")))])
def test_links_lead_somewhere(page: str):
    assert dead_links(ROOT / page, (ROOT / page).read_text()) == []


def test_the_link_rule_can_fail():
    assert dead_links(ROOT / "README.md", "[a](docs/none.md#x) [b](https://x.y/z) [c](LICENSE)") == ["docs/none.md"]


# Style


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_has_nothing_to_say(command: list[str]):
    done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
