"""Puzzle tail: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(rows: int = 40) -> list[TensorSpec]:
    """x [rows, 64] FP32."""
    return [given("x", drawn(rows, 64)), wanted("y", rows, 64)]


def reference(values: dict[str, Any]) -> None:
    """y = 2 x."""
    values["y"][:] = 2 * values["x"]


PUZZLE = Puzzle(
    order=2,
    title="The tail",
    math=("y[r, c] = 2 x[r, c], for any number of rows",),
    text="""\
`pl.spmd(n)` launches n tasks at once, its **blocks**; in each the loop variable is the block's number. A tile has
a shape that the compiler knows, here 16 rows. But rows are seldom a multiple of 16. A tile's **valid shape** says
how much of it is real, `pl.slice(..., valid_shape=[rows, columns])`: operations and stores keep to that part. The
stub leaves the last rows out. As in C, `//` of a negative number cuts toward zero: Python's `-(-rows // 16)` does
not round up here.""",
    hints=(
        "Two things change: the number of blocks is rounded up, and the last block's tile is valid in part.",
        "`pl.slice(x, [TILE, WIDTH], [row, 0], valid_shape=[real, WIDTH])`, where real is the smaller of TILE and "
        "rows - row: `pl.min(TILE, rows - row)`.",
    ),
    specs=specs,
    reference=reference,
    stub="unwritten-output",
    wrong={"wrong_whole_tile": "out-of-bounds", "wrong_one_block_more": "valid-extent", "wrong_row_by_row": "over-par"},
    cases=({"rows": 1}, {"rows": 15}, {"rows": 16}, {"rows": 17}, {"rows": 80}),
    asked={"tasks": 1.0, "bytes": 1.0},
)
