"""Between global memory and the chip, and within it: slices, assembles, loads, stores, element access, views.

A slice of a tensor is a window when written in orchestration and a load when written in an InCore region, as
PyPTO lowers it (pass 10, ConvertTensorToTileOps). What lies outside the valid part of a loaded tile reads as
zero here; on the device it is undefined unless filled, and the sanitizers treat it so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from helpers.interpret import dtypes, scales
from helpers.interpret.annotations import Type
from helpers.interpret.batches import Conflict
from helpers.interpret.boxes import clear
from helpers.interpret.dtypes import DType
from helpers.interpret.extents import filled, fitted, narrowed, poison
from helpers.interpret.gm import called
from helpers.interpret.lanes import Lanes, is_scalar, one, settled
from helpers.interpret.machine import UNKNOWN, Machine
from helpers.interpret.ops import halves
from helpers.interpret.ops.common import (
    crossed,
    describe,
    dtype_of,
    elements,
    everywhere,
    in_ub,
    op,
    operand,
    operands,
    scalar,
    static,
    vector,
)
from helpers.interpret.source import Place
from helpers.interpret.trace import READ, WRITE
from helpers.interpret.values import Array, Known, Tensor, Tile, dense_strides, held

SPACES = {"Vec": "UB", "Mat": "L1", "Left": "L0A", "Right": "L0B", "Acc": "L0C", "Bias": "L1", "DDR": "UB"}
# Between these nothing moves: `pto.tmov`, and for UB `pto.tpush` (ptoas 0.57).
NO_WAY = {("L1", "L1"), ("L1", "UB"), ("L0C", "L0A"), ("L0C", "L0B")}
NO_WAY |= {(a, b) for a in ("L0A", "L0B") for b in ("UB", "L1", "L0A", "L0B")}
# The scales of block-scaled operands lie beside the operands.
SPACES |= {"LeftScale": "L0A", "RightScale": "L0B"}


def space_of(target: Any) -> str:
    """The on-chip buffer that a `pl.Mem` value names."""
    return SPACES[getattr(target, "name", str(target)).rsplit(".", 1)[-1]]


# ---- creation --------------------------------------------------------------------------------------------


@op("create_tensor", "tensor.create", "tensor.create_tensor")
def create_tensor(
    m: Machine, at: Place, shape: Any, dtype: Any, layout: Any = None, manual_dep: bool = False, init_value: Any = None
) -> Tensor | Tile:
    """New global memory, or, inside an InCore region, a new tile. It holds poison until written."""
    shape, d = static(m, at, shape), dtype_of(m, at, dtype)
    if m.task is not None:
        return _blank(m, at, shape, d, "")
    if init_value is not None:
        _check_initial(m, at, init_value, d)
    t = m.allocate(f"{at.line}", shape, d, init_value, at)
    t.buffer.manual_dep = bool(manual_dep)
    return t


def _check_initial(m: Machine, at: Place, value: Any, d: DType) -> None:
    """What the runtime can fill new memory with (src/codegen/tensor_op_codegen.cpp)."""
    if not math.isfinite(value) or (not d.is_float and value != int(value)) or (abs(value) > 2**53 and not d.is_float):
        kind = "a finite number" if d.is_float else f"a whole number of at most 2**53 for {d}"
        raise m.fault(at, f"pl.create_tensor with init_value={value} of {d}", kind)
    if d.is_float and d.bits < 32 and value != 0:
        raise m.fault(
            at, f"pl.create_tensor with init_value={value} of {d}: the runtime fills words of 32 bits",
            "init_value=0, or write it in a region",
        )  # fmt: skip


@op("create_tile", "tile.create", "tile.create_tile")
def create_tile(
    m: Machine, at: Place, shape: Any, dtype: Any, target_memory: Any = None, transpose: bool = False, **_: Any
) -> Tile:
    """A new on-chip tile holding poison."""
    space = "UB" if target_memory is None else space_of(target_memory)
    if transpose and (space != "L1" or len(shape) != 2):
        raise m.fault(
            at, f"pl.create_tile({list(shape)}, transpose=True) in {space}", "a tile of two axes in pl.Mem.Mat"
        )
    d = dtype_of(m, at, dtype)
    if space == "L0C" and d.name not in ("FP32", "INT32"):
        raise m.fault(at, f"pl.create_tile of {d} in L0C, which accumulates FP32 and INT32", "dtype=pl.FP32")
    return _blank(m, at, static(m, at, shape), d, space)


@op("create_l1", "tensor.create_l1")
def create_l1(m: Machine, at: Place, shape: Any, dtype: Any, transpose: bool = False) -> Tile:
    """A new tile in L1."""
    return _blank(m, at, static(m, at, shape), dtype_of(m, at, dtype), "L1")


def _blank(m: Machine, at: Place, shape: tuple, d: DType, space: str) -> Tile:
    data = None if m.dry else torch.full(shape, m.unwritten(d), dtype=d.torch)
    m.trace.note("new tile", at, "")
    return m.tile(at, data, shape, d, None, space)


@op(*everywhere("full"))
def full(m: Machine, at: Place, shape: Any, dtype: Any, value: Any) -> Tile:
    """A tile filled with a scalar."""
    shape, d = static(m, at, shape), dtype_of(m, at, dtype)
    _incore(m, at, "full")
    _no_column(m, at, "pl.full", shape)
    vector(m, shape, d, "full")
    data = None
    if not m.dry:
        s = scalar(value, len(shape))
        data = s.to(d.torch).expand(-1, *shape) if isinstance(s, torch.Tensor) else torch.full(shape, s, dtype=d.torch)
    return m.tile(at, data, shape, d)


@op("arange", "tensor.ci", "tensor.arange", "tile.ci", "tile.arange")
def arange(m: Machine, at: Place, start: Any, shape: Any, dtype: Any = dtypes.INT32, descending: bool = False) -> Tile:
    """start, start + 1, ... (or downward) in row-major order."""
    shape, d = static(m, at, shape), dtype_of(m, at, dtype)
    _incore(m, at, "arange")
    _no_column(m, at, "pl.arange", shape)
    vector(m, shape, d, "arange")
    data = None
    if not m.dry:
        steps = torch.arange(elements(shape)).view(shape)
        data = dtypes.wrap((scalar(start, len(shape)) + (-steps if descending else steps)).to(d.torch), d)
    return m.tile(at, data, shape, d)


def _no_column(m: Machine, at: Place, name: str, shape: tuple[int, ...]) -> None:
    """Refuse [rows, 1] of operations that make it row-major, a row of one element: PyPTO refuses pl.arange, its
    assembler the others (ptoas 0.57, `pto.alloc_tile`)."""
    if len(shape) == 2 and shape[1] == 1:
        raise m.fault(
            at, f"{name} gives a column {list(shape)}, which PyPTO lays out as {shape[0]} rows of one element",
            f"make it [1, {shape[0]}], then pl.reshape(x, [{shape[0]}, 1])",
        )  # fmt: skip


def _incore(m: Machine, at: Place, name: str) -> None:
    if m.task is None:
        raise m.fault(at, f"pl.{name} outside an InCore region", "put it into `with pl.at(level=pl.Level.CORE_GROUP):`")


# ---- slices and assembles --------------------------------------------------------------------------------


@op(*everywhere("slice"))
def slice_(
    m: Machine, at: Place, x: Any, shape: Any, offset: Any, valid_shape: Any = None, drop_dims: Any = None,
    pad_value: Any = None, clamp: bool = False,
) -> Tensor | Tile:  # fmt: skip
    """The part of `x` at `offset` of `shape`; `valid_shape` says how much of it is real."""
    shape = static(m, at, shape)
    if type(x) is Tensor:
        if clamp:
            valid_shape = _clamped(x, shape, offset, valid_shape)
        w = m.window(at, x, offset, shape, valid_shape)
        out: Tensor | Tile = m.load(at, w) if m.task is not None else w
    elif type(x) is Tile:
        if clamp:
            raise m.fault(at, f"pl.slice of {x} with clamp=True, on chip", "valid_shape=[...]")
        out = _tile_slice(m, at, x, shape, offset, valid_shape)
    else:
        raise m.fault(at, f"pl.slice of {describe(x)}")
    if pad_value is not None and type(out) is Tile and out.valid is not None:
        out = fillpad(m, at, out, pad_value)
    if drop_dims:
        drop = {int(d) for d in drop_dims}
        if len(drop) == len(shape):
            raise m.fault(at, f"pl.slice of {x} with drop_dims of every axis", "keep one, or pl.read the number")
        out = reshape(m, at, out, [s for i, s in enumerate(shape) if i not in drop] or [1])
    return out


def _clamped(x: Tensor, shape: tuple, offset: Any, valid: Any) -> list:
    from helpers.interpret.lanes import larger, smaller

    return [smaller(v, larger(0, n - o)) for v, n, o in zip(valid or shape, x.shape, offset)]


def _tile_slice(m: Machine, at: Place, x: Tile, shape: tuple, offset: Any, valid: Any) -> Tile:
    if len(shape) != len(x.shape) or len(offset) != len(x.shape):
        raise m.fault(at, f"slice of {x} with {len(shape)} sizes and {len(offset)} offsets")
    _check_axes(m, at, x, "a part")
    fixed = all(isinstance(o, Known) for o in offset)
    offset = [int(one(o)) for o in offset]
    for axis, (o, n, extent) in enumerate(zip(offset, shape, x.shape)):
        if o < 0 or o + n > extent:
            raise m.fault(
                at, f"slice outside {x}: axis {axis} from {o} to {o + n} of extent {extent}", kind="out of bounds"
            )
    if m.chip.name == "a5" and x.memory.space == "UB" and shape[-1] == 1 < x.shape[-1] and elements(shape) > 1:
        raise m.fault(  # `pto.textract` from row-major to column-major (ptoas 0.57)
            at, f"a column of {x}: A5 has no instruction that takes one out of a tile in UB",
            "slice the column of the tensor in global memory, or reduce what it was made from",
        )  # fmt: skip
    if x.valid is not None and x.memory.space in ("UB", "") and shape[-1] == 1 < x.shape[-1] and elements(shape) > 1:
        raise m.fault(at, f"a column of {x}, of which a part is valid", "pl.fillpad it first")
    halves.check_part(m, at, "a part of", x, shape)
    if x.memory.space == "L0C" and fixed:
        _check_place(m, at, x, shape, offset)
    valid = narrowed(shape, x, offset, valid)
    where = tuple(slice(o, o + n) for o, n in zip(offset, held(shape, valid)))
    out = m.alias(x, None if m.dry else x.data[(..., *where)], shape, x.dtype, valid)
    out.view = True
    out.strided = x.strided or (elements(shape[:-1]) > 1 and shape[-1] < x.shape[-1])
    if x.memory.space == "L0C":  # a product may accumulate into a part of an accumulator
        out.window = (x, where)
    return out


def _check_place(m: Machine, at: Place, x: Tile, shape: tuple, offset: list[int]) -> None:
    """A part of a product begins at a multiple of 512 bytes of its rows one after the other, where the compiler knows
    its place (ptoas 0.57, `pto.alloc_tile`); one that only the run knows is not looked at."""
    whole, where = x.window or (x, (slice(0, None),) * len(x.shape))
    start = sum((w.start + o) * s for w, o, s in zip(where, offset, dense_strides(whole.shape)))
    if start * x.dtype.bits // 8 % 512:
        raise m.fault(
            at, f"a part {list(shape)} of the product {whole} at {start * x.dtype.bits // 8} bytes: it has to begin at"
            " a multiple of 512", "a product of each part: slice the columns of the right operand; or store, and load",
        )  # fmt: skip


@op(*everywhere("assemble"))
def assemble(m: Machine, at: Place, target: Any, source: Any, offset: Any, atomic: Any = None) -> Any:
    """Write `source` into `target` at `offset` and return the target."""
    add = atomic is not None and getattr(atomic, "name", str(atomic)).endswith("Add")
    if add and m.task is not None:
        _check_atomic(m, at, target)
    s = _source(m, at, source) if type(target) is Tensor else operand(m, at, source)
    return _into(m, at, target, s, offset, add)


ATOMIC = {"FP32", "BF16", "FP16", "INT32", "INT16", "INT8"}


def _check_atomic(m: Machine, at: Place, target: Any) -> None:
    """What memory adds to (src/ir/op/tensor_ops/memory.cpp, src/ir/verifier/verify_atomic_add_dtype.cpp)."""
    if type(target) is not Tensor:
        raise m.fault(at, f"an atomic pl.assemble into {describe(target)}", "into a tensor; of tiles, pl.add")
    if target.dtype.name not in ATOMIC or (target.dtype.name == "BF16" and m.chip.name == "a5"):
        where = "" if target.dtype.name not in ATOMIC else " on A5"
        raise m.fault(at, f"an atomic pl.assemble into {target}: memory adds no {target.dtype}{where}", "pl.FP32")


def _into(m: Machine, at: Place, target: Any, s: Any, offset: Any, add: bool = False) -> Any:
    """A source that is ready to be written, into `target`."""
    if type(target) is Tensor:
        _two_axes(m, at, s)
        s = _for_target(m, at, target, s)
        w = m.window(at, target, offset, s.shape, s.valid, "assemble")
        w.valid = s.valid
        if m.task is None:
            _copy(m, at, w, s)
        else:
            m.store(at, w, s, add)
        return target
    if type(target) is Tile:
        if s.dtype is not target.dtype:
            raise m.fault(at, f"assemble of {s} into {target}", f"pl.cast it to {target.dtype}")
        offset = [int(one(o)) for o in offset]
        if len(offset) != len(target.shape) or len(s.shape) != len(target.shape):
            raise m.fault(at, f"assemble of {s} into {target}: ranks differ")
        _check_window(m, at, target, s)
        _check_band(m, at, target, s)
        if any(o < 0 or o + n > e for o, n, e in zip(offset, s.shape, target.shape)):
            raise m.fault(at, f"assemble of {s} at {offset} reaches outside {target}", kind="out of bounds")
        _check_union(m, at, target, s, offset)
        halves.check_part(m, at, "pl.assemble into", target, s.shape)
        crossed(m, at, s, "UB")
        m.touch(s, "UB")
        m.touch(target)
        data = None
        if not m.dry:
            lead = s.data.shape[:1] if s.batched and not target.batched else ()
            data = filled(target, 0)
            data = data.expand(*lead, *data.shape).clone()
            data[(..., *(slice(o, o + n) for o, n in zip(offset, held(s.shape, s.valid))))] = s.data
            data = data[(..., *(slice(0, n) for n in held(target.shape, target.valid)))]
        vector(m, s.shape, s.dtype, "assemble")
        return Tile(data, target.shape, target.dtype, target.valid, target.memory)
    raise m.fault(at, f"pl.assemble into {describe(target)}")


def _check_axes(m: Machine, at: Place, x: Tile, what: str) -> None:
    """A tile has two axes once it is compiled, and what picks some of it is not rewritten for more
    (src/ir/transforms/flatten_tile_nd_to_2d/analysis.cpp)."""
    if len(x.shape) > 2:
        rows = math.prod(x.shape[:-1])
        raise m.fault(
            at, f"{what} of {x}, which has {len(x.shape)} axes on chip", f"slice the tensor, or pl.reshape it to"
            f" [{rows}, {x.shape[-1]}] first",
        )  # fmt: skip


def _check_band(m: Machine, at: Place, target: Tile, s: Tile) -> None:
    """With all axes but the last made one, what is written is one band of rows (the same file)."""
    if len(target.shape) < 3:
        return
    first = next((i for i, n in enumerate(s.shape[:-1]) if n != 1), len(s.shape))
    if s.shape[first + 1 : -1] != target.shape[first + 1 : -1]:
        raise m.fault(
            at, f"assemble of {s} into {target}: on chip a tile has two axes, and of these it is several strips of rows"
            " that do not touch",
            "one pl.assemble for each index of the axes in front",
        )  # fmt: skip


def _check_window(m: Machine, at: Place, target: Tile, s: Tile) -> None:
    """What can be put into a tile: whole rows, on A5 some of their columns; no column, no product.

    Source: the code generator (`pto.subview` wants one layout) and the assembler (ptoas 0.57, `pto.tmov`).
    """
    if s.memory.space == "L0C" or (s.shape[-1] == 1) != (target.shape[-1] == 1):
        what = "a product" if s.memory.space == "L0C" else "its layout is another one"
        raise m.fault(at, f"assemble of {s} into {target}: {what}", "store both into the tensor, each at its place")
    if m.chip.name == "a2a3" and s.shape[-1] != target.shape[-1] and target.memory.space == "UB":
        raise m.fault(
            at,
            f"assemble of {s} into {target}: A2/A3 moves whole rows only",
            "pl.concat, or store both into the tensor",
        )


def _check_union(m: Machine, at: Place, target: Tile, s: Tile, offset: list[int]) -> None:
    """What is written to a partly valid tile and what is valid of it are one rectangle from the origin.

    Source: src/ir/op/type_inference.cpp. What lies outside the valid part is not kept all the same, as on both
    simulators.
    """
    have, new = target.valid, held(s.shape, s.valid)
    if have is None or any(type(n) is Lanes for n in (*have, *new)):
        return
    growing = [i for i, (o, n, h) in enumerate(zip(offset, new, have)) if o + n > h]
    if not growing or (not any(offset) and all(n >= h for n, h in zip(new, have))):
        return
    axis = growing[0]
    beside = any(o or n != h for i, (o, n, h) in enumerate(zip(offset, new, have)) if i != axis)
    if len(growing) > 1 or offset[axis] > have[axis] or beside:
        raise m.fault(
            at, f"assemble of {s} at {offset} into {target}: with what is valid it makes no rectangle from the origin",
            "write where it is valid, or pl.fillpad it first",
        )  # fmt: skip


def _source(m: Machine, at: Place, source: Any) -> Any:
    """What is to be written. In orchestration that is a window, copied as it is; in a region, a tile."""
    if m.task is None:
        if type(source) is not Tensor:
            raise m.fault(at, f"pl.assemble of {describe(source)} in orchestration")
        return source
    if type(source) is Tensor:
        raise m.fault(
            at, f"{source} is copied without an operation", "slice it first: the slice is the load that the copy needs"
        )
    return operand(m, at, source, source.memory.space if type(source) is Tile else "UB")


def _two_axes(m: Machine, at: Place, s: Any) -> None:
    """PyPTO's code generator stores tiles of two axes and more ("tile.store tile valid_shape must be 2D")."""
    if m.task is not None and len(s.shape) < 2:
        raise m.fault(at, f"a store of {s}, which has one axis", f"pl.reshape(x, [1, {s.shape[0]}]) and pl.assemble")


def _copy(m: Machine, at: Place, w: Tensor, source: Tensor) -> None:
    """Orchestration moves a window of global memory into another."""
    if w.buffer is source.buffer and (w.offset, w.shape) != (source.offset, source.shape):
        to, of = (np.array([int(one(x.offset))]) for x in (w, source))
        if not clear(to, w.shape, w.strides, of, source.shape, source.strides).all():
            raise m.fault(
                at, f"a part of {called(w.buffer)} is put where it overlaps itself", "a tensor between the two"
            )
    m.by_host(at, READ, source)
    if m.dry and not m.keeps(w.buffer):
        m.by_host(at, WRITE, w)
    else:
        m.overwrite(at, w, m.view(source))


def _for_target(m: Machine, at: Place, target: Tensor, s: Any) -> Any:
    more = len(target.shape) - len(s.shape)
    if more > 0:  # axes of extent 1 come or go in front
        s = reshape(m, at, s, [1] * more + list(s.shape))
    elif more < 0 and all(n == 1 for n in s.shape[:-more]):
        s = reshape(m, at, s, s.shape[-more:])
    if len(s.shape) != len(target.shape):
        raise m.fault(at, f"assemble of {s} into {target}: ranks differ", "pl.reshape the source")
    if s.dtype is target.dtype:
        return s
    if type(s) is Tile and s.memory.space == "L0C" and s.dtype.is_float and target.dtype.name in ("FP16", "BF16"):
        # FIXPIPE rounds to nearest even on the way out of L0C (PyPTO pass 15, "Fits-L0c chained cast-fold")
        return Tile(None if m.dry else s.data.to(target.dtype.torch), s.shape, target.dtype, s.valid, s.memory)
    raise m.fault(at, f"assemble of {s} into {target}", f"pl.cast it to {target.dtype}")


@op("load", "tile.load")
def load(
    m: Machine, at: Place, tensor: Any, offsets: Any, shapes: Any, valid_shape: Any = None, target_memory: Any = None,
    clamp: bool = False,
) -> Tile:  # fmt: skip
    """Global memory to UB (default) or L1."""
    if type(tensor) is not Tensor:
        raise m.fault(at, f"pl.load of {describe(tensor)}")
    space = "UB" if target_memory is None else space_of(target_memory)
    if space not in ("UB", "L1"):
        raise m.fault(at, f"pl.load into {space}", "load into pl.Mem.Mat, then pl.move to the operand buffer")
    shape = static(m, at, shapes)
    if clamp:
        valid_shape = _clamped(tensor, shape, offsets, valid_shape)
    window = m.window(at, tensor, offsets, shape, valid_shape, "load")
    if tensor.buffer.layout:
        return _load_scales(m, at, tensor, window, offsets, space)
    return m.load(at, window, space)


def _load_scales(m: Machine, at: Place, tensor: Tensor, window: Tensor, offsets: Any, space: str) -> Tile:
    """Scales of a block-scaled operand, out of the order that they lie in (see `scales`)."""
    layout = tensor.buffer.layout
    rows, blocks = (0, 1) if layout == "MX_A_ZZ" else (1, 0)
    start = [int(one(o)) for o in offsets]
    if space != "L1":
        raise m.fault(at, f"scales in pl.{layout} loaded into {space}", "target_memory=pl.Mem.Mat")
    for axis, multiple in ((rows, scales.PIECE), (blocks, scales.PAIR)):
        if start[axis] % multiple or window.shape[axis] % multiple or tensor.shape[axis] % multiple:
            raise m.fault(
                at, f"scales in pl.{layout}: axis {axis} from {start[axis]}, {window.shape[axis]} of "
                f"{tensor.shape[axis]}", f"multiples of {multiple}",
            )  # fmt: skip
    tile = m.load(at, window, space)
    if not tile.empty:
        whole = scales.unpacked(tensor.buffer.base[: tensor.buffer.size].view(tensor.buffer.shape), layout)
        tile.data = whole[tuple(slice(o, o + n) for o, n in zip(start, window.shape))].contiguous()
    tile.scales = layout
    return tile


@op("store", "tile.store")
def store(
    m: Machine, at: Place, tile: Any, offsets: Any, output_tensor: Any, shapes: Any = None, atomic: Any = None
) -> Any:
    """On chip to global memory; returns the tensor."""
    if type(tile) is not Tile:
        raise m.fault(at, f"pl.store of {describe(tile)}")
    if type(output_tensor) is not Tensor:
        raise m.fault(at, f"pl.store into {describe(output_tensor)}")
    if tile.memory.space not in ("UB", "L0C"):
        raise m.fault(at, f"pl.store of {tile}, which is in {tile.memory.space}", "store from pl.Mem.Vec or pl.Mem.Acc")
    if shapes is not None and len(shapes) != len(offsets):
        raise m.fault(at, f"pl.store with {len(offsets)} offsets and {len(shapes)} shapes", "one for each axis")
    _two_axes(m, at, tile)
    if len(tile.shape) < len(output_tensor.shape):
        tile = reshape(m, at, tile, [1] * (len(output_tensor.shape) - len(tile.shape)) + list(tile.shape))
    return assemble(m, at, output_tensor, tile, offsets, atomic)


@op("move", "tile.move")
def move(m: Machine, at: Place, tile: Any, target_memory: Any, blayout: Any = None, slayout: Any = None) -> Tile:
    """The same values in another on-chip buffer."""
    x, space = operand(m, at, tile), space_of(target_memory)
    if space == "L0C":
        raise m.fault(at, f"pl.move of {x} to pl.Mem.Acc, where only products are made", "pl.matmul, pl.matmul_acc")
    if (x.memory.space, space) in NO_WAY and getattr(target_memory, "name", "") not in ("Bias", "DDR"):
        raise m.fault(at, f"pl.move of {x} from {x.memory.space} to {space}", "pl.load it there from the tensor")
    out = m.tile(at, x.data, x.shape, x.dtype, x.valid, space)
    out.scales = x.scales
    if x.origin is not None:
        m.share(out, x.origin)
    out.wide = x.wide
    return out


# ---- subscripts ------------------------------------------------------------------------------------------


def getitem(m: Machine, at: Place, x: Any, index: tuple) -> Any:
    """`x[index]`: a slice, a view with dropped axes, or, for all scalars, an element."""
    if isinstance(x, (tuple, list)):
        return x[int(one(index[0]))]
    if isinstance(x, Array):
        return m.element(at, x, int(one(index[0])))
    if not isinstance(x, (Tensor, Tile)):
        raise m.fault(at, f"a subscript of {describe(x)}")
    if len(index) > len(x.shape):
        raise m.fault(at, f"{len(index)} subscripts of {x}")
    if len(index) == len(x.shape) and all(is_scalar(i) for i in index):
        return read(m, at, x, list(index))
    offset, shape, drop = _box(m, at, x.shape, index)
    out = slice_(m, at, x, shape, offset)
    if drop:
        kept = [n for i, n in enumerate(shape) if i not in drop]
        out = reshape(m, at, out, kept)
    return out


def getrows(m: Machine, at: Place, x: Any, index: tuple) -> Any:
    """`x[index]` of a tile: it has two axes whatever is dropped (`_parse_tile_subscript` in PyPTO's parser)."""
    out = getitem(m, at, x, index)
    if type(out) is not Tile or len(out.shape) > 1:
        return out
    if len(index) == len(x.shape) and is_scalar(index[-1]):
        raise m.fault(at, f"a column of {x} as a row", f"pl.slice(x, [{out.shape[0]}, 1], [0, i])")
    return reshape(m, at, out, [1, *out.shape])


def typed(m: Machine, at: Place, value: Any, want: Type) -> None:
    """Hold a value to the annotation of the name it is bound to."""
    if not isinstance(value, (Tensor, Tile)):
        raise m.fault(at, f"{describe(value)} is bound to a name annotated {want}")
    dims = zip(value.shape, want.shape or value.shape)
    fits = len(value.shape) == len(want.shape or value.shape) and all(n == w for n, w in dims if isinstance(w, int))
    if not fits or want.dtype not in (None, value.dtype):
        raise m.fault(at, f"{value} is bound to a name annotated {want}", "correct the annotation, or leave it out")


def viewed(m: Machine, at: Place, tile: Tile, valid: tuple, popped: bool) -> Tile:
    """`pl.TileView(valid_shape=...)` in a tile's annotation: a popped tile gets that valid shape, any other has it."""
    if popped:
        return set_validshape(m, at, tile, *valid)
    have = tile.valid or tile.shape
    if tuple(valid) != tuple(have):
        raise m.fault(
            at, f"{tile} is bound to a name annotated with valid shape {[one(v) for v in valid]}",
            "correct the annotation, or leave it out",
        )  # fmt: skip
    return tile


def rebound(m: Machine, at: Place, name: str, old: Any, new: Any, turns: bool = False) -> Any:
    """A name that gets another value in a loop or branch: it keeps its shape and element type, and where it lies.

    With `turns` the name was bound before a loop; in a branch a product may become a tile in UB, which it is moved to.
    Tried on PyPTO e2d0f78a with ptoas 0.57. Returns the value.
    """
    was, now = isinstance(old, (Tensor, Tile)), isinstance(new, (Tensor, Tile))
    if was and now and (old.shape, old.dtype) != (new.shape, new.dtype):
        raise m.fault(at, f"'{name}' was {old} and becomes {new} in a loop or branch", "use another name")
    if type(old) is Tile and type(new) is Tile:
        spaces = old.memory.space, new.memory.space
        if spaces == ("UB", "L0C") or (turns and spaces == ("L0C", "UB")):
            raise m.fault(at, f"'{name}' was in {spaces[0]} and becomes a tile in {spaces[1]}", "use another name")
    return carried(m, at, (old,), new)


def carried(m: Machine, at: Place, old: tuple, new: Any) -> Any:
    """Names that had the values `old` before a loop or branch, and get others in it; returns these."""
    for was, now in zip(old, new if isinstance(new, tuple) else (new,)):
        if type(was) is Tile and type(now) is Tile:
            m.carried(at, was, now)
    return new


def setitem(m: Machine, at: Place, x: Any, index: tuple, value: Any) -> Any:
    """`x[index] = value`; returns what `x` is afterwards."""
    if isinstance(x, Array):
        return m.with_element(at, x, int(one(index[0])), value)
    if not isinstance(x, (Tensor, Tile)):
        raise m.fault(at, f"an assignment to a subscript of {describe(x)}")
    if len(index) > len(x.shape):
        raise m.fault(at, f"{len(index)} subscripts of {x}")
    if len(index) == len(x.shape) and all(is_scalar(i) for i in index):
        raise m.fault(at, f"an element of {x} is assigned by subscript", "use pl.write(x, [i, j], value)")
    offset, shape, drop = _box(m, at, x.shape, index)
    v = _source(m, at, value)
    kept = tuple(n for i, n in enumerate(shape) if i not in drop)  # a number as index drops its axis
    if kept != v.shape:
        if type(v) is not Tile:
            raise m.fault(at, f"assignment of {v} to a window of shape {list(kept)}")
        v = _narrow(m, at, v, kept)
    return _into(m, at, x, reshape(m, at, v, shape) if drop else v, offset)


def _narrow(m: Machine, at: Place, v: Tile, shape: tuple) -> Tile:
    """A padded tile whose valid part is what the window takes (PyPTO's parser: `_get_source_valid_shape`)."""
    valid = v.valid or v.shape
    fits = len(shape) == len(v.shape) and all(
        n == want or (n > want and (type(have) is Lanes or have <= want) and v.valid is not None)
        for n, have, want in zip(v.shape, valid, shape)
    )
    if not fits:
        raise m.fault(at, f"assignment of {v} to a window of shape {list(shape)}")
    if any(type(have) is Lanes and n != want for n, have, want in zip(v.shape, valid, shape)):
        raise Conflict
    left = None if valid == shape else valid
    return Tile(v.data, shape, v.dtype, left, v.memory)


def _box(m: Machine, at: Place, extents: tuple, index: tuple) -> tuple[list, list, set]:
    offset, shape, drop = [], [], set()
    for axis, n in enumerate(extents):
        i = index[axis] if axis < len(index) else slice(None)
        if isinstance(i, slice):
            start = Known(0) if i.start is None else i.start
            stop = n if i.stop is None else i.stop
            size = int(one(stop - start))
            if size <= 0:
                raise m.fault(at, f"an empty slice: axis {axis} from {start} to {stop}")
            offset.append(start)
            shape.append(size)
        else:
            offset.append(i)
            shape.append(1)
            drop.add(axis)
    return offset, shape, drop


@op("read", "tensor.read", "tile.read", "array.get_element")
def read(m: Machine, at: Place, src: Any, offset: Any) -> Any:
    """One element as a scalar."""
    if isinstance(src, Array):
        return m.element(at, src, int(one(offset)))
    index = offset if isinstance(offset, (list, tuple)) else [offset]
    if isinstance(src, (Tensor, Tile)):
        _check_rank(m, at, "read of", src, index)
    if type(src) is Tile:
        _check_axes(m, at, src, "an element")
        index = [m.index_of_ours(i) for i in index]
        for i, n in zip(index, src.shape):
            values = i.values if type(i) is Lanes else np.asarray(i)
            if (values < 0).any() or (values >= n).any():
                raise m.fault(at, f"read of {src} at {[_plain(i) for i in index]}", kind="out of bounds")
        operand(m, at, src)
        if m.dry:
            m.ask_of_task()
            return UNKNOWN.get()
        data = filled(src, 0)
        if src.batched or any(type(i) is Lanes for i in index):
            cells = [i.values if type(i) is Lanes else i for i in index]
            lead = (np.arange(data.shape[0]),) if src.batched else ()
            return Lanes(_numpy(data)[(*lead, *cells)])
        return _number(data[tuple(int(i) for i in index)], src.dtype)
    if type(src) is not Tensor:
        raise m.fault(at, f"pl.read of {describe(src)}")
    if m.task is not None:
        cell = m.one_element(at, READ, src, index, "read")
    else:
        cell = m.window(at, src, index, (1,) * len(index), what="read")
        if src.buffer.direction != "In" or m.gated is not None:  # an input holds what it held
            m.by_host(at, READ, cell)
    base = src.buffer.base
    if not src.buffer.known:
        m.ask(src.buffer)
        guess = UNKNOWN.get()
        return Lanes(np.full(len(cell.offset), guess, np.int64)) if type(cell.offset) is np.ndarray else guess
    if type(cell.offset) is np.ndarray:
        return Lanes(_numpy(base.view(-1)[torch.from_numpy(cell.offset)]))
    return _number(torch.as_strided(base, (), (), src.buffer.origin + int(cell.offset)), src.dtype)


def _numpy(x: torch.Tensor) -> np.ndarray:
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    out = x.numpy()
    return out.astype(np.int64) if out.dtype.kind in "iu" else out


def _number(x: torch.Tensor, dtype: DType) -> Any:
    return np.float32(x.item()) if dtype.is_float else x.item()


def _check_rank(m: Machine, at: Place, what: str, x: Tensor | Tile, index: Sequence) -> None:
    if len(index) != len(x.shape):
        given = "one index" if len(index) == 1 else f"{len(index)} indices"
        raise m.fault(at, f"pl.{what} {x} with {given}", "an index for each axis")


@op("write", "tensor.write", "tile.write", "array.update_element")
def write(m: Machine, at: Place, dst: Any, offset: Any, value: Any) -> Any:
    """Set one element; returns what `dst` is afterwards."""
    if isinstance(dst, Array):
        return setitem(m, at, dst, (offset,), value)
    index = list(offset) if isinstance(offset, (list, tuple)) else [offset]
    if not is_scalar(value):
        raise m.fault(at, f"pl.write of {describe(value)}", "write a scalar, or use pl.assemble")
    if isinstance(dst, (Tensor, Tile)):
        _check_rank(m, at, "write into", dst, index)
    if type(dst) is Tile:
        return _write_tile(m, at, dst, index, value)
    if type(dst) is not Tensor:
        raise m.fault(at, f"pl.write into {describe(dst)}")
    if m.task is None:
        cell = m.window(at, dst, index, (1,) * len(index), what="write")
        if m.dry and not m.keeps(dst.buffer):
            m.by_host(at, WRITE, cell)
        else:
            m.overwrite(at, cell, scalar(value, 0))
        return dst
    cell = m.one_element(at, WRITE, dst, index, "write")
    if not m.quiet and not m.leaves(dst.buffer):
        s = scalar(value, len(index))
        m.put(cell, s.to(dst.dtype.torch) if isinstance(s, torch.Tensor) else torch.tensor(s, dtype=dst.dtype.torch))
    return dst


def _write_tile(m: Machine, at: Place, dst: Tile, index: list, value: Any) -> Tile:
    """An element of a tile set in place: `pl.write(t, ...)` as a statement changes `t`."""
    m.touch(dst)
    extents = held(dst.shape, dst.valid)
    _check_axes(m, at, dst, "an element")
    index = [m.index_of_ours(i) for i in index]
    for axis, (i, n) in enumerate(zip(index, extents)):
        worst = i.values if type(i) is Lanes else np.asarray(i)
        if (worst < 0).any() or (worst >= n).any():
            raise m.fault(
                at, f"pl.write outside {dst}: index {_plain(i)} of axis {axis}, which holds {n}", kind="out of bounds"
            )
    if m.dry:
        return dst
    lanes = [x.values for x in (value, *index) if type(x) is Lanes] + ([] if m.mask is None else [m.mask])
    data = dst.data
    if lanes and not dst.batched:
        data = data.expand(len(lanes[0]), *data.shape)
    data = data.clone()
    cells = [torch.from_numpy(i.values) if type(i) is Lanes else int(i) for i in index]
    blocks = (torch.arange(data.shape[0]),) if data.dim() > len(extents) else ()
    new = torch.as_tensor(value.values if type(value) is Lanes else value).to(data.dtype)
    new = dtypes.wrap(new, dst.dtype)
    if m.mask is not None:  # blocks that take no part keep what they have
        new = torch.where(torch.from_numpy(m.mask), new, data[(*blocks, *cells)])
    data[(*blocks, *cells)] = new
    dst.data, dst.origin, dst.wide = data, None, None
    return dst


def _plain(x: Any) -> Any:
    return x.values.tolist() if type(x) is Lanes else x


@op("dim", "tensor.dim")
def dim(m: Machine, at: Place, tensor: Any, axis: int) -> int:
    """The extent of an axis."""
    if not isinstance(tensor, (Tensor, Tile)):
        raise m.fault(at, f"pl.tensor.dim of {describe(tensor)}")
    if not -len(tensor.shape) <= axis < len(tensor.shape):
        raise m.fault(at, f"axis {axis} of {tensor}")
    return tensor.shape[axis]


# ---- views -----------------------------------------------------------------------------------------------


@op(*everywhere("reshape"))
def reshape(m: Machine, at: Place, x: Any, shape: Any) -> Tensor | Tile:
    """The same elements under another shape."""
    if not isinstance(x, (Tensor, Tile)):
        raise m.fault(at, f"pl.reshape of {describe(x)}")
    shape = static(m, at, shape)
    if elements(shape) != elements(x.shape):
        raise m.fault(at, f"pl.reshape of {x} to {list(shape)}: {elements(x.shape)} elements to {elements(shape)}")
    valid = _reshaped_valid(m, at, x, shape)
    if type(x) is Tensor:
        strides = _reshaped_strides(x, shape)
        if strides is None:
            raise m.fault(at, f"pl.reshape of a window whose rows are not contiguous: {x}", "reshape before slicing")
        return Tensor(x.buffer, x.offset, shape, strides, x.dtype, valid)
    data = None
    if not m.dry:
        data = x.data.reshape(*(x.data.shape[:1] if x.batched else ()), *held(shape, valid))
    out = m.alias(x, data, shape, x.dtype, valid)
    halves.reshaped(m, at, x, out)
    return out


def same_rank(m: Machine, at: Place, a: Tile, b: Tile) -> tuple[Tile, Tile]:
    """Two tiles of one rank: the smaller one gets axes of extent 1 in front, as broadcasting has it."""
    more = len(a.shape) - len(b.shape)
    if more > 0:
        b = reshape(m, at, b, [1] * more + list(b.shape))
    elif more < 0:
        a = reshape(m, at, a, [1] * -more + list(a.shape))
    return a, b


def _reshaped_valid(m: Machine, at: Place, x: Any, shape: tuple) -> tuple | None:
    if x.valid is None:
        return None
    kept = [(n, v) for n, v in zip(x.shape, x.valid) if n != 1]
    new = [n for n in shape if n != 1]
    if [n for n, _ in kept] == new:  # only axes of extent 1 come or go
        rest = iter(v for _, v in kept)
        return tuple(1 if n == 1 else next(rest) for n in shape)
    lead = x.valid[0]
    if x.valid[1:] == x.shape[1:] and x.shape[0] and type(lead) is not Lanes:
        rows = lead * math.prod(x.shape[1:])
        inner = math.prod(shape[1:])
        if rows % inner == 0:
            return (rows // inner, *shape[1:])
    raise m.fault(at, f"pl.reshape to {list(shape)} of a partly valid {x}", "pl.fillpad it first")


def _reshaped_strides(x: Tensor, shape: tuple) -> tuple | None:
    if x.contiguous:
        return dense_strides(shape)
    try:
        probe = torch.empty_strided(x.shape, x.strides, device="meta").view(shape)
    except RuntimeError:
        return None
    return tuple(probe.stride())


@op(*everywhere("transpose"))
def transpose(m: Machine, at: Place, x: Any, axis1: int, axis2: int, tmp_tile: Any = None) -> Tensor | Tile:
    """Two axes exchanged."""
    rank = len(x.shape)
    if not (-rank <= axis1 < rank and -rank <= axis2 < rank):
        raise m.fault(at, f"pl.transpose of {x} along axis {axis1} and {axis2}, of {rank}")
    a, b = axis1 % rank, axis2 % rank
    if a == b:
        raise m.fault(at, f"pl.transpose of {x} along axis {axis1} and {axis2}", "two axes that differ")
    if type(tmp_tile) is Tile and tmp_tile.dtype is not x.dtype:
        raise m.fault(at, f"pl.transpose of {x} with the scratch {tmp_tile}", f"pl.create_tile(..., pl.{x.dtype})")

    def swap(t: tuple | None) -> tuple | None:
        if t is None:
            return None
        out = list(t)
        out[a], out[b] = out[b], out[a]
        return tuple(out)

    if type(x) is Tensor:
        return Tensor(x.buffer, x.offset, swap(x.shape), swap(x.strides), x.dtype, swap(x.valid))
    x = operand(m, at, x)
    if rank > 2 and {a, b} != {rank - 2, rank - 1}:  # src/ir/transforms/flatten_tile_nd_to_2d/transpose.cpp
        raise m.fault(
            at, f"pl.transpose of axes {a} and {b} of {x}, on chip: an instruction turns the last two axes only",
            "transpose the tensor in orchestration, or store each part at its place",
        )  # fmt: skip
    # Into a column: rows of one element. Of a column, which is column-major: `pto.ttrans` takes that on A5 only.
    if rank == 2 and (x.shape[0] == 1 or (x.shape[1] == 1 and m.chip.name == "a2a3")):
        raise m.fault(at, f"pl.transpose of {x}, on chip", f"pl.reshape(x, {list(swap(x.shape))})")
    if x.memory.space == "L0C" and m.chip.name == "a2a3":  # laid out in blocks
        raise m.fault(at, f"pl.transpose of the product {x}", "exchange the operands: pl.matmul(..., b_trans=True)")
    vector(m, x.shape, x.dtype, "transpose")
    data = None if m.dry else x.data.transpose(a - rank, b - rank).contiguous()
    return m.tile(at, data, swap(x.shape), x.dtype, swap(x.valid), x.memory.space)


@op("tile.transpose_view")
def transpose_view(m: Machine, at: Place, x: Any) -> Tile:
    """The last two axes exchanged, without moving data."""
    x = operand(m, at, x, "L1")
    data = None if m.dry else x.data.transpose(-1, -2)
    shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
    valid = None if x.valid is None else (*x.valid[:-2], x.valid[-1], x.valid[-2])
    return m.alias(x, data, shape, x.dtype, valid)


@op(*everywhere("concat"))
def concat(m: Machine, at: Place, src0: Any, src1: Any) -> Tile:
    """Two tiles side by side along the last axis."""
    a, b = operands(m, at, src0, src1)
    if a.shape[:-1] != b.shape[:-1] or a.dtype is not b.dtype:
        raise m.fault(at, f"pl.concat of {a} and {b}")
    shape = (*a.shape[:-1], a.shape[-1] + b.shape[-1])
    vector(m, shape, a.dtype, "concat")
    data = None
    if not m.dry:
        x, y = (filled(t, 0 if t.valid is None else m.undefined(at)) for t in (a, b))
        if a.batched != b.batched:
            n = (x if a.batched else y).shape[0]
            x, y = x.expand(n, *a.shape), y.expand(n, *b.shape)
        data = torch.cat([x, y], -1)
    return m.tile(at, data, shape, a.dtype)


@op(*everywhere("set_validshape"))
def set_validshape(m: Machine, at: Place, x: Any, valid_rows: Any, valid_cols: Any) -> Tensor | Tile:
    """The same tile with another valid shape; nothing moves. In a region a tensor is loaded for it.

    Raises:
        FaultError: an extent is negative or larger than the tile.
    """
    if not isinstance(x, (Tensor, Tile)) or len(x.shape) != 2:
        raise m.fault(at, f"pl.set_validshape of {describe(x)}", "it takes a tile of two dimensions")
    for name, v, n in (("valid_rows", valid_rows, x.shape[0]), ("valid_cols", valid_cols, x.shape[1])):
        values = v.values if type(v) is Lanes else np.asarray(v)
        if (values < 0).any() or (values > n).any():
            what = f"pl.set_validshape: {name} = {v} of {n}"
            raise m.fault(at, what, "pl.min(n, rows); and no task where nothing is left", kind="valid extent")
    valid: tuple | None = (settled(valid_rows), settled(valid_cols))
    if not any(type(v) is Lanes for v in valid) and valid == x.shape:
        valid = None
    if type(x) is Tensor:
        if m.task is None:
            return Tensor(x.buffer, x.offset, x.shape, x.strides, x.dtype, valid)
        x = m.load(at, x)
    if x.view:  # src/backend/common/pto_ops_datamove.cpp
        raise m.fault(
            at, f"pl.set_validshape of {x}, a part of another tile: what is valid of it is its type's",
            "pl.slice(tile, shape, offset, valid_shape=[...]), or pl.set_validshape of the tile it is taken from",
        )  # fmt: skip
    data, holds = None, held(x.shape, valid)
    if not m.dry:
        data = fitted(x, holds, lambda: m.undefined(at))[(..., *(slice(0, n) for n in holds))]
    return m.alias(x, data, x.shape, x.dtype, valid)


@op(*everywhere("fillpad"), "tile.fillpad_inplace")
def fillpad(m: Machine, at: Place, value: Any, pad_value: Any = "zero") -> Tile:
    """What lies outside the valid part is set to `pad_value`; the result is valid everywhere."""
    x = in_ub(m, at, value)
    vector(m, x.shape, x.dtype, "fillpad")
    data = x.data
    if not m.dry and x.valid is not None:
        data = filled(x, pad(m, at, pad_value, x.dtype))
    out = m.tile(at, data, x.shape, x.dtype)
    if x.valid is None and x.origin is not None:
        m.share(out, x.origin)
    return out


def pad(m: Machine, at: Place, value: Any, dtype: DType) -> float:
    """The number that a pad value stands for: infinities for floats, as PTO-ISA's TFILLPAD has it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value in (0, math.inf, -math.inf):
            return value if dtype.is_float or value == 0 else poison(dtype)
        raise m.fault(at, f"pad value {value}", "use pl.PadValue.zero, .min or .max")
    name = getattr(value, "name", str(value)).rsplit(".", 1)[-1]
    if name in ("zero", "null"):
        return 0
    if dtype.is_float:
        return -math.inf if name == "min" else math.inf
    info = torch.iinfo(dtype.torch)
    return info.min if name == "min" else info.max
