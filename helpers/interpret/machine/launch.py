"""Launches: what starts a task, once or in many blocks, and what the scheduler reads before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from helpers.interpret.machine.batches import Conflict
from helpers.interpret.machine.now import Barrier, Crossing, MachinePart
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import Access, Dispatch
from helpers.interpret.values.lanes import Lanes, one
from helpers.interpret.values.seen import Enough
from helpers.interpret.values.values import TaskId, Tensor, Tile

if TYPE_CHECKING:
    from helpers.interpret.machine.machine import Machine


class Gate(NamedTuple):
    """The predicate= of a launch: whether it is true, and the elements that the scheduler reads for it."""

    open: bool
    reads: tuple[tuple[Access, int], ...]


OPEN = Gate(True, ())


class Launches(MachinePart):
    """Starts tasks."""

    def __init__(self, m: Machine):
        super().__init__(m)
        self.gated: list | None = None  # what the predicate= that is evaluated reads
        self._called: dict[Callable, list] = {}  # inline function -> shapes of its tensors

    def gate(self, compare: Callable[[], Any]) -> Gate:
        """Evaluate predicate= of the next launch, and keep what it reads: the scheduler does, not orchestration."""
        if self.m.batches.batch is not None:
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
        if self.m.look is not None and self.m.batches.batch is None and self.m.look.complete():
            raise Enough
        self.m.batches.written.begin_launch()
        made = [
            Dispatch(
                -1, name, at, kind, blocks, self.m.ids.scopes[-1], self.m.ids.scope_count, deps, no_dep, early,
                sequential=self.m.batches.sequential > 0, sync_start=sync_start, split=split, gates=predicate.reads,
                skipped=not predicate.open,
            )
            for _ in range(1 if self.m.batches.batch is None else len(self.m.batches.batch.ids))
        ]  # fmt: skip
        if self.m.batches.batch is None:
            self.m.batches.commit(made)
        else:
            self.m.batches.batch.groups.append(made)
        if self.m.replay is not None and self.m.replay.only is not None:
            self.now.compute(made[0].index in self.m.replay.only)
        if self.m.follow is not None:
            self.now.compute(at in self.m.follow.sites)
        if self.m.reopened is not None:
            group = -1 if self.m.batches.batch is None else len(self.m.batches.batch.groups) - 1
            number = len(self.m.trace.dispatches)
            self.now.compute(self.m.reopened.wants(made[0].index, number, group))
        return made

    @contextmanager
    def at(
        self, place: Place, name: str, deps: tuple[int, ...] = (), early: bool = False, no_dep_args: Any = (),
        split: str = "NONE",
    ) -> Iterator[TaskId]:  # fmt: skip
        """`with pl.at(level=pl.Level.CORE_GROUP, ...) as tid:`"""
        no_dep = frozenset(t.buffer.id for t in no_dep_args)
        launched = self.dispatch(place, name, "at", 1, deps, early, no_dep, split=split)
        with self.now.chunk(launched, np.zeros(len(launched), np.int64)):
            yield self.m.ids.task_id(launched)

    def incore(self, place: Place, name: str, body: Callable, args: tuple) -> Any:
        """Call of a `@pl.jit.incore` function: one task."""
        launched = self.dispatch(place, name, "incore", 1)
        with self.now.chunk(launched, np.zeros(len(launched), np.int64)):
            return self._exported(place, body(self.m, *args))

    def cluster(self, place: Place, name: str, members: Sequence[tuple]) -> Any:
        """`with pl.cluster()`: cube and vector functions that run together, as one task."""
        return self.incore(place, name, lambda m: m.pipes.together(place, members), ())

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
            raise self.m.fault(place, f"pl.spmd over {n} blocks", "give a positive number of blocks")
        if self.m.batches.batch is not None:
            raise Conflict  # turns of a pl.parallel that launch many blocks each run one by one
        launched = self.dispatch(
            place, name, "spmd", int(n), deps, early, sync_start=bool(sync_start), split=split, predicate=predicate
        )
        tid = self.m.ids.task_id(launched)
        if not predicate.open:
            return tid, captured
        with self.now.blocks(int(n)):
            stopped, out = self._phase(place, launched, body, captured, int(n))
            while stopped:
                self.now.next_phase()
                stopped, out = self._phase(place, launched, body, captured, int(n))
        if self.m.dumps is not None:
            self.m.dumps.finish(launched)
        return tid, tuple(None if isinstance(v, Tile) else v for v in out)  # a tile ends with its block

    def _phase(
        self, place: Place, launched: list[Dispatch], body: Callable, captured: tuple, n: int
    ) -> tuple[bool, tuple]:
        """Run all blocks from the last barrier to the next; returns whether they stopped at one, and the body's result.

        What a block did before is gone through again without effect, for its scalars. Where a tile lives across the
        barrier, that part is computed again.
        """
        dry, out, stopped = self.now.dry, captured, set()

        def run(block: Any) -> bool:
            nonlocal out
            again, last = False, int(block.values[-1] if type(block) is Lanes else block) == n - 1
            while True:
                try:
                    with self.now.begun(dry, again):
                        found = body(self.m, block, *captured)
                    if last:
                        out = tuple(of_block(v, -1) for v in found)
                    return False
                except Barrier:
                    self.now.came_to_barrier()
                    return True
                except Crossing:
                    if again:
                        raise
                    again = True

        def together(ids: np.ndarray) -> None:
            with self.m.batches.batched(ids), self.now.chunk(launched, ids, Lanes(ids)):
                found = run(self.now.block)
            stopped.add(found)

        def alone(i: int) -> int:
            with self.now.chunk(launched, np.array([i]), i):
                stopped.add(run(i))
                return self.now.task.largest

        if self.m.reopened is not None:  # of others only what orchestration goes on with
            ids, as_batch = ([n - 1], False) if dry else self.m.reopened.chosen(self.now.phase)
            together(ids) if as_batch else alone(int(ids[0]))
        elif self.m.replay is not None and launched[0].index in self.m.replay.backward:
            for i in reversed(range(n)):
                alone(i)
        else:
            self.m.batches.in_batches(place, np.arange(n), together, alone, dry, blocks=True)
        if len(stopped) > 1:
            raise self.m.fault(
                place, "some blocks come to a pl.system.syncall that others do not: it never completes",
                "let every block pass the same barriers", kind="syncall",
            )  # fmt: skip
        return stopped.pop(), out

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
                return untouched, self.m.ids.task_id(launched)
            with self.now.chunk(launched, np.zeros(len(launched), np.int64)):
                result = self._exported(place, body(self.m, *args))
            return result, self.m.ids.task_id(launched)
        results: list = []

        def blocks(m: Any, _: Any) -> tuple:
            results[:] = [body(m, *args)]
            return ()

        tid, _ = self.spmd(place, core_num, blocks, (), name, deps, early, predicate=predicate)
        return (results[0] if results else untouched), tid

    def export(self, place: Place, value: Any) -> Any:
        """A value that leaves an InCore region: a tile becomes a new tensor in global memory."""
        if not isinstance(value, Tile):
            return value
        if len(value.shape) == 1:
            n = value.shape[0]
            raise self.m.fault(
                place, f"{value}, which has one axis, leaves its region", f"pl.reshape it to [1, {n}] there"
            )
        t = self.m.memory.allocate(f"{place.line}", value.shape, value.dtype, at=place)
        self.m.memory.store(place, Tensor(t.buffer, t.offset, t.shape, t.strides, t.dtype, value.valid), value)
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
            raise self.m.fault(at, f"'{fn.__name__}' is called with ({now}) and was with ({was})", "write one for each")
        return tensors[0]


def of_block(value: Any, row: int) -> Any:
    """What a name holds in one block of a batch."""
    if type(value) is Lanes:
        found = value.values[row]
        return found if isinstance(found, np.floating) else found.item()
    if isinstance(value, Tensor) and type(value.offset) is np.ndarray:
        return Tensor(value.buffer, int(value.offset[row]), value.shape, value.strides, value.dtype, value.valid)
    return value
