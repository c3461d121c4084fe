"""How long it takes to open a task at full shapes, and what it costs a run to be kept for that.

    python -m bench.inside [STAGE[.VERSION] ...] [--tasks N]

For every version of every stage but `decode`: seconds of a run, and how much longer one takes with `keep=True`, the
median of pairs of runs one after the other; the most memory that a process takes which keeps its run, as a share of
one that does not; then the slowest of N openings (12 if it is not said), of the first and the last launch and of
others drawn at random, in seconds, with the operations of that task and whether a barrier crosses it. An opening that
had to run the kernel from the beginning is counted in the last column.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import statistics
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from golden.spec import values_of
from helpers import stages
from helpers.inside import inside
from helpers.inside import opened as opening
from helpers.run import run

PAIRS, LEAST = 5, 3.0  # pairs of runs: as many as this, and for as many seconds


def peak(name: str, version: str, keep: bool) -> int:
    """The most memory that this process has taken once it has run the kernel three times, in bytes."""
    stage = stages.find(name)
    for _ in range(3):
        run(stage.versions[version], values_of(stage.specs(batch=stage.batch)), platform="a2a3interp", keep=keep)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def ratio(kernel: Any, args: dict[str, Any]) -> tuple[float, float]:
    """Seconds of a run, and how many times as long one takes that is kept: medians."""
    plain, pairs, end = [], [], time.perf_counter() + LEAST
    while len(pairs) < PAIRS or time.perf_counter() < end:
        seconds = {}
        for keep in (False, True) if len(pairs) % 2 else (True, False):
            start = time.perf_counter()
            done = run(kernel, args, platform="a2a3interp", keep=keep)
            seconds[keep] = time.perf_counter() - start
            del done
        plain.append(seconds[False])
        pairs.append(seconds[True] / seconds[False])
    return statistics.median(plain), statistics.median(pairs)


def measured(name: str, version: str, tasks: int) -> list[str]:
    """The cells of a row of the table, but for the memory."""
    stage = stages.find(name)
    kernel, args = stage.versions[version], values_of(stage.specs(batch=stage.batch))
    run(kernel, args, platform="a2a3interp")  # compiles it, and finds the batches
    seconds, more = ratio(kernel, args)
    again: list[int] = []
    once_more = opening.once_more
    opening.once_more = lambda *a, **k: again.append(1) or once_more(*a, **k)
    result = run(kernel, args, platform="a2a3interp", keep=True)
    launches = [d for d in result.trace.dispatches if d.parts]
    draw = random.Random(0)
    chosen = {launches[0].index, launches[-1].index, *(draw.choice(launches).index for _ in range(tasks - 2))}
    opened = []
    for n in sorted(chosen):
        block = draw.randrange(result.trace.dispatches[n].blocks)
        start = time.perf_counter()
        one = inside(result, n, block)
        opened.append((time.perf_counter() - start, len(one), "yes" if one.launch.barriers else ""))
    slowest, operations, barrier = max(opened)
    return [f"{seconds:.2f}", f"{more:.3f}", f"{slowest:.2f}", f"{operations:,}", barrier, str(len(again))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.inside", description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="*", metavar="STAGE[.VERSION]")
    parser.add_argument("--tasks", type=int, default=12)
    args = parser.parse_args()
    heads = ("version", "run, s", "kept", "slowest, s", "operations", "barrier", "run again", "memory")
    table = Table(*heads, box=None, padding=(0, 3, 0, 0))
    console = Console(width=120)
    context = multiprocessing.get_context("spawn")
    for subject in args.subjects or [n for n in stages.STAGES if n != "decode"]:
        name, _, version = subject.partition(".")
        for one in [version] if version else stages.find(name).names:
            with context.Pool(1, maxtasksperchild=1) as pool:  # a process for each
                row = [f"{name}.{one}", *pool.apply(measured, (name, one, args.tasks))]
                plain, kept = (pool.apply(peak, (name, one, keep)) for keep in (False, True))
            table.add_row(*row, f"{kept / plain:.2f}")
            print(*row, f"{kept / plain:.2f}", sep="  ", file=sys.stderr, flush=True)
    console.print(table)


if __name__ == "__main__":
    main()
