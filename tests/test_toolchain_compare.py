"""Why two platforms differ in what they take of an on-chip buffer: only what explains it."""

from __future__ import annotations

import pytest

from helpers.toolchain.side_by_side import CLOSE, Side, _of_peaks

INTERP, SIM = (Side(name, "ran", None, None, None, None, None) for name in ("a2a3interp", "a2a3sim"))


@pytest.mark.parametrize("buffer", ["UB", "L1"])
def test_a_product_explains_no_difference_of_these(buffer: str):
    for ours, compilers in ((4096, 1024), (1024, 4096), (1024, 1024 + CLOSE)):
        assert "product" not in str(_of_peaks(buffer, INTERP, SIM, ours, compilers))
    assert _of_peaks(buffer, INTERP, SIM, 4096, 4096 - CLOSE - 1) is None
    assert "128 bytes" in _of_peaks(buffer, INTERP, SIM, 4096, 4096 - CLOSE)
    assert "may not come to all of it" in _of_peaks(buffer, INTERP, SIM, 4096, 8192)


@pytest.mark.parametrize("buffer", ["L0A", "L0B", "L0C"])
def test_a_product_that_is_cut_explains_these(buffer: str):
    assert "cuts a product" in _of_peaks(buffer, INTERP, SIM, 16384, 4096)
    assert "cuts a product" in _of_peaks(buffer, INTERP, SIM, 4096, 8192)


def test_which_platform_comes_first_does_not_matter():
    for buffer, ours, compilers in (("UB", 4096, 1024), ("UB", 1024, 4096), ("L0A", 1024, 4096)):
        assert _of_peaks(buffer, INTERP, SIM, ours, compilers) == _of_peaks(buffer, SIM, INTERP, compilers, ours)


def test_two_platforms_of_one_kind_should_agree():
    assert _of_peaks("L0A", SIM, SIM, 16384, 4096) is None
