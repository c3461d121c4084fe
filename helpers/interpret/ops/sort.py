"""Sorting: sort32 makes sorted runs of (value, index) pairs, mrgsort merges runs.

A pair takes 8 bytes: for FP32 two elements, the value and the 32 bits of the UINT32 index; pairs descend by value,
equal values by ascending index. A merge takes the largest head of its lists, of equal ones the first list's, and
does not look further, so that lists which are not sorted give what the device would give (PTO-ISA
include/pto/cpu/TSort32.hpp, TMrgSort.hpp; docs/isa/TSORT32.md, TMRGSORT.md).
"""

from __future__ import annotations

from typing import Any

import torch

from helpers.interpret.language.dtypes import BY_NAME, FP16, FP32
from helpers.interpret.language.element_types import FLOAT
from helpers.interpret.language.operation import ALL
from helpers.interpret.machine.machine import Machine
from helpers.interpret.ops.common import elements, op, operands, vector
from helpers.interpret.ops.gather import same_lead
from helpers.interpret.source.source import Place
from helpers.interpret.values.bits import bits_of
from helpers.interpret.values.extents import fitted, poison
from helpers.interpret.values.lanes import one
from helpers.interpret.values.values import Tile

UINT32 = BY_NAME["UINT32"]
RUN = 32  # elements that sort32 sorts together
WAYS = 4  # runs that mrgsort merges at a time


@op("sort32", "src idx", gives="either", tiles_at=(0, 1), apart=ALL, types=FLOAT)
def sort32(m: Machine, at: Place, src: Any, idx: Any) -> Tile:
    """Each 32 columns of `src` [..., C] FP32 sorted, `idx` (UINT32, the same shape) with them: pairs [..., 2 C]."""
    x, i = operands(m, at, src, idx)
    if x.dtype is FP16:
        raise m.fault(
            at, f"pl.sort32 of {x}: PyPTO gives FP16 pairs two elements and PTO-ISA four", "pl.cast it to FP32"
        )
    if x.dtype is not FP32 or i.dtype is not UINT32:
        raise m.fault(at, f"pl.sort32 of {x} with {i}", "values are FP32, indices UINT32: pl.arange(..., pl.UINT32)")
    if i.shape != x.shape or x.shape[-1] % RUN:
        raise m.fault(at, f"pl.sort32 of {x} with {i}", "both of one shape, the last axis a multiple of 32")
    vector(m, x.shape, x.dtype, "sort")
    shape = (*x.shape[:-1], 2 * x.shape[-1])
    valid = None
    if x.valid is not None:
        valid = (*x.valid[:-1], 2 * one(x.valid[-1]))
    data = None
    if not m.now.dry:
        wanted = x.shape if x.valid is None else (*x.valid[:-1], one(x.valid[-1]))
        index = fitted(i, wanted, lambda: m.memory.undefined(at))
        values, index = same_lead(fitted(x, wanted), index, len(x.shape))
        data = _pairs(*_sorted_runs(values, index))
    return m.onchip.tile(at, data, shape, FP32, valid)


def _sorted_runs(values: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and indices [..., C], every 32 of them in order; the last run may be shorter."""
    whole = values.shape[-1] // RUN * RUN
    parts = []
    for v, i in ((values[..., :whole].unflatten(-1, (-1, RUN)), index[..., :whole].unflatten(-1, (-1, RUN))),
                 (values[..., None, whole:], index[..., None, whole:])):  # fmt: skip
        if not v.numel():
            continue
        if not (i[..., 1:] > i[..., :-1]).all():
            i, order = i.sort(-1)
            v = v.gather(-1, order)
        v, order = v.sort(dim=-1, descending=True, stable=True)
        parts.append((v.flatten(-2), i.expand(v.shape).gather(-1, order).flatten(-2)))
    return tuple(torch.cat(p, -1) if len(parts) > 1 else p[0] for p in zip(*parts))


def _pairs(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    raw = torch.stack([bits_of(values.contiguous(), FP32), bits_of(index, UINT32)], -1)
    return raw.flatten(-2).view(torch.float32)


@op(
    "mrgsort", "src0 src1? src2? src3? tmp? * exhausted? block_len?",
    tensor="src0 src1? src2? src3? * exhausted? block_len?",
    tile="src0 src1? src2? src3? tmp? exhausted? * block_len?", gives="either", apart=ALL, types=FLOAT,
)  # fmt: skip
def mrgsort(
    m: Machine, at: Place, src0: Any, src1: Any = None, src2: Any = None, src3: Any = None, tmp: Any = None,
    exhausted: bool = False, *, block_len: Any = None,
) -> Tile:  # fmt: skip
    """One row of pairs merged: every 4 runs of `block_len` elements of one tile, or 2 to 4 sorted tiles.

    With `exhausted` the merge of several tiles stops when one of them is used up, and what follows is not written.
    """
    given = [s for s in (src0, src1, src2, src3) if s is not None]
    if (block_len is None) == (len(given) == 1) or (block_len is not None and exhausted):
        raise m.fault(at, f"pl.mrgsort of {len(given)} sources with block_len={block_len}",
                      "one source with block_len=, or two to four without")  # fmt: skip
    tiles = operands(m, at, *given)
    for t in tiles:
        if t.dtype not in (FP32, FP16) or t.dtype is not tiles[0].dtype:
            raise m.fault(at, f"pl.mrgsort of {t}", "sources are FP32 or FP16 pairs of one type")
        if elements(t.shape[:-1]) != 1:
            raise m.fault(at, f"pl.mrgsort of {t}", "a merge works on one row: loop over the rows with pl.range")
    shape = (*tiles[0].shape[:-1], sum(t.shape[-1] for t in tiles))
    vector(m, shape, tiles[0].dtype, "sort")
    per = 64 // tiles[0].dtype.bits  # elements of a pair
    lengths = [t.shape[-1] if t.valid is None else int(one(t.valid[-1])) for t in tiles]
    if block_len is not None:
        return _merge_runs(m, at, tiles[0], lengths[0], int(one(block_len)), per)
    valid = None if sum(lengths) == shape[-1] else (*shape[:-1], sum(lengths))
    data = None
    if not m.now.dry:
        lists = [fitted(t, (*t.shape[:-1], n)).unflatten(-1, (-1, per)) for t, n in zip(tiles, lengths)]
        for other in lists[1:]:
            lists[0], _ = same_lead(lists[0], other, len(shape) + 1)
        lists = [same_lead(x, lists[0], len(shape) + 1)[0] for x in lists]
        data = merge(lists, exhausted).flatten(-2)
    return m.onchip.tile(at, data, shape, tiles[0].dtype, valid)


def _merge_runs(m: Machine, at: Place, x: Tile, length: int, run: int, per: int) -> Tile:
    if run <= 0 or run % 64 or length % (WAYS * run):
        raise m.fault(
            at, f"pl.mrgsort of {x} with block_len={run}: {length} columns are no whole groups of {WAYS} runs",
            f"block_len is a multiple of 64, and the columns of {WAYS} * block_len; merge a rest with a second mrgsort",
        )  # fmt: skip
    data = None
    if not m.now.dry:
        groups = fitted(x, (*x.shape[:-1], length)).unflatten(-1, (-1, WAYS, run // per, per))
        data = merge(list(groups.unbind(-3))).flatten(-3)
    valid = None if length == x.shape[-1] else (*x.shape[:-1], length)
    return m.onchip.tile(at, data, x.shape, x.dtype, valid)


def merge(lists: list[torch.Tensor], exhausted: bool = False) -> torch.Tensor:
    """Lists of structures [..., n, per], compared by their first element, merged to [..., sum of n, per].

    An element is taken when it is the largest head; one that is larger than what stands before it in its list follows
    that at once. So the key of an element is the smallest up to it, and a stable sort by keys is the merge.
    """
    heads = [x[..., 0].float() for x in lists]
    keys = torch.cat([h.cummin(-1).values if h.shape[-1] else h for h in heads], -1)
    order = keys.sort(dim=-1, descending=True, stable=True).indices
    everything = bits_of(torch.cat(lists, -2), FP32 if lists[0].dtype == torch.float32 else FP16)
    out = everything.gather(-2, order.unsqueeze(-1).expand(everything.shape)).view(lists[0].dtype)
    if exhausted:
        rank = order.argsort(-1)
        ends = torch.tensor([x.shape[-2] for x in lists]).cumsum(0) - 1
        stop = rank[..., ends].amin(-1, keepdim=True)
        unwritten = torch.arange(order.shape[-1]) > stop
        out = torch.where(unwritten.unsqueeze(-1), torch.tensor(poison(FP32), dtype=out.dtype), out)
    return out
