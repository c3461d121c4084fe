"""Versions of a stage side by side: tasks, traffic, on-chip memory; how evenly cube work is spread over core groups."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import NullLocator

from helpers.chips import chip
from helpers.interpret.trace.depend import longest_chain
from helpers.interpret.trace.trace import Trace
from helpers.plots.given import by_version, trace_of
from helpers.plots.style import LIMIT, Figure, bytes_text, colors, count, figure, platform_of, sign, styled


def figures_of(trace: Trace) -> dict[str, int]:
    """The numbers that `ladder` compares, by title: counts of tasks and launches, bytes.

    What cube and vector cores hand each other through global memory is part of what is read and written, and a number
    of its own.
    """
    return {
        "tasks": trace.tasks,
        "critical path, in launches": longest_chain(trace),
        "GM read": trace.gm_read_bytes,
        "GM written": trace.gm_write_bytes,
        **({"GM of these: ring": 2 * trace.ring_bytes} if trace.ring_bytes else {}),
        **{f"{space} peak": n for space, n in trace.peaks().items() if n},
    }


def ladder(traces: Mapping[str, Trace]) -> Figure:
    """Bars for every version, a panel for each number of `figures_of`; each panel has a scale of its own."""
    traces = {version: trace_of(trace) for version, trace in by_version(traces).items()}
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


def shares(trace: Trace, name: str) -> np.ndarray:
    """Cube work of each core group in the launches called `name`, 1 being an even share; largest first, FP64 [groups].

    Blocks go in their order to the core group that has done the least so far, as from a queue when time is cube work.
    """
    work: dict[tuple[int, int], int] = {}
    for d in trace.dispatches:
        for p in d.parts if d.name == name else ():
            for block in p.chunk.blocks if p.row is None else p.chunk.blocks[p.row : p.row + 1]:
                key = (d.index, int(block))
                work[key] = work.get(key, 0) + p.chunk.work.cube_flops
    groups = [0] * chip(trace.platform.removesuffix("interp").removesuffix("sim")).clusters
    for key in sorted(work):
        heapq.heapreplace(groups, groups[0] + work[key])
    loads = np.sort(np.array(groups, np.float64))[::-1]
    return loads / loads.mean() if loads.any() else loads


def balance(traces: Mapping[str, Trace], name: str) -> Figure:
    """The shares of `shares`, a panel for each version: the highest bar says when the launch can end."""
    traces = {version: trace_of(trace) for version, trace in by_version(traces).items()}
    found = {version: shares(trace, name) for version, trace in traces.items()}
    alt = f"cube work by core group in {name}: " + "; ".join(
        f"{v} at most {s.max(initial=0):.2f} of an even share" for v, s in found.items()
    )
    with styled():
        fig = figure(2.5, alt)
        panels = fig.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for axes, (version, mine), color in zip(panels, found.items(), colors(found).values()):
            axes.bar(range(1, len(mine) + 1), mine, 0.8, color=color)
            axes.axhline(1, color=LIMIT, linestyle=(0, (5, 3)))
            axes.set_title(f"{version}: at most {mine.max(initial=0):.2f} of an even share")
            axes.set_xlim(0.4, len(mine) + 0.6)
            axes.set_xticks([1, *range(6, len(mine) + 1, 6)])
            axes.set_xlabel("core group, most work first")
            axes.grid(axis="y")
        panels[0].set_ylabel("cube work / even share")
        sign(fig, platform_of(traces.values()), "blocks go to the group with the least so far")
    return fig
