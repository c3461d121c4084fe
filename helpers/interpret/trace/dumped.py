"""What a run is asked to dump of its tasks' arguments: their values before a task begins, and after it has ended.

A `DumpRecorder` is handed to a run, which tells it of each launch. Values are copied as they lie in global memory: they
are those that the run had, bit for bit. A run without a recorder does none of this. Levels are those of PyPTO's
runtime: 1 the marked tensors (`pl.dump_tag`, `dumps=`), 2 every argument, 3 the layout of every argument, with values
of the marked ones alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from helpers.interpret.trace.trace import IN, OUT, READ, Dispatch, Trace
from helpers.interpret.values.values import Buffer, Tensor

OFF, MARKED, FULL, LAYOUT = 0, 1, 2, 3  # levels
LIMIT = 4 << 30  # bytes of values that are kept; of later ones only what they are

ROLES = {1: "input", 2: "output", 3: "inout"}  # by what a task does with an argument
BEFORE, AFTER = "before_dispatch", "after_completion"


@dataclass(eq=False)
class DumpedArgument:
    """One argument of one launch, at one moment. `data` is None where its values were not kept."""

    launch: Dispatch
    number: int  # among the arguments of the launch
    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    role: str
    stage: str
    data: torch.Tensor | None
    left_out: bool = False  # there was no room for its values


@dataclass(eq=False)
class _Use:
    """An argument of launches that run as one: the window (of each, where they differ), and what is done with it."""

    window: Tensor
    bits: int = 0
    marked: bool = False


@dataclass(eq=False)
class _Launch:
    """Launches that run as one: a launch with its blocks, or one of each turn of a loop.

    `stored`: of each turn, what it stored, as (window, values).
    """

    launched: list[Dispatch]
    uses: dict[tuple, _Use] = field(default_factory=dict)
    stored: list[list[tuple[_Part, torch.Tensor]]] = field(default_factory=list)


class _Part(NamedTuple):
    """A part of global memory."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, base: torch.Tensor, origin: int = 0) -> torch.Tensor:
        """This part of memory of the buffer's size."""
        return torch.as_strided(base, self.shape, self.strides, origin + self.offset)

    @property
    def now(self) -> torch.Tensor:
        """What it holds."""
        return self.of(self.buffer.base, self.buffer.origin)


class DumpRecorder:
    """Asked to keep values of a run's arguments.

    Args:
        level: MARKED, FULL or LAYOUT.
        tasks: Numbers of launches, or names of tasks; None: all.
    """

    def __init__(self, level: int, tasks: Iterable[int | str] | None = None):
        self.level, self.tasks = level, None if tasks is None else list(tasks)
        self._names = None if tasks is None else {t for t in self.tasks if isinstance(t, str)}
        self._numbers = frozenset(t for t in self.tasks or () if not isinstance(t, str))
        self._now: _Launch | None = None
        self._turns: list[_Launch] = []  # of the turns that run as one, launch by launch
        self._batch: object = None  # which turns these are
        self._before: dict[int, torch.Tensor] = {}  # id of a buffer -> what it held before the launch, or the turns
        self._kept: list[DumpedArgument] = []
        self._values: dict[tuple, torch.Tensor] = {}  # (part, how often its buffer had been written) -> its values
        self._written: dict[int, list] = {}  # id of a buffer -> [how often it was written, itself]
        self._bytes = 0

    # ---- told by the machine ---------------------------------------------------------------------------------

    def begin(self, launched: list[Dispatch], turns: object) -> DumpRecorder | None:
        """Blocks of these launches begin, or one launch of each of these turns; returns itself where stores are to be
        told."""
        if turns is not None:
            if self._batch is not turns:
                self._batch, self._turns, self._before = turns, [], {}
            self._now = _Launch(launched)
            return self
        if not self._wanted(launched):
            return None
        if self._now is None or self._now.launched is not launched:
            self._now, self._before = _Launch(launched), {}
        return self

    def store(self, buffer: Buffer) -> None:
        """A running block stores to this memory next."""
        if id(buffer) not in self._before:
            whole = _Part(buffer, 0, (buffer.size,), (1,))
            self._before[id(buffer)] = whole.now.clone()

    def end(self, launched: list[Dispatch], turns: object, task: Any, tags: Iterable[tuple], trace: Trace) -> None:
        """What begun has ended. `task`: what it has done, see `machine.now.Task`."""
        uses = list(task.arguments.values())
        for tensor, bits in uses:
            if bits & OUT:
                self.changed(tensor.buffer)
        if turns is None and not self._wanted(launched):
            return
        marked = {_key(t) for tensors in tags for t in tensors if isinstance(t, Tensor)}
        for tensor, bits in uses:
            use = self._now.uses.setdefault(_key(tensor), _Use(tensor))
            use.bits |= bits
            use.marked = use.marked or _key(tensor) in marked
        if turns is not None:
            self._now.stored = [list(_stored(task, trace, row)) for row in range(len(launched))]
            self._turns.append(self._now)
        elif launched[0].kind != "spmd":
            self.finish(launched)

    def finish(self, launched: list[Dispatch]) -> None:
        """A launch is over: keep what it used."""
        now, self._now = self._now, None
        if now is not None and now.launched is launched:
            self._keep_all(now, 0, BEFORE, self._before)
            self._keep_all(now, 0, AFTER, {})

    def finish_turns(self, turns: object) -> None:
        """Turns that ran as one are over: keep what each used, as if they had run one after the other."""
        if self._batch is not turns:
            return
        launches, held = self._turns, self._before
        self._batch, self._turns = None, []
        for row in range(len(launches[0].launched) if launches else 0):
            for one in launches:
                wanted = self._wanted([one.launched[row]])
                if wanted:
                    self._keep_all(one, row, BEFORE, held)
                for part, values in one.stored[row]:
                    part.of(held[id(part.buffer)]).copy_(values)
                    self.changed(part.buffer)
                if wanted:
                    self._keep_all(one, row, AFTER, held)

    def changed(self, buffer: Buffer) -> None:
        """This memory holds something else now."""
        self._written.setdefault(id(buffer), [0, buffer])[0] += 1

    def restored(self) -> None:
        """A batch is given up, and memory holds what it held before it."""
        self._values.clear()

    # ---- asked afterwards ------------------------------------------------------------------------------------

    def kept(self, trace: Trace) -> list[DumpedArgument]:
        """What was kept of the launches of the trace, in their order; of others a batch was given up."""
        launches = trace.dispatches
        there = [k for k in self._kept if 0 <= k.launch.index < len(launches) and launches[k.launch.index] is k.launch]
        if self._numbers:
            there = [k for k in there if k.launch.index in self._numbers or k.launch.name in self._names]
        return sorted(there, key=lambda k: (k.launch.index, k.stage == AFTER, k.number))

    # ---- inside ----------------------------------------------------------------------------------------------

    def _wanted(self, launched: list[Dispatch]) -> bool:
        if self._names is None:
            return True
        first = launched[0]
        if first.name in self._names:
            return True
        return bool(self._numbers) and (first.index < 0 or first.index in self._numbers)

    def _keep_all(self, one: _Launch, row: int, stage: str, held: dict[int, torch.Tensor]) -> None:
        """Keep the arguments of a launch; `held`: what memory holds, where it is not what it holds now."""
        launch = one.launched[row]
        for number, use in enumerate(one.uses.values()):
            buffer, bits = use.window.buffer, use.bits
            if bits & OUT and (launch.sequential or buffer.id in launch.rewritten or buffer.direction == "InOut"):
                bits |= IN  # as `depend` has it
            if bits & (IN if stage == BEFORE else OUT) and (use.marked or self.level != MARKED):
                self._keep(launch, number, use, row, ROLES[bits], stage, held.get(id(buffer)))

    def _keep(
        self, launch: Dispatch, number: int, use: _Use, row: int, role: str, stage: str, held: torch.Tensor | None
    ) -> None:
        w = use.window
        offset = int(w.offset[row]) if isinstance(w.offset, np.ndarray) else int(w.offset)
        part = _Part(w.buffer, offset, w.shape if w.inside is None else w.inside, w.strides)
        one = DumpedArgument(launch, number, *part, role, stage, None)
        self._kept.append(one)
        if self.level == LAYOUT and not use.marked:
            return
        times = self._written.setdefault(id(w.buffer), [0, w.buffer])[0]
        key = (id(w.buffer), *part[1:], times) if held is None else None
        if key in self._values:
            one.data = self._values[key]
            return
        view = part.now if held is None else part.of(held)
        if self._bytes + view.numel() * view.element_size() > LIMIT:
            one.left_out = True
            return
        one.data = view.clone(memory_format=torch.contiguous_format)
        self._bytes += view.numel() * view.element_size()
        if key is not None:
            self._values[key] = one.data


def _stored(task: Any, trace: Trace, row: int) -> Iterator[tuple[_Part, torch.Tensor]]:
    """What a turn has stored, and the values that lie there now."""
    for number, (shape, offset) in enumerate(zip(task.shapes, task.offsets)):
        shape = int(task.varying[number][row]) if number in task.varying else shape
        access = trace.shapes[shape] if shape >= 0 else None
        if access is not None and access.mode != READ:
            at = int(offset[row]) if isinstance(offset, np.ndarray) else int(offset)
            part = _Part(trace.buffers[access.buffer], at, access.extent, access.strides)
            yield part, part.now.clone()


def _key(t: Tensor) -> tuple:
    return id(t.buffer), id(t.offset) if isinstance(t.offset, np.ndarray) else int(t.offset), t.shape
