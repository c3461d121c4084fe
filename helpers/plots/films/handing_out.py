"""The orchestrator submits launches, schedulers hand out their tasks, cores run them: who has what at a moment.

Read from a predicted schedule (`helpers.profile.schedule`), or from the record of a real run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from helpers.errors import InputError
from helpers.plots.films import core_grid
from helpers.plots.films.core_grid import Doing
from helpers.plots.films.film import Film
from helpers.plots.given import profile_of
from helpers.plots.style import (
    FAINT,
    PALETTE,
    TEXT,
    Figure,
    colors,
    count,
    figure,
    many,
    sign,
    styled,
    time_text,
)
from helpers.profile import Profile

_PICTURES = 48
STATES = ("not submitted yet", "waits for others", "waits for a core", "is handed out", "runs", "has ended")
_SHADES = (0.08, 0.2, 0.4, 0.65, 1.0, 0.3)


def handing_out(profile: Profile) -> Film:
    """A picture for each moment of a run: what is submitted, what waits, what is handed out, what runs on which core.

    Args:
        profile: Of a run, or its trace.

    Raises:
        InputError: it has no tasks.
    """
    profile = profile_of(profile)
    if not len(profile.tasks):
        raise InputError("this run has no tasks")
    moments = _moments(profile)
    names = profile.tasks.names
    shown = colors(names)
    said = tuple(f"{time_text(t)} of {time_text(profile.makespan)}: {_said(profile, t)}" for t in moments)
    running = [int((states(profile, t) == STATES.index("runs")).sum()) for t in moments]
    handed = [int((states(profile, t) == STATES.index("is handed out")).sum()) for t in moments]
    still = max(range(len(moments)), key=lambda n: (min(1, handed[n]), running[n], -n))

    def draw(n: int) -> Figure:
        return _picture(profile, moments[n], [shown[name] for name in names])

    return Film(f"{many(len(profile.tasks), 'task')} handed out on {profile.chip.name}", said, draw, (still,))


def states(profile: Profile, t: float) -> np.ndarray:
    """The state of every task at a moment: int [tasks], a number of STATES."""
    s = profile.schedule
    steps = (s.submitted, s.ready, s.given, s.start, s.end)
    return sum((step <= t).astype(int) for step in steps)


def _moments(profile: Profile) -> list[float]:
    """When to look: evenly over what happens, not over time, and just after it."""
    s = profile.schedule
    happens = np.unique(np.concatenate([s.submitted, s.given, s.start, s.end]).round(6))
    if len(happens) > _PICTURES:
        happens = happens[np.linspace(0, len(happens) - 1, _PICTURES).round().astype(int)]
    return [float(t) + 1e-6 for t in happens]


def _said(profile: Profile, t: float) -> str:
    n = np.bincount(states(profile, t), minlength=len(STATES))
    launches = profile.trace.dispatches
    first = profile.tasks.first
    submitted = sum(first[d] < first[d + 1] and profile.schedule.submitted[first[d]] <= t for d in range(len(launches)))
    runs = sum(first[d] < first[d + 1] for d in range(len(launches)))
    parts = [f"{count(submitted)} of {many(runs, 'launch', 'launches')} submitted"]
    words = ("{} for others", "{} for a core", "{} handed out", "{} running", "{} done")
    parts += [word.format(count(k)) for word, k in zip(words, n[1:].tolist()) if k]
    return "; ".join(parts[:1]) + ("; tasks: " + ", ".join(parts[1:]) if parts[1:] else "")


def _picture(profile: Profile, t: float, shades: Sequence[str]) -> Figure:
    s, tasks, chip = profile.schedule, profile.tasks, profile.chip
    now = states(profile, t)
    names = tasks.names
    with styled():
        high = 0.55 * -(-chip.clusters // core_grid.COLUMNS)
        fig = figure(max(1.5 + high, 1.9 + 0.23 * len(names)), f"tasks handed out on {chip.name} at {time_text(t)}")
        left, right = fig.subplots(1, 2, width_ratios=(1.0, 1.15))
        _counts(left, [[int(((tasks.name == n) & (now == k)).sum()) for k in range(len(STATES))]
                       for n in range(len(names))], names, shades)  # fmt: skip
        _schedulers(left, profile, now, shades)
        doing: dict[int, Doing] = {}
        for task in np.nonzero(now == STATES.index("runs"))[0]:
            what = Doing(shades[tasks.name[task]], str(tasks.block[task]))
            for core in core_grid.members(chip, int(tasks.kind[task]), int(s.core[task])):
                doing[core] = what
        core_grid.draw(right, chip, doing)
        fig.suptitle(f"{time_text(t)}: {_said(profile, t)}", x=0.01, ha="left", fontsize=9, color=TEXT)
        sign(fig, profile.trace.label, profile.basis)
    return fig


def _counts(axes, table: list[list[int]], names: Sequence[str], shades: Sequence[str]) -> None:
    """A bar for each kernel, cut by what its tasks do; and what the shades mean."""
    for y, (row, color) in enumerate(zip(table, shades)):
        at = 0.0
        for k in (5, 4, 3, 2, 1, 0):
            share = row[k] / max(1, sum(row))
            if share:
                axes.barh(y, share, 0.7, at, color=color, alpha=_SHADES[k], linewidth=0)
                if share > 0.09:
                    axes.text(at + share / 2, y, count(row[k]), ha="center", va="center", fontsize=7,
                              color="white" if k in (3, 4) else TEXT)  # fmt: skip
            at += share
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) + 2.6, -1.6)
    at = 0.0
    for k in (5, 4, 3, 2, 1, 0):
        axes.add_patch(Rectangle((at, -1.3), 0.03, 0.5, color=PALETTE[0], alpha=_SHADES[k], linewidth=0))
        axes.text(at + 0.04, -1.05, _SHORT[k], fontsize=6.5, va="center")
        at += 0.04 + 0.0165 * len(_SHORT[k]) + 0.03


_SHORT = ("not submitted", "waits", "ready", "handed out", "runs", "done")


def _schedulers(axes, profile: Profile, now: np.ndarray, shades: Sequence[str]) -> None:
    """Below the bars: the orchestrator, and what is in the schedulers' hands on its way to a core."""
    tasks = profile.tasks
    y = len(tasks.names) + 0.5
    unsent = np.nonzero(now == 0)[0]
    following = tasks.title(int(unsent[0])) if len(unsent) else "nothing is left"
    handed = np.nonzero(now == STATES.index("is handed out"))[0]
    more = f" and {len(handed) - 1} more" if len(handed) > 1 else ""
    in_hand = tasks.title(int(handed[0])) + more if len(handed) else "nothing in hand"
    threads = many(profile.chip.runtime.threads, "scheduler")
    for n, (title, text) in enumerate((("orchestrator", f"next: {following}"), (threads, in_hand))):
        x = 0.53 * n
        axes.add_patch(FancyBboxPatch((x + 0.01, y), 0.45, 1.5, boxstyle="round,pad=0.01", fill=False, edgecolor=FAINT))
        axes.text(x + 0.235, y + 0.4, title, ha="center", va="center", fontsize=8)
        color = shades[tasks.name[handed[0]]] if n and len(handed) else TEXT
        axes.text(x + 0.235, y + 1.05, _cut(text, 30), ha="center", va="center", fontsize=7, color=color)
    for x in (0.47, 1.0):
        axes.add_patch(FancyArrowPatch((x, y + 0.75), (x + 0.055, y + 0.75), arrowstyle="-|>", color=TEXT,
                                       mutation_scale=9, clip_on=False))  # fmt: skip


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
