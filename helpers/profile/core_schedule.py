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

from collections.abc import Iterator, Mapping, Sequence
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
    """One task on its core, or on a cube core and its vector cores.

    Attributes:
        ends: Microseconds from entering the task to leaving it: of the cube core, and of its vector cores.
        busy: Microseconds that each of `PIPES` is busy; of two vector cores that do different things, their mean. A
            scalar unit is busy when it hands out instructions, and while it waits for an element.
        rows: The fields of `bars`.
    """

    program: Program
    chip: Chip
    halves: bool
    ends: tuple[float, float]
    busy: list[float]
    rows: list[tuple]

    @property
    def total(self) -> float:
        """Microseconds from entering the task to leaving it: until the last pipe is done and what it moved is there."""
        return max(self.ends)

    @cached_property
    def bars(self) -> tuple[Bar, ...]:
        """What each pipe does, in the order of the instructions."""
        return tuple(map(Bar._make, self.rows))

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
    return _Run(program, chip, halves, compiler, missed).go()


L0 = ("L0A", 0), ("L0A", 1), ("L0B", 0), ("L0B", 1)  # slots of L0, and what lies in them


class _Run:
    """The state of one schedule: when each pipe, slot and tile is free or there, and which bar decided it.

    Tiles are those of the program and, after them, what lies in the slots of `L0`, then what was pushed into a ring.
    """

    def __init__(self, program: Program, chip: Chip, halves: bool, compiler: Compiler, missed: Mapping[int, float]):
        self.missed = missed
        self.program, self.chip, self.halves, self.compiler = program, chip, halves, compiler
        self.issue_us = chip.scalar.issue * 1e-3 / chip.clock_ghz
        self.read_us = chip.scalar.read * 1e-3 / chip.clock_ghz
        self.cube, self.vector = sides(program)
        self.products = 0
        self.pushed: dict[int, int] = {}  # tile that is handed over -> the tile in the ring
        self.timed: dict[tuple[int, float], list[tuple[int, float]]] = {}  # (a step's identity, missed) -> pipe_times
        self.multiplied: dict[int, Product] = {}  # the identity of a step -> product
        pipes = len(PIPES) + SECOND
        self.rows: list[tuple] = []
        self.spent, self.issues = [0.0] * pipes, [0] * pipes  # microseconds and bars of each pipe
        self.free = [0.0] * pipes
        self.issued = [0.0, 0.0, 0.0]  # the cube core's scalar unit, and those of two vector cores
        self.lags = [lag(pipe, "", chip) for pipe in range(pipes)]  # to buffers on chip
        self.lags_gm = [lag(pipe, "GM", chip) for pipe in range(pipes)]
        self.left = [0.0, 0.0]  # when what the cube core moved is there, and what its vector cores moved
        slots: dict[object, int] = {}
        self.slot = [slots.setdefault(s, len(slots)) for s in _slots(program, compiler)]  # of each tile
        self.l0 = len(program.tiles)  # the first tile of L0
        tiles = len(self.slot)
        self.ready, self.maker = [0.0] * tiles, [-1] * tiles  # of each tile: when it is there, and which bar made it
        # of each slot: when nobody uses it any more, and which bar was the last to
        self.used, self.user = [0.0] * len(slots), [-1] * len(slots)

    def go(self) -> CoreRun:
        instructions, missed, tiles = self.program.instructions, self.missed, self.program.tiles
        plain: dict[int, tuple[int, float]] = {}  # by the identity of a step that misses nothing: what it takes
        for number, side in order(self.program, self.compiler.ahead):
            step, _, reads, writes, lane = instructions[number]
            known = plain.get(id(step))
            if known is not None and number not in missed:
                pipe, us = known
            elif step.kind == "scalar":
                self._scalar(number)
                continue
            elif step.engine == "cube":
                self._product(number, instructions[number])
                continue
            elif step.engine == "move":
                self._move(number, instructions[number], side)
                continue
            else:
                ((pipe, us),) = self._times(step, missed.get(number, 0.0))
                if number not in missed:
                    plain[id(step)] = pipe, us
            if lane:
                pipe = self._on(pipe, instructions[number])
            self._bar(number, pipe, us, reads, writes, tiles[writes[0]].space if writes else "GM")
        task = self.chip.runtime.task
        return CoreRun(
            self.program, self.chip, self.halves, (task + self.left[0], task + self.left[1]), self._busy(), self.rows
        )

    def _busy(self) -> list[float]:
        """See `CoreRun.busy`."""
        out = list(self.spent)
        for pipe, n in enumerate(self.issues):
            if n:
                out[scalar_of(pipe)] += n * self.issue_us
        if any(out[len(PIPES) :]):
            for pipe in range(VECTOR_MTE2, len(PIPES)):
                out[pipe] = (out[pipe] + out[pipe + SECOND]) / 2
        return out[: len(PIPES)]

    def _times(self, step: Step, missed: float = 0.0) -> list[tuple[int, float]]:
        """`pipe_times` of a step; a program has few different ones."""
        found = self.timed.get((id(step), missed))
        if found is None:
            found = self.timed[id(step), missed] = pipe_times(step, self.chip, self.halves, missed)
        return found

    def _on(self, pipe: int, i: Instruction) -> int:
        """The pipe on the vector core that does it."""
        return pipe + SECOND if pipe >= VECTOR_MTE2 and i.lane and i.step.lanes == 2 else pipe

    def _scalar(self, number: int) -> None:
        """The scalar unit of each core reads or writes an element, and goes on when that is done."""
        mine = [(0, CUBE_SCALAR)] * self.cube + [(1, VECTOR_SCALAR)] * self.vector
        for unit, pipe in mine:
            start = max(self.issued[unit], self.free[pipe])
            end = self.issued[unit] = self.free[pipe] = start + self.read_us
            self.left[unit] = max(self.left[unit], end + self.lags_gm[pipe])
            self.spent[pipe] += end - start
            self.rows.append((pipe, start, end, number, "GM", 0.0, ORDER, -1))
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
            one, two = self.l0 + slot, self.l0 + 2 + slot
            self._bar(number, MTE1, into_a / pieces, sources, (one,), "L0A")
            self._bar(number, MTE1, into_b / pieces, sources, (two,), "L0B")
            self._bar(number, CUBE, us / pieces, (*into, one, two), i.writes, "L0C")

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
        to = i.writes[0]
        if side == BACK:
            self._bar(number, self._on(back, i), us_back, (self.pushed[to],), i.writes, space)
            return
        if to not in self.pushed:
            self.pushed[to] = len(self.slot)
            self.slot.append(self.slot[to])
            self.ready.append(0.0)
            self.maker.append(-1)
        self._bar(number, self._on(out, i), us, i.reads, (self.pushed[to],), "GM")

    def _bar(self, number: int, pipe: int, us: float, reads: Sequence[int], writes: Sequence[int], buffer: str) -> None:
        """Put an instruction on its pipe: it reads and writes tiles."""
        unit = 0 if pipe < VECTOR_MTE2 else 1 if pipe < len(PIPES) else 2
        slot, ready, used, rows = self.slot, self.ready, self.used, self.rows
        issued = self.issued[unit] = self.issued[unit] + self.issue_us
        before = start = self.free[pipe]
        why, cause = ORDER, -1
        if issued > start:
            start, why = issued, ISSUE
        for tile in reads:
            if ready[tile] > start:
                start, why, cause = ready[tile], OPERAND, self.maker[tile]
        for tile in writes:
            known = used[slot[tile]]
            if known > start:
                start, why, cause = known, ROOM, self.user[slot[tile]]
        end = self.free[pipe] = start + us
        mine = len(rows)
        rows.append((pipe, start, end, number, buffer, start - before, why, cause))
        there = end + (self.lags_gm if buffer == "GM" else self.lags)[pipe]
        for tile in writes:
            ready[tile], self.maker[tile] = there, mine
            place = slot[tile]
            if end > used[place]:
                used[place], self.user[place] = end, mine
        for tile in reads:
            place = slot[tile]
            if end > used[place]:
                used[place], self.user[place] = end, mine
        self.spent[pipe] += end - start
        self.issues[pipe] += 1
        side = unit > 0
        if there > self.left[side]:
            self.left[side] = there


def _slots(program: Program, compiler: Compiler) -> Iterator[object]:
    """Where each tile of a program lies, and each of `L0`."""
    handed: dict[str, int] = {}
    for held in program.tiles:
        if held.space.endswith("ring"):
            handed[held.space] = handed.get(held.space, -1) + 1
            yield held.space, handed[held.space] % compiler.ring
        else:
            yield held.slot
    yield from L0
