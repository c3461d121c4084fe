"""What a run leaves so that any task of it can be done again: a log of what it overwrote, and its chunks in order.

Memory as it was when a chunk began is that of the end, with what was overwritten since put back (`Rewound`). The
kernel is then gone through once more without arithmetic, in the batches that the run had, and only the chunks of one
task are computed; loops of orchestration that it is not in are passed over where they changed no name (`Past`). What
the chunks store must be what the run stored, bit by bit: if it is not, this is `Astray`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from helpers.interpret.source.source import Place
from helpers.interpret.values.values import Tensor

SMALL = 1 << 14  # elements of a window, or of those of a batch

Where = Any  # a view of global memory, or (a table of rows, which rows)


class Astray(Exception):
    """A task that was done again went another way than in the run."""


def restore(entries: list[tuple[Where, torch.Tensor]]) -> None:
    """Put back what was overwritten, the latest first."""
    for where, old in reversed(entries):
        put(where, old)


def put(where: Where, values: torch.Tensor) -> None:
    """Write to a place of global memory."""
    if isinstance(where, tuple):
        where[0].index_copy_(0, where[1], values)
    else:
        where.copy_(values)


def get(where: Where) -> torch.Tensor:
    """A copy of what a place of global memory holds."""
    return where[0].index_select(0, where[1]) if isinstance(where, tuple) else where.clone()


class Log:
    """What global memory held where a run overwrote it, in the order of its writing; `limit`: bytes to be kept."""

    def __init__(self, limit: int) -> None:
        self.entries: list[tuple[Where, torch.Tensor]] = []
        self.bytes, self.limit = 0, limit
        self._memory = np.empty(0, np.int64)  # of each entry, the address of the memory that it lies in

    @property
    def whole(self) -> bool:
        """False once more was written than is kept."""
        return self.bytes <= self.limit

    def add(self, where: Where, old: torch.Tensor) -> None:
        """Something is overwritten that was `old`."""
        if self.whole:
            self.entries.append((where, old))
            self.bytes += old.nbytes if old.is_contiguous() else old.untyped_storage().nbytes()  # or one value for all

    def within(self, memory: list[torch.Tensor]) -> np.ndarray:
        """The numbers of the entries that lie in the memory of these tensors."""
        if len(self._memory) != len(self.entries):
            self._memory = np.array([_address(w[0] if isinstance(w, tuple) else w) for w, _ in self.entries], np.int64)
        return np.flatnonzero(np.isin(self._memory, [_address(x) for x in memory]))

    def take_back(self) -> bool:
        """Put everything back; False when too much was written to be kept."""
        if self.whole:
            restore(self.entries)
            self.entries, self.bytes = [], 0
        return self.whole


@dataclass(eq=False, slots=True)
class Mark:
    """A chunk of a run: blocks that were executed together.

    `launched`: its launches, one, or that of each turn of a batch; they have their numbers once the run is over.
    `group`: of a batch of turns, which launch of the loop's body it is, and the number that the first of them got.
    `start`, `end`: what the run had written when it began and ended, in entries of the log.
    """

    launched: list
    blocks: np.ndarray
    phase: int
    batched: bool
    group: tuple[int, int] | None
    start: int
    end: int = -1


class Unwritten:
    """Which parts of an allocation nothing was written to yet: those need no copy to be put back.

    It is certain of windows of one shape whose places form a grid; of others it says that they were written to.
    """

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self._window = shape, strides
        self._spans = [(n * s, s) for n, s in zip(shape, strides)]
        nested = all(outer % span == 0 for outer, (span, _) in zip(strides, self._spans[1:]))
        self._grid = nested and all(s > 0 for s in strides)
        self._written: set[int] = set()

    def take(self, shape: tuple[int, ...], strides: tuple[int, ...], offsets: np.ndarray) -> bool:
        """Windows are about to be written to; True when nothing was written to any of them."""
        self._grid = self._grid and (shape, strides) == self._window and self._on_grid(offsets)
        if not self._grid:
            return False
        found = set(offsets.tolist())
        new = len(found) == len(offsets) and not found & self._written
        self._written |= found
        return new

    def _on_grid(self, offsets: np.ndarray) -> bool:
        rest = offsets
        for span, stride in self._spans:
            rest = rest % span
            if (rest >= stride).any():
                return False
        return not rest.any()


@dataclass(frozen=True)
class Past:
    """A loop of orchestration that a run has done: its launches, and the buffers made and numbers read at its end."""

    launches: list
    buffers: int
    numbers: int


@dataclass(eq=False)
class Kept:
    """A run, so that its tasks can be opened. The machine fills it in while it runs.

    Attributes:
        log: What was overwritten.
        marks: Its chunks, in order.
        groups: How each loop or launch was divided: (place, launches made before, phase) -> (numbers, as a batch?).
        numbers: What orchestration read from global memory, in order.
        loops: Loops of orchestration, and turns of them, that left every name as it was: (place, is it a turn, or a
            batch of them?, launches made before) -> Past.
        unwritten: Of allocations, by number, what was not written to yet; None: that is not known.
        trace: The run's; filled in at its end.
        memory: What the kernel's buffers hold, by number; filled in at the end of the run.
        given, args: What the kernel was called with, and the same as the machine holds it (FP4 an element a byte).
        dims: Its dynamic extents.
        versions: How often each of `memory` was written to when the run was over.
    """

    log: Log
    marks: list[Mark] = field(default_factory=list)
    groups: dict[tuple[Place, int, int], list[tuple[np.ndarray, bool]]] = field(default_factory=dict)
    numbers: list = field(default_factory=list)
    loops: dict[tuple[Place, bool, int], Past] = field(default_factory=dict)
    unwritten: dict[int, Unwritten | None] = field(default_factory=dict)
    trace: Any = None
    memory: list[torch.Tensor] = field(default_factory=list)
    given: list = field(default_factory=list)
    args: list = field(default_factory=list)
    dims: dict[str, int] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)
    _by_launch: dict[int, list[Mark]] = field(default_factory=dict)

    def first(self, w: Tensor) -> bool:
        """A window is about to be written to; True when it is certain that nothing was before."""
        if w.buffer.argument:
            return False
        known = self.unwritten.get(w.buffer.id, ...)
        if math.prod(w.shape) * np.size(w.offset) < SMALL:  # as fast to copy as to look up, here and from now on
            self.unwritten[w.buffer.id] = None
            return False
        if known is ...:
            known = self.unwritten[w.buffer.id] = Unwritten(w.shape, w.strides)
        return known is not None and known.take(w.shape, w.strides, np.atleast_1d(w.offset))

    def position(self) -> tuple[int, int, int]:
        """Where it is now, to go back to when a batch is given up."""
        return len(self.log.entries), len(self.marks), len(self.numbers)

    def back(self, position: tuple[int, int, int]) -> None:
        """Forget what came after; what was written then has been put back."""
        entries, marks, numbers = position
        del self.log.entries[entries:], self.marks[marks:], self.numbers[numbers:]

    def finish(self, trace: Any) -> None:
        """The run is over; this is its trace."""
        self.trace, self.memory = trace, [b.base for b in trace.buffers]
        self.versions = [_version(x) for x in self.memory]

    def of_launch(self, number: int) -> list[Mark]:
        """The chunks of a launch, in order, once the run is over."""
        if not self._by_launch:
            for m in self.marks:
                for d in m.launched:
                    self._by_launch.setdefault(d.index, []).append(m)
        return self._by_launch.get(number, [])

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Memory is what it was before the run."""
        rewound = Rewound(self)
        try:
            rewound.to(0)
            yield
        finally:
            rewound.end()

    def changed(self) -> list[int]:
        """The numbers of buffers that somebody has written to since."""
        return [n for n, x in enumerate(self.memory) if _version(x) != self.versions[n]]


class Rewound:
    """The memory of a run that was kept, at other times of the run than its end; `end` when that is over.

    Args:
        numbers: The buffers whose memory that is done to; None: all.
    """

    def __init__(self, kept: Kept, numbers: set[int] | None = None) -> None:
        self._kept, log = kept, kept.log
        some = np.arange(len(log.entries)) if numbers is None else log.within([kept.memory[n] for n in numbers])
        self._numbers = some  # of the entries that are undone and done again
        self._at = len(some)
        self._later: list[torch.Tensor] = []  # what entries of the log wrote that are undone, the last one first

    def to(self, position: int) -> None:
        """Memory becomes what it was when the run had made so many entries in its log."""
        entries, wanted = self._kept.log.entries, int(np.searchsorted(self._numbers, position))
        while self._at > wanted:
            self._at -= 1
            where, old = entries[self._numbers[self._at]]
            self._later.append(get(where))
            put(where, old)
        while self._at < wanted:
            put(entries[self._numbers[self._at]][0], self._later.pop())
            self._at += 1

    def end(self) -> None:
        """Memory becomes what it was when the run was over."""
        self.to(len(self._kept.log.entries))
        self._kept.versions = [_version(x) for x in self._kept.memory]


class Reopened:
    """The chunks of one task of a run, done again: from `begin` to `close` memory is what it was at their time.

    Args:
        kept: The run.
        launch: The number of the launch, and the block.

    Raises:
        Astray: the run did not keep enough.
    """

    def __init__(self, kept: Kept, launch: int, block: int) -> None:
        self.kept, self.launch = kept, launch
        self.left = [m for m in kept.of_launch(launch) if block in m.blocks]
        if not kept.log.whole or not self.left:
            raise Astray
        self.now: Mark | None = None  # the chunk that runs
        self._rewound = Rewound(kept, self._touched())
        self._stored: list[tuple[Mark, list[torch.Tensor]]] = []
        self._read = 0  # numbers of orchestration
        self._rewound.to(self.left[0].start)

    def _touched(self) -> set[int]:
        """The numbers of the buffers that the chunks touched in the run."""
        shapes = {s for m in self.left for d in m.launched for part in d.parts for s in part.chunk.shapes.tolist()}
        return {self.kept.trace.shapes[s].buffer for s in shapes}

    def wants(self, index: int, made: int, group: int) -> bool:
        """True for a launch whose chunk is the next: its number, those made before it, and which of a body it is."""
        of = self.left[0].group if self.left else None
        return bool(self.left) and ((group, made) == of if of is not None else group < 0 and index == self.launch)

    def chosen(self, phase: int) -> tuple[np.ndarray, bool]:
        """The blocks of the next chunk, and whether they are a batch.

        Raises:
            Astray: it is not of this phase.
        """
        if not self.left or self.left[0].phase != phase:
            raise Astray
        return self.left[0].blocks, self.left[0].batched

    def begin(self, launched: list) -> None:
        """The next chunk begins."""
        self.now = self.left.pop(0)
        if len(launched) != len(self.now.launched):
            raise Astray
        for made, known in zip(launched, self.now.launched):
            made.index = known.index
        self._rewound.to(self.now.start)

    def end(self) -> None:
        """The chunk is over: what it stored is there."""
        entries = self.kept.log.entries[self.now.start : self.now.end]
        self._stored.append((self.now, [get(where) for where, _ in entries]))
        self.now = None

    def memory(self, number: int, elements: int) -> torch.Tensor:
        """What the run allocated as its buffer of that number."""
        if number >= len(self.kept.memory) or self.kept.memory[number].numel() != elements:
            raise Astray
        return self.kept.memory[number]

    def number(self) -> Any:
        """The next number that orchestration reads."""
        if self._read == len(self.kept.numbers):
            raise Astray
        self._read += 1
        return self.kept.numbers[self._read - 1]

    def past(self, place: Place, turn: bool, launches: list, buffers: list) -> bool:
        """Pass over a loop of orchestration that the task is not in, if it left every name as it was.

        Args:
            place: The loop.
            turn: One turn of it, or a batch of them.
            launches, buffers: What was made so far; those of the loop are added, as the run made them.
        """
        end = self.kept.loops.get((place, turn, len(launches)))
        if end is None or any(d.index == self.launch for d in end.launches):
            return False
        launches += end.launches
        buffers += self.kept.trace.buffers[len(buffers) : end.buffers]
        self._read = end.numbers
        return True

    def close(self) -> bool:
        """Memory becomes what it was at the end of the run; True when every chunk stored what it had stored then."""
        same = not self.left
        for mark, stored in self._stored:
            self._rewound.to(mark.end)
            entries = self.kept.log.entries[mark.start : mark.end]
            same = same and all(_alike(get(where), was) for (where, _), was in zip(entries, stored))
        self._rewound.end()
        return same


def _address(x: torch.Tensor) -> int:
    """Where the memory begins that a tensor lies in."""
    return x.untyped_storage().data_ptr()


def _version(x: torch.Tensor) -> int:
    """How often a tensor has been written to; -1 for one of inference mode, which does not count that."""
    return -1 if x.is_inference() else x._version


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal bit by bit."""
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
