"""How long it takes to open a task at full shapes, beside the run that it is a task of.

    python -m bench.inside [STAGE ...]

For the last version of each stage: seconds of the run without anybody looking, seconds to open a block of its first and
of its last launch, and the operations of the last. Both are done one after the other in one process, on the same
inputs. A task is opened by running up to it, so the last one costs about as much as the run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from golden.spec import TensorSpec
from helpers import stages
from helpers.inside import inside
from helpers.run import run


def _seconds(what: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    out = what()
    return time.perf_counter() - start, out


def main(names: Sequence[str]) -> int:
    """Measure and print the table."""
    table = Table("stage", "run, s", "first task, s", "last task, s", "operations", box=None, padding=(0, 3, 0, 0))
    for name in names or [n for n in stages.STAGES if n != "decode"]:
        stage = stages.find(name)
        kernel = stage.versions[stage.names[-1]]

        def made(of: stages.Stage = stage) -> dict[str, Any]:
            specs = of.specs(batch=of.batch)
            return {s.name: s.create_tensor() if isinstance(s, TensorSpec) else s.to_python() for s in specs}

        args = made()
        run(kernel, args, platform="a2a3interp")  # compiles it, and finds the batches
        args = made()
        plain, result = _seconds(lambda k=kernel, a=args: run(k, a, platform="a2a3interp"))
        args = made()
        first, _ = _seconds(lambda k=kernel, a=args: inside(k, 0, args=a))
        last = len(result.trace.dispatches) - 1
        late, opened = _seconds(lambda k=kernel, a=args, n=last: inside(k, n, args=a))
        table.add_row(name, f"{plain:.2f}", f"{first:.2f}", f"{late:.2f}", f"{len(opened):,}")
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
