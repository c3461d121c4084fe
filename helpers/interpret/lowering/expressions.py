"""Expressions of a kernel, lowered."""

from __future__ import annotations

import ast
import contextlib
import math
import re
from typing import Any

from helpers.interpret.checks.forms import MISSING, linear
from helpers.interpret.checks.infer import category
from helpers.interpret.language import dtypes
from helpers.interpret.ops import GIVE_NUMBERS, exists

INFIX = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.BitAnd: "and_", ast.BitOr: "or_",
    ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "shr", ast.Mod: "rem",
}  # fmt: skip

# Operators that PyPTO folds when both sides are constants and otherwise refuses.
CONSTANTS_ONLY = {
    ast.Pow: ("**", "multiply"),
    ast.MatMult: ("@", "use pl.matmul(a, b)"),
    ast.BitAnd: ("&", "use // and %, or pl.and_ on tiles"),
    ast.BitOr: ("|", "use + and *, or pl.or_ on tiles"),
    ast.BitXor: ("^", "use + and %, or pl.xor on tiles"),
}

# Products that PyPTO cuts where they are larger than L0C, and only in the block of statements that they are made in.
WHOLE = {"matmul", "batch_matmul", "matmul_bias"}

DIRECTIVE_PLACE = {
    "cond": "it is the first statement of a pl.while_ loop",
    "yield_": "assign it: x = pl.yield_(value)",
    "at": "write `with pl.at(...):`",
    "range": "write `for i in pl.range(...):`",
}


class Expressions:
    """The part of the lowering that does expressions."""

    def expr(self, node: ast.expr) -> ast.expr:
        out = self._expr(node)
        return ast.copy_location(out, node)

    def _expr(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Constant):
            self._check_bits(node, node.value)
            return ast.Constant(node.value)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._name(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.BinOp):
            return self._binop(node)
        if isinstance(node, ast.UnaryOp):
            return self._unaryop(node)
        if isinstance(node, ast.BoolOp):
            self._check_connected(node)
            fn = "_and" if isinstance(node.op, ast.And) else "_or"
            return ast.Call(ast.Name(fn, ast.Load()), [self.expr(v) for v in node.values], [])
        if isinstance(node, ast.Compare):
            if self.kind(node.left) == "tensor" or self.kind(node.comparators[0]) == "tensor":
                raise self.refuse(node, "a comparison of tensors with an operator", "use pl.cmp / pl.cmps")
            self.check_operand(node.left)
            self.check_operand(node.comparators[0])
            self._check_categories(node, node.left, node.comparators[0])
            return self.compared(node, self.expr(node.left), self.expr(node.comparators[0]))
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

    def _name(self, node: ast.Name | ast.Attribute) -> ast.expr:
        if isinstance(node, ast.Name) and node.id in self.undefined:
            raise self.refuse(node, f"'{node.id}' is not defined", self.defined(node.id))
        if isinstance(node, ast.Name) and node.id in self.locals:
            if node.id in self.passed_on:
                called = self.passed_on[node.id]
                raise self.refuse(
                    node, f"'{node.id}' is read after '{called}' wrote it, by its old name",
                    f"bind what the call returns: {node.id} = {called}(...)",
                )  # fmt: skip
            if self.incore and self.origin.get(node.id, "").rpartition(".")[-1] in WHOLE and self._outer(node.id):
                return self.machine("elsewhere", [ast.Name(node.id, ast.Load())])
            return ast.Name(node.id, ast.Load())
        path = self.pl_path(node)
        if path is not None:
            value = self.outside(node)
            if value is MISSING:
                raise self.unknown(node, path)
            if exists(path):
                raise self.refuse(node, f"pl.{path} without a call", "only its result can be used")
            return self.constant(value, path.replace(".", "_"))
        if isinstance(node, ast.Attribute):
            if node.attr in ("shape", "dtype") and self.outside(node.value) is MISSING:
                return ast.Attribute(self.expr(node.value), node.attr, ast.Load())
            raise self.refuse(
                node, f"the attribute `{ast.unparse(node)}`",
                f"bind it to a name of the module: {node.attr.upper()} = {ast.unparse(node)}",
            )  # fmt: skip
        value = self.outside(node)
        if value is MISSING:
            raise self.refuse(node, f"'{node.id}' is not defined", self.defined(node.id))
        if self.program is not None and isinstance(value, (list, tuple)):
            return ast.List([self.constant(v, node.id) for v in value], ast.Load())
        plain = isinstance(value, (bool, int, float)) or type(value).__name__ == "DynVar"
        of_program = self.program is not None and (value is None or isinstance(value, str) or dtypes.of(value))
        if not plain and not of_program:
            raise self.refuse(
                node, f"'{node.id}' is a {type(value).__name__}: only int, float and bool of the module can be used",
                "write the value in place, or pass it as a parameter",
            )  # fmt: skip
        return self.constant(value, node.id)

    def _outer(self, name: str) -> bool:
        """True for a name bound in a block of statements around this one, not in it."""
        return self.nested > 0 and name not in self.frame[-1] and any(name in names_ for names_ in self.frame[:-1])

    def constant(self, value: Any, hint: str) -> ast.expr:
        """A value of the enclosing scope, folded in."""
        if value is None or type(value) in (bool, int, float):  # not: an enum of PyPTO's that counts as an int
            return ast.Constant(value)
        if type(value).__name__ == "DynVar":
            return ast.Call(ast.Name("_dim", ast.Load()), [ast.Name("_m", ast.Load()), ast.Constant(value.name)], [])
        return self.bind(value, hint)

    def _binop(self, node: ast.BinOp) -> ast.expr:
        if "tensor" in (self.kind(node.left), self.kind(node.right)):
            name = INFIX.get(type(node.op))
            number = self.kind(node.left) in ("scalar", "bool")
            what = "a number on the left of a tensor" if number else "an operator between tensors"
            raise self.refuse(
                node, f"{what}: operators are for scalars",
                f"write pl.{name}(a, b), the tensor first" if name else None,
            )  # fmt: skip
        self.check_operand(node)
        out = self.arithmetic(node, self.expr(node.left), self.expr(node.right))
        with contextlib.suppress(TypeError):  # said where it is computed
            if self._is_constant(out):
                self._check_bits(node, self._value(node, out))
        self._check_categories(node, node.left, node.right)
        if type(node.op) in CONSTANTS_ONLY and not self.facts.folds(node):
            sign, instead = CONSTANTS_ONLY[type(node.op)]
            raise self.refuse(node, f"`{sign}` is not in the language, but for constants", instead)
        return out

    def _value(self, node: ast.expr, constant: ast.expr) -> Any:
        try:
            if isinstance(node.op, (ast.Pow, ast.LShift)):
                base, by = self._evaluate(constant.left), self._evaluate(constant.right)
                if type(base) is int and type(by) is int and abs(base) > 1 and by > 64:
                    raise self.refuse(node, f"`{ast.unparse(node)}` does not fit in 64 bits", "a smaller number")
            return self._evaluate(constant)
        except ZeroDivisionError:
            raise self.refuse(node, f"`{ast.unparse(node)}`: a division by zero") from None
        except (ArithmeticError, ValueError) as e:
            raise self.refuse(node, f"`{ast.unparse(node)}` has no value: {e}") from None

    def _check_categories(self, node: ast.expr, left: ast.expr, right: ast.expr) -> None:
        """Scalars of different categories do not meet, but in what is folded when the kernel is parsed."""
        a, b = category(self.facts.dtype(left)), category(self.facts.dtype(right))
        self._check_quotient(node, left, right, "integer" in (a, b) and "float" not in (a, b))
        called = self.pl_path(node.func) if isinstance(node, ast.Call) else ""
        sums = called in ("add", "tensor.add") or isinstance(getattr(node, "op", None), ast.Add)
        if self.incore and sums and "float" in (a, b) and not (self._constant(left) and self._constant(right)):
            raise self.refuse(
                node, "a sum of floats in a region: the assembler has no code for it (ptoas 0.57)",
                ast.unparse(ast.BinOp(left, ast.Sub(), ast.UnaryOp(ast.USub(), right))),
            )  # fmt: skip
        if isinstance(node, (ast.BinOp, ast.Call)) and "bool" in (a, b):
            raise self.refuse(
                left if a == "bool" else right, "the result of a comparison used as a number", "use if / else"
            )
        if a and b and a != b and not (self.facts.folds(left) and self.facts.folds(right)):
            raise self.refuse(
                node, f"an operator between {self.facts.dtype(left)} and {self.facts.dtype(right)} scalars",
                "pl.cast one of them",
            )  # fmt: skip

    def _check_bits(self, node: ast.expr, value: Any) -> None:
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise self.refuse(node, f"{value} does not fit in 64 bits", "a smaller number, or a float")

    def _check_quotient(self, node: ast.expr, left: ast.expr, right: ast.expr, integers: bool) -> None:
        """`/` of numbers that only the run knows: of integers it is not Python's, and orchestration has none."""
        called = self.pl_path(node.func) if isinstance(node, ast.Call) else ""
        if not (called in ("div", "tensor.div") or isinstance(getattr(node, "op", None), ast.Div)):
            return
        if self._constant(left) and self._constant(right):
            return
        floored = f"{ast.unparse(left)} // {ast.unparse(right)}"
        if integers:
            raise self.refuse(node, "a quotient of integers: PyPTO's generated code cuts it to an integer", floored)
        if not self.incore:
            raise self.refuse(
                node, "a quotient in orchestration, of which PyPTO generates no code",
                "multiply by what is known, or divide in a region",
            )  # fmt: skip

    def _check_connected(self, node: ast.BoolOp) -> None:
        """PyPTO generates no code for `and` and `or` in orchestration: one side must be known while it compiles."""
        if not self.incore and sum(not self._constant(v) for v in node.values) > 1:
            word = "and" if isinstance(node.op, ast.And) else "or"
            raise self.refuse(
                node, f"`{word}` of numbers that only the run knows, in orchestration",
                "an if in an if" if word == "and" else "two ifs, or write it in the region",
            )  # fmt: skip

    def _unaryop(self, node: ast.UnaryOp) -> ast.expr:
        if self.kind(node.operand) == "tensor":
            raise self.refuse(node, "a unary operator on a tensor: operators are for scalars", "use pl.neg or pl.not_")
        if isinstance(node.op, ast.UAdd):
            raise self.refuse(node, "a unary + is not in the language", "remove it")
        value = self.expr(node.operand)
        if isinstance(node.op, ast.Not):
            return ast.Call(ast.Name("_not", ast.Load()), [value], [])
        return self.negated(node, value)

    def _subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            return ast.Subscript(self.expr(node.value), self.expr(node.slice), ast.Load())
        if isinstance(node.value, ast.Name) and node.value.id in self.arrays:
            self.check_element(node.value.id, node.slice)
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if not (isinstance(node.value, ast.Name) and node.value.id in self.arrays):
            self.check_items(items)
        if any(isinstance(i, ast.Slice) for i in items):
            self.check_part(node, node.value)
            self._check_lower(node, items)
        fn = "_getrows" if self.facts.level(node.value) == "tile" else "_getitem"
        return ast.Call(
            ast.Name(fn, ast.Load()),
            [ast.Name("_m", ast.Load()), self.place(node), self.expr(node.value),
             self._index(node.slice, node.value)], [],
        )  # fmt: skip

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

    def _index(self, node: ast.expr, of: ast.expr) -> ast.expr:
        items = node.elts if isinstance(node, ast.Tuple) else [node]
        out = []
        for axis, i in enumerate(items):
            if isinstance(i, ast.Slice):
                for part in (i.lower, i.upper):
                    if part is not None:
                        self._check_number(part)
                self._check_extent(i, of, axis)
                parts = [self.offset(i.lower) if i.lower else ast.Constant(None)]
                parts.append(self.expr(i.upper) if i.upper else ast.Constant(None))
                out.append(ast.Call(ast.Name("_slice", ast.Load()), parts, []))
            elif isinstance(i, ast.Constant) and i.value is None:
                raise self.refuse(i, "None as a subscript", "use pl.reshape")
            elif isinstance(i, (ast.List, ast.Tuple)):
                raise self.refuse(i, "a list as a subscript", "slice contiguously; pl.gather picks rows")
            elif self.kind(i) == "tensor":
                raise self.refuse(i, f"`{ast.unparse(i)}` as a subscript is no number", "pl.gather picks rows")
            elif isinstance(i, ast.UnaryOp) and isinstance(i.op, ast.USub) and isinstance(i.operand, ast.Constant):
                raise self.refuse(i, "a negative subscript", "count from the start: extent - n")
            else:
                self.check_operand(i)
                self.check_whole(i)
                out.append(self.expr(i))
        return ast.Tuple(out, ast.Load())

    def offset(self, node: ast.expr) -> ast.expr:
        """Where a window begins; in a region what PyPTO knows of it is marked."""
        known = self.incore and self._constant(node)
        return ast.Call(ast.Name("_known", ast.Load()), [self.expr(node)], []) if known else self.expr(node)

    def _check_extent(self, s: ast.Slice, of: ast.expr, axis: int) -> None:
        """In an InCore region the extent of a slice must be known when the kernel is compiled."""
        if self.incore and s.upper is None and isinstance(of, ast.Name) and axis in self.dynamic.get(of.id, ()):
            raise self.refuse(
                of, f"axis {axis} of '{of.id}' is known only at run time: a tile has a static shape",
                "slice a constant extent of it, and loop",
            )  # fmt: skip
        if not self.incore or (s.lower is None and s.upper is None):
            return
        if s.upper is None or not self.fixed(s.upper, s.lower):
            if s.upper is None and self._is_constant(self.expr(s.lower)):
                return
            raise self.refuse(
                s.upper or s.lower, "the extent of a slice is known only at run time: a tile has a static shape",
                "slice a constant extent, x[i : i + 16], and pass valid_shape= or pl.set_validshape for a partial one",
            )  # fmt: skip

    def fixed(self, upper: ast.expr, lower: ast.expr | None) -> bool:
        """True when upper - lower does not depend on anything known only at run time."""
        difference = self._expanded(linear(self.expr(upper)))
        for atom, n in self._expanded(linear(self.expr(lower)) if lower is not None else {}).items():
            difference[atom] = difference.get(atom, 0) - n
        return all(n == 0 or self.settled(atom) for atom, n in difference.items() if atom != "")

    def extent(self, upper: ast.expr, lower: ast.expr | None) -> int | None:
        """upper - lower, when it does not depend on anything known only at run time."""
        difference = self._expanded(linear(self.expr(upper)))
        for atom, n in self._expanded(linear(self.expr(lower)) if lower is not None else {}).items():
            difference[atom] = difference.get(atom, 0) - n
        constant = difference.pop("", 0)
        whole = math.isfinite(constant) and constant == int(constant)
        return int(constant) if whole and not any(difference.values()) else None

    def settled(self, atom: str) -> bool:
        """True for what is known when the kernel is parsed: literals, variables of pl.unroll, `x.shape[0]`."""
        names_ = {n.id for n in ast.walk(ast.parse(atom)) if isinstance(n, ast.Name)}
        return names_ <= self.unrolled | self.facts.literal or re.fullmatch(r"\w+\.shape\[\d+\]", atom) is not None

    def _expanded(self, form: dict[str, float]) -> dict[str, float]:
        """A linear form with names replaced by what they were bound to."""
        out: dict[str, float] = {}
        for atom, n in form.items():
            for inner, k in self.forms.get(atom, {atom: 1}).items():
                out[inner] = out.get(inner, 0) + n * k
        return out

    def kind(self, node: ast.expr) -> str:
        """ "scalar", "tensor" (or tile), "bool", or "any" when it cannot be told."""
        if isinstance(node, ast.Constant):
            return "bool" if isinstance(node.value, bool) else "scalar"
        if isinstance(node, (ast.Compare, ast.BoolOp)) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            return "bool"
        if isinstance(node, ast.Name) and node.id in self.locals:
            return self.kinds.get(node.id, "any")
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = self.outside(node)
            if isinstance(value, bool):
                return "bool"
            return "scalar" if isinstance(value, (int, float)) or type(value).__name__ == "DynVar" else "any"
        if isinstance(node, ast.UnaryOp):
            return self.kind(node.operand)
        if isinstance(node, ast.BinOp):
            kinds = {self.kind(node.left), self.kind(node.right)}
            return "tensor" if "tensor" in kinds else "scalar" if kinds <= {"scalar", "bool"} else "any"
        if isinstance(node, ast.Call):
            path = self.pl_path(node.func)
            if path is not None:
                if (
                    path in GIVE_NUMBERS
                    or path == "const"
                    or path.endswith(".get_byte")
                    or self._of_scalars(node, path)
                ):
                    return "scalar"
                if path.endswith("cast") and node.args:
                    return self.kind(node.args[0])
                return "any" if path.startswith(("array.", "system.")) else "tensor"
            return "any"
        if isinstance(node, ast.Subscript):
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if self.kind(node.value) == "tensor" and any(isinstance(i, ast.Slice) for i in items):
                return "tensor"
            if self.facts.is_element(node):
                return "scalar"
        return "any"

    def _is_constant(self, node: ast.expr) -> bool:
        return all(
            isinstance(n, (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)) for n in ast.walk(node)
        )

    def _evaluate(self, node: ast.expr) -> Any:
        return eval(compile(ast.fix_missing_locations(ast.Expression(node)), "<constant>", "eval"))
