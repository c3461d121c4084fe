"""The state of one interpreted run: global memory, the task being executed, and the trace it leaves.

Generated kernel code (see `lower`) calls the operations in `ops`, and those call a `Machine` for everything
that is not arithmetic: loading a window of global memory into a tile, storing one back, starting and ending
tasks, accounting for on-chip memory and work.

Its parts are `gm` (global memory), `onchip` (tiles and work), `launch` (tasks), `task_ids` (what deps= names),
`batches` (many blocks at once), `masks` (blocks that go different ways) and `pipes` (cores that pass tiles to each
other).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from helpers.chips import Chip
from helpers.errors import FaultError
from helpers.interpret.machine.batches import BATCH_SIZES, Batch, Batches
from helpers.interpret.machine.gm import GlobalMemory
from helpers.interpret.machine.launch import Launches
from helpers.interpret.machine.masks import Masks
from helpers.interpret.machine.memory import Plan
from helpers.interpret.machine.onchip import OnChip
from helpers.interpret.machine.phases import Phases
from helpers.interpret.machine.pipes import Cluster, Pipes
from helpers.interpret.machine.task import Task
from helpers.interpret.machine.task_ids import TaskIds
from helpers.interpret.source.source import Place, located
from helpers.interpret.trace.dumped import DumpRecorder
from helpers.interpret.trace.program import Later
from helpers.interpret.trace.trace import Trace
from helpers.interpret.values.extents import lane_values, plain
from helpers.interpret.values.kept import Kept, Log, Reopened
from helpers.interpret.values.lanes import Lanes
from helpers.interpret.values.seen import Look
from helpers.interpret.values.values import Buffer, Tile, Turn

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

    def again(self, repeats: bool = False) -> Follow:
        """The same for another pass, which has asked for nothing yet."""
        return Follow(self.memory, self.sites, self.inside, repeats=repeats)

    @property
    def in_vain(self) -> bool:
        """The pass has asked for something and is gone through again."""
        return self.repeats and bool(self.asked or self.asked_of)


class Machine(GlobalMemory, OnChip, Launches, Batches, Masks, Pipes, TaskIds):
    """One run on one modelled chip.

    `dry` runs control flow only and leaves every tensor as it was. `fit` makes a task whose tiles exceed an on-chip
    buffer an error, as it is for PyPTO's compiler. `fill` is what memory holds that nothing was written to, and what
    the lanes of a tile hold that are not valid; None: poison, and zero. `replay`: in which order tasks run. `follow`:
    what a dry run computes all the same. `guess`: what a number counts as that a dry run does not know. `look`: which
    task is recorded; the run ends with it (`Enough`). `dumps`: who keeps values of the tasks' arguments. `kept`: what
    is to hold all that opening a task later takes. `reopened`: a task of such a run, which alone is computed. `tell` is
    called with n when n tasks are about to run together.
    """

    def __init__(
        self, platform: str, chip: Chip, dry: bool = False, fit: bool = True, fill: float | None = None,
        replay: Replay | None = None, follow: Follow | None = None, guess: int = 0, look: Look | None = None,
        dumps: DumpRecorder | None = None, kept: Kept | None = None, reopened: Reopened | None = None,
        tell: Callable[[int], None] | None = None,
    ):  # fmt: skip
        self.chip, self.dry, self.fit = chip, dry, fit
        self.fill, self.replay, self.follow, self.guess = fill, replay, follow, guess
        self.look, self.looking = look, None  # who looks at a task, and the same while that one runs
        self.dumps = dumps  # who keeps values of arguments
        self.dumping: DumpRecorder | None = None  # the same, while it wants to be told of stores
        self.tags: list[tuple] = []  # tensors that are marked for a dump, by the launches and calls around
        self._dry = dry  # what `dry` is when no phase is being gone through again
        self.trace = Trace(platform)
        if follow is not None:
            follow.trace = self.trace
        self.task: Task | None = None
        self.batch: Batch | None = None
        self.mask: np.ndarray | None = None
        self.block: int | Lanes = 0
        self.block_num = 1
        self.clock = 0
        self.turn_of: tuple[Turn, ...] = ()  # the pl.pipeline loops around, and where their turns are
        self.since = (0, 0)  # of the loop around: what had been computed when its turn began, and the turn's stage
        self.dims: dict[str, int] = {}  # pl.dynamic name -> extent
        self._called: dict[Callable, list] = {}  # inline function -> shapes of its tensors
        self._scopes: list[bool] = [False]  # manual?
        self._scope_count = 0
        self.auto_scope = True  # PyPTO puts loops and arms of ifs into scopes of their own
        self._open, self._opened = [0], 0  # scopes of the generated orchestration: those around, and the latest
        self._known_numbers: list[frozenset[str]] = []  # of the inline functions around: parameters that are constants
        self.inside: tuple[Place | None, int] = (None, 1)  # the pl.pipeline around; 2 in a pl.split_aiv
        self.lane: tuple[str, int] = ("NONE", 0)  # the pl.split_aiv around: its mode, and the lane that runs
        self.halves: dict[Place, deque[Tile]] = defaultdict(deque)  # what lane 0 of a split gave to pl.aic_gather
        self.parted: list | None = None  # loads of a loop that is gone through part by part, see `OnChip.begin_parts`
        self.cores: Cluster | None = None  # of a Group, while it runs
        self.phases = Phases(0)  # of the same: what its blocks did before
        self.phase = self.barriers = 0  # of a pl.spmd with barriers: which phase runs, how many were passed
        self.gated: list | None = None  # what the predicate= that is evaluated reads
        self.quiet = False  # before the phase that runs: nothing is stored or recorded
        self._known_plans: dict[tuple, Plan] = {}
        self._known_programs: dict[tuple, Later] = {}
        self._kinds_of_access: dict[tuple[int, str], int] = {}  # by number and element type, the number of its kind
        self._access_kinds: dict[tuple, int] = {}
        self.kept, self.reopened = kept, reopened  # the record that is made of this run, and the one it goes by
        self.logs_all = kept is not None or reopened is not None
        self.log = kept.log if kept is not None else Log(LOG_BYTES)
        self._sizes: dict[Place, int] = {} if dry else BATCH_SIZES
        self._widest = 1  # blocks or turns of the largest batch made inside the loop that runs
        self._largest = 1  # elements of the largest tile since a pl.parallel began
        self._sequential = 0  # pl.range and while loops of orchestration around
        self._written: list[set[int]] = [set()]  # buffers written so far by each loop body around, and before it
        self._first: set[int] = set()  # those that the latest launch was the first to write
        self._tell = tell

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
            return self.dry and self.reopened is None
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
            self.follow.asked_of.add(self._launched[0].place)

    def stride(self, at: Place, value: Any) -> Any:
        """The step of a loop, when it is known only at run time: a positive number."""
        if np.any(lane_values(value) <= 0):
            raise self.fault(at, f"a loop whose step is {plain(value)}", "a positive step; compute the index")
        return value

    def fault(self, at: Place, what: str, fix: str | None = None, kind: str = "") -> FaultError:
        """The error for something that went wrong while the kernel ran."""
        where = f" [block {self.block} of {self.block_num}]" if self.task is not None and self.block_num > 1 else ""
        return located(FaultError, at, what + where, fix, kind)
