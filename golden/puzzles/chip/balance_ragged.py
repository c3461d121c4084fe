"""Puzzle balance_ragged: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given
from golden.spec import TensorSpec

LENGTHS = (16, 1, 3, 5, 2, 7, 2, 4, 1, 14, 6, 5, 3, 2, 8, 3, 7, 1, 9, 4, 12, 2, 6, 10)
MOST = 16


def specs(batch: int = 16, rotate: int = 0) -> list[TensorSpec]:
    """x, y [batch * 16 * 16, 512] FP32, tiles [batch] INT32, which are LENGTHS from `rotate` on."""
    lengths = [LENGTHS[(rotate + b) % len(LENGTHS)] for b in range(batch)]
    rows = batch * MOST * 16
    before = drawn(rows, 512, seed=1)
    return [
        given("x", drawn(rows, 512)),
        given("tiles", torch.tensor(lengths, dtype=torch.int32)),
        TensorSpec("y", [rows, 512], torch.float32, init_value=before, is_output=True),
    ]


def reference(values: dict[str, Any]) -> None:
    """exp(x) in the tiles that sequences have; the others as they were."""
    for b, tiles in enumerate(values["tiles"].tolist()):
        rows = slice(b * MOST * 16, (b * MOST + tiles) * 16)
        values["y"][rows] = values["x"][rows].double().exp().float()


PUZZLE = Puzzle(
    order=3,
    title="Balance ragged work",
    math=("y[16 (16 b + t) + r, c] = exp(x[the same])   for t < tiles[b], r < 16",),
    text="""\
Sequence b has tiles[b] tiles of 16 rows, at most 16, and the rest of its 16 is not touched: y is `pl.InOut`, it
keeps what it held. With a block for each sequence, the longest decides when the launch ends. Number all real
tiles of all sequences one after the other, and let block i take every blocks-th from i on. Every block can go
through the sequences and count; a number that a loop binds anew is carried from turn to turn, and an `if` may stand
in a loop. As in C, `%` of a negative number is negative. To deal out all 16 places of each sequence and pass over
the empty ones is right, and over par.""",
    hints=(
        "Tile t of sequence b has number before + t, where before counts the tiles of the sequences ahead of b. Which "
        "is the first t for which (before + t) % blocks is this block?",
        "`first = (block + blocks - before % blocks) % blocks`, then `for t in pl.range(first, mine, blocks)`, then "
        "`before = before + mine`; mine is `pl.cast(pl.tensor.read(tiles, [b]), pl.INDEX)`.",
    ),
    specs=specs,
    reference=reference,
    stub="over-par",
    wrong={"wrong_same_first": "over-par", "wrong_all_tiles": "wrong-result", "wrong_places": "over-par"},
    cases=({"batch": 1}, {"batch": 3, "rotate": 1}, {}),
    asked={"bytes": 1.05, "time": 1.03},
    rtol=2.0**-20,
    atol=2.0**-24,
)
