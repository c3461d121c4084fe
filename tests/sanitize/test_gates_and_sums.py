"""What no operation reads or writes: predicates of launches, arguments that overlap, stores of nothing; and sums in no
order."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch

from golden.runner import run_jit
from golden.spec import ScalarSpec, TensorSpec
from helpers.errors import InputError
from helpers.run import run
from helpers.sanitize import Finding, check
from tests.kernelgen import kernel

INT32, FP32 = torch.int32, torch.float32

# Predicates.

HEAD = """
@pl.jit
def k(n: pl.Tensor[[1, 8], pl.INT32], x: pl.Tensor[[64, 64], pl.FP32], y: pl.InOut[pl.Tensor[[64, 64], pl.FP32]]):
"""
COUNTED = """
rc = pl.create_tensor([1, 8], dtype=pl.INT32)
with pl.at(level=pl.Level.CORE_GROUP, name_hint="count") as counted:
    rc = pl.assemble(rc, pl.add(n[:, :], 1), [0, 0])
"""
EXPERT = """
with pl.spmd(4, name_hint="expert", predicate=({predicate}){deps}) as {tid}:
    i = pl.get_block_idx()
    y[i * 16 : i * 16 + 16, :] = pl.mul(x[i * 16 : i * 16 + 16, :], 2.0)
"""


def gated(body: str, **how: Any) -> list[Finding]:
    code = kernel(HEAD + textwrap.indent(body.strip("\n"), "    ") + "\n    return y\n")
    specs = [
        TensorSpec("n", [1, 8], INT32, init_value=torch.full([1, 8], 3, dtype=INT32)),
        TensorSpec("x", [64, 64], FP32, init_value=torch.rand(64, 64)),
        TensorSpec("y", [64, 64], FP32, init_value=torch.zeros, is_output=True),
    ]
    return check(code, specs, sweeps=False, **how)


def in_manual(body: str) -> str:
    return "with pl.manual_scope():\n" + textwrap.indent(body.strip("\n"), "    ")


def expert(deps: str = "", predicate: str = "rc[0, 0] > 0", tid: str = "done") -> str:
    return EXPERT.format(deps=deps, predicate=predicate, tid=tid)


@pytest.mark.parametrize("predicate", ["rc[0, 0] > 0", "0 < rc[0, 0]", "rc[0, 1] != -1", "rc[0, 7] >= 4"])
@pytest.mark.parametrize("scope", [in_manual, str])
def test_a_predicate_waits_for_what_it_reads(predicate: str, scope: Callable):
    """The scheduler reads it when it dispatches, and infers nothing for it."""
    races = [f for f in gated(scope(COUNTED + expert(predicate=predicate))) if f.kind == "race"]
    assert len(races) == 1
    assert "task 'expert' reads what task 'count' writes" in races[0].what
    assert "predicate=" in open(races[0].place.file).read().splitlines()[races[0].line - 1]
    assert [f.kind for f in gated(scope(COUNTED + expert(", deps=[counted]", predicate)))] == []


def test_a_predicate_that_reads_another_element_than_the_task_writes():
    two = COUNTED.replace("[1, 8]", "[2, 8]")
    seeded = two.replace(
        "with pl.at",
        """with pl.at(level=pl.Level.CORE_GROUP, name_hint="seed") as seeded:
    rc = pl.assemble(rc, pl.full([2, 8], dtype=pl.INT32, value=1), [0, 0])
with pl.at""",
    ).replace('name_hint="count"', 'name_hint="count", deps=[seeded]')
    assert gated(in_manual(seeded + expert(", deps=[seeded]", "rc[1, 0] > 0"))) == []
    assert [f.kind for f in gated(in_manual(seeded + expert(", deps=[seeded]")))] == ["race"]


def test_a_predicate_on_an_argument_that_nothing_writes():
    assert gated(in_manual(expert(predicate="n[0, 0] > 0"))) == []


def test_a_predicate_reads_what_nothing_has_written():
    body = "rc = pl.create_tensor([1, 8], dtype=pl.INT32)\n" + expert()
    assert [(f.kind, f.severity) for f in gated(in_manual(body))][:1] == [("uninitialized-read", "error")]


def test_what_a_predicate_reads_is_overwritten_too_early():
    again = """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="reset", deps=[counted]{more}) as _reset:
    rc = pl.assemble(rc, pl.full([1, 8], dtype=pl.INT32, value=0), [0, 0])
"""
    body = COUNTED + expert(", deps=[counted]")
    (f,) = gated(in_manual(body + again.format(more="")))
    assert "task 'reset' overwrites what task 'expert' reads" in f.what
    assert [f.kind for f in gated(in_manual(body + again.format(more="").replace("[counted]", "[done]")))] == []


def test_a_chain_of_dependencies_will_do():
    middle = """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="between", deps=[counted]) as between:
    y[:, :] = pl.add(x[:, :], 1.0)
"""
    assert gated(in_manual(COUNTED + middle + expert(", deps=[between]"))) == []


# Arguments that overlap.

VIEWS = """
    @pl.jit
    def k(a: pl.Tensor[[64, 16], pl.FP32], b: pl.Tensor[[64, 16], pl.FP32], s: pl.InOut[pl.Tensor[[64, 16], pl.FP32]],
          o: pl.Out[pl.Tensor[[64, 16], pl.FP32]]):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="k"):
            s[:, :] = pl.add(s[:, :], a[:, :])
            o[:, :] = pl.mul(a[:, :], b[:, :])
        return s, o
"""


def pieces(**first: int) -> dict[str, torch.Tensor]:
    """Arguments that begin at these rows of one tensor; the others are their own."""
    whole = torch.rand(512, 16)
    own = {n: torch.rand(64, 16) for n in "abso"}
    return {n: whole[first[n] : first[n] + 64] if n in first else t for n, t in own.items()}


OVERLAPS = [
    {"a": 0, "s": 0}, {"a": 0, "s": 32}, {"a": 32, "s": 0}, {"a": 0, "o": 63}, {"b": 0, "o": 0}, {"b": 1, "s": 0},
    {"s": 0, "o": 0}, {"s": 8, "o": 0}, {"a": 0, "b": 0, "o": 10}, {"a": 100, "b": 0, "s": 50},
]  # fmt: skip


@pytest.mark.parametrize("first", OVERLAPS)
def test_arguments_that_overlap_are_refused_before_anything_runs(first: dict[str, int]):
    k, given = kernel(VIEWS), pieces(**first)
    before = {n: t.clone() for n, t in given.items()}
    named = sorted(first)
    for call in (
        lambda: run(k, list(given.values())),
        lambda: run(k, given),
        lambda: k(*given.values()),
        lambda: k(**given),
    ):
        with pytest.raises(InputError, match="overlaps") as refused:
            call()
        assert sum(f"'{n}'" in str(refused.value) for n in named) >= 2
    assert all(torch.equal(t, before[n]) for n, t in given.items())


@pytest.mark.parametrize(
    "first", [{"a": 0, "b": 0}, {"a": 0, "b": 32}, {"a": 0, "s": 64}, {"s": 0, "o": 64, "a": 128, "b": 128}]
)
def test_arguments_that_are_only_read_may_overlap_and_neighbours_do_not(first: dict[str, int]):
    given = pieces(**first)
    want = given["a"] * given["b"]
    run(kernel(VIEWS), given)
    assert torch.equal(given["o"], want)


def test_specs_that_hand_out_one_tensor_twice():
    """A spec copies what it is given: nothing overlaps."""
    whole = torch.rand(64, 16)
    specs = [TensorSpec(n, [64, 16], FP32, init_value=whole, is_output=n in "so") for n in "abso"]
    assert run_jit(kernel(VIEWS), specs, quiet=True).passed


# Sums in no order.

SUM = """
@pl.jit
def k(x: pl.Tensor[[8, 16, 64], pl.{dtype}], y: pl.InOut[pl.Tensor[[16, 64], pl.{dtype}]]):
{body}
    return y
"""
BLOCKS = """
for b in pl.spmd(8, name_hint="sum"):
    part = pl.reshape(x[b : b + 1, :, :], [16, 64])
    y = pl.assemble(y, {value}, [{row}, 0]{how})
"""
TURNS = """
with pl.manual_scope():
    for b in pl.parallel(8):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="sum"):
            part = pl.reshape(x[b : b + 1, :, :], [16, 64])
            y = pl.assemble(y, pl.mul(part, 1.0), [0, 0], atomic=pl.AtomicType.Add)
"""
ADD = ", atomic=pl.AtomicType.Add"
WHOLE = torch.arange(8192.0).view(8, 16, 64)
WIDE = torch.randn(8, 16, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, 7, 8).view(8, 1, 1)


def summed(body: str, x: torch.Tensor = WIDE, dtype: str = "FP32", dry: bool = False) -> list[Finding]:
    code = kernel(SUM.format(dtype=dtype, body=textwrap.indent(body.strip("\n"), "    ")))
    specs = [
        TensorSpec("x", [8, 16, 64], x.dtype, init_value=x),
        TensorSpec("y", [16, 64], x.dtype, init_value=torch.zeros, is_output=True),
    ]
    return check(code, specs, sweeps=False, dry=dry)


@pytest.mark.parametrize(
    "body",
    [
        BLOCKS.format(value="pl.mul(part, 1.0)", row="0", how=ADD),
        BLOCKS.format(value="part[0:8, :]", row="b % 2 * 8", how=ADD),  # two sums of four blocks
        BLOCKS.format(value="part[0:8, :]", row="b", how=ADD),  # each overlaps the next
        TURNS,
    ],
)
def test_a_sum_of_floats_that_blocks_or_launches_add_to_is_a_hint(body: str):
    (f,) = summed(body)
    assert (f.kind, f.severity) == ("atomic-order", "hint")
    assert "elements of 'y' differ" in f.proof
    assert "order" in f.what


@pytest.mark.parametrize(
    ("body", "x", "dtype"),
    [
        (BLOCKS.format(value="pl.add(part, 1)", row="0", how=ADD), WHOLE.int(), "INT32"),
        (BLOCKS.format(value="pl.mul(part, 1.0)", row="0", how=ADD), WHOLE, "FP32"),
        (BLOCKS.format(value="pl.mul(part, 1.0)", row="0", how=ADD), torch.zeros(8, 16, 64), "FP32"),
        (BLOCKS.format(value="part[0:2, :]", row="b * 2", how=ADD), WIDE, "FP32"),  # to each its own rows
        (BLOCKS.format(value="part[0:2, :]", row="b * 2", how=""), WIDE, "FP32"),
        (textwrap.dedent(TURNS.replace("with pl.manual_scope():", "")), WIDE, "FP32"),  # each waits for the one before
    ],
)  # fmt: skip
def test_a_sum_that_no_order_changes_is_right(body: str, x: torch.Tensor, dtype: str):
    assert summed(body, x, dtype) == []


def test_without_arithmetic_nothing_is_proved_about_a_sum():
    assert summed(BLOCKS.format(value="pl.mul(part, 1.0)", row="0", how=ADD), dry=True) == []


# Stores of nothing.

STORE = """
@pl.jit
def k(x: pl.Tensor[[64, 64], pl.FP32], n: pl.Scalar[pl.INT32], y: pl.InOut[pl.Tensor[[64, 64], pl.FP32]]):
{body}
    return y
"""
STORES = {
    "rows": """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="a"):
    t = pl.slice(x, [16, 64], [0, 0], valid_shape=[pl.cast(n, pl.INDEX), 64])
    y = pl.assemble(y, pl.mul(t, 2.0), [0, 0])
""",
    "columns": """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="a"):
    t = pl.slice(x, [16, 64], [0, 0], valid_shape=[16, pl.cast(n, pl.INDEX)])
    y = pl.assemble(y, pl.mul(t, 2.0), [0, 0])
""",
    "an extent that is set": """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="a"):
    t = pl.mul(x[0:16, :], 2.0)
    y = pl.assemble(y, pl.set_validshape(t, pl.cast(n, pl.INDEX), 64), [0, 0])
""",
    "the last of the blocks": """
for i in pl.spmd(4, name_hint="a"):
    rows = pl.cast(pl.max(0, pl.min(16, n + 48 - i * 16)), pl.INDEX)
    t = pl.slice(x, [16, 64], [i * 16, 0], valid_shape=[rows, 64])
    y = pl.assemble(y, pl.mul(t, 2.0), [i * 16, 0])
""",
    "a turn of a loop": """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="a"):
    for i in pl.range(4):
        rows = pl.max(0, pl.min(16, pl.cast(n, pl.INDEX) + 48 - i * 16))
        t = pl.slice(x, [16, 64], [i * 16, 0], valid_shape=[rows, 64])
        y = pl.assemble(y, pl.mul(t, 2.0), [i * 16, 0])
""",
    "a sum": """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="a"):
    t = pl.slice(x, [16, 64], [0, 0], valid_shape=[pl.cast(n, pl.INDEX), 64])
    y = pl.assemble(y, pl.mul(t, 2.0), [0, 0], atomic=pl.AtomicType.Add)
""",
}


def stored(body: str, n: int) -> list[Finding]:
    specs = [
        TensorSpec("x", [64, 64], FP32, init_value=torch.rand(64, 64)),
        ScalarSpec("n", INT32, n),
        TensorSpec("y", [64, 64], FP32, init_value=torch.zeros, is_output=True),
    ]
    return check(kernel(STORE.format(body=textwrap.indent(body.strip("\n"), "    "))), specs, sweeps=False)


@pytest.mark.parametrize("body", STORES.values(), ids=STORES)
def test_a_store_of_nothing_is_an_error(body: str):
    (f,) = stored(body, 0)
    assert (f.kind, f.severity) == ("valid-extent", "error")
    assert "pl.assemble(y" in open(f.place.file).read().splitlines()[f.line - 1]
    assert [f.kind for f in stored(body, 8) if f.severity == "error"] == []


def test_a_store_that_is_left_out_where_nothing_is_valid():
    body = """
for i in pl.spmd((n + 15) // 16, name_hint="a"):
    rows = pl.cast(pl.min(16, n - i * 16), pl.INDEX)
    t = pl.slice(x, [16, 64], [i * 16, 0], valid_shape=[rows, 64])
    y = pl.assemble(y, pl.mul(t, 2.0), [i * 16, 0])
"""
    assert [f.kind for n in (1, 16, 17, 63) for f in stored(body, n)] == []
