"""Scalars that differ from block to block, so that many blocks of one `pl.spmd` run as one.

Interpret mode runs the body of a `pl.spmd` once for a batch of blocks: the block index is then a `Lanes`,
an array with one value a block, and every scalar computed from it is one too. A tile loaded at an offset
that is a `Lanes` gets a leading block axis. Control flow needs one answer for all, so a `Lanes` used as a
condition or a loop bound raises `Diverged`, and the machine splits the batch by value and starts again.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable

import numpy as np


class Diverged(Exception):
    """Blocks of one batch disagree on a value that control flow or a shape needs. Carries the values."""

    def __init__(self, values: np.ndarray):
        super().__init__("blocks diverge")
        self.values = values


class Lanes:
    """One scalar a block; arithmetic and comparisons work block by block."""

    __slots__ = ("values",)
    __array_priority__ = 1000

    def __init__(self, values: np.ndarray):
        self.values = values

    def one(self) -> object:
        """The common value; `Diverged` when the blocks do not agree."""
        v = self.values
        if (v == v[0]).all():
            return v[0] if isinstance(v[0], np.floating) else v[0].item()
        raise Diverged(v)

    def __bool__(self) -> bool:
        return bool(self.one())

    def __index__(self) -> int:
        return int(self.one())

    __int__ = __index__

    def __float__(self) -> float:
        return float(self.one())

    def __repr__(self) -> str:
        return f"Lanes({self.values!r})"

    def __hash__(self) -> int:
        raise TypeError("a per-block scalar cannot be a key")


def _binary(fn: Callable, reverse: bool = False) -> Callable:
    def method(self: Lanes, other: object) -> object:
        b = other.values if type(other) is Lanes else other
        if not isinstance(b, (int, float, bool, np.ndarray, np.generic)):
            return NotImplemented
        out = fn(b, self.values) if reverse else fn(self.values, b)
        return Lanes(out)

    return method


for _name in ("add", "sub", "mul", "floordiv", "mod", "truediv", "lshift", "rshift"):
    setattr(Lanes, f"__{_name}__", _binary(getattr(operator, _name)))
    setattr(Lanes, f"__r{_name}__", _binary(getattr(operator, _name), reverse=True))
for _name in ("and", "or", "xor"):
    _fn = getattr(operator, f"__{_name}__")
    setattr(Lanes, f"__{_name}__", _binary(_fn))
    setattr(Lanes, f"__r{_name}__", _binary(_fn, reverse=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Lanes, f"__{_name}__", _binary(getattr(operator, _name)))
Lanes.__neg__ = lambda self: Lanes(-self.values)
Lanes.__invert__ = lambda self: Lanes(~self.values)
Lanes.__abs__ = lambda self: Lanes(np.abs(self.values))


def is_scalar(x: object) -> bool:
    """True for what `pl.Scalar` can be here: a Python or NumPy number, or a `Lanes`."""
    return isinstance(x, (int, float, Lanes, np.generic))


def each(fn: Callable, *args: object) -> object:
    """Apply a NumPy function to scalars, block by block where one is a `Lanes`."""
    if any(type(a) is Lanes for a in args):
        return Lanes(fn(*(a.values if type(a) is Lanes else a for a in args)))
    out = fn(*args)
    return out.item() if isinstance(out, np.generic) and not isinstance(out, np.floating) else out


def smaller(a: object, b: object) -> object:
    """min(a, b), block by block where needed."""
    if type(a) is Lanes or type(b) is Lanes:
        return each(np.minimum, a, b)
    return a if a <= b else b


def larger(a: object, b: object) -> object:
    """max(a, b), block by block where needed."""
    if type(a) is Lanes or type(b) is Lanes:
        return each(np.maximum, a, b)
    return a if a >= b else b


def counted(*bounds: object) -> Iterable[object]:
    """`pl.range(stop)`, `(start, stop)` or `(start, stop, step)`; bounds may differ from block to block.

    Blocks that make the same number of turns stay together, each with its own loop variable; otherwise `Diverged`.
    """
    if not any(type(b) is Lanes for b in bounds):
        return range(*bounds)
    start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    step = one(step)
    count = one(each(lambda a, b: np.maximum(0, -((a - b) // step)), start, stop))
    return (start + k * step for k in range(count))


def counted_turns(bounds: Iterable[object]) -> range:
    """The turns of a loop of orchestration: up or down, and none where the step is 0."""
    numbers = [int(one(b)) for b in bounds]
    return range(0) if len(numbers) == 3 and not numbers[2] else range(*numbers)


def settled(x: object) -> object:
    """A scalar; a `Lanes` that is the same for all blocks becomes that number."""
    if type(x) is Lanes and (x.values == x.values[0]).all():
        return x.values[0].item()
    return x


def one(x: object) -> object:
    """A scalar that must be the same for all blocks; `Diverged` otherwise."""
    return x.one() if type(x) is Lanes else x


def split_by(ids: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Block ids grouped by equal rows of `values`, groups in order of their first block."""
    groups: dict[bytes, list[int]] = {}
    for i, row in enumerate(values):
        groups.setdefault(row.tobytes(), []).append(i)
    return [ids[rows] for rows in groups.values()]
