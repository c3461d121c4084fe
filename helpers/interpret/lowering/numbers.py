"""Arithmetic of numbers, lowered: what the device computes in a type, and what PyPTO computes while it compiles.

PyPTO folds an expression of literals and of the module's numbers in Python, and one of names bound once to such in
its simplifier, where `//` rounds down (python/pypto/language/parser/ast_parser.py `parse_binop`,
src/ir/arith/rewrite_simplify.cpp). All else is computed on the device (see `helpers.interpret.values.numbers`).
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from typing import Any

from helpers.interpret.facts.forms import evaluate, is_constant, linear
from helpers.interpret.facts.infer import category
from helpers.interpret.language import dtypes
from helpers.interpret.language.dtypes import DType
from helpers.interpret.lowering.code import Part, Whole, call, load
from helpers.interpret.lowering.simplified import Simplified
from helpers.interpret.source.walk import walk
from helpers.interpret.values import numbers

COUNTER = 40  # bits that a loop variable, a block index or an extent has at most


class Numbers(Part):
    """Does arithmetic of numbers, and knows of sums what is certain of them."""

    def __init__(self, whole: Whole):
        super().__init__(whole)
        self._simplified = Simplified(self.facts)
        turns = [n.target for n in walk(self.subject.tree) if isinstance(n, ast.For)]
        first = [t.elts[0] if isinstance(t, ast.Tuple) and t.elts else t for t in turns]
        loops = Counter(t.id for t in first if isinstance(t, ast.Name))
        self._counters = {name for name, n in loops.items() if n == self.subject.bindings[name]}  # loop variables alone

    def arithmetic(self, node: ast.BinOp, left: ast.expr, right: ast.expr) -> ast.expr:
        """A binary operation, its sides lowered."""
        if self.facts.constant(node):
            return ast.BinOp(left, node.op, right)
        of = self._integer(node)
        made = self._simplified.of(node) if isinstance(node.op, (ast.FloorDiv, ast.Mod)) else None
        if made is not None:
            return self.whole.expr(made)
        if isinstance(node.op, (ast.FloorDiv, ast.Mod, ast.Div)):
            name = "_remainder" if isinstance(node.op, ast.Mod) else "_quotient"
            return self._in_width(node, of, self._number_call(name, node, [left, right]))
        if isinstance(node.op, (ast.LShift, ast.RShift)):
            rest = [ast.Constant(64 if of is None else of.bits), ast.Constant(isinstance(node.op, ast.LShift))]
            return self._in_width(node, of, self._number_call("_shifted", node, [left, right, *rest]))
        return self._in_width(node, of, ast.BinOp(_bare(left, of), node.op, _bare(right, of)))

    def negated(self, node: ast.UnaryOp, value: ast.expr) -> ast.expr:
        """`-x` and `~x`, the operand lowered."""
        if self.facts.constant(node):
            return ast.UnaryOp(node.op, value)
        of = self._integer(node)
        return self._in_width(node, of, ast.UnaryOp(node.op, _bare(value, of)))

    def compared(self, node: ast.Compare, left: ast.expr, right: ast.expr) -> ast.expr:
        """A comparison, its sides lowered."""
        floats = "float" in (category(self.facts.dtype(node.left)), category(self.facts.dtype(node.comparators[0])))
        if self.region.incore and floats and isinstance(node.ops[0], ast.NotEq) and not self.facts.constant(node):
            return call("_unequal", [left, right])
        return ast.Compare(left, node.ops, [right])

    def known(self, name: str, value: ast.expr, lowered: ast.expr) -> dict[str, Any]:
        """What is certain of a name for being bound once, to `value`."""
        form, bindings, of = linear(lowered), self.subject.bindings, self._integer(value)
        plain = all(a == "" or (a.isidentifier() and bindings[a] <= 1) for a in form)
        return {
            "source": value,
            "form": self._expanded(form) if plain else None,
            "constant": self.facts.constant(value),
            "bits": None if of is None else min(self._bits(value), numbers.width(of)[0]),
        }

    def fixed(self, upper: ast.expr, lower: ast.expr | None) -> bool:
        """True when upper - lower does not depend on anything known only at run time."""
        difference = self._difference(upper, lower)
        return all(n == 0 or self._settled(atom) for atom, n in difference.items() if atom != "")

    def extent(self, upper: ast.expr, lower: ast.expr | None) -> int | None:
        """upper - lower, when it does not depend on anything known only at run time."""
        difference = self._difference(upper, lower)
        constant = difference.pop("", 0)
        whole = math.isfinite(constant) and constant == int(constant)
        return int(constant) if whole and not any(difference.values()) else None

    def _difference(self, upper: ast.expr, lower: ast.expr | None) -> dict[str, float]:
        difference = self._expanded(linear(self.whole.expr(upper)))
        for atom, n in self._expanded(linear(self.whole.expr(lower)) if lower is not None else {}).items():
            difference[atom] = difference.get(atom, 0) - n
        return difference

    def _settled(self, atom: str) -> bool:
        """True for what is known when the kernel is parsed: literals, variables of pl.unroll, `x.shape[0]`."""
        found = {n.id for n in walk(ast.parse(atom)) if isinstance(n, ast.Name)}
        known = all(self.names[n].unrolled or n in self.facts.literal for n in found)
        return known or re.fullmatch(r"\w+\.shape\[\d+\]", atom) is not None

    def _expanded(self, form: dict[str, float]) -> dict[str, float]:
        """A linear form with names replaced by what they were bound to."""
        out: dict[str, float] = {}
        for atom, n in form.items():
            bound = self.names[atom].form
            for inner, k in ({atom: 1} if bound is None else bound).items():
                out[inner] = out.get(inner, 0) + n * k
        return out

    def _number_call(self, name: str, node: ast.expr, args: list[ast.expr]) -> ast.Call:
        return call(name, [load("_m"), self.place(node), *args])

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
        return call("_wrapped", [plain, ast.Constant(bits), ast.Constant(signed)])

    def _bits(self, node: ast.expr) -> int:
        """The bits of the largest magnitude that an integer expression can have, were it exact."""
        if self.facts.constant(node):
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
                return a if self.facts.constant(node.right) and self._folded(node.right) != -1 else a + 1
            return a if isinstance(node.op, (ast.Mod, ast.RShift)) else 64
        if isinstance(node, ast.UnaryOp):
            return self._bits(node.operand) + isinstance(node.op, ast.USub)
        if isinstance(node, ast.Name):
            bits = COUNTER if node.id in self._counters else self.names[node.id].bits
            return most if bits is None else min(bits, most)
        if isinstance(node, ast.Call) and self.facts.counts(node):
            return COUNTER
        return most

    def _folded(self, node: ast.expr) -> object:
        """The value of a constant expression, or None when only the call knows it."""
        value = self.whole.expr(node)
        return evaluate(value) if is_constant(value) else None


def _bare(node: ast.expr, of: DType | None) -> ast.expr:
    """A side of a sum or product without a wrapping of its own: that of the whole, no wider, does for both."""
    own = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_wrapped"
    return node.args[0] if own and of is not None and node.args[1].value >= of.bits else node
