"""kernels.lm_head: both versions against the golden in every mode, and the token they choose."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from golden.compare import compare_outputs
from golden.lm_head import CHUNKS, COMPARE_FN, VOCAB_CHUNK, reference, specs
from golden.spec import values_of
from helpers.chips import chip
from helpers.interpret.trace.depend import races
from helpers.interpret.trace.trace import Trace
from helpers.run import run
from helpers.stages import find
from kernels.qwen3 import HIDDEN, VOCAB, VOCAB_PADDED

STAGE = find("lm_head")
PLATFORMS = {"a2a3interp": "a2a3", "a5interp": "a5"}

Values = dict[str, Any]


def tasks(version: str, chunks: int) -> dict[str, int]:
    """How many tasks of each name a version runs, those it has none of left out."""
    head = {"narrow": {"head_products": chunks, "head_store": chunks}, "wide": {"head": -(-chunks // 2)}}[version]
    counts = {"final_rmsnorm": 1, **head, "chunk_best": -(-chunks // 27), "greedy": 1} if chunks else {"no_tokens": 1}
    return counts | ({"zero_logits": 1} if chunks < CHUNKS else {})


def make(batch: int, chunks: int, filled: tuple[int, ...]) -> Values:
    """Inputs whose weight is random in some chunks and zero in the others, with many chunks to compute."""
    described = specs(batch, seed=batch, mode="skip")
    values = values_of(described)
    values["chunks"] = chunks
    random = torch.Generator().manual_seed(batch)
    for chunk in filled:
        rows = slice(chunk * VOCAB_CHUNK, (chunk + 1) * VOCAB_CHUNK)
        values["lm_head_weight"][rows].normal_(0.0, 0.02, generator=random)
    return values


def judge(version: str, values: Values, platform: str = "a2a3interp") -> tuple[Values, Trace]:
    """Run a version over outputs full of other values and hold it against the golden."""
    golden = {**values, "logits": values["logits"].clone(), "tokens": values["tokens"].clone()}
    reference(golden)
    values["logits"].fill_(torch.nan)
    values["tokens"].fill_(-7)
    trace = run(STAGE.versions[version], values, platform=platform).trace
    inputs = {name: torch.as_tensor(v) for name, v in values.items() if name not in COMPARE_FN}
    outputs = {name: values[name] for name in COMPARE_FN}
    failures = compare_outputs(outputs, golden, compare_fn=COMPARE_FN, inputs=inputs)[1]
    assert failures == {}
    assert trace.tasks_by_name() == tasks(version, values["chunks"])
    room = chip(PLATFORMS[platform]).buffers
    assert all(used <= room[buffer] for buffer, used in trace.peaks().items())
    return values, trace


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("version", STAGE.versions)
@pytest.mark.parametrize(("batch", "chunks"), [(1, 1), (7, 3), (16, 28), (16, 0), (3, 0)])
def test_some_chunks(version: str, batch: int, chunks: int, platform: str) -> None:
    _, trace = judge(version, make(batch, chunks, tuple(range(min(chunks, 3)))), platform)
    assert races(trace) == []


@pytest.mark.parametrize("version", STAGE.versions)
def test_the_whole_vocabulary(version: str) -> None:
    """Winners at the ends of the vocabulary and within; the greatest logit of each sequence is one of padding."""
    values = make(5, CHUNKS, (0, 26, 27, CHUNKS - 1))
    weight, hidden = values["lm_head_weight"], values["hidden_states"]
    wanted = [0, VOCAB - 1, 27 * VOCAB_CHUNK, 27 * VOCAB_CHUNK - 1, 300 * VOCAB_CHUNK + 77]
    for b, token in enumerate(wanted):
        weight[token] = hidden[b] * 0.01
        weight[VOCAB + b] = hidden[b] * 0.02
    values, trace = judge(version, values)
    assert values["tokens"].tolist() == wanted
    assert values["logits"].argmax(1).tolist() == [VOCAB + b for b in range(5)]
    assert trace.gm_read_bytes > 2 * VOCAB_PADDED * HIDDEN


def test_both_say_the_same_and_wide_moves_and_launches_less() -> None:
    values = make(16, 40, (0,))
    traces, logits, tokens = [], [], []
    for version in STAGE.versions:
        traces.append(judge(version, values)[1])
        logits.append(values["logits"].clone())
        tokens.append(values["tokens"].clone())
    assert float((logits[0] - logits[1]).abs().max()) < 1e-5  # they round alike and add in another order
    assert torch.equal(*tokens)
    moved = [t.gm_read_bytes + t.gm_write_bytes for t in traces]
    assert moved[0] > 1.1 * moved[1]
    assert traces[0].tasks == 1 + 2 * 40 + 2 + 1 + 1
    assert traces[1].tasks == 1 + 20 + 2 + 1 + 1
