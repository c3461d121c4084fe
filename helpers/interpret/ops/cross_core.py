"""Cross-core pipes: what the cube core and the vector cores of a cluster pass to each other (see `pipes`)."""

from __future__ import annotations

from typing import Any

from helpers.interpret import names
from helpers.interpret.lanes import one
from helpers.interpret.machine import Machine
from helpers.interpret.names import AUTO
from helpers.interpret.ops.common import crossed, dtype_of, op, operand, static
from helpers.interpret.pipes import CONSUMER, TO_CUBE, TO_VECTOR
from helpers.interpret.source import Place
from helpers.interpret.values import Tile


def _paths(name: str) -> tuple[str, ...]:
    return tuple(p for p in (name, f"system.{name}", f"tile.{name}") if names.exists(p))


@op(*_paths("tpush_to_aiv"))
def tpush_to_aiv(m: Machine, at: Place, tile: Any, split: int, lane_stride: Any = None, id: int | None = None) -> None:
    """The cube pushes a tile of L0C to the vector cores. `split` halves it between them and changes no value."""
    _push(m, at, tile, TO_VECTOR, split, id)


@op(*_paths("tpush_to_aic"))
def tpush_to_aic(m: Machine, at: Place, tile: Any, split: int, id: int | None = None) -> None:
    """The vector cores push a tile of UB to the cube."""
    _push(m, at, tile, TO_CUBE, split, id)


@op(*_paths("tpop_from_aic"))
def tpop_from_aic(m: Machine, at: Place, shape: Any = None, dtype: Any = None, split: int = 0, lane_stride: Any = None,
                  id: int | None = None) -> Tile:  # fmt: skip
    """The tile that the cube pushed, in UB."""
    return _pop(m, at, TO_VECTOR, shape, dtype, split, id)


@op(*_paths("tpop_from_aiv"))
def tpop_from_aiv(
    m: Machine, at: Place, shape: Any = None, dtype: Any = None, split: int = 0, id: int | None = None
) -> Tile:
    """The tile that the vector cores pushed, in L1."""
    return _pop(m, at, TO_CUBE, shape, dtype, split, id)


@op(*_paths("tfree_to_aic"))
def tfree_to_aic(m: Machine, at: Place, tile: Any, split: Any = None, id: int | None = None) -> None:
    """The slot of a tile that was popped from the cube is free."""
    m.free(at, tile, TO_VECTOR, id)


@op(*_paths("tfree_to_aiv"))
def tfree_to_aiv(m: Machine, at: Place, tile: Any, split: Any = None, id: int | None = None) -> None:
    """The slot of a tile that was popped from the vector cores is free."""
    m.free(at, tile, TO_CUBE, id)


@op(*_paths("aic_initialize_pipe"))
def aic_initialize_pipe(
    m: Machine, at: Place, c2v_consumer_buf: Any = 0, v2c_consumer_buf: Any = 0, dir_mask: int = 0, slot_size: int = 0,
    slot_num: int | None = None, local_slot_num: int | None = None, id: int | None = None,
) -> None:  # fmt: skip
    """The cube's side of a pipe. Without `slot_num` a ring has 8 slots, or 4 in each direction of two (PyPTO,
    docs/en/reference/pto-isa/01-tpush_tpop.md)."""
    _initialize(m, at, "AIC", dir_mask, slot_size, slot_num, local_slot_num, id)


@op(*_paths("aiv_initialize_pipe"))
def aiv_initialize_pipe(
    m: Machine, at: Place, c2v_consumer_buf: Any = 0, v2c_consumer_buf: Any = 0, dir_mask: int = 0, slot_size: int = 0,
    slot_num: int | None = None, local_slot_num: int | None = None, id: int | None = None,
) -> None:  # fmt: skip
    """The vector cores' side of a pipe."""
    _initialize(m, at, "AIV", dir_mask, slot_size, slot_num, local_slot_num, id)


@op(*_paths("reserve_buffer"))
def reserve_buffer(m: Machine, at: Place, name: str, size: int, base: int = AUTO) -> int:
    """`size` bytes of this core's memory, for the ring that it pops from."""
    return m.reserve(at, name, int(size))


@op(*_paths("import_peer_buffer"))
def import_peer_buffer(m: Machine, at: Place, name: str, peer_func: str) -> int:
    """The buffer that the other core's function reserves."""
    return m.import_peer(at, name, peer_func)


def _initialize(m: Machine, at: Place, core: str, dir_mask: Any, slot_size: Any, slots: Any, local: Any,
                number: Any) -> None:  # fmt: skip
    if local is not None and not (m.chip.name == "a2a3" and local <= (slots or 8)):
        raise m.fault(at, f"local_slot_num={local} on {m.chip.title}", "of A2/A3 only, and at most slot_num")
    m.open_pipe(at, core, int(dir_mask), int(slot_size), slots, number or 0)


def _push(m: Machine, at: Place, tile: Any, way: int, split: Any, number: int | None) -> None:
    _check_split(m, at, split, (0, 1, 2, 3, 4) if way == TO_VECTOR else (0, 1, 2))
    tile = operand(m, at, tile, "L0C" if way == TO_VECTOR else "UB")
    crossed(m, at, tile, CONSUMER[way])
    m.push(at, tile, way, number or 0)


def _pop(m: Machine, at: Place, way: int, shape: Any, dtype: Any, split: Any, number: int | None) -> Tile:
    _check_split(m, at, split, (0, 1, 2, 3, 4) if way == TO_VECTOR else (0, 1, 2))
    shape = None if shape is None else static(m, at, shape)
    return m.pop(at, way, number or 0, shape, None if dtype is None else dtype_of(m, at, dtype))


def _check_split(m: Machine, at: Place, split: Any, codes: tuple[int, ...]) -> None:
    if one(split) not in codes:
        raise m.fault(at, f"split={split}", f"one of {', '.join(map(str, codes))}: none, up-down, left-right")
