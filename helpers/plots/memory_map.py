"""The on-chip memory map of a task: which buffers it holds, from which operation to which, against the chip's limit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.colors
import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from helpers.chips import chip
from helpers.errors import InputError
from helpers.interpret.trace.trace import Trace
from helpers.interpret.values.values import Memory
from helpers.plots.given import trace_of
from helpers.plots.style import (
    BLUE,
    GREEN,
    LIMIT,
    WIDTH,
    Figure,
    axes_at,
    beside,
    bytes_text,
    figure,
    sign,
    styled,
    text_width,
)

SPACES = ("UB", "L1", "L0A", "L0B", "L0C")
_TITLE, _USAGE, _GAP, _FOOT = 0.34, 0.85, 0.1, 0.75  # inches of the figure, from the top of a buffer's part down
_LABEL = 8  # points of a row's label
_MOMENTS = 560  # of a task that are told apart: the figure has not many more pixels for them
_SHOWN = 24  # rows of a buffer at most: the source lines that hold the most; the others share one row


@dataclass(frozen=True)
class Bar:
    """A buffer: lives from operation `first` to `last`, counted within its task; bytes with all pipeline copies."""

    space: str
    label: str
    line: int
    first: int
    last: int
    bytes: int


def bars(memory: Sequence[Memory]) -> list[Bar]:
    """The buffers of a task, in order of birth; an operation is a moment at which a buffer is made or used."""
    times = np.array([(m.born, m.last) for m in memory], np.int64).reshape(-1, 2)
    lives = np.searchsorted(np.unique(times), times).tolist()
    labels = {m.place: m for m in memory}
    labels = {place: _label(m) for place, m in labels.items()}
    return [
        Bar(m.space or "UB", labels[m.place], m.place.line, first, last, m.bytes * m.copies)
        for m, (first, last) in zip(memory, lives)
    ]


def memory_map(trace: Trace, name: str | None = None) -> Figure:
    """On-chip memory of the first task of a kernel name (default: the name with the largest use of any buffer).

    For each on-chip buffer that the task uses: above, how much is in use after each operation, with the limit of the
    chip that `trace.platform` names; below, what uses it, a row for each source line, as long as it lives. The peak is
    that of the compiler's plan of slots, which is never less than what is in use at once.

    Raises:
        InputError: the trace has no task of this name.
    """
    trace = trace_of(trace)
    limits = chip(trace.platform.removesuffix("interp").removesuffix("sim")).buffers
    found = {}
    for (n, _), memory in trace.memory.items():
        found.setdefault(n, bars(memory))
    if name is None:
        name = max(
            found, key=lambda n: max((p / limits[s] for s, p in _peaks(found[n]).items()), default=0), default=""
        )
    if name not in found:
        raise InputError(f"no task is called {name!r}; there are: {', '.join(found) or 'none'}")
    mine = found[name]
    spaces = [s for s in SPACES if any(b.space == s for b in mine)]
    planned = next((d.parts[0].chunk.peaks for d in trace.dispatches if d.runs and d.parts and d.name == name), {})
    peaks = {s: max(n, planned.get(s, 0)) for s, n in _peaks(mine).items()}
    alt = f"on-chip memory of a task of {name}: " + (
        "; ".join(f"{s} peak {bytes_text(peaks[s])} of {bytes_text(limits[s])}" for s in spaces) or "none used"
    )
    end = max((b.last for b in mine), default=0) + 1
    rows = {s: _rows([b for b in mine if b.space == s]) for s in spaces}
    lives = {s: 0.3 + 0.185 * len(rows[s]) for s in spaces}
    height = _FOOT + sum(_TITLE + _USAGE + _GAP + lives[s] for s in spaces) if spaces else 0.9
    with styled():
        fig = figure(height, alt)
        if not spaces:
            fig.text(0.5, 0.5, f"{name} holds nothing on chip", ha="center")
            return fig
        left = text_width(fig, (label for s in spaces for label, _ in rows[s]), _LABEL) + 0.15
        tall = height - _FOOT
        axes = axes_at(fig, left, 0, WIDTH - left - 0.15, tall)
        axes.set_xlim(0, end)
        axes.set_ylim(tall, 0)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.set_xlabel("operation of the task")
        axes.yaxis.set_visible(False)
        axes.spines[:].set_visible(False)
        top = 0.0
        for space in spaces:
            top += _TITLE
            _usage(axes, top, [b for b in mine if b.space == space], space, peaks[space], limits[space], end)
            top += _USAGE + _GAP
            _lives(axes, top, lives[space], rows[space], end)
            top += lives[space]
        sign(fig, trace.label, f"first task of {name}")
    return fig


def _label(m: Memory) -> str:
    """What makes the buffer, as the source line has it: `name = operation`."""
    text = m.place.code.strip()
    made = re.match(r"(\w+)\s*=[^=]", text)
    called = re.match(r"(?:pl\.)?(?:\w+\.)*(\w+)\s*[(\[]?", text[max(0, m.place.column - 1 - _indent(m)) :])
    what = called[1] if called else "?"
    if not text:
        return "?"
    return f"{made[1]} = {what}" if made and made[1] != what else what


def _indent(m: Memory) -> int:
    return len(m.place.code) - len(m.place.code.lstrip())


def _peaks(mine: Sequence[Bar]) -> dict[str, int]:
    return {s: int(_in_use([b for b in mine if b.space == s]).max()) for s in {b.space for b in mine}}


def _in_use(mine: Sequence[Bar]) -> np.ndarray:
    """Bytes in use during each operation."""
    change = np.zeros(max(b.last for b in mine) + 2, np.int64)
    for b in mine:
        change[b.first] += b.bytes
        change[b.last + 1] -= b.bytes
    return np.cumsum(change)[:-1]


def _rows(mine: Sequence[Bar]) -> list[tuple[str, list[Bar]]]:
    """Bars by source line and label, in order of birth; what is too much to show together in one row at the end."""
    rows: dict[tuple, list[Bar]] = {}
    for b in mine:
        rows.setdefault((b.line, b.label), []).append(b)
    largest = set(rows)
    if len(rows) > _SHOWN + 1:
        largest = set(sorted(rows, key=lambda k: -max(b.bytes for b in rows[k]))[:_SHOWN])
    shown = [(_row_label(k, rows[k]), rows[k]) for k in rows if k in largest]
    rest = [b for k in rows if k not in largest for b in rows[k]]
    if rest:
        shown.append((f"{len(rows) - len(largest)} other lines", rest))
    return shown


def _row_label(key: tuple, mine: Sequence[Bar]) -> str:
    line, label = key
    sizes = sorted({b.bytes for b in mine})
    size = bytes_text(sizes[0]) if len(sizes) == 1 else f"{bytes_text(sizes[0])} to {bytes_text(sizes[-1])}"
    return f"{label if len(label) <= 34 else label[:33] + '…'}  (line {line}, {size})"


# Axes of each buffer's own would take several times as long to draw: all share one, whose vertical unit is an inch.


def _usage(axes: Axes, top: float, mine: Sequence[Bar], space: str, peak: int, limit: int, end: int) -> None:
    """How much of a buffer is in use after each operation, from `top` inches down."""
    used = _in_use(mine)
    used = np.append(used, np.zeros(end - len(used), used.dtype))
    bottom, inch = top + _USAGE, _USAGE / (1.08 * max(limit, peak))  # inches of a byte
    alive = int(used.max())
    at_once = f"; in use at once at most {bytes_text(alive)}" if alive < peak else ""
    title = f"{space}: peak {bytes_text(peak)}, {100 * peak / limit:.0f} % of {bytes_text(limit)}{at_once}"
    axes.text(0, top - 0.1, title, fontsize=rcParams["axes.titlesize"])
    marks = {bottom - inch * n: bytes_text(n) if n else "0" for n in (0, limit / 2, limit)}
    _grid(axes, [[(0, y), (end, y)] for y in marks])
    for y, text in marks.items():
        beside(axes, y, text, rcParams["font.size"])
    moments = min(end, _MOMENTS)
    most = np.maximum.reduceat(used, -(-np.arange(moments) * end // moments))  # of each moment
    steps = bottom - inch * np.append(most, most[-1:])  # not `stairs`, which looks at every corner in Python
    times = np.arange(moments + 1) * end / moments
    axes.fill_between(times, steps, bottom, step="post", color=BLUE, alpha=0.35, linewidth=0)
    axes.plot(times, steps, drawstyle="steps-post", color=BLUE)
    axes.plot([0, end], [bottom - inch * limit] * 2, color=LIMIT, linestyle=(0, (5, 3)))
    if at_once:
        axes.plot([0, end], [bottom - inch * peak] * 2, color=BLUE, linewidth=0.9, linestyle=":")
    _frame(axes, [(0, top), (0, bottom), (end, bottom)])


def _lives(axes: Axes, top: float, height: float, rows: Sequence[tuple[str, list[Bar]]], end: int) -> None:
    """What uses a buffer, from `top` inches down: a row for each source line."""
    bottom, each = top + height, height / len(rows)
    turns = [t for t in axes.xaxis.get_majorticklocs() if 0 < t < end]
    _grid(axes, [[(t, top), (t, bottom)] for t in turns])
    lanes = np.repeat(_lanes([mine for _, mine in rows], end), 8, axis=0)
    lanes[::8, :, 3] = lanes[7::8, :, 3] = 0  # a gap between lanes
    axes.imshow(lanes, aspect="auto", interpolation="nearest", extent=(0, end, bottom, top), zorder=1)
    for i, (label, _) in enumerate(rows):
        beside(axes, top + (i + 0.5) * each, label, _LABEL)
    _frame(axes, [(0, bottom), (end, bottom)])


def _lanes(rows: Sequence[Sequence[Bar]], end: int) -> np.ndarray:
    """A colour, uint8 [row, moment, RGBA], for each of at most `_MOMENTS` moments of the task: how large the largest
    buffer is that the row has then; transparent where it has none."""
    largest = max(b.bytes for mine in rows for b in mine)
    moments = min(end, _MOMENTS)
    most = np.full((len(rows), moments + 1), -1.0)
    for row, mine in zip(most, rows):
        bars = np.array([(b.first, b.last, b.bytes) for b in mine], np.int64)
        for nbytes in np.unique(bars[:, 2]):  # the largest last
            first, last, _ = bars[bars[:, 2] == nbytes].T
            change = np.zeros(moments + 1, np.int64)
            np.add.at(change, first * moments // end, 1)
            np.add.at(change, last * moments // end + 1, -1)
            row[np.cumsum(change) > 0] = nbytes
    lanes = np.zeros((len(rows), moments, 4))
    lanes[..., :3] = matplotlib.colors.to_rgb(GREEN)
    lanes[..., 3] = np.where(most >= 0, 0.35 + 0.65 * np.log2(1 + most.clip(0)) / np.log2(1 + largest), 0)[:, :moments]
    return (lanes * 255).round().astype(np.uint8)


def _grid(axes: Axes, lines: Sequence[Sequence[tuple[float, float]]]) -> None:
    look = {name: rcParams[f"grid.{name}"] for name in ("color", "alpha", "linewidth")}
    axes.add_collection(LineCollection(lines, zorder=0.5, **look), autolim=False)


def _frame(axes: Axes, corners: Sequence[tuple[float, float]]) -> None:
    look = {"color": rcParams["axes.edgecolor"], "linewidth": rcParams["axes.linewidth"]}
    axes.add_collection(LineCollection([corners], clip_on=False, **look), autolim=False)
