"""What is certain of each local name where the lowering is: one record a name, parted and joined at ifs here alone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

T = TypeVar("T")

Shape = tuple[int | None, ...]
Valid = tuple[int | str, ...]  # extents, as they are written where they are no numbers; () for all of it
Axes = tuple[frozenset[int], frozenset[int]]
NOTHING: Axes = (frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class Value:
    """What a name holds. What is not certain is as it is here."""

    kind: str | None = None  # "scalar", "tensor", "task" or "any"
    origin: str = ""  # the pl operation that bound it last
    passed_on: str = ""  # the incore function that it was handed to as output
    array: str = ""  # of a pl.array: its element type
    of_extent: bool = False  # bound to pl.tensor.dim
    computed: bool = False  # computed from an extent
    narrowed: ast.expr | None = None  # of a window that only the run knows to be partly valid: how far
    # Of names that are bound once:
    source: ast.expr | None = None  # to what
    form: dict[str, float] | None = None  # a linear form of such names
    constant: bool = False  # to what PyPTO works out while it compiles
    unrolled: bool = False  # the variable of a pl.unroll, or an extent
    bits: int | None = None  # of the largest magnitude of an integer
    # Of loop variables:
    span: tuple[int | None, int | None] | None = None  # the bounds of its loop
    # Of numbers, tensors and tiles:
    scalar: str | None = None  # the element type of a number
    run_time: bool = False  # a number that differs from turn to turn, or is read from memory
    bounded: bool = False  # a number that a pl.min bounds
    level: str | None = None  # "tile" or "tensor"
    rank: int | None = None
    element: str | None = None
    shape: Shape | None = None  # None for an extent that is not certain
    valid: Valid | None = None  # what of it is valid
    parts: Axes = NOTHING  # see `Facts.valid_axes`
    product: bool = False  # a tile that is laid out as the cube made it
    space: str = ""  # the buffer that it lies in, where that is certain: "L0C" or "UB"


UNKNOWN = Value()
KEPT = ("kind", "origin", "passed_on", "array", "of_extent", "computed", "narrowed")  # at an if: from either arm
CERTAIN = tuple(f.name for f in fields(Value) if f.name not in KEPT)  # only what both arms say
TYPE = ("scalar", "run_time", "bounded", "level", "rank", "element", "shape", "valid", "parts", "product")


class Names:
    """The values of the local names of one function, in the order of its text."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        return self._values.get(name, UNKNOWN)

    def put(self, name: str, value: Value) -> None:
        """`name` is bound to `value`: nothing else is certain of it any more."""
        self._values[name] = value

    def note(self, name: str, **what: Any) -> None:
        """Something more is certain of a name."""
        self._values[name] = replace(self[name], **what)

    def kind_with(self, name: str, kind: str) -> str:
        """The kind of a name that holds a value of this kind, too."""
        return kind if self[name].kind in (None, kind) else "any"

    def begin_as(self, name: str, of: str) -> None:
        """A name that is not bound yet is bound to what another one holds, before a loop."""
        if self[name].kind is None:
            self.note(name, kind=self[of].kind or "any")

    def forget(self, names: Iterable[str], of_loop: bool = False) -> None:
        """Types are not certain any more; of a name that a loop binds again that of a number is."""
        nothing = {f: getattr(UNKNOWN, f) for f in TYPE if not (of_loop and f == "scalar")}
        for n in names:
            if n in self._values:
                self.note(n, **nothing)

    def written(self, names: Iterable[str]) -> None:
        """Something was assigned to windows of these: they keep their types and extents, not what is valid."""
        for n in names:
            if n in self._values:
                self.note(n, parts=NOTHING, product=False, valid=None if self[n].valid else self[n].valid)

    def arms(self, first: Callable[[], T], second: Callable[[], T]) -> tuple[T, T]:
        """What two arms of an if give: neither sees what the other binds, and after them holds what both leave."""
        before = dict(self._values)
        one = first()
        left, self._values = self._values, before
        two = second()
        for name in {**left, **self._values}:
            self._values[name] = _joined(left.get(name, UNKNOWN), self[name])
        return one, two


def _joined(one: Value, other: Value) -> Value:
    """What is certain after an if, of whose arms each leaves one of these."""
    if one is other:
        return one
    certain = {f: value for f in CERTAIN if (value := getattr(one, f)) == getattr(other, f)}
    kept = {f: getattr(other, f) or getattr(one, f) for f in KEPT[1:]}
    kinds = {one.kind, other.kind} - {None}
    return Value("any" if len(kinds) > 1 else next(iter(kinds), None), **kept, **certain)
