"""Predicted time: the cost of steps by hand, what a profile says of a kernel, its exports and its command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_programs import LOOP, chain
from hypothesis import given, settings
from kernelgen import kernel
from test_plots import huge
from test_profile_schedule import costs, graphs, run
from typer.testing import CliRunner

from helpers import chips
from helpers.cli import app
from helpers.interpret import follow
from helpers.interpret.language.dtypes import FP32
from helpers.interpret.source.source import Place
from helpers.interpret.trace.edges import Edge, Edges
from helpers.interpret.trace.program import Held, Instruction, Program, Step
from helpers.interpret.trace.trace import IN, OUT, Argument, Chunk, Part, Work
from helpers.interpret.values.values import Buffer
from helpers.profile import Profile, profile
from helpers.profile.cost import LEVELS, program_cost
from helpers.profile.export import chrome_trace, write_chrome_trace, write_dependencies
from helpers.profile.pipe_times import CUBE, MTE1, PIPES, VECTOR, pipe_times, product, worked
from helpers.profile.task_table import MIXED
from helpers.stages import find, trace_stage
from kernels.qwen3 import HIDDEN, KV_HIDDEN

A2A3, A5 = chips.chip("a2a3"), chips.chip("a5")
CYCLE = 1e-3 / 1.85  # us


@pytest.fixture(scope="module")
def accumulate() -> Profile:
    return profile(trace_stage(find("qkv_proj"), "split_k"))


def chunk(*steps: tuple[Step, int]) -> Chunk:
    return Chunk(np.arange(1), np.zeros(0, np.int32), [], [], Work(), {}, 0, chain(*steps))


FILLED = """
@pl.jit
def k(x: pl.Tensor[[128, 256], pl.FP32], y: pl.Out[pl.Tensor[[128, 256], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="first"):
        y[0:16, :] = pl.mul(x[0:16, :], 2.0)
    acc = pl.create_tensor([{rows}, 256], dtype=pl.FP32{more})
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="second"):
        acc[0:16, :] = pl.mul(x[0:16, :], 2.0)
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="third"):
        y[16:32, :] = pl.mul(acc[0:16, :], 2.0)
    return y
"""


def test_what_is_created_with_a_value_is_filled_by_the_thread_that_submits():
    def submitted(rows: int, more: str = ", init_value=0") -> np.ndarray:
        k = kernel(FILLED.format(rows=rows, more=more))
        trace = follow.trace(k, [torch.zeros(128, 256), torch.zeros(128, 256)], "a2a3interp", A2A3)
        return profile(trace).schedule.submitted

    plain = submitted(128, "")
    assert plain == pytest.approx(A2A3.runtime.submit * np.arange(1, 4))
    for rows in (16, 128):
        fill = rows * 256 * 4 / 1.77e3
        assert submitted(rows) == pytest.approx(plain + [0, fill, fill])
    # pypto-lib 829: 56.6 us for the accumulators of 8 tokens, [16, 1024], [16, 512] and [16, 32] in FP32
    assert 16 * (1024 + 512 + 32) * 4 / (A2A3.runtime.fill * 1e3) == pytest.approx(107.9 - 51.3, rel=0.01)


# ---- costs by hand


def test_a_product_takes_its_feeds_and_its_tiles():
    step = Step("cube", "", "BF16", (16, 128, 64), None, 1)
    feed, multiply = 16 * 128 * 2 / 129.7 + 64 * 128 * 2 / 85.4, 21 + 1 * 8 * 4
    assert pipe_times(step, A2A3) == [(MTE1, pytest.approx(feed * CYCLE)), (CUBE, pytest.approx(multiply * CYCLE))]
    wide = product(Step("cube", "", "BF16", (16, 256, 256), None, 1), A2A3)
    assert (wide.pieces, wide.twice) == (4, True)  # 128 KiB of L0B, which holds two of 32 KiB
    assert product(step, A2A3)[3:] == (1, True)
    assert product(Step("cube", "", "BF16", (16, 128, 256), None, 1), A2A3)[3:] == (1, False)


def test_fp32_products_take_more_passes():
    bf16, fp32 = (product(Step("cube", "", d, (128, 64, 128), None, 1), A5).us for d in ("BF16", "FP32"))
    tiles = 8 * 4 * 8
    assert fp32 > 8 * 2 * tiles * 1e-3 / A5.clock_ghz > bf16 > tiles * 1e-3 / A5.clock_ghz


def load(rows: int, nbytes: int, kind: str = "L1", loop: Place | None = None) -> Step:
    return Step("load", kind, "BF16", (rows, nbytes), loop, 1)


def test_short_rows_take_as_long_as_a_line():
    def us(chip: chips.Chip, rows: int, nbytes: int) -> float:
        ((_, t),) = pipe_times(load(rows, nbytes), chip)
        return t

    issue = A2A3.memory.issue
    assert us(A2A3, 128, 128) == us(A2A3, 128, 512) == pytest.approx(issue + 128 * 512 / 158e3)
    assert us(A2A3, 128, 513) == pytest.approx(issue + 128 * 1024 / 158e3)
    assert us(A2A3, 1, 128 * 128) == pytest.approx(issue + 128 * 128 / 158e3)
    assert us(A5, 128, 128) == pytest.approx(A5.memory.issue + 128 * A5.memory.burst_l1 * 1e-3)
    assert us(A5, 128, 128) < us(A5, 128, 512) < us(A2A3, 128, 513)


def test_vector_instructions_by_kind_and_bytes():
    def us(name: str, shape: tuple[int, ...], dtype: str = "FP32", halves: bool = False) -> float:
        ((_, t),) = pipe_times(Step("vector", name, dtype, shape, None, 1), A2A3, halves)
        return t

    assert us("add", (16, 256)) == us("exp", (16, 256)) == pytest.approx((25 + 64 * 2) * CYCLE)
    assert us("adds", (16, 256)) == us("rsqrt", (16, 256)) == pytest.approx((25 + 64) * CYCLE)
    assert us("div", (16, 256)) == pytest.approx((25 + 64 * 4) * CYCLE)
    assert us("add", (16, 256), "BF16") == pytest.approx((25 + 32 * 2) * CYCLE)
    assert us("add", (16, 256), halves=True) == pytest.approx((25 + 32 * 2) * CYCLE)
    assert us("row_sum", (16, 8)) == us("row_sum", (16, 64)) == pytest.approx((55 + 16 * 7) * CYCLE)
    assert us("row_max", (16, 256)) == pytest.approx((55 + 16 * (7 + 3 * 1.5)) * CYCLE)
    assert us("col_sum", (128, 8)) == pytest.approx((25 + 128 * 19) * CYCLE)
    assert us("row_expand", (16, 8)) == us("concat", (16, 64)) == pytest.approx((25 + 16 * 14) * CYCLE)
    assert us("row_expand_mul", (16, 256)) == us("add", (16, 256))


def published_cycles(name: str, cols: int, per_row: float, bias: float) -> None:
    """PTO-ISA's measured row of a reduction, beside the model's."""
    ours = worked(Step("vector", name, "FP32", (64, cols), None, 1), A2A3)
    assert ours == pytest.approx(bias + 64 * per_row, rel=0.15)


def test_reductions_take_what_pto_isa_measured():
    for name, cols, per_row, bias in (
        ("row_sum", 8, 7.0, 58), ("row_sum", 128, 8.0, 61.5), ("row_sum", 336, 14.08, 121), ("row_max", 64, 7.0, 32),
        ("col_sum", 8, 19.0, 29), ("col_sum", 128, 22.1, 8), ("col_sum", 336, 28.0, 34), ("col_max", 32, 17.25, 16),
    ):  # fmt: skip
        published_cycles(name, cols, per_row, bias)


@pytest.mark.parametrize("halves", [False, True])
def test_what_cube_and_vector_hand_each_other_goes_through_memory_where_the_ring_is(halves: bool):
    to_vector, to_cube = (Step("move", kind, "FP32", (16, 512), None, 1) for kind in ("L0C-UB", "UB-L1"))
    share, size, m = 0.5 if halves else 1.0, 16 * 512 / 1e3, A2A3.memory
    drained = (164 + 16 * 4.45) * CYCLE
    (out, us), (back, us_back) = pipe_times(to_vector, A2A3, halves)
    assert (PIPES[out], PIPES[back]) == ("FIXP", "vector MTE2")
    assert us == pytest.approx(max(drained, m.issue + size / m.from_l0c))
    assert us_back == pytest.approx(m.issue + share * size / m.to_ub)
    (out, us), (back, us_back) = pipe_times(to_cube, A2A3, halves)
    assert (PIPES[out], PIPES[back]) == ("MTE3", "cube MTE2")
    assert us == pytest.approx(m.issue + share * size / m.from_ub)
    assert us_back == pytest.approx(m.issue + size / m.to_l1)
    assert [PIPES[p] for p, _ in pipe_times(to_vector, A5, halves)] == ["FIXP"]
    assert [PIPES[p] for p, _ in pipe_times(to_cube, A5, halves)] == ["MTE3"]


def test_the_two_lanes_of_a_split_aiv_run_side_by_side():
    step = Step("vector", "exp", "FP32", (8, 128), None, 2)
    one = Instruction(step, LOOP, (), (0,))
    tiles = tuple(Held("UB", 32, n, LOOP) for n in range(2))
    alone = program_cost(Program((one, one), tiles[:1]), A2A3)
    both = program_cost(Program((one, one._replace(lane=1, writes=(1,))), tiles), A2A3)
    assert both.busy[VECTOR] == pytest.approx(alone.busy[VECTOR] / 2)
    enter = A2A3.runtime.task
    assert both.total - enter == pytest.approx((alone.total - enter) / 2, rel=0.1)


# ---- a profile


def test_a_profile_says_what_the_trace_says(accumulate: Profile):
    p = accumulate
    rows = p.by_name()
    assert {r.name: r.tasks for r in rows} == p.trace.tasks_by_name()
    assert sum(r.total for r in rows) == pytest.approx(p.mean_task * len(p.tasks))
    moved = p.bytes
    assert moved["GM-L1"] + moved["GM-UB"] == p.trace.gm_read_bytes
    assert moved["L0C-GM"] + moved["UB-GM"] == p.trace.gm_write_bytes
    assert set(moved) == set(LEVELS)
    # each weight of the layer is read once, from HBM
    assert moved["HBM"] == pytest.approx(HIDDEN * (HIDDEN + 2 * KV_HIDDEN) * 2, rel=0.02)
    assert p.costs[0].total == p.costs.total[0]
    assert p.makespan >= p.costs.levels["HBM"] / (p.chip.memory.shared * 1e3)


def test_no_time_is_shorter_than_memory_allows():
    for stage, version in (("mlp", "mixed"), ("lm_head", "wide")):
        p = profile(trace_stage(find(stage), version))
        assert p.makespan >= p.costs.levels["HBM"] / (p.chip.memory.shared * 1e3)


def test_the_dependencies_of_many_tasks_are_inferred_and_scheduled():
    """A buffer of as many tiles as tasks, of which each reads two and writes one."""
    tasks = 30_000
    trace, edges = huge(launches=tasks)
    extent, strides = (16, 32), (32, 1)
    size = 16 * 32
    trace.buffers = [Buffer(0, "tiles", None, size * tasks, FP32, argument=False)]
    before: dict[int, list[int]] = {}
    for e in edges:
        before.setdefault(e.later, []).append(e.earlier)
    one = chunk((Step("vector", "mul", "FP32", (16, 32), None, 1), 3))
    for d in trace.dispatches:
        reads = [(Argument(0, 0, extent, strides), i * size, IN) for i in before.get(d.index, ())]
        writes = [(Argument(0, 0, extent, strides), d.index * size, OUT)]
        d.parts = [Part(replace(one, arguments=reads + writes), None)]
    p = profile(trace)
    assert set(zip(p.edges.earlier.tolist(), p.edges.later.tolist())) == {(e.earlier, e.later) for e in edges}
    assert len(p.tasks) == tasks
    assert sum(p.losses.values()) == pytest.approx(1)
    assert p.path[-1].end == p.makespan


# ---- exports


def check_chrome_trace(text: str) -> dict:
    """Hold a file against Chrome's Trace Event Format, as far as it has these phases; returns it."""
    data = json.loads(text)
    assert set(data) == {"displayTimeUnit", "otherData", "traceEvents"}
    threads, slices, flows = set(), {}, {}
    for e in data["traceEvents"]:
        assert {"ph", "pid", "tid", "name"} <= set(e)
        assert isinstance(e["pid"], int)
        assert isinstance(e["tid"], int)
        assert e["ph"] in "MXsf"
        if e["ph"] == "M":
            assert e["name"] in ("process_name", "process_sort_index", "thread_name")
            if e["name"] == "thread_name":
                threads.add((e["pid"], e["tid"]))
                assert isinstance(e["args"]["name"], str)
            continue
        assert (e["pid"], e["tid"]) in threads
        assert e["ts"] >= 0
        assert math.isfinite(e["ts"])
        if e["ph"] == "X":
            assert e["dur"] >= 0
            slices.setdefault((e["pid"], e["tid"]), []).append((e["ts"], e["ts"] + e["dur"]))
        else:
            flows.setdefault(e["id"], {})[e["ph"]] = e
    for spans in slices.values():
        spans.sort()
        assert all(a[1] <= b[0] + 2e-3 for a, b in zip(spans, spans[1:]))  # noqa: RUF007
    for pair in flows.values():
        assert set(pair) == {"s", "f"}
        assert pair["s"]["ts"] <= pair["f"]["ts"]
        assert pair["f"]["bp"] == "e"
        for e in pair.values():
            assert any(a - 1e-6 <= e["ts"] <= b + 1e-6 for a, b in slices[e["pid"], e["tid"]])
    return data


def test_chrome_trace_is_valid_and_its_total_is_the_makespan(accumulate: Profile, tmp_path: Path):
    path = tmp_path / "run.json"
    write_chrome_trace(accumulate, path)
    data = check_chrome_trace(path.read_text())
    events = data["traceEvents"]
    last = max(e["ts"] + e["dur"] for e in events if e["ph"] == "X")
    assert last == pytest.approx(accumulate.makespan, abs=2e-3)
    assert data["otherData"]["makespan_us"] == pytest.approx(accumulate.makespan, abs=1e-3)
    assert "predicted" in data["otherData"]["what"]
    assert len({e["args"]["task"] for e in events if e["ph"] == "X"}) == len(accumulate.tasks)
    assert sum(e["ph"] == "s" for e in events) > 0
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=30, deadline=None)
@given(graphs())
def test_any_schedule_is_a_valid_chrome_trace_as_long_as_itself(tmp_path_factory: pytest.TempPathFactory, case: tuple):
    tasks, us, edges, chip, hbm = case
    s = run(tasks, us, edges, chip, hbm=hbm)
    links = Edges.of(Edge(a, b, "deps") for a, b in edges)
    p = Profile(tasks.trace, chip, tasks, costs(us, hbm), links, s)
    path = tmp_path_factory.mktemp("traces") / "run.json"
    write_chrome_trace(p, path)
    events = check_chrome_trace(path.read_text())["traceEvents"]
    bars = [e for e in events if e["ph"] == "X"]
    assert len(bars) == len(tasks) + 2 * int((tasks.kind == MIXED).sum())
    assert max(e["ts"] + e["dur"] for e in bars) == pytest.approx(p.makespan, abs=2e-3)
    for e in bars:
        task = e["args"]["task"]
        assert (e["ts"], e["dur"]) == pytest.approx((s.start[task], s.end[task] - s.start[task]), abs=2e-3)
    ends = {(e["ph"], e["id"]): e for e in events if e["ph"] in "sf"}
    assert len(ends) == 2 * len(set(edges))
    arrows = sorted((ends["s", i]["ts"], ends["f", i]["ts"]) for i in range(len(set(edges))))
    spans = [(s.start[a:b].min(), s.end[a:b].max()) for a, b in pairwise(tasks.first.tolist())]
    assert arrows == [
        pytest.approx(pair, abs=3e-3) for pair in sorted((spans[a][1], spans[b][0]) for a, b in set(edges))
    ]


def test_a_mixed_task_has_a_bar_on_each_of_its_cores():
    p = profile(trace_stage(find("mlp"), "mixed"))
    bars = [e for e in chrome_trace(p) if e["ph"] == "X" and e["name"] == "gate_up_silu"]
    assert len(bars) == 3 * 68
    assert {e["pid"] for e in bars} == {0, 1}


def test_dependencies_name_launches_and_reasons(accumulate: Profile, tmp_path: Path):
    path = tmp_path / "deps.json"
    write_dependencies(accumulate, path)
    data = json.loads(path.read_text())
    assert [d["id"] for d in data["launches"]] == list(range(len(accumulate.trace.dispatches)))
    assert len(data["edges"]) == len(accumulate.edges)
    assert {e["why"] for e in data["edges"]} <= {"deps", "inferred"}
    assert all(e["from"] < e["to"] for e in data["edges"])


# ---- the command


def command(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["profile", *args])
    return result.exit_code, result.output


def test_the_command_labels_what_it_prints_as_predicted(tmp_path: Path):
    out = tmp_path / "run.json"
    code, text = command("mlp", "--version", "mixed", "--perfetto", str(out), "--deps", str(tmp_path / "deps.json"))
    assert code == 0
    assert "PREDICTED" in text
    makespan = json.loads(out.read_text())["otherData"]["makespan_us"]
    assert f"{makespan:,.1f} us{A2A3.within}, 109 tasks" in text
    for word in ("gate_up_silu", "mlp.py:", "lost to dispatch", "critical path", "GM-L1"):
        assert word in text


def test_the_command_profiles_a_script(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\nfrom golden import TensorSpec, run_jit\nfrom kernels import hello\n"
        "specs = [TensorSpec('x', [64, hello.WIDTH], torch.float32, init_value=torch.randn),\n"
        "         TensorSpec('weight', [1, hello.WIDTH], torch.float32, init_value=torch.randn),\n"
        "         TensorSpec('out', [64, hello.WIDTH], torch.bfloat16, is_output=True)]\n"
        "run_jit(hello.one_task, specs, lambda v: None, runtime_cfg={'platform': 'a5'})\n"
    )
    code, text = command(str(script))
    assert code == 0, text
    assert "PREDICTED" in text
    assert "Ascend 950" in text


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["nothing"], "unknown stage"),
        (["mlp", "--version", "none"], "no version 'none'"),
        (["mlp", "--chip", "a9"], "must be a2a3 or a5"),
        (["mlp", "--what"], "unknown option --what"),
        (["mlp", "--perfetto", "x.json"], "name one --version"),
        (["none.py"], "no file"),
        (["none.py", "--version", "x"], "no file"),
    ],
)
def test_the_command_refuses(args: list[str], error: str):
    code, text = command(*args)
    assert code == 2
    assert error in text
