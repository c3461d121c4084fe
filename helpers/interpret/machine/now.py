"""What runs now: the task, which of its blocks, where in its loops; and the chunks that it leaves in the trace."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.interpret.machine.task import Phases, Task
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import OUT, Argument, Chunk, Dispatch, Part, Syncall
from helpers.interpret.values.kept import Mark
from helpers.interpret.values.lanes import Lanes, counted, split_by
from helpers.interpret.values.seen import Enough, Look
from helpers.interpret.values.values import Tile, Turn

if TYPE_CHECKING:
    from helpers.interpret.machine.machine import Machine
    from helpers.interpret.trace.dumped import DumpRecorder

SPLIT_AXES = {"UP_DOWN": 0, "LEFT_RIGHT": 1}  # mode of pl.split -> the axis that it halves


class Barrier(Exception):
    """The running blocks have come to the barrier at which this phase ends."""


class Crossing(Exception):
    """A tile made before a barrier is used after it."""


class Running:
    """What runs now. `dry`: nothing is computed."""

    def __init__(self, m: Machine, dry: bool):
        self.m, self.dry = m, dry
        self.settled = dry  # what `dry` is when no phase is being gone through again
        self.task: Task | None = None
        self.launched: list[Dispatch] = []  # what the task is a chunk of
        self.block: int | Lanes = 0
        self.block_num = 1
        self.phase = self.barriers = 0  # of a pl.spmd with barriers: which phase runs, how many were passed
        self.phases = Phases(0)  # of the same: what its blocks did before
        self.quiet = False  # before the phase that runs: nothing is stored or recorded
        self.looking: Look | None = None  # who looks at the task that runs
        self.dumping: DumpRecorder | None = None  # who wants to be told of its stores
        self.inside: tuple[Place | None, int] = (None, 1)  # the pl.pipeline around; 2 in a pl.split_aiv
        self.turn_of: tuple[Turn, ...] = ()  # the pl.pipeline loops around, and where their turns are
        self.since = (0, 0)  # of the loop around: what had been computed when its turn began, and the turn's stage
        self.lane: tuple[str, int] = ("NONE", 0)  # the pl.split_aiv around: its mode, and the lane that runs
        self.halves: dict[Place, deque[Tile]] = defaultdict(deque)  # what lane 0 of a split gave to pl.aic_gather

    def compute(self, wanted: bool) -> None:
        """What runs from here on is computed, or is not."""
        self.dry = self.settled = not wanted

    @contextmanager
    def blocks(self, count: int) -> Iterator[None]:
        """A pl.spmd of so many blocks, from its first phase on."""
        self.block_num, self.phases = count, Phases(count)
        try:
            yield
        finally:
            self.phase, self.block, self.block_num = 0, 0, 1

    def next_phase(self) -> None:
        """All blocks have come to a barrier."""
        self.phase += 1

    @contextmanager
    def begun(self, dry: bool, again: bool) -> Iterator[None]:
        """Blocks begin: what they do before the phase that runs has no effect. `again`: it is computed all the same."""
        self.barriers = 0
        self.phases.start()
        self.quiet = self.phase > 0
        self.settled, self.dry = dry, dry or (self.quiet and not again)
        try:
            yield
        finally:
            self.dry, self.quiet = dry, False

    def stand(self, inside: tuple[Place | None, int], turn_of: tuple[Turn, ...]) -> None:
        """Go on in these loops, where another core of a Group stands."""
        self.inside, self.turn_of = inside, turn_of

    @contextmanager
    def chunk(self, launched: list[Dispatch], blocks: np.ndarray, block: int | Lanes = 0) -> Iterator[None]:
        """Execute a chunk: blocks of one dispatch, or one block of several. On an exception it leaves no mark."""
        first = launched[0]
        if self.task is not None:
            raise self.m.fault(
                first.place, "a task is launched inside an InCore region", "launch it from orchestration"
            )
        if self.m.tell is not None:
            self.m.tell(len(blocks))
        task = self.task = Task(self.m.onchip.clock, SPLIT_AXES.get(first.split))
        self.launched, self.block = launched, block
        again = self.m.reopened is not None and not self.dry  # a chunk that is done again
        if again:
            self.m.log.take_back()
            self.m.reopened.begin(launched)
        looks = self.m.look is not None and (again or self.m.reopened is None)
        if looks and self.m.look.begin(launched, blocks, self.phase):
            self.looking = self.m.look
        if self.m.dumps is not None:
            turns = None if first.kind == "spmd" else self.m.batches.batch
            self.dumping = self.m.dumps.begin(launched, turns)
        start = self._written_so_far()
        try:
            yield
            if self.m.reopened is None:
                self._ended(launched, blocks, task)
            elif again:
                self.m.reopened.end()
            if self.m.kept is not None:
                batch = self.m.batches.batch
                group = (len(batch.groups) - 1, len(self.m.trace.dispatches)) if batch and batch.groups else None
                mark = Mark(launched, blocks, self.phase, batch is not None, group, start, self._written_so_far())
                self.m.kept.marks.append(mark)
            if self.looking is not None:
                self.looking.end(task.memory, None)
            if self.m.dumps is not None:
                self.m.dumps.end(launched, turns, task, self.m.tags, self.m.trace)
        except BaseException as error:
            if self.looking is not None:
                self.looking.end(task.memory, error)
            raise
        finally:
            self.task = self.looking = self.dumping = None
            self.m.masks.lift()
            if self.m.follow is not None:
                self.dry = self.settled = True
        if again and not self.m.reopened.left:
            raise Enough

    def _written_so_far(self) -> int:
        """Entries that the log has, or will have when the batch that runs is done."""
        return len(self.m.log.entries) + (0 if self.m.batches.batch is None else len(self.m.batches.batch.undo))

    def _ended(self, launched: list[Dispatch], blocks: np.ndarray, task: Task) -> None:
        """Check what a chunk has done as a whole, and put it into the trace."""
        first = launched[0]
        if task.cube and task.misuse is not None:
            raise task.misuse
        if task.pipes:
            self.m.pipes.check_rings()
        if self.m.fit:
            self.m.onchip.check_fit(first, self.m.onchip.planned(first, task).peaks)
        arguments = [(Argument(t.buffer.id, 0, t.shape, t.strides), t.offset, b) for t, b in task.arguments.values()]
        if self.m.batches.batch is not None:
            self.m.batches.batch.accessed(task.shapes, task.offsets)
            if not self.m.batches.batch.groups:  # blocks of one pl.spmd
                self.m.batches.check_conflicts()
        rewritten = self.m.batches.written.note([a.buffer for a, _, bits in arguments if bits & OUT])
        for d in launched if rewritten else ():
            d.rewritten |= rewritten
        for rows, chunk in self._chunks(task, blocks, arguments):
            if len(launched) == 1:
                first.parts.append(Part(chunk, None))
                continue
            for row, d in enumerate(launched if rows is None else (launched[r] for r in rows)):
                d.parts.append(Part(chunk, row))
        site = (first.name, first.place)
        if len(task.memory) > len(self.m.trace.memory.get(site, ())):
            self.m.trace.memory[site] = task.memory

    def _chunks(self, task: Task, blocks: np.ndarray, arguments: list) -> list[tuple[np.ndarray | None, Chunk]]:
        """The chunk that a task becomes, or one for each group of rows that made the same accesses: (rows, chunk)."""
        planned = self.m.onchip.planned(self.launched[0], task)
        top = planned.peaks
        shapes = np.asarray(task.shapes, np.int32)
        if not task.varying:
            program = self.m.onchip.program(task, task.shapes, planned)
            offsets = task.offsets
            return [(None, Chunk(blocks, shapes, offsets, arguments, task.work(), top, self.phase, program))]
        numbers = list(task.varying)
        table = np.stack([task.varying[n] for n in numbers], 1)
        out = []
        for rows in split_by(np.arange(len(blocks)), table):
            part = shapes.copy()
            part[numbers] = table[rows[0]]
            everything = part.tolist()
            made = np.flatnonzero(part >= 0)  # an access that a block takes no part in is none
            part = part[made]
            offsets = [o[rows] if isinstance(o, np.ndarray) else o for o in (task.offsets[n] for n in made)]
            uses = [(a, o[rows] if isinstance(o, np.ndarray) else o, bits) for a, o, bits in arguments]
            work, program = task.work(int(rows[0])), self.m.onchip.program(task, everything, planned)
            out.append((rows, Chunk(blocks[rows], part, offsets, uses, work, top, self.phase, program)))
        return out

    def barrier(self, at: Place, core_type: str = "mix", mode: str = "hard") -> None:
        """`pl.system.syncall`: every block waits here for all the others."""
        if self.task is None:
            raise self.m.fault(at, "pl.system.syncall outside an InCore region")
        if self.m.pipes.cores is not None:
            self.m.pipes.rendezvous(at)
            return
        here = Syncall(at, core_type, mode)
        for d in self.launched:
            if here not in d.barriers:
                d.barriers = (*d.barriers, here)
        if self.block_num == 1:
            return
        self.barriers += 1
        if self.barriers > self.phase:
            raise Barrier
        if self.barriers == self.phase:
            self.quiet = False
            self.dry = self.settled
            if self.phases.passes:
                use = self.phases.used(self._rows())
                self.task.resume(use)
                self.m.onchip.resume(use.clock)
            self.task.forget_work()

    def came_to_barrier(self) -> None:
        """The blocks have come to the barrier at which their phase ends."""
        self.phases.came_to_barrier(self._rows(), self.task, self.m.onchip.clock)

    def needs(self, number: int) -> bool:
        """False for a loop between barriers that an earlier phase has gone through and that leaves nothing to know."""
        opened = self.m.kept is not None or self.m.reopened is not None  # a task that is opened knows no other phase
        passes = self.quiet and self.dry and not self.settled and self.m.masks.mask is None and not opened
        if passes and self.phases.known(number, self._rows()):
            self.phases.pass_over()
            return False
        self.phases.begin(number, self.barriers)
        return True

    def gone_through(self, number: int, before: tuple, after: tuple) -> None:
        """A loop between barriers has ended; `before` and `after`: what the names held that it binds."""
        if not self.quiet and self.m.masks.mask is None:
            self.phases.end(number, self.barriers, self._rows(), before, after)

    def _rows(self) -> np.ndarray:
        """The numbers of the blocks that run."""
        return self.block.values if type(self.block) is Lanes else np.array([self.block])

    def split_aiv(self, mode: str) -> Iterator[int]:
        """`pl.split_aiv(2, mode=...)`: the two vector lanes of a cluster, one after the other."""
        around = self.lane, self.inside
        self.halves.clear()
        try:
            for lane in (0, 1):
                self.lane, self.inside = (mode, lane), (self.inside[0], 2)
                yield lane
        finally:
            self.lane, self.inside = around

    def pipeline(self, at: Place, *bounds: Any, stage: int, fixed: bool = False) -> Iterator[int]:
        """`pl.pipeline`: a sequential loop whose loads hold `stage` buffers; `fixed` when its bounds are constants.

        Turns that its stages leave over follow it, and their loads come first in the pipeline around (pass 29). There
        what they load goes on before the loop if that has to wait: for what the turn around computes before it, or for
        the last of those that the turn before leaves over.
        """
        turns = list(counted(*bounds))  # `Diverged` leaves nothing behind
        around = self.inside, self.turn_of, self.since
        if stage > 1:
            self.inside = (at, around[0][1])
        rest = len(turns) - len(turns) % stage
        waits = self._computed() > around[2][0] and any(t.stages > 1 for t in around[1])
        try:
            for turn, i in enumerate(turns):
                if turn % stage == 0:
                    start = self.m.onchip.clock + 1
                if turn < rest:
                    now = Turn(at, turn % stage, stage, start)
                else:
                    number, left = turn - rest, len(turns) - rest
                    ready = waits or (around[2][1] > 0 and number < left - 1)
                    outer = around[1][-1].start if fixed and around[1] else None
                    now = Turn(at, number, left, outer, True, ready)
                self.turn_of, self.since = (*around[1], now), (self._computed(), now.stage)
                yield i
        finally:
            self.inside, self.turn_of, self.since = around

    def _computed(self) -> int:
        return self.task.cube_ops + self.task.vector_ops

    def repeat(self, *bounds: Any) -> Iterable[int]:
        """Another loop in a region. In a `pl.pipeline` the loads of each of its turns come first in it."""
        turns = counted(*bounds)
        return self._repeated(turns) if self.turn_of else turns

    def _repeated(self, turns: Iterable[int]) -> Iterator[int]:
        around = self.turn_of, self.since
        try:
            for i in turns:
                self.turn_of = tuple(t._replace(start=self.m.onchip.clock + 1) for t in around[0])
                self.since = self._computed(), 0
                yield i
        finally:
            self.turn_of, self.since = around


class MachinePart:
    """A part of a machine, which owns what it assigns; it reaches the others through the whole."""

    def __init__(self, m: Machine):
        self.m, self.now = m, m.now
