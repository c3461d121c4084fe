"""The order in which a mixed task's cube core and vector cores go through their instructions.

In a `pl.pipeline` whose turns hand one tile from the cube to the vector cores and get one back, PyPTO's compiler has
the cube begin the next turns before it waits for what comes back of this one (its pass SkewCrossCorePipeline).
Else each core goes through its instructions in the order of the kernel's lines.
"""

from __future__ import annotations

from typing import NamedTuple

from helpers.interpret.trace.program import Program

WHOLE, OUT, BACK = 0, 1, 2
SENT, GOT = "L0C-UB", "UB-L1"  # kinds of a step that hands a tile to the vector cores, and to the cube


class Part(NamedTuple):
    """An instruction, by its number, or of one that hands a tile over one side: `OUT` sends it, `BACK` takes it."""

    number: int
    side: int


def order(program: Program, ahead: int) -> list[Part]:
    """The instructions in the order in which each pipe takes its own; `ahead`: turns that the cube may be ahead."""
    parts = [p for n in range(len(program.instructions)) for p in _parts(program, n)]
    sent = [k for k, p in enumerate(parts) if p.side == OUT and program.instructions[p.number].step.kind == SENT]
    got = [k for k, p in enumerate(parts) if p.side == BACK and program.instructions[p.number].step.kind == GOT]
    turns = len(sent)
    depth = max((d for d in range(1, ahead + 1) if turns % d == 0 and turns >= 2 * d), default=0)
    if not depth or len(got) != turns or any(not a < b for a, b in zip(sent, got)):
        return parts
    if any(not b < a for b, a in zip(got, sent[1:])):
        return parts
    earlier: dict[int, list[int]] = {}  # by the place of what is got back: what the cube does before it
    moved: set[int] = set()
    for turn in range(1, turns):  # so many are sent, then so many that came back are taken
        before = got[max(0, (turn // depth - 1) * depth)]
        needed = _needed(program, parts, sent[turn], before)
        if needed is None:
            return parts
        mine = [k for k in needed if k not in moved]
        earlier.setdefault(before, []).extend(mine)
        moved.update(mine)
    out: list[Part] = []
    for k, part in enumerate(parts):
        out += (parts[e] for e in earlier.get(k, ()))
        if k not in moved:
            out.append(part)
    return out


def _parts(program: Program, number: int) -> list[Part]:
    step = program.instructions[number].step
    handed = step.engine == "move" and step.kind in (SENT, GOT)
    return [Part(number, OUT), Part(number, BACK)] if handed else [Part(number, WHOLE)]


def _needed(program: Program, parts: list[Part], sent: int, after: int) -> list[int] | None:
    """Places of what the cube does, from `after` on, to make what it sends; None where that needs something that the
    vector cores make after that, or is in no `pl.pipeline`."""
    wanted = set(program.instructions[parts[sent].number].reads)
    found, piped = [sent], False
    for k in range(sent - 1, after, -1):
        part = parts[k]
        i = program.instructions[part.number]
        if not wanted.intersection(i.writes) or part.side == OUT:
            continue
        if i.step.engine not in ("load", "cube") or (i.step.engine == "load" and i.step.kind != "L1"):
            return None
        piped = piped or i.step.loop is not None
        found.append(k)
        if i.step.engine == "cube":
            wanted.update(i.reads)
    return found[::-1] if piped else None
