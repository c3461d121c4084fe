"""A predicted run for other tools: Chrome trace events, which Perfetto opens, and the dependencies as JSON.

Chrome's Trace Event Format: a complete event ("X") for each task on each core it has, a process for each kind of core
and a thread for each core, a pair of flow events ("s", "f") for a dependency: an arrow from the task that ended last
of the earlier launch to the one that starts first of the later. Below the cores their pipes: a process for each kind of
core, a thread for each pipe of a core, an event for each bar of `helpers.profile.core_schedule`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from helpers.files import whole
from helpers.profile.pipe_times import CUBE_PIPES, PIPES, SECOND
from helpers.profile.profile import Profile
from helpers.profile.task_table import CORES

ARROWS = 50_000  # with more dependencies than this, only the one that held a launch up longest is drawn
BARS = 200_000  # with more bars on pipes than this, only those of the first task of each name are written


def chrome_trace(profile: Profile) -> Iterator[dict[str, Any]]:
    """The events of a profile; times in microseconds, rounded to nanoseconds."""
    chip, tasks, s, costs = profile.chip, profile.tasks, profile.schedule, profile.costs
    for pid, kind, cores in ((0, "cube", chip.cube_cores), (1, "vector", chip.vector_cores)):
        name = f"{kind} cores of {chip.name}, {profile.kind}"
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": name}}
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_sort_index", "args": {"sort_index": pid}}
        for core in range(cores):
            yield {"ph": "M", "pid": pid, "tid": core, "name": "thread_name", "args": {"name": f"{kind} {core}"}}
    start, end = np.round(s.start, 3).tolist(), np.round(s.end, 3).tolist()
    for task, core in zip(*(a.tolist() for a in s.lanes())):
        launch, cost = tasks.launch(task), costs[task]
        yield {
            "ph": "X",
            **_thread(profile, core),
            "name": launch.name,
            "cat": CORES[tasks.kind[task]],
            "ts": start[task],
            "dur": round(end[task] - start[task], 3),
            "args": {
                "task": task, "launch": launch.index, "block": int(tasks.block[task]),
                "source": f"{Path(launch.place.file).name}:{launch.place.line}",
                "ready": round(float(s.ready[task]), 3), "bound": cost.bound,
                **{f"{pipe} us": round(us, 3) for pipe, us in zip(PIPES, cost.busy) if us},
                "read bytes": round(cost.read_bytes), "written bytes": round(cost.write_bytes),
            },
        }  # fmt: skip
    for number, (a, b) in enumerate(arrows(profile)):
        common = {"name": "dependency", "cat": "dependency", "id": number}
        inside = max(start[a], end[a] - 0.001)  # a flow belongs to the slice that is open at its time
        yield {"ph": "s", **_thread(profile, int(s.core[a])), **common, "ts": inside}
        yield {"ph": "f", "bp": "e", **_thread(profile, int(s.core[b])), **common, "ts": start[b]}
    if profile.trace.recorded is None:
        yield from _pipes(profile)


def _pipes(profile: Profile) -> Iterator[dict[str, Any]]:
    """What the pipes of each core do, task by task."""
    chip, tasks, s = profile.chip, profile.tasks, profile.schedule
    shown = _shown(profile)
    lanes: set[tuple[int, int, str]] = set()
    for task in shown:
        start, core = float(s.start[task]) + chip.runtime.task, int(s.core[task])
        for run in profile.core(task):
            for bar in run.bars:
                second = bar.pipe >= len(PIPES)
                pipe = bar.pipe - SECOND if second else bar.pipe
                vector = pipe >= len(CUBE_PIPES)
                place = run.program.instructions[bar.instruction].place
                of = core - chip.cube_cores if core >= chip.cube_cores else 2 * core + second if vector else core
                lane = (3 if vector else 2, of * len(PIPES) + pipe, PIPES[pipe])
                if lane not in lanes:
                    lanes.add(lane)
                    name = f"{'vector' if vector else 'cube'} {of}: {PIPES[pipe].rpartition(' ')[2]}"
                    yield {"ph": "M", "pid": lane[0], "tid": lane[1], "name": "thread_name", "args": {"name": name}}
                yield {
                    "ph": "X", "pid": lane[0], "tid": lane[1], "cat": "pipe", "ts": round(start + bar.start, 3),
                    "name": bar.buffer if place is None else f"{bar.buffer} line {place.line}",
                    "dur": round(bar.end - bar.start, 3),
                    "args": {"task": int(task), "waited us": round(bar.waited, 3)},
                }  # fmt: skip
            start += run.total - chip.runtime.task
    for pid, kind in ((2, "cube"), (3, "vector")):
        part = "" if len(shown) == len(tasks) else ", of the first task of each name"
        name = f"pipes of {kind} cores{part}, {profile.kind}"
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": name}}
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_sort_index", "args": {"sort_index": pid}}


def _shown(profile: Profile) -> list[int]:
    """The tasks whose pipes are written: all, where they are not too many."""
    tasks = profile.tasks
    bars = sum(
        len(p) * len(p.chunk.program.instructions)
        for d in profile.trace.dispatches
        for p in d.parts
        if d.runs and p.chunk.program is not None
    )
    if bars <= BARS:
        return list(range(len(tasks)))
    return sorted(np.unique(tasks.name, return_index=True)[1].tolist())


def _thread(profile: Profile, core: int) -> dict[str, int]:
    cubes = profile.chip.cube_cores
    return {"pid": 0, "tid": core} if core < cubes else {"pid": 1, "tid": core - cubes}


def arrows(profile: Profile) -> list[tuple[int, int]]:
    """For each dependency the task that ends last of the earlier launch, and the first to start of the later.

    With more than `ARROWS` dependencies: of those of a launch only the one that ended last.
    """
    tasks, s = profile.tasks, profile.schedule
    first = tasks.first
    last: dict[int, int] = {}
    pairs: list[tuple[int, int]] = []
    for earlier, later in zip(*(x.tolist() for x in profile.edges.pairs())):
        if first[earlier] == first[earlier + 1] or first[later] == first[later + 1]:
            continue
        if earlier not in last:
            last[earlier] = int(first[earlier] + np.argmax(s.end[first[earlier] : first[earlier + 1]]))
        pairs.append((last[earlier], later))
    if len(pairs) > ARROWS:
        longest: dict[int, int] = {}
        for a, later in pairs:
            if later not in longest or s.end[a] > s.end[longest[later]]:
                longest[later] = a
        pairs = [(a, later) for later, a in longest.items()]
    return [(a, int(first[b] + np.argmin(s.start[first[b] : first[b + 1]]))) for a, b in pairs]


def dependencies(profile: Profile) -> dict[str, Any]:
    """The task graph: its launches, and which waits for which and why, see `helpers.interpret.trace.edges.Edge`."""
    trace = profile.trace
    return {
        "platform": trace.platform,
        "launches": [
            {
                "id": d.index, "name": d.name, "source": str(d.place), "core": d.core, "blocks": d.blocks,
                "runs": d.runs,
            }
            for d in trace.dispatches
        ],
        "edges": [
            {
                "from": e.earlier, "to": e.later, "why": e.why,
                "buffer": trace.buffers[e.buffer].name if e.buffer >= 0 else None,
            }
            for e in profile.edges
        ],
    }  # fmt: skip


def write_chrome_trace(profile: Profile, path: Path) -> None:
    """Write `chrome_trace` as a JSON file for ui.perfetto.dev; complete or not at all."""
    about = {
        "what": profile.basis,
        "platform": profile.trace.platform,
        "chip": profile.chip.name,
        "makespan_us": round(profile.makespan, 3),
    }

    with whole(path) as f:
        f.write('{"displayTimeUnit": "ns", "otherData": ' + json.dumps(about) + ', "traceEvents": [\n')
        for number, event in enumerate(chrome_trace(profile)):
            f.write((",\n" if number else "") + json.dumps(event, separators=(",", ":")))
        f.write("\n]}\n")


def write_dependencies(profile: Profile, path: Path) -> None:
    """Write `dependencies` as a JSON file; complete or not at all."""
    with whole(path) as file:
        json.dump(dependencies(profile), file, separators=(",", ":"))
