"""Runs without arithmetic do the work that a real run does, where loops and launches go by what earlier tasks wrote."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import pytest
import torch
from kernelgen import kernel

from golden.spec import TensorSpec, values_of
from helpers.chips import chip
from helpers.errors import FaultError
from helpers.interpret import follow
from helpers.interpret.call import interpret
from helpers.interpret.trace.trace import Trace
from helpers.stages import find, trace_stage
from kernels.flash_attention import fused

HEAD = """
@pl.jit
def k(x: pl.Tensor[[64, 16], pl.FP32], n: pl.Tensor[[4, 8], pl.INT32], state: pl.InOut[pl.Tensor[[4, 8], pl.INT32]],
      out: pl.Out[pl.Tensor[[64, 16], pl.FP32]]):
    todo = pl.create_tensor([4, 8], dtype=pl.INT32)
"""

AT = "with pl.at(level=pl.Level.CORE_GROUP, name_hint='{}'):"
PLAN = f"{AT.format('plan')}\n    pl.write(todo, [0, 0], pl.cast(pl.read(n, [0, 0]) * 2, pl.INT32))\n"
ROWS = "        out[i : i + 1, :] = pl.mul(x[i : i + 1, :], 2.0)\n"
WORK = f"{AT.format('work')}\n    for i in pl.range(pl.cast(pl.read(todo, [0, 0]), pl.INDEX)):\n{ROWS}"

KERNELS = {
    "a loop of a region": PLAN + WORK,
    "one of two that a task writes": f"""
more = pl.create_tensor([4, 8], dtype=pl.INT32)
{PLAN}    pl.write(more, [0, 0], pl.cast(7, pl.INT32))
{WORK}""",
    "a loop whose length is a part of what was written": PLAN + f"""
{AT.format('work')}
    total = pl.cast(pl.read(todo, [0, 0]), pl.INDEX)
    for i in pl.range(total // 3):
{ROWS}""",
    "blocks that share what was written": PLAN + """
for b in pl.spmd(4, name_hint="work"):
    total = pl.cast(pl.read(todo, [0, 0]), pl.INDEX)
    for i in pl.range(b, total, 4):
        out[i : i + 1, :] = pl.mul(x[i : i + 1, :], 2.0)
""",
    "launches of a loop of orchestration": PLAN + f"""
for i in pl.range(pl.read(todo, [0, 0])):
    {AT.format('work')}
        out[i : i + 1, :] = pl.mul(x[i : i + 1, :], 2.0)
""",
    "an arm of an if": PLAN + f"""
if pl.read(todo, [0, 0]) > 5:
    {AT.format('work')}
        out[0:1, :] = pl.mul(x[0:1, :], 2.0)
""",
    "a predicate": PLAN + """
for b in pl.spmd(4, name_hint="work", predicate=(todo[0, 0] > 5)):
    out[b : b + 1, :] = pl.mul(x[b : b + 1, :], 2.0)
""",
    "beside what nobody asks for": f"""
more = pl.create_tensor([4, 8], dtype=pl.INT32)
{AT.format('plan')}
    for j in pl.range(3):
        pl.write(more, [0, j], pl.cast(j, pl.INT32))
        pl.write(todo, [0, j], pl.cast(pl.read(n, [0, j]) * 2, pl.INT32))
    out[60:61, :] = pl.mul(x[60:61, :], 2.0)
{WORK}""",
    "numbers that blocks work out by themselves": """
for b in pl.spmd(4, name_hint="plan"):
    rows = 0
    for j in pl.range(b):
        if pl.read(n, [0, j]) > 4:
            rows = rows + 1
    pl.write(todo, [b, 0], pl.cast(rows, pl.INT32))
for b in pl.spmd(4, name_hint="work"):
    for j in pl.range(pl.cast(pl.read(todo, [b, 0]), pl.INDEX)):
        i = b * 8 + j
        out[i : i + 1, :] = pl.mul(x[i : i + 1, :], 2.0)
""",
    "by way of tiles": f"""
{AT.format('tiles')}
    todo[:, :] = pl.add(n[:, :], 3)
{WORK}""",
    "by way of blocks of different extents": f"""
for b in pl.spmd(4, name_hint="tiles"):
    part = pl.slice(n, [1, 8], [b, 0], valid_shape=[1, 5 + b])
    todo = pl.assemble(todo, pl.add(part, 3), [b, 0])
{WORK}""",
    "by way of two tasks": f"""
more = pl.create_tensor([4, 8], dtype=pl.INT32)
{AT.format('first')}
    more[:, :] = pl.add(n[:, :], 1)
{AT.format('second')}
    todo[:, :] = pl.mul(more[:, :], 2)
{WORK}""",
    "a parameter that a task writes": f"""
{AT.format('count')}
    state[:, :] = pl.add(state[:, :], 3)
{AT.format('work')}
    for i in pl.range(pl.cast(pl.read(state, [0, 0]), pl.INDEX)):
{ROWS}""",
    "a sum that a loop of launches makes": f"""
{AT.format('zero')}
    todo[:, :] = pl.full([4, 8], dtype=pl.INT32, value=0)
for j in pl.range(3):
    {AT.format('add')}
        todo[:, :] = pl.add(todo[:, :], n[:, :])
{WORK}""",
    "a number of a tile of the same task": f"""
{AT.format('work')}
    t = pl.load(n, [0, 0], [4, 8])
    u = pl.add(t, 2)
    for i in pl.range(pl.cast(pl.read(u, [0, 0]), pl.INDEX)):
{ROWS}""",
    "what orchestration writes": f"""
pl.write(todo, [0, 0], pl.read(n, [0, 0]))
{WORK}""",
}  # fmt: skip


def given() -> list[torch.Tensor]:
    n = torch.arange(32, dtype=torch.int32).reshape(4, 8) + 4
    return [torch.randn(64, 16), n, torch.ones(4, 8, dtype=torch.int32), torch.zeros(64, 16)]


def built(body: str):
    return kernel(HEAD + "".join(f"    {line}\n" for line in body.strip("\n").splitlines()) + "    return out\n")


def work(trace: Trace) -> tuple:
    return follow.work(trace), [(d.name, d.blocks, d.skipped) for d in trace.dispatches]


@pytest.mark.parametrize("title", KERNELS)
def test_the_same_work_as_a_real_run(title: str):
    k, args, before = built(KERNELS[title]), given(), given()
    before[0] = args[0]
    real = interpret(k, [a.clone() for a in args], "a2a3interp", chip("a2a3"))
    dry = follow.trace(k, args, "a2a3interp", chip("a2a3"))
    assert work(dry) == work(real)
    assert not dry.partial
    assert all(torch.equal(a, b) for a, b in zip(args, before))  # a dry run leaves them as they were


def test_arguments_without_memory_are_made_when_they_are_asked_for():
    k, args = built(KERNELS["by way of tiles"]), given()
    outlined = [args[0].to("meta"), args[1].to("meta"), *args[2:]]
    made = follow.trace(k, outlined, "a2a3interp", chip("a2a3"), {"n": lambda: args[1]})
    assert work(made) == work(interpret(k, args, "a2a3interp", chip("a2a3")))
    assert follow.trace(k, outlined, "a2a3interp", chip("a2a3")).partial


def test_what_is_too_much_to_compute_is_called_partial(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(follow, "_computed", WeakKeyDictionary())
    monkeypatch.setattr(follow, "SECONDS", 0.0)
    assert follow.trace(built(KERNELS["by way of tiles"]), given(), "a2a3interp", chip("a2a3")).partial


def test_numbers_that_decide_nothing_are_not_computed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(follow, "SECONDS", 0.0)
    body = f"""
scale = pl.create_tensor([4, 8], dtype=pl.FP32)
{AT.format("scale")}
    scale[:, :] = pl.cast(pl.add(n[:, :], 1), pl.FP32)
{AT.format("work")}
    f = pl.read(scale, [0, 0])
    out[0:1, :] = pl.mul(x[0:1, :], f)
"""
    assert not follow.trace(built(body), given(), "a2a3interp", chip("a2a3")).partial


@pytest.mark.parametrize("decides", [False, True])
def test_what_can_be_computed_is_beside_what_is_too_much(monkeypatch: pytest.MonkeyPatch, decides: bool):
    """A table of work, whose numbers are cheap, and a factor by way of tiles, which is not."""
    monkeypatch.setattr(follow, "SECONDS", 1e-12)
    factor = f"""
scale = pl.create_tensor([4, 8], dtype=pl.INT32)
{AT.format("scale")}
    scale[:, :] = pl.add(n[:, :], 1)
"""
    loop = f"""
{AT.format("work")}
    for i in pl.range(pl.cast(pl.read(todo, [0, 0]), pl.INDEX)):
        out[i : i + 1, :] = pl.mul(x[i : i + 1, :], pl.cast(pl.read(scale, [0, 0]), pl.FP32))
"""
    more = f"""
if pl.read(scale, [0, 0]) > 1:
    {AT.format("more")}
        out[40:41, :] = x[40:41, :]
"""
    k = built(PLAN + factor + loop + (more if decides else ""))
    dry, real = (run(k, given(), "a2a3interp", chip("a2a3")) for run in (follow.trace, interpret))
    assert bool(dry.partial) == decides
    rows = {t: next(d.parts[0].chunk.work.stores for d in t.dispatches if d.name == "work") for t in (dry, real)}
    assert rows[dry] == rows[real] > 1


def test_a_fault_is_that_of_the_real_run():
    body = PLAN + f"""
{AT.format('work')}
    i = pl.cast(pl.read(todo, [0, 0]), pl.INDEX)
    out[0:1, :] = pl.mul(x[i * 10 : i * 10 + 1, :], 2.0)
"""  # fmt: skip
    with pytest.raises(FaultError, match="axis 0 from 80 to 81 of extent 64"):
        follow.trace(built(body), given(), "a2a3interp", chip("a2a3"))


def test_what_decides_nothing_is_guessed_before_much_is_made_for_it():
    stage = find("lm_head")
    specs = stage.specs(batch=16)
    values = {s.name: torch.empty(s.shape, dtype=s.dtype, device="meta") if isinstance(s, TensorSpec) else s.to_python()
              for s in specs}  # fmt: skip
    made = []

    def make(spec: TensorSpec) -> torch.Tensor:
        made.append(spec.name)
        return spec.create_tensor()

    makers = {s.name: (lambda s=s: make(s)) for s in specs if isinstance(s, TensorSpec)}
    trace = follow.trace(stage.versions["wide"], values, "a2a3interp", chip("a2a3"), makers)
    assert "lm_head_weight" not in made  # 1.56 GB, which only say which token is taken
    assert not trace.partial
    assert trace.tasks == 321


def test_a_pass_in_vain_does_not_run_every_block():
    """Blocks take pages from a table that an earlier task writes: as long as that is not known, all take the same."""
    values = values_of(find("flash_attention").specs(batch=3, ctx=[1, 200, 300]))
    dry = follow.trace(fused, values, "a2a3interp", chip("a2a3"))
    real = interpret(fused, list(values.values()), "a2a3interp", chip("a2a3"))
    assert follow.work(dry) == follow.work(real)
    blocks = [sorted(b for p in d.parts if p.chunk.phase == 2 for b in p.chunk.blocks.tolist()) for d in dry.dispatches]
    assert blocks[-1] == list(range(24))


def test_what_a_kernel_had_to_compute_is_remembered_for_such_arguments(monkeypatch: pytest.MonkeyPatch):
    passes = []
    once = follow.interpret
    monkeypatch.setattr(follow, "_computed", WeakKeyDictionary())
    monkeypatch.setattr(follow, "interpret", lambda *args, **how: (passes.append(1), once(*args, **how))[1])
    k, args = built(KERNELS["a loop of a region"]), given()
    follow.trace(k, args, "a2a3interp", chip("a2a3"))
    assert len(passes) > 1
    passes.clear()
    others = [args[0], args[1] + 1, *args[2:]]
    again = follow.trace(k, others, "a5interp", chip("a5"))
    assert len(passes) == 1
    assert work(again) == work(interpret(k, others, "a5interp", chip("a5")))
    assert work(again) != work(follow.trace(k, args, "a5interp", chip("a5")))


def test_all_blocks_of_a_launch_run_as_one_where_nothing_is_computed():
    trace = trace_stage(find("mlp"), "mixed", batch=16)
    assert {len(d.parts) for d in trace.dispatches} == {1}
