"""When which core does what, predicted: a lane for each core, whatever the number of tasks."""

from __future__ import annotations

import matplotlib.colors
import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from helpers.plots.style import FAINT, PALETTE, Figure, figure, many, sign, styled, time_axis, time_text
from helpers.profile import Profile

NAMED = len(PALETTE)  # kernel names that have a colour of their own; the others share one
_BINS = 1200  # moments across the figure: a bar that is shorter is shown by its share of one


def shades(profile: Profile) -> tuple[list[str], np.ndarray]:
    """Names that are coloured, the busiest first, and for each of `profile.tasks.names` its place there.

    The last place stands for all others, if there are more names than colours.
    """
    t, s = profile.tasks, profile.schedule
    busy = np.bincount(t.name, s.end - s.start, len(t.names))
    order = np.argsort(-busy, kind="stable")
    shown = order if len(order) <= NAMED else order[: NAMED - 1]
    place = np.full(len(t.names), len(shown), np.int64)
    place[shown] = np.arange(len(shown))
    labels = [t.names[i] for i in shown]
    if len(order) > len(shown):
        labels.append(many(len(order) - len(shown), "other name"))
    return labels, place


def occupancy(profile: Profile, span: tuple[float, float], bins: int = _BINS) -> np.ndarray:
    """How busy each core is, by colour (see `shades`): shares of each of `bins` equal parts of the span.

    FP64 [colours, cores, bins]; the sum over colours is at most 1.
    """
    task, core = profile.schedule.lanes()
    labels, place = shades(profile)
    start, end = profile.schedule.start[task], profile.schedule.end[task]
    shade = place[profile.tasks.name][task]
    low, width = span[0], (span[1] - span[0]) / bins or 1.0
    a, b = ((np.clip(t, *span) - low) / width for t in (start, end))
    inside = b > a
    a, b, shade, core = a[inside], b[inside], shade[inside], core[inside]
    first, last = np.floor(a).astype(np.int64), np.ceil(b).astype(np.int64) - 1
    long = np.maximum(last - first, 0) + 1
    of = np.repeat(np.arange(len(a)), long)  # each bar, once for each bin it touches
    at = first[of] + np.arange(len(of)) - np.repeat(np.cumsum(long) - long, long)
    share = np.minimum(b[of], at + 1) - np.maximum(a[of], at)
    cores = profile.chip.cores
    cell = (shade[of] * cores + core[of]) * bins + np.clip(at, 0, bins - 1)
    return np.bincount(cell, share, len(labels) * cores * bins).reshape(len(labels), cores, bins)


def swimlane(profile: Profile, span: tuple[float, float] | None = None) -> Figure:
    """A lane for each core that does anything, cube cores above vector cores, in predicted microseconds.

    A mixed task takes its cube core and both vector cores of the cluster. Where tasks are too short to be seen, a
    moment's colour is the kernel that is on the core for most of it, paler the longer the core is idle.

    Args:
        span: From when to when, in microseconds; None: all of it.
    """
    chip = profile.chip
    span = (0.0, profile.makespan or 1.0) if span is None else span
    labels, _ = shades(profile)
    shares = occupancy(profile, span)
    used = np.flatnonzero(occupancy(profile, (0.0, profile.makespan or 1.0), 1).any(axis=(0, 2)))
    rgb = np.array([matplotlib.colors.to_rgb(c) for c in PALETTE[: len(labels)]] or [(0, 0, 0)])
    picture = np.zeros((len(used), shares.shape[2], 4))
    if len(used):
        mine = shares[:, used]
        total = mine.sum(axis=0)
        picture[..., :3] = rgb[mine.argmax(axis=0)]
        picture[..., 3] = np.where(total > 0, 0.2 + 0.8 * total.clip(0, 1), 0)
    n = len(profile.tasks)
    busy = ", ".join(f"{engine} {share:.0%} busy" for engine, share in profile.utilisation.items())
    alt = f"swimlane: {many(n, 'task')} on {many(len(used), 'core')} of {chip.name}"
    with styled():
        fig = figure(1.35 + 0.2 * -(-len(labels) // 3) + max(0.5, min(0.3, 4.4 / max(1, len(used))) * len(used)), alt)
        axes = fig.subplots()
        shown = np.repeat(picture, 8, axis=0)
        shown[::8, :, 3] = shown[7::8, :, 3] = 0  # a gap between lanes
        extent = (*span, len(used) - 0.5, -0.5)
        if len(used):
            axes.imshow(shown, aspect="auto", interpolation="nearest", extent=extent, rasterized=True)
        border = int((used < chip.cube_cores).sum())
        if 0 < border < len(used):
            axes.axhline(border - 0.5, color=FAINT, linewidth=1.2)
        step = max(1, -(-len(used) // 18))
        marks = [*range(0, border, step), *range(border, len(used), step)]
        axes.set_yticks(marks, [chip.core_name(int(used[i])) for i in marks])
        axes.tick_params(axis="y", length=0, labelsize=8)
        axes.set_ylim(max(len(used), 1) - 0.5, -0.5)
        axes.set_xlim(*span)
        axes.xaxis.set_major_locator(MaxNLocator(8))
        time_axis(axes)
        axes.set_xlabel(f"time, {profile.kind}")
        axes.set_title(f"{many(n, 'task')} in {time_text(profile.makespan)}, {profile.kind}; {busy}")
        patches = [Patch(color=c, label=_short(n)) for n, c in zip(labels, PALETTE)]
        if patches:
            fig.legend(handles=patches, loc="outside upper left", ncols=3, fontsize=8, handlelength=1.2)
        sign(fig, profile.trace.label, profile.basis)
    return fig


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
