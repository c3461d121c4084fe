"""When which core does what, predicted: a lane for each core; within one task, a lane for each pipe of its core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.colors
import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from helpers.errors import InputError
from helpers.plots.given import profile_of
from helpers.plots.style import (
    FAINT,
    PALETTE,
    TEXT,
    WIDTH,
    Figure,
    axes_at,
    beside,
    colors,
    figure,
    many,
    sign,
    styled,
    text_width,
    time_axis,
    time_text,
)
from helpers.profile import Profile
from helpers.profile.core_schedule import Bar, CoreRun
from helpers.profile.pipe_times import PIPES, SECOND
from helpers.profile.stalls import stalls

NAMED = len(PALETTE)  # kernel names that have a colour of their own; the others share one
_BINS = 1200  # moments across the figure: a bar that is shorter is shown by its share of one


Groups = Mapping[str, Sequence[str]]  # a label, and the kernel names that share its colour


def shades(profile: Profile, groups: Groups | None = None) -> tuple[list[str], np.ndarray]:
    """Labels with a colour, groups first, then names, the busiest first; of each of `profile.tasks.names` its place.

    The last place stands for all others, if there are more labels than colours.
    """
    t, s = profile.tasks, profile.schedule
    of = {name: label for label, names in (groups or {}).items() for name in names}
    every = list(dict.fromkeys([*(g for g in groups or {}), *(of.get(n, n) for n in t.names)]))
    at = np.array([every.index(of.get(n, n)) for n in t.names], np.int64)
    busy = np.bincount(at[t.name], s.end - s.start, len(every)) if len(t.names) else np.zeros(len(every))
    busy[: len(groups or {})] += 2 * busy.sum()
    order = np.argsort(-busy, kind="stable")
    shown = order if len(order) <= NAMED else order[: NAMED - 1]
    place = np.full(len(every), len(shown), np.int64)
    place[shown] = np.arange(len(shown))
    labels = [every[i] for i in shown]
    if len(order) > len(shown):
        labels.append(many(len(order) - len(shown), "other name"))
    return labels, place[at] if len(at) else at


def hues(labels: Sequence[str], profile: Profile, groups: Groups | None = None) -> list[str]:
    """The colour of each label of `shades`; what stands for others is grey."""
    named = {*profile.tasks.names, *(groups or {})}
    given = colors(label for label in labels if label in named)
    return [given.get(label, TEXT) for label in labels]


def occupancy(
    profile: Profile, span: tuple[float, float], bins: int = _BINS, groups: Groups | None = None
) -> np.ndarray:
    """How busy each core is, by colour (see `shades`): shares of each of `bins` equal parts of the span.

    FP64 [colours, cores, bins]; the sum over colours is at most 1.
    """
    task, core = profile.schedule.lanes()
    labels, place = shades(profile, groups)
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


def swimlane(profile: Profile, span: tuple[float, float] | None = None, groups: Groups | None = None) -> Figure:
    """A lane for each core that does anything, cube cores above vector cores, in predicted microseconds.

    A mixed task takes its cube core and both vector cores of the cluster. Where tasks are too short to be seen, a
    moment's colour is the kernel that is on the core for most of it, paler the longer the core is idle.

    Args:
        span: From when to when, in microseconds; None: all of it.
        groups: Labels, each for several kernel names, which then share a colour.
    """
    profile = profile_of(profile)
    chip = profile.chip
    span = (0.0, profile.makespan or 1.0) if span is None else span
    labels, _ = shades(profile, groups)
    hue = hues(labels, profile, groups)
    shares = occupancy(profile, span, groups=groups)
    used = np.flatnonzero(occupancy(profile, (0.0, profile.makespan or 1.0), 1).any(axis=(0, 2)))
    rgb = np.array([matplotlib.colors.to_rgb(c) for c in hue] or [(0, 0, 0)])
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
        step = max(1, -(-len(used) // 18))
        border = int((used < chip.cube_cores).sum())
        marks = [*range(0, border, step), *range(border, len(used), step)]
        names = [chip.core_name(int(used[i])) for i in marks]
        legend = 0.12 + 0.18 * -(-len(labels) // 3)
        lanes = max(0.5, min(0.3, 4.4 / max(1, len(used))) * len(used))
        fig = figure(legend + 0.35 + lanes + 0.75, alt)
        left = text_width(fig, names, 8) + 0.15
        axes = axes_at(fig, left, legend + 0.35, WIDTH - left - 0.2, lanes)
        shown = np.repeat(picture, 8, axis=0)
        shown[::8, :, 3] = shown[7::8, :, 3] = 0  # a gap between lanes
        extent = (*span, len(used) - 0.5, -0.5)
        if len(used):
            shown = (shown * 255).round().astype(np.uint8)  # which is drawn faster
            axes.imshow(shown, aspect="auto", interpolation="nearest", extent=extent, rasterized=True)
        if 0 < border < len(used):
            axes.axhline(border - 0.5, color=FAINT, linewidth=1.2)
        for mark, core_name in zip(marks, names):
            beside(axes, mark, core_name, 8)
        axes.set_yticks([])
        axes.set_ylim(max(len(used), 1) - 0.5, -0.5)
        axes.set_xlim(*span)
        axes.xaxis.set_major_locator(MaxNLocator(8))
        time_axis(axes)
        axes.set_xlabel(f"time, {profile.kind}")
        axes.set_title(f"{many(n, 'task')} in {time_text(profile.makespan)}{profile.within}, {profile.kind}; {busy}")
        patches = [Patch(color=c, label=_short(n)) for n, c in zip(labels, hue)]
        if patches:
            fig.legend(handles=patches, loc="upper left", ncols=3, fontsize=8, handlelength=1.2)
        sign(fig, profile.trace.label, profile.basis)
    return fig


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


# ---- one task on the pipes of its core

BUFFERS = {"L1": 0, "UB": 1, "L0": 2, "L0C": 3, "GM": 4, "ring": 5}  # what a bar fills, and its colour's place
_SAID = 3  # stalls in the figure at most
_FIRST = 160  # bars that are shown at first of a task that has more


def core(
    profile: Profile, task: int | str | None = None, block: int = 0, span: tuple[float, float] | None = None
) -> Figure:
    """A task's instructions on the pipes of its core, or of its cube core and its vector cores, with source lines.

    A bar is coloured by the buffer that it fills: MTE2 fills L1 and UB, MTE1 L0, the cube L0C. A number in it is the
    line of the kernel. Below the title: what each pipe's time goes to, and what pipes wait for.

    Args:
        task: The number of a task; or a kernel's name, for a block of its first launch; None: of the name that takes
            the most time.
        block: Of a name: which block.
        span: From when to when, in microseconds from the task's start; None: from there, all of it where it is short.

    Raises:
        InputError: no such task, or nothing is known of what it does.
    """
    profile = profile_of(profile)
    number = chosen(profile, task, block)
    runs = profile.core(number)
    title = profile.tasks.title(number)
    if not any(r.bars for r in runs):
        raise InputError(f"'{title}' does nothing on its core that is known; its cost is 0")
    mine = max(runs, key=lambda r: r.total)
    part = "" if len(runs) == 1 else f", the longest of its {len(runs)} phases"
    if span is None:
        span = (0.0, mine.total if len(mine.bars) <= _FIRST else mine.bars[_FIRST].end)
    lanes = [p for p in range(len(PIPES) + SECOND) if any(b.pipe == p for b in mine.bars)]
    shown = [b for b in mine.bars if b.end > span[0] and b.start < span[1]]
    busy = busy_text(mine)
    alt = (
        f"pipes of {title} on {profile.chip.name}: {many(len(mine.bars), 'instruction')} on {many(len(lanes), 'pipe')}"
    )
    with styled():
        fig = figure(1.5 + 0.34 * len(lanes) + 0.16 * min(_SAID, len(stalls(mine))), alt)
        axes = fig.subplots()
        for name, place in BUFFERS.items():
            bars = [b for b in shown if _colour(b) == name]
            boxes = [_box(b, lanes.index(b.pipe)) for b in bars]
            if boxes:
                axes.add_collection(
                    PolyCollection(
                        boxes, facecolor=PALETTE[place], edgecolor="none", alpha=0.9, rasterized=len(boxes) > 500
                    )
                )
        for b in shown:
            at = mine.program.instructions[b.instruction].place
            if at is not None and b.end - b.start > (span[1] - span[0]) * 0.028:
                middle = (max(b.start, span[0]) + min(b.end, span[1])) / 2
                axes.text(
                    middle, lanes.index(b.pipe), str(at.line), ha="center", va="center", fontsize=7, color="white"
                )
        axes.set_yticks(range(len(lanes)), [_lane(p) for p in lanes])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(lanes) - 0.4, -0.6)
        axes.set_xlim(*span)
        axes.xaxis.set_major_locator(MaxNLocator(8))
        time_axis(axes)
        whole = "" if span[1] >= mine.total else f", of {time_text(mine.total)}"
        waits = [f"{100 * s.us / mine.total:.0f} %: {s}" for s in stalls(mine)[:_SAID]]
        axes.set_xlabel("\n".join([f"time since the task began{whole}, {profile.kind}", *waits]))
        axes.set_title(f"{title}{part}: {time_text(mine.total)}{profile.within}, {profile.kind}; {busy}")
        used = {_colour(b) for b in mine.bars}
        patches = [Patch(color=PALETTE[i], label=_FILLS[n]) for n, i in BUFFERS.items() if n in used]
        fig.legend(handles=patches, loc="outside upper left", ncols=6, fontsize=8, handlelength=1.2)
        sign(fig, profile.trace.label, profile.basis)
    return fig


_FILLS = {"L1": "fills L1", "UB": "fills UB", "L0": "fills L0A, L0B", "L0C": "fills L0C", "GM": "to or from GM",
          "ring": "comes out of the ring"}  # fmt: skip


def chosen(profile: Profile, task: int | str | None, block: int = 0) -> int:
    """The number of a task: see `core`.

    Raises:
        InputError: there is none.
    """
    t = profile.tasks
    if not len(t):
        raise InputError("the run has no task")
    if task is None:
        task = max(profile.by_name(), key=lambda r: r.total).name
    if isinstance(task, str):
        if task not in t.names:
            raise InputError(f"no task is called {task!r}; there are: {', '.join(t.names)}")
        first = int(np.argmax(t.name == t.names.index(task)))
        launch = t.launch(first)
        if not 0 <= block < launch.blocks:
            raise InputError(f"'{task}' has blocks 0 to {launch.blocks - 1}, not {block}")
        return first + block
    if not 0 <= task < len(t):
        raise InputError(f"there are tasks 0 to {len(t) - 1:,}, not {task}")
    return int(task)


def busy_text(core: CoreRun) -> str:
    """ "cube 34 % busy, MTE2 90 %": the pipes that a task uses, the busiest first."""
    shares = {PIPES[i]: us / core.total for i, us in enumerate(core.busy) if us} if core.total else {}
    first = sorted(shares, key=lambda n: -shares[n])[:3]
    return ", ".join(f"{n} {100 * shares[n]:.0f} %" + (" busy" if i == 0 else "") for i, n in enumerate(first))


def _colour(bar: Bar) -> str:
    if bar.buffer.endswith("ring"):
        return "ring"
    return "L0" if bar.buffer in ("L0A", "L0B") else bar.buffer if bar.buffer in BUFFERS else "GM"


def _box(bar: Bar, lane: int) -> list[tuple[float, float]]:
    low, high = lane - 0.38, lane + 0.38
    return [(bar.start, low), (bar.start, high), (bar.end, high), (bar.end, low)]


def _lane(pipe: int) -> str:
    return PIPES[pipe] if pipe < len(PIPES) else f"{PIPES[pipe - SECOND]}, 2nd"
