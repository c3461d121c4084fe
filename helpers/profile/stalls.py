"""What the pipes of a core wait for within a task, in words: predicted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from helpers.interpret.source.source import Place
from helpers.profile.core_schedule import ISSUE, OPERAND, ROOM, Bar, CoreRun
from helpers.profile.pipe_times import PIPES, SECOND


@dataclass(frozen=True)
class Stall:
    """A pipe that does nothing though it has more to do.

    Attributes:
        pipe: One of `helpers.profile.pipe_times.PIPES`; `on`: the pipe that it waits for in the end.
        us: Microseconds of one task.
        why: "busy": that pipe is the slower one. "room": what it fills has no free slot: `slots` are in use. "ring":
            the same, of the tiles that cube and vector cores hand each other. "scalar": it is not handed out.
        place: The line of the instruction that is waited for.
        slots: How many slots there are for the tiles of that line.
    """

    pipe: str
    on: str
    us: float
    why: str
    place: Place
    slots: int

    def __str__(self) -> str:
        line = f"line {self.place.line}" if self.place is not None else "an element"
        stages = "one slot, so one stage" if self.slots == 1 else f"{self.slots} slots"
        if self.why == "scalar":
            return f"{self.pipe} waits for the scalar unit ({line})"
        said = {
            "busy": f"which is busy with {line}",
            "room": f"what {line} makes has {stages} only",
            "ring": f"the ring has {stages} only ({line})",
        }[self.why]
        return f"{self.pipe} waits for {self.on}: {said}"


def stalls(core: CoreRun) -> list[Stall]:
    """What the pipes of a task wait for, the longest first; waits of one pipe for the same thing are one.

    A wait is followed to where it begins: to a pipe that was busy all the while, or to a slot that was not free.
    """
    found: dict[tuple, float] = {}
    for bar in core.bars:
        if bar.waited > 0 and (bar.cause >= 0 or bar.why == ISSUE):
            key = (bar.pipe % len(PIPES) if bar.pipe < len(PIPES) else bar.pipe - SECOND, *_root(core, bar))
            found[key] = found.get(key, 0.0) + bar.waited
    out = [Stall(PIPES[pipe], on, us, why, place, slots) for (pipe, on, why, place, slots), us in found.items()]
    return sorted(out, key=lambda s: (-s.us, s.pipe, str(s.place)))


def _root(core: CoreRun, bar: Bar) -> tuple[str, str, Place, int]:
    """(pipe, why, place, slots) of what a bar waits for in the end."""
    begun = bar.start - bar.waited
    while True:
        instruction = core.program.instructions[bar.instruction]
        if bar.why == ISSUE:
            return _name(bar), "scalar", instruction.place, 0
        before = core.bars[bar.cause]
        if bar.why == ROOM:
            ring = any(core.program.tiles[t].space.endswith("ring") for t in instruction.writes)
            return _name(bar), "ring" if ring else "room", instruction.place, _slots(core, instruction.writes)
        number = bar.cause
        while number and _follows(core.bars[number - 1], before):  # the other operand of a product came before it
            number -= 1
            before = core.bars[number]
        earlier = before.waited > 0 and before.start > begun and (before.cause >= 0 or before.why == ISSUE)
        if bar.why != OPERAND or not earlier:
            return _name(before), "busy", core.program.instructions[before.instruction].place, 0
        bar = before


def _follows(first: Bar, second: Bar) -> bool:
    """Two parts of one instruction on one pipe, with nothing between."""
    return (first.pipe, first.instruction) == (second.pipe, second.instruction) and second.waited == 0


def _name(bar: Bar) -> str:
    return PIPES[bar.pipe if bar.pipe < len(PIPES) else bar.pipe - SECOND]


def _slots(core: CoreRun, tiles: Iterable[int]) -> int:
    """How many slots there are for what the line makes that made these tiles."""
    held = [core.program.tiles[t] for t in tiles]
    if not held:
        return 1
    return len({t.slot for t in core.program.tiles if (t.space, t.place) == (held[0].space, held[0].place)})
