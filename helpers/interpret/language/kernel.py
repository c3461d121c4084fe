"""What the decorators and annotations of a kernel's file leave: kernels, programs and types, as plain data.

Nothing here runs or compiles a kernel: see `callable` for the kernels that can be called.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from helpers.errors import KernelError
from helpers.interpret.source import texts


class DataType:
    """An element type constant such as `pl.BF16`."""

    def __init__(self, name: str, bits: int):
        self.name, self.bits = name, bits

    def get_byte(self) -> int:
        """Bytes of one element, rounded up to one (PyPTO, user manual, Types)."""
        return max(1, self.bits // 8)

    def __repr__(self) -> str:
        return f"pl.{self.name}"

    def __str__(self) -> str:
        return self.name


class DynExpr:
    """An extent computed from dimensions known at run time, as `N * 2` in an annotation: + - * // % of them."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return self.name


def _computed(sign: str) -> tuple[Callable, Callable]:
    def text(x: Any) -> str:
        return f"({x.name})" if type(x) is DynExpr else x.name if isinstance(x, DynExpr) else str(x)

    def forward(self: DynExpr, other: Any) -> DynExpr:
        return DynExpr(f"{text(self)} {sign} {text(other)}")

    def backward(self: DynExpr, other: Any) -> DynExpr:
        return DynExpr(f"{text(other)} {sign} {text(self)}")

    return forward, backward


for _name, _sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("floordiv", "//"), ("mod", "%")):
    _forward, _backward = _computed(_sign)
    setattr(DynExpr, f"__{_name}__", _forward)
    setattr(DynExpr, f"__r{_name}__", _backward)


class DynVar(DynExpr):
    """A dimension known only at run time; the same object in several annotations is the same dimension."""

    def __init__(self, name: str):
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"pl.dynamic({name!r}): the name of a dimension is an identifier")
        super().__init__(name)

    def __repr__(self) -> str:
        return f"pl.dynamic({self.name!r})"


class Annotation:
    """What an annotation such as `pl.Tensor[[M, 128], pl.FP32]` evaluates to."""

    def __init__(self, kind: str, args: tuple):
        self.kind, self.args = kind, args

    def __repr__(self) -> str:
        return f"pl.{self.kind}[{', '.join(map(repr, self.args))}]"


class Placement:
    """What an annotation says of where a tile or tensor lies: `pl.MemRef`, `pl.TileView`, `pl.TensorView`."""

    def __init__(self, *args: Any, **options: Any):
        self.args, self.options = args, options

    def __getitem__(self, slot: Any) -> Placement:
        return self

    def text(self, name: str) -> str:
        """How it is written, with `name` where it has none of its own."""
        given = [*map(repr, self.args or (name,)), *(f"{k}={v!r}" for k, v in self.options.items())]
        return f"pl.{type(self).__name__}({', '.join(given)})"


class _Annotated(type):
    def __getitem__(cls, args: Any) -> Annotation:
        return Annotation(cls.__name__, args if isinstance(args, tuple) else (args,))


def annotation_type(name: str, doc: str) -> type:
    return _Annotated(name, (), {"__doc__": doc})


class JitFunction:
    """A decorated kernel. `fn` is the Python function; `kind` is entry, incore, inline, opaque or host.

    Its text and place are those that it has when it is decorated, see `texts`.
    """

    def __init__(self, fn: Callable, kind: str, options: dict):
        if not isinstance(fn, types.FunctionType):
            what = "a class: write @pl.program" if isinstance(fn, type) else f"{type(fn).__name__} {fn!r}"
            raise KernelError(f"a kernel is a function; what is decorated here is {what}")
        self.fn, self.kind, self.options = fn, kind, options
        self.program: Program | None = None
        texts.bind(fn)
        functools.update_wrapper(self, fn)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.fn.__name__

    def __repr__(self) -> str:
        return f"<pl kernel {self.fn.__module__}.{self.fn.__qualname__} ({self.kind})>"


class Program:
    """A `@pl.program` class: its functions by name. The entry is the one that no other calls."""

    def __init__(self, name: str, functions: dict[str, JitFunction]):
        self.__name__, self.functions = name, functions
        for f in functions.values():
            f.program = self

    @property
    def name(self) -> str:
        """The class's name."""
        return self.__name__

    def __getattr__(self, name: str) -> JitFunction:
        try:
            return self.__dict__["functions"][name]
        except KeyError:
            raise AttributeError(f"program {self.__name__} has no function '{name}'") from None

    @property
    def entry(self) -> JitFunction:
        """The function to run: of Orchestration or Opaque type, and called by no other."""
        called = {n for f in self.functions.values() for n in f.fn.__code__.co_names}
        found = [f for n, f in self.functions.items() if f.kind == "entry" and n not in called]
        if len(found) != 1:
            names_ = ", ".join(f.fn.__name__ for f in found) or "none"
            raise KernelError(f"program {self.__name__} must have one entry, a function no other calls; found {names_}")
        return found[0]

    def __repr__(self) -> str:
        return f"<pl program {self.__name__}: {', '.join(self.functions)}>"
