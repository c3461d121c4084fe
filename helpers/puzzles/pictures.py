"""Pictures of puzzles, drawn from data: what goes in and what is wanted; what an answer made, and what is right."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator

from golden.spec import TensorSpec, values_of
from helpers.interpret.trace.trace import READ, Dispatch, Trace
from helpers.plots import ladder, times
from helpers.plots.style import GREEN, LIMIT, PURPLE, TEXT, Figure, figure, styled
from helpers.plots.tile import SIGNED
from helpers.profile import profile
from helpers.puzzles.found import Entry
from helpers.puzzles.verdict import OVER_PAR, Verdict, best

_MOST = 512  # rows and columns drawn at most: of more, every second, third ...
_FULL = 0.95  # share of elements that are paler than the full colour
_BOXES = 40  # windows of a task drawn in a tensor at most


def asked(entry: Entry) -> Figure:
    """The tensors of a puzzle: what goes in, and what is wanted. Frames: what one task of the solution touches."""
    specs = entry.record.specs()
    values = values_of(specs)
    entry.record.reference(values)
    tensors = {s.name: s for s in specs if isinstance(s, TensorSpec)}
    windows = _windows(best(entry), list(tensors))
    shapes = ", ".join(f"{n} {list(s.shape)}" for n, s in tensors.items())
    with styled():
        fig = figure(2.6, f"{entry.name}: {shapes}")
        wide = [min(2.0, max(0.7, _plane(values[n]).shape[1] / 128)) for n in tensors]
        panels = fig.subplots(1, len(tensors), width_ratios=wide, squeeze=False)[0]
        for axes, (name, spec) in zip(panels, tensors.items()):
            _heat(axes, values[name])
            dtype = str(spec.dtype).removeprefix("torch.")
            axes.set_title(f"{'wanted: ' if spec.is_output else ''}{name}\n{list(spec.shape)} {dtype}")
            for mode, (row, column, rows, columns) in windows.get(name, [])[:_BOXES]:
                colour = GREEN if mode == READ else PURPLE
                frame = Rectangle((column - 0.5, row - 0.5), columns, rows, fill=False, edgecolor=colour, linewidth=2)
                axes.add_patch(frame)
        fig.supxlabel("frames: what one task of the solution reads (green) and writes (purple)", fontsize=8, color=TEXT)
    return fig


def wrong(entry: Entry, verdict: Verdict) -> Figure | None:
    """What an answer made, what is right, and the difference; of one over par, both side by side. None: no picture."""
    one = verdict.ran
    if one is None:
        return None
    if verdict.kind == OVER_PAR:
        traces = {"yours": one.trace, "par": best(entry)}
        if "time" in entry.record.asked:
            return times({name: profile(trace) for name, trace in traces.items()})
        return ladder(traces)
    name = next(iter(one.wrong))
    mine, right = one.outputs[name], one.expected[name]
    lost = bool(mine.isnan().any()) if mine.dtype.is_floating_point else False
    with styled():
        fig = figure(2.6, f"{entry.name}: {name} {list(mine.shape)}: yours, right, the difference")
        panels = fig.subplots(1, 3)
        top = _scale(_plane(right))
        for axes, data, title in zip(panels, (mine, right), (f"your {name}", f"the right {name}")):
            _heat(axes, data, top)
            axes.set_title(title)
        apart = mine.double() - right.double()
        allowed = apart.abs() <= entry.record.atol + entry.record.rtol * right.double().abs()
        _heat(panels[2], apart.masked_fill(allowed, 0.0))
        panels[2].set_title("the difference")
        note = "blue is above zero, orange below" + ("; red: no number, or never written" if lost else "")
        fig.supxlabel(note, fontsize=8, color=TEXT)
    return fig


def _plane(data: torch.Tensor) -> np.ndarray:
    """A tensor as rows and columns of float64."""
    flat = data.double()
    return flat.reshape(-1, flat.shape[-1] if flat.dim() else 1).numpy()


def _scale(values: np.ndarray) -> float:
    """What gets the full colour: larger than most of the elements that are not zero."""
    finite = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(np.quantile(finite, _FULL)) if finite.size else 0.0


def _heat(axes: Axes, data: torch.Tensor, top: float | None = None) -> None:
    values = _plane(data)
    rows, columns = values.shape
    top = _scale(values) if top is None else top
    drawn = np.ma.masked_invalid(values[:: -(-rows // _MOST), :: -(-columns // _MOST)])
    axes.imshow(
        drawn, cmap=SIGNED.with_extremes(bad=LIMIT), vmin=-top or -1, vmax=top or 1, aspect="auto",
        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), interpolation="nearest",
    )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True) if columns > 1 else NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True) if rows > 1 else NullLocator())


def _windows(trace: Trace, names: list[str]) -> dict[str, list[tuple[int, tuple[int, int, int, int]]]]:
    """By parameter, the windows of one task on it: (READ or a write, (row, column, rows, columns))."""
    launch = max(trace.dispatches, key=lambda d: _touched(trace, d))
    out: dict[str, list[tuple[int, tuple[int, int, int, int]]]] = {}
    for block, access, offset in trace.accesses(launch):
        buffer = trace.buffers[access.buffer]
        if block or not buffer.argument or buffer.name not in names:
            continue
        wide = access.strides[-2] if len(access.strides) > 1 else math.prod(buffer.shape[1:]) or 1
        if len(buffer.shape) == 1:
            wide = buffer.shape[0]
        box = (offset // wide, offset % wide, math.prod(access.extent[:-1]), access.extent[-1] if access.extent else 1)
        mine = out.setdefault(buffer.name, [])
        if (access.mode, box) not in mine:
            mine.append((access.mode, box))
    return out


def _touched(trace: Trace, launch: Dispatch) -> int:
    """Elements that the first block of a launch touches."""
    return sum(a.elements for block, a, _ in trace.accesses(launch) if block == 0) if launch.runs else 0
