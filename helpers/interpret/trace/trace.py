"""What a run did, task by task, compactly: the one record that every report, plot and check reads.

A `Dispatch` is one launch: an entry of a `pl.at`, a call of an incore function, or a `pl.spmd` with all its
blocks. A task is one block of one dispatch. What blocks do is stored in `Chunk`s: a chunk is one or more
blocks of a dispatch that executed together, with the list of memory accesses they made. An access is a shape
(interned in `shapes`: buffer, direction, extent, strides, source place) and an offset; in a chunk of several
blocks the offset may be an array with one entry a block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from helpers.errors import shown
from helpers.interpret.source.source import Place
from helpers.interpret.trace.program import Later, Program, Step
from helpers.interpret.values.values import Buffer, Memory

READ, WRITE, ATOMIC = 0, 1, 2


@dataclass(frozen=True)
class Access:
    """The part of an access that repeats: which buffer, READ, WRITE or ATOMIC (add), box and place."""

    buffer: int
    mode: int
    extent: tuple[int, ...]
    strides: tuple[int, ...]
    place: Place

    @property
    def elements(self) -> int:
        n = 1
        for e in self.extent:
            n *= e
        return n

    @property
    def span(self) -> int:
        """Elements from the first to one past the last that the box touches."""
        return 1 + sum((e - 1) * s for e, s in zip(self.extent, self.strides)) if self.elements else 0


class Argument(NamedTuple):
    """A tensor that orchestration hands to a task: a window on a buffer, and what the task does with it."""

    buffer: int
    offset: int
    extent: tuple[int, ...]
    strides: tuple[int, ...]


IN, OUT, INOUT = 1, 2, 3  # what a task does with an argument: bit 0 reads, bit 1 writes


@dataclass(frozen=True)
class Work:
    """What one block computed, and the bytes that it loads from global memory and stores there.

    `ring_bytes`: of tiles that the cube hands to the vector cores or gets from them through global memory, where the
    compiler's ring lies on A2/A3. Each is written once and read once. 0 on A5, where they stay on chip.
    """

    cube_flops: int = 0
    vector_elements: int = 0
    vector_ops: int = 0
    cube_ops: int = 0
    loads: int = 0
    stores: int = 0
    gm_read_bytes: int = 0
    gm_write_bytes: int = 0
    ring_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Blocks that executed together: blocks of one dispatch, or one block of each of several.

    `blocks`: their numbers, a row each. `shapes` and `offsets`: their accesses in order; an offset is an int, or an
    array with one entry a row. `arguments`: the tensors of orchestration they use, as (argument at offset 0, offset,
    IN/OUT bits). `work` and `peaks`: what each of them computed, and its largest use of each on-chip buffer. `phase`:
    how many barriers its blocks had passed. `timed`: its program, or what builds it.
    """

    blocks: np.ndarray
    shapes: np.ndarray  # int32: index into Trace.shapes
    offsets: list
    arguments: list
    work: Work
    peaks: dict[str, int]
    phase: int = 0
    timed: Program | Later | None = None

    @property
    def program(self) -> Program | None:
        """What takes time, instruction by instruction; None of a real run."""
        return self.timed.program if type(self.timed) is Later else self.timed


@dataclass(frozen=True, slots=True)
class Part:
    """What a chunk holds of one dispatch: one row of it, or (None) all."""

    chunk: Chunk
    row: int | None

    def __len__(self) -> int:
        return len(self.chunk.blocks) if self.row is None else 1

    def at(self, offset: Any) -> Any:
        """The offset, or offsets, of this part's blocks."""
        return offset[self.row] if self.row is not None and isinstance(offset, np.ndarray) else offset


@dataclass(frozen=True)
class Syncall:
    """A `pl.system.syncall`: which cores meet there, and whether all there are ("hard") or only those that run."""

    place: Place
    core_type: str
    mode: str


@dataclass
class Note:
    """Something odd that a run met and went on after: how often, and what it was the first time."""

    kind: str
    place: Place
    what: str
    count: int = 1


@dataclass(frozen=True)
class Spans:
    """When and where the tasks of a real run ran: microseconds from the first start, and cores, as arrays [tasks]."""

    start: np.ndarray
    end: np.ndarray
    core: np.ndarray  # numbered as in `helpers.chips.Chip`; of a mixed task its cube core


@dataclass(frozen=True)
class Recorded:
    """What only a real run knows: every dependency that the runtime wired, as `edges.Edge`s, and its times.

    A simulator's times are those of the machine it runs on, not of the chip.
    """

    edges: tuple[Any, ...]
    spans: Spans | None


@dataclass(slots=True)
class Dispatch:
    """One launch. `deps` are dispatch numbers declared with deps=; `manual` is inside a manual scope.

    `sequential`: a pl.range or while of orchestration is around it. `rewritten`: buffers it writes that an earlier
    launch of the same scope has written; both decide how its outputs are ordered (see `depend`).
    `sync_start`: all blocks start together. `barriers`: where its blocks wait for each other. `split`: how pl.split
    shares its vector work between the two vector cores of a cluster. `lane`: the kind of core, where that is known
    without the work.
    """

    index: int
    name: str
    place: Place
    kind: str  # "at", "incore" or "spmd"
    blocks: int
    manual: bool
    scope: int
    deps: tuple[int, ...] = ()
    no_dep: frozenset[int] = frozenset()  # buffers opted out of dependency inference
    early: bool = False
    dummy: bool = False
    skipped: bool = False  # its predicate= was false: it was retired without running
    sequential: bool = False
    rewritten: frozenset[int] = frozenset()
    sync_start: bool = False
    barriers: tuple[Syncall, ...] = ()
    gates: tuple[tuple[Access, int], ...] = ()  # what its predicate= reads, at which offset, when it is dispatched
    split: str = "NONE"  # or "UP_DOWN", "LEFT_RIGHT"
    lane: str | None = None
    parts: list[Part] = field(default_factory=list)

    @property
    def arguments(self) -> dict[Argument, int]:
        """The tensors that orchestration hands to the task, and what it does with each: IN, OUT or INOUT."""
        out: dict[Argument, int] = {}
        for p in self.parts:
            for a, offset, bits in p.chunk.arguments:
                at = offset if type(offset) is int else np.asarray(p.at(offset)).item()
                key = Argument(a.buffer, at, a.extent, a.strides)
                out[key] = out.get(key, 0) | bits
        return out

    @property
    def runs(self) -> bool:
        """False for what reaches no core: a join of tasks, a task whose predicate was false."""
        return not (self.dummy or self.skipped)

    @property
    def core(self) -> str:
        """ "cube", "vector" or "mixed", by the work done."""
        if self.lane is not None:
            return self.lane
        cube = any(p.chunk.work.cube_ops for p in self.parts)
        vector = any(p.chunk.work.vector_ops for p in self.parts)
        return "mixed" if cube and vector else "cube" if cube else "vector"


class Trace:
    """The record of one run: of interpret mode, or, with `recorded`, of a real one (`helpers.toolchain.records`)."""

    def __init__(self, platform: str):
        self.platform = platform
        self.recorded: Recorded | None = None
        self.buffers: list[Buffer] = []
        self.dispatches: list[Dispatch] = []
        self.shapes: list[Access] = []
        self.inputs: set[int] = set()  # buffers of parameters that are declared as inputs
        self.inout: set[int] = set()  # buffers that the kernel's parameters declare InOut
        self.memory: dict[tuple[str, Place], list[Memory]] = {}  # on-chip buffers of a launch site's first chunk
        self.notes: dict[tuple[str, Place], Note] = {}
        self.host: list[tuple[int, Access, int]] = []  # orchestration's own accesses: before which launch, what, where
        self.outdated: tuple[str, ...] = ()  # what to say of files that have changed since the kernel was loaded
        self.partial = ""  # why work may be missing from it
        self.blind = False  # a dry run read what it had not computed, so another run may go another way
        self._shape_ids: dict[tuple, int] = {}
        self._programs: dict[tuple, Program] = {}
        self._rows: dict[int, tuple[int, int]] = {}
        self._steps: dict[tuple, Step] = {}

    def note(self, kind: str, place: Place, what: str) -> None:
        """Keep that something odd happened at a place; the first of its kind there says what."""
        known = self.notes.get((kind, place))
        if known is None:
            self.notes[kind, place] = Note(kind, place, what)
        else:
            known.count += 1

    def shape_id(self, buffer: Buffer, mode: int, extent: tuple, strides: tuple, place: Place) -> int:
        """Intern an access shape."""
        key = (buffer.id, mode, extent, strides, id(place))
        got = self._shape_ids.get(key)
        if got is None:
            got = self._shape_ids[key] = len(self.shapes)
            self.shapes.append(Access(buffer.id, mode, extent, strides, place))
        return got

    def written(self, names: Iterable[str]) -> dict[str, Place]:
        """Those of the arguments of these names that the run wrote, each with the first place that writes it."""
        first: dict[int, Place] = {}
        for a in self.shapes:
            if a.mode != READ:
                first.setdefault(a.buffer, a.place)
        asked = set(names)
        return {b.name: first[b.id] for b in self.buffers if b.argument and b.name in asked and b.id in first}

    def misdeclared(self) -> tuple[str, ...]:
        """What to say of parameters that are declared as inputs and written."""
        inputs = [b.name for b in self.buffers if b.id in self.inputs]
        return tuple(
            f"'{name}' is written ({shown(place.file)}:{place.line}) and declared as an input: declare it "
            "pl.Out, or pl.InOut where not all of it is written; callers and the scheduler go by it"
            for name, place in self.written(inputs).items()
        )

    def step(self, key: tuple) -> Step:
        """Intern a step."""
        known = self._steps.get(key)
        if known is None:
            known = self._steps[key] = Step(*key)
        return known

    def program(self, made: Program) -> Program:
        """Intern a program."""
        key = (
            tuple([(id(step), id(place), *rest) for step, place, *rest in made.instructions]),
            tuple([(space, nbytes, slot, id(place)) for space, nbytes, slot, place in made.tiles]),
        )
        return self._programs.setdefault(key, made)

    def rows(self, shape: int) -> tuple[int, int]:
        """(rows, bytes of one) that an access moves: pieces that are contiguous in global memory."""
        known = self._rows.get(shape)
        if known is None:
            a = self.shapes[shape]
            run, step = 1, 1
            for n, stride in zip(reversed(a.extent), reversed(a.strides)):
                if n != 1 and stride != step:
                    break
                run, step = run * n, stride * n if n != 1 else step
            nbytes = -(-run * self.buffers[a.buffer].dtype.bits // 8)
            known = self._rows[shape] = (a.elements // run if run else 0, nbytes)
        return known

    @property
    def label(self) -> str:
        """The platform, for figures and tables; it says so when work may be missing."""
        return f"{self.platform}, PARTIAL" if self.partial else self.platform

    @property
    def tasks(self) -> int:
        """How many tasks ran: every block of every dispatch."""
        return sum(d.blocks for d in self.dispatches if d.runs)

    def tasks_by_name(self) -> dict[str, int]:
        """Tasks by kernel name, in order of first appearance."""
        out: Counter[str] = Counter()
        for d in self.dispatches:
            if d.runs:
                out[d.name] += d.blocks
        return dict(out)

    def total(self, what: str) -> int:
        """Sum of a `Work` field over all tasks."""
        return sum(getattr(p.chunk.work, what) * len(p) for d in self.dispatches for p in d.parts)

    @property
    def gm_read_bytes(self) -> int:
        """Bytes read from global memory by all tasks: loads, and what comes out of the rings (`ring_bytes`)."""
        return self.total("gm_read_bytes") + self.ring_bytes

    @property
    def gm_write_bytes(self) -> int:
        """Bytes written to global memory by all tasks: stores, and what goes into the rings (`ring_bytes`)."""
        return self.total("gm_write_bytes") + self.ring_bytes

    @property
    def ring_bytes(self) -> int:
        """Bytes that cube and vector cores hand each other through global memory, see `Work`."""
        return self.total("ring_bytes")

    def peaks(self) -> dict[str, int]:
        """Largest use of each on-chip buffer by any task, in bytes."""
        out = dict.fromkeys(("UB", "L1", "L0A", "L0B", "L0C"), 0)
        for d in self.dispatches:
            for p in d.parts:
                for space, n in p.chunk.peaks.items():
                    out[space] = max(out[space], n)
        return out

    def accesses(self, dispatch: Dispatch) -> Iterator[tuple[int, Access, int]]:
        """(block, access, offset) of every memory access of a dispatch."""
        for p in dispatch.parts:
            rows = range(len(p.chunk.blocks)) if p.row is None else [p.row]
            for s, off in zip(p.chunk.shapes, p.chunk.offsets):
                access = self.shapes[s]
                for i in rows:
                    yield int(p.chunk.blocks[i]), access, int(off[i] if np.ndim(off) else off)
