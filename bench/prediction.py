"""How long it takes to predict a kernel of 351,040 tasks: `python -m bench.prediction`.

`prefill.per_token`, the before of request 662, at its context of 128: all 40 layers, and the first 4, whose tasks are a
tenth. Where a step takes much more than ten times as long for the 40, it does not grow with the tasks alone. Seconds of
processor time, one thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from rich.console import Console
from rich.table import Table

from helpers import chips
from helpers.interpret.trace import depend
from helpers.profile import profile
from helpers.profile.cost import cost
from helpers.profile.schedule import schedule
from helpers.profile.task_table import tabulate
from helpers.stages import find, trace_stage


def steps(layers: int) -> Iterator[tuple[str, float]]:
    """(what, seconds) of each step of a prediction, and how many tasks and dependencies it has."""
    start = time.process_time()

    def lap() -> float:
        nonlocal start
        before, start = start, time.process_time()
        return start - before

    trace = trace_stage(find("prefill"), "per_token", ctx=128, layers=layers)
    yield "trace", lap()
    edges = depend.stated(trace)
    yield "dependencies", lap()
    tasks, chip = tabulate(trace), chips.chip("a2a3")
    costs = cost(tasks, chip)
    yield "cost", lap()
    schedule(tasks, costs, edges, chip)
    yield "schedule", lap()
    found = profile(trace, chip, edges)
    lap()
    assert found.path
    assert found.losses
    yield "critical path, losses", lap()
    yield "tasks", len(tasks)
    yield "dependencies found", len(edges)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    few, all_ = dict(steps(4)), dict(steps(40))
    table = Table("", "4 layers", "40 layers", "ratio", title="prefill.per_token, ctx 128, predicted for a2a3")
    for what in few:
        form = ".2f" if isinstance(few[what], float) else ","
        table.add_row(what, f"{few[what]:{form}}", f"{all_[what]:{form}}", f"{all_[what] / few[what]:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
