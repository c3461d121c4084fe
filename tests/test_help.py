"""`pl.*` outside kernels: signatures and docstrings from the operations' records, and names that are not there."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest

from helpers.interpret.language import pl_names
from helpers.interpret.ops import NO_CODE, OPS
from helpers.interpret.pypto import language_pages
from helpers.interpret.pypto.language import StandInFinder

# The stand-in itself, also where PyPTO is installed.
pl = StandInFinder().create_module(ModuleSpec("pypto.language", None))


def operation(path: str):
    space, _, name = path.rpartition(".")
    return getattr(getattr(pl, space) if space else pl, name)


@pytest.mark.parametrize("path", sorted(OPS))
def test_every_operation_says_what_it_is(path: str):
    found = operation(path)
    assert inspect.signature(found) == OPS[path].signatures[path]
    text, says = " ".join(inspect.getdoc(found).split()), OPS[path].says
    assert text.startswith(says)
    assert says.endswith(".")
    assert " Where: " in text
    assert "Raises" not in text


def test_what_help_says_of_a_row_sum():
    said = inspect.getdoc(pl.row_sum)
    for part in (
        "The sum of each row.",
        "on the vector unit",
        "FP32, FP16, INT32, INT16",
        "tmp_tile",
        "pl.tile.row_sum",
    ):
        assert part in said


def test_dir_lists_operations_and_the_rest():
    assert {"add", "matmul", "FP32", "jit", "tile", "range"} <= set(dir(pl))
    assert set(pl.tile.__all__) >= {p.removeprefix("tile.") for p in OPS if p.startswith("tile.")}


def test_an_operation_that_cannot_be_compiled_says_what_to_write():
    for path in NO_CODE:
        assert "pl.full" in inspect.getdoc(operation(path))


@pytest.mark.parametrize(
    ("path", "meant"),
    [("row_summ", "pl.row_sum"), ("tile.rowsum", "pl.tile.row_sum"), ("load_tile", "pl."), ("Add", "pl.add")],
)
def test_an_unknown_name_says_which_was_meant(path: str, meant: str):
    with pytest.raises(AttributeError, match=f"did you mean .*{meant}"):
        operation(path)


def test_the_page_of_operations_has_each_once():
    text = language_pages.OPERATIONS.read_text()
    assert text == language_pages.operations_page(), "run: python -m helpers.interpret.pypto.language_pages"
    anchors = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    assert len(set(anchors)) == len(anchors)
    assert {a.strip("`") for a in anchors} == {f"pl.{next(iter(o.signatures))}" for o in OPS.values()}


def test_the_module_of_a_kernel_needs_no_torch():
    code = """
import sys
from importlib.machinery import ModuleSpec
from helpers.interpret.pypto.language import StandInFinder
pl = StandInFinder().create_module(ModuleSpec("pypto.language", None))
pl.Tensor[[16], pl.FP32], pl.jit, pl.range
assert "torch" not in sys.modules
pl.exp
assert "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_namespaces_are_those_of_the_operations():
    assert {p.rpartition(".")[0] for p in OPS} == {"", *pl_names.NAMESPACES}
