"""Versions of a stage side by side: what each fusion step does to tasks, traffic, on-chip memory."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.ticker import NullLocator

from helpers.interpret.trace.trace import Trace
from helpers.plots.style import Figure, bytes_text, colors, count, figure, platform_of, sign, styled
from helpers.plots.tasks import longest_chain


def figures_of(trace: Trace) -> dict[str, int]:
    """The numbers that `ladder` compares, by title: counts of tasks and launches, bytes.

    What cube and vector cores hand each other through global memory is part of what is read and written, and a number
    of its own.
    """
    return {
        "tasks": trace.tasks,
        "launches one after the other": longest_chain(trace),
        "GM read": trace.gm_read_bytes,
        "GM written": trace.gm_write_bytes,
        **({"GM of these: ring": 2 * trace.ring_bytes} if trace.ring_bytes else {}),
        **{f"{space} peak": n for space, n in trace.peaks().items() if n},
    }


def ladder(traces: Mapping[str, Trace]) -> Figure:
    """Bars for every version, a panel for each number of `figures_of`; each panel has a scale of its own."""
    numbers = {version: figures_of(trace) for version, trace in traces.items()}
    titles = list(dict.fromkeys(t for by in numbers.values() for t in by))
    alt = "versions side by side: " + "; ".join(f"{v} {count(t.tasks)} tasks" for v, t in traces.items())
    across = 3
    down = -(-len(titles) // across)
    with styled():
        fig = figure(0.45 + down * (0.55 + 0.26 * len(traces)), alt)
        panels = fig.subplots(down, across, squeeze=False).ravel()
        for axes in panels[len(titles) :]:
            axes.set_visible(False)
        for i, (axes, title) in enumerate(zip(panels, titles)):
            values = [by.get(title, 0) for by in numbers.values()]
            axes.barh(range(len(values)), values, 0.66, color=list(colors(traces).values()))
            size = title.startswith("GM") or title.endswith("peak")
            for y, n in enumerate(values):
                text = bytes_text(n) if size else count(n)
                axes.annotate(text, (n, y), (4, 0), textcoords="offset points", va="center", fontsize=8)
            axes.set_xlim(0, 1.42 * max([1, *values]))
            axes.set_ylim(len(values) - 0.45, -0.55)
            axes.set_yticks(range(len(values)), traces if i % across == 0 else [""] * len(values))
            axes.tick_params(axis="y", length=0)
            axes.xaxis.set_major_locator(NullLocator())
            axes.spines["bottom"].set_visible(False)
            axes.set_title(title)
        sign(fig, platform_of(traces.values()))
    return fig
