"""Sweeps over tile sizes: what is legal, what is fastest, that results are kept, and that dask finds the same."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import pytest
import torch

import golden.mlp
import kernels.hello
import kernels.lm_head
import kernels.mlp
from golden import TensorSpec
from helpers import chips
from helpers.errors import InputError
from helpers.profile import profile
from helpers.profile import sweep as module
from helpers.profile.sweep import Point, sweep
from helpers.stages import trace_kernel
from helpers.tuning import tuned

SMALL = partial(golden.mlp.specs, batch=16, hidden=1024, inter=2048)
GRID = {"WIDE_N": (64, 128, 1024), "MIXED_K": (64, 128, 512)}
TOO_LARGE = {"WIDE_N": 1024, "MIXED_K": 512}


@pytest.fixture(scope="module")
def points() -> list[Point]:
    return sweep(kernels.mlp.mixed, GRID, specs=SMALL, best=0, jobs=1, progress=False)


def test_every_combination_is_there_once_the_fastest_first(points: list[Point]):
    assert len(points) == 9
    assert len({tuple(p.values.items()) for p in points}) == 9
    legal = [p.us for p in points if p.us is not None]
    assert legal == sorted(legal)
    assert [p.us is None for p in points] == sorted(p.us is None for p in points)


def test_what_does_not_fit_says_so(points: list[Point]):
    (point,) = [p for p in points if p.values == TOO_LARGE]
    assert point.us is None
    assert "bytes of L1" in point.why
    assert all(p.why == "" for p in points if p.us is not None)


def test_a_time_is_that_of_the_profile(points: list[Point]):
    best = points[0]
    trace = trace_kernel(tuned(kernels.mlp.mixed, **best.values), SMALL())
    p = profile(trace, chips.chip("a2a3"))
    assert (best.us, best.tasks) == (p.makespan, len(p.tasks))


def test_the_best_are_run_against_the_golden():
    found = sweep(kernels.mlp.mixed, {"WIDE_N": (64, 128)}, specs=SMALL, best=1, jobs=1, progress=False)
    assert [p.passed for p in found] == [True, None]
    assert 0 < found[0].max_abs < 1
    assert found[1].max_abs is None


def test_a_kernel_of_no_stage_needs_specs():
    with pytest.raises(InputError, match="pass specs="):
        sweep(kernels.hello.one_task, {"TILE_ROWS": (16,)}, progress=False)

    def specs() -> list:
        return [
            TensorSpec("x", [64, kernels.hello.WIDTH], torch.float32, init_value=torch.randn),
            TensorSpec("weight", [1, kernels.hello.WIDTH], torch.float32, init_value=torch.randn),
            TensorSpec("out", [64, kernels.hello.WIDTH], torch.bfloat16, is_output=True),
        ]

    (point,) = sweep(kernels.hello.one_task, {"TILE_ROWS": (8,)}, specs=specs, jobs=1, progress=False)
    assert (point.tasks, point.why) == (8, "")
    assert point.passed is None


@pytest.mark.parametrize(
    ("grid", "chip", "error"),
    [
        ({"NOTHING": (1,)}, "a2a3", "no constant NOTHING"),
        ({"WIDE_N": ()}, "a2a3", "without values"),
        ({}, "a2a3", "or none"),
        ({"WIDE_N": (64,)}, "a9", "must be a2a3 or a5"),
    ],
)
def test_what_cannot_be_swept(grid: dict, chip: str, error: str):
    with pytest.raises(InputError, match=error):
        sweep(kernels.mlp.mixed, grid, chip=chip, specs=SMALL, progress=False)


def test_a_sweep_that_was_interrupted_goes_on(tmp_path: Path, points: list[Point], monkeypatch: pytest.MonkeyPatch):
    cache, done = tmp_path / "sweep.json", []
    real = module.predict

    def counting(*args: object) -> Point:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(args)
        return real(*args)

    monkeypatch.setattr(module, "predict", counting)
    run = partial(sweep, kernels.mlp.mixed, GRID, specs=SMALL, best=0, jobs=1, cache=cache, progress=False)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert 3 <= len(json.loads(cache.read_text())) <= 4
    assert list(tmp_path.iterdir()) == [cache]
    kept = len(json.loads(cache.read_text()))
    done.clear()
    monkeypatch.setattr(module, "predict", lambda *args: done.append(args) or real(*args))
    assert run() == points
    assert len(done) == 9 - kept
    done.clear()
    assert run() == points
    assert done == []
    sweep(kernels.mlp.mixed, {"WIDE_N": (64,)}, specs=SMALL, chip="a5", best=0, jobs=1, cache=cache, progress=False)
    assert len(done) == 1  # another chip is another result


def test_a_file_that_is_no_cache_is_an_error(tmp_path: Path):
    cache = tmp_path / "notes.txt"
    cache.write_text("not a cache")
    with pytest.raises(InputError, match="is no cache of a sweep"):
        sweep(kernels.mlp.mixed, GRID, specs=SMALL, cache=cache, progress=False)
    assert cache.read_text() == "not a cache"


def test_processes_find_the_same(points: list[Point]):
    few = {"WIDE_N": (64, 1024), "MIXED_K": (512,)}
    found = sweep(kernels.mlp.mixed, few, specs=SMALL, best=0, jobs=2, progress=False)
    assert found == [p for p in points if p.values in [dataclasses.asdict(q)["values"] for q in found]]


def test_a_dask_client_finds_the_same(points: list[Point]):
    from distributed import Client

    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as client:
        found = sweep(kernels.mlp.mixed, GRID, specs=SMALL, best=0, client=client, progress=False)
    assert found == points


def test_a_stage_brings_its_own_arguments():
    (point,) = sweep(kernels.lm_head.wide, {"WIDE_CHUNKS": (4,)}, best=0, jobs=1, progress=False)
    assert point.tasks == 149 + 24
