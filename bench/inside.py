"""How long it takes to open a task at full shapes, and what it costs a run to be kept for that.

    python -m bench.inside [STAGE[.VERSION] ...] [--tasks N]

For every version of every stage but `decode`, each in a process of its own: medians of five runs without and with
`keep=True`, one after the other in turn, and their ratio; the memory that the process takes more because of it, as a
share of all it takes; then the slowest of N openings (12 if it is not said), of the first and the last launch and of
others drawn at random, in seconds, with the operations of that task and whether a barrier crosses it. An opening that
had to run the kernel from the beginning is counted in the last column.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from helpers import stages

RUNS = 5


def _seconds(what: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    out = what()
    return time.perf_counter() - start, out


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def measured(name: str, version: str, tasks: int) -> list[str]:
    """The cells of a row of the table."""
    from golden.spec import values_of
    from helpers.inside import inside
    from helpers.inside import opened as opening
    from helpers.run import run

    stage = stages.find(name)
    kernel = stage.versions[version]

    def made() -> dict[str, Any]:
        return values_of(stage.specs(batch=stage.batch))

    run(kernel, made(), platform="a2a3interp")  # compiles it, and finds the batches
    run(kernel, made(), platform="a2a3interp")
    peak = _peak()
    plain, kept, pairs = [], [], []
    for _ in range(RUNS):
        args = made()
        plain.append(_seconds(lambda a=args: run(kernel, a, platform="a2a3interp"))[0])
        args = made()
        seconds, result = _seconds(lambda a=args: run(kernel, a, platform="a2a3interp", keep=True))
        kept.append(seconds)
        pairs.append(seconds / plain[-1])
    more = _peak() / peak
    again: list[int] = []
    once_more = opening.once_more
    opening.once_more = lambda *a, **k: again.append(1) or once_more(*a, **k)
    launches = [d for d in result.trace.dispatches if d.parts]
    draw = random.Random(0)
    chosen = {launches[0].index, launches[-1].index, *(draw.choice(launches).index for _ in range(tasks - 2))}
    opened = []
    for n in sorted(chosen):
        block = draw.randrange(result.trace.dispatches[n].blocks)
        seconds, one = _seconds(lambda n=n, b=block: inside(result, n, b))
        opened.append((seconds, len(one), "yes" if one.launch.barriers else ""))
    slowest, operations, barrier = max(opened)
    numbers = [statistics.median(plain), statistics.median(kept)]
    ratio = f"{statistics.median(pairs):.3f}"
    return [
        f"{name}.{version}", *(f"{n:.2f}" for n in numbers), ratio, f"{more:.2f}", f"{slowest:.2f}", f"{operations:,}",
        barrier, str(len(again)),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.inside", description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="*", metavar="STAGE[.VERSION]")
    parser.add_argument("--tasks", type=int, default=12)
    args = parser.parse_args()
    heads = ("version", "run, s", "kept, s", "ratio", "memory", "slowest, s", "operations", "barrier", "run again")
    table = Table(*heads, box=None, padding=(0, 3, 0, 0))
    console = Console(width=120)
    context = multiprocessing.get_context("spawn")
    for subject in args.subjects or [n for n in stages.STAGES if n != "decode"]:
        name, _, version = subject.partition(".")
        for one in [version] if version else stages.find(name).names:
            with context.Pool(1) as pool:
                row = pool.apply(measured, (name, one, args.tasks))
            console.print("  ".join(row), style="dim")
            table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
