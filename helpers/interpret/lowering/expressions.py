"""Expressions of a kernel, lowered."""

from __future__ import annotations

import ast
import contextlib
from typing import Any

from helpers.interpret import ops
from helpers.interpret.checks import rules
from helpers.interpret.checks.scalars import check_operand
from helpers.interpret.facts.forms import MISSING, evaluate, is_constant
from helpers.interpret.language import dtypes
from helpers.interpret.lowering.code import Part, call, load, machine
from helpers.interpret.ops import exists

INFIX = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.BitAnd: "and_", ast.BitOr: "or_",
    ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "shr", ast.Mod: "rem",
}  # fmt: skip

# What to write in place of an operator between tensors that stands for no operation of INFIX.
NO_INFIX = {ast.MatMult: "write pl.matmul(a, b, out_dtype=pl.FP32)", ast.Pow: "write pl.mul(a, a)"}

# Operators that PyPTO folds when both sides are constants and otherwise refuses.
CONSTANTS_ONLY = {
    ast.Pow: ("**", "multiply"),
    ast.MatMult: ("@", "use pl.matmul(a, b)"),
    ast.BitAnd: ("&", "use // and %, or pl.and_ on tiles"),
    ast.BitOr: ("|", "use + and *, or pl.or_ on tiles"),
    ast.BitXor: ("^", "use + and %, or pl.xor on tiles"),
}

# Products that PyPTO cuts where they are larger than L0C, and only in the block of statements that they are made in.
WHOLE = {name for name, factors in ops.FACTORS.items() if factors[0] == 0}  # products that add to nothing


class Expressions(Part):
    """Does expressions."""

    def expr(self, node: ast.expr) -> ast.expr:
        return ast.copy_location(self._expr(node), node)

    def _expr(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Constant):
            self.checks.scalars.check_bits(node, node.value)
            return ast.Constant(node.value)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self.name(node)
        if isinstance(node, ast.Call):
            return self.whole.calls.called(node)
        if isinstance(node, ast.BinOp):
            return self._binop(node)
        if isinstance(node, ast.UnaryOp):
            return self._unaryop(node)
        if isinstance(node, ast.BoolOp):
            self.checks.scalars.check_connected(node)
            fn = "_and" if isinstance(node.op, ast.And) else "_or"
            return call(fn, [self.expr(v) for v in node.values])
        if isinstance(node, ast.Compare):
            if self.kind(node.left) == "tensor" or self.kind(node.comparators[0]) == "tensor":
                raise self.refuse(node, "a comparison of tensors with an operator", "use pl.cmp / pl.cmps")
            check_operand(self.checks.scalars, node.left)
            check_operand(self.checks.scalars, node.comparators[0])
            self.checks.scalars.check_categories(node, node.left, node.comparators[0])
            return self.whole.numbers.compared(node, self.expr(node.left), self.expr(node.comparators[0]))
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        if isinstance(node, ast.List):
            items = [self.expr(e) for e in node.elts]
            constant = items and all(isinstance(i, ast.Constant) and type(i.value) is int for i in items)
            return ast.Tuple(items, ast.Load()) if constant else ast.List(items, ast.Load())
        if isinstance(node, ast.Tuple):
            return type(node)([self.expr(e) for e in node.elts], ast.Load())
        if isinstance(node, ast.JoinedStr):
            raise self.refuse(node, "an f-string in a kernel", "f-strings are for pl.static_print")
        raise self.refuse(node, f"{type(node).__name__} is not in the language")

    def name(self, node: ast.Name | ast.Attribute) -> ast.expr:
        if isinstance(node, ast.Name) and node.id in self.subject.undefined:
            raise self.refuse(node, f"'{node.id}' is not defined", self.subject.meant(node.id))
        if isinstance(node, ast.Name) and node.id in self.subject.locals:
            if called := self.names[node.id].passed_on:
                raise self.refuse(
                    node, f"'{node.id}' is read after '{called}' wrote it, by its old name",
                    f"bind what the call returns: {node.id} = {called}(...)",
                )  # fmt: skip
            made_by = self.names[node.id].origin.rpartition(".")[-1]
            if self.region.incore and made_by in WHOLE and self.blocks.outer(node.id):
                return machine("onchip.elsewhere", [load(node.id)])
            return load(node.id)
        path = self.pl_path(node)
        if path is not None:
            value = self.outside(node)
            if value is MISSING:
                raise rules.unknown(self.subject, node, path)
            if exists(path):
                raise self.refuse(node, f"pl.{path} without a call", "only its result can be used")
            return self.constant(value, path.replace(".", "_"))
        if isinstance(node, ast.Attribute):
            if node.attr in ("shape", "dtype") and self.outside(node.value) is MISSING:
                return ast.Attribute(self.expr(node.value), node.attr, ast.Load())
            fix = f"bind it to a name of the module: {node.attr.upper()} = {ast.unparse(node)}"
            if self.outside(node.value) is MISSING:  # what the kernel made has none but shape and dtype
                fix = f"pl.transpose({ast.unparse(node.value)}, 0, 1)" if node.attr == "T" else None
            raise self.refuse(node, f"the attribute `{ast.unparse(node)}`", fix)
        value = self.outside(node)
        if value is MISSING:
            raise self.refuse(node, f"'{node.id}' is not defined", self.subject.meant(node.id))
        if self.subject.closure and isinstance(value, (list, tuple)):
            return ast.List([self.constant(v, node.id) for v in value], ast.Load())
        plain = isinstance(value, (bool, int, float)) or type(value).__name__ == "DynVar"
        of_parser = self.subject.closure and (value is None or isinstance(value, str) or dtypes.of(value))
        if not plain and not of_parser:
            raise self.refuse(
                node, f"'{node.id}' is a {type(value).__name__}: only int, float and bool of the module can be used",
                "write the value in place, or pass it as a parameter",
            )  # fmt: skip
        return self.constant(value, node.id)

    def constant(self, value: Any, hint: str) -> ast.expr:
        """A value of the enclosing scope, folded in."""
        if value is None or type(value) in (bool, int, float):  # not: an enum of PyPTO's that counts as an int
            return ast.Constant(value)
        if type(value).__name__ == "DynVar":
            return call("_dim", [load("_m"), ast.Constant(value.name)])
        return self.bind(value, hint)

    def _binop(self, node: ast.BinOp) -> ast.expr:
        if "tensor" in (self.kind(node.left), self.kind(node.right)):
            name = INFIX.get(type(node.op))
            instead = f"write pl.{name}(a, b), the tensor first" if name else NO_INFIX.get(type(node.op))
            number = self.kind(node.left) in ("scalar", "bool")
            what = "a number on the left of a tensor" if number else "an operator between tensors"
            raise self.refuse(
                node, f"{what}: operators are for scalars", instead
            )  # fmt: skip
        check_operand(self.checks.scalars, node)
        out = self.whole.numbers.arithmetic(node, self.expr(node.left), self.expr(node.right))
        with contextlib.suppress(TypeError):  # said where it is computed
            if is_constant(out):
                self.checks.scalars.check_bits(node, self._value(node, out))
        self.checks.scalars.check_categories(node, node.left, node.right)
        if type(node.op) in CONSTANTS_ONLY and not self.facts.folds(node):
            sign, instead = CONSTANTS_ONLY[type(node.op)]
            raise self.refuse(node, f"`{sign}` is not in the language, but for constants", instead)
        return out

    def _value(self, node: ast.expr, constant: ast.expr) -> Any:
        try:
            if isinstance(node.op, (ast.Pow, ast.LShift)):
                base, by = evaluate(constant.left), evaluate(constant.right)
                if type(base) is int and type(by) is int and abs(base) > 1 and by > 64:
                    raise self.refuse(node, f"`{ast.unparse(node)}` does not fit in 64 bits", "a smaller number")
            return evaluate(constant)
        except ZeroDivisionError:
            raise self.refuse(node, f"`{ast.unparse(node)}`: a division by zero") from None
        except (ArithmeticError, ValueError) as e:
            raise self.refuse(node, f"`{ast.unparse(node)}` has no value: {e}") from None

    def _unaryop(self, node: ast.UnaryOp) -> ast.expr:
        if self.kind(node.operand) == "tensor":
            raise self.refuse(node, "a unary operator on a tensor: operators are for scalars", "use pl.neg or pl.not_")
        if isinstance(node.op, ast.UAdd):
            raise self.refuse(node, "a unary + is not in the language", "remove it")
        value = self.expr(node.operand)
        if isinstance(node.op, ast.Not):
            return call("_not", [value])
        return self.whole.numbers.negated(node, value)

    def _subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            return ast.Subscript(self.expr(node.value), self.expr(node.slice), ast.Load())
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if isinstance(node.value, ast.Name) and self.names[node.value.id].array:
            self.checks.directives.check_element(node.value.id, node.slice)
        else:
            self.checks.in_place.check_items(items)
        if any(isinstance(i, ast.Slice) for i in items):
            self.checks.assembled.check_part(node, node.value)
            self._check_lower(node, items)
        fn = "_getrows" if self.facts.level(node.value) == "tile" else "_getitem"
        return call(fn, [load("_m"), self.place(node), self.expr(node.value), self.index(node.slice, node.value)])

    def _check_lower(self, node: ast.Subscript, items: list[ast.expr]) -> None:
        """A window of a tile begins at a number that is known while parsing (ast_parser.py); pl.slice takes any."""
        for i in items if self.facts.level(node.value) == "tile" else ():
            lower = i.lower if isinstance(i, ast.Slice) else None
            if lower is not None and self.facts.at_run_time(lower):
                name = ast.unparse(node.value)
                raise self.refuse(
                    lower, f"a window of the tile `{name}` from `{ast.unparse(lower)}`, which only the run knows",
                    f"pl.tile.slice({name}, shape, offset)",
                )  # fmt: skip

    def index(self, node: ast.expr, of: ast.expr) -> ast.expr:
        items = node.elts if isinstance(node, ast.Tuple) else [node]
        out = []
        for axis, i in enumerate(items):
            if isinstance(i, ast.Slice):
                for part in (i.lower, i.upper):
                    if part is not None:
                        self.checks.scalars.check_number(part)
                self._check_extent(i, of, axis)
                parts = [self.offset(i.lower) if i.lower else ast.Constant(None)]
                parts.append(self.expr(i.upper) if i.upper else ast.Constant(None))
                out.append(call("_slice", parts))
            elif isinstance(i, ast.Constant) and i.value is None:
                raise self.refuse(i, "None as a subscript", "use pl.reshape")
            elif isinstance(i, (ast.List, ast.Tuple)):
                raise self.refuse(i, "a list as a subscript", "slice contiguously; pl.gather picks rows")
            elif self.kind(i) == "tensor":
                raise self.refuse(i, f"`{ast.unparse(i)}` as a subscript is no number", "pl.gather picks rows")
            elif isinstance(i, ast.UnaryOp) and isinstance(i.op, ast.USub) and isinstance(i.operand, ast.Constant):
                raise self.refuse(i, "a negative subscript", "count from the start: extent - n")
            else:
                check_operand(self.checks.scalars, i)
                self.checks.scalars.check_whole(i)
                out.append(self.expr(i))
        return ast.Tuple(out, ast.Load())

    def offset(self, node: ast.expr) -> ast.expr:
        """Where a window begins; in a region what PyPTO knows of it is marked."""
        known = self.region.incore and self.facts.constant(node)
        return call("_known", [self.expr(node)]) if known else self.expr(node)

    def _check_extent(self, s: ast.Slice, of: ast.expr, axis: int) -> None:
        """In an InCore region the extent of a slice must be known when the kernel is compiled."""
        if (
            self.region.incore
            and s.upper is None
            and isinstance(of, ast.Name)
            and axis in self.subject.dynamic.get(of.id, ())
        ):
            raise self.refuse(
                of, f"axis {axis} of '{of.id}' is known only at run time: a tile has a static shape",
                "slice a constant extent of it, and loop",
            )  # fmt: skip
        if not self.region.incore or (s.lower is None and s.upper is None):
            return
        if s.upper is None or not self.whole.numbers.fixed(s.upper, s.lower):
            if s.upper is None and is_constant(self.expr(s.lower)):
                return
            raise self.refuse(
                s.upper or s.lower, "the extent of a slice is known only at run time: a tile has a static shape",
                "slice a constant extent, x[i : i + 16], and pass valid_shape= or pl.set_validshape for a partial one",
            )  # fmt: skip
