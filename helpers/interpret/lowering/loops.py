"""Loops of a kernel, lowered."""

from __future__ import annotations

import ast
from collections.abc import Callable

from helpers.errors import KernelError
from helpers.interpret.facts import split_k
from helpers.interpret.facts.forms import evaluate, handed_on, is_constant, name_tuple
from helpers.interpret.lowering.code import Part, Whole, assigned, load, machine
from helpers.interpret.source import live
from helpers.interpret.source.walk import walk

MOST_UNROLLED = 1024  # src/ir/transforms/unroll_loops_pass.cpp
LOOPS = {"range", "parallel", "unroll", "pipeline", "while_", "spmd", "split_aiv"}


Carried = tuple[list[ast.stmt], list[ast.stmt], list[tuple[str, str]]]


class Loops(Part):
    """Does loops."""

    def __init__(self, whole: Whole):
        super().__init__(whole)
        self._parted: set[int] = set()  # loops whose accumulator is cut as a whole, see `split_k`

    def note_parted(self, body: list[ast.stmt]) -> None:
        """Note the loops among the statements of a block whose accumulator is cut as a whole."""
        if self.region.incore:
            self._parted |= {id(s) for s in split_k.found(body, self.pl_path)}

    def loop(self, s: ast.For) -> list[ast.stmt]:
        call = s.iter
        path = self.pl_path(call.func) if isinstance(call, ast.Call) else None
        if path not in LOOPS:
            if isinstance(call, ast.Call) and self.outside(call.func) is range:
                raise self.refuse(
                    call, "Python's range in a kernel", "use pl.range (or pl.parallel, pl.unroll, pl.pipeline)"
                )
            raise self.refuse(s.iter, "a loop over something else than a pl loop", "use for i in pl.range(n)")
        if path == "spmd":
            return self.whole.scopes.spmd(s, call, s.target, s.body)
        if path == "split_aiv":
            return self._split_aiv(s, call)
        return self._promoted(s) + (self._while(s, call) if path == "while_" else self._counted(s, call, path))

    def not_followed(self, s: ast.AST, what: str, fix: str) -> KernelError:
        """What PyPTO takes in orchestration and does not follow.

        Source: tried on PyPTO; the pass that lowers break and continue is for regions (docs/en/dev/passes/03), and
        src/codegen/orchestration/orchestration_codegen.cpp knows neither them nor a WhileStmt: what it generates goes
        on after a break, and goes through the body of a while once.
        """
        return self.refuse(s, f"{what} in orchestration, which PyPTO takes and does not follow", fix)

    def _promoted(self, s: ast.For | ast.While) -> list[ast.stmt]:
        """Names that the loop binds first and that are read after it hold what they go into, before its first turn."""
        for name, of in s.promoted.items():
            self.names.begin_as(name, of)
        return [assigned(s, name, load(of)) for name, of in s.promoted.items()]

    def plain_while(self, s: ast.While) -> list[ast.stmt]:
        """`while n < 4:`, of a `@pl.program`: what its body binds again is carried round it."""
        if not self.region.incore:
            raise self.not_followed(s, "while", "pl.range over the most turns, and an if")
        bound = live.stores(s.body)
        self.names.forget(bound, of_loop=True)
        for name in bound:
            self.names.note(name, constant=False, run_time=self.names[name].scalar is not None)
        test = self.whole.statements.condition(s.test)
        self.checks.units.check_both(s.test, s.body)
        return [*self._promoted(s), ast.While(test, self.whole.statements.nested(s.body, turns=True), [])]

    def _split_aiv(self, s: ast.For, call: ast.Call) -> list[ast.stmt]:
        """`for aiv_id in pl.split_aiv(2, mode=...)`: the body once for each of the two vector lanes of a cluster."""
        keywords = self.whole.calls.keywords(call, ("mode",))
        if not self.region.incore:
            raise self.refuse(call, "pl.split_aiv outside an InCore region")
        if not isinstance(s.target, ast.Name):
            raise self.refuse(s.target, "the lane index must be one name")
        mode = self.checks.directives.check_lanes(s, call, keywords)
        self.names.note(s.target.id, kind="scalar")
        iterator = machine("now.split_aiv", [ast.Constant(mode)])
        self.checks.lanes.begin_lane(s.target.id)
        with self.region.over_lanes(mode):
            body = self.whole.block(s.body) or [ast.Pass()]
        return [ast.For(s.target, ast.copy_location(iterator, call), body, [])]

    def _counted(self, s: ast.For, call: ast.Call, path: str) -> list[ast.stmt]:
        allowed = {"pipeline": ("stage", "init_values", "attrs"), "unroll": ()}.get(path, ("init_values", "attrs"))
        keywords = self.whole.calls.keywords(call, allowed)
        if not 1 <= len(call.args) <= 3:
            raise self.refuse(call, f"pl.{path} takes (stop), (start, stop) or (start, stop, step)")
        if path == "pipeline" and not self.region.incore:
            raise self.refuse(
                call, "pl.pipeline outside an InCore region", "use pl.range or pl.parallel in orchestration"
            )
        bounds = [self.whole.expr(a) for a in call.args]
        for a in call.args:
            self.checks.scalars.check_number(a)
            self.checks.units.check_both(a, s.body)
        if path == "unroll" and not all(self.facts.folds(a) for a in call.args):
            raise self.refuse(call, "pl.unroll needs bounds that are known when the kernel is parsed", "use pl.range")
        if path == "pipeline" and len(bounds) == 3 and not self.facts.constant(call.args[2]):
            raise self.refuse(call.args[2], "the step of a pl.pipeline is known only at run time", "a constant step")
        if len(bounds) == 3:
            bounds[2] = self._step(call.args[2], bounds[2], path)
        if path == "unroll" and all(map(is_constant, bounds)):
            turns = len(range(*(int(evaluate(b)) for b in bounds)))
            if turns > MOST_UNROLLED:
                raise self.refuse(call, f"pl.unroll of {turns} turns: PyPTO unrolls {MOST_UNROLLED}", "use pl.range")
        if path == "pipeline":
            stage = keywords.get("stage")
            if stage is None:
                raise self.refuse(call, "pl.pipeline needs stage=", "pl.pipeline(n, stage=2)")
            value = self.whole.expr(stage)
            literal = isinstance(stage, ast.Name) and stage.id in self.facts.literal
            known = evaluate(value) if is_constant(value) else None
            if not literal and not (type(known) is int and known >= 1):
                raise self.refuse(stage, "stage= must be a positive integer literal")
            fixed = ast.Constant(all(map(self.facts.constant, call.args)))
            iterator: ast.expr = machine(
                "now.pipeline", [self.place(call), *bounds], [ast.keyword("stage", value), ast.keyword("fixed", fixed)]
            )
        else:
            iterator = self._range(path, bounds)
        iterator = ast.copy_location(iterator, call)
        target, carried = self._loop_target(s, keywords.get("init_values"))
        if path in ("parallel", "unroll"):
            self.checks.directives.check_no_break(s.body, f"pl.{path}")
        low, *stop = (self.facts.extent(a, None) for a in call.args[:2])
        span = (low, stop[0]) if stop else (0, low)
        bound = {n.id for b in s.body for n in walk(b) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.names.forget(bound, of_loop=True)
        self.names.forget(carried)
        self.names.written(live.stores(s.body) - bound)
        once = path == "range" and "attrs" not in keywords and self._turns_once(call.args)
        self.facts.counter(target.id, span, path == "unroll" and self.subject.bindings[target.id] == 1, once)
        if path == "range" and self.region.incore and not keywords:
            self.checks.stores.note_fill(s, call.args)
        if path in ("parallel", "range") and not self.region.incore and hasattr(s, "needed"):
            return self._turns(s, call, bounds, path == "range")
        if keywords.get("init_values") is None:
            again = self.whole.task_ids.begin_turn(s, s.body) if path != "unroll" else []
            with self.region.known(self._turns_never(call.args)):
                body = self.whole.statements.nested(s.body, turns=path != "unroll" and not once)
            if self.region.incore and path == "range" and self.whole.masked.only_numbers([s]):
                return self.whole.masked.masked_loop(s, bounds, body)
            lowered = [ast.For(target, iterator, again + body, []), *again]
            if id(s) in self._parted:
                begin, end = (ast.Expr(machine(f"onchip.{word}_parts", [])) for word in ("begin", "end"))
                lowered = [begin, *lowered, end]
            return lowered
        before, body, handed_on = self._carry(s, carried, keywords["init_values"], s.body)
        loop = ast.For(target, iterator, body, [])
        carry = self.whole.task_ids.carry(call, handed_on, bounds, path == "range")
        if carry is None:
            return [*before, loop]
        name, made, (entering, turned, after) = carry
        loop.body = [entering, *body, turned]
        return [*before, assigned(s, name, made), loop, after]

    def _turns_once(self, bounds: list[ast.expr]) -> bool:
        """True for a pl.range that certainly has one turn: PyPTO's Simplify (pass 05) leaves no loop, and puts where it
        begins in place of its variable."""
        start, stop, step = self._known_bounds(bounds)
        return None not in (start, stop, step) and step >= 1 and start < stop <= start + step

    def _turns_never(self, bounds: list[ast.expr]) -> bool:
        """True for a loop that certainly has none."""
        start, stop, step = self._known_bounds(bounds)
        return None not in (start, stop, step) and step >= 1 and stop <= start

    def _known_bounds(self, bounds: list[ast.expr]) -> tuple[int | None, int | None, int | None]:
        known = [self.facts.extent(a, None) for a in bounds]
        return (0, known[0], 1) if len(known) == 1 else (*known, 1)[:3]

    def _step(self, node: ast.expr, step: ast.expr, path: str) -> ast.expr:
        """The step of a loop, which may count down in orchestration and where it is unrolled.

        Source: PyPTO, src/codegen/pto/pto_control_flow_codegen.cpp (VisitStmt_ of a ForStmt), and
        EmitForLoopHeader of the orchestration.
        """
        known = evaluate(step) if is_constant(step) else None
        if path == "unroll" and known == 0:
            raise self.refuse(node, "pl.unroll whose step is 0", "a step that is not 0")
        if path == "unroll" or not self.region.incore:
            return step
        if known is None:
            return machine("stride", [self.place(node), step])
        if known <= 0:
            raise self.refuse(
                node, f"a loop of a region whose step is {known}: the core's loops count up",
                "count up and compute the index: for t in pl.range(n), and i = n - 1 - t",
            )  # fmt: skip
        return step

    def _turns(self, s: ast.For, call: ast.Call, bounds: list[ast.expr], sequential: bool) -> list[ast.stmt]:
        """A loop of orchestration: its body becomes a function that the machine runs, in batches or not."""
        captured = sorted({*s.needed, *s.live_after})
        function = f"_turns_{call.lineno}_{call.col_offset}"
        define = self.function(function, s.target.id, captured, s.body, self.whole.statements.nested)
        values = name_tuple(captured, ast.Load())
        args = [self.place(call), ast.Tuple(bounds, ast.Load()), load(function), values]
        if not sequential:
            self.whole.task_ids.check_trip_count(s, call)
        args += [ast.Constant(sequential), *self.whole.task_ids.of_turns(captured, call)]
        launch = ast.copy_location(machine("batches.turns", args), call)
        result = ast.Assign([name_tuple(captured, ast.Store())], launch) if captured else ast.Expr(launch)
        return [ast.copy_location(define, s), result]

    def function(
        self, name: str, index: str, captured: list[str], source: list[ast.stmt],
        lower: Callable[[list[ast.stmt]], list[ast.stmt]],
    ) -> ast.FunctionDef:  # fmt: skip
        """`def name(_m, index, *captured)` that returns what `captured` hold at its end; `lower` makes its body."""
        with self.blocks.function([index, *captured]) as begun:
            body = lower(source)
            unbound = sorted((handed_on(source) | begun) - {index, *captured})
        arguments = ast.arguments(
            posonlyargs=[], args=[ast.arg("_m"), ast.arg(index), *(ast.arg(n) for n in captured)], kwonlyargs=[],
            kw_defaults=[], defaults=[],
        )  # fmt: skip
        blanks = [assigned(source[0], n, ast.Constant(None)) for n in unbound]
        end = ast.Return(name_tuple(captured, ast.Load()))
        return ast.FunctionDef(name=name, args=arguments, body=[*blanks, *body, end], decorator_list=[])

    def _range(self, path: str, bounds: list[ast.expr]) -> ast.expr:
        """What a loop iterates over; in orchestration the machine keeps count of loops."""
        if path == "unroll":
            return ast.Call(load("_range"), bounds, [])
        return machine("now.repeat" if self.region.incore else "batches.loop", bounds)

    def _loop_target(self, s: ast.For, init: ast.expr | None) -> tuple[ast.Name, list[str]]:
        if init is None:
            if not isinstance(s.target, ast.Name):
                raise self.refuse(s.target, "the loop variable must be one name", "carry values with init_values=(...)")
            return s.target, []
        ok = isinstance(s.target, ast.Tuple) and len(s.target.elts) == 2 and isinstance(s.target.elts[0], ast.Name)
        if not ok or not isinstance(s.target.elts[1], ast.Tuple):
            raise self.refuse(s.target, "a loop with init_values needs `for i, (a, b) in ...`")
        return s.target.elts[0], self._carried_names(s.target.elts[1])

    def _carried_names(self, target: ast.Tuple) -> list[str]:
        if not all(isinstance(e, ast.Name) for e in target.elts):
            raise self.refuse(target, "carried values must be names")
        return [e.id for e in target.elts]

    def _carry(self, s: ast.stmt, names_: list[str], init: ast.expr, body: list[ast.stmt]) -> Carried:
        """Statements before a loop with carried values, its body, whose last statement hands them on, and as what."""
        if not isinstance(init, (ast.Tuple, ast.List)) or len(init.elts) != len(names_):
            raise self.refuse(init, f"init_values must be a tuple of {len(names_)} values")
        before = []
        for n, v in zip(names_, init.elts):
            if isinstance(v, ast.Constant) and v.value is None:
                raise self.refuse(
                    v, "None among init_values, of which PyPTO generates no code", "none = None before it"
                )
            self.whole.statements.note(ast.Name(n, ast.Store()), self.kind(v))
            self.facts.carried(n, v)
            id_ = None if self.region.incore else self.whole.task_ids.id_value(n, v)
            before.append(assigned(s, n, id_ or self.whole.expr(v)))
        with self.checks.types.apart(True, names_):
            return self._carried_body(s, before, names_, body)

    def _carried_body(self, s: ast.stmt, before: list, names_: list[str], body: list[ast.stmt]) -> Carried:
        last, results = body[-1] if body else None, None
        if isinstance(last, ast.Assign) and self._yields(last.value):
            t = last.targets[0]
            results = [t.id] if isinstance(t, ast.Name) else [e.id for e in t.elts]
        earlier = [b for b in body[:-1] if isinstance(b, (ast.Assign, ast.Expr)) and self._yields(b.value)]
        if results is None or earlier:
            raise self.refuse(
                earlier[0] if earlier else s, "a loop that carries values hands them on once, at the end of its body",
                f"{', '.join(n + '_' for n in names_)} = pl.yield_({', '.join(names_)})",
            )  # fmt: skip
        if len(results) != len(names_):
            raise self.refuse(last, f"pl.yield_ of {len(results)} values in a loop that carries {len(names_)}")
        for r, n in zip(results, names_):  # with no iteration, the result is the initial value
            before.append(assigned(s, r, load(n)))
            self.names.begin_as(r, n)
        lowered = self.whole.block(body)
        for r, n in zip(results, names_):
            lowered.append(assigned(last, n, load(r)))
        return before, lowered, list(zip(names_, results))

    def _yields(self, value: ast.expr) -> bool:
        return isinstance(value, ast.Call) and self.pl_path(value.func) == "yield_"

    def _while(self, s: ast.For, call: ast.Call) -> list[ast.stmt]:
        if not self.region.incore:
            raise self.not_followed(call, "pl.while_", "pl.range over the most turns, and an if")
        keywords = self.whole.calls.keywords(call, ("init_values",))
        if call.args or "init_values" not in keywords:
            raise self.refuse(call, "pl.while_ takes init_values=(...) only", "put the condition into pl.cond(...)")
        if not isinstance(s.target, ast.Tuple):
            raise self.refuse(s.target, "pl.while_ needs `for (x,) in ...`")
        first = s.body[0]
        is_cond = isinstance(first, ast.Expr) and isinstance(first.value, ast.Call)
        if not is_cond or self.pl_path(first.value.func) != "cond" or len(first.value.args) != 1:
            raise self.refuse(first, "the first statement of pl.while_ must be pl.cond(condition)")
        carried = self._carried_names(s.target)
        before, body, _ = self._carry(s, carried, keywords["init_values"], s.body[1:])
        return [*before, ast.While(self.whole.expr(first.value.args[0]), body, [])]
