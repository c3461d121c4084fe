"""Arithmetic of numbers, lowered: what the device computes in a type, and what PyPTO computes while it compiles.

PyPTO folds an expression of literals and of the module's numbers in Python, and one of names bound once to such in
its simplifier, where `//` rounds down (python/pypto/language/parser/ast_parser.py `parse_binop`,
src/ir/arith/rewrite_simplify.cpp). All else is computed on the device (see `helpers.interpret.values.numbers`).
"""

from __future__ import annotations

import ast
from collections import Counter

from helpers.interpret.checks.forms import OPERATORS
from helpers.interpret.checks.infer import category
from helpers.interpret.language import dtypes
from helpers.interpret.language.dtypes import DType
from helpers.interpret.values import numbers

COUNTER = 40  # bits that a loop variable, a block index or an extent has at most
OF_TWO = (*OPERATORS, "min", "max", "tile.min", "tile.max")  # calls that take two numbers


class Numbers:
    """The part of the lowering that does arithmetic of numbers. `widths`: bits of names that are bound once."""

    widths: dict[str, int]

    def begin_numbers(self, tree: ast.FunctionDef) -> None:
        """Names that are loop variables and nothing else never grow large."""
        turns = [n.target for n in ast.walk(tree) if isinstance(n, ast.For)]
        first = [t.elts[0] if isinstance(t, ast.Tuple) and t.elts else t for t in turns]
        loops = Counter(t.id for t in first if isinstance(t, ast.Name))
        self.widths = {name: COUNTER for name, n in loops.items() if n == self.bindings[name]}

    def _check_numbers(self, node: ast.Call, path: str) -> None:
        """Shapes, offsets and indices are lists of numbers."""
        for a in [*node.args, *(k.value for k in node.keywords if k.arg != "deps")]:
            for e in a.elts if isinstance(a, (ast.List, ast.Tuple)) else ():
                self._check_number(e)

    def _check_number(self, node: ast.expr) -> None:
        self.check_operand(node)
        if self.kind(node) in ("tensor", "task"):
            raise self.refuse(node, f"`{ast.unparse(node)}` is no number", "shapes, offsets and bounds are numbers")
        self.check_whole(node)

    def check_operand(self, node: ast.expr) -> None:
        """What a number is computed from is no text, list, None or shape."""
        for part in _operands(node):
            wrong = isinstance(part, ast.Constant) and not isinstance(part.value, (bool, int, float))
            wrong = wrong or (isinstance(part, (ast.Attribute, ast.Name)) and self.pl_path(part) is not None)
            wrong = wrong or (isinstance(part, ast.Subscript) and self._is_part(part))
            if wrong or isinstance(part, (ast.List, ast.Tuple)):
                raise self.refuse(part, f"`{ast.unparse(part)}` is no number", "shapes, offsets and bounds are numbers")
            if isinstance(part, ast.Attribute) and part.attr == "shape":
                text = ast.unparse(part)
                raise self.refuse(part, f"`{text}` is no number", f"{text}[0] is the extent of axis 0")

    def _is_part(self, node: ast.Subscript) -> bool:
        """True for rows or a window of a tensor, which have fewer subscripts than it has axes, or slices among them."""
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if not isinstance(node.value, ast.Name) or self.kind(node.value) != "tensor":
            return False
        shape = self.facts.shapes.get(node.value.id)
        return any(isinstance(i, ast.Slice) for i in items) or (shape is not None and len(items) < len(shape))

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

    def arithmetic(self, node: ast.BinOp, left: ast.expr, right: ast.expr) -> ast.expr:
        """A binary operation, its sides lowered."""
        if self._constant(node):
            return ast.BinOp(left, node.op, right)
        of = self._integer(node)
        made = self.simplified(node) if isinstance(node.op, (ast.FloorDiv, ast.Mod)) else None
        if made is not None:
            return self.expr(made)
        if isinstance(node.op, (ast.FloorDiv, ast.Mod, ast.Div)):
            name = "_remainder" if isinstance(node.op, ast.Mod) else "_quotient"
            return self._in_width(node, of, self._number_call(name, node, [left, right]))
        if isinstance(node.op, (ast.LShift, ast.RShift)):
            rest = [ast.Constant(64 if of is None else of.bits), ast.Constant(isinstance(node.op, ast.LShift))]
            return self._in_width(node, of, self._number_call("_shifted", node, [left, right, *rest]))
        return self._in_width(node, of, ast.BinOp(_bare(left, of), node.op, _bare(right, of)))

    def negated(self, node: ast.UnaryOp, value: ast.expr) -> ast.expr:
        """`-x` and `~x`, the operand lowered."""
        if self._constant(node):
            return ast.UnaryOp(node.op, value)
        of = self._integer(node)
        return self._in_width(node, of, ast.UnaryOp(node.op, _bare(value, of)))

    def compared(self, node: ast.Compare, left: ast.expr, right: ast.expr) -> ast.expr:
        """A comparison, its sides lowered."""
        floats = "float" in (category(self.facts.dtype(node.left)), category(self.facts.dtype(node.comparators[0])))
        if self.incore and floats and isinstance(node.ops[0], ast.NotEq) and not self._constant(node):
            return ast.Call(ast.Name("_unequal", ast.Load()), [left, right], [])
        return ast.Compare(left, node.ops, [right])

    def check_whole(self, node: ast.expr) -> None:
        """Extents, offsets and indices are whole numbers; a quotient by `/` is none, not even 4 / 2."""
        if category(self.facts.dtype(node)) == "float":
            text = ast.unparse(node)
            whole = text.replace("/", "//") if isinstance(getattr(node, "op", None), ast.Div) else None
            raise self.refuse(
                node, f"`{text}` is a float: shapes, offsets and bounds are whole numbers",
                whole or "divide with //, or pl.cast(n, pl.INDEX)",
            )  # fmt: skip

    def bind_width(self, name: str, value: ast.expr) -> None:
        """`name = value`."""
        if self.bindings[name] == 1 and self._integer(value) is not None:
            self.widths[name] = min(self._bits(value), numbers.width(self._integer(value))[0])

    def _number_call(self, name: str, node: ast.expr, args: list[ast.expr]) -> ast.Call:
        return ast.Call(ast.Name(name, ast.Load()), [ast.Name("_m", ast.Load()), self.place(node), *args], [])

    def _integer(self, node: ast.expr) -> DType | None:
        """The type of an integer; an INDEX where it is not certain, None for what is certainly none."""
        of = self.facts.dtype(node)
        if of is None:
            return dtypes.INDEX
        return dtypes.BY_NAME[of] if category(of) == "integer" else None

    def _in_width(self, node: ast.expr, of: DType | None, plain: ast.expr) -> ast.expr:
        """A result reduced to its type, where it may not fit."""
        if of is None:
            return plain
        bits, signed = numbers.width(of)
        if signed and self._bits(node) < bits:
            return plain
        return ast.Call(ast.Name("_wrapped", ast.Load()), [plain, ast.Constant(bits), ast.Constant(signed)], [])

    def _bits(self, node: ast.expr) -> int:
        """The bits of the largest magnitude that an integer expression can have, were it exact."""
        if self._constant(node):
            folded = self._folded(node)
            return folded.bit_length() if isinstance(folded, int) else 63
        of = self._integer(node)
        most = 63 if of is None else numbers.width(of)[0] - 1
        if isinstance(node, ast.BinOp):
            a, b = self._bits(node.left), self._bits(node.right)
            if isinstance(node.op, (ast.Add, ast.Sub)):
                return max(a, b) + 1
            if isinstance(node.op, ast.Mult):
                return a + b
            if isinstance(node.op, ast.FloorDiv):
                return a if self._constant(node.right) and self._folded(node.right) != -1 else a + 1
            return a if isinstance(node.op, (ast.Mod, ast.RShift)) else 64
        if isinstance(node, ast.UnaryOp):
            return self._bits(node.operand) + isinstance(node.op, ast.USub)
        if isinstance(node, ast.Name) and self.widths.get(node.id, most) <= most:
            return self.widths.get(node.id, most)
        if isinstance(node, ast.Call) and self.facts.counts(node):
            return COUNTER
        return most

    def _folded(self, node: ast.expr) -> object:
        """The value of a constant expression, or None when only the call knows it."""
        value = self.expr(node)
        return self._evaluate(value) if self._is_constant(value) else None


def _bare(node: ast.expr, of: DType | None) -> ast.expr:
    """A side of a sum or product without a wrapping of its own: that of the whole, no wider, does for both."""
    own = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_wrapped"
    return node.args[0] if own and of is not None and node.args[1].value >= of.bits else node


def _operands(node: ast.expr) -> list[ast.expr]:
    """What an arithmetic expression is made of."""
    if isinstance(node, ast.BinOp):
        return _operands(node.left) + _operands(node.right)
    if isinstance(node, ast.UnaryOp):
        return _operands(node.operand)
    return [node]
