"""Comparators: what a kernel may write beside its golden, from equal bits to a share of elements outside.

A comparator is any callable

    comparator(actual, expected, *, actual_outputs, expected_outputs, inputs, rtol, atol) -> (passed, detail)

where actual and expected are one output's two tensors, the three dicts hold all of them by name (scalars of
the run are among the inputs, as 0-dim tensors), rtol and atol are the run's, and detail says what is wrong
when it did not pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from golden import error_size
from golden.error_size import (
    REL_FLOOR,
    OutputError,
    bits_differ,
    index_of,
    looked_at,
    nonfinite_text,
    same_bits,
    scan,
)
from helpers.errors import InputError

Comparator = Callable[..., tuple[bool, str]]

_INTEGER_DTYPES = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)


def close(rtol: float, atol: float) -> Comparator:
    """|actual - expected| <= atol + rtol * |expected| for every element, evaluated in FP64.

    NaN matches nothing, an infinity only itself. The dtypes may differ: a golden may be kept in FP32 for a
    BF16 output.
    """

    def comparator(actual: torch.Tensor, expected: torch.Tensor, **_run: Any) -> tuple[bool, str]:
        stray = nonfinite_text(actual, expected)
        if stray:
            return False, stray
        error, shown = scan(actual, expected, rtol, atol, False, None)
        return error.mismatched == 0, _mismatch_text(error, shown, actual, expected)

    name = f"rtol={rtol:.4g} atol={atol:.4g}"
    return _described(comparator, name, (rtol, atol, False), checks_nonfinite=True, by_element=True)


def exact() -> Comparator:
    """Every element has the golden's dtype and the golden's bits; 0.0 and -0.0 differ."""

    def comparator(actual: torch.Tensor, expected: torch.Tensor, **_run: Any) -> tuple[bool, str]:
        if actual.dtype != expected.dtype:
            return False, f"dtype {actual.dtype}, the golden has {expected.dtype}"
        error, shown = scan(actual, expected, 0.0, 0.0, True, "exact")
        return error.mismatched == 0, _mismatch_text(error, shown, actual, expected)

    return _described(comparator, "exact", (0.0, 0.0, True))


def addressed_rows(rows: Callable[[dict[str, torch.Tensor], int], torch.Tensor], inside: Comparator) -> Comparator:
    """For a tensor of which a kernel writes some rows: `inside` judges those, all others keep the golden's
    bits.

    Args:
        rows: Gets the run's inputs and the tensor's size along dimension 0; returns the integer indices of
            the rows along that dimension, in a tensor of any shape.
        inside: Comparator for the rows it names, gathered in that order as [rows, ...].
    """

    def comparator(actual: torch.Tensor, expected: torch.Tensor, **run: Any) -> tuple[bool, str]:
        index = rows(run["inputs"], actual.shape[0]).flatten().long()
        stray = _changed_rows(actual, expected, index)
        if stray:
            return False, stray
        chosen, golden = actual[index], expected[index]
        if not getattr(inside, "checks_nonfinite", False):
            nonfinite = nonfinite_text(chosen, golden)
            if nonfinite:
                return False, f"addressed rows: {nonfinite}"
        passed, detail = inside(chosen, golden, **run)
        return passed, f"addressed rows (the first index counts them): {detail}"

    name = getattr(inside, "__name__", type(inside).__name__)
    return _described(
        comparator,
        f"addressed rows {name}, others exact",
        getattr(inside, "tolerance", (None, None, False)),
        checks_nonfinite=True,
    )


def ratio_allclose(
    atol: float | None = None,
    rtol: float | None = None,
    max_error_ratio: float = 0.005,
    max_show: int = 10,
    valid_rows: int | None = None,
    valid_axis: int = 0,
    zero_tail: bool = False,
) -> Comparator:
    """`close`, but a fraction of the elements may be outside: for quantized kernels, where a few are.

    Any NaN or inf, in the output or in the golden, fails.

    Args:
        atol, rtol: None takes the run's.
        max_error_ratio: Fraction of the compared elements that may be outside, 0 to 1; the count it allows is
            rounded to the nearest integer.
        max_show: Mismatches listed on failure.
        valid_rows: Compare only that many leading entries of dimension `valid_axis`, None compares all: the
            padding of a packed buffer would otherwise thin the ratio out.
        valid_axis: The dimension `valid_rows` counts along.
        zero_tail: Also require everything past `valid_rows` to be zero.

    Raises:
        InputError: max_error_ratio is outside [0, 1].
    """
    _check_fraction("max_error_ratio", max_error_ratio)

    def comparator(actual: torch.Tensor, expected: torch.Tensor, **run: Any) -> tuple[bool, str]:
        actual, expected, problem = _valid_part(actual, expected, valid_rows, valid_axis, zero_tail)
        problem = problem or _any_nonfinite(actual, expected)
        if problem or actual.numel() == 0:
            return not problem, problem
        used_rtol = run["rtol"] if rtol is None else rtol
        used_atol = run["atol"] if atol is None else atol
        error, shown = scan(actual, expected, used_rtol, used_atol, False, None, max_show)
        allowed = round(max_error_ratio * error.total)
        text = _mismatch_text(error, shown, actual, expected)
        return error.mismatched <= allowed, f"{allowed} mismatches allowed ({max_error_ratio:.4%}); {text}"

    name = f"ratio_allclose(atol={atol}, rtol={rtol}, max_error_ratio={max_error_ratio}{_part(valid_rows)})"
    whole = valid_rows is None
    return _described(comparator, name, (rtol, atol, False), checks_nonfinite=True, by_element=whole)


def ratio_reldiff(
    diff_thd: float = 0.01,
    pct_thd: float = 0.05,
    max_diff_hd: float = float("inf"),
    max_show: int = 10,
    valid_rows: int | None = None,
    valid_axis: int = 0,
    zero_tail: bool = False,
) -> Comparator:
    """At most a fraction of the elements has a relative difference above a threshold, and none above a cap.

    With d = |actual - expected|, the difference r of an element is d where d < diff_thd, elsewhere
    d / (max(|actual|, |expected|, 2^-14 / diff_thd) + 1e-9). Any NaN or inf, in the output or in the golden,
    fails.

    Args:
        diff_thd: An element with r > diff_thd is bad; more than 0.
        pct_thd: Fraction of the compared elements that may be bad, 0 to 1; the count it allows is rounded to
            the nearest integer.
        max_diff_hd: Every r of a bad element must be below this; more than 0.
        max_show, valid_rows, valid_axis, zero_tail: As in `ratio_allclose`.

    Raises:
        InputError: a threshold is out of its range.
    """
    _check_fraction("pct_thd", pct_thd)
    for label, value in (("diff_thd", diff_thd), ("max_diff_hd", max_diff_hd)):
        if not value > 0:
            raise InputError(f"{label} must be more than 0, not {value}")

    def comparator(actual: torch.Tensor, expected: torch.Tensor, **_run: Any) -> tuple[bool, str]:
        actual, expected, problem = _valid_part(actual, expected, valid_rows, valid_axis, zero_tail)
        problem = problem or _any_nonfinite(actual, expected)
        if problem or actual.numel() == 0:
            return not problem, problem
        difference = _relative_difference(actual, expected, diff_thd)
        bad = (difference > diff_thd).flatten().nonzero().flatten()
        allowed = round(pct_thd * actual.numel())
        worst = float(difference.flatten()[bad].max()) if bad.numel() else 0.0
        passed = bad.numel() <= allowed and worst < max_diff_hd
        shown = _pairs(bad[:max_show].tolist(), actual, expected)
        return passed, (
            f"{bad.numel()} of {actual.numel()} elements above diff_thd={diff_thd:.4g}, {allowed} allowed "
            f"({pct_thd:.4%}); largest {worst:.4g}, must be below {max_diff_hd:.4g}{shown}"
        )

    name = f"ratio_reldiff(diff_thd={diff_thd}, pct_thd={pct_thd}, max_diff_hd={max_diff_hd}{_part(valid_rows)})"
    return _described(comparator, name, (diff_thd, 0.0, False), checks_nonfinite=True)


def mapped_pool_ratio_allclose(
    mapping_name: str,
    *,
    mapping_shape: tuple[int, ...],
    block_size: int,
    leading_rank_axis: bool = False,
    pool_name: str = "pool",
    atol: float | None = None,
    rtol: float | None = None,
    max_error_ratio: float = 0.005,
) -> Comparator:
    """For a paged pool: `ratio_allclose` on the rows that a slot mapping names, all others keep the golden's
    bits.

    Args:
        mapping_name: The input with the mapping: row = block * block_size + offset, -1 for "none".
        mapping_shape: Shape that input must have.
        block_size: Rows of a block. The pool is [blocks, block_size, ...].
        leading_rank_axis: Pool and mapping have one more dimension in front, over ranks.
        pool_name: What messages call the pool.
        atol, rtol, max_error_ratio: As in `ratio_allclose`, over the mapped rows of all ranks together.

    Raises:
        InputError: a shape or size that cannot be.
    """
    if not mapping_shape or any(size <= 0 for size in mapping_shape):
        raise InputError(f"mapping_shape must hold positive sizes, not {mapping_shape}")
    if block_size <= 0:
        raise InputError(f"block_size must be positive, not {block_size}")
    if leading_rank_axis and len(mapping_shape) < 2:
        raise InputError(f"with leading_rank_axis the mapping is at least 2-dimensional, not {mapping_shape}")
    inside = ratio_allclose(atol=atol, rtol=rtol, max_error_ratio=max_error_ratio)
    axis = 2 if leading_rank_axis else 1  # the dimension of a block's rows

    def comparator(actual: torch.Tensor, expected: torch.Tensor, **run: Any) -> tuple[bool, str]:
        if actual.shape != expected.shape:
            return False, f"{pool_name}: shape {list(actual.shape)}, the golden has {list(expected.shape)}"
        if actual.ndim <= axis or actual.shape[axis] != block_size:
            ranks = "ranks, " if leading_rank_axis else ""
            return False, f"{pool_name}: shape {list(actual.shape)} is not [{ranks}blocks, {block_size}, ...]"
        mapping = run["inputs"].get(mapping_name)
        if mapping is None:
            return False, f"{pool_name}: there is no input '{mapping_name}'"
        if mapping.dtype not in _INTEGER_DTYPES or tuple(mapping.shape) != tuple(mapping_shape):
            return False, (
                f"'{mapping_name}' is {list(mapping.shape)} {mapping.dtype}, must be {list(mapping_shape)} of integers"
            )
        ranks = mapping_shape[0] if leading_rank_axis else 1
        if leading_rank_axis and actual.shape[0] != ranks:
            return False, f"{pool_name}: {actual.shape[0]} ranks, '{mapping_name}' has {ranks}"
        rows_per_rank = math.prod(actual.shape[axis - 1 : axis + 1])
        slots = mapping.cpu().long().reshape(ranks, -1)
        problem = _mapping_problem(slots, rows_per_rank, mapping_name, leading_rank_axis)
        if problem:
            return False, problem
        named = slots >= 0
        index = (slots + rows_per_rank * torch.arange(ranks)[:, None])[named]
        rows = [ranks * rows_per_rank, math.prod(actual.shape[axis + 1 :])]
        actual_rows, expected_rows = actual.cpu().reshape(rows), expected.cpu().reshape(rows)
        stray = _changed_rows(actual_rows, expected_rows, index)
        if stray:
            return False, f"{pool_name}, rows not in '{mapping_name}': {stray}"
        if index.numel() == 0:
            return True, ""
        passed, detail = inside(actual_rows[index], expected_rows[index], **run)
        return passed, f"{pool_name}, rows in '{mapping_name}': {detail}"

    name = f"mapped_pool_ratio_allclose({mapping_name}, {inside.__name__})"
    return _described(comparator, name, (rtol, atol, False), checks_nonfinite=True)


def topk_pair_compare(vals_name: str, *, dim: int = -1, descending: bool = True, max_show: int = 10) -> Comparator:
    """For the index output of a top-k: another index than the golden's is right where scores are tied.

    Where the indices differ, the kernel's own scores around that place must still be in order: a tie keeps
    the order, a worse candidate breaks it. The scores themselves are for the comparator of the score output.

    Args:
        vals_name: The output with the scores, of the same shape.
        dim: The dimension that is sorted.
        descending: Largest score first.
        max_show: Places listed on failure.
    """

    def comparator(actual: torch.Tensor, expected: torch.Tensor, **run: Any) -> tuple[bool, str]:
        if vals_name not in run["actual_outputs"]:
            return False, f"there is no output '{vals_name}' (outputs: {', '.join(run['actual_outputs'])})"
        scores = run["actual_outputs"][vals_name].cpu().double()
        if not actual.shape == expected.shape == scores.shape:
            return False, (
                f"shapes differ: indices {list(actual.shape)}, golden {list(expected.shape)}, "
                f"'{vals_name}' {list(scores.shape)}"
            )
        if not -actual.ndim <= dim < actual.ndim:
            return False, f"there is no dimension {dim} in shape {list(actual.shape)}"
        sorted_last = scores.movedim(dim, -1)
        left, right = sorted_last[..., :-1], sorted_last[..., 1:]
        broken = ~(left >= right if descending else left <= right)  # NaN is never in order
        suspect = torch.zeros(sorted_last.shape, dtype=torch.bool)
        suspect[..., :-1] |= broken
        suspect[..., 1:] |= broken
        wrong = (actual.cpu() != expected.cpu()) & suspect.movedim(-1, dim)
        places = wrong.nonzero().tolist()
        shown = "".join(
            f"\n    {tuple(place)}: index {int(actual[tuple(place)])}, golden {int(expected[tuple(place)])}, "
            f"score {float(scores[tuple(place)]):.6g}"
            for place in places[:max_show]
        )
        order = "descending" if descending else "ascending"
        return not places, f"{len(places)} other indices where '{vals_name}' is not {order}{shown}"

    return _described(comparator, f"topk_pair_compare({vals_name})", (0.0, 0.0, False), checks_nonfinite=True)


def error_distribution(
    diff_thds: Sequence[float] = (1e-3, 3e-3, 5e-3, 1e-2, 3e-2, 5e-2),
    quantiles: Sequence[float] = (0.5, 0.9, 0.99, 0.999, 0.9999, 1.0),
    always_pass: bool = True,
) -> Comparator:
    """Measure rather than judge: print how the error of an output is distributed, to choose a tolerance from.

    Prints the relative L2 error, the cosine similarity, the fraction of elements above each threshold (by
    `ratio_reldiff`'s difference), and quantiles of the relative error, the absolute error and the golden's
    magnitude.

    Args:
        diff_thds: The thresholds.
        quantiles: The quantiles, 0 to 1.
        always_pass: Never fail; if False, NaN or inf in the output fails.
    """

    def comparator(actual: torch.Tensor, expected: torch.Tensor, **_run: Any) -> tuple[bool, str]:
        a, e = actual.cpu().double().flatten(), expected.cpu().double().flatten()
        illegal = int((~torch.isfinite(a)).sum())
        detail = f"{illegal} of {a.numel()} elements are NaN or inf" if illegal else ""
        if detail:
            print(f"  {detail}")
        difference = (a - e).abs()
        relative_l2 = float(difference.norm() / e.norm().clamp_min(1e-12))
        cosine = float(torch.nn.functional.cosine_similarity(a, e, dim=0))
        print(f"  rel-L2 {relative_l2:.4%}  cosine {cosine:.7f}  elements {a.numel()}")
        for threshold in diff_thds:
            above = _relative_difference(a, e, threshold) > threshold
            print(f"  above {threshold:.0e}: {float(above.double().mean()):.4%}")
        _print_quantiles("rel error", difference / torch.maximum(a.abs(), e.abs()).clamp_min(1e-6), quantiles)
        _print_quantiles("abs error", difference, quantiles)
        _print_quantiles("|golden| ", e.abs(), quantiles)
        return always_pass or not illegal, detail

    return _described(comparator, "error_distribution", (None, None, False), checks_nonfinite=True)


# Pieces of the above.


def _described(
    comparator: Comparator,
    name: str,
    tolerance: tuple[float | None, float | None, bool],
    *,
    checks_nonfinite: bool = False,
    by_element: bool = False,
) -> Comparator:
    """Put on a comparator what `compare_outputs` and the sanitizers read from it.

    name: for messages; tolerance: (rtol, atol, bitwise) for the statistics, None for the run's;
    checks_nonfinite: it looks for NaN and inf itself; by_element: it holds each element of the tensor to its tolerance
    and looks at nothing else.
    """
    comparator.__name__ = name  # type: ignore[attr-defined]
    comparator.tolerance = tolerance  # type: ignore[attr-defined]
    comparator.checks_nonfinite = checks_nonfinite  # type: ignore[attr-defined]
    comparator.by_element = by_element  # type: ignore[attr-defined]
    return comparator


def _pairs(flat_indices: list[int], actual: torch.Tensor, expected: torch.Tensor) -> str:
    """A line for each place: index, the kernel's value, the golden's."""
    lines = []
    for flat in flat_indices:
        at = index_of(flat, actual.shape)
        lines.append(f"\n    {at}: {actual[at].item()!r}, golden {expected[at].item()!r}")
    return "".join(lines)


def _mismatch_text(error: OutputError, shown: list[int], actual: torch.Tensor, expected: torch.Tensor) -> str:
    if error.mismatched == 0:
        return ""
    return (
        f"{error.mismatched} of {error.total} elements outside {error.tolerance}; max abs error "
        f"{error.max_abs:.4g} at {error.worst}, max rel error {error.max_rel:.4g}; the first:"
        f"{_pairs(shown, actual, expected)}"
    )


def _changed_rows(actual: torch.Tensor, expected: torch.Tensor, allowed: torch.Tensor) -> str:
    """Empty if only the rows `allowed` (along dimension 0) differ in any bit, else what else does."""
    if actual.dtype != expected.dtype:
        return f"dtype {actual.dtype}, the golden has {expected.dtype}"
    changed = torch.zeros(actual.shape[0], dtype=torch.bool)
    if actual.numel():
        step = max(1, error_size.CHUNK * actual.shape[0] // actual.numel())
        for start in range(0, actual.shape[0], step):
            part = slice(start, start + step)
            if not same_bits(actual[part], expected[part]):
                differs = bits_differ(actual[part], expected[part])
                changed[part] = differs.flatten(1).any(1) if differs.ndim > 1 else differs
    changed[allowed] = False
    if not changed.any():
        return ""
    row = int(changed.nonzero()[0])
    elements = int(bits_differ(actual[row].reshape(-1), expected[row].reshape(-1)).sum())
    return (
        f"{int(changed.sum())} rows changed that must not be, the first is row {row} "
        f"({elements} of its {actual[row].numel()} elements)"
    )


def _mapping_problem(slots: torch.Tensor, rows: int, name: str, ranked: bool) -> str:
    """What is wrong with a slot mapping [ranks, slots] into `rows` rows a rank; "" if nothing is."""
    outside = ((slots < -1) | (slots >= rows)).nonzero().tolist()
    if outside:
        rank, item = outside[0]
        where = f"{rank}, {item}" if ranked else f"{item}"
        return f"'{name}'[{where}] is {int(slots[rank, item])}: must be -1 or a row in [0, {rows})"
    for rank, row_of in enumerate(slots):
        used, times = torch.unique(row_of[row_of >= 0], return_counts=True)
        if (times > 1).any():
            where = f" on rank {rank}" if ranked else ""
            return f"'{name}' names row {int(used[times > 1][0])} more than once{where}"
    return ""


def _valid_part(
    actual: torch.Tensor, expected: torch.Tensor, rows: int | None, axis: int, zero_tail: bool
) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Both tensors cut to `rows` entries along `axis`, and what is wrong with the rest of `actual`."""
    if rows is None:
        return actual, expected, ""
    length = actual.shape[axis]
    if not 0 <= rows <= length:
        return actual, expected, f"valid_rows={rows}, but dimension {axis} has {length} entries"
    left_over = int(actual.narrow(axis, rows, length - rows).count_nonzero()) if zero_tail else 0
    problem = f"{left_over} nonzero elements past the {rows} valid rows" if left_over else ""
    return actual.narrow(axis, 0, rows), expected.narrow(axis, 0, rows), problem


def _any_nonfinite(actual: torch.Tensor, expected: torch.Tensor) -> str:
    """Empty if every element of both is finite, else what is not."""
    found = nonfinite_text(actual, expected)
    if found:
        return found
    bad = int((~torch.isfinite(looked_at(expected))).sum()) if expected.is_floating_point() else 0
    return f"{bad} of {expected.numel()} elements of the golden are NaN or inf" if bad else ""


def _relative_difference(actual: torch.Tensor, expected: torch.Tensor, threshold: float) -> torch.Tensor:
    """The difference r of `ratio_reldiff`, FP64."""
    a, e = actual.double(), expected.double()
    gap = (a - e).abs()
    base = torch.maximum(a.abs(), e.abs()).clamp_min(REL_FLOOR / threshold) + 1e-9
    return torch.where(gap < threshold, gap, gap / base)


def _print_quantiles(label: str, values: torch.Tensor, quantiles: Sequence[float]) -> None:
    finite = values[torch.isfinite(values)].numpy()
    if finite.size == 0:
        print(f"  {label}: no finite values")
        return
    found = np.quantile(finite, list(quantiles))
    print(f"  {label}: " + "  ".join(f"p{100 * q:g}={v:.3g}" for q, v in zip(quantiles, found, strict=True)))


def _check_fraction(label: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{label} must be between 0 and 1, not {value}")


def _part(valid_rows: int | None) -> str:
    return "" if valid_rows is None else f", valid_rows={valid_rows}"
