"""Puzzle barrier: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(tiles: int = 100) -> list[TensorSpec]:
    """x [16 * tiles, 64] FP32."""
    return [given("x", drawn(16 * tiles, 64)), wanted("y", 16 * tiles, 64)]


def reference(values: dict[str, Any]) -> None:
    """exp(x), in FP64, its tiles of 16 rows in reverse order."""
    tiles = values["x"].double().exp().view(-1, 16, 64)
    values["y"][:] = tiles.flip(0).flatten(0, 1)


PUZZLE = Puzzle(
    order=6,
    title="A barrier that completes",
    math=("y[16 t + r, c] = exp(x[16 (T - 1 - t) + r, c])   for T tiles, r < 16",),
    text="""\
Two phases in one launch: in the second a block reads what another one has written in the first. Between them all
blocks have to meet. `pl.system.syncall(core_type="aiv_only")` waits for **all** vector cores of the chip, so the
launch must have a block for each, and all must start together: `sync_start=True`, an option of `pl.spmd`. Before
it, what was written leaves the core: `pl.system.cacheinvalid()`, then `pl.system.fence()`. After it,
`pl.system.cacheinvalid()` again, so that nobody reads old lines. Interpret mode has no caches: the check sees a
barrier that is missing or never completes, and does not see that these three lines are missing.""",
    hints=(
        "Four lines between the loops, and an option of the launch.",
        '`pl.system.cacheinvalid()`, `pl.system.fence()`, `pl.system.syncall(core_type="aiv_only")`, '
        "`pl.system.cacheinvalid()`; and `sync_start=True`.",
    ),
    specs=specs,
    reference=reference,
    stub="uninitialized-read",
    wrong={"wrong_waves": "syncall", "wrong_count": "syncall", "wrong_two_launches": "over-par"},
    cases=({"tiles": 1}, {"tiles": 3}, {"tiles": 49}, {}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-20,
    atol=2.0**-24,
)
