"""Puzzle wide_tiles: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(n: int = 6144) -> list[TensorSpec]:
    """a [16, 128], b [128, n] BF16; n a multiple of 256."""
    a, b = drawn(16, 128, dtype=torch.bfloat16), drawn(128, n, seed=1, dtype=torch.bfloat16)
    return [given("a", a), given("b", b), wanted("c", 16, n)]


def reference(values: dict[str, Any]) -> None:
    """a @ b, in FP64."""
    values["c"][:] = values["a"].double() @ values["b"].double()


PUZZLE = Puzzle(
    order=4,
    title="Wide tiles",
    math=("c[m, n] = sum over k of a[m, k] b[k, n], N = 6,144",),
    text="""\
The stub has 192 narrow tiles, and the chip has 24 cubes (36 on A5): most of its time goes to dispatches. Every
task also loads all of a. And GM hands out 512 bytes at a time, where a row of 32 BF16 columns has 64. Find the
width of a tile that is as fast as par. N is a multiple of 256.""",
    hints=(
        "A row of 512 bytes has how many BF16 elements?",
        "256 columns. L0B has 64 KiB, and a tile of 128 x 256 BF16 takes just that.",
    ),
    specs=specs,
    reference=reference,
    stub="over-par",
    wrong={"wrong_half_as_wide": "over-par", "wrong_too_wide": "unwritten-output"},
    cases=({"n": 768}, {"n": 256}),
    asked={"tasks": 1.0, "bytes": 1.0, "time": 1.05},
    rtol=2.0**-18,
    atol=2.0**-16,
)
