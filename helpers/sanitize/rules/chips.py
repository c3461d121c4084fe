"""What does not fit a chip: tiles in its on-chip buffers, barriers on its cores."""

from __future__ import annotations

from helpers.chips import Chip
from helpers.interpret.machine.memory import plan
from helpers.interpret.trace.trace import Dispatch, Trace
from helpers.sanitize.rules.findings import ERROR, Finding
from helpers.sanitize.rules.order import ancestors


def overflow(trace: Trace, chip: Chip) -> list[Finding]:
    """Tasks whose tiles exceed an on-chip buffer, with the tiles that fill it; for a trace of a run that allows it."""
    out = []
    sites = {(d.name, d.place): d for d in trace.dispatches}
    for (name, place), d in sites.items():
        tiles = trace.memory.get((name, place), ())
        if not tiles or not any(p.chunk.peaks.get(s, 0) > n for p in d.parts for s, n in chip.buffers.items()):
            continue
        for space, need in plan(tiles, chip.buffers).peaks.items():
            limit = chip.buffers[space]
            if need <= limit:
                continue
            largest: dict[object, int] = {}
            for m in tiles:
                if (m.space or "UB") == space:
                    largest[m.place] = max(largest.get(m.place, 0), m.bytes * m.copies)
            order = sorted(largest, key=largest.get, reverse=True)[:4]
            listed = ", ".join(f"{largest[p]:,} B of line {p.line}" for p in order)
            out.append(
                Finding(
                    "on-chip-overflow",
                    ERROR,
                    f"task '{name}' needs {need:,} bytes of {space} at once; {chip.title} has {limit:,}",
                    order[0],
                    place,
                    "in the task launched here",
                    name,
                    listed,
                    "use smaller tiles, or fewer pipeline stages; split the work of a mixed region (pl.split)",
                    chip=chip.name,
                )
            )
    return out


def syncall(trace: Trace, chip: Chip) -> list[Finding]:
    """Hard barriers that wait for a core that never comes.

    A hard `pl.system.syncall` waits for every physical core of its kind. So the launch must have a block for each of
    them, and sync_start=True, with which the runtime waits until there is a core for each block. Without it blocks may
    start in waves, and other tasks hold the cores that the last ones have yet to get (PyPTO docs/en/dev/passes/99,
    HardSyncallOccupancy; pull request 656 of pypto-lib).
    """
    out: list[Finding] = []
    waiting = [d for d in trace.dispatches if d.barriers]
    past = ancestors(trace) if waiting else None
    done = set()
    for d in waiting:
        for b in d.barriers:
            if b.mode != "hard" or (d.place, b.place) in done:
                continue
            done.add((d.place, b.place))
            cores, kind = {
                "aiv_only": (chip.vector_cores, "vector cores"),
                "aic_only": (chip.cube_cores, "cube cores"),
            }.get(b.core_type, (chip.clusters, "core groups"))
            common = {
                "place": b.place, "other": d.place, "role": "launched here", "task": d.name, "chip": chip.name,
            }  # fmt: skip
            if d.blocks != cores:
                out.append(
                    Finding(
                        "syncall", ERROR,
                        f"the barrier waits for all {cores} {kind} of {chip.title}; '{d.name}' has {d.blocks} blocks",
                        fix="launch pl.system.available_cluster_count() blocks (available_aiv_count() for vector "
                        'tasks), or use mode="soft"', **common,
                    )
                )  # fmt: skip
            elif not d.sync_start:
                rivals = _rivals(trace, d, past)
                names = ", ".join(f"'{n}'" for n in dict.fromkeys(r.name for r in rivals))
                held = f"{names} ({sum(r.blocks for r in rivals)} tasks) can run at the same time and hold a core: "
                out.append(
                    Finding(
                        "syncall", ERROR,
                        f"{held if rivals else ''}blocks of '{d.name}' may start in waves, and those that started wait "
                        "for the others",
                        fix="launch it with sync_start=True: all blocks together, once there is a core for each",
                        **{**common, "other": rivals[0].place if rivals else d.place},
                    )
                )  # fmt: skip
    return out


def _rivals(trace: Trace, d: Dispatch, past: object) -> list[Dispatch]:
    """Launches that are neither surely before nor surely after `d`."""
    if past is None:
        return []
    mine = past(d.index)
    return [
        r
        for r in trace.dispatches
        if r.runs and r.index != d.index and not (mine >> r.index) & 1 and not (past(r.index) >> d.index) & 1
    ]
