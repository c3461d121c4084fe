"""Blocks that meet at a barrier: which of them have a core, which stand at the barrier, and whether it ever opens.

The trace says which launches have barriers and which cores these wait for; the chip says how many there are. Tasks are
handed out in order, each to a free core of its kind; how long they take is predicted (`helpers.profile.cost`).
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from helpers import chips
from helpers.chips import Chip
from helpers.errors import InputError
from helpers.interpret.trace import depend
from helpers.interpret.trace.trace import Dispatch, Trace
from helpers.plots.films import core_grid
from helpers.plots.films.core_grid import Doing
from helpers.plots.films.film import Film
from helpers.plots.given import trace_of
from helpers.plots.style import LIMIT, TEXT, Figure, colors, figure, many, sign, styled, time_text
from helpers.profile.cost import Costs, cost
from helpers.profile.task_table import CUBE, MIXED, VECTOR, Tasks, tabulate

_PICTURES = 40
_KINDS = {"aiv_only": VECTOR, "aic_only": CUBE}
_CORES = {VECTOR: "vector core", CUBE: "cube core", MIXED: "core group"}


@dataclass(frozen=True)
class Moment:
    """What is where: microseconds, the task of each core, those at a barrier, those that wait for a core, and those
    that have ended; `said`: what has just happened."""

    at: float
    cores: dict[int, int]
    waiting: frozenset[int]
    left: tuple[int, ...]
    ended: int
    said: str


@dataclass
class Meeting:
    """A run of a trace's tasks whose barriers are kept: `moments`, and whether it came to an end.

    Attributes:
        stuck: Why it did not; "" where it did.
    """

    chip: Chip
    tasks: Tasks
    moments: list[Moment] = field(default_factory=list)
    stuck: str = ""


def meeting(trace: Trace, chip: Chip) -> Meeting:
    """Hand out the tasks of a trace on a chip until all have ended, or nothing can go on."""
    run = _Run(trace, chip)
    run.go()
    return run.out


def barrier(given: Any, chip: Chip | str | None = None) -> Film:
    """A picture for each block that starts, comes to a barrier, goes on or ends.

    Args:
        given: A trace, or the result of a run, in which blocks of a launch meet at a `pl.system.syncall`.
        chip: The chip that it is to run on; None: the one that the trace models. Another one shows what becomes of
            a number of blocks that was written for the first.

    Raises:
        InputError: it has no barrier, or there is no such chip.
    """
    trace = trace_of(given)
    name = trace.platform.removesuffix("interp").removesuffix("sim")
    on = chip if isinstance(chip, Chip) else chips.chip(chip or name)
    if not any(d.barriers for d in trace.dispatches):
        raise InputError("this run has no barrier: no launch of it calls pl.system.syncall")
    met = meeting(trace, on)
    pick = np.unique(np.linspace(0, len(met.moments) - 1, min(_PICTURES, len(met.moments))).round().astype(int))
    moments = [met.moments[i] for i in pick]
    shown = colors(met.tasks.names)

    def draw(n: int) -> Figure:
        return _picture(trace, met, moments[n], shown)

    names = " and ".join(dict.fromkeys(d.name for d in trace.dispatches if d.barriers))
    end = "never opens" if met.stuck else "opens"
    said = tuple(f"{time_text(m.at)}: {m.said}" for m in moments)
    stills = (len(moments) - 1,) if met.stuck else (_mixed(moments),)
    return Film(f"barrier of {names} on {on.name}, which {end}", said, draw, stills)


def _mixed(moments: list[Moment]) -> int:
    """A moment at which as many as possible wait and as many run."""
    some = [min(len(m.waiting), len(set(m.cores.values()) - m.waiting)) for m in moments]
    return max(range(len(moments)), key=lambda n: (some[n], -n))


class _Run:
    """The state of one run: who has which core, who has come to which barrier."""

    def __init__(self, trace: Trace, chip: Chip):
        self.trace, self.chip, self.tasks = trace, chip, tabulate(trace)
        self.costs: Costs = cost(self.tasks, chip)
        self.out = Meeting(chip, self.tasks)
        self.free = dict.fromkeys(range(chip.cores), True)
        self.cores: dict[int, int] = {}  # core -> task
        self.core_of: dict[int, int] = {}  # task -> its core, of a mixed one the cube
        self.phase = dict.fromkeys(range(len(self.tasks)), 0)
        self.at_barrier: dict[int, set[int]] = {}  # launch -> tasks
        self.ended: set[int] = set()
        self.waits = [0] * len(trace.dispatches)
        self.after: list[list[int]] = [[] for _ in trace.dispatches]
        for a, b in {(e.earlier, e.later) for e in depend.stated(trace)}:
            self.after[a].append(b)
            self.waits[b] += 1
        self.queue: deque[int] = deque()
        self.events: list[tuple[float, int]] = []
        self.now = 0.0

    def go(self) -> None:
        for d, waits in enumerate(self.waits):
            if not waits:
                self._ready(d)
        while True:
            self._hand_out()
            if not self.events:
                break
            self.now, task = heapq.heappop(self.events)
            self._goes_on(task)
        if len(self.ended) < len(self.tasks):
            self.out.stuck = self._why()
            self._note(self.out.stuck)

    def _ready(self, d: int) -> None:
        first, last = self.tasks.first[d], self.tasks.first[d + 1]
        self.queue.extend(range(first, last))
        if first == last:
            self._over(d)

    def _over(self, d: int) -> None:
        for later in self.after[d]:
            self.waits[later] -= 1
            if not self.waits[later]:
                self._ready(later)

    def _room(self, kind: int) -> list[int]:
        """The free cores for a kind of task."""
        every = {CUBE: range(self.chip.cube_cores), VECTOR: range(self.chip.cube_cores, self.chip.cores),
                 MIXED: range(self.chip.clusters)}[kind]  # fmt: skip
        return [c for c in every if all(self.free[m] for m in core_grid.members(self.chip, kind, c))]

    def _hand_out(self) -> None:
        kept: deque[int] = deque()
        while self.queue:
            task = self.queue.popleft()
            launch, kind = self.tasks.launch(task), int(self.tasks.kind[task])
            room = self._room(kind)
            together = launch.sync_start and task == self.tasks.first[launch.index]
            begun = launch.sync_start and int(self.tasks.first[launch.index]) in self.core_of
            if not room or (together and len(room) < launch.blocks) or (launch.sync_start and not (together or begun)):
                kept.append(task)
                continue
            self.core_of[task] = room[0]
            for core in core_grid.members(self.chip, kind, room[0]):
                self.free[core], self.cores[core] = False, task
            self.now += self.chip.runtime.dispatch * self.chip.runtime.block
            heapq.heappush(self.events, (self.now + self._takes(task), task))
            self._note(f"{self.tasks.title(task)} starts")
        self.queue = kept

    def _takes(self, task: int) -> float:
        """Microseconds to the next barrier, or to the end."""
        launch = self.tasks.launch(task)
        grid = self.costs.phases.get(launch.index)
        if grid is None:
            return float(self.costs.total[task])
        return float(grid[min(self.phase[task], len(grid) - 1), int(self.tasks.block[task])])

    def _goes_on(self, task: int) -> None:
        launch = self.tasks.launch(task)
        if self.phase[task] < len(launch.barriers):
            come = self.at_barrier.setdefault(launch.index, set())
            come.add(task)
            self._note(f"{self.tasks.title(task)} comes to the barrier: {len(come)} of {self._needed(launch, task)}")
            if len(come) == self._needed(launch, task):
                self.at_barrier[launch.index] = set()
                self.now += self.chip.runtime.barrier
                for t in sorted(come):
                    self.phase[t] += 1
                    heapq.heappush(self.events, (self.now + self._takes(t), t))
                self._note("all have come: the barrier opens")
            return
        self.ended.add(task)
        for core in core_grid.members(self.chip, int(self.tasks.kind[task]), self.core_of[task]):
            self.free[core] = True
            del self.cores[core]
        self._note(f"{self.tasks.title(task)} ends")
        if all(t in self.ended for t in range(self.tasks.first[launch.index], self.tasks.first[launch.index + 1])):
            self._over(launch.index)

    def _needed(self, launch: Dispatch, task: int) -> int:
        """How many have to come to the barrier that a task is at: all blocks, and, of a hard one, all cores of its
        kind."""
        b = launch.barriers[self.phase[task]]
        return max(launch.blocks, self._physical(b.core_type) if b.mode == "hard" else 0)

    def _physical(self, core_type: str) -> int:
        kind = _KINDS.get(core_type, MIXED)
        return {VECTOR: self.chip.vector_cores, CUBE: self.chip.cube_cores, MIXED: self.chip.clusters}[kind]

    def _why(self) -> str:
        at = {d: come for d, come in self.at_barrier.items() if come}
        if not at:
            launch = self.tasks.launch(self.queue[0])
            kind = int(self.tasks.kind[self.queue[0]])
            return f"'{launch.name}' wants {many(launch.blocks, _CORES[kind])} at once, and there are not so many"
        d, come = next(iter(at.items()))
        launch, task = self.trace.dispatches[d], next(iter(come))
        kind = _KINDS.get(launch.barriers[self.phase[task]].core_type, MIXED)
        left = sum(t in self.queue for t in range(self.tasks.first[d], self.tasks.first[d + 1]))
        if left:
            return (
                f"deadlock: {many(len(come), 'block')} of '{launch.name}' hold all {many(len(come), _CORES[kind])} and "
                f"wait for {many(left, 'block')} that wait for a core"
            )
        missing = self._needed(launch, task) - len(come)
        return f"deadlock: the barrier waits for {many(missing, _CORES[kind])} that no block of '{launch.name}' has"

    def _note(self, said: str) -> None:
        waiting = frozenset(t for come in self.at_barrier.values() for t in come)
        self.out.moments.append(Moment(self.now, dict(self.cores), waiting, tuple(self.queue), len(self.ended), said))


def _picture(trace: Trace, met: Meeting, moment: Moment, shown: dict[str, str]) -> Figure:
    chip, tasks = met.chip, met.tasks
    stuck = moment.said == met.stuck
    with styled():
        high = 0.62 * -(-chip.clusters // core_grid.COLUMNS)
        fig = figure(1.3 + high, f"cores of {chip.name} at {time_text(moment.at)}: {moment.said}")
        left, right = fig.subplots(1, 2, width_ratios=(2.2, 1.0))
        doing = {
            core: Doing(shown[tasks.launch(task).name], str(tasks.block[task]), task in moment.waiting)
            for core, task in moment.cores.items()
        }
        core_grid.draw(left, chip, doing)
        right.set_axis_off()
        right.set_xlim(0, 1)
        right.set_ylim(8, 0)
        running = len(set(moment.cores.values()) - moment.waiting)
        lines = [(f"{time_text(moment.at)}", TEXT), (f"{running} running", TEXT),
                 (f"{len(moment.waiting)} at the barrier", TEXT), (f"{len(moment.left)} wait for a core", TEXT),
                 (f"{moment.ended} done", TEXT)]  # fmt: skip
        for y, (text, color) in enumerate(lines):
            right.text(0.02, 0.5 + y, text, fontsize=9, color=color, va="center")
        for y, name in enumerate(tasks.names):
            right.text(0.02, 6.0 + y, f"■ {name}", fontsize=8.5, color=shown[name], va="center")
        fig.suptitle(moment.said, x=0.01, ha="left", fontsize=9.5, color=LIMIT if stuck else TEXT)
        sign(fig, trace.label, f"on {chip.title}; hatched: at the barrier")
    return fig
