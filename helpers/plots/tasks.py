"""Figures of tasks: the task graph collapsed by kernel name, and when each name's tasks come or could run.

A launch is one `Dispatch` of the trace: a `pl.at`, an incore call, or a `pl.spmd` with all its blocks. Dependencies
are between launches; `stated` has those that the runtime would enforce.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import matplotlib.colors
import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from helpers.errors import InputError
from helpers.interpret.trace.depend import stated, waves
from helpers.interpret.trace.edges import Edge, Edges
from helpers.interpret.trace.trace import Dispatch, Trace
from helpers.plots.given import trace_of
from helpers.plots.style import TEXT, WIDTH, Figure, colors, count, figure, many, sign, styled

_CHAR, _LINE, _GAP, _LANE = 0.078, 0.46, 0.34, 0.2  # inches: a character, a box's height, between boxes, an edge
_LEVEL = 1.02  # inches from one row of boxes to the next
_LOOP = 0.5  # inches that an arrow back reaches out of its box
_BINS = 180  # columns of `task_order` at most


def task_graph(trace: Trace, edges: Iterable[Edge] | None = None, expand: Collection[str] = ()) -> Figure:
    """The task graph with one box for each kernel name, whatever the number of tasks.

    A box says how many tasks the name has; an arrow's number is how many dependencies between launches it stands for.

    Args:
        edges: Dependencies, when they are at hand; else those of `stated`.
        expand: Kernel names that have a box for each launch, or, where they have more than eight, for each quarter of
            their launches in program order.
    """
    trace = trace_of(trace)
    edges = stated(trace) if edges is None else Edges.of(edges)
    launched = [d for d in trace.dispatches if d.runs]
    launches = Counter(d.name for d in launched)
    number: Counter[str] = Counter()
    of: dict[int, str] = {}  # launch -> its box
    boxes: dict[str, list[Dispatch]] = {}
    for d in launched:
        box = d.name
        if d.name in expand and launches[d.name] > 1:
            box = _share(d.name, number[d.name], launches[d.name])
        number[d.name] += 1
        of[d.index] = box
        boxes.setdefault(box, []).append(d)
    arrows = _arrows(edges, of)
    chain = int(waves(trace, edges).max(initial=-1)) + 1
    alt = (
        f"task graph: {many(trace.tasks, 'task')} in {many(len(launched), 'launch', 'launches')}, "
        f"{many(len(edges), 'dependency', 'dependencies')}, longest chain {many(chain, 'launch', 'launches')}"
    )
    text = {}
    for box, mine in boxes.items():
        tasks = sum(d.blocks for d in mine)
        within = "" if len(mine) == tasks else f" in {many(len(mine), 'launch', 'launches')}"
        text[box] = (box, f"{many(tasks, 'task')}{within}, {mine[0].core}")
    names = list(dict.fromkeys(d.name for d in launched))
    color = colors(names)
    text = {b: text[b] for b in sorted(text, key=lambda b: names.index(boxes[b][0].name))}  # arrows follow this order
    return _draw(text, arrows, {b: color[mine[0].name] for b, mine in boxes.items()}, alt, trace.platform)


def _arrows(edges: Edges, of: dict[int, str]) -> Counter[tuple[str, str]]:
    """How many edges go from one box to another, in the order of the first; `of`: launch -> its box."""
    place = {b: i for i, b in enumerate(dict.fromkeys(of.values()))}
    boxes = list(place)
    number = np.full(1 + max(max(of, default=0), int(edges.later.max(initial=0))), -1)
    number[list(of)] = [place[b] for b in of.values()]
    ends = number[edges.earlier], number[edges.later]
    inside = (ends[0] >= 0) & (ends[1] >= 0)
    codes, first, count = np.unique((ends[0] * len(boxes) + ends[1])[inside], return_index=True, return_counts=True)
    order = np.argsort(first)
    rows = zip(codes[order].tolist(), count[order].tolist())
    return Counter({(boxes[c // len(boxes)], boxes[c % len(boxes)]): n for c, n in rows})


def _share(name: str, i: int, launches: int) -> str:
    """The box of the i-th of a name's launches, when the name is expanded."""
    parts = launches if launches <= 8 else 4
    part = i * parts // launches
    first, last = -(-part * launches // parts) + 1, -(-(part + 1) * launches // parts)
    return f"{name} {count(first)}" if first == last else f"{name} {count(first)} to {count(last)}"


def task_order(trace: Trace, by: str = "launch", edges: Iterable[Edge] | None = None) -> Figure:
    """When the tasks of each name come: a row for each name, from left to right.

    Args:
        edges: See `task_graph`.
        by: "launch": in the order in which orchestration launches them. "wave": as early as their dependencies let
            them run when cores are without limit, which shows how much can run side by side.
    """
    if by not in ("launch", "wave"):
        raise InputError(f"by is {by!r}: must be 'launch' or 'wave'")
    trace = trace_of(trace)
    launched = [d for d in trace.dispatches if d.runs]
    names = list(dict.fromkeys(d.name for d in launched))
    row = np.array([names.index(d.name) for d in launched], np.int64)
    blocks = np.array([d.blocks for d in launched], np.int64)
    if by == "launch":
        at = np.arange(len(launched))
    else:
        level = waves(trace, stated(trace) if edges is None else edges)
        at = level[[d.index for d in launched]] if launched else np.zeros(0, np.int64)
    steps = int(at.max(initial=-1)) + 1
    fold = max(1, -(-steps // _BINS))
    grid = np.zeros((len(names), -(-steps // fold)), np.int64)
    np.add.at(grid, (row, at // fold), blocks)
    what = many(steps, "launch", "launches") if by == "launch" else many(steps, "wave")
    alt = f"tasks by {by}: {many(trace.tasks, 'task')} of {many(len(names), 'name')} in {what}"
    with styled():
        few = len(names) <= 16
        fig = figure(1.0 + (0.34 if few else 0.19) * max(1, len(names)), alt)
        axes = fig.subplots()
        shown = np.zeros((*grid.shape, 4))
        for i, color in enumerate(colors(names).values()):
            shown[i, :, :3] = matplotlib.colors.to_rgb(color)
        shown[..., 3] = np.where(grid > 0, 0.3 + 0.7 * np.log1p(grid) / np.log1p(grid.max(initial=1)), 0)
        if grid.size:
            extent = (0.5, grid.shape[1] * fold + 0.5, len(names) - 0.5, -0.5)
            shown = np.repeat(shown, 8, axis=0)
            shown[::8, :, 3] = shown[7::8, :, 3] = 0  # a gap between rows
            axes.imshow(shown, aspect="auto", interpolation="nearest", extent=extent, rasterized=True)
        if grid.shape[1] <= 24:
            for i, j in zip(*np.nonzero(grid)):
                x = j * fold + (fold + 1) / 2
                number = axes.text(x, i, count(grid[i, j]), ha="center", va="center", color="white", fontsize=8)
                number.set_path_effects([withStroke(linewidth=1.6, foreground="#444444")])  # on pale cells, too
        totals = trace.tasks_by_name()
        axes.set_yticks(range(len(names)), [f"{n}  ({count(totals[n])})" for n in names])
        axes.tick_params(axis="y", length=0, labelsize=9 if few else 7)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0.5, max(1, grid.shape[1] * fold) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
        if steps <= 8:
            axes.set_xticks(range(1, max(1, steps) + 1))
        side = "launch, in program order" if by == "launch" else "wave (cores without limit)"
        axes.set_xlabel(side if fold == 1 else f"{side}; a column is {count(fold)} of them")
        axes.set_title(f"{many(trace.tasks, 'task')} in {what}")
        sign(fig, trace.label)
    return fig


# ---- drawing the graph: rows of boxes, edges through lanes of their own -------------------------------------


@dataclass
class _Node:
    """A box, or (name None) the place where a long edge passes a row. Inches; x is the middle.

    `room` is what stays free to the right of it, for an arrow to itself and its number.
    """

    name: str | None
    width: float
    room: float = 0.0
    x: float = 0.0


def _draw(
    text: dict[str, tuple[str, str]], arrows: dict[tuple[str, str], int], color_of: dict[str, str], alt: str,
    platform: str,
) -> Figure:  # fmt: skip
    order = {n: i for i, n in enumerate(text)}
    forward = nx.DiGraph()
    forward.add_nodes_from(text)
    forward.add_edges_from((a, b) for a, b in arrows if order[a] < order[b])
    loops = {a: _LOOP + _number_width(count(n)) for (a, b), n in arrows.items() if a == b}
    rows, routes = _rows(forward, text, loops)
    _place(rows, routes)
    left = min(n.x - n.width / 2 for row in rows for n in row) - 0.25
    edge = [max(n.x + n.width / 2 + n.room for n in row) for row in rows]  # of each row, on the right
    row_of = {n.name: i for i, row in enumerate(rows) for n in row if n.name}
    back = sorted((ab for ab in arrows if order[ab[0]] > order[ab[1]]), key=lambda ab: row_of[ab[0]] - row_of[ab[1]])
    outs: dict[tuple[str, str], float] = {}  # how far to the right a backward arrow goes: around all that is between
    for a, b in back:
        between = range(row_of[b], row_of[a] + 1)
        passed = [x for (c, d), x in outs.items() if row_of[d] <= row_of[a] and row_of[b] <= row_of[c]]
        outs[a, b] = max([*(edge[i] + 0.15 for i in between), *(x + 0.25 for x in passed)])
    right = max([*edge, *(x + _number_width(count(arrows[ab])) for ab, x in outs.items())]) + 0.25
    width, height = max(WIDTH, right - left), _LEVEL * (len(rows) - 1) + _LINE + 0.95
    shift = (width - right - left) / 2
    y_of = [height - 0.5 - _LINE / 2 - _LEVEL * i for i in range(len(rows))]
    box = {n.name: (n.x + shift, y_of[i], n.width) for i, row in enumerate(rows) for n in row if n.name}
    with styled():
        fig = figure(height, alt, width)
        fig.set_layout_engine("none")
        axes = fig.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(0, height))
        axes.axis("off")
        axes.text(0.06, height - 0.08, alt.partition(": ")[2], va="top", fontsize=9.5)
        taken = [(x - w / 2, y - _LINE / 2, x + w / 2, y + _LINE / 2) for x, y, w in box.values()]
        for n, color in color_of.items():
            x, y, w = box[n]
            left, right = (x - w / 2) / width, (x + w / 2) / width
            fig.spots[n] = (left, 1 - (y + _LINE / 2) / height, right, 1 - (y - _LINE / 2) / height)
            axes.add_patch(
                FancyBboxPatch(
                    (x - w / 2, y - _LINE / 2), w, _LINE, boxstyle="round,pad=0,rounding_size=0.08",
                    facecolor=(*matplotlib.colors.to_rgb(color), 0.1), edgecolor=color, linewidth=1.4, zorder=3,
                )
            )  # fmt: skip
            axes.text(x, y + 0.09, text[n][0], ha="center", va="center", weight="bold", zorder=4)
            axes.text(x, y - 0.1, text[n][1], ha="center", va="center", fontsize=8, zorder=4)
        lines = []
        for (a, b), through in routes.items():
            points = [(n.x + shift, y_of[i]) for i, n in through]
            lines.append((_curve(points), arrows[a, b], "-"))
        for (a, b), n in arrows.items():
            if order[a] < order[b]:
                continue
            (xa, ya, wa), (xb, yb, wb) = box[a], box[b]
            if a == b:
                side, low, high = xa + wa / 2, ya - 0.1, ya + 0.1
                far = side + _LOOP
                lines.append((Path([(side, low), (far, low), (far, high), (side, high)], [1, 4, 4, 4]), n, "--"))
                continue
            out, under, over = outs[a, b] + shift, ya - _LINE / 2 - 0.16, yb + _LINE / 2 + 0.16
            start, end = xa + wa / 4, xb + wb / 4
            turns = [(start, under), (out, under), (out, over), (end, over)]
            lines.append((_bent([(start, under + 0.16), *turns, (end, over - 0.14)]), n, "--"))
        for path, _, dashes in lines:
            _arrow(axes, path, dashes)
            taken += [(x - 0.02, y - 0.02, x + 0.02, y + 0.02) for x, y in _points(path, 97)]
        for path, n, _ in lines:
            _number(axes, path, count(n), taken)
        sign(fig, platform, "numbers on arrows count dependencies between launches" if arrows else "no dependencies")
        if fig._supxlabel is not None:
            fig._supxlabel.set_position((0.995, 0.06 / height))
            fig._supxlabel.set_va("bottom")
    return fig


def _rows(
    graph: nx.DiGraph, text: dict[str, tuple[str, str]], room: dict[str, float]
) -> tuple[list[list[_Node]], dict]:
    """Rows of nodes by depth, and for each edge the (row, node)s it passes, from its first box to its last."""
    depth = {n: i for i, names in enumerate(nx.topological_generations(graph)) for n in names}
    rows: list[list[_Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    box = {}
    for n, lines in text.items():
        box[n] = _Node(n, max(1.08 * len(lines[0]), 0.88 * len(lines[1])) * _CHAR + 0.24, room.get(n, 0.0))
        rows[depth[n]].append(box[n])
    routes = {}
    for a, b in graph.edges:
        through = [(depth[a], box[a])]
        for i in range(depth[a] + 1, depth[b]):
            lane = _Node(None, _LANE)
            rows[i].append(lane)
            through.append((i, lane))
        routes[a, b] = [*through, (depth[b], box[b])]
    return rows, routes


def _place(rows: list[list[_Node]], routes: dict) -> None:
    """Order each row by where its neighbours are, then move nodes under them as far as their widths allow."""
    near: dict[int, dict[int, list[_Node]]] = {id(n): {-1: [], 1: []} for row in rows for n in row}
    for through in routes.values():
        for (_, a), (_, b) in pairwise(through):
            near[id(a)][1].append(b)
            near[id(b)][-1].append(a)
    for row in rows:
        _spread(row, [0.0] * len(row))
    for turn in range(8):
        side = -1 if turn % 2 == 0 else 1
        for row in rows if side < 0 else reversed(rows):
            wanted = {id(n): np.mean([m.x for m in near[id(n)][side]] or [n.x]) for n in row}
            row.sort(key=lambda n: wanted[id(n)])
            _spread(row, [wanted[id(n)] for n in row])
    for row in rows:
        _spread(row, [np.mean([m.x for s in (-1, 1) for m in near[id(n)][s]] or [n.x]) for n in row])


def _spread(row: list[_Node], wanted: Sequence[float]) -> None:
    """Put the nodes of a row, in their order and without overlap, as near to `wanted` as can be (least squares)."""
    start = 0.0
    starts = []
    for i, n in enumerate(row):
        start += 0 if i == 0 else row[i - 1].width / 2 + row[i - 1].room + n.width / 2 + _GAP
        starts.append(start)
    pools: list[list[float]] = []  # [sum, length] of runs that touch: isotonic regression
    for w, s in zip(wanted, starts):
        pools.append([w - s, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, n = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += n
    shifts = [total / n for total, n in pools for _ in range(int(n))]
    for node, s, shift in zip(row, starts, shifts):
        node.x = s + shift


def _curve(points: list[tuple[float, float]]) -> Path:
    """A smooth path down through the points, from below the first box to above the last."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    points = [(x0, y0 - _LINE / 2), *points[1:-1], (x1, y1 + _LINE / 2 + 0.02)]
    vertices, codes = [points[0]], [Path.MOVETO]
    for (xa, ya), (xb, yb) in pairwise(points):
        middle = (ya + yb) / 2
        vertices += [(xa, middle), (xb, middle), (xb, yb)]
        codes += [Path.CURVE4] * 3
    return Path(vertices, codes)


def _bent(points: list[tuple[float, float]]) -> Path:
    """Straight lines through the points, rounded where they turn."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:]):
        near, far = (np.add(corner, 0.1 * np.sign(np.subtract(p, corner))) for p in (before, after))
        vertices += [tuple(near), corner, tuple(far)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def _arrow(axes: Axes, path: Path, style: str) -> None:
    axes.add_patch(
        FancyArrowPatch(
            path=path, arrowstyle="-|>", mutation_scale=9, color=TEXT, linewidth=1.1, linestyle=style, zorder=2
        )
    )


def _number_width(text: str) -> float:
    return 0.07 * len(text) + 0.06


def _number(axes: Axes, path: Path, text: str, taken: list[tuple]) -> None:
    """Write an arrow's number beside it, where the least else stands: boxes, numbers, other arrows."""
    wide, high = _number_width(text), 0.15
    others = np.array(taken)
    along = _points(path)
    best = None
    for i in (12, 9, 15, 7, 17, 5, 19, 21):
        x, y = along[min(i, len(along) - 1)]
        beside = ((x + 0.06, y - high / 2), (x - 0.06 - wide, y - high / 2))
        for left, low in (*beside, (x - wide / 2, y + 0.05), (x - wide / 2, y - 0.05 - high)):
            mine = (left, low, left + wide, low + high)
            across = np.minimum(mine[2], others[:, 2]) - np.maximum(mine[0], others[:, 0])
            down = np.minimum(mine[3], others[:, 3]) - np.maximum(mine[1], others[:, 1])
            over = float((across.clip(0) * down.clip(0)).sum())
            if best is None or over < best[0] - 1e-9:
                best = (over, mine)
    taken.append(best[1])
    axes.text(best[1][0] + wide / 2, (best[1][1] + best[1][3]) / 2, text, ha="center", va="center", fontsize=8)


def _points(path: Path, n: int = 25) -> np.ndarray:
    """Points along a path of cubics: the first cubic, n of them, then the others. Of a bent path: its longest line,
    then the others."""
    t = np.linspace(0, 1, n)[:, None]
    if Path.LINETO in path.codes:
        corners = np.array(path.vertices)
        order = sorted(pairwise(corners), key=lambda ab: -np.abs(np.subtract(*ab)).sum())
        return np.concatenate([a * (1 - t) + b * t for a, b in order])
    corners = [path.vertices[i : i + 4] for i in range(0, len(path.vertices) - 1, 3)]
    return np.concatenate(
        [a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3 for a, b, c, d in corners]
    )
