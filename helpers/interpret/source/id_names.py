"""Names of task ids, as PyPTO's parser sees them.

Source: python/pypto/language/parser/ast_parser.py (`_parse_submit_deps_kwarg`, `_validate_predicate_shape`,
`_validate_predicate_deps`), python/pypto/language/scope.py and src/ir/transforms/classify_iter_arg_carry_pass.cpp, all
of PyPTO. What an id means where it is used is another matter: `helpers.interpret.machine.task_ids`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from helpers.interpret.source.walk import walk

Path = Callable[[ast.expr], str | None]

MAKES_IDS = {"system.task_dummy", "system.task_invalid"}
SUBMITS = {"submit", "spmd_submit"}
UNSEEN = "\u200b"  # at the end of a name: it is another one, and is shown as the same


def rename(tree: ast.FunctionDef) -> None:
    """Give each `as tid` a name of its own.

    PyPTO's parser makes a new variable of every `as tid`, also where the name is bound already: `with pl.at(...,
    deps=[prev]) as prev:` in a loop waits in every turn for what `prev` was before the loop. Names mean the latest
    one in the order of the text.
    """
    _Renamer(tree).block(tree.body)


class _Renamer(ast.NodeTransformer):
    def __init__(self, tree: ast.FunctionDef):
        self.bound = {a.arg for a in walk(tree.args) if isinstance(a, ast.arg)}
        self.now: dict[str, str] = {}  # a name -> the variable that it means here

    def block(self, body: list[ast.stmt]) -> None:
        for s in body:
            self.visit(s)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if isinstance(node.ctx, ast.Store):
            self.bound.add(node.id)
        node.id = self.now.get(node.id, node.id)
        return node

    def visit_With(self, node: ast.With) -> ast.With:
        for item in node.items:
            item.context_expr = self.visit(item.context_expr)
            if isinstance(item.optional_vars, ast.Name):
                item.optional_vars.id = self.fresh(item.optional_vars.id)
            elif item.optional_vars is not None:
                self.visit(item.optional_vars)
        self.block(node.body)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        node.value = self.visit(node.value)  # the value is read before the target is bound
        node.targets = [self.visit(t) for t in node.targets]
        return node

    def visit_For(self, node: ast.For) -> ast.For:
        node.iter = self.visit(node.iter)
        before = dict(self.now)
        node.target = self.visit(node.target)
        self.block(node.body)
        if any(k.arg == "init_values" for k in getattr(node.iter, "keywords", ())):
            self.now = before  # of such a loop only the results reach beyond it
        return node

    def fresh(self, name: str) -> str:
        if name not in self.bound:
            self.bound.add(name)
            return name
        self.now[name] = self.now.get(name, name) + UNSEEN
        return self.now[name]


def names(tree: ast.FunctionDef, path: Path) -> set[str]:
    """Names that can hold a task id: bound to one, named in a deps=, or handed on from such a name."""
    found: set[str] = set()
    same: list[tuple[str, str]] = []
    for n in walk(tree):
        if isinstance(n, ast.With):
            found |= {i.optional_vars.id for i in n.items if isinstance(i.optional_vars, ast.Name)}
        elif isinstance(n, ast.Assign) and len(n.targets) == 1:
            _assigned(n.targets[0], n.value, path, found, same)
        elif isinstance(n, ast.keyword) and n.arg == "deps":
            found |= {e.id for e in getattr(n.value, "elts", ()) if isinstance(e, ast.Name)}
        elif isinstance(n, ast.For) and isinstance(n.iter, ast.Call):
            init = next((k.value for k in n.iter.keywords if k.arg == "init_values"), None)
            if isinstance(init, (ast.Tuple, ast.List)) and isinstance(n.target, ast.Tuple):
                carried = n.target.elts[-1]
                for name, value in zip(getattr(carried, "elts", ()), init.elts):
                    _assigned(name, value, path, found, same)
    grown = True
    while grown:
        more = {x for pair in same if found & set(pair) for x in pair}
        grown = not more <= found
        found |= more
    return found


def _assigned(target: ast.expr, value: ast.expr, path: Path, found: set[str], same: list[tuple[str, str]]) -> None:
    call = path(value.func) if isinstance(value, ast.Call) else None
    if call in SUBMITS and isinstance(target, ast.Tuple) and isinstance(target.elts[-1], ast.Name):
        found.add(target.elts[-1].id)
    if call == "yield_":
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        pairs = [(t, v) for t, v in zip(targets, value.args) if isinstance(t, ast.Name) and isinstance(v, ast.Name)]
        same += [(t.id, v.id) for t, v in pairs]
    if not isinstance(target, ast.Name):
        return
    if call in MAKES_IDS or nothing(value):
        found.add(target.id)
    if isinstance(value, ast.Name):
        same.append((target.id, value.id))


def nothing(node: ast.expr) -> bool:
    """True for None."""
    return isinstance(node, ast.Constant) and node.value is None
