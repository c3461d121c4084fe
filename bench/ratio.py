"""Two or more things timed in turn within one run, so that their ratio holds when the machine's speed drifts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table


def interleaved(runs: dict[str, Callable[[], object]], rounds: int, warmup: int = 2) -> dict[str, list[float]]:
    """Seconds of each call, one of each a round, after `warmup` rounds that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(warmup + rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if i >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: dict[str, list[float]], name: str, base: str) -> list[float]:
    """Time of `name` over time of `base`, round by round."""
    return [a / b for a, b in zip(seconds[name], seconds[base])]


def show(title: str, seconds: dict[str, list[float]], base: str) -> None:
    """Print medians and the ratio to `base`: median, and the spread from round to round."""
    table = Table("", "median ms", f"x {base}", "min", "max", title=title)
    for name in seconds:
        r = ratios(seconds, name, base)
        ms = statistics.median(seconds[name]) * 1e3
        table.add_row(name, f"{ms:.2f}", f"{statistics.median(r):.2f}", f"{min(r):.2f}", f"{max(r):.2f}")
    Console().print(table)
