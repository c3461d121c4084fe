"""What is certain about a kernel's names when it is compiled; everything here answers None where it is not.

PyPTO knows the type of every name while it parses, and refuses from it: a float added to an integer, a tile beside a
tensor, a shape that only the run decides. Interpret mode sees values, so it keeps the little it needs for the same
refusals: the element type of a scalar, tile or tensor, and whether a number is known when the kernel is parsed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from helpers.interpret.facts.forms import OPERATORS
from helpers.interpret.facts.function import Subject
from helpers.interpret.facts.names import NOTHING, Names, Shape, Value
from helpers.interpret.facts.validity import Validity
from helpers.interpret.language import dtypes
from helpers.interpret.language.annotations import Type
from helpers.interpret.ops import (
    COMPUTES,
    CREATES,
    ELEMENTWISE,
    FILLS,
    FOLDS,
    GIVE_INDICES,
    GIVE_NUMBERS,
    LEVELS,
    OPS,
    PRODUCTS,
    SAME_LAYOUT,
    SAME_SHAPE,
    SAME_TYPE,
    SHAPED,
    UNARY,
)
from helpers.interpret.source.walk import walk

IN_UB = (ELEMENTWISE | FOLDS | UNARY) & COMPUTES - {"cast"}  # a cast of a product may stay with the cube


class Facts:
    """Facts about the names of one function.

    A scalar parameter of an entry that is not assigned to is a literal: PyPTO compiles the entry for its value.
    """

    def __init__(
        self, subject: Subject, names: Names, extent: Callable[[ast.expr, ast.expr | None], int | None],
        fixed: Callable[[ast.expr, ast.expr | None], bool],
    ):  # fmt: skip
        self.subject, self.names = subject, names
        self.path, self.outside = subject.pl_path, subject.outside
        self.extent = extent  # the difference of two expressions, when it is known while parsing
        self.fixed = fixed  # True when only parsing decides the difference of two expressions
        validity = Validity(self)
        self.valid, self.valid_axes, self.bounded = validity.valid, validity.valid_axes, validity.bounded
        self.partly, self.unbounded = validity.partly, validity.unbounded
        literal = [p for p in subject.parameters if subject.entry and not subject.bindings[p.name]]
        self.literal = {p.name: p.type for p in literal if p.type.kind == "scalar"}
        for p in subject.parameters:
            names.put(p.name, self._of_parameter(p.name, p.type))

    def _of_parameter(self, name: str, t: Type) -> Value:
        kind = {"tile": "tensor", "other": "any", "array": "any"}.get(t.kind, t.kind)
        element = t.dtype.name if t.dtype is not None else None
        if t.kind == "scalar" and name not in self.literal:
            return Value(kind, scalar=element)
        if t.kind != "tensor":
            return Value(kind)
        if t.shape is None:
            return Value(kind, level="tensor", valid=(), element=element)
        extents = tuple(n if isinstance(n, int) else None for n in t.shape)  # else PyPTO takes those of the caller
        shape = extents if self.subject.entry else None
        return Value(kind, level="tensor", valid=(), rank=len(t.shape), element=element, shape=shape)

    # ---- what is assigned ------------------------------------------------------------------------------

    def bind(self, name: str, value: ast.expr, incore: bool, **more: Any) -> None:
        """`name = value`, in the order of the source, in an InCore region or outside; `more` of the new `Value`."""
        level = self.level(value)
        called, given = self.called(value) if isinstance(value, ast.Call) else ("", {})
        makes_array = isinstance(value, ast.Call) and self.path(value.func) == "array.create"
        self.names.put(name, Value(
            self.names.kind_with(name, self.kind(value)),
            origin=self._origin(value, incore),
            array=self.path(given["dtype"]) if makes_array else "",
            of_extent=isinstance(value, ast.Call) and self.path(value.func) in ("dim", "tensor.dim"),
            computed=isinstance(value, ast.BinOp) and self._of_extents(value),
            narrowed=self._narrowed(given.get("valid_shape")) if called == "slice" and not incore else None,
            scalar=self.dtype(value),
            run_time=self.at_run_time(value),
            bounded=self.bounded(value),
            level=level,
            element=self.element(value) if level is not None else None,
            shape=self.shape(value) if level is not None else None,
            valid=self.valid(value),
            parts=self.valid_axes(value) if incore else NOTHING,
            product=self.product(value),
            space=self.space(value),
            **more,
        ))  # fmt: skip

    def carried(self, name: str, value: ast.expr) -> None:
        """`name` is carried round a loop and begins with `value`, or takes what a pl.yield_ hands on."""
        dtype = self.dtype(value)
        if dtype is not None:
            self.names.note(name, scalar=dtype)

    def counter(
        self, name: str, span: tuple[int | None, int | None] | None = None, unrolled: bool = False, once: bool = False
    ) -> None:
        """`name` is the variable of a loop, `once` of one with one turn, or the number of a block."""
        self.names.put(name, Value("scalar", scalar="INDEX", run_time=not once, span=span, unrolled=unrolled))

    def _origin(self, value: ast.expr, incore: bool) -> str:
        """The operation that a name is bound to, and what of its operands matters where the name is passed on."""
        if isinstance(value, ast.Subscript) and incore and self.at_run_time(value.slice):
            return "subscript at an offset of run time"
        path = self.path(value.func) if isinstance(value, ast.Call) else None
        if path in ("reshape", "tensor.reshape") and value.args and not isinstance(value.args[0], ast.Name):
            return "reshape of an expression"
        if path in ("create_tensor", "tensor.create", "tensor.create_tensor") and self._computes_extent(value):
            return f"{path} of a computed extent"
        return path or ""

    def _computes_extent(self, call: ast.Call) -> bool:
        """True when the shape of a pl.create_tensor has an extent that PyPTO's specializer cannot name: it knows
        constants, pl.dynamic names, and names bound to pl.tensor.dim and nothing else."""
        shape = next((k.value for k in call.keywords if k.arg == "shape"), call.args[0] if call.args else None)
        for e in shape.elts if isinstance(shape, (ast.List, ast.Tuple)) else ():
            if self.names[e.id].computed if isinstance(e, ast.Name) else self.asks_extent(e):
                return True
        return False

    def _of_extents(self, node: ast.expr) -> bool:
        named = any(isinstance(n, ast.Name) and self.names[n.id].of_extent for n in walk(node))
        return named or self.asks_extent(node)

    def asks_extent(self, node: ast.expr) -> bool:
        """True when an expression reads the extent of a tensor: pl.tensor.dim(x, 0), x.shape[0], a pl.dynamic."""
        for n in walk(node):
            if isinstance(n, ast.Call) and self.path(n.func) in ("dim", "tensor.dim"):
                return True
            if isinstance(n, ast.Attribute) and n.attr == "shape":
                return True
            if isinstance(n, ast.Name) and type(self.outside(n)).__name__ == "DynVar":
                return True
        return False

    def _narrowed(self, valid: ast.expr | None) -> ast.expr | None:
        """The extent of a window that only the run knows."""
        unknown = [e for e in getattr(valid, "elts", ()) if self.at_run_time(e) and not self.constant(e)]
        return unknown[-1] if unknown else None

    # ---- what is asked ---------------------------------------------------------------------------------

    def kind(self, node: ast.expr) -> str:
        """ "scalar", "tensor" (or tile), "bool", or "any" when it cannot be told."""
        if isinstance(node, ast.Constant):
            return "bool" if isinstance(node.value, bool) else "scalar"
        if isinstance(node, (ast.Compare, ast.BoolOp)) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            return "bool"
        if isinstance(node, ast.Name) and node.id in self.subject.locals:
            return self.names[node.id].kind or "any"
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = self.outside(node)
            if isinstance(value, bool):
                return "bool"
            return "scalar" if isinstance(value, (int, float)) or type(value).__name__ == "DynVar" else "any"
        if isinstance(node, ast.UnaryOp):
            return self.kind(node.operand)
        if isinstance(node, ast.BinOp):
            kinds = {self.kind(node.left), self.kind(node.right)}
            return "tensor" if "tensor" in kinds else "scalar" if kinds <= {"scalar", "bool"} else "any"
        if isinstance(node, ast.Call):
            path = self.path(node.func)
            if path is not None:
                if path in GIVE_NUMBERS or path == "const" or path.endswith(".get_byte") or self.of_scalars(node, path):
                    return "scalar"
                if path.endswith("cast") and node.args:
                    return self.kind(node.args[0])
                return "any" if path.startswith(("array.", "system.")) else "tensor"
            return "any"
        if isinstance(node, ast.Subscript):
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if self.kind(node.value) == "tensor" and any(isinstance(i, ast.Slice) for i in items):
                return "tensor"
            if self.is_element(node):
                return "scalar"
        return "any"

    def of_scalars(self, node: ast.Call, path: str) -> bool:
        """True for pl.add and its like between numbers: another way to write the operator."""
        return path in OPERATORS and len(node.args) == 2 and all(self.kind(a) == "scalar" for a in node.args)

    def constant(self, node: ast.expr) -> bool:
        """True for what PyPTO works out while it compiles: of numbers, and of names bound once to such."""
        parts = list(walk(node))
        if any(isinstance(p, (ast.Call, ast.Subscript, ast.Attribute)) for p in parts):
            return False
        for n in (p for p in parts if isinstance(p, ast.Name)):
            if not (self.names[n.id].constant or self.names[n.id].unrolled or self.folds(n)):
                return False
        return True

    def decided(self, test: ast.expr) -> bool:
        """True for a comparison of a loop's variable with a number that the loop's bounds decide: PyPTO's Simplify
        (pass 05) leaves one of the two arms."""
        span = self.names[test.left.id].span if isinstance(getattr(test, "left", None), ast.Name) else None
        if not isinstance(test, ast.Compare) or span is None:
            return False
        (low, stop), n = span, self.extent(test.comparators[0], None)
        if n is None or low is None:
            return False
        last = None if stop is None else stop - 1
        at_least = {ast.GtE: n, ast.Lt: n, ast.Gt: n + 1, ast.LtE: n + 1}.get(type(test.ops[0]))
        return at_least is not None and (low >= at_least or (last is not None and last < at_least))

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
                t = self.literal[node.id].dtype
                return None if t is None else "FP32" if t.is_float else "BOOL" if t.name == "BOOL" else "INDEX"
            value = self._number(node)
            if type(self.outside(node)).__name__ == "DynVar":
                return "INDEX"
            found = {bool: "BOOL", int: "INDEX", float: "FP32"}.get(type(value))
            return found or self.names[node.id].scalar
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
            return self.names[node.value.id].element if self.is_element(node) else None
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
        of = self.names[node.value.id]
        rank = len(of.shape or ()) if of.rank is None else of.rank
        return rank == len(items) and not any(isinstance(i, ast.Slice) for i in items)

    def level(self, node: ast.expr) -> str | None:
        """ "tile" for what pl.load, pl.create_tile and the operations of pl.tile make of it, "tensor" for the rest."""
        if isinstance(node, ast.Name):
            return self.names[node.id].level
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
            return self.names[node.id].element
        if isinstance(node, ast.Subscript):
            return self.element(node.value)
        if not isinstance(node, ast.Call):
            return None
        name, given = self.called(node)
        if name in ("cast", *FILLS) or name in CREATES:
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
            return self.names[node.id].shape
        if isinstance(node, ast.Subscript):
            return self._subscripted(node)
        if not isinstance(node, ast.Call):
            return None
        name, given = self.called(node)
        if name in CREATES or name in SHAPED:
            wanted = given.get("shapes" if name == "load" else "shape")
            if not isinstance(wanted, (ast.List, ast.Tuple)) or "drop_dims" in given:
                return None
            return tuple(self.extent(e, None) for e in wanted.elts)
        if name == "store":
            return self.shape(given.get("output_tensor"))
        first = self.shape(node.args[0]) if node.args else None
        if first is None:
            return None
        if name in PRODUCTS - {"matmul_acc"} or name in ("concat", "transpose"):
            return self._of_shapes(name, first, given)
        if name in SAME_SHAPE:
            return first
        if name in ELEMENTWISE:
            other = self.shape(node.args[1]) if len(node.args) > 1 else None
            return first if other == first or self.dtype(node.args[-1]) is not None else None
        if name in FOLDS and len(first) > 1:
            axis = -1 if name.startswith("row_") else -2
            return tuple(1 if a == len(first) + axis else n for a, n in enumerate(first))
        return None

    def _of_shapes(self, name: str, first: Shape, given: dict[str, ast.expr]) -> Shape | None:
        """Of two tiles beside each other, of a product and of a tile that is turned, all of two axes."""
        second = given.get("src1" if name == "concat" else "rhs")
        second = first if name == "transpose" else None if second is None else self.shape(second)
        if second is None or len(first) != 2 or len(second) != 2:
            return None
        if name == "concat":
            return first[0], None if None in (first[1], second[1]) else first[1] + second[1]
        if name == "transpose":
            turned = {self.extent(given[a], None) for a in ("axis1", "axis2") if a in given}
            return first[::-1] if turned in ({0, 1}, {0, -1}, {-2, -1}, {-2, 1}) else None
        flags = [given.get(f, ast.Constant(False)) for f in ("a_trans", "b_trans")]
        if not all(isinstance(f, ast.Constant) for f in flags):
            return None
        return first[1 if flags[0].value else 0], second[0 if flags[1].value else 1]

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
        bound = OPS[path].bound(path, node.args, node.keywords)
        return ("", {}) if bound is None else (path.rpartition(".")[-1], bound)

    def product(self, node: ast.expr) -> bool:
        """True for what is certainly a product, or computed from one and laid out as it is."""
        if isinstance(node, ast.Name):
            return self.names[node.id].product
        if not isinstance(node, ast.Call) or not node.args:
            return False
        name, _ = self.called(node)
        return name in PRODUCTS or (name in SAME_LAYOUT and self.product(node.args[0]))

    def space(self, node: ast.expr) -> str:
        """ "L0C" for a product, "UB" for what vector cores compute; "" where a value may lie elsewhere."""
        if isinstance(node, ast.Name):
            return self.names[node.id].space
        name, given = self.called(node) if isinstance(node, ast.Call) else ("", {})
        if name in PRODUCTS or name == "matmul_acc":
            return "L0C"
        return "UB" if name in IN_UB and "target_memory" not in given and self.kind(node) == "tensor" else ""

    def at_run_time(self, node: ast.expr) -> bool:
        """True when a number is certainly known only at run time: read from memory, or of a turn or a block."""
        for n in walk(node):
            if isinstance(n, ast.Name) and self.names[n.id].run_time:
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
