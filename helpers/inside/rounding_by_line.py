"""What each line's rounding costs: a task done again in FP64, with the rounding of one line at a time.

The recorded operations are done in FP64 on what the task loaded. That gives the error of everything the task stored.
Then, line by line, the rounding errors of that line alone are put in: what comes out at the end is the line's part of
the error. Rounding errors are as good as independent, so the parts add up as squares do. Operations that choose,
sort, gather or make integers keep the values that they had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from helpers.inside.opened import Inside
from helpers.interpret.language.dtypes import BY_NAME
from helpers.interpret.values.seen import Moment, Seen

STORES = {"x[...] = y": 2, "assemble": 1, "store": 0}  # operation -> the operand that is stored
SAME = {"fillpad", "set_validshape", "move", "reshape", "no_dep", "aiv_shard"}  # operations that move elements only

BINARY: dict[str, Callable] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "max": torch.maximum, "min": torch.minimum,
    "maximum": torch.maximum, "minimum": torch.minimum, "expdif": lambda x, y: torch.exp(x - y),
}  # fmt: skip
UNARY: dict[str, Callable] = {
    "exp": torch.exp, "log": torch.log, "sin": torch.sin, "cos": torch.cos, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt,
    "recip": torch.reciprocal, "neg": torch.neg, "abs": torch.abs, "relu": torch.relu, "cast": lambda x: x,
}  # fmt: skip
FOLDS: dict[str, Callable] = {
    "sum": lambda x, d: x.sum(d, keepdim=True), "max": lambda x, d: x.amax(d, keepdim=True),
    "min": lambda x, d: x.amin(d, keepdim=True), "prod": lambda x, d: x.prod(d, keepdim=True),
}  # fmt: skip


@dataclass(frozen=True)
class Price:
    """What the rounding of one line costs.

    Attributes:
        line, code: Where.
        dtype: The narrowest type that its results have.
        ulps: The largest error that an operation of the line adds itself, in spacings of its type at the value.
        error: The root mean square of its part of the error of what the task stored.
        share: Its part of the sum of squares of all lines, 0 to 1.
        wide: What is left of `error` if its results that are narrower than FP32 were FP32.
    """

    line: int
    code: str
    dtype: str
    ulps: float
    error: float
    share: float
    wide: float = 0.0


@dataclass(frozen=True)
class Rounding:
    """The prices of a task's lines, the dearest first, and the error of what it stored: root mean squares.

    `measured`: against the same operations in FP64. `added`: of the lines' parts together. `kept`: operations that are
    not done again, and so have no price. `largest`: the most that an element is off by; a tolerance below that fails
    for the rounding of this task alone.
    """

    measured: float
    added: float
    prices: tuple[Price, ...]
    kept: tuple[str, ...]
    largest: float = 0.0

    def without(self, line: int) -> float:
        """The error that is predicted if a line did not round at all."""
        return self.measured * max(0.0, 1 - sum(p.share for p in self.prices if p.line == line)) ** 0.5

    def in_fp32(self, line: int) -> float:
        """The error that is predicted if what a line makes were FP32 where it is narrower: `redone` does it."""
        left = sum(p.wide**2 for p in self.prices if p.line == line)
        return (self.without(line) ** 2 + left) ** 0.5

    def __repr__(self) -> str:
        off = f"what the task stored is off by {self.measured:.3g} (root mean square), {self.largest:.3g} at most"
        rows = [f"{off}; its lines, added up: {self.added:.3g}"]
        rows += [
            f"  {p.share:6.1%}  {p.error:9.3g}  {p.ulps:8.3g} ULP of {p.dtype:<5} line {p.line}: {p.code}"
            for p in self.prices if p.share >= 0.001
        ]  # fmt: skip
        if self.kept:
            rows.append(f"  without a price: {', '.join(self.kept)}")
        return "\n".join(rows)


def rounding(opened: Inside) -> Rounding:
    """What the rounding of each line of an opened task costs."""
    own: dict[int, torch.Tensor] = {}  # number of a moment -> what its result is off by, itself
    values: dict[int, torch.Tensor] = {}
    exact = _stored(opened.moments, own, {}, values=values)
    lines: dict[int, list[int]] = {}
    for i, error in own.items():
        if bool(error.count_nonzero()):
            lines.setdefault(opened[i].place.line, []).append(i)
    outputs = [i for i in exact if exact[i] is not None]
    actual = {i: _source(opened[i]).data.double() for i in outputs}
    measured = _rms([actual[i] - exact[i] for i in outputs])
    parts = {}
    for line, numbers in lines.items():
        with_it = _stored(opened.moments, None, {i: own[i] for i in numbers}, before=values)
        parts[line] = _rms([with_it[i] - exact[i] for i in outputs])
    squares = sum(p * p for p in parts.values())

    def wide(line: int) -> float:
        numbers = [i for i in lines[line] if BY_NAME[opened[i].result.dtype].bits >= 32]
        if len(numbers) == len(lines[line]):
            return parts[line]
        with_it = _stored(opened.moments, None, {i: own[i] for i in numbers}, before=values) if numbers else exact
        return _rms([with_it[i] - exact[i] for i in outputs])

    prices = [
        Price(
            line, opened[numbers[0]].place.code.strip(), _narrowest(opened, numbers),
            max(_ulps(opened[i].result, own[i]) for i in numbers), parts[line],
            parts[line] ** 2 / squares if squares else 0.0, wide(line),
        )
        for line, numbers in lines.items()
    ]  # fmt: skip
    kept = dict.fromkeys(
        m.operation for i, m in enumerate(opened.moments) if i not in own and m.operation not in SAME and _rounds(m)
    )
    largest = max((float((actual[i] - exact[i]).abs().max()) for i in outputs if actual[i].numel()), default=0.0)
    return Rounding(measured, squares**0.5, tuple(sorted(prices, key=lambda p: -p.error)), tuple(kept), largest)


def own_errors(opened: Inside) -> dict[int, float]:
    """By line, the largest error that an operation of it adds itself, in spacings of its type at the value (ULPs)."""
    own: dict[int, torch.Tensor] = {}
    _stored(opened.moments, own, {})
    out: dict[int, float] = {}
    for i, error in own.items():
        line = opened[i].place.line
        out[line] = max(out.get(line, 0.0), _ulps(opened[i].result, error))
    return out


def redone(opened: Inside, fp32: int | None = None) -> float:
    """What the task would store is off by (root mean square), with every operation done again and rounded to its type.

    Args:
        fp32: A line whose results are rounded to FP32 in place of their own type: "what if this cast were FP32".
    """
    exact = _stored(opened.moments, None, {})

    def rounded(i: int, value: torch.Tensor) -> torch.Tensor:
        m = opened[i]
        wide = m.place.line == fp32 and BY_NAME[m.result.dtype].bits < 32
        return value.to(torch.float32 if wide else BY_NAME[m.result.dtype].torch).double()

    found = _stored(opened.moments, None, {}, rounded)
    return _rms([found[i] - exact[i] for i in exact if exact[i] is not None and i in found])


def _stored(
    moments: list[Moment], own: dict[int, torch.Tensor] | None, given: dict[int, torch.Tensor],
    rounded: Callable[[int, torch.Tensor], torch.Tensor] = lambda i, value: value,
    values: dict[int, torch.Tensor] | None = None, before: Mapping[int, torch.Tensor] | None = None,
) -> dict[int, torch.Tensor]:  # fmt: skip
    """By the number of each store what is stored when all is done in FP64.

    Args:
        own: Filled with what each operation is off by, on the operands that it had.
        given: Errors that are added to the results of these moments.
        rounded: What becomes of the result of a moment, by its number.
        values: Filled with all that is made, in FP64, by the id of what was seen.
        before: The `values` of a pass with no errors given: what does not depend on those given now is taken from it.
    """
    known: dict[int, torch.Tensor] = {} if values is None else values
    differ: set[int] = set()  # ids of what is not as it was before
    out: dict[int, torch.Tensor] = {}

    def exact(x: Any) -> Any:
        if not isinstance(x, Seen):
            return x
        return known.get(id(x), None if x.data is None else x.data.double())

    def had(x: Any) -> Any:
        return x.data.double() if isinstance(x, Seen) and x.data is not None else x

    for i, m in enumerate(moments):
        name = m.operation.rpartition(".")[2]
        if m.operation in STORES or name in STORES:
            source = _source(m)
            if isinstance(source, Seen) and source.data is not None:
                out[i] = exact(source)
            continue
        result = m.result
        if not (isinstance(result, Seen) and result.kind == "tile" and result.data is not None):
            continue
        if before is not None and i not in given and not any(id(o) in differ for o in _operands(m)):
            if id(result) in before:
                known[id(result)] = before[id(result)]
            continue
        differ.add(id(result))
        value = _done(m, name, exact)
        if value is None or not result.data.is_floating_point():
            continue
        if own is not None:
            alone = _done(m, name, had)
            if alone is not None and name not in SAME:
                own[i] = result.data.double() - alone
        if i in given:
            value = value + given[i]
        known[id(result)] = rounded(i, value)
    return out


def _operands(m: Moment) -> list[Any]:
    """What an operation took, the values of those that are named in place of the pairs."""
    return [o[1] if isinstance(o, tuple) and len(o) == 2 and isinstance(o[0], str) else o for o in m.operands]


def _done(m: Moment, name: str, of: Callable[[Any], Any]) -> torch.Tensor | None:
    """An operation on FP64; None for one that is not done again."""
    operands = [o for o in m.operands if not (isinstance(o, tuple) and len(o) == 2 and isinstance(o[0], str))]
    named = {o[0]: o[1] for o in m.operands if isinstance(o, tuple) and len(o) == 2 and isinstance(o[0], str)}
    shape = tuple(m.result.data.shape)
    values = [of(o) for o in operands]
    try:
        value = _value(name, values, named, operands)
    except (RuntimeError, IndexError, TypeError):
        return None  # operands whose valid parts differ, for example
    if value is None:
        return None
    if tuple(value.shape) != shape:
        if name not in SAME or value.dim() != len(shape) or any(a > b for a, b in zip(value.shape, shape)):
            return value.reshape(shape) if value.numel() == m.result.data.numel() else None
        whole = m.result.data.double().clone()
        whole[tuple(slice(0, n) for n in value.shape)] = value
        return whole
    return value


def _value(name: str, values: list, named: dict[str, Any], operands: list) -> torch.Tensor | None:
    if not values or not isinstance(values[0], torch.Tensor):
        return None
    plain = name.rstrip("_")
    if plain in BINARY or (plain.endswith("s") and plain[:-1] in BINARY):
        fn, y = BINARY.get(plain) or BINARY[plain[:-1]], values[1]
        return fn(values[0], y if isinstance(y, torch.Tensor) else torch.tensor(float(y), dtype=torch.float64))
    if plain in UNARY:
        return UNARY[plain](values[0])
    axis, _, what = plain.partition("_")
    if axis in ("row", "col") and what in FOLDS:
        return FOLDS[what](values[0], -1 if axis == "row" else -2)
    if axis in ("row", "col") and what.startswith("expand_") and what[7:] in BINARY:
        return BINARY[what[7:]](values[0], values[1])
    if plain in ("row_expand", "col_expand"):
        return values[1].expand(values[0].shape).clone()
    if plain in ("matmul", "batch_matmul"):
        return _product(values[0], values[1], values[3:5], named)
    if plain in ("matmul_acc", "batch_matmul_acc"):
        product = _product(values[1], values[2], values[3:5], named)
        begins = bool(named.get("init_cond", values[5] if len(values) > 5 else False))
        return product if begins else values[0] + product
    if name == "x[...]" and isinstance(operands[0], Seen) and operands[0].kind == "tile":
        return values[0][tuple(i if isinstance(i, slice) else int(i) for i in operands[1])].clone()
    if plain == "slice" and isinstance(operands[0], Seen) and operands[0].kind == "tile":
        shape, offset = named.get("shape", values[1:2] and values[1]), named.get("offset", values[2:3] and values[2])
        return values[0][tuple(slice(int(o), int(o) + int(n)) for o, n in zip(offset, shape))].clone()
    return values[0].clone() if plain in SAME else None


def _product(x: torch.Tensor, y: torch.Tensor, flags: list, named: dict[str, Any]) -> torch.Tensor:
    a, b = (*flags, False, False)[:2]
    x = x.transpose(-1, -2) if named.get("a_trans", a) else x
    y = y.transpose(-1, -2) if named.get("b_trans", b) else y
    return x @ y


def _source(m: Moment) -> Any:
    """What a store stores."""
    where = STORES.get(m.operation, STORES.get(m.operation.rpartition(".")[2]))
    given = [o for o in m.operands if not (isinstance(o, tuple) and len(o) == 2 and isinstance(o[0], str))]
    tiles = [o for o in given if isinstance(o, Seen) and o.kind == "tile"]
    return given[where] if where < len(given) and isinstance(given[where], Seen) else tiles[-1] if tiles else None


def _rounds(m: Moment) -> bool:
    r = m.result
    made = isinstance(r, Seen) and r.kind == "tile" and r.data is not None and r.data.is_floating_point()
    return made and m.operation not in ("x[...]",) and any(isinstance(o, Seen) and o.kind == "tile" for o in m.operands)


def _rms(errors: list[torch.Tensor]) -> float:
    """The root mean square of all these elements, those that are finite."""
    total = count = 0.0
    for e in errors:
        finite = e[e.isfinite()]
        total += float(finite.square().sum())
        count += finite.numel()
    return (total / count) ** 0.5 if count else 0.0


def _ulps(seen: Seen, error: torch.Tensor) -> float:
    """The largest error in spacings of the type at the value."""
    known = BY_NAME[seen.dtype].torch
    info = torch.finfo(known)
    value = seen.data.double().abs().clamp(min=info.tiny)
    spacing = torch.exp2(torch.floor(torch.log2(value))) * info.eps
    found = (error.abs() / spacing)[error.isfinite()]
    return float(found.max()) if found.numel() else 0.0


def _narrowest(opened: Inside, numbers: list[int]) -> str:
    kinds = [opened[i].result.dtype for i in numbers]
    return min(kinds, key=lambda d: BY_NAME[d].bits)
