"""Launches: what starts, runs and ends a task, and the chunks that it leaves in the trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from helpers.interpret.machine.batches import Conflict, split_by
from helpers.interpret.machine.phases import Phases
from helpers.interpret.machine.task import Task
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import OUT, Access, Argument, Chunk, Dispatch, Part, Syncall
from helpers.interpret.values.kept import Mark
from helpers.interpret.values.lanes import Lanes, counted, one
from helpers.interpret.values.seen import Enough
from helpers.interpret.values.values import TaskId, Tensor, Tile, Turn

SPLIT_AXES = {"UP_DOWN": 0, "LEFT_RIGHT": 1}  # mode of pl.split -> the axis that it halves


class Barrier(Exception):
    """The running blocks have come to the barrier at which this phase ends."""


class Crossing(Exception):
    """A tile made before a barrier is used after it."""


class Gate(NamedTuple):
    """The predicate= of a launch: whether it is true, and the elements that the scheduler reads for it."""

    open: bool
    reads: tuple[tuple[Access, int], ...]


OPEN = Gate(True, ())


class Launches:
    """The part of a `Machine` that starts and ends tasks."""

    def gate(self, compare: Callable[[], Any]) -> Gate:
        """Evaluate predicate= of the next launch, and keep what it reads: the scheduler does, not orchestration."""
        if self.batch is not None:
            raise Conflict  # each turn reads its own
        self.gated = []
        try:
            return Gate(bool(one(compare())), tuple(self.gated))
        finally:
            self.gated = None

    def dispatch(self, at: Place, name: str, kind: str, blocks: int, deps: tuple[int, ...] = (), early: bool = False,
                 no_dep: frozenset[int] = frozenset(), sync_start: bool = False,
                 split: str = "NONE", predicate: Gate = OPEN) -> list[Dispatch]:  # fmt: skip
        """Begin a launch; its chunks follow. Inside a batch of `pl.parallel` turns it is one launch a turn."""
        if self.look is not None and self.batch is None and self.look.complete():
            raise Enough
        self._first = set()
        made = [
            Dispatch(
                -1, name, at, kind, blocks, self._scopes[-1], self._scope_count, deps, no_dep, early,
                sequential=self._sequential > 0, sync_start=sync_start, split=split, gates=predicate.reads,
                skipped=not predicate.open,
            )
            for _ in range(1 if self.batch is None else len(self.batch.ids))
        ]  # fmt: skip
        if self.batch is None:
            self._commit(made)
        else:
            self.batch.groups.append(made)
        if self.replay is not None and self.replay.only is not None:
            self.dry = self._dry = made[0].index not in self.replay.only
        if self.follow is not None:
            self.dry = self._dry = at not in self.follow.sites
        if self.reopened is not None:
            group = -1 if self.batch is None else len(self.batch.groups) - 1
            number = len(self.trace.dispatches)
            self.dry = self._dry = not self.reopened.wants(made[0].index, number, group)
        return made

    def _commit(self, dispatches: list[Dispatch]) -> None:
        """List the launches of a turn, or one that is in no batch."""
        for d in dispatches:
            d.index = len(self.trace.dispatches)
            self.trace.dispatches.append(d)
            if d.deps and min(d.deps) < 0:
                d.deps = tuple(dispatches[-1 - n].index if n < 0 else n for n in d.deps)

    @contextmanager
    def running(self, launched: list[Dispatch], blocks: np.ndarray) -> Iterator[None]:
        """Execute a chunk: blocks of one dispatch, or one block of several. On an exception it leaves no mark."""
        first = launched[0]
        if self.task is not None:
            raise self.fault(first.place, "a task is launched inside an InCore region", "launch it from orchestration")
        if self._tell is not None:
            self._tell(len(blocks))
        task = self.task = Task(self.clock, SPLIT_AXES.get(first.split))
        self._launched = launched
        again = self.reopened is not None and not self.dry  # a chunk that is done again
        if again:
            self.log.take_back()
            self.reopened.begin(launched)
        looks = self.look is not None and (again or self.reopened is None)
        if looks and self.look.begin(launched, blocks, self.phase):
            self.looking = self.look
        if self.dumps is not None:
            turns = None if first.kind == "spmd" else self.batch
            self.dumping = self.dumps.begin(launched, turns)
        start = self._written_so_far()
        try:
            yield
            if self.reopened is None:
                self._ended(launched, blocks, task)
            elif again:
                self.reopened.end()
            if self.kept is not None:
                batch = self.batch
                group = (len(batch.groups) - 1, len(self.trace.dispatches)) if batch and batch.groups else None
                mark = Mark(launched, blocks, self.phase, batch is not None, group, start, self._written_so_far())
                self.kept.marks.append(mark)
            if self.looking is not None:
                self.looking.end(task.memory, None)
            if self.dumps is not None:
                self.dumps.end(launched, turns, task, self.tags, self.trace)
        except BaseException as error:
            if self.looking is not None:
                self.looking.end(task.memory, error)
            raise
        finally:
            self.task = self.looking = self.dumping = None
            if self.follow is not None:
                self.dry = self._dry = True
        if again and not self.reopened.left:
            raise Enough

    def _written_so_far(self) -> int:
        """Entries that the log has, or will have when the batch that runs is done."""
        return len(self.log.entries) + (0 if self.batch is None else len(self.batch.undo))

    def _ended(self, launched: list[Dispatch], blocks: np.ndarray, task: Task) -> None:
        """Check what a chunk has done as a whole, and put it into the trace."""
        first = launched[0]
        if task.cube and task.misuse is not None:
            raise task.misuse
        if task.pipes:
            self.check_rings()
        if self.fit:
            self._check_fit(first, self._plan(first, task).peaks)
        arguments = [(Argument(t.buffer.id, 0, t.shape, t.strides), t.offset, b) for t, b in task.arguments.values()]
        if self.batch is not None:
            self.batch.shapes += task.shapes
            self.batch.offsets += task.offsets
            if not self.batch.groups:  # blocks of one pl.spmd
                self._check_conflicts()
        rewritten = self._note_writes([a.buffer for a, _, bits in arguments if bits & OUT])
        for d in launched if rewritten else ():
            d.rewritten |= rewritten
        for rows, chunk in self._chunks(task, blocks, arguments):
            if len(launched) == 1:
                first.parts.append(Part(chunk, None))
                continue
            for row, d in enumerate(launched if rows is None else (launched[r] for r in rows)):
                d.parts.append(Part(chunk, row))
        site = (first.name, first.place)
        if len(task.memory) > len(self.trace.memory.get(site, ())):
            self.trace.memory[site] = task.memory

    def _note_writes(self, buffers: list[int]) -> frozenset[int]:
        """Remember that these buffers are written; returns those that an earlier launch of the scope had written."""
        again = []
        for b in buffers:
            if b in self._first:
                continue
            if any(b in body for body in self._written):
                again.append(b)
            else:
                self._first.add(b)
                self._written[-1].add(b)
        return frozenset(again)

    def _chunks(self, task: Task, blocks: np.ndarray, arguments: list) -> list[tuple[np.ndarray | None, Chunk]]:
        """The chunk that a task becomes, or one for each group of rows that made the same accesses: (rows, chunk)."""
        planned = self._plan(self._launched[0], task)
        top = planned.peaks
        shapes = np.asarray(task.shapes, np.int32)
        if not task.varying:
            program = self._program(task, task.shapes, planned)
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
            work, program = task.work(int(rows[0])), self._program(task, everything, planned)
            out.append((rows, Chunk(blocks[rows], part, offsets, uses, work, top, self.phase, program)))
        return out

    @contextmanager
    def at(
        self, place: Place, name: str, deps: tuple[int, ...] = (), early: bool = False, no_dep_args: Any = (),
        split: str = "NONE",
    ) -> Iterator[TaskId]:  # fmt: skip
        """`with pl.at(level=pl.Level.CORE_GROUP, ...) as tid:`"""
        no_dep = frozenset(t.buffer.id for t in no_dep_args)
        launched = self.dispatch(place, name, "at", 1, deps, early, no_dep, split=split)
        self.block, self.block_num = 0, 1
        with self.running(launched, np.zeros(len(launched), np.int64)):
            yield self.task_id(launched)

    def incore(self, place: Place, name: str, body: Callable, args: tuple) -> Any:
        """Call of a `@pl.jit.incore` function: one task."""
        launched = self.dispatch(place, name, "incore", 1)
        self.block, self.block_num = 0, 1
        with self.running(launched, np.zeros(len(launched), np.int64)):
            return self._exported(place, body(self, *args))

    def _exported(self, place: Place, result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(self.export(place, r) for r in result)
        return self.export(place, result)

    def spmd(self, place: Place, n: Any, body: Callable, captured: tuple, name: str, deps: tuple[int, ...] = (),
             early: bool = False, sync_start: bool = False, predicate: Gate = OPEN, split: str = "NONE",
             ) -> tuple[TaskId, tuple]:  # fmt: skip
        """Run `body(machine, block, *captured)` for blocks 0..n-1; returns the task id and the body's last result.

        Raises:
            FaultError: the number of blocks is not a positive integer.
        """
        n = one(n)
        if not isinstance(n, (int, np.integer)) or n < 1:
            raise self.fault(place, f"pl.spmd over {n} blocks", "give a positive number of blocks")
        if self.batch is not None:
            raise Conflict  # turns of a pl.parallel that launch many blocks each run one by one
        launched = self.dispatch(
            place, name, "spmd", int(n), deps, early, sync_start=bool(sync_start), split=split, predicate=predicate
        )
        tid = self.task_id(launched)
        if not predicate.open:
            return tid, captured
        self.block_num = int(n)
        self.phase, self.phases = 0, Phases(int(n))
        while True:
            stopped, out = self._phase(place, launched, body, captured, int(n))
            if not stopped:
                break
            self.phase += 1
        self.phase, self.block, self.block_num = 0, 0, 1
        if self.dumps is not None:
            self.dumps.finish(launched)
        return tid, tuple(None if isinstance(v, Tile) else v for v in out)  # a tile ends with its block

    def _phase(
        self, place: Place, launched: list[Dispatch], body: Callable, captured: tuple, n: int
    ) -> tuple[bool, tuple]:
        """Run all blocks from the last barrier to the next; returns whether they stopped at one, and the body's result.

        What a block did before is gone through again without effect, for its scalars. Where a tile lives across the
        barrier, that part is computed again.
        """
        dry, out, stopped = self.dry, captured, set()

        def run(block: Any) -> bool:
            nonlocal out
            again, last = False, int(block.values[-1] if type(block) is Lanes else block) == n - 1
            while True:
                self.barriers, self.phases.passes = 0, False
                self.quiet = self.phase > 0
                self._dry, self.dry = dry, dry or (self.quiet and not again)
                try:
                    found = body(self, block, *captured)
                    if last:
                        out = tuple(of_block(v, -1) for v in found)
                    return False
                except Barrier:
                    self.phases.came_to_barrier(self._rows(), self.task.use(self.clock))
                    return True
                except Crossing:
                    if again:
                        raise
                    again = True
                finally:
                    self.dry, self.quiet = dry, False

        def together(ids: np.ndarray) -> None:
            self.block = Lanes(ids)
            with self.batched(ids), self.running(launched, ids):
                found = run(self.block)
            stopped.add(found)

        def alone(i: int) -> int:
            self.block = i
            with self.running(launched, np.array([i])):
                stopped.add(run(i))
                return self.task.largest

        if self.reopened is not None:  # of others only what orchestration goes on with
            ids, as_batch = ([n - 1], False) if dry else self.reopened.chosen(self.phase)
            together(ids) if as_batch else alone(int(ids[0]))
        elif self.replay is not None and launched[0].index in self.replay.backward:
            for i in reversed(range(n)):
                alone(i)
        else:
            self._in_batches(place, np.arange(n), together, alone, dry, blocks=True)
        if len(stopped) > 1:
            raise self.fault(
                place, "some blocks come to a pl.system.syncall that others do not: it never completes",
                "let every block pass the same barriers", kind="syncall",
            )  # fmt: skip
        return stopped.pop(), out

    def barrier(self, at: Place, core_type: str = "mix", mode: str = "hard") -> None:
        """`pl.system.syncall`: every block waits here for all the others."""
        if self.task is None:
            raise self.fault(at, "pl.system.syncall outside an InCore region")
        if self.cores is not None:
            self.rendezvous(at)
            return
        here = Syncall(at, core_type, mode)
        for d in self._launched:
            if here not in d.barriers:
                d.barriers = (*d.barriers, here)
        if self.block_num == 1:
            return
        self.barriers += 1
        if self.barriers > self.phase:
            raise Barrier
        if self.barriers == self.phase:
            self.quiet = False
            self.dry = self._dry
            if self.phases.passes:
                use = self.phases.used(self._rows())
                self.task.resume(use)
                self.clock = use.clock
            self.task.forget_work()

    def needs(self, number: int) -> bool:
        """False for a loop between barriers that an earlier phase has gone through and that leaves nothing to know."""
        if self.quiet and self.dry and not self._dry and self.mask is None and self.phases.known(number, self._rows()):
            self.phases.passes = True
            return False
        self.phases.begin(number, self.barriers)
        return True

    def gone_through(self, number: int, before: tuple, after: tuple) -> None:
        """A loop between barriers has ended; `before` and `after`: what the names held that it binds."""
        if not self.quiet and self.mask is None:
            self.phases.end(number, self.barriers, self._rows(), before, after)

    def _rows(self) -> np.ndarray:
        """The numbers of the blocks that run."""
        return self.block.values if type(self.block) is Lanes else np.array([self.block])

    def submit(self, place: Place, name: str, body: Callable, args: tuple, deps: tuple[int, ...] = (),
               early: bool = False, core_num: int | None = None, predicate: Gate = OPEN,
               kept: tuple = ()) -> tuple:  # fmt: skip
        """`pl.submit` and `pl.spmd_submit`: (what the kernel returns, its task id).

        `kept`: for each value that the kernel returns, the number of the argument that it is; these are the results
        where `predicate` is false and nothing runs.
        """
        untouched = tuple(None if i is None else args[i] for i in kept)
        untouched = untouched[0] if len(untouched) == 1 else untouched
        if core_num is None:
            launched = self.dispatch(place, name, "incore", 1, deps, early, predicate=predicate)
            if not predicate.open:
                return untouched, self.task_id(launched)
            self.block, self.block_num = 0, 1
            with self.running(launched, np.zeros(len(launched), np.int64)):
                result = self._exported(place, body(self, *args))
            return result, self.task_id(launched)
        results: list = []

        def blocks(m: Any, _: Any) -> tuple:
            results[:] = [body(m, *args)]
            return ()

        tid, _ = self.spmd(place, core_num, blocks, (), name, deps, early, predicate=predicate)
        return (results[0] if results else untouched), tid

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

    def export(self, place: Place, value: Any) -> Any:
        """A value that leaves an InCore region: a tile becomes a new tensor in global memory."""
        if not isinstance(value, Tile):
            return value
        if len(value.shape) == 1:
            n = value.shape[0]
            raise self.fault(
                place, f"{value}, which has one axis, leaves its region", f"pl.reshape it to [1, {n}] there"
            )
        t = self.allocate(f"{place.line}", value.shape, value.dtype, at=place)
        self.store(place, Tensor(t.buffer, t.offset, t.shape, t.strides, t.dtype, value.valid), value)
        t.valid = value.valid
        return t

    def called(self, at: Place, fn: Callable, *tensors: Any) -> Any:
        """An inline function is called with these tensors; returns the first.

        Raises:
            FaultError: it was called with other shapes before: PyPTO compiles it for one.
        """
        shapes = [(t.shape, t.dtype) for t in tensors if isinstance(t, (Tensor, Tile))]
        known = self._called.setdefault(fn, shapes)
        if known != shapes:
            was, now = (", ".join(f"{list(s)} {d}" for s, d in x) for x in (known, shapes))
            raise self.fault(at, f"'{fn.__name__}' is called with ({now}) and was with ({was})", "write one for each")
        return tensors[0]

    @contextmanager
    def scope(self, manual: bool) -> Iterator[None]:
        """`pl.scope` / `pl.manual_scope`."""
        self._scope_count += 1
        self._scopes.append(manual)
        try:
            with self.opened():
                yield
        finally:
            self._scopes.pop()

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
                    start = self.clock + 1
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
                self.turn_of = tuple(t._replace(start=self.clock + 1) for t in around[0])
                self.since = self._computed(), 0
                yield i
        finally:
            self.turn_of, self.since = around


def of_block(value: Any, row: int) -> Any:
    """What a name holds in one block of a batch."""
    if type(value) is Lanes:
        found = value.values[row]
        return found if isinstance(found, np.floating) else found.item()
    if isinstance(value, Tensor) and type(value.offset) is np.ndarray:
        return Tensor(value.buffer, int(value.offset[row]), value.shape, value.strides, value.dtype, value.valid)
    return value
