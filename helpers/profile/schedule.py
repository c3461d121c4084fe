"""When each task runs, and on which core: list scheduling of the task graph on the chip's cores, predicted.

Launches are submitted one after the other, in program order; a task is ready when it is submitted and everything
that its launch depends on has ended; a ready task starts on the first free core of its kind. A mixed task takes a
whole cluster: its cube core and both vector cores.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from helpers.chips import Chip
from helpers.interpret.depend import Edge
from helpers.profile.cost import Costs
from helpers.profile.tasks import CUBE, MIXED, VECTOR, Tasks


@dataclass(frozen=True)
class Schedule:
    """Start and end of every task in microseconds, and the core it runs on.

    `core` is a core's number as in `Chip`. A mixed task (see `Tasks.kind`) has the number of its cube core here and
    takes the two vector cores of the same cluster as well; `lanes` lists these too.
    """

    chip: Chip
    tasks: Tasks
    ready: np.ndarray  # float64 [tasks]: submitted, and all that it waits for has ended
    start: np.ndarray  # float64 [tasks]
    end: np.ndarray  # float64 [tasks]
    core: np.ndarray  # int32 [tasks]

    @property
    def makespan(self) -> float:
        """Microseconds from the first submit to the last end."""
        return float(self.end.max(initial=0.0))

    def lanes(self) -> tuple[np.ndarray, np.ndarray]:
        """(task, core) of every bar of a swimlane: one for a cube or vector task, three for a mixed one."""
        task = np.arange(len(self.core))
        mixed = task[self.tasks.kind == MIXED]
        vector = self.chip.cube_cores + 2 * self.core[mixed]
        return np.concatenate([task, mixed, mixed]), np.concatenate([self.core, vector, vector + 1])


def schedule(tasks: Tasks, costs: Costs, edges: Iterable[Edge], chip: Chip) -> Schedule:
    """Run the tasks on the chip's cores.

    Args:
        edges: Dependencies between launches, from the earlier to the later.
    """
    n, launches = len(tasks), len(tasks.trace.dispatches)
    after: list[list[int]] = [[] for _ in range(launches)]
    waits = [0] * launches
    for e in edges:
        after[e.earlier].append(e.later)
        waits[e.later] += 1
    left = np.diff(tasks.first).tolist()
    first, kind, duration = tasks.first.tolist(), tasks.kind.tolist(), costs.total.tolist()
    ready_at, start, end, core = [0.0] * n, [0.0] * n, [0.0] * n, [0] * n
    free_cube, free_vector = list(range(chip.cube_cores)), list(range(chip.cube_cores, chip.cores))
    queues: tuple[deque, deque, deque] = (deque(), deque(), deque())
    events: list[tuple[float, int, int]] = []  # (when, task or -1, launch)
    now, submitted = 0.0, 0

    def finish(d: int) -> None:
        stack = [d]
        while stack:
            for later in after[stack.pop()]:
                waits[later] -= 1
                if not waits[later] and later < submitted:
                    release(later)
                    if not left[later]:
                        stack.append(later)

    def release(d: int) -> None:
        for t in range(first[d], first[d + 1]):
            ready_at[t] = now
            queues[kind[t]].append(t)

    def begin(t: int, c: int) -> None:
        core[t], start[t] = c, now + chip.dispatch_us
        end[t] = start[t] + duration[t]
        heapq.heappush(events, (end[t], t, -1))

    while submitted < launches or events:
        submit = submitted * chip.submit_us if submitted < launches else np.inf
        if events and events[0][0] <= submit:
            now, t, _ = heapq.heappop(events)
            c = core[t]
            if kind[t] == VECTOR:
                heapq.heappush(free_vector, c)
            else:
                heapq.heappush(free_cube, c)
                if kind[t] == MIXED:
                    heapq.heappush(free_vector, chip.cube_cores + 2 * c)
                    heapq.heappush(free_vector, chip.cube_cores + 2 * c + 1)
            d = int(tasks.dispatch[t])
            left[d] -= 1
            if not left[d]:
                finish(d)
        else:
            now, d = submit, submitted
            submitted += 1
            if not waits[d]:
                release(d)
                if not left[d]:
                    finish(d)
        while queues[MIXED]:
            c = next((c for c in free_cube if _pair(c, chip) <= set(free_vector)), None)
            if c is None:
                break
            free_cube.remove(c)
            for v in _pair(c, chip):
                free_vector.remove(v)
            heapq.heapify(free_cube)
            heapq.heapify(free_vector)
            begin(queues[MIXED].popleft(), c)
        while queues[CUBE] and free_cube:
            begin(queues[CUBE].popleft(), heapq.heappop(free_cube))
        while queues[VECTOR] and free_vector:
            begin(queues[VECTOR].popleft(), heapq.heappop(free_vector))
    return Schedule(chip, tasks, *(np.array(x) for x in (ready_at, start, end)), np.array(core, np.int32))


def _pair(c: int, chip: Chip) -> set[int]:
    return {chip.cube_cores + 2 * c, chip.cube_cores + 2 * c + 1}
