"""When each pipe of a core does what, within one task: predicted, in microseconds from the task's start.

The scalar unit of a core goes through the task's instructions in order and hands each to its pipe. A pipe does one at a
time, in order. An instruction begins when

- its pipe has done the one before, and the scalar unit has got to it;
- what it reads is there, made by another pipe (PTO's wait_flag for that pipe's set_flag);
- the slot that it writes to is free: all that used the tile that lay there before have ended. Which tiles share a slot
  is the compiler's plan (`helpers.interpret.machine.memory`), so a `pl.pipeline` overlaps as far as it got slots.

The scalar unit waits for an element that it reads from global memory. A product's operands go through L0A and L0B,
which have two slots where two operands fit and the product is in a `pl.pipeline` or cut in pieces. What a cube core and
its vector cores hand each other goes through a ring: a push waits until the tile that lay in its slot has been used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from helpers.chips import Chip
from helpers.interpret.trace.compilers import TODAY, Compiler
from helpers.interpret.trace.program import Instruction, Program, Step
from helpers.profile.pipe_times import (
    CUBE,
    CUBE_SCALAR,
    MTE1,
    PIPES,
    SECOND,
    VECTOR_MTE2,
    VECTOR_SCALAR,
    Product,
    lag,
    pipe_times,
    product,
)
from helpers.profile.skewed import BACK, order

NONE: Mapping[int, float] = MappingProxyType({})
ORDER, ISSUE, OPERAND, ROOM = "order", "issue", "operand", "room"


class Bar(NamedTuple):
    """What a pipe does of one instruction.

    Attributes:
        pipe: A place in `PIPES`, or `SECOND` more for the second vector core.
        start: Microseconds from the task's start; `end` too.
        instruction: Its number in the program.
        buffer: Where what it writes lies: "L1", "UB", "L0A" ..., "GM".
        waited: Microseconds that its pipe did nothing before it, after the bar before.
        why: What it waited for: OPERAND, that was not there; ROOM, a slot that was in use; ISSUE, the scalar unit;
            ORDER, nothing but its turn.
        cause: The bar that it waited for, by its number; -1: none.
    """

    pipe: int
    start: float
    end: float
    instruction: int
    buffer: str
    waited: float
    why: str
    cause: int


@dataclass(frozen=True, eq=False)
class CoreRun:
    """One task on its core, or on a cube core and its vector cores. `bars` are in the order of their instructions."""

    program: Program
    chip: Chip
    halves: bool
    bars: tuple[Bar, ...]

    @property
    def total(self) -> float:
        """Microseconds from entering the task to leaving it: until the last pipe is done and what it moved is there."""
        return self.chip.runtime.task + max(self._ended)

    @property
    def ends(self) -> tuple[float, float]:
        """The same of the cube core, and of its vector cores."""
        return tuple(self.chip.runtime.task + end for end in self._ended)

    @cached_property
    def _ended(self) -> tuple[float, float]:
        ends = [0.0, 0.0]
        lags = [(lag(p, "", self.chip), lag(p, "GM", self.chip)) for p in range(len(PIPES) + SECOND)]
        for b in self.bars:
            side = b.pipe >= VECTOR_MTE2
            ends[side] = max(ends[side], b.end + lags[b.pipe][b.buffer == "GM"])
        return tuple(ends)

    @property
    def busy(self) -> list[float]:
        """Microseconds that each of `PIPES` is busy; of two vector cores that do different things, their mean. A scalar
        unit is busy when it hands out instructions, and while it waits for an element."""
        out = [0.0] * (len(PIPES) + SECOND)
        issue = self.chip.scalar.issue * 1e-3 / self.chip.clock_ghz
        for b in self.bars:
            out[b.pipe] += b.end - b.start
            if b.pipe not in (CUBE_SCALAR, VECTOR_SCALAR):
                out[scalar_of(b.pipe)] += issue
        if any(out[len(PIPES) :]):
            for pipe in range(VECTOR_MTE2, len(PIPES)):
                out[pipe] = (out[pipe] + out[pipe + SECOND]) / 2
        return out[: len(PIPES)]

    @property
    def cores(self) -> tuple[bool, bool]:
        """Whether a cube core has part in it, and a vector core."""
        return sides(self.program)


def scalar_of(pipe: int) -> int:
    """The scalar unit that hands a pipe its instructions."""
    return CUBE_SCALAR if pipe < VECTOR_MTE2 else VECTOR_SCALAR if pipe < len(PIPES) else VECTOR_SCALAR + SECOND


def sides(program: Program) -> tuple[bool, bool]:
    """Whether a cube core has part in a program, and a vector core."""
    cube = any(i.step.engine == "cube" or i.step.kind in ("L1", "L0C") for i in program.instructions)
    vector = any(i.step.engine == "vector" or i.step.kind == "UB" for i in program.instructions)
    return cube, vector or not cube


def run(
    program: Program, chip: Chip, halves: bool = False, compiler: Compiler = TODAY, missed: Mapping[int, float] = NONE
) -> CoreRun:
    """Schedule a program on a core's pipes.

    Args:
        halves: Two vector cores share its vector work (`pl.split`).
        compiler: How many slots the ring has and how far the cube runs ahead are PyPTO's of a day.
        missed: Of loads, by the instruction's number, the share that comes from HBM and not from the L2 cache.
    """
    return CoreRun(program, chip, halves, tuple(_Run(program, chip, halves, compiler, missed).go()))


class _Run:
    """The state of one schedule: when each pipe, slot and tile is free or there, and which bar decided it."""

    def __init__(self, program: Program, chip: Chip, halves: bool, compiler: Compiler, missed: Mapping[int, float]):
        self.missed = missed
        self.program, self.chip, self.halves, self.compiler = program, chip, halves, compiler
        self.issue_us = chip.scalar.issue * 1e-3 / chip.clock_ghz
        self.read_us = chip.scalar.read * 1e-3 / chip.clock_ghz
        self.bars: list[Bar] = []
        self.free = [0.0] * (len(PIPES) + SECOND)
        self.issued = [0.0, 0.0, 0.0]  # the cube core's scalar unit, and those of two vector cores
        self.ready: dict[object, tuple[float, int]] = {}  # tile -> when it is there, and the bar that made it
        self.used: dict[object, tuple[float, int]] = {}  # slot -> when nobody uses it any more, and who was the last
        self.cube, self.vector = sides(program)
        self.products = 0
        self.lags = [lag(pipe, "", chip) for pipe in range(len(PIPES) + SECOND)]  # to buffers on chip
        self.lags_gm = [lag(pipe, "GM", chip) for pipe in range(len(PIPES) + SECOND)]
        self.timed: dict[tuple[int, float], list[tuple[int, float]]] = {}  # (a step's identity, missed) -> pipe_times
        self.multiplied: dict[int, Product] = {}  # the identity of a step -> product
        self.rings: dict[int, tuple[str, int]] = {}  # tile that is handed over -> its slot
        handed: dict[str, int] = {}
        for tile, held in enumerate(program.tiles):
            if held.space.endswith("ring"):
                handed[held.space] = handed.get(held.space, -1) + 1
                self.rings[tile] = held.space, handed[held.space] % compiler.ring
        self.slots = [self.rings.get(n) or held.slot for n, held in enumerate(program.tiles)]  # where each tile lies

    def go(self) -> list[Bar]:
        for number, side in order(self.program, self.compiler.ahead):
            i = self.program.instructions[number]
            if i.step.kind == "scalar":
                self._scalar(number, i)
            elif i.step.engine == "cube":
                self._product(number, i)
            elif i.step.engine == "move":
                self._move(number, i, side)
            else:
                ((pipe, us),) = self._times(i.step, self.missed.get(number, 0.0))
                space = self.program.tiles[i.writes[0]].space if i.writes else "GM"
                self._bar(number, self._on(pipe, i), us, i.reads, i.writes, space)
        return self.bars

    def _times(self, step: Step, missed: float = 0.0) -> list[tuple[int, float]]:
        """`pipe_times` of a step; a program has few different ones."""
        found = self.timed.get((id(step), missed))
        if found is None:
            found = self.timed[id(step), missed] = pipe_times(step, self.chip, self.halves, missed)
        return found

    def _on(self, pipe: int, i: Instruction) -> int:
        """The pipe on the vector core that does it."""
        return pipe + SECOND if pipe >= VECTOR_MTE2 and i.lane and i.step.lanes == 2 else pipe

    def _scalar(self, number: int, i: Instruction) -> None:
        """The scalar unit of each core reads or writes an element, and goes on when that is done."""
        mine = [(0, CUBE_SCALAR)] * self.cube + [(1, VECTOR_SCALAR)] * self.vector
        for unit, pipe in mine:
            start = max(self.issued[unit], self.free[pipe])
            end = self.issued[unit] = self.free[pipe] = start + self.read_us
            self.bars.append(Bar(pipe, start, end, number, "GM", 0.0, ORDER, -1))
        if self.vector:
            self.issued[2] = self.issued[1]

    def _product(self, number: int, i: Instruction) -> None:
        """Operands go to L0A and L0B, piece by piece, and are multiplied there."""
        made = self.multiplied.get(id(i.step))
        if made is None:
            made = self.multiplied[id(i.step)] = product(i.step, self.chip)
        into_a, into_b, us, pieces, twice = made
        rooms = 2 if twice and (pieces > 1 or i.step.loop is not None) else 1
        sources = [t for t in i.reads if self.program.tiles[t].space != "L0C"]
        into = [t for t in i.reads if self.program.tiles[t].space == "L0C"]
        for _ in range(pieces):
            slot = self.products % rooms
            self.products += 1
            one, two = ("L0A", slot), ("L0B", slot)
            self._bar(number, MTE1, into_a / pieces, sources, (), "L0A", (one,))
            self._bar(number, MTE1, into_b / pieces, sources, (), "L0B", (two,))
            self._bar(number, CUBE, us / pieces, into, i.writes, "L0C", (), (one, two))

    def _move(self, number: int, i: Instruction, side: int) -> None:
        """A tile leaves one buffer for another; between cube and vector cores through the ring, in two parts."""
        times = self._times(i.step)
        space = self.program.tiles[i.writes[0]].space if i.writes else "L1"
        if len(times) == 1:
            ((pipe, us),) = times
            if side != BACK:
                self._bar(number, self._on(pipe, i), us, i.reads, i.writes, space)
            return
        (out, us), (back, us_back) = times
        if side == BACK:
            self._bar(number, self._on(back, i), us_back, (), i.writes, space, (), (), ("pushed", i.writes[0]))
            return
        ring = self.slots[i.writes[0]]
        bar = self._bar(number, self._on(out, i), us, i.reads, (), "GM", (ring,))
        self.ready["pushed", i.writes[0]] = self.bars[bar].end + self.lags_gm[out], bar

    def _bar(
        self, number: int, pipe: int, us: float, reads: tuple | list, writes: tuple, buffer: str,
        fills: tuple = (), takes: tuple = (), after: object = None,
    ) -> int:  # fmt: skip
        """Put an instruction on its pipe: it reads and writes tiles, `fills` slots of L0 or the ring, `takes` what is
        in some of them, and comes `after` something. Returns its number."""
        unit = 0 if pipe < VECTOR_MTE2 else 1 if pipe < len(PIPES) else 2
        issued, ready, used, slots = self.issued, self.ready, self.used, self.slots
        issued[unit] += self.issue_us
        before = start = self.free[pipe]
        why, cause = ORDER, -1
        if issued[unit] > start:
            start, why = issued[unit], ISSUE
        needs = (*reads, *takes) if after is None else (*reads, *takes, after)
        for what in needs:
            known = ready.get(what)
            if known is not None and known[0] > start:
                (start, cause), why = known, OPERAND
        room = [slots[t] for t in writes]
        room += fills
        for slot in room:
            known = used.get(slot)
            if known is not None and known[0] > start:
                (start, cause), why = known, ROOM
        end = self.free[pipe] = start + us
        mine = len(self.bars)
        self.bars.append(Bar(pipe, start, end, number, buffer, start - before, why, cause))
        there = end + (self.lags_gm if buffer == "GM" else self.lags)[pipe], mine
        for what in writes:
            ready[what] = there
        for what in fills:
            ready[what] = there
        room += [slots[t] for t in reads]
        room += takes
        for slot in room:
            known = used.get(slot)
            if known is None or end > known[0]:
                used[slot] = end, mine
        return mine
