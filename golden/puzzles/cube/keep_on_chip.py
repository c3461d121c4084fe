"""Puzzle keep_on_chip: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(n: int = 1024) -> list[TensorSpec]:
    """a [16, 128], b [128, n] BF16, bias [1, n] FP32; n a multiple of 128."""
    a, b = drawn(16, 128, dtype=torch.bfloat16), drawn(128, n, seed=1, dtype=torch.bfloat16)
    return [given("a", a), given("b", b), given("bias", 8 * drawn(1, n, seed=2)), wanted("c", 16, n)]


def reference(values: dict[str, Any]) -> None:
    """a @ b + bias, in FP64."""
    values["c"][:] = values["a"].double() @ values["b"].double() + values["bias"].double()


PUZZLE = Puzzle(
    order=5,
    title="Cube and vector in one task",
    math=("c[m, n] = sum over k of a[m, k] b[k, n] + bias[0, n]",),
    text="""\
A core group is a cube and two vector cores. A task that has operations for both is **mixed**: the cube hands its
result to the vector cores of the same group, and the compiler makes the hand-over. On A5 it stays on chip. On
A2/A3 it goes through a small ring in global memory; what is saved there is a launch, and the wait for all of the
first one.""",
    hints=(
        "Write the vector operation on the product itself, in the same `pl.spmd`.",
        "`pl.col_expand_add(pl.matmul(left, right, out_dtype=pl.FP32), row)`, stored into c.",
    ),
    specs=specs,
    reference=reference,
    stub="over-par",
    wrong={"wrong_first_bias": "wrong-result", "wrong_reread": "over-par"},
    cases=({"n": 128}, {"n": 384}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-18,
    atol=2.0**-15,
)
