"""Operands given by name, `pl.matmul(lhs=a, rhs=b)`, are what they are by position: the rows of the other tests, with
every argument of every operation named, run or are refused as before."""

from __future__ import annotations

import ast

import kernelgen
import pytest
import torch
from check_cases import CHECKS
from check_cases_calls import CALLS
from check_cases_in_place import IN_PLACE
from check_cases_operands import OPERANDS
from check_cases_valid import VALID
from kernelgen import same
from language_cases import ACCEPTED, REFUSED
from test_checks import arguments

from helpers.errors import FaultError, InputError, KernelError
from helpers.interpret.ops import OUTSIDE_REGIONS  # noqa: F401  every operation is declared
from helpers.interpret.ops.common import OPS

BY_POSITION_ALONE = {  # a name is what makes them right
    "a pattern by position",
    "a text: a rounding by position",
    "assembled: t = pl.full([16, 64], pl.FP32, 2.0)",
}


def _path(func: ast.expr) -> str:
    parts = []
    while isinstance(func, ast.Attribute):
        parts.append(func.attr)
        func = func.value
    return ".".join(reversed(parts)) if isinstance(func, ast.Name) and func.id == "pl" else ""


def named(source: str) -> str | None:
    """A kernel with the arguments of its operations by name; None where it has none."""
    tree, found = ast.parse(source), False
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        record = OPS.get(_path(call.func))
        if record is None or not call.args or any(isinstance(a, ast.Starred) for a in call.args):
            continue
        parameters = list(record.signatures[_path(call.func)].parameters.values())[: len(call.args)]
        if len(parameters) < len(call.args) or any(p.kind is not p.POSITIONAL_OR_KEYWORD for p in parameters):
            continue
        if {p.name for p in parameters} & {k.arg for k in call.keywords}:
            continue
        call.keywords[:0] = [ast.keyword(p.name, a) for p, a in zip(parameters, call.args)]
        call.args, found = [], True
    return ast.unparse(tree) if found else None


def verdict(source: str) -> tuple[str, dict]:
    """What became of a kernel, and its arguments then."""
    try:
        kernel = kernelgen.module(source).k
        given = arguments(kernel)
    except Exception as e:
        return f"no arguments: {type(e).__name__}", {}
    try:
        kernelgen.run(kernel, **given)
    except (KernelError, FaultError, InputError) as e:
        return "failed by itself" if "itself failed" in str(e) else "refused", {}
    return "ran", given


ROWS = [*ACCEPTED, *REFUSED, *CHECKS, *OPERANDS, *IN_PLACE, *CALLS, *VALID]


@pytest.mark.parametrize("part", range(8))
def test_named_operands(part: int):
    tried = 0
    for row in ROWS[part::8]:
        source = row.source()
        other = named(source) if _parses(source) and row.title not in BY_POSITION_ALONE else None
        if other is None:
            continue
        (was, before), (now, after) = verdict(source), verdict(other)
        assert now == was, f"{row.title}: {was}, with names {now}\n{other}"
        for name, value in before.items():
            if isinstance(value, torch.Tensor):
                same(after[name], value)
        tried += 1
    assert tried > 40


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize(
    "call",
    [
        "pl.read(src=n, offset=3)",
        "pl.read(offset=[3], src=n)",
        "pl.tensor.read(tensor=n, indices=[3])",
    ],
)
def test_a_number_is_read_by_name(call: str):
    source = f"""
@pl.jit
def k(n: pl.Tensor[[16], pl.INT32], y: pl.Out[pl.Tensor[[16], pl.INT32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        v = {call}
        pl.write(dst=y, value=v, offset=[0])
    return y
"""
    n, y = torch.arange(16, dtype=torch.int32), torch.zeros(16, dtype=torch.int32)
    kernelgen.run(source, n, y)
    assert y[0] == 3
