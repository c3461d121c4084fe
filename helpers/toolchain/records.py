"""What a real run recorded, read into the structures of interpret mode, so that every reader of a trace shows it too.

Where a kernel can be compiled but not run, `launches` has the launches of the compiler's own orchestration, followed
on the host (see replay/pto_orchestration_api.h), in the same form; the edges that the runtime would infer from their
tensors are then those of `helpers.interpret.trace.depend`.

Two files of PyPTO's runtime (simpler), docs/dfx there: `deps.json` (dep-gen) has every submit with its tensors, and
every dependency that the runtime wired; `chip_swimlane_records.json` has start and end of each block on its core.
What a task touched, computed and moved is in neither: of these the trace says nothing. Its on-chip peaks are those of
the compiler's plan.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from helpers import chips
from helpers.errors import ToolchainError
from helpers.interpret.language import dtypes
from helpers.interpret.source.source import Place
from helpers.interpret.trace.edges import Edge
from helpers.interpret.trace.trace import (
    IN,
    INOUT,
    OUT,
    Argument,
    Chunk,
    Dispatch,
    Part,
    Recorded,
    Spans,
    Trace,
    Work,
)
from helpers.interpret.values.values import Buffer
from helpers.toolchain import artifacts
from helpers.toolchain.artifacts import Unit

GRAPH, TIMES = "deps.json", "chip_swimlane_records.json"

_DIRECTION = {"INPUT": IN, "OUTPUT": OUT, "OUTPUT_EXISTING": OUT, "INOUT": INOUT}
_SPELLED = {"FLOAT": "FP", "BFLOAT": "BF"}
_NOWHERE = Place("?", 0, 0)


def read(found: dict[str, bytes], folder: Path, platform: str) -> Trace | None:
    """The trace of a run.

    Args:
        found: The files that the run left, by name.
        folder: The compilation that ran.

    Returns:
        None where the runtime recorded no graph.

    Raises:
        ToolchainError: the records are not of the form that is known here.
    """
    if GRAPH not in found:
        return None
    try:
        return _read(json.loads(found[GRAPH]), json.loads(found.get(TIMES, b"null")), folder, platform)
    except (KeyError, ValueError, TypeError, IndexError) as e:
        raise ToolchainError(
            f"{platform}: what the run recorded ({GRAPH}, {TIMES}) is not in the form that this version reads "
            f"({type(e).__name__}: {e})"
        ) from e


def order(found: dict[str, bytes]) -> dict[int, int]:
    """The number of the launch of each task id, in what a run left."""
    tasks = json.loads(found[GRAPH])["tasks"] if GRAPH in found else ()
    return {int(task["task_id"]): i for i, task in enumerate(tasks)}


def launches(graph: bytes, folder: Path, platform: str) -> Trace:
    """The trace of an orchestration that was followed and not run."""
    trace = _read(json.loads(graph), None, folder, platform)
    trace.recorded = None
    return trace


def _read(graph: dict[str, Any], times: dict[str, Any] | None, folder: Path, platform: str) -> Trace:
    trace = Trace(platform)
    buffers = _buffers(trace, graph["tensors"])
    names, units = _names(folder), {u.name: u for u in artifacts.units(folder)}
    order = {int(task["task_id"]): i for i, task in enumerate(graph["tasks"])}
    for task in graph["tasks"]:
        trace.dispatches.append(_dispatch(task, order, buffers, names, units))
    edges: dict[tuple[int, int], Edge] = {}
    for e in graph["edges"]:
        if e["source"] == "creator" and int(e["pred"]) not in order:
            continue  # the allocation of a tensor: done before any task runs, and not listed as one
        pair = order[int(e["pred"])], order[int(e["succ"])]
        declared = e["source"] == "explicit"
        if pair not in edges or declared:
            buffer = buffers[int(e["tensor_id"])].id if e.get("tensor_id") else -1
            edges[pair] = Edge(*pair, "deps" if declared else "inferred", buffer)
    for (earlier, later), edge in edges.items():
        if edge.why == "deps":
            trace.dispatches[later].deps += (earlier,)
    trace.recorded = Recorded(tuple(edges.values()), _spans(trace, times, order, platform) if times else None)
    return trace


def _buffers(trace: Trace, tensors: Sequence[dict[str, Any]]) -> dict[int, Buffer]:
    """Buffers by tensor id: the versions of one address are one buffer."""
    by_address: dict[int, Buffer] = {}
    out = {}
    for t in tensors:
        address = int(t["buffer_addr"])
        if address not in by_address:
            dtype = re.sub(r"^(B?FLOAT)", lambda m: _SPELLED[m[1]], t["dtype"])
            number = len(by_address)
            by_address[address] = Buffer(
                number, f"buffer {number}", None, int(t["buffer_numel"]), dtypes.BY_NAME[dtype], argument=False
            )
            trace.buffers.append(by_address[address])
        out[int(t["tensor_id"])] = by_address[address]
    return out


def _names(folder: Path) -> dict[int, str]:
    """The InCore function of each number that the orchestration launches by.

    Where nothing was assembled there is no list of them; the orchestration then has the name in the line above.
    """
    listed = folder / "kernel_config.py"
    if listed.is_file():
        return {int(n): name for n, name in re.findall(r'"func_id": (\d+), "name": "(\w+)"', listed.read_text())}
    names: dict[int, str] = {}
    for file in (folder / "orchestration").glob("*.cpp"):
        name = ""
        for line in file.read_text().splitlines():
            if found := re.match(r"\s*// (?:Task \d+|Spmd \w+): (\w+)", line):
                name = found[1]
            elif found := re.match(r"\s*// Group (\w+): ", line):
                name = found[1]
            elif found := re.search(r"MixedKernels \w+ = \{(-?\d+), (-?\d+), (-?\d+)\}", line):
                names[int(found[1])], names[int(found[2])] = f"{name}_aic", f"{name}_aiv"
                names.setdefault(int(found[3]), f"{name}_aiv")
            elif found := re.search(r"rt_submit_ai[cv]_task\((\d+), ", line):
                names[int(found[1])] = name
    return names


def _dispatch(
    task: dict[str, Any], order: dict[int, int], buffers: dict[int, Buffer], names: dict[int, str],
    units: dict[str, Unit],
) -> Dispatch:  # fmt: skip
    cube, *vector = task["kernel_ids"]
    functions = [names[n] for n in dict.fromkeys(task["kernel_ids"]) if n >= 0]
    on_vector = any(n >= 0 for n in vector)
    lane = "mixed" if cube >= 0 and on_vector else "cube" if cube >= 0 else "vector"
    name = functions[0] if functions else "-"
    if lane == "mixed":
        name = re.sub(r"_ai[cv]$", "", name)
    peaks: dict[str, int] = {}
    for f in functions:
        for buffer, n in (units[f].peaks() if f in units else {}).items():
            peaks[buffer] = max(peaks.get(buffer, 0), n)
    arguments = []
    for a in task["args"]:
        if a.get("tensor_id") is None or a["type"] not in _DIRECTION:
            continue
        argument = Argument(buffers[int(a["tensor_id"])].id, 0, tuple(a["shape"]), tuple(a["strides"]))
        arguments.append((argument, int(a["start_offset"]), _DIRECTION[a["type"]]))
    blocks = int(task["block_num"]) if functions else 0
    place = next((units[f].place for f in functions if f in units and units[f].place), None) or _NOWHERE
    chunk = Chunk(np.arange(blocks), np.zeros(0, np.int32), [], arguments, Work(), peaks)
    return Dispatch(
        order[int(task["task_id"])], name, place, "spmd" if blocks > 1 else "at", blocks, task["scope"] == "manual", 0,
        dummy=not functions, lane=lane, parts=[Part(chunk, None)],
    )  # fmt: skip


def _spans(trace: Trace, times: dict[str, Any], order: dict[int, int], platform: str) -> Spans:
    """Start, end and core of each task.

    A record says which launch it belongs to, not which block: blocks are numbered by the time they start. The vector
    cores of cluster c are 2c and 2c + 1 of theirs; of a mixed task the span is that of its three cores together.
    """
    factor = 1e6 / float(times["metadata"]["clock_freq_hz"])
    kinds = times["metadata"]["core_types"]
    chip = chips.chip(platform.removesuffix("sim"))
    number = {kind: {c: i for i, c in enumerate(c for c, k in enumerate(kinds) if k == kind)} for kind in set(kinds)}
    rows: dict[int, list[tuple[float, float, int, int, str, int]]] = defaultdict(list)
    turns: dict[tuple[int, int], int] = defaultdict(int)
    for core, token, _, start, end, *_ in sorted(times["aicore_tasks"], key=lambda row: row[3]):
        launch = order[int(token)]
        kind = kinds[core]
        place = number[kind][core]
        cluster = place if kind == "aic" else place // 2
        turn = turns[launch, core]
        turns[launch, core] += 1
        rows[launch].append((start * factor, end * factor, cluster, turn, kind, place))
    zero = min((row[3] for row in times["aicore_tasks"]), default=0) * factor
    starts, ends, cores = [], [], []
    for d in trace.dispatches:
        if not d.runs:
            continue
        bars: dict[Any, list] = {}
        for i, (start, end, cluster, turn, kind, place) in enumerate(rows[d.index]):
            core = place if kind == "aic" else chip.cube_cores + place
            bar = bars.setdefault((cluster, turn) if d.lane == "mixed" else i, [start, end, core])
            bar[:] = min(bar[0], start), max(bar[1], end), min(bar[2], core)
        if len(bars) != d.blocks:
            raise ValueError(f"launch {d.index} ({d.name}) has {d.blocks} blocks, but {len(bars)} were timed")
        for start, end, core in sorted(bars.values()):
            starts.append(start - zero)
            ends.append(end - zero)
            cores.append(core)
    return Spans(np.array(starts), np.array(ends), np.array(cores, np.int32))
