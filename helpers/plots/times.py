"""Versions of a stage by time: what is predicted and where it goes, beside what was published; single changes."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from helpers import chips
from helpers.plots.given import by_version, profile_of
from helpers.plots.style import (
    BLUE,
    FAINT,
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
        parts = [Patch(color=c, label=what) for what, c in _SHARES.items() if what in used]
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
