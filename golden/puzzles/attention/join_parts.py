"""Puzzle join_parts: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import given, wanted
from golden.spec import TensorSpec


def specs(parts: int = 3, apart: int = 2) -> list[TensorSpec]:
    """o [parts * 16, 128], top and total [parts * 16, 1], FP32: attention over 24 tokens a part, maxima `apart`."""
    random = torch.Generator().manual_seed(parts)
    scores = torch.randn(parts, 16, 24, generator=random) + apart * torch.arange(parts).view(-1, 1, 1)
    v = torch.randn(parts, 24, 128, generator=random)
    top = scores.amax(2, keepdim=True)
    weights = (scores - top).exp()
    o, total = weights @ v, weights.sum(2, keepdim=True)
    flat = [given(n, x.flatten(0, 1)) for n, x in (("o", o), ("top", top), ("total", total))]
    return [*flat, wanted("y", 16, 128)]


def reference(values: dict[str, Any]) -> None:
    """All parts brought to one maximum, added, and divided, in FP64."""
    o, top, total = (values[n].double().view(-1, 16, values[n].shape[1]) for n in ("o", "top", "total"))
    scale = (top - top.amax(0)).exp()
    values["y"][:] = (o * scale).sum(0) / (total * scale).sum(0)


PUZZLE = Puzzle(
    order=5,
    title="Join partial results",
    math=(
        "m = max(m_a, m_b),  o = o_a exp(m_a - m) + o_b exp(m_b - m),  t = t_a exp(m_a - m) + t_b exp(m_b - m)",
        "y = o / t, with o and t of all parts",
    ),
    text="""\
When pages are worked on by different blocks, each leaves what it has: o, the weighted sum of V; top, its maximum;
total, the sum of its weights. Two such parts are joined by bringing both to the larger maximum. Part p stands in
rows 16 p to 16 p + 15 of all three tensors. There may be one part, or many.""",
    hints=(
        "A loop over the parts from 1 on, in which o_all, top_all and total_all are bound anew.",
        "`larger = pl.maximum(top_all, top_p)`; both sides are scaled by `pl.exp(pl.sub(their top, larger))`: o with "
        "`pl.row_expand_mul`, total with `pl.mul`.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_sum": "wrong-result", "wrong_mean": "wrong-result", "wrong_two_passes": "over-par"},
    cases=({"parts": 1}, {"parts": 2, "apart": 60}, {"parts": 4, "apart": -60}),
    asked={"tasks": 1.0, "bytes": 1.0},
    rtol=2.0**-18,
    atol=2.0**-20,
)
