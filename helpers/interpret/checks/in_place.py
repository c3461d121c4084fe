"""Numbers that orchestration reads in place, where PyPTO's generated code wants a name.

PyPTO gives what is called (a number read from memory, an element of an array, how many cores there are) a name of its
own where it stands in arithmetic or alone as an argument, and does not look into lists, types of tensors and launches
(src/ir/transforms/flatten_call_expr_pass.cpp). Its code generation then takes no call there (`GenerateExprString` in
src/codegen/codegen_base.cpp, `RenderLaunchCoreNum` and `BuildOneArgParam` in
src/codegen/orchestration/orchestration_codegen.cpp, `CollectVarsFromShapeExpr` and what cannot be materialized in
src/codegen/pto/pto_codegen.cpp).
"""

from __future__ import annotations

import ast

from helpers.interpret.checks.check import Check
from helpers.interpret.facts.forms import OPERATORS, Parameter
from helpers.interpret.source.walk import walk

CORES = ("system.available_cluster_count", "system.available_aiv_count")
CALLED = (*CORES, "read", "tensor.read", "array.get_element")
MAKES = ("create_tensor", "tensor.create", "tensor.create_tensor")
# Operations on tiles whose valid extents become the type of a tile: only what is called alone has a name there.
NARROWS = {"load": ("valid_shape",), "slice": ("valid_shape",), "set_validshape": ("valid_rows", "valid_cols")}


class InPlace(Check):
    """Refuses such numbers."""

    def is_called(self, node: ast.expr) -> bool:
        """True for a number that is read, from memory or an array, and for the number of cores."""
        if isinstance(node, ast.Call):
            return self.pl_path(node.func) in CALLED
        if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name):
            return False
        return bool(self.names[node.value.id].array) or self.facts.is_element(node)

    def _called_in(self, node: ast.expr) -> ast.expr | None:
        return next((n for n in walk(node) if isinstance(n, ast.expr) and self.is_called(n)), None)

    def _unnamed(self, node: ast.expr, where: str) -> Exception:
        text = ast.unparse(node)
        return self.refuse(
            node, f"`{text}` in {where}: PyPTO's generated code wants a name there",
            f"{self.subject.free_name()} = {text} on a line of its own, and that name here",
        )  # fmt: skip

    def check_count(self, count: ast.expr) -> None:
        """The number of blocks: names and arithmetic of them, or how many cores there are, alone."""
        if isinstance(count, ast.Call) and self.pl_path(count.func) in CORES:
            return
        found = self._called_in(count)
        if found is not None:
            raise self._unnamed(found, "the number of blocks")

    def check_lists(self, node: ast.Call, path: str) -> None:
        """Lists of numbers of an operation: in orchestration no element is read in place, in a shape no part of one."""
        if self.region.incore:
            self._check_narrowed(node)
            return
        for a in [*node.args, *(k.value for k in node.keywords)]:
            for e in a.elts if isinstance(a, (ast.List, ast.Tuple)) else ():
                found = self._called_in(e) if path in MAKES else e if self.is_called(e) else None
                if found is not None:
                    raise self._unnamed(found, "a shape" if path in MAKES else "a list")

    def check_items(self, items: list[ast.expr]) -> None:
        """The same, of subscripts of a tensor."""
        for i in items if not self.region.incore else ():
            e = i.lower if isinstance(i, ast.Slice) else i
            if e is not None and self.is_called(e):
                raise self._unnamed(e, "a subscript")

    def _check_narrowed(self, node: ast.Call) -> None:
        """What of a tile is valid, in arithmetic of what is read."""
        name, given = self.facts.called(node)
        of_tile = name == "load" or (node.args and self.facts.level(node.args[0]) == "tile")
        for parameter in NARROWS.get(name, ()) if of_tile else ():
            a = given.get(parameter)
            for e in a.elts if isinstance(a, (ast.List, ast.Tuple)) else [] if a is None else [a]:
                found = None if self.is_called(e) else self._called_in(e)
                if found is not None:
                    raise self._unnamed(found, "a valid extent of a tile")

    def check_argument(self, a: ast.expr, p: Parameter) -> None:
        """A number that orchestration hands to a task: a name, a constant, or what is called, alone.

        A condition may stand there, which PyPTO refuses, too: a known gap (docs/interpret.md).
        """
        if (
            self.region.incore
            or p.type.kind != "scalar"
            or isinstance(a, ast.Name)
            or self.is_called(a)
            or self.facts.constant(a)
        ):
            return
        made = isinstance(a, ast.Call) and self.pl_path(a.func) in ("min", "max", "cast", *OPERATORS)
        if made and self.pl_path(a.func) != "cast" and all(map(self.facts.constant, a.args)):
            return
        if any(isinstance(n, ast.Attribute) and n.attr == "shape" for n in walk(a)):  # PyPTO knows most of them
            return
        if made or isinstance(a, (ast.BinOp, ast.UnaryOp)):
            raise self._unnamed(a, f"the argument '{p.name}'")

    def check_narrowed(self, body: list[ast.stmt]) -> None:
        """What a region computes with is no such window: its code has no name for the extent."""
        nodes = [n for b in body for n in walk(b)]
        called = [n for n in nodes if isinstance(n, (ast.Subscript, ast.Call)) and self.is_called(n)]
        elements = {id(n.value) for n in called if isinstance(n, ast.Subscript)}
        elements |= {id(a) for n in called if isinstance(n, ast.Call) for a in n.args[:1]}
        for n in nodes:
            if isinstance(n, ast.Name) and self.names[n.id].narrowed and id(n) not in elements:
                extent = self.names[n.id].narrowed
                raise self.refuse(
                    extent, f"'{n.id}', valid as far as `{ast.unparse(extent)}`, in a region: only the run knows that",
                    "slice it in the region, with valid_shape= there",
                )  # fmt: skip
