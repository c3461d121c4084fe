"""What rounding explains of an error: each element is judged by itself, by the spacing of its type where it lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from golden.compare import Comparator

ROUNDING = 4  # errors of up to this many times the distance of neighbours, at the golden's value, may be rounding
CHUNK = 1 << 22  # elements looked at together


def apart(a: float, b: float) -> tuple[str, str]:
    """Two values as text, in three digits or the fewest that tell them apart: further ones are a machine's own."""
    if not isinstance(a, float):
        return str(a), str(b)
    texts = [(f"{a:.{digits}g}", f"{b:.{digits}g}") for digits in range(3, 18)]
    return next((both for both in texts if both[0] != both[1]), texts[0])


@dataclass(frozen=True)
class Outside:
    """The elements of an output that its tolerance does not take.

    Attributes:
        count: How many.
        beyond: The flat numbers of those whose error rounding does not explain where they are, ascending.
        worst: Index of the one of these whose error is the largest; None where rounding explains all of them.
        spacings: The largest error of those that it explains, in spacings.
    """

    count: int
    beyond: torch.Tensor
    worst: tuple[int, ...] | None
    spacings: float


def outside(
    actual: torch.Tensor, expected: torch.Tensor, comparator: Comparator, rtol: float, atol: float
) -> Outside | None:
    """Which elements of an output are outside a comparator's tolerance, and which of those rounding does not explain.

    Args:
        comparator: What judged the output.
        rtol, atol: Of the run, for a comparator that has none of its own.

    Returns:
        None for a comparator that looks at more than each element by itself: nothing is explained then.
    """
    if not getattr(comparator, "by_element", False) or actual.shape != expected.shape:
        return None
    own_rtol, own_atol, _ = comparator.tolerance
    rtol, atol = rtol if own_rtol is None else own_rtol, atol if own_atol is None else own_atol
    a_all, e_all = actual.reshape(-1), expected.reshape(-1)
    found, count, explained, most, worst = [], 0, 0.0, -1.0, 0
    for start in range(0, a_all.numel(), CHUNK):
        a, e = a_all[start : start + CHUNK].double(), e_all[start : start + CHUNK].double()
        gap = torch.where(a == e, 0.0, (a - e).abs()).nan_to_num(nan=math.inf, posinf=math.inf)
        at = ((gap > 0) & ~((gap <= atol + rtol * e.abs()) & torch.isfinite(gap))).nonzero().flatten()
        if not at.numel():
            continue
        many = gap[at] / spacing(e[at], actual.dtype)  # infinite where the spacing is zero
        bad = ~(many <= ROUNDING)
        count += at.numel()
        if not bad.all():
            explained = max(explained, float(many[~bad].max()))
        if bad.any():
            found.append(start + at[bad])
            if float(gap[at][bad].max()) > most:
                most, worst = float(gap[at][bad].max()), int(found[-1][gap[at][bad].argmax()])
    beyond = torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)
    where = tuple(int(i) for i in np.unravel_index(worst, tuple(actual.shape))) if found else None
    return Outside(count, beyond, where, explained)


def spacing(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The distance of neighbours in a type at each value, FP64; 0 in a type of integers, and of what is not finite."""
    if not dtype.is_floating_point:
        return torch.zeros_like(values)
    info = torch.finfo(dtype)
    size = values.abs().nan_to_num(nan=0.0, posinf=0.0).clamp_min(info.tiny)
    return torch.where(
        torch.isfinite(values), torch.ldexp(torch.ones_like(size), torch.frexp(size).exponent - 1) * info.eps, 0.0
    )
