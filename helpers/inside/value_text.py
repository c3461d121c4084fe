"""How a value that was seen in a task reads: as one line, as a small table, and what is odd about it."""

from __future__ import annotations

from typing import Any

import torch

from helpers.interpret.language.dtypes import BY_NAME
from helpers.interpret.values.seen import EDGE, Seen


def marks(seen: Any) -> list[str]:
    """What is odd about a value: "NaN", "inf", "all zero", "at the limit of FP16", with how many elements."""
    data = seen.data if isinstance(seen, Seen) else None
    if data is None or not data.numel():
        return []
    out, n = [], data.numel()
    if data.dtype.is_floating_point:
        for what, found in (("NaN", data.isnan()), ("inf", data.isinf())):
            count = int(found.sum())
            out += [f"{count:,} of {n:,} {what}"] if count else []
    limit = _limit(seen.dtype)
    if limit is not None:
        count = int((data.double().abs() >= limit).logical_and(data.double().isfinite()).sum())
        out += [f"{count:,} of {n:,} at the limit of {seen.dtype}"] if count else []
    if n > 1 and not data.count_nonzero():
        out.append("all zero")
    return out


def _limit(dtype: str) -> float | None:
    """The largest number of a type in which results are cut off; None for wide types."""
    known = BY_NAME.get(dtype)
    if known is None or known.bits > 16 or dtype == "BF16":
        return None
    of = known.torch
    return float(torch.finfo(of).max if of.is_floating_point else torch.iinfo(of).max)


def kind(seen: Any) -> str:
    """What a value is, without its elements: "tile [16, 128] FP32 in UB, valid [5, 128]"."""
    return seen.what if isinstance(seen, Seen) else str(seen)


def text(seen: Any) -> str:
    """A value in one line: what it is, its smallest, mean and largest element, and what is odd about it."""
    if not isinstance(seen, Seen):
        return f"{seen:g}" if isinstance(seen, float) else str(seen)
    data = seen.data
    if data is None:
        return kind(seen) + ("" if seen.kind == "tensor" else " (not kept: too many values)")
    if data.numel() == 1:
        return f"{kind(seen)} = {data.flatten()[0].item():.6g}"
    finite = data.double()[data.double().isfinite()]
    span = f"{finite.min():.4g} to {finite.max():.4g}, mean {finite.mean():.4g}" if len(finite) else "no finite element"
    return "; ".join([f"{kind(seen)}: {span}", *marks(seen)])


def table(seen: Seen) -> str:
    """The elements of a value, the middle of a large one left out; rows and columns counted from 0."""
    data = seen.data
    if data is None:
        return text(seen)
    flat = data.reshape(-1, data.shape[-1]) if data.dim() > 1 else data.reshape(1, -1)
    rows, columns = (_shown(n) for n in flat.shape)
    width = 11
    head = " " * 6 + "".join(f"{'...' if c is None else c:>{width}}" for c in columns)
    lines = [head]
    for r in rows:
        cells = ("..." if None in (r, c) else f"{flat[r, c].item():.5g}" for c in columns)
        lines.append(f"{'...' if r is None else r:>5} " + "".join(f"{c:>{width}}" for c in cells))
    return "\n".join(lines)


def _shown(n: int) -> list[int | None]:
    if n <= 2 * EDGE + 1:
        return list(range(n))
    return [*range(EDGE), None, *range(n - EDGE, n)]
