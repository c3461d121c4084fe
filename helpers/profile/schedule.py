"""When each task runs, and on which core: list scheduling of the task graph on the chip's cores, predicted.

What is modelled, after simpler's runtime (tensormap_and_ringbuffer) and PyPTO's performance manual:

- One thread submits the launches in program order, each at a cost. It also fills what is created with an init_value
  (simpler, runtime/tensor_create_info.h), which takes it longer.
- A launch is ready when it is submitted and everything it depends on has ended and been seen to; its blocks then
  queue for cores of their kind, first come first served. A mixed task takes a cluster: a cube core and its two vector
  cores, and goes before the others.
- Some threads dispatch. One of them is busy for what dispatching and completing a task costs, and less for a further
  block of the same launch. It may do so while the core still runs the task before. Completing delays those who wait.
- A consumer all of whose producers allow early resolve is staged before they end, and starts at the ring of a bell.
- Blocks of a launch with barriers (`pl.system.syncall`) hold their cores from the first to the last phase.
- Tasks that need more than their share of global memory share what the others leave: when they ask for more than the
  chip gives, all of these slow down alike.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from helpers.chips import Chip
from helpers.errors import FaultError
from helpers.interpret.trace.edges import Edge, Edges
from helpers.profile.cost import Costs
from helpers.profile.task_table import CUBE, MIXED, VECTOR, Tasks

START, END, RELEASE = 0, 1, 2


@dataclass(frozen=True)
class Schedule:
    """When every task runs, in microseconds, and on which core. Arrays have one entry a task.

    `core` is a core's number as in `Chip`. A mixed task (see `Tasks.kind`) has the number of its cube core here and
    takes the two vector cores of the same cluster as well; `lanes` lists these too.
    """

    chip: Chip
    tasks: Tasks
    submitted: np.ndarray  # float64: its launch was submitted
    ready: np.ndarray  # float64: submitted, and all that it waits for has ended and been seen to
    given: np.ndarray  # float64: it got its core
    start: np.ndarray  # float64
    end: np.ndarray  # float64
    core: np.ndarray  # int32
    before: np.ndarray  # int32: the task that had the core before it, or -1

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

    Raises:
        FaultError: blocks that wait for each other are more than the chip has cores for.
    """
    run = _Run(tasks, costs, Edges.of(edges), chip)
    run.go()
    times = (np.array(x) for x in (run.submitted, run.ready, run.given, run.start, run.end))
    return Schedule(chip, tasks, *times, np.array(run.core, np.int32), np.array(run.before, np.int32))


def released(tasks: Tasks, edges: Edges, end: np.ndarray) -> np.ndarray:
    """When all that each launch waits for has ended, whether the runtime knew or not; float64 [launches].

    `end` has one entry a task. A launch without tasks, a join, passes on what it waits for.
    """
    ended = np.zeros(len(tasks.first) - 1)
    np.maximum.at(ended, tasks.dispatch, end)
    out = np.zeros(len(ended))
    joins = (np.diff(tasks.first) == 0)[edges.earlier]
    np.maximum.at(out, edges.later[~joins], ended[edges.earlier[~joins]])
    order = np.argsort(edges.later[joins], kind="stable")
    for earlier, later in zip(edges.earlier[joins][order].tolist(), edges.later[joins][order].tolist()):
        out[later] = max(out[later], out[earlier])
    return out


class _Cores:
    """Which cores are free. Heaps of numbers; what a heap gives may be stale, so `busy` decides.

    `mixed`: whether there are tasks that take a cluster.
    """

    def __init__(self, chip: Chip, mixed: bool):
        self.cubes, self.mixed = chip.cube_cores, mixed
        self.busy = [False] * chip.cores
        self.free = {
            CUBE: list(range(chip.cube_cores)),
            VECTOR: list(range(chip.cube_cores, chip.cores)),
            MIXED: list(range(chip.clusters)),
        }

    def members(self, kind: int, core: int) -> tuple[int, ...]:
        """The cores of a task of a kind that has `core`."""
        if kind != MIXED:
            return (core,)
        return core, self.cubes + 2 * core, self.cubes + 2 * core + 1

    def take(self, kind: int) -> int:
        """The free core of lowest number, or -1."""
        heap, busy = self.free[kind], self.busy
        while heap:
            core = heapq.heappop(heap)
            members = self.members(kind, core)
            if not busy[core] and (kind != MIXED or not any(busy[c] for c in members)):
                for c in members:
                    busy[c] = True
                return core
        return -1

    def give_back(self, kind: int, core: int) -> None:
        busy, cubes = self.busy, self.cubes
        for c in self.members(kind, core):
            busy[c] = False
            heapq.heappush(self.free[CUBE if c < cubes else VECTOR], c)
            if self.mixed:
                cluster = c if c < cubes else (c - cubes) // 2
                first = cubes + 2 * cluster
                if not (busy[cluster] or busy[first] or busy[first + 1]):
                    heapq.heappush(self.free[MIXED], cluster)


class _Run:
    """The state of one simulation."""

    def __init__(self, tasks: Tasks, costs: Costs, edges: Edges, chip: Chip):
        n, launches = len(tasks), tasks.trace.dispatches
        self.chip, self.tasks = chip, tasks
        self.count = len(launches)
        self.first, self.kind = tasks.first.tolist(), tasks.kind.tolist()
        self.launch = tasks.dispatch.tolist()
        self.duration = costs.total.tolist()
        # a task takes part in sharing when it needs more than all cores of the chip could have at once
        demand = np.divide(costs.hbm_bytes, costs.total * 1e3, out=np.zeros(n), where=costs.total > 1e-6)  # GB/s
        large = demand > chip.memory.shared / chip.cores
        self.demand = np.where(large, demand, 0.0).tolist()
        self.little = np.where(large, 0.0, demand).tolist()  # of the others, which get all that they ask for
        self.early = [d.early for d in launches]
        self.after: list[list[int]] = [[] for _ in launches]
        self.waits = [0] * self.count  # producers that are not seen to
        self.plain = [0] * self.count  # those of them that do not allow early resolve
        early = self.early
        for a, b in set(zip(edges.earlier.tolist(), edges.later.tolist())):
            self.after[a].append(b)
            self.waits[b] += 1
            self.plain[b] += not early[a]
        self.left = np.diff(tasks.first).tolist()
        self.gangs = {d: self._gang(d, g, costs) for d, g in costs.phases.items()}
        for d in launches:
            if d.sync_start and d.runs and d.index not in self.gangs:
                grid = costs.total[None, self.first[d.index] : self.first[d.index + 1]]
                self.gangs[d.index] = self._gang(d.index, np.concatenate([np.zeros_like(grid), grid]), costs)
        self.submitted, self.ready, self.given = [0.0] * n, [0.0] * n, [0.0] * n
        self.start, self.end, self.core, self.before = [0.0] * n, [0.0] * n, [0] * n, [-1] * n
        self.last = [-1] * chip.cores  # the task that had each core last
        self.staged = [False] * n
        self.cores = _Cores(chip, MIXED in self.kind)
        self.queues = {kind: deque() for kind in (MIXED, CUBE, VECTOR)}
        self.threads = [0.0] * chip.runtime.threads  # when each is free
        self.now = 0.0
        self.events: list[tuple[float, int, int]] = []  # (when, what, task or launch)
        self.sharing: list[tuple[float, int]] = []  # (work done by then, task)
        self.work = 0.0  # microseconds of work that each sharing task has done since the beginning
        self.wanted = 0.0  # GB/s that the sharing tasks ask for
        self.taken = 0.0  # GB/s that the others take
        self.rate = 1.0
        self.seen = 0  # launches submitted

    def _gang(self, d: int, grid: np.ndarray, costs: Costs) -> dict:
        """Blocks that wait for each other: their phases, and which have started."""
        a, b = self.first[d], self.first[d + 1]
        kind = self.kind[a]
        room = {CUBE: self.chip.cube_cores, VECTOR: self.chip.vector_cores, MIXED: self.chip.clusters}[kind]
        if b - a > room:
            raise FaultError(
                f"{self.tasks.place(a)}: {b - a} blocks of '{self.tasks.title(a)}' wait for each other, and "
                f"{self.chip.title} has {room} cores for them: it never completes. Launch at most {room} blocks"
            )
        span = float(grid.max(1).sum())
        slow = float(costs.hbm_bytes[a:b].sum()) / (self.chip.memory.shared * 1e3)
        return {"grid": grid * max(1.0, slow / span if span else 1.0), "started": 0}

    # ---- the clock ---------------------------------------------------------------------------------------

    def go(self) -> None:
        submit, never = [*self._submits(), np.inf], np.inf
        events, sharing, what_happens = self.events, self.sharing, (self._begin, self._finish, self._release)
        queues = tuple(self.queues.values())
        while self.seen < self.count or events or sharing:
            when = submit[self.seen]
            own = events[0][0] if events else never
            shared = self.now + (sharing[0][0] - self.work) / self.rate if sharing else never
            if shared <= own and shared <= when:
                self._advance(shared)
                _, t = heapq.heappop(sharing)
                self._share(-self.demand[t] if sharing else -self.wanted)
                self._finish(t)
            elif own <= when:
                self._advance(own)
                _, what, x = heapq.heappop(events)
                what_happens[what](x)
            else:
                self._advance(when)
                self._submit()
            if any(queues):
                self._dispatch()

    def _submits(self) -> list[float]:
        """When each launch is submitted."""
        runtime, before = self.chip.runtime, np.zeros(self.count + 1)
        for buffer in self.tasks.trace.buffers:
            if buffer.initialised:
                before[min(buffer.since, self.count)] += buffer.bytes / (runtime.fill * 1e3)
        return (np.arange(1, self.count + 1) * runtime.submit + np.cumsum(before)[: self.count]).tolist()

    def _advance(self, now: float) -> None:
        if self.sharing:
            self.work += (now - self.now) * self.rate
        if now > self.now:
            self.now = now

    def _share(self, change: float) -> None:
        self.wanted += change
        left = self.chip.memory.shared - self.taken
        self.rate = min(1.0, left / self.wanted) if self.wanted > 1e-9 else 1.0

    def _take(self, change: float) -> None:
        """A task that does not share takes some of the memory's rate, or gives it back."""
        self.taken = max(0.0, self.taken + change)
        if self.sharing:
            self._share(0.0)

    # ---- what happens ------------------------------------------------------------------------------------

    def _submit(self) -> None:
        d = self.seen
        self.seen += 1
        first, end = self.first[d], self.first[d + 1]
        self.submitted[first:end] = [self.now] * (end - first)
        if not self.waits[d]:
            self._queue(d, False)

    def _queue(self, d: int, staged: bool) -> None:
        """A launch is ready."""
        if not self.left[d]:
            self._release(d)
        first, end = self.first[d], self.first[d + 1]
        self.ready[first:end] = [self.now] * (end - first)
        self.staged[first:end] = [staged] * (end - first)
        if first < end:
            self.queues[self.kind[first]].extend(range(first, end))

    def _release(self, d: int) -> None:
        """What waits for a launch is told that it has ended. (What was staged has been told before.)"""
        pending = [d]
        while pending:
            d = pending.pop()
            for later in self.after[d]:
                self.waits[later] -= 1
                self.plain[later] -= not self.early[d]
                if not self.waits[later] and later < self.seen:
                    if self.left[later]:
                        self._queue(later, False)
                    else:
                        pending.append(later)
            self.after[d] = []

    def _ring(self, d: int) -> None:
        """The consumers of a launch that allows early resolve, which are staged when all their producers do."""
        kept = []
        for later in self.after[d]:
            if self.plain[later] or later >= self.seen or not self.left[later]:
                kept.append(later)
                continue
            self.waits[later] -= 1
            if not self.waits[later]:
                self._queue(later, True)
        self.after[d] = kept

    def _dispatch(self) -> None:
        """Give free cores to tasks that are ready."""
        for kind, queue in self.queues.items():
            while queue and (core := self.cores.take(kind)) >= 0:
                self._give(queue.popleft(), core)

    def _give(self, t: int, core: int) -> None:
        runtime, now = self.chip.runtime, self.now
        share = 1.0 if t == self.first[self.launch[t]] else runtime.block
        dispatch = runtime.dispatch * share
        begun = max(self.threads[0], self.ready[t], now - dispatch)
        heapq.heapreplace(self.threads, begun + (runtime.dispatch + runtime.complete) * share)
        self.core[t], self.given[t] = core, now
        last, before = self.last, -1
        for c in self.cores.members(self.kind[t], core):
            if last[c] >= 0 and (before < 0 or self.end[last[c]] > self.end[before]):
                before = last[c]
            last[c] = t
        self.before[t] = before
        if self.staged[t] and now == self.ready[t]:
            start = now + runtime.doorbell
        else:
            start = max(now, begun + dispatch) + runtime.pickup
        heapq.heappush(self.events, (start, START, t))

    def _begin(self, t: int) -> None:
        self.start[t] = self.now
        gang = self.gangs.get(self.launch[t])
        if gang is not None:
            gang["started"] += 1
            if gang["started"] == gang["grid"].shape[1]:
                self._meet(self.launch[t], gang["grid"])
        elif self.demand[t]:
            self._share(self.demand[t])
            heapq.heappush(self.sharing, (self.work + self.duration[t], t))
        else:
            if self.little[t]:
                self._take(self.little[t])
            heapq.heappush(self.events, (self.now + self.duration[t], END, t))

    def _meet(self, d: int, grid: np.ndarray) -> None:
        """All blocks that wait for each other have started: when each of them ends."""
        at = np.array(self.start[self.first[d] : self.first[d + 1]])
        for phase in grid[:-1]:
            at = np.full_like(at, (at + phase).max() + self.chip.runtime.barrier)
        for t, end in zip(range(self.first[d], self.first[d + 1]), (at + grid[-1]).tolist()):
            heapq.heappush(self.events, (end, END, t))

    def _finish(self, t: int) -> None:
        self.end[t] = self.now
        if self.little[t] and self.launch[t] not in self.gangs:
            self._take(-self.little[t])
        self.cores.give_back(self.kind[t], self.core[t])
        d = self.launch[t]
        self.left[d] -= 1
        if self.left[d]:
            return
        self.left[d] = 1  # so that a launch with tasks is told from one without
        if self.early[d]:
            self._ring(d)
        heapq.heappush(self.events, (self.now + self.chip.runtime.complete, RELEASE, d))
