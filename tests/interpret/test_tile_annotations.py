"""Annotations of tiles and tensors inside a kernel: what they say is checked, and what they place is counted."""

from __future__ import annotations

import re

import kernelgen
import pytest
import torch
from kernelgen import same

from helpers.errors import FaultError, KernelError

PARAMETERS = {
    "x": "pl.Tensor[[64, 64], pl.FP32]", "n": "pl.Tensor[[1], pl.INT32]", "out": "pl.Out[pl.Tensor[[64, 64], pl.FP32]]",
}  # fmt: skip


def run(body: str, n: int = 3):
    x, out = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)), torch.zeros(64, 64)
    k = kernelgen.kernel(kernelgen.incore(PARAMETERS, body))
    trace = kernelgen.run(k, x, torch.tensor([n], dtype=torch.int32), out)
    return x, out, trace


@pytest.mark.parametrize(
    "annotation",
    [
        "pl.Tile[[32, 64], pl.FP32]", "pl.Tile[[32, 64], pl.FP32, pl.Mem.Vec]", "pl.Tile",
        "pl.Tile[[32, 64], pl.FP32, pl.MemorySpace.Vec, pl.TileView()]", "pl.Tile[[rows, 64], pl.FP32]",
        "pl.Tile[[32, 64], pl.FP32, pl.MemRef('ub'), pl.Mem.Vec]",
    ],
)  # fmt: skip
def test_annotations_that_hold(annotation: str):
    x, out, _ = run(f"rows = 32\nt: {annotation} = pl.load(x, [0, 0], [32, 64])\npl.store(pl.add(t, 1.0), [0, 0], out)")
    same(out[:32], x[:32] + 1)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("pl.Tile[[16, 64], pl.FP32]", "annotated"),
        ("pl.Tile[[32, 64], pl.BF16]", "annotated"),
        ("pl.Tile[[32, 64], pl.FP32, pl.MemRef('ub')]", "has a pl.MemRef and no memory"),
        ("pl.Tile[[32, 64], pl.FP32, pl.MemRef('ub', slots=2)[2], pl.Mem.Vec]", "slot 2 of 'ub', which has 2"),
        ("pl.Tile[[32, 64], pl.FP32, pl.MemRef('ub', slots=2)[0.5], pl.Mem.Vec]", "slot 0.5 of 'ub', which has 2"),
        ("pl.Tile[[32, 64], pl.FP32, pl.MemRef('ub', slots='2')[0], pl.Mem.Vec]", "slots are counted, from 1"),
        ("pl.Tile[[32, 64], pl.FP32, pl.MemRef('ub', slots=0)[0], pl.Mem.Vec]", "slots are counted, from 1"),
        ("pl.Tile[[32, 64], pl.FP32, pl.MemRef(NAME), pl.Mem.Vec]", "literal"),
        ("pl.Tile[[32, 64], pl.FP32, NAME, pl.Mem.Vec]", "in a tile's type"),
        ("pl.Tile[[32, 64], pl.FP32, pl.Mem.Vec, pl.TileView(valid_shape=[16, 64])]", "annotated with valid shape"),
    ],
)
def test_annotations_that_do_not(annotation: str, message: str):
    with pytest.raises((KernelError, FaultError), match=message) as e:
        run(f"t: {annotation} = pl.load(x, [0, 0], [32, 64])\npl.store(t, [0, 0], out)")
    assert re.search(r"^  at .+:\d+:\d+$", str(e.value), re.MULTILINE)


def test_slots_share_one_allocation():
    """Four tiles of 16 rows in two slots take two tiles of memory for as long as any of them is used."""
    body = """
    for i in pl.range(4):
        t: pl.Tile[[16, 64], pl.FP32, pl.MemRef("ub", slots=2)[i % 2], pl.Mem.Vec] = pl.load(x, [i * 16, 0], [16, 64])
        pl.store(t, [i * 16, 0], out)
    """
    x, out, trace = run(body)
    same(out, x)
    assert trace.peaks()["UB"] == 2 * 16 * 64 * 4


def test_a_slot_known_at_run_time_only():
    body = """
    m = pl.read(n, [0])
    t: pl.Tile[[16, 64], pl.FP32, pl.MemRef("ub", slots=2)[m], pl.Mem.Vec] = pl.load(x, [0, 0], [16, 64])
    pl.store(t, [0, 0], out)
    """
    run(body, 1)
    with pytest.raises(FaultError, match="slot 3 of 'ub', which has 2"):
        run(body, 3)


def test_a_valid_shape_in_the_annotation():
    body = """
    m = pl.cast(pl.read(n, [0]), pl.INDEX)
    t: pl.Tile[[16, 64], pl.FP32, pl.Mem.Vec, pl.TileView(valid_shape=[m, 64])] = pl.load(x, [0, 0], [16, 64], [m, 64])
    pl.store(t, [0, 0], out)
    """
    x, out, _ = run(body)
    same(out[:3], x[:3])
    assert not out[3:].any()


def test_a_tensor_view_of_a_local_name():
    body = """
    t: pl.Tensor[[16, 64], pl.FP32, pl.TensorView(stride=[64, 1], layout=pl.TensorLayout.ND)] = pl.slice(
        x, [16, 64], [0, 0])
    out[0:16, :] = t
    """
    x, out, _ = run(body)
    same(out[:16], x[:16])


@pytest.mark.parametrize(
    ("layout", "message"),
    [("pl.DN", "pl.DN is no layout of a tensor"), ("pl.NZ", "pl.NZ is no layout of a tensor"),
     ("pl.TensorView(stride=[128, 1], layout=pl.TensorLayout.ND)", "strides in the type of")],
)  # fmt: skip
def test_layouts_of_parameters(layout: str, message: str):
    k = kernelgen.kernel(
        kernelgen.incore({**PARAMETERS, "x": f"pl.Tensor[[64, 64], pl.FP32, {layout}]"}, "out[:, :] = pl.add(x, 1.0)")
    )
    with pytest.raises(KernelError, match=message):
        kernelgen.run(k, torch.zeros(64, 64), torch.zeros(1, dtype=torch.int32), torch.zeros(64, 64))


SLOTS = """
TWO = pl.MemRef(slots=2)
NAMED = pl.MemRef("ub", slots=3)
ONE = pl.MemRef()
T = "no allocation"


@pl.program
class k:
    @pl.function(type=pl.FunctionType.InCore)
    def region(self, x: pl.Tensor[[64, 64], pl.FP32], o: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
{body}
        return o

    @pl.function(type=pl.FunctionType.Orchestration)
    def main(self, x: pl.Tensor[[64, 64], pl.FP32], o: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
        o = self.region(x, o)
        return o
"""


def in_slots(*lines: str) -> str:
    """`name @ slot: value` is a tile of 16 rows that is put into a slot."""
    out = []
    for line in lines:
        name, at, rest = line.partition(" @ ")
        slot, _, value = rest.partition(": ")
        out.append(f"{name}: pl.Tile[[16, 64], pl.FP32, {slot}, pl.Mem.Vec] = {value}" if at else line)
    return SLOTS.format(body="\n".join("        " + line for line in out))


def rows(i: str) -> str:
    return f"pl.load(x, [{i} * 16, 0], [16, 64])"


RIGHT = {
    "one after the other": (
        "for i in pl.range(4):", f"    t @ TWO[i % 2]: {rows('i')}", "    o = pl.store(pl.add(t, t), [i * 16, 0], o)",
    ),
    "both at a time": (
        "for i in pl.range(4):", f"    a @ TWO[i % 2]: {rows('i')}", f"    b @ TWO[(i + 1) % 2]: {rows('i')}",
        "    o = pl.store(pl.add(a, b), [i * 16, 0], o)",
    ),
    "by its own name": (
        "for i in pl.range(4):", f"    t @ NAMED[i % 3]: {rows('i')}", "    o = pl.store(pl.add(t, t), [i * 16, 0], o)",
    ),
    "two constants": (
        "for i in pl.range(4):", f"    a @ TWO[0]: {rows('i')}", f"    b @ TWO[1]: {rows('i')}",
        "    o = pl.store(pl.add(a, b), [i * 16, 0], o)",
    ),
    "no slots, no subscript": (
        "for i in pl.range(4):", f"    t @ ONE: {rows('i')}", "    o = pl.store(pl.add(t, t), [i * 16, 0], o)",
    ),
    "a slot again when its tile is not needed any more": (
        "for i in pl.range(4):", f"    a @ TWO[0]: {rows('i')}", "    s = pl.add(a, 0.0)",
        f"    b @ TWO[0]: {rows('i')}", "    o = pl.store(pl.add(s, b), [i * 16, 0], o)",
    ),
}  # fmt: skip

WRONG = {
    "a slot again while its tile is needed": (
        (f"a @ TWO[0]: {rows('0')}", f"b @ TWO[0]: {rows('1')}", "o = pl.store(pl.add(a, b), [0, 0], o)"),
        "read after another tile was put into its slot, 0 of 'TWO'",
    ),
    "round a loop": (
        (f"a @ TWO[0]: {rows('0')}", "for i in pl.range(3):", f"    b @ TWO[i % 2]: {rows('i')}",
         "    o = pl.store(pl.add(a, b), [i * 16, 0], o)"),
        "read after another tile was put into its slot",
    ),
    "a slot that there is not": ((f"a @ TWO[2]: {rows('0')}", "o = pl.store(a, [0, 0], o)"), "slot 2 of 'TWO'"),
    "a slot that there is not, in a loop": (
        ("for i in pl.range(4):", f"    a @ TWO[i]: {rows('i')}", "    o = pl.store(a, [i * 16, 0], o)"),
        "slot 2 of 'TWO'",
    ),
    "a subscript of one slot": ((f"a @ ONE[0]: {rows('0')}", "o = pl.store(a, [0, 0], o)"), "takes no subscript"),
    "no allocation": ((f"a @ T: {rows('0')}", "o = pl.store(a, [0, 0], o)"), "in a tile's type"),
}  # fmt: skip


@pytest.mark.parametrize("title", RIGHT)
def test_slots_of_a_name_of_the_module(title: str):
    x, out = torch.randn(64, 64), torch.zeros(64, 64)
    kernelgen.run(kernelgen.kernel(in_slots(*RIGHT[title])), x, out)
    same(out, 2 * x)


@pytest.mark.parametrize("title", WRONG)
def test_slots_that_do_not_hold(title: str):
    lines, message = WRONG[title]
    with pytest.raises((KernelError, FaultError), match=message):
        kernelgen.run(kernelgen.kernel(in_slots(*lines)), torch.randn(64, 64), torch.zeros(64, 64))
