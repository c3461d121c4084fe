"""What one block of a task does, instruction by instruction, as far as the time of it goes.

A `Program` is made from what a task notes while it runs (`built`), and kept once for all blocks that do the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from helpers.interpret.source.source import Place
from helpers.interpret.values.values import Memory


class Step(NamedTuple):
    """What an instruction is: which engine does what, on how much.

    engine     what
    "load"     global memory to `kind` "UB" or "L1", or "scalar"; size (rows, bytes of a contiguous row)
    "store"    from `kind` "UB" or "L0C", or "scalar", to global memory; size as above
    "move"     `kind` "L0C-UB" or "UB-L1", between the cube's buffers and a vector core's, or "L0C-L1"; size as above
    "cube"     a product; size (m, k, n), of which batches are part of m
    "vector"   an instruction of `kind`, the operation's name; size: the shape it works on
    """

    engine: str
    kind: str
    dtype: str
    size: tuple[int, ...]
    loop: Place | None  # the innermost pl.pipeline around, when its loads have room to run ahead
    lanes: int  # vector cores that do it side by side: 2 in a pl.split_aiv, where it is noted once for each


class Held(NamedTuple):
    """A tile of the program: in which buffer, how many bytes, in which slot of the compiler's plan, made where.

    What lies in one slot cannot lie there at the same time. Slots below 0 are nobody else's.
    """

    space: str
    bytes: int
    slot: int
    place: Place


class Instruction(NamedTuple):
    """One step, with the tiles (their numbers in the program) that it reads and writes, and its source line.

    `lane`: in a pl.split_aiv, which of the two vector cores does it; else 0.
    """

    step: Step
    place: Place
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    lane: int = 0


_instruction = partial(tuple.__new__, Instruction)  # of its fields; there are tens of thousands
_held = partial(tuple.__new__, Held)


@dataclass(frozen=True, eq=False)
class Program:
    """The instructions of one block in the order of the kernel's lines, and the tiles that they work on."""

    instructions: tuple[Instruction, ...]
    tiles: tuple[Held, ...]

    def steps(self) -> dict[Step, int]:
        """How often each step is made."""
        return dict(Counter(i.step for i in self.instructions))


class Later:
    """A program that is built when it is first asked for: only who predicts times asks."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Program]):
        self._make: Callable[[], Program] | None = make
        self._made: Program | None = None

    @property
    def program(self) -> Program:
        if self._make is not None:
            self._made, self._make = self._make(), None
        return self._made


# ---- what a task notes while it runs: a Memory that an operation touches, the number of an access, None at the end of
# an operation, or one of these


class Made(NamedTuple):
    """A new tile lies in `memory`."""

    memory: Memory


class Done(NamedTuple):
    """A step that is no access; `handed`: of a tile that goes to the other kind of core, where it lay."""

    step: Step
    place: Place | None
    lane: int
    handed: Memory | None = None


class Into(NamedTuple):
    """The step before works in `memory`, which holds its accumulator."""

    memory: Memory


class Goes(NamedTuple):
    """From here on `memory` holds what `other` held."""

    memory: Memory
    other: Memory


Access = tuple[Step, Place, Memory | None, int]
"""An access of global memory as a step, its source line, where the tile lies that it fills or empties, its lane."""

RING = {"L0C-UB": "UB", "UB-L1": "L1"}  # where what is handed over lies then


def built(
    events: Iterable[Any], access: Callable[[int], Access | None], slots: Mapping[int, int], ring: int
) -> Program:
    """The program of what a task noted.

    Args:
        events: See above, in order.
        access: The access of a number; None: this block has no part in it.
        slots: By the identity of a `Memory`, the slot of its buffer that it lies in.
        ring: How many tiles the ring between cube and vector cores holds, each way.
    """
    return _Builder(access, slots, ring).program(events)


class _Builder:
    """Goes through the events of a task; instructions are lists until all is known of them."""

    def __init__(self, access: Callable[[int], Access | None], slots: Mapping[int, int], ring: int):
        self.access, self.slots, self.ring = access, slots, ring
        self.tiles: list[tuple] = []  # the fields of a Held
        self.now: dict[int, int] = {}  # identity of a Memory -> the tile that is in it
        self.home: dict[int, int] = {}  # the same, but for tiles that were handed over: where they lay
        self.out: list[list[Any]] = []  # [step, place, reads, writes, lane]
        self.touched: dict[int, None] = {}  # tiles, since the last instruction
        self.handed = Counter()

    def program(self, events: Iterable[Any]) -> Program:
        now, touched = self.now, self.touched
        for e in events:
            kind = type(e)
            if kind is Memory:
                known = now.get(id(e))
                touched[self._tile(e) if known is None else known] = None
            elif e is None:
                if touched:
                    touched = self.touched = {}
            elif kind is Made:
                self._made(e[0])
            elif kind is Done:
                self._done(e)
                touched = self.touched
            elif kind is int:
                self._access(self.access(e))
            elif kind is Into and self.out:
                tile = self.home.get(id(e.memory), self._tile(e.memory))
                self.out[-1][2][tile] = self.out[-1][3][tile] = None
                touched.pop(tile, None)
            elif kind is Goes:
                now[id(e.memory)] = self._tile(e.other)
        done = []
        for step, place, reads, writes, lane in self.out:
            reads = tuple(reads)
            in_place = not writes and step.engine in ("cube", "vector")
            done.append((step, place, reads, reads if in_place else tuple(writes), lane))
        return Program(tuple(map(_instruction, done)), tuple(map(_held, self.tiles)))

    def _tile(self, memory: Memory) -> int:
        """The tile that is in a memory."""
        known = self.now.get(id(memory))
        if known is None:
            known = self.now[id(memory)] = self.home[id(memory)] = len(self.tiles)
            slot = self.slots.get(id(memory), -1 - known)
            self.tiles.append((memory.space or "UB", memory.bytes, slot, memory.place))
        return known

    def _made(self, memory: Memory) -> None:
        """A new tile is what the instruction before made, if that stands there; else another name for what its
        operation touched."""
        if self.out:
            step, place, _, writes, _ = last = self.out[-1]
            loaded = step.engine == "load" and bool(writes)
            if loaded and self.now.get(id(memory)) in writes:
                return
            if step.engine != "store" and not loaded:
                if place is None:
                    place = last[1] = memory.place
                if place is memory.place:
                    writes[self._tile(memory)] = None
                    return
        if self.touched:
            self.now[id(memory)] = next(reversed(self.touched))

    def _access(self, access: Access | None) -> None:
        if access is None:
            return
        step, place, memory, lane = access
        tile = {} if memory is None else {self._tile(memory): None}
        if step.engine == "load":
            self.out.append([step, place, {}, tile, lane])
            return
        for t in tile:
            self.touched.pop(t, None)
        self.out.append([step, place, tile, {}, lane])

    def _done(self, e: Done) -> None:
        step, place, lane, handed = e
        if handed is None:
            self.out.append([step, place, self.touched, {}, lane])
            self.touched = {}
            return
        tile, to = self._tile(handed), len(self.tiles)
        way = step.kind
        slot = self.handed[way] % self.ring
        self.handed[way] += 1
        _, nbytes, _, made = self.tiles[tile]
        self.tiles.append((f"{way} ring", nbytes, slot, made))
        self.now[id(handed)] = to
        self.touched.pop(tile, None)
        self.out.append([step, place or made, {tile: None}, {to: None}, lane])
