"""Interpret mode on kernels that PyPTO itself has decorated. Needs PyPTO (hw-native-sys/pypto), not its toolchain."""

from __future__ import annotations

import pytest

from helpers import stages
from helpers.interpret import language
from helpers.interpret.lower import unwrap

pytestmark = pytest.mark.pypto


def test_the_language_is_pypto_and_not_the_stand_in():
    assert not language.is_stand_in()


@pytest.mark.parametrize("version", ["naive", "per_sequence", "flat"])
def test_a_stage_runs_unchanged(version: str):
    stage = stages.find("rope_kv_cache")
    kernel = stage.versions[version]
    assert not isinstance(kernel, language.JitFunction)
    assert unwrap(kernel)[1] == "entry"
    result = stages.run_stage(stage, version, platform="a2a3interp", batch=2, ctx=[5, 130], seed=0)
    assert result.passed, result.error
