"""Statements of a kernel, lowered."""

from __future__ import annotations

import ast
from collections.abc import Callable

from helpers.errors import KernelError
from helpers.interpret.checks import returns, rules
from helpers.interpret.facts.forms import evaluate, is_constant
from helpers.interpret.facts.infer import category
from helpers.interpret.facts.names import Value
from helpers.interpret.language import annotations
from helpers.interpret.lowering.code import Part, Whole, assigned, call, load, machine
from helpers.interpret.lowering.groups import POPS
from helpers.interpret.source.walk import walk
from helpers.interpret.values.printed import NUMBER, Printer

MARKERS = ("func_attr", "dump_tag", "tensor.dump_tag", "static_print")


class Statements(Part):
    """Does statements."""

    def __init__(self, whole: Whole):
        super().__init__(whole)
        self._tags: list[str] = []  # names that hold what pl.dump_tag has marked

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        self.whole.loops.note_parted(body)
        for s in body:
            for new in self.statement(s):
                out.append(ast.copy_location(new, s))
        return out

    def statement(self, s: ast.stmt) -> list[ast.stmt]:
        """The code of a statement; around a launch, with the tensors that are marked for a dump there."""
        if self.region.incore:
            return self._lowered(s)
        marked = self._marked(s)
        out = self._lowered(s)
        bound = {n.id for n in walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self._tags = [n for n in self._tags if n not in bound]  # a new value of the name is not marked
        if not marked:
            return out
        return [ast.With([ast.withitem(machine("tagging", [load(n) for n in marked]))], out)]

    def _marked(self, s: ast.stmt) -> list[str]:
        """The tensors that a launch, or the call of an inline function, uses and that are marked for a dump: by a
        pl.dump_tag further up in the text, as PyPTO's parser has it, or by dumps=."""
        launch = s.items[0].context_expr if isinstance(s, ast.With) else getattr(s, "iter", getattr(s, "value", None))
        if not isinstance(launch, ast.Call) or isinstance(s, ast.AugAssign):
            return []
        path = self.pl_path(launch.func)
        if path not in ("at", "spmd", "submit", "spmd_submit", None):
            return []
        given = next((k.value for k in launch.keywords if k.arg == "dumps"), None)
        named = [e.id for e in getattr(given, "elts", ()) if isinstance(e, ast.Name)]
        used = {n.id for n in walk(s) if isinstance(n, ast.Name)}
        return list(dict.fromkeys([*named, *(n for n in self._tags if n in used)]))

    def _lowered(self, s: ast.stmt) -> list[ast.stmt]:
        if isinstance(s, ast.Assign):
            self.whole.groups.check_pop(s)
            return self._assign(s)
        if isinstance(s, ast.AnnAssign):
            if s.value is None:
                raise self.refuse(s, "a declaration without a value", "assign when the value is known")
            return self._annotated(s)
        if isinstance(s, ast.Expr):
            return self._expression(s)
        if isinstance(s, ast.For):
            return self.whole.loops.loop(s)
        if isinstance(s, ast.While):
            return self.whole.loops.plain_while(s)
        if isinstance(s, ast.If):
            return self._if(s)
        if isinstance(s, ast.With):
            return self.whole.scopes.scope(s)
        if isinstance(s, ast.Return):
            returns.check_result(self.facts, s)
            called = self.whole.calls.kernel_call(s.value) if isinstance(s.value, ast.Call) else None
            return [ast.Return(called or (self.whole.expr(s.value) if s.value else None))]
        if isinstance(s, (ast.Break, ast.Continue)) and not self.region.incore:
            word = "break" if isinstance(s, ast.Break) else "continue"
            raise self.whole.loops.not_followed(s, word, "put the rest into an if")
        if isinstance(s, (ast.Pass, ast.Break, ast.Continue)):
            return [s]
        raise self.refuse(s, f"{type(s).__name__} is not in the language")

    def nested(self, body: list[ast.stmt], turns: bool = False) -> list[ast.stmt]:
        """The body of a loop or of an arm of an if; `turns` for a loop that stays one."""
        with self.blocks.inner(turns), self.checks.types.apart(rules.yields(body)):
            return self.block(body) or [ast.Pass()]

    def _annotated(self, s: ast.AnnAssign) -> list[ast.stmt]:
        """`t: pl.Tensor[[64, 64], pl.FP32] = value`: the value must be what the annotation says."""
        want = self.subject.annotation(s.annotation)
        self._check_kind(s, want.kind)
        number = want.dtype.name if want.kind == "scalar" and want.dtype is not None else None
        if number is not None:
            self._check_number_type(s, number)
        plain = ast.copy_location(ast.Assign([s.target], s.value), s)
        of = self.facts.dtype(s.value)
        out = self._assign(plain, number if of == "INDEX" else None)
        if want.kind in ("tensor", "tile") and isinstance(s.target, ast.Name):
            name = load(s.target.id)
            args = [load("_m"), self.place(s.annotation), name, self.bind(want, "type")]
            out.append(ast.Expr(call("_typed", args)))
            out += self._tile_details(s, name)
            if want.kind == "tile" and want.shape is not None:
                shape = tuple(n if isinstance(n, int) else None for n in want.shape)
                self.names.note(s.target.id, shape=shape, element=want.dtype.name)
        elif want.dtype is not None and isinstance(s.target, ast.Name) and of in (None, "INDEX"):
            self.names.note(s.target.id, scalar=want.dtype.name)
        return out

    def _check_kind(self, s: ast.AnnAssign, want: str) -> None:
        """A tile, a tensor and a scalar are three kinds (`validate_annotation_consistency` of type_resolver.py)."""
        have = "scalar" if self.kind(s.value) == "scalar" else self.facts.level(s.value)
        if want in ("tile", "tensor", "scalar") and have is not None and have != want:
            raise self.refuse(s.annotation, f"`{ast.unparse(s.value)}` is a {have}, and annotated as a {want}")

    def _check_number_type(self, s: ast.AnnAssign, want: str) -> None:
        """A number is of the type that its annotation says; an INDEX becomes that (`_dtypes_compatible` there)."""
        of = self.facts.dtype(s.value)
        if of in (None, want) or ("INDEX" in (of, want) and category(of) == category(want)):
            return
        raise self.refuse(s.annotation, f"`{ast.unparse(s.value)}` is {of}, and annotated as {want}", f"pl.{of}")

    def _tile_details(self, s: ast.AnnAssign, name: ast.Name) -> list[ast.stmt]:
        """The `pl.TileView` and `pl.MemRef` of a tile's annotation."""
        out = []
        valid = annotations.tile_view(s.annotation, self.pl_path)
        if valid is not None:
            popped = isinstance(s.value, ast.Call) and self.pl_path(s.value.func) in POPS
            extents = ast.Tuple([self.whole.expr(e) for e in valid], ast.Load())
            args = [load("_m"), self.place(s.annotation), name, extents, ast.Constant(popped)]
            out.append(assigned(s, name.id, call("_viewed", args)))
        try:
            where = annotations.memref(s.annotation, self.pl_path, self.subject.env.get)
        except ValueError as e:
            raise self.refuse(s.annotation, f"the annotation cannot be used: {e}") from e
        if where is not None:
            buffer, slots, index = where
            args = [self.place(s.annotation), name, ast.Constant(buffer), ast.Constant(slots), self.whole.expr(index)]
            out.append(ast.Expr(machine("onchip.put_in_slot", args)))
        return out

    def note(self, target: ast.expr, kind: str) -> None:
        """A target is bound to something of a kind."""
        if isinstance(target, ast.Name):
            self.names.note(target.id, kind=self.names.kind_with(target.id, kind))
        elif isinstance(target, (ast.Tuple, ast.List)):
            for t in target.elts:
                self.note(t, "any")

    def _assign(self, s: ast.Assign, annotated: str | None = None) -> list[ast.stmt]:
        """`target = value`; `annotated`: the type that a number is annotated with."""
        if len(s.targets) != 1:
            raise self.refuse(s, "an assignment to several targets", "assign one name at a time")
        target = s.targets[0]
        if isinstance(s.value, ast.Call) and self.pl_path(s.value.func) == "yield_":
            return self._yield(s.value, target)
        if isinstance(target, ast.Subscript):
            return self._store(target, s.value)
        self._check_target(target)
        called = self.whole.calls.launch(s.value) if isinstance(s.value, ast.Call) else None
        if called is not None:
            self.whole.calls.check_gives(s)
            self.whole.calls.discarded(s.value)
            for name in rules.names_in(target):
                self.names.put(name, Value("any"))
                self.checks.in_place.bind(name, s.value)
            self.whole.task_ids.note_submit(s)
            return [ast.Assign([target], self._carried(s, target, called))]
        if isinstance(target, ast.Name) and not self.region.incore:
            bound = self.whole.task_ids.id_value(target.id, s.value)
            if bound is not None:
                return [ast.Assign([target], bound)]
        self._check_value(target, s.value)
        value = self.whole.expr(s.value)
        if self.facts.dtype(s.value) == "BOOL" and (self.facts.constant(s.value) or self._folds_to_one(s.value)):
            raise self.refuse(
                s,
                f"`{ast.unparse(s.value)}`, which is known while PyPTO compiles, bound to a name",
                "write it in the if",
            )
        bound = rules.names_in(target)
        if isinstance(target, ast.Name):
            self.checks.types.check_kept(s, target, annotated)
            once = self.subject.bindings[target.id] == 1
            more = self.whole.numbers.known(target.id, s.value, value) if once else {}
            if self.blocks.again(target.id):
                self.checks.types.check_space(s, target.id, self.blocks.of_turns(target.id))
            self.facts.bind(target.id, s.value, self.region.incore, **more)
            self.checks.bind(target.id, s.value)
            value = self._same_type(s, target.id, value)
        else:
            self.note(target, "any")
            self.names.forget(bound)
            if isinstance(s.value, ast.Attribute) and s.value.attr == "shape":
                for name in bound:
                    self.names.note(name, unrolled=self.subject.bindings[name] == 1)
        self.blocks.bind(bound)
        return [ast.Assign([target], value)]

    def _folds_to_one(self, node: ast.expr) -> bool:
        """True for `True or x` and `False and x`: PyPTO's simplifier leaves the constant alone."""
        values = [self.whole.expr(v) for v in getattr(node, "values", ()) if self.facts.constant(v)]
        for v in values:
            sides = [v.left, *v.comparators] if isinstance(v, ast.Compare) else [v]
            if all(map(is_constant, sides)) and bool(evaluate(v)) == isinstance(node.op, ast.Or):
                return True
        return False

    def _carried(self, s: ast.stmt, target: ast.expr, value: ast.expr) -> ast.expr:
        """In a loop or branch of a region, names bound before keep their buffers when a function returns new values."""
        targets = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
        names = {t.id for t in targets if isinstance(t, ast.Name) and self.blocks.again(t.id)}
        if not (self.region.incore and names):
            return value
        self.blocks.begin(names)
        old = [load(t.id) if isinstance(t, ast.Name) and t.id in names else ast.Constant(None) for t in targets]
        return call("_carried", [load("_m"), self.place(s), ast.Tuple(old, ast.Load()), value])

    def _same_type(self, s: ast.stmt, name: str, value: ast.expr) -> ast.expr:
        """In a loop or branch of a region, a name bound before keeps its shape and element type."""
        if not (self.region.incore and self.blocks.again(name)) or self.kind(s.value) == "scalar":
            return value
        self.blocks.begin([name])
        args = [load("_m"), self.place(s), ast.Constant(name), load(name), value]
        return call("_rebound", [*args, ast.Constant(True)] if self.blocks.of_turns(name) else args)

    def _check_value(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(value, ast.Constant) and not isinstance(value.value, (bool, int, float)):
            raise self.refuse(value, f"{value.value!r} bound to a name", "only numbers, tensors and tiles have names")
        if isinstance(value, ast.Attribute) and self.pl_path(value) is not None:
            raise self.refuse(value, f"`{ast.unparse(value)}` bound to a name", "write it where it is used")
        if isinstance(value, (ast.List, ast.Tuple)) and isinstance(target, ast.Name):
            raise self.refuse(value, "a list or tuple bound to a name", "write it where it is used")
        if isinstance(value, (ast.List, ast.Tuple)) and self.region.incore:
            raise self.refuse(value, "several values assigned at once in an InCore region", "assign one name at a time")

    def _check_target(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            return
        if isinstance(target, (ast.Tuple, ast.List)):
            for t in target.elts:
                self._check_target(t)
            return
        raise self.refuse(target, f"an assignment to {ast.unparse(target)}", "assign to a name or a subscript")

    def _store(self, target: ast.Subscript, value: ast.expr) -> list[ast.stmt]:
        if not isinstance(target.value, ast.Name):
            raise self.refuse(target, "an assignment to a subscript of an expression", "name the tensor first")
        name = target.value.id
        if name in self.subject.undefined:
            raise self.refuse(target.value, f"'{name}' is not defined", self.subject.meant(name))
        if self.region.incore and {self.facts.level(target.value), self.facts.level(value)} == {"tile", "tensor"}:
            raise self.refuse(target, "a tile assigned to a window of a tensor", f"pl.store(tile, [...], {name})")
        if self.names[name].array:
            self.checks.directives.check_element(name, target.slice, value)
        self.checks.stores.check(target)
        self.checks.units.check_placed(target, value)
        self.checks.assembled.check_placed(target, value)
        self.blocks.bind([name])
        where = [self.whole.expr(target.value), self.whole.expressions.index(target.slice, target.value)]
        stored = call("_setitem", [load("_m"), self.place(target), *where, self.whole.expr(value)])
        return [assigned(target, name, ast.copy_location(stored, target))]

    def _yield(self, made: ast.Call, target: ast.expr | None) -> list[ast.stmt]:
        if made.keywords:
            raise self.refuse(made, "pl.yield_ takes values by position", "a, b = pl.yield_(x, y)")
        values = [self.whole.expr(a) for a in made.args]
        for a in made.args:
            self.checks.types.hand_on(a)
        value = values[0] if len(values) == 1 else ast.Tuple(values, ast.Load())
        if isinstance(target, (ast.Tuple, ast.List)) and len(target.elts) == len(values) == 1:
            target = target.elts[0]  # (x,) = pl.yield_(value)
        if target is None:
            return [ast.Expr(value)]
        self._check_target(target)
        self.note(target, self.kind(made.args[0]) if len(made.args) == 1 else "any")
        for t, a in zip(target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target], made.args):
            if isinstance(t, ast.Name):
                self.facts.carried(t.id, a)
        return [ast.Assign([target], value)]

    def _expression(self, s: ast.Expr) -> list[ast.stmt]:
        if isinstance(s.value, ast.Constant):
            if isinstance(s.value.value, str):
                return []  # a docstring
            raise self.refuse(s, "a bare value as a statement", "remove it")
        if isinstance(s.value, ast.Call):
            path = self.pl_path(s.value.func)
            if path in MARKERS:
                self.checks.directives.check_marker(s.value, path)
            if path in ("dump_tag", "tensor.dump_tag"):
                self.whole.expr(s.value.args[0])
                self._tags.append(s.value.args[0].id)
            if path in ("func_attr", "dump_tag", "tensor.dump_tag"):
                return []
            if path == "static_print":
                return self._static_print(s.value)
            if path == "static_assert":
                return self._static_assert(s.value)
            if path == "yield_":
                return self._yield(s.value, None)
            if isinstance(s.value.func, ast.Attribute) and s.value.func.attr == "bind_dynamic":
                return self.whole.calls.bind_dynamic(s.value, s.value.func)
            called = self.whole.calls.launch(s.value)
            if called is not None:
                self.whole.calls.discarded(s.value)
                return [ast.Expr(called)]
        value = self.whole.expr(s.value)
        self.checks.assembled.check_dropped(s.value)
        return [ast.Expr(value)]

    def condition(self, test: ast.expr) -> ast.expr:
        """What an if or a while asks."""
        if self.kind(test) in ("scalar", "tensor") and self.facts.dtype(test) != "BOOL":
            raise self.refuse(
                test, f"`{ast.unparse(test)}` as a condition is not a comparison", f"write {ast.unparse(test)} != 0"
            )
        return self.whole.expr(test)

    def _static_print(self, made: ast.Call) -> list[ast.stmt]:
        parts = []
        for a in made.args:
            pieces = a.values if isinstance(a, ast.JoinedStr) else [a]
            parts.append(ast.Tuple([self._printed(p) for p in pieces], ast.Load()))
        printer = self.bind(Printer(self.subject.place(made)), "printer")
        return [ast.Expr(ast.Call(printer, [ast.Tuple(parts, ast.Load())], []))]

    def _printed(self, node: ast.expr) -> ast.expr:
        """What pl.static_print says of a part of an argument: text, or a name and what it holds."""
        if isinstance(node, ast.FormattedValue):
            if node.conversion != -1 or node.format_spec is not None:
                raise self.refuse(
                    node, "a conversion or a format in an f-string of pl.static_print", 'plain names: f"{x}"'
                )
            node = node.value
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node
        text = ast.unparse(node)
        if isinstance(node, ast.Name) and node.id in self.subject.locals and self.kind(node) not in ("scalar", "bool"):
            level = ast.Constant(self.facts.level(node))
            return ast.Tuple([ast.Constant(text), level, self.whole.expr(node)], ast.Load())
        value, dtype = self.whole.expr(node), self.facts.dtype(node)
        if dtype and (isinstance(value, ast.Constant) or self.facts.constant(node)):
            return ast.Tuple([ast.Constant(f"pl.Scalar[pl.{dtype}]"), ast.Constant(NUMBER), value], ast.Load())
        return ast.Constant(f"{text}: pl.Scalar[pl.{dtype}]" if dtype and isinstance(node, ast.Name) else text)

    def _static_assert(self, made: ast.Call) -> list[ast.stmt]:
        if not 1 <= len(made.args) <= 2:
            raise self.refuse(made, "pl.static_assert takes a condition and a message")
        message = made.args[1] if len(made.args) > 1 else ast.Constant("")
        if not isinstance(message, ast.Constant) or not isinstance(message.value, str):
            raise self.refuse(message, "the message of pl.static_assert must be a string literal")
        if self.facts.at_run_time(made.args[0]):
            raise self.refuse(made.args[0], f"`{ast.unparse(made.args[0])}` is not known while PyPTO parses")
        fail = self.refuse(made, f"static_assert failed: {message.value or ast.unparse(made.args[0])}")
        raiser = self.bind(_raiser(fail), "fail")
        return [ast.If(ast.UnaryOp(ast.Not(), self.whole.expr(made.args[0])), [ast.Expr(ast.Call(raiser, [], []))], [])]

    def _if(self, s: ast.If) -> list[ast.stmt]:
        test = self.condition(s.test)
        self.checks.scalars.check_ordered(s.test)
        self.checks.units.check_both(s.test, [*s.body, *s.orelse])
        one = self.facts.constant(s.test)  # then one of the two arms is not compiled, and what it stores does not count
        known = one or self.facts.decided(s.test)

        def arm(body: list[ast.stmt]) -> list[ast.stmt]:
            with self.checks.stores.apart(one), self.region.known(known):
                return self.whole.task_ids.arm(s, body, known)

        body, orelse = self.names.arms(lambda: arm(s.body), lambda: arm(s.orelse) if s.orelse else [])
        self.checks.types.check_arms(rules.handed_on(s.body), rules.handed_on(s.orelse))
        if not one and self.region.incore and self.whole.masked.only_numbers([s]):
            return self.whole.masked.masked_if(s, test, body, orelse)
        return [ast.If(test, body, orelse), *([] if one else self.whole.task_ids.after_arms(s))]


def _raiser(error: KernelError) -> Callable:
    def fail() -> None:
        raise error

    return fail
