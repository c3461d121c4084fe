"""Puzzle quantise: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import given, wanted
from golden.spec import TensorSpec


def specs(rows: int = 32, zeros: int = 0) -> list[TensorSpec]:
    """x [rows, 128] FP32, rows a multiple of 16; the first `zeros` rows are zero. No x / scale is near a half."""
    random = torch.Generator().manual_seed(rows)
    steps = torch.randint(-126, 127, (rows, 128), generator=random).float()
    steps += 0.8 * torch.rand(rows, 128, generator=random) - 0.4
    largest = torch.randint(0, 128, (rows, 1), generator=random)
    steps.scatter_(1, largest, -127.0)  # the largest absolute value is negative in every row
    x = steps * (0.01 + torch.rand(rows, 1, generator=random))
    x[:zeros] = 0
    return [given("x", x), wanted("q", rows, 128, dtype=torch.int8), wanted("scale", rows, 1)]


def reference(values: dict[str, Any]) -> None:
    """max(|x|, 1e-6) / 127 of each row, and x over it, to the nearest."""
    x = values["x"].double()
    scale = x.abs().amax(1, keepdim=True).clamp(min=1e-6) / 127
    values["scale"][:] = scale
    values["q"][:] = (x / scale).round().to(torch.int8)


PUZZLE = Puzzle(
    order=6,
    title="Quantise to INT8",
    math=("scale[r] = max(1e-6, max over c of |x[r, c]|) / 127", "q[r, c] = x[r, c] / scale[r], to the nearest"),
    text="""\
INT8 has half the bytes of BF16. Each row gets a scale of its own, and a row of zeros must not become 0 / 0.
`pl.cast` to an integer has a mode: "rint" goes to the nearest, "trunc" toward zero. A kernel with two outputs
returns both.""",
    hints=(
        "The largest absolute value: `pl.row_max(pl.abs(tile))`; at least TINY: `pl.maximum(that, TINY)`.",
        "`step = pl.mul(largest, 1.0 / 127)` is stored as scale; `pl.row_expand_div(tile, step)` is what is cast.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_no_abs": "wrong-result", "wrong_trunc": "wrong-result", "wrong_loaded_twice": "over-par"},
    cases=({"rows": 16}, {"rows": 16, "zeros": 2}, {"rows": 48}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-20,
    atol=0.0,
)
