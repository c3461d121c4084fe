"""One kernel on several platforms, side by side: outputs, tasks, dependencies, on-chip peaks, and what differs.

This is how interpret mode is kept honest. On a platform of PyPTO's that can compile and not run, the compiler's own
orchestration is followed on the host (`near.replay`): its launches and the tensors they are given are the compiler's;
the dependencies between them are then those that `helpers.interpret.trace.depend` finds from these tensors, as the
runtime would.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from golden import TensorSpec
from helpers import platforms
from helpers.errors import InputError, ToolchainError
from helpers.interpret.trace import depend
from helpers.interpret.trace.trace import Trace
from helpers.stages import Stage, run_stage
from helpers.toolchain import artifacts, near

Edges = Counter[tuple[str, str, str]]  # (earlier task, later task, "declared" or "inferred") -> how many


@dataclass(frozen=True)
class Side:
    """What one platform says of a kernel; None is what it cannot say.

    `how`: "ran", or "compiled, not run". `own`: its own names of tasks, by the name they are compared under.
    """

    platform: str
    how: str
    outputs: dict[str, torch.Tensor] | None
    passed: bool | None
    tasks: dict[str, int] | None
    edges: Edges | None
    peaks: dict[str, int] | None
    own: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lacks: str | None = None


@dataclass(frozen=True)
class Difference:
    """Something in which two sides differ. `why` is None when nothing that is known explains it."""

    what: str
    first: str
    second: str
    why: str | None


@dataclass(frozen=True)
class Comparison:
    """A version of a stage on several platforms; differences are to the first."""

    stage: str
    version: str
    sides: tuple[Side, ...]
    differences: tuple[tuple[str, Difference], ...]  # platform that differs, and how

    @property
    def agrees(self) -> bool:
        """True when every difference is explained."""
        return all(d.why is not None for _, d in self.differences)


def compare(
    stage: Stage,
    version: str,
    names: Sequence[str],
    *,
    batch: int | None,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
) -> Comparison:
    """Put a version of a stage on several platforms next to each other.

    Args:
        names: Platforms, two or more; the first is what the others are compared with.

    Raises:
        InputError: fewer than two platforms, or one of them twice.
        PlatformError: on one of them nothing can be compiled or run.
        WorkbookError: what running or compiling raises.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"name two platforms or more, each once, not: {', '.join(names)}")
    for name in names:
        if not name.endswith("interp"):
            near.require_compiler(name)
    sides = [_side(stage, version, name, batch, ctx, seed) for name in names]
    differences = [(s.platform, d) for s in sides[1:] for d in _differences(stage, sides[0], s)]
    return Comparison(stage.name, version, tuple(sides), tuple(differences))


def _side(stage: Stage, version: str, platform: str, batch: int | None, ctx: Any, seed: int) -> Side:
    kernel = stage.versions[version]
    compiled = None if platform.endswith("interp") else near.compile_kernel(kernel, platform)
    runs = compiled is None or not (platform.endswith("sim") and artifacts.has_barrier(compiled.folder))
    if runs and platforms.missing(platform) is None:
        result = run_stage(stage, version, platform=platform, batch=batch, ctx=ctx, seed=seed)
        trace = result.trace
        if trace is None:
            return Side(platform, "ran", result.outputs, result.passed, None, None, None, lacks=result.error)
        tasks, own = tasks_of(trace)
        return Side(
            platform, "ran", result.outputs, result.passed, tasks, edges_of(trace), trace.peaks(), own, result.error
        )
    values = {spec.name: outline(spec) for spec in stage.specs(batch=batch, ctx=ctx, seed=seed)}
    try:
        trace = near.replay(kernel, values, platform)
    except ToolchainError as e:
        return Side(platform, "compiled, not run", None, None, None, None, compiled.peaks(), lacks=str(e))
    tasks, own = tasks_of(trace)
    return Side(platform, "compiled, not run", None, None, tasks, edges_of(trace), compiled.peaks(), own)


def outline(spec: Any) -> Any:
    """A value with memory where orchestration may read it: numbers and small tensors."""
    if not isinstance(spec, TensorSpec):
        return spec.to_python()
    if math.prod(spec.shape) * spec.dtype.itemsize < 2**20:
        return spec.create_tensor()
    return torch.empty(spec.shape, dtype=spec.dtype, device="meta")


def tasks_of(trace: Trace) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Tasks by the name they are compared under, and a platform's own names where these are several."""
    known = set(trace.tasks_by_name())
    tasks: Counter[str] = Counter()
    own: dict[str, dict[str, None]] = {}
    for name, n in trace.tasks_by_name().items():
        tasks[common(name, known)] += n
        own.setdefault(common(name, known), {})[name] = None
    return dict(tasks), {n: tuple(names) for n, names in own.items() if len(names) > 1}


def edges_of(trace: Trace) -> Edges:
    """Dependencies by the names of their tasks."""
    known = set(trace.tasks_by_name())
    names = [common(d.name, known) for d in trace.dispatches]
    edges: Edges = Counter()
    for e in [*depend.declared(trace), *depend.inferred(trace, trace.inout)]:
        if trace.dispatches[e.earlier].runs and trace.dispatches[e.later].runs:  # not a runtime's allocations, joins
            edges[names[e.earlier], names[e.later], "declared" if e.why == "deps" else "inferred"] += 1
    return edges


def common(name: str, known: set[str]) -> str:
    """The name that a task has in the source: the compiler numbers InCore functions of one name, from _0 on."""
    base = re.sub(r"_\d+$", "", name)
    return base if base in known else name


def _differences(stage: Stage, a: Side, b: Side) -> list[Difference]:
    out = []
    for side in (a, b):
        if side.passed is False:
            out.append(Difference("golden", "-", f"{side.platform} fails", None))
    if a.outputs is not None and b.outputs is not None:
        for name in a.outputs:
            x, y = a.outputs[name], b.outputs[name]
            if not torch.equal(x, y):
                worst = (x.double() - y.double()).abs().max().item()
                why = "both are within the golden's tolerance" if a.passed and b.passed else None
                out.append(Difference(f"output {name}", "", f"max abs difference {worst:.2e}", why))
    if a.tasks is not None and b.tasks is not None:
        for name in {**a.tasks, **b.tasks}:
            x, y = a.tasks.get(name, 0), b.tasks.get(name, 0)
            if x != y:
                out.append(Difference(f"tasks {name}", f"{x:,}", f"{y:,}", None))
            elif name in b.own or name in a.own:
                why = "the compiler gives every InCore function a name of its own; counted together"
                shown = [", ".join(s.own.get(name, (name,))) for s in (a, b)]
                out.append(Difference(f"names of {name}", *shown, why))
    if a.edges is not None and b.edges is not None:
        for key in sorted({*a.edges, *b.edges}):
            if a.edges[key] != b.edges[key]:
                what = f"{key[2]} dependencies {key[0]} -> {key[1]}"
                out.append(Difference(what, f"{a.edges[key]:,}", f"{b.edges[key]:,}", None))
    if a.peaks is not None and b.peaks is not None:
        for buffer in a.peaks:
            x, y = a.peaks[buffer], b.peaks.get(buffer, 0)
            if x != y:
                out.append(
                    Difference(f"peak of {buffer}", f"{x:,} bytes", f"{y:,} bytes", _of_peaks(buffer, a, b, x, y))
                )
    return out


CLOSE = 128
"""Bytes by which interpret mode's plan of UB and L1 may differ from the compiler's, see docs/interpret.md."""


def _of_peaks(buffer: str, a: Side, b: Side, x: int, y: int) -> str | None:
    """Why two peaks differ: interpret mode plans as the compiler does, for the code that it runs."""
    if a.platform.endswith("interp") == b.platform.endswith("interp"):
        return None
    ours, compilers = (x, y) if a.platform.endswith("interp") else (y, x)
    if buffer.startswith("L0"):
        return "the compiler cuts a product to fit L0: into halves of it, or into smaller parts"
    if abs(ours - compilers) <= CLOSE:
        return f"small tiles lie in other slots: the plans are the same to within {CLOSE} bytes"
    return "the compiler plans for all code, these inputs may not come to all of it" if compilers > ours else None
