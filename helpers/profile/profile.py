"""Where a kernel's time goes, predicted: cost, schedule and what follows from them, for one trace on one chip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from helpers import chips
from helpers.chips import Chip
from helpers.errors import InputError
from helpers.interpret.source.source import Place
from helpers.interpret.trace import depend
from helpers.interpret.trace.compilers import TODAY, Compiler
from helpers.interpret.trace.edges import Edge, Edges
from helpers.interpret.trace.trace import Chunk, Trace
from helpers.profile.core_schedule import CoreRun, run
from helpers.profile.cost import Costs, Reads, cost
from helpers.profile.measured import durations, measured
from helpers.profile.pipe_times import CUBE_PIPES, PIPES
from helpers.profile.schedule import Schedule, released, schedule
from helpers.profile.task_table import CORES, CUBE, MIXED, VECTOR, Tasks, tabulate


@dataclass(frozen=True)
class NameRow:
    """All tasks of one kernel name: how many, their microseconds together and on average, where they are launched.

    `bound`: the pipe that is busy longest in them, one of `helpers.profile.pipe_times.PIPES`. `busy`: the share of
    their time that each of these is busy, those of the cores that they have.
    """

    name: str
    core: str
    tasks: int
    total: float
    mean: float
    bound: str
    place: Place
    busy: dict[str, float]


@dataclass(frozen=True)
class PathStep:
    """One task of the critical path.

    `waited` microseconds passed from the end of the step before (or from the first submit) to its start, because of
    `cause`: "dependency" on that step, "core" that the step before had, or "submit".
    """

    task: int
    name: str
    place: Place
    start: float
    end: float
    waited: float
    cause: str


@dataclass(frozen=True)
class Profile:
    """A run of a trace: predicted, or, where the trace records a real run, as it was. Times are in microseconds."""

    trace: Trace
    chip: Chip
    tasks: Tasks
    costs: Costs
    edges: Edges  # between launches
    schedule: Schedule
    compiler: Compiler = TODAY

    @property
    def kind(self) -> str:
        """What its times are, for labels: "predicted" ("predicted, partial" where work may be missing), "measured", or
        "simulator (host)"."""
        if self.trace.recorded is None:
            return "predicted, partial" if self.trace.partial else "predicted"
        return "simulator (host)" if self.trace.platform.endswith("sim") else "measured"

    @property
    def basis(self) -> str:
        """Where its times come from, for signatures."""
        if self.trace.recorded is None:
            return f"predicted by {self.chip.model}"
        if self.trace.platform.endswith("sim"):
            return "times of the machine that the simulator ran on, not of the chip"
        return "measured by PyPTO's runtime"

    @property
    def within(self) -> str:
        """How far its times may be off: " ±12 %"; "" for a real run."""
        return self.chip.within if self.trace.recorded is None else ""

    @property
    def makespan(self) -> float:
        """From the first submit to the last end."""
        return self.schedule.makespan

    @property
    def mean_task(self) -> float:
        """Microseconds that a task runs, on average."""
        return float((self.schedule.end - self.schedule.start).mean()) if len(self.tasks) else 0.0

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return self.edges.pairs()

    def producers(self, launch: int) -> list[int]:
        """The launches that one waits for."""
        earlier, later = self._pairs
        a, b = np.searchsorted(later, (launch, launch + 1))
        return earlier[a:b].tolist()

    @cached_property
    def path(self) -> tuple[PathStep, ...]:
        """The critical path, earliest first: what the last task to end waited for, and so on back to a submit."""
        s, t = self.schedule, self.tasks
        if not len(t):
            return ()
        steps: list[PathStep] = []
        task = int(np.argmax(s.end))
        while True:
            before, cause = self._waited_for(task)
            waited = float(s.start[task] - (s.end[before] if before >= 0 else 0.0))
            name, place = t.title(task), t.place(task)
            steps.append(PathStep(task, name, place, float(s.start[task]), float(s.end[task]), waited, cause))
            if before < 0:
                return tuple(reversed(steps))
            task = before

    def _waited_for(self, task: int) -> tuple[int, str]:
        s, t = self.schedule, self.tasks
        if s.given[task] > s.ready[task] and s.before[task] >= 0:
            return int(s.before[task]), "core"
        last, todo, seen = -1, self.producers(int(t.dispatch[task])), set()
        while todo:  # a launch without tasks, a join, stands for those that it waits for
            d = todo.pop()
            if d in seen:
                continue
            seen.add(d)
            a, b = t.first[d], t.first[d + 1]
            if a == b:
                todo += self.producers(d)
                continue
            end = int(a + np.argmax(s.end[a:b]))
            if last < 0 or s.end[end] > s.end[last]:
                last = end
        if last >= 0 and s.end[last] >= s.submitted[task] - self.chip.runtime.complete:
            return last, "dependency"
        return -1, "submit"

    @property
    def critical_path(self) -> np.ndarray:
        """The tasks of `path`, int64."""
        return np.array([p.task for p in self.path], np.int64)

    @property
    def utilisation(self) -> dict[str, float]:
        """Share of the makespan in which each engine's cores run a task, on average: "cube" and "vector"."""
        return {engine: losses["busy"] for engine, losses in self.losses_by_engine.items()}

    @property
    def losses(self) -> dict[str, float]:
        """What the makespan goes to, as shares that add up to 1: `losses_by_engine` of the busier engine."""
        return max(self.losses_by_engine.values(), key=lambda shares: shares["busy"])

    @cached_property
    def losses_by_engine(self) -> dict[str, dict[str, float]]:
        """For "cube" and "vector" what their cores do, as shares of cores x makespan that add up to 1.

        "busy": a task runs. Else a core is idle: "dispatch": while a task of its kind has all that it waits for (it
        is not submitted yet, or not dispatched yet); "dependencies": while tasks of its kind still wait for others;
        "imbalance": none is left to start. After simpler's scheduler-overhead model (docs/dfx/sched-overhead-model.md)
        but for imbalance, which that does not tell from dependencies.
        """
        out = {}
        for engine, cores, other in (("cube", self.chip.cube_cores, VECTOR), ("vector", self.chip.vector_cores, CUBE)):
            mine = self.tasks.kind != other
            out[engine] = self._losses(np.nonzero(mine)[0], cores, 2 if engine == "vector" else 1)
        return out

    def _losses(self, mine: np.ndarray, cores: int, of_mixed: int) -> dict[str, float]:
        s = self.schedule
        span = s.makespan
        if not len(mine) or not span:
            return {"busy": 0.0, "dispatch": 0.0, "dependencies": 0.0, "imbalance": 1.0}
        width = np.where(self.tasks.kind[mine] == MIXED, of_mixed, 1)
        ready = released(self.tasks, self.edges, s.end)[self.tasks.dispatch[mine]]
        start, end = s.start[mine], s.end[mine]
        ready = np.minimum(ready, start)
        times = np.concatenate([ready, start, end, [0.0, span]])
        running = np.concatenate([np.zeros(len(mine)), width, -width, [0, 0]])
        waiting = np.concatenate([width, -width, np.zeros(len(mine)), [0, 0]])
        unready = np.concatenate([-np.ones(len(mine)), np.zeros(2 * len(mine)), [len(mine), 0]])
        order = np.argsort(times, kind="stable")
        steps = np.diff(times[order])
        busy, wait, later = (np.cumsum(x[order])[:-1] for x in (running, waiting, unready))
        idle = np.maximum(cores - busy, 0)
        blocked = np.minimum(idle, np.maximum(wait, 0))
        rest = idle - blocked
        whole = cores * span
        return {
            "busy": float((busy * steps).sum() / whole),
            "dispatch": float((blocked * steps).sum() / whole),
            "dependencies": float((rest * steps)[later > 0].sum() / whole),
            "imbalance": float((rest * steps)[later <= 0].sum() / whole),
        }

    def core(self, task: int) -> tuple[CoreRun, ...]:
        """A task's instructions on the pipes of its core: one `CoreRun`, or one for each phase between barriers."""
        launch, block = self.tasks.launch(task), int(self.tasks.block[task])
        halves = launch.split != "NONE" and self.tasks.kind[task] == MIXED
        found = []
        for p in launch.parts:
            blocks = p.chunk.blocks if p.row is None else p.chunk.blocks[p.row : p.row + 1]
            if p.chunk.program is not None and block in blocks:
                found.append(p.chunk)
        return tuple(self._run(chunk, halves) for chunk in sorted(found, key=lambda c: c.phase))

    def _run(self, chunk: Chunk, halves: bool) -> CoreRun:
        shares = self._reads.shares(chunk)
        key = id(chunk.program), halves, shares
        known = self._runs.get(key)
        if known is None:
            known = self._runs[key] = run(chunk.program, self.chip, halves, self.compiler, dict(shares))
        return known

    @cached_property
    def _reads(self) -> Reads:
        return Reads(self.trace, self.chip)

    @cached_property
    def _runs(self) -> dict[tuple, CoreRun]:
        """What has been scheduled on a core."""
        return {}

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes moved, by level: see `helpers.profile.cost.LEVELS`. "HBM" is an estimate."""
        return {level: round(n) for level, n in self.costs.levels.items()}

    def by_name(self) -> list[NameRow]:
        """One row a kernel name, in order of first launch."""
        t, s = self.tasks, self.schedule
        if not len(t):
            return []
        count = np.bincount(t.name, minlength=len(t.names))
        total = np.bincount(t.name, s.end - s.start, len(t.names))
        _, first = np.unique(t.name, return_index=True)
        spent = np.array([np.bincount(t.name, busy, len(t.names)) for busy in self.costs.busy.T])
        alone = np.bincount(t.name, self.costs.total, len(t.names))
        rows = []
        for i, n in enumerate(t.names):
            kind = CORES[t.kind[first[i]]]
            of = [p for p, name in enumerate(PIPES) if kind == "mixed" or (p < len(CUBE_PIPES)) == (kind == "cube")]
            busy = {PIPES[p]: float(spent[p, i] / alone[i]) if alone[i] else 0.0 for p in of}
            bound = PIPES[int(spent[:, i].argmax())] if spent[:, i].any() else "unknown"
            rows.append(
                NameRow(
                    n, kind, int(count[i]), float(total[i]), float(total[i] / count[i]), bound, t.place(first[i]), busy
                )
            )
        return rows


def profile(
    trace: Trace, chip: Chip | None = None, edges: Iterable[Edge] | None = None, compiler: Compiler = TODAY
) -> Profile:
    """Predict the run of a trace; of a real run's trace: read off how it went.

    Args:
        trace: What interpret mode recorded; a dry run's trace is enough. Or the record of a real run.
        chip: The chip to predict for; None: the one that the trace models.
        edges: Dependencies between launches when they are at hand; else those that the runtime would enforce.
        compiler: PyPTO's compiler of another day.

    Raises:
        FaultError: blocks that wait for each other at a barrier are more than the chip has cores for.
        InputError: a trace of PyPTO's that has no times.
    """
    if chip is None:
        chip = chips.chip(trace.platform.removesuffix("interp").removesuffix("sim"))
    edges = depend.stated(trace, compiler) if edges is None else Edges.of(edges)
    tasks = tabulate(trace)
    if not trace.platform.endswith("interp"):
        spans = trace.recorded and trace.recorded.spans
        if spans is None:
            raise InputError(f"{trace.platform}: the runtime recorded no times of this run")
        return Profile(trace, chip, tasks, durations(spans), edges, measured(tasks, spans, edges, chip))
    costs = cost(tasks, chip, compiler)
    return Profile(trace, chip, tasks, costs, edges, schedule(tasks, costs, edges, chip), compiler)
