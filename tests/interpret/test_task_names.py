"""What a task may be called: PyPTO writes it as a C++ function of its name."""

from __future__ import annotations

from typing import Any

import kernelgen
import pytest
import torch
from kernelgen import same

from helpers.interpret.lowering.lower import compile_kernel
from helpers.sanitize.check import of_text
from helpers.sanitize.rules.findings import Finding

XO = "x: pl.Tensor[[64, 64], pl.FP32], out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]"
ARGUMENTS = "a: pl.Tensor[[64, 64], pl.BF16], out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]"


def of_region(name: str, header: str = "pl.at(level=pl.Level.CORE_GROUP", body: str = "pl.exp(x)", given: str = XO):
    return f"""
@pl.jit
def k({given}):
    with {header}, name_hint="{name}"):
        out[:, :] = {body}
    return out
"""


INCORE = f"""
@pl.jit.incore
def union({XO}):
    out[:, :] = pl.exp(x)
    return out


@pl.jit
def k({XO}):
    out = union(x, out)
    return out
"""
PROGRAM = f"""
@pl.program
class k:
    @pl.function(type=pl.FunctionType.InCore)
    def union(self, {XO}) -> pl.Tensor[[64, 64], pl.FP32]:
        t = pl.load(x, [0, 0], [64, 64])
        out = pl.store(pl.exp(t), [0, 0], out)
        return out

    @pl.function(type=pl.FunctionType.Orchestration)
    def main(self, {XO}) -> pl.Tensor[[64, 64], pl.FP32]:
        out = self.union(x, out)
        return out
"""
BLOCKS = f"""
@pl.jit
def k({XO}):
    for i in pl.spmd(4, name_hint="switch"):
        out[i * 16 : i * 16 + 16, :] = pl.exp(x[i * 16 : i * 16 + 16, :])
    return out
"""


def told(kernel: Any) -> list[Finding]:
    return [f for f in of_text(compile_kernel(kernel)) if f.kind == "task-name"]


@pytest.mark.parametrize(
    ("source", "name", "at"),
    [(of_region("double"), "double", '"double"'), (of_region("xor"), "xor", '"xor"'), (BLOCKS, "switch", '"switch"'),
     (INCORE, "union", "def union"), (PROGRAM, "union", "def union")],
    ids=["region", "alternative token", "blocks", "function", "of a program"],
)  # fmt: skip
def test_a_keyword_of_cpp_runs_here_and_is_told(source: str, name: str, at: str):
    x, out = torch.rand(64, 64), torch.zeros(64, 64)
    k = kernelgen.kernel(source)
    kernelgen.run(k, x, out)
    same(out, torch.exp(x))
    (found,) = told(k)
    assert f"the task '{name}' has the name of a keyword of C++" in found.what
    assert found.place.code[found.place.column - 1 :].startswith(at)
    assert found.fix == f"another name, such as {name}_task"


def test_functions_that_are_no_tasks_may_be_called_so():
    """PyPTO gives the orchestration's C++ function a name of its own, and puts inline functions in their place."""
    source = of_region("doubled", body="double(x)").replace("def k(", "def switch(")
    source = f"""
@pl.jit.inline
def double(t: pl.Tensor[[64, 64], pl.FP32]):
    u = pl.mul(t, 2.0)
    return u

{source.replace("out[:, :] = double(x)", "y = double(x)" + chr(10) + "        out[:, :] = y")}

k = switch
"""
    x, out = torch.rand(64, 64), torch.zeros(64, 64)
    k = kernelgen.kernel(source)
    kernelgen.run(k, x, out)
    same(out, x * 2)
    assert not told(k)


def test_a_region_for_both_units_may_be_called_so():
    """It becomes switch_aic and switch_aiv."""
    body = "pl.exp(pl.matmul(a, a, out_dtype=pl.FP32))"
    assert not told(kernelgen.kernel(of_region("switch", body=body, given=ARGUMENTS)))
    alone = of_region("switch", body="pl.matmul(a, a, out_dtype=pl.FP32)", given=ARGUMENTS)
    assert told(kernelgen.kernel(alone))
