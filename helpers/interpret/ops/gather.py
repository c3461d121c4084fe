"""Gathers: elements, columns or rows picked by an index, a pattern, a comparison or a page table.

Sources: PyPTO's language reference (pl.gather, pl.tile.gather*, pl.paged_gather, pl.gather_row, pl.mgather), its
type rules (src/ir/op/{tensor_ops,tile_ops}/gather.cpp, paged_gather.cpp, tile_ops/memory.cpp) and PTO-ISA's CPU
reference (include/pto/cpu/TGather.hpp, TGatherB.hpp, MGather.hpp). An index outside its source is a fault here;
the device reads whatever lies there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from helpers.interpret.language.dtypes import BY_NAME, INT32
from helpers.interpret.language.element_types import FOUR
from helpers.interpret.language.operation import ALL, TYPED
from helpers.interpret.machine.batches import Conflict
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops.common import (
    describe,
    dtype_of,
    elements,
    op,
    operand,
    operands,
    scalar,
    space_of,
    static,
    vector,
)
from helpers.interpret.ops.select import comparison
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import READ
from helpers.interpret.values.bits import bits_of, of_bits, reinterpret
from helpers.interpret.values.extents import filled, fitted, inside, poison
from helpers.interpret.values.lanes import Lanes, each, is_scalar, one
from helpers.interpret.values.values import Tensor, Tile, held

UINT32 = BY_NAME["UINT32"]
ELEMENTS = {"FP16", "FP32", "INT16", "INT32"}  # what TGATHER moves

# number -> (every how many columns, from which)
PATTERNS = {1: (2, 0), 2: (2, 1), 3: (4, 0), 4: (4, 1), 5: (4, 2), 6: (4, 3), 7: (1, 0)}


def pattern(m: Machine, at: Place, x: Any) -> tuple[int, int]:
    """(step, first) of a mask pattern: P0101 is the even columns, P1010 the odd ones, P0001 every fourth from 0."""
    found = PATTERNS.get(getattr(x, "value", x))
    if found is None:
        raise m.fault(at, f"the mask pattern {x!r}", "use pl.tile.MaskPattern.P0101, .P1010, ... .P1111")
    return found


@op(
    "gather", "input dim? index? * mask_pattern? output_dtype? kvalue? cmp_mode? out_cols? offset? count_dtype?",
    on="pl tensor", gives="either", tensors=True, apart=ALL, types=FOUR,
)  # fmt: skip
def gather(
    m: Machine, at: Place, input: Any, dim: Any = None, index: Any = None, *, mask_pattern: Any = None,
    output_dtype: Any = None, kvalue: Any = None, cmp_mode: Any = None, out_cols: Any = None, offset: int = 0,
    count_dtype: Any = None,
) -> Any:  # fmt: skip
    """Three forms: by index along an axis, by mask pattern, by comparison with a scalar.

    Index: out[b, k] = input[b, index[b, k]] for the last axis, likewise for others; the shape of `index`, the type of
    `input`. Mask: [R, C] gives [R, C/2] or [R, C/4]. Comparison: (indices [R, out_cols] INT32, counts [1, R]).
    """
    forms = [dim is not None or index is not None, mask_pattern is not None, kvalue is not None or cmp_mode is not None]
    if sum(forms) != 1:
        raise m.fault(
            at, "pl.gather takes one of dim= and index=, mask_pattern=, or kvalue= with cmp_mode= and out_cols=",
        )  # fmt: skip
    if mask_pattern is not None:
        return gather_mask(m, at, input, mask_pattern, output_dtype=output_dtype)
    if forms[2]:
        return gather_compare(
            m, at, input, kvalue, cmp_mode=cmp_mode, offset=offset, out_cols=out_cols, count_dtype=count_dtype
        )
    if dim is None or index is None:
        raise m.fault(at, "pl.gather by index needs both dim= and index=")
    x, i = operands(m, at, input, index)
    _check_index_type(m, at, x, i)
    if x.memory.space == "L0C":  # rows of it are taken, and it is laid out in blocks
        raise m.fault(at, f"pl.gather of the product {x}", "store it, and load it again")
    rank = len(x.shape)
    if len(i.shape) != rank or not -rank <= dim < rank:
        raise m.fault(at, f"pl.gather of {x} along axis {dim} with the index {i}", "the ranks must be the same")
    axis = dim % rank
    if any(n > k for a, (n, k) in enumerate(zip(i.shape, x.shape)) if a != axis):
        raise m.fault(at, f"pl.gather of {x} along axis {dim} with the index {i}: the index is larger than its source")
    _check_flat(m, at, x, i, axis)
    vector(m, i.shape, x.dtype, "gather")
    data = None
    if not m.now.dry:
        extents = held(i.shape, i.valid)
        cells = checked(m, at, i, x.shape[axis], f"axis {dim} of {x}")
        source = filled(x, 0)[(..., *(slice(0, n if a != axis else None) for a, n in enumerate(extents)))]
        cells, source = same_lead(cells, source, rank)
        data = torch.gather(source, axis - rank, cells)
    return m.onchip.tile(at, data, i.shape, x.dtype, i.valid)


def _check_index_type(m: Machine, at: Place, x: Tile, i: Tile) -> None:
    if x.dtype.name not in ELEMENTS:
        fix = "gather moves FP16, FP32, INT16 and INT32: pl.cast it, or take its bits with pl.reinterpret_view"
        raise m.fault(at, f"pl.gather of {x}", fix)
    short = i.dtype.name == "INT16" and x.dtype.bits == 16 and m.chip.rules == "a5"  # assembler, `pto.tgather`
    if i.dtype is not INT32 and not short:
        raise m.fault(at, f"pl.gather of {x} with the index {i}", "the index is INT32, or INT16 of 16 bits on A5")


def _check_flat(m: Machine, at: Place, x: Tile, i: Tile, axis: int) -> None:
    """The instruction counts elements of the whole tile: on A5, and along other axes than the last on both chips.

    Source: src/ir/transforms/op_conversion_registry.cpp.
    """
    last = axis == len(x.shape) - 1
    rows = elements(i.shape[:-1])
    if last and m.chip.rules == "a5" and i.dtype is not INT32 and rows * x.shape[-1] > 2**15:
        raise m.fault(
            at, f"pl.gather of {x} with the index {i} on A5: it counts {rows * x.shape[-1]} elements, and INT16 counts"
            f" {2**15}", "an INT32 index, or a smaller tile",
        )  # fmt: skip
    if len(x.shape) == 3 and not last and x.dtype.bits != 32:
        raise m.fault(
            at, f"pl.gather of {x} along axis {axis}: of three axes only FP32 and INT32 go along another than the last",
            "pl.cast it to FP32 first",
        )  # fmt: skip


def checked(m: Machine, at: Place, i: Tile, limit: int, of: str) -> torch.Tensor:
    """The values of an index tile as INT64, all of them in range (where they are valid).

    Raises:
        FaultError: an index is negative or not below `limit`.
    """
    cells = i.data.long()
    bad = (cells < 0) | (cells >= limit)
    if i.valid is not None and any(type(v) is Lanes for v in i.valid):
        real = inside(held(i.shape, i.valid), i.valid)
        bad = bad & real
        cells = torch.where(real, cells, 0)
    if bad.any():
        where = tuple(bad.nonzero()[0].tolist())
        cell = where[len(where) - len(i.shape) :]
        raise m.fault(
            at, f"index {cells[where].item()} at {list(cell)} of {i} is outside {of}, which has {limit}",
            "clamp it with pl.maximum and pl.minimum, or mark what is valid with valid_shape=",
        )  # fmt: skip
    return cells


def same_lead(a: torch.Tensor, b: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two tensors of `rank` axes, both with a block axis in front where one of them has it."""
    if a.dim() == b.dim():
        return a, b
    n = (a if a.dim() > rank else b).shape[0]
    return (a if a.dim() > rank else a.expand(n, *a.shape)), (b if b.dim() > rank else b.expand(n, *b.shape))


@op("gather", "src indices tmp", on="tile", gives="either", tensors=True, apart=ALL, types=FOUR)
def tile_gather(m: Machine, at: Place, src: Any, indices: Any, tmp: Any = None) -> Tile:
    """out[i, j] = src.flat[indices[i, j]]: indices count elements of the whole tile, row by row; `tmp` is scratch."""
    x, i = operands(m, at, src, indices)
    _check_index_type(m, at, x, i)
    vector(m, i.shape, x.dtype, "gather")
    data = None
    if not m.now.dry:
        cells = checked(m, at, i, elements(x.shape), f"the elements of {x}")
        rank = len(i.shape)
        source = filled(x, 0).flatten(-len(x.shape))
        cells, source = same_lead(cells.flatten(-rank), source, 1)
        data = torch.gather(source, -1, cells).view(*source.shape[:-1], *held(i.shape, i.valid))
    return m.onchip.tile(at, data, i.shape, x.dtype, i.valid)


@op("gather_mask", "src mask_pattern * output_dtype?", on="tile", apart=ALL, types=FOUR)
def gather_mask(m: Machine, at: Place, src: Any, mask_pattern: Any, *, output_dtype: Any = None) -> Tile:
    """The columns that a pattern marks, close together; `output_dtype` reads their bits as another type."""
    x = operand(m, at, src)
    step, first = pattern(m, at, mask_pattern)
    if len(x.shape) != 2 or x.shape[1] % step:
        raise m.fault(at, f"pl.gather of {x} by a pattern", f"its columns must be a multiple of {step}")
    if x.dtype.name not in ELEMENTS:
        raise m.fault(at, f"pl.gather of {x} by a pattern", "it moves FP16, FP32, INT16 and INT32")
    d = x.dtype if output_dtype is None else dtype_of(m, at, output_dtype)
    if d.bits != x.dtype.bits:
        raise m.fault(at, f"pl.gather of {x} as {d}", f"the output type must have {x.dtype.bits} bits, too")
    vector(m, x.shape, x.dtype, "gather")
    shape, valid = (x.shape[0], x.shape[1] // step), None
    if x.valid is not None:
        valid = (x.valid[0], each(lambda v: -((first - v) // step) if step > 1 else v, x.valid[1]))
        valid = None if not any(type(v) is Lanes for v in valid) and valid == shape else valid
    data = None
    if not m.now.dry:
        data = x.data[..., first::step]
        data = data if d is x.dtype else of_bits(bits_of(data.contiguous(), x.dtype), d)
        data = data.contiguous()
    return m.onchip.tile(at, data, shape, d, valid)


@op("gather_compare", "src kvalue tmp * cmp_mode? offset? out_cols count_dtype?", on="tile", apart=ALL)
def gather_compare(
    m: Machine, at: Place, src: Any, kvalue: Any, tmp: Any = None, *, cmp_mode: Any = "eq", offset: int = 0,
    out_cols: Any = None, count_dtype: Any = None,
) -> tuple[Tile, Tile]:  # fmt: skip
    """For each row the columns (plus `offset`) whose element compares true with a scalar, and how many there are.

    Returns indices [R, out_cols] INT32, of which what lies beyond the matches is not written, and counts [1, R].
    """
    x = operand(m, at, src)
    fn = comparison(m, at, cmp_mode)
    d = INT32 if count_dtype is None else dtype_of(m, at, count_dtype)
    if not is_scalar(kvalue) or out_cols is None or int(out_cols) <= 0:
        raise m.fault(at, f"pl.gather by comparison with {describe(kvalue)} into {out_cols} columns")
    if x.dtype.name not in ELEMENTS or len(x.shape) != 2 or d.name not in ("INT32", "UINT32"):
        raise m.fault(at, f"pl.gather by comparison of {x}, counted in {d}")
    vector(m, x.shape, x.dtype, "gather")
    rows, width = x.shape[0], int(out_cols)
    picked = counts = None
    if not m.now.dry:
        hits = fn(filled(x, 0), scalar(kvalue, 2))
        if x.valid is not None:
            hits = hits & inside(x.shape, x.valid)
        counts = hits.sum(-1).unsqueeze(-2).to(d.torch)
        rank = hits.cumsum(-1) - 1
        target = torch.where(hits & (rank < width), rank, width)  # one column more takes what does not fit
        columns = (torch.arange(x.shape[1]) + int(offset)).to(torch.int32).expand(hits.shape)
        picked = torch.full((*hits.shape[:-1], width + 1), int(poison(INT32)), dtype=torch.int32)
        picked = picked.scatter_(-1, target, columns)[..., :width].contiguous()
    return m.onchip.tile(at, picked, (rows, width), INT32), m.onchip.tile(at, counts, (1, rows), d)


@op("gatherb", "src offset * output_dtype?", on="pl tile", gives="either", apart=ALL)
def gatherb(m: Machine, at: Place, src: Any, offset: Any, *, output_dtype: Any = None) -> Tile:
    """Blocks of 32 bytes of `src` at UINT32 byte offsets [R, C]; gives [R, C * 32 / bytes of the output type]."""
    x, o = operands(m, at, src, offset)
    d = x.dtype if output_dtype is None else dtype_of(m, at, output_dtype)
    if o.dtype is not UINT32 or len(o.shape) != 2 or o.shape[1] % 8:
        raise m.fault(at, f"pl.gatherb with the offsets {o}", "offsets are UINT32 [R, C], C a multiple of 8")
    if d.bits < 8:
        raise m.fault(at, f"pl.gatherb into {d}", "an output type of whole bytes")
    per = 256 // d.bits
    shape = (o.shape[0], o.shape[1] * per)
    valid = None if o.valid is None else (o.valid[0], o.valid[1] * per)
    vector(m, shape, x.dtype, "gather")
    data = None
    if not m.now.dry:
        size = elements(x.shape) * x.dtype.bits // 8
        starts = checked(m, at, o, size - 31, f"the bytes of {x} (32 from each offset)")
        if (starts % 32).any():
            raise m.fault(at, f"pl.gatherb: an offset of {o} is not a multiple of 32 bytes")
        raw = bits_of(filled(x, 0), x.dtype).flatten(-len(x.shape)).contiguous().view(torch.int8)
        rows, cols = starts.shape[-2:]
        cells = (starts.unsqueeze(-1) + torch.arange(32)).flatten(-3)
        cells, raw = same_lead(cells, raw, 1)
        data = torch.gather(raw, -1, cells).view(*raw.shape[:-1], rows, cols * 32)
        data = reinterpret(data, BY_NAME["INT8"], d)
    return m.onchip.tile(at, data, shape, d, valid)


# ---- rows of global memory -------------------------------------------------------------------------------


@op(
    "gather_row", "dst src dst_offset src_offset shapes transpose? * valid_shape?",
    tensor="acc src dst_offset src_offset shapes transpose? * valid_shape?", result=TYPED, unit="vector", moves=True,
    gives="either", tensors=True,
)  # fmt: skip
def gather_row(
    m: Machine, at: Place, dst: Any, src: Any, dst_offset: Any, src_offset: Any, shapes: Any, transpose: bool = False,
    *, valid_shape: Any = None,
) -> Tile:  # fmt: skip
    """A window of global memory into a part of an on-chip tile, which is returned; `transpose` turns it by 90 degrees.

    `valid_shape` is how much of the window is moved, when that is known only at run time.
    """
    if type(dst) is not Tile or type(src) is not Tensor:
        raise m.fault(at, f"pl.gather_row of {describe(src)} into {describe(dst)}", "from a tensor into a tile")
    if dst.dtype is not src.dtype:
        raise m.fault(at, f"pl.gather_row of {src} into {dst}", "both must have one element type")
    if valid_shape is not None and transpose:
        raise m.fault(at, "pl.gather_row with transpose=True and valid_shape=", "use one of them")
    shape = static(m, at, shapes)
    moved = shape if valid_shape is None else tuple(int(one(v)) for v in valid_shape)
    if any(not 0 <= v <= n for v, n in zip(moved, shape)):
        raise m.fault(at, f"pl.gather_row: valid_shape {list(moved)} of the window {list(shape)}")
    to = [int(one(o)) for o in dst_offset]
    size = moved[::-1] if transpose else moved
    if len(to) != len(dst.shape) or any(o < 0 or o + n > e for o, n, e in zip(to, size, dst.shape)):
        raise m.fault(at, f"pl.gather_row of {list(size)} to {to} reaches outside {dst}")
    m.onchip.touch(dst)
    if 0 in moved:
        return dst
    w = m.memory.window(at, src, src_offset, moved, None, "gather_row")
    m.accesses.record(at, READ, w)
    m.now.task.loads += 1
    m.now.task.read_bytes += int(elements(moved) * src.dtype.bytes)
    data = None
    if not m.now.dry:
        piece = m.memory.view(w)
        piece = piece.transpose(-1, -2) if transpose else piece
        data = filled(dst, 0)
        if piece.dim() > len(dst.shape) and not dst.batched:
            data = data.expand(piece.shape[0], *data.shape)
        data = data.clone()
        data[(..., *(slice(o, o + n) for o, n in zip(to, size)))] = piece
        data = data[(..., *(slice(0, n) for n in held(dst.shape, dst.valid)))]
    return Tile(data, dst.shape, dst.dtype, dst.valid, dst.memory)


@op(
    "paged_gather", "src indices block_table block_size size max_indices * space? col_off? is_trans? is_b_matrix?",
    on="pl tensor", gives="either", tensors=True,
)  # fmt: skip
def paged_gather(
    m: Machine, at: Place, src: Any, indices: Any, block_table: Any, block_size: int, size: int, max_indices: int, *,
    space: Any = None, col_off: int = 0, is_trans: bool = False, is_b_matrix: bool = False,
) -> Tile:  # fmt: skip
    """Rows of a paged pool [rows, D] by logical index: block_table[i // block_size] * block_size + i % block_size.

    Gives [max_indices, size] (with `is_trans`, transposed) in L1 or UB; rows beyond the indices are not written.
    """
    names = {"src": src, "indices": indices, "block_table": block_table}
    for name, t in names.items():
        if type(t) is not Tensor or (name != "src" and t.dtype is not INT32):
            raise m.fault(at, f"pl.paged_gather: {name} is {describe(t)}", "a tensor; INT32 for indices and pages")
    count = elements(indices.shape)
    if len(src.shape) != 2 or count > max_indices or col_off + size > src.shape[1]:
        raise m.fault(
            at, f"pl.paged_gather of {count} rows (max_indices {max_indices}), columns {col_off} to {col_off + size}, "
            f"of {src}",
        )  # fmt: skip
    if m.batches.batch is not None:
        raise Conflict
    where = "L1" if space is None else space_of(space)
    shape = (size, max_indices) if is_trans else (max_indices, size)
    tile = m.onchip.tile(at, None, shape, src.dtype, None, where)
    m.now.task.loads += count
    m.now.task.read_bytes += int(count * size * src.dtype.bytes)
    rows = _paged_rows(m, at, indices, block_table, block_size)
    for row in rows:
        m.accesses.record(at, READ, m.memory.window(at, src, [row, col_off], [1, size], None, "paged_gather"))
    if not m.now.dry:
        data = torch.full((max_indices, size), poison(src.dtype), dtype=src.dtype.torch)
        pool = m.memory.view(src)[:, col_off : col_off + size]
        data[:count] = pool[torch.as_tensor(rows)]
        tile.data = data.transpose(0, 1).contiguous() if is_trans else data
    return tile


def _paged_rows(m: Machine, at: Place, indices: Tensor, table: Tensor, block_size: int) -> list[int]:
    """The physical row of each logical index; row 0 for all where a dry run has no tables."""
    for t in (indices, table):
        m.accesses.record(at, READ, t)
    unknown = [t.buffer for t in (indices, table) if not t.buffer.known]
    if unknown:
        for buffer in unknown:
            m.ask(buffer)
        return [0] * elements(indices.shape)
    logical, pages = m.memory.view(indices).flatten().tolist(), m.memory.view(table).flatten().tolist()
    out = []
    for i in logical:
        if not 0 <= i < block_size * len(pages):
            raise m.fault(at, f"pl.paged_gather: index {i} of {len(pages)} pages of {block_size}")
        out.append(pages[i // block_size] * block_size + i % block_size)
    return out


COALESCE, OUTSIDE = ("row", "elem"), ("undefined", "clamp", "wrap", "zero")


@op(
    "mgather", "mem idx coalesce? * gather_oob? target_memory? scratch? valid_shape?", on="pl tile", gives="either",
    tensors=True, apart=ALL,
)  # fmt: skip
def mgather(
    m: Machine, at: Place, mem: Any, idx: Any, coalesce: Any = "row", *, gather_oob: Any = "undefined",
    target_memory: Any = None, scratch: Any = None, valid_shape: Any = None,
) -> Tile:  # fmt: skip
    """Rows (`coalesce` "row") or elements ("elem", counted row by row) of global memory at INT32 indices.

    Rows: [1, R] or [R, 1] gives [R, columns]; elements: the shape of `idx`. `gather_oob` says what an index outside
    does: a fault for "undefined", the last, the remainder, or zeros. Indices are unsigned to the device, so that
    "clamp" takes a negative one to the last (PTO-ISA include/pto/cpu/MGather.hpp).
    """
    mode, outside = _named(m, at, coalesce, COALESCE), _named(m, at, gather_oob, OUTSIDE)
    where = "UB" if target_memory is None else space_of(target_memory)
    if type(mem) is not Tensor or not mem.contiguous or (mode == "row" and len(mem.shape) < 2):
        raise m.fault(at, f"pl.mgather from {describe(mem)}", "a tensor that is not a strided window")
    i = operand(m, at, idx)
    if i.dtype is not INT32 or len(i.shape) != 2 or (mode == "row" and 1 not in i.shape):
        raise m.fault(at, f"pl.mgather with the index {i}", "INT32 [1, R] or [R, 1] for rows, [R, C] for elements")
    if m.chip.rules == "a2a3" and where == "UB" and mode == "row" and i.shape[0] != 1:
        raise m.fault(at, f"pl.mgather of rows by a column of indices, {i}, on A2/A3", "indices [1, R]")
    shape, valid = i.shape, i.valid
    if mode == "row":
        along = 1 if i.shape[0] == 1 else 0
        shape = (i.shape[along], mem.shape[-1])
        valid = None if i.valid is None else (i.valid[along], mem.shape[-1])
    if valid_shape is not None:
        valid = static(m, at, valid_shape, "valid_shape")
    m.accesses.record(at, READ, mem)
    m.now.task.loads += 1
    m.now.task.read_bytes += int(elements(shape) * mem.dtype.bytes)
    data = None
    if not m.now.dry:
        data = _mgather(m, at, mem, i, mode, outside)
    out = m.onchip.tile(at, data, shape, mem.dtype, valid, where)
    if data is not None and valid is not None:
        out.data = fitted(Tile(data, shape, mem.dtype, None, out.memory), held(shape, valid))
    return out


def _mgather(m: Machine, at: Place, mem: Tensor, i: Tile, mode: str, outside: str) -> torch.Tensor:
    if type(mem.offset) is np.ndarray:
        raise Conflict
    table = m.memory.view(mem)
    table = table.reshape(-1, mem.shape[-1]) if mode == "row" else table.reshape(-1)
    limit = table.shape[0]
    if outside == "undefined":
        cells = checked(m, at, i, limit, f"the {'rows' if mode == 'row' else 'elements'} of {mem}")
    else:
        cells = i.data.long()
    cells = filled(Tile(cells, i.shape, i.dtype, i.valid, i.memory), 0)
    missing = (cells < 0) | (cells >= limit)
    if outside == "wrap":
        cells = cells.remainder(limit)
    else:
        cells = torch.where(missing, limit - 1, cells)
    if mode == "row":
        cells, missing = cells.flatten(-2), missing.flatten(-2).unsqueeze(-1)
    data = table[cells]
    return torch.where(missing, torch.zeros((), dtype=data.dtype), data) if outside == "zero" else data


def _named(m: Machine, at: Place, x: Any, names: tuple[str, ...]) -> str:
    found = names[x] if isinstance(x, int) and 0 <= x < len(names) else x
    if found not in names:
        raise m.fault(at, f"{x!r} is none of {', '.join(names)}")
    return found
