"""What only another branch or loop reads is not there for nothing."""

from __future__ import annotations

import textwrap

import pytest
import torch

from golden.spec import ScalarSpec, TensorSpec
from helpers.sanitize import check
from tests.kernelgen import kernel

FILL = """
t = pl.create_tensor([64, 16], dtype=pl.FP32)
u = pl.create_tensor([64, 16], dtype=pl.FP32)
with pl.at(level=pl.Level.CORE_GROUP, name_hint="fill"):
    a = pl.mul(x[:, :], 2.0)
    t[:, :] = a
    u[:, :] = pl.add(a, 1.0)
"""
READ = """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="{name}"):
    y[:, :] = {name}[:, :]
"""
FUNCTIONS = """
@pl.jit.inline
def copied(u: pl.Tensor[[64, 16], pl.FP32], y: pl.Tensor[[64, 16], pl.FP32]):
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="copied"):
        y = pl.assemble(y, pl.slice(u, [64, 16], [0, 0]), [0, 0])
    return y


@pl.jit.inline
def chosen(t: pl.Tensor[[64, 16], pl.FP32], other: pl.Tensor[[64, 16], pl.FP32], n: pl.Scalar[pl.INT32],
           y: pl.Tensor[[64, 16], pl.FP32]):
    if n < 3:
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="t"):
            y = pl.assemble(y, pl.slice(t, [64, 16], [0, 0]), [0, 0])
    else:
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="other"):
            y = pl.assemble(y, pl.slice(other, [64, 16], [0, 0]), [0, 0])
    return y
"""


def indented(text: str, by: str = "    ") -> str:
    return textwrap.indent(text.strip("\n"), by)


def kinds(body: str, n: int = 0) -> list[str]:
    takes = "x: pl.Tensor[[64, 16], pl.FP32], n: pl.Scalar[pl.INT32], y: pl.Out[pl.Tensor[[64, 16], pl.FP32]]"
    source = f"{FUNCTIONS}\n\n@pl.jit\ndef k({takes}):\n{indented(FILL + body)}\n    return y\n"
    specs = [
        TensorSpec("x", [64, 16], torch.float32, init_value=torch.rand(64, 16)),
        ScalarSpec("n", torch.int32, n),
        TensorSpec("y", [64, 16], torch.float32, is_output=True),
    ]
    return [f.kind for f in check(kernel(source), specs, sweeps=False)]


T, U = READ.format(name="t"), READ.format(name="u")
V = READ.format(name="v").replace("y[:, :]", "y[0:32, :]")
ELSEWHERE = {
    "the other branch": f"if n < 3:\n{indented(T)}\nelse:\n{indented(U)}",
    "a branch of its own": f"{T}\nif n > 3:\n{indented(U)}",
    "a third branch": f"if n < 3:\n{indented(T)}\nelif n < 5:\n{indented(T)}\nelse:\n{indented(U)}",
    "a branch in a branch": f"if n < 3:\n{indented(T)}\n    if n > 1:\n{indented(U, '        ')}\nelse:\n{indented(T)}",
    "a loop": f"{T}\nfor i in pl.range(n):\n{indented(U)}",
    "a part of it": f"v = pl.slice(u, [32, 16], [0, 0])\n{T}\nif n > 3:\n{indented(V)}",
    "a branch of a region": """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="t"):
    y[:, :] = t[:, :]
    if n > 3:
        y[0:16, :] = u[0:16, :]
""",
    "a function called in a branch": f"{T}\nif n > 3:\n    y = copied(u, y)",
    "a branch of a function": "y = chosen(t, u, n, y)",
    "a launch that a predicate skips": """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="t") as _tid:
    y[:, :] = t[:, :]
m = pl.create_tensor([1, 8], dtype=pl.INT32)
with pl.at(level=pl.Level.CORE_GROUP, name_hint="count") as counted:
    m[:, :] = pl.full([1, 8], dtype=pl.INT32, value=0)
with pl.spmd(4, deps=[counted, _tid], name_hint="u", predicate=(m[0, 0] > 0)) as _u:
    i = pl.get_block_idx()
    y[i * 16 : i * 16 + 16, :] = u[i * 16 : i * 16 + 16, :]
""",
}  # fmt: skip


@pytest.mark.parametrize("body", ELSEWHERE.values(), ids=ELSEWHERE)
def test_another_way_reads_it(body: str):
    assert "unread-result" not in kinds(body)


NOWHERE = {
    "no branch": T,
    "a branch that reads the other one": f"if n < 3:\n{indented(T)}\nelse:\n{indented(T)}",
    "a branch that only writes it": f"{T}\nif n > 3:\n    with pl.at(level=pl.Level.CORE_GROUP, name_hint='w'):\n"
    "        u = pl.assemble(u, x[:, :], [0, 0])",
    "a branch that was taken": f"{T}\nif n < 3:\n    with pl.at(level=pl.Level.CORE_GROUP, name_hint='w'):\n"
    "        u = pl.assemble(u, t[:, :], [0, 0])",
    "a function that reads the other one": "y = chosen(t, t, n, y)",
}  # fmt: skip


@pytest.mark.parametrize("body", NOWHERE.values(), ids=NOWHERE)
def test_nothing_reads_it(body: str):
    assert kinds(body).count("unread-result") == 1


TURNS = """
for turn in pl.range(2):
    w = pl.create_tensor([64, 16], dtype=pl.FP32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="again"):
        w[:, :] = pl.add(t[:, :], u[:, :])
    {reader}
"""
READER = """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="w"):
    y[:, :] = w[:, :]
"""


@pytest.mark.parametrize("head", ["for i in pl.range(turn):", "if turn > 0:"])
def test_another_turn_reads_it(head: str):
    assert "unread-result" not in kinds(TURNS.format(reader=f"{head}\n{indented(READER, ' ' * 8)}"))


def test_no_turn_reads_it():
    other = READER.replace("= w[:, :]", "= t[:, :]")
    assert "unread-result" in kinds(TURNS.format(reader=f"if turn > 0:\n{indented(other, ' ' * 8)}"))


def test_the_result_of_one_call_is_not_read():
    """The function's line makes both tensors; that the other one is read is no reason for this one."""
    twice = """
@pl.jit.inline
def made(u: pl.Tensor[[64, 16], pl.FP32]):
    w = pl.create_tensor([64, 16], dtype=pl.FP32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="made"):
        w = pl.assemble(w, pl.slice(u, [64, 16], [0, 0]), [0, 0])
    return w


@pl.jit
def k(x: pl.Tensor[[64, 16], pl.FP32], y: pl.Out[pl.Tensor[[64, 16], pl.FP32]]):
    a = made(x)
    b = made(x)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="copied"):
        y = pl.assemble(y, pl.slice(a, [64, 16], [0, 0]), [0, 0])
    return y
"""
    specs = [
        TensorSpec("x", [64, 16], torch.float32, init_value=torch.rand(64, 16)),
        TensorSpec("y", [64, 16], torch.float32, is_output=True),
    ]
    assert [f.kind for f in check(kernel(twice), specs, sweeps=False)].count("unread-result") == 1
