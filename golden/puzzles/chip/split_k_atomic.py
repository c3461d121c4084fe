"""Puzzle split_k_atomic: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(seed: int = 0) -> list[TensorSpec]:
    """a [16, 8192], b [8192, 256] BF16."""
    a, b = (drawn(*s, seed=seed + i, dtype=torch.bfloat16) for i, s in enumerate(((16, 8192), (8192, 256))))
    return [given("a", a), given("b", b), wanted("c", 16, 256)]


def reference(values: dict[str, Any]) -> None:
    """a @ b, in FP64."""
    values["c"][:] = values["a"].double() @ values["b"].double()


PUZZLE = Puzzle(
    order=4,
    title="Split K, add atomically",
    math=("c[m, n] = sum over k of a[m, k] b[k, n], K = 8,192",),
    text="""\
One tile of output, and all of K for one cube, while the others idle. Split K over PARTS = 16 blocks: each
multiplies its part, and adds its product to c in GM. `atomic=pl.AtomicType.Add` in `pl.assemble` adds in place of
storing, whoever else does so at that time. What is added to must have been written: a launch before sets c to
zero.""",
    hints=(
        "Block `part` does K // PARTS // TILE_K steps, the first at `part * (K // PARTS)`.",
        "Before it: `with pl.at(...)`: `c = pl.assemble(c, pl.full([M, N], dtype=pl.FP32, value=0.0), [0, 0])`. At its "
        "end: `c = pl.assemble(c, acc, [0, 0], atomic=pl.AtomicType.Add)`.",
    ),
    specs=specs,
    reference=reference,
    stub="over-par",
    wrong={"wrong_no_zero": "uninitialized-read", "wrong_plain_store": "double-write"},
    asked={"time": 1.05},
    rtol=2.0**-15,
    atol=2.0**-12,
)
