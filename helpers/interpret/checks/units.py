"""Numbers that only the vector unit knows: PyPTO refuses them where a mixed region's cube half needs them too.

A region with a matmul becomes two functions, one a unit. Both keep the control flow and what is written to global
memory, and a number that is read from a tile is in the vector one alone. Source: tried on PyPTO ("cannot
materialize symbol"); a matmul in an inline function that the region calls is not looked at.
"""

from __future__ import annotations

import ast

from helpers.interpret.checks.check import Check
from helpers.interpret.facts.forms import nodes_of
from helpers.interpret.ops import CUBE
from helpers.interpret.source.walk import walk

WINDOWS = {"slice", "load", "reshape", "transpose"}


class Units(Check):
    """Knows which numbers of a mixed region are read from a tile."""

    def begin(self, body: list[ast.stmt], inner: set[str]) -> None:
        """A region that binds the names `inner`, and whether it is for both units; no number is read yet."""
        self.inner = inner
        calls = [n for n in nodes_of(body) if isinstance(n, ast.Call)]
        self.mixed = any(self.facts.called(c)[0] in CUBE for c in calls)
        self.vector_numbers: set[str] = set()  # and the windows at offsets computed from them

    def bind(self, name: str, value: ast.expr) -> None:
        """`name = value` in a region."""
        self.vector_numbers.discard(name)
        if self.region.incore and self.mixed and (self._window(value) or self._number_of_vector(value)):
            self.vector_numbers.add(name)

    def check_both(self, node: ast.expr, body: list[ast.stmt]) -> None:
        """A condition, or a bound of a loop, of which `body` is what it decides on.

        Raises:
            KernelError: only the vector unit knows it, and part of the body is the cube's.
        """
        if self.region.incore and self.mixed and self._from_tile(node) and any(map(self._of_cube, nodes_of(body))):
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
        if name in CUBE and any(map(self._window, given.values())):
            self._refuse_number(node)
        if name == "write" and self._outside(first) and any(map(self._from_tile, rest)):
            self._refuse_number(node)
        moved = given.get("source") if name == "assemble" else first
        if name in ("store", "assemble") and self.facts.product(moved) and any(map(self._from_tile, rest)):
            self._refuse_number(node)

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
        return name in CUBE or (name == "write" and self._outside(node.args[0]))

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
