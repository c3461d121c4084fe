"""Puzzle matmul_tile: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(seed: int = 0) -> list[TensorSpec]:
    """a [16, 64], b [64, 32] BF16."""
    a, b = (drawn(*shape, seed=seed + i, dtype=torch.bfloat16) for i, shape in enumerate(((16, 64), (64, 32))))
    return [given("a", a), given("b", b), wanted("c", 16, 32)]


def reference(values: dict[str, Any]) -> None:
    """a @ b, in FP64."""
    values["c"][:] = values["a"].double() @ values["b"].double()


PUZZLE = Puzzle(
    order=1,
    title="A product of two tiles",
    math=("c[m, n] = sum over k of a[m, k] b[k, n]",),
    text="""\
The cube multiplies matrices: BF16 in, sums in FP32. Which core a task runs on follows from its operations; you do
not say it. Sides are multiples of 16. The tiles go through L1 to L0A and L0B, the sum is made in L0C, and the
compiler sees to that.""",
    hints=(
        "One operation makes the product, and `pl.assemble` stores what it gives.",
        "`pl.matmul(left, right, out_dtype=pl.FP32)`.",
    ),
    specs=specs,
    reference=reference,
    stub="unwritten-output",
    wrong={"wrong_elements": "language", "wrong_type": "wrong-result"},
    cases=({"seed": 5},),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-19,
    atol=2.0**-16,
)
