"""Blocks, tasks and the chip: what `pl.system`, `pl.array` and the block queries give."""

from __future__ import annotations

from typing import Any

from helpers.interpret.lanes import one
from helpers.interpret.machine import Machine
from helpers.interpret.ops.common import dtype_of, op
from helpers.interpret.source import Place
from helpers.interpret.values import Array, TaskId


@op("get_block_idx", "tensor.get_block_idx", "tile.get_block_idx")
def get_block_idx(m: Machine, at: Place) -> Any:
    """The number of the running block of a `pl.spmd`."""
    return m.block


@op("get_block_num", "tensor.get_block_num", "tile.get_block_num")
def get_block_num(m: Machine, at: Place) -> int:
    """How many blocks the running `pl.spmd` has."""
    return m.block_num


@op("system.available_cluster_count")
def available_cluster_count(m: Machine, at: Place) -> int:
    """Clusters (one cube and two vector cores) of the modelled chip."""
    return m.chip.clusters


@op("system.available_aiv_count")
def available_aiv_count(m: Machine, at: Place) -> int:
    """Vector cores of the modelled chip."""
    return m.chip.vector_cores


@op("system.task_dummy")
def task_dummy(m: Machine, at: Place, deps: Any = ()) -> TaskId:
    """A join of several tasks that does no work."""
    (d,) = m.dispatch(at, "task_dummy", "dummy", 1, deps)
    d.dummy = True
    return TaskId((d.index,))


@op("system.task_invalid")
def task_invalid(m: Machine, at: Place) -> TaskId:
    """A task id that names nothing."""
    return TaskId(())


@op("array.create")
def array_create(m: Machine, at: Place, extent: Any, dtype: Any) -> Array:
    """An array of `extent` scalars or task ids."""
    task_ids = "TASK_ID" in repr(dtype).upper()
    return Array([None if task_ids else 0] * int(one(extent)), None if task_ids else dtype_of(m, at, dtype))


@op("no_dep", "tensor.no_dep")
def no_dep(m: Machine, at: Place, tensor: Any) -> Any:
    """The tensor itself; the marker concerns the dependency of a call argument."""
    return tensor
