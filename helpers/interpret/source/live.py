"""Which names are still needed after a region of a kernel.

A tile that is assigned inside an InCore region and read after it must become a tensor in global memory; one
that is not read again must not. So does a block of a `pl.spmd` hand its results on. This is the usual backward
analysis over the function's AST; regions get the answer as attributes `live_after` and `needed`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache

from helpers.interpret.source.walk import walk

Which = Callable[[ast.stmt], bool]


def analyse(tree: ast.FunctionDef, is_region: Which, is_turns: Which, is_lanes: Which) -> None:
    """Set on each region of `tree`: `live_after` (assigned inside, read later) and `needed` (read inside before
    being assigned there, though assigned there). Loops whose turns become functions (`is_turns`) get them too. Those
    over vector lanes (`is_lanes`) are always gone through."""
    _Liveness(is_region, is_turns, is_lanes).block(tree.body, set())


def after(body: list[ast.stmt], out: set[str]) -> list[set[str]]:
    """For each statement of a block, which holds no regions, the names that are needed after it; `out`: at the end."""
    analysis = _Liveness(*[lambda s: False] * 3)
    needed = [set(out)]
    for s in reversed(body[1:]):
        needed.append(analysis.statement(s, set(needed[-1])))
    return needed[::-1]


def stores(nodes: list[ast.stmt]) -> set[str]:
    """Names assigned anywhere in these statements, targets of subscript assignments included."""
    out = set()
    for node in nodes:
        for n in walk(node):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
                out.add(n.id)
            elif isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store):
                root = n.value
                while isinstance(root, ast.Subscript):
                    root = root.value
                if isinstance(root, ast.Name):
                    out.add(root.id)
    return out


def _uses(node: ast.AST | None) -> set[str]:
    if node is None:
        return set()
    return {n.id for n in walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _effect(s: ast.Assign | ast.AnnAssign) -> tuple[set[str], set[str]]:
    """Names that an assignment binds, and those that it uses."""
    killed, used = set(), _uses(s.value)
    for t in s.targets if isinstance(s, ast.Assign) else [s.target]:
        for n in walk(t):
            if isinstance(n, ast.Name):
                (killed if isinstance(n.ctx, ast.Store) else used).add(n.id)
    return killed, used


class _Liveness:
    def __init__(self, is_region: Which, is_turns: Which, is_lanes: Which):
        # A loop is gone through until nothing changes, and so are the loops in it: each node is looked at once.
        self.is_region, self.is_turns, self.is_lanes = cache(is_region), cache(is_turns), cache(is_lanes)
        self.uses, self.effect = cache(_uses), cache(_effect)
        self.stored: dict[int, set[str]] = {}
        self.loops: list[tuple[set, set]] = []  # (live after the loop, live at its head)

    def stores(self, body: list[ast.stmt]) -> set[str]:
        if id(body) not in self.stored:
            self.stored[id(body)] = stores(body)
        return self.stored[id(body)]

    def block(self, body: list[ast.stmt], live: set[str]) -> set[str]:
        for statement in reversed(body):
            live = self.statement(statement, live)
        return live

    def statement(self, s: ast.stmt, live: set[str]) -> set[str]:
        if isinstance(s, ast.Return):
            return self.uses(s.value)
        if isinstance(s, ast.If):
            return self.block(s.body, set(live)) | self.block(s.orelse, set(live)) | self.uses(s.test)
        if self.is_region(s):
            return self.region(s, live)
        if isinstance(s, (ast.For, ast.While)):
            return self.loop(s, live)
        if isinstance(s, ast.With):
            names = {n for i in s.items for n in stores([ast.Expr(i.optional_vars)]) if i.optional_vars}
            inner = self.block(s.body, set(live))
            return (inner - names) | set().union(*(self.uses(i.context_expr) for i in s.items))
        if isinstance(s, ast.Break):
            return set(self.loops[-1][0]) if self.loops else live
        if isinstance(s, ast.Continue):
            return set(self.loops[-1][1]) if self.loops else live
        if isinstance(s, (ast.Assign, ast.AnnAssign)):
            killed, used = self.effect(s)
            return (live - killed) | used
        return live | self.uses(s)

    def loop(self, s: ast.For | ast.While, live: set[str]) -> set[str]:
        counted = isinstance(s, ast.For)
        target = stores([ast.Expr(s.target)]) if counted else set()
        asked = self.uses(s.iter if counted else s.test)
        head = set(live) if counted else live | asked
        while True:
            self.loops.append((live, head))
            inner = self.block(s.body, set(head))
            self.loops.pop()
            new = head | (inner - target)
            if new == head:
                break
            head = new
        if self.is_lanes(s):
            return (inner - target) | asked
        if self.is_turns(s):
            assigned = self.stores(s.body)
            s.live_after = sorted(set(getattr(s, "live_after", ())) | ((head & assigned) - target))
            s.needed = s.live_after
        return head | asked

    def region(self, s: ast.With | ast.For, live: set[str]) -> set[str]:
        assigned = self.stores(s.body)
        if isinstance(s, ast.With):
            outer = set().union(*(self.uses(i.context_expr) for i in s.items))
            bound = {n for i in s.items if i.optional_vars for n in stores([ast.Expr(i.optional_vars)])}
        else:
            outer, bound = self.uses(s.iter), stores([ast.Expr(s.target)])
        s.live_after = sorted(set(getattr(s, "live_after", ())) | ((live & assigned) - bound))
        inner = self.block(s.body, set(live))
        s.needed = sorted(set(getattr(s, "needed", ())) | ((inner & assigned) - bound))
        return (inner - bound) | outer | (live - assigned - bound)
