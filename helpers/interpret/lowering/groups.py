"""Functions of type Group and `pl.cluster`, lowered: cube and vector functions that run at the same time."""

from __future__ import annotations

import ast

from helpers.interpret.facts.forms import INCORE
from helpers.interpret.facts.names import Value
from helpers.interpret.language.decorated import unwrap
from helpers.interpret.lowering.code import Part, assigned, machine
from helpers.interpret.source import live

POPS = {f"{space}tpop_from_{core}" for space in ("", "system.", "tile.") for core in ("aic", "aiv")}


class Groups(Part):
    """Does cores that run together."""

    def group(self, tree: ast.FunctionDef) -> list[ast.stmt]:
        """The body of a Group function: it calls its cores' functions and returns what they return."""
        body = [s for s in tree.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        end = [body.pop()] if body and isinstance(body[-1], ast.Return) else []
        return [*self._together(body, tree, "pipes.together"), *self.whole.block(end)]

    def _together(self, body: list[ast.stmt], at: ast.AST, method: str, *first: ast.expr) -> list[ast.stmt]:
        """`results = _m.pipes.together(place, members)` and an assignment of each result that has a name."""
        members, names = [], []
        known = set(self.subject.locals) - live.stores(body)
        for s in body:
            call = s.value if isinstance(s, (ast.Expr, ast.Assign)) and isinstance(s.value, ast.Call) else None
            found = (
                unwrap(self.subject.member(call.func)) if call is not None and self.subject.member(call.func) else None
            )
            core = found[2].get("core") if found is not None else None
            if core is None or call.keywords:
                raise self.refuse(
                    s, "a Group does nothing but call cube and vector functions, which run at the same time",
                    "self.f(x, out), of functions of type AIC and AIV",
                )  # fmt: skip
            compiled = self.whole.compiled(self.subject.member(call.func), INCORE)
            self.whole.calls.note_callee(compiled)
            if len(call.args) != len(compiled.parameters):
                raise self.refuse(call, f"'{compiled.name}' takes {', '.join(p.name for p in compiled.parameters)}")
            for a in call.args:
                if isinstance(a, ast.Name) and a.id in self.subject.locals and a.id not in known and a.id in names:
                    raise self.refuse(a, f"'{a.id}' is a result of a core that runs at the same time", "pass a tensor")
            args = ast.Tuple([self.whole.expr(a) for a in call.args], ast.Load())
            parts = [ast.Constant(compiled.name), ast.Constant(core), self.bind(compiled.run, compiled.name), args]
            members.append(ast.Tuple(parts, ast.Load()))
            names.append(s.targets[0].id if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) else None)
        launch = machine(method, [self.place(at), *first, ast.List(members, ast.Load())])
        out: list[ast.stmt] = [assigned(at, "_results", launch)]
        for i, name in enumerate(names):
            if name is not None:
                value = ast.Subscript(ast.Name("_results", ast.Load()), ast.Constant(i), ast.Load())
                out.append(assigned(at, name, value))
                self.names.put(name, Value("any"))
                self.blocks.bind([name])
        return [ast.copy_location(s, at) for s in out]

    def cluster(self, s: ast.With) -> list[ast.stmt]:
        """`with pl.cluster():` around calls of cube and vector functions is a Group; around scopes it is nothing."""
        self.checks.directives.check_cluster(s, s.items[0].context_expr)
        calls = [n.value for n in s.body if isinstance(n, (ast.Expr, ast.Assign)) and isinstance(n.value, ast.Call)]
        cores = [c for c in calls if self.subject.member(c.func) and unwrap(self.subject.member(c.func))[2].get("core")]
        if not cores:
            return self.whole.block(s.body)
        return self._together(s.body, s, "launches.cluster", ast.Constant(f"cluster_{s.lineno}"))

    def check_pop(self, s: ast.Assign) -> None:
        """PyPTO takes the type of a popped tile from the name's annotation, or from shape= and dtype=."""
        call = s.value
        if isinstance(call, ast.Call) and self.pl_path(call.func) in POPS:
            if not {"shape", "dtype"} <= {k.arg for k in call.keywords}:
                raise self.refuse(
                    s, "the type of the popped tile is not known",
                    f"{ast.unparse(s.targets[0])}: pl.Tile[[rows, columns], pl.FP32, pl.Mem.Vec] = ...",
                )  # fmt: skip
