"""Puzzle online_softmax: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(cols: int = 512, climb: int = 0) -> list[TensorSpec]:
    """x [16, cols] FP32, cols a multiple of 128; each chunk of 128 is `climb` above the one before it."""
    x = 2 * drawn(16, cols)
    return [given("x", x + climb * (torch.arange(cols) // 128)), wanted("y", 16, cols)]


def reference(values: dict[str, Any]) -> None:
    """The softmax of each row, in FP64."""
    values["y"][:] = torch.softmax(values["x"].double(), 1)


PUZZLE = Puzzle(
    order=4,
    title="Online softmax",
    math=(
        "m' = max(m, max of chunk),   t' = t exp(m - m') + sum of exp(chunk - m')",
        "y = exp(x - m) / t, with m and t of all chunks",
    ),
    text="""\
A row may be longer than UB. One pass over its chunks finds maximum and sum together: when a chunk has a larger
maximum, the sum so far is brought to it. A second pass writes the results. Reading x three times is right, too,
and over par. Columns of one shape are added and multiplied like tiles.""",
    hints=(
        "A loop over the chunks from 1 on, between the two parts of the stub, that binds `total` and `top` anew.",
        "In it: `larger = pl.maximum(top, pl.row_max(part))`; total is `pl.mul(total, pl.exp(pl.sub(top, larger)))` "
        "plus the row sums of `exp(part - larger)`; then `top = larger`.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_not_rescaled": "wrong-result", "wrong_three_passes": "over-par"},
    cases=({"cols": 128}, {"cols": 256, "climb": 40}, {"cols": 384, "climb": -40}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-18,
    atol=2.0**-24,
)
