"""Reads, writes and their order: small kernels that are right or wrong by a line, and a golden for the bookkeeping."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from golden.spec import ScalarSpec, TensorSpec
from helpers.chips import chip
from helpers.interpret.lowering.lower import compile_kernel
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import WRITE, Access
from helpers.interpret.values.values import dense_strides
from helpers.sanitize import Finding, check
from helpers.sanitize.check import certain, look
from helpers.sanitize.rules.replay import Subject
from helpers.sanitize.rules.touched import views
from tests.kernelgen import few, kernel, out, tensor

N = 64


def specs(rows: int = N, dtype: torch.dtype = torch.float32) -> list:
    values = torch.arange(1, rows * 16 + 1).view(rows, 16).to(dtype)
    return [
        TensorSpec("x", [rows, 16], dtype, init_value=values),
        TensorSpec("y", [rows, 16], dtype, is_output=True),
    ]


def found(body: str, dtype: str = "FP32", **options: object) -> list[Finding]:
    """Findings of an entry k(x, y) of [64, 16] tensors."""
    head = f"\n\n@pl.jit\ndef k(x: {tensor([N, 16], dtype)}, y: {out([N, 16], dtype)}):\n"
    torch_dtype = {"FP32": torch.float32, "INT32": torch.int32, "FP16": torch.float16}[dtype]
    return check(kernel(head + textwrap.indent(body.strip(), "    ") + "\n"), specs(dtype=torch_dtype), **options)


def kinds(body: str, dtype: str = "FP32", **options: object) -> list[str]:
    return [f.kind for f in found(body, dtype, **options)]


HALF = """
t = pl.create_tensor([64, 16], dtype=pl.{dtype})
with pl.at(level=pl.Level.CORE_GROUP, name_hint="first"):
    a = pl.slice(x, [32, 16], [0, 0])
    t = pl.assemble(t, pl.add(a, a), [0, 0])
with pl.at(level=pl.Level.CORE_GROUP, name_hint="second"):
    b = pl.slice(t, [{rows}, 16], [0, 0])
    y = pl.assemble(y, pl.{op}, [0, 0])
{rest}
return y
"""
REST = """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="third"):
    c = pl.slice(x, [{rows}, 16], [{first}, 0])
    y = pl.assemble(y, pl.add(c, c), [{first}, 0])
"""


def test_integers_that_nobody_wrote_are_seen():
    """NaN would not do: there is none among integers."""
    body = HALF.format(dtype="INT32", rows=64, op="add(b, b)", rest="")
    assert kinds(body, "INT32") == ["uninitialized-read"]


def test_a_maximum_that_swallows_poison_is_seen():
    body = HALF.format(dtype="FP32", rows=64, op="maximum(b, pl.mul(b, 0.5))", rest="")
    assert kinds(body) == ["uninitialized-read"]


def test_what_no_output_depends_on_is_a_hint():
    read = "row_expand(b, pl.row_max(b))"
    body = HALF.format(
        dtype="FP32", rows=64, op=f"slice(pl.{read}, [32, 16], [0, 0])", rest=REST.format(rows=32, first=32)
    )
    (f,) = found(body)
    assert (f.kind, f.severity) == ("uninitialized-read", "hint")
    assert "no output depends on it" in f.proof


def test_all_written_is_clean():
    body = HALF.format(dtype="FP32", rows=32, op="add(b, b)", rest=REST.format(rows=32, first=32))
    assert kinds(body) == []


def test_rows_left_out_are_named():
    body = HALF.format(dtype="FP32", rows=32, op="add(b, b)", rest=REST.format(rows=16, first=48))
    (f,) = found(body)
    assert f.kind == "unwritten-output"
    assert f.region == "y[32:48, 0:16]"
    assert "256 of 1,024" in f.what


BLOCKS = """
for i in pl.spmd({n}, name_hint="blocks"):
    a = pl.slice(x, [16, 16], [i * 16, 0])
    y = pl.assemble(y, pl.add(a, a), [{row}, 0]{atomic})
return y
"""


def test_blocks_that_write_the_same_rows():
    assert "double-write" in kinds(BLOCKS.format(n=4, row="i * 8", atomic=""))
    assert kinds(BLOCKS.format(n=4, row="i * 16", atomic="")) == []


def test_blocks_that_read_what_others_write():
    body = """
t = pl.create_tensor([64, 16], dtype=pl.FP32)
for i in pl.spmd(4, name_hint="blocks"):
    a = pl.slice(x, [16, 16], [i * 16, 0])
    t = pl.assemble(t, pl.add(a, a), [i * 16, 0])
    {barrier}
    b = pl.slice(t, [16, 16], [(3 - i) * 16, 0])
    y = pl.assemble(y, pl.add(b, b), [i * 16, 0])
return y
"""
    got = found(body.format(barrier="pl.system.fence()"), on=("a2a3",))
    assert [f.kind for f in got if f.severity == "error" and f.kind == "race"] == ["race"]
    assert all(f.kind == "syncall" for f in found(body.format(barrier='pl.system.syncall(core_type="aiv_only")')))


def test_two_launches_that_write_the_same_rows_in_a_manual_scope():
    body = """
with pl.manual_scope():
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="one") as tid:
        a = pl.slice(x, [64, 16], [0, 0])
        y = pl.assemble(y, pl.add(a, a), [0, 0])
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="two"{deps}) as _t:
        b = pl.slice(x, [16, 16], [0, 0])
        y = pl.assemble(y, pl.mul(b, 3.0), [8, 0])
return y
"""
    (f,) = found(body.format(deps=""))
    assert f.kind == "double-write"
    assert "elements of 'y' differ" in f.proof
    assert kinds(body.format(deps=", deps=[tid]")) == []


def test_a_dependency_that_others_enforce_is_a_hint():
    body = """
t = pl.create_tensor([64, 16], dtype=pl.FP32)
with pl.at(level=pl.Level.CORE_GROUP, name_hint="one") as tid:
    a = pl.slice(x, [64, 16], [0, 0])
    t = pl.assemble(t, pl.add(a, a), [0, 0])
with pl.at(level=pl.Level.CORE_GROUP, name_hint="two", deps=[tid]) as _t:
    b = pl.slice(t, [64, 16], [0, 0])
    y = pl.assemble(y, pl.add(b, b), [0, 0])
return y
"""
    (f,) = found(body)
    assert (f.kind, f.severity) == ("redundant-dependency", "hint")


def test_a_dependency_that_comes_from_a_caller_is_none_to_leave_out():
    source = """
        @pl.jit.inline
        def second(
            t: pl.Tensor[[64, 16], pl.FP32], y: pl.Tensor[[64, 16], pl.FP32], ready: pl.Scalar[pl.TASK_ID]
        ):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="two", deps=[ready]) as _t:
                b = pl.slice(t, [64, 16], [0, 0])
                y = pl.assemble(y, pl.add(b, b), [0, 0])
            return y

        @pl.jit
        def k(x: pl.Tensor[[64, 16], pl.FP32], y: pl.Out[pl.Tensor[[64, 16], pl.FP32]]):
            t = pl.create_tensor([64, 16], dtype=pl.FP32)
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="one") as tid:
                a = pl.slice(x, [64, 16], [0, 0])
                t = pl.assemble(t, pl.add(a, a), [0, 0])
            y = second(t, y, tid)
            return y
    """
    assert check(kernel(source), specs()) == []


@pytest.mark.parametrize(
    ("steps", "want"),
    [
        ("y, tid = step(x, y, tid)\n            y, tid = step(x, y, tid)", []),
        ("for _i in pl.unroll(2):\n                y, tid = step(x, y, tid)", []),
    ],
)
def test_a_dependency_that_comes_from_an_earlier_call_is_none_to_leave_out(steps: str, want: list[str]):
    source = f"""
        @pl.jit.inline
        def step(
            x: pl.Tensor[[64, 16], pl.FP32], y: pl.Tensor[[64, 16], pl.FP32], before: pl.Scalar[pl.TASK_ID]
        ):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="add", deps=[before]) as done:
                y = pl.assemble(y, pl.add(pl.slice(y, [64, 16], [0, 0]), pl.slice(x, [64, 16], [0, 0])), [0, 0])
            return y, done

        @pl.jit
        def k(x: pl.Tensor[[64, 16], pl.FP32], y: pl.Out[pl.Tensor[[64, 16], pl.FP32]]):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="zero") as tid:
                y = pl.assemble(y, pl.full([64, 16], dtype=pl.FP32, value=0.0), [0, 0])
            {steps}
            return y
    """
    assert [f.kind for f in check(kernel(source), specs())] == want


def test_a_dependency_from_turn_to_turn_that_is_inferred_is_redundant():
    body = """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="zero") as tid:
    y = pl.assemble(y, pl.full([64, 16], dtype=pl.FP32, value=0.0), [0, 0])
for _i in pl.unroll(3):
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="add", deps=[tid]) as done:
        y = pl.assemble(y, pl.add(pl.slice(y, [64, 16], [0, 0]), pl.slice(x, [64, 16], [0, 0])), [0, 0])
    tid = done
return y
"""
    assert set(kinds(body)) == {"redundant-dependency"}


def test_a_result_that_nothing_reads():
    body = """
t = pl.create_tensor([64, 16], dtype=pl.FP32)
with pl.at(level=pl.Level.CORE_GROUP, name_hint="one"):
    a = pl.slice(x, [64, 16], [0, 0])
    t = pl.assemble(t, pl.add(a, a), [0, 0])
    y = pl.assemble(y, pl.add(a, a), [0, 0])
return y
"""
    (f,) = found(body)
    assert f.kind == "unread-result"
    assert "t = pl.assemble" in open(f.place.file).read().splitlines()[f.line - 1]


def test_lanes_without_data_that_are_taken_for_data():
    body = """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="one"):
    a = pl.slice(x, [64, 16], [0, 0], valid_shape=[60, 16])
    a = {fill}
    y = pl.assemble(y, pl.add(pl.set_validshape(a, 64, 16), 1.0), [0, 0])
return y
"""
    assert kinds(body.format(fill="pl.mul(a, 2.0)")) == ["padded-lanes"]
    assert kinds(body.format(fill="pl.fillpad(a, pad_value=pl.PadValue.zero)")) == []


def test_a_sum_in_fp16():
    body = """
with pl.at(level=pl.Level.CORE_GROUP, name_hint="one"):
    a = pl.full([64, 16], dtype=pl.{dtype}, value=0.0)
    for _i in pl.range(4):
        a = pl.add(a, pl.slice(x, [64, 16], [0, 0]))
    y = pl.assemble(y, a, [0, 0])
return y
"""
    assert kinds(body.format(dtype="FP16"), "FP16") == ["low-precision-accumulation"]
    assert kinds(body.format(dtype="FP32")) == []


def test_every_legal_scalar_is_tried():
    source = f"""
        @pl.jit
        def k(x: {tensor([N, 16], "FP32")}, y: {out([N, 16], "FP32")}, rows: pl.Scalar[pl.INT32]):
            for i in pl.spmd(2, name_hint="blocks"):
                n = pl.cast(pl.min(32, rows - i * 32), pl.INDEX)
                a = pl.slice(x, [32, 16], [i * 32, 0], valid_shape=[n, 16])
                y = pl.assemble(y, pl.add(a, a), [i * 32, 0])
            return y
    """
    (f,) = check(kernel(source), [*specs(), ScalarSpec("rows", torch.int32, 40)])
    assert f.kind == "valid-extent"
    assert f.case == "rows=1"


def test_dynamic_dimensions_are_tried_around_their_tile():
    source = """
        M = pl.dynamic("M")

        @pl.jit
        def k(x: pl.Tensor[[M, 16], pl.FP32], y: pl.Out[pl.Tensor[[M, 16], pl.FP32]]):
            for i in pl.spmd(pl.tensor.dim(x, 0) // 16, name_hint="blocks"):
                a = pl.slice(x, [16, 16], [i * 16, 0])
                y = pl.assemble(y, pl.add(a, a), [i * 16, 0])
            return y
    """
    got = {f.kind: f.case for f in check(kernel(source), specs())}
    assert got["unwritten-output"] == "M=17"


@few
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data())
def test_views_are_the_elements_of_an_access(extent: list[int], data: st.DataObject):
    shape = [e + data.draw(st.integers(0, 3)) for e in extent]
    strides = dense_strides(tuple(shape))
    corners = [tuple(data.draw(st.integers(0, n - e)) for n, e in zip(shape, extent)) for _ in range(3)]
    offsets = np.array([sum(c * s for c, s in zip(corner, strides)) for corner in corners])
    access = Access(0, WRITE, tuple(extent), strides, Place("", 1, 1))
    table, expected = np.zeros(int(np.prod(shape)), bool), np.zeros(shape, bool)
    seen = 0
    for blocks, view in views(table, access, offsets, np.arange(3)):
        view[...] = True
        seen += len(blocks)
    for corner in corners:
        expected[tuple(slice(c, c + e) for c, e in zip(corner, extent))] = True
    assert seen == 3
    assert (table.reshape(shape) == expected).all()


PADDED = """
    B = pl.dynamic("B")

    @pl.jit
    def k(x: pl.Tensor[[16, 16], pl.FP32], n: pl.Tensor[[B], pl.INT32], y: pl.Out[pl.Tensor[[{rows}, 16], pl.FP32]]):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="one"):
            a = pl.slice(x, [16, 16], [0, 0]{valid})
            a = pl.fillpad(a, pad_value=pl.PadValue.zero)
            y = pl.assemble(y, pl.{op}, [0, 0])
        return y
"""


@pytest.mark.parametrize(
    ("op", "valid", "want"),
    [
        ("sub(a, pl.row_expand(a, pl.row_max(a)))", "", []),  # rows of padding go to rows of padding
        ("add(a, pl.col_expand(a, pl.col_max(a)))", "", ["padded-lanes"]),
        ("add(a, pl.col_expand(a, pl.col_max(a)))", ", valid_shape=[pl.tensor.dim(n, 0), 16]", []),
    ],
)
def test_rows_of_an_input_that_hold_no_data(op: str, valid: str, want: list[str]):
    """The tile has 16 rows, and as many sequences at most: with fewer, what lies in the others must not matter."""
    described = [
        TensorSpec("x", [16, 16], torch.float32, init_value=torch.rand(16, 16)),
        TensorSpec("n", [16], torch.int32),
        TensorSpec("y", [16, 16], torch.float32, is_output=True),
    ]
    got = check(kernel(PADDED.format(op=op, valid=valid, rows=16)), described)
    assert [f.kind for f in got] == want
    for f in got:
        assert (f.case, f.region) == ("B=1", "x[1:16]")
        assert "of 16 elements of 'y' differ" in f.proof


def test_padding_reaches_results_of_the_size_given():
    def sizes(batch: int = 5) -> list:
        return [
            TensorSpec("x", [16, 16], torch.float32, init_value=torch.rand(16, 16)),
            TensorSpec("n", [batch], torch.int32),
            TensorSpec("y", [1, 16], torch.float32, is_output=True),
        ]

    body = PADDED.format(op="col_max(a)", valid="", rows=1)
    (f,) = check(kernel(body), sizes, sweep={"batch": [5, 16]})
    assert (f.kind, f.region) == ("padded-lanes", "x[5:16]")


@pytest.mark.parametrize(("groups", "want"), [(4, []), (3, ["uninitialized-read"])])
def test_a_window_that_orchestration_copies_in_a_loop_without_arithmetic(groups: int, want: list[str]):
    source = f"""
        @pl.jit(auto_scope=False)
        def k(x: pl.Tensor[[64, 32], pl.FP32], y: pl.Out[pl.Tensor[[64, 32], pl.FP32]]):
            rows = pl.create_tensor([64, 32], dtype=pl.FP32)
            for i in pl.range(64):
                with pl.scope():
                    row = pl.create_tensor([1, 32], dtype=pl.FP32)
                    for g in pl.range({groups}):
                        with pl.at(level=pl.Level.CORE_GROUP, name_hint="write"):
                            a = pl.slice(x, [1, 8], [i, g * 8])
                            row = pl.assemble(row, pl.mul(a, 2.0), [0, g * 8])
                    rows = pl.assemble(rows, row, [i, 0])
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="out"):
                y = pl.assemble(y, pl.slice(rows, [64, 32], [0, 0]), [0, 0])
            return y
    """
    described = [TensorSpec("x", [64, 32], torch.float32), TensorSpec("y", [64, 32], torch.float32, is_output=True)]
    assert [f.kind for f in check(kernel(source), described, dry=True)] == want


@pytest.mark.parametrize(
    ("columns", "rest", "want"),
    [
        ("16", "", []),  # rows of padding keep what they hold
        ("8", "", [("unwritten-output", "y[0:32, 8:16]")]),
        ("8", "y = pl.assemble(y, pl.slice(a, [32, 8], [0, 8]), [0, 8])", []),
        ("8", "y = pl.assemble(y, pl.slice(y, [32, 8], [32, 8]), [0, 8])", []),  # it is read: to be kept
    ],
)
def test_rows_of_an_updated_parameter_that_are_written_in_part(columns: str, rest: str, want: list):
    body = f"""
        @pl.jit
        def k(x: pl.Tensor[[64, 16], pl.FP32], y: pl.InOut[pl.Tensor[[64, 16], pl.FP32]]):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="one"):
                a = pl.slice(x, [32, 16], [0, 0])
                y = pl.assemble(y, pl.slice(a, [32, {columns}], [0, 0]), [0, 0])
                {rest or "pass"}
            return y
    """
    got = check(kernel(body), specs())
    assert [(f.kind, f.region) for f in got] == want


def test_a_size_with_padding_is_gone_through_again_when_a_finding_is_shrunk():
    def sizes(batch: int = 3) -> list:
        return [
            TensorSpec("x", [16, 16], torch.float32, init_value=torch.rand(16, 16)),
            TensorSpec("n", [batch], torch.int32),
            TensorSpec("y", [batch, 16], torch.float32, is_output=True),
        ]

    body = """
        B = pl.dynamic("B")

        @pl.jit
        def k(x: pl.Tensor[[16, 16], pl.FP32], n: pl.Tensor[[B], pl.INT32], y: pl.Out[pl.Tensor[[B, 16], pl.FP32]]):
            rows = pl.tensor.dim(n, 0)
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="one"):
                a = pl.slice(x, [16, 16], [0, 0])
                for b in pl.range(pl.min(3, rows)):
                    y = pl.assemble(y, pl.slice(a, [1, 16], [b, 0]), [b, 0])
            return y
    """
    got = check(kernel(body), sizes, sweep={"batch": [2, 3, 5, 16]})
    assert [(f.kind, f.case) for f in got] == [("unwritten-output", "batch=5")]


def test_rounding_that_depends_on_where_a_tensor_begins_is_no_finding():
    """A script's tensors may begin anywhere, those of the second run begin at a cache line: sums round otherwise."""
    source = """
        @pl.jit
        def k(x: pl.Tensor[[16, 512], pl.FP32], y: pl.Out[pl.Tensor[[16, 16], pl.FP32]]):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="one"):
                t = pl.create_tensor([16, 16], dtype=pl.FP32)
                a = pl.slice(x, [16, 512], [0, 0])
                t = pl.add(pl.row_expand(t, pl.row_sum(a)), 0.0)
                y = pl.assemble(y, t, [0, 0])
            return y
    """
    code = kernel(source)
    compiled = compile_kernel(code)
    x = torch.rand(16, 512, generator=torch.Generator().manual_seed(0))
    first = {"x": x, "y": torch.zeros(16, 16)}
    subject = Subject(code, lambda: {"x": x.clone(), "y": torch.zeros(16, 16)}, chip("a2a3"))
    trace = subject.run(first)
    first["y"][0, 0] += 2.0**-15  # what another order of addition does
    run = look(trace, compiled, first, chip("a2a3"))
    assert [f for f in certain(subject, compiled, run) if f.severity != "hint"] == []
