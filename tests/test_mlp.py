"""kernels.mlp: every version against the golden, at several widths, and the task counts that were published."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from golden import TensorSpec
from golden.mlp import TOLERANCE, reference, specs
from golden.spec import values_of
from helpers.chips import chip
from helpers.interpret.trace.depend import races
from helpers.interpret.trace.trace import Trace
from helpers.run import run
from helpers.stages import find, run_stage
from kernels import qwen3, qwen3_32b

STAGE = find("mlp")
PLATFORMS = {"a2a3interp": "a2a3", "a5interp": "a5"}

Values = dict[str, Any]


def tasks(version: str, hidden: int, inter: int) -> dict[str, int]:
    """How many tasks of each name a version runs."""
    narrow, blocks = hidden // 64, hidden // 128
    front = {"out_proj": narrow, "add_residual": narrow, "post_rmsnorm": 1}
    middle = {"gate_or_up": 2 * (inter // 64), "silu": inter // 64}
    products = inter // 64 * blocks
    return {
        "partial_products": {"seed_sums": hidden // 512, **front, **middle}
        | {"down_product": products, "down_add": products, "final_residual": blocks},
        "accumulate": {**front, **middle, "down_proj": blocks, "final_residual": blocks},
        "mixed": {"out_proj_residual": hidden // 256, "post_rmsnorm": 1}
        | {"gate_up_silu": inter // 256, "down_proj_residual": hidden // 256},
    }[version]


def make(batch: int, hidden: int, inter: int) -> Values:
    """Inputs of three layers, those of the first and the last all NaN, and what the reference makes of them."""
    described = specs(batch, seed=batch, layers=3, layer=1, hidden=hidden, inter=inter)
    values = values_of(described)
    for name in ("norm_weight", "wo", "w_gate", "w_up", "w_down"):
        values[name].view(3, -1)[[0, 2]] = torch.nan
    reference(values)
    return values


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(("batch", "hidden", "inter"), [(1, 512, 256), (7, 1024, 1280), (16, 1536, 512)])
def test_every_version_is_the_golden_at_any_width(platform: str, batch: int, hidden: int, inter: int) -> None:
    golden = make(batch, hidden, inter)
    outputs = []
    for version, kernel in STAGE.versions.items():
        values = {**golden, "out": torch.full_like(golden["out"], torch.nan)}
        trace = run(kernel, values, platform=platform).trace
        ours, theirs = values["out"].float(), golden["out"].float()
        assert ((ours - theirs).abs() <= TOLERANCE.atol + TOLERANCE.rtol * theirs.abs()).all(), version
        assert torch.equal(ours[batch:], torch.zeros_like(ours[batch:])), version
        assert trace.tasks_by_name() == tasks(version, hidden, inter)
        room = chip(PLATFORMS[platform]).buffers
        assert all(0 < used <= room[buffer] for buffer, used in trace.peaks().items())
        assert races(trace) == []
        outputs.append(ours)
    for one, other in itertools.combinations(outputs, 2):
        assert ((one - other).abs() <= TOLERANCE.atol + TOLERANCE.rtol * other.abs()).all()


@pytest.mark.parametrize(("version", "batch"), [("partial_products", 1), ("accumulate", 16), ("mixed", 7)])
def test_at_the_models_widths(version: str, batch: int) -> None:
    result = run_stage(STAGE, version, platform="a2a3interp", batch=batch, seed=batch)
    assert result.passed, result.error
    assert result.trace.tasks_by_name() == tasks(version, qwen3.HIDDEN, qwen3.INTERMEDIATE)


def counted(version: str, hidden: int, inter: int) -> Trace:
    """The trace of a run without arithmetic at these widths."""
    values = {}
    for spec in specs(hidden=hidden, inter=inter):
        if not isinstance(spec, TensorSpec):
            values[spec.name] = spec.to_python()
        elif spec.dtype.is_floating_point:
            values[spec.name] = torch.empty(spec.shape, dtype=spec.dtype, device="meta")
        else:
            values[spec.name] = spec.create_tensor()
    return run(STAGE.versions[version], values, platform="a2a3interp", dry=True).trace


def test_the_published_count_before_is_met_exactly() -> None:
    """PR 90's before is 33,411 tasks; it had hidden 5120, as the counts of its loops show, and its after 8192."""
    assert counted("partial_products", 5120, qwen3_32b.INTERMEDIATE).tasks == 33_411


@pytest.mark.parametrize("shape", [qwen3, qwen3_32b], ids=["14b", "32b"])
def test_naive_has_twenty_times_the_tasks(shape: Any) -> None:
    counts = {version: counted(version, shape.HIDDEN, shape.INTERMEDIATE).tasks for version in STAGE.versions}
    assert counts["partial_products"] >= 20 * counts["accumulate"]
    assert counts["accumulate"] >= 9 * counts["mixed"]
    if shape is qwen3_32b:
        filled_with_zeros = 8192 // 64 // 8 + 25600 // 64 // 8  # tasks of PR 90's after that this one has not
        assert counts["accumulate"] + filled_with_zeros == 1_651


def test_what_the_steps_buy() -> None:
    traces = {version: counted(version, qwen3.HIDDEN, qwen3.INTERMEDIATE) for version in STAGE.versions}
    moved = {version: t.gm_read_bytes + t.gm_write_bytes for version, t in traces.items()}
    assert moved["partial_products"] > 1.4 * moved["accumulate"] > 1.6 * moved["mixed"]
    weights = 2 * qwen3.HIDDEN * (qwen3.HIDDEN + 3 * qwen3.INTERMEDIATE)
    assert moved["mixed"] < 1.06 * weights
    assert len(traces["mixed"].dispatches) == 4
