"""Element types of operands, checked while a kernel is lowered (see `element_types`).

What is known here is checked once. What is not - the type of an operand that only the run shows, or a limit of one chip
only - is left to a check in front of the operation.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from typing import Any

from helpers.interpret.language import dtypes, element_types
from helpers.interpret.ops import limits
from helpers.interpret.values.lanes import is_scalar
from helpers.interpret.values.values import Tensor, Tile

# Operations that PyPTO makes an FP32 instruction of beside a float, and ptoas refuses; the others keep their type.
PROMOTING = {"fmod", "fmods"}


class ElementTypes:
    """The part of the lowering that checks element types."""

    def check_types(self, node: ast.Call, path: str, fn: Callable) -> Callable:
        """`fn`, or `fn` behind a check where that has to wait for the run.

        Raises:
            KernelError: no chip has the operation for this element type.
        """
        name = path.rsplit(".", 1)[-1]
        if name in ("arange", "ci"):
            return self._check_arange(node, name, fn)
        if not node.args or self.kind(node.args[0]) == "scalar":
            return fn
        element = self.facts.element(node.args[0])
        if name == "cast":
            return self._check_cast_types(node, element, fn)
        scalar = len(node.args) > 1 and self.kind(node.args[1]) == "scalar"
        if scalar and name in PROMOTING and self.facts.level(node.args[0]) == "tensor":
            self._check_promotion(node, name, element)
        limit = limits(name, scalar)
        if limit is None:
            return fn
        if element is None:
            return _checked(fn, name)
        bad = [c for c in element_types.CHIPS if element_types.refused(limit[1], element, c)]
        if len(bad) == len(element_types.CHIPS):
            raise self.refuse(node, *element_types.described(name, limit[1], element, bad[0], limit[0] != name))
        return _checked(fn, name) if bad else fn

    def _check_promotion(self, node: ast.Call, name: str, element: str | None) -> None:
        """PyPTO types a tensor of another type with a float as FP32, and emits an instruction on two types, which
        PTO-ISA's assertions refuse. A tile keeps its type."""
        number = node.args[1]
        if element in (None, "FP32") or self.facts.dtype(number) != "FP32" or not dtypes.BY_NAME[element].is_float:
            return
        raise self.refuse(
            node, f"pl.{name} of a {element} tensor and the float `{ast.unparse(number)}`: the result would be FP32",
            "pl.cast(x, pl.FP32) first; or pl.load it, since a tile keeps its type",
        )  # fmt: skip

    def _check_arange(self, node: ast.Call, name: str, fn: Callable) -> Callable:
        given = [*node.args[2:], *(k.value for k in node.keywords if k.arg == "dtype")]
        of = dtypes.of(self.pl_path(given[0])) if given else None
        taken = limits(name, number=False)[1]
        if of is not None and all(element_types.refused(taken, of.name, c) for c in element_types.CHIPS):
            raise self.refuse(node, *element_types.described(name, taken, of.name, element_types.CHIPS[0]))
        return fn

    def _check_cast_types(self, node: ast.Call, element: str | None, fn: Callable) -> Callable:
        given = [*node.args, *(k.value for k in node.keywords if k.arg == "target_type")]
        to = dtypes.of(self.pl_path(given[1])) if len(given) > 1 else None
        if element is None or to is None:
            return _checked_cast(fn)
        bad = [c for c in element_types.CHIPS if element_types.cast_refused(element, to.name, c)]
        if len(bad) == len(element_types.CHIPS) and element != to.name:
            raise self.refuse(node, *element_types.cast_described(element, to.name, bad[0]))
        return _checked_cast(fn) if bad else fn


@cache
def _checked(fn: Callable, name: str) -> Callable:
    def run(m: Any, at: Any, x: Any, *args: Any, **named: Any) -> Any:
        if isinstance(x, (Tile, Tensor)) and x.dtype is not dtypes.FP32:
            of, taken = limits(name, bool(args) and is_scalar(args[0]))
            if element_types.refused(taken, x.dtype.name, m.chip.name):
                raise m.fault(at, *element_types.described(name, taken, x.dtype.name, m.chip.name, of != name))
        return fn(m, at, x, *args, **named)

    return run


@cache
def _checked_cast(fn: Callable) -> Callable:
    def run(m: Any, at: Any, x: Any, *args: Any, **named: Any) -> Any:
        to = dtypes.of(args[0] if args else named.get("target_type"))
        if isinstance(x, (Tile, Tensor)) and to is not None and x.dtype is not to:
            if element_types.cast_refused(x.dtype.name, to.name, m.chip.name):
                raise m.fault(at, *element_types.cast_described(x.dtype.name, to.name, m.chip.name))
        return fn(m, at, x, *args, **named)

    return run
