"""`Puzzle`: the record of a puzzle, which its module in golden/puzzles has as PUZZLE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from golden.compare import Comparator
from golden.spec import ScalarSpec, TensorSpec

FIGURES = {
    "tasks": "tasks",
    "bytes": "bytes of global memory",
    "time": "predicted time",
    "chip": "on-chip memory",
}
"""What can be asked to be no more than par."""


@dataclass(frozen=True)
class Puzzle:
    """One idea: what is to be computed, what it is held against, and what is to be said about it.

    Its kernels are in kernels/puzzles, in a module of the same name: `stub`, which the reader gets; `solution`; and
    plausible attempts that are refused, `wrong`.

    Attributes:
        order: Where it stands in its part.
        title: The idea, in a few words.
        math: What is to be computed, two lines at most.
        text: What the reader has to know beyond that; Markdown.
        hints: Two, the second of which nearly says it.
        specs: Gives a run's TensorSpecs and ScalarSpecs, in the order of the kernel's parameters. Called with nothing:
            the sizes that are drawn and on which par is computed.
        reference: Writes the golden into a dict of values.
        cases: Arguments of `specs` for the other sizes that are tried; boundaries among them. `{}` among them says when
            the sizes of the picture are tried, where that is not first: a plausible attempt that does too much, each
            block all tiles, takes seconds at many tiles and is found at three.
        stub, wrong: The verdict on the stub, and on each plausible attempt by its name: a kind of finding,
            "wrong-result", "language", "over-par" ...
        asked: What must not be more than par, in FIGURES, and by what factor it may be.
        rtol, atol, compare_fn: What the comparison allows, as for golden.run_jit.
    """

    order: int
    title: str
    math: tuple[str, ...]
    text: str
    hints: tuple[str, str]
    specs: Callable[..., list[TensorSpec | ScalarSpec]]
    reference: Callable[[dict[str, Any]], None]
    stub: str
    wrong: Mapping[str, str]
    cases: tuple[Mapping[str, int], ...] = ()
    asked: Mapping[str, float] = field(default_factory=dict)
    rtol: float = 1e-5
    atol: float = 1e-5
    compare_fn: Mapping[str, Comparator] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[Mapping[str, int], ...]:
        """Arguments of `specs`, one after the other as they are tried."""
        return self.cases if {} in self.cases else ({}, *self.cases)
