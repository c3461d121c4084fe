"""Figures of error: how large, where in the tensor, and how it changes from version to version.

Errors are |actual - expected| in the output's own unit, computed in FP64. NaN against a number counts as infinite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, NullLocator

from golden.error_size import same_bits
from helpers.plots.given import Pairs, pairs_of, platform_of_result
from helpers.plots.style import HEAT, LIMIT, WIDTH, Figure, axes_at, colors, count, figure, sign, styled

_CELLS = 160  # rows and columns of an error map at most; a cell is then the largest error of several elements
_AT_ONCE = 1 << 18  # elements that are compared at once, which stay in a processor's cache


def error_histogram(pairs: Pairs, platform: str | None = None, against: str = "golden") -> Figure:
    """How many elements have which error: a panel for each output, bins of a quarter decade.

    Elements without any error are the bar on the left. `against` names what `expected` is.
    """
    pairs, platform = pairs_of(pairs), platform_of_result(pairs, platform)
    found = {name: _errors(*pair).ravel() for name, pair in pairs.items()}
    low, high = _decades(found.values())
    alt = f"error against {against}: " + "; ".join(f"{n}, {count(e.size)} elements" for n, e in found.items())
    with styled():
        fig = figure(0.7 + 1.35 * len(found), alt)
        panels = fig.subplots(len(found), sharex=True, squeeze=False)[:, 0]
        zero = low - 1.0
        for axes, (name, errors), color in zip(panels, found.items(), colors(found).values()):
            off = errors[(errors > 0) & np.isfinite(errors)]
            bins = np.arange(low, high + 0.01, 0.25)
            heights, _ = np.histogram(np.log10(off), bins)
            axes.bar(bins[:-1], heights, 0.25, align="edge", color=color, edgecolor="none")
            equal, wild = int((errors == 0).sum()), int((~np.isfinite(errors)).sum())
            axes.bar(zero, equal, 0.6, color="none", edgecolor=color, hatch="////", linewidth=1)
            if wild:
                axes.bar(high + 1.0, wild, 0.6, color=LIMIT)
            axes.set_yscale("symlog", linthresh=1)
            axes.set_ylim(0, max(10.0, 12.0 * max(equal, wild, heights.max(initial=0))))
            axes.set_yticks([t for t in (1, 1e2, 1e4, 1e6, 1e8) if t <= axes.get_ylim()[1]])
            axes.yaxis.set_minor_locator(NullLocator())
            axes.grid(axis="y")
            worst = f"largest error {off.max():.2g}" if off.size else "all equal"
            axes.set_title(f"{name}: {count(errors.size)} elements, {worst}" + (f", {count(wild)} NaN" if wild else ""))
        some_wild = any((~np.isfinite(e)).any() for e in found.values())
        step = max(1, math.ceil((high - low) / 8))
        ticks = list(range(int(low), int(high) + 1, step))
        labels = [f"$10^{{{t}}}$" for t in ticks]
        if some_wild:
            ticks, labels = [*ticks, high + 1.0], [*labels, "NaN"]
        panels[-1].set_xticks([zero, *ticks], ["equal", *labels])
        panels[-1].set_xlim(zero - 0.5, high + (1.5 if some_wild else 0.2))
        panels[-1].set_xlabel(f"|actual - {against}|")
        fig.supylabel("elements", fontsize=9)
        sign(fig, platform)
    return fig


def error_map(pairs: Pairs, platform: str | None = None, against: str = "golden") -> Figure:
    """Where the errors are: rows times columns of each output, the largest error of a cell; equal is blank."""
    equal = {name for name, e in getattr(pairs, "errors", {}).items() if e.worst is None}
    pairs, platform = pairs_of(pairs), platform_of_result(pairs, platform)
    found = {name: _spread(*pair, name in equal) for name, pair in pairs.items()}
    low, high = _decades([f.ends for f in found.values()])
    low = max(low, high - 5)
    alt = f"where the errors against {against} are: " + "; ".join(
        f"{n} {' x '.join(map(str, pairs[n][0].shape))}" for n in found
    )
    with styled():
        fig = figure(3.4, alt)
        apart, bar_at = 0.6, WIDTH - 0.85  # inches from panel to panel, for a panel's numbers; and where the scale is
        width = (bar_at - 0.8 + apart - 0.2) / len(found) - apart
        panels = [axes_at(fig, 0.8 + i * (width + apart), 0.35, width, 2.3) for i in range(len(found))]
        image = None
        norm = LogNorm(10.0**low, 10.0**high, clip=True)
        for axes, (name, spread) in zip(panels, found.items()):
            grid = spread.grid
            shown = np.ma.masked_where(grid == 0, np.where(np.isfinite(grid), grid, 10.0**high))
            image = axes.imshow(
                shown, cmap=HEAT, norm=norm, aspect="auto", interpolation="nearest",
                extent=(0, spread.columns, spread.rows, 0), rasterized=True,
            )  # fmt: skip
            for side in ("top", "right"):
                axes.spines[side].set_visible(True)
            axes.locator_params(axis="x", nbins=max(1, min(5, int(width / 0.6))), integer=True)
            axes.locator_params(axis="y", nbins=5, integer=True)
            worst = f"largest {grid.max():.2g}" if (grid > 0).any() else "all equal"
            axes.set_title(f"{name}: {worst}")
            axes.set_xlabel("column")
        panels[0].set_ylabel("row")
        bar = fig.colorbar(image, cax=axes_at(fig, bar_at, 0.35, 0.1, 2.3), format=FuncFormatter(_power))
        bar.minorticks_off()
        bar.outline.set_visible(False)
        bar.set_label(f"|actual - {against}|")
        folds = [max(f.fold[i] for f in found.values()) for i in (0, 1)]
        note = "blank: equal" if folds == [1, 1] else f"a cell is the largest of up to {folds[0]} x {folds[1]} elements"
        sign(fig, platform, note)
    return fig


def error_steps(
    steps: Mapping[str, tuple[torch.Tensor, torch.Tensor]], platform: str | None = None, against: str = "golden"
) -> Figure:
    """One output, version by version: how many elements have which error, and where they are; on common scales.

    Args:
        steps: (actual, expected) by version, naive to fused; all of one shape.
    """
    found = {version: _errors(*pair) for version, pair in steps.items()}
    low, high = _decades(found.values())
    bins = np.arange(low, high + 0.01, 0.25)
    grids = {v: _cells(e.reshape(-1, e.shape[-1]) if e.ndim else e.reshape(1, 1)) for v, e in found.items()}
    alt = f"error against {against}, step by step: " + ", ".join(found)
    with styled():
        fig = figure(0.9 + 1.25 * len(found), alt)
        panels = fig.subplots(len(found), 2, sharex="col", squeeze=False, width_ratios=[3, 4])
        norm = LogNorm(10.0 ** max(low, high - 5), 10.0**high, clip=True)
        tallest = 1
        for (left, right), (version, errors), color in zip(panels, found.items(), colors(found).values()):
            off = errors[(errors > 0) & np.isfinite(errors)]
            heights, _ = np.histogram(np.log10(off), bins)
            tallest = max(tallest, heights.max(initial=0))
            left.bar(bins[:-1], heights, 0.25, align="edge", color=color)
            worst = "all equal" if not (errors > 0).any() else f"largest {errors.max():.2g}"
            left.set_title(f"{version}: {worst}")
            left.grid(axis="y")
            grid, _ = grids[version]
            shown = np.ma.masked_where(grid == 0, np.where(np.isfinite(grid), grid, 10.0**high))
            across = errors.shape[-1] if errors.ndim else 1
            extent = (0, across, errors.size // max(1, across), 0)
            image = right.imshow(
                shown, cmap=HEAT, norm=norm, aspect="auto", interpolation="nearest", extent=extent, rasterized=True
            )
            right.locator_params(nbins=4, integer=True)
            right.set_ylabel("row")
            equal = int((errors == 0).sum())
            right.set_title(f"equal: {count(equal)} of {count(errors.size)}")
        for left in panels[:, 0]:
            left.set_yscale("symlog", linthresh=1)
            left.set_ylim(0, 5.0 * tallest)
            left.set_yticks([t for t in (1, 1e2, 1e4, 1e6, 1e8) if t <= 5 * tallest])
            left.yaxis.set_minor_locator(NullLocator())
            left.set_ylabel("elements")
        ticks = list(range(int(low), int(high) + 1, max(1, math.ceil((high - low) / 5))))
        panels[-1, 0].set_xticks(ticks, [f"$10^{{{t}}}$" for t in ticks])
        panels[-1, 0].set_xlabel(f"|actual - {against}|")
        panels[-1, 1].set_xlabel("column")
        bar = fig.colorbar(image, ax=list(panels[:, 1]), pad=0.02, aspect=25)
        bar.outline.set_visible(False)
        folds = [max(f[i] for _, f in grids.values()) for i in (0, 1)]
        note = "blank: equal" if folds == [1, 1] else f"a cell is the largest of up to {folds[0]} x {folds[1]} elements"
        sign(fig, platform, note)
    return fig


def error_ladder(
    ratios: Mapping[str, Mapping[str, float]], platform: str | None = None, against: str = "golden"
) -> Figure:
    """The largest error of every output, version by version, as a share of what the tolerance allows.

    Args:
        ratios: `worst_ratio` by version, then by output; 1 is the tolerance itself.
    """
    outputs = list(dict.fromkeys(o for by in ratios.values() for o in by))
    alt = f"largest error against {against} over tolerance, by version: " + "; ".join(
        f"{v} {verdict(max(by.values(), default=0.0))}" for v, by in ratios.items()
    )
    with styled():
        fig = figure(2.9, alt)
        axes = fig.subplots()
        wide = 0.8 / max(1, len(outputs))
        finite = [r for by in ratios.values() for r in by.values() if math.isfinite(r)]
        top = max([1.35, *(1.15 * r for r in finite)])
        log = top > 20
        for j, (output, color) in enumerate(colors(outputs).items()):
            for i, by in enumerate(ratios.values()):
                if output not in by:
                    continue
                x, r = i + (j - (len(outputs) - 1) / 2) * wide, by[output]
                axes.bar(x, min(r, top), 0.86 * wide, color=color, label=output if i == 0 else None)
                text = "0" if r == 0 else f"{r:.3g}" if math.isfinite(r) else "NaN"
                inside = min(r, top) > 0.2
                axes.annotate(
                    text, (x, min(r, top)), (0, -3 if inside else 2), textcoords="offset points", fontsize=8,
                    ha="center", va="top" if inside else "bottom", color="white" if inside else None, weight="bold",
                )  # fmt: skip
        axes.axhline(1, color=LIMIT, linestyle=(0, (5, 3)))
        axes.annotate(
            "tolerance", (1, 1), (-2, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
            color=LIMIT, ha="right", va="bottom",
        )  # fmt: skip
        if log:
            axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, top * (4 if log else 1.1))
        axes.set_xlim(-0.6, len(ratios) - 0.1)
        axes.set_xticks(range(len(ratios)), ratios)
        axes.set_ylabel("largest error / tolerance")
        axes.grid(axis="y")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(6, len(outputs)))
        sign(fig, platform, f"error against {against}")
    return fig


def verdict(ratio: float) -> str:
    """What text says of a largest error over its tolerance: "within" or "outside".

    The number itself is the figures' to show: text is stored and compared, and how a processor's torch rounds, and on
    how many threads, decides the number, not the verdict.
    """
    return "within" if ratio <= 1 else "outside"


def worst_ratio(actual: torch.Tensor, expected: torch.Tensor, rtol: float, atol: float | torch.Tensor) -> float:
    """The largest |actual - expected| / (atol + rtol * |expected|); where that allows nothing, 0 or infinite.

    Args:
        atol: One for all elements, or a tensor that broadcasts to them.
    """
    errors = _errors(actual, expected)
    allowed = _array(torch.as_tensor(atol)) + rtol * np.abs(_array(expected))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(errors == 0, 0.0, errors / allowed)
    return float(np.nan_to_num(ratio, nan=np.inf, posinf=np.inf).max(initial=0.0))


def _array(t: torch.Tensor) -> np.ndarray:
    return t.detach().to(torch.float64).numpy()


def _errors(actual: torch.Tensor, expected: torch.Tensor) -> np.ndarray:
    a, b = _array(actual), _array(expected)
    with np.errstate(invalid="ignore"):
        off = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.nan_to_num(off, nan=np.inf, posinf=np.inf))


def _decades(errors: object) -> tuple[int, int]:
    """Powers of ten around all finite errors above zero: two to twelve decades."""
    off = [e[(e > 0) & np.isfinite(e)] for e in errors]
    off = [e for e in off if e.size]
    if not off:
        return -8, 0
    high = math.ceil(math.log10(max(e.max() for e in off)) + 1e-9)
    low = math.floor(math.log10(min(e.min() for e in off)))
    return max(min(low, high - 2), high - 12), high


def _power(n: float, _: int) -> str:
    """A power of ten, as text: mathematics take long to set."""
    return "10" + str(round(math.log10(n))).translate(_RAISED)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class _Spread:
    """Where the errors of a tensor are: the largest of each cell; the least and the largest that is a number."""

    grid: np.ndarray
    fold: tuple[int, int]
    rows: int
    columns: int
    ends: np.ndarray


def _spread(actual: torch.Tensor, expected: torch.Tensor, equal: bool = False) -> _Spread:
    """The errors of a tensor as rows times columns; only rows that differ are looked at closely.

    Args:
        equal: It is known that no element differs.
    """
    columns = actual.shape[-1] if actual.ndim else 1
    rows = actual.numel() // max(1, columns)
    fold = (max(1, math.ceil(rows / _CELLS)), max(1, math.ceil(columns / _CELLS)))
    grid = np.zeros((math.ceil(rows / fold[0]), math.ceil(columns / fold[1])))
    ends: list[float] = []
    step = max(1, _AT_ONCE // max(1, columns))
    a, b = actual.detach().reshape(rows, columns), expected.detach().reshape(rows, columns)
    for start in () if equal else range(0, rows, step):
        at = _differing(a[start : start + step], b[start : start + step])
        if not at.numel():
            continue
        at += start
        errors = _errors(a[at], b[at])
        off = errors[(errors > 0) & np.isfinite(errors)]
        ends += [off.min(), off.max()] if off.size else []
        wide = np.pad(errors, [(0, 0), (0, -columns % fold[1])]).reshape(len(errors), -1, fold[1]).max(2)
        np.maximum.at(grid, at.numpy() // fold[0], wide)
    return _Spread(grid, fold, rows, columns, np.array(ends))


def _differing(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The rows of two matrices that are not equal, -0.0 to 0.0 aside."""
    if same_bits(a, b):
        return torch.empty(0, dtype=torch.int64)
    if a.element_size() == 1:  # torch compares no floats of a byte
        a, b = a.float(), b.float()
    return (a != b).any(1).nonzero().flatten()


def _cells(errors: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """A grid of at most _CELLS x _CELLS cells, each the largest of its elements; and how many those are."""
    fold = tuple(max(1, math.ceil(n / _CELLS)) for n in errors.shape)
    padded = np.pad(errors, [(0, -n % f) for n, f in zip(errors.shape, fold)])
    rows, cols = (n // f for n, f in zip(padded.shape, fold))
    return padded.reshape(rows, fold[0], cols, fold[1]).max(axis=(1, 3)), fold
