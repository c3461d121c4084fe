"""How evenly launches spread their cube work over the core groups of a chip."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import numpy as np

from helpers.chips import chip
from helpers.interpret.trace.trace import Trace
from helpers.plots.style import LIMIT, Figure, colors, figure, platform_of, sign, styled


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
