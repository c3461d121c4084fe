"""Views of another type or layout, and copies into a larger tile."""

from __future__ import annotations

from typing import Any

import torch

from helpers.interpret.language.operation import ALL, TYPED, WRITTEN_LAID_OUT, Result
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops import movement, shapes
from helpers.interpret.ops.common import describe, dtype_of, elements, in_ub, op, operand, static, vector
from helpers.interpret.source.source import Place
from helpers.interpret.values.bits import reinterpret
from helpers.interpret.values.extents import filled
from helpers.interpret.values.lanes import Lanes, one
from helpers.interpret.values.values import Tensor, Tile, held


@op("reinterpret_view", "data dtype * shape?", orchestration=True, tensors=True)
def reinterpret_view(m: Machine, at: Place, data: Any, dtype: Any, *, shape: Any = None) -> Tile:
    """The same bytes as elements of another type; the last axis scales with the widths unless `shape` is given.

    Source: PyPTO docs/en/dev/ir/05-operators.md; orchestration tensors have no such view.

    Raises:
        FaultError: the bytes do not divide, the type is the same or not of whole bytes.
    """
    d = dtype_of(m, at, dtype)
    if m.now.task is None:
        raise m.fault(at, f"pl.reinterpret_view of {describe(data)} outside an InCore region", "move it into one")
    if type(data) is Tensor and data.strides[-1] != 1:
        raise m.fault(at, f"pl.reinterpret_view of {data}, whose rows are not contiguous", "of an ND tensor")
    x = operand(m, at, data)
    if d is x.dtype or min(d.bits, x.dtype.bits) < 8:
        raise m.fault(at, f"pl.reinterpret_view of {x} as {d}", "another type of 8, 16, 32 or 64 bits")
    if x.shape[-1] * x.dtype.bits % d.bits:
        raise m.fault(at, f"pl.reinterpret_view of {x} as {d}: a row of {x.shape[-1]} elements does not divide")
    scaled = (*x.shape[:-1], x.shape[-1] * x.dtype.bits // d.bits)
    valid = None
    if x.valid is not None:
        last = one(x.valid[-1]) * x.dtype.bits
        if last % d.bits:
            raise m.fault(at, f"pl.reinterpret_view of {x} as {d}: the valid part of a row does not divide")
        valid = (*x.valid[:-1], last // d.bits)
    values = None if m.now.dry else reinterpret(x.data, x.dtype, d)
    out = m.onchip.alias(x, values, scaled, d, valid)
    if shape is None:
        return out
    wanted = static(m, at, shape)
    if elements(wanted) != elements(scaled):
        raise m.fault(at, f"pl.reinterpret_view of {x} as {d} {list(wanted)}: the bytes are not the same")
    return shapes.reshape(m, at, out, wanted)


@op("view", "tensor shape? valid_shape? * layout?", on="tensor", gives="either", orchestration=True, tensors=True)
def view(
    m: Machine, at: Place, tensor: Any, shape: Any = None, valid_shape: Any = None, *, layout: Any = None
) -> Tensor:
    """The same memory under another shape, or (`layout` DN, or back to ND) with the last two axes exchanged."""
    if type(tensor) is not Tensor:
        raise m.fault(at, f"pl.tensor.view of {describe(tensor)}", "it is for tensors in global memory")
    if shape is None and layout is None:
        raise m.fault(at, "pl.tensor.view needs a shape or a layout")
    name = None if layout is None else getattr(layout, "name", str(layout)).rsplit(".", 1)[-1]
    if name not in (None, "ND", "DN"):
        raise m.fault(at, f"pl.tensor.view with the layout {name}", "a tensor is ND or DN")
    out = tensor
    if m.now.task is None and shape is not None and name == "DN":  # src/codegen/tensor_op_codegen.cpp
        raise m.fault(
            at, f"pl.tensor.view of {tensor} with another shape and another layout, in orchestration", "one of the two"
        )
    if shape is not None:
        wanted = static(m, at, shape)
        if not tensor.contiguous:
            raise m.fault(at, f"pl.tensor.view of the strided window {tensor}", "view the whole tensor, then slice")
        if tensor.valid is not None and valid_shape is None:
            raise m.fault(at, f"pl.tensor.view of the partly valid {tensor}", "say what is valid with valid_shape=")
        whole = Tensor(tensor.buffer, tensor.offset, tensor.shape, tensor.strides, tensor.dtype, None, tensor.root)
        out = shapes.reshape(m, at, whole, wanted)
        out.root = tensor.root
        if valid_shape is not None:
            out.valid = tuple(v if type(v) is Lanes else int(v) for v in valid_shape)
    column_major = len(out.shape) > 1 and out.strides[-2] == 1 and out.strides[-1] != 1
    if name is not None and (name == "DN") != column_major:
        root = out.root
        if shape is None:
            out = shapes.transpose(m, at, out, -2, -1)
        else:  # the elements keep their places in memory; the shape is the one asked for
            *lead, rows, _ = out.shape
            out = Tensor(out.buffer, out.offset, out.shape, (*out.strides[: len(lead)], 1, rows), out.dtype, out.valid)
        out.root = root
    return out


@op(
    "extract", "src index_row index_col shape * target_memory", on="tile", result=Result("written", type=True),
    unit="vector", moves=True, apart=ALL,
)  # fmt: skip
def extract(m: Machine, at: Place, src: Any, index_row: Any, index_col: Any, shape: Any, *, target_memory: Any) -> Tile:
    """The part of a tile at (row, column), in another on-chip buffer."""
    x = operand(m, at, src, "L1")
    part = movement.slice_(m, at, x, shape, [index_row, index_col])
    return movement.move(m, at, part, target_memory)


@op(
    "fillpad_expand", "value shape pad_value?", tensor="tensor shape pad_value?", tile="tile shape pad_value?",
    result=WRITTEN_LAID_OUT, unit="vector", apart=ALL,
)  # fmt: skip
def fillpad_expand(m: Machine, at: Place, value: Any, shape: Any, pad_value: Any = "zero") -> Tile:
    """The valid part of a tile in the corner of a larger one, the rest set to `pad_value`."""
    x = in_ub(m, at, value)
    wanted = static(m, at, shape)
    if len(wanted) != len(x.shape) or any(w < n for w, n in zip(wanted, x.shape)):
        raise m.fault(at, f"pl.fillpad_expand of {x} to {list(wanted)}", "no extent may be smaller than the source's")
    vector(m, wanted, x.dtype, "fillpad")
    data = None
    if not m.now.dry:
        fill = shapes.pad(m, at, pad_value, x.dtype)
        inner = filled(x, fill)
        data = torch.full((*inner.shape[: inner.dim() - len(wanted)], *wanted), fill, dtype=inner.dtype)
        data[(..., *(slice(0, n) for n in x.shape))] = inner
    return m.onchip.tile(at, data, wanted, x.dtype)


@op("expand_clone", "src target", on="pl tensor", result=TYPED, unit="vector")
def expand_clone(m: Machine, at: Place, src: Any, target: Any) -> Any:
    """`src` (three axes, at most one of extent 1 to repeat) in the shape of `target`.

    A target in global memory is written and returned, as PyPTO lowers it (op_conversion_registry.cpp); a tile only
    lends its shape.
    """
    if not isinstance(target, (Tensor, Tile)):
        raise m.fault(at, f"pl.expand_clone to {describe(target)}")
    x = operand(m, at, src)
    repeated = [n for n, t in zip(x.shape, target.shape) if n != t]
    if len(x.shape) != 3 or len(target.shape) != 3 or repeated not in ([], [1]) or x.dtype is not target.dtype:
        raise m.fault(at, f"pl.expand_clone of {x} to {target}", "three axes, one of them from 1 to any extent")
    vector(m, target.shape, target.dtype, "expand")
    data = None
    valid = x.valid and tuple(v if n == t else t for v, n, t in zip(x.valid, x.shape, target.shape))
    if not m.now.dry:
        extents = held(target.shape, valid)
        data = x.data.expand(*x.data.shape[: x.data.dim() - 3], *extents)
    out = m.onchip.tile(at, data, target.shape, x.dtype, valid)
    if type(target) is Tile:
        return out
    return movement.assemble(m, at, target, out, [0, 0, 0])


@op("alloc", "memory_space size", on="tensor tile", tile="memory_space size * pinned?")
def alloc(m: Machine, at: Place, *_: Any, **__: Any) -> None:
    """PyPTO prints this in its lowered programs; a kernel has no use for it."""
    raise m.fault(at, "pl.tile.alloc is written by PyPTO's passes, not by kernels", "use pl.create_tile")


@op("dump_tag", "tensor", on="pl tensor")
def dump_tag(m: Machine, at: Place, tensor: Any) -> Any:
    """A statement of orchestration: the launches below that use this tensor dump it, see docs/debug.md."""
    return tensor
