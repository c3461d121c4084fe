"""How long one task takes on its core: predicted, in microseconds.

A task's steps (`helpers.interpret.trace.trace.Step`) run one after the other, each for as long as the chip's rates say.
Two things run side by side: the engines of a core (cube, vector, transfers) within a `pl.pipeline` whose tiles have
room for two stages, and the two vector cores of a cluster where `pl.split` or `pl.split_aiv` shares the work. Of a
pipelined loop only the busiest engine's time counts, and the other engines' for one turn: filling and draining.

Rates, with their sources: helpers/chips/chips.toml.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from helpers.chips import Chip
from helpers.interpret.language.dtypes import BY_NAME
from helpers.interpret.trace.trace import READ, Chunk, Step, Trace
from helpers.profile.task_table import MIXED, Tasks

ENGINES = ("cube", "vector", "load", "store")
LEVELS = ("GM-L1", "GM-UB", "L0C-GM", "UB-GM", "L1-L0", "HBM")

FUNCTIONS = {"exp", "log", "sin", "cos", "sqrt", "rsqrt", "recip", "div", "divs", "rem", "rems", "fmod", "fmods"}
PLAIN = {"neg", "abs", "relu", "not_", "full", "arange", "assemble", "fillpad", "expand", "concat"}


@dataclass(frozen=True)
class TaskCost:
    """One task alone on the chip: microseconds of each engine, and of all of it together; bytes of global memory.

    `total` is less than the sum where engines overlap. `hbm_bytes`: what is likely to miss the L2 cache.
    """

    cube: float
    vector: float
    load: float
    store: float
    total: float
    read_bytes: float
    write_bytes: float
    hbm_bytes: float

    @property
    def bound(self) -> str:
        """The engine that takes longest: "cube", "vector", "load" or "store"."""
        return max(ENGINES, key=lambda e: getattr(self, e))


@dataclass(frozen=True)
class Costs:
    """The cost of every task: the fields of `TaskCost` as float64 arrays [tasks].

    `phases` has, for launches with barriers, the microseconds [phases, blocks] between them; `levels` the bytes that
    all tasks together move, by level.
    """

    cube: np.ndarray
    vector: np.ndarray
    load: np.ndarray
    store: np.ndarray
    total: np.ndarray
    read_bytes: np.ndarray
    write_bytes: np.ndarray
    hbm_bytes: np.ndarray
    phases: dict[int, np.ndarray]
    levels: dict[str, float]

    def __getitem__(self, task: int) -> TaskCost:
        return TaskCost(*(getattr(self, f)[task].item() for f in _NAMES))


_NAMES = [f.name for f in fields(TaskCost)]


def cost(tasks: Tasks, chip: Chip) -> Costs:
    """The cost of every task."""
    trace = tasks.trace
    table: list[list[float]] = []  # one row for each kind of chunk: the fields of TaskCost, then LEVELS
    kinds: dict[tuple, int] = {}
    of_chunk: dict[tuple, int] = {}
    reads = _Reads(trace, chip)
    where, which, phase = [], [], []
    for d in trace.dispatches:
        if not d.runs:
            continue
        mixed = tasks.first[d.index] < len(tasks) and tasks.kind[tasks.first[d.index]] == MIXED
        halves = mixed and d.split != "NONE"
        for p in d.parts:
            c = p.chunk
            kind = of_chunk.get((id(c), halves))
            if kind is None:
                hbm = reads.missed(c)
                key = (c.steps, c.loops, halves, hbm)
                kind = kinds.get(key)
                if kind is None:
                    kind = kinds[key] = len(table)
                    table.append(_row(c, chip, halves, hbm))
                of_chunk[id(c), halves] = kind
            blocks = c.blocks if p.row is None else c.blocks[p.row : p.row + 1]
            where.append(tasks.first[d.index] + blocks)
            which.append(np.full(len(blocks), kind))
            phase.append(np.full(len(blocks), c.phase))
    if not where:
        empty = np.zeros(len(tasks))
        return Costs(*[empty] * len(_NAMES), {}, dict.fromkeys(LEVELS, 0.0))
    at, row, turn = np.concatenate(where), np.concatenate(which), np.concatenate(phase)
    rows = np.array(table)
    columns = [np.bincount(at, rows[row, i], len(tasks)) for i in range(len(_NAMES))]
    count = np.bincount(row, minlength=len(table))
    levels = dict(zip(LEVELS, (count @ rows[:, len(_NAMES) :]).tolist()))
    phases = {}
    total = _NAMES.index("total")
    for launch in np.unique(tasks.dispatch[at[turn > 0]]).tolist():
        first, last = tasks.first[launch], tasks.first[launch + 1]
        mine = (at >= first) & (at < last)
        grid = phases[launch] = np.zeros((int(turn[mine].max()) + 1, int(last - first)))
        np.add.at(grid, (turn[mine], at[mine] - first), rows[row[mine], total])
    return Costs(*columns, phases, levels)


def chunk_cost(chunk: Chunk, chip: Chip, halves: bool = False, hbm_bytes: float = 0.0) -> TaskCost:
    """The cost of one block of a chunk; `halves`: two vector cores share its vector work."""
    return TaskCost(*_row(chunk, chip, halves, hbm_bytes)[: len(_NAMES)])


def _row(chunk: Chunk, chip: Chip, halves: bool, hbm: float) -> list[float]:
    engines = dict.fromkeys(ENGINES, 0.0)
    levels = dict.fromkeys(LEVELS, 0.0)
    total = 0.0
    loops: dict[object, dict[str, float]] = {}
    for step, n in chunk.steps:
        for engine, each in step_times(step, chip, halves):
            time = each * n * (0.5 if step.lanes == 2 else 1.0)
            engines[engine] += time
            if step.loop is None:
                total += time
            else:
                loop = loops.setdefault(step.loop, dict.fromkeys(ENGINES, 0.0))
                loop[engine] += time
        for level, nbytes in _moved(step):
            levels[level] += nbytes * n
    turns = {place: (entered, turned) for place, entered, turned in chunk.loops}
    for place, times in loops.items():
        entered, turned = turns[place]
        longest = max(times.values())
        total += longest + (sum(times.values()) - longest) * entered / max(turned, 1)
    levels["HBM"] = hbm
    work = chunk.work
    return [*engines.values(), total, work.gm_read_bytes, work.gm_write_bytes, hbm, *levels.values()]


def step_times(step: Step, chip: Chip, halves: bool = False) -> Iterable[tuple[str, float]]:
    """(engine, microseconds) of one step; `halves`: two vector cores share it, when it is one of theirs."""
    memory, cube, vector = chip.memory, chip.cube, chip.vector
    cycles = 1e-3 / chip.clock_ghz  # microseconds of one
    if step.kind == "scalar":
        return ((step.engine, vector.scalar * cycles),)
    if step.engine in ("load", "store"):
        rows, nbytes = step.size
        rate = {"load": {"L1": memory.to_l1}, "store": {"L0C": memory.from_l0c}}[step.engine].get(
            step.kind, memory.to_ub if step.engine == "load" else memory.from_ub
        )
        if halves and step.kind == "UB":
            rows = rows / 2
        time = memory.latency + rows * lines(nbytes, memory.line) * memory.line / rate * 1e-3
        if step.engine == "store" and step.kind == "L0C":
            time = max(time, drain(rows, nbytes, chip) * cycles)
        return ((step.engine, time),)
    if step.engine == "move":
        rows, nbytes = step.size
        out = drain(rows, nbytes, chip) * cycles if step.kind != "UB-L1" else 0.0
        if step.kind == "L0C-L1":
            return (("store", out),)
        # between cube and vector there is global memory (the L2 cache) on A2/A3
        rate = memory.to_ub if step.kind == "L0C-UB" else memory.to_l1
        back = memory.latency + rows * nbytes / rate * 1e-3 * (0.5 if halves and step.kind == "L0C-UB" else 1.0)
        return (("store", out), ("load", back))
    if step.engine == "cube":
        m, k, n = step.size
        width = BY_NAME[step.dtype].bits / 8
        passes = cube.passes_fp32 if width == 4 else 1
        tiles = math.ceil(m / 16) * math.ceil(k * width / 32) * math.ceil(n / 16)
        pieces = max(
            1,
            math.ceil(m * k * width / chip.buffers["L0A"]),
            math.ceil(n * k * width / chip.buffers["L0B"]),
        )
        feed = m * k * width / cube.l0a_bytes + n * k * width / cube.l0b_bytes
        return (("cube", (cube.head * pieces + passes * tiles + feed) * cycles),)
    count = math.prod(step.size) * (0.5 if halves else 1.0)
    repeats = math.ceil(count * BY_NAME[step.dtype].bits / 8 / 256)
    return (("vector", (vector.head + repeats * getattr(vector, instruction(step.kind))) * cycles),)


def instruction(name: str) -> str:
    """The kind of a vector operation, a field of `chips.Vector`."""
    if name in FUNCTIONS:
        return "function"
    if name.startswith(("row_", "col_")) or name in ("sort", "gather", "scatter"):
        return "fold"
    return "plain" if name in PLAIN or (name.endswith("s") and name != "abs") else "pair"


def lines(nbytes: float, line: int) -> int:
    """Lines of memory that a row of so many bytes takes."""
    return max(1, math.ceil(nbytes / line))


def drain(rows: float, nbytes: float, chip: Chip) -> float:
    """Cycles in which a result leaves L0C."""
    cube = chip.cube
    return cube.drain_head + rows * max(cube.drain_row, nbytes / cube.drain_bytes)


def _moved(step: Step) -> Iterable[tuple[str, float]]:
    """(level, bytes) of one step."""
    if step.engine == "load":
        yield ("GM-L1" if step.kind == "L1" else "GM-UB"), step.size[0] * step.size[1]
    elif step.engine == "store":
        yield ("L0C-GM" if step.kind == "L0C" else "UB-GM"), step.size[0] * step.size[1]
    elif step.engine == "cube":
        m, k, n = step.size
        yield "L1-L0", (m + n) * k * BY_NAME[step.dtype].bits / 8


class _Reads:
    """Bytes that chunks read of each buffer, and how much of it is likely to come from HBM and not from the L2 cache.

    A buffer larger than the cache has no reuse; one that the kernel allocates is written first and still there; of
    other ones each byte misses once.
    """

    def __init__(self, trace: Trace, chip: Chip):
        self.trace = trace
        self.known: dict[bytes, dict[int, float]] = {}
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

    def missed(self, chunk: Chunk) -> float:
        """Bytes of one block of a chunk that come from HBM."""
        return sum(self.share[buffer] * nbytes for buffer, nbytes in self.of(chunk).items())
