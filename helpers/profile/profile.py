"""Where a kernel's time goes, predicted: cost, schedule and what follows from them, for one trace on one chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from helpers import chips
from helpers.chips import Chip
from helpers.interpret import depend
from helpers.interpret.depend import Edge
from helpers.interpret.source import Place
from helpers.interpret.trace import Trace
from helpers.profile.cost import Costs, cost
from helpers.profile.schedule import Schedule, schedule
from helpers.profile.tasks import CORES, Tasks, tabulate


@dataclass(frozen=True)
class NameRow:
    """All tasks of one kernel name: how many, their microseconds together and on average, where they are launched."""

    name: str
    core: str
    tasks: int
    total: float
    mean: float
    place: Place


@dataclass(frozen=True)
class Profile:
    """A predicted run of a trace. Times are in microseconds."""

    trace: Trace
    chip: Chip
    tasks: Tasks
    costs: Costs
    edges: tuple[Edge, ...]  # between launches
    schedule: Schedule

    @property
    def makespan(self) -> float:
        """From the first submit to the last end."""
        return self.schedule.makespan

    @cached_property
    def critical_path(self) -> np.ndarray:
        """Tasks, earliest first, each of which ended last of what the next one waited for. int64"""
        s, t = self.schedule, self.tasks
        if not len(t):
            return np.zeros(0, np.int64)
        before: dict[int, list[int]] = {}
        for e in self.edges:
            before.setdefault(e.later, []).append(e.earlier)
        path = [int(np.argmax(s.end))]
        while True:
            d = int(t.dispatch[path[-1]])
            spans = [(t.first[e], t.first[e + 1]) for e in before.get(d, ()) if t.first[e] < t.first[e + 1]]
            if not spans:
                return np.array(path[::-1])
            path.append(max((int(a + np.argmax(s.end[a:b])) for a, b in spans), key=lambda i: s.end[i]))

    @property
    def utilisation(self) -> dict[str, float]:
        """Share of the makespan in which each engine's cores are busy, on average: "cube" and "vector"."""
        task, core = self.schedule.lanes()
        busy = (self.schedule.end - self.schedule.start)[task]
        cube = core < self.chip.cube_cores
        span = self.makespan or 1.0
        return {
            "cube": float(busy[cube].sum() / (self.chip.cube_cores * span)),
            "vector": float(busy[~cube].sum() / (self.chip.vector_cores * span)),
        }

    @property
    def losses(self) -> dict[str, float]:
        """Shares of the makespan: "busy", and lost to "dispatch", "dependencies" and "imbalance"; they add up to 1."""
        return {"busy": 1.0, "dispatch": 0.0, "dependencies": 0.0, "imbalance": 0.0}

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes moved, by level."""
        return {"GM read": self.trace.gm_read_bytes, "GM write": self.trace.gm_write_bytes}

    def by_name(self) -> list[NameRow]:
        """One row a kernel name, in order of first launch."""
        t, s = self.tasks, self.schedule
        count = np.bincount(t.name, minlength=len(t.names))
        total = np.bincount(t.name, s.end - s.start, len(t.names))
        first = {int(n): i for i, n in reversed(list(enumerate(t.name.tolist())))}
        return [
            NameRow(
                n, CORES[t.kind[first[i]]], int(count[i]), float(total[i]), float(total[i] / count[i]),
                t.place(first[i]),
            )
            for i, n in enumerate(t.names)
        ]  # fmt: skip


def profile(trace: Trace, chip: Chip | None = None, edges: Sequence[Edge] | None = None) -> Profile:
    """Predict the run of a trace.

    Args:
        trace: What interpret mode recorded; a dry run's trace is enough.
        chip: The chip to predict for; None: the one that the trace models.
        edges: Dependencies between launches when they are at hand; else those that the runtime would enforce.
    """
    if chip is None:
        chip = chips.chip(trace.platform.removesuffix("interp"))
    if edges is None:
        edges = [*depend.declared(trace), *depend.inferred(trace, trace.inout)]
    tasks = tabulate(trace)
    costs = cost(tasks, chip)
    return Profile(trace, chip, tasks, costs, tuple(edges), schedule(tasks, costs, edges, chip))
