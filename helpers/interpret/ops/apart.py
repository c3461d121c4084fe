"""Operations that read an operand while they write: their result takes a buffer of its own.

Source: what PyPTO declares for each operation (`not_inplace_safe`, `forbid_output_alias` in src/ir/op/tile_ops/*.cpp)
and what docs/en/dev/passes/33 says of casts that widen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from helpers.interpret.lanes import is_scalar
from helpers.interpret.machine import Machine
from helpers.interpret.source import Place
from helpers.interpret.values import Tile

ALL = (0, 1, 2, 3)  # operands, by their number

# Name of an operation -> operands that its result may not overwrite, scratch included where all are named.
OPERANDS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            "recip", "rsqrt", "fmod", "fmods", "ands", "ors", "xors", "prelu", "fillpad_expand", "concat", "transpose",
            "move", "extract", "mgather", "gather", "gatherb", "gather_mask", "gather_compare", "sort32", "mrgsort",
            "row_sum", "row_max", "row_min", "row_prod", "row_argmax", "row_argmin", "col_argmax", "col_argmin",
        ),
        ALL,
    ),
    **{
        f"{way}_expand{what}": (1,)
        for way in ("row", "col")
        for what in ("", "_add", "_sub", "_mul", "_div", "_max", "_min", "_expdif")
    },
    "row_expand_add": (1, 2),
    "sel": (0, 3),
    "sels": (0,),
}  # fmt: skip
WITH_A_NUMBER = {"and_": "ands", "or_": "ors", "xor": "xors"}


def apart(path: str, fn: Callable) -> Callable:
    """`fn`, the operation at a path below `pl`, with its result kept apart from what it may not overwrite."""
    name = path.rpartition(".")[2]
    if name == "cast":
        return _widening(fn)
    if name not in OPERANDS and name not in WITH_A_NUMBER:
        return fn

    @functools.wraps(fn)
    def made(m: Machine, at: Place, *args: Any, **named: Any) -> Any:
        which = OPERANDS.get(name, ())
        if name in WITH_A_NUMBER and len(args) > 1 and is_scalar(args[1]):
            which = ALL
        if not which or m.task is None:
            return fn(m, at, *args, **named)
        before = len(m.task.memory)
        out = fn(m, at, *args, **named)
        operands = [a for i, a in enumerate((*args, *named.values())) if i in which]
        _keep(m, out, operands, before, loads=which == ALL or not all(isinstance(a, Tile) for a in operands))
        return out

    return made


def _widening(fn: Callable) -> Callable:
    @functools.wraps(fn)
    def made(m: Machine, at: Place, *args: Any, **named: Any) -> Any:
        before = len(m.task.memory) if m.task is not None else 0
        out = fn(m, at, *args, **named)
        x = args[0] if args else named.get("input")
        if isinstance(out, Tile) and not is_scalar(x) and out.dtype.bits > x.dtype.bits:
            _keep(m, out, [x], before, loads=True)
        return out

    return made


def _keep(m: Machine, out: Any, operands: Iterable[Any], before: int, loads: bool) -> None:
    """Let the operands, and what the operation itself has made (`loads`), outlive the birth of its results."""
    results = [t.memory for t in (out if isinstance(out, tuple) else (out,)) if isinstance(t, Tile)]
    if not results:
        return
    held = [a.memory for a in operands if isinstance(a, Tile)]
    if loads:
        held += m.task.memory[before:]
    for memory in held:
        if not any(memory is r for r in results):
            memory.last = m.clock
