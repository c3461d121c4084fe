"""Versions of a stage by time: what is predicted and where it goes, beside what was published; single changes."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from helpers import chips
from helpers.course.ladders import NAMED, Climbed
from helpers.errors import InputError
from helpers.plots.given import by_version, profile_of
from helpers.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    LIMIT,
    ORANGE,
    PURPLE,
    SKY,
    TEXT,
    Figure,
    figure,
    platform_of,
    sign,
    styled,
    time_text,
)
from helpers.profile import Profile
from helpers.profile.ablation import Step

_SHARES = {"busy": BLUE, "dispatch": ORANGE, "dependencies": PURPLE, "imbalance": SKY}
_LABELS = {"imbalance": "imbalance (nothing left to start)"}


def times(profiles: Mapping[str, Profile], published: Mapping[str, float] | None = None, source: str = "") -> Figure:
    """A bar of time, predicted or real, for each version, cut by what the time goes to; below them what was published.

    Args:
        published: Measured microseconds, by the label of their bar.
        source: Where those were published.
    """
    profiles = {version: profile_of(p) for version, p in by_version(profiles).items()}
    published = published or {}
    spans = {v: p.makespan for v, p in profiles.items()}
    alt = "times: " + ", ".join(spans) + (f"; published: {', '.join(published)}" if published else "")
    rows = len(spans) + len(published)
    top = max([*spans.values(), *published.values(), 1e-9])
    with styled():
        fig = figure(1.2 + 0.32 * rows, alt)
        axes = fig.subplots()
        used = []
        for y, profile in enumerate(profiles.values()):
            left = 0.0
            for what, share in profile.losses.items():
                if share > 0:
                    wide = share * profile.makespan
                    axes.barh(y, wide, 0.66, left, color=_SHARES[what])
                    left += wide
                    used.append(what)
        for y, us in enumerate(published.values(), len(spans)):
            axes.barh(y, us, 0.66, facecolor="none", edgecolor=TEXT, hatch="////", linewidth=1)
        for y, us in enumerate([*spans.values(), *published.values()]):
            axes.annotate(time_text(us), (us, y), (4, 0), textcoords="offset points", va="center", fontsize=8)
        if spans and published:
            axes.axhline(len(spans) - 0.5, color=FAINT)
        axes.set_yticks(
            range(rows), [*(f"{v}, {p.kind}" for v, p in profiles.items()), *(f"{v}, published" for v in published)]
        )
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(rows - 0.45, -0.55)
        axes.set_xlim(0, 1.18 * top)
        axes.xaxis.set_major_locator(NullLocator())
        axes.spines["bottom"].set_visible(False)
        axes.set_title("time" + (f"; published: {source}" if source and published else ""))
        parts = [Patch(color=c, label=_LABELS.get(what, what)) for what, c in _SHARES.items() if what in used]
        if published:
            parts.append(Patch(facecolor="none", edgecolor=TEXT, hatch="////", label="measured"))
        if parts:
            fig.legend(handles=parts, loc="outside upper left", ncols=5, fontsize=8, handlelength=1.2)
        sign(
            fig,
            platform_of(p.trace for p in profiles.values()),
            "; ".join(dict.fromkeys(p.basis for p in profiles.values())),
        )
    return fig


def ablation(step: Step) -> Figure:
    """Times of the version before, of it with each change alone, of the version without each change, of the version.

    Where all these kernels exist, a change's label has its share of the gain.
    """
    if not isinstance(step, Step):
        raise InputError(f"give a step of helpers.profile.ablation.ablate(...), not {type(step).__name__}")
    rows: list[tuple[str, float, str]] = [(step.before, step.us_before, TEXT)]
    for c in step.changes:
        share = f", {100 * c.share:.0f} % of the gain" if c.share is not None else ""
        if c.alone is not None:
            rows.append((f"{step.before} + {c.name}{share}", c.alone, ORANGE))
    for c in step.changes:
        if c.without is not None:
            rows.append((f"{step.after} without {c.name}", c.without, SKY))
    rows.append((step.after, step.us_after, BLUE))
    alt = f"{step.stage}, {step.before} to {step.after}: one change at a time, {len(rows)} kernels"
    with styled():
        fig = figure(0.9 + 0.3 * len(rows), alt)
        axes = fig.subplots()
        for y, (_, us, color) in enumerate(rows):
            axes.barh(y, us, 0.66, color=color)
            axes.annotate(time_text(us), (us, y), (4, 0), textcoords="offset points", va="center", fontsize=8)
        for us in (step.us_before, step.us_after):
            axes.axvline(us, color=FAINT)
        axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(0, 1.18 * max(us for _, us, _ in rows))
        axes.xaxis.set_major_locator(NullLocator())
        axes.spines["bottom"].set_visible(False)
        axes.set_title("one change at a time, predicted")
        parts = [Patch(color=ORANGE, label="one change more"), Patch(color=SKY, label="one change less")]
        fig.legend(handles=parts, loc="outside upper left", ncols=2, fontsize=8, handlelength=1.2)
        sign(fig, f"{step.chip}interp", f"predicted by {chips.chip(step.chip).model}")
    return fig


def rungs(climbed: Climbed, published: Mapping[str, float] | None = None, source: str = "") -> Figure:
    """A ladder a rung at a time, a panel for each chip: from the time of the rung that is changed to the rung's own.

    Green saves, orange does not. A line marks the roof, below which no rung can get; a diamond what the reader guessed.
    Below the rungs, in the first panel, what was published.

    Args:
        published: Measured microseconds, by the label of their bar.
        source: Where those were published.
    """
    if not isinstance(climbed, Climbed):
        raise InputError(f"give what helpers.course.ladders.climb(...) returns, not {type(climbed).__name__}")
    published = published or {}
    names = [r.name for r in climbed.rungs]
    alt = f"{climbed.stage}, one change a rung: {', '.join(names)}" + (
        f"; published: {', '.join(published)}" if published else ""
    )
    rows = len(names) + len(published)
    with styled():
        fig = figure(1.15 + 0.34 * rows, alt)
        panels = fig.subplots(1, len(climbed.profiles), sharey=True, squeeze=False)[0]
        for axes, chip in zip(panels, climbed.profiles):
            us = {n: climbed.us(n, chip) for n in names}
            roof = climbed.roof(chip)
            shown = [*us.values(), *(published.values() if chip == "a2a3" else ())]
            long = max(shown) > 8 * min(shown)
            axes.axvline(roof, color=LIMIT, linewidth=1.0, linestyle=":")
            for y, rung in enumerate(climbed.rungs):
                before = climbed.of(rung)
                now = us[rung.name]
                saves = before is not None and us[before.name] - now > 0.01 * us[before.name]
                color = TEXT if before is None else GREEN if saves else ORANGE
                if before is not None:
                    axes.plot([us[before.name], now], [y, y], color=color, linewidth=2.2, solid_capstyle="butt")
                axes.plot([now], [y], "o", color=color, markersize=6)
                less = f"  {100 * (now / us[before.name] - 1):+.0f} %" if before is not None else ""
                right = max(now, us[before.name] if before is not None else now)
                axes.annotate(
                    f"{time_text(now)}{less}", (right, y), (8, 0), textcoords="offset points", va="center", fontsize=8
                )
                guess = climbed.guesses.get(rung.name)
                if guess is not None and chip == "a2a3" and before is not None:
                    axes.plot([max(us[before.name] - guess, 0.3 * roof)], [y], "D", color=PURPLE, markersize=6)
            for y, (_, measured) in enumerate(published.items() if chip == "a2a3" else (), len(names)):
                axes.plot([measured], [y], "s", markerfacecolor="none", markeredgecolor=TEXT, markersize=7)
                axes.annotate(
                    time_text(measured), (measured, y), (8, 0), textcoords="offset points", va="center", fontsize=8
                )
            low, high = min([roof, *shown]), max(shown)
            if long:
                axes.set_xscale("log")
                axes.set_xlim(0.8 * low, high * (high / low) ** 0.45)
            else:
                axes.set_xlim(0, 1.45 * high)
            axes.xaxis.set_major_locator(NullLocator())
            axes.xaxis.set_minor_locator(NullLocator())
            axes.spines["bottom"].set_visible(False)
            axes.spines["left"].set_visible(False)
            axes.set_ylim(rows - 0.4, -0.6)
            axes.set_yticks(range(rows), [*names, *(f"{v}, published" for v in published)])
            axes.tick_params(axis="y", length=0)
            axes.set_title(f"{NAMED[chip]}, predicted{', time on a log scale' if long else ''}")
        parts = [
            Line2D([], [], color=GREEN, marker="o", label="saves"),
            Line2D([], [], color=ORANGE, marker="o", label="does not"),
            Line2D([], [], color=LIMIT, linestyle=":", label="roof"),
        ]
        if any(g is not None for g in climbed.guesses.values()):
            parts.append(Line2D([], [], color=PURPLE, marker="D", linestyle="", label="your guess"))
        if published:
            label = f"measured: {source}" if source else "measured"
            parts.append(Line2D([], [], color=TEXT, marker="s", linestyle="", markerfacecolor="none", label=label))
        fig.legend(handles=parts, loc="outside upper left", ncols=5, fontsize=8, handlelength=1.6)
        fig.supxlabel("predicted by the cost models of the chips", x=0.995, ha="right", fontsize=7.5, color=TEXT)
    return fig
