"""The schedule of a real run, from the start, end and core of each task that its runtime recorded.

What a record does not say is left at what it implies: a task is ready when the last that it waits for has ended, it
is given its core when it starts, and when its launch was submitted is not known (0).
"""

from __future__ import annotations

import numpy as np

from helpers.chips import Chip
from helpers.interpret.trace.edges import Edges
from helpers.interpret.trace.trace import Spans
from helpers.profile.cost import Costs
from helpers.profile.pipe_times import PIPES
from helpers.profile.schedule import Schedule, released
from helpers.profile.task_table import Tasks


def durations(spans: Spans) -> Costs:
    """Costs that have the tasks' durations and nothing else: what bounds them is not recorded."""
    none = np.zeros(len(spans.start))
    return Costs(
        np.zeros((len(none), len(PIPES))), spans.end - spans.start, none, none, none, np.zeros((len(none), 2)), {}, {}
    )


def measured(tasks: Tasks, spans: Spans, edges: Edges, chip: Chip) -> Schedule:
    """The schedule that the spans are."""
    ready = released(tasks, edges, spans.end)
    before = np.full(len(spans.start), -1, np.int32)
    last: dict[int, int] = {}
    for task in np.argsort(spans.start, kind="stable").tolist():
        core = int(spans.core[task])
        before[task] = last.get(core, -1)
        last[core] = task
    none = np.zeros(len(spans.start))
    return Schedule(
        chip, tasks, none, np.minimum(ready[tasks.dispatch], spans.start), spans.start, spans.start, spans.end,
        spans.core, before,
    )  # fmt: skip
