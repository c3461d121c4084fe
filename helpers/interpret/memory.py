"""How much of each on-chip buffer a task holds at once."""

from __future__ import annotations

from helpers.interpret.values import Memory


def peaks(memory: list[Memory], limits: dict[str, int] | None = None) -> dict[str, int]:
    """Largest sum of bytes alive at one time, by buffer.

    A tile lives from the operation that makes it to the last that uses it; two tiles share space when their
    lives do not overlap, which is what PyPTO's MemoryReuse pass (docs/en/dev/passes/33) may do at best. A tile
    loaded inside a `pl.pipeline(stage=s)` holds s buffers (pass 28), or as many as fit into `limits`: where a
    buffer overflows, the pass takes a stage from the tiles that free the most, and so is done here (`copies`).
    """
    spaces: dict[str, list[Memory]] = {}
    for m in memory:
        spaces.setdefault(m.space or "UB", []).append(m)
    out = {}
    for space, tiles in spaces.items():
        top = _peak(tiles)
        while limits is not None and top > limits[space]:
            spare: dict[object, int] = {}
            for m in tiles:
                if m.copies > 1:
                    spare[id(m.place)] = max(m.bytes, spare.get(id(m.place), 0))
            if not spare:
                break
            widest = max(spare, key=spare.get)
            for m in tiles:
                if id(m.place) == widest and m.copies > 1:
                    m.copies -= 1
            top = _peak(tiles)
        out[space] = top
    return out


def _peak(tiles: list[Memory]) -> int:
    events = []
    for m in tiles:
        n = m.bytes * m.copies
        events += ((m.born, n), (m.last + 1, -n))
    events.sort()
    now = top = 0
    for _, n in events:
        now += n
        if now > top:
            top = now
    return top
