"""What bounds each kernel, predicted: operations a second against operations for each byte of global memory."""

from __future__ import annotations

import math

import numpy as np

from helpers.plots.style import LIMIT, PALETTE, TEXT, Figure, figure, many, sign, styled
from helpers.profile import Profile
from helpers.profile.task_table import CUBE, MIXED

_SHOWN = 6
_MARKS = {"cube": "s", "vector": "o", "mixed": "D"}


def points(profile: Profile) -> dict[str, tuple[float, float]]:
    """For each kernel name (operations a byte of global memory, operations a second), and "all" for the whole run.

    Operations are the cube's multiplications and additions, and the elements of vector operations. A kernel's rate is
    that of the chip if all cores of its kind ran it without a pause; that of "all" is over the makespan.
    """
    t, trace = profile.tasks, profile.trace
    work: dict[str, list[float]] = {n: [0.0, 0.0] for n in t.names}
    for d in trace.dispatches:
        for p in d.parts if d.runs else ():
            w = p.chunk.work
            work[d.name][0] += len(p) * (w.cube_flops + w.vector_elements)
            work[d.name][1] += len(p) * (w.gm_read_bytes + w.gm_write_bytes)
    groups = np.where(t.kind == CUBE, profile.chip.cube_cores, profile.chip.vector_cores)
    groups = np.where(t.kind == MIXED, profile.chip.clusters, groups)
    spent = np.bincount(t.name, (profile.schedule.end - profile.schedule.start) / groups, len(t.names))
    out = {n: _point(*work[n], spent[i]) for i, n in enumerate(t.names)}
    out["all"] = _point(sum(w[0] for w in work.values()), sum(w[1] for w in work.values()), profile.makespan)
    return {n: p for n, p in out.items() if p is not None}


def _point(operations: float, moved: float, us: float) -> tuple[float, float] | None:
    return (operations / moved, operations / (us * 1e-6)) if operations and moved and us else None


def roofline(profile: Profile) -> Figure:
    """The chip's roofs, and where under them each of the busiest kernels and the whole run are."""
    chip = profile.chip
    cube = chip.cube_tflops * 1e12
    vector = chip.vector_gflops * 1e9
    memory = chip.memory.shared * 1e9
    found = points(profile)
    rows = sorted(profile.by_name(), key=lambda r: -r.total)
    names = [r.name for r in rows if r.name in found]
    kind = {r.name: r.core for r in rows}
    shown = names[:_SHOWN]
    alt = f"roofline of {chip.name}: " + ", ".join(shown)
    xs, ys = zip(*[found[n] for n in [*shown, "all"] if n in found] or [(1.0, 1e12)])
    left = 10 ** math.floor(math.log10(min(*xs, vector / memory) / 2))
    right = 10 ** math.ceil(math.log10(max(*xs, cube / memory) * 2))
    low = 10 ** math.floor(math.log10(min(*ys, vector) / 2))
    with styled():
        fig = figure(3.6, alt)
        axes = fig.subplots()
        x = np.geomspace(left, right, 200)
        axes.plot(x, np.minimum(memory * x, cube), color=LIMIT)
        axes.plot(x, np.minimum(memory * x, vector), color=LIMIT, linestyle=(0, (5, 3)))
        for i, (name, color) in enumerate(zip(shown, PALETTE)):  # smaller and smaller: none hides another
            label = f"{name if len(name) <= 22 else name[:21] + '…'} ({kind[name]})"
            axes.plot(
                *found[name], _MARKS[kind[name]], color=color, markersize=12 - 1.3 * i, linestyle="none", label=label
            )
        if "all" in found:
            axes.plot(*found["all"], "*", color=TEXT, markersize=16, fillstyle="none", label="all, over the makespan")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(left, right)
        axes.set_ylim(low, 8 * cube)
        axes.grid(which="major")
        for text, roof in (
            (f"cube, BF16: {cube / 1e12:.0f} T/s", cube),
            (f"vector, FP32: {vector / 1e12:.1f} T/s", vector),
        ):
            axes.annotate(
                text,
                (right, roof),
                (-4, 3),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=8,
                color=LIMIT,
            )
        axes.set_xlabel(f"operations for each byte of global memory; slope: {memory / 1e12:.2f} TB/s")
        axes.set_ylabel("operations a second")
        rest = len(names) - len(shown)
        axes.set_title("what bounds each kernel, predicted" + (f" ({many(rest, 'name')} not shown)" if rest else ""))
        if found:
            fig.legend(loc="outside right upper", fontsize=8)
        sign(fig, profile.trace.label, f"predicted by the cost model of {chip.name}")
    return fig
