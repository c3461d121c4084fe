"""Puzzle row_softmax: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(rows: int = 32, shift: int = 0) -> list[TensorSpec]:
    """x [rows, 128] FP32, about `shift`; rows a multiple of 16."""
    return [given("x", 3 * drawn(rows, 128) + shift), wanted("y", rows, 128)]


def reference(values: dict[str, Any]) -> None:
    """The softmax of each row, in FP64."""
    values["y"][:] = torch.softmax(values["x"].double(), 1)


PUZZLE = Puzzle(
    order=4,
    title="Softmax of each row",
    math=("w[r, c] = exp(x[r, c] - max over c of x[r, :])", "y[r, c] = w[r, c] / sum over c of w[r, :]"),
    text="""\
An operation `pl.row_...` with one operand makes a **column** of a tile, one number for each row. A column beside
a tile goes through the family `pl.row_expand_`. The maximum changes nothing in exact arithmetic; in FP32 exp
overflows at 89, and values up to 300 are tried.""",
    hints=(
        "Four steps: the maximum of each row, the rows less their maxima, exp, a division by the rows' sums.",
        "`weights = pl.exp(pl.row_expand_sub(tile, pl.row_max(tile)))`, then `pl.row_expand_div` with `pl.row_sum`.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_no_max": "wrong-result", "wrong_columns": "wrong-result", "wrong_loaded_twice": "over-par"},
    cases=({"rows": 16}, {"rows": 16, "shift": 300}, {"rows": 16, "shift": -300}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-19,
    atol=2.0**-24,
)
