"""Tensors that a region stores tiles to and writes numbers to: PyPTO refuses both to one.

A store takes the MTE3 pipe and a number the scalar unit's data cache, and nothing orders the two. Source:
src/ir/transforms/convert_tensor_to_tile_ops_pass.cpp; windows taken in the region are not followed, there as here.
Before it looks, PyPTO rewrites two forms: a loop that fills a row of a tensor with one constant is a store, and numbers
written to a tensor that the region has just filled as a whole, and does not read, go to the tile that filled it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

from helpers.interpret.checks.base_check import Check
from helpers.interpret.facts.forms import nodes_of
from helpers.interpret.facts.names import Shape
from helpers.interpret.language import dtypes
from helpers.interpret.ops import STORES
from helpers.interpret.source.walk import walk


class Stores(Check):
    """Knows which tensors from outside a region it stores and writes to."""

    def begin(self, body: list[ast.stmt]) -> None:
        """Nothing is stored yet; names that the region binds to anything but a store's result are not from outside."""
        nodes = nodes_of(body)
        stores = [s for s in nodes if isinstance(s, ast.Assign) and self._target(s.value) is not None]
        given = {id(s.targets[0]) for s in stores}
        bound = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        self.inner = {n.id for n in bound if id(n) not in given}
        self.roots: dict[str, str] = {}  # result of a store -> the tensor it stores to
        self.stored: set[str] = set()
        self.written: set[str] = set()
        self.fills: set[ast.Call] = set()  # pl.write that PyPTO makes a store
        self.staged = {name for i, s in enumerate(body) for name in self._staged(s, body[i - 1 : i], nodes)}

    @contextmanager
    def apart(self, dropped: bool) -> Iterator[None]:
        """In an arm of an if; of one that PyPTO may drop (`dropped`) what it stores does not count after it."""
        stored, written = set(self.stored), set(self.written)
        yield
        if dropped:
            self.stored, self.written = stored, written

    def bind(self, name: str, value: ast.expr) -> None:
        """`name = value`: what a store gives is the tensor it stores to."""
        root = self._root(self._target(value))
        if self.region.incore and root is not None:
            self.roots[name] = root

    def check(self, node: ast.expr) -> None:
        """A call, or an assignment to a subscript, of which `node` is the target.

        Raises:
            KernelError: it is the second of the two ways to one tensor.
        """
        if not self.region.incore:
            return
        if node in self.fills:
            return self._note_store(node, node.args[0], False)
        name = self.facts.called(node)[0] if isinstance(node, ast.Call) else ""
        target = self._target(node) if name in STORES else node.args[0] if name == "write" and node.args else None
        self._note_store(node, node.value if isinstance(node, ast.Subscript) else target, name == "write")

    def check_passed(self, node: ast.Call, given: ast.expr, stored: bool, written: bool) -> None:
        """An argument of an inline function that stores or writes to it."""
        for happens, number in ((stored, False), (written, True)):
            if happens and self.region.incore:
                self._note_store(node, given, number)

    def note_fill(self, s: ast.For, bounds: list[ast.expr]) -> None:
        """A pl.range loop of a region, before its body: `for i in pl.range(64): pl.write(t, [0, i], 0.0)`.

        Raises:
            KernelError: it fills a tile, which PyPTO's rewriting makes a pl.assemble without a window.
        """
        start, stop = (ast.Constant(0), *bounds)[-2:] if len(bounds) < 3 else (ast.Constant(1), None)
        writes = [b.value for b in s.body if isinstance(b, ast.Expr) and isinstance(b.value, ast.Call)]
        forms = [self._filled(w, s.target.id) for w in writes]
        turns = self.extent(stop, None) if stop is not None and self.facts.folds(stop) else None
        same = len({f and ast.dump(f[0]) + str(f[1:]) for f in forms}) == 1
        if len(writes) < len(s.body) or not same or forms[0] is None or self.extent(start, None) != 0 or not turns:
            return
        element = dtypes.BY_NAME.get(forms[0][1])
        if element is None or turns * element.bits % 256:
            return
        for w in writes:
            if self._root(w.args[0]) in (None, *self.staged) and self.facts.level(w.args[0]) == "tensor":
                raise self.refuse(
                    w, "a loop that fills a row of a tile: PyPTO makes it a pl.full and has no code for its place",
                    f"{ast.unparse(w.args[0])} = pl.assemble({ast.unparse(w.args[0])}, pl.full(...), [...])",
                )  # fmt: skip
        self.fills |= set(writes)

    def _filled(self, w: ast.Call, turn: str) -> tuple[ast.expr, str | None, Shape | None] | None:
        """Index, element type and shape of `pl.write(t, [0, i], 0.0)`, the last axes from that of `i` being 1."""
        if (
            self.facts.called(w)[0] != "write"
            or len(w.args) != 3
            or not self.facts.folds(w.args[2])
            or not isinstance(w.args[0], ast.Name)
        ):
            return None
        index = getattr(w.args[1], "elts", [])
        axes = [a for a, e in enumerate(index) if turn in names_used(e)]
        shape = self.facts.shape(w.args[0])
        if len(axes) != 1 or not steps(index[axes[0]], turn):
            return None
        rest = zip(index[axes[0] + 1 :], (shape or (None,) * len(index))[axes[0] + 1 :])
        if any(n != 1 or self.extent(e, None) != 0 for e, n in rest):
            return None
        return w.args[1], self.facts.element(w.args[0]), shape

    def _staged(self, s: ast.stmt, before: list[ast.stmt], nodes: list[ast.AST]) -> set[str]:
        """The tensor that `t[0:1, 0:64] = pl.full([1, 64], ...)` fills as a whole and that is then only written to."""
        if not isinstance(s, ast.Assign):
            return set()
        target, value = s.targets[0], s.value
        name, given = self.facts.called(value) if isinstance(value, ast.Call) else ("", {})
        if isinstance(target, ast.Name) and name == "assemble":
            at, value, into = getattr(given.get("offset"), "elts", []), given.get("source"), given.get("target")
            into = into if is_name(into, target.id) else None
        elif isinstance(target, ast.Subscript):
            items = target.slice.elts if isinstance(target.slice, ast.Tuple) else [target.slice]
            at, into = [getattr(i, "lower", i) or ast.Constant(0) for i in items], target.value
        else:
            return set()
        if isinstance(value, ast.Name) and before and sum(is_name(n, value.id) for n in nodes) == 2:
            bound = before[0]
            value = bound.value if isinstance(bound, ast.Assign) and is_name(bound.targets[0], value.id) else value
        full = self.facts.called(value)[0] == "full" if isinstance(value, ast.Call) else False
        if not full or not isinstance(into, ast.Name) or any(self.extent(e, None) != 0 for e in at):
            return set()
        whole, element = self.facts.shape(into), self.facts.element(into)
        if None in (whole or (None,)) or (self.facts.shape(value), self.facts.element(value)) != (whole, element):
            return set()
        used = [n for n in nodes if is_name(n, into.id) and isinstance(n.ctx, ast.Load)]
        writes = [n for n in nodes if isinstance(n, ast.Call) and self.facts.called(n)[0] == "write"]
        written = sum(is_name(w.args[0], into.id) for w in writes)
        return {into.id} if 0 < written == len(used) - 1 and all(n.lineno >= s.lineno for n in used) else set()

    def _note_store(self, node: ast.expr, target: ast.expr | None, number: bool) -> None:
        root = self._root(target)
        if root in self.staged or root is None or self.facts.level(ast.Name(root)) == "tile":
            return
        (self.written if number else self.stored).add(root)
        if root in self.stored and root in self.written:
            raise self.refuse(
                node, f"'{root}' gets tiles and single numbers in one region, and nothing orders the two",
                "pl.write to the tile, then store that; or two regions",
            )  # fmt: skip

    def _target(self, node: ast.expr | None) -> ast.expr | None:
        name, given = self.facts.called(node) if isinstance(node, ast.Call) else ("", {})
        return given.get(STORES[name]) if name in STORES else None

    def _root(self, node: ast.expr | None) -> str | None:
        root = self.roots.get(node.id, node.id) if isinstance(node, ast.Name) else None
        return None if root in self.inner else root


def names_used(node: ast.expr) -> set[str]:
    """The names that an expression uses."""
    return {n.id for n in walk(node) if isinstance(n, ast.Name)}


def steps(index: ast.expr, turn: str) -> bool:
    """True for `i`, `i + a` and `a + i`, of which PyPTO knows that they step by one."""
    sides = [index.left, index.right] if isinstance(index, ast.BinOp) and isinstance(index.op, ast.Add) else [index]
    return any(is_name(e, turn) for e in sides) and sum(turn in names_used(e) for e in sides) == 1


def is_name(node: ast.AST, name: str) -> bool:
    """True for this name alone."""
    return isinstance(node, ast.Name) and node.id == name
