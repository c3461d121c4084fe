"""Puzzle rms_norm: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec

EPS = 1e-6


def specs(rows: int = 32, zeros: int = 0, small: int = 0) -> list[TensorSpec]:
    """x [rows, 128], w [1, 128], FP32; the first `zeros` rows of x are zero, the next `small` ones of the size of
    sqrt(EPS), where it matters to what EPS is added; rows a multiple of 16."""
    x = 3 * drawn(rows, 128)
    x[:zeros] = 0
    x[zeros : zeros + small] *= EPS**0.5
    return [given("x", x), given("w", 0.5 + drawn(1, 128, seed=1).abs()), wanted("y", rows, 128)]


def reference(values: dict[str, Any]) -> None:
    """Each row over its root mean square, times w, in FP64."""
    x = values["x"].double()
    values["y"][:] = x * (x.square().mean(1, keepdim=True) + EPS).rsqrt() * values["w"].double()


PUZZLE = Puzzle(
    order=5,
    title="RMSNorm",
    math=("m[r] = mean over c of x[r, c]^2", "y[r, c] = x[r, c] / sqrt(m[r] + EPS) * w[0, c]"),
    text="""\
A number can be the second operand of `pl.add` and `pl.mul`: it meets each element. A mean is a sum times 1 /
WIDTH. The stub has EPS; it keeps a row of zeros from becoming 0 / 0. Such rows are tried, and rows whose mean
square is about EPS.""",
    hints=(
        "First a column, the factor of each row; then the tile times the column, then times the row w.",
        "`factor = pl.rsqrt(pl.add(mean_square, EPS))`, where mean_square is `pl.mul(pl.row_sum(pl.mul(tile, tile)), "
        "1.0 / WIDTH)`. A tile meets a column in `pl.row_expand_mul`.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={
        "wrong_no_eps": "wrong-result",
        "wrong_sum": "wrong-result",
        "wrong_eps_of_root": "wrong-result",
        "wrong_two_tasks": "over-par",
    },
    cases=({"rows": 16}, {"rows": 16, "zeros": 1}, {"rows": 16, "small": 8}, {"rows": 80}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-19,
    atol=2.0**-22,
)
