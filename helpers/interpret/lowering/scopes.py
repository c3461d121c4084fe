"""Context managers of a kernel, lowered: pl.at, pl.spmd, pl.scope."""

from __future__ import annotations

import ast
import keyword

from helpers.interpret.facts.forms import name_tuple, nodes_of
from helpers.interpret.language import cpp_names
from helpers.interpret.lowering.code import Part, Whole, assigned, load, machine
from helpers.interpret.ops import CUBE, VECTOR
from helpers.interpret.source import live
from helpers.interpret.source.source import Place
from helpers.interpret.source.walk import walk


class Scopes(Part):
    """Does scopes."""

    def __init__(self, whole: Whole):
        super().__init__(whole)
        self.misnamed: list[tuple[Place, str, str]] = []  # tasks whose C++ cannot be called so

    def scope(self, s: ast.With) -> list[ast.stmt]:
        if len(s.items) != 1:
            raise self.refuse(s, "several context managers in one with", "nest them")
        item = s.items[0]
        call = item.context_expr
        path = self.pl_path(call.func) if isinstance(call, ast.Call) else None
        if item.optional_vars is not None and not isinstance(item.optional_vars, ast.Name):
            raise self.refuse(item.optional_vars, "`as` takes one name")
        if path == "at":
            return self._at(s, call, item.optional_vars)
        if path == "spmd":
            return self.spmd(s, call, None, s.body, item.optional_vars)
        if path in ("scope", "manual_scope"):
            if self.region.incore:
                raise self.refuse(s, f"pl.{path} inside an InCore region", "scopes belong to orchestration")
            manual = path == "manual_scope" or any("MANUAL" in ast.unparse(k.value) for k in call.keywords)
            if not manual and self.subject.auto_scope and self.subject.entry:
                raise self.refuse(
                    call,
                    "pl.scope in a function that has automatic scopes",
                    "decorate it with @pl.jit(auto_scope=False)",
                )
            self.checks.directives.check_scope(s, call, path, manual)
            with self.region.scope(manual):
                body = self.whole.block(s.body)
            return [self._with_machine("ids.scope", [ast.Constant(manual)], [], None, body)]
        if path == "cluster":
            return self.whole.groups.cluster(s)
        raise self.refuse(call, "this context manager is not in the language", "use pl.at, pl.spmd or pl.scope")

    def _with_machine(self, method: str, args: list, keywords: list, bound: ast.Name | None, body: list) -> ast.With:
        return ast.With([ast.withitem(machine(method, args, keywords), bound)], body or [ast.Pass()])

    def _at(self, s: ast.With, call: ast.Call, bound: ast.Name | None) -> list[ast.stmt]:
        keywords = self.whole.calls.keywords(call, (
            "level", "role", "optimizations", "name_hint", "deps", "no_dep_args", "dumps", "allow_early_resolve",
            "windowize",
        ))  # fmt: skip
        level = keywords.get("level", call.args[0] if call.args else None)
        if level is None:
            raise self.refuse(call, "pl.at needs a level", "pl.at(level=pl.Level.CORE_GROUP)")
        if not ast.unparse(level).endswith("CORE_GROUP"):
            raise self.refuse(
                level, f"pl.at at {ast.unparse(level)}: interpret mode runs one chip", "pl.Level.CORE_GROUP"
            )
        self.checks.directives.check_region(s, call, keywords)
        split = self._split(keywords.get("optimizations"))
        if self.region.incore:
            raise self.refuse(
                call, "pl.at inside an InCore region", "one region is one task: write them one after the other"
            )
        name = self._task_name(keywords, call, "incore", s.body)
        passed = self.whole.calls.passed(keywords, early="allow_early_resolve", no_dep_args="no_dep_args") + split
        passed += self.whole.task_ids.passed_deps(keywords)
        body = self._region(s.body, split)
        for n in s.live_after:
            export = machine("launches.export", [self.place(call), load(n)])
            body.append(assigned(s.body[-1], n, export))
        if bound is not None:
            self.whole.task_ids.note_id(bound.id)
        return [self._with_machine("launches.at", [self.place(call), ast.Constant(name)], passed, bound, body)]

    def _region(self, body: list[ast.stmt], split: list[ast.keyword], dispatches: bool = False) -> list[ast.stmt]:
        """The body of a region; `split` as `_split` gives it."""
        self.checks.in_place.begin(body, dispatches)
        with self.region.core(split[0].value.value if split else None, dispatches), self.blocks.region():
            self.checks.begin(body)
            return self.whole.block(body) or [ast.Pass()]

    def check_task_name(self, node: ast.AST, name: str, body: list[ast.stmt]) -> None:
        """Note the name of a task which does `body` where its C++ cannot be called that."""
        wrong = cpp_names.wrong(name)
        called = {self.facts.called(n)[0] for n in nodes_of(body) if isinstance(n, ast.Call)}
        if wrong is not None and not (called & CUBE and called & VECTOR):
            self.misnamed.append((self.subject.place(node), *wrong))

    def _is_barrier(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and self.pl_path(node.func) == "system.syncall"

    def _task_name(self, keywords: dict, call: ast.Call, fallback: str, body: list[ast.stmt]) -> str:
        hint = keywords.get("name_hint")
        if hint is None:
            return f"{self.subject.fn.__name__}_{fallback}_{call.lineno}"
        name = hint.value if isinstance(hint, ast.Constant) and isinstance(hint.value, str) else ""
        if not name.isidentifier() or keyword.iskeyword(name):
            raise self.refuse(hint, "name_hint must be a string literal that is an identifier and no keyword")
        self.check_task_name(hint, name, body)
        return name

    def _split(self, node: ast.expr | None) -> list[ast.keyword]:
        """Check `optimizations=`; what of it the machine takes: the mode of a pl.split."""
        if node is None:
            return []
        found, seen = [], set()
        if not isinstance(node, ast.List):
            raise self.refuse(node, "optimizations= must be a list written in place")
        for e in node.elts:
            path = self.pl_path(e.func) if isinstance(e, ast.Call) else None
            if path not in ("split", "cross_core_slot"):
                raise self.refuse(
                    e, "this entry of optimizations= is not known", "pl.split(mode) or pl.cross_core_slot(slot_num=n)"
                )
            mode = self.checks.directives.check_optimization(e, path, seen)
            if mode is not None:
                found = [ast.keyword("split", ast.Constant(mode))]
        return found

    def spmd(
        self, s: ast.stmt, call: ast.Call, target: ast.expr | None, body: list[ast.stmt], bound: ast.Name | None = None
    ) -> list[ast.stmt]:
        keywords = self.whole.calls.keywords(call, (
            "core_num", "name_hint", "optimizations", "sync_start", "deps", "predicate", "allow_early_resolve",
        ))  # fmt: skip
        if self.region.incore:
            raise self.refuse(
                call, "pl.spmd inside an InCore region", "pl.spmd launches tasks: write it in orchestration"
            )
        self.checks.directives.check_launch(call, keywords)
        if "deps" in keywords and bound is None:
            raise self.refuse(
                keywords["deps"], "deps= on a pl.spmd without `as tid`", "with pl.spmd(n, deps=[...]) as tid:"
            )
        count = keywords.get("core_num", call.args[0] if call.args else None)
        if count is None or len(call.args) > 1:
            raise self.refuse(call, "pl.spmd takes the number of blocks", "pl.spmd(n)")
        self.checks.scalars.check_number(count)
        self.checks.in_place.check_count(count)
        if self.subject.kind == "inline" and self.facts.asks_extent(count):
            raise self.refuse(
                count, "the number of blocks reads an extent inside an inline function",
                f"n = {ast.unparse(count)} on a line of its own, and pl.spmd(n)",
            )  # fmt: skip
        split = self._split(keywords.get("optimizations"))
        dispatches = any(self.subject.dispatched(n.func) for b in body for n in walk(b) if isinstance(n, ast.Call))
        if target is None and not dispatches and not any("get_block_idx" in ast.unparse(b) for b in body):
            raise self.refuse(
                call, "the body of `with pl.spmd` does not read its block index: every block would do the same",
                "read pl.tile.get_block_idx(), or write `for i in pl.spmd(n):`",
            )  # fmt: skip
        if target is not None and not isinstance(target, ast.Name):
            raise self.refuse(target, "the block index must be one name")
        self.checks.directives.check_does(call, body)
        name = self._task_name(keywords, call, "spmd", body)
        index = target.id if target is not None else "_block"
        self.checks.directives.check_no_break(body, "pl.spmd")
        self.facts.counter(index)
        function = f"_blocks_{call.lineno}_{call.col_offset}"
        captured = sorted({*s.needed, *s.live_after})
        meets = any(isinstance(b, ast.Expr) and self._is_barrier(b.value) for b in body)

        def lower(body: list[ast.stmt]) -> list[ast.stmt]:
            lowered = self._region(body, split, dispatches)
            return _between_barriers(lowered, [index, *captured]) if meets else lowered

        define = self.whole.loops.function(function, index, captured, body, lower)
        extra = self.whole.calls.passed(keywords, early="allow_early_resolve", sync_start="sync_start") + split
        extra += self.whole.task_ids.passed_deps(keywords)
        extra += self.whole.task_ids.predicate(keywords, "pl.spmd", bound is not None)
        launch = machine("launches.spmd", [
            self.place(call), self.whole.expr(count), load(function),
            name_tuple(captured, ast.Load()), ast.Constant(name),
        ], extra)  # fmt: skip
        out = name_tuple(captured, ast.Store())
        tid = ast.Name(bound.id if bound is not None else "_tid", ast.Store())
        if bound is not None:
            self.whole.task_ids.note_id(bound.id, produced=body)
        return [
            ast.copy_location(define, s),
            ast.Assign([ast.Tuple([tid, out], ast.Store())], ast.copy_location(launch, call)),
        ]


def _between_barriers(body: list[ast.stmt], held: list[str]) -> list[ast.stmt]:
    """The body of a block with barriers, whose loops a later phase passes over where they change nothing that is read
    after them (see `machine.task.Phases`). `held`: names that have values at its start and are read at its end."""
    out: list[ast.stmt] = []
    bound = set(held)
    for number, (s, needed) in enumerate(zip(body, live.after(body, set(held)))):
        if isinstance(s, ast.For):
            names = sorted(live.stores([s]) & needed)
            if bound.issuperset(names):
                before, kept = f"_before_{number}", name_tuple(names, ast.Load())
                ended = machine("now.gone_through", [ast.Constant(number), load(before), kept])
                s = ast.If(
                    machine("now.needs", [ast.Constant(number)]), [assigned(s, before, kept), s, ast.Expr(ended)], []
                )
        elif isinstance(s, ast.Assign):
            bound |= live.stores([s])
        out.append(s)
    return out
