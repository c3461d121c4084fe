"""Puzzle ring: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(keys: int = 1024) -> list[TensorSpec]:
    """q [16, 128], k [keys, 128] BF16; keys a multiple of 128."""
    q, k = drawn(16, 128, dtype=torch.bfloat16), drawn(keys, 128, seed=1, dtype=torch.bfloat16)
    return [given("q", q / 16), given("k", k), wanted("w", 16, keys)]


def reference(values: dict[str, Any]) -> None:
    """exp(q @ k^T), in FP64."""
    values["w"][:] = (values["q"].double() @ values["k"].double().T).exp()


PUZZLE = Puzzle(
    order=7,
    title="A ring between cube and vector",
    math=("s[m, t] = sum over d of q[m, d] k[t, d]", "w[m, t] = exp(s[m, t])"),
    text="""\
In a loop, a mixed task is a ring: the cube puts the scores of tile after tile into two slots, and the vector
cores take them out, so both work at a time. `for lane in pl.split_aiv(2, mode=pl.SplitMode.UP_DOWN)` is what the
two vector cores do: lane is 0 or 1. In it, `pl.aiv_shard(x)` is this lane's half of the rows of a product. The
stub waits for all scores, then reads them back from GM.""",
    hints=(
        "One `with pl.at(...)`; in it the loop over tiles; in that the product, and then the lanes.",
        "In the lanes: `half = pl.exp(pl.aiv_shard(scores))`, stored at row `lane * (M // 2)`, column `t * TILE`.",
    ),
    specs=specs,
    reference=reference,
    stub="over-par",
    wrong={"wrong_lane": "unwritten-output", "wrong_untransposed": "wrong-result"},
    cases=({"keys": 128}, {"keys": 384}),
    asked={"tasks": 1.0, "bytes": 1.0, "time": 1.05},
    rtol=2.0**-17,
    atol=2.0**-20,
)
