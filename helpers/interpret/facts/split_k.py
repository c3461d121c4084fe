"""The one loop whose accumulator PyPTO cuts as a whole, where L0C does not hold it.

    acc = pl.create_tensor([M, N], dtype=pl.FP32)
    for k in pl.pipeline(...):
        a, b = tiles of step k, and numbers
        if first: acc = pl.matmul(a, b)
        else: acc = pl.matmul_acc(acc, a, b)
    out = the store of acc

Source: MatchCanonicalSplitKAcc in PyPTO src/ir/transforms/auto_tile_matmul_l0_pass.cpp.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from helpers.interpret.ops import STORES
from helpers.interpret.source.walk import walk

Path = Callable[[ast.expr], str | None]


def found(body: list[ast.stmt], path: Path) -> list[ast.For]:
    """The loops of that form among these statements."""
    return [s for s in (_matched(*three, path) for three in zip(body, body[1:], body[2:])) if s is not None]


def _matched(create: ast.stmt, loop: ast.stmt, store: ast.stmt, path: Path) -> ast.For | None:
    name = _target(create)
    if name is None or _called(create, path) not in ("create_tensor", "create_tile", "create"):
        return None
    if not isinstance(loop, ast.For) or not isinstance(loop.iter, ast.Call) or path(loop.iter.func) != "pipeline":
        return None
    *steps, last = loop.body
    if not isinstance(loop.target, ast.Name) or not isinstance(last, ast.If) or not _stored(store, name, path):
        return None
    arms = [_arm(arm, name, path) for arm in (last.body, last.orelse)]
    if None in arms or {how for how, _ in arms} != {"matmul", "matmul_acc"} or arms[0][1] != arms[1][1]:
        return None
    factors = arms[0][1]
    plain = all(_target(s) in factors or (_target(s) and not _has_call(s.value)) for s in steps)
    return loop if plain and len(set(factors)) == 2 and set(factors) <= {_target(s) for s in steps} else None


def _target(s: ast.stmt) -> str | None:
    t = s.targets[0] if isinstance(s, ast.Assign) else s.target if isinstance(s, ast.AnnAssign) else None
    return t.id if isinstance(t, ast.Name) else None


def _has_call(value: ast.expr) -> bool:
    return any(isinstance(n, (ast.Call, ast.Subscript)) for n in walk(value))


def _called(s: ast.stmt, path: Path) -> str:
    value = getattr(s, "value", None)
    return (path(value.func) or "").rpartition(".")[-1] if isinstance(value, ast.Call) else ""


def _arm(body: list[ast.stmt], name: str, path: Path) -> tuple[str, tuple[str, ...]] | None:
    """("matmul", (a, b)) for an arm that does nothing else."""
    if len(body) != 1 or _target(body[0]) != name:
        return None
    how, args = _called(body[0], path), [getattr(a, "id", "") for a in getattr(body[0].value, "args", [])]
    if any(k.arg in ("a_trans", "b_trans", "init_cond") for k in getattr(body[0].value, "keywords", [])):
        return None
    if how == "matmul_acc":
        return (how, tuple(args[1:])) if args[:1] == [name] and len(args) == 3 else None
    return (how, tuple(args)) if how == "matmul" and len(args) == 2 else None


def _stored(s: ast.stmt, name: str, path: Path) -> bool:
    """`out[...] = acc`, pl.assemble(out, acc, ...) or pl.store(acc, ...), and nothing else with it."""
    uses = sum(isinstance(n, ast.Name) and n.id == name for n in walk(s))
    if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Subscript):
        return isinstance(s.value, ast.Name) and s.value.id == name and uses == 1
    return _called(s, path) in STORES and uses == 1
