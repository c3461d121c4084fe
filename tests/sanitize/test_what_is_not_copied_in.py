"""A parameter declared pl.Out comes without values: reading it, or adding to it, before it is written is an error."""

from __future__ import annotations

import textwrap

import pytest
import torch

from golden.spec import TensorSpec
from helpers.sanitize import Finding, check
from tests.kernelgen import kernel

ADD = "atomic=pl.AtomicType.Add"
ZERO = """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="zero"):
    y = pl.assemble(y, pl.full([64, 16], dtype=pl.{dtype}, value={zero}), [0, 0])
"""


def found(body: str, way: str = "Out", dtype: str = "FP32") -> list[Finding]:
    """Findings, but hints on the order of sums, of an entry k(x, y) of [64, 16] tensors."""
    code = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    types = f"x: pl.Tensor[[64, 16], pl.{dtype}], y: pl.{way}[pl.Tensor[[64, 16], pl.{dtype}]]"
    torch_dtype = {"FP32": torch.float32, "INT32": torch.int32}[dtype]
    values = torch.arange(1024).view(64, 16).to(torch_dtype)
    specs = [
        TensorSpec("x", [64, 16], torch_dtype, init_value=values),
        TensorSpec("y", [64, 16], torch_dtype, init_value=torch.zeros, is_output=True),
    ]
    got = check(kernel(f"\n\n@pl.jit\ndef k({types}):\n{code}\n    return y\n"), specs, sweeps=False)
    return [f for f in got if f.kind != "atomic-order"]


BLOCKS = f"""
for i in pl.spmd(4, name_hint="add"):
    a = pl.slice(x, [16, 16], [i * 16, 0])
    y = pl.assemble(y, a, [{{row}}, 0], {ADD})
"""
READS = {
    "an atomic sum of all blocks": BLOCKS.format(row=0),
    "an atomic sum of each block": BLOCKS.format(row="i * 16"),
    "a sum in place": """
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="add"):
            y = pl.assemble(y, pl.add(y[:, :], x[:, :]), [0, 0])
    """,
    "rows that another task has yet to write": """
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="first"):
            y = pl.assemble(y, x[0:32, :], [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="second"):
            y = pl.assemble(y, pl.add(y[16:48, :], 1.0), [32, 0])
    """,
    "a number": """
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="add"):
            n = pl.read(y, [3, 3])
            y = pl.assemble(y, pl.mul(x[:, :], n), [0, 0])
    """,
    "a number for orchestration": """
        n = pl.read(y, [0, 0])
        if n > 50:
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="one"):
                y = pl.assemble(y, pl.add(x[:, :], 2), [0, 0])
        else:
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="other"):
                y = pl.assemble(y, pl.add(x[:, :], 3), [0, 0])
    """,
    "a running maximum": """
        for i in pl.range(4):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="max"):
                y = pl.assemble(y, pl.maximum(y[0:16, :], x[i * 16 : i * 16 + 16, :]), [0, 0])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="rest"):
            y = pl.assemble(y, x[16:64, :], [16, 0])
    """,
}


def type_of(body: str) -> str:
    return "INT32" if "add(x[:, :], 2)" in body else "FP32"


@pytest.mark.parametrize("body", READS.values(), ids=READS)
def test_is_an_error_that_is_proved(body: str):
    errors = [f for f in found(body, dtype=type_of(body)) if f.kind == "uninitialized-read"]
    assert [f.severity for f in errors] == ["error"]
    assert "of 'y' that nothing has written" in errors[0].what
    assert "elements of 'y' differ" in errors[0].proof


@pytest.mark.parametrize("body", READS.values(), ids=READS)
def test_is_none_where_the_parameter_is_updated(body: str):
    assert [f.kind for f in found(body, "InOut", type_of(body)) if f.kind == "uninitialized-read"] == []


@pytest.mark.parametrize("dtype", ["FP32", "INT32"])
def test_a_sum_that_is_zeroed_first_is_right(dtype: str):
    zero = ZERO.format(dtype=dtype, zero="0" if dtype == "INT32" else "0.0")
    assert [f.kind for f in found(zero + BLOCKS.format(row=0), dtype=dtype)] == []
    assert [f.kind for f in found(BLOCKS.format(row=0), dtype=dtype)][:1] == ["uninitialized-read"]


def test_what_no_written_element_depends_on_is_a_hint():
    """The rest of the output is the caller's to overlook: it says nothing about this read."""
    body = """
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="first"):
            t = pl.mul(y[0:32, :], 0.0)
            y = pl.assemble(y, pl.maximum(pl.mul(x[0:32, :], 1.0), pl.mul(pl.minimum(t, 0.0), 0.0)), [0, 0])
    """
    kinds = {f.kind: f.severity for f in found(body)}
    assert kinds == {"uninitialized-read": "hint", "unwritten-output": "error"}
