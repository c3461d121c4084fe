"""The tasks of a trace as a table: NumPy arrays with one entry a task, in order of launch and block.

A task is one block of one launch (`Dispatch`). Joins and launches whose predicate was false have no task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import Dispatch, Trace

CUBE, VECTOR, MIXED = 0, 1, 2
CORES = ("cube", "vector", "mixed")


@dataclass(frozen=True)
class Tasks:
    """Which launch, block and kernel each task is.

    `first` has one entry a launch and one more: the tasks of launch d are first[d] to first[d + 1].
    """

    trace: Trace
    dispatch: np.ndarray  # int32 [tasks]
    block: np.ndarray  # int32 [tasks]
    name: np.ndarray  # int32 [tasks], index into `names`
    kind: np.ndarray  # int8 [tasks], CUBE, VECTOR or MIXED
    first: np.ndarray  # int64 [launches + 1]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.dispatch)

    def launch(self, task: int) -> Dispatch:
        """The launch that a task belongs to."""
        return self.trace.dispatches[self.dispatch[task]]

    def place(self, task: int) -> Place:
        """Where in the source a task is launched."""
        return self.launch(task).place

    def title(self, task: int) -> str:
        """Its kernel's name, with its block where the launch has several."""
        d = self.launch(task)
        return d.name if d.blocks == 1 else f"{d.name}[{self.block[task]}]"


def tabulate(trace: Trace) -> Tasks:
    """The table of a trace's tasks."""
    launches = trace.dispatches
    counts = np.array([d.blocks if d.runs else 0 for d in launches], np.int64)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    dispatch = np.repeat(np.arange(len(launches), dtype=np.int32), counts)
    block = (np.arange(first[-1]) - first[dispatch]).astype(np.int32)
    names = tuple(trace.tasks_by_name())
    number = {n: i for i, n in enumerate(names)}
    name = np.array([number.get(d.name, 0) for d in launches], np.int32)[dispatch]
    kind = np.array([CORES.index(d.core) for d in launches], np.int8)[dispatch]
    return Tasks(trace, dispatch, block, name, kind, first, names)
