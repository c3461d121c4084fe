"""Which part of each tensor in global memory a task reads and writes: the tiles, as the trace has them."""

from __future__ import annotations

import re
from dataclasses import replace

import matplotlib.colors
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from helpers.interpret.trace.trace import READ, Dispatch, Trace
from helpers.plots.given import trace_of
from helpers.plots.style import TEXT, Figure, bytes_text, colors, figure, many, sign, styled

_BOXES = 400  # accesses drawn in a tensor at most
_NUMBERED = 40  # above this many, boxes have no number


def regions(trace: Trace, tensors: int = 6) -> Figure:
    """A panel for each tensor that tasks touch, rows times columns, not to scale: boxes are reads and writes of tasks.

    A box is coloured by the kernel name of its task and numbered by the task's place among those of its name; a write
    is filled, a read is hatched.

    Args:
        tensors: Panels at most: the first ones touched.
    """
    trace = trace_of(trace)
    boxes: dict[int, list[tuple[Dispatch, int, int, tuple[int, int, int, int]]]] = {}
    pitch: dict[int, int] = {}
    first: dict[str, int] = {}
    seen: set[tuple] = set()
    for d in trace.dispatches:
        start = first.setdefault(d.name, 0)
        first[d.name] += d.blocks
        for block, access, offset in trace.accesses(d):
            if access.buffer not in boxes and len(boxes) == tensors:
                continue
            mine = boxes.setdefault(access.buffer, [])
            width = access.strides[-2] if len(access.strides) > 1 else access.extent[-1] if access.extent else 1
            wide = pitch[access.buffer] = max(pitch.get(access.buffer, 1), width)
            rows = access.extent[-2] if len(access.extent) > 1 else 1
            box = (offset // wide, offset % wide, rows, access.extent[-1] if access.extent else 1)
            key = (access.buffer, d.index, block, access.mode, box)
            if key not in seen and len(mine) < _BOXES:
                seen.add(key)
                mine.append((d, start + block, access.mode, box))
    names = [_name(trace, b, mine[0][0]) for b, mine in boxes.items()]
    alt = f"tiles: {many(trace.tasks, 'task')} on {', '.join(names)}"
    shade = colors(trace.tasks_by_name())
    with styled():
        fig = figure(3.1, alt)
        panels = fig.subplots(1, max(1, len(boxes)), squeeze=False)[0]
        for axes, (buffer, mine), name in zip(panels, boxes.items(), names):
            wide = pitch[buffer]
            high = -(-trace.buffers[buffer].size // wide)
            for d, _, mode, (row, column, rows, columns) in mine:
                color = shade[d.name]
                read = mode == READ
                fill = "none" if read else (*matplotlib.colors.to_rgb(color), 0.22)
                axes.add_patch(
                    Rectangle(
                        (column, row), columns, rows, facecolor=fill, edgecolor=color,
                        linewidth=1.0 if len(mine) <= _NUMBERED else 0.3, hatch="///" if read else None,
                        hatch_linewidth=0.5,
                    )
                )  # fmt: skip
            _numbers(axes, mine, wide)
            axes.set(xlim=(0, wide), ylim=(high, 0))
            axes.set_title(f"{name} [{high}, {wide}]")
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        legend = [
            Rectangle((0, 0), 1, 1, facecolor=(*matplotlib.colors.to_rgb(color), 0.22), edgecolor=color, label=name)
            for name, color in list(shade.items())[:8]
        ]
        legend += [
            Rectangle((0, 0), 1, 1, facecolor="none", edgecolor=TEXT, hatch="///", hatch_linewidth=0.5, label="read"),
            Rectangle((0, 0), 1, 1, facecolor=TEXT + "38", edgecolor=TEXT, label="written"),
        ]
        fig.legend(handles=legend, loc="outside upper center", ncols=min(6, len(legend)), labelcolor=TEXT)
        most = max((len(mine) for mine in boxes.values()), default=0)
        note = f"the first {_BOXES} accesses of a tensor" if most == _BOXES else "numbers are tasks of a name"
        ring = trace.ring_bytes
        if ring:
            note += f"; not drawn: {bytes_text(ring)} that cube and vector cores hand each other through GM"
        sign(fig, trace.label, note)
    return fig


def _name(trace: Trace, buffer: int, d: Dispatch) -> str:
    """A tensor's name: that of the parameter, or what the line that creates it binds."""
    name = trace.buffers[buffer].name
    if not name.isdigit():
        return name
    made = re.match(r"\s*(\w+)\s*=[^=]", replace(d.place, line=int(name)).code)
    return made[1] if made else f"line {name}"


def _numbers(axes: Axes, mine: list, wide: int) -> None:
    """One number for each box; where boxes of several tasks are the same, the first and the last of them."""
    places: dict[tuple, list[int]] = {}
    for _, task, _, box in mine:
        places.setdefault(box, []).append(task)
    if len(places) > _NUMBERED:
        return
    for (row, column, rows, columns), tasks in places.items():
        low, high = min(tasks), max(tasks)
        text = str(low) if low == high else f"{low} to {high}"
        axes.text(column + columns / 2, row + rows / 2, text, ha="center", va="center", weight="bold")
