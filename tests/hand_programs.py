"""Programs of tasks made by hand, for tests of the cost model."""

from __future__ import annotations

from collections.abc import Iterable

from helpers.interpret.source.source import Place
from helpers.interpret.trace.program import Held, Instruction, Program, Step

LOOP = Place("none.py", 1, 1)
WHERE = {"load": "L1", "vector": "UB", "cube": "L0C", "store": "GM", "move": "UB"}


def chain(*steps: tuple[Step, int]) -> Program:
    """Each step so many times, each of which reads what the one before made: nothing overlaps."""
    out: list[Instruction] = []
    tiles: list[Held] = []
    for step, n in steps:
        for _ in range(n):
            reads = (len(tiles) - 1,) if tiles else ()
            out.append(Instruction(step, LOOP, reads, (len(tiles),)))
            tiles.append(Held(step.kind if step.engine == "load" else WHERE[step.engine], 32, len(tiles), LOOP))
    return Program(tuple(out), tuple(tiles))


def staged(load: Step, compute: Step, turns: int, slots: int) -> Program:
    """A loop that loads a tile and computes with it, whose tiles have so many slots."""
    out: list[Instruction] = []
    tiles = [Held("L0C" if compute.engine == "cube" else "UB", 32, 100, LOOP)]
    for turn in range(turns):
        tile = len(tiles)
        tiles.append(Held(load.kind, 32, turn % slots, LOOP))
        out += [Instruction(load, LOOP, (), (tile,)), Instruction(compute, LOOP, (tile, 0), (0,))]
    return Program(tuple(out), tuple(tiles))


def together(parts: Iterable[Program]) -> Program:
    """Programs one after the other, with tiles and slots of their own."""
    out: list[Instruction] = []
    tiles: list[Held] = []
    for part in parts:
        first, slot = len(tiles), 1 + max((t.slot for t in tiles), default=-1)
        tiles += [t._replace(slot=t.slot + slot) for t in part.tiles]
        for i in part.instructions:
            reads, writes = (tuple(n + first for n in of) for of in (i.reads, i.writes))
            out.append(i._replace(reads=reads, writes=writes))
    return Program(tuple(out), tuple(tiles))
