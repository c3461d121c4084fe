"""Blocks, tasks and the chip (`pl.system`, `pl.array`); what the cores of a cluster pass each other (see `pipes`)."""

from __future__ import annotations

from typing import Any

import torch

from helpers.interpret.language.operation import Result
from helpers.interpret.language.pl_names import AUTO
from helpers.interpret.machine.machine import Machine
from helpers.interpret.machine.pipes import CONSUMER, TO_CUBE, TO_VECTOR
from helpers.interpret.ops import movement
from helpers.interpret.ops.common import crossed, describe, dtype_of, op, operand, static
from helpers.interpret.source.source import Place
from helpers.interpret.values.extents import filled
from helpers.interpret.values.lanes import one
from helpers.interpret.values.values import Array, TaskId, Tile


@op("get_block_idx", "", gives="index")
def get_block_idx(m: Machine, at: Place) -> Any:
    """The number of the running block of a `pl.spmd`."""
    return m.now.block


@op("get_block_num", "", gives="index")
def get_block_num(m: Machine, at: Place) -> int:
    """How many blocks the running `pl.spmd` has."""
    return m.now.block_num


@op("available_cluster_count", "", on="system", gives="index")
def available_cluster_count(m: Machine, at: Place) -> int:
    """Clusters (one cube and two vector cores) of the modelled chip."""
    return m.chip.clusters


@op("available_aiv_count", "", on="system", gives="index")
def available_aiv_count(m: Machine, at: Place) -> int:
    """Vector cores of the modelled chip."""
    return m.chip.vector_cores


@op("task_dummy", "* deps", on="system", orchestration=True)
def task_dummy(m: Machine, at: Place, deps: tuple[int, ...] = ()) -> TaskId:
    """A join of several tasks that does no work."""
    made = m.launches.dispatch(at, "task_dummy", "dummy", 1, deps)
    for d in made:
        d.dummy = True
    return m.ids.task_id(made)


@op("task_invalid", "", on="system", orchestration=True)
def task_invalid(m: Machine, at: Place) -> TaskId:
    """A task id that names nothing."""
    return m.ids.no_task()


@op("syncall", "* core_type? mode? gm_workspace? used_cores?", on="system")
def syncall(
    m: Machine, at: Place, core_type: Any = "mix", mode: Any = "hard", gm_workspace: Any = None, used_cores: Any = None
) -> None:
    """A barrier of all blocks of the running pl.spmd."""
    m.now.barrier(at, str(core_type), str(mode))


@op("cacheinvalid", "tensor? shapes? offsets?", on="system")
@op("fence", "", on="system")
@op("bar_all", "", on="system")
@op("bar_v", "", on="system")
@op("bar_m", "", on="system")
@op("sync_src", "* set_pipe wait_pipe event_id", on="system")
@op("sync_dst", "* set_pipe wait_pipe event_id", on="system")
@op("sync_set", "event_id * pipe ffts_mode? core_type?", on="system")
@op("sync_wait", "event_id * pipe core_type?", on="system")
@op("set_ffts", "workspace", on="system")
def ordering(m: Machine, at: Place, *_: Any, **__: Any) -> None:
    """Orders pipes and caches of a core, which are always in order here."""


@op("make_context", "", on="prefetch")
def make_context(m: Machine, at: Place, *_: Any, **__: Any) -> None:
    """A context for pl.prefetch.async_prefetch."""


@op("async_prefetch", "src ctx", on="prefetch")
@op("session", "ctx", on="prefetch")
@op("wait", "event session_handle", on="prefetch")
def async_prefetch(m: Machine, at: Place, *_: Any, **__: Any) -> None:
    """Fetches data into a cache ahead of use, which changes no value."""


@op("get_subblock_idx", "", gives="index")
def get_subblock_idx(m: Machine, at: Place) -> int:
    """The vector lane that runs, in a pl.split_aiv."""
    return m.now.lane[1]


@op("aiv_shard", "x", on="pl tile", gives="either")
def aiv_shard(m: Machine, at: Place, x: Any) -> Tile:
    """What of a cube result this vector lane gets: its half in a pl.split_aiv of UP_DOWN or LEFT_RIGHT, else all."""
    if type(x) is not Tile or x.memory.space != "L0C":  # src/ir/verifier/verify_aiv_split.cpp
        raise m.fault(
            at, f"pl.aiv_shard of {describe(x)}: it brings a product to the vector cores",
            "use the tile as it is: what a vector core makes or loads is there",
        )  # fmt: skip
    x = operand(m, at, x)
    mode, lane = m.now.lane
    if mode == "NONE":
        return m.onchip.tile(at, x.data, x.shape, x.dtype, x.valid)
    axis = 0 if mode == "UP_DOWN" else 1
    half = -(-x.shape[axis] // 2)
    shape, offset = list(x.shape), [0] * len(x.shape)
    shape[axis], offset[axis] = half, lane * half
    part = movement.slice_(m, at, x, shape, offset)
    return m.onchip.tile(at, part.data, part.shape, part.dtype, part.valid)


@op("aic_gather", "x", on="pl tile", gives="either")
def aic_gather(m: Machine, at: Place, x: Any) -> Tile:
    """The vector lanes' parts joined again for the cube; complete once the second lane has given its part."""
    if type(x) is not Tile or x.memory.space not in ("UB", ""):
        raise m.fault(at, f"pl.aic_gather of {describe(x)}: it brings a tile of the vector cores to the cube")
    x = operand(m, at, x)
    mode, lane = m.now.lane
    if mode == "NONE":
        return x
    first = x if lane == 0 else m.now.halves[at].popleft()
    shape = list(x.shape)
    axis = -2 if mode == "UP_DOWN" else -1
    shape[axis] += first.shape[axis]
    if lane == 0:
        m.now.halves[at].append(x)
    data = None if m.now.dry else torch.cat([filled(t, m.fill or 0) for t in (first, x)], axis)
    joined = m.onchip.tile(at, data, tuple(shape), x.dtype, None, "L1")
    m.onchip.channel(at, "L1", joined)
    joined.memory.bytes = 0  # it lies in the slot that it came through
    return joined


@op("create", "extent dtype", on="array", creates=True, orchestration=True)
def array_create(m: Machine, at: Place, extent: Any, dtype: Any) -> Array:
    """An array of `extent` scalars or task ids."""
    task_ids = "TASK_ID" in repr(dtype).upper()
    dtype = None if task_ids else dtype_of(m, at, dtype)
    return Array([None if task_ids else 0] * int(one(extent)), dtype, m.ids.here)


@op("no_dep", "tensor", on="pl tensor", result=Result("first", type=True), orchestration=True, tensors=True)
def no_dep(m: Machine, at: Place, tensor: Any) -> Any:
    """The tensor itself; the marker concerns the dependency of a call argument."""
    return tensor


@op("tpush_to_aiv", "tile * split lane_stride? id?", on="pl tile system")
def tpush_to_aiv(m: Machine, at: Place, tile: Any, split: int, lane_stride: Any = None, id: int | None = None) -> None:
    """The cube pushes a tile of L0C to the vector cores. `split` halves it between them and changes no value."""
    _push(m, at, tile, TO_VECTOR, split, id)


@op("tpush_to_aic", "tile * split id?", on="pl tile system")
def tpush_to_aic(m: Machine, at: Place, tile: Any, split: int, id: int | None = None) -> None:
    """The vector cores push a tile of UB to the cube."""
    _push(m, at, tile, TO_CUBE, split, id)


@op("tpop_from_aic", "* shape? dtype? split? lane_stride? id?", on="pl tile system", gives="tile")
def tpop_from_aic(m: Machine, at: Place, shape: Any = None, dtype: Any = None, split: int = 0, lane_stride: Any = None,
                  id: int | None = None) -> Tile:  # fmt: skip
    """The tile that the cube pushed, in UB."""
    return _pop(m, at, TO_VECTOR, shape, dtype, split, id)


@op("tpop_from_aiv", "* shape? dtype? split? id?", on="pl tile system", gives="tile")
def tpop_from_aiv(
    m: Machine, at: Place, shape: Any = None, dtype: Any = None, split: int = 0, id: int | None = None
) -> Tile:
    """The tile that the vector cores pushed, in L1."""
    return _pop(m, at, TO_CUBE, shape, dtype, split, id)


@op("tfree_to_aic", "tile * split? id?", on="pl system")
def tfree_to_aic(m: Machine, at: Place, tile: Any, split: Any = None, id: int | None = None) -> None:
    """The slot of a tile that was popped from the cube is free."""
    m.pipes.free(at, tile, TO_VECTOR, id)


@op("tfree_to_aiv", "tile * split? id?", on="pl system")
def tfree_to_aiv(m: Machine, at: Place, tile: Any, split: Any = None, id: int | None = None) -> None:
    """The slot of a tile that was popped from the vector cores is free."""
    m.pipes.free(at, tile, TO_CUBE, id)


@op(
    "aic_initialize_pipe", "c2v_consumer_buf? v2c_consumer_buf? * dir_mask slot_size slot_num? local_slot_num? id?",
    on="pl system",
)  # fmt: skip
def aic_initialize_pipe(
    m: Machine, at: Place, c2v_consumer_buf: Any = 0, v2c_consumer_buf: Any = 0, dir_mask: int = 0, slot_size: int = 0,
    slot_num: int | None = None, local_slot_num: int | None = None, id: int | None = None,
) -> None:  # fmt: skip
    """The cube's side of a pipe. Without `slot_num` a ring has 8 slots, or 4 in each direction of two (PyPTO,
    docs/en/reference/pto-isa/01-tpush_tpop.md)."""
    _initialize(m, at, "AIC", dir_mask, slot_size, slot_num, local_slot_num, id)


@op(
    "aiv_initialize_pipe", "c2v_consumer_buf? v2c_consumer_buf? * dir_mask slot_size slot_num? local_slot_num? id?",
    on="pl system",
)  # fmt: skip
def aiv_initialize_pipe(
    m: Machine, at: Place, c2v_consumer_buf: Any = 0, v2c_consumer_buf: Any = 0, dir_mask: int = 0, slot_size: int = 0,
    slot_num: int | None = None, local_slot_num: int | None = None, id: int | None = None,
) -> None:  # fmt: skip
    """The vector cores' side of a pipe."""
    _initialize(m, at, "AIV", dir_mask, slot_size, slot_num, local_slot_num, id)


@op("reserve_buffer", "* name size base?", on="pl system", gives="number")
def reserve_buffer(m: Machine, at: Place, name: str, size: int, base: int = AUTO) -> int:
    """`size` bytes of this core's memory, for the ring that it pops from."""
    return m.pipes.reserve(at, name, int(size))


@op("import_peer_buffer", "* name peer_func", on="pl system", gives="number")
def import_peer_buffer(m: Machine, at: Place, name: str, peer_func: str) -> int:
    """The buffer that the other core's function reserves."""
    return m.pipes.import_peer(at, name, peer_func)


def _initialize(m: Machine, at: Place, core: str, dir_mask: Any, slot_size: Any, slots: Any, local: Any,
                number: Any) -> None:  # fmt: skip
    if local is not None and not (m.chip.rules == "a2a3" and local <= (slots or 8)):
        raise m.fault(at, f"local_slot_num={local} on {m.chip.title}", "of A2/A3 only, and at most slot_num")
    m.pipes.open_pipe(at, core, int(dir_mask), int(slot_size), slots, number or 0)


def _push(m: Machine, at: Place, tile: Any, way: int, split: Any, number: int | None) -> None:
    _check_split(m, at, split, (0, 1, 2, 3, 4) if way == TO_VECTOR else (0, 1, 2))
    tile = operand(m, at, tile, "L0C" if way == TO_VECTOR else "UB")
    crossed(m, at, tile, CONSUMER[way])
    m.pipes.push(at, tile, way, number or 0)


def _pop(m: Machine, at: Place, way: int, shape: Any, dtype: Any, split: Any, number: int | None) -> Tile:
    _check_split(m, at, split, (0, 1, 2, 3, 4) if way == TO_VECTOR else (0, 1, 2))
    shape = None if shape is None else static(m, at, shape)
    return m.pipes.pop(at, way, number or 0, shape, None if dtype is None else dtype_of(m, at, dtype))


def _check_split(m: Machine, at: Place, split: Any, codes: tuple[int, ...]) -> None:
    if one(split) not in codes:
        raise m.fault(at, f"split={split}", f"one of {', '.join(map(str, codes))}: none, up-down, left-right")
