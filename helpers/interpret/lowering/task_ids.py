"""Task ids, lowered: what deps= and predicate= may say, and names of ids in loops and in arms of ifs.

Source: as of `helpers.interpret.source.id_names`, which finds the names. What an id means where it is used is another
matter: `helpers.interpret.machine.task_ids`.
"""

from __future__ import annotations

import ast
import copy
import types
from collections import Counter

from helpers.interpret.facts.forms import evaluate, is_constant, name_tuple
from helpers.interpret.facts.names import Value
from helpers.interpret.lowering.code import Part, Whole, assigned, load, machine
from helpers.interpret.machine.task_ids import without_turns
from helpers.interpret.source import live
from helpers.interpret.source.id_names import SUBMITS, nothing
from helpers.interpret.source.walk import walk
from helpers.interpret.values.lanes import counted_turns

SIGNED = {"INT8", "INT16", "INT32", "INT64"}


class TaskIds(Part):
    """Does task ids."""

    def __init__(self, whole: Whole, ids: set[str]):
        super().__init__(whole)
        self.ids = ids  # names that can hold a task id
        self.asked: set[str] = set()  # parameters of an inline function that trip counts of such loops depend on
        self._producers: dict[str, tuple[str, int]] = {}  # tensor -> its task, and how often that name was bound
        self._times: Counter[str] = Counter()  # how often the name of a task id was bound

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
        return machine("ids.waits", [self.place(node), ast.Tuple(pairs, ast.Load())])

    def _entry(self, node: ast.expr) -> ast.expr:
        if nothing(node):
            return ast.Constant(None)
        element = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
        if not (isinstance(node, ast.Name) or element) or self.kind(node) in ("scalar", "tensor", "bool"):
            raise self.refuse(
                node, f"`{ast.unparse(node)}` in deps= is no task id",
                "what `with pl.at(...) as tid:` or a pl.submit binds, an element of an array of ids, or None",
            )  # fmt: skip
        return self.whole.expr(node)

    def _unrolled(self, node: ast.ListComp) -> list[ast.expr]:
        """`[tids[i] for i in range(n) if i != k]`, of which PyPTO's parser makes a list."""
        loop, fix = node.generators[0], "deps=[tids[i] for i in range(n)], where Python knows n"
        if len(node.generators) > 1 or not isinstance(loop.target, ast.Name):
            raise self.refuse(node, "a comprehension in deps= with more than one loop or name", fix)
        name = loop.target.id
        known = {n.id for part in (loop.iter, *loop.ifs) for n in walk(part) if isinstance(n, ast.Name)} - {name}
        unknown = sorted(known & self.subject.locals)
        if unknown:
            raise self.refuse(node, f"a comprehension in deps= that depends on '{unknown[0]}' of the kernel", fix)
        for n in known:
            value = self.outside(load(n))
            if self.subject.program is None and not isinstance(value, (int, float, types.BuiltinFunctionType, type)):
                raise self.refuse(node, f"a comprehension in deps= over '{n}', which is no number of the module", fix)
        try:
            values = [
                v
                for v in self.subject.evaluated(loop.iter)
                if all(self.subject.evaluated(c, {name: v}) for c in loop.ifs)
            ]
        except Exception as e:
            raise self.refuse(node, f"the comprehension in deps= cannot be worked out: {e}", fix) from e
        if any(type(v) is not int for v in values):
            raise self.refuse(node, "a comprehension in deps= over something else than integers", fix)
        return [ast.copy_location(_Substitute(name, v).visit(copy.deepcopy(node.elt)), node) for v in values]

    def passed_deps(self, keywords: dict[str, ast.expr]) -> list[ast.keyword]:
        """The keyword of the machine for deps=."""
        return [ast.keyword("deps", self.waits(keywords["deps"]))] if "deps" in keywords else []

    def note_id(self, name: str, produced: list[ast.stmt] | None = None) -> None:
        """`as tid`; `produced`: the body of a pl.spmd, whose results a predicate= may ask about."""
        self.names.note(name, kind="task")
        self.blocks.bind([name])
        self._times[name] += 1
        for s in produced or ():
            targets = s.targets if isinstance(s, ast.Assign) else [s.target] if isinstance(s, ast.AnnAssign) else []
            for t in targets:
                for e in t.elts if isinstance(t, (ast.Tuple, ast.List)) else [t]:
                    if isinstance(e, ast.Name):
                        self._producers[e.id] = name, self._times[name]

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
                    self._producers[part.id] = name, self._times[name]

    def id_value(self, name: str, value: ast.expr) -> ast.expr | None:
        """What `name = None` and `b = a` of task ids bind; None for anything else."""
        if nothing(value):
            bound = machine("ids.no_task", [])
        elif isinstance(value, ast.Name) and {name, value.id} <= self.ids and value.id in self.subject.locals:
            bound = machine("ids.another_name", [load(value.id)])
        else:
            return None
        self.names.put(name, Value(self.names.kind_with(name, "task")))
        self.blocks.bind([name])
        self._times[name] += 1
        return bound

    def arm(self, s: ast.If, body: list[ast.stmt], known: bool) -> list[ast.stmt]:
        """An arm of an if: in orchestration a scope of its own for the ids that it binds; `known`: PyPTO drops one."""
        for n in (n for b in body for n in walk(b)) if not self.region.incore and not known else ():
            name = getattr(n.value, "id", "") if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store) else ""
            if self.names[name].array and name in self.blocks.bound:
                raise self.refuse(
                    n, f"an element of the array '{name}' is assigned in an arm of an if: PyPTO has no code for an"
                    " array that two arms join", "assign it after the if, of a name that both arms bind",
                )  # fmt: skip
        lowered = self.whole.statements.nested(body)
        if self.region.incore or not self.ids & live.stores(body):
            return lowered
        return [ast.copy_location(ast.With([ast.withitem(machine("ids.body", []), None)], lowered), s)]

    def after_arms(self, s: ast.If) -> list[ast.stmt]:
        """What an if leaves of the ids that its arms bind: nothing of those that only one binds."""
        bound = [live.stores(s.body), live.stores(s.orelse)]
        kept = self.blocks.bound | (bound[0] & bound[1])
        out = []
        for name in sorted((bound[0] | bound[1]) & self.ids) if not self.region.incore else ():
            left = machine("ids.joined", [load(name) if name in kept else ast.Constant(None)])
            out.append(assigned(s, name, left))
        return out

    def begin_turn(self, s: ast.stmt, body: list[ast.stmt]) -> list[ast.stmt]:
        """In a loop that is no function of its turn: ids that it binds again, as a turn finds them."""
        again = self.ids & live.stores(body) & self.blocks.bound if not self.region.incore else set()
        return [assigned(s, n, machine("ids.id_in_loop", [load(n)])) for n in sorted(again)]

    def of_turns(self, captured: list[str], call: ast.Call) -> list[ast.expr]:
        """What `turns` of the machine takes of a loop that captures ids: which they are, and its trip count."""
        ids = {n: name for n, name in enumerate(captured) if name in self.ids}
        return [self.bind(ids, "ids"), self.trip_count(call.args)] if ids else []

    def carry(
        self, call: ast.Call, handed_on: list[tuple[str, str]], bounds: list[ast.expr], sequential: bool
    ) -> tuple[str, ast.expr, tuple[ast.stmt, ...]] | None:
        """Of a loop with init_values, of which some are task ids: a name, the carry that it holds, and what stands
        first in a turn, last in it, and after the loop."""
        ids = {n: name for n, (name, _) in enumerate(handed_on) if name in self.ids}
        if self.region.incore or not ids:
            return None
        carry = f"_carry_{call.lineno}_{call.col_offset}"
        carried, results = ([pair[i] for pair in handed_on] for i in (0, 1))

        def bind(targets: list[str], method: str, values: list[str]) -> ast.stmt:
            made = ast.Call(ast.Attribute(load(carry), method, ast.Load()), [name_tuple(values, ast.Load())], [])
            return ast.copy_location(ast.Assign([name_tuple(targets, ast.Store())], made), call)

        made = machine("ids.carry", [
            self.place(call), ast.Tuple(bounds, ast.Load()), self.bind(ids, "ids"), ast.Constant(sequential),
            self.trip_count(call.args),
        ])  # fmt: skip
        parts = ((carried, "entering", carried), (carried, "turned", results), (results, "after", carried))
        return carry, made, tuple(bind(*part) for part in parts)

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
        lowered = self.whole.expr(number) if read is not None else None
        if lowered is None or not is_constant(lowered) or type(evaluate(lowered)) is not int:
            raise self.refuse(node, f"predicate= of {what} does not compare an element with an integer literal", fix)
        self._check_read(read, fix)
        self._check_producer(read.value, keywords.get("deps"), what, takes_deps)
        nothing = ast.arguments([], [], None, [], [], None, [])
        return [ast.keyword("predicate", machine("launches.gate", [ast.Lambda(nothing, self.whole.expr(node))]))]

    def _check_read(self, read: ast.Subscript, fix: str) -> None:
        """The runtime reads one signed integer, at indices that it takes as unsigned."""
        items = read.slice.elts if isinstance(read.slice, ast.Tuple) else [read.slice]
        element, shape = self.facts.element(read.value), self.facts.shape(read.value)
        if element is not None and element not in SIGNED:
            raise self.refuse(read, f"predicate= asks about {element}: the runtime reads a signed integer", "use INT32")
        if any(isinstance(i, ast.Slice) or self.kind(i) == "tensor" for i in items):
            raise self.refuse(read, f"`{ast.unparse(read)}` in predicate= is no element", fix)
        axes = self.names[read.value.id].rank
        axes = axes if axes is not None or shape is None else len(shape)
        if axes is not None and axes != len(items):
            raise self.refuse(read, f"{len(items)} indices of '{read.value.id}', which has {axes} axes", fix)
        for i in items:
            lowered = self.whole.expr(i)
            if is_constant(lowered) and evaluate(lowered) < 0:
                raise self.refuse(i, "a negative index in predicate=", "count from the start")

    def _check_producer(self, tensor: ast.Name, deps: ast.expr | None, what: str, takes_deps: bool) -> None:
        """What writes the tensor must be one of deps=, as far as the parser sees it; arrays of ids it does not see."""
        tid, bound = self._producers.get(tensor.id, (None, 0))
        entries = getattr(deps, "elts", []) if deps is not None else []
        arrays = isinstance(deps, ast.ListComp) or any(self.kind(e) != "task" for e in entries if not nothing(e))
        if tid is None or arrays:
            return
        if any(e.id == tid for e in entries if isinstance(e, ast.Name)) and self._times[tid] == bound:
            return
        fix = f"deps=[{tid}]" if takes_deps else f"with pl.spmd(n, deps=[{tid}], predicate=...) as done:"
        raise self.refuse(
            tensor, f"predicate= of {what} reads '{tensor.id}', and the task that wrote it, '{tid}', is not in deps=:"
            " the scheduler may read what was there before", fix,
        )  # fmt: skip

    def check_trip_count(self, s: ast.For, call: ast.Call) -> None:
        """An id that a pl.parallel of a manual scope binds again has an element for each turn, used or not."""
        if not self.ids:
            return
        turns = self.trip_count(call.args)
        again = sorted(self.ids & live.stores(s.body) & self.blocks.bound)
        bounds = [self.whole.expr(a) for a in call.args]
        none = all(map(is_constant, bounds)) and not counted_turns([evaluate(b) for b in bounds])
        if self.region.manual and again and (none or (isinstance(turns, ast.Constant) and not turns.value)):
            raise self.refuse(call, *without_turns(again[0], "no turns" if none else None))

    def trip_count(self, bounds: list[ast.expr]) -> ast.expr:
        """True for bounds that PyPTO knows while it compiles; of an inline function that may depend on its caller."""
        asked: set[str] = set()
        if not all(self._fixed(b, asked) for b in bounds):
            return ast.Constant(False)
        self.asked |= asked
        return machine("ids.fixed", [ast.Constant(tuple(sorted(asked)))]) if asked else ast.Constant(True)

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
        of = self.names[node.id]
        if of.source is not None:
            return self._fixed(of.source, asked)
        if self.subject.kind == "inline" and not self.subject.bindings[node.id] and of.kind == "scalar":
            asked.add(node.id)
            return True
        if node.id in self.facts.literal:  # who compiles the entry may pass pl.RUNTIME, as `workbook compile` does
            return False
        return of.unrolled or self.facts.folds(node)

    def _static_extent(self, of: ast.expr, axis: ast.expr) -> bool:
        """True for an extent of a parameter that is no pl.dynamic."""
        if not isinstance(of, ast.Name) or not isinstance(axis, ast.Constant):
            return False
        known = of.id in self.subject.dynamic and axis.value not in self.subject.dynamic[of.id]
        return known and not self.subject.bindings[of.id]


class _Substitute(ast.NodeTransformer):
    def __init__(self, name: str, value: int):
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.copy_location(ast.Constant(self.value), node) if node.id == self.name else node
