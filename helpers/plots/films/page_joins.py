"""The online softmax joining pages, with the numbers of a run: maxima, sums and one element of the output.

Read from an opened task (`helpers.inside`) that calls `joined`: what it took and made is what is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from helpers.errors import InputError
from helpers.inside import Inside
from helpers.interpret.values.seen import Seen
from helpers.plots.films.film import Film
from helpers.plots.style import BLUE, FAINT, LIMIT, ORANGE, TEXT, Figure, figure, sign, styled

_TAKEN = ("top_a", "total_a", "o_a", "top_b", "total_b", "o_b")


@dataclass(frozen=True)
class Joint:
    """One join, of one row: running maximum, sum and output element, those of the page, and those of both."""

    top_a: float
    total_a: float
    o_a: float
    top_b: float
    total_b: float
    o_b: float

    @property
    def top(self) -> float:
        return max(self.top_a, self.top_b)

    @property
    def scales(self) -> tuple[float, float]:
        """What the running sums and those of the page are multiplied by."""
        return math.exp(self.top_a - self.top), math.exp(self.top_b - self.top)


def joints(opened: Inside, row: int = 0, column: int = 0) -> list[Joint]:
    """The joins of a task, in order: calls of an inline function `joined` with parameters as in
    kernels/flash_attention.py.

    Raises:
        InputError: the task has none.
    """
    out = []
    for m in opened.moments:
        if m.function == "joined" and m.bound == "top" and all(isinstance(m.names.get(n), Seen) for n in _TAKEN):
            values = {n: m.names[n].data for n in _TAKEN}
            if all(isinstance(v, torch.Tensor) for v in values.values()):
                out.append(Joint(*(float(v[row, column if n.startswith("o") else 0]) for n, v in values.items())))
    if not out:
        raise InputError(f"{opened.title} joins no pages: it does not call `joined`")
    return out


def softmax_pages(opened: Inside, row: int = 0, column: int = 0) -> Film:
    """A picture for each page that joins those before, the first page alone first.

    Args:
        opened: A task that calls `joined`, such as `merge` of flash_attention.flat.
        row, column: Of the query row, and of the element of its output.

    Raises:
        InputError: the task joins no pages.
    """
    if not isinstance(opened, Inside):
        raise InputError(f"give a task that was opened, inside(run, task), not {type(opened).__name__}")
    found = joints(opened, row, column)
    tops = [found[0].top_a, *(j.top_b for j in found)]
    totals = [found[0].total_a, *(j.total_b for j in found)]
    said = ["page 0 alone: its maximum and its sum are the running ones"]
    for p, j in enumerate(found, 1):
        which = (
            "is larger: what was summed so far shrinks" if j.top_b > j.top_a else "is smaller: the page's sum shrinks"
        )
        said.append(f"page {p} joins: its maximum {j.top_b:.3f} {which} by {min(j.scales):.3g}")

    def draw(n: int) -> Figure:
        return _picture(opened, tops, totals, found, n, row, column)

    return Film(f"online softmax over {len(tops)} pages, query row {row}", tuple(said), draw, (len(found),))


def _picture(
    opened: Inside, tops: list[float], totals: list[float], found: list[Joint], n: int, row: int, column: int
) -> Figure:
    pages = len(tops)
    running = tops[0] if n == 0 else found[n - 1].top
    with styled():
        fig = figure(3.6, f"online softmax: page {n} of {pages}, query row {row}")
        left, right = fig.subplots(1, 2)
        for p in range(pages):
            here = p <= n
            color = (ORANGE if p == n else BLUE) if here else FAINT
            left.plot([p], [tops[p]], "o", color=color, markersize=7)
        left.axhline(running, color=LIMIT, linewidth=1.2, linestyle="--")
        left.set_title(f"maximum of each page; running: {running:.3f}")
        left.set_xlabel("page")
        left.set_xticks(range(pages))
        left.set_xlim(-0.5, pages - 0.5)
        at = 0.0
        shares = [t * math.exp(m - running) for t, m in zip(totals[: n + 1], tops[: n + 1])]
        for p, share in enumerate(shares):
            right.barh(0, share, 0.5, at, color=ORANGE if p == n else BLUE, edgecolor="white", linewidth=0.5)
            if share > 0.06 * sum(shares):
                right.text(at + share / 2, 0, str(p), ha="center", va="center", color="white", fontsize=8)
            at += share
        right.set_title(f"running sum, brought to that maximum: {at:.4g}")
        right.set_yticks([])
        right.set_ylim(-1.1, 0.6)
        right.set_xlim(0, max(sum(totals) * 1.02, at))
        right.set_xlabel("sum of exp(score - maximum), a piece a page")
        right.text(0.0, -0.62, _formula(found, n), fontsize=8, family="monospace", va="center", color=TEXT)
        sign(fig, opened.platform, f"row {row} of {opened.title}")
    return fig


def _formula(found: list[Joint], n: int) -> str:
    if n == 0:
        j = found[0]
        return f"t = {j.total_a:.4g}\no = {j.o_a:.4g}"
    j = found[n - 1]
    a, b = j.scales
    total, o = j.total_a * a + j.total_b * b, j.o_a * a + j.o_b * b
    lines = [
        f"t = {j.total_a:.4g} x {a:.3g} + {j.total_b:.4g} x {b:.3g} = {total:.4g}",
        f"o = {j.o_a:.4g} x {a:.3g} + {j.o_b:.4g} x {b:.3g} = {o:.4g}",
    ]
    if n == len(found):
        lines.append(f"o / t = {o / total:.4g}")
    return "\n".join(lines)
