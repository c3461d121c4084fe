"""A name keeps its type where PyPTO's parser takes it for one variable, and may change it where it does not.

Every combination below was compiled with PyPTO (e2d0f78a, a2a3sim), which refuses those of REFUSED with "Cannot
reassign 't' with a different type" and accepts the others.
"""

from __future__ import annotations

import re
import textwrap

import pytest
from kernelgen import module, run, same, sevens, values

from helpers.errors import KernelError

HEAD = (
    "@pl.jit\ndef k(x: pl.Tensor[[64, 64], pl.FP32], idx: pl.Tensor[[16], pl.INT32], "
    "out: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):\n"
)
END = "with pl.at(level=pl.Level.CORE_GROUP, name_hint='last'):\n    out[:, :] = pl.mul(x, 2.0)\n"
AT = "with pl.at(level=pl.Level.CORE_GROUP, name_hint='{name}'):\n"

# Two values of different types. Those of the device are only bound in regions.
PAIRS = {
    "shape": ("pl.mul(x[0:16, :], 2.0)", "pl.mul(x[0:32, :], 2.0)"),
    "shape of a fold": ("pl.row_max(x[0:16, :])", "pl.exp(x[0:16, 0:8])"),
    "element type": ("pl.mul(x[0:16, :], 2.0)", "pl.cast(x[0:16, :], pl.BF16)"),
    "integers": ("0", "pl.read(idx, [0])"),
    "integer and float": ("2", "1.5"),
    "number and tile": ("2", "pl.exp(x[0:16, :])"),
}


def at(body: str, name: str = "a") -> str:
    return AT.format(name=name) + textwrap.indent(body, "    ")


REFUSED = {
    "two arms": at("m = pl.read(idx, [1])\nif m > 0:\n    t = {a}\nelse:\n    t = {b}\n"),
    "an arm, then a line": at("m = pl.read(idx, [1])\nif m > 0:\n    t = {a}\nt = {b}\n"),
    "a line, then an arm": at("m = pl.read(idx, [1])\nt = {a}\nif m > 0:\n    t = {b}\n"),
    "an arm that is never taken": at("t = {a}\nif 1 > 2:\n    t = {b}\n"),
    "a loop, then a loop": at("for i in pl.range(2):\n    t = {a}\nfor j in pl.range(2):\n    t = {b}\n"),
    "a loop, then a line": at("for i in pl.range(2):\n    t = {a}\nt = {b}\n"),
    "a line, then a loop": at("t = {a}\nfor i in pl.range(2):\n    t = {b}\n"),
    "a loop that never turns": at("t = {a}\nfor i in pl.range(0):\n    t = {b}\n"),
    "spmd, then spmd": "for i in pl.spmd(2):\n    t = {a}\nfor j in pl.spmd(2):\n    t = {b}\n",
    "a region, then spmd": at("t = {a}\n") + "for j in pl.spmd(2):\n    t = {b}\n",
    "loops of two spmd": "for i in pl.spmd(2):\n    for j in pl.range(2):\n        t = {a}\n"
    "for i in pl.spmd(2):\n    for j in pl.range(2):\n        t = {b}\n",
}
ACCEPTED = {
    "two lines": at("t = {a}\nt = {b}\n"),
    "two lines of a loop": at("for i in pl.range(2):\n    t = {a}\n    t = {b}\n"),
    "two ifs": at("m = pl.read(idx, [1])\nif m > 0:\n    t = {a}\nif m < 0:\n    t = {b}\n"),
    "two regions": at("t = {a}\n") + at("t = {b}\n", "b"),
    "spmd, then a region": "for i in pl.spmd(2):\n    t = {a}\n" + at("t = {b}\n", "b"),
}


def source(template: str, a: str, b: str) -> str:
    return HEAD + textwrap.indent(template.format(a=a, b=b) + END, "    ") + "    return out\n"


def arguments() -> tuple:
    return values((64, 64), "FP32", 0), values((16,), "INT32", 1), sevens((64, 64), "FP32")


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("place", REFUSED)
def test_refused(place: str, pair: str):
    a, b = PAIRS[pair]
    text = source(REFUSED[place], a, b)
    line = [n for n, s in enumerate(text.splitlines(), 2) if s.strip() == f"t = {b}"][-1]
    x, idx, o = arguments()
    with pytest.raises(KernelError, match=rf"'t' is a .* where it was bound before\n  at .*:{line}:\d+") as e:
        run(module(text).k, x, idx, o)
    assert re.search(r"fix: use another name", str(e.value))
    same(o, sevens((64, 64), "FP32"))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("place", ACCEPTED)
def test_accepted(place: str, pair: str):
    x, idx, o = arguments()
    run(module(source(ACCEPTED[place], *PAIRS[pair])).k, x, idx, o)
    same(o, x * 2)


@pytest.mark.parametrize("value", sorted({v for pair in PAIRS.values() for v in pair}))
@pytest.mark.parametrize("place", [*REFUSED, *ACCEPTED])
def test_one_type_is_accepted_everywhere(place: str, value: str):
    x, idx, o = arguments()
    run(module(source((REFUSED | ACCEPTED)[place], value, value)).k, x, idx, o)
    same(o, x * 2)


def test_a_loop_with_carried_values_is_closed():
    """What is bound in a loop that hands its values on is not the variable of another loop."""
    text = HEAD + textwrap.indent(
        at(
            "s0 = pl.exp(x[0:16, :])\nfor i, (s,) in pl.range(2, init_values=(s0,)):\n    t = pl.exp(x[0:16, :])\n"
            "    s = pl.yield_(pl.add(s, t))\n"
            "u0 = pl.exp(x[0:32, :])\nfor i, (u,) in pl.range(2, init_values=(u0,)):\n    t = pl.exp(x[0:32, :])\n"
            "    u = pl.yield_(pl.add(u, t))\n"
        )
        + END,
        "    ",
    )
    x, idx, o = arguments()
    run(module(text).k, x, idx, o)
    same(o, x * 2)
