"""`optimizations=[pl.auto_chunk]`, of kernels written for an earlier PyPTO: the one that is followed has it no more.

In such a region a `for i in pl.parallel(n, chunk=c)` is cut into tasks of c turns each, and what stands between the
loops is a task of its own. The same is written today as a `pl.parallel` over the chunks with a `pl.at` in it, so that
is what the tree of a function is turned into before anything else looks at it.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable


def rewrite(tree: ast.FunctionDef, path: Callable[[ast.expr], str | None]) -> None:
    """Replace the regions with `pl.auto_chunk` in place; `path` says what a node is below `pl`."""
    _Rewriter(path).visit(tree)
    ast.fix_missing_locations(tree)


class _Rewriter(ast.NodeTransformer):
    def __init__(self, path: Callable[[ast.expr], str | None]):
        self.path = path

    def visit_With(self, node: ast.With) -> ast.AST | list[ast.stmt]:
        call = node.items[0].context_expr
        if not isinstance(call, ast.Call) or self.path(call.func) != "at":
            return self.generic_visit(node)
        given = next((k for k in call.keywords if k.arg == "optimizations"), None)
        listed = given.value.elts if given is not None and isinstance(given.value, ast.List) else []
        if not any(self.path(e) == "auto_chunk" for e in listed):
            return self.generic_visit(node)
        given.value.elts = [e for e in listed if self.path(e) != "auto_chunk"]
        if not given.value.elts:
            call.keywords.remove(given)
        return self._regions(node)

    def _regions(self, node: ast.With) -> list[ast.stmt]:
        """One region for each run of plain statements, and a loop of them for each loop with chunks."""
        out: list[ast.stmt] = []
        plain: list[ast.stmt] = []

        def region(body: list[ast.stmt]) -> ast.With:
            return ast.copy_location(ast.With(copy.deepcopy(node.items), body), node)

        for s in node.body:
            chunk = self._chunk(s)
            if chunk is None:
                plain.append(s)
                continue
            if plain:
                out.append(region(plain))
                plain = []
            out.append(self._chunks(s, chunk, region))
        return [*out, region(plain)] if plain else out

    def _chunk(self, s: ast.stmt) -> ast.expr | None:
        if isinstance(s, ast.For) and isinstance(s.iter, ast.Call) and self.path(s.iter.func) == "parallel":
            return next((k.value for k in s.iter.keywords if k.arg == "chunk"), None)
        return None

    def _chunks(self, s: ast.For, chunk: ast.expr, region: Callable[[list[ast.stmt]], ast.With]) -> ast.For:
        """for first in pl.parallel(start, stop, chunk): with pl.at(...): for i in pl.range(first, end): ..."""
        call = s.iter
        bounds = call.args if len(call.args) > 1 else [ast.Constant(0), *call.args]
        start, stop = bounds[:2]
        step = bounds[2] if len(bounds) > 2 else ast.Constant(1)
        width = ast.BinOp(step, ast.Mult(), chunk)
        first = f"_chunk_{s.lineno}"
        pl = call.func.value

        def of_pl(name: str, *args: ast.expr) -> ast.Call:
            where = ast.Attribute(copy.deepcopy(pl), name, ast.Load())
            return ast.copy_location(ast.Call(where, [copy.deepcopy(a) for a in args], []), call)

        end = of_pl("min", ast.BinOp(ast.Name(first, ast.Load()), ast.Add(), width), stop)
        keywords = [k for k in call.keywords if k.arg not in ("chunk", "chunk_policy")]
        inner = ast.For(s.target, of_pl("range", ast.Name(first, ast.Load()), end, step), s.body, s.orelse)
        inner.iter.keywords = keywords
        outer = ast.For(
            ast.Name(first, ast.Store()), of_pl("parallel", start, stop, width),
            [region([ast.copy_location(inner, s)])], [],
        )  # fmt: skip
        return ast.copy_location(outer, s)
