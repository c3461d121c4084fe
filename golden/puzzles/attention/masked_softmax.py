"""Puzzle masked_softmax: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import ScalarSpec, TensorSpec


def specs(n: int = 100) -> list[TensorSpec | ScalarSpec]:
    """s [16, 128] FP32, n INT32: columns that count; the others hold large values."""
    s = drawn(16, 128)
    s[:, n:] = 50
    return [given("s", s), wanted("w", 16, 128), ScalarSpec("n", torch.int32, n)]


def reference(values: dict[str, Any]) -> None:
    """The softmax of the first n columns, in FP64; 0 in the others."""
    n = values["n"]
    values["w"][:] = 0
    values["w"][:, :n] = torch.softmax(values["s"][:, :n].double(), 1)


PUZZLE = Puzzle(
    order=2,
    title="Mask by what is valid",
    math=("w[r, c] = exp(s[r, c]) / sum over c < n of exp(s[r, c])   for c < n", "w[r, c] = 0   for c >= n"),
    text="""\
The last page of a sequence is full of other things past its end: those scores must not count, and their weights
must be 0. The stub's tile is valid in its first n columns. Its results are right, but only they are stored. What
is not valid can be filled with a value, after which the tile is valid as a whole.""",
    hints=(
        "Which score makes a weight of exactly 0, and never is the maximum?",
        "`pl.fillpad(part, pad_value=pl.PadValue.min)` before the maximum is taken: min is the lowest number of the "
        "type, and exp of it is 0.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_zeros": "wrong-result", "wrong_everything": "wrong-result"},
    cases=({"n": 1}, {"n": 127}, {"n": 128}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-19,
    atol=2.0**-24,
)
