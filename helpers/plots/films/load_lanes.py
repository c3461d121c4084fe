"""Two schedules of the same task beside each other, one with loads that run ahead: what each pipe does up to a moment.

Read from the schedules of the instructions on the pipes (`helpers.profile.core_schedule`): times are predicted.
"""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.ticker import MaxNLocator

from helpers.errors import InputError
from helpers.plots.core_lanes import BUFFERS, chosen
from helpers.plots.films.film import Film
from helpers.plots.given import by_version, profile_of
from helpers.plots.style import LIMIT, PALETTE, TEXT, Figure, figure, sign, styled, time_axis, time_text
from helpers.profile import Profile
from helpers.profile.core_schedule import Bar, CoreRun
from helpers.profile.pipe_times import PIPES

_PICTURES = 40


def two_lanes(profiles: Mapping[str, Profile], task: str, pipes: tuple[str, str], turns: int = 4) -> Film:
    """Two pipes of a task, the one that loads and the one that computes, for each profile: a picture for each moment.

    Args:
        profiles: By label, such as "one tile at a time" and "two".
        task: The name of the kernel; its first block is shown.
        pipes: Two of `helpers.profile.pipe_times.PIPES`: what loads, what computes.
        turns: How many bars of the second pipe are shown, of the slowest profile.

    Raises:
        InputError: no such task or pipe, or a profile's task does nothing there.
    """
    unknown = [p for p in pipes if p not in PIPES]
    if unknown:
        raise InputError(f"there is no pipe {unknown[0]!r}; there are: {', '.join(PIPES)}")
    profiles = {label: profile_of(p) for label, p in by_version(profiles).items()}
    numbers = tuple(PIPES.index(p) for p in pipes)
    runs = {label: max(p.core(chosen(p, task)), key=lambda r: r.total) for label, p in profiles.items()}
    bars = {label: [b for b in run.bars if b.pipe in numbers] for label, run in runs.items()}
    for label, found in bars.items():
        if not any(b.pipe == numbers[1] for b in found):
            raise InputError(f"'{task}' of {label} does nothing on {pipes[1]}")
    ends = [[b for b in found if b.pipe == numbers[1]][:turns][-1].end for found in bars.values()]
    until = max(ends)
    moments = [until * (n + 1) / _PICTURES for n in range(_PICTURES)]
    first = next(iter(profiles.values()))

    def draw(n: int) -> Figure:
        return _picture(first, runs, bars, pipes, moments[n], until, task)

    said = tuple(
        f"{time_text(t)}: " + "; ".join(_said(label, found, numbers, t) for label, found in bars.items())
        for t in moments
    )
    return Film(f"{pipes[0]} and {pipes[1]} of {task}, {' and '.join(profiles)}", said, draw, (_PICTURES - 1,))


def _said(label: str, bars: list[Bar], pipes: tuple[int, int], t: float) -> str:
    loads, products = (sum(b.pipe == p and b.end <= t for b in bars) for p in pipes)
    return f"{label}: {loads} loads and {products} products done"


def _picture(
    profile: Profile, runs: Mapping[str, CoreRun], bars: Mapping[str, list[Bar]], pipes: tuple[str, str], t: float,
    until: float, task: str,
) -> Figure:  # fmt: skip
    with styled():
        fig = figure(0.9 + 1.05 * len(runs), f"{pipes[0]} and {pipes[1]} of {task} at {time_text(t)}")
        panels = fig.subplots(len(runs), sharex=True, squeeze=False)[:, 0]
        for axes, (label, found) in zip(panels, bars.items()):
            for bar in found:
                if bar.start >= until:
                    continue
                lane = pipes.index(PIPES[bar.pipe])
                color = PALETTE[BUFFERS["L1" if bar.buffer == "L1" else "UB" if bar.buffer == "UB" else "L0C"]]
                axes.barh(lane, min(bar.end, until) - bar.start, 0.72, bar.start, color=color, alpha=0.16)
                done = min(bar.end, t) - bar.start
                if done > 0:
                    axes.barh(lane, done, 0.72, bar.start, color=color)
                place = runs[label].program.instructions[bar.instruction].place
                if place is not None and bar.end - bar.start > 0.03 * until and bar.start < t:
                    axes.text(
                        (bar.start + min(bar.end, until)) / 2,
                        lane,
                        str(place.line),
                        ha="center",
                        va="center",
                        fontsize=7,
                        color="white",
                    )
            axes.axvline(t, color=LIMIT, linewidth=1)
            axes.set_yticks((0, 1), pipes)
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(1.5, -0.5)
            axes.set_xlim(0, until)
            axes.xaxis.set_major_locator(MaxNLocator(8))
            axes.set_title(f"{label}: {time_text(runs[label].total)} in all", fontsize=9, color=TEXT)
        time_axis(panels[-1])
        sign(fig, profile.trace.label, profile.basis)
    return fig
