"""The kernels of bench.interpreters: a benchmark of a kernel that is refused measures nothing."""

from __future__ import annotations

import pytest
import torch

from bench import interpreters, yardsticks
from helpers.run import run


@pytest.mark.parametrize("platform", ["a2a3interp", "a5interp"])
def test_the_yardsticks_are_right(platform: str):
    inputs = interpreters.make_inputs()["attention"]
    for name, given, width in (
        ("attention", inputs, yardsticks.D),
        ("lm_head", interpreters.lm_head_inputs(2 * yardsticks.N_TILE), 2 * yardsticks.N_TILE),
    ):
        expected = interpreters.torch_eager(name, given)()
        out = torch.zeros(len(expected), width)
        run(getattr(yardsticks, name), {**given, "out": out}, platform=platform)
        torch.testing.assert_close(out, expected, rtol=0, atol=2.0**-8)
