"""Context managers of a kernel, lowered: pl.at, pl.spmd, pl.scope."""

from __future__ import annotations

import ast
import keyword

from helpers.interpret.checks.forms import INCORE, name_tuple, nodes_of
from helpers.interpret.language import cpp_names
from helpers.interpret.ops import CUBE, VECTOR


class Scopes:
    """The part of the lowering that does scopes."""

    def _with(self, s: ast.With) -> list[ast.stmt]:
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
            return self._spmd(s, call, None, s.body, item.optional_vars)
        if path in ("scope", "manual_scope"):
            if self.incore:
                raise self.refuse(s, f"pl.{path} inside an InCore region", "scopes belong to orchestration")
            manual = path == "manual_scope" or any("MANUAL" in ast.unparse(k.value) for k in call.keywords)
            if not manual and self.auto_scope and self.function_kind == "entry" and self.program is None:
                raise self.refuse(
                    call,
                    "pl.scope in a function that has automatic scopes",
                    "decorate it with @pl.jit(auto_scope=False)",
                )
            self.check_scope(s, call, path, manual)
            around, self.manual = self.manual, manual
            body = self.block(s.body)
            self.manual = around
            return [self._with_machine("scope", [ast.Constant(manual)], [], None, body)]
        if path == "cluster":
            return self.cluster(s)
        raise self.refuse(call, "this context manager is not in the language", "use pl.at, pl.spmd or pl.scope")

    def _with_machine(self, method: str, args: list, keywords: list, bound: ast.Name | None, body: list) -> ast.With:
        return ast.With([ast.withitem(self.machine(method, args, keywords), bound)], body or [ast.Pass()])

    def _at(self, s: ast.With, call: ast.Call, bound: ast.Name | None) -> list[ast.stmt]:
        keywords = self._keywords(call, (
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
        self.check_region(s, call, keywords)
        split = self._split(keywords.get("optimizations"))
        if self.incore:
            raise self.refuse(
                call, "pl.at inside an InCore region", "one region is one task: write them one after the other"
            )
        name = self._task_name(keywords, call, "incore", s.body)
        passed = self._passed(keywords, early="allow_early_resolve", no_dep_args="no_dep_args") + split
        passed += self.passed_deps(keywords)
        self.region_split = split[0].value.value if split else None
        body = self._incore_block(s.body)
        self.region_split = None
        for n in s.live_after:
            export = self.machine("export", [self.place(call), ast.Name(n, ast.Load())])
            body.append(self._assign_name(s.body[-1], n, export))
        if bound is not None:
            self.note_id(bound.id)
        return [self._with_machine("at", [self.place(call), ast.Constant(name)], passed, bound, body)]

    def _incore_block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        self.check_narrowed(body)
        self.incore, around, self.nested = True, self.nested, 0
        self.begin_region(body)
        self.begin_units(body)
        self.begin_lanes(body)
        try:
            return self.block(body) or [ast.Pass()]
        finally:
            self.incore, self.nested = self.plane == INCORE, around

    def check_task_name(self, node: ast.AST, name: str, body: list[ast.stmt]) -> None:
        """Note the name of a task which does `body` where its C++ cannot be called that."""
        wrong = cpp_names.wrong(name)
        called = {self.facts.called(n)[0] for n in nodes_of(body) if isinstance(n, ast.Call)}
        if wrong is not None and not (called & CUBE and called & VECTOR):
            self.misnamed.append((self.source.place(node), *wrong))

    def _task_name(self, keywords: dict, call: ast.Call, fallback: str, body: list[ast.stmt]) -> str:
        hint = keywords.get("name_hint")
        if hint is None:
            return f"{self.fn.__name__}_{fallback}_{call.lineno}"
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
            mode = self.check_optimization(e, path, seen)
            if mode is not None:
                found = [ast.keyword("split", ast.Constant(mode))]
        return found

    def _spmd(
        self, s: ast.stmt, call: ast.Call, target: ast.expr | None, body: list[ast.stmt], bound: ast.Name | None = None
    ) -> list[ast.stmt]:
        keywords = self._keywords(call, (
            "core_num", "name_hint", "optimizations", "sync_start", "deps", "predicate", "allow_early_resolve",
        ))  # fmt: skip
        if self.incore:
            raise self.refuse(
                call, "pl.spmd inside an InCore region", "pl.spmd launches tasks: write it in orchestration"
            )
        self.check_launch(call, keywords)
        if "deps" in keywords and bound is None:
            raise self.refuse(
                keywords["deps"], "deps= on a pl.spmd without `as tid`", "with pl.spmd(n, deps=[...]) as tid:"
            )
        count = keywords.get("core_num", call.args[0] if call.args else None)
        if count is None or len(call.args) > 1:
            raise self.refuse(call, "pl.spmd takes the number of blocks", "pl.spmd(n)")
        self._check_number(count)
        self.check_count(count)
        if self.function_kind == "inline" and self._asks_extent(count):
            raise self.refuse(
                count, "the number of blocks reads an extent inside an inline function",
                f"n = {ast.unparse(count)} on a line of its own, and pl.spmd(n)",
            )  # fmt: skip
        split = self._split(keywords.get("optimizations"))
        dispatches = any(self._dispatched(n.func) for b in body for n in ast.walk(b) if isinstance(n, ast.Call))
        if target is None and not dispatches and not any("get_block_idx" in ast.unparse(b) for b in body):
            raise self.refuse(
                call, "the body of `with pl.spmd` does not read its block index: every block would do the same",
                "read pl.tile.get_block_idx(), or write `for i in pl.spmd(n):`",
            )  # fmt: skip
        if target is not None and not isinstance(target, ast.Name):
            raise self.refuse(target, "the block index must be one name")
        name = self._task_name(keywords, call, "spmd", body)
        index = target.id if target is not None else "_block"
        self._check_no_break(body, "pl.spmd")
        self.kinds[index] = "scalar"
        self.facts.counter(index)
        function = f"_blocks_{call.lineno}_{call.col_offset}"
        captured = sorted({*s.needed, *s.live_after})
        self.dispatching, self.region_split = dispatches, split[0].value.value if split else None
        define = self._function(function, index, captured, body, self._incore_block)
        self.dispatching, self.region_split = False, None
        extra = self._passed(keywords, early="allow_early_resolve", sync_start="sync_start") + split
        extra += self.passed_deps(keywords) + self.predicate(keywords, "pl.spmd", bound is not None)
        launch = self.machine("spmd", [
            self.place(call), self.expr(count), ast.Name(function, ast.Load()),
            name_tuple(captured, ast.Load()), ast.Constant(name),
        ], extra)  # fmt: skip
        out = name_tuple(captured, ast.Store())
        tid = ast.Name(bound.id if bound is not None else "_tid", ast.Store())
        if bound is not None:
            self.note_id(bound.id, produced=body)
        return [
            ast.copy_location(define, s),
            ast.Assign([ast.Tuple([tid, out], ast.Store())], ast.copy_location(launch, call)),
        ]
