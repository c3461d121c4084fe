"""A task on the pipes of its core: what must hold of any schedule, what overlaps, what waits are called."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hand_programs import LOOP, chain, staged
from hypothesis import given, settings
from hypothesis import strategies as st
from kernelgen import kernel

from helpers import chips, plots
from helpers.errors import InputError
from helpers.interpret.source.source import Place
from helpers.interpret.trace.compilers import TODAY, Compiler
from helpers.interpret.trace.program import Held, Instruction, Program, Step
from helpers.profile import Profile, profile
from helpers.profile.core_schedule import CoreRun, run, scalar_of
from helpers.profile.pipe_times import PIPES, SECOND, lag, pipe_times
from helpers.profile.skewed import BACK, OUT, WHOLE, order
from helpers.profile.stalls import stalls
from helpers.stages import find, trace_stage

CHIPS = {name: chips.chip(name) for name in ("a2a3", "a5")}
A2A3 = CHIPS["a2a3"]
IN_ORDER = Compiler(ahead=0)  # each core goes through its instructions in the order of the kernel's lines

STEPS = (
    Step("load", "L1", "BF16", (16, 512), None, 1),
    Step("load", "L1", "BF16", (64, 256), LOOP, 1),
    Step("load", "UB", "FP32", (8, 128), None, 1),
    Step("load", "scalar", "INT32", (1, 4), None, 1),
    Step("cube", "", "BF16", (16, 128, 64), None, 1),
    Step("cube", "", "BF16", (128, 512, 256), LOOP, 1),
    Step("vector", "exp", "FP32", (16, 128), None, 1),
    Step("vector", "add", "FP32", (8, 128), None, 2),
    Step("move", "L0C-UB", "FP32", (16, 512), None, 1),
    Step("move", "UB-L1", "BF16", (16, 256), None, 1),
    Step("move", "L0C-L1", "BF16", (16, 256), None, 1),
    Step("store", "UB", "FP32", (16, 512), None, 1),
    Step("store", "L0C", "FP32", (16, 512), None, 1),
)
SPACES = {"L0C-UB": "L0C-UB ring", "UB-L1": "UB-L1 ring", "L0C-L1": "L1", "L1": "L1", "UB": "UB"}


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Instructions of all kinds that read any tiles made before, in a few slots of each buffer."""
    tiles: list[Held] = []
    out: list[Instruction] = []
    for _ in range(draw(st.integers(1, 25))):
        step = draw(st.sampled_from(STEPS))
        known = list(range(len(tiles)))
        reads = draw(st.lists(st.sampled_from(known), max_size=3, unique=True)) if known else []
        writes = []
        if step.kind != "scalar" and step.engine != "store":
            in_place = [t for t in reads if tiles[t].space in ("L0C", "UB")]
            if step.engine in ("cube", "vector") and in_place and draw(st.booleans()):
                writes = in_place[:1]
            else:
                space = SPACES.get(step.kind, "L0C" if step.engine == "cube" else "UB")
                base = {"L1": 0, "UB": 10, "L0C": 20}.get(space, 0)
                writes = [len(tiles)]
                tiles.append(Held(space, 64, base + draw(st.integers(0, 2)), LOOP))
        elif step.kind == "scalar":
            reads = []
        out.append(Instruction(step, LOOP, tuple(reads), tuple(writes), draw(st.integers(0, 1))))
    return Program(tuple(out), tuple(tiles))


def slot(program: Program, tile: int) -> object:
    """Tiles that are handed over take turns in the slots of their ring."""
    held = program.tiles[tile]
    if not held.space.endswith("ring"):
        return held.slot
    return held.space, sum(t.space == held.space for t in program.tiles[:tile]) % IN_ORDER.ring


def lags(core: CoreRun) -> float:
    """Microseconds that all transfers together take until their data can be used, and that the task is entered."""
    return core.chip.runtime.task + sum(lag(b.pipe, b.buffer, core.chip) for b in core.bars)


@settings(max_examples=60, deadline=None)
@given(programs(), st.booleans(), st.sampled_from(sorted(CHIPS)))
def test_a_schedule_is_possible(program: Program, halves: bool, chip: str):
    core = run(program, CHIPS[chip], halves, IN_ORDER)
    # a pipe does one thing at a time, in order
    for pipe in range(len(PIPES) + SECOND):
        mine = [b for b in core.bars if b.pipe == pipe]
        assert all(a.end <= b.start + 1e-9 for a, b in pairwise(mine))
    # nothing begins before what it reads is there, or before all that used its slot have ended
    first = {n: min(b.start for b in core.bars if b.instruction == n) for n in {b.instruction for b in core.bars}}
    last = {n: max(b.end for b in core.bars if b.instruction == n) for n in first}
    made: dict[int, int] = {}
    users: dict[object, set[int]] = {}
    for n, i in enumerate(program.instructions):
        for tile in i.reads:
            if tile in made and made[tile] != n:
                assert _reading(core, n, tile) >= last[made[tile]] - 1e-9
        for tile in i.writes:
            for user in users.get(slot(program, tile), ()):
                if tile not in program.instructions[user].writes:
                    assert _filling(core, n) >= _used(core, user, slot(program, tile)) - 1e-9
        for tile in {*i.reads, *i.writes}:
            users.setdefault(slot(program, tile), set()).add(n)
        made |= dict.fromkeys(i.writes, n)
    # it takes at least as long as any pipe is busy, and no longer than everything one after the other
    assert core.total >= max(core.busy) - 1e-9
    for pipe in range(len(PIPES) + SECOND):
        assert core.total >= sum(b.end - b.start for b in core.bars if b.pipe == pipe) - 1e-9
    issue = A2A3.scalar.issue * 1e-3 / CHIPS[chip].clock_ghz
    assert core.total <= sum(b.end - b.start + issue for b in core.bars) + lags(core) + 1e-9
    assert core.total == max(core.ends)
    # each pipe is busy for as long as its instructions take
    spent = [0.0] * len(PIPES)
    for i in program.instructions:
        for pipe, us in () if i.step.kind == "scalar" else pipe_times(i.step, CHIPS[chip], halves):
            spent[pipe] += us
    for pipe, us in enumerate(spent):
        found = sum(b.end - b.start for b in core.bars if b.pipe in (pipe, pipe + SECOND if pipe > 4 else -1))
        if "scalar" not in PIPES[pipe]:
            assert found == pytest.approx(us)


def _reading(core: CoreRun, number: int, tile: int) -> float:
    """When an instruction begins to use a tile: of a product, the cube for the accumulator, MTE1 for its operands."""
    bars = [b for b in core.bars if b.instruction == number]
    if core.program.instructions[number].step.engine == "cube" and core.program.tiles[tile].space == "L0C":
        bars = [b for b in bars if PIPES[b.pipe] == "cube"]
    return min(b.start for b in bars)


def _used(core: CoreRun, number: int, where: object) -> float:
    """Until when an instruction uses what lies in a slot: a product takes its operands to L0 first."""
    i = core.program.instructions[number]
    bars = [b for b in core.bars if b.instruction == number]
    mine = [core.program.tiles[t].space for t in (*i.reads, *i.writes) if slot(core.program, t) == where]
    if i.step.engine == "cube" and "L0C" not in mine and not i.writes[0:1] == i.reads[0:1]:
        bars = [b for b in bars if PIPES[b.pipe] == "MTE1"]
    if i.step.engine == "move" and len(bars) == 2 and all(slot(core.program, t) != where for t in i.writes):
        bars = bars[:1]
    return max(b.end for b in bars)


def _filling(core: CoreRun, number: int) -> float:
    """When an instruction begins to fill the tile that it makes."""
    bars = [b for b in core.bars if b.instruction == number]
    step = core.program.instructions[number].step
    return min(b.start for b in bars if step.engine != "cube" or PIPES[b.pipe] == "cube")


LOADS = st.builds(lambda rows: Step("load", "L1", "BF16", (rows, 512), LOOP, 1), st.integers(1, 300))
CUBES = st.builds(
    lambda k, n: Step("cube", "", "BF16", (16, 16 * k, 16 * n), LOOP, 1), st.integers(1, 16), st.integers(1, 16)
)


@settings(max_examples=60, deadline=None)
@given(LOADS, CUBES, st.integers(1, 20), st.integers(1, 4))
def test_more_stages_are_never_slower(load: Step, cube: Step, turns: int, stages: int):
    few, many = (run(staged(load, cube, turns, n), A2A3).total for n in (stages, stages + 1))
    assert many <= few + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([s for s in STEPS if s.engine not in ("move",) and s.kind != "scalar"]),
                          st.integers(1, 4)), min_size=1, max_size=10))  # fmt: skip
def test_where_nothing_overlaps_it_takes_the_sum(steps: list):
    """But for the scalar unit, which hands out the next instruction while one runs."""
    steps = [(s._replace(size=(16, 64, 64), loop=None) if s.engine == "cube" else s, n) for s, n in steps]
    core = run(chain(*steps), A2A3)
    each = [us for step, n in steps for _ in range(n) for _, us in pipe_times(step, A2A3)]
    issue = A2A3.scalar.issue * 1e-3 / A2A3.clock_ghz
    assert sum(each) + A2A3.runtime.task <= core.total + 1e-9
    assert core.total <= sum(each) + lags(core) + issue * (1 + len(each)) + 1e-9


def test_two_stages_hide_the_shorter_of_load_and_product():
    load = Step("load", "L1", "BF16", (256, 512), LOOP, 1)
    cube = Step("cube", "", "BF16", (16, 256, 128), LOOP, 1)
    ((_, moved),) = pipe_times(load, A2A3)
    one, two = (run(staged(load, cube, 40, n), A2A3) for n in (1, 2))
    assert two.total == pytest.approx(40 * moved + A2A3.runtime.task, rel=0.05)
    # with one slot a load waits until MTE1 has taken what the one before loaded, not until the cube is done
    fed = A2A3.memory.latency + sum(us for pipe, us in pipe_times(cube, A2A3) if PIPES[pipe] == "MTE1")
    assert one.total == pytest.approx(40 * (moved + fed), rel=0.05)


def test_a_wait_has_a_name():
    load = Step("load", "L1", "BF16", (64, 512), LOOP, 1)
    cube = Step("cube", "", "BF16", (128, 128, 256), LOOP, 1)
    worst = stalls(run(staged(load, cube, 30, 1), A2A3))[0]
    assert (worst.pipe, worst.on, worst.why, worst.slots) in {
        ("cube", "cube MTE2", "room", 1), ("cube MTE2", "cube MTE2", "room", 1), ("MTE1", "cube MTE2", "room", 1),
    }  # fmt: skip
    assert "one slot, so one stage only" in str(worst)
    slow = stalls(run(staged(load._replace(size=(512, 512)), cube, 30, 2), A2A3))[0]
    assert (slow.on, slow.why) == ("cube MTE2", "busy")
    assert "waits for cube MTE2: which is busy with line 1" in str(slow)


def test_the_scalar_unit_hands_out_instructions_one_by_one():
    quick = Step("vector", "neg", "FP32", (1, 8), None, 1)
    program = Program(
        tuple(Instruction(quick, LOOP, (), (n,)) for n in range(50)), tuple(Held("UB", 32, n, LOOP) for n in range(50))
    )
    core = run(program, A2A3)
    assert core.busy[scalar_of(core.bars[0].pipe)] == pytest.approx(50 * A2A3.scalar.issue * 1e-3 / A2A3.clock_ghz)
    read = Step("load", "scalar", "INT32", (1, 4), None, 1)
    later = run(Program((Instruction(read, LOOP, (), ()), *program.instructions), program.tiles), A2A3)
    assert later.bars[1].start >= A2A3.scalar.read * 1e-3 / A2A3.clock_ghz


# ---- the cube runs ahead of the vector cores


def turns(n: int, loop: Place | None = LOOP) -> Program:
    """What an attention kernel does: a product that the vector cores work on, and a product of what they make."""
    load, cube = Step("load", "L1", "BF16", (128, 256), loop, 1), Step("cube", "", "BF16", (16, 128, 128), loop, 1)
    sent, got = Step("move", "L0C-UB", "FP32", (16, 512), None, 1), Step("move", "UB-L1", "BF16", (16, 256), None, 1)
    work, out = Step("vector", "exp", "FP32", (16, 1024), None, 1), Step("store", "L0C", "FP32", (16, 512), None, 1)
    tiles: list[Held] = []
    done: list[Instruction] = []

    def tile(space: str, slot: int) -> int:
        tiles.append(Held(space, 64, slot, LOOP))
        return len(tiles) - 1

    for t in range(n):
        k, s, pushed, p = tile("L1", t % 2), tile("L0C", 10), tile("L0C-UB ring", t % 2), tile("UB", 20 + t % 2)
        back, v, o = tile("UB-L1 ring", t % 2), tile("L1", 2 + t % 2), tile("L0C", 11)
        done += [
            Instruction(load, LOOP, (), (k,)), Instruction(cube, LOOP, (k,), (s,)),
            Instruction(sent, LOOP, (s,), (pushed,)), Instruction(work, LOOP, (pushed,), (p,)),
            Instruction(got, LOOP, (p,), (back,)), Instruction(load, LOOP, (), (v,)),
            Instruction(cube, LOOP, (back, v), (o,)), Instruction(out, LOOP, (o,), ()),
        ]  # fmt: skip
    return Program(tuple(done), tuple(tiles))


def cube_side(program: Program, ahead: int) -> str:
    """In what order the cube does its products: q of what it sends, s of what it gets back."""
    said = ""
    for number, side in order(program, ahead):
        i = program.instructions[number]
        if i.step.engine == "cube" and side == WHOLE:
            said += "s" if any(program.tiles[t].space == "UB-L1 ring" for t in i.reads) else "q"
    return said


def test_the_cube_begins_the_next_turns_before_it_waits_for_this_one():
    program = turns(4)
    assert [cube_side(program, d) for d in (0, 1, 2)] == ["qsqsqsqs", "qqsqsqss", "qqqqssss"]
    assert cube_side(turns(3), 2) == "qqsqss"  # of three turns it can be only one ahead
    assert cube_side(turns(4, None), 2) == "qsqsqsqs"  # no pl.pipeline
    for d in range(3):
        parts = order(program, d)
        assert sorted(parts) == sorted(order(program, 0))
        place = {p: k for k, p in enumerate(parts)}
        for n, i in enumerate(program.instructions):
            if i.step.engine == "move":
                assert place[n, OUT] < place[n, BACK]


def test_running_ahead_saves_time_and_the_day_decides():
    program = turns(8)
    before, one, two = (run(program, A2A3, False, c).total for c in (IN_ORDER, Compiler(ahead=1), TODAY))
    assert two <= one < before


# ---- what a kernel becomes


STAGED = """
@pl.jit
def k(x: pl.Tensor[[16, 1024], pl.BF16], w: pl.Tensor[[1024, 64], pl.BF16], r: pl.Tensor[[16, 64], pl.FP32],
      o: pl.Out[pl.Tensor[[16, 64], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP, optimizations=[pl.split(pl.SplitMode.UP_DOWN)]):
        acc = pl.create_tensor([16, 64], dtype=pl.FP32)
        for i in pl.{loop}:
            a = pl.slice(x, [16, 128], [0, i * 128])
            b = pl.slice(w, [128, 64], [i * 128, 0])
            acc = pl.matmul_acc(acc, a, b, init_cond=(i == 0))
        o[:, :] = pl.add(r[:, :], acc)
    return o
"""


def staged_kernel(loop: str, chip: str = "a2a3") -> Profile:
    import torch

    from helpers.interpret import follow

    k = kernel(STAGED.format(loop=loop))
    args = [
        torch.zeros(16, 1024).bfloat16(),
        torch.zeros(1024, 64).bfloat16(),
        torch.zeros(16, 64),
        torch.zeros(16, 64),
    ]
    return profile(follow.trace(k, args, f"{chip}interp", CHIPS[chip]))


def test_a_program_has_the_instructions_of_the_kernel_and_their_lines():
    (core,) = staged_kernel("pipeline(8, stage=2)").core(0)
    kinds = [(i.step.engine, i.step.kind) for i in core.program.instructions]
    assert kinds.count(("load", "L1")) == 16
    assert kinds.count(("cube", "")) == 8
    assert kinds[-5:] != kinds[:5]
    assert {("move", "L0C-UB"), ("vector", "add"), ("store", "UB"), ("load", "UB")} < set(kinds)
    line = {i.step.engine: i.place.code.strip() for i in core.program.instructions}
    assert "matmul_acc" in line["cube"]
    assert "pl.add" in line["store"]
    by_place: dict[Place, set[int]] = {}
    for i in core.program.instructions:
        for tile in i.writes:
            if i.step.engine == "load" and i.step.kind == "L1":
                by_place.setdefault(i.place, set()).add(core.program.tiles[tile].slot)
    assert {len(s) for s in by_place.values()} == {2}  # two stages, two slots for each operand


def test_a_stage_more_buys_time_in_a_kernel_and_one_slot_is_named():
    one, two, four = (staged_kernel(loop) for loop in ("range(8)", "pipeline(8, stage=2)", "pipeline(8, stage=4)"))
    assert one.makespan > two.makespan >= four.makespan
    assert any("one slot" in str(s) for s in stalls(one.core(0)[0]))


def test_what_is_handed_over_goes_out_and_comes_back_on_a2a3_and_stays_on_chip_on_a5():
    old, new = staged_kernel("range(8)"), staged_kernel("range(8)", "a5")
    handed = 16 * 64 * 4
    assert old.trace.ring_bytes == handed
    assert new.trace.ring_bytes == 0
    assert old.trace.gm_write_bytes - new.trace.gm_write_bytes == handed
    assert old.trace.gm_read_bytes - new.trace.gm_read_bytes == handed
    assert old.bytes["C2V"] == new.bytes["C2V"] == handed
    pipes = [[PIPES[b.pipe] for b in p.core(0)[0].bars if b.buffer.endswith("ring") or b.pipe == 3] for p in (old, new)]
    assert pipes == [["FIXP", "vector MTE2"], ["FIXP"]]


@pytest.mark.parametrize("stage", ["rope_kv_cache", "qkv_proj", "flash_attention", "mlp", "decode_layer"])
def test_every_tile_that_is_read_was_made(stage: str):
    for version in find(stage).versions:
        trace = trace_stage(find(stage), version, batch=2)
        programs = {id(p.chunk.program): p.chunk.program for d in trace.dispatches for p in d.parts}
        for program in programs.values():
            made: set[int] = set()
            for i in program.instructions:
                missing = set(i.reads) - set(i.writes) - made
                assert not missing, (version, i, [program.tiles[t] for t in missing])
                made |= set(i.writes)


# ---- the figure


def test_the_figure_has_a_lane_for_each_pipe_and_says_what_waits():
    from test_plots import assert_legible, said

    p = profile(trace_stage(find("mlp"), "mixed"))
    fig = plots.core(p, "gate_up_silu")
    text = said(fig).split("\n")
    assert {"cube MTE2", "MTE1", "cube", "FIXP", "vector MTE2", "vector", "MTE3"} <= set(text)
    assert any("waits for" in line for line in text)
    assert "predicted" in said(fig)
    assert_legible(fig)
    for other in (plots.core(p), plots.core(p, 0), plots.core(p, "gate_up_silu", 3, (100.0, 120.0))):
        assert_legible(other)
    with pytest.raises(InputError, match="no task is called 'nothing'; there are: "):
        plots.core(p, "nothing")
    with pytest.raises(InputError, match="has blocks 0 to 67, not 68"):
        plots.core(p, "gate_up_silu", 68)
    with pytest.raises(InputError, match="there are tasks 0 to 108, not 109"):
        plots.core(p, 109)
