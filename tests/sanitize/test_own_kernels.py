"""Every kernel of the repository under every sanitizer: each version of each stage, and the first lesson's two.

Where a stage's widths are arguments of its specs they are small, and the kernel runs with its arithmetic, its golden
and the proofs that need a second run. Where they are constants, gone through at full shapes without arithmetic: every
access, order, barrier and buffer is looked at all the same; results at full shapes are other tests' (test_decode, ...).
`fused` of a layer loops by a table that it computes, so it runs; that of two is looked at as far as goes without it.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench import mutants
from helpers.sanitize import report
from helpers.sanitize.check_stages import check_stage
from helpers.stages import STAGES
from kernels.qwen3 import PAGE

AROUND = {"batch": (1, 3), "ctx": (1, PAGE + 1)}
NARROW = {"hidden": 512, "inter": 256}
HOW: dict[str, dict[str, Any]] = {
    "qkv_proj": {"dry": True},
    "rope_kv_cache": {"batch": 3, "ctx": (1, PAGE, PAGE + 1), "sweep": AROUND},
    "flash_attention": {"batch": 3, "ctx": (1, PAGE, 2 * PAGE + 1), "sweep": AROUND},
    "mlp": {**NARROW, "batch": 5, "sweep": {"batch": (1, 16)}},
    "mlp_32b": {"dry": True, "sweeps": False},
    "lm_head": {"dry": True},
    "decode_layer": {"dry": True, "batch": 2, "ctx": (1, 2 * PAGE), "sweeps": False},
    "decode": {"dry": True, "batch": 1, "ctx": PAGE + 1, "sweeps": False, "mode": "single"},
    "prefill": {**NARROW, "ctx": 3, "sweep": {"ctx": (1, PAGE + 1)}},
    "prefill_chunk": {**NARROW, "batch": 2, "ctx": (3, PAGE + 1), "sweeps": False},
}
RUN = {"batch": 2, "ctx": (1, 2 * PAGE + 1), "sweeps": False}
SUMS = {("decode_layer", "fused"): {"atomic-order"}}
"""Sums of partial products that are meant to be added up in whatever order they come: with these values a bit of an
output may differ, or none."""


@pytest.mark.parametrize(("stage", "version"), [(s, v) for s in STAGES for v in STAGES[s].versions])
def test_nothing_is_wrong_with(stage: str, version: str) -> None:
    how = RUN if (stage, version) == ("decode_layer", "fused") else HOW[stage]
    found = check_stage(STAGES[stage], version, **how)
    assert {f.kind for f in found} <= SUMS.get((stage, version), set()), report.text(found)


@pytest.mark.parametrize("version", ["two_tasks", "one_task"])
def test_nothing_is_wrong_with_the_first_lesson(version: str) -> None:
    assert mutants.clean(f"hello.{version}", True) == frozenset()
