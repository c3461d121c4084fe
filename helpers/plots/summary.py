"""One run at a glance: its error, its use of on-chip memory, its tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.ticker import NullLocator, PercentFormatter

from helpers.chips import chip
from helpers.interpret.trace.trace import Trace
from helpers.plots.given import trace_of
from helpers.plots.style import LIMIT, Figure, bytes_text, colors, count, figure, many, sign, styled

_NAMES = 8  # kernel names shown at most; the others are one bar


def summary(trace: Trace, ratios: Mapping[str, float], title: str = "") -> Figure:
    """Three panels: largest error over tolerance by output, on-chip peaks as a share of the chip's, tasks by name.

    Args:
        ratios: `worst_ratio` by output.
    """
    trace = trace_of(trace)
    limits = chip(trace.platform.removesuffix("interp").removesuffix("sim")).buffers
    peaks = {space: n for space, n in trace.peaks().items() if n}
    tasks = trace.tasks_by_name()
    if len(tasks) > _NAMES:
        kept = sorted(tasks, key=lambda n: -tasks[n])[: _NAMES - 1]
        rest = sum(n for name, n in tasks.items() if name not in kept)
        tasks = {n: tasks[n] for n in tasks if n in kept} | {f"{count(len(tasks) - len(kept))} others": rest}
    alt = f"{title or 'summary'}: {many(trace.tasks, 'task')}; " + ", ".join(
        f"{s} {bytes_text(n)} of {bytes_text(limits[s])}" for s, n in peaks.items()
    )
    with styled():
        fig = figure(0.95 + 0.3 * max(3, len(tasks), len(ratios)), alt)
        error, memory, names = fig.subplots(1, 3)
        shown = {n: 0.0 if math.isnan(r) else min(r, 10.0) for n, r in ratios.items()}
        _bars(error, shown, [_ratio(r) for r in ratios.values()], 1.0)
        error.set_title("largest error / tolerance")
        shares = {f"{s}  {bytes_text(n)} of {bytes_text(limits[s])}": n / limits[s] for s, n in peaks.items()}
        _bars(memory, shares, [""] * len(shares), 1.0)
        memory.xaxis.set_major_formatter(PercentFormatter(1.0, 0))
        memory.set_title("on-chip peak")
        _bars(names, tasks, [count(n) for n in tasks.values()], None)
        names.xaxis.set_major_locator(NullLocator())
        names.spines["bottom"].set_visible(False)
        names.set_title(many(trace.tasks, "task"))
        sign(fig, trace.label, title)
    return fig


def _ratio(r: float) -> str:
    return f"{r:.2g}" if math.isfinite(r) else "NaN"


def _bars(axes, values: Mapping[str, float], labels: list[str], limit: float | None) -> None:
    axes.barh(range(len(values)), list(values.values()), 0.6, color=list(colors(values).values()))
    right = max([limit or 1, *values.values()])
    axes.set_xlim(0, right * (1.1 if limit else 1.3))
    for y, (n, text) in enumerate(zip(values.values(), labels)):
        inside = limit is not None and n > 0.5 * right
        axes.annotate(
            text, (n, y), (-4 if inside else 4, 0), textcoords="offset points", va="center", fontsize=8,
            ha="right" if inside else "left", color="white" if inside else None,
        )  # fmt: skip
    if limit is not None:
        axes.axvline(limit, color=LIMIT, linestyle=(0, (5, 3)))
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(max(len(values), 3) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
