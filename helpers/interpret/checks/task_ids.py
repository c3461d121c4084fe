"""Names of task ids, as PyPTO's parser sees them, and what deps= and predicate= may say.

Source: python/pypto/language/parser/ast_parser.py (`_parse_submit_deps_kwarg`, `_validate_predicate_shape`,
`_validate_predicate_deps`), python/pypto/language/scope.py and src/ir/transforms/classify_iter_arg_carry_pass.cpp, all
of e2d0f78a. What an id means where it is used is another matter: `helpers.interpret.machine.task_ids`.
"""

from __future__ import annotations

import ast
import copy
import types
from collections.abc import Callable
from typing import Any

from helpers.interpret.checks.forms import name_tuple
from helpers.interpret.machine.task_ids import without_turns
from helpers.interpret.source import live
from helpers.interpret.values.lanes import counted_turns

Path = Callable[[ast.expr], str | None]

MAKES_IDS = {"system.task_dummy", "system.task_invalid"}
SUBMITS = {"submit", "spmd_submit"}
SIGNED = {"INT8", "INT16", "INT32", "INT64"}
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
        self.bound = {a.arg for a in ast.walk(tree.args) if isinstance(a, ast.arg)}
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
    for n in ast.walk(tree):
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
    if call in MAKES_IDS or _none(value):
        found.add(target.id)
    if isinstance(value, ast.Name):
        same.append((target.id, value.id))


class TaskIds:
    """The part of the lowering that does task ids."""

    def waits(self, node: ast.expr) -> ast.expr:
        """`deps=[...]`: the launches that it names."""
        if isinstance(node, ast.ListComp):
            listed = [node]
        elif isinstance(node, (ast.List, ast.Tuple)):
            listed = node.elts
        else:
            raise self.refuse(node, f"deps= is `{ast.unparse(node)}`, which is no list", "deps=[tid]")
        entries = [e for n in listed for e in (self._unrolled(n) if isinstance(n, ast.ListComp) else [n])]
        pairs = [ast.Tuple([ast.Constant(ast.unparse(e)), self._entry(e)], ast.Load()) for e in entries]
        return self.machine("waits", [self.place(node), ast.Tuple(pairs, ast.Load())])

    def _entry(self, node: ast.expr) -> ast.expr:
        if _none(node):
            return ast.Constant(None)
        element = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
        if not (isinstance(node, ast.Name) or element) or self.kind(node) in ("scalar", "tensor", "bool"):
            raise self.refuse(
                node, f"`{ast.unparse(node)}` in deps= is no task id",
                "what `with pl.at(...) as tid:` or a pl.submit binds, an element of an array of ids, or None",
            )  # fmt: skip
        return self.expr(node)

    def _unrolled(self, node: ast.ListComp) -> list[ast.expr]:
        """`[tids[i] for i in range(n) if i != k]`, of which PyPTO's parser makes a list."""
        loop, fix = node.generators[0], "deps=[tids[i] for i in range(n)], where Python knows n"
        if len(node.generators) > 1 or not isinstance(loop.target, ast.Name):
            raise self.refuse(node, "a comprehension in deps= with more than one loop or name", fix)
        name = loop.target.id
        known = {n.id for part in (loop.iter, *loop.ifs) for n in ast.walk(part) if isinstance(n, ast.Name)} - {name}
        unknown = sorted(known & self.locals)
        if unknown:
            raise self.refuse(node, f"a comprehension in deps= that depends on '{unknown[0]}' of the kernel", fix)
        for n in known:
            value = self.outside(ast.Name(n, ast.Load()))
            if self.program is None and not isinstance(value, (int, float, types.BuiltinFunctionType, type)):
                raise self.refuse(node, f"a comprehension in deps= over '{n}', which is no number of the module", fix)
        try:
            values = [v for v in self._python(loop.iter) if all(self._python(c, {name: v}) for c in loop.ifs)]
        except Exception as e:
            raise self.refuse(node, f"the comprehension in deps= cannot be worked out: {e}", fix) from e
        if any(type(v) is not int for v in values):
            raise self.refuse(node, "a comprehension in deps= over something else than integers", fix)
        return [ast.copy_location(_Substitute(name, v).visit(copy.deepcopy(node.elt)), node) for v in values]

    def _python(self, node: ast.expr, more: dict[str, int] | None = None) -> Any:
        code = compile(ast.fix_missing_locations(ast.Expression(node)), self.source.file, "eval")
        return eval(code, {**self.env, **(more or {})})

    def passed_deps(self, keywords: dict[str, ast.expr]) -> list[ast.keyword]:
        """The keyword of the machine for deps=."""
        return [ast.keyword("deps", self.waits(keywords["deps"]))] if "deps" in keywords else []

    def note_id(self, name: str, produced: list[ast.stmt] | None = None) -> None:
        """`as tid`; `produced`: the body of a pl.spmd, whose results a predicate= may ask about."""
        self.kinds[name] = "task"
        self.frame[-1].add(name)
        self.id_bound[name] += 1
        for s in produced or ():
            targets = s.targets if isinstance(s, ast.Assign) else [s.target] if isinstance(s, ast.AnnAssign) else []
            for t in targets:
                for e in t.elts if isinstance(t, (ast.Tuple, ast.List)) else [t]:
                    if isinstance(e, ast.Name):
                        self.producers[e.id] = name, self.id_bound[name]

    def note_submit(self, s: ast.Assign) -> None:
        """`out, tid = pl.submit(...)`."""
        target, path = s.targets[0], self.pl_path(s.value.func)
        if path not in SUBMITS or not isinstance(target, ast.Tuple) or not isinstance(target.elts[-1], ast.Name):
            return
        name = target.elts[-1].id
        self.note_id(name)
        for e in target.elts[:-1]:
            for part in e.elts if isinstance(e, (ast.Tuple, ast.List)) else [e]:
                if isinstance(part, ast.Name):
                    self.producers[part.id] = name, self.id_bound[name]

    def id_value(self, name: str, value: ast.expr) -> ast.expr | None:
        """What `name = None` and `b = a` of task ids bind; None for anything else."""
        if _none(value):
            bound = self.machine("no_task", [])
        elif isinstance(value, ast.Name) and {name, value.id} <= self.ids and value.id in self.locals:
            bound = self.machine("another_name", [ast.Name(value.id, ast.Load())])
        else:
            return None
        self._note(ast.Name(name, ast.Store()), "task")
        self.facts.forget({name})
        self.origin.pop(name, None)
        self.frame[-1].add(name)
        self.id_bound[name] += 1
        return bound

    def arm(self, s: ast.If, body: list[ast.stmt], known: bool) -> list[ast.stmt]:
        """An arm of an if: in orchestration a scope of its own for the ids that it binds; `known`: PyPTO drops one."""
        for n in (n for b in body for n in ast.walk(b)) if not self.incore and not known else ():
            name = getattr(n.value, "id", "") if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store) else ""
            if name in self.arrays and name in set().union(*self.frame):
                raise self.refuse(
                    n, f"an element of the array '{name}' is assigned in an arm of an if: PyPTO has no code for an"
                    " array that two arms join", "assign it after the if, of a name that both arms bind",
                )  # fmt: skip
        lowered = self._nested(body)
        if self.incore or not self.ids & live.stores(body):
            return lowered
        return [ast.copy_location(ast.With([ast.withitem(self.machine("body", []), None)], lowered), s)]

    def after_arms(self, s: ast.If) -> list[ast.stmt]:
        """What an if leaves of the ids that its arms bind: nothing of those that only one binds."""
        bound = [live.stores(s.body), live.stores(s.orelse)]
        kept = set().union(*self.frame) | (bound[0] & bound[1])
        out = []
        for name in sorted((bound[0] | bound[1]) & self.ids) if not self.incore else ():
            left = self.machine("joined", [ast.Name(name, ast.Load()) if name in kept else ast.Constant(None)])
            out.append(self._assign_name(s, name, left))
        return out

    def begin_turn(self, s: ast.stmt, body: list[ast.stmt]) -> list[ast.stmt]:
        """In a loop that is no function of its turn: ids that it binds again, as a turn finds them."""
        again = self.ids & live.stores(body) & set().union(*self.frame) if not self.incore else set()
        return [self._assign_name(s, n, self.machine("id_in_loop", [ast.Name(n, ast.Load())])) for n in sorted(again)]

    def carrying(
        self, s: ast.For, call: ast.Call, before: list[ast.stmt], loop: ast.For, bounds: list[ast.expr],
        sequential: bool,
    ) -> list[ast.stmt]:  # fmt: skip
        """A loop with init_values, of which some can be task ids."""
        ids = {n: name for n, (name, _) in enumerate(s.handed_on) if name in self.ids}
        if self.incore or not ids:
            return [*before, loop]
        carry = f"_carry_{call.lineno}_{call.col_offset}"
        names_, results = (name_tuple([pair[i] for pair in s.handed_on], ast.Load()) for i in (0, 1))

        def bind(what: str, method: str, value: ast.expr) -> ast.stmt:
            called = ast.Call(ast.Attribute(ast.Name(carry, ast.Load()), method, ast.Load()), [value], [])
            targets = [pair[what == "results"] for pair in s.handed_on]
            return ast.copy_location(ast.Assign([name_tuple(targets, ast.Store())], called), s)

        made = self.machine("carry", [
            self.place(call), ast.Tuple(bounds, ast.Load()), self.bind(ids, "ids"), ast.Constant(sequential),
            self.trip_count(call.args),
        ])  # fmt: skip
        loop.body = [bind("names", "entering", names_), *loop.body, bind("names", "turned", results)]
        return [*before, self._assign_name(s, carry, made), loop, bind("results", "after", names_)]

    def predicate(self, keywords: dict[str, ast.expr], what: str, takes_deps: bool = True) -> list[ast.keyword]:
        """predicate=(tensor[i] > n): the scheduler reads it where the task would be dispatched, which here is now."""
        node = keywords.get("predicate")
        if node is None:
            return []
        fix = "predicate=(counts[i, 0] > 0): one comparison of an element with an integer literal"
        if not isinstance(node, ast.Compare) or len(node.ops) != 1 or isinstance(node.ops[0], (ast.In, ast.Is)):
            raise self.refuse(node, f"predicate= of {what} is no single comparison", fix)
        sides = [node.left, node.comparators[0]]
        read = next((e for e in sides if isinstance(e, ast.Subscript) and isinstance(e.value, ast.Name)), None)
        number = sides[0] if read is sides[1] else sides[1]
        lowered = self.expr(number) if read is not None else None
        if lowered is None or not self._is_constant(lowered) or type(self._evaluate(lowered)) is not int:
            raise self.refuse(node, f"predicate= of {what} does not compare an element with an integer literal", fix)
        self._check_read(read, fix)
        self._check_producer(read.value, keywords.get("deps"), what, takes_deps)
        nothing = ast.arguments([], [], None, [], [], None, [])
        return [ast.keyword("predicate", self.machine("gate", [ast.Lambda(nothing, self.expr(node))]))]

    def _check_read(self, read: ast.Subscript, fix: str) -> None:
        """The runtime reads one signed integer, at indices that it takes as unsigned."""
        items = read.slice.elts if isinstance(read.slice, ast.Tuple) else [read.slice]
        element, shape = self.facts.element(read.value), self.facts.shape(read.value)
        if element is not None and element not in SIGNED:
            raise self.refuse(read, f"predicate= asks about {element}: the runtime reads a signed integer", "use INT32")
        if any(isinstance(i, ast.Slice) or self.kind(i) == "tensor" for i in items):
            raise self.refuse(read, f"`{ast.unparse(read)}` in predicate= is no element", fix)
        axes = self.facts.ranks.get(read.value.id, None if shape is None else len(shape))
        if axes is not None and axes != len(items):
            raise self.refuse(read, f"{len(items)} indices of '{read.value.id}', which has {axes} axes", fix)
        for i in items:
            lowered = self.expr(i)
            if self._is_constant(lowered) and self._evaluate(lowered) < 0:
                raise self.refuse(i, "a negative index in predicate=", "count from the start")

    def _check_producer(self, tensor: ast.Name, deps: ast.expr | None, what: str, takes_deps: bool) -> None:
        """What writes the tensor must be one of deps=, as far as the parser sees it; arrays of ids it does not see."""
        tid, bound = self.producers.get(tensor.id, (None, 0))
        entries = getattr(deps, "elts", []) if deps is not None else []
        arrays = isinstance(deps, ast.ListComp) or any(self.kind(e) != "task" for e in entries if not _none(e))
        if tid is None or arrays:
            return
        if any(e.id == tid for e in entries if isinstance(e, ast.Name)) and self.id_bound[tid] == bound:
            return
        fix = f"deps=[{tid}]" if takes_deps else f"with pl.spmd(n, deps=[{tid}], predicate=...) as done:"
        raise self.refuse(
            tensor, f"predicate= of {what} reads '{tensor.id}', and the task that wrote it, '{tid}', is not in deps=:"
            " the scheduler may read what was there before", fix,
        )  # fmt: skip

    def check_trip_count(self, s: ast.For, call: ast.Call, turns: ast.expr) -> None:
        """An id that a pl.parallel of a manual scope binds again has an element for each turn, used or not."""
        again = sorted(self.ids & live.stores(s.body) & set().union(*self.frame))
        bounds = [self.expr(a) for a in call.args]
        none = all(map(self._is_constant, bounds)) and not counted_turns([self._evaluate(b) for b in bounds])
        if self.manual and again and (none or (isinstance(turns, ast.Constant) and not turns.value)):
            raise self.refuse(call, *without_turns(again[0], "no turns" if none else None))

    def trip_count(self, bounds: list[ast.expr]) -> ast.expr:
        """True for bounds that PyPTO knows while it compiles; of an inline function that may depend on its caller."""
        asked: set[str] = set()
        if not all(self._fixed(b, asked) for b in bounds):
            return ast.Constant(False)
        self.asked |= asked
        return self.machine("fixed", [ast.Constant(tuple(sorted(asked)))]) if asked else ast.Constant(True)

    def _fixed(self, node: ast.expr, asked: set[str]) -> bool:
        """True for a number that PyPTO knows while it compiles, if it knows the parameters added to `asked`."""
        if isinstance(node, (ast.BinOp, ast.UnaryOp)):
            return all(self._fixed(n, asked) for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr))
        if isinstance(node, ast.Call):
            path = self.pl_path(node.func)  # pl.tensor.dim of an extent that is known is still asked for at run time
            return path in ("min", "max", "const", "cast") and all(self._fixed(a, asked) for a in node.args[:2])
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            return self._static_extent(node.value.value, node.slice)
        if isinstance(node, ast.Attribute):  # pl.INT32 of a pl.cast
            return self.pl_path(node) is not None
        if not isinstance(node, ast.Name):
            return self.facts.folds(node)
        if node.id in self.sources:
            return self._fixed(self.sources[node.id], asked)
        if self.function_kind == "inline" and not self.bindings[node.id] and self.kinds.get(node.id) == "scalar":
            asked.add(node.id)
            return True
        if node.id in self.facts.literal:  # who compiles the entry may pass pl.RUNTIME, as `workbook compile` does
            return False
        return node.id in self.unrolled or self.facts.folds(node)

    def _static_extent(self, of: ast.expr, axis: ast.expr) -> bool:
        """True for an extent of a parameter that is no pl.dynamic."""
        if not isinstance(of, ast.Name) or not isinstance(axis, ast.Constant):
            return False
        known = of.id in self.dynamic and axis.value not in self.dynamic[of.id]
        return known and not self.bindings[of.id]


def _none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


class _Substitute(ast.NodeTransformer):
    def __init__(self, name: str, value: int):
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.copy_location(ast.Constant(self.value), node) if node.id == self.name else node
