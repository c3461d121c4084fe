"""The state of one interpreted run: global memory, the task being executed, and the trace it leaves.

Generated kernel code (see `lower`) calls the operations in `ops`, and those call a `Machine` for everything
that is not arithmetic: loading a window of global memory into a tile, storing one back, starting and ending
tasks, accounting for on-chip memory and work.

Each part owns what it assigns, and reaches the others through the machine: `now` (the task that runs),
`memory` and `accesses` (global memory), `onchip` (tiles and work), `launches` (what starts tasks), `ids` (what deps=
names), `batches` (many blocks at once), `masks` (blocks that go different ways) and `pipes` (cores that pass tiles to
each other).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from helpers.chips import Chip
from helpers.errors import FaultError
from helpers.interpret.machine.accesses import Accesses
from helpers.interpret.machine.batches import Batches
from helpers.interpret.machine.gm import GlobalMemory
from helpers.interpret.machine.launch import Launches
from helpers.interpret.machine.masks import Masks
from helpers.interpret.machine.now import Running
from helpers.interpret.machine.onchip import OnChip
from helpers.interpret.machine.pipes import Pipes
from helpers.interpret.machine.task_ids import TaskIds
from helpers.interpret.source.source import Place, located
from helpers.interpret.trace.dumped import DumpRecorder
from helpers.interpret.trace.trace import Trace
from helpers.interpret.values.extents import lane_values, plain
from helpers.interpret.values.kept import Kept, Log, Reopened
from helpers.interpret.values.seen import Look
from helpers.interpret.values.values import Buffer

# How much of what a run overwrites is remembered, to be put back when the run fails or a task of it is opened.
LOG_BYTES = 1 << 29


@dataclass
class Replay:
    """A run in another order than the program's, in passes: each runs some launches and goes over the others dry.

    Attributes:
        only: Numbers of the launches that this pass runs; None: all.
        memory: What the kernel allocated, kept from pass to pass; empty before the first.
        backward: Numbers of the launches whose blocks run one by one from the last to the first.
    """

    only: frozenset[int] | None = None
    memory: dict[int, torch.Tensor] = field(default_factory=dict)
    backward: frozenset[int] = frozenset()


@dataclass
class Follow:
    """What a run without arithmetic computes all the same (see `follow`), and what it would have had to.

    Attributes:
        memory: What is kept, of arguments and allocations: see `Buffer.key`.
        sites: Where launches are made that run.
        inside: Where the launches are made that each loop of orchestration makes, as an earlier pass has found.
        asked: Memory that was read and not known.
        asked_of: Launches whose tiles were asked for numbers.
        trace: Of the pass, however it ended.
        repeats: Whether it is gone through again when it has asked for something, so that its trace is not the result.
    """

    memory: frozenset = frozenset()
    sites: frozenset[Place] = frozenset()
    inside: dict[Place, set[Place]] = field(default_factory=dict)
    asked: set = field(default_factory=set)
    asked_of: set[Place] = field(default_factory=set)
    trace: Trace | None = None
    repeats: bool = False

    def traces(self, trace: Trace) -> None:
        """A pass begins, and leaves this trace."""
        self.trace = trace

    def again(self, repeats: bool = False) -> Follow:
        """The same for another pass, which has asked for nothing yet."""
        return Follow(self.memory, self.sites, self.inside, repeats=repeats)

    @property
    def in_vain(self) -> bool:
        """The pass has asked for something and is gone through again."""
        return self.repeats and bool(self.asked or self.asked_of)


class Machine:
    """One run on one modelled chip.

    `dry` runs control flow only and leaves every tensor as it was. `fit` makes a task whose tiles exceed an on-chip
    buffer an error, as it is for PyPTO's compiler. `fill` is what memory holds that nothing was written to, and what
    the lanes of a tile hold that are not valid; None: poison, and zero. `replay`: in which order tasks run. `follow`:
    what a dry run computes all the same. `guess`: what a number counts as that a dry run does not know. `look`: which
    task is recorded; the run ends with it (`Enough`). `dumps`: who keeps values of the tasks' arguments. `kept`: what
    is to hold all that opening a task later takes. `reopened`: a task of such a run, which alone is computed. `tell` is
    called with n when n tasks are about to run together.
    """

    running: type[Running] = Running  # a machine that looks on has others
    on_chip: type[OnChip] = OnChip

    def __init__(
        self, platform: str, chip: Chip, dry: bool = False, fit: bool = True, fill: float | None = None,
        replay: Replay | None = None, follow: Follow | None = None, guess: int = 0, look: Look | None = None,
        dumps: DumpRecorder | None = None, kept: Kept | None = None, reopened: Reopened | None = None,
        tell: Callable[[int], None] | None = None,
    ):  # fmt: skip
        self.chip, self.fit, self.fill = chip, fit, fill
        self.replay, self.follow, self.guess = replay, follow, guess
        self.look, self.dumps, self.tell = look, dumps, tell
        self.kept, self.reopened = kept, reopened  # the record that is made of this run, and the one it goes by
        self.log = kept.log if kept is not None else Log(LOG_BYTES)
        self.logs_all = kept is not None or reopened is not None
        self.tags: list[tuple] = []  # tensors that are marked for a dump, by the launches and calls around
        self.trace = Trace(platform)
        if follow is not None:
            follow.traces(self.trace)
        self.now = self.running(self, dry)
        self.masks, self.ids, self.pipes = Masks(self), TaskIds(self), Pipes(self)
        self.memory, self.accesses, self.onchip = GlobalMemory(self), Accesses(self), self.on_chip(self)
        self.batches, self.launches = Batches(self), Launches(self)

    @contextmanager
    def kernel(self, dims: dict[str, int], auto_scope: bool) -> Iterator[None]:
        """A kernel runs: the extents of its dimensions; whether its loops are scopes of their own.

        The parts go with it: they and the machine hold each other, and would hold the trace and all memory.
        """
        self.memory.begin(dims)
        self.ids.begin(auto_scope)
        try:
            yield
        finally:
            del self.now, self.masks, self.ids, self.pipes, self.memory, self.accesses, self.onchip
            del self.batches, self.launches

    @contextmanager
    def tagging(self, *tensors: Any) -> Iterator[None]:
        """These tensors are marked for a dump, for the launches within."""
        self.tags.append(tensors)
        try:
            yield
        finally:
            self.tags.pop()

    def skips(self, loop: Place) -> bool:
        """True when nothing is computed in this loop of orchestration."""
        if self.follow is None or not self.follow.sites:
            return self.now.dry and self.reopened is None
        return not self.follow.inside.get(loop, self.follow.sites) & self.follow.sites

    def ask(self, buffer: Buffer) -> None:
        """A run without arithmetic reads memory that it does not know."""
        self.trace.blind = True
        if self.follow is not None:
            self.follow.asked.add(buffer.key)

    def ask_of_task(self) -> None:
        """It reads a number of a tile that the running launch has not computed."""
        self.trace.blind = True
        if self.follow is not None:
            self.follow.asked_of.add(self.now.launched[0].place)

    def stride(self, at: Place, value: Any) -> Any:
        """The step of a loop, when it is known only at run time: a positive number."""
        if np.any(lane_values(value) <= 0):
            raise self.fault(at, f"a loop whose step is {plain(value)}", "a positive step; compute the index")
        return value

    def fault(self, at: Place, what: str, fix: str | None = None, kind: str = "") -> FaultError:
        """The error for something that went wrong while the kernel ran."""
        where = (
            f" [block {self.now.block} of {self.now.block_num}]"
            if self.now.task is not None and self.now.block_num > 1
            else ""
        )
        return located(FaultError, at, what + where, fix, kind)
