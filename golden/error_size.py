"""How far one tensor is from another: statistics of the error, which bits differ, and what has changed since."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from helpers.errors import InputError

REL_FLOOR = 2.0**-14
"""Floor of the denominator of a relative error: |actual - expected| / max(|expected|, REL_FLOOR).

2^-14 (6.1e-5) is FP16's smallest normal number. Without a floor the largest relative error of a tensor is
that of whichever element cancelled nearest to zero, and says nothing about the kernel.
"""

CHUNK = 1 << 22  # elements looked at together: a multi-layer KV cache is never converted as a whole
_WORDS = 4096  # columns of a seal's matrix
_ROWS = 32  # rows of it that are summed at once: 1 MiB
_SHOWN = 10  # mismatches listed in a message


@dataclass(frozen=True)
class OutputError:
    """How far one output is from its golden, over all its elements. Errors are in the output's own unit.

    Attributes:
        max_abs: Largest |actual - expected|; inf where only one of the two is finite.
        max_rel: Largest |actual - expected| / max(|expected|, REL_FLOOR).
        mean_abs: Mean of |actual - expected| over `total` elements, those that are equal included.
        mismatched: Elements outside the tolerance (for `exact`: elements whose bits differ).
        total: Elements of the output.
        worst: Index of the element with the largest |actual - expected|; None when no element differs.
        tolerance: The tolerance that `mismatched` counts against, as text.
        ratio: Largest |actual - expected| over what the tolerance allows there; inf where that is nothing.
    """

    max_abs: float
    max_rel: float
    mean_abs: float
    mismatched: int
    total: int
    worst: tuple[int, ...] | None
    tolerance: str
    ratio: float = 0.0


def measure(
    actual: torch.Tensor,
    expected: torch.Tensor,
    rtol: float = 0.0,
    atol: float = 0.0,
    *,
    bitwise: bool = False,
    tolerance: str | None = None,
) -> OutputError:
    """Error statistics of two tensors of one shape, computed in FP64 whatever their dtypes.

    Args:
        rtol, atol: An element is counted as mismatched unless |actual - expected| <= atol + rtol *
            |expected|; equal infinities match, NaN matches nothing.
        bitwise: Count the elements whose bits differ instead (0.0 and -0.0 do, a NaN and its copy do not).
        tolerance: Text for OutputError.tolerance; made from rtol and atol if None.

    Raises:
        InputError: the shapes differ.
    """
    return scan(actual, expected, rtol, atol, bitwise, tolerance)[0]


def nonfinite_text(actual: torch.Tensor, expected: torch.Tensor) -> str:
    """How many NaN and inf `actual` has where `expected` is finite, and where; empty if it has none."""
    if not actual.is_floating_point():
        return ""
    nans = infs = 0
    first: int | None = None
    for start, a, e in chunks(actual, expected):
        if torch.isfinite(a.sum()):  # so is every element; much faster than looking at each
            continue
        stray = ~torch.isfinite(a)
        if not stray.any():
            continue
        stray &= torch.isfinite(e)
        at = stray.nonzero().flatten()
        if at.numel():
            first = start + int(at[0]) if first is None else first
            nan = int(torch.isnan(a[at]).sum())
            nans, infs = nans + nan, infs + at.numel() - nan
    if first is None:
        return ""
    return (
        f"{nans} NaN and {infs} inf among {actual.numel()} elements where the golden is finite, "
        f"first at {index_of(first, actual.shape)}"
    )


def first_difference(actual: torch.Tensor, expected: torch.Tensor) -> tuple[int, tuple[int, ...]] | None:
    """How many elements of two tensors of one shape and dtype differ in any bit, and the first one's index.

    None if none does.
    """
    count, first = 0, 0
    for start, a, e in chunks(actual, expected):
        if not same_bits(a, e):
            at = bits_differ(a, e).nonzero().flatten()
            first = first if count else start + int(at[0])
            count += at.numel()
    return (count, index_of(first, actual.shape)) if count else None


@dataclass(frozen=True)
class Seal:
    """Sums of a tensor's bits, along the rows and the columns of a matrix of 64-bit words, wrapping around.

    One pass over the memory instead of a copy of it. A change has to leave every sum as it was to go unseen.
    """

    rows: torch.Tensor
    columns: torch.Tensor


def seal(tensor: torch.Tensor) -> Seal:
    """The seal of a contiguous tensor as it is now."""
    raw = tensor.reshape(-1).view(torch.uint8)
    whole = raw.numel() // (8 * _WORDS) * (8 * _WORDS)
    words = raw[:whole].view(torch.int64).view(-1, _WORDS)
    rest = torch.zeros(8 * _WORDS, dtype=torch.uint8)
    rest[: raw.numel() - whole] = raw[whole:]
    last = rest.view(torch.int64)[None]
    rows, columns = torch.empty(len(words), dtype=torch.int64), torch.zeros(_WORDS, dtype=torch.int64)
    for start in range(0, len(words), _ROWS):  # both sums of what is in a processor's cache
        part = words[start : start + _ROWS]
        rows[start : start + _ROWS] = part.sum(1)
        columns += part.sum(0)
    return Seal(torch.cat([rows, last.sum(1)]), torch.cat([columns, last[0]]))


def broken(tensor: torch.Tensor, before: Seal) -> str:
    """Where a tensor is not as it was when sealed, to within 32 KiB, in words; empty if it is."""
    now = seal(tensor)
    if torch.equal(now.rows, before.rows) and torch.equal(now.columns, before.columns):
        return ""
    rows = (now.rows != before.rows).nonzero()
    if rows.numel() == 0:
        return "elements changed places"
    size = 8 * _WORDS // tensor.element_size()
    first = int(rows[0]) * size
    last = min(first + size, tensor.numel()) - 1
    return f"the first change is between elements {first} and {last}, counted flat"


def scan(
    actual: torch.Tensor,
    expected: torch.Tensor,
    rtol: float,
    atol: float,
    bitwise: bool,
    tolerance: str | None,
    show: int = _SHOWN,
) -> tuple[OutputError, list[int]]:
    """The statistics, and the flat indices of the first `show` mismatched elements.

    Only the elements that differ are converted to FP64, so a large tensor of which little changed costs one
    pass over its bits.
    """
    if actual.shape != expected.shape:
        raise InputError(f"shapes differ: {list(actual.shape)} and {list(expected.shape)}")
    largest, max_rel, total_abs, mismatched, ratio = -1.0, 0.0, 0.0, 0, 0.0
    worst: int | None = None
    shown: list[int] = []
    for start, a, e in chunks(actual, expected):
        judge_nan = e.is_floating_point() and not bitwise
        if same_bits(a, e) and not (judge_nan and torch.isnan(e.sum())):
            continue
        differs = bits_differ(a, e)
        if judge_nan:
            differs |= torch.isnan(e)
        at = differs.nonzero().flatten()
        if at.numel() == 0:
            continue
        av, ev = a[at].double(), e[at].double()
        same = (av == ev) | (torch.isnan(av) & torch.isnan(ev))
        gap = torch.where(same, 0.0, (av - ev).abs()).nan_to_num(nan=math.inf, posinf=math.inf)
        rel = (gap / ev.abs().clamp_min(REL_FLOOR)).nan_to_num(nan=math.inf, posinf=math.inf)
        rel = torch.where(gap == 0, 0.0, rel)  # both NaN
        allowed = torch.zeros_like(gap) if bitwise else atol + rtol * ev.abs()
        over = torch.where(gap == 0, 0.0, gap / allowed).nan_to_num(nan=math.inf, posinf=math.inf)
        ratio = math.inf if bitwise else max(ratio, float(over.max()))
        if bitwise:
            bad = torch.ones_like(same)
        else:
            bad = (av != ev) & ~((gap <= allowed) & torch.isfinite(gap))
        if float(gap.max()) > largest:
            largest, worst = float(gap.max()), start + int(at[gap.argmax()])
        max_rel = max(max_rel, float(rel.max()))
        total_abs += float(gap.sum())
        mismatched += int(bad.sum())
        shown += (start + at[bad][: show - len(shown)]).tolist() if len(shown) < show else []
    error = OutputError(
        max_abs=max(largest, 0.0),
        max_rel=max_rel,
        mean_abs=total_abs / max(actual.numel(), 1),
        mismatched=mismatched,
        total=actual.numel(),
        worst=None if worst is None else index_of(worst, actual.shape),
        tolerance=tolerance or f"rtol={rtol:.4g} atol={atol:.4g}",
        ratio=ratio,
    )
    return error, shown


def chunks(actual: torch.Tensor, expected: torch.Tensor) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """The two tensors, flat and in step, a chunk at a time with its first flat index."""
    flat_actual, flat_expected = actual.reshape(-1), expected.reshape(-1)
    for start in range(0, flat_actual.numel(), CHUNK):
        yield start, looked_at(flat_actual[start : start + CHUNK]), looked_at(flat_expected[start : start + CHUNK])


def looked_at(values: torch.Tensor) -> torch.Tensor:
    """Values as torch can look at them: floats of one byte, which it only converts, as the FP32 that they are."""
    return values.float() if values.is_floating_point() and values.element_size() == 1 else values


def bits_differ(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Which elements differ in any bit; in value, if the dtypes are not the same."""
    if a.dtype != b.dtype:
        return a.double() != b.double()
    return _bits(a) != _bits(b)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether dtypes and all bits are the same; much faster than looking which elements differ."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    wide = [_words(a), _words(b)]
    return torch.equal(*(wide if None not in wide else (_bits(a), _bits(b))))


def _words(tensor: torch.Tensor) -> torch.Tensor | None:
    """The same memory as integers of 8 bytes, which are compared fastest; None where it is not whole ones."""
    size = tensor.element_size()
    if not tensor.is_contiguous() or tensor.numel() * size % 8 or tensor.storage_offset() * size % 8:
        return None
    return tensor.reshape(-1).view(torch.int64)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """The same memory as integers."""
    sizes = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.view(sizes[tensor.element_size()])


def index_of(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, tuple(shape)))
