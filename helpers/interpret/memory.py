"""How much of each on-chip buffer a task holds at once."""

from __future__ import annotations

from helpers.interpret.values import Memory


def peaks(memory: list[Memory]) -> dict[str, int]:
    """Largest sum of bytes alive at one time, by buffer.

    A tile lives from the operation that makes it to the last that uses it; two tiles share space when their
    lives do not overlap, which is what PyPTO's MemoryReuse pass (docs/en/dev/passes/33) may do at best. A tile
    loaded inside a `pl.pipeline(stage=s)` holds s buffers (pass 28).
    """
    events: dict[str, list[tuple[int, int]]] = {}
    for m in memory:
        space = m.space or "UB"
        n = m.bytes * m.copies
        events.setdefault(space, []).extend(((m.born, n), (m.last + 1, -n)))
    out = {}
    for space, list_ in events.items():
        list_.sort()
        now = top = 0
        for _, n in list_:
            now += n
            if now > top:
                top = now
        out[space] = top
    return out
