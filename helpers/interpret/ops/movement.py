"""Between global memory and the chip, and within it: slices, assembles, loads, stores, element access, views.

A slice of a tensor is a window when written in orchestration and a load when written in an InCore region, as
PyPTO lowers it (pass 10, ConvertTensorToTileOps). What lies outside the valid part of a loaded tile reads as
zero here; on the device it is undefined unless filled, and the sanitizers treat it so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from helpers.interpret.language import dtypes
from helpers.interpret.language.dtypes import DType
from helpers.interpret.language.element_types import WORDS
from helpers.interpret.language.operation import ALL, WRITTEN, WRITTEN_LAID_OUT, Result
from helpers.interpret.machine.gm import called
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops import halves
from helpers.interpret.ops.common import (
    crossed,
    describe,
    dtype_of,
    elements,
    leaving,
    op,
    operand,
    scalar,
    space_of,
    static,
    vector,
)
from helpers.interpret.ops.shapes import fillpad, reshape
from helpers.interpret.source.source import Place
from helpers.interpret.trace.boxes import clear
from helpers.interpret.trace.trace import READ, WRITE
from helpers.interpret.values import scales
from helpers.interpret.values.extents import filled, leaves_gap, narrowed
from helpers.interpret.values.lanes import Lanes, one
from helpers.interpret.values.values import Known, Tensor, Tile, dense_strides, held

# Between these nothing moves. Source: the assembler, `pto.tmov`, and for UB `pto.tpush`.
NO_WAY = {("L1", "L1"), ("L1", "UB"), ("L0C", "L0A"), ("L0C", "L0B")}
NO_WAY |= {(a, b) for a in ("L0A", "L0B") for b in ("UB", "L1", "L0A", "L0B")}


# ---- creation --------------------------------------------------------------------------------------------


@op(
    "create_tensor", "shape dtype layout? manual_dep? init_value?", on="pl tensor", creates=True, gives="tensor",
    orchestration=True, tensors=True,
)  # fmt: skip
@op("create", "shape dtype layout? manual_dep? init_value?", on="tensor", creates=True, orchestration=True)
def create_tensor(
    m: Machine, at: Place, shape: Any, dtype: Any, layout: Any = None, manual_dep: bool = False, init_value: Any = None
) -> Tensor | Tile:
    """New global memory, or, inside an InCore region, a new tile. It holds poison until written."""
    shape, d = static(m, at, shape), dtype_of(m, at, dtype)
    if m.now.task is not None:
        return _blank(m, at, shape, d, "")
    if init_value is not None:
        _check_initial(m, at, init_value, d)
    t = m.memory.allocate(f"{at.line}", shape, d, init_value, at)
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


@op("create_tile", "shape dtype target_memory? transpose? * flat_layout?", on="pl tile", creates=True, gives="tile")
@op("create", "shape dtype target_memory? transpose? * flat_layout?", on="tile", creates=True)
def create_tile(
    m: Machine, at: Place, shape: Any, dtype: Any, target_memory: Any = None, transpose: bool = False, **_: Any
) -> Tile:
    """A new on-chip tile holding poison."""
    space = "UB" if target_memory is None else space_of(target_memory)
    if getattr(target_memory, "name", "") == "DDR":
        raise m.fault(at, "a tile in pl.Mem.DDR", "pl.create_tensor in orchestration")
    if transpose and (space != "L1" or len(shape) != 2):
        raise m.fault(
            at, f"pl.create_tile({list(shape)}, transpose=True) in {space}", "a tile of two axes in pl.Mem.Mat"
        )
    d = dtype_of(m, at, dtype)
    if space == "L0C" and d.name not in ("FP32", "INT32"):
        raise m.fault(at, f"pl.create_tile of {d} in L0C, which accumulates FP32 and INT32", "dtype=pl.FP32")
    return _blank(m, at, static(m, at, shape), d, space)


@op("create_l1", "shape dtype transpose?", on="pl tensor", creates=True, gives="tile")
def create_l1(m: Machine, at: Place, shape: Any, dtype: Any, transpose: bool = False) -> Tile:
    """A new tile in L1."""
    return _blank(m, at, static(m, at, shape), dtype_of(m, at, dtype), "L1")


def _blank(m: Machine, at: Place, shape: tuple, d: DType, space: str) -> Tile:
    data = None if m.now.dry else torch.full(shape, m.memory.unwritten(d), dtype=d.torch)
    m.trace.note("new tile", at, "")
    return m.onchip.tile(at, data, shape, d, None, space)


@op("full", "shape dtype value", gives="tensor", result=WRITTEN, fills="same")
def full(m: Machine, at: Place, shape: Any, dtype: Any, value: Any) -> Tile:
    """A tile filled with a scalar."""
    shape, d = static(m, at, shape), dtype_of(m, at, dtype)
    _incore(m, at, "full")
    _no_column(m, at, "pl.full", shape)
    vector(m, shape, d, "full")
    data = None
    if not m.now.dry:
        s = scalar(value, len(shape))
        data = s.to(d.torch).expand(-1, *shape) if isinstance(s, torch.Tensor) else torch.full(shape, s, dtype=d.torch)
    return m.onchip.tile(at, data, shape, d)


@op("arange", "start shape dtype? descending?", gives="tensor", types=WORDS, result=WRITTEN, fills="counted")
@op("ci", "start shape dtype? descending?", on="tensor tile", types=WORDS, result=WRITTEN, fills="counted")
def arange(m: Machine, at: Place, start: Any, shape: Any, dtype: Any = dtypes.INT32, descending: bool = False) -> Tile:
    """start, start + 1, ... (or downward) in row-major order."""
    shape, d = static(m, at, shape), dtype_of(m, at, dtype)
    _incore(m, at, "arange")
    _no_column(m, at, "pl.arange", shape)
    vector(m, shape, d, "arange")
    data = None
    if not m.now.dry:
        steps = torch.arange(elements(shape)).view(shape)
        data = dtypes.wrap((scalar(start, len(shape)) + (-steps if descending else steps)).to(d.torch), d)
    return m.onchip.tile(at, data, shape, d)


def _no_column(m: Machine, at: Place, name: str, shape: tuple[int, ...]) -> None:
    """Refuse [rows, 1] of operations that make it row-major, a row of one element: PyPTO refuses pl.arange, its
    assembler the others (`pto.alloc_tile`)."""
    if len(shape) == 2 and shape[1] == 1:
        raise m.fault(
            at, f"{name} gives a column {list(shape)}, which PyPTO lays out as {shape[0]} rows of one element",
            f"make it [1, {shape[0]}], then pl.reshape(x, [{shape[0]}, 1])",
        )  # fmt: skip


def _incore(m: Machine, at: Place, name: str) -> None:
    if m.now.task is None:
        raise m.fault(at, f"pl.{name} outside an InCore region", "put it into `with pl.at(level=pl.Level.CORE_GROUP):`")


# ---- slices and assembles --------------------------------------------------------------------------------


@op(
    "slice", "input shape offset valid_shape? drop_dims? pad_value? clamp?",
    tensor="tensor shape offset valid_shape? drop_dims? pad_value? clamp?",
    tile="tile shape offset valid_shape? drop_dims? pad_value?", result=WRITTEN_LAID_OUT,
    orchestration=True, tensors=True, tiles_at=(0,),
)  # fmt: skip
def slice_(
    m: Machine, at: Place, x: Any, shape: Any, offset: Any, valid_shape: Any = None, drop_dims: Any = None,
    pad_value: Any = None, clamp: bool = False,
) -> Tensor | Tile:  # fmt: skip
    """The part of `x` at `offset` of `shape`; `valid_shape` says how much of it is real."""
    shape = static(m, at, shape)
    if type(x) is Tensor:
        if clamp:
            valid_shape = _clamped(x, shape, offset, valid_shape)
        w = m.memory.window(at, x, offset, shape, valid_shape)
        out: Tensor | Tile = m.memory.load(at, w) if m.now.task is not None else w
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
    from helpers.interpret.values.lanes import larger, smaller

    return [smaller(v, larger(0, n - o)) for v, n, o in zip(valid or shape, x.shape, offset)]


def _tile_slice(m: Machine, at: Place, x: Tile, shape: tuple, offset: Any, valid: Any) -> Tile:
    if len(shape) != len(x.shape) or len(offset) != len(x.shape):
        raise m.fault(at, f"slice of {x} with {len(shape)} sizes and {len(offset)} offsets")
    check_axes(m, at, x, "a part")
    fixed = all(isinstance(o, Known) for o in offset)
    offset = [int(one(o)) for o in offset]
    for axis, (o, n, extent) in enumerate(zip(offset, shape, x.shape)):
        if o < 0 or o + n > extent:
            raise m.fault(
                at, f"slice outside {x}: axis {axis} from {o} to {o + n} of extent {extent}", kind="out of bounds"
            )
    if m.chip.rules == "a5" and x.memory.space == "UB" and shape[-1] == 1 < x.shape[-1] and elements(shape) > 1:
        raise m.fault(  # `pto.textract` from row-major to column-major (the assembler)
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
    out = m.onchip.alias(x, None if m.now.dry else x.data[(..., *where)], shape, x.dtype, valid)
    out.view = True
    out.strided = x.strided or (elements(shape[:-1]) > 1 and shape[-1] < x.shape[-1])
    if x.memory.space == "L0C":  # a product may accumulate into a part of an accumulator
        out.window = (x, where)
    return out


def _check_place(m: Machine, at: Place, x: Tile, shape: tuple, offset: list[int]) -> None:
    """A part of a product begins at a multiple of 512 bytes of its rows one after the other, where the compiler knows
    its place (`pto.alloc_tile`); one that only the run knows is not looked at."""
    whole, where = x.window or (x, (slice(0, None),) * len(x.shape))
    start = sum((w.start + o) * s for w, o, s in zip(where, offset, dense_strides(whole.shape)))
    if start * x.dtype.bits // 8 % 512:
        raise m.fault(
            at, f"a part {list(shape)} of the product {whole} at {start * x.dtype.bits // 8} bytes: it has to begin at"
            " a multiple of 512", "a product of each part: slice the columns of the right operand; or store, and load",
        )  # fmt: skip


@op(
    "assemble", "target source offset * atomic?", tile="target source offset", result=Result("first", type=True),
    orchestration=True, tensors=True, tiles_at=(0, 1), target="target",
)  # fmt: skip
def assemble(m: Machine, at: Place, target: Any, source: Any, offset: Any, atomic: Any = None) -> Any:
    """Write `source` into `target` at `offset` and return the target."""
    add = atomic is not None and getattr(atomic, "name", str(atomic)).endswith("Add")
    if add and m.now.task is not None:
        _check_atomic(m, at, target)
    s = source_of(m, at, source) if type(target) is Tensor else operand(m, at, source)
    return put_into(m, at, target, s, offset, add)


ATOMIC = {"FP32", "BF16", "FP16", "INT32", "INT16", "INT8"}


def _check_atomic(m: Machine, at: Place, target: Any) -> None:
    """What memory adds to (src/ir/op/tensor_ops/memory.cpp, src/ir/verifier/verify_atomic_add_dtype.cpp)."""
    if type(target) is not Tensor:
        raise m.fault(at, f"an atomic pl.assemble into {describe(target)}", "into a tensor; of tiles, pl.add")
    if target.dtype.name not in ATOMIC or (target.dtype.name == "BF16" and m.chip.rules == "a5"):
        where = "" if target.dtype.name not in ATOMIC else " on A5"
        raise m.fault(at, f"an atomic pl.assemble into {target}: memory adds no {target.dtype}{where}", "pl.FP32")


def put_into(m: Machine, at: Place, target: Any, s: Any, offset: Any, add: bool = False) -> Any:
    """A source that is ready to be written, into `target`."""
    if type(target) is Tensor:
        leaving(m, at, s)
        _two_axes(m, at, s)
        s = _for_target(m, at, target, s)
        w = m.memory.window(at, target, offset, s.shape, s.valid, "assemble")
        w.valid = s.valid
        if m.now.task is None:
            _copy(m, at, w, s)
        else:
            m.memory.store(at, w, s, add)
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
        m.onchip.touch(s, "UB")
        m.onchip.touch(target)
        data = None
        if not m.now.dry:
            lead = s.data.shape[:1] if s.batched and not target.batched else ()
            data = filled(target, 0)
            data = data.expand(*lead, *data.shape).clone()
            data[(..., *(slice(o, o + n) for o, n in zip(offset, held(s.shape, s.valid))))] = s.data
            data = data[(..., *(slice(0, n) for n in held(target.shape, target.valid)))]
        vector(m, s.shape, s.dtype, "assemble")
        return Tile(data, target.shape, target.dtype, target.valid, target.memory)
    raise m.fault(at, f"pl.assemble into {describe(target)}")


def check_axes(m: Machine, at: Place, x: Tile, what: str) -> None:
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

    Source: the code generator (`pto.subview` wants one layout) and the assembler (`pto.tmov`).
    """
    if s.memory.space == "L0C" or (s.shape[-1] == 1) != (target.shape[-1] == 1):
        what = "a product" if s.memory.space == "L0C" else "its layout is another one"
        raise m.fault(at, f"assemble of {s} into {target}: {what}", "store both into the tensor, each at its place")
    if m.chip.rules == "a2a3" and s.shape[-1] != target.shape[-1] and target.memory.space == "UB":
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
    if leaves_gap(have, new, offset):
        raise m.fault(
            at, f"assemble of {s} at {offset} into {target}: with what is valid it makes no rectangle from the origin",
            "write where it is valid, or pl.fillpad it first",
        )  # fmt: skip


def source_of(m: Machine, at: Place, source: Any) -> Any:
    """What is to be written. In orchestration that is a window, copied as it is; in a region, a tile."""
    if m.now.task is None:
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
    if m.now.task is not None and len(s.shape) < 2:
        raise m.fault(at, f"a store of {s}, which has one axis", f"pl.reshape(x, [1, {s.shape[0]}]) and pl.assemble")


def _copy(m: Machine, at: Place, w: Tensor, source: Tensor) -> None:
    """Orchestration moves a window of global memory into another."""
    if w.buffer is source.buffer and (w.offset, w.shape) != (source.offset, source.shape):
        to, of = (np.array([int(one(x.offset))]) for x in (w, source))
        if not clear(to, w.shape, w.strides, of, source.shape, source.strides).all():
            raise m.fault(
                at, f"a part of {called(w.buffer)} is put where it overlaps itself", "a tensor between the two"
            )
    m.accesses.by_host(at, READ, source)
    if m.now.dry and not m.memory.keeps(w.buffer):
        m.accesses.by_host(at, WRITE, w)
    else:
        m.memory.overwrite(at, w, m.memory.view(source))


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
        return Tile(None if m.now.dry else s.data.to(target.dtype.torch), s.shape, target.dtype, s.valid, s.memory)
    raise m.fault(at, f"assemble of {s} into {target}", f"pl.cast it to {target.dtype}")


@op(
    "load", "tensor offsets shapes valid_shape? target_memory? clamp?", on="pl tile", gives="tile", tensors=True,
    result=WRITTEN,
)  # fmt: skip
def load(
    m: Machine, at: Place, tensor: Any, offsets: Any, shapes: Any, valid_shape: Any = None, target_memory: Any = None,
    clamp: bool = False,
) -> Tile:  # fmt: skip
    """Global memory to UB (default) or L1."""
    if type(tensor) is not Tensor:
        raise m.fault(at, f"pl.load of {describe(tensor)}")
    space = "UB" if target_memory is None else space_of(target_memory)
    into = getattr(target_memory, "name", "Vec")
    if into not in ("Vec", "Mat"):
        raise m.fault(at, f"pl.load into pl.Mem.{into}", "load into pl.Mem.Vec, or into pl.Mem.Mat and pl.move on")
    shape = static(m, at, shapes)
    if clamp:
        valid_shape = _clamped(tensor, shape, offsets, valid_shape)
    window = m.memory.window(at, tensor, offsets, shape, valid_shape, "load")
    if tensor.buffer.layout:
        return _load_scales(m, at, tensor, window, offsets, space)
    return m.memory.load(at, window, space)


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
    tile = m.memory.load(at, window, space)
    if not tile.empty:
        whole = scales.unpacked(tensor.buffer.base[: tensor.buffer.size].view(tensor.buffer.shape), layout)
        tile.data = whole[tuple(slice(o, o + n) for o, n in zip(start, window.shape))].contiguous()
    tile.scales = layout
    return tile


@op(
    "store", "tile offsets output_tensor shapes? * atomic?", on="pl tile", gives="tensor", tensors=True,
    target="output_tensor",
)  # fmt: skip
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


@op(
    "move", "tile target_memory blayout? slayout?", on="pl tile", tiles_only=True,
    result=Result("first", type=True, layout=True), apart=ALL,
)  # fmt: skip
def move(m: Machine, at: Place, tile: Any, target_memory: Any, blayout: Any = None, slayout: Any = None) -> Tile:
    """The same values in another on-chip buffer."""
    x, space = operand(m, at, tile), space_of(target_memory)
    if space == "L0C":
        raise m.fault(at, f"pl.move of {x} to pl.Mem.Acc, where only products are made", "pl.matmul, pl.matmul_acc")
    if (x.memory.space, space) in NO_WAY and getattr(target_memory, "name", "") not in ("Bias", "DDR"):
        raise m.fault(at, f"pl.move of {x} from {x.memory.space} to {space}", "pl.load it there from the tensor")
    out = m.onchip.tile(at, x.data, x.shape, x.dtype, x.valid, space)
    out.scales = x.scales
    if x.origin is not None:
        m.memory.share(out, x.origin)
    out.wide = x.wide
    return out
