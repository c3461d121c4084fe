"""Numbers that only the vector unit knows: PyPTO refuses them where a mixed region's cube half needs them too.

A region with a matmul becomes two functions, one a unit. Both keep the control flow and what is written to global
memory, and a number that is read from a tile is in the vector one alone. Source: tried on PyPTO ("cannot
materialize symbol"). An inline function that a region calls is part of it (src/ir/transforms/inline_functions_pass.cpp,
the first of the passes): it tells which of its parameters its products need.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache

from helpers.interpret.checks.base_check import Check
from helpers.interpret.facts.forms import Parameter, nodes_of
from helpers.interpret.language.decorated import environment, unwrap
from helpers.interpret.ops import CUBE, STORES
from helpers.interpret.source.source import of
from helpers.interpret.source.walk import walk

WINDOWS = {"slice", "load", "reshape", "transpose"}


class Units(Check):
    """Knows which numbers of a mixed region are read from a tile."""

    def begin(self, body: list[ast.stmt], inner: set[str]) -> None:
        """A region that binds the names `inner`, and whether it is for both units; no number is read yet."""
        self.inner = inner
        calls = [n for n in nodes_of(body) if isinstance(n, ast.Call)]
        self.mixed = any(self.facts.called(c)[0] in CUBE or self._multiplies(c) for c in calls)
        self.vector_numbers: set[str] = set()  # and the windows at offsets computed from them
        self.needed: set[str] = set()  # parameters that the cube needs
        given = self.subject.parameters if self.subject.kind == "inline" else ()
        self.derived = {p.name: {p.name} for p in given}  # what numbers and windows are computed from of these

    def bind(self, name: str, value: ast.expr) -> None:
        """`name = value` in a region."""
        self.vector_numbers.discard(name)
        if self.derived:
            follows = self._is_window(value) or self.kind(value) in ("scalar", "bool")
            self.derived[name] = self._parameters(value) if follows else set()
        if self.region.incore and self.mixed and (self._window(value) or self._number_of_vector(value)):
            self.vector_numbers.add(name)

    def check_both(self, node: ast.expr, body: list[ast.stmt]) -> None:
        """A condition, or a bound of a loop, of which `body` is what it decides on.

        Raises:
            KernelError: only the vector unit knows it, and part of the body is the cube's.
        """
        if not (self.region.incore and self.mixed):
            return
        read, from_ = self._from_tile(node), self._parameters(node)
        if (read or from_) and any(map(self._of_cube, nodes_of(body))):
            self.needed |= from_
            if read:
                self._refuse_number(node)

    def check(self, node: ast.Call) -> None:
        """A call of an operation.

        Raises:
            KernelError: it writes such a number to global memory, or takes operands of the cube from there.
        """
        if not (self.region.incore and self.mixed):
            return
        name, given = self.facts.called(node)
        first, *rest = given.values() or (None,)
        if name in CUBE:
            self.needed |= {p for a in given.values() if self._is_window(a) for p in self._parameters(a)}
        if name in CUBE and any(map(self._window, given.values())):
            self._refuse_number(node)
        if name == "write" and self._outside(first) and any(map(self._from_tile, rest)):
            self._refuse_number(node)
        moved = given.get("source") if name == "assemble" else first
        if name in STORES and self.facts.product(moved) and any(map(self._from_tile, rest)):
            self._refuse_number(node)

    def check_inlined(self, a: ast.expr, p: Parameter, needed: frozenset[str]) -> None:
        """An argument of an inline function, whose cube unit needs these parameters.

        Raises:
            KernelError: only the vector unit knows it.
        """
        if p.name in needed and self.region.incore:
            self.needed |= self._parameters(a)
            if self._from_tile(a) or self._window(a):
                self._refuse_number(a)

    def check_placed(self, target: ast.Subscript, value: ast.expr) -> None:
        """`target = value`: where the cube puts a product, it must know.

        Raises:
            KernelError: only the vector unit does.
        """
        if self.region.incore and self.mixed and self.facts.product(value) and self._from_tile(target.slice):
            self._refuse_number(target)

    def _refuse_number(self, node: ast.expr) -> None:
        raise self.refuse(
            node, f"`{ast.unparse(node)}`: the number is read from a tile, so the cube unit of this region does not"
            " have it",
            "read it from global memory, or in a region of its own that stores it",
        )  # fmt: skip

    def _of_cube(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Assign):
            return self.facts.product(node.value)
        name, _ = self.facts.called(node) if isinstance(node, ast.Call) else ("", {})
        inside = isinstance(node, ast.Call) and self._multiplies(node)
        return inside or name in CUBE or (name == "write" and self._outside(node.args[0]))

    def _multiplies(self, call: ast.Call) -> bool:
        """True for a call of an inline function that has a product in it, or calls one that has."""
        if self.pl_path(call.func) is not None:
            return False
        return _has_product(self.subject.member(call.func) or self.outside(call.func), frozenset())

    def _parameters(self, node: ast.expr) -> set[str]:
        """The parameters that a number or a window is computed from."""
        names = (n.id for n in walk(node) if isinstance(n, ast.Name)) if self.derived else ()
        return {p for name in names for p in self.derived.get(name, ())}

    def _is_window(self, node: ast.expr) -> bool:
        """True for a tensor by its name, and for a window of one."""
        if isinstance(node, ast.Name):
            return self.kind(node) != "scalar"
        if isinstance(node, ast.Subscript):
            return self.kind(node) == "tensor"
        name, given = self.facts.called(node) if isinstance(node, ast.Call) else ("", {})
        return name in WINDOWS and self._is_window(next(iter(given.values())))

    def _outside(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id not in self.inner

    def _number_of_vector(self, value: ast.expr) -> bool:
        return self.kind(value) in ("scalar", "bool") and self._from_tile(value)

    def _from_tile(self, node: ast.AST) -> bool:
        """True for an expression with a number that is read from a tile in it."""
        return any(self._read_of_tile(n) for n in walk(node))

    def _read_of_tile(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self.vector_numbers
        if isinstance(node, ast.Call):
            return self.facts.called(node)[0] == "read" and not self._outside(node.args[0])
        return isinstance(node, ast.Subscript) and self.facts.is_element(node) and not self._outside(node.value)

    def _window(self, node: ast.expr) -> bool:
        """True for a window of global memory at an offset that is read from a tile."""
        if isinstance(node, ast.Name):
            return node.id in self.vector_numbers
        if isinstance(node, ast.Subscript):
            return self._from_tile(node.slice) or self._window(node.value)
        name, given = self.facts.called(node) if isinstance(node, ast.Call) else ("", {})
        first, *rest = given.values() or (None,)
        return name in WINDOWS and (self._window(first) or any(map(self._from_tile, rest)))


def _has_product(kernel: object, around: frozenset[Callable]) -> bool:
    found = unwrap(kernel)
    if found is None or found[1] != "inline" or found[0] in around:
        return False
    multiplies, names = _calls(found[0])
    known = environment(found[0]) if names else {}
    return multiplies or any(_has_product(known.get(n), around | {found[0]}) for n in names)


@cache
def _calls(fn: Callable) -> tuple[bool, frozenset[str]]:
    """Whether the text of a function has a product, and the names of what else it calls."""
    called = [n.func for n in walk(of(fn).tree) if isinstance(n, ast.Call)]
    paths = [f.attr for f in called if isinstance(f, ast.Attribute) and ast.unparse(f).startswith("pl.")]
    return bool(CUBE & set(paths)), frozenset(f.id for f in called if isinstance(f, ast.Name))
