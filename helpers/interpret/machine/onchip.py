"""On-chip memory and work of a task: tiles, how long they live, what they hold at once."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from helpers.interpret.language.dtypes import DType
from helpers.interpret.language.tile_shapes import misfit
from helpers.interpret.machine import cuts
from helpers.interpret.machine.memory import Plan, plan
from helpers.interpret.machine.now import MachinePart
from helpers.interpret.machine.task import Task
from helpers.interpret.source.source import Place
from helpers.interpret.trace.program import Access, Done, Goes, Later, Made, Program, Step, built
from helpers.interpret.trace.trace import READ, Dispatch
from helpers.interpret.values.extents import most_elements
from helpers.interpret.values.lanes import one
from helpers.interpret.values.values import Memory, Tile

if TYPE_CHECKING:
    from helpers.interpret.machine.machine import Machine

SLOTS = 2  # of what goes between the two kinds of cores, unless pl.cross_core_slot says otherwise


class OnChip(MachinePart):
    """Accounts for what happens on chip."""

    def __init__(self, m: Machine):
        super().__init__(m)
        self.clock = 0
        self.largest = 1  # elements of the largest tile since a pl.parallel began
        self.parted: list | None = None  # loads of a loop that is gone through part by part, see `begin_parts`
        self._known_plans: dict[tuple, Plan] = {}
        self._known_programs: dict[tuple, Later] = {}
        self._kinds_of_access: dict[tuple[int, str], int] = {}  # by number and element type, the number of its kind
        self._access_kinds: dict[tuple, int] = {}

    def resume(self, clock: int) -> None:
        """Go on from a barrier, where another chunk had come to."""
        self.clock = clock

    def forget_largest(self) -> None:
        """A pl.parallel begins."""
        self.largest = 1

    def tile(
        self, at: Place, data: torch.Tensor | None, shape: tuple[int, ...], dtype: DType, valid: tuple | None = None,
        space: str = "UB", loaded: bool = False,
    ) -> Tile:  # fmt: skip
        """A new on-chip value; `space` "" leaves the buffer to the first operation that uses it. What is `loaded`
        shares global memory.

        Raises:
            FaultError: no such tile can be laid out in that buffer.
        """
        self.check_shape(at, shape, dtype, space)
        task = self.now.task
        n = most_elements(shape)
        if not loaded:
            self.hold(n)
        self.clock += 1
        size = n * dtype.bits + 7 >> 3
        task.total += size
        memory = Memory(space, size, self.clock, at, self.now.turn_of, loaded, shape)
        task.memory.append(memory)
        task.events.append(Made(memory))
        return Tile(data, shape, dtype, valid, memory)

    def check_shape(self, at: Place, shape: tuple[int, ...], dtype: DType, space: str) -> None:
        """Refuse a tile that the assembler refuses, see `tile_shapes`."""
        wrong = misfit(shape, dtype, space)
        if wrong is not None:
            raise self.m.fault(at, *wrong)

    def hold(self, elements: int) -> None:
        """A block holds a value of that many elements: the largest decides how many blocks make a batch."""
        if elements > self.largest:
            self.largest = elements
        if self.now.task is not None and elements > self.now.task.largest:
            self.now.task.largest = elements

    def step(
        self, engine: str, kind: str, dtype: DType, size: tuple, at: Place | None = None, handed: Memory | None = None
    ) -> None:
        """Note something that takes time, see `trace.program`. `at`: where, if that is not where its result is made;
        `handed`: what goes to the other kind of core."""
        step = self.m.trace.step((engine, kind, dtype.name, size, *self.now.inside))
        task = self.now.task
        task.events.append(Done(step, at, self.now.lane[1], handed))
        task.trail = hash((task.trail, id(step), id(at)))

    def scratch(self, at: Place, like: Tile, space: str = "UB") -> None:
        """An operation takes a temporary buffer of the size of `like` while it runs."""
        memory = Memory(space, most_elements(like.shape) * like.dtype.bits + 7 >> 3, self.clock, at, self.now.turn_of)
        self.now.task.total += memory.bytes
        self.now.task.memory.append(memory)

    def channel(self, at: Place, space: str, tile: Tile) -> None:
        """A tile goes to the other kind of core, into buffer `space`, through slots as large as the largest tile that
        goes either way (PyPTO docs/en/dev/passes/21). On A5 it is first laid out as the cube reads it."""
        if self.m.pipes.cores is not None:
            return  # the functions of a Group set up their own
        nbytes = most_elements(tile.shape) * tile.dtype.bits + 7 >> 3
        channels = self.now.task.channels
        if space not in channels:
            channels[space] = Memory(space, 0, self.now.task.start, self.now.launched[0].place)
            channels[space].last = sys.maxsize
            self.now.task.memory.append(channels[space])
        size = max(SLOTS * nbytes, *(x.bytes for x in channels.values()))
        for x in channels.values():
            x.bytes = size
        if space == "L1" and self.m.chip.rules == "a5":
            self.touch(tile)
            self.now.task.memory.append(Memory("UB", nbytes, self.clock, at, self.now.turn_of, shape=tile.shape))
        for turn in self.now.turn_of:
            self.now.task.crossed.setdefault(turn.place, set()).add(space)

    def _settle(self, d: Dispatch, task: Task) -> None:
        """What a mixed region is on one core: with `pl.split`, its vector tiles are halves (scratch is not, nor what
        has one row to split). A pipeline in which tiles go both ways has its stages on the cube's side only (pass 26);
        elsewhere its stages share an accumulator (pass 28)."""
        axis = None if task.axis is None else task.axis - 2
        both = {place for place, spaces in task.crossed.items() if len(spaces) > 1}
        task.memory += [kept for x in task.memory if x.cut is not None and (kept := x.cut.settle(self.m.chip))]
        for x in task.memory:
            space = x.space or "UB"
            if space == "UB" and task.channels and axis is not None and len(x.shape) >= 2 and x.shape[axis] > 1:
                x.bytes = -(-x.bytes // 2)
            if x.turns and space == "L1":  # pass 26 leaves no pipeline whose loads pass 29 could put first
                x.turns = tuple(t._replace(start=None) if t.place in both else t for t in x.turns)
            if x.turns and space in ("UB", "L0C"):
                x.turns = tuple(t for t in x.turns if (t.place in both) == (space == "L0C"))

    def elsewhere(self, x: Any) -> Any:
        """`x`, read where a product that is cut (see `cuts`) cannot be: as part of another value, or in a block of
        statements of its own."""
        if type(x) is Tile and x.memory.cut is not None and self.parted is None:
            x.memory.cut.used(x.memory.place)
        return x

    def begin_parts(self) -> None:
        """A loop begins whose accumulator is cut as a whole where L0C does not hold it (see `facts/split_k`)."""
        self.parted = []

    def end_parts(self) -> None:
        """The loop ends: it was gone through once for each part."""
        loads, self.parted = self.parted, None
        for memory in self.now.task.memory:
            if memory.cut is not None and memory.cut.carried:
                cuts.repeat(self.m, memory.cut, loads)

    def alias(self, tile: Tile, data: torch.Tensor | None, shape: tuple, dtype: DType, valid: tuple | None) -> Tile:
        """Another view of the same on-chip buffer (reshape, slice, set_validshape)."""
        self.touch(tile, reads=False)
        self.elsewhere(tile)
        out = Tile(data, shape, dtype, valid, tile.memory)
        if tile.origin is not None:
            self.m.memory.share(out, tile.origin)
        return out

    def carried(self, at: Place, old: Tile, new: Tile) -> None:
        """A name goes on with another tile in a loop or branch: it keeps its buffer, into which the new tile is
        computed or, where that is not possible, moved (pass 33, yield fixup)."""
        was, now = old.memory, new.memory
        if was is now or was.space != "UB" or now.space != "UB":
            return
        in_place = was.last < now.born and now.place.line == at.line and now.place.file == at.file
        if not in_place:
            self.touch(old, reads=False)
            self.touch(new, reads=False)
            self.now.task.events.append(Goes(was, now))
            new.memory = was

    def touch(self, tile: Tile, space: str = "", reads: bool = True) -> None:
        """`tile` is used now, from buffer `space` if it has none yet; `reads`: by the operation that runs."""
        self.clock += 1
        memory = tile.memory
        memory.last = self.clock
        if reads:
            self.now.task.events.append(memory)
        if not memory.space:
            memory.space = space or "UB"

    def put_in_slot(self, at: Place, tile: Tile, name: str, slots: int, index: Any) -> None:
        """A tile is annotated with `pl.MemRef(name, slots=n)[index]`: it lies in one of n slots of one allocation.

        Raises:
            FaultError: the allocation has no such slot, or the tile cannot lie in it (init_memref.cpp).
        """
        if not 0 <= one(index) < slots:
            raise self.m.fault(at, f"slot {one(index)} of '{name}', which has {slots}")
        own = tile.memory
        known = self.now.task.slot_counts.setdefault(name, (slots, own.space or "UB"))
        if tile.view:
            raise self.m.fault(
                at, f"{tile} is a part of another tile and lies in it, not in '{name}'", "annotate that one"
            )
        if known != (slots, own.space or "UB"):
            raise self.m.fault(
                at, f"'{name}' has {slots} slots in {own.space or 'UB'} here, and {known[0]} in {known[1]} before",
                "one number of slots in one buffer, or another name",
            )  # fmt: skip
        whole = self.now.task.slots.get(name)
        if whole is None:
            whole = self.now.task.slots[name] = Memory(own.space, 0, own.born, at)
            self.now.task.memory.append(whole)
        size = max(whole.bytes, own.bytes * slots)
        self.now.task.total += size - whole.bytes - own.bytes
        whole.bytes, own.bytes = size, 0
        self.now.task.events.append(Goes(whole, own))
        tile.memory = whole
        tile.slot = name, int(one(index))
        self.now.task.in_slots[tile.slot] = tile
        self.touch(tile)

    def check_slot(self, at: Place, tile: Tile) -> None:
        """A tile in a slot is read while it is the last that was put there.

        Raises:
            FaultError: another tile was put into its slot since: on the chip it is gone.
        """
        if tile.slot is not None and self.now.task.in_slots.get(tile.slot) is not tile:
            name, number = tile.slot
            raise self.m.fault(
                at, f"{tile} is read after another tile was put into its slot, {number} of '{name}'",
                "more slots, or another one: both are needed at the same time",
            )  # fmt: skip

    def program(self, task: Task, shapes: Sequence[int], planned: Plan) -> Later:
        """What took a task that made these accesses its time; an access below 0 it had no part in. A load that has no
        room to run ahead counts as outside of its pl.pipeline. Worked out once for all tasks of a place that took the
        same steps and made accesses alike, of whichever buffers."""
        d = self.now.launched[0]
        key = (
            id(d.place), len(task.memory), task.total, self.clock - task.start, len(task.events), task.trail,
            tuple(map(self._alike, shapes)),
        )  # fmt: skip
        known = self._known_programs.get(key)
        if known is not None:
            return known

        # A trace holds what is built later, which therefore must not hold the trace.
        of, events, moved = weakref.ref(self.m.trace), task.events, task.moved
        facts = {
            s: (self.m.trace.shapes[s], self._dtype_of(s).name, self.m.trace.rows(s)) for s in set(shapes) if s >= 0
        }
        steps: dict[tuple, Step] = {}  # by all that they depend on; places by their identity, which is looked up faster

        def access(number: int) -> Access | None:
            shape = shapes[number]
            if shape < 0:
                return None
            memory, loop, lanes, lane = moved[number]
            space, at = (None, None) if memory is None else (memory.space or "UB", memory.place)
            step = steps.get((shape, space, id(at), id(loop), lanes))
            if step is None:
                a, dtype, rows = facts[shape]
                kind = "scalar" if memory is None and a.elements == 1 else space or "UB"
                ahead = None if at in planned.cramped else loop
                key = ("load" if a.mode == READ else "store", kind, dtype, rows, ahead, lanes)
                trace = of()
                step = steps[shape, space, id(at), id(loop), lanes] = Step(*key) if trace is None else trace.step(key)
            return step, facts[shape][0].place, None if at is None else memory, lane

        def made() -> Program:
            program, trace = built(events, access, slots, SLOTS), of()
            return program if trace is None else trace.program(program)

        slots = {id(m): slot for m, slot in zip(task.memory, planned.slots)}
        known = self._known_programs[key] = Later(made)
        return known

    def _alike(self, shape: int) -> int:
        """A number that accesses share which take the same time at the same place; -1 for none."""
        if shape < 0:
            return -1
        a, dtype = self.m.trace.shapes[shape], self._dtype_of(shape).name
        known = self._kinds_of_access.get((shape, dtype))
        if known is None:
            what = a.mode, dtype, a.elements == 1, self.m.trace.rows(shape), id(a.place)
            known = self._kinds_of_access[shape, dtype] = self._access_kinds.setdefault(what, len(self._access_kinds))
        return known

    def _dtype_of(self, shape: int) -> DType:
        """The element type of what an access moves, as it is now."""
        return self.m.trace.buffers[self.m.trace.shapes[shape].buffer].dtype

    def planned(self, d: Dispatch, task: Task) -> Plan:
        """What the task takes of the on-chip buffers; worked out once for all tasks of a place that made the same
        steps."""
        key = (id(d.place), len(task.memory), task.total, self.clock - task.start)
        known = self._known_plans.get(key)
        if known is None:
            self._settle(d, task)
            known = self._known_plans[key] = plan(task.memory, self.m.chip.buffers)
        return known

    def check_fit(self, d: Dispatch, top: dict[str, int]) -> None:
        for space, n in top.items():
            limit = self.m.chip.buffers[space]
            if n > limit:
                largest = sorted((m for m in self.now.task.memory if m.space == space), key=lambda m: -m.bytes)[:4]
                tiles = ", ".join(f"{m.bytes * m.copies:,} B of line {m.place.line}" for m in largest)
                whole = next((m.cut for m in largest if m.cut is not None and m.bytes > limit), None)
                why = ", or fewer pipeline stages" if whole is None else f": {whole.why(self.m.chip)}"
                raise self.m.fault(
                    d.place, f"task '{d.name}' needs {n:,} bytes of {space} at once; {self.m.chip.title} has {limit:,} "
                    f"(largest: {tiles})", f"use smaller tiles{why}", kind="on-chip overflow",
                )  # fmt: skip
