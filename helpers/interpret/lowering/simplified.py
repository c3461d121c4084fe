"""What PyPTO's simplifier makes of `//` and `%` by a constant before it generates code.

It takes both for rounded down, and takes multiples of the divisor out of a sum: `(v + 8) % 8` becomes `v % 8`, and
`(v * 8 + w) // 8` becomes `v + w // 8`. What is left is computed on the device, toward zero. So for a negative `v` the
first is negative, too, and the second is not what either rule gives. The same steps are taken here.

Source: src/ir/arith/rewrite_simplify.cpp, and what PyPTO generates (`ptoas/*.pto`) for some 150 expressions.
A divisor that is no constant (`(v * j + i) // j`), and `<` of a quotient, are simplified there and not here.
"""

from __future__ import annotations

import ast

from helpers.interpret.facts.infer import Facts


class Simplified:
    """Simplifies quotients and remainders."""

    def __init__(self, facts: Facts):
        self.facts = facts

    def of(self, node: ast.BinOp) -> ast.expr | None:
        """A `//` or `%` as PyPTO simplifies it; None when it stays as it is, or when that makes no difference."""
        by = self._known(node.right)
        if by is None or by <= 0 or self.facts.dtype(node) not in ("INDEX", "INT64") or not self._wide(node.left):
            return None
        rest, constant = self._taken_apart(node.left)
        made = (
            self._divided(rest, constant, by) if isinstance(node.op, ast.FloorDiv) else self._left(rest, constant, by)
        )
        return None if made is None else ast.fix_missing_locations(ast.copy_location(made, node))

    def _divided(self, rest: ast.expr, constant: int, by: int) -> ast.expr | None:
        """(rest + constant) // by."""
        if constant and constant % by == 0:
            return _sum(_binary(rest, ast.FloorDiv(), by), constant // by)
        if constant:
            x, factor = self._multiple(rest)
            if factor % by == 0:
                return _sum(_binary(x, ast.Mult(), factor // by), constant // by)
            inner = self._known(rest.right) if _is(rest, ast.FloorDiv) and self._wide(rest) else None
            if inner is not None and inner > 0:
                return _binary(_sum(rest.left, inner * constant), ast.FloorDiv(), inner * by)
            return None
        for part, other in ((rest.left, rest.right), (rest.right, rest.left)) if _is(rest, ast.Add) else ():
            x, factor = self._multiple(part)
            if factor % by == 0:
                return ast.BinOp(_binary(x, ast.Mult(), factor // by), ast.Add(), _binary(other, ast.FloorDiv(), by))
        return None

    def _left(self, rest: ast.expr, constant: int, by: int) -> ast.expr | None:
        """(rest + constant) % by."""
        x, factor = self._multiple(rest)
        if factor % by == 0:
            return ast.Constant(constant % by)
        if constant:
            return _binary(_sum(rest, constant % by), ast.Mod(), by) if constant != constant % by else None
        if _is(rest, ast.Add):
            for part, other in ((rest.left, rest.right), (rest.right, rest.left)):
                if self._multiple(part)[1] % by == 0:
                    return _binary(other, ast.Mod(), by)
            x, factor = self._multiple(rest.right)
            if factor != 1 and factor % by != factor:
                total = ast.BinOp(rest.left, ast.Add(), _binary(x, ast.Mult(), factor % by))
                return _binary(total, ast.Mod(), by)
        elif factor != 1 and factor % by != factor:
            return _binary(_binary(x, ast.Mult(), factor % by), ast.Mod(), by)
        return None

    def _taken_apart(self, node: ast.expr) -> tuple[ast.expr, int]:
        """A sum as (rest, constant), as far as PyPTO moves constants to its end: of `x - 1` it does not."""
        if not (_is(node, ast.Add, ast.Sub) and self._wide(node)):
            return node, 0
        a, b = node.left, node.right
        first, second = self._known(a), self._known(b)
        if isinstance(node.op, ast.Add) and first is not None:
            a, b, first, second = b, a, second, first
        if second is not None:
            return self._moved(node, a, second if isinstance(node.op, ast.Add) else -second)
        if first is not None:
            return node, 0
        rest, constant = self._taken_apart(a)
        if constant:
            return ast.BinOp(rest, node.op, b), constant
        return self._of_second(node, a, b)

    def _moved(self, node: ast.BinOp, a: ast.expr, constant: int) -> tuple[ast.expr, int]:
        """a + constant."""
        if _is(a, ast.Sub) and self._wide(a):
            left, right = self._known(a.left), self._known(a.right)
            if left == 0:
                return ast.BinOp(ast.Constant(constant), ast.Sub(), a.right), 0
            if right is not None and right == constant:
                return self._taken_apart(a.left)
        rest, inner = self._taken_apart(a)
        if isinstance(node.op, ast.Sub) and not inner:
            return node, 0
        return rest, inner + constant

    def _of_second(self, node: ast.BinOp, a: ast.expr, b: ast.expr) -> tuple[ast.expr, int]:
        """x + (c - y), x - (y - c), x - (y + c)."""
        if not (_is(b, ast.Add, ast.Sub) and self._wide(b)):
            return node, 0
        left, right = self._known(b.left), self._known(b.right)
        if isinstance(node.op, ast.Add):
            return (ast.BinOp(a, ast.Sub(), b.right), left) if _is(b, ast.Sub) and left is not None else (node, 0)
        if right is not None:
            return ast.BinOp(a, ast.Sub(), b.left), right if _is(b, ast.Sub) else -right
        return node, 0

    def _multiple(self, node: ast.expr) -> tuple[ast.expr, int]:
        """A product as (x, constant factor); of anything else (itself, 1)."""
        if not (isinstance(node, ast.BinOp) and self._wide(node)):
            return node, 1
        a, b = self._known(node.left), self._known(node.right)
        if isinstance(node.op, ast.Mult) and (a is not None or b is not None):
            x, factor = self._multiple(node.left if b is not None else node.right)
            return x, factor * (a if b is None else b)
        if isinstance(node.op, ast.FloorDiv) and b:
            x, factor = self._multiple(node.left)
            return (x, factor // b) if factor != 1 and factor % b == 0 else (node, 1)
        return node, 1

    def _known(self, node: ast.expr) -> int | None:
        """The value of an integer that PyPTO knows while it compiles."""
        return self.facts.extent(node, None) if self.facts.constant(node) else None

    def _wide(self, node: ast.expr) -> bool:
        """True for a number of 64 bits: one of 32 is cast before it is part of such a sum, which hides what it is."""
        return self.facts.dtype(node) in ("INDEX", "INT64")


def _is(node: ast.expr, *ops: type) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ops)


def _binary(x: ast.expr, op: ast.operator, n: int) -> ast.expr:
    return x if isinstance(op, ast.Mult) and n == 1 else ast.BinOp(x, op, ast.Constant(n))


def _sum(x: ast.expr, n: int) -> ast.expr:
    return ast.BinOp(x, ast.Add(), ast.Constant(n)) if n else x
