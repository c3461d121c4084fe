"""Puzzle split_rows: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(seed: int = 0) -> list[TensorSpec]:
    """a [64, 64], b [64, 256] BF16."""
    a, b = (drawn(*s, seed=seed + i, dtype=torch.bfloat16) for i, s in enumerate(((64, 64), (64, 256))))
    return [given("a", a / 8), given("b", b), wanted("c", 64, 256)]


def reference(values: dict[str, Any]) -> None:
    """exp(a @ b), in FP64."""
    values["c"][:] = (values["a"].double() @ values["b"].double()).exp()


PUZZLE = Puzzle(
    order=6,
    title="Rows over two vector cores",
    math=("c[m, n] = exp(sum over k of a[m, k] b[k, n])",),
    text="""\
The stub is refused: one vector core gets the whole product of 64 KiB, twice because the cube runs ahead, and more
for the result; UB has 184 KiB. The second vector core of the group has nothing to do. Let each have half of the
rows. Two tasks of half the rows would fit too, and load b twice.""",
    hints=(
        "It is an option of the launch, not of an operation.",
        "`pl.at(level=..., name_hint=..., optimizations=[pl.split(pl.SplitMode.UP_DOWN)])`.",
    ),
    specs=specs,
    reference=reference,
    stub="on-chip-overflow",
    wrong={"wrong_two_halves": "over-par"},
    cases=({"seed": 7},),
    asked={"tasks": 1.0, "bytes": 1.0, "chip": 1.0},
    rtol=2.0**-17,
    atol=2.0**-20,
)
