"""The operations of `pl`, by path (`OPS`), and by what is declared of them (the sets that the checks ask).

A module here declares operations (`common.op`) beside the functions that compute them.
"""

from __future__ import annotations

from collections.abc import Callable

from helpers.interpret.language.operation import Operation, Types
from helpers.interpret.language.pl_names import DIRECTIVES
from helpers.interpret.ops import (
    cube,
    elements,
    elementwise,
    gather,
    movement,
    reduce,
    scatter,
    select,
    shapes,
    sort,
    system,
    views,
)
from helpers.interpret.ops.common import OPS


def _names(which: Callable[[Operation], bool]) -> frozenset[str]:
    return frozenset(o.name for o in OPS.values() if which(o))


def _paths(which: Callable[[str, Operation], bool]) -> frozenset[str]:
    return frozenset(p for p, o in OPS.items() if which(p, o))


# By name, without the namespace.
CREATES = _names(lambda o: o.creates)
CUBE = _names(lambda o: o.unit == "cube")
ELEMENTWISE = _names(lambda o: o.result.shape == "both")
FILLS = _names(lambda o: o.fills)
FOLDS = _names(lambda o: o.result.shape == "fold")
NUMBER_SECOND = _names(lambda o: o.number_second)
SAME_LAYOUT = _names(lambda o: o.result.layout)
SAME_NUMBER = _names(lambda o: o.same_number)
SAME_SHAPE = _names(lambda o: o.result.shape == "first")
SAME_TYPE = _names(lambda o: o.result.type)
SHAPED = _names(lambda o: o.result.shape == "written")
TAKES_TENSORS = _names(lambda o: o.tensors)
TILES_ONLY = _names(lambda o: o.tiles_only)
UNARY = _names(lambda o: o.result.valid == "first")
VECTOR = _names(lambda o: o.unit == "vector")
WHOLE = _names(lambda o: o.result.valid == "whole")  # of tensors
COMPUTES = VECTOR - _names(lambda o: o.moves)  # on a vector core, and neither loads nor stores
PRODUCTS = CUBE & WHOLE
LEVELS = {o.name: o.gives for o in OPS.values() if o.gives in ("tile", "tensor", "either")}
SCRATCH = {o.name: o.scratch for o in OPS.values() if o.scratch}
TILES_AT = {o.name: o.tiles_at for o in OPS.values()}
FACTORS = {o.name: o.factors for o in OPS.values() if o.factors}
STORES = {o.name: o.target for o in OPS.values() if o.target}

# By path below `pl`.
GIVE_INDICES = _paths(lambda p, o: o.gives == "index")
GIVE_NUMBERS = _paths(lambda p, o: o.gives in ("index", "number"))
OUTSIDE_REGIONS = GIVE_NUMBERS | _paths(lambda p, o: o.orchestration and not p.startswith("tile."))

# Names of operations that PyPTO has and cannot compile, and what to write instead.
NO_CODE = {
    f"{space}expands": "pl.full, or pl.add of the number to a pl.full of zeros" for space in ("", "tensor.", "tile.")
}


def exists(path: str) -> bool:
    """True when `pl.<path>` is an operation or a directive of the language."""
    return path in OPS or path in NO_CODE or path in DIRECTIVES


def limits(name: str, number: bool) -> tuple[str, Types] | None:
    """(operation, element types that it takes by chip) of an operation by its name; `number`: its second operand is
    one, and where PyPTO has an operation of its own for that, the types are that one's. None: it takes every type."""
    return (LIMITS.get(f"{name.rstrip('_')}s") if number else None) or LIMITS.get(name)


LIMITS = {o.name: (o.name, o.types) for o in OPS.values() if o.types is not None}

__all__ = [n for n in dir() if n.isupper()] + [
    "cube", "elements", "elementwise", "exists", "gather", "limits", "movement", "reduce", "scatter", "select",
    "shapes", "sort", "system", "views",
]  # fmt: skip
