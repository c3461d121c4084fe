"""What is certain about the valid part of a kernel's tensors and tiles when it is compiled."""

from __future__ import annotations

import ast

from helpers.interpret.ops import CREATES, ELEMENTWISE, FOLDS, SAME_SHAPE, UNARY, WHOLE

Shape = tuple[int | None, ...]
Valid = tuple[int | str, ...]  # extents, as they are written where they are no numbers; () for all of it
NOTHING: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())


class Extents:
    """The part of `Facts` that knows what is valid."""

    def partly(self, node: ast.expr | None) -> frozenset[int]:
        """The axes (-2, -1) of a tile whose valid extent is certainly known only at run time."""
        return self._valid_axes(node)[0]

    def unbounded(self, node: ast.expr | None) -> frozenset[int]:
        """Those of them of which no pl.min says that the tile has room for it."""
        return self._valid_axes(node)[1]

    def _bounded(self, node: ast.expr) -> bool:
        return any(
            (isinstance(n, ast.Call) and (self.path(n.func) or "").rpartition(".")[-1] == "min")
            or (isinstance(n, ast.Name) and n.id in self.bounded)
            for n in ast.walk(node)
        )

    def _valid_axes(self, node: ast.expr | None) -> tuple[frozenset[int], frozenset[int]]:
        """What `partly` and `unbounded` give."""
        if isinstance(node, ast.Name):
            return self.parts.get(node.id, NOTHING)
        if not isinstance(node, ast.Call):
            return NOTHING
        name, given = self.called(node)
        if name == "set_validshape":
            extents = [given.get("valid_rows"), given.get("valid_cols")]
        elif name in ("slice", "load") and "valid_shape" in given:
            extents = getattr(given["valid_shape"], "elts", [])[-2:]
        elif name in ("slice", "load") and "clamp" in given:
            extents = getattr(given.get("offset", given.get("offsets")), "elts", [])[-2:]
        elif name in (SAME_SHAPE | ELEMENTWISE | FOLDS) - {"fillpad", "assemble", "matmul_acc", "write"} and node.args:
            folded = {-1} if name.startswith("row_") else {-2}
            axes, free = self._valid_axes(node.args[0])
            return (axes - folded, free - folded) if name in FOLDS else (axes, free)
        else:
            return NOTHING
        axes = frozenset(i - len(extents) for i, e in enumerate(extents) if e is not None and self.at_run_time(e))
        free = {i for i in axes if "clamp" not in given and not self._bounded(extents[i])}
        return axes, frozenset(free)

    def valid(self, node: ast.expr) -> Valid | None:
        """What is valid of a tensor or tile, as its type says it; None when that is not certain.

        Source: tried on e2d0f78a, which gives a tensor a `TensorView` and a tile a `TileView` where not all is valid.
        """
        if isinstance(node, ast.Name):
            return self.valids.get(node.id)
        if isinstance(node, ast.Subscript):
            return () if self.level(node) == "tensor" and self.valid(node.value) == () else None
        name, given = self.called(node) if isinstance(node, ast.Call) else ("", {})
        first, *rest = given.values() or (None,)
        if name in ("slice", "load") and "valid_shape" in given:
            return self._written_extents(getattr(given["valid_shape"], "elts", []), self.shape(node))
        if name == "set_validshape":
            return self._written_extents(rest, self.shape(first))
        if name in CREATES or name == "full" or (name in WHOLE and self.level(node) == "tensor"):
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
        if self.dtype(b) is not None or x == y:
            return x
        return () if self.level(a) == "tensor" and () in (x, y) else None

    def _written_extents(self, extents: list[ast.expr], shape: Shape | None) -> Valid | None:
        """`()` for all of a shape; numbers where they are known, else the text."""
        known = [self.extent(e, None) for e in extents]
        if shape is None or len(known) != len(shape) or None in shape:
            return None
        return (
            () if tuple(known) == shape else tuple(ast.unparse(e) if n is None else n for e, n in zip(extents, known))
        )
