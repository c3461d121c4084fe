"""What may not happen along the axis that `pl.split` halves between the two vector cores of a cluster.

Each core runs the vector half of a mixed region on its half of every tile: the upper or lower rows (UP_DOWN), the left
or right columns (LEFT_RIGHT). What reduces, generates, transposes or indexes along that axis would take a half for the
whole. Source: src/ir/transforms/lower_auto_vector_split_pass.cpp, expand_mixed_kernel_pass.cpp and
utils/split_axis_utils.cpp; but PyPTO takes what indexes, and each core counts from where its own half begins.

Tiles of more than two axes have two there: all but the last are rows. A region without a product is not split, so what
is found is kept until the task is over (`Task.misuse`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from helpers.interpret.language.operation import Operation
from helpers.interpret.machine.machine import Machine
from helpers.interpret.machine.now import SPLIT_AXES
from helpers.interpret.source.source import Place
from helpers.interpret.values.values import Tensor, Tile

ROWS, COLUMNS = 0, 1
NAMES = ("rows", "columns")
ELSEWHERE = "do it in a region of its own, or without pl.split"

REDUCES = {f"{way}_{x}": axis for way, axis in (("row", COLUMNS), ("col", ROWS))
           for x in ("sum", "max", "min", "prod", "argmax", "argmin")}  # fmt: skip
FLAT = ("tile.gather", "tile.scatter")  # these count the elements of a tile, row by row
INDEXED = ("read", "write", "gatherb", "scatter_update", "gather_compare")


def watched(operation: Operation, path: str) -> Callable:
    """What computes an operation at a path below `pl`, which notes where it works along the axis that is halved, and
    tells who looks on (`values.seen`)."""
    fn, name = operation.compute, operation.name
    shape = list(operation.signatures[path].parameters).index("shape") if operation.fills == "counted" else None

    @functools.wraps(fn)
    def made(m: Machine, at: Place, *args: Any, **named: Any) -> Any:
        if m.now.looking is not None:
            return m.now.looking.through(m, path, at, done, args, named)
        if m.now.task is None:
            return fn(m, at, *args, **named)
        out = fn(m, at, *args, **named) if m.now.task.axis is None else done(m, at, *args, **named)
        m.now.task.events.append(None)  # what it touched and no instruction of it read is of no account
        return out

    def done(m: Machine, at: Place, *args: Any, **named: Any) -> Any:
        if m.now.task is None or m.now.task.axis is None:
            return fn(m, at, *args, **named)
        _check(m, at, path, name, shape, args, named)
        out = fn(m, at, *args, **named)
        if name != "reshape":
            _follow(m, (*args, *named.values()), out)
        return out

    return made


def _check(m: Machine, at: Place, path: str, name: str, where: int | None, args: tuple, named: dict) -> None:
    x = args[0] if args else None
    axis = halved(m, x)
    if name in REDUCES and REDUCES[name] == (m.now.task.axis if axis is None else axis):
        _note(m, at, f"pl.{name} of {x}", REDUCES[name], "reduces the")
    elif where is not None:
        shape = args[where] if len(args) > where else named["shape"]
        if len(shape) > 1 and _extents(tuple(shape))[m.now.task.axis] != 1:
            _note(m, at, f"pl.{name} of {list(shape)}", m.now.task.axis, "counts along the")
    elif name == "transpose" and type(x) is Tile and _extents(x.shape)[m.now.task.axis] != 1:
        _note(m, at, f"pl.transpose of {x}", m.now.task.axis, "turns the")
    elif type(x) is Tile and axis is not None and (name in INDEXED or path in FLAT):
        _note(m, at, f"pl.{name} of {x}", axis, "counts along the")
    elif name == "gather" and axis is not None:
        dim = args[1] if len(args) > 1 else named.get("dim")
        if dim is not None and axis == (COLUMNS if dim in (-1, len(x.shape) - 1) else ROWS):
            _note(m, at, f"pl.gather of {x}", axis, "counts along the")
    elif name in ("concat", "mrgsort", "scatter") and axis == COLUMNS:
        _note(m, at, f"pl.{name} of {x}", axis, "joins the")


def _follow(m: Machine, values: tuple, out: Any) -> None:
    """A result is halved as its first halved operand is."""
    first = next((v for v in values if type(v) is Tile and halved(m, v) is not None), None)
    for t in out if isinstance(out, tuple) else (out,):
        if first is not None and type(t) is Tile and t.turned is None:
            t.turned = first.turned


def _extents(shape: tuple[int, ...]) -> tuple[int, int]:
    return math.prod(shape[:-1]), shape[-1]


def _in_ub(x: Tile) -> bool:
    return x.memory.space in ("UB", "")


def halved(m: Machine, x: Any) -> int | None:
    """The axis along which each vector core has one half of `x`; None where each has all of it."""
    if m.now.task is None or m.now.task.axis is None or not isinstance(x, (Tensor, Tile)):
        return None
    turned = x.turned if type(x) is Tile else None
    if turned is None and len(x.shape) < 2:
        return None
    axis = m.now.task.axis if turned is None else turned
    return axis if _extents(x.shape)[axis] != 1 else None


def _note(m: Machine, at: Place, what: str, axis: int, does: str, fix: str = ELSEWHERE) -> None:
    """Remember the first thing that is wrong in this task, which counts when it turns out to use both units."""
    if m.now.task.misuse is None:
        mode = next(mode for mode, a in SPLIT_AXES.items() if a == m.now.task.axis)
        where = (
            f"{does} {NAMES[axis]} that the pl.split({mode}) of this region halves: each of two vector cores has half"
        )
        m.now.task.misuse = m.fault(at, f"{what} {where}", fix)


def reshaped(m: Machine, at: Place, x: Tile, out: Tile) -> None:
    """`out` is `x` under another shape: the half of each core has to be a half of that, too."""
    axis = halved(m, x)
    if axis is None or not _in_ub(x):
        return
    found = _moved(_extents(x.shape), _extents(out.shape), axis)
    if found is None:
        _note(m, at, f"pl.reshape of {x} to {list(out.shape)}", axis, "breaks up the")
    out.turned = found


def _moved(have: tuple[int, int], new: tuple[int, int], axis: int) -> int | None:
    """The axis of `new` that is halved where `axis` of `have` is; None when none is."""
    if have[axis] % 2:
        return axis if new[axis] != 1 else None
    if axis == COLUMNS and have[ROWS] != 1:  # PyPTO halves the columns of `new`, which are others
        return axis if have == new else None
    half = math.prod(have) // 2
    if new[ROWS] % 2 == 0 and new[ROWS] // 2 * new[COLUMNS] == half:
        return ROWS
    return COLUMNS if new[ROWS] == 1 and new[COLUMNS] % 2 == 0 and new[COLUMNS] // 2 == half else None


def check_part(m: Machine, at: Place, what: str, x: Tile, shape: tuple[int, ...]) -> None:
    """A part of a tile, where each core would count from the beginning of its own half."""
    axis = halved(m, x)
    if axis is not None and _in_ub(x) and _extents(shape)[axis] != _extents(x.shape)[axis]:
        _note(m, at, f"{what} {x}", axis, "picks some of the", "slice the tensor in place of the tile")


def check_handed(m: Machine, at: Place, x: Tile) -> None:
    """A tile that goes to the cube is put together from two halves."""
    if m.now.task.axis is None:
        return
    axis = halved(m, x)
    if axis is None:
        _note(m, at, f"{x} is an operand of the cube and", m.now.task.axis, "has none of the")
    elif _extents(x.shape)[axis] % 2:
        _note(m, at, f"{x} is an operand of the cube and", axis, "has an odd number of the")
