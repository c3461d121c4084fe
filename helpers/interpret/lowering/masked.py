"""Ifs and loops of a region that hold nothing but numbers, lowered so that blocks may go different ways together."""

from __future__ import annotations

import ast

from helpers.interpret.facts.forms import name_tuple
from helpers.interpret.lowering.code import Part, call, load, machine
from helpers.interpret.source.walk import walk

ACCESSES = {"read", "tensor.read", "write", "tensor.write"}


class Masked(Part):
    """Puts such ifs and loops under masks (see `helpers.interpret.machine.masks`)."""

    def only_numbers(self, body: list[ast.stmt]) -> bool:
        """True for statements that compute numbers, read and write single ones, and loops and ifs of such."""
        return all(map(self._of_numbers, body))

    def _of_numbers(self, s: ast.stmt) -> bool:
        if isinstance(s, ast.Pass):
            return True
        if isinstance(s, ast.Assign):
            target = s.targets[0]
            return isinstance(target, ast.Name) and (self._is_number(s.value) or self._writes(s.value))
        if isinstance(s, ast.Expr):
            return self._writes(s.value)
        if isinstance(s, ast.If):
            return self._is_number(s.test) and self.only_numbers(s.body) and self.only_numbers(s.orelse)
        if not isinstance(s, ast.For) or not isinstance(s.target, ast.Name) or not isinstance(s.iter, ast.Call):
            return False
        plain = self.pl_path(s.iter.func) == "range" and not s.iter.keywords
        return plain and all(map(self._is_number, s.iter.args)) and self.only_numbers(s.body)

    def _is_number(self, node: ast.expr) -> bool:
        return self.kind(node) in ("scalar", "bool") and self._calls(node, ACCESSES | {"min", "max", "cast", "const"})

    def _writes(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Call) or self.pl_path(node.func) not in ("write", "tensor.write"):
            return False
        return self._calls(node, ACCESSES | {"min", "max", "cast", "const"})

    def _calls(self, node: ast.expr, allowed: set[str]) -> bool:
        """True when an expression calls only these, and reads no tile."""
        for n in walk(node):
            if isinstance(n, ast.Call):
                path = self.pl_path(n.func)
                if path not in allowed or (path in ACCESSES and self.facts.level(n.args[0]) != "tensor"):
                    return False
            if isinstance(n, ast.Subscript) and self.facts.level(n.value) == "tile":
                return False
        return True

    def masked_if(self, s: ast.If, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> list[ast.stmt]:
        """`if test: body else: orelse`, all lowered: an arm is a loop of one turn or none."""
        asked = f"_test_{s.lineno}_{s.col_offset}"
        before, then = f"{asked}_before", f"{asked}_then"
        names = sorted(_bound([*s.body, *s.orelse]))
        self.blocks.begin(names)

        def at_odds(*then: ast.stmt) -> list[ast.stmt]:
            return [ast.If(call("_at_odds", [load(asked)]), list(then), [])] if names else []

        return [
            _store(asked, machine("masks.branch", [test])),
            *([_store(before, name_tuple(names, ast.Load()))] if names else []),
            self._arm(asked, True, body),
            *([_store(then, name_tuple(names, ast.Load()))] if names else []),
            *at_odds(ast.Assign([name_tuple(names, ast.Store())], load(before))),
            *([self._arm(asked, False, orelse)] if orelse else []),
            *at_odds(ast.Assign([name_tuple(names, ast.Store())], machine(
                "masks.merged", [load(asked), load(then), name_tuple(names, ast.Load())]))),
        ]  # fmt: skip

    def masked_loop(self, s: ast.For, bounds: list[ast.expr], body: list[ast.stmt]) -> list[ast.stmt]:
        """`for s.target in pl.range(bounds): body`, lowered."""
        names = sorted(_bound(s.body))
        self.blocks.begin(names)
        before = f"_before_{s.lineno}_{s.col_offset}"
        if names:
            now = machine("masks.after_turn", [load(before), name_tuple(names, ast.Load())])
            body = [
                _store(before, name_tuple(names, ast.Load())),
                *body,
                ast.Assign([name_tuple(names, ast.Store())], now),
            ]
        return [ast.For(s.target, ast.copy_location(machine("masks.side_by_side", bounds), s.iter), body, [])]

    def _arm(self, asked: str, wanted: bool, body: list[ast.stmt]) -> ast.For:
        arm = machine("masks.arm", [load(asked), ast.Constant(wanted)])
        return ast.For(ast.Name("_", ast.Store()), arm, body, [])


def _store(name: str, value: ast.expr) -> ast.Assign:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _bound(body: list[ast.stmt]) -> set[str]:
    """Names of numbers and of loops that these statements bind."""
    return {n.id for s in body for n in walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
