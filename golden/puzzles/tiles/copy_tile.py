"""Puzzle copy_tile: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(seed: int = 0) -> list[TensorSpec]:
    """x [16, 64] FP32."""
    return [given("x", drawn(16, 64, seed=seed)), wanted("y", 16, 64)]


def reference(values: dict[str, Any]) -> None:
    """y = x."""
    values["y"][:] = values["x"]


PUZZLE = Puzzle(
    order=1,
    title="Copy a tile",
    math=("y[r, c] = x[r, c]",),
    text="""\
A kernel has two planes. The outer one, orchestration, hands out work; what stands in a `with pl.at(...)` is a
**task** and runs on one core. A core computes on **tiles** in its own small memory, not on tensors in global
memory (GM): it loads a tile, and stores it at the end. A store gives back the tensor that it wrote to, so keep
the name: `y = pl.assemble(y, ...)`.""",
    hints=(
        "The line that is missing has the form `y = pl.assemble(y, what, where)`.",
        "`where` is [row, column] of the tile's first element in y. Here that is [0, 0].",
    ),
    specs=specs,
    reference=reference,
    stub="unwritten-output",
    wrong={"wrong_half": "unwritten-output", "wrong_name": "unwritten-output"},
    cases=({"seed": 1},),
    asked={"tasks": 1.0, "bytes": 1.0},
)
