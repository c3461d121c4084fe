"""Puzzle rope: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(rows: int = 32) -> list[TensorSpec]:
    """x [rows, 128], cos and sin [rows, 64], FP32; row r is at position r; rows a multiple of 16."""
    angles = torch.outer(torch.arange(rows, dtype=torch.float64), 1e4 ** (-torch.arange(64, dtype=torch.float64) / 64))
    tables = [given(n, f(angles).float()) for n, f in (("cos", torch.cos), ("sin", torch.sin))]
    return [given("x", drawn(rows, 128)), *tables, wanted("y", rows, 128)]


def reference(values: dict[str, Any]) -> None:
    """Each pair (x[r, i], x[r, i + 64]) turned by its angle, in FP64."""
    low, high = values["x"].double().split(64, 1)
    cos, sin = values["cos"].double(), values["sin"].double()
    values["y"][:] = torch.cat([low * cos - high * sin, high * cos + low * sin], 1)


PUZZLE = Puzzle(
    order=1,
    title="RoPE",
    math=(
        "y[r, i]      = x[r, i] cos[r, i] - x[r, i + 64] sin[r, i]",
        "y[r, i + 64] = x[r, i + 64] cos[r, i] + x[r, i] sin[r, i]        for i < 64",
    ),
    text="""\
Rotary embedding turns pairs of elements by an angle of their position; here a pair is an element of the low half
of a row and the same one of the high half. A tile need not be as wide as its tensor: the stub loads the halves as
two tiles, and forgets the sines.""",
    hints=(
        "A third tile of the same place: the sines. Both results need both halves as they were loaded.",
        "`pl.sub(pl.mul(low, c), pl.mul(high, s))` at column 0, `pl.add(pl.mul(high, c), pl.mul(low, s))` at HALF.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_turned_twice": "wrong-result", "wrong_one_position": "wrong-result", "wrong_task_a_half": "over-par"},
    cases=({"rows": 16}, {"rows": 80}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-20,
    atol=2.0**-20,
)
