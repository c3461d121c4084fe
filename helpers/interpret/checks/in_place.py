"""Numbers that are read in place, where PyPTO's generated code wants a name.

PyPTO gives what is called (a number read from memory, an element of an array, how many cores there are) a name of its
own where it stands in arithmetic or alone as an argument, and does not look into lists, types of tensors and launches
(src/ir/transforms/flatten_call_expr_pass.cpp). Its code generation then takes no call there (`GenerateExprString` in
src/codegen/codegen_base.cpp, `RenderLaunchCoreNum` and `BuildOneArgParam` in
src/codegen/orchestration/orchestration_codegen.cpp, `CollectVarsFromShapeExpr` and what cannot be materialized in
src/codegen/pto/pto_codegen.cpp). In a region what it generates for lists names such a number twice or not at all, and
ptoas does not parse it.
"""

from __future__ import annotations

import ast

from helpers.interpret.checks.base_check import Check
from helpers.interpret.facts.forms import OPERATORS, Parameter
from helpers.interpret.facts.function import Subject
from helpers.interpret.facts.infer import Facts
from helpers.interpret.facts.region import Region
from helpers.interpret.source.walk import walk

CORES = ("system.available_cluster_count", "system.available_aiv_count")
CALLED = (*CORES, "read", "tensor.read", "array.get_element")
PLACES = ("slice", "load", "store", "assemble", "read", "write")  # tried in regions
CUTS = ("slice", "tensor.slice")
MAKES = ("create_tensor", "tensor.create", "tensor.create_tensor")
# Operations on tiles whose valid extents become the type of a tile: only what is called alone has a name there.
NARROWS = {"load": ("valid_shape",), "slice": ("valid_shape",), "set_validshape": ("valid_rows", "valid_cols")}


class InPlace(Check):
    """Refuses such numbers.

    `_unsized` has the names of tensors made in orchestration of which an extent is no INDEX, with that extent and its
    type. `placed` has the parameters that stand where such a number may not, and what place that is: an inline function
    has the argument itself there (`CloneInlineBody` in src/ir/transforms/inline_functions_pass.cpp).
    """

    def __init__(self, subject: Subject, facts: Facts, region: Region):
        super().__init__(subject, facts, region)
        self._unsized: dict[str, tuple[ast.expr, str]] = {}
        self.placed: dict[str, str] = {}
        self.numbers = {p.name for p in subject.parameters if p.type.kind == "scalar"}

    def bind(self, name: str, value: ast.expr) -> None:
        """`name = value`."""
        if self.region.incore:
            return
        path = self.pl_path(value.func) if isinstance(value, ast.Call) else None
        found = self._sized_by(value) if path in MAKES else None
        of = value.args[0] if path in CUTS and value.args else value
        of = of.value if isinstance(of, ast.Subscript) else of
        if isinstance(of, ast.Name):
            found = self._unsized.get(of.id)
        if found is None:
            self._unsized.pop(name, None)
        else:
            self._unsized[name] = found

    def _sized_by(self, call: ast.Call) -> tuple[ast.expr, str] | None:
        """An extent of the tensor that a call makes which is of another type than INDEX."""
        lists = [a for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, (ast.List, ast.Tuple))]
        extents = [(e, self.facts.dtype(e)) for a in lists for e in a.elts if self.facts.at_run_time(e)]
        return next(((e, dtype) for e, dtype in extents if dtype in ("INT32", "INT64")), None)

    def check_sized(self, name: ast.expr) -> None:
        """A region, and a function that takes the types of its arguments, has such an extent as a parameter."""
        found = self._unsized.get(name.id) if isinstance(name, ast.Name) else None
        if found is not None:
            extent, dtype = found
            raise self.refuse(
                extent, f"an extent of {dtype}: PyPTO's assembler wants INDEX there",
                f"pl.cast({ast.unparse(extent)}, pl.INDEX) on a line of its own, and its name here",
            )  # fmt: skip

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
        where = "the number of blocks"
        self._note_placed(count, where)
        found = self._called_in(count)
        if found is not None:
            raise self._unnamed(found, where)

    def check_lists(self, node: ast.Call, path: str) -> None:
        """Lists of numbers of an operation: no element is read in place, in a shape of orchestration no part of one."""
        if self.region.incore:
            self._check_narrowed(node)
            if path.rpartition(".")[2] not in PLACES:
                return
        for a in [*node.args, *(k.value for k in node.keywords)]:
            for e in a.elts if isinstance(a, (ast.List, ast.Tuple)) else ():
                where = "a shape" if path in MAKES else "a list"
                if path in MAKES or isinstance(e, ast.Name):
                    self._note_placed(e, where)
                found = self._called_in(e) if path in MAKES else e if self.is_called(e) else None
                if found is not None:
                    raise self._unnamed(found, where)

    def check_items(self, items: list[ast.expr]) -> None:
        """The same, of subscripts of a tensor."""
        for i in items:
            e = i.lower if isinstance(i, ast.Slice) else i
            if isinstance(e, ast.Name):
                self._note_placed(e, "a subscript")
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

    def _note_placed(self, node: ast.expr, where: str) -> None:
        """A parameter, or arithmetic of some, stands in such a place."""
        for n in walk(node):
            if isinstance(n, ast.Name) and n.id in self.numbers and not self.subject.bindings[n.id]:
                self.placed.setdefault(n.id, where)

    def check_inlined(self, a: ast.expr, p: Parameter, placed: dict[str, str]) -> None:
        """An argument of an inline function, which is put where its parameter stands (`placed`)."""
        if p.name in placed and p.type.kind == "scalar":
            if self.is_called(a):
                raise self._unnamed(a, f"the argument '{p.name}', which stands for {placed[p.name]}")
            if isinstance(a, ast.Name):
                self._note_placed(a, placed[p.name])

    def check_argument(self, a: ast.expr, p: Parameter) -> None:
        """A number or a condition that orchestration hands to a task: a name, a constant, or what is called, alone."""
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
        asked = isinstance(a, (ast.Compare, ast.BoolOp)) and self.facts.at_run_time(a) and not self.facts.decided(a)
        if made or asked or isinstance(a, (ast.BinOp, ast.UnaryOp)):
            raise self._unnamed(a, f"the argument '{p.name}'")

    def begin(self, body: list[ast.stmt], dispatches: bool) -> None:
        """A region computes with a window that only the run knows to be partly valid as it is, and cuts no part of it:
        its code has no name for the extent."""
        for n in (n for b in body for n in walk(b)):
            if not dispatches:
                self.check_sized(n)
            of = n.args[0] if isinstance(n, ast.Call) and n.args and self.pl_path(n.func) in CUTS else None
            if isinstance(n, ast.Subscript) and not self.is_called(n):
                of = n.value
            if isinstance(of, ast.Name) and self.names[of.id].narrowed:
                extent = self.names[of.id].narrowed
                raise self.refuse(
                    extent, f"a part of '{of.id}', valid as far as `{ast.unparse(extent)}`, in a region: only the run "
                    "knows that",
                    "slice it in the region, with valid_shape= there",
                )  # fmt: skip
