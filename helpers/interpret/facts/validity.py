"""What of a tensor or tile is valid, as far as it is certain when a kernel is compiled."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from helpers.interpret.facts.names import NOTHING, Axes, Shape, Valid
from helpers.interpret.ops import CREATES, ELEMENTWISE, FOLDS, SAME_SHAPE, UNARY, WHOLE
from helpers.interpret.source.walk import walk

if TYPE_CHECKING:
    from helpers.interpret.facts.infer import Facts

# Operations whose result is as valid as their first operand.
KEEPS = (SAME_SHAPE | ELEMENTWISE | FOLDS) - {"fillpad", "assemble", "matmul_acc", "write"}


class Validity:
    """Answers what is valid, from what the facts of a function say of its names."""

    def __init__(self, facts: Facts):
        self.facts, self.names = facts, facts.names

    def partly(self, node: ast.expr | None) -> frozenset[int]:
        """The axes (-2, -1) of a tile whose valid extent is certainly known only at run time."""
        return self.valid_axes(node)[0]

    def unbounded(self, node: ast.expr | None) -> frozenset[int]:
        """Those of them of which no pl.min says that the tile has room for it."""
        return self.valid_axes(node)[1]

    def bounded(self, node: ast.expr) -> bool:
        """True for a number that a pl.min bounds."""
        return any(
            (isinstance(n, ast.Call) and (self.facts.path(n.func) or "").rpartition(".")[-1] == "min")
            or (isinstance(n, ast.Name) and self.names[n.id].bounded)
            for n in walk(node)
        )

    def valid_axes(self, node: ast.expr | None) -> Axes:
        """What `partly` and `unbounded` give."""
        if isinstance(node, ast.Name):
            return self.names[node.id].parts
        if not isinstance(node, ast.Call):
            return NOTHING
        name, given = self.facts.called(node)
        if name == "set_validshape":
            extents = [given.get("valid_rows"), given.get("valid_cols")]
        elif name in ("slice", "load") and "valid_shape" in given:
            extents = getattr(given["valid_shape"], "elts", [])[-2:]
        elif name in ("slice", "load") and "clamp" in given:
            extents = getattr(given.get("offset", given.get("offsets")), "elts", [])[-2:]
        elif name in KEEPS and node.args:
            folded = {-1} if name.startswith("row_") else {-2}
            axes, free = self._of_operand(node.args[0])
            return (axes - folded, free - folded) if name in FOLDS else (axes, free)
        else:
            return NOTHING
        axes = frozenset(i - len(extents) for i, e in enumerate(extents) if e is not None and self.facts.at_run_time(e))
        free = {i for i in axes if "clamp" not in given and not self.bounded(extents[i])}
        return axes, frozenset(free)

    def _of_operand(self, node: ast.expr) -> Axes:
        """The same of what a region computes with: of a window that orchestration cut, too (`Value.narrowed`)."""
        cut = self.names[node.id] if isinstance(node, ast.Name) else None
        if cut is None or cut.narrowed is None or cut.level != "tensor":
            return self.valid_axes(node)
        valid = cut.valid or ()
        axes = frozenset(i - len(valid) for i, n in enumerate(valid) if isinstance(n, str) and i >= len(valid) - 2)
        return axes, frozenset() if self.bounded(cut.narrowed) else axes

    def valid(self, node: ast.expr) -> Valid | None:
        """What is valid of a tensor or tile, as its type says it; None when that is not certain.

        Source: tried on PyPTO, which gives a tensor a `TensorView` and a tile a `TileView` where not all is valid.
        """
        if isinstance(node, ast.Name):
            return self.names[node.id].valid
        if isinstance(node, ast.Subscript):
            return () if self.facts.level(node) == "tensor" and self.valid(node.value) == () else None
        name, given = self.facts.called(node) if isinstance(node, ast.Call) else ("", {})
        first, *rest = given.values() or (None,)
        if name in ("slice", "load") and "valid_shape" in given:
            return self._written_extents(getattr(given["valid_shape"], "elts", []), self.facts.shape(node))
        if name == "set_validshape":
            return self._written_extents(rest, self.facts.shape(first))
        if name in CREATES or name == "full" or (name in WHOLE and self.facts.level(node) == "tensor"):
            return ()
        if name in ("slice", "load") and "clamp" not in given:
            return () if self.valid(first) == () else None
        if name == "assemble":  # what it writes counts too
            return () if self.valid(first) == () else None
        if name in UNARY:
            return self.valid(first)
        if name in ELEMENTWISE and len(rest) == 1:
            return self._valid_of_two(first, rest[0])
        return None

    def _valid_of_two(self, a: ast.expr, b: ast.expr) -> Valid | None:
        x, y = self.valid(a), self.valid(b)
        if self.facts.dtype(b) is not None or x == y:
            return x
        return () if self.facts.level(a) == "tensor" and () in (x, y) else None

    def _written_extents(self, extents: list[ast.expr], shape: Shape | None) -> Valid | None:
        """`()` for all of a shape; numbers where they are known, else the text."""
        known = [self.facts.extent(e, None) for e in extents]
        if shape is None or len(known) != len(shape) or None in shape:
            return None
        return (
            () if tuple(known) == shape else tuple(ast.unparse(e) if n is None else n for e, n in zip(extents, known))
        )
