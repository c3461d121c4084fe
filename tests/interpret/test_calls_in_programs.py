"""What PyPTO refuses of the functions of a `@pl.program`: names, results that nothing names, tiles that end.

Each stands beside what is legal. Read in its source (python/pypto/language/parser,
src/ir/transforms/convert_tensor_to_tile_ops_pass.cpp), and not tried on it.
"""

from __future__ import annotations

import kernelgen
import pytest
import torch
from kernelgen import same

from helpers.chips import chip
from helpers.errors import KernelError
from helpers.interpret.call import interpret

T = "pl.Tensor[[64, 64], pl.FP32]"
STORES = f"self, x: {T}, y: pl.Out[{T}]"


def run(source: str, on: str = "a2a3") -> torch.Tensor:
    """What a program makes of ones."""
    x, y = torch.ones(64, 64), torch.zeros(64, 64)
    interpret(kernelgen.module(source).P, [x, y], f"{on}interp", chip(on))
    return y


# ---- what a submitted function returns ---------------------------------------------------------------------


def submitted(path: str, gives: str, bound: str = "y, tid", more: str = "") -> str:
    return f"""
@pl.program
class P:
    @pl.function(type=pl.FunctionType.InCore)
    def double({STORES}){gives}:
        y = pl.store(pl.mul(pl.load(x, [0, 0], [64, 64]), 2.0), [0, 0], y)
        return y

    @pl.function(type=pl.FunctionType.Orchestration)
    def main({STORES}):
        with pl.manual_scope():
            {bound} = {path}(self.double, x, y{more})
        return y
"""


SUBMITS = [("pl.submit", ""), ("pl.spmd_submit", ", core_num=1")]


@pytest.mark.parametrize(("path", "more"), SUBMITS)
def test_what_a_submitted_function_returns_is_read_from_its_body_where_it_does_not_say_it(path: str, more: str):
    same(run(submitted(path, "", more=more)), torch.full((64, 64), 2.0))


@pytest.mark.parametrize(("path", "more"), SUBMITS)
def test_a_submitted_function_that_says_it(path: str, more: str):
    same(run(submitted(path, f" -> {T}", more=more)), torch.full((64, 64), 2.0))


def test_a_called_function_need_not_say_it():
    source = submitted("pl.submit", "").replace("y, tid = pl.submit(self.double, x, y)", "y = self.double(x, y)")
    same(run(source.replace("with pl.manual_scope():\n            ", "")), torch.full((64, 64), 2.0))


# ---- a tile that is returned -------------------------------------------------------------------------------


def returns(gives: str, value: str, before: str = "t = pl.load(x, [0, 0], [64, 64])") -> str:
    return f"""
@pl.program
class P:
    @pl.function(type=pl.FunctionType.InCore)
    def double(self, x: {T}){gives}:
        {before}
        return {value}

    @pl.function(type=pl.FunctionType.InCore)
    def copy({STORES}) -> {T}:
        y = pl.store(pl.load(x, [0, 0], [64, 64]), [0, 0], y)
        return y

    @pl.function(type=pl.FunctionType.Orchestration)
    def main({STORES}):
        d = self.double(x)
        y = self.copy(d, y)
        return y
"""


@pytest.mark.parametrize("on", ["a2a3", "a5"])
@pytest.mark.parametrize(("gives", "says"), [(" -> pl.Tile[[64, 64], pl.FP32]", "names a tile"), ("", "names nothing")])
@pytest.mark.parametrize("value", ["pl.mul(t, 2.0)", "t"])
def test_a_tile_that_an_incore_function_returns(on: str, gives: str, says: str, value: str):
    with pytest.raises(KernelError, match=f"'double' returns the tile `.*`, and its `->` {says}") as e:
        run(returns(gives, value), on)
    assert f"return {value}" in str(e.value)


@pytest.mark.parametrize("value", ["pl.mul(t, 2.0)", "t"])
def test_a_tile_that_it_returns_as_a_tensor(value: str):
    same(run(returns(f" -> {T}", value)), torch.full((64, 64), 2.0 if "mul" in value else 1.0))


def test_what_was_stored_is_no_tile():
    source = submitted("pl.submit", "").replace("y, tid = pl.submit(self.double, x, y)", "y = self.double(x, y)")
    source = source.replace("with pl.manual_scope():\n            ", "").replace("y = pl.store", "z = pl.store")
    same(run(source.replace("return y", "return z", 1)), torch.full((64, 64), 2.0))


# ---- functions of one name ---------------------------------------------------------------------------------

FACTORY = f"""
def made(factor):
    @pl.function(type=pl.FunctionType.InCore)
    def scale(x: {T}, y: pl.Out[{T}]) -> {T}:
        y = pl.store(pl.mul(pl.load(x, [0, 0], [64, 64]), factor), [0, 0], y)
        return y

    return scale


twice, thrice = made(2.0), made(3.0)
again = twice
"""


def calls(*names: str, member: str = "inner") -> str:
    lines = "\n        ".join(f"y = {name}(x, y)" for name in names)
    step = f"""
    @pl.function(type=pl.FunctionType.Orchestration)
    def step({STORES}) -> {T}:
        y = twice(x, y)
        return y
"""
    return f"""{FACTORY}

@pl.program
class P:
    @pl.function(type=pl.FunctionType.InCore)
    def {member}({STORES}) -> {T}:
        y = pl.store(pl.load(x, [0, 0], [64, 64]), [0, 0], y)
        return y
{step if "self.step" in names else ""}
    @pl.function(type=pl.FunctionType.Orchestration)
    def main({STORES}):
        {lines}
        return y
"""


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        (calls("twice", "thrice"), "y = thrice(x, y)", "called from this program already"),
        (calls("self.step", "thrice"), "y = thrice(x, y)", "called from this program already"),
        (calls("thrice", "self.step"), "y = self.step(x, y)", "called from this program already"),
        (calls("twice", "self.scale", member="scale"), "y = twice(x, y)", "in the program itself"),
    ],
    ids=["two of a factory", "one in a function of the program", "after another one", "as one of the program"],
)
def test_two_functions_of_one_name(source: str, line: str, says: str):
    with pytest.raises(KernelError, match=f"'scale', a function outside the program, .*{says}") as e:
        run(source)
    assert line in str(e.value)
    assert "fix: give one of the two functions another name" in str(e.value)


@pytest.mark.parametrize(
    "source",
    [calls("twice", "twice"), calls("twice", "again"), calls("self.step", "twice"), calls("twice", "self.inner")],
    ids=["one, twice", "one by two names", "one, in a function of the program", "beside one of the program"],
)
def test_one_function_however_it_is_called(source: str):
    assert run(source).min() >= 1.0
