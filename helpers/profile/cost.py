"""How long one task takes on its core, by the chip's rates: predicted, in microseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helpers.chips import Chip
from helpers.interpret.trace import Chunk
from helpers.profile.tasks import Tasks

BOUNDS = ("cube", "vector", "load", "store")


@dataclass(frozen=True)
class TaskCost:
    """One task alone on the chip: microseconds of each engine, and of all of it together; bytes of global memory.

    `total` is less than the sum where engines overlap.
    """

    cube: float
    vector: float
    load: float
    store: float
    total: float
    read_bytes: int
    write_bytes: int

    @property
    def bound(self) -> str:
        """The engine that takes longest: "cube", "vector", "load" or "store"."""
        return max(BOUNDS, key=lambda b: getattr(self, b))


@dataclass(frozen=True)
class Costs:
    """The cost of every task: the fields of `TaskCost` as float64 arrays [tasks]."""

    cube: np.ndarray
    vector: np.ndarray
    load: np.ndarray
    store: np.ndarray
    total: np.ndarray
    read_bytes: np.ndarray
    write_bytes: np.ndarray

    def __getitem__(self, task: int) -> TaskCost:
        return TaskCost(*(getattr(self, f)[task].item() for f in TaskCost.__dataclass_fields__))


def cost(tasks: Tasks, chip: Chip) -> Costs:
    """The cost of every task."""
    fields = list(Costs.__dataclass_fields__)
    out = {f: np.zeros(len(tasks)) for f in fields}
    known: dict[int, TaskCost] = {}
    for d in tasks.trace.dispatches:
        if not d.runs:
            continue
        for p in d.parts:
            c = known.get(id(p.chunk))
            if c is None:
                c = known[id(p.chunk)] = chunk_cost(p.chunk, chip)
            blocks = p.chunk.blocks if p.row is None else p.chunk.blocks[p.row : p.row + 1]
            at = tasks.first[d.index] + blocks
            for f in fields:
                out[f][at] += getattr(c, f)
    return Costs(**out)


def chunk_cost(chunk: Chunk, chip: Chip) -> TaskCost:
    """The cost of one block of a chunk."""
    w = chunk.work
    cube = w.cube_flops / (chip.cube_tflops["BF16"] / chip.cube_cores * 1e6) + w.cube_ops * chip.op_us
    vector = w.vector_elements * 4 / (chip.vector_bytes_per_cycle * chip.clock_ghz * 1e3) + w.vector_ops * chip.op_us
    load = w.gm_read_bytes / (chip.core_gbps * 1e3) + w.loads * chip.latency_us
    store = w.gm_write_bytes / (chip.core_gbps * 1e3) + w.stores * chip.latency_us
    return TaskCost(cube, vector, load, store, cube + vector + load + store, w.gm_read_bytes, w.gm_write_bytes)
