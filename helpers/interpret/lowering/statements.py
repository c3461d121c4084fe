"""Statements of a kernel, lowered."""

from __future__ import annotations

import ast
from collections.abc import Callable

from helpers.errors import KernelError
from helpers.interpret.checks import rules
from helpers.interpret.checks.forms import linear
from helpers.interpret.checks.infer import category
from helpers.interpret.language import annotations
from helpers.interpret.lowering import split_k
from helpers.interpret.lowering.groups import POPS

MARKERS = ("func_attr", "dump_tag", "tensor.dump_tag", "static_print")


class Statements:
    """The part of the lowering that does statements."""

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        self.parted |= {id(s) for s in split_k.found(body, self.pl_path)} if self.incore else set()
        for s in body:
            for new in self.statement(s):
                out.append(ast.copy_location(new, s))
        return out

    def statement(self, s: ast.stmt) -> list[ast.stmt]:
        if isinstance(s, ast.Assign):
            self.check_pop(s)
            return self._assign(s)
        if isinstance(s, ast.AnnAssign):
            if s.value is None:
                raise self.refuse(s, "a declaration without a value", "assign when the value is known")
            return self._annotated(s)
        if isinstance(s, ast.Expr):
            return self._expression(s)
        if isinstance(s, ast.For):
            return self._for(s)
        if isinstance(s, ast.While):
            return self._plain_while(s)
        if isinstance(s, ast.If):
            return self._if(s)
        if isinstance(s, ast.With):
            return self._with(s)
        if isinstance(s, ast.Return):
            called = self.kernel_call(s.value) if isinstance(s.value, ast.Call) else None
            return [ast.Return(called or (self.expr(s.value) if s.value else None))]
        if isinstance(s, (ast.Break, ast.Continue)) and not self.incore:
            raise self.not_followed(s, "break" if isinstance(s, ast.Break) else "continue", "put the rest into an if")
        if isinstance(s, (ast.Pass, ast.Break, ast.Continue)):
            return [s]
        raise self.refuse(s, f"{type(s).__name__} is not in the language")

    def _nested(self, body: list[ast.stmt], turns: bool = False) -> list[ast.stmt]:
        """The body of a loop or of an arm of an if; `turns` for a loop that stays one."""
        self.nested += 1
        if turns:
            self.loops.append(len(self.frame))
        self.frame.append(set())
        closed = rules.yields(body)  # what is bound in it does not reach beyond it, but for what it hands on
        if closed:
            self.types.append({})
        try:
            return self.block(body) or [ast.Pass()]
        finally:
            self.nested -= 1
            self.frame.pop()
            if turns:
                self.loops.pop()
            if closed:
                self.types.pop()

    def _annotated(self, s: ast.AnnAssign) -> list[ast.stmt]:
        """`t: pl.Tensor[[64, 64], pl.FP32] = value`: the value must be what the annotation says."""
        want = self._annotation(s.annotation)
        self._check_kind(s, want.kind)
        number = want.dtype.name if want.kind == "scalar" and want.dtype is not None else None
        if number is not None:
            self._check_number_type(s, number)
        plain = ast.copy_location(ast.Assign([s.target], s.value), s)
        of = self.facts.dtype(s.value)
        if number is not None and of == "INDEX":
            plain.annotated = number
        out = self._assign(plain)
        if want.kind in ("tensor", "tile") and isinstance(s.target, ast.Name):
            name = ast.Name(s.target.id, ast.Load())
            args = [ast.Name("_m", ast.Load()), self.place(s.annotation), name, self.bind(want, "type")]
            out.append(ast.Expr(ast.Call(ast.Name("_typed", ast.Load()), args, [])))
            out += self._tile_details(s, name)
            if want.kind == "tile" and want.shape is not None:
                self.facts.shapes[s.target.id] = tuple(n if isinstance(n, int) else None for n in want.shape)
                self.facts.elements[s.target.id] = want.dtype.name
        elif want.dtype is not None and isinstance(s.target, ast.Name) and of in (None, "INDEX"):
            self.facts.scalars[s.target.id] = want.dtype.name
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
            extents = ast.Tuple([self.expr(e) for e in valid], ast.Load())
            args = [ast.Name("_m", ast.Load()), self.place(s.annotation), name, extents, ast.Constant(popped)]
            out.append(self._assign_name(s, name.id, ast.Call(ast.Name("_viewed", ast.Load()), args, [])))
        try:
            where = annotations.memref(s.annotation, self.pl_path, self.env.get)
        except ValueError as e:
            raise self.refuse(s.annotation, f"the annotation cannot be used: {e}") from e
        if where is not None:
            buffer, slots, index = where
            args = [self.place(s.annotation), name, ast.Constant(buffer), ast.Constant(slots), self.expr(index)]
            out.append(ast.Expr(self.machine("put_in_slot", args)))
        return out

    def _assign_name(self, node: ast.AST, name: str, value: ast.expr) -> ast.stmt:
        return ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), node)

    def _note(self, target: ast.expr, kind: str) -> None:
        if isinstance(target, ast.Name):
            old = self.kinds.get(target.id)
            self.kinds[target.id] = kind if old in (None, kind) else "any"
        elif isinstance(target, (ast.Tuple, ast.List)):
            for t in target.elts:
                self._note(t, "any")

    def _assign(self, s: ast.Assign) -> list[ast.stmt]:
        if len(s.targets) != 1:
            raise self.refuse(s, "an assignment to several targets", "assign one name at a time")
        target = s.targets[0]
        if isinstance(s.value, ast.Call) and self.pl_path(s.value.func) == "yield_":
            return self._yield(s.value, target)
        if isinstance(target, ast.Subscript):
            return self._store(target, s.value)
        self._check_target(target)
        called = self._launch(s.value) if isinstance(s.value, ast.Call) else None
        if called is not None:
            self.check_gives(s)
            self._note(target, "any")
            self.note_submit(s)
            self._discarded(s.value)
            for name in rules.names_in(target):
                self.origin.pop(name, None)
                self.passed_on.pop(name, None)
            self.facts.forget(rules.names_in(target))
            return [ast.Assign([target], self._carried(s, target, called))]
        if isinstance(target, ast.Name) and not self.incore and (bound := self.id_value(target.id, s.value)):
            return [ast.Assign([target], bound)]
        self._check_value(target, s.value)
        value = self.expr(s.value)
        if self.facts.dtype(s.value) == "BOOL" and self._constant(s.value):
            raise self.refuse(
                s,
                f"`{ast.unparse(s.value)}`, which is known while PyPTO compiles, bound to a name",
                "write it in the if",
            )
        self._note(target, self.kind(s.value))
        if isinstance(target, ast.Name):
            self._keeps_type(s, target)
        if isinstance(target, ast.Name):
            self._remember(target.id, s.value, value)
            value = self._same_type(s, target.id, value)
        else:
            self.facts.forget(rules.names_in(target))
            if isinstance(s.value, ast.Attribute) and s.value.attr == "shape":
                self.unrolled |= {n for n in rules.names_in(target) if self.bindings[n] == 1}
        self.frame[-1] |= rules.names_in(target)
        return [ast.Assign([target], value)]

    def _type(self, node: ast.expr) -> tuple:
        """What is certain of the type of a value: (scalar, tile or tensor; element type; extents; what is valid)."""
        scalar = self.facts.dtype(node)
        if scalar is not None:
            return "scalar", scalar, None, None
        level = self.facts.level(node)
        if level is None:
            return None, None, None, None
        return level, self.facts.element(node), self.facts.shape(node), self.facts.valid(node)

    def _keeps_type(self, s: ast.Assign, target: ast.Name) -> None:
        """A variable has one type in all of a function (see `variables`)."""
        variable = self.variables.get(id(target))
        if variable is None:
            return
        annotated = getattr(s, "annotated", None)
        new = self._type(s.value) if annotated is None else ("scalar", annotated, None, None)
        old = next((scope[variable] for scope in reversed(self.types) if variable in scope), None)
        if old is None:
            self.types[-1][variable] = new
        elif not _compatible(old, new):
            raise self.refuse(
                s, f"'{target.id}' is {_described(new)} here and {_described(old)} where it was bound before",
                "use another name",
            )  # fmt: skip
        else:
            self._check_carried_extents(s, target.id, old[3] or ())

    def _check_carried_extents(self, s: ast.Assign, name: str, valid: tuple) -> None:
        """The assembler wants an index where a tile that an arm or a turn binds again says what of it is valid."""
        for n in valid if self.incore else ():
            if isinstance(n, str) and n.isidentifier() and self.facts.dtype(ast.Name(n)) == "INT32":
                raise self.refuse(
                    s, f"'{name}' is bound again here, and '{n}' of its elements, an INT32 number, are valid",
                    f"say so with pl.cast({n}, pl.INDEX)",
                )  # fmt: skip

    def _carried(self, s: ast.stmt, target: ast.expr, value: ast.expr) -> ast.expr:
        """In a loop or branch of a region, names bound before keep their buffers when a function returns new values."""
        targets = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
        names = {t.id for t in targets if isinstance(t, ast.Name)} & set().union(*self.frame[:-1])
        if not (self.incore and self.nested and names):
            return value
        self.checked |= names
        old = [
            ast.Name(t.id, ast.Load()) if isinstance(t, ast.Name) and t.id in names else ast.Constant(None)
            for t in targets
        ]
        args = [ast.Name("_m", ast.Load()), self.place(s), ast.Tuple(old, ast.Load()), value]
        return ast.Call(ast.Name("_carried", ast.Load()), args, [])

    def _same_type(self, s: ast.stmt, name: str, value: ast.expr) -> ast.expr:
        """In a loop or branch of a region, a name bound before keeps its shape and element type."""
        before = set().union(*self.frame[:-1])
        if not (self.incore and self.nested and name in before) or self.kind(s.value) == "scalar":
            return value
        self.checked.add(name)
        turns = any(name in set().union(*self.frame[:depth]) for depth in self.loops)
        args = [ast.Name("_m", ast.Load()), self.place(s), ast.Constant(name), ast.Name(name, ast.Load()), value]
        args += [ast.Constant(True)] if turns else []
        return ast.Call(ast.Name("_rebound", ast.Load()), args, [])

    def _check_value(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(value, ast.Constant) and not isinstance(value.value, (bool, int, float)):
            raise self.refuse(value, f"{value.value!r} bound to a name", "only numbers, tensors and tiles have names")
        if isinstance(value, ast.Attribute) and self.pl_path(value) is not None:
            raise self.refuse(value, f"`{ast.unparse(value)}` bound to a name", "write it where it is used")
        if isinstance(value, (ast.List, ast.Tuple)) and isinstance(target, ast.Name):
            raise self.refuse(value, "a list or tuple bound to a name", "write it where it is used")
        if isinstance(value, (ast.List, ast.Tuple)) and self.incore:
            raise self.refuse(value, "several values assigned at once in an InCore region", "assign one name at a time")

    def _remember(self, name: str, source: ast.expr, value: ast.expr) -> None:
        """How a name was bound, and its value when that is a constant."""
        self.origin.pop(name, None)
        self.passed_on.pop(name, None)
        self.arrays.pop(name, None)
        if isinstance(source, ast.Call) and self.pl_path(source.func) == "array.create":
            self.arrays[name] = self.pl_path(self.facts.called(source)[1]["dtype"])
        if self.bindings[name] == 1:
            self.sources[name] = source
        self.facts.bind(name, source, self.incore)
        self.bind_root(name, source)
        self.bind_narrowed(name, source)
        self.bind_number(name, source)
        self.bind_width(name, source)
        if self.incore:
            self.bind_lane(name, source)
        self.computed.discard(name)
        if isinstance(source, ast.BinOp) and (
            self._asks_extent(source) or any(isinstance(n, ast.Name) and n.id in self.extents for n in ast.walk(source))
        ):
            self.computed.add(name)
        self.extents.discard(name)
        if isinstance(source, ast.Call) and self.pl_path(source.func) in ("dim", "tensor.dim"):
            self.extents.add(name)
        if isinstance(source, ast.Call) and self.pl_path(source.func) is not None:
            path = self.origin[name] = self.pl_path(source.func)
            if path in ("reshape", "tensor.reshape") and source.args and not isinstance(source.args[0], ast.Name):
                self.origin[name] = "reshape of an expression"
            if path in ("create_tensor", "tensor.create", "tensor.create_tensor") and self._computes_extent(source):
                self.origin[name] = f"{path} of a computed extent"
        if isinstance(source, ast.Subscript) and self.incore and self.facts.at_run_time(source.slice):
            self.origin[name] = "subscript at an offset of run time"
        self.constants.discard(name)
        if self.bindings[name] == 1 and self._constant(source):
            self.constants.add(name)
        form = linear(value)
        if self.bindings[name] == 1 and all(a == "" or (a.isidentifier() and self.bindings[a] <= 1) for a in form):
            self.forms[name] = self._expanded(form)

    def _constant(self, node: ast.expr) -> bool:
        """True for what PyPTO works out while it compiles: of numbers, and of names bound once to such."""
        parts = list(ast.walk(node))
        if any(isinstance(p, (ast.Call, ast.Subscript, ast.Attribute)) for p in parts):
            return False
        names = [p for p in parts if isinstance(p, ast.Name)]
        return all(n.id in self.constants | self.unrolled or self.facts.folds(n) for n in names)

    def _computes_extent(self, call: ast.Call) -> bool:
        """True when the shape of a pl.create_tensor has an extent that PyPTO's specializer cannot name: it knows
        constants, pl.dynamic names, and names bound to pl.tensor.dim and nothing else."""
        shape = next((k.value for k in call.keywords if k.arg == "shape"), call.args[0] if call.args else None)
        for e in shape.elts if isinstance(shape, (ast.List, ast.Tuple)) else ():
            if not isinstance(e, ast.Name) and self._asks_extent(e):
                return True
            if isinstance(e, ast.Name) and e.id in self.computed:
                return True
        return False

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
        if name in self.undefined:
            raise self.refuse(target.value, f"'{name}' is not defined", self.defined(name))
        if self.incore and {self.facts.level(target.value), self.facts.level(value)} == {"tile", "tensor"}:
            raise self.refuse(target, "a tile assigned to a window of a tensor", f"pl.store(tile, [...], {name})")
        if name in self.arrays:
            self.check_element(name, target.slice, value)
        self.check_stored(target)
        self.check_placed(target, value)
        self.check_something(target, value)
        self.frame[-1].add(name)
        call = ast.Call(
            ast.Name("_setitem", ast.Load()),
            [ast.Name("_m", ast.Load()), self.place(target), self.expr(target.value),
             self._index(target.slice, target.value), self.expr(value)], [],
        )  # fmt: skip
        return [ast.Assign([ast.Name(name, ast.Store())], ast.copy_location(call, target))]

    def _yield(self, call: ast.Call, target: ast.expr | None) -> list[ast.stmt]:
        values = [self.expr(a) for a in call.args]
        value = values[0] if len(values) == 1 else ast.Tuple(values, ast.Load())
        if isinstance(target, (ast.Tuple, ast.List)) and len(target.elts) == len(values) == 1:
            target = target.elts[0]  # (x,) = pl.yield_(value)
        if target is None:
            return [ast.Expr(value)]
        self._check_target(target)
        self._note(target, self.kind(call.args[0]) if len(call.args) == 1 else "any")
        for t, a in zip(target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target], call.args):
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
                self.check_marker(s.value, path)
            if path in ("func_attr", "dump_tag", "tensor.dump_tag"):
                return []
            if path == "static_print":
                return [ast.Expr(ast.Call(self.bind(print, "print"), [self.bind_place(self.source.place(s)), *(
                    ast.Constant(ast.unparse(a)) for a in s.value.args)], []))]  # fmt: skip
            if path == "static_assert":
                return self._static_assert(s.value)
            if path == "yield_":
                return self._yield(s.value, None)
            if isinstance(s.value.func, ast.Attribute) and s.value.func.attr == "bind_dynamic":
                return self._bind_dynamic(s.value, s.value.func)
            called = self._launch(s.value)
            if called is not None:
                self._discarded(s.value)
                return [ast.Expr(called)]
        value = self.expr(s.value)
        self.check_dropped(s.value)
        return [ast.Expr(value)]

    def _condition(self, test: ast.expr) -> ast.expr:
        if self.kind(test) in ("scalar", "tensor") and self.facts.dtype(test) != "BOOL":
            raise self.refuse(
                test, f"`{ast.unparse(test)}` as a condition is not a comparison", f"write {ast.unparse(test)} != 0"
            )
        return self.expr(test)

    def _check_ordered(self, test: ast.expr) -> None:
        """PyPTO reasons about the range of a number that an `if` compares, and cannot where that is FP32.

        Source: tried on e2d0f78a ("requires same numeric dtype category, got fp32 and int64"); of `or`, of what is
        computed in place and of a name of the comparison it does not.
        """
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            for part in test.values:
                self._check_ordered(part)
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self._check_ordered(test.operand)
        if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], (ast.Lt, ast.LtE, ast.Gt, ast.GtE)):
            return
        sides = [s for s in (test.left, test.comparators[0]) if isinstance(s, ast.Name) or self._is_read(s)]
        for side in sides:
            of = self.facts.dtype(side)
            if not self.facts.folds(side) and (of == "FP32" or (of in ("BF16", "FP16") and len(sides) > 1)):
                raise self.refuse(
                    test, f"`{ast.unparse(test)}` as a condition: '{ast.unparse(side)}' is {of}, and PyPTO works out"
                    " the range of what an if compares for integers alone",
                    f"larger = {ast.unparse(test)} on a line of its own, and if larger:",
                )  # fmt: skip

    def _is_read(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Subscript):
            return self.facts.is_element(node)
        return isinstance(node, ast.Call) and self.facts.called(node)[0] == "read"

    def _static_assert(self, call: ast.Call) -> list[ast.stmt]:
        if not 1 <= len(call.args) <= 2:
            raise self.refuse(call, "pl.static_assert takes a condition and a message")
        message = call.args[1] if len(call.args) > 1 else ast.Constant("")
        if not isinstance(message, ast.Constant) or not isinstance(message.value, str):
            raise self.refuse(message, "the message of pl.static_assert must be a string literal")
        if self.facts.at_run_time(call.args[0]):
            raise self.refuse(call.args[0], f"`{ast.unparse(call.args[0])}` is not known while PyPTO parses")
        fail = self.refuse(call, f"static_assert failed: {message.value or ast.unparse(call.args[0])}")
        raiser = self.bind(_raiser(fail), "fail")
        return [ast.If(ast.UnaryOp(ast.Not(), self.expr(call.args[0])), [ast.Expr(ast.Call(raiser, [], []))], [])]

    def _if(self, s: ast.If) -> list[ast.stmt]:
        test = self._condition(s.test)
        self._check_ordered(s.test)
        self.check_both(s.test, [*s.body, *s.orelse])
        names, facts = self._names(), self.facts.copy()
        one = self._constant(s.test)  # then one of the two arms is not compiled, and what it stores does not count
        stored, written = set(self.stored), set(self.written)
        known = one or self.decided(s.test)
        body = self.arm(s, s.body, known)
        if one:
            self.stored, self.written = set(stored), set(written)
        after, other = self.facts.copy(), self._names()
        self.facts.restore(facts)
        self.kinds, self.origin, self.passed_on = names  # an arm sees nothing of the other
        orelse = self.arm(s, s.orelse, known) if s.orelse else []
        self.facts.merge(after)
        self._join_names(*other)
        if one:
            self.stored, self.written = stored, written
        elif self.incore and self.only_numbers([s]):
            return self.masked_if(s, test, body, orelse)
        return [ast.If(test, body, orelse), *([] if one else self.after_arms(s))]

    def _names(self) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """What is known of names beside `facts`: kinds, what bound them, and which were handed to a function."""
        return dict(self.kinds), dict(self.origin), dict(self.passed_on)

    def _join_names(self, kinds: dict[str, str], origin: dict[str, str], passed_on: dict[str, str]) -> None:
        """What is known of them after an if, one arm of which ended with this."""
        for name, kind in kinds.items():
            self.kinds[name] = kind if self.kinds.get(name, kind) == kind else "any"
        self.origin = {**origin, **self.origin}
        self.passed_on = {**passed_on, **self.passed_on}


def _compatible(old: tuple, new: tuple) -> bool:
    """False when two types, as far as they are certain, differ."""
    (kind, element, shape, valid), (kind2, element2, shape2, valid2) = old, new
    if kind is None or kind2 is None:
        return True
    if kind != kind2 or (element is not None and element2 is not None and element != element2):
        return False
    if kind != "scalar" and valid is not None and valid2 is not None and valid != valid2:
        if () in (valid, valid2) or all(isinstance(n, int) for n in (*valid, *valid2)):
            return False
    if shape is None or shape2 is None:
        return True
    return len(shape) == len(shape2) and all(a is None or b is None or a == b for a, b in zip(shape, shape2))


def _described(t: tuple) -> str:
    kind, element, shape, valid = t
    extents = "" if shape is None else f" [{', '.join('?' if n is None else str(n) for n in shape)}]"
    part = f" of which [{', '.join(map(str, valid))}] is valid" if valid else ""
    return f"a {kind}{extents} {element or ''}".rstrip() + part


def _raiser(error: KernelError) -> Callable:
    def fail() -> None:
        raise error

    return fail
