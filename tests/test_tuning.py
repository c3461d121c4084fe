"""Kernels with other constants: what follows them, what stays, which values fit on which chip."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from helpers import tuning
from helpers.errors import FaultError, InputError, KernelError
from helpers.interpret.trace.trace import Trace
from helpers.run import run
from helpers.stages import STAGES, find, run_stage
from kernels import flash_attention, hello, mlp


def test_a_tuned_kernel_computes_the_same_with_other_tiles():
    x, weight = torch.randn(64, hello.WIDTH), torch.rand(1, hello.WIDTH)
    plain, other = (torch.zeros(64, hello.WIDTH, dtype=torch.bfloat16) for _ in range(2))
    assert run(hello.one_task, [x, weight, plain]).trace.tasks == 4
    trace = run(tuning.tuned(hello.one_task, TILE_ROWS=8), [x, weight, other]).trace
    assert trace.tasks == 8
    assert torch.equal(plain, other)
    assert run(hello.one_task, [x, weight, plain]).trace.tasks == 4
    assert {d.place.line for d in trace.dispatches} == {
        d.place.line for d in run(hello.one_task, [x, weight, plain]).trace.dispatches
    }


def test_what_is_computed_from_a_constant_follows():
    kernel = tuning.tuned(flash_attention.fused, RUN=2)
    assert kernel is not flash_attention.fused
    assert tuning.unwrap(kernel)[0].__globals__["RUNS_A_PAGE"] == 4
    assert flash_attention.RUNS_A_PAGE == 2


def test_wrong_names_are_told():
    with pytest.raises(InputError, match=r"kernels\.hello has no constant TILE_COLUMNS"):
        tuning.tuned(hello.one_task, TILE_COLUMNS=3)
    with pytest.raises(InputError, match="has no constant NONE"):
        tuning.constants(hello.one_task, ("WIDTH", "NONE"))
    with pytest.raises(KernelError, match="not a kernel"):
        tuning.tuned(print, TILE=1)


def test_every_knob_is_a_constant_of_its_kernel_and_offers_the_value_it_has():
    for stage, one in STAGES.items():
        for version, knobs in one.tiles.items():
            now = tuning.constants(find(stage).versions[version], tuple(k.name for k in knobs))
            for knob in knobs:
                assert now[knob.name] in knob.values, (stage, version, knob)
                assert list(knob.values) == sorted(set(knob.values))
    assert tuning.knobs("rope_kv_cache", "flat") == ()


def test_what_does_not_fit_is_told_and_depends_on_the_chip():
    stage = find("mlp")
    fits = tuning.attempt(stage, "mixed", chip="a2a3")
    assert isinstance(fits, Trace)
    assert fits.tasks == 109
    wide = tuning.attempt(stage, "mixed", chip="a2a3", WIDE_N=1024)
    assert isinstance(wide, FaultError)
    assert "L1" in str(wide) or "L0" in str(wide)
    half = tuning.attempt(stage, "mixed", chip="a2a3", WIDE_N=128, batch=3)
    assert half.tasks == 2 * 108 + 1
    assert tuning.tuned_stage(stage, "mixed") is stage
    assert stage.versions["mixed"] is mlp.mixed


@pytest.mark.parametrize(
    ("stage", "version", "values"),
    [
        ("qkv_proj", "split_k", {"GROUP_N": 512, "TILE_K": 64, "SPLITS": 20}),
        ("flash_attention", "fused", {"RUN": 1}),
        ("flash_attention", "fused", {"RUN": 8}),
    ],
)
def test_results_stay_right(stage: str, version: str, values: dict[str, int]):
    result = run_stage(tuning.tuned_stage(find(stage), version, **values), version, batch=2, ctx=200)
    assert result.passed, result.error


@pytest.mark.parametrize(
    ("version", "values"),
    [
        ("spmd", {"tiles.WIDE_N": 128, "tiles.WIDE_K": 256, "tiles.ATTENTION_BLOCKS": 48, "tiles.MLP_BLOCKS": 8}),
        ("chunked", {"tiles.WIDE_N": 128, "tiles.WIDE_K": 64, "tiles.ATTENTION_BLOCKS": 4, "tiles.MLP_BLOCKS": 12}),
    ],
)
def test_prefill_stays_right_with_other_tiles_and_blocks(version: str, values: dict[str, int]):
    stage = tuning.tuned_stage(find("prefill"), version, **values)
    result = run_stage(stage, version, batch=2, ctx=[70, 3], hidden=512, inter=256)
    assert result.passed, result.error


def test_a_kernel_that_goes_by_what_it_computes_is_tried_for_its_tiles_all_the_same():
    trace = tuning.attempt(find("flash_attention"), "fused", chip="a2a3", batch=2, ctx=300)
    assert not trace.partial
    assert trace.peaks()["L0B"] == 32768
    wide = tuning.attempt(find("lm_head"), "wide", chip="a2a3")  # reads its own sums, and does the same for any
    assert not wide.partial


SMALL = {"mlp": {"hidden": 1024, "inter": 2048}, "prefill": {"hidden": 512, "inter": 1024, "layers": 1}}
COMPOSED = {"decode_layer", "decode"}  # their parts' values are tried with the parts: here the ends of each


@pytest.mark.parametrize(
    ("name", "version"),
    [(s, v) for s, one in STAGES.items() if s not in ("mlp_32b", "prefill_chunk") for v, k in one.tiles.items() if k],
)
def test_each_value_does_the_same_work_or_is_refused_for_lack_of_memory(name: str, version: str):
    """What a slider offers is what `attempt` takes, so nothing else may stand in the way of a value of the table."""
    stage = find(name)
    stage = replace(stage, specs=partial(stage.specs, **SMALL.get(name, {})))
    plain = tuning.attempt(stage, version, chip="a2a3", batch=1, ctx=3)
    taken = 0
    for knob in tuning.knobs(name, version):
        for value in (knob.values[0], knob.values[-1]) if name in COMPOSED else knob.values:
            found = tuning.attempt(stage, version, chip="a2a3", batch=1, ctx=3, **{knob.name: value})
            if isinstance(found, Trace):
                assert found.total("cube_flops") == plain.total("cube_flops"), (knob, value)
                taken += 1
            else:
                assert isinstance(found, FaultError), (knob, value)
                assert "at once" in str(found), (knob, value)
    assert taken > 1


def test_a_composed_kernel_takes_constants_of_its_parts():
    stage = find("decode_layer")
    plain, other = (
        tuning.attempt(stage, "fused", chip="a2a3", batch=2, ctx=200, **values)
        for values in ({}, {"mlp.WIDE_N": 128, "qkv_proj.SPLITS": 1})
    )
    before, after = plain.tasks_by_name(), other.tasks_by_name()
    assert after["gate_up_silu"] == 2 * before["gate_up_silu"]
    assert before["project_split"] == 4 * after["project_split"]
    assert tuning.constants(stage.versions["fused"], ("mlp.WIDE_N",)) == {"mlp.WIDE_N": mlp.WIDE_N}
    assert mlp.WIDE_N == 256
    with pytest.raises(InputError, match=r"kernels\.mlp has no constant NONE"):
        tuning.tuned(stage.versions["fused"], **{"mlp.NONE": 1})
    with pytest.raises(InputError, match=r"kernels\.decode_layer uses nothing of a module lm_head"):
        tuning.tuned(stage.versions["fused"], **{"lm_head.WIDE_K": 1})
