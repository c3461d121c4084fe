"""This repository's kernels give no errors and no warnings: full shapes without arithmetic, small ones with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from helpers import stages
from helpers.sanitize import HINT
from helpers.sanitize.stages import check_stage

# Hints that are known and meant: the first step of a K-loop starts the accumulator, before the pipeline.
HINTS = {"peeled-pipeline"}


def judged(findings: list) -> list[str]:
    return [str(f) for f in findings if f.severity != HINT or f.kind not in HINTS]


VERSIONS = [(stage, version) for stage in stages.STAGES.values() for version in stage.versions]


@pytest.mark.parametrize(("stage", "version"), VERSIONS, ids=lambda x: getattr(x, "name", x))
def test_gives_no_finding(stage: stages.Stage, version: str):
    assert judged(check_stage(stage, version, dry=True)) == []


SMALL: dict[str, Callable] = {
    "rope_kv_cache": lambda: {"batch": 3, "ctx": [1, 128, 129]},
    "flash_attention": lambda: {"batch": 3, "ctx": [1, 128, 300]},
}


@pytest.mark.parametrize("name", SMALL)
def test_gives_no_finding_when_it_computes(name: str):
    stage = stages.find(name)
    for version in stage.versions:
        assert judged(check_stage(stage, version, sweeps=False, **SMALL[name]())) == []
