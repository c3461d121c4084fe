"""What would help a kernel most: the model run again with one thing changed, for each of the things that can be.

A lever is such a change at one line of the kernel. Its gain is the predicted time without it less that with it; nothing
else differs. What is changed is the record of the run, not the kernel's text, so a lever says what the change is worth,
not that it is easy to make: tiles and stages must fit the chip's buffers, which is looked at, and results must stay
right, which is not. For a version of a stage there are levers that change its text as well: another value of a constant
that the stage offers, with the kernel followed again.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from helpers.errors import WorkbookError
from helpers.interpret.language.decorated import unwrap
from helpers.interpret.source.source import Place
from helpers.interpret.trace import depend
from helpers.interpret.trace.edges import Edges
from helpers.interpret.trace.program import Held, Instruction, Program
from helpers.profile.cost import Costs, cost
from helpers.profile.profile import Profile, profile
from helpers.profile.schedule import schedule
from helpers.profile.task_table import MIXED, Tasks
from helpers.stages import Stage
from helpers.tuning import attempt, constants

SHOWN = 5
LEAST = 0.01  # of the time: a lever that gains less is not one
NAMES = 4  # kernel names that are looked at, those that take the most time


@dataclass(frozen=True)
class Lever:
    """One change, and the microseconds that the whole run gains by it, predicted."""

    what: str
    place: Place
    gain: float
    of: float

    def __str__(self) -> str:
        return f"{self.what} ({self.place}): {self.gain:,.1f} µs less, {100 * self.gain / self.of:.0f} %"


def levers(p: Profile, most: int = SHOWN) -> list[Lever]:
    """The changes that gain most, the best first; [] for a real run, whose times are not the model's."""
    if p.trace.recorded is not None or not len(p.tasks):
        return []
    found = []
    for what, place, again in _changes(p):
        us = again()
        if us is not None and p.makespan - us > LEAST * p.makespan:
            found.append(Lever(what, place, p.makespan - us, p.makespan))
    return sorted(found, key=lambda lever: -lever.gain)[:most]


def all_levers(p: Profile, stage: Stage | None = None, version: str = "", batch: int | None = None) -> list[Lever]:
    """At most `levers.SHOWN` changes that gain most: of the record of the run, and, of a stage's version, of its tiles.

    Args:
        batch: Sequences of the run that `p` predicts; None: the stage's own.
    """
    found = levers(p)
    if stage is not None:
        found += tile_levers(p, stage, version, batch)
    return sorted(found, key=lambda lever: -lever.gain)[:SHOWN]


def tile_levers(p: Profile, stage: Stage, version: str, batch: int | None = None) -> list[Lever]:
    """The values that the stage offers for its constants (`Stage.tiles`), each alone. What does not fit the chip, or
    what the language refuses, is no lever."""
    found = []
    kernel = stage.versions[version]
    for knob in stage.tiles.get(version, ()):
        (now,) = constants(kernel, (knob.name,)).values()
        best = None
        for value in knob.values:
            if value == now:
                continue
            batched = stage.batch if batch is None else batch
            trace = attempt(stage, version, chip=p.chip.name, batch=batched, **{knob.name: value})
            if isinstance(trace, WorkbookError) or trace.partial:
                continue
            us = profile(trace, p.chip, compiler=p.compiler).makespan
            if best is None or us < best[0]:
                best = us, value
        if best is not None and p.makespan - best[0] > LEAST * p.makespan:
            what = f"{knob.name} {best[1]} in place of {now}"
            found.append(Lever(what, _place(kernel, knob.name), p.makespan - best[0], p.makespan))
    return found


def _place(kernel: object, name: str) -> Place:
    """Where a constant gets its value."""
    part, _, constant = name.rpartition(".")
    module = sys.modules[f"kernels.{part}" if part else unwrap(kernel)[0].__module__]
    with open(module.__file__, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if re.match(rf"{constant}\b.*=", line):
                return Place(module.__file__, number, 1)
    return Place(module.__file__, 1, 1)


Change = tuple[str, Place, Callable[[], "float | None"]]


def _changes(p: Profile) -> Iterator[Change]:
    yield from _dependencies(p)
    rows = sorted(p.by_name(), key=lambda r: -r.total)[:NAMES]
    for row in rows:
        mine = np.flatnonzero(p.tasks.name == p.tasks.names.index(row.name))
        launches = p.tasks.dispatch[mine]
        cores = {"cube": p.chip.cube_cores, "vector": p.chip.vector_cores, "mixed": p.chip.clusters}[row.core]
        width = int(np.bincount(launches).max())
        if len(mine) > 2 * cores and row.mean < 50:
            whole = len(mine) // len(np.unique(launches)) >= 2 * cores
            how = "blocks that stride over all cores" if whole else "tasks of one launch that take turns on all cores"
            yield f"{row.name}: {how}", row.place, lambda m=mine, c=cores: _strided(p, m, c)
        elif width <= cores // 2 and row.mean > 5:
            yield f"{row.name}: tasks cut in two", row.place, lambda m=mine: _split(p, m)
        programs = _programs(p, row.name)
        for line, edit, said in _edits(p, programs):
            yield f"{row.name}: {said}", line, lambda e=edit, s=programs: _edited(p, s, e)
    if p.chip.ring == "GM" and p.costs.levels.get("C2V", 0.0) + p.costs.levels.get("V2C", 0.0):
        first = int(np.argmax(p.tasks.kind == MIXED))
        yield (
            "the ring between cube and vector cores on chip, as on A5", p.tasks.place(first),
            lambda: _scheduled(p, cost(p.tasks, replace(p.chip, ring="chip"), p.compiler)),
        )  # fmt: skip


def _scheduled(p: Profile, costs: Costs, edges: Edges | None = None, tasks: Tasks | None = None) -> float:
    return schedule(tasks or p.tasks, costs, p.edges if edges is None else edges, p.chip).makespan


# ---- dependencies that no element needs ------------------------------------------------------------------------------


def _dependencies(p: Profile) -> Iterator[Change]:
    """Those on the critical path that the runtime infers and no element needs, by the two lines that they join."""
    held = Counter()
    path = p.path
    for before, step in pairwise(path):
        if step.cause == "dependency":
            held[id(before.place), id(step.place)] += step.end - step.start
    if not held:
        return
    earlier, later = p.edges.earlier, p.edges.later
    places = [id(d.place) for d in p.trace.dispatches]
    inferred = np.array([e.why != "deps" for e in p.edges]) if len(p.edges) < _MANY else None
    if inferred is None or not inferred.any():
        return
    needed = {(e.earlier, e.later) for e in depend.required(p.trace)}
    free = inferred & np.array([(a, b) not in needed for a, b in zip(earlier.tolist(), later.tolist())])
    for (a, b), _ in held.most_common(NAMES):
        joined = zip(earlier.tolist(), later.tolist())
        mine = free & np.array([places[x] == a and places[y] == b for x, y in joined])
        if not mine.any():
            continue
        one = p.trace.dispatches[int(earlier[mine][0])]
        other = p.trace.dispatches[int(later[mine][0])]
        said = f"{other.name} without its wait for {one.name}, of which it needs nothing"
        if one.name == other.name:
            said = f"{one.name} without the wait of each for the one before, of which it needs nothing"
        yield said, other.place, lambda m=mine: _scheduled(p, p.costs, _without(p.edges, m))


_MANY = 200_000  # dependencies: with more, which of them are needed is not looked at


def _without(edges: Edges, mine: np.ndarray) -> Edges:
    return Edges(edges.earlier[~mine], edges.later[~mine], edges.why[~mine], edges.buffer[~mine])


# ---- launches cut otherwise ------------------------------------------------------------------------------------------


def _strided(p: Profile, mine: np.ndarray, cores: int) -> float | None:
    """The tasks of a name, of each launch as many as there are cores, each doing several one after the other."""
    launches = np.unique(p.tasks.dispatch[mine])
    if set(launches.tolist()) & set(p.costs.phases):
        return None
    if len(launches) > 1 and len(mine) == len(launches):
        return None  # of one block each: they would have to become one launch
    parts = []
    for d in range(len(p.tasks.first) - 1):
        a, b = int(p.tasks.first[d]), int(p.tasks.first[d + 1])
        groups = np.arange(b - a)
        parts.append(groups % cores if d in launches and b - a > cores else groups)
    return _regrouped(p, parts, p.chip.runtime.task)


def _regrouped(p: Profile, parts: list[np.ndarray], saved: float) -> float:
    """Tasks put together, of each launch those of the same number; each but the first of them saves microseconds."""
    counts = np.array([int(g.max(initial=-1)) + 1 for g in parts], np.int64)
    first = np.concatenate([[0], np.cumsum(counts)])
    at = np.concatenate([first[d] + g for d, g in enumerate(parts)]).astype(np.int64)
    n = int(first[-1])
    together = np.bincount(at, minlength=n)
    dispatch = np.repeat(np.arange(len(parts), dtype=np.int32), counts)
    source = np.zeros(n, np.int64)
    source[at] = np.arange(len(at))
    tasks = Tasks(
        p.tasks.trace, dispatch, (np.arange(n) - first[dispatch]).astype(np.int32), p.tasks.name[source],
        p.tasks.kind[source], first, p.tasks.names,
    )  # fmt: skip

    def added(x: np.ndarray) -> np.ndarray:
        return np.bincount(at, x, n)

    c = p.costs
    total = added(c.total) - saved * (together - 1)
    costs = replace(
        c, busy=np.stack([added(b) for b in c.busy.T], 1), total=total, read_bytes=added(c.read_bytes),
        write_bytes=added(c.write_bytes), hbm_bytes=added(c.hbm_bytes), ends=np.stack([added(e) for e in c.ends.T], 1),
    )  # fmt: skip
    return _scheduled(p, costs, tasks=tasks)


def _split(p: Profile, mine: np.ndarray) -> float | None:
    """Twice as many tasks of a name, each with half of the work."""
    launches = set(p.tasks.dispatch[mine].tolist())
    if launches & set(p.costs.phases) or any(p.trace.dispatches[d].sync_start for d in launches):
        return None
    mask = np.zeros(len(p.tasks), bool)
    mask[mine] = True
    source = np.repeat(np.arange(len(p.tasks)), np.where(mask, 2, 1))
    counts = np.bincount(p.tasks.dispatch[source], minlength=len(p.tasks.first) - 1)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    dispatch = p.tasks.dispatch[source]
    tasks = Tasks(
        p.tasks.trace, dispatch, (np.arange(len(source)) - first[dispatch]).astype(np.int32), p.tasks.name[source],
        p.tasks.kind[source], first, p.tasks.names,
    )  # fmt: skip
    share = np.where(mask, 0.5, 1.0)[source]
    c, enter = p.costs, p.chip.runtime.task
    costs = replace(
        c, busy=c.busy[source] * share[:, None],
        total=np.where(share < 1, enter + (c.total[source] - enter) * share, c.total[source]),
        read_bytes=c.read_bytes[source] * share, write_bytes=c.write_bytes[source] * share,
        hbm_bytes=c.hbm_bytes[source] * share, ends=c.ends[source] * share[:, None],
    )  # fmt: skip
    return _scheduled(p, costs, tasks=tasks)


# ---- what a task does, otherwise -------------------------------------------------------------------------------------

Edit = Callable[[Program], Program]


def _programs(p: Profile, name: str) -> list[Program]:
    """The programs of a name's tasks, those that are most often run first."""
    count: Counter[int] = Counter()
    known: dict[int, Program] = {}
    for d in p.trace.dispatches:
        if d.runs and d.name == name:
            for part in d.parts:
                if part.chunk.program is not None:
                    known[id(part.chunk.program)] = part.chunk.program
                    count[id(part.chunk.program)] += len(part)
    return [known[k] for k, _ in count.most_common()]


def _edits(p: Profile, programs: list[Program]) -> Iterator[tuple[Place, Edit, str]]:
    """What can be changed of a task: (line, how, what it is called)."""
    if not programs:
        return
    one = programs[0]
    limits, line = p.chip.buffers, p.chip.memory.line
    taken: Counter[str] = Counter()
    slots: dict[tuple[str, int], int] = {}
    for t in one.tiles:
        if t.slot >= 0:
            slots[t.space, t.slot] = max(slots.get((t.space, t.slot), 0), t.bytes)
    for (space, _), nbytes in slots.items():
        taken[space] += nbytes
    seen: set[int] = set()
    often = Counter(id(i.place) for i in one.instructions if i.step.engine == "load" and i.writes)
    for i in one.instructions:
        if i.step.engine not in ("load", "store") or i.place is None or id(i.place) in seen:
            continue
        seen.add(id(i.place))
        rows, nbytes = i.step.size
        if 1 < rows and nbytes < line and i.step.kind != "scalar":
            yield i.place, _wider(i.place, line), f"rows of {line} bytes, {nbytes} now"
        if i.step.engine == "load" and i.writes and often[id(i.place)] > 2:
            held = one.tiles[i.writes[0]]
            now = len({t.slot for t in one.tiles if (t.space, t.place) == (held.space, held.place)})
            if held.slot >= 0 and taken[held.space] + held.bytes <= limits.get(held.space, 0):
                yield i.place, _staged(held, now + 1), f"{now + 1} stages for this load, {now} now"


def _wider(place: Place, line: int) -> Edit:
    """The same bytes in rows of a line."""

    def edit(program: Program) -> Program:
        def wide(i: Instruction) -> Instruction:
            rows, nbytes = i.step.size if i.place is place and len(i.step.size) == 2 else (0, line)
            if nbytes >= line:
                return i
            return i._replace(step=i.step._replace(size=(max(1, round(rows * nbytes / line)), line)))

        return Program(tuple(map(wide, program.instructions)), program.tiles)

    return edit


def _staged(like: Held, stages: int) -> Edit:
    """The tiles of a line take turns in so many slots, new ones."""

    def edit(program: Program) -> Program:
        base = 1 + max((t.slot for t in program.tiles), default=0)
        turn, tiles = 0, []
        for t in program.tiles:
            if (t.space, t.place) == (like.space, like.place):
                t = t._replace(slot=base + turn % stages)
                turn += 1
            tiles.append(t)
        return Program(program.instructions, tuple(tiles))

    return edit


def _edited(p: Profile, programs: list[Program], edit: Edit) -> float:
    """With other programs in place of some."""
    other = {id(q): edit(q) for q in programs}
    return _scheduled(p, cost(p.tasks, p.chip, p.compiler, other))
