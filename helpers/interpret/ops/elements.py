"""Subscripts of tensors and tiles, single elements, and what an annotation or an assignment does to a value."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from helpers.interpret.language import dtypes
from helpers.interpret.language.annotations import Type
from helpers.interpret.language.dtypes import DType
from helpers.interpret.language.operation import Result
from helpers.interpret.machine.batches import Conflict
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops.common import (
    describe,
    op,
    operand,
    scalar,
)
from helpers.interpret.ops.movement import check_axes, put_into, slice_, source_of
from helpers.interpret.ops.shapes import reshape, set_validshape
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import READ, WRITE
from helpers.interpret.values.extents import filled
from helpers.interpret.values.lanes import Lanes, is_scalar, one
from helpers.interpret.values.values import Array, Known, Tensor, Tile, held


def looked_at(operation: str) -> Callable:
    """What a kernel writes without a call, told to who looks on (`values.seen`)."""

    def decorate(fn: Callable) -> Callable:
        @functools.wraps(fn)
        def made(m: Machine, at: Place, *args: Any) -> Any:
            if m.now.looking is not None:
                return m.now.looking.through(m, operation, at, fn, args, {})
            return fn(m, at, *args)

        return made

    return decorate


# ---- subscripts ------------------------------------------------------------------------------------------


@looked_at("x[...]")
def getitem(m: Machine, at: Place, x: Any, index: tuple) -> Any:
    """`x[index]`: a slice, a view with dropped axes, or, for all scalars, an element."""
    if isinstance(x, (tuple, list)):
        return x[int(one(index[0]))]
    if isinstance(x, Array):
        return m.ids.element(at, x, int(one(index[0])))
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


@looked_at("x[...]")
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
    Tried on PyPTO with its assembler. Returns the value.
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
            m.onchip.carried(at, was, now)
    return new


@looked_at("x[...] = y")
def setitem(m: Machine, at: Place, x: Any, index: tuple, value: Any) -> Any:
    """`x[index] = value`; returns what `x` is afterwards."""
    if isinstance(x, Array):
        return m.ids.with_element(at, x, int(one(index[0])), value)
    if not isinstance(x, (Tensor, Tile)):
        raise m.fault(at, f"an assignment to a subscript of {describe(x)}")
    if len(index) > len(x.shape):
        raise m.fault(at, f"{len(index)} subscripts of {x}")
    if len(index) == len(x.shape) and all(is_scalar(i) for i in index):
        raise m.fault(at, f"an element of {x} is assigned by subscript", "use pl.write(x, [i, j], value)")
    offset, shape, drop = _box(m, at, x.shape, index)
    v = source_of(m, at, value)
    kept = tuple(n for i, n in enumerate(shape) if i not in drop)  # a number as index drops its axis
    if kept != v.shape:
        if type(v) is not Tile:
            raise m.fault(at, f"assignment of {v} to a window of shape {list(kept)}")
        v = _narrow(m, at, v, kept)
    return put_into(m, at, x, reshape(m, at, v, shape) if drop else v, offset)


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


@op("read", "src offset", tensor="tensor indices", tile="tile indices", gives="number", tensors=True)
@op("get_element", "array index", on="array", gives="number")
def read(m: Machine, at: Place, src: Any, offset: Any) -> Any:
    """One element as a scalar."""
    if isinstance(src, Array):
        return m.ids.element(at, src, int(one(offset)))
    index = offset if isinstance(offset, (list, tuple)) else [offset]
    if isinstance(src, (Tensor, Tile)):
        _check_rank(m, at, "read of", src, index)
    if type(src) is Tile:
        check_axes(m, at, src, "an element")
        index = [m.masks.index_of_ours(i) for i in index]
        for i, n in zip(index, src.shape):
            values = i.values if type(i) is Lanes else np.asarray(i)
            if (values < 0).any() or (values >= n).any():
                raise m.fault(at, f"read of {src} at {[_plain(i) for i in index]}", kind="out of bounds")
        operand(m, at, src)
        if m.now.dry:
            m.ask_of_task()
            return m.guess
        data = filled(src, 0)
        if src.batched or any(type(i) is Lanes for i in index):
            cells = [i.values if type(i) is Lanes else i for i in index]
            lead = (np.arange(data.shape[0]),) if src.batched else ()
            return Lanes(_numpy(data)[(*lead, *cells)])
        return _number(data[tuple(int(i) for i in index)], src.dtype)
    if type(src) is not Tensor:
        raise m.fault(at, f"pl.read of {describe(src)}")
    if m.now.task is not None:
        cell = m.memory.one_element(at, READ, src, index, "read")
    else:
        cell = m.memory.window(at, src, index, (1,) * len(index), what="read")
        if src.buffer.direction != "In" or m.launches.gated is not None:  # an input holds what it held
            m.accesses.by_host(at, READ, cell)
        if m.reopened is not None:
            return m.reopened.number()
    out = _element(m, src, cell)
    if m.kept is not None and m.now.task is None:
        m.kept.numbers.append(out)
    return out


def _element(m: Machine, src: Tensor, cell: Tensor) -> Any:
    base = src.buffer.base
    if not src.buffer.known:
        m.ask(src.buffer)
        return Lanes(np.full(len(cell.offset), m.guess, np.int64)) if type(cell.offset) is np.ndarray else m.guess
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


@op(
    "write", "dst offset value", tensor="tensor indices value", tile="tile indices value",
    result=Result("first", type=True), gives="tensor", orchestration=True, tensors=True,
)  # fmt: skip
@op("update_element", "array index value", on="array", orchestration=True)
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
    if m.now.task is None:
        cell = m.memory.window(at, dst, index, (1,) * len(index), what="write")
        if m.now.dry and not m.memory.keeps(dst.buffer):
            m.accesses.by_host(at, WRITE, cell)
        else:
            m.memory.overwrite(at, cell, scalar(value, 0))
        return dst
    cell = m.memory.one_element(at, WRITE, dst, index, "write")
    if not m.now.quiet and not m.memory.leaves(dst.buffer):
        s = scalar(value, len(index))
        m.memory.put(
            cell, s.to(dst.dtype.torch) if isinstance(s, torch.Tensor) else torch.tensor(s, dtype=dst.dtype.torch)
        )
    return dst


def _write_tile(m: Machine, at: Place, dst: Tile, index: list, value: Any) -> Tile:
    """An element of a tile set in place: `pl.write(t, ...)` as a statement changes `t`."""
    m.onchip.touch(dst)
    extents = held(dst.shape, dst.valid)
    check_axes(m, at, dst, "an element")
    index = [m.masks.index_of_ours(i) for i in index]
    for axis, (i, n) in enumerate(zip(index, extents)):
        worst = i.values if type(i) is Lanes else np.asarray(i)
        if (worst < 0).any() or (worst >= n).any():
            raise m.fault(
                at, f"pl.write outside {dst}: index {_plain(i)} of axis {axis}, which holds {n}", kind="out of bounds"
            )
    if m.now.dry:
        return dst
    lanes = [x.values for x in (value, *index) if type(x) is Lanes] + ([] if m.masks.mask is None else [m.masks.mask])
    data = dst.data
    if lanes and not dst.batched:
        data = data.expand(len(lanes[0]), *data.shape)
    data = data.clone()
    cells = [torch.from_numpy(i.values) if type(i) is Lanes else int(i) for i in index]
    blocks = (torch.arange(data.shape[0]),) if data.dim() > len(extents) else ()
    new = torch.as_tensor(value.values if type(value) is Lanes else value).to(data.dtype)
    new = dtypes.wrap(new, dst.dtype)
    if m.masks.mask is not None:  # blocks that take no part keep what they have
        new = torch.where(torch.from_numpy(m.masks.mask), new, data[(*blocks, *cells)])
    data[(*blocks, *cells)] = new
    dst.data, dst.origin, dst.wide = data, None, None
    return dst


def _plain(x: Any) -> Any:
    return x.values.tolist() if type(x) is Lanes else x
