"""Element types of operands, checked while a kernel is lowered (see `element_types`).

What is known here is checked once. What is not - the type of an operand that only the run shows, or a limit of one chip
only - is left to a check in front of the operation.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from helpers.interpret.checks.base_check import Check
from helpers.interpret.facts.function import Subject
from helpers.interpret.facts.infer import Facts
from helpers.interpret.facts.region import Region
from helpers.interpret.language import dtypes, element_types
from helpers.interpret.ops import limits
from helpers.interpret.source import variables
from helpers.interpret.values.lanes import is_scalar
from helpers.interpret.values.values import Tensor, Tile

# Operations that PyPTO makes an FP32 instruction of beside a float, and ptoas refuses; the others keep their type.
PROMOTING = {"fmod", "fmods"}


class ElementTypes(Check):
    """Refuses operations of element types that no chip has them for."""

    def check(self, node: ast.Call, path: str, fn: Callable) -> Callable:
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
        if element == dtypes.FP4.name and name not in element_types.OF_FP4 and self.facts.level(node.args[0]) == "tile":
            raise self.refuse(node, f"pl.{name} of FP4", "pl.cast(x, pl.BF16) first: no chip computes in FP4")
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


class VariableTypes(Check):
    """Refuses to bind a variable again to another type: it has one in all of a function (see `variables`)."""

    def __init__(self, subject: Subject, facts: Facts, region: Region):
        super().__init__(subject, facts, region)
        self._variables = variables.variables(subject.tree, renames=subject.program is None)
        known = [p.name for p in subject.parameters] if subject.entry else []
        self._scopes: list[dict[str, tuple]] = [{n: self.type_of(ast.Name(n, ast.Load())) for n in known}]

    @contextmanager
    def apart(self, closed: bool, carried: Iterable[str] = ()) -> Iterator[None]:
        """In a block; where it is `closed`, what is bound in it does not reach beyond it, but for what it hands on."""
        if closed:
            self._scopes.append(dict.fromkeys(carried, (None,) * 4))
        yield
        if closed:
            self._scopes.pop()

    def type_of(self, node: ast.expr) -> tuple:
        """What is certain of the type of a value: (scalar, tile or tensor; element type; extents; what is valid)."""
        scalar = self.facts.dtype(node)
        if scalar is not None:
            return "scalar", scalar, None, None
        level = self.facts.level(node)
        if level is None:
            return None, None, None, None
        element = self.facts.element(node) or self._of_product(node, level)
        return level, element, self.facts.shape(node), self.facts.valid(node)

    def _of_product(self, node: ast.expr, level: str) -> str | None:
        """The type of a product that has no out_dtype: while PyPTO parses, of tensors that of its operands
        (`DeduceTensorMatMulType` in src/ir/op/tensor_ops/matmul.cpp); what is computed is wider."""
        name, given = self.facts.called(node) if isinstance(node, ast.Call) else ("", {})
        if name != "matmul" or "out_dtype" in given:
            return None
        left, right = (self.facts.element(given[a]) for a in ("lhs", "rhs"))
        if left is None or left != right:
            return None
        return left if level == "tensor" else "FP32" if dtypes.BY_NAME[left].is_float else "INT32"

    def hand_on(self, value: ast.expr) -> None:
        """A value of a pl.yield_, where the lowering is at it."""
        value.handed = self.type_of(value)

    def check_arms(self, first: list[ast.expr], second: list[ast.expr]) -> None:
        """What the arms of an if hand on is of one type in both."""
        for a, b in zip(first, second):
            if not _compatible(a.handed, b.handed) or (a.handed[0] == "scalar" and a.handed[1] != b.handed[1]):
                raise self.refuse(
                    b, f"pl.yield_ of {_described(b.handed)}, in the other arm of {_described(a.handed)}",
                    "hand on values of one type in both",
                )  # fmt: skip

    def check_kept(self, s: ast.Assign, target: ast.Name, annotated: str | None) -> None:
        """A variable keeps its type; `annotated`: that of a number, where it is written."""
        variable = self._variables.get(id(target))
        if variable is None:
            return
        new = self.type_of(s.value) if annotated is None else ("scalar", annotated, None, None)
        old = next((scope[variable] for scope in reversed(self._scopes) if variable in scope), None)
        if old is None:
            self._scopes[-1][variable] = new
        elif not _compatible(old, new):
            raise self.refuse(
                s, f"'{target.id}' is {_described(new)} here and {_described(old)} where it was bound before",
                "use another name",
            )  # fmt: skip
        else:
            self._check_carried_extents(s, target.id, old[3] or ())

    def check_space(self, s: ast.Assign, name: str, turns: bool) -> None:
        """A name that a loop or an arm of an if binds again stays where it lies (`elements.rebound`, which sees those
        that run); `turns`: it was bound before a loop."""
        was, now = self.names[name].space, self.facts.space(s.value)
        if not self.region.incore or self.region.dropped:
            return
        if (was, now) == ("UB", "L0C") or (turns and (was, now) == ("L0C", "UB")):
            raise self.refuse(
                s, f"'{name}' was in {was} and becomes a tile in {now}, in a loop or branch", "use another name"
            )

    def _check_carried_extents(self, s: ast.Assign, name: str, valid: tuple) -> None:
        """The assembler wants an index where a tile that an arm or a turn binds again says what of it is valid."""
        for n in valid if self.region.incore else ():
            if isinstance(n, str) and n.isidentifier() and self.facts.dtype(ast.Name(n)) == "INT32":
                raise self.refuse(
                    s, f"'{name}' is bound again here, and '{n}' of its elements, an INT32 number, are valid",
                    f"say so with pl.cast({n}, pl.INDEX)",
                )  # fmt: skip


def _compatible(old: tuple, new: tuple) -> bool:
    """False when two types, as far as they are certain, differ."""
    (kind, element, shape, valid), (kind2, element2, shape2, valid2) = old, new
    if kind is None or kind2 is None:
        return True
    if kind != kind2 or (element is not None and element2 is not None and element != element2):
        return False
    if kind != "scalar" and valid is not None and valid2 is not None and valid != valid2:
        if () in (valid, valid2) or all(isinstance(n, int) for n in (*valid, *valid2)):
            return False
    if shape is None or shape2 is None:
        return True
    return len(shape) == len(shape2) and all(a is None or b is None or a == b for a, b in zip(shape, shape2))


def _described(t: tuple) -> str:
    kind, element, shape, valid = t
    extents = "" if shape is None else f" [{', '.join('?' if n is None else str(n) for n in shape)}]"
    part = f" of which [{', '.join(map(str, valid))}] is valid" if valid else ""
    return f"a {kind}{extents} {element or ''}".rstrip() + part


@cache
def _checked(fn: Callable, name: str) -> Callable:
    def run(m: Any, at: Any, x: Any, *args: Any, **named: Any) -> Any:
        if isinstance(x, (Tile, Tensor)) and x.dtype is not dtypes.FP32:
            of, taken = limits(name, bool(args) and is_scalar(args[0]))
            if element_types.refused(taken, x.dtype.name, m.chip.rules):
                raise m.fault(at, *element_types.described(name, taken, x.dtype.name, m.chip.rules, of != name))
        return fn(m, at, x, *args, **named)

    return run


@cache
def _checked_cast(fn: Callable) -> Callable:
    def run(m: Any, at: Any, x: Any, *args: Any, **named: Any) -> Any:
        to = dtypes.of(args[0] if args else named.get("target_type"))
        if isinstance(x, (Tile, Tensor)) and to is not None and x.dtype is not to:
            if element_types.cast_refused(x.dtype.name, to.name, m.chip.rules):
                raise m.fault(at, *element_types.cast_described(x.dtype.name, to.name, m.chip.rules))
        return fn(m, at, x, *args, **named)

    return run
