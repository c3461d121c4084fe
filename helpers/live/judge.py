"""One run of a kernel, judged: plain numbers, and figures as PNG files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from golden.runner import RunResult, run_jit
from helpers import plots
from helpers.interpret.trace.trace import Trace
from helpers.live.subject import Given
from helpers.profile import Profile, profile


@dataclass(frozen=True)
class Judged:
    """What came of a run at one size.

    Attributes:
        size: "small" or "full".
        platform: What ran it.
        passed: Every output matches its golden.
        error: What is wrong, None if nothing is.
        ratio: The largest error over its tolerance; None without a golden.
        outputs: By output: largest absolute error, elements outside the tolerance, elements.
        seconds: This computer's, of the kernel alone.
        tasks: What it launches.
        tasks_by_name: The same by kernel name.
        gm_bytes: Bytes of global memory read and written.
        peaks: The most of each on-chip buffer that a task takes, in bytes.
        limits: What the chip has of each, in bytes.
        predicted_us: Predicted time on the chip; None before it is known, at a size that another one came after, and
            where it depends on what the kernel computes.
        processor: Seconds of this computer's processor, of all its cores, since the run's process began.
    """

    size: str
    platform: str
    passed: bool
    error: str | None
    ratio: float | None
    outputs: dict[str, tuple[float, int, int]]
    seconds: float
    tasks: int
    tasks_by_name: dict[str, int]
    gm_bytes: int
    peaks: dict[str, int]
    limits: dict[str, int]
    predicted_us: float | None = None
    processor: float = 0.0


def judged(
    kernel: Any, given: Given, size: str, specs: list, expected: Callable[[], dict[str, Any]], chip: str
) -> tuple[Judged, RunResult]:
    """Run a kernel on `specs` and compare it.

    Args:
        expected: Gives the golden's outputs by name, when they are there.

    Returns:
        The verdict, without a predicted time, and what it is of.

    Raises:
        WorkbookError: see golden.run_jit.
    """
    result = run_jit(
        kernel, specs, runtime_cfg={"platform": f"{chip}interp"}, rtol=given.rtol, atol=given.atol,
        compare_fn=dict(given.compare_fn), check=given.check, quiet=True,
        expected_fn=expected if given.reference is not None else None,
    )  # fmt: skip
    trace = result.trace
    return Judged(
        size=size, platform=result.platform, passed=result.passed, error=result.error, ratio=_ratio(given, result),
        outputs={n: (e.max_abs, e.mismatched, e.total) for n, e in result.errors.items()},
        seconds=result.seconds, tasks=trace.tasks, tasks_by_name=dict(trace.tasks_by_name()),
        gm_bytes=trace.gm_read_bytes + trace.gm_write_bytes,
        peaks=dict(trace.peaks()), limits=_limits(trace), processor=time.process_time(),
    ), result  # fmt: skip


def predicted(result: RunResult) -> Profile | None:
    """The predicted times of a run; None where its trace does not say what the kernel does."""
    return None if result.trace is None or result.trace.blind else profile(result.trace)


def _limits(trace: Trace) -> dict[str, int]:
    from helpers.chips import chip

    return dict(chip(trace.platform.removesuffix("interp")).buffers)


def _ratio(given: Given, result: RunResult) -> float | None:
    ratios = [e.ratio for e in result.errors.values()]
    return max(ratios, default=None)


def figures(result: RunResult, times: Callable[[], Profile | None]) -> dict[str, Callable[[], bytes | None]]:
    """The figures of a run by name, as what makes their PNG files: timeline, where its errors are, on-chip memory.

    Args:
        times: Gives the predicted times; None where there are none, and then there is no timeline.
    """
    made: dict[str, Callable[[], Any]] = {}
    if result.trace is not None:
        made["timeline"] = lambda: (known := times()) and plots.swimlane(known)
    if result.expected:
        made["error map"] = lambda: plots.error_map(result)
    if result.trace is not None:
        made["on-chip memory"] = lambda: plots.memory_map(result)
    return {name: partial(_png, make) for name, make in made.items()}


def _png(make: Callable[[], Any]) -> bytes | None:
    made = make()
    return made and made.png(96, compress=1)


def warm() -> None:
    """Have ready what the first figure of a process would load: fonts, and what lays out text and numbers."""
    import torch

    plots.error_map({"": (torch.zeros(1, 1), torch.ones(1, 1))}).png(96)
