"""What is certain about a kernel's names when it is compiled; everything here answers None where it is not.

PyPTO knows the type of every name while it parses, and refuses from it: a float added to an integer, a tile beside a
tensor, a shape that only the run decides. Interpret mode sees values, so it keeps the little it needs for the same
refusals: the element type of a scalar, tile or tensor, and whether a number is known when the kernel is parsed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from helpers.interpret.checks.valid import NOTHING, Extents, Shape, Valid
from helpers.interpret.language import dtypes
from helpers.interpret.language.annotations import Type
from helpers.interpret.ops import (
    CREATES,
    ELEMENTWISE,
    FOLDS,
    GIVE_INDICES,
    LEVELS,
    OPS,
    PRODUCTS,
    SAME_LAYOUT,
    SAME_SHAPE,
    SAME_TYPE,
)


class Facts(Extents):
    """Facts about the names of one function. `path` gives what a node is below `pl`, `outside` a value of the module.

    A scalar parameter of an entry that is not assigned to is a literal: PyPTO compiles the entry for its value.
    """

    def __init__(
        self, parameters: dict[str, Type], literal: set[str], path: Callable[[ast.expr], str | None],
        outside: Callable[[ast.expr], Any], extent: Callable[[ast.expr, ast.expr | None], int | None],
    ):  # fmt: skip
        self.parameters, self.literal, self.path, self.outside = parameters, literal, path, outside
        self.extent = extent  # the difference of two expressions, when it is known while parsing
        self.scalars: dict[str, str] = {}  # name -> element type of the scalar it holds
        self.levels: dict[str, str] = {}  # name -> "tile" or "tensor"
        self.ranks: dict[str, int] = {}  # name of a tensor -> how many axes it has
        self.elements: dict[str, str] = {}  # name of a tensor -> its element type
        self.shapes: dict[str, Shape] = {}  # name of a tensor or tile -> its extents, None where one is not certain
        self.run_time: set[str] = set()  # numbers that differ from turn to turn, or are read from memory
        self.parts: dict[str, tuple[frozenset[int], frozenset[int]]] = {}  # tile -> see `_valid_axes`
        self.bounded: dict[str, bool] = {}  # True for a number that a pl.min bounds
        self.valids: dict[str, Valid] = {}  # tensor or tile -> what of it is valid
        self.products: dict[str, bool] = {}  # True for a tile that is laid out as the cube made it
        for name, t in parameters.items():
            if t.kind == "scalar" and t.dtype is not None and name not in literal:
                self.scalars[name] = t.dtype.name
            if t.kind == "tensor":
                self.levels[name] = "tensor"
                self.valids[name] = ()
                if t.shape is not None:
                    self.ranks[name] = len(t.shape)
                if t.dtype is not None:
                    self.elements[name] = t.dtype.name

    # ---- what is assigned ------------------------------------------------------------------------------

    def bind(self, name: str, value: ast.expr, incore: bool = False) -> None:
        """`name = value`, in the order of the source, in an InCore region or outside."""
        dtype, level, run_time = self.dtype(value), self.level(value), self.at_run_time(value)
        element, shape = (self.element(value), self.shape(value)) if level is not None else (None, None)
        parts, product = self._valid_axes(value) if incore else NOTHING, self.product(value)
        bounded, valid = self._bounded(value), self.valid(value)
        self.forget({name})
        if valid is not None:
            self.valids[name] = valid
        if bounded:
            self.bounded[name] = True
        if parts != NOTHING:
            self.parts[name] = parts
        if product:
            self.products[name] = True
        if element is not None:
            self.elements[name] = element
        if shape is not None:
            self.shapes[name] = shape
        if dtype is not None:
            self.scalars[name] = dtype
        if level is not None:
            self.levels[name] = level
        if run_time:
            self.run_time.add(name)

    def carried(self, name: str, value: ast.expr) -> None:
        """`name` is carried round a loop and begins with `value`, or takes what a pl.yield_ hands on."""
        dtype = self.dtype(value)
        if dtype is not None:
            self.scalars[name] = dtype

    def counter(self, name: str) -> None:
        """`name` is the variable of a loop that is not unrolled, or the number of a block."""
        self.forget({name})
        self.scalars[name] = "INDEX"
        self.run_time.add(name)

    def forget(self, names: set[str], of_loop: bool = False) -> None:
        """Nothing is certain any more about these names; one that a loop binds again keeps its type of number."""
        for facts in self._facts():
            for n in names if not (of_loop and facts is self.scalars) else ():
                facts.pop(n, None)
        self.run_time -= names
        self.literal -= names

    def written(self, names: set[str]) -> None:
        """Something was assigned to windows of these: they keep their types and extents, not what is valid."""
        for n in names:
            self.parts.pop(n, None)
            self.products.pop(n, None)
            if self.valids.get(n):
                del self.valids[n]

    def _facts(self) -> tuple[dict, ...]:
        return (
            self.scalars,
            self.levels,
            self.ranks,
            self.elements,
            self.shapes,
            self.parts,
            self.products,
            self.bounded,
            self.valids,
        )

    def copy(self) -> tuple:
        """The state, for `merge`."""
        return tuple(dict(f) for f in self._facts()) + (set(self.run_time),)

    def restore(self, state: tuple) -> None:
        """Back to what was known."""
        facts = (dict(f) for f in state[:-1])
        self.scalars, self.levels, self.ranks, self.elements, self.shapes, *rest = facts
        self.parts, self.products, self.bounded, self.valids = rest
        self.run_time = set(state[-1])

    def merge(self, other: tuple) -> None:
        """Keep what also holds in `other`, the state at the end of another branch."""
        for facts, others in zip(self._facts(), other[:-1]):
            for n in [n for n, v in facts.items() if others.get(n) != v]:
                del facts[n]
        self.run_time &= other[-1]

    # ---- what is asked ---------------------------------------------------------------------------------

    def folds(self, node: ast.expr) -> bool:
        """True for an expression of literals, numbers of the module and literal parameters: Python evaluates it."""
        if isinstance(node, ast.BinOp):
            return self.folds(node.left) and self.folds(node.right)
        if isinstance(node, ast.UnaryOp):
            return self.folds(node.operand)
        if isinstance(node, (ast.Compare, ast.BoolOp)):
            parts = node.values if isinstance(node, ast.BoolOp) else [node.left, *node.comparators]
            return all(self.folds(p) for p in parts)
        if isinstance(node, ast.Name):
            return node.id in self.literal or self._number(node) is not None
        return isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float))

    def _number(self, node: ast.Name) -> Any:
        if node.id in self.parameters or node.id in self.scalars or node.id in self.levels:
            return None
        value = self.outside(node)
        return value if isinstance(value, (bool, int, float)) else None

    def dtype(self, node: ast.expr) -> str | None:
        """The element type of a scalar: "INDEX" for a literal integer, "FP32" for a literal float."""
        if isinstance(node, (ast.Compare, ast.BoolOp)) or isinstance(getattr(node, "op", None), ast.Not):
            return "BOOL"
        if isinstance(node, ast.Constant):
            return {bool: "BOOL", int: "INDEX", float: "FP32"}.get(type(node.value))
        if isinstance(node, ast.Name):
            if node.id in self.literal:
                t = self.parameters[node.id].dtype
                return None if t is None else "FP32" if t.is_float else "INDEX"
            value = self._number(node)
            if node.id not in self.scalars and type(self.outside(node)).__name__ == "DynVar":
                return "INDEX"
            found = {bool: "BOOL", int: "INDEX", float: "FP32"}.get(type(value))
            return found or self.scalars.get(node.id)
        if isinstance(node, ast.UnaryOp):
            return self.dtype(node.operand)
        if isinstance(node, ast.BinOp):
            a, b = self.dtype(node.left), self.dtype(node.right)
            if isinstance(node.op, ast.Div) and self.folds(node):
                return "FP32"
            if a is None or b is None or (isinstance(node.op, ast.Div) and category(a) != "float"):
                return None
            if {category(a), category(b)} == {"float", "integer"} and self.folds(node):
                return "FP32"
            return promoted(a, b)
        if isinstance(node, ast.Subscript):
            return self.elements.get(node.value.id) if self.is_element(node) else None
        if isinstance(node, ast.Call):
            return self._of_call(node)
        return None

    def _of_call(self, node: ast.Call) -> str | None:
        path = self.path(node.func)
        if path in GIVE_INDICES:
            return "INDEX"
        if path in ("read", "tensor.read", "tile.read") and node.args:
            return self.element(node.args[0])
        given = [*node.args, *(k.value for k in node.keywords)]
        if path in ("cast", "tensor.cast") and len(given) > 1 and self.dtype(given[0]) is not None:
            to = dtypes.of(self.path(given[1]))
            return to.name if to is not None else None
        if path in ("min", "max", "add", "sub", "mul", "div") and len(node.args) == 2:
            a, b = (self.dtype(x) for x in node.args)
            return None if a is None or b is None else promoted(a, b)
        return None

    def counts(self, node: ast.Call) -> bool:
        """True for what gives an extent, the index of a block, or how many there are."""
        return self.path(node.func) in GIVE_INDICES

    def is_element(self, node: ast.Subscript) -> bool:
        """True for `x[i, j]` with as many scalars as the tensor `x` has axes."""
        if not isinstance(node.value, ast.Name):
            return False
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        rank = self.ranks.get(node.value.id, len(self.shapes.get(node.value.id) or ()))
        return rank == len(items) and not any(isinstance(i, ast.Slice) for i in items)

    def level(self, node: ast.expr) -> str | None:
        """ "tile" for what pl.load, pl.create_tile and the operations of pl.tile make of it, "tensor" for the rest."""
        if isinstance(node, ast.Name):
            return self.levels.get(node.id)
        if isinstance(node, ast.Subscript):
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return self.level(node.value) if any(isinstance(i, ast.Slice) for i in items) else None
        path = self.path(node.func) if isinstance(node, ast.Call) else None
        if path is None or path in GIVE_INDICES or path.startswith(("system.", "array.")):
            return None
        space, _, name = path.rpartition(".")
        if name in ("read", "min", "max", "dim", "cast", "const"):
            return self.level(node.args[0]) if name == "cast" and node.args else None
        if name == "store":
            return "tensor"
        if space in ("tile", "tensor"):
            return space
        if name in LEVELS:
            return None if LEVELS[name] == "either" else LEVELS[name]
        return self.level(node.args[0]) if node.args else None

    def element(self, node: ast.expr) -> str | None:
        """The element type of a tensor or tile."""
        if isinstance(node, ast.Name):
            return self.elements.get(node.id)
        if isinstance(node, ast.Subscript):
            return self.element(node.value)
        if not isinstance(node, ast.Call):
            return None
        name, given = self.called(node)
        if name in ("cast", "full") or name in CREATES:
            to = dtypes.of(self.path(given.get("target_type", given.get("dtype"))))
            return to.name if to is not None else None
        if name in PRODUCTS and "out_dtype" in given:
            to = dtypes.of(self.path(given["out_dtype"]))
            return to.name if to is not None else None
        if name == "cmp" and self.level(node.args[0]) == "tensor":
            return self.element(node.args[0])
        if name == "load" or name in SAME_TYPE:
            return self.element(node.args[0]) if node.args else None
        return self.element(given.get("output_tensor")) if name == "store" else None

    def shape(self, node: ast.expr) -> Shape | None:
        """The extents of a tensor or tile, None for one that is not certain; None when even their number is not."""
        if isinstance(node, ast.Name):
            return self.shapes.get(node.id)
        if isinstance(node, ast.Subscript):
            return self._subscripted(node)
        if not isinstance(node, ast.Call):
            return None
        name, given = self.called(node)
        if name in CREATES or name in ("full", "slice", "load", "reshape"):
            wanted = given.get("shapes" if name == "load" else "shape")
            if not isinstance(wanted, (ast.List, ast.Tuple)) or "drop_dims" in given:
                return None
            return tuple(self.extent(e, None) for e in wanted.elts)
        if name == "store":
            return self.shape(given.get("output_tensor"))
        first = self.shape(node.args[0]) if node.args else None
        if first is None:
            return None
        if name in SAME_SHAPE:
            return first
        if name in ELEMENTWISE:
            other = self.shape(node.args[1]) if len(node.args) > 1 else None
            return first if other == first or self.dtype(node.args[-1]) is not None else None
        if name in FOLDS and len(first) > 1:
            axis = -1 if name.startswith("row_") else -2
            return tuple(1 if a == len(first) + axis else n for a, n in enumerate(first))
        return None

    def _subscripted(self, node: ast.Subscript) -> Shape | None:
        whole = self.shape(node.value)
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if whole is None or len(items) > len(whole):
            return None
        out: list[int | None] = []
        for i, n in zip(items, whole):
            if isinstance(i, ast.Slice):
                upper = ast.Constant(n) if i.upper is None and n is not None else i.upper
                out.append(None if upper is None else self.extent(upper, i.lower))
        return (*out, *whole[len(items) :])

    def called(self, node: ast.Call) -> tuple[str, dict[str, ast.expr]]:
        """The operation without its namespace, and its arguments by PyPTO's names."""
        path = self.path(node.func)
        if path not in OPS:
            return "", {}
        try:
            bound = OPS[path].signatures[path].bind(*node.args, **{k.arg: k.value for k in node.keywords})
        except TypeError:
            return "", {}
        return path.rpartition(".")[-1], dict(bound.arguments)

    def product(self, node: ast.expr) -> bool:
        """True for what is certainly a product, or computed from one and laid out as it is."""
        if isinstance(node, ast.Name):
            return self.products.get(node.id, False)
        if not isinstance(node, ast.Call) or not node.args:
            return False
        name, _ = self.called(node)
        return name in PRODUCTS or (name in SAME_LAYOUT and self.product(node.args[0]))

    def at_run_time(self, node: ast.expr) -> bool:
        """True when a number is certainly known only at run time: read from memory, or of a turn or a block."""
        for n in ast.walk(node):
            if isinstance(n, ast.Name) and n.id in self.run_time:
                return True
            if isinstance(n, ast.Subscript) and self.is_element(n):
                return True
            if isinstance(n, ast.Call) and self.path(n.func) in ("read", "tensor.read", "tile.read"):
                return True
        return False


def promoted(a: str, b: str) -> str | None:
    """The type of an operation on two numbers: the wider of two integers, the first of two as wide
    (`PromoteSameCategoryDtype` in PyPTO include/pypto/ir/scalar_expr.h); two floats have to be of one."""
    if a != b and category(a) == category(b) == "integer":
        return a if dtypes.BY_NAME[a].bits >= dtypes.BY_NAME[b].bits else b
    return a if a == b else None


def category(dtype: str | None) -> str | None:
    """ "float", "integer" or "bool": scalars of one category can be computed with each other."""
    if dtype is None or dtype == "BOOL":
        return None if dtype is None else "bool"
    found = dtypes.BY_NAME.get(dtype)
    return None if found is None else "float" if found.is_float else "integer"
