"""The function that is compiled: its text, its parameters, and what its names mean outside of it."""

from __future__ import annotations

import ast
import builtins
import inspect
import itertools
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

from helpers.errors import KernelError
from helpers.interpret.facts import spelling
from helpers.interpret.facts.forms import INCORE, MISSING, Parameter, dynamic_axes
from helpers.interpret.language import annotations
from helpers.interpret.language.decorated import environment, unwrap
from helpers.interpret.source import live
from helpers.interpret.source.source import Place, of, refuse
from helpers.interpret.source.walk import walk


class Subject:
    """One function, compiled for one plane. `read` looks at its body, when no pass changes it any more."""

    def __init__(self, fn: Callable, kind: str, plane: str, options: dict[str, Any]):
        self.fn, self.kind, self.plane = fn, kind, plane
        self.program, self.auto_scope = options.get("program"), options.get("auto_scope", True)
        self.source = of(fn)
        self.tree = self.source.tree
        self.function = options.get("function")  # of a `@pl.function`: the name of its pl.FunctionType
        self.closure = self.program is not None or "around" in options
        self.around = options.get("around", {})
        self.quoted = options.get("quoted", {})  # of a `@pl.jit`: what only its quoted annotations name
        self.env = self.environment()
        self.captured: dict[str, Any] = {}  # names of the enclosing scope that were asked for, and their values
        self.parameters: list[Parameter] = []
        self.locals: set[str] = set()
        self.bindings: Counter[str] = Counter()  # how often each name is bound
        self.undefined: set[str] = set()  # names that are assigned by subscript alone
        self.dynamic: dict[str, set[int]] = {}  # parameter -> its axes that only the run knows

    @property
    def entry(self) -> bool:
        """True for a kernel that is called from Python."""
        return self.kind == "entry" and self.program is None

    def environment(self) -> dict[str, Any]:
        """The names of the enclosing scope and their values, as they are now."""
        return environment(self.fn, self.closure) | self.around

    def read(self) -> None:
        """Take in the parameters and the names that the body binds."""
        self.parameters = self.signature()
        given, stored = {p.name for p in self.parameters}, live.stores(self.tree.body)
        self.locals = given | stored
        self.bindings = Counter(
            n.id for n in walk(self.tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        )
        self.undefined = stored - self.bindings.keys() - given
        self.dynamic = {p.name: dynamic_axes(p.type) for p in self.parameters if p.type.shape is not None}

    def signature(self) -> list[Parameter]:
        """The parameters.

        Raises:
            KernelError: one has no usable type.
        """
        out, args = [], self.tree.args
        given = [*args.posonlyargs, *args.args, *args.kwonlyargs]
        for a in given[1:] if self.program is not None else given:
            if a.annotation is None:
                raise self.refuse(a, f"parameter '{a.arg}' has no type", f"write {a.arg}: pl.Tensor[[64], pl.FP32]")
            if annotations.has_strides(a.annotation, self.pl_path):
                raise self.refuse(
                    a.annotation, f"strides in the type of '{a.arg}': they are those of the tensor passed",
                    "leave it out, and slice the window where it is used",
                )  # fmt: skip
            default = inspect.signature(self.fn).parameters[a.arg].default
            known = default if isinstance(default, (bool, int, float)) else None
            found = self.annotation(a.annotation, self.fn.__annotations__.get(a.arg))
            out.append(Parameter(a.arg, found, known, self.source.place(a)))
        return out

    def annotation(self, node: ast.expr, found: Any = None) -> annotations.Type:
        """The type that an annotation means; `found`: what Python made of it, where the function was defined."""

        def value(e: ast.expr) -> Any:
            if found is None and isinstance(e, (ast.List, ast.Tuple)):
                return [extent(x) for x in e.elts]
            return self.evaluated(e, self.quoted)

        def extent(e: ast.expr) -> Any:
            """An extent in the type of a name of the kernel: it may be a number of the kernel."""
            names_ = {n.id for n in walk(e) if isinstance(n, ast.Name)}
            return annotations.Dim(ast.unparse(e)) if names_ & self.locals else value(e)

        try:
            try:
                return annotations.seen(annotations.parse(node, self.pl_path, value), found)
            except NameError:  # of the function around, seen when the annotation was evaluated
                if found is None or isinstance(found, str):
                    raise
                return annotations.evaluated(found)
        except Exception as e:
            raise self.refuse(node, f"the annotation cannot be used: {e}") from e

    def evaluated(self, node: ast.expr, more: dict[str, Any] | None = None) -> Any:
        """What Python makes of an expression among the names of the enclosing scope."""
        code = compile(ast.fix_missing_locations(ast.Expression(node)), self.source.file, "eval")
        return eval(code, {**self.env, **(more or {})})

    def is_region(self, s: ast.stmt) -> bool:
        """True for what is an InCore region of its own: `with pl.at`, `with pl.spmd`, `for i in pl.spmd`."""
        call = s.items[0].context_expr if isinstance(s, ast.With) else s.iter if isinstance(s, ast.For) else None
        if not isinstance(call, ast.Call):
            return False
        return self.pl_path(call.func) in ("at", "spmd")

    def is_turns(self, s: ast.stmt) -> bool:
        """True for a loop of orchestration whose body becomes a function of its turn."""
        call = s.iter if isinstance(s, ast.For) else None
        if not isinstance(call, ast.Call) or self.pl_path(call.func) not in ("parallel", "range") or call.keywords:
            return False
        if self.plane == INCORE or not isinstance(s.target, ast.Name):
            return False
        return not any(isinstance(n, (ast.Return, ast.Break, ast.Continue)) for b in s.body for n in walk(b))

    def is_lanes(self, s: ast.stmt) -> bool:
        """True for a loop over the two vector lanes of a cluster."""
        call = s.iter if isinstance(s, ast.For) else None
        return isinstance(call, ast.Call) and self.pl_path(call.func) == "split_aiv"

    def pl_path(self, node: ast.expr) -> str | None:
        """ "tile.load" for `pl.tile.load`; None for anything that is not below `pypto.language`."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        value = self.env.get(node.id)
        if isinstance(value, types.ModuleType) and value.__name__ == "pypto.language":
            if node.id != "pl":
                raise self.refuse(node, f"pypto.language is called '{node.id}' here", "import pypto.language as pl")
            return ".".join(reversed(parts))
        return None

    def outside(self, node: ast.expr) -> Any:
        """The value of a name or attribute chain of the enclosing scope, or MISSING."""
        if isinstance(node, ast.Name):
            if node.id in self.locals:
                return MISSING
            if node.id in self.env:
                value = self.env[node.id]
                if not isinstance(value, types.ModuleType):
                    self.captured[node.id] = value
                return value
            return getattr(builtins, node.id, MISSING)
        if isinstance(node, ast.Attribute):
            base = self.outside(node.value)
            return MISSING if base is MISSING else getattr(base, node.attr, MISSING)
        return MISSING

    def member(self, node: ast.expr) -> Any:
        """The function of the program that `self.name` means, or None."""
        if self.program is None or not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            return None
        return self.program.functions.get(node.attr) if node.value.id == "self" else None

    def dispatched(self, node: ast.expr) -> bool:
        """True for a kernel that `with pl.spmd` launches as a whole: of the program, or written in C++."""
        if self.member(node) is not None:
            return True
        found = unwrap(self.outside(node)) if isinstance(node, ast.Name) else None
        return found is not None and found[1] == "extern"

    def meant(self, name: str) -> str | None:
        """What is defined and looks like `name`."""
        return spelling.meant(name, sorted({*self.locals, *self.env} - self.undefined))

    def free_name(self) -> str:
        """A name that the kernel does not use."""
        names = itertools.chain(["result"], (f"result_{i}" for i in itertools.count(2)))
        return next(n for n in names if n not in self.locals)

    def place(self, node: ast.AST) -> Place:
        """Where a construct stands."""
        return self.source.place(node)

    def refuse(self, node: ast.AST, what: str, fix: str | None = None) -> KernelError:
        """The error to raise for a construct."""
        return refuse(self.source.place(node), what, fix)
