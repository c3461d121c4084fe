"""Puzzle load_once: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(tiles: int = 64) -> list[TensorSpec]:
    """x [16 * tiles, 256], w [16, 256], FP32."""
    return [given("x", drawn(16 * tiles, 256)), given("w", drawn(16, 256, seed=1)), wanted("y", 16 * tiles, 256)]


def reference(values: dict[str, Any]) -> None:
    """w added to each 16 rows."""
    values["y"][:] = (values["x"].view(-1, 16, 256) + values["w"]).flatten(0, 1)


PUZZLE = Puzzle(
    order=2,
    title="Load once",
    math=("y[16 t + r, c] = x[16 t + r, c] + w[r, c]   for r < 16",),
    text="""\
Where a `pl.slice` stands in a task says how often it loads: in a loop, in every turn. A block that does many
tiles can load what they share before its loop. The stub loads w 64 times, eight times as often as it has blocks.""",
    hints=(
        "One line moves.",
        "`more = pl.slice(w, ...)` goes between `pl.spmd` and the loop over t.",
    ),
    specs=specs,
    reference=reference,
    stub="over-par",
    wrong={"wrong_pipeline": "over-par", "wrong_doubled": "wrong-result"},
    cases=({"tiles": 8}, {"tiles": 20}, {}),
    asked={"tasks": 1.0, "bytes": 1.0},
)
