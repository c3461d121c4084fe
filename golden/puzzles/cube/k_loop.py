"""Puzzle k_loop: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(k: int = 512) -> list[TensorSpec]:
    """a [16, k], b [k, 128] BF16; k a multiple of 64."""
    a, b = drawn(16, k, dtype=torch.bfloat16), drawn(k, 128, seed=1, dtype=torch.bfloat16)
    return [given("a", a), given("b", b), wanted("c", 16, 128)]


def reference(values: dict[str, Any]) -> None:
    """a @ b, in FP64."""
    values["c"][:] = values["a"].double() @ values["b"].double()


PUZZLE = Puzzle(
    order=2,
    title="A sum over K",
    math=("c[m, n] = sum over k of a[m, k] b[k, n], k in steps of 64",),
    text="""\
A long K does not fit on chip, so it is walked in steps. The sum stays in L0C: the first step makes it, each other
step adds to it there, and it is stored once, after the last. Inside a task, `for k in pl.range(first, end)` is a
loop. The stub has the first step only.""",
    hints=(
        "The loop goes from 1 to K // TILE_K, and binds `acc` anew in each turn.",
        "`acc = pl.matmul_acc(acc, left_k, right_k)`, with left_k from column k * TILE_K of a, right_k from row "
        "k * TILE_K of b. The number of steps is `pl.tensor.dim(a, 1) // TILE_K`.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_twice": "wrong-result", "wrong_partial_products": "over-par"},
    cases=({"k": 64}, {"k": 128}, {"k": 1024}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-17,
    atol=2.0**-14,
)
