"""The tiles of a task on their way through a core: which memory holds which of them, and which pipe moves what.

Read from the schedule of the task's instructions on the pipes of its core (`helpers.profile.core_schedule`), so times
are predicted and the tiles are those of the trace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from helpers.errors import InputError
from helpers.plots.core_lanes import chosen
from helpers.plots.films.film import Film
from helpers.plots.given import profile_of
from helpers.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    TEXT,
    Figure,
    bytes_text,
    figure,
    sign,
    styled,
    time_text,
)
from helpers.profile import Profile
from helpers.profile.core_schedule import Bar, CoreRun
from helpers.profile.pipe_times import (
    CUBE,
    CUBE_MTE2,
    CUBE_SCALAR,
    FIXP,
    MTE1,
    MTE3,
    PIPES,
    SECOND,
    VECTOR,
    VECTOR_MTE2,
    VECTOR_SCALAR,
)

# Where each memory and unit is drawn: left, bottom, width, height.
BOXES = {
    "GM": (0.0, 0.0, 1.5, 5.0),
    "L2": (1.65, 0.0, 0.75, 5.0),
    "L1": (3.6, 2.9, 1.6, 2.1),
    "L0A": (6.2, 4.1, 1.3, 0.9),
    "L0B": (6.2, 2.9, 1.3, 0.9),
    "cube": (8.3, 3.3, 0.9, 1.3),
    "L0C": (10.0, 2.9, 1.6, 2.1),
    "UB": (3.6, 0.0, 3.9, 1.9),
    "vector": (8.3, 0.3, 0.9, 1.3),
}
UNITS = {"cube", "vector"}
COLORS = {"L1": BLUE, "L0A": SKY, "L0B": SKY, "L0C": GREEN, "UB": ORANGE}
_MOST = 60  # pictures of a task; of a longer one the first and the last

# The way of each pipe, by where it ends: points of an arrow.
WAYS = {
    (CUBE_MTE2, "L1"): ((2.4, 3.95), (3.6, 3.95)),
    (MTE1, "L0A"): ((5.2, 4.4), (6.2, 4.55)),
    (MTE1, "L0B"): ((5.2, 3.5), (6.2, 3.35)),
    (CUBE, "L0C"): ((9.2, 3.95), (10.0, 3.95)),
    (FIXP, "GM"): ((10.8, 2.9), (2.4, 2.4)),
    (FIXP, "UB"): ((10.8, 2.9), (7.5, 1.6)),
    (VECTOR_MTE2, "UB"): ((2.4, 1.35), (3.6, 1.35)),
    (VECTOR, "UB"): ((7.5, 1.2), (8.3, 1.2)),
    (MTE3, "GM"): ((3.6, 0.5), (2.4, 0.5)),
    (MTE3, "L1"): ((4.4, 1.9), (4.4, 2.9)),
}
_ALWAYS = (((7.5, 4.55), (8.3, 4.3)), ((7.5, 3.35), (8.3, 3.6)), ((8.3, 0.7), (7.5, 0.7)))


@dataclass(frozen=True)
class Alive:
    """A tile in a memory, from when to when, in microseconds from the task's start."""

    space: str
    name: str
    bytes: int
    first: float
    last: float


def lives(run: CoreRun) -> list[Alive]:
    """The tiles of a task in the memories of its core: from the first bar that writes it to the last
    that uses it."""
    program, out = run.program, []
    spans: dict[int, tuple[float, float]] = {}
    for bar in run.bars:
        i = program.instructions[bar.instruction]
        for t in (*i.reads, *i.writes):
            first, last = spans.get(t, (bar.start, bar.end))
            spans[t] = min(first, bar.start), max(last, bar.end)
    for t, (first, last) in spans.items():
        held = program.tiles[t]
        space = held.space if held.space in BOXES else {"L0C-UB ring": "UB", "UB-L1 ring": "L1"}.get(held.space, "")
        if space:
            out.append(Alive(space, _name(held.place), held.bytes, first, last))
    waiting: dict[str, list[tuple[Bar, int]]] = {"L0A": [], "L0B": []}
    for bar in run.bars:  # operands lie in L0A and L0B from their load to the end of the product that takes them
        i = program.instructions[bar.instruction]
        if bar.pipe == MTE1 and bar.buffer in waiting:
            waiting[bar.buffer].append((bar, bar.instruction))
        elif bar.pipe == CUBE:
            for space, size in (("L0A", 0), ("L0B", 2)):
                if waiting[space]:
                    load, number = waiting[space].pop(0)
                    pieces = sum(b.pipe == CUBE and b.instruction == number for b in run.bars)
                    width = 4 if i.step.dtype == "FP32" else 1 if i.step.dtype == "INT8" else 2
                    nbytes = i.step.size[size] * i.step.size[1] * width // max(1, pieces)
                    out.append(Alive(space, _operand(run, number, size == 0), nbytes, load.start, bar.end))
    return out


def _operand(run: CoreRun, number: int, left: bool) -> str:
    reads = [t for t in run.program.instructions[number].reads if run.program.tiles[t].space != "L0C"]
    if not reads:
        return ""
    return _name(run.program.tiles[reads[0] if left else reads[-1]].place)


def _name(place: object) -> str:
    code = getattr(place, "code", "").strip()
    made = re.match(r"(\w+)\s*=[^=]", code)
    return made[1] if made else ""


def chip_flow(profile: Profile, task: int | str | None = None, block: int = 0) -> Film:
    """The tiles of a task on their way through its core, a picture for each moment at which an instruction begins.

    Args:
        task, block: As for `helpers.plots.core`.

    Raises:
        InputError: no such task, or nothing is known of what it does.
    """
    profile = profile_of(profile)
    number = chosen(profile, task, block)
    runs = [r for r in profile.core(number) if r.bars]
    title = profile.tasks.title(number)
    if not runs:
        raise InputError(f"'{title}' does nothing on its core that is known")
    run = max(runs, key=lambda r: r.total)
    moments = _moments(run)
    alive = lives(run)
    cube, vector = run.cores
    said = tuple(_said(run, t) for t in moments)
    first = min(6, len(moments) - 1)  # a picture of a task that has begun
    busiest = max(range(first, len(moments)), key=lambda n: (len({_way(b) for b in _working(run, moments[n])}), -n))

    def draw(n: int) -> Figure:
        return _picture(profile, run, alive, moments[n], title, (cube, vector))

    return Film(f"tiles of {title} through a core of {profile.chip.name}", said, draw, (busiest,))


def _moments(run: CoreRun) -> list[float]:
    """When to look: between the beginnings of two instructions."""
    starts = sorted({round(b.start, 6) for b in run.bars if b.pipe not in (CUBE_SCALAR, VECTOR_SCALAR)})
    ends = [*starts[1:], run.total]
    between = [(a + b) / 2 for a, b in zip(starts, ends)]
    if len(between) <= _MOST:
        return between
    return between[: _MOST * 2 // 3] + between[-_MOST // 3 :]


def _working(run: CoreRun, t: float) -> list[Bar]:
    return [b for b in run.bars if b.start <= t < b.end and b.pipe not in (CUBE_SCALAR, VECTOR_SCALAR)]


def _said(run: CoreRun, t: float) -> str:
    parts = {}
    for bar in _working(run, t):
        place = run.program.instructions[bar.instruction].place
        pipe = PIPES[bar.pipe % SECOND + VECTOR_MTE2 if bar.pipe >= len(PIPES) else bar.pipe]
        parts[pipe] = f"{pipe}: line {place.line}" if place is not None else pipe
    return f"{time_text(t)} of {time_text(run.total)}: " + ("; ".join(parts.values()) or "all pipes wait")


def _picture(
    profile: Profile, run: CoreRun, alive: list[Alive], t: float, title: str, sides: tuple[bool, bool]
) -> Figure:
    working = _working(run, t)
    buffers = profile.chip.buffers
    with styled():
        high = 5.0 if sides[0] else 2.0
        fig = figure(0.6 + 0.74 * high, f"tiles of {title} through a core of {profile.chip.name} at {time_text(t)}")
        axes = fig.subplots()
        axes.set_xlim(-0.15, 11.8)
        axes.set_ylim(-0.35, high + 0.45)
        axes.set_axis_off()
        for name, (x, y, w, h) in BOXES.items():
            if (name in ("L1", "L0A", "L0B", "cube", "L0C") and not sides[0]) or (
                name in ("UB", "vector") and not sides[1]
            ):
                continue
            h = high if name in ("GM", "L2") else h
            _box(axes, name, x, y, w, h, [a for a in alive if a.space == name and a.first <= t < a.last], buffers)
        for start, end in _ALWAYS:
            if sides[0 if start[1] > 2 else 1]:
                axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", color=FAINT, mutation_scale=9))
        for (pipe, into), (start, end) in WAYS.items():
            if not sides[0 if pipe < VECTOR_MTE2 else 1]:
                continue
            mine = [b for b in working if _way(b) == (pipe, into)]
            if not mine and (pipe, into) not in _ways_used(run):
                continue
            color = PURPLE if mine else FAINT
            axes.add_patch(
                FancyArrowPatch(start, end, arrowstyle="-|>", color=color, mutation_scale=13, lw=3 if mine else 1)
            )
            along = 0.12 if pipe == FIXP else 0.5
            middle = tuple(a + (b - a) * along for a, b in zip(start, end))
            pipe_name = PIPES[pipe].replace("vector MTE2", "MTE2").replace("cube MTE2", "MTE2")
            if pipe not in (CUBE, VECTOR):
                axes.annotate(
                    pipe_name,
                    middle,
                    (0, 9),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7.5,
                    color=color if mine else TEXT,
                )
            if mine:
                _moving(axes, run, mine[0], start, end, t)
        axes.set_title(f"{title}: {_said(run, t)}", fontsize=9)
        sign(fig, profile.trace.label, profile.basis)
    return fig


def _ways_used(run: CoreRun) -> set[tuple[int, str]]:
    return {_way(b) for b in run.bars}


def _way(bar: Bar) -> tuple[int, str]:
    """The arrow of a bar: its pipe, and where it ends."""
    pipe = bar.pipe if bar.pipe < len(PIPES) else bar.pipe - SECOND
    into = bar.buffer
    if into.startswith("L0C-UB"):
        into = "UB"
    elif into.startswith("UB-L1"):
        into = "L1"
    if pipe == CUBE:
        return pipe, "L0C"
    if pipe in (CUBE_MTE2, VECTOR_MTE2, VECTOR):
        return pipe, "L1" if pipe == CUBE_MTE2 else "UB"
    return pipe, into if (pipe, into) in WAYS else "GM"


def _moving(axes, run: CoreRun, bar: Bar, start: tuple, end: tuple, t: float) -> None:
    """The tile of a bar, as far along its arrow as the bar is done."""
    done = (t - bar.start) / max(bar.end - bar.start, 1e-9)
    x, y = (a + (b - a) * done for a, b in zip(start, end))
    i = run.program.instructions[bar.instruction]
    made = (*i.writes, *i.reads) if bar.pipe not in (MTE1,) else i.reads
    name = next((n for n in (_name(run.program.tiles[m].place) for m in made) if n), "")
    if bar.pipe == MTE1:
        name = _operand(run, bar.instruction, bar.buffer == "L0A")
    axes.add_patch(Rectangle((x - 0.13, y - 0.13), 0.26, 0.26, color=PURPLE, zorder=5))
    axes.annotate(name, (x, y), (0, -15), textcoords="offset points", ha="center", fontsize=7.5, color=PURPLE, zorder=6)


def _box(axes, name: str, x: float, y: float, w: float, h: float, tiles: list[Alive], limits: dict) -> None:
    """A memory with what lies in it, as high as its share of the memory; or a unit."""
    unit = name in UNITS
    color = COLORS.get(name, TEXT)
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            w,
            h,
            boxstyle="round,pad=0.02" if not unit else "round4,pad=0.05",
            fill=False,
            edgecolor=TEXT,
            lw=1.2,
        )
    )
    if unit or name in ("GM", "L2"):
        axes.text(x + w / 2, y + h / 2, name, ha="center", va="center", fontsize=9)
        return
    used = sum(a.bytes for a in tiles)
    axes.text(
        x + w / 2, y + h + 0.1, f"{name}  {bytes_text(used)} of {bytes_text(limits[name])}", ha="center", fontsize=7.5
    )
    at = y
    for a in sorted(tiles, key=lambda a: a.first):
        high = max(0.17, (h - 0.1) * a.bytes / limits[name])
        high = min(high, y + h - at)
        if high <= 0.02:
            break
        axes.add_patch(Rectangle((x + 0.05, at), w - 0.1, high - 0.03, color=color, alpha=0.75, lw=0))
        if high >= 0.16 and a.name:
            axes.text(
                x + w / 2,
                at + high / 2 - 0.015,
                f"{a.name}  {bytes_text(a.bytes)}",
                ha="center",
                va="center",
                fontsize=6.8,
                color="white",
            )
        at += high
