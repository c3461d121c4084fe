"""Puzzle top_k: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import given, wanted
from golden.spec import TensorSpec


def specs(rows: int = 8) -> list[TensorSpec]:
    """x [rows, 512] FP32, all different."""
    random = torch.Generator().manual_seed(rows)
    x = torch.stack([torch.randperm(512, generator=random).float() for _ in range(rows)]) - 200
    return [given("x", x), wanted("values", rows, 16), wanted("places", rows, 16, dtype=torch.int32)]


def reference(values: dict[str, Any]) -> None:
    """The sixteen largest of each row, largest first."""
    best = torch.topk(values["x"], 16)
    values["values"][:] = best.values
    values["places"][:] = best.indices


PUZZLE = Puzzle(
    order=7,
    title="Top k",
    math=("values[r, i] = the i-th largest of x[r, :]", "places[r, i] = its column   for i < 16"),
    text="""\
The chip sorts in two steps. `pl.sort32(row, columns)` sorts each 32 elements, the columns with them, as pairs:
value, column, value, column ... A row of 512 is now 16 runs of 32 pairs. `pl.mrgsort(pairs, block_len=n)` merges
each four runs, where n is the length of a run in elements: a pair has two. The rest of the stub is right: it
takes the first 16 pairs apart, the even columns and the odd ones.""",
    hints=(
        "16 runs are four times four. So it takes two merges, the second with runs that are four times as long.",
        "`pairs = pl.mrgsort(pairs, block_len=64)`, then the same with 256.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_one_merge": "wrong-result", "wrong_length": "fault"},
    cases=({"rows": 1}, {"rows": 3}),
    asked={"tasks": 1.0, "bytes": 1.0},
)
