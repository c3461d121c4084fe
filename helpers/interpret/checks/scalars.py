"""What numbers may be computed from, and compared with."""

from __future__ import annotations

import ast
from typing import Any

from helpers.interpret.checks.base_check import Check
from helpers.interpret.facts.forms import OPERATORS
from helpers.interpret.facts.infer import category

# Parameters that are a number, or a list of some.
INDEX = ("offset", "indices")
ALONE = {"read": INDEX, "write": INDEX, "set_validshape": ("valid_rows", "valid_cols")}
OF_TWO = (*OPERATORS, "min", "max", "tile.min", "tile.max")  # calls that take two numbers


class Scalars(Check):
    """Refuses what is no number where one stands, and arithmetic that PyPTO has no code for."""

    def check_lists(self, node: ast.Call) -> None:
        """Shapes, offsets and indices are lists of numbers."""
        for a in [*node.args, *(k.value for k in node.keywords if k.arg != "deps")]:
            for e in a.elts if isinstance(a, (ast.List, ast.Tuple)) else ():
                self.check_number(e)
        called, given = self.facts.called(node)
        for a in (given.get(parameter) for parameter in ALONE.get(called, ())):
            if a is not None and not isinstance(a, (ast.List, ast.Tuple)):
                self.check_number(a)

    def check_number(self, node: ast.expr) -> None:
        check_operand(self, node)
        if self.kind(node) in ("tensor", "task"):
            raise self.refuse(node, f"`{ast.unparse(node)}` is no number", "shapes, offsets and bounds are numbers")
        self.check_whole(node)

    def check_kinds(self, node: ast.Call, path: str) -> None:
        """Two numbers that a call takes are both integers or both floats. Of literals too: only operators are folded.

        Source: PromoteSameCategoryDtype in PyPTO include/pypto/ir/scalar_expr.h.
        """
        if path not in OF_TWO or len(node.args) != 2 or {self.kind(a) for a in node.args} - {"scalar", "bool"}:
            return
        kinds = [category(self.facts.dtype(a)) for a in node.args]
        for a, kind in zip(node.args, kinds):
            if kind == "bool":
                raise self.refuse(a, f"the result of a comparison in pl.{path}", "use if / else")
        if None in kinds or kinds[0] == kinds[1]:
            return
        whole = node.args[kinds.index("integer")]
        text, value = ast.unparse(whole), getattr(whole, "value", None)
        of = " and ".join(str(self.facts.dtype(a)) for a in node.args)
        raise self.refuse(
            node, f"pl.{path} of {of}: an integer and a float do not meet",
            f"{float(value)}" if type(value) is int else f"pl.cast({text}, pl.FP32)",
        )  # fmt: skip

    def check_whole(self, node: ast.expr) -> None:
        """Extents, offsets and indices are whole numbers; a quotient by `/` is none, not even 4 / 2."""
        kind = category(self.facts.dtype(node))
        if kind == "bool":
            raise self.refuse(
                node, f"`{ast.unparse(node)}` is true or false, where a number is wanted", "use if / else"
            )
        if kind == "float":
            text = ast.unparse(node)
            whole = text.replace("/", "//") if isinstance(getattr(node, "op", None), ast.Div) else None
            raise self.refuse(
                node, f"`{text}` is a float: shapes, offsets and bounds are whole numbers",
                whole or "divide with //, or pl.cast(n, pl.INDEX)",
            )  # fmt: skip

    def check_categories(self, node: ast.expr, left: ast.expr, right: ast.expr) -> None:
        """Scalars of different categories do not meet, but in what is folded when the kernel is parsed."""
        a, b = category(self.facts.dtype(left)), category(self.facts.dtype(right))
        self._check_quotient(node, left, right, "integer" in (a, b) and "float" not in (a, b))
        called = self.pl_path(node.func) if isinstance(node, ast.Call) else ""
        sums = called in ("add", "tensor.add") or isinstance(getattr(node, "op", None), ast.Add)
        if (
            self.region.incore
            and sums
            and "float" in (a, b)
            and not (self.facts.constant(left) and self.facts.constant(right))
        ):
            raise self.refuse(
                node, "a sum of floats in a region: the assembler has no code for it",
                ast.unparse(ast.BinOp(left, ast.Sub(), ast.UnaryOp(ast.USub(), right))),
            )  # fmt: skip
        if isinstance(node, ast.Compare) and a == b == "bool" and not self.facts.folds(node):
            raise self.refuse(
                node, f"`{ast.unparse(node)}` compares what is true or false, and PyPTO compares numbers alone",
                f"`{ast.unparse(left)}` or `not {ast.unparse(left)}` where the other is known, else ifs",
            )  # fmt: skip
        if isinstance(node, (ast.BinOp, ast.Call)) and "bool" in (a, b):
            raise self.refuse(
                left if a == "bool" else right, "the result of a comparison used as a number", "use if / else"
            )
        if a and b and a != b and not (self.facts.folds(left) and self.facts.folds(right)):
            raise self.refuse(
                node, f"an operator between {self.facts.dtype(left)} and {self.facts.dtype(right)} scalars",
                "pl.cast one of them",
            )  # fmt: skip

    def check_bits(self, node: ast.expr, value: Any) -> None:
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise self.refuse(node, f"{value} does not fit in 64 bits", "a smaller number, or a float")

    def _check_quotient(self, node: ast.expr, left: ast.expr, right: ast.expr, integers: bool) -> None:
        """`/` of numbers that only the run knows: of integers it is not Python's, and orchestration has none."""
        called = self.pl_path(node.func) if isinstance(node, ast.Call) else ""
        if not (called in ("div", "tensor.div") or isinstance(getattr(node, "op", None), ast.Div)):
            return
        if self.facts.constant(left) and self.facts.constant(right):
            return
        floored = f"{ast.unparse(left)} // {ast.unparse(right)}"
        if integers:
            raise self.refuse(node, "a quotient of integers: PyPTO's generated code cuts it to an integer", floored)
        if not self.region.incore:
            raise self.refuse(
                node, "a quotient in orchestration, of which PyPTO generates no code",
                "multiply by what is known, or divide in a region",
            )  # fmt: skip

    def check_connected(self, node: ast.BoolOp) -> None:
        """PyPTO generates no code for `and` and `or` in orchestration: one side must be known while it compiles."""
        if not self.region.incore and sum(not self.facts.constant(v) for v in node.values) > 1:
            word = "and" if isinstance(node.op, ast.And) else "or"
            raise self.refuse(
                node, f"`{word}` of numbers that only the run knows, in orchestration",
                "an if in an if" if word == "and" else "two ifs, or write it in the region",
            )  # fmt: skip

    def check_ordered(self, test: ast.expr) -> None:
        """PyPTO reasons about the range of a number that an `if` compares, and cannot where that is FP32.

        Source: tried on PyPTO ("requires same numeric dtype category, got fp32 and int64"); of `or`, of what is
        computed in place and of a name of the comparison it does not.
        """
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            for part in test.values:
                self.check_ordered(part)
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self.check_ordered(test.operand)
        if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], (ast.Lt, ast.LtE, ast.Gt, ast.GtE)):
            return
        sides = [s for s in (test.left, test.comparators[0]) if isinstance(s, ast.Name) or self._is_read(s)]
        for side in sides:
            of = self.facts.dtype(side)
            if not self.facts.folds(side) and (of == "FP32" or (of in ("BF16", "FP16") and len(sides) > 1)):
                raise self.refuse(
                    test, f"`{ast.unparse(test)}` as a condition: '{ast.unparse(side)}' is {of}, and PyPTO works out"
                    " the range of what an if compares for integers alone",
                    f"larger = {ast.unparse(test)} on a line of its own, and if larger:",
                )  # fmt: skip

    def _is_read(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Subscript):
            return self.facts.is_element(node)
        return isinstance(node, ast.Call) and self.facts.called(node)[0] == "read"


def check_operand(of: Check, node: ast.expr) -> None:
    """What a number is computed from is no text, list, None or shape."""
    for part in _operands(node):
        wrong = isinstance(part, ast.Constant) and not isinstance(part.value, (bool, int, float))
        wrong = wrong or (isinstance(part, (ast.Attribute, ast.Name)) and of.pl_path(part) is not None)
        wrong = wrong or (isinstance(part, ast.Subscript) and _is_part(of, part))
        if wrong or isinstance(part, (ast.List, ast.Tuple)):
            raise of.refuse(part, f"`{ast.unparse(part)}` is no number", "shapes, offsets and bounds are numbers")
        if isinstance(part, ast.Attribute) and part.attr == "shape":
            text = ast.unparse(part)
            raise of.refuse(part, f"`{text}` is no number", f"{text}[0] is the extent of axis 0")


def _is_part(of: Check, node: ast.Subscript) -> bool:
    """True for rows or a window of a tensor, which have fewer subscripts than it has axes, or slices among them."""
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if not isinstance(node.value, ast.Name) or of.kind(node.value) != "tensor":
        return False
    shape = of.names[node.value.id].shape
    return any(isinstance(i, ast.Slice) for i in items) or (shape is not None and len(items) < len(shape))


def _operands(node: ast.expr) -> list[ast.expr]:
    """What an arithmetic expression is made of."""
    if isinstance(node, ast.BinOp):
        return _operands(node.left) + _operands(node.right)
    if isinstance(node, ast.UnaryOp):
        return _operands(node.operand)
    return [node]
