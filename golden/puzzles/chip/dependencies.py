"""Puzzle dependencies: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(seed: int = 0) -> list[TensorSpec]:
    """x [128, 64] FP32."""
    return [given("x", drawn(128, 64, seed=seed)), wanted("y", 128, 64)]


def reference(values: dict[str, Any]) -> None:
    """exp(x) + x^2, in FP64."""
    x = values["x"].double()
    values["y"][:] = x.exp() + x.square()


PUZZLE = Puzzle(
    order=5,
    title="Say what waits for what",
    math=("y[r, c] = exp(x[r, c]) + x[r, c]^2",),
    text="""\
As a rule the runtime finds out which launch waits for which. In a `pl.manual_scope()` it does not: what a launch
waits for is what its `deps=[...]` names, and a launch has a name through `with pl.spmd(...) as name`. The stub
gives the right numbers here, because interpret mode runs launches in their order. On a chip the sum may come
first: a **race**. Name what is needed, and no more: a wait that is not needed takes time.""",
    hints=(
        "The third launch reads what the first two have written. These two do not need each other.",
        "Give the first two names, and the third `deps=[powers_made, squares_made]`.",
    ),
    specs=specs,
    reference=reference,
    stub="race",
    wrong={"wrong_one_of_two": "race", "wrong_chain": "over-par"},
    asked={"tasks": 1.0, "bytes": 1.0, "time": 1.02},
    rtol=2.0**-19,
    atol=2.0**-22,
)
