"""What bounds each kernel, predicted: operations a second against operations for each byte that comes from HBM."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.ticker import FixedLocator

from helpers.plots.given import profile_of
from helpers.plots.style import LIMIT, TEXT, Figure, colors, figure, many, sign, styled
from helpers.profile import Profile

_SHOWN = 6
_MARKS = {"cube": "s", "vector": "o", "mixed": "D"}


def points(profile: Profile) -> dict[str, tuple[float, float]]:
    """For each kernel name (operations for each byte from HBM, operations a second), and "all" for the whole run.

    Operations are the cube's multiplications and additions, and the elements of vector operations. Bytes are those that
    a kernel reads and the L2 cache is likely not to have (`TaskCost.hbm_bytes`, an estimate); without any, infinity. A
    kernel's rate is that of the cores that it had, while it had any: over the time in which a task of it ran.
    """
    t, trace = profile.tasks, profile.trace
    work = dict.fromkeys(t.names, 0.0)
    for d in trace.dispatches:
        for p in d.parts if d.runs else ():
            work[d.name] += len(p) * (p.chunk.work.cube_flops + p.chunk.work.vector_elements)
    moved = np.bincount(t.name, profile.costs.hbm_bytes, len(t.names)).tolist()
    spent = running(profile)
    out = {n: _point(work[n], moved[i], spent[n][0]) for i, n in enumerate(t.names)}
    out["all"] = _point(sum(work.values()), sum(moved), profile.makespan)
    return {n: p for n, p in out.items() if p is not None}


def running(profile: Profile) -> dict[str, tuple[float, int]]:
    """For each kernel name: microseconds in which at least one task of it ran, and on how many cores (core groups) its
    tasks ran in all."""
    t, s = profile.tasks, profile.schedule
    out = {}
    for i, name in enumerate(t.names):
        mine = np.flatnonzero(t.name == i)
        mine = mine[np.argsort(s.start[mine], kind="stable")]
        start, end = s.start[mine], s.end[mine]
        before = np.concatenate([[0.0], np.maximum.accumulate(end)[:-1]]) if len(mine) else end
        out[name] = float(np.maximum(0.0, end - np.maximum(start, before)).sum()), len(np.unique(s.core[mine]))
    return out


def _point(operations: float, moved: float, us: float) -> tuple[float, float] | None:
    if not operations or not us:
        return None
    return operations / moved if moved else math.inf, operations / (us * 1e-6)


def roofline(profile: Profile) -> Figure:
    """The chip's roofs, and where under them each of the busiest kernels and the whole run are.

    A roof is that of all cores of the chip; a kernel that runs on a few of them is that much lower. One that reads
    nothing from HBM stands at the right edge: no slope is its roof.
    """
    profile = profile_of(profile)
    chip = profile.chip
    cube = chip.cube_tflops * 1e12
    vector = chip.vector_gflops * 1e9
    memory = chip.memory.shared * 1e9
    found = points(profile)
    rows = sorted(profile.by_name(), key=lambda r: -r.total)
    names = [r.name for r in rows if r.name in found]
    kind = {r.name: r.core for r in rows}
    spent = running(profile)
    shown = names[:_SHOWN]
    alt = f"roofline of {chip.name}: " + ", ".join(shown)
    xs, ys = zip(*[found[n] for n in [*shown, "all"] if n in found] or [(1.0, 1e12)])
    finite = [x for x in xs if math.isfinite(x)]
    left = 10 ** math.floor(math.log10(min(*finite, vector / memory, cube / memory) / 2))
    right = 10 ** math.ceil(math.log10(max(*finite, vector / memory, cube / memory) * 2))
    low = 10 ** math.floor(math.log10(min(*ys, vector) / 2))
    with styled():
        fig = figure(3.6, alt)
        axes = fig.subplots()
        x = np.geomspace(left, right, 200)
        axes.plot(x, np.minimum(memory * x, cube), color=LIMIT)
        axes.plot(x, np.minimum(memory * x, vector), color=LIMIT, linestyle=(0, (5, 3)))
        for i, (name, color) in enumerate(colors(shown).items()):  # smaller and smaller: none hides another
            where, rate = found[name]
            cores = f"{spent[name][1]} {kind[name]}{'' if math.isfinite(where) else ', L2'}"
            label = f"{name if len(name) <= 18 else name[:17] + '…'} ({cores})"
            axes.plot(
                min(where, right), rate, _MARKS[kind[name]], color=color, markersize=12 - 1.3 * i, linestyle="none",
                label=label, clip_on=False,
            )  # fmt: skip
        if "all" in found:
            where, rate = found["all"]
            axes.plot(
                min(where, right), rate, "*", color=TEXT, markersize=16, fillstyle="none", clip_on=False,
                label="all, over the makespan",
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(left, right)
        axes.set_ylim(low, 8 * cube)
        bottom, top = round(math.log10(low)), math.floor(math.log10(8 * cube))
        axes.yaxis.set_major_locator(
            FixedLocator([10.0**k for k in range(bottom, top + 1, 2 if top - bottom > 5 else 1)])
        )
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
        axes.set_xlabel(f"operations for each byte from HBM (an estimate); slope: {memory / 1e12:.2f} TB/s")
        axes.set_ylabel("operations a second")
        rest = len(names) - len(shown)
        axes.set_title("what bounds each kernel, predicted" + (f" ({many(rest, 'name')} not shown)" if rest else ""))
        if found:
            fig.legend(loc="outside right upper", fontsize=8)
        sign(fig, profile.trace.label, f"predicted by {chip.model}")
    return fig
