"""Casts of products that stay with the cube, found while a kernel is lowered.

A product in FP32 that is cast to BF16 or FP16 with mode="rint", only to be multiplied on, leaves L0C for L1 in that
type (PyPTO docs/en/dev/passes/15-auto_tile_matmul_l0.md, "Fits-L0c chained cast-fold"); any other cast goes by way of a
vector core.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from helpers.interpret.ops import FACTORS
from helpers.interpret.source.walk import walk

Path = Callable[[ast.expr], str | None]


def folded(tree: ast.FunctionDef, path: Path) -> set[int]:
    """The casts, by `id` of the call: each is an operand, or bound to a name that only products read."""
    operands = set()
    for n in walk(tree):
        name = (path(n.func) or "").rpartition(".")[-1] if isinstance(n, ast.Call) else ""
        if name in FACTORS and not any(k.arg in ("a_trans", "b_trans") for k in n.keywords):
            operands |= {id(n.args[i]) for i in FACTORS[name] if i < len(n.args)}
            operands |= {id(k.value) for k in n.keywords if k.arg in ("lhs", "rhs")}
    names = [n for n in walk(tree) if isinstance(n, ast.Name)]
    read_else = {n.id for n in names if isinstance(n.ctx, ast.Load) and id(n) not in operands}
    bound: dict[str, list[ast.expr | None]] = {}
    simple = set()
    for s in walk(tree):
        target = s.targets[0] if isinstance(s, ast.Assign) else s.target if isinstance(s, ast.AnnAssign) else None
        if isinstance(target, ast.Name):
            simple.add(id(target))
            bound.setdefault(target.id, []).append(s.value)
    mixed = {n.id for n in names if isinstance(n.ctx, ast.Store) and id(n) not in simple}
    mixed |= {a.arg for a in tree.args.args}
    found = {id(n) for n in walk(tree) if id(n) in operands and _narrows(n, path)}
    for name, values in bound.items():
        if name not in read_else | mixed and all(v is not None and _narrows(v, path) for v in values):
            found |= {id(v) for v in values}
    return found


def _narrows(value: ast.AST, path: Path) -> bool:
    """`pl.cast(x, pl.BF16, mode="rint")`."""
    if not isinstance(value, ast.Call) or (path(value.func) or "").rpartition(".")[-1] != "cast":
        return False
    named = {k.arg: k.value for k in value.keywords}
    to = value.args[1] if len(value.args) > 1 else named.get("target_type")
    mode = value.args[2] if len(value.args) > 2 else named.get("mode")
    rint = isinstance(mode, ast.Constant) and mode.value in ("rint", 1)
    return rint and to is not None and path(to) in ("BF16", "FP16")
