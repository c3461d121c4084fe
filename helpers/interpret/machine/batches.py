"""Blocks of a `pl.spmd`, and turns of a loop of orchestration, that run as one (see `lanes`).

A batch is optimistic: stores keep what they overwrite, and when blocks disagree on control flow (`Diverged`) or touch
each other's memory (`Conflict`) everything the batch wrote is put back and its blocks run again in smaller groups, at
last one by one in program order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from helpers.errors import FaultError
from helpers.interpret.machine.task_ids import Carry
from helpers.interpret.source.source import Place
from helpers.interpret.trace.boxes import separate, unrelated
from helpers.interpret.trace.trace import READ, Access, Dispatch
from helpers.interpret.values.kept import Past, restore
from helpers.interpret.values.lanes import Diverged, Lanes, counted_turns
from helpers.interpret.values.values import Tensor

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


class Batches:
    """The part of a `Machine` that runs blocks and turns together."""

    @contextmanager
    def batched(self, ids: np.ndarray) -> Iterator[None]:
        """Run several blocks or turns as one; whatever goes wrong, what they wrote is taken back."""
        self.batch = self._latest = Batch(ids)
        buffers, kept = len(self.trace.buffers), self.kept and self.kept.position()
        try:
            yield
            for where, old, argument in self.batch.undo:
                if argument or self.logs_all:
                    self.log.add(where, old)
        except BaseException:
            self.batch.take_back()
            if self.dumps is not None:
                self.dumps.restored()
            del self.trace.buffers[buffers:]
            if kept is not None:
                self.kept.back(kept)
            raise
        finally:
            self.batch = None

    def _check_conflicts(self) -> None:
        """Raise Conflict when two blocks of the batch touch the same memory and one of them writes."""
        batch, shapes = self.batch, self.trace.shapes
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
        entry, start = captured, len(self.trace.dispatches)
        noted = self.batch is None and not ids  # where it ends, for those who open a task that is not in it
        if noted and self._past(place, False):
            return captured
        numbers = np.array(counted_turns(bounds), np.int64)
        way = -1 if len(numbers) > 1 and numbers[1] < numbers[0] else 1
        carry = Carry(self, place, len(numbers), ids or {}, sequential, fixed)
        before, after = self._written[-1], set()
        turns: dict[int, int] = {}  # id of a launch -> the turn that made it, counted up

        def turn(i: Any, values: tuple) -> tuple:
            self._written.append(set())
            try:
                with self.body():
                    return body(self, i, *values)
            finally:
                after.update(self._written.pop())

        def past() -> bool:
            """Pass over a turn, or a batch of turns, when a task is opened that is not in it."""
            return noted and self._past(place, True)

        def together(ids: np.ndarray) -> None:
            nonlocal captured
            if past():
                return
            first, holding = len(self.trace.dispatches), captured
            values = carry.entering(captured)
            with self.batched(ids):
                out = turn(Lanes(ids), values)
                if not all(same(a, b) or carry.parallel(n, b) for n, (a, b) in enumerate(zip(values, out))):
                    raise Conflict
                if not self.skips(place) and self.reopened is None:
                    self._check_conflicts()
                groups = self.batch.groups
            if self.dumps is not None:
                self.dumps.finish_turns(self._latest)
            rows = [(int(i) * way, [group[row] for group in groups]) for row, i in enumerate(ids)]
            for i, made in rows:
                self._commit(made)
                turns.update((id(d), i) for d in made)
            captured = carry.leaving(values, out, rows)
            if noted:
                self._note_past(place, True, first, holding, captured)

        def alone(i: int) -> int:
            nonlocal captured
            if past():
                return self._largest
            first, holding, values = len(self.trace.dispatches), captured, carry.entering(captured)
            captured = carry.leaving(values, turn(i, values), [(i * way, [])])
            turns.update((id(d), i * way) for d in self.trace.dispatches[first:])
            if noted:
                self._note_past(place, True, first, holding, captured)
            return self._largest

        self._sequential += sequential
        try:
            if self.batch is not None or self.replay is not None or (sequential and not self.skips(place)):
                for i in numbers:
                    alone(int(i))
            else:
                self._largest = 1
                self._in_batches(place, numbers, together, alone, self.skips(place))
                if self.reopened is None:
                    self._in_order(start, [turns[id(d)] for d in self.trace.dispatches[start:]])
        finally:  # also when a batch around this loop is given up
            self._sequential -= sequential
            if self.follow is not None:
                self.follow.inside.setdefault(place, set()).update(d.place for d in self.trace.dispatches[start:])
        before |= after
        if noted:
            self._note_past(place, False, start, entry, captured)
        return carry.after(captured)

    def _past(self, place: Place, turn: bool) -> bool:
        """Pass over a loop or a turn of it, if a task is opened that is not in it; the trace goes on as if not."""
        return self.reopened is not None and self.reopened.past(place, turn, self.trace.dispatches, self.trace.buffers)

    def _note_past(self, place: Place, turn: bool, start: int, before: tuple, after: tuple) -> None:
        """Note where a loop or a turn of it ended, for `_past`."""
        if self.kept is None:
            return
        end = Past(self.trace.dispatches[start:], len(self.trace.buffers), len(self.kept.numbers))
        if end.launches and all(map(unchanged, before, after)):
            self.kept.loops[place, turn, start] = end
        else:
            self.kept.loops.pop((place, turn, start), None)

    def _in_order(self, start: int, turns: list[int]) -> None:
        """List the launches from number `start` on by turn: turns that diverged ran in another order."""
        if turns == sorted(turns):
            return
        launches = self.trace.dispatches[start:]
        order = sorted(range(len(launches)), key=lambda i: turns[i])
        number = {launches[i].index: start + n for n, i in enumerate(order)}
        for n, i in enumerate(order):
            d = self.trace.dispatches[start + n] = launches[i]
            d.index = start + n
            d.deps = tuple(number.get(k, k) for k in d.deps)

    def _in_batches(
        self, place: Place, ids: np.ndarray, together: Callable, alone: Callable, empty: bool, blocks: bool = False
    ) -> None:
        """Run `ids` in batches whose tiles fit the cache; `empty`: nothing is computed, and all fit.

        `blocks`: they are blocks of a launch. Where they cannot run together in a run that has asked for what it does
        not know, and so is gone through again, the last stands for all of them.

        Where the size is not known yet the first runs alone. A loop around one that makes larger batches runs turn by
        turn, so that the inner one can. Where blocks diverge they run in groups, which is another order: when the
        groups turn out to touch each other's memory, all of them are taken back and run one by one.
        """
        count = len(ids)
        if self.reopened is not None:  # as the run did it
            for group, as_batch in self.reopened.kept.groups[place, len(self.trace.dispatches), self.phase]:
                together(group) if as_batch else alone(int(group[0]))
            return
        done: list[tuple[np.ndarray, bool]] = []
        if self.kept is not None:
            self.kept.groups[place, len(self.trace.dispatches), self.phase] = done
        todo: list[tuple[np.ndarray, Split | None]] = [(ids, None)]
        if place not in self._sizes:
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
                split = split or Split(ids, self._mark(), self.kept and self.kept.position(), len(done))
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
        return empty and self.follow is not None and self.follow.in_vain

    def _unrelated(self, batches: list[Batch]) -> bool:
        """True when no batch touches what another one writes."""
        shapes = self.trace.shapes
        written = {shapes[s].buffer for b in batches for s in b.shapes if shapes[s].mode != READ}
        groups = [[(s, o) for s, o in zip(b.shapes, b.offsets) if shapes[s].buffer in written] for b in batches]
        return unrelated(groups, shapes)

    def _mark(self) -> tuple[int, int, int]:
        """Where the trace ends now."""
        launches = self.trace.dispatches
        return len(self.trace.buffers), len(launches), len(launches[-1].parts) if launches else 0

    def _take_back(self, split: Split) -> None:
        """Undo every group of a split: in memory and in the trace."""
        for batch in reversed(split.done):
            batch.take_back()
        if self.dumps is not None:
            self.dumps.restored()
        buffers, launches, parts = split.mark
        del self.trace.buffers[buffers:], self.trace.dispatches[launches:]
        if launches:
            del self.trace.dispatches[-1].parts[parts:]
        if split.kept is not None:
            self.kept.back(split.kept)

    def loop(self, *bounds: Any) -> Iterator[int]:
        """A sequential loop of orchestration whose body is no function: it carries values, or is left early."""
        before, after = self._written[-1], set()
        self._sequential += 1
        try:
            for i in counted_turns(bounds):
                self._written.append(set())
                try:
                    with self.body():
                        yield i
                finally:
                    after |= self._written.pop()
        finally:
            self._sequential -= 1
            before |= after


def same(a: Any, b: Any) -> bool:
    """True when a name holds after a turn of a loop what it held before: the same number, the same window."""
    if a is b:
        return True
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same = a.buffer is b.buffer and a.shape == b.shape and a.strides == b.strides
        return same and type(b.offset) is not np.ndarray and a.offset == b.offset
    return a is None or (isinstance(a, (int, float)) and isinstance(b, (int, float)) and a == b)


def unchanged(a: Any, b: Any) -> bool:
    """True when what a name holds after a loop can be had without the loop."""
    if a is None or not same(a, b):
        return a is b
    return not isinstance(a, Tensor) or (a.dtype, a.valid, a.inside) == (b.dtype, b.valid, b.inside)


def split_by(ids: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Block ids grouped by equal rows of `values`, groups in order of their first block."""
    _, first, inverse = np.unique(values, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    return [ids[inverse == g] for g in np.argsort(first)]
