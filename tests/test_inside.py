"""A task opened: its values are those that the run had, wherever it runs; the debugger steps through them."""

from __future__ import annotations

import random

import kernelgen
import pytest
import torch

from golden.spec import values_of
from helpers import stages
from helpers.errors import FaultError, InputError
from helpers.inside import Inside, inside, marks, rounding, text
from helpers.inside.debugger import Debugger
from helpers.interpret.lowering.lower import signature
from helpers.interpret.values.seen import Seen
from helpers.plots import tile
from helpers.profile import profile
from helpers.run import Run, run
from helpers.widgets import graph, look, timeline
from helpers.widgets.look import Controls

STORES = ("x[...] = y", "assemble", "store", "tile.store", "tensor.assemble", "write", "tensor.write", "mscatter")
VERSIONS = [(name, version) for name, one in stages.STAGES.items() for version in one.names]


def arguments(stage: stages.Stage) -> dict:
    return values_of(stage.specs(**stage.small))


def stored(opened: Inside) -> list[torch.Tensor]:
    """What the task wrote to global memory."""
    out = []
    for m in opened.moments:
        if m.operation in STORES:
            out += [o.data for o in m.operands if isinstance(o, Seen) and o.kind == "tile" and o.data is not None]
            out += [torch.tensor(float(o)) for o in m.operands if isinstance(o, float)]
    return out


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_what_a_task_stored_is_what_the_run_wrote(name: str, version: str):
    """Of some elements of each output the task that wrote it is opened: it has stored just that number."""
    stage = stages.find(name)
    kernel, args = stage.versions[version], arguments(stage)
    written = {p.name for p in signature(kernel).parameters if p.type.direction != "In"}
    before = {n: args[n].clone() for n in written}
    after = {n: args[n].clone() if n in written else v for n, v in args.items()}
    run(kernel, after, platform="a2a3interp")
    differs = {n: (t != after[n]) & ~(t.isnan() & after[n].isnan()) for n, t in before.items() if t.is_floating_point()}
    outputs = [n for n, where in differs.items() if where.any()]
    assert outputs
    chosen = random.Random(f"{name} {version}")
    for output in outputs[:2]:
        changed = differs[output].nonzero()
        element = changed[chosen.randrange(len(changed))].tolist()
        opened = inside(kernel, args=args, wrote=f"{output}{element}")
        value = after[output][tuple(element)].double()
        assert any((t.to(after[output].dtype).double() == value).any() for t in stored(opened)), opened
        for n, t in before.items():
            assert torch.equal(t.view(torch.uint8), args[n].view(torch.uint8)), f"{n} was changed by opening a task"


SOFTMAX = """
@pl.jit.inline
def scaled(x: pl.Tensor[[16, 32], pl.FP32], by: pl.Scalar[pl.FP32]):
    y = pl.mul(x, by)
    return y


@pl.jit
def k(a: pl.Tensor[[64, 32], pl.FP32], o: pl.Out[pl.Tensor[[64, 32], pl.FP32]]):
    for i in pl.spmd(4, name_hint="softmax"):
        x = pl.slice(a, [16, 32], [i * 16, 0])
        y = scaled(x, 2.0)
        m = pl.row_max(y)
        e = pl.exp(pl.row_expand_sub(y, m))
        s = pl.row_sum(e)
        o[i * 16 : i * 16 + 16, :] = pl.row_expand_div(e, s)
    return o
"""


@pytest.fixture(scope="module")
def softmax():
    kernel = kernelgen.kernel(SOFTMAX)
    a = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    return kernel, {"a": a, "o": torch.zeros(64, 32)}


@pytest.mark.parametrize("block", range(4))
def test_every_value_of_a_block(softmax, block: int):
    kernel, args = softmax
    opened = inside(kernel, args=args, block=block)
    x = args["a"][block * 16 : block * 16 + 16]
    y = x * 2.0
    m = y.amax(1, keepdim=True)
    e = (y - m).exp()
    want = [x, y, m, y - m, e, e.sum(1, keepdim=True), e / e.sum(1, keepdim=True)]
    made = [r for moment in opened.moments for r in moment.results if isinstance(r, Seen) and r.kind == "tile"]
    for seen, value in zip(made, want, strict=True):
        torch.testing.assert_close(seen.data, value)
    assert [m.bound for m in opened.moments] == ["x", "y", "m", None, "e", "s", None, None]
    last = opened.names(len(opened) - 1)
    assert last["i"] == block
    assert set(last) >= {"a", "o", "x", "y", "m", "e", "s"}
    assert opened.on_chip(3)["UB"] >= (16 * 32 + 16) * 4
    assert opened.title == f"block {block} of 4 of task 'softmax', launch 0, on a2a3interp"


def test_a_value_shows_itself(softmax):
    kernel, args = softmax
    x = inside(kernel, args=args)[0].result
    assert repr(x).startswith("tile [16, 32] FP32 in UB\ntensor([[")
    html = x._repr_html_()
    assert "tile [16, 32] FP32 in UB" in html
    assert f"<td>{args['a'][0, 0].item():.5g}</td>" in html
    assert html.count("<tr>") == 8
    window = inside(kernel, args=args)[0].operands[0]
    assert repr(window).startswith("window [64, 32] FP32 of a at 0")


def test_a_turn_of_a_parallel_loop_that_ran_as_a_batch():
    kernel = kernelgen.kernel("""
@pl.jit
def k(a: pl.Tensor[[128, 32], pl.FP32], o: pl.Out[pl.Tensor[[128, 32], pl.FP32]]):
    for i in pl.parallel(0, 128, 16):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="first"):
            o[i : i + 16, :] = pl.exp(a[i : i + 16, :])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="second"):
            t = pl.add(o[i : i + 16, :], 1.0)
            o[i : i + 16, :] = t
    return o
""")
    a = torch.randn(128, 32)
    for turn in (0, 3, 7):
        opened = inside(kernel, 2 * turn + 1, args=[a, torch.zeros(128, 32)])
        t = next(m.result.data for m in opened.moments if m.bound == "t")
        torch.testing.assert_close(t, a[16 * turn : 16 * turn + 16].exp() + 1, rtol=0, atol=0)


def test_across_a_barrier():
    """Each block is recorded once, whatever the run goes through again for its numbers."""
    kernel = kernelgen.kernel("""
@pl.jit
def k(a: pl.Tensor[[64, 32], pl.FP32], b: pl.Out[pl.Tensor[[64, 32], pl.FP32]],
      o: pl.Out[pl.Tensor[[64, 32], pl.FP32]]):
    for i in pl.spmd(4, sync_start=True):
        b[i * 16 : i * 16 + 16, :] = pl.mul(a[i * 16 : i * 16 + 16, :], 3.0)
        pl.system.syncall(core_type="aiv_only")
        j = (i + 1) % 4
        o[i * 16 : i * 16 + 16, :] = pl.add(b[j * 16 : j * 16 + 16, :], 1.0)
    return b, o
""")
    a = torch.randn(64, 32)
    opened = inside(kernel, args=[a, torch.zeros(64, 32), torch.zeros(64, 32)], block=3)
    assert [m.operation for m in opened.moments].count("mul") == 1
    assert [m.operation for m in opened.moments].count("add") == 1
    added = next(m for m in opened.moments if m.operation == "add")
    torch.testing.assert_close(added.result.data, a[:16] * 3 + 1)


def test_a_k_loop_shows_each_partial_sum():
    kernel = kernelgen.kernel("""
@pl.jit
def k(a: pl.Tensor[[16, 128], pl.FP32], b: pl.Tensor[[128, 32], pl.FP32], o: pl.Out[pl.Tensor[[16, 32], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        acc = pl.matmul(a[:, 0:32], b[0:32, :], out_dtype=pl.FP32)
        for n in pl.range(1, 4):
            acc = pl.matmul_acc(acc, a[:, n * 32 : n * 32 + 32], b[n * 32 : n * 32 + 32, :])
        o[:, :] = acc
    return o
""")
    a, b = torch.randn(16, 128), torch.randn(128, 32)
    opened = inside(kernel, args=[a, b, torch.zeros(16, 32)])
    sums = [m.result.data for m in opened.moments if m.operation.startswith("matmul")]
    assert len(sums) == 4
    for n, partial in enumerate(sums, 1):
        torch.testing.assert_close(partial, a[:, : 32 * n] @ b[: 32 * n], rtol=1e-4, atol=1e-4)


def test_a_task_that_fails_is_open_up_to_where_it_does():
    kernel = kernelgen.kernel("""
@pl.jit
def k(a: pl.Tensor[[16, 32], pl.FP32], n: pl.Scalar[pl.INDEX], o: pl.Out[pl.Tensor[[16, 32], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        t = pl.exp(a)
        o[n : n + 16, :] = t
    return o
""")
    opened = inside(kernel, args=[torch.randn(16, 32), 8, torch.zeros(16, 32)])
    assert isinstance(opened.error, FaultError)
    assert opened.moments[-1].error is opened.error
    assert "failed: " in opened.described(len(opened) - 1)


def test_what_is_odd():
    kernel = kernelgen.kernel("""
@pl.jit
def k(a: pl.Tensor[[16, 32], pl.FP32], o: pl.Out[pl.Tensor[[16, 32], pl.FP16]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        big = pl.mul(a, 100000.0)
        root = pl.sqrt(a)
        none = pl.mul(a, 0.0)
        o[:, :] = pl.cast(big, pl.FP16)
    return o
""")
    a = torch.ones(16, 32)
    a[2, 3] = -1.0
    opened = inside(kernel, args=[a, torch.zeros(16, 32, dtype=torch.float16)])
    odd = {opened[i].bound: what for i, what in opened.odd}
    assert odd["root"] == ["1 of 512 NaN"]
    assert odd["none"] == ["all zero"]
    assert odd[None] == ["512 of 512 inf"] or odd[None] == ["512 of 512 at the limit of FP16"]
    assert marks(3.0) == []
    assert "mean" in text(opened[0].result)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"task": 7}, "there is no launch 7"),
        ({"task": "nobody"}, "there is no task 'nobody'; there are: softmax"),
        ({"block": 4}, "has 4 blocks; there is no block 4"),
        ({"wrote": "o[99, 0]"}, "o has the shape"),
        ({"wrote": "nothing[0]"}, "no element of an argument"),
        ({"wrote": "a[0, 0]"}, "no task writes"),
        ({"line": 1}, "does anything at line 1"),
        ({"platform": "a5sim"}, "a2a3interp or a5interp"),
    ],
)
def test_what_cannot_be_opened(softmax, how: dict, said: str):
    kernel, args = softmax
    with pytest.raises(InputError, match=said.replace("[", r"\[")):
        inside(kernel, **{"args": args, **how})


def test_the_debugger(softmax):
    kernel, args = softmax
    said: list[str] = []
    prompt = Debugger(inside(kernel, args=args, block=1), write=said.append)

    def answer(command: str) -> str:
        said.clear()
        prompt.onecmd(command)
        return "\n".join(said)

    assert "made y = tile [16, 32] FP32" in answer("n")
    assert "made x = " in answer("b")
    assert "beginning of the task" in answer("b")
    assert "made s = " in answer("u s.sum() > 0")
    assert "m = tile [16, 1] FP32" in answer("a")
    assert "UB: " in answer("m")
    assert "->" in answer("l")
    assert float(answer("p e.sum(1).max()").removeprefix("tensor(").removesuffix(")")) > 1
    assert "line 2 does nothing in this task; lines that do: " in answer("j 2")
    assert "NameError" in answer("p nothing")
    assert "no command 'zz'" in answer("zz")
    assert "j(ump) LINE" in answer("j")
    assert "n(ext) [K]" in answer("h")
    assert "not true until the end" in answer("u i > 9")
    assert prompt.onecmd("q") is True


def test_the_widget_steps_through_a_task(softmax):
    kernel, args = softmax
    opened = inside(kernel, args=args, block=1)
    c = Controls(look(opened, at=2, live=True))
    assert "block 1 of 4" in c.title.value
    assert (c.step.value, c.step.max) == (2, len(opened) - 1)
    assert "made m = tile [16, 1] FP32" in c.facts.value
    assert "pl.row_max(y)" in c.source.value
    assert c.tiles.tiles[0]["shape"] == [16, 1]
    before = c.tiles.values
    c.on.click()
    assert c.step.value == 3
    assert c.tiles.values != before
    assert torch.equal(
        torch.frombuffer(bytearray(c.tiles.values), dtype=torch.float64), opened[3].result.data.double().flatten()
    )
    for _ in range(3):
        c.back.click()
    assert c.step.value == 0
    assert c.back.disabled
    assert c.odd.disabled  # nothing is odd in it
    c.line.value = opened[4].place.line
    assert opened[c.step.value].place.line == opened[4].place.line
    assert Controls(look(opened, live=True)).step.value == c.step.value  # where it was left


def test_the_widget_shows_each_lines_own_error_on_request(softmax):
    kernel, args = softmax
    opened = inside(kernel, args=args, block=1)
    c = Controls(look(opened, at=2, live=True))
    assert "ULP" not in c.source.value
    c.errors.click()
    c.measuring.wait(60)
    most = max(p.ulps for p in rounding(opened).prices)
    assert f"{most:.2g} ULP" in c.source.value


def test_the_widget_opens_another_block(softmax):
    kernel, args = softmax
    c = Controls(look(inside(kernel, args=args, block=1), live=True))
    c.block.value = 3
    c.job.wait(60)
    assert "block 3 of 4" in c.title.value
    assert c.view.opened.block == 3


TURNS = """
@pl.jit
def k(a: pl.Tensor[[64, 32], pl.FP32], o: pl.Out[pl.Tensor[[16, 32], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        total = pl.mul(a[0:16, :], 1.0)
        for i in pl.range(1, 4):
            total = pl.add(total, a[i * 16 : i * 16 + 16, :])
        o[:, :] = total
    return o
"""


def test_the_widget_goes_from_turn_to_turn():
    a = torch.randn(64, 32)
    c = Controls(look(inside(kernelgen.kernel(TURNS), args=[a, torch.zeros(16, 32)]), live=True))
    c.line.value = next(m.place.line for m in c.view.opened.moments if m.operation == "add")
    assert (c.turn.value, c.turn.max) == (1, 3)
    c.turn.value = 3
    at = c.view.opened.at(c.line.value, -1)
    assert c.step.value == at


def test_two_tasks_side_by_side():
    a = torch.randn(64, 32)
    b = a.clone()
    b[40, 7] = 9.0
    mine, theirs = (inside(kernelgen.kernel(TURNS), args=[x, torch.zeros(16, 32)]) for x in (a, b))
    c = Controls(look(mine, beside=theirs, live=True))
    c.line.value = next(m.place.line for m in mine.moments if m.operation == "add")
    assert "all 512 elements are the same, bit by bit" in c.facts.value
    c.turn.value = 2
    c.to(next(i for i, m in enumerate(mine.moments) if m.operation == "add" and i >= c.step.value))
    assert "1 of 512 elements differ" in c.facts.value
    assert "the first at [8, 7]" in c.facts.value
    assert len(c.tiles.tiles) == 2
    assert [t["title"].partition(":")[0] for t in c.tiles.tiles] == ["here", "there"]
    shown = look(mine, at=c.step.value, beside=theirs, live=False)
    assert "1 of 512 elements differ" in repr(shown)


IDLE = """
@pl.jit
def k(a: pl.Tensor[[64, 32], pl.FP32], n: pl.Scalar[pl.INT32], o: pl.InOut[pl.Tensor[[64, 32], pl.FP32]]):
    for i in pl.spmd(4):
        if i < n:
            o[i * 16 : i * 16 + 16, :] = pl.mul(a[i * 16 : i * 16 + 16, :], 2.0)
    return o
"""


def test_a_task_that_does_nothing():
    idle = inside(kernelgen.kernel(IDLE), args=[torch.ones(64, 32), 1, torch.ones(64, 32)], block=3)
    assert not len(idle)
    assert repr(look(idle, live=False)).endswith("this task does nothing")
    assert set(look(idle, live=False)._repr_mimebundle_()[0]) == {"text/plain"}
    c = Controls(look(idle, live=True))
    assert "this task does nothing" in c.facts.value
    assert c.on.disabled
    c.block.value = 0
    c.job.wait(60)
    assert not c.step.disabled
    assert c.step.max == len(c.view.opened) - 1


def test_what_cannot_be_looked_at(softmax):
    kernel, args = softmax
    opened = inside(kernel, args=args)
    with pytest.raises(InputError, match=r"operation 99: block 0 of 4 of task 'softmax', .* has 8, counted from 0"):
        look(opened, at=99)
    elsewhere = Run("a2a3sim", 1.0, None)  # a simulator leaves nothing of the kind
    with pytest.raises(InputError, match="was not kept"):
        inside(elsewhere, 0)
    with pytest.raises(InputError, match="was not kept"):
        timeline(profile(opened.run.trace), of=elsewhere)


def test_a_click_on_a_task_opens_it(softmax):
    kernel, args = softmax
    of = inside(kernel, args=args).run
    line = timeline(profile(of.trace), live=True, of=of)
    shown = line.controls()
    shown.children[0].selected = 2
    line.opener.job.wait(60)
    assert "block 2 of 4 of task" in line.opener.box.children[0].children[0].value
    shown.children[0].selected = -1
    assert line.opener.box.children == ()
    boxes = graph(of.trace, live=True, of=of)
    picture = boxes.controls().children[0]
    assert picture.tips == {"softmax": "click to open the task"}
    picture._handle_custom_msg({"clicked": "softmax"}, [])
    boxes.opener.job.wait(60)
    assert "block 0 of 4 of task" in boxes.opener.box.children[0].children[0].value
    two = run(kernelgen.kernel(TURNS), [torch.randn(64, 32), torch.zeros(16, 32)], keep=True)
    two.trace.dispatches.append(two.trace.dispatches[0])
    with pytest.raises(InputError, match="has 1 launches and the run 2"):
        graph(of.trace, of=two)


def test_the_picture_of_a_tile():
    data = torch.tensor([[1.0, -2.0, float("nan")]])
    fig = tile(data, (4, 8), (1, 3), "x, line 3")
    assert fig.alt == "x, line 3: [4, 8], [1, 3] of it valid"
    assert "1 NaN or infinite" in fig.axes[1].get_title(loc="left")
    assert fig.axes[0].get_xlim() == (-0.5, 7.5)
    assert tile(torch.zeros(16, 16), (16, 16)).png()
    assert tile(torch.tensor(3), ()).png()


def test_without_a_front_end_it_is_a_figure_and_text(softmax):
    kernel, args = softmax
    shown = look(inside(kernel, args=args), live=False)
    bundle, _ = shown._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"}
    assert "task 'softmax'" in bundle["text/plain"]


def test_partial_sums_over_what_an_earlier_task_wrote():
    """The run puts its arguments back when the task is over; what was read of them must have been kept by then."""
    kernel = kernelgen.kernel("""
@pl.jit
def k(a: pl.Tensor[[16, 128], pl.FP32], b: pl.Tensor[[128, 32], pl.FP32], s: pl.InOut[pl.Tensor[[16, 128], pl.FP32]],
      o: pl.Out[pl.Tensor[[16, 32], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="scale"):
        s[:, :] = pl.mul(a, 2.0)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="product"):
        acc = pl.matmul(s[:, 0:32], b[0:32, :], out_dtype=pl.FP32)
        for n in pl.range(1, 4):
            acc = pl.matmul_acc(acc, s[:, n * 32 : n * 32 + 32], b[n * 32 : n * 32 + 32, :])
        o[:, :] = acc
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="later"):
        s[:, :] = pl.mul(a, 0.0)
    return s, o
""")
    a, b = torch.randn(16, 128), torch.randn(128, 32)
    opened = inside(kernel, "product", args=[a, b, torch.zeros(16, 128), torch.zeros(16, 32)])
    sums = [m.result.data for m in opened.moments if m.operation.startswith("matmul")]
    for n, partial in enumerate(sums, 1):
        torch.testing.assert_close(partial, (2 * a)[:, : 32 * n] @ b[: 32 * n], rtol=1e-4, atol=1e-4)
