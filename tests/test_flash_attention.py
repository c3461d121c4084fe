"""kernels.flash_attention: every version against the golden, against each other, and what each is there to show."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from golden.flash_attention import reference, specs
from golden.spec import values_of
from helpers.chips import chip
from helpers.run import run
from helpers.stages import find, run_stage
from kernels.qwen3 import BATCH, HEAD_DIM, KV_HEADS, MAX_PAGES, PAGE

STAGE = find("flash_attention")
PLATFORMS = {"a2a3interp": "a2a3", "a5interp": "a5"}

Values = dict[str, Any]


def make(*args: Any, **kwargs: Any) -> Values:
    """The values that `specs` describes."""
    return values_of(specs(*args, **kwargs))


def copied(values: Values) -> Values:
    return {name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in values.items()}


def tasks(version: str, lengths: list[int], name: str) -> dict[str, int]:
    """How many tasks of each name a version runs."""
    heads = len(lengths) * KV_HEADS
    parts = KV_HEADS * sum(-(-n // PAGE) for n in lengths)
    return {
        "separate": {"rope_kv_cache": heads, "start": heads}
        | dict.fromkeys(("qk", "softmax", "sv", "merge"), parts)
        | {"finish": heads},
        "flat": dict.fromkeys(("rope_kv_cache", "qk", "softmax", "sv", "merge"), heads),
        "mixed": dict.fromkeys(("rope_kv_cache", "attention", "merge"), heads),
        "fused": {"work_table": 1, "attention": chip(name).clusters},
    }[version]


@pytest.mark.parametrize(
    ("batch", "ctx"),
    [(1, 1), (1, PAGE - 1), (1, PAGE), (1, PAGE + 1), (7, 1000), (BATCH, [1, 4096, 128, 129, *range(100, 1300, 100)])],
    ids=["1", "127", "128", "129", "7 x 1000", "16 ragged"],
)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_version_is_the_golden_and_all_are_alike(platform: str, batch: int, ctx: Any) -> None:
    lengths = [ctx] * batch if isinstance(ctx, int) else ctx
    outputs = []
    for version in STAGE.versions:
        result = run_stage(STAGE, version, platform=platform, batch=batch, ctx=ctx, seed=batch)
        assert result.passed, (version, result.error)
        assert result.trace.tasks_by_name() == tasks(version, lengths, PLATFORMS[platform])
        room = chip(PLATFORMS[platform]).buffers
        assert all(0 < used <= room[buffer] for buffer, used in result.trace.peaks().items())
        outputs.append(result.outputs)
    for other in outputs[1:]:
        for name, value in outputs[0].items():
            assert torch.equal(other[name].view(torch.int16), value.view(torch.int16)), name


def test_each_step_of_the_ladder_moves_less_or_launches_less() -> None:
    traces = [run_stage(STAGE, v, platform="a5interp", batch=2, ctx=600).trace for v in STAGE.versions]
    moved = [t.gm_read_bytes + t.gm_write_bytes for t in traces]
    launches = [len(t.dispatches) for t in traces]
    assert moved[0] > moved[1] > 1.1 * moved[2]
    through_the_ring = run_stage(STAGE, "mixed", platform="a2a3interp", batch=2, ctx=600).trace
    assert through_the_ring.gm_write_bytes == traces[1].gm_write_bytes  # of A2/A3, what `flat` wrote as scratch
    assert moved[3] < 1.2 * moved[2]
    assert launches == sorted(launches, reverse=True)
    assert launches[1:] == [5, 3, 2]


@pytest.mark.parametrize("version", STAGE.versions)
def test_nothing_but_the_sequences_own_rows_matters(version: str) -> None:
    """Rows of the caches that no sequence owns are NaN, those past its end in its last page and other layers too."""
    values = make(3, [PAGE + 5, 1, 3 * PAGE], layers=2, layer=1)
    clean = copied(values)
    for name in ("k_cache", "v_cache"):
        paged = values[name].view(2, -1, KV_HEADS, PAGE, HEAD_DIM)
        owned = torch.zeros(paged.shape[:4], dtype=torch.bool)
        for b, n in enumerate(values["seq_lens"].tolist()):
            for position in range(n - 1):  # the row of the new token is written before it is read
                page = int(values["block_table"][b * MAX_PAGES + position // PAGE])
                owned[1, page, :, position % PAGE] = True
        paged[~owned] = math.nan
    run(STAGE.versions[version], values, platform="a2a3interp")
    run(STAGE.versions[version], clean, platform="a2a3interp")
    assert torch.equal(values["attn_out"], clean["attn_out"])


@pytest.mark.parametrize("version", STAGE.versions)
def test_every_page_counts_wherever_the_largest_score_is(version: str) -> None:
    """V names its page; K is scaled so that the softmax is sharp and its maximum moves from page to page."""
    values = make(4, [5 * PAGE - 9, 4 * PAGE, 2 * PAGE + 1, PAGE], seed=3, layers=1, layer=0)
    v = values["v_cache"].view(-1, KV_HEADS, PAGE, HEAD_DIM)
    v[:] = torch.arange(v.shape[0]).view(-1, 1, 1, 1).bfloat16() + torch.arange(KV_HEADS).view(-1, 1, 1) * 32
    values["k_cache"] *= 8
    expected = copied(values)
    reference(expected)
    run(STAGE.versions[version], values, platform="a5interp")
    assert torch.allclose(values["attn_out"][:4].float(), expected["attn_out"][:4].float(), rtol=2.0**-7, atol=0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_scores_far_from_zero_neither_overflow_nor_vanish(sign: float) -> None:
    """Keys along the first query head: its scores are near +2000 or -2000, a softmax without the max would fail."""
    outputs = []
    for version in STAGE.versions:
        values = make(1, 2 * PAGE + 7, layers=1, layer=0)
        values["q_norm_weight"].fill_(40.0)
        values["q_proj"][0] = 1.0
        values["rope_cos"].fill_(1.0)
        values["rope_sin"].fill_(0.0)
        values["k_cache"].abs_()
        values["k_cache"] *= sign * 5
        expected = copied(values)
        reference(expected)
        run(STAGE.versions[version], values, platform="a2a3interp")
        assert torch.allclose(values["attn_out"][0].float(), expected["attn_out"][0].float(), rtol=2.0**-6, atol=2e-2)
        outputs.append(values["attn_out"])
    assert all(torch.equal(o, outputs[0]) for o in outputs)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("version", STAGE.versions)
def test_padding_rows_of_the_output_keep_what_they_held(version: str, batch: int) -> None:
    values = make(batch, 9, layers=1, layer=0)
    values["attn_out"].copy_(torch.randn(values["attn_out"].shape))
    before = values["attn_out"].clone()
    run(STAGE.versions[version], values, platform="a2a3interp")
    assert torch.equal(values["attn_out"][batch:], before[batch:])
    assert not (values["attn_out"][:batch] == before[:batch]).all(1).any()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_barrier_kernel_is_as_wide_as_the_chip_and_waits_for_its_table_only(platform: str) -> None:
    table, attention = run_stage(STAGE, "fused", platform=platform, batch=3, ctx=[900, 1, 300]).trace.dispatches
    assert attention.blocks == chip(PLATFORMS[platform]).clusters
    assert (table.manual, attention.manual) == (True, True)
    assert attention.deps == (table.index,)


def test_the_table_balances_ragged_lengths() -> None:
    """Cube work of the busiest block against the mean, over core groups."""
    lengths = [4096, 1, 1, 130, 2000, 50, 700, 3000]
    trace = run_stage(STAGE, "fused", platform="a2a3interp", batch=len(lengths), ctx=lengths).trace
    flops = torch.zeros(chip("a2a3").clusters)
    for part in trace.dispatches[1].parts:
        for block in part.chunk.blocks:
            flops[int(block)] += part.chunk.work.cube_flops
    assert float(flops.max() / flops.mean()) < 1.1
