"""Puzzle pipeline: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(k: int = 2048) -> list[TensorSpec]:
    """a [16, k], b [k, 256] BF16; k a multiple of 128."""
    a, b = drawn(16, k, dtype=torch.bfloat16), drawn(k, 256, seed=1, dtype=torch.bfloat16)
    return [given("a", a), given("b", b), wanted("c", 16, 256)]


def reference(values: dict[str, Any]) -> None:
    """a @ b, in FP64."""
    values["c"][:] = values["a"].double() @ values["b"].double()


PUZZLE = Puzzle(
    order=3,
    title="Pipeline it",
    math=("c[m, n] = sum over k of a[m, k] b[k, n]",),
    text="""\
The stub is right, and waits: it loads, multiplies, and only then loads again. With two places for each tile, the
loads of the next step run while the cube works on this one. The compiler does that for a loop that is written as
a pipeline. `init_cond=(k == 0)` says in which turn the sum begins, so that no step stands outside.""",
    hints=(
        "One line changes: the loop.",
        "`for k in pl.pipeline(steps, stage=2)`: two stages are in flight at a time.",
    ),
    specs=specs,
    reference=reference,
    stub="over-par",
    wrong={"wrong_unrolled": "over-par", "wrong_start": "uninitialized-read"},
    cases=({"k": 128}, {"k": 384}),
    asked={"tasks": 1.0, "bytes": 1.0, "time": 1.05},
    rtol=2.0**-16,
    atol=2.0**-13,
)
