"""kernels.prefill: every version against the golden and the others, pages, chunks, and published task counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from golden.prefill import Q_WIDTH, reference, specs, written
from golden.spec import values_of
from helpers.chips import chip
from helpers.course.exercises import EXERCISES
from helpers.interpret.trace.depend import races, stated
from helpers.run import run
from helpers.stages import find, run_stage, trace_stage
from kernels import qwen3
from kernels.qwen3 import HEAD_DIM, KV_HEADS, MAX_CHUNK, MAX_PAGES, PAGE, Q_PER_KV

STAGE = find("prefill")
CHIPS = {"a2a3interp": "a2a3", "a5interp": "a5"}
NARROW = {"hidden": 512, "inter": 256}
TILE = 64

Values = dict[str, Any]


def make(*args: Any, **kwargs: Any) -> Values:
    """The values that `specs` describes, at narrow widths."""
    described = specs(*args, **{**NARROW, **kwargs})
    return values_of(described)


def copied(values: Values) -> Values:
    return {name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in values.items()}


def tasks(
    version: str, lens: list[int], starts: list[int], hidden: int = qwen3.HIDDEN, inter: int = qwen3.INTERMEDIATE
) -> int:
    """How many tasks a layer has."""
    tiles = [(s + t, min(TILE, n - t)) for n, s in zip(lens, starts, strict=True) for t in range(0, n, TILE)]
    if version == "per_token":
        projections = Q_WIDTH // 256 + KV_HEADS * HEAD_DIM // 256 + 4
        rest = 2 * hidden // 64 + 3 * inter // 128 + 2 * hidden // 128
        return sum(lens) * (2 + 7 * KV_HEADS) + len(tiles) * (projections + rest)

    def attention(start: int, length: int) -> int:
        pages = -(-(start + length) // PAGE)
        return 16 * (1 + 3 * pages + (pages - 1) + 1)

    steps = 8 + 20 + 8 + 20 + 20 + 8 + 24 + 24 + 20 + 20
    if version == "spmd":
        return sum(steps + attention(*tile) for tile in tiles)
    return steps + sum(attention(*chunk) for chunk in zip(starts, lens, strict=True))


CASES = {
    "1": ([1], [0]),
    "63": ([TILE - 1], [0]),
    "64": ([TILE], [0]),
    "65": ([TILE + 1], [0]),
    "128": ([PAGE], [0]),
    "129": ([PAGE + 1], [0]),
    "300": ([300], [0]),
    "512": ([MAX_CHUNK], [0]),
    "ragged": ([3, 1, 66, 2], [0, 0, 0, 0]),
    "from a cache": ([5, 1, 70, 16], [PAGE - 3, 3 * PAGE, 77, 112]),
    "few from a cache": ([2, 1, 3], [PAGE - 1, 3 * PAGE, 77]),
    "a decode step": ([1, 1], [PAGE, 8 * PAGE - 1]),
}
# per_token has 58 tasks a token: only these, which have every edge that the others have
BY_TOKEN = ("1", "65", "few from a cache", "a decode step")


@pytest.mark.parametrize("case", CASES)
def test_every_version_is_the_golden(case: str) -> None:
    lens, starts = CASES[case]
    layers = 2 if sum(lens) < TILE else 1
    platform = "a5interp" if len(lens) > 1 else "a2a3interp"
    how = {"batch": len(lens), "ctx": lens, "start": starts, "layers": layers, "seed": sum(lens), **NARROW}
    results = {}
    for version in STAGE.versions:
        if version == "per_token" and case not in BY_TOKEN:
            continue
        results[version] = result = run_stage(STAGE, version, platform=platform, **how)
        assert result.passed, (version, result.error)
        masks = version != "per_token"
        assert result.trace.tasks == layers * tasks(version, lens, starts, **NARROW) + masks, version
        room = chip(CHIPS[platform]).buffers
        assert all(0 < used <= room[buffer] for buffer, used in result.trace.peaks().items()), version
        assert races(result.trace) == [], version
    first, *others = results.values()
    for other in others:
        for name in ("k_cache", "v_cache", "hidden_states"):
            a, b = first.outputs[name].float(), other.outputs[name].float()
            assert torch.allclose(a, b, rtol=2.0**-6, atol=2.0**-6 * layers), name


@pytest.mark.parametrize(("version", "ctx", "platform"), [("per_token", 2, "a5interp"), ("spmd", 65, "a2a3interp")])
def test_at_the_models_widths(version: str, ctx: int, platform: str) -> None:
    result = run_stage(STAGE, version, platform=platform, ctx=ctx, seed=ctx)
    assert result.passed, result.error
    room = chip(CHIPS[platform]).buffers
    assert all(0 < used <= room[buffer] for buffer, used in result.trace.peaks().items())


def test_several_chunks_at_the_models_widths() -> None:
    result = run_stage(find("prefill_chunk"), "chunked", platform="a2a3interp", batch=3, ctx=[30, 3, 1])
    assert result.passed, result.error


# Attention alone: with no MLP, and a wo that adds up the heads, the result is x plus the sum of all heads' attention.


def attention_alone(values: Values) -> Values:
    values["w_down"].zero_()
    values["wo"].zero_()
    hidden = values["wo"].shape[1]
    for first in range(0, Q_WIDTH, hidden):
        values["wo"][first : first + hidden] = torch.eye(hidden)
    return values


@pytest.mark.parametrize("version", STAGE.versions)
def test_every_page_counts_wherever_the_largest_score_is(version: str) -> None:
    """V names its page, K is scaled: the softmax is sharp and its maximum moves from page to page, token to token."""
    values = attention_alone(make(2, [20, 3], seed=3, start=[5 * PAGE - 9, 4 * PAGE]))
    v = values["v_cache"].view(-1, KV_HEADS, PAGE, HEAD_DIM)
    v[:] = torch.arange(v.shape[0]).view(-1, 1, 1, 1).bfloat16() + torch.arange(KV_HEADS).view(-1, 1, 1) * 32
    values["k_cache"] *= 8
    values["hidden_states"] *= 1e-3  # the norm takes that out, and what is left is attention
    expected = copied(values)
    reference(expected)
    run(STAGE.versions[version], values, platform="a5interp")
    ours, theirs = values["hidden_states"].float(), expected["hidden_states"].float()
    assert torch.allclose(ours, theirs, rtol=2.0**-7, atol=0.5)
    assert float(theirs.std()) > 20


@pytest.mark.parametrize("version", STAGE.versions)
@pytest.mark.parametrize("start", [0, 100])
def test_no_token_sees_a_later_one(version: str, start: int) -> None:
    """Tokens from the 20th on are others: nothing before it changes by a bit, and everything after it does."""
    values = attention_alone(make(1, 36, seed=1, start=start))
    other = copied(values)
    other["hidden_states"][20:] = other["hidden_states"][20:].flip(0)
    rows = []
    for given in (values, other):
        run(STAGE.versions[version], given, platform="a2a3interp")
        rows.append(given["hidden_states"])
    assert torch.equal(rows[0][:20], rows[1][:20])
    assert not (rows[0][20:] == rows[1][20:]).all(1).any()


@pytest.mark.parametrize("version", STAGE.versions)
def test_nothing_but_the_sequences_own_rows_matters(version: str) -> None:
    """Rows of the caches that no sequence owns are NaN, those of its later tokens too."""
    values = make(3, [2, 1, 19], seed=2, start=[PAGE + 5, 0, 2 * PAGE])
    clean = copied(values)
    for name in ("k_cache", "v_cache"):
        paged = values[name].view(-1, KV_HEADS, PAGE, HEAD_DIM)
        owned = torch.zeros(paged.shape[:3], dtype=torch.bool)
        for b, before in enumerate((values["seq_lens"] - values["chunk_lens"]).tolist()):
            for position in range(before):
                owned[int(values["block_table"][b * MAX_PAGES + position // PAGE]), :, position % PAGE] = True
        paged[~owned] = math.nan
    for given in (values, clean):
        run(STAGE.versions[version], given, platform="a2a3interp")
    assert torch.equal(values["hidden_states"], clean["hidden_states"])


def test_a_prompt_in_chunks_is_the_whole_prompt() -> None:
    """300 tokens at once, and as chunks of 128, 100, 71 and 1 on one cache, each call of another version but one."""
    whole = make(1, 300, seed=5)
    values, rows = copied(whole), []
    for version, first, last in (
        ("chunked", 0, 128),
        ("spmd", 128, 228),
        ("chunked", 228, 299),
        ("per_token", 299, 300),
    ):
        call = values | {
            "seq_lens": torch.tensor([last], dtype=torch.int32),
            "chunk_lens": torch.tensor([last - first], dtype=torch.int32),
            "slot_mapping": whole["slot_mapping"][first:last].clone(),
            "hidden_states": whole["hidden_states"][first:last].clone(),
        }
        run(STAGE.versions[version], call, platform="a2a3interp")
        rows.append(call["hidden_states"])
    run(STAGE.versions["chunked"], whole, platform="a2a3interp")
    for name, ours in {**written(whole, values), "hidden_states": torch.cat(rows)}.items():
        assert torch.allclose(ours.float(), written(whole, whole)[name].float(), rtol=2.0**-6, atol=2.0**-6), name


# What the steps buy.


def test_the_published_counts() -> None:
    """PR 662: 351,050 tasks before, 10 of them after the last layer; 27,866 after, one for every 12.6."""

    def counted(version: str, layers: int) -> int:
        return trace_stage(STAGE, version, ctx=128, layers=layers).tasks

    counts = {}
    for version in STAGE.versions:  # of 40 layers, each of which adds what the second one adds
        one, two, three = (counted(version, layers) for layers in (1, 2, 3))
        assert three - two == two - one
        counts[version] = one + 39 * (two - one)
    assert counts["per_token"] == 40 * (128 * 58 + 2 * 676) == 351_050 - 10
    assert counts["per_token"] >= 12 * counts["spmd"]
    assert counts["spmd"] == 40 * tasks("spmd", [128], [0]) + 1 <= 27_866
    assert counts["chunked"] == 40 * tasks("chunked", [128], [0]) + 1
    assert trace_stage(STAGE, "per_token", ctx=200).tasks == EXERCISES["6.1"].solution


def test_which_tasks_of_per_token_wait_for_their_own_kind() -> None:
    """Short ones that write columns of one tensor, and those that write what the caller gave; no product."""
    trace = trace_stage(STAGE, "per_token", ctx=TILE + 2, **NARROW)
    names = [d.name for d in trace.dispatches]
    chained = {names[e.later] for e in stated(trace) if names[e.earlier] == names[e.later]}
    assert chained == {"rope_kv_cache", "out_proj_residual", "silu", "down_proj_residual"}


def test_weights_are_read_once_for_each_tile_of_tokens() -> None:
    """Four chunks of 16 tokens: four tiles for spmd, one for chunked."""
    moved = {version: trace_stage(STAGE, version, batch=4, ctx=16).gm_read_bytes for version in ("spmd", "chunked")}
    weights = 2 * qwen3.HIDDEN * (2 * Q_WIDTH + 2 * qwen3.KV_HIDDEN + 3 * qwen3.INTERMEDIATE)
    assert moved["spmd"] > 4 * weights
    assert weights < moved["chunked"] < 1.3 * weights


def test_a_window_wastes_no_rows() -> None:
    """80 rows for 16 tokens where per_token has 256: the cube multiplies for real rows only."""
    flops = {}
    for version in ("per_token", "spmd"):
        trace = trace_stage(STAGE, version, ctx=64)
        flops[version] = sum(
            len(part) * part.chunk.work.cube_flops
            for dispatch in trace.dispatches
            if dispatch.name in ("qk", "sv")
            for part in dispatch.parts
        )
    real = 2 * 2 * 64 * KV_HEADS * Q_PER_KV * PAGE * HEAD_DIM  # QK and SV of 64 tokens on the one page they have
    assert flops == {"spmd": real, "per_token": real * 16 // Q_PER_KV}
