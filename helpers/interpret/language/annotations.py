"""What a parameter's annotation says: tensor or scalar, direction, shape, element type.

Read from the annotation's source rather than from the object it evaluates to, so that it does not matter
whether `pl` is PyPTO's package or the stand-in.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from helpers.interpret.language import dtypes
from helpers.interpret.language.dtypes import DType
from helpers.interpret.language.kernel import Annotation


@dataclass(frozen=True)
class Dim:
    """A dimension known at run time (`pl.dynamic`), or computed from such (`N * 2`). Two with one name are the same."""

    name: str

    def extent(self, known: dict[str, int]) -> int | None:
        """What it is, where the dimensions that it is computed from are known."""
        if self.name in known:
            return known[self.name]
        try:
            return eval(self.name, {"__builtins__": {}}, dict(known))
        except (NameError, ArithmeticError):
            return None


@dataclass(frozen=True)
class Type:
    """An annotation. `kind`: tensor, tile, scalar, array or other; `direction`: In, Out or InOut.

    `shape` has integers and `Dim`s, or is None for a bare `pl.Tensor`; `dtype` likewise.
    """

    kind: str
    direction: str = "In"
    shape: tuple[int | Dim, ...] | None = None
    dtype: DType | None = None
    layout: str = ""

    def __str__(self) -> str:
        if self.kind not in ("tensor", "tile"):
            return f"pl.{self.kind.capitalize()}[{self.dtype}]"
        name = f"pl.{self.kind.capitalize()}"
        if self.shape is None:
            return name
        dims = ", ".join(d.name if isinstance(d, Dim) else str(d) for d in self.shape)
        return f"{name}[[{dims}], {self.dtype}]"


Path = Callable[[ast.expr], "str | None"]

KINDS = {"Tensor": "tensor", "Tile": "tile", "Scalar": "scalar", "Array": "array", "TaskId": "scalar", "Tuple": "other"}


def parse(node: ast.expr, pl_path: Callable[[ast.expr], str | None], value: Callable[[ast.expr], Any]) -> Type:
    """The `Type` an annotation means. `pl_path` names what is below `pl`; `value` evaluates an expression.

    Raises:
        ValueError: it is no annotation of a kernel parameter.
    """
    if isinstance(node, ast.Constant):
        raise ValueError(f"{node.value!r} is no type; write pl.Tensor[[64], pl.FP32] or pl.Scalar[pl.INT32]")
    head = node.value if isinstance(node, ast.Subscript) else node
    name = pl_path(head)
    if name is None:
        return evaluated(value(node))
    if name in ("Out", "InOut"):
        inner = parse(node.slice, pl_path, value)
        if inner.direction != "In":
            raise ValueError(f"`{ast.unparse(node)}`: one direction, pl.Out or pl.InOut")
        if inner.kind == "scalar":
            raise ValueError(f"a scalar parameter is no pl.{name}; write the number to a tensor of one element")
        return Type(inner.kind, name, inner.shape, inner.dtype, inner.layout)
    if dtypes.of(name) is not None:  # n: pl.INT32
        return Type("scalar", dtype=dtypes.of(name))
    if name not in KINDS or (name == "Scalar" and not isinstance(node, ast.Subscript)):
        raise ValueError(f"`{ast.unparse(node)}` is not the type of a kernel parameter")
    kind = KINDS[name]
    if not isinstance(node, ast.Subscript):
        return Type(kind)
    args = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if kind == "scalar":
        return Type(kind, dtype=dtypes.of(value(args[0])))
    if kind == "tile":
        _check_tile(node, args, pl_path, value)
        try:
            return Type(kind, "In", tuple(_dim(d) for d in value(args[0])), dtypes.of(value(args[1])))
        except (NameError, TypeError, ValueError, IndexError):  # an extent that a line of the kernel names
            return Type(kind)
    if kind != "tensor":
        return Type(kind)
    shape = value(args[0])
    if not isinstance(shape, (list, tuple)):
        raise ValueError(f"the shape in `{ast.unparse(node)}` is not a list")
    dtype = dtypes.of(value(args[1])) if len(args) > 1 else None
    if len(args) > 1 and dtype is None:
        raise ValueError(f"`{ast.unparse(args[1])}` is no element type that interpret mode supports")
    if dtype is dtypes.FP4 and shape and isinstance(shape[-1], int) and shape[-1] % 2:
        raise ValueError(f"the last axis of `{ast.unparse(node)}` is odd: FP4 lies in pairs, two to a byte")
    scales = ""
    for a in args[2:]:
        layout = (pl_path(a) or "").rsplit(".", 1)[-1]
        if layout in ("DN", "NZ"):
            raise ValueError(f"pl.{layout} is no layout of a tensor: write its row-major shape and no layout")
        if not isinstance(a, ast.Call) and layout not in ("ND", "MX_A_ZZ", "MX_B_NN"):
            raise ValueError(f"`{ast.unparse(a)}` in `{ast.unparse(node)}` is no layout")
        scales = layout if layout.startswith("MX_") else scales
    return Type(kind, "In", tuple(_dim(d) for d in shape), dtype, scales)


def _check_tile(node: ast.expr, args: list[ast.expr], pl_path: Path, value: Callable[[ast.expr], Any]) -> None:
    """A tile's annotation may go on with the memory it lies in, a `pl.MemRef` (or its name) and a `pl.TileView`."""
    found = set()
    for a in args[2:]:
        call = a.value if isinstance(a, ast.Subscript) else a
        path = pl_path(call.func if isinstance(call, ast.Call) else a) or ""
        what = path if path in ("MemRef", "TileView") else path.partition(".")[0]
        if isinstance(call, ast.Name):
            with contextlib.suppress(NameError):
                what = type(value(call)).__name__
        if what not in ("MemRef", "TileView", "Mem", "MemorySpace"):
            raise ValueError(f"`{ast.unparse(a)}` in a tile's type: write pl.Mem.Vec, pl.MemRef or pl.TileView")
        found.add(what)
    if "MemRef" in found and not found & {"Mem", "MemorySpace"}:
        raise ValueError(f"`{ast.unparse(node)}` has a pl.MemRef and no memory: write pl.Mem.Vec too")


def tile_view(node: ast.expr, pl_path: Callable[[ast.expr], str | None]) -> list[ast.expr] | None:
    """The valid shape that the `pl.TileView` of a tile's annotation gives, or None."""
    for a in _extra(node):
        if isinstance(a, ast.Call) and pl_path(a.func) == "TileView":
            valid = next((k.value for k in a.keywords if k.arg == "valid_shape"), None)
            return list(valid.elts) if isinstance(valid, (ast.List, ast.Tuple)) else None
    return None


def memref(
    node: ast.expr, pl_path: Callable[[ast.expr], str | None], outside: Callable[[str], Any]
) -> tuple[str, int, ast.expr] | None:
    """The `pl.MemRef("name", slots=n)[i]` of a tile's annotation: its name, its slots, and which; or None. One that is
    bound to a name of the module (`outside`) is meant by that name, and has it where it has no other.

    Raises:
        ValueError: the name is no literal, or the slot is not one of them.
    """
    for a in _extra(node):
        call, index = (a.value, a.slice) if isinstance(a, ast.Subscript) else (a, ast.Constant(0))
        named = outside(call.id) if isinstance(call, ast.Name) else None
        if type(named).__name__ == "MemRef":
            call = ast.parse(named.text(call.id), mode="eval").body
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "pl.MemRef":
            continue
        slots = next((k.value for k in call.keywords if k.arg == "slots"), ast.Constant(1))
        if isinstance(a, ast.Subscript) and isinstance(slots, ast.Constant) and slots.value == 1:
            raise ValueError(f"`{ast.unparse(call)}` has one slot and takes no subscript; slots=2 for two")
        if not call.args or not isinstance(call.args[0], ast.Constant) or not isinstance(slots, ast.Constant):
            raise ValueError(f"`{ast.unparse(call)}`: a name and a number of slots, both literal")
        if type(slots.value) is not int or slots.value < 1:
            raise ValueError(f"`{ast.unparse(call)}`: slots are counted, from 1")
        if isinstance(index, ast.Constant) and (type(index.value) is not int or not 0 <= index.value < slots.value):
            raise ValueError(f"slot {index.value} of '{call.args[0].value}', which has {slots.value}")
        return str(call.args[0].value), slots.value, index
    return None


def has_strides(node: ast.expr, pl_path: Callable[[ast.expr], str | None]) -> bool:
    """True when an annotation has a `pl.TensorView` that says more than what is valid and that rows follow each other:
    what is valid of a tensor comes with it."""
    views = [n for n in ast.walk(node) if isinstance(n, ast.Call) and pl_path(n.func) == "TensorView"]
    return any(
        v.args or any(k.arg != "valid_shape" and not ast.unparse(k.value).endswith("ND") for k in v.keywords)
        for v in views
    )


def _extra(node: ast.expr) -> list[ast.expr]:
    given = node.slice if isinstance(node, ast.Subscript) else None
    return given.elts[2:] if isinstance(given, ast.Tuple) else []


def _dim(d: Any) -> int | Dim:
    if isinstance(d, Dim):
        return d
    if type(d).__name__ in ("DynVar", "DynExpr"):
        return Dim(d.name)
    if type(d).__name__ == "Scalar":  # PyPTO's own, of an expression
        return Dim(str(d.unwrap()))
    if isinstance(d, bool) or not hasattr(d, "__index__"):
        raise ValueError(f"dimension {d!r} is neither an integer nor pl.dynamic")
    return d.__index__()


def seen(parsed: Type, found: Any) -> Type:
    """`parsed`, with the extents that Python saw where the function was defined: a name of the function around it hides
    one of the module."""
    if parsed.shape is None or not isinstance(found, Annotation):
        return parsed
    return replace(parsed, shape=evaluated(found).shape)


def evaluated(found: Any) -> Type:
    """An annotation as Python evaluated it: only the stand-in's can be read back."""
    if isinstance(found, Annotation):
        if found.kind in ("Out", "InOut"):
            inner = evaluated(found.args[0])
            if inner.direction != "In":
                raise ValueError(f"{found!r}: one direction, pl.Out or pl.InOut")
            return Type(inner.kind, found.kind, inner.shape, inner.dtype)
        if found.kind == "Tensor":
            return Type("tensor", "In", tuple(_dim(d) for d in found.args[0]), dtypes.of(found.args[1]))
        if found.kind in KINDS:
            return Type(KINDS[found.kind], dtype=dtypes.of(found.args[0]) if found.kind == "Scalar" else None)
    raise ValueError(f"{found!r} is not the type of a kernel parameter")
