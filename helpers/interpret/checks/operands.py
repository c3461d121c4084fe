"""What kind of operand each operation takes: numbers, tensors or tiles, of which shape and type.

Source: the type deduction of PyPTO's operations (src/ir/op), as its errors show: each operation was called
with each kind of operand in each place, and the verdicts compared. Element types are another matter: `types`.
"""

from __future__ import annotations

import ast
import types

from helpers.interpret.checks.base_check import Check
from helpers.interpret.checks.scalars import check_operand
from helpers.interpret.facts.infer import category
from helpers.interpret.language import dtypes
from helpers.interpret.language.kernel import DataType
from helpers.interpret.ops import (
    ELEMENTWISE,
    NUMBER_SECOND,
    OPS,
    SAME_NUMBER,
    SCRATCH,
    TAKES_TENSORS,
    TILES_AT,
    TILES_ONLY,
)

# Where operations that make a tile have its shape.
SHAPED = {"full": 0, "slice": 1, "load": 2, "create_tile": 0}

SCALAR = ("add", "sub", "mul", "div")  # operations that take two scalars, too
WITH_NUMBER = ELEMENTWISE | NUMBER_SECOND | {"cmp"}
COLUMN_NEVER = {"add", "sub", "mul", "div"}  # of tiles; the others are checked when they run

PADDINGS = ("zero", "min", "max")

# Parameters that take a list of numbers, and those that take a number.
LISTS = {"shape", "shapes", "offset", "offsets", "src_offset", "dst_offset", "indices", "valid_shape", "valid_shapes"}
LONE = {"read", "write"}  # one number is a list of one: of what has one axis (PyPTO, language/op/unified_ops.py)
WORDS = {"mode", "cmp_mode", "coalesce", "gather_oob", "acc_phase", "core_type", "name", "peer_func"}  # take a text
NUMBERS = {
    "axis", "axis1", "axis2", "dim", "valid_rows", "valid_cols", "index_row", "index_col", "diagonal", "start",
    "rounds",
}  # fmt: skip


class Operands(Check):
    """Refuses operands by their kind."""

    def _check_left_number(self, node: ast.Call, path: str) -> None:
        name = path.rsplit(".", 1)[-1]
        if name in ELEMENTWISE and len(node.args) == 2:
            if self.kind(node.args[0]) == "scalar" and self.kind(node.args[1]) == "tensor":
                raise self.refuse(node, f"pl.{path} with a number first", "put the tensor first and the number second")

    def check_words(self, node: ast.Call, path: str) -> None:
        """Types, paddings, memories and layouts are names of pl, not texts; a text is given by name only.

        Source: `parse_constant` and `resolve_dtype` in PyPTO python/pypto/language/parser, python/pypto/ir/op.
        """
        for a in [*node.args, *(k.value for k in node.keywords if k.arg not in WORDS)]:
            text = getattr(a, "value", None) if isinstance(a, ast.Constant) else None
            if isinstance(text, str):
                taken = WORDS & set(OPS[path].signatures[path].parameters) if path in OPS else ()
                names = [f"pl.{text.upper()}"] if text.upper() in dtypes.BY_NAME else []
                names += [f"pl.PadValue.{text}"] if text in PADDINGS else []
                names += [f"{n}={text!r}" for n in sorted(taken)]
                raise self.refuse(a, f"the text {text!r} in pl.{path}", names[0] if names else "a name of pl")

    def _check_places(self, node: ast.Call, path: str) -> None:
        """Numbers where PyPTO takes tiles, tiles where it takes numbers, tensors where it takes tiles only."""
        space, _, name = path.rpartition(".")
        args, kinds = node.args, [self.kind(a) for a in node.args]
        if name in NUMBER_SECOND and kinds[1:2] == ["tensor"]:
            plain = name.removesuffix("s") if name not in ("addsc", "subsc", "cmps") else name[:3]
            raise self.refuse(
                args[1], f"pl.{path} with `{ast.unparse(args[1])}`, which is no number",
                f"pl.{plain}" if f"tile.{plain}" in OPS else "a number",
            )  # fmt: skip
        if space == "tile" and name in ("maximum", "minimum", "fmod") and kinds[1:2] == ["scalar"]:
            raise self.refuse(node, f"pl.{path} with a number", f"pl.{path}s, or pl.{name}")
        for i in () if not space and name in SCALAR else TILES_AT.get(name, ()):
            if kinds[i : i + 1] == ["scalar"]:
                raise self.refuse(args[i], f"pl.{path} with the number `{ast.unparse(args[i])}`, where a tile stands")
        if name in TILES_ONLY:
            for a in args:
                if self.facts.level(a) == "tensor":
                    raise self.refuse(
                        a, f"pl.{path} of `{ast.unparse(a)}`, a tensor: there is an instruction on tiles only",
                        "pl.load it first, and pl.store the result",
                    )  # fmt: skip
        if name in WITH_NUMBER and kinds[1:2] == ["scalar"] and kinds[0] != "scalar":
            self._check_second(node, path)
        if name in COLUMN_NEVER and len(args) == 2 and "tile" in (space, self.facts.level(args[0])):
            self._check_columns(node, path)

    def _check_parameters(self, node: ast.Call, path: str) -> None:
        """Lists and numbers that say how an operation works, and what it writes or begins with."""
        name, given = self.facts.called(node)
        for parameter, a in given.items():
            listed = parameter in LISTS and "gather" not in name
            if name in LONE and listed and self.kind(a) == "scalar":
                self._check_lone(node, path, a)
                continue
            self._check_no_module(path, parameter, a)
            fraction = category(self.facts.dtype(a)) == "float" and parameter != "start"
            kind = "text" if isinstance(a, ast.Constant) and isinstance(a.value, (str, bytes)) else self.kind(a)
            many = isinstance(a, (ast.List, ast.Tuple)) or kind in ("tensor", "task", "text") or _nothing(a)
            one = kind in ("tensor", "task", "text", "scalar") or (isinstance(a, ast.Constant) and a.value is not None)
            if (parameter in NUMBERS and (many or fraction)) or (listed and one):
                what = "a list of numbers" if listed else "a whole number"
                raise self.refuse(a, f"pl.{path}: {parameter} is {what}, not `{ast.unparse(a)}`")
        for a in given.values() if path in ("min", "max") else [given["value"]] if name in ("full", "write") else ():
            check_operand(self, a)
        kind = given.get("atomic")
        if isinstance(kind, ast.Constant) and not isinstance(kind.value, int):
            raise self.refuse(kind, f"atomic={ast.unparse(kind)}", "atomic=pl.AtomicType.Add")
        pattern = node.args[1] if name == "gather_mask" and len(node.args) > 1 else None
        if isinstance(pattern, ast.Constant):
            raise self.refuse(pattern, "the pattern of pl.tile.gather_mask is a number by position", "mask_pattern=1")
        if name == "write":
            self._check_written(*given.values())
        if name in ("arange", "ci"):
            self._check_start(given)
        if name == "mgather" and "idx" in given:
            self._check_gathered(given["idx"], given.get("target_memory"))
        if name == "tri":
            self._check_type(given["diagonal"], "INT32", "pl.tri takes")

    def _check_gathered(self, index: ast.expr, memory: ast.expr | None) -> None:
        """Into UB the indices come from a tile, into L1 from a tensor (src/ir/op/tile_ops/memory.cpp)."""
        into = "tensor" if memory is not None and ast.unparse(memory).endswith(".Mat") else "tile"
        if self.facts.level(index) not in (None, into):
            text = ast.unparse(index)
            raise self.refuse(
                index, f"pl.mgather with the index `{text}`, which is no {into}",
                f"pl.load({text}, ...)" if into == "tile" else "the tensor itself",
            )  # fmt: skip

    def _check_no_module(self, path: str, parameter: str, a: ast.expr) -> None:
        """No module is a value, and an element type is one only where an operation asks for a type."""
        value = self.outside(a) if isinstance(a, (ast.Name, ast.Attribute)) else None
        is_type = isinstance(value, DataType) and "type" not in parameter
        if is_type or isinstance(value, types.ModuleType):
            raise self.refuse(a, f"pl.{path}: {parameter} is `{ast.unparse(a)}`, a {'type' if is_type else 'module'}")

    def _check_lone(self, node: ast.Call, path: str, index: ast.expr) -> None:
        """One index, for what has one axis."""
        shape = self.facts.shape(node.args[0]) if node.args else None
        if shape is not None and len(shape) != 1:
            text = ast.unparse(index)
            raise self.refuse(
                index, f"pl.{path} of one index `{text}`, and `{ast.unparse(node.args[0])}` has {len(shape)} axes",
                f"an index for each axis: [{', '.join([text] + ['...'] * (len(shape) - 1))}]",
            )  # fmt: skip

    def _check_columns(self, node: ast.Call, path: str) -> None:
        """Of tiles no column is broadcast; of tensors the compiler makes it a pl.row_expand_*."""
        one, other = (self.facts.shape(a) for a in node.args)
        if one and other and None not in (one[-1], other[-1]) and (one[-1] == 1) != (other[-1] == 1):
            raise self.refuse(
                node, f"pl.{path} of tiles of {list(one)} and {list(other)}: a column is not broadcast",
                f"pl.row_expand_{path.rpartition('.')[-1]}",
            )  # fmt: skip

    def _check_layout(self, node: ast.Call, name: str) -> None:
        """A product, and what is computed from it, is laid out in blocks; two operations want rows.

        Source: src/ir/op/tile_ops (reduction.cpp, broadcast.cpp); pl.add of a column becomes pl.row_expand_add.
        """
        shape = self.facts.shape(node.args[1]) if len(node.args) > 1 else None
        if name in ("row_min", "row_expand_add") or (name == "add" and shape is not None and shape[-1] == 1):
            text = ast.unparse(node.args[0])
            fix = (
                f"pl.neg(pl.row_max(pl.neg({text})))"
                if name == "row_min"
                else f"pl.row_expand_sub({text}, pl.neg(...))"
            )
            raise self.refuse(node, f"pl.{name} of `{text}`, which is laid out as the product it is computed from", fix)

    def _check_start(self, given: dict[str, ast.expr]) -> None:
        """Numbers in a row: the instruction fills one, from a number of the type it makes."""
        lead = [self.extent(e, None) for e in getattr(given["shape"], "elts", [])[:-1]]
        if any(n not in (1, None) for n in lead):
            raise self.refuse(
                given["shape"], f"pl.arange of shape {ast.unparse(given['shape'])}: the instruction fills one row",
                "[1, n], and pl.col_expand it",
            )  # fmt: skip
        to = dtypes.of(self.pl_path(given["dtype"])) if "dtype" in given else dtypes.INT32
        if to is not None:
            self._check_type(given["start"], to.name, "pl.arange begins with")

    def _check_type(self, number: ast.expr, to: str, what: str) -> None:
        """A number of an integer type; a literal is of any."""
        of, text = self.facts.dtype(number), ast.unparse(number)
        if of not in (None, to) and not (of == "INDEX" and self.facts.folds(number)):
            raise self.refuse(number, f"{what} {to}, and `{text}` is {of}", f"pl.cast({text}, pl.{to})")

    def _check_second(self, node: ast.Call, path: str) -> None:
        """The number that is the second operand of an operation on a tile."""
        number, name = node.args[1], path.rpartition(".")[-1]
        of, text = self.facts.dtype(number), ast.unparse(number)
        if of == "INDEX" and not self.facts.folds(number):
            raise self.refuse(
                number, f"`{text}` is an INDEX scalar: tile instructions take none", f"pl.cast({text}, pl.INT32)"
            )
        integer = category(of) == "integer" and not self.facts.folds(number)
        if name in SAME_NUMBER and integer and self.facts.element(node.args[0]) == "FP32":
            raise self.refuse(
                number, f"`{text}` is {of} and pl.{name} is of FP32: its instruction takes one type",
                f"pl.cast({text}, pl.FP32)",
            )  # fmt: skip

    def _check_written(self, target: ast.expr, _: ast.expr, number: ast.expr) -> None:
        """The number has the type of what it is written to; nothing is cast."""
        to, of, text = self.facts.element(target), self.facts.dtype(number), ast.unparse(number)
        if to is not None and of is not None and to != of:
            literal = isinstance(number, ast.Constant) and to == "FP32"
            raise self.refuse(
                number, f"the number `{text}` is {of} and is written to {to}",
                f"write {float(number.value)}" if literal else f"pl.cast({text}, pl.{to})",
            )  # fmt: skip

    def check(self, node: ast.Call, path: str) -> None:
        """What PyPTO refuses from the kinds of an operation's arguments.

        Raises:
            KernelError: at the argument in question.
        """
        space, _, name = path.rpartition(".")
        self._check_left_number(node, path)
        self._check_places(node, path)
        self._check_parameters(node, path)
        given = [*node.args, *(k.value for k in node.keywords)]
        if name in SCRATCH and not space and node.args:
            self._check_scratch(node, name, len(given) > (2 if name in ("xor", "xors") else 1))
        if name == "cast" and self.region.incore:
            self._check_cast(node, given)
        if name == "set_validshape":
            for a in given[1:]:
                if self.facts.dtype(a) == "INT32":
                    raise self.refuse(node, f"the extent `{ast.unparse(a)}` is INT32", "pl.cast(n, pl.INDEX)")
        if not self.region.incore:
            return
        self._check_tile_product(node, name)
        if node.args and self.facts.product(node.args[0]):
            self._check_layout(node, name)
        shape = SHAPED.get(name)
        if shape is not None:
            where = next((k.value for k in node.keywords if k.arg in ("shape", "shapes")), None)
            where = where or (node.args[shape] if len(node.args) > shape else None)
            for e in where.elts if isinstance(where, (ast.List, ast.Tuple)) else ():
                if self.facts.at_run_time(e) and not self.facts.fixed(e, None):
                    raise self.refuse(
                        node, f"the extent `{ast.unparse(e)}` is known only at run time: a tile has a static shape",
                        "a constant extent, and valid_shape= or pl.set_validshape for a partial one",
                    )  # fmt: skip
        if name not in TAKES_TENSORS:
            for a in given:
                if isinstance(a, ast.Name) and self.subject.dynamic.get(a.id):
                    raise self.refuse(
                        node, f"'{a.id}' has an extent known only at run time: a tile has a static shape",
                        "slice a constant extent of it, and loop",
                    )  # fmt: skip
            levels = [self.facts.level(a) for a in given]
            if (not space and {"tile", "tensor"} <= set(levels)) or (space == "tile" and levels[:1] == ["tensor"]):
                raise self.refuse(
                    node, f"pl.{path} of a tile and a tensor" if not space else f"pl.{path} of a tensor",
                    "load the tensor first, or slice it instead of loading the tile",
                )  # fmt: skip
        if name == "store" and node.args and self.facts.level(node.args[0]) == "tensor":
            raise self.refuse(node, "pl.store of what is no tile", "out[...] = x, or pl.assemble(out, x, [...])")
        if name == "assemble" and len(node.args) > 1 and {"tile", "tensor"} == {*map(self.facts.level, node.args[:2])}:
            raise self.refuse(node, "pl.assemble of a tile into a tensor", "pl.store(tile, [...], tensor)")

    def _check_tile_product(self, node: ast.Call, name: str) -> None:
        """Of tiles, how the cube reads them is their own, and its accumulator FP32 or INT32 (unified_ops.py)."""
        if name not in ("matmul", "matmul_acc") or self.facts.level(node.args[-1]) != "tile":
            return
        given = self.facts.called(node)[1]
        for flag in ("a_trans", "b_trans", "c_matrix_nz"):
            if flag in given and getattr(given[flag], "value", True):
                raise self.refuse(
                    given[flag], f"{flag}= of tiles", "pl.tile.transpose_view of the tile, or tensors as operands"
                )
        of = dtypes.of(self.pl_path(given["out_dtype"])) if "out_dtype" in given else None
        if of is not None and of.name not in ("FP32", "INT32"):
            raise self.refuse(
                given["out_dtype"], f"out_dtype={of} of a product of tiles, which is FP32 or INT32",
                "leave it out; pl.store or pl.cast makes another type of it",
            )  # fmt: skip

    def _check_scratch(self, node: ast.Call, name: str, has: bool) -> None:
        """Tiles come with the scratch that an operation needs; for tensors the compiler makes it."""
        level, scratch = self.facts.level(node.args[0]), SCRATCH[name]
        if level == "tile" and not has:
            raise self.refuse(
                node, f"pl.{name} of a tile without {scratch}", f"{scratch}=pl.create_tile(...) of its shape and type"
            )
        if level == "tensor" and has:
            raise self.refuse(node, f"pl.{name} of a tensor with {scratch}", "leave it out: the compiler makes it")

    def _check_cast(self, node: ast.Call, given: list[ast.expr]) -> None:
        """In a region there is no instruction between an INDEX and a float."""
        if len(given) > 1 and self.facts.dtype(given[0]) == "INDEX":
            to = dtypes.of(self.pl_path(given[1]))
            if to is not None and to.is_float:
                text = ast.unparse(given[0])
                raise self.refuse(
                    node, f"`{text}` is an INDEX scalar and cast to {to}",
                    f"pl.cast(pl.cast({text}, pl.INT32), pl.{to}), or cast it outside the region",
                )  # fmt: skip
        to = self.pl_path(given[1]) if len(given) > 1 else None
        if to == "INDEX" and category(self.facts.dtype(given[0])) == "float":
            text = ast.unparse(given[0])
            raise self.refuse(
                node, f"`{text}` is {self.facts.dtype(given[0])} and cast to INDEX",
                f"pl.cast(pl.cast({text}, pl.INT32), pl.INDEX)",
            )  # fmt: skip

    def check_const(self, node: ast.Call) -> None:
        """`pl.const(value, dtype)`."""
        value = node.args[0] if node.args else None
        literal = value.operand if isinstance(value, ast.UnaryOp) else value
        number = isinstance(literal, ast.Constant) and type(literal.value) in (int, float)
        number = number or (isinstance(literal, ast.Name) and literal.id in self.facts.literal)
        if len(node.args) != 2 or node.keywords or not number:
            raise self.refuse(node, f"`{ast.unparse(node)}` is no constant", "pl.const(1.0, pl.FP32)")
        self.check_words(node, "const")


def _nothing(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in (None, ...)
