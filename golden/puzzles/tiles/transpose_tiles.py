"""Puzzle transpose_tiles: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(rows: int = 64, cols: int = 96) -> list[TensorSpec]:
    """x [rows, cols] FP32, both multiples of 32."""
    return [given("x", drawn(rows, cols)), wanted("y", cols, rows)]


def reference(values: dict[str, Any]) -> None:
    """y = x transposed."""
    values["y"][:] = values["x"].T


PUZZLE = Puzzle(
    order=7,
    title="Transpose",
    math=("y[c, r] = x[r, c]",),
    text="""\
A tensor that does not fit on chip is transposed tile by tile. Each tile is turned, and goes to the mirrored
place. `//` and `%` of a block's number give its tile's row and column.""",
    hints=(
        "The stub has the place right already; the tile itself is not turned yet.",
        "`pl.transpose(tile, 0, 1)` exchanges its two axes.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_place": "out-of-bounds", "wrong_small_tiles": "over-par"},
    cases=({"rows": 32, "cols": 32}, {"rows": 32, "cols": 96}, {"rows": 96, "cols": 32}),
    asked={"tasks": 1.0, "bytes": 1.0},
)
