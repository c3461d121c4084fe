"""Tensors that a region stores tiles to and writes numbers to: PyPTO refuses both to one.

A store takes the MTE3 pipe and a number the scalar unit's data cache, and nothing orders the two. Source:
src/ir/transforms/convert_tensor_to_tile_ops_pass.cpp; windows taken in the region are not followed, there as here.
"""

from __future__ import annotations

import ast

STORES = {"store": 2, "assemble": 0}  # and which argument is the target


class Stores:
    """The part of the lowering that knows which tensors from outside a region it stores and writes to."""

    def begin_region(self, body: list[ast.stmt]) -> None:
        """Nothing is stored yet; names that the region binds to anything but a store's result are not from outside."""
        nodes = [n for b in body for n in ast.walk(b)]
        stores = [s for s in nodes if isinstance(s, ast.Assign) and self._target(s.value) is not None]
        given = {id(s.targets[0]) for s in stores}
        bound = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        self.inner = {n.id for n in bound if id(n) not in given}
        self.roots: dict[str, str] = {}  # result of a store -> the tensor it stores to
        self.stored: set[str] = set()
        self.written: set[str] = set()

    def bind_root(self, name: str, value: ast.expr) -> None:
        """`name = value`: what a store gives is the tensor it stores to."""
        root = self._root(self._target(value))
        if self.incore and root is not None:
            self.roots[name] = root

    def check_stored(self, node: ast.expr) -> None:
        """A call, or an assignment to a subscript, of which `node` is the target.

        Raises:
            KernelError: it is the second of the two ways to one tensor.
        """
        if not self.incore:
            return
        name = self.facts.called(node)[0] if isinstance(node, ast.Call) else ""
        target = self._target(node) if name in STORES else node.args[0] if name == "write" and node.args else None
        self._note_store(node, node.value if isinstance(node, ast.Subscript) else target, name == "write")

    def check_passed(self, node: ast.Call, given: ast.expr, stored: bool, written: bool) -> None:
        """An argument of an inline function that stores or writes to it."""
        for happens, number in ((stored, False), (written, True)):
            if happens and self.incore:
                self._note_store(node, given, number)

    def _note_store(self, node: ast.expr, target: ast.expr | None, number: bool) -> None:
        root = self._root(target)
        if root is None or self.facts.level(ast.Name(root)) == "tile":
            return
        (self.written if number else self.stored).add(root)
        if root in self.stored and root in self.written:
            raise self.refuse(
                node, f"'{root}' gets tiles and single numbers in one region, and nothing orders the two",
                "pl.write to the tile, then store that; or two regions",
            )  # fmt: skip

    def _target(self, node: ast.expr | None) -> ast.expr | None:
        name, given = self.facts.called(node) if isinstance(node, ast.Call) else ("", {})
        return given.get("output_tensor", given.get("target")) if name in STORES else None

    def _root(self, node: ast.expr | None) -> str | None:
        root = self.roots.get(node.id, node.id) if isinstance(node, ast.Name) else None
        return None if root in self.inner else root
