"""Puzzle add_row: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(rows: int = 32) -> list[TensorSpec]:
    """x [rows, 128], w [1, 128], FP32; rows a multiple of 16."""
    return [given("x", drawn(rows, 128)), given("w", drawn(1, 128, seed=1)), wanted("y", rows, 128)]


def reference(values: dict[str, Any]) -> None:
    """y = x + w, w added to each row."""
    values["y"][:] = values["x"] + values["w"]


PUZZLE = Puzzle(
    order=3,
    title="Add a row vector",
    math=("y[r, c] = x[r, c] + w[0, c]",),
    text="""\
Operations on two tiles, such as `pl.add`, do not repeat a row; nor is there a `+` for tiles. A row beside a tile
has operations of its own, whose names begin with `pl.col_expand_`: the row is repeated along the columns. From
here on extents are multiples of the stub's tile.""",
    hints=(
        "The name of the operation is that of its family, then what it does: add.",
        "`pl.col_expand_add(tile, row)`.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_plain_add": "fault", "wrong_times": "wrong-result", "wrong_row_by_row": "over-par"},
    cases=({"rows": 16}, {"rows": 80}),
    asked={"tasks": 1.0, "bytes": 1.0},
)
