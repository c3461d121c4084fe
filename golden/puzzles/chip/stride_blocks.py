"""Puzzle stride_blocks: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(tiles: int = 400) -> list[TensorSpec]:
    """x [16 * tiles, 256] FP32."""
    return [given("x", drawn(16 * tiles, 256)), wanted("y", 16 * tiles, 256)]


def reference(values: dict[str, Any]) -> None:
    """exp(x), in FP64."""
    values["y"][:] = values["x"].double().exp()


PUZZLE = Puzzle(
    order=1,
    title="Stride over the tiles",
    math=("y[r, c] = exp(x[r, c]), 400 tiles of 16 rows",),
    text="""\
The stub launches 400 tasks, and each costs a dispatch. A2/A3 has 48 vector cores, A5 has 72. Launch a block for
each core there is, and let block i take tiles i, i + blocks, i + 2 blocks ... Then no tile is left over, and no
two blocks differ by more than one tile. Fewer blocks are fewer tasks, and leave cores idle.""",
    hints=(
        "The number of blocks comes from the device; in a block a loop goes from its number to the last tile in steps.",
        "`for t in pl.range(block, tiles, pl.get_block_num())` in a `pl.spmd(pl.system.available_aiv_count(), ...)`.",
    ),
    specs=specs,
    reference=reference,
    stub="over-par",
    wrong={"wrong_share": "unwritten-output", "wrong_no_stride": "double-write", "wrong_few_blocks": "over-par"},
    cases=({"tiles": 1}, {"tiles": 3}, {"tiles": 49}, {}),
    asked={"tasks": 1.0, "bytes": 1.0, "time": 1.05},
    rtol=2.0**-20,
    atol=2.0**-24,
)
