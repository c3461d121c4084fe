"""`pl.parse` and `pl.loads`: what text defines runs, and errors in it name its lines."""

from __future__ import annotations

from pathlib import Path

import kernelgen  # noqa: F401  makes `import pypto.language` work
import pytest
import torch
from kernelgen import same

from helpers.errors import KernelError
from helpers.run import run

FUNCTION = """
@pl.function
def double(x: pl.Tensor[[16, 16], pl.FP32], out: pl.Out[pl.Tensor[[16, 16], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        out[:, :] = pl.mul(x, 2.0)
    return out
"""
PROGRAM = """
@pl.program
class Twice:
    @pl.function(type=pl.FunctionType.Orchestration)
    def main(self, x: pl.Tensor[[16, 16], pl.FP32], out: pl.Out[pl.Tensor[[16, 16], pl.FP32]]):
        with pl.at(level=pl.Level.CORE_GROUP):
            out[0:8, :] = pl.mul(x[0:8, :], 2.0)
        return out
"""


@pytest.fixture
def pl():
    import pypto.language

    return pypto.language


def test_a_function(pl):
    k = pl.parse(FUNCTION)
    x, out = torch.rand(16, 16), torch.zeros(16, 16)
    run(k, [x, out], platform="a2a3interp")
    assert k.name == "double"
    same(out, x * 2)


def test_a_name_that_nobody_defines(pl):
    """It is a dynamic extent."""
    text = FUNCTION.replace("[[16, 16]", "[[ROWS, 16]").replace(
        "out[:, :] = pl.mul(x,", "out[0:8, :] = pl.mul(x[0:8, :],"
    )
    k = pl.parse(text)
    x, out = torch.rand(8, 16), torch.zeros(8, 16)
    run(k, [x, out], platform="a2a3interp")
    same(out, x * 2)


@pytest.mark.parametrize("parse", ["parse", "parse_program"])
def test_a_program(pl, parse: str):
    p = getattr(pl, parse)(PROGRAM)
    x, out = torch.rand(16, 16), torch.zeros(16, 16)
    run(p, [x, out], platform="a2a3interp")
    assert p.name == "Twice"
    same(out[:8], x[:8] * 2)


@pytest.mark.parametrize(("loads", "text"), [("loads", FUNCTION), ("loads", PROGRAM), ("loads_program", PROGRAM)])
def test_from_a_file(pl, tmp_path: Path, loads: str, text: str):
    path = tmp_path / "k.py"
    path.write_text("import pypto.language as pl\n" + text)
    k, x = getattr(pl, loads)(str(path)), torch.rand(16, 16)
    out = torch.zeros(16, 16)
    run(k, [x, out], platform="a2a3interp")
    same(out[:8], x[:8] * 2)


@pytest.mark.parametrize("text", ["x = 42\n", FUNCTION + FUNCTION.replace("double", "again")])
def test_one_and_no_more(pl, text: str):
    with pytest.raises(ValueError, match=r"must define one @pl\.function or one @pl\.program"):
        pl.parse(text)


def test_a_function_is_no_program(pl, tmp_path: Path):
    (tmp_path / "k.py").write_text(FUNCTION)
    with pytest.raises(ValueError, match=r"'double' and no @pl\.program"):
        pl.parse_program(FUNCTION)
    with pytest.raises(ValueError, match=r"'double' and no @pl\.program"):
        pl.loads_program(str(tmp_path / "k.py"))


def test_what_is_no_python(pl):
    with pytest.raises(SyntaxError):
        pl.parse(FUNCTION.replace("pl.mul(x, 2.0)", "pl.mul(x,"))


def test_two_texts_have_lines_of_their_own(pl):
    first = pl.parse(FUNCTION.replace("pl.mul(x, 2.0)", "x * 2.0"))
    pl.parse("\n\n\n" + FUNCTION)
    with pytest.raises(KernelError, match=r"x \* 2\.0") as e:
        run(first, [torch.rand(16, 16), torch.zeros(16, 16)], platform="a2a3interp")
    assert ">:5:" in str(e.value)


def test_a_missing_file(pl, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        pl.loads(str(tmp_path / "none.py"))
