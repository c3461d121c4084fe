"""The kernels of stage rope_kv_cache against its golden, at full shapes, and what they leave alone."""

from __future__ import annotations

import pytest
import torch

from golden import rope_kv_cache as golden
from golden.spec import values_of
from helpers import stages
from helpers.errors import WorkbookError
from helpers.run import run
from kernels.qwen3 import KV_HEADS

STAGE = stages.find("rope_kv_cache")
VERSIONS = list(STAGE.versions)

# A sequence of one token, the tokens around the end of a page, a full table, and in between.
CASES = {
    1: [1],
    7: [1, 127, 128, 129, 4096, 1000, 256],
    16: [1, 2, 127, 128, 129, 255, 256, 257, 640, 1000, 2048, 3000, 4000, 4095, 4096, 33],
}


@pytest.mark.parametrize("platform", ["a2a3interp", "a5interp"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("batch", CASES)
def test_matches_the_golden(version: str, batch: int, platform: str):
    result = stages.run_stage(STAGE, version, platform=platform, batch=batch, ctx=CASES[batch], seed=batch)
    assert result.passed, result.error
    assert result.platform == platform
    tasks = {"naive": 6 * batch * KV_HEADS, "per_sequence": batch, "flat": batch * KV_HEADS}
    assert result.trace.tasks == tasks[version]


def values(**options: object) -> dict:
    specs = golden.specs(batch=3, ctx=[1, 128, 129], **options)
    return values_of(specs)


@pytest.mark.parametrize("version", VERSIONS)
def test_rows_that_no_slot_addresses_are_untouched(version: str):
    v = values()
    before = {name: v[name].clone() for name in ("k_cache", "v_cache")}
    run(STAGE.versions[version], v)
    for name, old in before.items():
        changed = (v[name].view(torch.int16) != old.view(torch.int16)).any(1).nonzero().flatten().tolist()
        written = golden.addressed(v, old.shape[0]).flatten().tolist()
        assert set(changed) <= set(written)
        assert len(changed) > len(written) // 2  # and the others are not all equal by accident


def test_versions_agree_bit_by_bit():
    outputs = []
    for kernel in STAGE.versions.values():
        v = values()
        run(kernel, v)
        outputs.append([v[name] for name in ("q_padded", "k_cache", "v_cache")])
    for other in outputs[1:]:
        assert all(torch.equal(a.view(torch.int16), b.view(torch.int16)) for a, b in zip(outputs[0], other))


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("seq_lens", 0, 0),
        ("seq_lens", 1, -5),
        ("seq_lens", 2, 4097),
        ("slot_mapping", 0, -1),
        ("slot_mapping", 1, 10**6),
        ("block_table", 0, 10**6),
    ],
)
def test_bad_values_are_refused_and_nothing_is_touched(name: str, index: int, value: int):
    v = values()
    v[name][index] = value
    before = {k: t.clone() for k, t in v.items() if isinstance(t, torch.Tensor)}
    with pytest.raises(WorkbookError, match=rf"{name}\[{index}\]"):
        golden.check(v)
    assert all(torch.equal(v[k].view(torch.uint8), t.view(torch.uint8)) for k, t in before.items())
