"""What a run leaves behind, against numbers worked out by hand; what does not fit on chip."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from kernelgen import kernel, run

import helpers.run
from golden import ScalarSpec, TensorSpec
from helpers import stages
from helpers.errors import FaultError
from helpers.interpret.trace.trace import READ, WRITE

HAND = kernel("""
@pl.jit
def k(
    x: pl.Tensor[[64, 32], pl.FP32],
    w: pl.Tensor[[32, 16], pl.BF16],
    o: pl.Out[pl.Tensor[[64, 32], pl.FP32]],
    p: pl.Out[pl.Tensor[[64, 16], pl.FP32]],
):
    c = pl.create_tensor([64, 32], dtype=pl.BF16)
    for b in pl.spmd(4, name_hint="scale"):
        t = x[b * 16 : b * 16 + 16, :]
        u = pl.mul(t, 2.0)
        v = pl.add(u, t)
        o[b * 16 : b * 16 + 16, :] = v
        c[b * 16 : b * 16 + 16, :] = pl.cast(v, pl.BF16)
    for i in pl.range(2):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="product"):
            p[i * 32 : i * 32 + 32, :] = pl.matmul(c[i * 32 : i * 32 + 32, :], w[:, :])
    with pl.at(level=pl.Level.CORE_GROUP):
        e = pl.read(x, [3, 4])
        pl.write(o, [0, 0], e)
    return o, p
""")


def hand():
    x, w = torch.randn(64, 32), torch.randn(32, 16).bfloat16()
    o, p = torch.zeros(64, 32), torch.zeros(64, 16)
    return run(HAND, x, w, o, p), x, w, o, p


def test_by_hand():
    trace, x, w, o, p = hand()
    want = x * 3
    product = want.bfloat16().float() @ w.float()
    want[0, 0] = x[3, 4]
    torch.testing.assert_close(o, want)
    torch.testing.assert_close(p, product)

    assert trace.platform == "a2a3interp"
    assert trace.tasks == 4 + 2 + 1
    names = trace.tasks_by_name()
    assert list(names.values()) == [4, 2, 1]
    assert list(names)[:2] == ["scale", "product"]
    assert [d.blocks for d in trace.dispatches] == [4, 1, 1, 1]
    assert [d.kind for d in trace.dispatches] == ["spmd", "at", "at", "at"]
    assert [d.core for d in trace.dispatches][:3] == ["vector", "cube", "cube"]
    assert [d.place.line for d in trace.dispatches] == [11, 18, 18, 20]

    # x once by the blocks; c and, twice, w by the products; one element
    assert trace.gm_read_bytes == 64 * 32 * 4 + 64 * 32 * 2 + 2 * 32 * 16 * 2 + 4
    # o and c by the blocks; p by the products; one element
    assert trace.gm_write_bytes == 64 * 32 * 4 + 64 * 32 * 2 + 64 * 16 * 4 + 4
    assert trace.total("cube_flops") == 2 * 64 * 32 * 16
    assert trace.total("cube_ops") == 2
    assert trace.total("loads") == 4 + 2 * 2
    assert trace.total("vector_ops") == 4 * 3
    assert trace.total("vector_elements") == 3 * 64 * 32
    # UB: t and u, then u in v's place; t again until the sum is made. L1: a half of c beside w. L0C: a half of p.
    assert trace.peaks() == {
        "UB": 2 * 16 * 32 * 4,
        "L1": 32 * 32 * 2 + 32 * 16 * 2,
        "L0A": 32 * 32 * 2,
        "L0B": 32 * 16 * 2,
        "L0C": 32 * 16 * 4,
    }


def test_regions_by_hand():
    trace, *_ = hand()
    names = [b.name for b in trace.buffers]
    touched = [
        (block, names[a.buffer], a.mode, a.extent, offset)
        for block, a, offset in trace.accesses(trace.dispatches[0])
        if block == 2
    ]
    assert touched == [
        (2, "x", READ, (16, 32), 2 * 16 * 32),
        (2, "o", WRITE, (16, 32), 2 * 16 * 32),
        (2, names[4], WRITE, (16, 32), 2 * 16 * 32),
    ]
    last = [(names[a.buffer], a.mode, a.elements, offset) for _, a, offset in trace.accesses(trace.dispatches[3])]
    assert last == [("x", READ, 1, 3 * 32 + 4), ("o", WRITE, 1, 0)]


def test_two_operands_are_on_chip_together():
    """The first operand lives until the operation runs, also when it is loaded before the second."""
    k = kernel("""
    @pl.jit
    def k(x: pl.Tensor[[8, 8], pl.FP32], y: pl.Tensor[[8, 8], pl.FP32], o: pl.Out[pl.Tensor[[8, 8], pl.FP32]]):
        with pl.at(level=pl.Level.CORE_GROUP):
            o[:, :] = pl.add(x, y)
    """)
    assert run(k, torch.zeros(8, 8), torch.zeros(8, 8), torch.zeros(8, 8)).peaks()["UB"] == 2 * 256


@pytest.mark.parametrize("stage", [1, 2, 4])
def test_a_pipelined_load_has_a_buffer_a_stage(stage: int):
    k = kernel(f"""
    @pl.jit
    def k(x: pl.Tensor[[64, 8], pl.FP32], o: pl.Out[pl.Tensor[[64, 8], pl.FP32]]):
        with pl.at(level=pl.Level.CORE_GROUP):
            for i in pl.pipeline(8, stage={stage}):
                o[i * 8 : i * 8 + 8, :] = pl.mul(x[i * 8 : i * 8 + 8, :], 2.0)
        return o
    """)
    x, o = torch.randn(64, 8), torch.zeros(64, 8)
    trace = run(k, x, o)
    assert torch.equal(o, x * 2)
    assert trace.peaks()["UB"] == stage * 256
    assert trace.tasks == 1


WIDE = """
@pl.jit
def k(x: pl.Tensor[[{rows}, 1024], pl.FP32], o: pl.Out[pl.Tensor[[{rows}, 1024], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="wide"):
        t = pl.load(x, [0, 0], [{rows}, 1024])
        u = pl.mul(t, 2.0)
        v = pl.add(u, t)
        out = pl.store(v, [0, 0], o)
    return o
"""


@pytest.mark.parametrize(("chip", "limit"), [("a2a3", 184), ("a5", 240)])
def test_unified_buffer(chip: str, limit: int):
    """t and u live together: 8 KiB a row."""
    most = limit // 8
    x, o = torch.randn(most, 1024), torch.zeros(most, 1024)
    trace = run(kernel(WIDE.format(rows=most)), x, o, on=chip)
    assert trace.peaks()["UB"] == most * 8192 <= limit * 1024
    torch.testing.assert_close(o, x * 3)

    x, o = torch.randn(most + 1, 1024), torch.zeros(most + 1, 1024)
    with pytest.raises(FaultError) as e:
        run(kernel(WIDE.format(rows=most + 1)), x, o, on=chip)
    assert f"task 'wide' needs {(most + 1) * 8192:,} bytes of UB at once" in str(e.value)
    assert f"has {limit * 1024:,}" in str(e.value)
    assert f"{(most + 1) * 4096:,} B of line 6" in str(e.value)
    assert ":5:10" in str(e.value)
    assert (o == 0).all()


MATRIX = """
@pl.jit
def k(a: pl.Tensor[[{m}, 64], pl.BF16], b: pl.Tensor[[64, {n}], pl.BF16], o: pl.Out[pl.Tensor[[{m}, {n}], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        o[:, :] = pl.matmul(a[:, :], b[:, :])
    return o
"""


@pytest.mark.parametrize(
    ("chip", "m", "n", "buffer", "need", "limit"),
    [
        ("a2a3", 16, 4096, "L1", (16 + 4096) * 128, 512),
    ],
)
def test_cube_buffers(chip: str, m: int, n: int, buffer: str, need: int, limit: int):
    a, b, o = torch.zeros(m, 64).bfloat16(), torch.zeros(64, n).bfloat16(), torch.zeros(m, n)
    with pytest.raises(FaultError) as e:
        run(kernel(MATRIX.format(m=m, n=n)), a, b, o, on=chip)
    assert f"needs {need:,} bytes of {buffer} at once" in str(e.value)
    assert f"has {limit * 1024:,}" in str(e.value)


def test_what_one_chip_holds_and_the_other_does_not():
    a, b, o = torch.randn(256, 64).bfloat16(), torch.randn(64, 256).bfloat16(), torch.zeros(256, 256)
    k = kernel(MATRIX.format(m=256, n=256))
    assert run(k, a, b, o, on="a5").peaks()["L0C"] == 256 * 1024
    cut = torch.zeros(256, 256)
    assert run(k, a, b, cut, on="a2a3").peaks()["L0C"] <= 128 * 1024  # a product that is stored is cut to fit
    assert torch.equal(cut, o)


STEPS = kernel("""
@pl.jit
def k(
    x: pl.Tensor[[16, 256], pl.BF16],
    w: pl.Tensor[[256, 64], pl.BF16],
    r: pl.Tensor[[16, 128], pl.FP32],
    o: pl.Out[pl.Tensor[[16, 64], pl.FP32]],
):
    with pl.at(level=pl.Level.CORE_GROUP, optimizations=[pl.split(pl.SplitMode.UP_DOWN)]):
        acc = pl.matmul(x[:, 0:64], w[0:64, :], out_dtype=pl.FP32)
        for i in pl.pipeline(1, 4, stage=2):
            acc = pl.matmul_acc(acc, x[:, i * 64 : i * 64 + 64], w[i * 64 : i * 64 + 64, :])
        o[:, :] = pl.add(r[:, 32:96], acc)
    return o
""")


def test_steps_by_hand():
    args = torch.randn(16, 256).bfloat16(), torch.randn(256, 64).bfloat16(), torch.randn(16, 128), torch.zeros(16, 64)
    trace = run(STEPS, *args)
    (d,) = trace.dispatches
    (part,) = d.parts
    assert d.split == "UP_DOWN"
    found = part.chunk.program.steps()
    (place,) = {s.loop for s in found if s.loop is not None}
    steps = {(s.engine, s.kind, s.dtype, s.size, s.loop and s.loop.line): n for s, n in found.items()}
    assert steps == {
        ("load", "L1", "BF16", (16, 128), None): 1,  # 16 rows of 64 elements out of rows of 256
        ("load", "L1", "BF16", (1, 64 * 64 * 2), None): 1,  # whole rows: one piece
        ("load", "L1", "BF16", (16, 128), place.line): 3,
        ("load", "L1", "BF16", (1, 64 * 64 * 2), place.line): 3,
        ("cube", "", "BF16", (16, 64, 64), None): 1,
        ("cube", "", "BF16", (16, 64, 64), place.line): 3,
        ("load", "UB", "FP32", (16, 256), None): 1,
        ("move", "L0C-UB", "FP32", (16, 256), None): 1,
        ("vector", "add", "FP32", (16, 64), None): 1,
        ("store", "UB", "FP32", (1, 16 * 64 * 4), None): 1,
    }


def test_a_trace_that_is_kept_keeps_no_memory():
    trace, x, *_ = hand()
    held = weakref.ref(x)
    del x, _
    gc.collect()
    assert held() is None
    assert trace.buffers[0].size == 64 * 32


def test_a_trace_that_nobody_holds_is_freed_without_a_collection():
    trace, *_ = hand()
    held, chunk = weakref.ref(trace), trace.dispatches[0].parts[0].chunk
    gc.disable()
    try:
        del trace
        assert held() is None
    finally:
        gc.enable()
    assert [i.step.engine for i in chunk.program.instructions] == [
        "load",
        "vector",
        "vector",
        "store",
        "vector",
        "store",
    ]


LOOPS = kernel("""
@pl.jit
def k(x: pl.Tensor[[16, 64], pl.FP32], n: pl.Scalar[pl.INT32], o: pl.Out[pl.Tensor[[16, 64], pl.FP32]]):
    count = pl.create_tensor([8], dtype=pl.INT32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="put"):
        pl.write(count, [0], pl.cast(n, pl.INT32))
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="loop"):
        turns = pl.cast(pl.read(count, [0]), pl.INDEX)
        for i in pl.range(turns):
            o[:, :] = pl.mul(x[:, :], 2.0)
    return o
""")

PICKS = kernel("""
@pl.jit
def k(x: pl.Tensor[[16, 64], pl.FP32], n: pl.Scalar[pl.INT32], o: pl.Out[pl.Tensor[[16, 64], pl.FP32]]):
    where = pl.create_tensor([8], dtype=pl.INT32)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="put"):
        pl.write(where, [0], pl.cast(n, pl.INT32))
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="pick"):
        row = pl.cast(pl.read(where, [0]), pl.INDEX)
        o[0:1, :] = x[row : row + 1, :]
    return o
""")


@pytest.mark.parametrize(("fn", "computed"), [(LOOPS, True), (PICKS, False)])
def test_a_kernel_that_loops_by_what_it_computes_is_followed(
    fn: object, computed: bool, monkeypatch: pytest.MonkeyPatch
):
    runs = []
    real = helpers.run.run
    monkeypatch.setattr(helpers.run, "run", lambda *a, **k: runs.append(k.get("dry", False)) or real(*a, **k))
    specs = [
        TensorSpec("x", [16, 64], torch.float32, init_value=torch.randn),
        ScalarSpec("n", torch.int32, 3),
        TensorSpec("o", [16, 64], torch.float32, is_output=True),
    ]
    trace = stages.trace_settled(fn, specs)
    assert runs == [True]  # without arithmetic but for what the loop and the pick go by
    assert trace.total("loads") == (3 if computed else 1)


UNLIKE = kernel("""
@pl.jit
def k(n: pl.Tensor[[8], pl.INT32], x: pl.Tensor[[256, 64], pl.FP32], o: pl.Out[pl.Tensor[[256, 64], pl.FP32]]):
    for b in pl.spmd(8, name_hint="unlike"):
        for i in pl.pipeline(pl.tensor.read(n, [b]), stage=2):
            t = pl.slice(x, [8, 64], [b * 32 + i * 8, 0])
            o = pl.assemble(o, pl.exp(t), [b * 32 + i * 8, 0])
    for b in pl.spmd(8, name_hint="after"):
        t = pl.slice(x, [8, 64], [b * 32, 0])
        o = pl.assemble(o, pl.exp(t), [b * 32 + 24, 0])
    return o
""")


def test_blocks_that_part_at_a_pipeline_leave_it():
    """Blocks whose turns differ in number are run apart; nothing after them counts as of the loop."""
    n = torch.tensor([1, 3, 2, 3, 1, 1, 2, 3], dtype=torch.int32)
    unlike, after = run(UNLIKE, n, torch.ones(256, 64), torch.zeros(256, 64)).dispatches
    loads = [[i for i in part.chunk.program.instructions if (i.step.engine, i.step.kind) == ("load", "UB")]
             for part in unlike.parts]  # fmt: skip
    assert {len(mine) for mine in loads} == {1, 2, 3}
    assert {s.loop for part in after.parts for s in part.chunk.program.steps()} == {None}
