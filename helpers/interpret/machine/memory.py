"""How much of each on-chip buffer a task takes: the plan that PyPTO's compiler makes of its tiles.

Source: PyPTO src/ir/transforms/memory_reuse_pass.cpp and docs/en/dev/passes/28, 29, 33. The compiler puts tiles whose
lives do not overlap into one slot, largest first, each into the first slot where it fits; a buffer's use is the sum of
its slots. That is never less than what is alive at once, and often more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from helpers.interpret.values.values import Memory

_ALIGN = 32  # bytes
_CUT = ("L0A", "L0B")  # the compiler cuts operands to fit these, whatever their size (AutoTileMatmulL0, pass 15)


@dataclass(frozen=True)
class Plan:
    """What a task takes of the on-chip buffers.

    Attributes:
        peaks: Bytes by buffer.
        cramped: Where loads of a `pl.pipeline` are made that have one slot only, and cannot run ahead.
        slots: Of each tile, the slot that it lies in, numbered through all buffers; -1: of none that is planned.
    """

    peaks: dict[str, int]
    cramped: frozenset[object]
    slots: tuple[int, ...] = ()


@dataclass(eq=False)
class _Value:
    """A tile as the compiler sees it: all that one place of the kernel makes, turn by turn, in one stage of the
    pipelines around it."""

    bytes: int
    loaded: bool
    stages: dict[object, int]  # of each pipeline around, which of its stages makes it
    place: object
    last: int
    against: set[_Value] = field(default_factory=set)  # alive at the same time


def plan(memory: Sequence[Memory], limits: dict[str, int]) -> Plan:
    """Bytes of each on-chip buffer that these tiles take, by the compiler's rules.

    Tiles made in different stages of a `pl.pipeline(stage=s)` have slots of their own while they fit into `limits`;
    where they do not, pipelines give up stages, those with the largest tiles first, and in the end only loads of
    different stages are kept apart.
    """
    spaces: dict[str, list[Memory]] = {}
    for m in memory:
        if m.space or m.loaded:  # else it was declared and never used
            spaces.setdefault(m.space or "UB", []).append(m)
    peaks: dict[str, int] = {}
    cramped: set[object] = set()
    slot_of: dict[int, int] = {}  # by the identity of a Memory
    count = 0
    for space, tiles in spaces.items():
        if space in _CUT:
            peaks[space] = alive(tiles)
            continue
        of: dict[int, _Value] = {}
        values = _values(tiles, of)
        slots, depth = _packed(values, limits[space], space)
        peaks[space] = _size(slots)
        numbered = {id(v): count + n for n, slot in enumerate(slots) for v in slot}
        slot_of |= {m: numbered[id(v)] for m, v in of.items()}
        count += len(slots)
        loads = [v for v in values if v.loaded and v.stages]
        cramped |= {v.place for v in loads} - {v.place for v in loads if any(depth.get(g, 2) > 1 for g in v.stages)}
    return Plan(peaks, frozenset(cramped), tuple(slot_of.get(id(m), -1) for m in memory))


def alive(memory: Sequence[Memory]) -> int:
    """The most bytes of these tiles that are alive at one time."""
    events = sorted(e for m in memory for e in ((m.born, m.bytes), (m.last + 1, -m.bytes)))
    now = top = 0
    for _, n in events:
        now += n
        top = max(top, now)
    return top


def _values(memory: Sequence[Memory], of: dict[int, _Value]) -> list[_Value]:
    """The values that these tiles are, in the order in which the compiler defines them, with what each overlaps.
    Which each tile is goes into `of`, by its identity.

    A pipeline's loads come first, together, before its stages compute (pass 29); those of a loop inside it do not. The
    turns left over by its stages are a pipeline of their own after it (pass 28), whose loads come first where it stands
    in another pipeline.
    """
    known: dict[tuple, list[_Value]] = {}
    out: list[_Value] = []
    active: list[tuple[int, _Value]] = []
    starts = (_start(m) if m.loaded and m.turns else None for m in memory)
    lives = [(m.born if start is None else start, i, m) for i, (m, start) in enumerate(zip(memory, starts))]
    for start, _, m in sorted(lives):
        stages = {(t.place, t.rest): t.stage for t in m.turns}
        same = known.setdefault((m.place, m.bytes, m.loaded, *stages.items()), [])
        value = next((v for v in same if v.last < start), None)
        if value is None:
            value = _Value(-(-m.bytes // _ALIGN) * _ALIGN, m.loaded, stages, m.place, m.last)
            same.append(value)
            out.append(value)
        value.last = m.last
        of[id(m)] = value
        active = [(last, v) for last, v in active if last >= start]
        for _, v in active:
            v.against.add(value)
            value.against.add(v)
        active.append((m.last, value))
    return out


def _start(m: Memory) -> int | None:
    """The operation before which a pipeline's load is made; None: where it stands."""
    turn = m.turns[-1]
    if turn.ready and m.space == "L1":
        return None  # it has gone to L0 before the loop begins; what a vector operation makes of it would stay in UB
    return turn.start


def _packed(values: list[_Value], limit: int, space: str) -> tuple[list[list[_Value]], dict[object, int]]:
    """The slots that the values lie in, and how many stages of each pipeline have slots of their own."""
    widest: dict[object, int] = {}
    stages: dict[object, set[int]] = {}
    for v in values:
        for group, stage in v.stages.items():
            widest[group] = max(widest.get(group, 0), v.bytes)
            stages.setdefault(group, set()).add(stage)
    depth = {g: max(1, min(len(stages[g]), limit // n)) for g, n in widest.items()}

    def apart(a: _Value, b: _Value) -> bool:
        return any(b.stages.get(g, s) % depth[g] != s % depth[g] for g, s in a.stages.items())

    def loads_apart(a: _Value, b: _Value) -> bool:
        return (a.loaded or b.loaded) and any(b.stages.get(g, s) != s for g, s in a.stages.items())

    while True:
        slots = _slots(values, apart)
        spare = [g for g in depth if depth[g] > 1]
        if _size(slots) <= limit or not depth:
            return slots, depth
        if not spare:
            return _slots(values, loads_apart if not space.startswith("L0") else lambda a, b: False), depth
        depth[max(spare, key=widest.get)] -= 1


def _size(slots: list[list[_Value]]) -> int:
    return sum(slot[0].bytes for slot in slots)


def _slots(values: list[_Value], apart: Callable[[_Value, _Value], bool]) -> list[list[_Value]]:
    """The slots: largest first, each value into the first slot with nothing that it must not overwrite."""
    slots: list[list[_Value]] = []
    for v in sorted(values, key=lambda v: -v.bytes):
        for slot in slots:
            if not any(other in v.against or apart(v, other) for other in slot):
                slot.append(v)
                break
        else:
            slots.append([v])
    return slots
