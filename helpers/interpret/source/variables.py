"""Which variable each assignment of a kernel means: the names that PyPTO's parser sees.

A variable keeps its type in PyPTO ("Cannot reassign 't' with a different type"), but a name can stand for several
variables: before `@pl.jit` hands a function to the parser, its specializer gives the name a new one where it is
bound again at the depth it was first bound at (python/pypto/jit/specializer.py, `_visit_simple_assign`,
`_classify_loop_locals`, `visit_If`). So a name may change its type in a straight line or from one `with` to the next,
and not in a loop, an arm of an if, or from one loop to the next. In a `@pl.program` nothing is renamed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from helpers.interpret.source.walk import walk


def variables(tree: ast.FunctionDef, renames: bool) -> dict[int, str]:
    """For each name that a simple assignment binds, by `id` of the node: the variable that it means."""
    walk = _Renamer(tree, renames)
    walk.block(tree.body)
    return walk.found


class _Renamer:
    def __init__(self, tree: ast.FunctionDef, renames: bool):
        self.renames = renames
        self.found: dict[int, str] = {}
        self.bound = {a.arg: 0 for a in tree.args.args}  # name -> depth of its first assignment
        self.current: dict[str, str] = {}  # name -> the variable that it means now, when that is not its own
        self.count = 0
        self.depth = 0

    def block(self, body: Iterable[ast.stmt]) -> None:
        for s in body:
            self.statement(s)

    def statement(self, s: ast.stmt) -> None:
        if isinstance(s, ast.Assign) and len(s.targets) == 1 and isinstance(s.targets[0], ast.Name):
            self.assign(s.targets[0], annotated=False)
        elif isinstance(s, ast.AnnAssign) and s.value is not None and isinstance(s.target, ast.Name):
            self.assign(s.target, annotated=True)
        elif isinstance(s, ast.For):
            self.loop(s)
        elif isinstance(s, ast.If):
            self.branch(s)
        elif isinstance(s, (ast.With, ast.While)):
            self.inner(s.body)

    def assign(self, target: ast.Name, annotated: bool) -> None:
        name = target.id
        if name not in self.bound:
            self.bound[name] = self.depth
        elif self.renames and self.bound[name] == self.depth:
            self.rename(name)
        self.found[id(target)] = name if annotated and self.bound[name] != self.depth else self.current.get(name, name)

    def rename(self, name: str) -> None:
        self.count += 1
        self.current[name] = f"{name} {self.count}"

    def forget(self, names: Iterable[str]) -> None:
        for n in names:
            self.bound.pop(n, None)
            self.current.pop(n, None)

    def inner(self, body: list[ast.stmt]) -> None:
        self.depth += 1
        self.block(body)
        self.depth -= 1

    def loop(self, s: ast.For) -> None:
        """A name of another loop at this depth is carried when the body reads it first, and else begins anew."""
        if self.renames:
            read = _read_first(s.body)
            again = [n for n in _bound_at_top(s.body) if self.bound.get(n) == self.depth + 1]
            self.forget(n for n in again if n not in read)
            for n in again:
                if n in read:
                    self.rename(n)
                    self.bound[n] = self.depth
        self.inner(s.body)

    def branch(self, s: ast.If) -> None:
        """The second arm does not see what the first one bound."""
        before = set(self.bound)
        self.inner(s.body)
        if self.renames and s.orelse:
            self.forget(set(self.bound) - before)
        self.inner(s.orelse)


def _bound_at_top(body: list[ast.stmt]) -> list[str]:
    """Names that the statements of a block itself assign."""
    out: dict[str, None] = {}
    for s in body:
        for t in s.targets if isinstance(s, ast.Assign) else [s.target] if isinstance(s, ast.AnnAssign) else []:
            out.update(dict.fromkeys(_names(t, ast.Store)))
    return list(out)


def _names(node: ast.AST, context: type) -> set[str]:
    return {n.id for n in walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def _read_first(body: list[ast.stmt]) -> set[str]:
    """Names that a block reads before it writes them."""
    read: set[str] = set()
    _reads(body, set(), read)
    return read


def _reads(body: list[ast.stmt], written: set[str], read: set[str]) -> None:
    for s in body:
        if isinstance(s, (ast.Assign, ast.AnnAssign)):
            if s.value is not None:
                read |= _names(s.value, ast.Load) - written
            for t in s.targets if isinstance(s, ast.Assign) else [s.target]:
                read |= _names(t, ast.Load) - written
                written |= _names(t, ast.Store)
        elif isinstance(s, ast.While):
            read |= _names(s.test, ast.Load) - written
            _reads(s.body, written, read)
        elif isinstance(s, ast.For):
            read |= _names(s.iter, ast.Load) - written
            written |= _names(s.target, ast.Store)
            _reads(s.body, written, read)
        elif isinstance(s, ast.If):
            read |= _names(s.test, ast.Load) - written
            arms = [set(written), set(written)]
            _reads(s.body, arms[0], read)
            _reads(s.orelse, arms[1], read)
            written |= arms[0] & arms[1]
        elif isinstance(s, ast.With):
            for item in s.items:
                read |= _names(item.context_expr, ast.Load) - written
                if item.optional_vars is not None:
                    written |= _names(item.optional_vars, ast.Store)
            _reads(s.body, written, read)
        else:
            read |= _names(s, ast.Load) - written
