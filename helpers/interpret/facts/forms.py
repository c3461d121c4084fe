"""What the parts of the lowering share: constants, parameters, linear forms."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from typing import Any

from helpers.interpret.language import annotations
from helpers.interpret.source.source import Place
from helpers.interpret.source.walk import walk

# The two planes (PyPTO manual, Programming Model). An inline function is compiled once for each it is used in.
ORCHESTRATION, INCORE = "orchestration", "incore"

# Operations between numbers that are another way to write an operator.
OPERATORS = {"add": ast.Add, "sub": ast.Sub, "mul": ast.Mult, "div": ast.Div}

MISSING = object()

# Calls that arithmetic is lowered to (machine, place, left, right).
WRITTEN = {"_quotient": ast.FloorDiv(), "_remainder": ast.Mod(), "_shifted": None}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: its name and what its annotation says."""

    name: str
    type: annotations.Type
    default: Any = None  # of a scalar that the caller may leave out
    place: Place | None = None  # in the kernel's file


def dynamic_axes(t: annotations.Type) -> set[int]:
    return {i for i, n in enumerate(t.shape or ()) if isinstance(n, annotations.Dim)}


def handed_on(body: list[ast.stmt]) -> set[str]:
    """Names that regions in `body` take in or hand on; they are bound to None until something binds them."""
    nodes = [n for s in body for n in walk(s) if hasattr(n, "live_after")]
    return {name for n in nodes for name in (*n.live_after, *n.needed)}


def name_tuple(names_: list[str], context: ast.expr_context) -> ast.Tuple:
    return ast.Tuple([ast.Name(n, context) for n in names_], context)


def linear(node: ast.expr) -> dict[str, float]:
    """An integer expression as {atom: coefficient}; "" is the constant term, other atoms are source text."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_wrapped":
        node = node.args[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return {"": node.value}
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        out = dict(linear(node.left))
        sign = 1 if isinstance(node.op, ast.Add) else -1
        for atom, n in linear(node.right).items():
            out[atom] = out.get(atom, 0) + sign * n
        return out
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        a, b = linear(node.left), linear(node.right)
        for factor, rest in ((a, b), (b, a)):
            if factor.keys() <= {""}:
                return {atom: n * factor.get("", 0) for atom, n in rest.items()}
    if isinstance(node, (ast.BinOp, ast.UnaryOp)) and is_constant(node):
        return {"": evaluate(node)}
    lowered = any(isinstance(n, ast.Call) for n in walk(node))
    return {ast.unparse(_Written().visit(copy.deepcopy(node)) if lowered else node): 1}


def is_constant(node: ast.expr) -> bool:
    """True for an expression of the generated code that is made of constants."""
    return isinstance(node, ast.Constant) or (
        isinstance(node, (ast.BinOp, ast.UnaryOp))
        and all(isinstance(n, (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)) for n in walk(node))
    )


def evaluate(node: ast.expr) -> Any:
    """The value of such."""
    if isinstance(node, ast.Constant):
        return node.value
    return eval(compile(ast.fix_missing_locations(ast.Expression(node)), "<constant>", "eval"))


class _Written(ast.NodeTransformer):
    """Arithmetic that was lowered to calls (`numbers`), as it was written."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "_wrapped":
            return node.args[0]
        if name in WRITTEN:
            sign = WRITTEN[name] if name != "_shifted" else ast.LShift() if node.args[5].value else ast.RShift()
            return ast.BinOp(node.args[2], sign, node.args[3])
        if name == "_getitem" or name.startswith("_op_"):  # what is read is the same number wherever that is written
            return ast.Call(node.func, [node.args[0], *node.args[2:]], node.keywords)
        return node


def nodes_of(body: list[ast.stmt]) -> list[ast.AST]:
    """Every node of these statements."""
    return [n for b in body for n in walk(b)]
