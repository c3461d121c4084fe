"""Figures of predicted time: swimlane, roofline, times; that they show the profile, and stay legible."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hand_programs import chain
from test_plots import HUGE, assert_legible, huge, said

from helpers import chips, plots
from helpers.interpret.source.source import Place
from helpers.interpret.trace.program import Step
from helpers.interpret.trace.trace import Chunk, Dispatch, Part, Trace, Work
from helpers.plots import core_lanes
from helpers.plots.roofline import points, running
from helpers.plots.style import time_text
from helpers.profile import Profile, profile
from helpers.run import run
from helpers.stages import find, trace_stage
from kernels import hello


def mixed_trace(names: int, launches: int, blocks: int = 3) -> Trace:
    """Launches of cube, vector and mixed work in turn."""
    trace = Trace("a2a3interp")
    none = np.zeros(0, np.int32)
    works = (
        Work(cube_flops=10**8, cube_ops=40, gm_read_bytes=10**5, loads=8),
        Work(vector_elements=10**5, vector_ops=60, gm_read_bytes=10**5, gm_write_bytes=10**4, loads=8, stores=1),
        Work(cube_flops=10**8, cube_ops=40, vector_elements=10**5, vector_ops=60, gm_read_bytes=10**6, loads=30),
    )
    cube, vector = (
        (Step("cube", "", "BF16", (16, 512, 256), None, 1), 40),
        (
            Step("vector", "exp", "FP32", (16, 512), None, 1),
            60,
        ),
    )
    programs = [chain(cube), chain(vector), chain(cube, vector)]
    for i in range(launches):
        d = Dispatch(i, f"kernel_{i % names}", Place("none.py", 1 + i % names, 1), "spmd", blocks, False, 0)
        d.parts = [
            Part(Chunk(np.arange(blocks), none, [], [], works[i % names % 3], {}, 0, programs[i % names % 3]), None)
        ]
        trace.dispatches.append(d)
    return trace


@pytest.fixture(scope="module")
def five() -> Profile:
    return profile(mixed_trace(3, 5, 1), edges=[])


@pytest.fixture(scope="module")
def mlp() -> dict[str, Profile]:
    return {v: profile(trace_stage(find("mlp"), v)) for v in ("accumulate", "mixed")}


@pytest.mark.parametrize("bins", [1, 7, 400])
def test_occupancy_is_the_time_that_cores_are_busy(mlp: dict[str, Profile], bins: int):
    for p in mlp.values():
        shares = core_lanes.occupancy(p, (0.0, p.makespan), bins)
        assert shares.min() >= 0
        assert shares.sum(axis=0).max() <= 1 + 1e-9
        task, core = p.schedule.lanes()
        busy = np.bincount(core, (p.schedule.end - p.schedule.start)[task], p.chip.cores)
        assert shares.sum(axis=(0, 2)) * p.makespan / bins == pytest.approx(busy)


def test_a_span_shows_what_is_in_it(mlp: dict[str, Profile]):
    p = mlp["accumulate"]
    whole = core_lanes.occupancy(p, (0.0, p.makespan), 100)
    half = core_lanes.occupancy(p, (0.0, p.makespan / 2), 50)
    assert half == pytest.approx(whole[..., :50], abs=1e-6)


def test_swimlane_has_a_lane_for_each_core_in_use_and_names_what_runs(five: Profile, mlp: dict[str, Profile]):
    fig = plots.swimlane(five)
    lanes = {five.chip.core_name(int(c)) for c in five.schedule.lanes()[1]}
    assert lanes == set(said(fig).split("\n")) & {five.chip.core_name(c) for c in range(five.chip.cores)}
    assert {"kernel_0", "kernel_1", "kernel_2"} <= set(said(fig).split("\n"))
    assert "predicted" in said(fig)
    assert_legible(fig)
    for p in mlp.values():
        fig = plots.swimlane(p)
        assert f"{len(p.tasks):,} tasks in {time_text(p.makespan)}{p.within}, predicted" in said(fig)
        assert "predicted by the cost model of a2a3" in said(fig)
        assert_legible(fig)
        assert_legible(plots.swimlane(p, (p.makespan / 3, p.makespan / 2)))


@pytest.mark.parametrize("names", [1, 6, 7, 58])
def test_six_colours_whatever_the_number_of_names(names: int):
    p = profile(mixed_trace(names, 120), chips.chip("a5"), edges=[])
    labels, place = core_lanes.shades(p)
    assert len(labels) == min(names, 6)
    assert (labels[-1] == f"{names - 5} other names") == (names > 6)
    assert sorted(set(place)) == list(range(len(labels)))
    for fig in (plots.swimlane(p), plots.roofline(p)):
        assert_legible(fig)


def test_swimlane_of_351050_tasks():
    trace, edges = huge()
    none = np.zeros(0, np.int32)
    program = chain((Step("vector", "mul", "FP32", (16, 32), None, 1), 3))
    chunk = Chunk(np.arange(1), none, [], [], Work(vector_ops=3, vector_elements=512, loads=1), {}, 0, program)
    for d in trace.dispatches:
        d.parts = [Part(chunk, None)]
    p = profile(trace, edges=edges[: HUGE // 2])
    fig, roof = plots.swimlane(p), plots.roofline(p)
    assert "351,050 tasks" in said(fig)
    assert fig.axes[0].images[0].get_array().shape[1] == 1200
    assert_legible(fig)
    assert_legible(roof)


def test_a_profile_of_nothing_can_be_shown():
    p = profile(Trace("a5interp"), edges=[])
    for fig in (plots.swimlane(p), plots.roofline(p), plots.times({"empty": p})):
        assert_legible(fig)


def test_points_are_what_the_trace_says():
    x, out = torch.randn(64, hello.WIDTH), torch.zeros(64, hello.WIDTH, dtype=torch.bfloat16)
    trace = run(hello.one_task, [x, torch.ones(1, hello.WIDTH), out], platform="a2a3interp").trace
    p = profile(trace)
    found = points(p)
    assert found["rms_norm"][0] == pytest.approx(trace.total("vector_elements") / p.bytes["HBM"], rel=1e-3)
    assert p.bytes["HBM"] == pytest.approx(64 * hello.WIDTH * 4 + hello.WIDTH * 4)  # each byte of x and weight once
    assert found["all"][0] == pytest.approx(found["rms_norm"][0])
    assert found["all"][1] < found["rms_norm"][1]


@pytest.mark.parametrize("chip", ["a2a3", "a5"])
@pytest.mark.parametrize("stage", ["rope_kv_cache", "qkv_proj", "flash_attention", "mlp", "lm_head"])
def test_no_kernel_is_above_the_roof(stage: str, chip: str):
    for version in find(stage).versions:
        p = profile(trace_stage(find(stage), version, chip=chip))
        peak = {"cube": p.chip.cube_tflops * 1e12, "vector": p.chip.vector_gflops * 1e9}
        peak["mixed"] = peak["cube"] + peak["vector"]
        core = {r.name: r.core for r in p.by_name()} | {"all": "mixed"}
        spent = running(p)
        cores = {"cube": p.chip.cube_cores, "vector": p.chip.vector_cores, "mixed": p.chip.clusters}
        for name, (each, rate) in points(p).items():
            share = 1.0 if name == "all" else spent[name][1] / cores[core[name]]
            assert rate <= min(each * p.chip.memory.shared * 1e9, share * peak[core[name]]) * (1 + 1e-9), (
                version,
                name,
            )


def test_roofline_marks_kernels_by_core(five: Profile, mlp: dict[str, Profile]):
    fig = plots.roofline(five)
    labels = {"kernel_0 (2 cube, L2)", "kernel_1 (2 vector, L2)", "kernel_2 (1 mixed, L2)"}
    assert labels <= set(said(fig).split("\n"))
    assert_legible(fig)
    for p in mlp.values():
        fig = plots.roofline(p)
        axes = fig.axes[0]
        for line in axes.lines:
            assert axes.get_xlim()[0] <= min(line.get_xdata()) <= max(line.get_xdata()) <= axes.get_xlim()[1] * 1.001
            assert axes.get_ylim()[0] <= max(line.get_ydata()) <= axes.get_ylim()[1]
        assert_legible(fig)


def test_times_beside_published_ones(mlp: dict[str, Profile]):
    fig = plots.times(mlp, {"before": 63_044.0, "after": 3284.4}, "#90")
    (axes,) = fig.axes
    widths = [p.get_width() for p in axes.patches if p.get_hatch()]
    assert widths == [63_044.0, 3284.4]
    for y, p in enumerate(mlp.values()):
        mine = [b for b in axes.patches if round(b.get_y() + b.get_height() / 2) == y]
        assert sum(b.get_width() for b in mine) == pytest.approx(p.makespan)
    assert {"accumulate, predicted", "before, published", "measured", "63 ms", "3,284 µs"} <= set(said(fig).split("\n"))
    assert_legible(fig)
    assert_legible(plots.times(mlp))


def test_times_as_people_write_them():
    texts = [time_text(us) for us in (0.0, 0.85, 12.34, 99.96, 1447.2, 63044.26, 536352, 2.5e6)]
    assert texts == ["0 ns", "850 ns", "12.3 µs", "100 µs", "1,447 µs", "63 ms", "536 ms", "2.5 s"]


def test_losses_cut_the_bar(five: Profile):
    class Cut(Profile):
        losses = {"busy": 0.5, "dispatch": 0.2, "dependencies": 0.2, "imbalance": 0.1}

    cut = Cut(**{f.name: getattr(five, f.name) for f in dataclasses.fields(five)})
    fig = plots.times({"cut": cut})
    assert [p.get_width() / cut.makespan for p in fig.axes[0].patches] == pytest.approx([0.5, 0.2, 0.2, 0.1])
    assert {"busy", "dispatch", "dependencies", "imbalance (nothing left to start)"} <= set(said(fig).split("\n"))
    assert_legible(fig)
