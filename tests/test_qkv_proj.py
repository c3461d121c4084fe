"""kernels.qkv_proj: every version against the golden, on both chips, and what each is there to show."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
import torch

from golden.qkv_proj import PROJECTIONS, TOLERANCE, reference, specs
from golden.spec import values_of
from helpers.chips import chip
from helpers.interpret.trace.depend import races
from helpers.interpret.trace.trace import Trace
from helpers.run import run
from helpers.stages import find
from kernels.qwen3 import HIDDEN

STAGE = find("qkv_proj")
PLATFORMS = {"a2a3interp": "a2a3", "a5interp": "a5"}

TASKS = {
    "tile": {"input_rmsnorm": 1, "project_tile": 112},
    "grouped": {"input_rmsnorm": 1, "project_group": 28},
    "spmd": {"input_rmsnorm": 1, "project_block": 28},
    "split_k": {"weighted_rows": 10, "rms_scale": 1, "seed": 28, "project_split": 112, "scale": 28},
}

Values = dict[str, Any]


@lru_cache(maxsize=1)
def golden(batch: int) -> Values:
    """Inputs, the other layer's all NaN, and what the reference makes of them."""
    values = values_of(specs(batch, seed=batch))
    for name in ("norm_weight", "wq", "wk", "wv"):
        values[name][: len(values[name]) // 2] = torch.nan
    reference(values)
    return values


@lru_cache(maxsize=len(TASKS))
def ran(version: str, batch: int, platform: str) -> tuple[Values, Trace]:
    """What a version writes over outputs that were NaN."""
    values = {**golden(batch), **{name: torch.full_like(golden(batch)[name], torch.nan) for name in PROJECTIONS}}
    return values, run(STAGE.versions[version], values, platform=platform).trace


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("batch", [1, 7, 16])
def test_every_version_is_the_golden(batch: int, platform: str) -> None:
    for version in STAGE.versions:
        values, trace = ran(version, batch, platform)
        for name in PROJECTIONS:
            ours, theirs = values[name], golden(batch)[name]
            assert float((ours - theirs).abs().max()) <= TOLERANCE.atol, (version, name)
            assert torch.equal(ours[batch:], torch.zeros_like(ours[batch:])), (version, name)
        assert trace.tasks_by_name() == TASKS[version]
        room = chip(PLATFORMS[platform]).buffers
        assert all(0 < used <= room[buffer] for buffer, used in trace.peaks().items())
        assert races(trace) == []


def test_the_first_three_round_alike_and_split_k_sums_alike() -> None:
    """Only where a row is rounded and in which order its products are added tells the versions apart."""
    outputs = {version: ran(version, 7, "a2a3interp")[0] for version in STAGE.versions}
    for name in PROJECTIONS:
        for version in ("grouped", "spmd"):
            assert torch.allclose(outputs["tile"][name], outputs[version][name], rtol=0, atol=1e-5)
        assert float((outputs["tile"][name] - outputs["split_k"][name]).abs().max()) <= TOLERANCE.atol


def test_what_the_steps_buy() -> None:
    traces = {version: ran(version, 16, "a2a3interp")[1] for version in STAGE.versions}
    read = {version: trace.gm_read_bytes for version, trace in traces.items()}
    weights = HIDDEN * sum(width for _, width in PROJECTIONS.values()) * 2
    assert read["tile"] > 1.15 * read["grouped"]  # `normed` is loaded for 64 columns, then for 256
    assert weights < read["grouped"] < 1.07 * weights
    assert len(traces["spmd"].dispatches) == 4
    assert traces["spmd"].peaks()["L1"] == 2 * traces["grouped"].peaks()["L1"]  # loads run ahead
