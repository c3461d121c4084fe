"""Blocks of a `pl.spmd`, and turns of a loop of orchestration, that run as one (see `lanes`).

A batch is optimistic: stores keep what they overwrite, and when blocks disagree on control flow (`Diverged`) or touch
each other's memory (`Conflict`) everything the batch wrote is put back and its blocks run again in smaller groups, at
last one by one in program order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import FaultError
from helpers.interpret.machine.now import MachinePart
from helpers.interpret.machine.task_ids import Carry
from helpers.interpret.source.source import Place
from helpers.interpret.trace.boxes import separate, unrelated
from helpers.interpret.trace.trace import READ, Access, Dispatch
from helpers.interpret.values.kept import Past, restore
from helpers.interpret.values.lanes import Diverged, Lanes, counted_turns, split_by
from helpers.interpret.values.values import same, unchanged

if TYPE_CHECKING:
    from helpers.interpret.machine.machine import Machine

# A batch of blocks may hold this many elements in its largest tile: 2^18 FP32 values are 1 MB, which stay in a core's
# cache, and are enough to hide the cost of a torch call. Tiles so large that only a few fit gain nothing from a batch
# and lose the cache to it: they run one by one. Measured with bench.interpreters and bench.beside_golden.
BATCH_ELEMENTS = 1 << 18
FEW = 4

# How many blocks of the pl.spmd at a place fit in a batch, learned from its first block; kept from run to run.
BATCH_SIZES: dict[Place, int] = {}


class Conflict(Exception):
    """Blocks of one batch touch the same memory, so they must run one by one."""


class Unfollowed(Exception):
    """A launch that a run without arithmetic computes all the same reads what has not been computed."""


class Batch:
    """Blocks of a `pl.spmd`, or turns of a `pl.parallel`, that execute together, and how to take it back."""

    __slots__ = ("ids", "undo", "shapes", "offsets", "groups")

    def __init__(self, ids: np.ndarray):
        self.ids = ids
        self.undo: list[tuple] = []  # (where, what was there), in order of writing
        self.shapes: list[int] = []
        self.offsets: list = []
        self.groups: list[list[Dispatch]] = []  # of a pl.parallel: for each launch of its body, one dispatch a turn

    def accessed(self, shapes: list[int], offsets: list) -> None:
        """A task has made these accesses."""
        self.shapes += shapes
        self.offsets += offsets

    def take_back(self) -> None:
        """Restore everything that was overwritten."""
        restore([(where, old) for where, old, _ in self.undo])


class Split:
    """A batch whose blocks diverged and run in groups: what the groups did, until all of them are done."""

    __slots__ = ("ids", "left", "done", "mark", "kept", "groups")

    def __init__(self, ids: np.ndarray, mark: tuple[int, int, int], kept: tuple | None, groups: int):
        self.ids, self.left, self.mark = ids, len(ids), mark
        self.kept, self.groups = kept, groups  # where the record of the run was, and how many groups were done
        self.done: list[Batch] = []


class Written:
    """The buffers that are written so far, by each loop body around, and before it."""

    def __init__(self) -> None:
        self._bodies: list[set[int]] = [set()]
        self._first: set[int] = set()  # those that the latest launch was the first to write

    def begin_launch(self) -> None:
        """A launch begins."""
        self._first = set()

    def note(self, buffers: list[int]) -> frozenset[int]:
        """Remember that these are written; returns those that an earlier launch of the scope had written."""
        again = []
        for b in buffers:
            if b in self._first:
                continue
            if any(b in body for body in self._bodies):
                again.append(b)
            else:
                self._first.add(b)
                self._bodies[-1].add(b)
        return frozenset(again)

    @contextmanager
    def turn(self, loop: set[int]) -> Iterator[None]:
        """A turn of a loop, whose turns do not see each other's; what it writes is added to `loop`."""
        self._bodies.append(set())
        try:
            yield
        finally:
            loop.update(self._bodies.pop())

    def after(self, loop: set[int]) -> None:
        """A loop ends."""
        self._bodies[-1] |= loop


class Batches(MachinePart):
    """Runs blocks and turns together."""

    def __init__(self, m: Machine):
        super().__init__(m)
        self.batch: Batch | None = None
        self.sequential = 0  # pl.range and while loops of orchestration around
        self.written = Written()
        self._latest: Batch | None = None
        self._sizes: dict[Place, int] = {} if m.now.dry else BATCH_SIZES
        self._widest = 1  # blocks or turns of the largest batch made inside the loop that runs

    @contextmanager
    def batched(self, ids: np.ndarray) -> Iterator[None]:
        """Run several blocks or turns as one; whatever goes wrong, what they wrote is taken back."""
        self.batch = self._latest = Batch(ids)
        buffers, kept = len(self.m.trace.buffers), self.m.kept and self.m.kept.position()
        try:
            yield
            for where, old, argument in self.batch.undo:
                if argument or self.m.logs_all:
                    self.m.log.add(where, old)
        except BaseException:
            self.batch.take_back()
            if self.m.dumps is not None:
                self.m.dumps.restored()
            del self.m.trace.buffers[buffers:]
            if kept is not None:
                self.m.kept.back(kept)
            raise
        finally:
            self.batch = None

    def commit(self, dispatches: list[Dispatch]) -> None:
        """List the launches of a turn, or one that is in no batch."""
        for d in dispatches:
            d.index = len(self.m.trace.dispatches)
            self.m.trace.dispatches.append(d)
            if d.deps and min(d.deps) < 0:
                d.deps = tuple(dispatches[-1 - n].index if n < 0 else n for n in d.deps)

    def check_conflicts(self) -> None:
        """Raise Conflict when two blocks of the batch touch the same memory and one of them writes."""
        batch, shapes = self.batch, self.m.trace.shapes
        touched: dict[int, list[tuple[Access, Any]]] = defaultdict(list)
        for s, offset in zip(batch.shapes, batch.offsets):
            touched[shapes[s].buffer].append((shapes[s], offset))
        for entries in touched.values():
            written = any(access.mode != READ for access, _ in entries)
            if written and not separate(entries, len(batch.ids)):
                raise Conflict

    def turns(self, place: Place, bounds: tuple, body: Callable, captured: tuple, sequential: bool,
              ids: dict[int, str] | None = None, fixed: bool = True) -> tuple:  # fmt: skip
        """A loop of orchestration: `body(machine, i, *captured)` for every i; returns what `captured` hold at its end.

        The turns of a `pl.parallel` are independent by the language's definition, so they run in batches like the
        blocks of a `pl.spmd`; a turn that hands a value on to the next, or touches what another writes, shows that it
        is not, and then the turns run one by one. Those of a `pl.range` run one by one, but for a dry run, where
        nothing is computed that could be handed on. The trace lists the launches turn by turn either way.
        `ids` and `fixed`: see `Carry`.
        """
        entry, start = captured, len(self.m.trace.dispatches)
        noted = self.batch is None and not ids  # where it ends, for those who open a task that is not in it
        if noted and self._past(place, False):
            return captured
        numbers = np.array(counted_turns(bounds), np.int64)
        way = -1 if len(numbers) > 1 and numbers[1] < numbers[0] else 1
        carry = Carry(self.m, place, len(numbers), ids or {}, sequential, fixed)
        written: set[int] = set()
        turns: dict[int, int] = {}  # id of a launch -> the turn that made it, counted up

        def turn(i: Any, values: tuple) -> tuple:
            with self.written.turn(written), self.m.ids.body():
                return body(self.m, i, *values)

        def past() -> bool:
            """Pass over a turn, or a batch of turns, when a task is opened that is not in it."""
            return noted and self._past(place, True)

        def together(ids: np.ndarray) -> None:
            nonlocal captured
            if past():
                return
            first, holding = len(self.m.trace.dispatches), captured
            values = carry.entering(captured)
            with self.batched(ids):
                out = turn(Lanes(ids), values)
                if not all(same(a, b) or carry.parallel(n, b) for n, (a, b) in enumerate(zip(values, out))):
                    raise Conflict
                if not self.m.skips(place) and self.m.reopened is None:
                    self.check_conflicts()
                groups = self.batch.groups
            if self.m.dumps is not None:
                self.m.dumps.finish_turns(self._latest)
            rows = [(int(i) * way, [group[row] for group in groups]) for row, i in enumerate(ids)]
            for i, made in rows:
                self.commit(made)
                turns.update((id(d), i) for d in made)
            captured = carry.leaving(values, out, rows)
            if noted:
                self._note_past(place, True, first, holding, captured)

        def alone(i: int) -> int:
            nonlocal captured
            if past():
                return self.m.onchip.largest
            first, holding, values = len(self.m.trace.dispatches), captured, carry.entering(captured)
            captured = carry.leaving(values, turn(i, values), [(i * way, [])])
            turns.update((id(d), i * way) for d in self.m.trace.dispatches[first:])
            if noted:
                self._note_past(place, True, first, holding, captured)
            return self.m.onchip.largest

        self.sequential += sequential
        try:
            if self.batch is not None or self.m.replay is not None or (sequential and not self.m.skips(place)):
                for i in numbers:
                    alone(int(i))
            else:
                self.m.onchip.forget_largest()
                self.in_batches(place, numbers, together, alone, self.m.skips(place))
                if self.m.reopened is None:
                    self._in_order(start, [turns[id(d)] for d in self.m.trace.dispatches[start:]])
        finally:  # also when a batch around this loop is given up
            self.sequential -= sequential
            if self.m.follow is not None:
                self.m.follow.inside.setdefault(place, set()).update(d.place for d in self.m.trace.dispatches[start:])
        self.written.after(written)
        if noted:
            self._note_past(place, False, start, entry, captured)
        return carry.after(captured)

    def _past(self, place: Place, turn: bool) -> bool:
        """Pass over a loop or a turn of it, if a task is opened that is not in it; the trace goes on as if not."""
        return self.m.reopened is not None and self.m.reopened.past(
            place, turn, self.m.trace.dispatches, self.m.trace.buffers
        )

    def _note_past(self, place: Place, turn: bool, start: int, before: tuple, after: tuple) -> None:
        """Note where a loop or a turn of it ended, for `_past`."""
        if self.m.kept is None:
            return
        end = Past(self.m.trace.dispatches[start:], len(self.m.trace.buffers), len(self.m.kept.numbers))
        if end.launches and all(map(unchanged, before, after)):
            self.m.kept.loops[place, turn, start] = end
        else:
            self.m.kept.loops.pop((place, turn, start), None)

    def _in_order(self, start: int, turns: list[int]) -> None:
        """List the launches from number `start` on by turn: turns that diverged ran in another order."""
        if turns == sorted(turns):
            return
        launches = self.m.trace.dispatches[start:]
        order = sorted(range(len(launches)), key=lambda i: turns[i])
        number = {launches[i].index: start + n for n, i in enumerate(order)}
        for n, i in enumerate(order):
            d = self.m.trace.dispatches[start + n] = launches[i]
            d.index = start + n
            d.deps = tuple(number.get(k, k) for k in d.deps)

    def in_batches(
        self, place: Place, ids: np.ndarray, together: Callable, alone: Callable, empty: bool, blocks: bool = False
    ) -> None:
        """Run `ids` in batches whose tiles fit the cache; `empty`: nothing is computed, and all fit.

        `blocks`: they are blocks of a launch. Where they cannot run together in a run that has asked for what it does
        not know, and so is gone through again, the last stands for all of them.

        Where the size is not known yet the first runs alone; blocks that compute nothing need none. A loop around one
        that makes larger batches runs turn by turn, so that the inner one can. Where blocks diverge they run in groups,
        which is another order: when the groups turn out to touch each other's memory, all of them are taken back and
        run one by one.
        """
        count = len(ids)
        if self.m.reopened is not None:  # as the run did it
            for group, as_batch in self.m.reopened.kept.groups[place, len(self.m.trace.dispatches), self.now.phase]:
                together(group) if as_batch else alone(int(group[0]))
            return
        done: list[tuple[np.ndarray, bool]] = []
        if self.m.kept is not None:
            self.m.kept.groups[place, len(self.m.trace.dispatches), self.now.phase] = done
        todo: list[tuple[np.ndarray, Split | None]] = [(ids, None)]
        if empty and blocks:
            self._sizes.setdefault(place, BATCH_ELEMENTS)
        elif place not in self._sizes:
            todo = [(ids[:1], None), (ids[1:], None)]
        while todo:
            ids, split = todo.pop(0)
            size = self._sizes.get(place, 1)
            if empty and size > 1:
                size = count
            if len(ids) > size == 1 and blocks and self._in_vain(empty):
                ids = ids[-1:]
            elif len(ids) > size:
                todo.insert(0, (ids[size:], split))
                ids = ids[:size]
            if not len(ids):
                continue
            if len(ids) == 1 and split is None:
                around, self._widest = self._widest, 1
                largest = alone(int(ids[0]))
                done.append((ids, False))
                if place not in self._sizes:
                    size = BATCH_ELEMENTS // largest
                    self._sizes[place] = size if size >= FEW and self._widest <= count else 1
                self._widest = max(around, self._widest)
                continue
            try:
                together(ids)
                self._widest = max(self._widest, len(ids))
                done.append((ids, True))
                if split is not None:
                    split.done.append(self._latest)
                    split.left -= len(ids)
                    if not split.left and not empty and not self._unrelated(split.done):
                        raise Conflict
            except Diverged as e:
                split = split or Split(ids, self._mark(), self.m.kept and self.m.kept.position(), len(done))
                todo[:0] = [(group, split) for group in split_by(ids, e.values)]
            except (Conflict, FaultError):
                if empty:
                    self._sizes[place] = 1
                if split is not None:
                    self._take_back(split)
                    del done[split.groups :]
                    ids, todo = split.ids, [t for t in todo if t[1] is not split]
                few = [len(ids) - 1] if blocks and self._in_vain(empty) else range(len(ids))
                todo[:0] = [(ids[i : i + 1], None) for i in few]

    def _in_vain(self, empty: bool) -> bool:
        """True in a run without arithmetic that is gone through again, whatever it finds from here on."""
        return empty and self.m.follow is not None and self.m.follow.in_vain

    def _unrelated(self, batches: list[Batch]) -> bool:
        """True when no batch touches what another one writes."""
        shapes = self.m.trace.shapes
        written = {shapes[s].buffer for b in batches for s in b.shapes if shapes[s].mode != READ}
        groups = [[(s, o) for s, o in zip(b.shapes, b.offsets) if shapes[s].buffer in written] for b in batches]
        return unrelated(groups, shapes)

    def _mark(self) -> tuple[int, int, int]:
        """Where the trace ends now."""
        launches = self.m.trace.dispatches
        return len(self.m.trace.buffers), len(launches), len(launches[-1].parts) if launches else 0

    def _take_back(self, split: Split) -> None:
        """Undo every group of a split: in memory and in the trace."""
        for batch in reversed(split.done):
            batch.take_back()
        if self.m.dumps is not None:
            self.m.dumps.restored()
        buffers, launches, parts = split.mark
        del self.m.trace.buffers[buffers:], self.m.trace.dispatches[launches:]
        if launches:
            del self.m.trace.dispatches[-1].parts[parts:]
        if split.kept is not None:
            self.m.kept.back(split.kept)

    def loop(self, *bounds: Any) -> Iterator[int]:
        """A sequential loop of orchestration whose body is no function: it carries values, or is left early."""
        written: set[int] = set()
        self.sequential += 1
        try:
            for i in counted_turns(bounds):
                with self.written.turn(written), self.m.ids.body():
                    yield i
        finally:
            self.sequential -= 1
            self.written.after(written)
