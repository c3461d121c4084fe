"""Numbers as the device computes them: integers that wrap at their width, quotients cut toward zero.

Source: PyPTO src/codegen/pto/pto_scalar_expr_codegen.cpp (regions: `arith.divsi`, `arith.remsi`, `arith.muli` ...,
of which ptoas makes C++ of fixed width: PTOToEmitC.cpp, an index is an int64_t) and src/codegen/codegen_base.cpp
(orchestration: C++ on both operands cast to the type of the result). What PyPTO works out while it compiles, of
numbers that it knows, is Python's: `lowering.numbers` keeps that apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from helpers.interpret.language.dtypes import DType
from helpers.interpret.source.source import Place
from helpers.interpret.values.lanes import Lanes


def wrapped(x: Any, bits: int, signed: bool) -> Any:
    """An integer reduced to a width, two's complement; anything else as it is."""
    if type(x) is Lanes:
        return Lanes(_wrapped_array(x.values, bits, signed)) if x.values.dtype.kind in "iu" else x
    if type(x) is not int:
        return x
    half = 1 << (bits - 1)
    if signed:
        return x if -half <= x < half else ((x + half) & ((1 << bits) - 1)) - half
    return x & ((1 << bits) - 1)


def _wrapped_array(x: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    if bits == 64:
        return x
    mask = (1 << bits) - 1
    x = x & mask
    return np.where(x >> (bits - 1), x - (mask + 1), x) if signed else x


def width(dtype: DType) -> tuple[int, bool]:
    """(bits, signed) of an integer type."""
    return dtype.bits, not dtype.name.startswith("U")


def whole(x: Any, dtype: DType) -> Any:
    """A number as an operand of an instruction on integers of `dtype`: whole, and wrapped."""
    if type(x) is Lanes:
        x = Lanes(x.values.astype(np.int64))
    else:
        x = int(x)
    return wrapped(x, *width(dtype))


def quotient(m: Any, at: Place, a: Any, b: Any) -> Any:
    """`a // b`: of integers cut toward zero; of floats not cut at all (`arith.divf`).

    Raises:
        FaultError: an integer is divided by zero, which has no value on the device.
    """
    if type(a) is int and type(b) is int:
        if a >= 0 and b > 0:
            return a // b
        if b == 0:
            return _by_zero(m, at, f"{a} // 0")
        cut = abs(a) // abs(b)
        return cut if (a < 0) == (b < 0) else -cut
    x, y = _sides(a, b)
    if x.dtype.kind == "f" or y.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return _back(np.divide(x, y, dtype=np.float32), a, b)
    if (m.masks.ours(y) == 0).any():
        return _by_zero(m, at, f"{_shown(a)} // {_shown(b)}")
    with np.errstate(over="ignore", divide="ignore"):  # the smallest number by -1; a block that takes no part
        down = x // y
    return _back(down + ((down * y != x) & ((x < 0) != (y < 0))), a, b)


def remainder(m: Any, at: Place, a: Any, b: Any) -> Any:
    """`a % b`: with the sign of the dividend.

    Raises:
        FaultError: an integer is divided by zero.
    """
    if type(a) is int and type(b) is int:
        if a >= 0 and b > 0:
            return a % b
        if b == 0:
            return _by_zero(m, at, f"{a} % 0")
        rest = abs(a) % abs(b)
        return -rest if a < 0 else rest
    x, y = _sides(a, b)
    if x.dtype.kind == "f" or y.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return _back(np.fmod(x, y, dtype=np.float32), a, b)
    if (m.masks.ours(y) == 0).any():
        return _by_zero(m, at, f"{_shown(a)} % {_shown(b)}")
    with np.errstate(divide="ignore"):
        return _back(np.fmod(x, y), a, b)


def _by_zero(m: Any, at: Place, what: str) -> int:
    if m.now.dry:  # the divisor is an element that nothing computed
        return 0
    raise m.fault(at, f"{what}: a division by zero", "an if around it, or pl.max(n, 1)")


def shifted(m: Any, at: Place, a: Any, by: Any, bits: int, left: bool) -> Any:
    """`a << by` and `a >> by` in a type of `bits`; the left one is to be wrapped.

    Raises:
        FaultError: the number of places is negative or not below `bits`, of which C++ has no value.
    """
    x, n = _sides(a, by)
    if (m.masks.ours(n) < 0).any() or (m.masks.ours(n) >= bits).any():
        raise m.fault(at, f"a shift by {_shown(by)} places of a number of {bits} bits", f"0 to {bits - 1} places")
    if type(a) is not Lanes and type(by) is not Lanes:
        return int(a) << int(by) if left else int(a) >> int(by)
    return _back(x << n if left else x >> n, a, by)


def unequal(a: Any, b: Any) -> Any:
    """`a != b` of floats in a region, where NaN is unequal to nothing (`arith.cmpf one`)."""
    return (a < b) | (a > b)


def smaller(a: Any, b: Any) -> Any:
    """`pl.min`: NaN where one of the numbers is (`arith.minimumf`)."""
    return _extreme(np.minimum, a, b)


def larger(a: Any, b: Any) -> Any:
    """`pl.max`: NaN where one of the numbers is (`arith.maximumf`)."""
    return _extreme(np.maximum, a, b)


def _extreme(fn: Any, a: Any, b: Any) -> Any:
    if type(a) is int and type(b) is int:
        return (a if a <= b else b) if fn is np.minimum else (a if a >= b else b)
    return _back(fn(*_sides(a, b)), a, b)


def cast(m: Any, at: Place, x: Any, d: DType) -> Any:
    """A number as one of type `d`: integers wrap, floats are cut toward zero.

    Raises:
        FaultError: a float has no value of that type: C++ says nothing about it, and machines differ.
    """
    values = x.values if type(x) is Lanes else np.asarray(x)
    if d.is_float:
        out = rounded(values.astype(np.float32), d)
    elif values.dtype.kind == "f":
        bits, signed = width(d)
        low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1)) if signed else (0.0, 2.0**bits)
        whole = np.trunc(values.astype(np.float64))
        if not m.masks.ours((whole >= low) & (whole < high)).all():
            raise m.fault(
                at, f"pl.cast of {_shown(x)} to {d}, which cannot hold it",
                "pl.min and pl.max first, or pl.cast the tile: that saturates",
            )  # fmt: skip
        out = whole.astype(np.uint64).astype(np.int64) if bits == 64 and not signed else whole.astype(np.int64)
    else:
        out = values.astype(np.int64)
        return wrapped(_back(out, x), *width(d))
    return _back(out, x)


def rounded(x: np.ndarray, d: DType) -> np.ndarray:
    """FP32 values rounded to the float type `d`, in FP32."""
    if d.bits == 32:
        return x
    return torch.as_tensor(np.asarray(x)).to(d.torch).float().numpy()


def _sides(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.asarray(v.values if type(v) is Lanes else v) for v in (a, b))


def _back(out: np.ndarray, *given: Any) -> Any:
    """An array as what it was computed from: one number a block, or a number."""
    if any(type(v) is Lanes for v in given):
        return Lanes(out)
    return np.float32(out) if out.dtype.kind == "f" else int(out)


def _shown(x: Any) -> str:
    """A number in an error; of several blocks the first few."""
    if type(x) is not Lanes:
        return str(x)
    return ", ".join(str(v) for v in x.values[:4].tolist()) + (", ..." if len(x.values) > 4 else "")
