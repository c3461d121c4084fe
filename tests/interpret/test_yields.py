"""Where pl.yield_ may stand, what the arms of an if hand on with it, and what else PyPTO refuses.

Each row was tried on PyPTO e2d0f78a, without the assembler, which takes and refuses the same, but for names: arms that
hand values on to other names are refused here alone, for PyPTO goes by their order.
"""

from __future__ import annotations

import textwrap

import kernelgen
import pytest
import torch
from kernelgen import same

from helpers.errors import FaultError, KernelError

HEAD = "x: pl.Tensor[[64, 64], pl.FP32], n: pl.Tensor[[4], pl.INT32], y: pl.Out[pl.Tensor[[64, 64], pl.FP32]]"
AT = "with pl.at(level=pl.Level.CORE_GROUP):"
DOUBLE = "y[:, :] = pl.mul(x[:, :], 2.0)"
ROWS = "y[0:16, :] = x[a : a + 16, :]"
TURN = "y[i * 16 : i * 16 + 16, :] = x[i * 16 : i * 16 + 16, :]"


def entry(body: str, after: str = "y") -> str:
    return f"@pl.jit\ndef k({HEAD}):\n{textwrap.indent(body, '    ')}\n    return {after}\n"


def region(body: str, after: str = "y") -> str:
    return entry(f"{AT}\n{textwrap.indent('m = pl.read(n, [0])' + chr(10) + body, '    ')}", after)


def arms(one: str, other: str, after: str = DOUBLE, test: str = "m > 3") -> str:
    second = f"else:\n{textwrap.indent(other, '    ')}\n" if other else ""
    return f"if {test}:\n{textwrap.indent(one, '    ')}\n{second}{after}"


def run(source: str, n: int) -> torch.Tensor:
    x, y = torch.arange(4096.0).view(64, 64), torch.zeros(64, 64)
    kernelgen.run(source, x, torch.full((4,), n, dtype=torch.int32), y)
    return y


LAST, ONE, AGAIN = (
    "the last of its block",
    "an if of which one arm hands values on",
    "is bound again in an if that hands",
)
CARRIES = "pl.yield_ in a loop without init_values"
REFUSED = {
    "at the top": (region(f"pl.yield_(3)\n{DOUBLE}"), LAST),
    "at the top, named": (region(f"a = pl.yield_(3)\n{DOUBLE}"), LAST),
    "in orchestration": (entry(f"a = pl.yield_(3)\n{AT}\n    {DOUBLE}"), LAST),
    "not last in an arm": (region(arms("a = pl.yield_(16)\nc = 3", "a = pl.yield_(32)")), LAST),
    "twice in an arm": (region(arms("a = pl.yield_(1)\nb = pl.yield_(2)", "a = pl.yield_(1)\nb = pl.yield_(2)")), LAST),
    "no else": (region(arms("a = pl.yield_(3)", "")), ONE),
    "no else, known while compiling": (region(arms("a = pl.yield_(3)", "", test="4 > 3")), ONE),
    "no else, in orchestration": (entry("m = n[0]\n" + arms("a = pl.yield_(3)", "", f"{AT}\n    {DOUBLE}")), ONE),
    "an else without": (region(arms("a = pl.yield_(3)", "b = 3")), ONE),
    "elif": (
        region(
            "if m > 3:\n    a = pl.yield_(16)\nelif m > 2:\n    a = pl.yield_(32)\nelse:\n    a = pl.yield_(0)\n" + ROWS
        ),
        ONE,
    ),
    "more values in one": (
        region(arms("a, b = pl.yield_(16, 2)", "a = pl.yield_(32)")),
        "of 1 values, in the other arm of 2",
    ),
    "fewer in the other": (
        region(arms("a, b = pl.yield_(16, 2)", "a, b = pl.yield_(32)")),
        "of 1 values, in the other arm of 2",
    ),
    "two names": (region(arms("a = pl.yield_(16)", "b = pl.yield_(32)", ROWS)), "to other names"),
    "another order": (region(arms("a, b = pl.yield_(16, 2)", "b, a = pl.yield_(32, 4)", ROWS)), "to other names"),
    "a name in one": (region(arms("pl.yield_(16)", "a = pl.yield_(32)")), "to other names"),
    "a float and an integer": (
        region(arms("a = pl.yield_(16)", "a = pl.yield_(0.5)")),
        "a scalar FP32, in the other arm",
    ),
    "INT32 and INDEX": (
        region(arms("a = pl.yield_(m)", "a = pl.yield_(16)")),
        "INDEX, in the other arm of a scalar INT32",
    ),
    "a tensor and a number": (region(arms("a = pl.yield_(16)", "a = pl.yield_(x)")), "a tensor .*, in the other arm"),
    "two shapes": (region(arms("a = pl.yield_(x[0:16, :])", "a = pl.yield_(x[16:48, :])")), r"\[32, 64\].*\[16, 64\]"),
    "two types": (
        region(arms("a = pl.yield_(x[0:16, :])", "a = pl.yield_(pl.cast(x[0:16, :], pl.BF16))")),
        "BF16.*FP32",
    ),
    "a store beside": (region(arms("y[0:16, :] = x[0:16, :]\na = pl.yield_(16)", "a = pl.yield_(32)")), AGAIN),
    "a store in an if beside": (
        region(arms("if m > 5:\n    y[0:16, :] = x[0:16, :]\na = pl.yield_(16)", "a = pl.yield_(32)")),
        AGAIN,
    ),
    "a region's store beside": (
        entry(
            "m = n[0]\n"
            + arms(
                f"{AT}\n    y[0:16, :] = x[0:16, :]\na = pl.yield_(16)",
                "a = pl.yield_(32)",
                f"{AT}\n    y[16:32, :] = x[16:32, :]",
            )
        ),
        AGAIN,
    ),
    "another number beside": (region("b = m + 1\n" + arms("b = m + 2\na = pl.yield_(16)", "a = pl.yield_(32)")), AGAIN),
    "a tile beside": (
        region("t = x[0:16, :]\n" + arms("t = pl.mul(t, 2.0)\na = pl.yield_(16)", "a = pl.yield_(32)")),
        AGAIN,
    ),
    "what is not handed on": (
        region(arms("b = 16\na = pl.yield_(16)", "b = 0\na = pl.yield_(32)", "y[0:16, :] = x[b : b + 16, :]")),
        "'b' is read outside",
    ),
    "a loop, bare": (region(f"for i in pl.range(4):\n    {TURN}\n    pl.yield_(3)"), CARRIES),
    "a loop": (region(f"for i in pl.range(4):\n    {TURN}\n    a = pl.yield_(3)"), CARRIES),
    "a loop of orchestration": (
        entry(f"for i in pl.parallel(4):\n    {AT}\n        {TURN}\n    a = pl.yield_(3)"),
        CARRIES,
    ),
    "what a loop does not carry": (
        region(f"for i in pl.range(4):\n    a = pl.yield_(16)\n{ROWS}"),
        "'a' is read outside",
    ),
    "a loop in which an if hands on": (
        region(f"for i, (c,) in pl.range(4, init_values=(0,)):\n    if m > 3:\n        b = pl.yield_(c + 1)\n{DOUBLE}"),
        ONE,
    ),
    "by name": (region(arms("a = pl.yield_(v=16)", "a = pl.yield_(v=32)")), "takes values by position"),
    **{
        f"a load into {m}": (
            region(f"t = pl.load(x, [0, 0], [64, 64], target_memory=pl.Mem.{m})\n{DOUBLE}"),
            f"pl.load into pl.Mem.{m}",
        )
        for m in ("DDR", "Bias", "Left", "Acc")
    },
    "a tile in DDR": (
        region(f"t = pl.create_tile([64, 64], dtype=pl.FP32, target_memory=pl.Mem.DDR)\n{DOUBLE}"),
        "a tile in pl.Mem.DDR",
    ),
    "a row that leaves its region": (
        entry(f"{AT}\n    t = pl.mul(x[3, :], 2.0)\n{AT}\n    y[0:1, :] = pl.reshape(pl.mul(t, 1.0), [1, 64])"),
        "which has one axis, leaves its region",
    ),
    "two directions": (
        region(DOUBLE).replace("pl.Out[pl.Tensor[[64, 64], pl.FP32]]", "pl.Out[pl.Out[pl.Tensor[[64, 64], pl.FP32]]]"),
        "one direction",
    ),
    "an option that is none": (
        region(DOUBLE).replace("@pl.jit", "@pl.jit(scope=1)"),
        "@pl.jit has no option 'scope'; those that it has: auto_scope",
    ),
    "an option of another decorator": (
        region(DOUBLE).replace("@pl.jit", "@pl.jit.inline(level=pl.Level.CORE_GROUP)"),
        "@pl.jit.inline has no option 'level'",
    ),
}


@pytest.mark.parametrize("title", REFUSED)
@pytest.mark.parametrize("n", [0, 9])
def test_refused(title: str, n: int):
    source, message = REFUSED[title]
    with pytest.raises((KernelError, FaultError), match=message):
        run(source, n)


def first(rows: int) -> torch.Tensor:
    out = torch.zeros(64, 64)
    out[:16] = torch.arange(4096.0).view(64, 64)[rows : rows + 16]
    return out


TAKEN = {
    "both arms": region(arms("a = pl.yield_(16)", "a = pl.yield_(32)", ROWS)),
    "known while compiling": region(arms("a = pl.yield_(16)", "a = pl.yield_(32)", ROWS)),
    "a tuple of one": region(arms("(a,) = pl.yield_(16)", "a = pl.yield_(32)", ROWS)),
    "bound before": region("a = pl.cast(m, pl.INDEX)\n" + arms("a = pl.yield_(16)", "a = pl.yield_(32)", ROWS)),
    "tiles": region(arms("a = pl.yield_(x[16:32, :])", "a = pl.yield_(x[32:48, :])", "y[0:16, :] = a")),
    "names of an arm": region(arms("b = 16\na = pl.yield_(b)", "b = 32\na = pl.yield_(b)", ROWS)),
    "a name of both, bound anew": region(
        arms("b = 1\na = pl.yield_(16)", "b = 2\na = pl.yield_(32)", f"b = 5\n{ROWS}")
    ),
    "a loop in an arm": region(
        arms(
            "for i, (c,) in pl.range(4, init_values=(0,)):\n    d = pl.yield_(c + 4)\na = pl.yield_(d)",
            "a = pl.yield_(32)",
            ROWS,
        )
    ),
    "an if in an arm": region(
        arms(
            "if m > 5:\n    b = pl.yield_(16)\nelse:\n    b = pl.yield_(0)\na = pl.yield_(b)", "a = pl.yield_(32)", ROWS
        )
    ),
    "what is stored, too": region(
        arms(
            "z = pl.assemble(y, x[16:32, :], [0, 0])\nw = pl.yield_(z)",
            "z = pl.assemble(y, x[32:48, :], [0, 0])\nw = pl.yield_(z)",
            "v = m + 1",
        ),
        "w",
    ),
    "in a region of an arm": entry(
        "m = n[0]\n" + arms(f"{AT}\n    a = pl.yield_(16)", f"{AT}\n    a = pl.yield_(32)", f"{AT}\n    {ROWS}")
    ),
}


@pytest.mark.parametrize("title", TAKEN)
def test_taken(title: str):
    same(run(TAKEN[title], 9), first(16))
    same(run(TAKEN[title], 0), first(32))


@pytest.mark.parametrize(
    "source",
    [
        region(arms("pl.yield_(16)", "")),
        region(arms("pl.yield_(16)", "pl.yield_(32)")),
        region(arms("pl.yield_()", "pl.yield_()")),
        region(f"for i in pl.range(4):\n    a = pl.yield_(3)\n{DOUBLE}"),
        region(f"{DOUBLE}\na = pl.yield_(3)"),
    ],
)
def test_what_hands_nothing_on_does_nothing(source: str):
    same(run(source, 9), 2 * torch.arange(4096.0).view(64, 64))
