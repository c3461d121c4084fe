"""How long one task takes on its core: predicted, in microseconds.

A task's instructions are scheduled on the pipes of its core (`helpers.profile.core_schedule`); the task takes as long
as that. Tasks that do the same are scheduled once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from helpers.chips import Chip
from helpers.interpret.language.dtypes import BY_NAME
from helpers.interpret.trace.compilers import TODAY, Compiler
from helpers.interpret.trace.program import Program, Step
from helpers.interpret.trace.trace import READ, Chunk, Trace
from helpers.profile.core_schedule import CoreRun, run
from helpers.profile.pipe_times import PIPES
from helpers.profile.task_table import MIXED, Tasks

LEVELS = ("GM-L1", "GM-UB", "L0C-GM", "UB-GM", "C2V", "V2C", "L1-L0", "HBM")


@dataclass(frozen=True)
class TaskCost:
    """One task alone on the chip: microseconds that each of `PIPES` is busy, and of the task; bytes of global memory.

    What cube and vector cores hand each other is part of `read_bytes` and `write_bytes` where it goes through global
    memory. `hbm_bytes`: what is likely to miss the L2 cache.
    """

    busy: tuple[float, ...]
    total: float
    read_bytes: float
    write_bytes: float
    hbm_bytes: float

    @property
    def bound(self) -> str:
        """The pipe that is busy longest, one of `PIPES`."""
        return PIPES[max(range(len(PIPES)), key=self.busy.__getitem__)]


@dataclass(frozen=True)
class Costs:
    """The cost of every task: the fields of `TaskCost` as float64 arrays [tasks], `busy` as [tasks, pipes].

    `ends` is [tasks, 2]: microseconds until the cube core of a task is done, and its vector cores; `phases` has, for
    launches with barriers, the microseconds [phases, blocks] between them; `levels` the bytes that all tasks together
    move, by level.
    """

    busy: np.ndarray
    total: np.ndarray
    read_bytes: np.ndarray
    write_bytes: np.ndarray
    hbm_bytes: np.ndarray
    ends: np.ndarray
    phases: dict[int, np.ndarray]
    levels: dict[str, float]

    def __getitem__(self, task: int) -> TaskCost:
        return TaskCost(tuple(self.busy[task].tolist()), *(getattr(self, f)[task].item() for f in _NAMES))


_NAMES = [f.name for f in fields(TaskCost)][1:]


def cost(tasks: Tasks, chip: Chip, compiler: Compiler = TODAY, instead: Mapping[int, Program] | None = None) -> Costs:
    """The cost of every task; `compiler`: PyPTO's of a day; `instead`: programs in place of others, by their
    identity."""
    instead = instead or {}
    trace = tasks.trace
    table: list[list[float]] = []  # one row for each kind of chunk: busy, the other fields of TaskCost, then LEVELS
    kinds: dict[tuple, int] = {}
    of_chunk: dict[tuple, int] = {}
    runs: dict[tuple, CoreRun] = {}
    reads = Reads(trace, chip)
    first, lengths, numbers, which, phase = [], [], [], [], []  # one entry a part
    for d in trace.dispatches:
        if not d.runs:
            continue
        mixed = tasks.first[d.index] < len(tasks) and tasks.kind[tasks.first[d.index]] == MIXED
        halves = mixed and d.split != "NONE"
        for p in d.parts:
            c = p.chunk
            kind = of_chunk.get((id(c), halves))
            if kind is None:
                hbm, shares = reads.missed(c), reads.shares(c)
                key = (id(c.program), halves, shares, hbm, c.work, c.phase > 0)
                kind = kinds.get(key)
                if kind is None:
                    kind = kinds[key] = len(table)
                    core = runs.get(key[:3])
                    if core is None and c.program is not None:
                        program = instead.get(id(c.program), c.program)
                        core = runs[key[:3]] = run(program, chip, halves, compiler, dict(shares))
                    table.append(_row(c, core, hbm, chip))
                of_chunk[id(c), halves] = kind
            blocks = c.blocks if p.row is None else c.blocks[p.row : p.row + 1]
            first.append(d.index)
            lengths.append(len(blocks))
            numbers.append(blocks)
            which.append(kind)
            phase.append(c.phase)
    n, pipes = len(tasks), len(PIPES)
    if not numbers:
        none = [np.zeros(n)] * len(_NAMES)
        return Costs(np.zeros((n, pipes)), *none, np.zeros((n, 2)), {}, dict.fromkeys(LEVELS, 0.0))
    at = np.repeat(tasks.first[first], lengths) + np.concatenate(numbers)
    row, turn = np.repeat(which, lengths), np.repeat(phase, lengths)
    rows = np.array(table)
    own = pipes + len(_NAMES) + 2
    columns = [np.bincount(at, rows[row, i], n) for i in range(own)]
    count = np.bincount(row, minlength=len(table))
    levels = dict(zip(LEVELS, (count @ rows[:, own:]).tolist()))
    phases = {}
    total = pipes + _NAMES.index("total")
    for launch in np.unique(tasks.dispatch[at[turn > 0]]).tolist():
        first, last = tasks.first[launch], tasks.first[launch + 1]
        mine = (at >= first) & (at < last)
        grid = phases[launch] = np.zeros((int(turn[mine].max()) + 1, int(last - first)))
        np.add.at(grid, (turn[mine], at[mine] - first), rows[row[mine], total])
    ends = np.stack(columns[own - 2 :], 1)
    return Costs(np.stack(columns[:pipes], 1), *columns[pipes : own - 2], ends, phases, levels)


def program_cost(program: Program, chip: Chip, halves: bool = False) -> TaskCost:
    """The cost of a program by itself; `halves`: two vector cores share its vector work."""
    core = run(program, chip, halves)
    return TaskCost(tuple(core.busy), core.total, 0.0, 0.0, 0.0)


def _row(chunk: Chunk, core: CoreRun | None, hbm: float, chip: Chip) -> list[float]:
    """What `cost` has of a chunk. A task is entered once, so phases after the first take less."""
    busy, total, ends = ([0.0] * len(PIPES), 0.0, (0.0, 0.0)) if core is None else (core.busy, core.total, core.ends)
    if chunk.phase:
        total, ends = total - chip.runtime.task, tuple(e - chip.runtime.task for e in ends)
    levels = dict.fromkeys(LEVELS, 0.0)
    for step, n in () if chunk.program is None else chunk.program.steps().items():
        for level, nbytes in _moved(step):
            levels[level] += nbytes * n
    levels["HBM"] = hbm
    work = chunk.work
    moved = (work.gm_read_bytes + work.ring_bytes, work.gm_write_bytes + work.ring_bytes)
    return [*busy, total, *moved, hbm, *ends, *levels.values()]


def _moved(step: Step) -> Iterable[tuple[str, float]]:
    """(level, bytes) of one step."""
    if step.engine == "load":
        yield ("GM-L1" if step.kind == "L1" else "GM-UB"), step.size[0] * step.size[1]
    elif step.engine == "store":
        yield ("L0C-GM" if step.kind == "L0C" else "UB-GM"), step.size[0] * step.size[1]
    elif step.engine == "move" and step.kind != "L0C-L1":
        yield ("C2V" if step.kind == "L0C-UB" else "V2C"), step.size[0] * step.size[1]
    elif step.engine == "cube":
        m, k, n = step.size
        yield "L1-L0", (m + n) * k * BY_NAME[step.dtype].bits / 8


class Reads:
    """Bytes that chunks read of each buffer, and how much of it is likely to come from HBM and not from the L2 cache.

    A buffer larger than the cache has no reuse; one that the kernel allocates is written first and still there; of
    other ones each byte misses once.
    """

    def __init__(self, trace: Trace, chip: Chip):
        self.trace = trace
        self.known: dict[bytes, dict[int, float]] = {}
        self.of_loads: dict[tuple, tuple] = {}
        total: Counter[int] = Counter()
        for d in trace.dispatches:
            for p in d.parts:
                for buffer, nbytes in self.of(p.chunk).items():
                    total[buffer] += nbytes * len(p)
        limit = chip.l2_mib * 2**20
        self.share = {
            b.id: 1.0 if b.bytes > limit else min(1.0, b.bytes / total[b.id]) if b.argument and total[b.id] else 0.0
            for b in trace.buffers
        }

    def of(self, chunk: Chunk) -> dict[int, float]:
        """Bytes that one block of a chunk reads, by buffer."""
        key = chunk.shapes.tobytes()
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = {}
            for s, count in Counter(chunk.shapes.tolist()).items():
                a = self.trace.shapes[s]
                if a.mode == READ:
                    nbytes = count * a.elements * self.trace.buffers[a.buffer].dtype.bytes
                    found[a.buffer] = found.get(a.buffer, 0.0) + nbytes
        return found

    def shares(self, chunk: Chunk) -> tuple[tuple[int, float], ...]:
        """(number of a load in the chunk's program, share of it that comes from HBM), of those of which something does.

        A program's loads and stores are the chunk's accesses, in order; () where some of these are left out of it.
        """
        if chunk.program is None:
            return ()
        key = id(chunk.program), chunk.shapes.tobytes()
        found = self.of_loads.get(key)
        if found is None:
            moves = [n for n, i in enumerate(chunk.program.instructions) if i.step.engine in ("load", "store")]
            shapes = chunk.shapes.tolist()
            found = ()
            if len(moves) == len(shapes):
                share = [self.share[self.trace.shapes[s].buffer] for s in shapes]
                found = tuple(
                    (n, m) for n, m in zip(moves, share) if m and chunk.program.instructions[n].step.engine == "load"
                )
            self.of_loads[key] = found
        return found

    def missed(self, chunk: Chunk) -> float:
        """Bytes of one block of a chunk that come from HBM."""
        return sum(self.share[buffer] * nbytes for buffer, nbytes in self.of(chunk).items())
