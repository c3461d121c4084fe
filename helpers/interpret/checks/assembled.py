"""What PyPTO's parser takes and its code generator or its assembler refuses, as far as the source shows it.

Source: each was tried on PyPTO with its assembler (a2a3sim); the rows are in tests/interpret/language_cases.py.
Shapes of tiles are another such matter, checked where tiles are made: `tile_shapes`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator

from helpers.interpret.checks.base_check import Check
from helpers.interpret.checks.scalars import check_operand
from helpers.interpret.facts.forms import Parameter
from helpers.interpret.facts.infer import category
from helpers.interpret.language import dtypes
from helpers.interpret.ops import SAME_SHAPE, SAME_TYPE, STORES
from helpers.interpret.values.extents import leaves_gap

# Operations that do nothing but give a value.
VALUES = (SAME_SHAPE | SAME_TYPE) - {
    "assemble", "write", "no_dep", "matmul_acc", "scatter_update", "gather_row", "expand_clone",
}  # fmt: skip
CONTRACTS = {"matmul", "matmul_acc", "matmul_bias", "batch_matmul", "gemv"}
VALUES |= {"full", "arange", "load", "matmul", "read", "row_argmax", "row_argmin"}


class Assembled(Check):
    """Refuses what cannot be assembled."""

    def check(self, node: ast.Call, path: str) -> None:
        """Refuse a call of an operation.

        Raises:
            KernelError: at the argument in question.
        """
        name, given = self.facts.called(node)
        if name == "full":
            self._check_fill(node, given)
        if name in ("create_tensor", "create") and not self.region.incore:
            self._check_allocation(given.get("shape"))
        if name in ("slice", "load") and "valid_shape" in given:
            self._check_valid_shape(given.get("shape", given.get("shapes")), given["valid_shape"])
        if name == "slice" and node.args and "valid_shape" not in given:
            self.check_part(node, node.args[0])
        if name == "assemble" and not self.region.incore and not _plain_store(given.get("atomic")):
            raise self.refuse(
                given["atomic"], "an atomic pl.assemble in orchestration, which combines nothing",
                "put it into the pl.at that makes the part",
            )  # fmt: skip
        target, source = given.get("target"), given.get("source")
        if name == "assemble" and self.region.incore and self.facts.unbounded(target) and not self.facts.partly(source):
            raise self.refuse(
                node, f"pl.assemble into `{ast.unparse(target)}`, whose valid extents are known only at run time: how"
                " much is valid then is not known", "valid_shape=[pl.min(rows, n), ...] of it; or pl.fillpad it first",
            )  # fmt: skip
        if name in STORES:
            offsets = getattr(given.get("offset", given.get("offsets")), "elts", [])
            into, moved = given.get("target", given.get("output_tensor")), given.get("source", given.get("tile"))
            self._check_union(node, into, moved, offsets)
        if name == "div" and self.region.incore and not self.region.dropped:
            self._check_divided(node, *list(given.values())[:2])
        if name in CONTRACTS and self.region.incore:
            self._check_contracted(node, name, given)
        if name == "reshape" and self.region.incore and node.args:
            self._check_reshape(node, node.args[0], given["shape"])

    def _check_fill(self, node: ast.Call, given: dict[str, ast.expr]) -> None:
        """The value becomes a literal of the element type."""
        value, to = given.get("value"), dtypes.of(self.pl_path(given["dtype"])) if "dtype" in given else None
        if value is None:
            return
        text = ast.unparse(value)
        if not any(k.arg == "value" for k in node.keywords):
            raise self.refuse(value, f"the value `{text}` of pl.full is given by position", f"write value={text}")
        if not self.facts.folds(value):
            if self.facts.at_run_time(value) or isinstance(value, ast.Call):
                raise self.refuse(
                    value, f"the value `{text}` of pl.full is no number that is known when the kernel is parsed",
                    "pl.full(..., value=0.0), then pl.add of the number",
                )  # fmt: skip
            return
        kind = category(self.facts.dtype(value))
        if to is not None and kind in ("float", "integer") and (kind == "float") != to.is_float:
            fix = f"value={float(ast.literal_eval(value))}" if isinstance(value, ast.Constant) else "write value=0.0"
            raise self.refuse(
                value, f"pl.full of {to} with the {kind} `{text}`: the assembler takes a literal of the element type",
                fix if to.is_float else "write an integer",
            )  # fmt: skip

    def _check_valid_shape(self, shape: ast.expr | None, valid: ast.expr) -> None:
        """Something of a window is valid, and no more than all of it, where both are written as numbers."""
        for n, v in zip(getattr(shape, "elts", []), getattr(valid, "elts", [])):
            n_, v_ = self.extent(n, None), self.extent(v, None)
            if n_ is not None and v_ is not None and not 0 < v_ <= n_:
                raise self.refuse(
                    v, f"valid extent {v_} of a window's extent {n_}", "the window's extent at most; pl.min(rows, n)"
                )

    def _check_allocation(self, shape: ast.expr | None) -> None:
        for e in shape.elts if isinstance(shape, (ast.List, ast.Tuple)) else ():
            for number in self._uncast(e):
                if self.facts.dtype(number) == "INT32" and self.facts.at_run_time(number):
                    raise self.refuse(
                        e, f"`{ast.unparse(number)}` in an extent is INT32: a region takes extents as INDEX",
                        f"pl.cast({ast.unparse(number)}, pl.INDEX)",
                    )  # fmt: skip

    def _uncast(self, node: ast.expr) -> Iterator[ast.expr]:
        """An expression and its parts, but for what pl.cast makes another type of."""
        if isinstance(node, ast.Call) and self.pl_path(node.func) == "cast":
            return
        if isinstance(node, ast.BinOp):
            yield from self._uncast(node.left)
            yield from self._uncast(node.right)
        else:
            yield node

    def check_part(self, node: ast.expr, of: ast.expr) -> None:
        """Refuse a part of a tile whose valid extents only the run knows: `pto.subview` wants to be told the part's."""
        if self.region.incore and self.facts.partly(of):
            raise self.refuse(
                node, f"a part of `{ast.unparse(of)}`, whose valid extents are known only at run time",
                "pl.slice(x, shape, offset, valid_shape=[...]) says what is valid of the part; or pl.fillpad x first",
            )  # fmt: skip

    def _check_divided(self, node: ast.Call, x: ast.expr, y: ast.expr) -> None:
        """Of a tile and its divisor the same is valid, as far as constants say (`elementwise.binary`, which sees those
        that run)."""
        a, b = self._known_extents(x), self._known_extents(y)
        whole = self.facts.shape(x)
        if whole is None or whole != self.facts.shape(y) or None in (a, b) or a == b:
            return
        if all(isinstance(n, int) for n in (*a, *b, *whole)):
            raise self.refuse(
                node, f"pl.div of `{ast.unparse(x)}`, of which {list(a)} is valid, by `{ast.unparse(y)}`, of which"
                f" {list(b)} is", "pl.fillpad them, or pl.set_validshape of one",
            )  # fmt: skip

    def _check_contracted(self, node: ast.Call, name: str, given: dict[str, ast.expr]) -> None:
        """What is valid of the left operand along K is valid of the right one, as far as constants say
        (`InferMatmulProduct` in src/ir/op/tile_ops/matmul.cpp)."""
        left, right = given.get("lhs"), given.get("rhs")
        if left is None or right is None or not (self.facts.valid(left) or self.facts.valid(right)):
            return
        a = self._known_extent(left, -2 if _is_set(given.get("a_trans")) else -1)
        b = self._known_extent(right, -1 if _is_set(given.get("b_trans")) else -2)
        if a is not None and b is not None and a > b:
            raise self.refuse(
                node, f"pl.{name} of `{ast.unparse(left)}`, of which {a} are valid along K, and `{ast.unparse(right)}`,"
                f" of which {b} are", f"valid_shape= with {a} there, or pl.fillpad it first",
            )  # fmt: skip

    def _known_extent(self, of: ast.expr, axis: int) -> int | None:
        """What is valid of a tensor or tile of two axes along one, where constants say it."""
        extents = self._known_extents(of)
        found = extents[axis] if extents is not None and len(extents) == 2 else None
        return found if isinstance(found, int) else None

    def _known_extents(self, of: ast.expr) -> tuple | None:
        """What is valid of a tensor or tile, a number where it is one."""
        valid = self.facts.valid(of)
        return self.facts.shape(of) if valid == () else valid

    def _check_reshape(self, node: ast.Call, of: ast.expr, shape: ast.expr) -> None:
        """Rows of which only the run knows how many are valid keep their length (src/ir/op/type_inference.cpp)."""
        have, wanted = self.facts.shape(of), [self.extent(e, None) for e in getattr(shape, "elts", [])]
        if self.facts.partly(of) != {-2} or have is None or len(have) != 2 or None in (*have, *wanted):
            return
        if not any(math.prod(wanted[i + 1 :]) == have[1] and have[0] <= n for i, n in enumerate(wanted)):
            raise self.refuse(
                node, f"pl.reshape of `{ast.unparse(of)}`, of whose rows only the run knows how many are valid, to"
                f" {wanted}: no axis of that has {have[0]} rows of {have[1]} elements", "pl.fillpad it first",
            )  # fmt: skip

    def check_placed(self, target: ast.Subscript, value: ast.expr) -> None:
        """`x[...] = value`: the same as of pl.assemble. What is valid of x then is not certain any more."""
        items = target.slice.elts if isinstance(target.slice, ast.Tuple) else [target.slice]
        self.check_something(target, value)
        if all(isinstance(i, ast.Slice) for i in items):
            offsets = [i.lower or ast.Constant(0) for i in items]
            self._check_union(target, target.value, value, offsets)
        if self.names[target.value.id].valid:
            self.names.note(target.value.id, valid=None)

    def _check_union(self, node: ast.expr, target: ast.expr, source: ast.expr, offsets: list[ast.expr]) -> None:
        """What is valid of a target and what is put into it are one rectangle from the origin, as constants say."""
        have = self.facts.valid(target)
        if not have or len(offsets) != len(have):
            return
        new, at = self._known_extents(source), [self.extent(e, None) for e in offsets]
        if new is None or len(new) != len(have) or not all(isinstance(n, int) for n in (*have, *new, *at)):
            return
        if 0 not in new and leaves_gap(have, new, at):
            raise self.refuse(
                node, f"{list(new)} of `{ast.unparse(source)}` at {at} of `{ast.unparse(target)}`, of which"
                f" {list(have)} is valid: together they are no rectangle from the origin",
                "write where it is valid, or right behind that",
            )  # fmt: skip

    def check_something(self, node: ast.expr, value: ast.expr | None) -> None:
        """Refuse to store a tile of which nothing is valid: `pto.partition_view` wants positive extents."""
        if self.region.incore and value is not None and 0 in (self.facts.valid(value) or ()):
            raise self.refuse(node, f"nothing of `{ast.unparse(value)}` is valid, and it is stored", "remove the store")

    def check_dropped(self, node: ast.expr) -> None:
        """Refuse a value that nothing takes: it has no name in the generated code."""
        window = isinstance(node, ast.Subscript) and self.kind(node) == "tensor"
        name = self.facts.called(node)[0] if isinstance(node, ast.Call) else ""
        if self.region.incore and (window or (name in VALUES and (name == "read" or self.kind(node) == "tensor"))):
            raise self.refuse(
                node, f"the result of `{ast.unparse(node)}` is dropped", "bind it to a name, or remove it"
            )

    def check_scalar_argument(self, a: ast.expr, p: Parameter) -> None:
        """Refuse an INDEX number (a literal, or computed from one) for a floating-point parameter of a kernel."""
        if p.type.kind == "scalar" and p.type.dtype is not None:
            check_operand(self, a)
            if self.kind(a) == "tensor":
                raise self.refuse(a, f"`{ast.unparse(a)}` is no number, and '{p.name}' is {p.type.dtype}")
        if p.type.kind != "scalar" or p.type.dtype is None or not p.type.dtype.is_float:
            return
        if self.facts.dtype(a) == "INDEX" and not (isinstance(a, ast.Name) and a.id in self.facts.literal):
            raise self.refuse(
                a, f"`{ast.unparse(a)}` is an INDEX scalar and '{p.name}' is {p.type.dtype}",
                f"write it as a float, or pl.cast({ast.unparse(a)}, pl.{p.type.dtype})",
            )  # fmt: skip


def _is_set(flag: ast.expr | None) -> bool:
    """True for a flag that is given and is not False."""
    return flag is not None and not (isinstance(flag, ast.Constant) and not flag.value)


def _plain_store(atomic: ast.expr | None) -> bool:
    """True for `atomic=` that is left out or says pl.AtomicType.None_."""
    return atomic is None or (isinstance(atomic, ast.Attribute) and atomic.attr == "None_")
