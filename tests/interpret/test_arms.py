"""The arms of an if exclude each other: each may hand an output to a function of its own."""

from __future__ import annotations

import pytest
import torch
from kernelgen import kernel

from helpers.chips import chip
from helpers.errors import KernelError
from helpers.interpret.call import interpret

HEAD = """
T = pl.Tensor[[64, 64], pl.FP32]


@pl.jit.incore
def twice(x: pl.Tensor[[64, 64], pl.FP32], o: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
    return pl.store(pl.mul(pl.load(x, [0, 0], [64, 64]), 2.0), [0, 0], o)


@pl.jit.incore
def thrice(x: pl.Tensor[[64, 64], pl.FP32], o: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
    return pl.store(pl.mul(pl.load(x, [0, 0], [64, 64]), 3.0), [0, 0], o)


@pl.jit
def k(x: pl.Tensor[[64, 64], pl.FP32], c: pl.Tensor[[8], pl.INT32], out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
"""

C = "pl.read(c, [0]) > 1"

RUNS = {
    "both arms write one output": (f"""
if {C}:
    y = twice(x, out)
else:
    y = thrice(x, out)
return y
""", 2, 3),
    "under the output's own name": (f"""
if {C}:
    out = twice(x, out)
else:
    out = thrice(x, out)
return out
""", 2, 3),
    "one arm, and a call after the if by the name that it binds": (f"""
if {C}:
    out = twice(x, out)
out = thrice(x, out)
return out
""", 3, 3),
    "three arms": (f"""
if {C}:
    y = twice(x, out)
elif pl.read(c, [1]) > 1:
    y = twice(x, out)
else:
    y = thrice(x, out)
return y
""", 2, 3),
    "an if in an arm": (f"""
if {C}:
    if pl.read(c, [1]) > 5:
        y = thrice(x, out)
    else:
        y = twice(x, out)
else:
    y = thrice(x, out)
return y
""", 2, 3),
    "an arm that copies by way of a tensor of its own": (f"""
if {C}:
    t = pl.create_tensor([64, 64], dtype=pl.FP32)
    t = twice(x, t)
    y = thrice(t, out)
else:
    y = thrice(x, out)
return y
""", 6, 3),
    "a region in the other arm": (f"""
if {C}:
    y = twice(x, out)
else:
    with pl.at(level=pl.Level.CORE_GROUP):
        out[:, :] = pl.mul(x[:, :], 3.0)
    y = out
return y
""", 2, 3),
    "in a loop": (f"""
for i in pl.range(2):
    if {C}:
        out = twice(x, out)
    else:
        out = thrice(x, out)
return out
""", 2, 3),
    "numbers of different types under one name": (f"""
if {C}:
    n = 2
    y = twice(x, out)
else:
    n = 4
    y = thrice(x, out)
return y
""", 2, 3),
}  # fmt: skip

REFUSED = {
    "the output by its old name after the if": f"""
if {C}:
    y = twice(x, out)
else:
    y = thrice(x, out)
z = twice(out, x)
return y
""",
    "the output by its old name after one arm": f"""
if {C}:
    y = twice(x, out)
z = thrice(x, out)
return z
""",
    "the output by its old name in the same arm": f"""
if {C}:
    y = twice(x, out)
    z = thrice(x, out)
return out
""",
}


def built(body: str):
    return kernel(HEAD + "".join(f"    {line}\n" for line in body.strip("\n").splitlines()))


@pytest.mark.parametrize("title", RUNS)
def test_runs(title: str):
    body, then, otherwise = RUNS[title]
    for n, factor in ((2, then), (0, otherwise)):
        x, out = torch.randn(64, 64), torch.zeros(64, 64)
        interpret(built(body), [x, torch.tensor([n, 0] * 4, dtype=torch.int32), out], "a2a3interp", chip("a2a3"))
        torch.testing.assert_close(out, x * factor)


@pytest.mark.parametrize("title", REFUSED)
def test_refused(title: str):
    with pytest.raises(KernelError, match="by its old name"):
        interpret(
            built(REFUSED[title]), [torch.randn(64, 64), torch.zeros(8, dtype=torch.int32), torch.zeros(64, 64)],
            "a2a3interp", chip("a2a3"),
        )  # fmt: skip
