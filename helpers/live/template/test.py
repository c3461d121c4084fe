"""__NAME__: every kernel against its golden, on both chips; nothing that a sanitizer finds."""

import pytest
from golden import run_jit
from __GOLDEN__ import COMPARE_FN, TOLERANCE, reference, specs
from helpers.sanitize import check
from __KERNELS__ import fused, naive

KERNELS = {"naive": naive, "fused": fused}


@pytest.mark.parametrize("platform", ["a2a3interp", "a5interp"])
@pytest.mark.parametrize("name", KERNELS)
def test_the_result(name: str, platform: str):
    result = run_jit(
        KERNELS[name], specs(seed=1), reference, runtime_cfg={"platform": platform},
        rtol=TOLERANCE.rtol, atol=TOLERANCE.atol, compare_fn=COMPARE_FN,
    )  # fmt: skip
    assert result.passed, result.error


@pytest.mark.parametrize("name", KERNELS)
def test_nothing_is_found(name: str):
    allowed = {"rtol": TOLERANCE.rtol, "atol": TOLERANCE.atol, "compare_fn": COMPARE_FN}
    found = check(KERNELS[name], specs(), reference, **allowed)
    assert [str(f) for f in found if f.severity != "hint"] == []
