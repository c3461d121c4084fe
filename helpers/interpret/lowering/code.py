"""The code that is generated: what its names hold, what it is made of, and what the parts that make it start from."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, TypeAlias

from helpers.errors import KernelError
from helpers.interpret.facts.function import Subject
from helpers.interpret.machine.batches import BATCH_SIZES
from helpers.interpret.ops import elements
from helpers.interpret.source.source import Place, Source
from helpers.interpret.values import numbers
from helpers.interpret.values.lanes import Lanes, counted
from helpers.interpret.values.values import Known

if TYPE_CHECKING:
    from helpers.interpret.lowering.lower import Lowering

SOURCE = "__source__"  # the name in generated code of the Source that it is made from


class Code:
    """The names of the generated code of one function."""

    def __init__(self, subject: Subject):
        self.subject = subject
        self._interned: dict[int, str] = {}
        self.space: dict[str, Any] = {
            "_getitem": elements.getitem, "_getrows": elements.getrows, "_setitem": elements.setitem,
            "_and": _logical_and, "_or": _logical_or,
            "_not": _logical_not, "_typed": elements.typed, "_viewed": elements.viewed, "_rebound": elements.rebound,
            "_carried": elements.carried, "_quotient": numbers.quotient, "_remainder": numbers.remainder,
            "_shifted": numbers.shifted, "_wrapped": numbers.wrapped, "_unequal": numbers.unequal,
            "_at_odds": _at_odds,
            "_known": Known, "_slice": slice, "_range": counted, "_dim": _dim,
        }  # fmt: skip

    def bind(self, value: Any, hint: str) -> ast.Name:
        """A name in the generated code that holds `value`."""
        key = self._interned.get(id(value))
        if key is None:
            key = self._interned[id(value)] = f"_{hint}_{len(self._interned)}"
            self.space[key] = value
        return ast.Name(key, ast.Load())

    def named(self, name: str, value: Any) -> ast.Name:
        """The same, of a name that is given."""
        self.space[name] = value
        return ast.Name(name, ast.Load())

    def place(self, node: ast.AST) -> ast.Name:
        """A name that holds the place of a construct."""
        place = self.subject.place(node)
        key = f"_at_{place.line}_{place.column}"
        self.space.setdefault(key, place)
        return ast.Name(key, ast.Load())

    def run(self, function: ast.FunctionDef) -> Any:
        """Compile a function of the generated code, with all that its names hold."""
        source: Source = self.subject.source
        module = ast.fix_missing_locations(ast.Module([function], []))
        for value in self.space.values():
            BATCH_SIZES.pop(value, None) if isinstance(value, Place) else None
        self.space[SOURCE] = source
        exec(compile(module, source.file, "exec"), self.space)
        return self.space[function.name]


Whole: TypeAlias = "Lowering"


class Part:
    """A part that makes code of some constructs; it reaches the other parts through the whole."""

    def __init__(self, whole: Whole):
        self.whole, self.subject, self.code, self.blocks = whole, whole.subject, whole.code, whole.blocks
        self.facts, self.names, self.region, self.checks = whole.facts, whole.names, whole.region, whole.checks
        self.refuse, self.pl_path, self.outside = whole.subject.refuse, whole.subject.pl_path, whole.subject.outside
        self.kind, self.bind, self.place = whole.facts.kind, whole.code.bind, whole.code.place


def machine(method: str, args: list[ast.expr], keywords: list[ast.keyword] | None = None) -> ast.Call:
    """`_m.part.method(...)`."""
    function: ast.expr = ast.Name("_m", ast.Load())
    for name in method.split("."):
        function = ast.Attribute(function, name, ast.Load())
    return ast.Call(function, args, keywords or [])


def call(name: str, args: list[ast.expr]) -> ast.Call:
    """`name(...)`."""
    return ast.Call(ast.Name(name, ast.Load()), args, [])


def load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def assigned(node: ast.AST, name: str, value: ast.expr) -> ast.stmt:
    """`name = value`, in the place of `node`."""
    return ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), node)


def _dim(m: Any, name: str) -> int:
    if name not in m.memory.dims:
        raise KernelError(f"no argument has an axis whose extent is {name} alone: pass the number as a pl.Scalar")
    return m.memory.dims[name]


def _at_odds(test: Any) -> bool:
    """True when blocks disagree on a condition."""
    return type(test) is Lanes


def _logical_and(*xs: Any) -> Any:
    out = xs[0]
    for x in xs[1:]:
        out = (out != 0) & (x != 0)
    return out


def _logical_or(*xs: Any) -> Any:
    out = xs[0]
    for x in xs[1:]:
        out = (out != 0) | (x != 0)
    return out


def _logical_not(x: Any) -> Any:
    return x == 0
