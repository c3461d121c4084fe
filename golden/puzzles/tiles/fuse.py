"""Puzzle fuse: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(rows: int = 64, large: int = 1) -> list[TensorSpec]:
    """x [rows, 256] FP32, as large as `large`; rows a multiple of 16."""
    return [given("x", large * drawn(rows, 256)), wanted("y", rows, 256)]


def reference(values: dict[str, Any]) -> None:
    """x / (1 + exp(-x)), in FP64."""
    x = values["x"].double()
    values["y"][:] = x / (1 + (-x).exp())


PUZZLE = Puzzle(
    order=6,
    title="Fuse two tasks",
    math=("y[r, c] = x[r, c] / (1 + exp(-x[r, c]))",),
    text="""\
The stub is right, and slow: two launches, and what the first one makes goes out to GM and comes back. A tile that
the next step needs can stay on chip, if both steps are one task. Same numbers, half the tasks, and x is loaded
once. **Par** is what the solution takes, and here it is asked for.""",
    hints=(
        "One `pl.spmd`; both steps stand in it, and the name of the first one's tile is used by the second.",
        "Neither `below` as a tensor nor its `pl.assemble` is needed: `below = pl.add(pl.exp(pl.neg(tile)), 1.0)`, "
        "then `pl.div(tile, below)`.",
    ),
    specs=specs,
    reference=reference,
    stub="over-par",
    wrong={"wrong_scratch": "over-par", "wrong_sign": "wrong-result"},
    cases=({"rows": 16}, {"rows": 16, "large": 60}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-19,
    atol=2.0**-24,
)
