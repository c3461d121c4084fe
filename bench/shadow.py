"""What it costs to price the rounding of every line, beside the run itself.

    python -m bench.shadow [STAGE ...]

For the last version of each stage at its full shape: seconds of a run; seconds to open one block of each of its tasks
and to have `helpers.inside.rounding` follow it in FP64, all tasks together; and the second over the first, which is to
be at most 6.
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from golden.spec import values_of
from helpers import stages
from helpers.inside import inside, rounding
from helpers.run import run


def measured(name: str) -> list[str]:
    """The cells of a stage's row."""
    stage = stages.find(name)
    version = stage.names[-1]
    args = values_of(stage.specs(batch=stage.batch))
    kernel = stage.versions[version]
    run(kernel, args, platform="a2a3interp")  # compiles
    start = time.perf_counter()
    done = run(kernel, args, platform="a2a3interp", keep=True)
    seconds = time.perf_counter() - start
    tasks = {d.name: d.index for d in reversed(done.trace.dispatches) if d.parts}
    start = time.perf_counter()
    for launch in tasks.values():
        rounding(inside(done, launch))
    priced = time.perf_counter() - start
    return [f"{name}.{version}", f"{seconds:.2f}", str(len(tasks)), f"{priced:.2f}", f"{priced / seconds:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.shadow", description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE")
    table = Table("version", "run, s", "tasks", "priced, s", "ratio", box=None)
    for name in parser.parse_args().stages or stages.STAGES:
        row = measured(name)
        print(*row, file=sys.stderr, flush=True)
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
