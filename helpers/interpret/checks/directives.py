"""What the arguments of scopes, launches and markers may be: literals and names, which PyPTO reads while it parses.

Source: python/pypto/language/parser/ast_parser.py, and src/ir/op/array_ops/memory.cpp for arrays.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from helpers.interpret.checks.base_check import Check
from helpers.interpret.facts.infer import category
from helpers.interpret.language import dtypes
from helpers.interpret.source.walk import walk

SPLIT_MODES = ("NONE", "UP_DOWN", "LEFT_RIGHT")
SYNCALL = {"core_type": ("aiv_only", "aic_only", "mix"), "mode": ("hard", "soft")}
SYNCALL_SOFT = ("gm_workspace", "used_cores")
VECTOR_LANES = 2


class Directives(Check):
    """Refuses directives by their arguments."""

    def check_region(self, s: ast.With, call: ast.Call, keywords: dict[str, ast.expr]) -> None:
        """`with pl.at(...)`."""
        if len(call.args) > 1 or "role" in keywords:
            extra = call.args[1] if len(call.args) > 1 else keywords["role"]
            raise self.refuse(extra, "pl.at of one chip has a level and no role", "pl.at(level=pl.Level.CORE_GROUP)")
        for name in ("allow_early_resolve", "windowize"):
            self._check_literal(keywords.get(name), name)
        for name in ("no_dep_args", "dumps"):
            self._check_tensors(name, keywords.get(name))
        used = {n.id for b in s.body for n in walk(b) if isinstance(n, ast.Name)}
        for e in getattr(keywords.get("no_dep_args"), "elts", []):
            if e.id not in used:
                raise self.refuse(e, f"no_dep_args= has '{e.id}', which the region does not use", "leave it out")

    def check_launch(self, call: ast.Call, keywords: dict[str, ast.expr]) -> None:
        """`pl.spmd(...)`."""
        if call.args and "core_num" in keywords:
            raise self.refuse(keywords["core_num"], "the number of blocks is given twice", "pl.spmd(n)")
        for name in ("sync_start", "allow_early_resolve"):
            self._check_literal(keywords.get(name), name)

    def check_does(self, call: ast.Call, body: list[ast.stmt]) -> None:
        """The blocks of a pl.spmd do something."""
        if all(isinstance(s, ast.Pass) for s in body):
            raise self.refuse(
                call, "the blocks of this pl.spmd do nothing: PyPTO compiles no such task", "leave it out"
            )

    def _check_literal(self, node: ast.expr | None, name: str) -> None:
        if node is not None and not (isinstance(node, ast.Constant) and isinstance(node.value, bool)):
            raise self.refuse(node, f"{name}= is True or False, written in place")

    def _check_tensors(self, name: str, node: ast.expr | None) -> None:
        """A list of names of tensors, each once."""
        if node is None:
            return
        if not isinstance(node, ast.List):
            raise self.refuse(node, f"{name}= must be a list of tensors written in place", f"{name}=[x]")
        seen = set()
        for e in node.elts:
            if not isinstance(e, ast.Name) or self.kind(e) in ("scalar", "bool", "task"):
                raise self.refuse(e, f"{name}= has `{ast.unparse(e)}`, which is no name of a tensor")
            if e.id in seen:
                raise self.refuse(e, f"{name}= has '{e.id}' twice", "leave one out")
            seen.add(e.id)

    def check_optimization(self, e: ast.Call, path: str, seen: set[str]) -> str | None:
        """An entry of `optimizations=`; the mode of a pl.split."""
        slots = {k.arg: k.value for k in e.keywords}
        unknown = set(slots) - {"slot_num"}
        if len(e.args) != (path == "split") or unknown or (path == "cross_core_slot" and not slots):
            form = "pl.split(pl.SplitMode.UP_DOWN)" if path == "split" else "pl.cross_core_slot(slot_num=4)"
            raise self.refuse(e, f"`{ast.unparse(e)}` is no way to write pl.{path}", form)
        for what in (path, *slots):
            if what in seen:
                raise self.refuse(e, f"optimizations= says {what} twice", "leave one out")
        seen |= {path, *slots}
        for number in slots.values():
            literal = number.value if isinstance(number, ast.Constant) else None
            if not self._of_call(number) and (type(literal) is not int or literal <= 0):
                raise self.refuse(number, "slot_num= is a positive number, written in place")
        return self.split_mode(e.args[0]) if path == "split" else None

    def _of_call(self, node: ast.expr) -> bool:
        """True for a scalar parameter that PyPTO compiles the entry for: its value stands in its place."""
        return isinstance(node, ast.Name) and node.id in self.facts.literal

    def split_mode(self, node: ast.expr) -> str:
        """The name of a pl.SplitMode."""
        owner, _, name = (self.pl_path(node) or "").rpartition(".")
        if owner != "SplitMode" or name not in SPLIT_MODES:
            raise self.refuse(
                node, f"`{ast.unparse(node)}` is no way to split", ", ".join(f"pl.SplitMode.{m}" for m in SPLIT_MODES)
            )
        return name

    def check_scope(self, s: ast.With, call: ast.Call, path: str, manual: bool) -> None:
        """`with pl.scope(...)` and `with pl.manual_scope()`."""
        mode = [k.value for k in call.keywords if k.arg == "mode"] if path == "scope" else []
        if call.args or len(mode) != len(call.keywords):
            extra = [*call.args, *(k.value for k in call.keywords)][0]
            raise self.refuse(extra, f"pl.{path} takes {'mode= only' if path == 'scope' else 'no arguments'}")
        if mode and isinstance(mode[0], ast.Constant):
            raise self.refuse(mode[0], f"mode={ast.unparse(mode[0])}", "mode=pl.ScopeMode.MANUAL")
        if s.items[0].optional_vars is not None:
            raise self.refuse(s.items[0].optional_vars, f"pl.{path} has no task id", "`as` goes with pl.at and pl.spmd")
        if self.region.manual:
            what = "a manual scope" if manual else "an automatic scope"
            raise self.refuse(call, f"{what} inside a manual scope", "one scope after the other")

    def check_cluster(self, s: ast.With, call: ast.Call) -> None:
        """`with pl.cluster():`, in which a launch is no task of its own."""
        for extra in (*call.args, *(k.value for k in call.keywords), s.items[0].optional_vars):
            if extra is not None:
                raise self.refuse(extra, "pl.cluster takes nothing and gives no task id")
        for n in s.body:
            bound = n.items[0].optional_vars if isinstance(n, ast.With) else None
            if bound is not None:
                raise self.refuse(bound, "a task id of what a pl.cluster launches", "launch it without pl.cluster")

    def check_lanes(self, s: ast.For, call: ast.Call, keywords: dict[str, ast.expr]) -> str:
        """`for i in pl.split_aiv(2, mode=...)`; the mode."""
        number = call.args[0] if len(call.args) == 1 else None
        if not isinstance(number, ast.Constant) or number.value != VECTOR_LANES:
            raise self.refuse(
                call, "pl.split_aiv is over the two vector cores of a cluster", "pl.split_aiv(2, mode=...)"
            )
        if "mode" not in keywords:
            raise self.refuse(call, "pl.split_aiv without mode=", "mode=pl.SplitMode.NONE")
        mode = self.split_mode(keywords["mode"])
        if self.region.lanes:
            raise self.refuse(call, "pl.split_aiv inside another", "the body already runs on both vector cores")
        if self.region.split not in (None, "NONE"):
            raise self.refuse(
                call, f"pl.split_aiv in a region that pl.split({self.region.split}) halves", "one of the two"
            )
        self.check_no_break(s.body, "pl.split_aiv")
        return mode

    def check_no_break(self, body: list[ast.stmt], loop: str) -> None:
        """No break or continue of this loop itself."""
        for s in body:
            if isinstance(s, (ast.Break, ast.Continue)):
                word = "break" if isinstance(s, ast.Break) else "continue"
                raise self.refuse(s, f"{word} in {loop}", "use pl.range, or put the rest into an if")
            if isinstance(s, (ast.If, ast.With)):
                self.check_no_break([*s.body, *getattr(s, "orelse", [])], loop)

    def check_array(self, node: ast.Call, given: dict[str, ast.expr]) -> None:
        """`pl.array.create(extent, dtype)`."""
        extent, dtype = given["extent"], given["dtype"]
        if not self.facts.folds(extent):
            raise self.refuse(
                extent, f"`{ast.unparse(extent)}` elements: the extent of an array is known while parsing"
            )
        known = self.extent(extent, None)
        if known is not None and known <= 0:
            raise self.refuse(extent, f"an array of {known} elements", "at least one")
        path = self.pl_path(dtype)
        of = dtypes.of(path)
        if path != "TASK_ID" and (of is None or of.is_float):
            raise self.refuse(dtype, f"an array of `{ast.unparse(dtype)}`", "integers, or pl.TASK_ID")
        if path == "TASK_ID" and self.region.incore:
            raise self.refuse(node, "an array of task ids in a region", "task ids belong to orchestration")

    def check_element(self, name: str, index: ast.expr, value: ast.expr | None = None) -> None:
        """`array[index]`, or with `value` an assignment to it."""
        dtype = self.names[name].array
        if isinstance(index, ast.Tuple) or category(self.facts.dtype(index)) == "float":
            raise self.refuse(index, f"`{ast.unparse(index)}` as a subscript of '{name}'", "one integer")
        of = None if value is None else self.facts.dtype(value)
        if of is not None and of not in (dtype, "INDEX") and dtype != "INDEX":
            raise self.refuse(
                value, f"`{ast.unparse(value)}` is {of}, and '{name}' an array of {dtype}", f"pl.cast(..., pl.{dtype})"
            )

    def check_marker(self, call: ast.Call, path: str) -> None:
        """A statement that only PyPTO's parser reads: pl.dump_tag, pl.static_print, pl.func_attr."""
        if path == "static_print":
            if not call.args:
                raise self.refuse(call, "pl.static_print takes what it prints", "pl.static_print(x)")
            return
        if len(call.args) != 1 or call.keywords:
            raise self.refuse(call, f"pl.{path} takes one argument")
        of = call.args[0]
        if path == "func_attr":
            self._check_attributes(call, of)
            return
        if self.subject.kind == "incore":
            raise self.refuse(
                call, f"pl.{path} in an incore function: a dump is of a task's arguments", "put it before the call"
            )
        if not isinstance(of, ast.Name) or self.kind(of) in ("scalar", "bool", "task"):
            raise self.refuse(of, f"`{ast.unparse(of)}` is no name of a tensor", f"pl.{path}(x)")

    def _attributes(self, body: list[ast.stmt]) -> Iterator[int]:
        """The calls of pl.func_attr at the beginning of a function."""
        for s in body:
            value = s.value if isinstance(s, ast.Expr) else None
            if isinstance(value, ast.Call) and self.pl_path(value.func) == "func_attr":
                yield id(value)
            elif not isinstance(value, ast.Constant):
                return

    def _check_attributes(self, call: ast.Call, of: ast.expr) -> None:
        if not isinstance(of, ast.Dict):
            raise self.refuse(of, "pl.func_attr takes a dict written in place", 'pl.func_attr({"core_num": 2})')
        keys = [k.value if isinstance(k, ast.Constant) else None for k in of.keys]
        for n, k in enumerate(keys):
            if not isinstance(k, str) or k in keys[:n]:
                raise self.refuse(of, f"the key {k!r} of pl.func_attr", "strings, each once")
        if id(call) not in set(self._attributes(self.subject.tree.body)):
            raise self.refuse(call, "pl.func_attr after another statement", "put it first in the function")

    def check_barrier(self, node: ast.Call) -> None:
        """`pl.system.syncall(...)`."""
        given = {k.arg: k.value for k in node.keywords}
        for name, legal in SYNCALL.items():
            value = given.get(name)
            if isinstance(value, ast.Constant) and value.value not in legal:
                raise self.refuse(value, f"{name}={value.value!r} of pl.system.syncall", f"one of {', '.join(legal)}")
        mode = getattr(given.get("mode"), "value", "hard")
        extra = [n for n in SYNCALL_SOFT if n in given]
        if mode == "hard" and extra:
            raise self.refuse(
                given[extra[0]], f"{extra[0]}= of a hard pl.system.syncall", 'mode="soft", or leave it out'
            )
        missing = [n for n in SYNCALL_SOFT if n not in given]
        if mode == "soft" and missing:
            raise self.refuse(node, f"a soft pl.system.syncall without {missing[0]}=", "gm_workspace= and used_cores=")
