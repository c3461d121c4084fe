"""From a kernel's source to Python that runs it.

PyPTO parses a kernel once and never executes it as Python; `compile_kernel` does the same. It turns the AST of
the function into that of another Python function whose operations are calls into `ops`, whose scopes are calls
on the `Machine`, and whose scalar arithmetic and loops are Python's own, so that nothing of the source is looked
at again while the kernel runs. Names resolve as in PyPTO: locals first, then the values of the enclosing Python
scope, folded in when the kernel is compiled. The result is cached until one of those values changes.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import keyword
import re
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from helpers.errors import KernelError
from helpers.interpret import annotations, chunks, dtypes, live, names, rules, signatures, variables
from helpers.interpret.infer import Facts, category
from helpers.interpret.lanes import counted
from helpers.interpret.machine import BATCH_SIZES
from helpers.interpret.ops import OPS, elementwise, movement
from helpers.interpret.source import Place, Source, of, refuse

# The two planes (PyPTO manual, Programming Model). An inline function is compiled once for each it is used in.
ORCHESTRATION, INCORE = "orchestration", "incore"

SCALAR = ("add", "sub", "mul", "div")  # operations that take two scalars, too

# Operations whose result is a scalar, and those that orchestration may use; the rest are device work.
SCALAR_OPS = {
    "min", "max", "tile.min", "tile.max", "read", "tensor.read", "tile.read", "dim", "tensor.dim", "get_block_idx",
    "get_block_num", "tensor.get_block_idx", "tensor.get_block_num", "tile.get_block_idx", "tile.get_block_num",
    "get_subblock_idx", "tensor.get_subblock_idx", "tile.get_subblock_idx", "system.available_cluster_count",
    "system.available_aiv_count", "array.get_element",
}  # fmt: skip
CONTROL_OPS = SCALAR_OPS | {
    "create_tensor", "tensor.create", "tensor.create_tensor", "slice", "tensor.slice", "reshape", "tensor.reshape",
    "transpose", "tensor.transpose", "tensor.view", "reinterpret_view", "tensor.reinterpret_view", "write",
    "tensor.write", "no_dep", "tensor.no_dep", "array.create",
    "array.update_element", "system.task_dummy", "system.task_invalid", "assemble", "tensor.assemble",
}  # fmt: skip

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

# How a name may have been bound to be passed to another kernel as a tensor (tried on PyPTO's specializer).
NAMED_BY = {"create_tensor", "create", "slice", "reshape", "assemble", "load"}

LOOPS = {"range", "parallel", "unroll", "pipeline", "while_", "spmd", "split_aiv"}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: its name and what its annotation says."""

    name: str
    type: annotations.Type
    default: Any = None  # of a scalar that the caller may leave out
    place: Place | None = None  # in the kernel's file


@dataclass
class Compiled:
    """A kernel ready to run: `run(machine, *args)`."""

    name: str
    source: Source
    kind: str
    parameters: list[Parameter]
    run: Callable
    captured: dict[str, Any]  # names of the enclosing scope and the values that were folded in
    environment: Callable[[], dict[str, Any]]
    callees: list[Compiled]

    def stale(self) -> bool:
        """True when a value that was folded in has changed since."""
        now = self.environment()
        return any(
            now.get(k, _MISSING) is not v and now.get(k, _MISSING) != v for k, v in self.captured.items()
        ) or any(c.stale() for c in self.callees)


_MISSING = object()
_CACHE: dict[tuple[Callable, str], Compiled] = {}


def unwrap(kernel: Any) -> tuple[Callable, str, dict] | None:
    """(function, kind, options) of a decorated kernel - the stand-in's or PyPTO's own JITFunction - or None."""
    from helpers.interpret.language import JitFunction, Program

    if isinstance(kernel, Program):
        kernel = kernel.entry
    if isinstance(kernel, JitFunction):
        return kernel.fn, kernel.kind, {"program": kernel.program, **kernel.options}
    if type(kernel).__name__ == "JITFunction" and hasattr(kernel, "_func"):
        kind = str(getattr(kernel, "_func_type", "orchestration"))
        options = {"auto_scope": getattr(kernel, "_auto_scope", True)}
        return kernel._func, {"orchestration": "entry"}.get(kind, kind), options
    return None


@dataclass(frozen=True)
class Signature:
    """What a kernel takes: all that its caller's arguments are checked against."""

    name: str
    parameters: list[Parameter]


def signature(kernel: Any) -> Signature:
    """The parameters of a decorated kernel; its body is not looked at.

    Raises:
        KernelError: it is not a kernel, or a parameter has no usable type.
    """
    fn, kind, options = _unwrapped(kernel)
    lowering = _Lowering(fn, kind, ORCHESTRATION, options)
    return Signature(fn.__name__, lowering._parameters(lowering.source.tree))


def _unwrapped(kernel: Any) -> tuple[Callable, str, dict]:
    found = unwrap(kernel)
    if found is None:
        raise KernelError(f"{kernel!r} is not a kernel: decorate the function with @pl.jit")
    return found


def compile_kernel(kernel: Any, plane: str | None = None) -> Compiled:
    """Compile a decorated kernel, or return what was compiled before.

    Raises:
        KernelError: it is not a kernel, or its source is not in the language.
    """
    fn, kind, options = _unwrapped(kernel)
    if kind in ("host", "extern"):
        raise KernelError(f"kernel '{fn.__name__}' is @pl.jit.{kind}: interpret mode runs one chip and no C++ kernels")
    if plane is None:
        plane = INCORE if kind == "incore" else ORCHESTRATION
    key = (fn, plane)
    cached = _CACHE.get(key)
    if cached is None or cached.stale():
        cached = _CACHE[key] = _Lowering(fn, kind, plane, options).compile()
    return cached


def environment(fn: Callable, closure: bool = False) -> dict[str, Any]:
    """Names visible to `fn` from outside: those of its module, and kernels of an enclosing function.

    With `closure` everything of the enclosing function: PyPTO resolves it for a `@pl.program`, not for a `@pl.jit`.
    """
    out = dict(fn.__globals__)
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or ()):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        if (
            closure
            or unwrap(value) is not None
            or isinstance(value, types.ModuleType)
            or type(value).__name__ == "DynVar"
        ):
            out[name] = value
        else:
            out.pop(name, None)
    return out


_IN_PROGRESS: list[Callable] = []


class _Lowering:
    """Lowers one function for one plane."""

    def __init__(self, fn: Callable, kind: str, plane: str, options: dict[str, Any]):
        self.program, self.auto_scope = options.get("program"), options.get("auto_scope", True)
        self.dispatching = False  # in a `with pl.spmd` whose body calls a kernel
        self.fn, self.function_kind, self.plane = fn, kind, plane
        self.source = of(fn)
        self.env = environment(fn, closure=self.program is not None)
        self.captured: dict[str, Any] = {}
        self.callees: list[Compiled] = []
        self.space: dict[str, Any] = {
            "_getitem": movement.getitem, "_setitem": movement.setitem, "_and": _logical_and, "_or": _logical_or,
            "_not": _logical_not, "_typed": movement.typed, "_rebound": movement.rebound,
            "_slice": slice, "_range": counted, "_dim": _dim,
        }  # fmt: skip
        self.interned: dict[int, str] = {}
        self.kinds: dict[str, str] = {}  # local name -> "scalar", "tensor", "task" or "any"
        self.incore = plane == INCORE
        self.origin: dict[str, str] = {}  # local name -> the pl operation that bound it last
        self.forms: dict[str, dict[str, float]] = {}  # local name bound once, to a linear form of such names
        self.unrolled: set[str] = set()  # variables of pl.unroll loops
        self.nested = 0  # loops and branches around, in the region
        self.frame: list[set[str]] = []  # names bound so far, block by block, in the function being generated
        self.checked: set[str] = set()  # names that are bound to None at its start, for `_rebound`
        self.extents: set[str] = set()  # names bound to pl.tensor.dim
        self.computed: set[str] = set()  # names of numbers computed from an extent
        self.types: list[dict[str, tuple]] = [{}]  # variable -> what is certain of its type, scope by scope
        self.passed_on: dict[str, str] = {}  # name handed to an incore function as output -> that function

    # ---- the function ----------------------------------------------------------------------------------

    def compile(self) -> Compiled:
        _IN_PROGRESS.append(self.fn)
        try:
            return self._compile()
        finally:
            _IN_PROGRESS.pop()

    def _compile(self) -> Compiled:
        tree = self.source.tree
        chunks.rewrite(tree, self.pl_path)
        rules.check(self.source)
        live.analyse(tree, self._is_region, self._is_turns)
        parameters = self._parameters(tree)
        self.locals = {p.name for p in parameters} | live.stores(tree.body)
        self.bindings = Counter(
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        )
        entry = self.function_kind == "entry" and self.program is None
        literal = {p.name for p in parameters if entry and p.type.kind == "scalar" and not self.bindings[p.name]}
        self.facts = Facts({p.name: p.type for p in parameters}, literal, self.pl_path, self.outside, self.extent)
        self.dynamic = {p.name: _dynamic_axes(p.type) for p in parameters if p.type.shape is not None}
        self.frame = [{p.name for p in parameters}]
        self.variables = variables.variables(tree, renames=self.program is None)
        if entry:  # of other functions PyPTO takes the shapes that they are called with
            for p in parameters:
                if p.type.kind == "tensor" and p.type.shape is not None:
                    self.facts.shapes[p.name] = tuple(n if isinstance(n, int) else None for n in p.type.shape)
            self.types[-1].update({p.name: self._type(ast.Name(p.name, ast.Load())) for p in parameters})
        if self.function_kind == "inline":
            self._check_returns(tree)
        for p in parameters:
            self.kinds[p.name] = {"tile": "tensor", "other": "any", "array": "any"}.get(p.type.kind, p.type.kind)
        lowered = self.block(tree.body) or [ast.Pass()]
        blanks = sorted((_handed_on(tree.body) | self.checked) - {p.name for p in parameters})
        body: list[ast.stmt] = [self._assign_name(tree, n, ast.Constant(None)) for n in blanks] + lowered
        arguments = ast.arguments(
            posonlyargs=[], args=[ast.arg("_m"), *(ast.arg(p.name) for p in parameters)], kwonlyargs=[], kw_defaults=[],
            defaults=[],
        )  # fmt: skip
        function = ast.FunctionDef(name=tree.name, args=arguments, body=body, decorator_list=[])
        module = ast.Module([ast.copy_location(function, tree)], [])
        ast.fix_missing_locations(module)
        for value in self.space.values():
            BATCH_SIZES.pop(value, None) if isinstance(value, Place) else None
        exec(compile(module, self.source.file, "exec"), self.space)
        return Compiled(
            self.fn.__name__, self.source, self.function_kind, parameters, self.space[tree.name], self.captured,
            lambda: environment(self.fn, closure=self.program is not None), self.callees,
        )  # fmt: skip

    def _parameters(self, tree: ast.FunctionDef) -> list[Parameter]:
        out = []
        given = [*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs]
        for a in given[1:] if self.program is not None else given:
            if a.annotation is None:
                raise refuse(
                    self.source.place(a), f"parameter '{a.arg}' has no type", f"write {a.arg}: pl.Tensor[[64], pl.FP32]"
                )
            default = inspect.signature(self.fn).parameters[a.arg].default
            known = default if isinstance(default, (bool, int, float)) else None
            out.append(Parameter(a.arg, self._annotation(a.annotation, a.arg), known, self.source.place(a)))
        return out

    def _check_returns(self, tree: ast.FunctionDef) -> None:
        """An inline function is put in the caller's place: it can return at its end only."""
        for n in ast.walk(tree):
            if isinstance(n, ast.Return) and n is not tree.body[-1]:
                raise self.refuse(n, "a return before the end of an inline function", "return once, at its end")

    def _annotation(self, node: ast.expr, name: str) -> annotations.Type:
        def value(e: ast.expr) -> Any:
            code = compile(ast.Expression(ast.fix_missing_locations(e)), self.source.file, "eval")
            return eval(code, self.env)

        try:
            return annotations.parse(node, self.pl_path, value)
        except NameError:  # of the function around, seen when the annotation was evaluated
            return annotations.evaluated(self.fn.__annotations__[name])
        except Exception as e:
            raise refuse(self.source.place(node), f"the annotation cannot be used: {e}") from e

    def _is_region(self, s: ast.stmt) -> bool:
        """True for what is an InCore region of its own: `with pl.at`, `with pl.spmd`, `for i in pl.spmd`."""
        call = s.items[0].context_expr if isinstance(s, ast.With) else s.iter if isinstance(s, ast.For) else None
        if not isinstance(call, ast.Call):
            return False
        return self.pl_path(call.func) in ("at", "spmd")

    def _is_turns(self, s: ast.stmt) -> bool:
        """True for a loop of orchestration whose body becomes a function of its turn."""
        call = s.iter if isinstance(s, ast.For) else None
        if not isinstance(call, ast.Call) or self.pl_path(call.func) not in ("parallel", "range") or call.keywords:
            return False
        if self.plane == INCORE or not isinstance(s.target, ast.Name):
            return False
        return not any(isinstance(n, (ast.Return, ast.Break, ast.Continue)) for b in s.body for n in ast.walk(b))

    # ---- names -----------------------------------------------------------------------------------------

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
        """The value of a name or attribute chain of the enclosing scope, or _MISSING."""
        if isinstance(node, ast.Name):
            if node.id in self.locals:
                return _MISSING
            if node.id in self.env:
                value = self.env[node.id]
                if not isinstance(value, types.ModuleType):
                    self.captured[node.id] = value
                return value
            return getattr(builtins, node.id, _MISSING)
        if isinstance(node, ast.Attribute):
            base = self.outside(node.value)
            return _MISSING if base is _MISSING else getattr(base, node.attr, _MISSING)
        return _MISSING

    def bind(self, value: Any, hint: str) -> ast.expr:
        """A name in the generated code that holds `value`."""
        key = self.interned.get(id(value))
        if key is None:
            key = f"_{hint}_{len(self.interned)}"
            self.interned[id(value)] = key
            self.space[key] = value
        return ast.Name(key, ast.Load())

    def place(self, node: ast.AST) -> ast.expr:
        return self.bind_place(self.source.place(node))

    def bind_place(self, place: Place) -> ast.expr:
        key = f"_at_{place.line}_{place.column}"
        self.space.setdefault(key, place)
        return ast.Name(key, ast.Load())

    def refuse(self, node: ast.AST, what: str, fix: str | None = None) -> KernelError:
        return refuse(self.source.place(node), what, fix)

    # ---- expressions -----------------------------------------------------------------------------------

    def expr(self, node: ast.expr) -> ast.expr:
        out = self._expr(node)
        return ast.copy_location(out, node)

    def _expr(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Constant):
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
            fn = "_and" if isinstance(node.op, ast.And) else "_or"
            return ast.Call(ast.Name(fn, ast.Load()), [self.expr(v) for v in node.values], [])
        if isinstance(node, ast.Compare):
            if self.kind(node.left) == "tensor" or self.kind(node.comparators[0]) == "tensor":
                raise self.refuse(node, "a comparison of tensors with an operator", "use pl.cmp / pl.cmps")
            self._check_categories(node, node.left, node.comparators[0])
            return ast.Compare(self.expr(node.left), node.ops, [self.expr(c) for c in node.comparators])
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        if isinstance(node, ast.List):
            items = [self.expr(e) for e in node.elts]
            constant = items and all(isinstance(i, ast.Constant) and type(i.value) is int for i in items)
            return ast.Tuple(items, ast.Load()) if constant else ast.List(items, ast.Load())
        if isinstance(node, ast.ListComp):
            return self._deps(node)
        if isinstance(node, ast.Tuple):
            return type(node)([self.expr(e) for e in node.elts], ast.Load())
        if isinstance(node, ast.JoinedStr):
            raise self.refuse(node, "an f-string in a kernel", "f-strings are for pl.static_print")
        raise self.refuse(node, f"{type(node).__name__} is not in the language")

    def _deps(self, node: ast.ListComp) -> ast.expr:
        """deps=[tids[i] for i in range(n)]."""
        loop = node.generators[0]
        plain = len(node.generators) == 1 and not loop.ifs and isinstance(loop.target, ast.Name)
        if not plain or not isinstance(loop.iter, ast.Call) or self.outside(loop.iter.func) is not range:
            raise self.refuse(node, "a comprehension in deps=", "deps=[tids[i] for i in range(n)]")
        added = loop.target.id not in self.locals
        self.locals.add(loop.target.id)
        self.kinds[loop.target.id] = "scalar"
        bounds = ast.Call(ast.Name("_range", ast.Load()), [self.expr(a) for a in loop.iter.args], [])
        out = ast.ListComp(self.expr(node.elt), [ast.comprehension(loop.target, bounds, [], 0)])
        if added:
            self.locals.discard(loop.target.id)
        return out

    def _name(self, node: ast.Name | ast.Attribute) -> ast.expr:
        if isinstance(node, ast.Name) and node.id in self.locals:
            if node.id in self.passed_on:
                called = self.passed_on[node.id]
                raise self.refuse(
                    node, f"'{node.id}' is read after '{called}' wrote it, by its old name",
                    f"bind what the call returns: {node.id} = {called}(...)",
                )  # fmt: skip
            return ast.Name(node.id, ast.Load())
        path = self.pl_path(node)
        if path is not None:
            value = self.outside(node)
            if value is _MISSING:
                raise self.unknown(node, path)
            if names.exists(path):
                raise self.refuse(node, f"pl.{path} without a call", "only its result can be used")
            return self.constant(value, path.replace(".", "_"))
        if isinstance(node, ast.Attribute):
            if node.attr in ("shape", "dtype") and self.outside(node.value) is _MISSING:
                return ast.Attribute(self.expr(node.value), node.attr, ast.Load())
            raise self.refuse(
                node, f"the attribute `{ast.unparse(node)}`",
                f"bind it to a name of the module: {node.attr.upper()} = {ast.unparse(node)}",
            )  # fmt: skip
        value = self.outside(node)
        if value is _MISSING:
            raise self.refuse(node, f"'{node.id}' is not defined")
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
        out = ast.BinOp(self.expr(node.left), node.op, self.expr(node.right))
        self._check_categories(node, node.left, node.right)
        if type(node.op) in CONSTANTS_ONLY and not self.facts.folds(node):
            sign, instead = CONSTANTS_ONLY[type(node.op)]
            raise self.refuse(node, f"`{sign}` is not in the language, but for constants", instead)
        return out

    def _check_categories(self, node: ast.expr, left: ast.expr, right: ast.expr) -> None:
        """Scalars of different categories do not meet, but in what is folded when the kernel is parsed."""
        a, b = category(self.facts.dtype(left)), category(self.facts.dtype(right))
        if isinstance(node, (ast.BinOp, ast.Call)) and "bool" in (a, b):
            raise self.refuse(
                left if a == "bool" else right, "the result of a comparison used as a number", "use if / else"
            )
        if a and b and a != b and not (self.facts.folds(left) and self.facts.folds(right)):
            raise self.refuse(
                node, f"an operator between {self.facts.dtype(left)} and {self.facts.dtype(right)} scalars",
                "pl.cast one of them",
            )  # fmt: skip

    def _unaryop(self, node: ast.UnaryOp) -> ast.expr:
        if self.kind(node.operand) == "tensor":
            raise self.refuse(node, "a unary operator on a tensor: operators are for scalars", "use pl.neg or pl.not_")
        if isinstance(node.op, ast.UAdd):
            raise self.refuse(node, "a unary + is not in the language", "remove it")
        value = self.expr(node.operand)
        if isinstance(node.op, ast.Not):
            return ast.Call(ast.Name("_not", ast.Load()), [value], [])
        return ast.UnaryOp(node.op, value)

    def _subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            return ast.Subscript(self.expr(node.value), self.expr(node.slice), ast.Load())
        return ast.Call(
            ast.Name("_getitem", ast.Load()),
            [ast.Name("_m", ast.Load()), self.place(node), self.expr(node.value),
             self._index(node.slice, node.value)], [],
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
                parts = [self.expr(p) if p else ast.Constant(None) for p in (i.lower, i.upper)]
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
                out.append(self.expr(i))
        return ast.Tuple(out, ast.Load())

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
        return int(constant) if not any(difference.values()) and constant == int(constant) else None

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

    # ---- calls -----------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> ast.expr:
        path = self.pl_path(node.func)
        if path is not None:
            return self._pl_call(node, path)
        value = self.outside(node.func)
        if value is _MISSING:
            raise self.refuse(node.func, f"'{ast.unparse(node.func)}' is not a kernel or an operation of pl")
        if value is min or value is max:
            raise self.refuse(node, f"Python's {value.__name__} in a kernel", f"use pl.{value.__name__}(a, b)")
        found = unwrap(value)
        if found is not None:
            raise self.refuse(
                node, f"the call of '{ast.unparse(node.func)}' is part of an expression",
                f"give its result a name of its own: y = {ast.unparse(node.func)}(...)",
            )  # fmt: skip
        raise self.refuse(
            node.func, f"'{ast.unparse(node.func)}' is a Python function: a kernel calls kernels and pl operations",
            "decorate it with @pl.jit.inline, or compute the value outside the kernel",
        )  # fmt: skip

    def _pl_call(self, node: ast.Call, path: str) -> ast.expr:
        if path == "const":
            return self.expr(node.args[0])
        if path.endswith(".get_byte"):  # pl.FP32.get_byte()
            return ast.Constant(self.outside(node.func)())
        if path in names.DIRECTIVES or path in ("cond", "yield_"):
            raise self.refuse(node, f"pl.{path} cannot stand here", DIRECTIVE_PLACE.get(path))
        fn = OPS.get(path)
        if fn is None:
            raise self.unknown(node.func, path)
        if self._of_scalars(node, path):
            self._check_categories(node, *node.args)
        of_scalar = self._of_scalars(node, path) or (
            path.endswith("cast") and node.args and self.kind(node.args[0]) != "tensor"
        )
        if not (self.incore or of_scalar or path in CONTROL_OPS or path.startswith(("system.", "array."))):
            raise self.misplaced(node, f"pl.{path}")
        key = "_op_" + path.replace(".", "_")
        self.space[key] = fn
        wrong = signatures.check(path, len(node.args), [k.arg for k in node.keywords])
        if wrong is not None:
            raise self.refuse(node, f"pl.{path}: {wrong}")
        self._check_numbers(node)
        self._check_left_number(node, path)
        self._check_operands(node, path)
        args, keywords = signatures.arranged(path, fn, node.args, node.keywords)
        return ast.Call(
            ast.Name(key, ast.Load()),
            [ast.Name("_m", ast.Load()), self.place(node), *(self.expr(a) for a in args)],
            [ast.keyword(k, self.expr(v)) for k, v in keywords.items()],
        )

    def _check_numbers(self, node: ast.Call) -> None:
        """Shapes, offsets and indices are lists of numbers."""
        for a in [*node.args, *(k.value for k in node.keywords if k.arg != "deps")]:
            for e in a.elts if isinstance(a, (ast.List, ast.Tuple)) else ():
                self._check_number(e)

    def _check_number(self, node: ast.expr) -> None:
        none = isinstance(node, ast.Constant) and not isinstance(node.value, (bool, int, float))
        none = none or (isinstance(node, ast.Attribute) and self.pl_path(node) is not None)
        if none or isinstance(node, (ast.List, ast.Tuple)) or self.kind(node) in ("tensor", "task"):
            raise self.refuse(node, f"`{ast.unparse(node)}` is no number", "shapes, offsets and bounds are numbers")

    def _of_scalars(self, node: ast.Call, path: str) -> bool:
        """True for pl.add and its like between numbers: another way to write the operator."""
        return path in SCALAR and len(node.args) == 2 and all(self.kind(a) == "scalar" for a in node.args)

    def _check_left_number(self, node: ast.Call, path: str) -> None:
        name = path.rsplit(".", 1)[-1]
        if name in elementwise.BINARY and len(node.args) == 2:
            if self.kind(node.args[0]) == "scalar" and self.kind(node.args[1]) == "tensor":
                raise self.refuse(node, f"pl.{path} with a number first", "put the tensor first and the number second")

    def _check_operands(self, node: ast.Call, path: str) -> None:
        """What PyPTO refuses from the types of an operation's arguments."""
        space, _, name = path.rpartition(".")
        given = [*node.args, *(k.value for k in node.keywords)]
        if name in elementwise.BINARY and len(node.args) == 2 and self.facts.level(node.args[0]):
            if self.facts.dtype(node.args[1]) == "INDEX" and not self.facts.folds(node.args[1]):
                raise self.refuse(
                    node.args[1], f"`{ast.unparse(node.args[1])}` is an INDEX scalar: tile instructions take none",
                    f"pl.cast({ast.unparse(node.args[1])}, pl.INT32)",
                )  # fmt: skip
        if name in signatures.TILE_SCRATCH and not space and node.args:
            self._check_scratch(node, name, len(given) > (2 if name in ("xor", "xors") else 1))
        if name == "cast" and self.incore:
            self._check_cast(node, given)
        if name == "set_validshape":
            for a in given[1:]:
                if self.facts.dtype(a) == "INT32":
                    raise self.refuse(node, f"the extent `{ast.unparse(a)}` is INT32", "pl.cast(n, pl.INDEX)")
        if not self.incore:
            return
        shape = SHAPED.get(name)
        if shape is not None:
            where = next((k.value for k in node.keywords if k.arg in ("shape", "shapes")), None)
            where = where or (node.args[shape] if len(node.args) > shape else None)
            for e in where.elts if isinstance(where, (ast.List, ast.Tuple)) else ():
                if self.facts.at_run_time(e) and not self.fixed(e, None):
                    raise self.refuse(
                        node, f"the extent `{ast.unparse(e)}` is known only at run time: a tile has a static shape",
                        "a constant extent, and valid_shape= or pl.set_validshape for a partial one",
                    )  # fmt: skip
        if name not in TAKES_TENSORS:
            for a in given:
                if isinstance(a, ast.Name) and self.dynamic.get(a.id):
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

    def _check_scratch(self, node: ast.Call, name: str, has: bool) -> None:
        """Tiles come with the scratch that an operation needs; for tensors the compiler makes it."""
        level, scratch = self.facts.level(node.args[0]), signatures.TILE_SCRATCH[name]
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

    def kernel_call(self, node: ast.Call) -> ast.expr | None:
        """The call of another kernel, which must be the whole value of a statement; None when it is no kernel."""
        member = self._member(node.func)
        value = self.outside(node.func) if self.pl_path(node.func) is None and member is None else member or _MISSING
        found = None if value is _MISSING else unwrap(value)
        if found is None:
            return None
        fn, kind, _ = found
        if isinstance(node.func, ast.Attribute) and member is None:
            raise self.refuse(node.func, "a kernel called as an attribute", f"from its module import {fn.__name__}")
        if kind in ("host", "extern"):
            what = "a C++ kernel" if kind == "extern" else "a host function of several chips"
            raise self.refuse(
                node, f"'{fn.__name__}' is {what} (@pl.jit.{kind}), which interpret mode does not run",
                "write it in the language, or run it with PyPTO",
            )  # fmt: skip
        if kind == "entry" and member is None:
            raise self.refuse(
                node, f"'{fn.__name__}' is a @pl.jit entry; an entry does not call another",
                "make the callee @pl.jit.inline, .incore or .opaque",
            )  # fmt: skip
        if kind in ("opaque", "incore") and self.incore and not self.dispatching:
            raise self.refuse(
                node, f"the {kind} function '{fn.__name__}' is called inside an InCore region", "make it .inline"
            )
        if fn in _IN_PROGRESS:
            raise self.refuse(node, f"'{fn.__name__}' calls itself", "loop: the device has no recursion")
        callee = compile_kernel(value, INCORE if self.incore or kind == "incore" else ORCHESTRATION)
        self.callees.append(callee)
        wanted = [p.name for p in callee.parameters]
        named = {k.arg: k.value for k in node.keywords}
        if list(named) != wanted[len(node.args) :] and sorted(map(str, named)) != sorted(wanted[len(node.args) :]):
            raise self.refuse(node, f"'{fn.__name__}' takes ({', '.join(wanted)})")
        given = [*node.args, *(named[n] for n in wanted[len(node.args) :])]
        for a, p in zip(given, callee.parameters):
            self._check_kernel_argument(a, p)
        args = [self.expr(a) for a in given]
        if kind == "inline":
            self._one_shape(node, fn, callee.parameters, args)
        target = self.bind(callee.run, fn.__name__)
        if kind == "incore" and not self.incore:
            return self.machine(
                "incore", [self.place(node), ast.Constant(fn.__name__), target, ast.Tuple(args, ast.Load())]
            )
        return ast.Call(target, [ast.Name("_m", ast.Load()), *args], [])

    def _one_shape(self, node: ast.Call, fn: Callable, parameters: list[Parameter], args: list[ast.expr]) -> None:
        """Have the machine check that an inline function sees tensors of one shape wherever it is called."""
        static = [i for i, p in enumerate(parameters) if p.type.kind == "tensor" and not _dynamic_axes(p.type)]
        if static:
            seen = [self.place(node), self.bind(fn, fn.__name__), *(args[i] for i in static)]
            args[static[0]] = self.machine("called", seen)

    def _member(self, node: ast.expr) -> Any:
        """The function of the program that `self.name` means, or None."""
        if self.program is None or not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            return None
        return self.program.functions.get(node.attr) if node.value.id == "self" else None

    def _dispatched(self, node: ast.expr) -> bool:
        """True for a kernel that `with pl.spmd` launches as a whole: of the program, or written in C++."""
        if self._member(node) is not None:
            return True
        found = unwrap(self.outside(node)) if isinstance(node, ast.Name) else None
        return found is not None and found[1] == "extern"

    def _submit(self, call: ast.Call, path: str) -> ast.expr:
        """`pl.submit(self.kernel, *args, deps=...)`: a task of that kernel; its results and its task id."""
        callee = self._member(call.args[0]) if call.args else None
        if callee is None:
            raise self.refuse(call, f"pl.{path} takes a kernel of the program first", f"pl.{path}(self.kernel, x, out)")
        keywords = self._keywords(
            call, ("deps", "dumps", "allow_early_resolve", "predicate", "core_num", "sync_start", "name_hint")
        )
        compiled = compile_kernel(callee, INCORE)
        self.callees.append(compiled)
        if len(call.args) - 1 != len(compiled.parameters):
            raise self.refuse(call, f"'{compiled.name}' takes {', '.join(p.name for p in compiled.parameters)}")
        if (path == "spmd_submit") != ("core_num" in keywords):
            raise self.refuse(call, "core_num= belongs to pl.spmd_submit, which needs it")
        args = ast.Tuple([self.expr(a) for a in call.args[1:]], ast.Load())
        passed = self._passed(keywords, deps="deps", early="allow_early_resolve", core_num="core_num")
        passed += self._predicate(keywords)
        target = self.bind(compiled.run, compiled.name)
        return self.machine("submit", [self.place(call), ast.Constant(compiled.name), target, args], passed)

    def _asks_extent(self, node: ast.expr) -> bool:
        """True when an expression reads the extent of a tensor: pl.tensor.dim(x, 0), x.shape[0], a pl.dynamic."""
        for n in ast.walk(node):
            if isinstance(n, ast.Call) and self.pl_path(n.func) in ("dim", "tensor.dim"):
                return True
            if isinstance(n, ast.Attribute) and n.attr == "shape":
                return True
            if isinstance(n, ast.Name) and type(self.outside(n)).__name__ == "DynVar":
                return True
        return False

    def _predicate(self, keywords: dict[str, ast.expr]) -> list[ast.keyword]:
        """predicate=(tensor[i] > n): read where the task would be dispatched, which here is now."""
        node = keywords.get("predicate")
        if node is None:
            return []
        literal = isinstance(node, ast.Compare) and self._is_constant(self.expr(node.comparators[0]))
        if not literal or not isinstance(node.left, ast.Subscript):
            raise self.refuse(node, "predicate= must be tensor[indices] compared with an integer literal")
        return [ast.keyword("predicate", self.expr(node))]

    def _check_kernel_argument(self, a: ast.expr, p: Parameter) -> None:
        """PyPTO infers the shape of a tensor argument from how its name was bound, not from what was computed."""
        if p.type.kind != "tensor":
            return
        if not isinstance(a, ast.Name):
            raise self.refuse(a, f"the tensor argument '{p.name}' is an expression", "bind it to a name first")
        if self.origin.get(a.id, "slice").rsplit(".", 1)[-1] not in NAMED_BY:
            raise self.refuse(
                a, f"the tensor argument '{a.id}' was made by a {self.origin[a.id]}: its shape is not inferred",
                "pass a parameter, a pl.create_tensor, a pl.slice, a reshape of a name or another kernel's result",
            )  # fmt: skip

    def machine(self, method: str, args: list[ast.expr], keywords: list[ast.keyword] | None = None) -> ast.Call:
        return ast.Call(ast.Attribute(ast.Name("_m", ast.Load()), method, ast.Load()), args, keywords or [])

    def unknown(self, node: ast.expr, path: str) -> KernelError:
        if names.exists(path):
            return self.refuse(node, f"pl.{path} is not supported by interpret mode yet")
        return self.refuse(node, f"pl.{path} is not a name of pypto.language")

    def misplaced(self, node: ast.expr, what: str) -> KernelError:
        return self.refuse(
            node, f"{what} outside an InCore region: orchestration launches tasks and computes nothing on tensors",
            "put it into `with pl.at(level=pl.Level.CORE_GROUP):` or into a @pl.jit.incore function",
        )  # fmt: skip

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
                if path in SCALAR_OPS or path == "const" or path.endswith(".get_byte") or self._of_scalars(node, path):
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

    # ---- statements ------------------------------------------------------------------------------------

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for s in body:
            for new in self.statement(s):
                out.append(ast.copy_location(new, s))
        return out

    def statement(self, s: ast.stmt) -> list[ast.stmt]:
        if isinstance(s, ast.Assign):
            return self._assign(s)
        if isinstance(s, ast.AnnAssign):
            if s.value is None:
                raise self.refuse(s, "a declaration without a value", "assign when the value is known")
            return self._annotated(s)
        if isinstance(s, ast.Expr):
            return self._expression(s)
        if isinstance(s, ast.For):
            return self._for(s)
        if isinstance(s, ast.If):
            return self._if(s)
        if isinstance(s, ast.With):
            return self._with(s)
        if isinstance(s, ast.Return):
            called = self.kernel_call(s.value) if isinstance(s.value, ast.Call) else None
            return [ast.Return(called or (self.expr(s.value) if s.value else None))]
        if isinstance(s, (ast.Pass, ast.Break, ast.Continue)):
            return [s]
        raise self.refuse(s, f"{type(s).__name__} is not in the language")

    def _nested(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """The body of a loop or of an arm of an if."""
        self.nested += 1
        self.frame.append(set())
        closed = rules.yields(body)  # what is bound in it does not reach beyond it, but for what it hands on
        if closed:
            self.types.append({})
        try:
            return self.block(body) or [ast.Pass()]
        finally:
            self.nested -= 1
            self.frame.pop()
            if closed:
                self.types.pop()

    def _annotated(self, s: ast.AnnAssign) -> list[ast.stmt]:
        """`t: pl.Tensor[[64, 64], pl.FP32] = value`: the value must be what the annotation says."""
        want = self._annotation(s.annotation, ast.unparse(s.target))
        out = self._assign(ast.copy_location(ast.Assign([s.target], s.value), s))
        if want.kind in ("tensor", "tile") and isinstance(s.target, ast.Name):
            name = ast.Name(s.target.id, ast.Load())
            args = [ast.Name("_m", ast.Load()), self.place(s.annotation), name, self.bind(want, "type")]
            out.append(ast.Expr(ast.Call(ast.Name("_typed", ast.Load()), args, [])))
        elif want.dtype is not None and isinstance(s.target, ast.Name):
            self.facts.scalars[s.target.id] = want.dtype.name
        return out

    def _assign_name(self, node: ast.AST, name: str, value: ast.expr) -> ast.stmt:
        return ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), node)

    def _note(self, target: ast.expr, kind: str) -> None:
        if isinstance(target, ast.Name):
            old = self.kinds.get(target.id)
            self.kinds[target.id] = kind if old in (None, kind) else "any"
        elif isinstance(target, (ast.Tuple, ast.List)):
            for t in target.elts:
                self._note(t, "any")

    def _assign(self, s: ast.Assign) -> list[ast.stmt]:
        if len(s.targets) != 1:
            raise self.refuse(s, "an assignment to several targets", "assign one name at a time")
        target = s.targets[0]
        if isinstance(s.value, ast.Call) and self.pl_path(s.value.func) == "yield_":
            return self._yield(s.value, target)
        if isinstance(target, ast.Subscript):
            return self._store(target, s.value)
        self._check_target(target)
        called = self._launch(s.value) if isinstance(s.value, ast.Call) else None
        if called is not None:
            self._note(target, "any")
            for name in rules.names_in(target):
                self.origin.pop(name, None)
                self.passed_on.pop(name, None)
            self.facts.forget(rules.names_in(target))
            return [ast.Assign([target], called)]
        self._check_value(target, s.value)
        value = self.expr(s.value)
        self._note(target, self.kind(s.value))
        if isinstance(target, ast.Name):
            self._keeps_type(s, target)
        if isinstance(target, ast.Name):
            self._remember(target.id, s.value, value)
            value = self._same_type(s, target.id, value)
        else:
            self.facts.forget(rules.names_in(target))
            if isinstance(s.value, ast.Attribute) and s.value.attr == "shape":
                self.unrolled |= {n for n in rules.names_in(target) if self.bindings[n] == 1}
        self.frame[-1] |= rules.names_in(target)
        return [ast.Assign([target], value)]

    def _type(self, node: ast.expr) -> tuple:
        """What is certain of the type of a value: (scalar, tile or tensor; element type; extents)."""
        scalar = self.facts.dtype(node)
        if scalar is not None:
            return "scalar", scalar, None
        level = self.facts.level(node)
        return (level, self.facts.element(node), self.facts.shape(node)) if level is not None else (None, None, None)

    def _keeps_type(self, s: ast.Assign, target: ast.Name) -> None:
        """A variable has one type in all of a function (see `variables`)."""
        variable = self.variables.get(id(target))
        if variable is None:
            return
        new = self._type(s.value)
        old = next((scope[variable] for scope in reversed(self.types) if variable in scope), None)
        if old is None:
            self.types[-1][variable] = new
        elif not _compatible(old, new):
            raise self.refuse(
                s, f"'{target.id}' is {_described(new)} here and {_described(old)} where it was bound before",
                "use another name",
            )  # fmt: skip

    def _same_type(self, s: ast.stmt, name: str, value: ast.expr) -> ast.expr:
        """In a loop or branch of a region, a name bound before keeps its shape and element type."""
        before = set().union(*self.frame[:-1])
        if not (self.incore and self.nested and name in before) or self.kind(s.value) == "scalar":
            return value
        self.checked.add(name)
        args = [ast.Name("_m", ast.Load()), self.place(s), ast.Constant(name), ast.Name(name, ast.Load()), value]
        return ast.Call(ast.Name("_rebound", ast.Load()), args, [])

    def _launch(self, call: ast.Call) -> ast.expr | None:
        """A call that is the whole value of a statement: of a kernel, or of pl.submit; None for any other."""
        path = self.pl_path(call.func)
        if path in ("submit", "spmd_submit"):
            return self._submit(call, path)
        return self.kernel_call(call)

    def _check_value(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(value, ast.Constant) and not isinstance(value.value, (bool, int, float)):
            raise self.refuse(value, f"{value.value!r} bound to a name", "only numbers, tensors and tiles have names")
        if isinstance(value, ast.Attribute) and self.pl_path(value) is not None:
            raise self.refuse(value, f"`{ast.unparse(value)}` bound to a name", "write it where it is used")
        if isinstance(value, (ast.List, ast.Tuple)) and isinstance(target, ast.Name):
            raise self.refuse(value, "a list or tuple bound to a name", "write it where it is used")
        if isinstance(value, (ast.List, ast.Tuple)) and self.incore:
            raise self.refuse(value, "several values assigned at once in an InCore region", "assign one name at a time")

    def _remember(self, name: str, source: ast.expr, value: ast.expr) -> None:
        """How a name was bound, and its value when that is a constant."""
        self.origin.pop(name, None)
        self.passed_on.pop(name, None)
        self.facts.bind(name, source)
        self.computed.discard(name)
        if isinstance(source, ast.BinOp) and (
            self._asks_extent(source) or any(isinstance(n, ast.Name) and n.id in self.extents for n in ast.walk(source))
        ):
            self.computed.add(name)
        self.extents.discard(name)
        if isinstance(source, ast.Call) and self.pl_path(source.func) in ("dim", "tensor.dim"):
            self.extents.add(name)
        if isinstance(source, ast.Call) and self.pl_path(source.func) is not None:
            path = self.origin[name] = self.pl_path(source.func)
            if path in ("reshape", "tensor.reshape") and source.args and not isinstance(source.args[0], ast.Name):
                self.origin[name] = "reshape of an expression"
            if path in ("create_tensor", "tensor.create", "tensor.create_tensor") and self._computes_extent(source):
                self.origin[name] = f"{path} of a computed extent"
        if isinstance(source, ast.Subscript) and self.incore and self.facts.at_run_time(source.slice):
            self.origin[name] = "subscript at an offset of run time"
        form = linear(value)
        if self.bindings[name] == 1 and all(a == "" or (a.isidentifier() and self.bindings[a] <= 1) for a in form):
            self.forms[name] = self._expanded(form)

    def _computes_extent(self, call: ast.Call) -> bool:
        """True when the shape of a pl.create_tensor has an extent that PyPTO's specializer cannot name: it knows
        constants, pl.dynamic names, and names bound to pl.tensor.dim and nothing else."""
        shape = next((k.value for k in call.keywords if k.arg == "shape"), call.args[0] if call.args else None)
        for e in shape.elts if isinstance(shape, (ast.List, ast.Tuple)) else ():
            if not isinstance(e, ast.Name) and self._asks_extent(e):
                return True
            if isinstance(e, ast.Name) and e.id in self.computed:
                return True
        return False

    def _check_target(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            return
        if isinstance(target, (ast.Tuple, ast.List)):
            for t in target.elts:
                self._check_target(t)
            return
        raise self.refuse(target, f"an assignment to {ast.unparse(target)}", "assign to a name or a subscript")

    def _store(self, target: ast.Subscript, value: ast.expr) -> list[ast.stmt]:
        if not isinstance(target.value, ast.Name):
            raise self.refuse(target, "an assignment to a subscript of an expression", "name the tensor first")
        name = target.value.id
        if self.incore and {self.facts.level(target.value), self.facts.level(value)} == {"tile", "tensor"}:
            raise self.refuse(target, "a tile assigned to a window of a tensor", f"pl.store(tile, [...], {name})")
        self.frame[-1].add(name)
        call = ast.Call(
            ast.Name("_setitem", ast.Load()),
            [ast.Name("_m", ast.Load()), self.place(target), self.expr(target.value),
             self._index(target.slice, target.value), self.expr(value)], [],
        )  # fmt: skip
        return [ast.Assign([ast.Name(name, ast.Store())], ast.copy_location(call, target))]

    def _yield(self, call: ast.Call, target: ast.expr | None) -> list[ast.stmt]:
        values = [self.expr(a) for a in call.args]
        value = values[0] if len(values) == 1 else ast.Tuple(values, ast.Load())
        if target is None:
            return [ast.Expr(value)]
        self._check_target(target)
        self._note(target, self.kind(call.args[0]) if len(call.args) == 1 else "any")
        return [ast.Assign([target], value)]

    def _expression(self, s: ast.Expr) -> list[ast.stmt]:
        if isinstance(s.value, ast.Constant):
            if isinstance(s.value.value, str):
                return []  # a docstring
            raise self.refuse(s, "a bare value as a statement", "remove it")
        if isinstance(s.value, ast.Call):
            path = self.pl_path(s.value.func)
            if path in ("func_attr", "dump_tag", "tensor.dump_tag"):
                return []
            if path == "static_print":
                return [ast.Expr(ast.Call(self.bind(print, "print"), [self.bind_place(self.source.place(s)), *(
                    ast.Constant(ast.unparse(a)) for a in s.value.args)], []))]  # fmt: skip
            if path == "static_assert":
                return self._static_assert(s.value)
            if path == "yield_":
                return self._yield(s.value, None)
            if isinstance(s.value.func, ast.Attribute) and s.value.func.attr == "bind_dynamic":
                return self._bind_dynamic(s.value, s.value.func)
            called = self._launch(s.value)
            if called is not None:
                self._discarded(s.value)
                return [ast.Expr(called)]
        return [ast.Expr(self.expr(s.value))]

    def _discarded(self, call: ast.Call) -> None:
        """The result of an incore function is not bound: its outputs cannot be read by their old names."""
        found = unwrap(self.outside(call.func)) if self.pl_path(call.func) is None else None
        if found is None or found[1] != "incore":
            return
        for a, p in zip(call.args, compile_kernel(self.outside(call.func)).parameters):
            if p.type.direction != "In" and isinstance(a, ast.Name):
                self.passed_on[a.id] = found[0].__name__

    def _bind_dynamic(self, call: ast.Call, func: ast.Attribute) -> list[ast.stmt]:
        """`x.bind_dynamic(axis, M)`: the extent of that axis is M, a pl.dynamic of the module."""
        if len(call.args) != 2 or call.keywords or not isinstance(func.value, ast.Name):
            raise self.refuse(call, "bind_dynamic takes an axis and a pl.dynamic")
        name = getattr(self.outside(call.args[1]), "name", None)
        if name is None:
            raise self.refuse(call.args[1], f"`{ast.unparse(call.args[1])}` is no pl.dynamic of the module")
        args = [self.place(call), self.expr(func.value), self.expr(call.args[0]), ast.Constant(name)]
        return [ast.Expr(self.machine("bind_dynamic", args))]

    def _condition(self, test: ast.expr) -> ast.expr:
        if self.kind(test) in ("scalar", "tensor"):
            raise self.refuse(
                test, f"`{ast.unparse(test)}` as a condition is not a comparison", f"write {ast.unparse(test)} != 0"
            )
        return self.expr(test)

    def _static_assert(self, call: ast.Call) -> list[ast.stmt]:
        if not 1 <= len(call.args) <= 2:
            raise self.refuse(call, "pl.static_assert takes a condition and a message")
        message = call.args[1] if len(call.args) > 1 else ast.Constant("")
        if not isinstance(message, ast.Constant) or not isinstance(message.value, str):
            raise self.refuse(message, "the message of pl.static_assert must be a string literal")
        fail = self.refuse(call, f"static_assert failed: {message.value or ast.unparse(call.args[0])}")
        raiser = self.bind(_raiser(fail), "fail")
        return [ast.If(ast.UnaryOp(ast.Not(), self.expr(call.args[0])), [ast.Expr(ast.Call(raiser, [], []))], [])]

    def _if(self, s: ast.If) -> list[ast.stmt]:
        test = self._condition(s.test)
        kinds, facts = dict(self.kinds), self.facts.copy()
        body = self._nested(s.body)
        self.kinds = {**kinds, **self.kinds}
        after = self.facts.copy()
        self.facts.restore(facts)
        orelse = self._nested(s.orelse) if s.orelse else []
        self.facts.merge(after)
        return [ast.If(test, body, orelse)]

    # ---- loops -----------------------------------------------------------------------------------------

    def _for(self, s: ast.For) -> list[ast.stmt]:
        call = s.iter
        path = self.pl_path(call.func) if isinstance(call, ast.Call) else None
        if path not in LOOPS:
            if isinstance(call, ast.Call) and self.outside(call.func) is range:
                raise self.refuse(
                    call, "Python's range in a kernel", "use pl.range (or pl.parallel, pl.unroll, pl.pipeline)"
                )
            raise self.refuse(s.iter, "a loop over something else than a pl loop", "use for i in pl.range(n)")
        if path == "spmd":
            return self._spmd(s, call, s.target, s.body)
        if path == "while_":
            return self._while(s, call)
        if path == "split_aiv":
            return self._split_aiv(s, call)
        return self._counted(s, call, path)

    def _split_aiv(self, s: ast.For, call: ast.Call) -> list[ast.stmt]:
        """`for aiv_id in pl.split_aiv(2, mode=...)`: the body once for each of the two vector lanes of a cluster."""
        keywords = self._keywords(call, ("mode",))
        if not self.incore:
            raise self.refuse(call, "pl.split_aiv outside an InCore region")
        if not isinstance(s.target, ast.Name):
            raise self.refuse(s.target, "the lane index must be one name")
        mode = ast.unparse(keywords["mode"]).rsplit(".", 1)[-1] if "mode" in keywords else "NONE"
        self.kinds[s.target.id] = "scalar"
        iterator = self.machine("split_aiv", [ast.Constant(mode)])
        return [ast.For(s.target, ast.copy_location(iterator, call), self.block(s.body) or [ast.Pass()], [])]

    def _keywords(self, call: ast.Call, allowed: tuple[str, ...]) -> dict[str, ast.expr]:
        path = self.pl_path(call.func)
        out = {}
        for k in call.keywords:
            if k.arg not in allowed:
                raise self.refuse(
                    k.value, f"pl.{path} has no keyword '{k.arg}'", f"it takes {', '.join(allowed) or 'no keywords'}"
                )
            out[k.arg] = k.value
        return out

    def _counted(self, s: ast.For, call: ast.Call, path: str) -> list[ast.stmt]:
        allowed = {"pipeline": ("stage", "init_values", "attrs"), "unroll": ()}.get(path, ("init_values", "attrs"))
        keywords = self._keywords(call, allowed)
        if not 1 <= len(call.args) <= 3:
            raise self.refuse(call, f"pl.{path} takes (stop), (start, stop) or (start, stop, step)")
        if path == "pipeline" and not self.incore:
            raise self.refuse(
                call, "pl.pipeline outside an InCore region", "use pl.range or pl.parallel in orchestration"
            )
        bounds = [self.expr(a) for a in call.args]
        for a in call.args:
            self._check_number(a)
            if category(self.facts.dtype(a)) == "float":
                raise self.refuse(a, "a bound of a loop that is no integer", "use //, or pl.cast(n, pl.INDEX)")
        if path == "unroll" and not all(self.facts.folds(a) for a in call.args):
            raise self.refuse(call, "pl.unroll needs bounds that are known when the kernel is parsed", "use pl.range")
        if len(bounds) == 3 and self._is_constant(bounds[2]) and self._evaluate(bounds[2]) <= 0:
            raise self.refuse(call.args[2], "a loop whose step is not positive", "count up and compute the index")
        if len(bounds) == 3 and not self._is_constant(bounds[2]):
            bounds[2] = self.machine("stride", [self.place(call.args[2]), bounds[2]])
        if path == "pipeline":
            stage = keywords.get("stage")
            if stage is None:
                raise self.refuse(call, "pl.pipeline needs stage=", "pl.pipeline(n, stage=2)")
            value = self.expr(stage)
            if not (self._is_constant(value) and self._evaluate(value) >= 1):
                raise self.refuse(stage, "stage= must be a positive integer literal")
            iterator: ast.expr = self.machine("pipeline", [self.place(call), *bounds], [ast.keyword("stage", value)])
        else:
            iterator = self._range(path, bounds)
        iterator = ast.copy_location(iterator, call)
        target, carried = self._loop_target(s, keywords.get("init_values"))
        if path in ("parallel", "unroll"):
            self._check_no_break(s.body, f"pl.{path}")
        self.kinds[target.id] = "scalar"
        self.facts.forget(live.stores(s.body) | set(carried))
        self.facts.counter(target.id)
        if path == "unroll" and self.bindings[target.id] == 1:
            self.unrolled.add(target.id)
        if path in ("parallel", "range") and not self.incore and hasattr(s, "needed"):
            return self._turns(s, call, bounds, path == "range")
        if keywords.get("init_values") is None:
            return [ast.For(target, iterator, self._nested(s.body), [])]
        before, body = self._carry(s, carried, keywords["init_values"], s.body)
        return [*before, ast.For(target, iterator, body, [])]

    def _check_no_break(self, body: list[ast.stmt], loop: str) -> None:
        """No break or continue of this loop itself."""
        for s in body:
            if isinstance(s, (ast.Break, ast.Continue)):
                word = "break" if isinstance(s, ast.Break) else "continue"
                raise self.refuse(s, f"{word} in {loop}", "use pl.range, or put the rest into an if")
            if isinstance(s, (ast.If, ast.With)):
                self._check_no_break([*s.body, *getattr(s, "orelse", [])], loop)

    def _turns(self, s: ast.For, call: ast.Call, bounds: list[ast.expr], sequential: bool) -> list[ast.stmt]:
        """A loop of orchestration: its body becomes a function that the machine runs, in batches or not."""
        captured = sorted({*s.needed, *s.live_after})
        function = f"_turns_{call.lineno}_{call.col_offset}"
        define = self._function(function, s.target.id, captured, s.body, self._nested)
        values = _names(captured, ast.Load())
        args = [self.place(call), ast.Tuple(bounds, ast.Load()), ast.Name(function, ast.Load()), values]
        launch = ast.copy_location(self.machine("turns", [*args, ast.Constant(sequential)]), call)
        result = ast.Assign([_names(captured, ast.Store())], launch) if captured else ast.Expr(launch)
        return [ast.copy_location(define, s), result]

    def _function(
        self, name: str, index: str, captured: list[str], source: list[ast.stmt],
        lower: Callable[[list[ast.stmt]], list[ast.stmt]],
    ) -> ast.FunctionDef:  # fmt: skip
        """`def name(_m, index, *captured)` that returns what `captured` hold at its end; `lower` makes its body."""
        around = self.frame, self.checked
        self.frame, self.checked = [{index, *captured}], set()
        body = lower(source)
        arguments = ast.arguments(
            posonlyargs=[], args=[ast.arg("_m"), ast.arg(index), *(ast.arg(n) for n in captured)], kwonlyargs=[],
            kw_defaults=[], defaults=[],
        )  # fmt: skip
        unbound = sorted((_handed_on(source) | self.checked) - {index, *captured})
        blanks = [self._assign_name(source[0], n, ast.Constant(None)) for n in unbound]
        self.frame, self.checked = around
        end = ast.Return(_names(captured, ast.Load()))
        return ast.FunctionDef(name=name, args=arguments, body=[*blanks, *body, end], decorator_list=[])

    def _range(self, path: str, bounds: list[ast.expr]) -> ast.expr:
        """What a loop iterates over: Python's range in a region; in orchestration the machine keeps count of loops."""
        if self.incore or path == "unroll":
            return ast.Call(ast.Name("_range", ast.Load()), bounds, [])
        return self.machine("loop", bounds)

    def _loop_target(self, s: ast.For, init: ast.expr | None) -> tuple[ast.Name, list[str]]:
        if init is None:
            if not isinstance(s.target, ast.Name):
                raise self.refuse(s.target, "the loop variable must be one name", "carry values with init_values=(...)")
            return s.target, []
        ok = isinstance(s.target, ast.Tuple) and len(s.target.elts) == 2 and isinstance(s.target.elts[0], ast.Name)
        if not ok or not isinstance(s.target.elts[1], ast.Tuple):
            raise self.refuse(s.target, "a loop with init_values needs `for i, (a, b) in ...`")
        return s.target.elts[0], self._carried_names(s.target.elts[1])

    def _carried_names(self, target: ast.Tuple) -> list[str]:
        if not all(isinstance(e, ast.Name) for e in target.elts):
            raise self.refuse(target, "carried values must be names")
        return [e.id for e in target.elts]

    def _carry(self, s: ast.stmt, names_: list[str], init: ast.expr, body: list[ast.stmt]) -> tuple[list, list]:
        """Statements before a loop with carried values, and its body: the last statement hands them on."""
        if not isinstance(init, (ast.Tuple, ast.List)) or len(init.elts) != len(names_):
            raise self.refuse(init, f"init_values must be a tuple of {len(names_)} values")
        before = []
        for n, v in zip(names_, init.elts):
            self._note(ast.Name(n, ast.Store()), self.kind(v))
            before.append(self._assign_name(s, n, self.expr(v)))
        self.types.append(dict.fromkeys(names_, (None, None, None)))
        try:
            return self._carried_body(s, before, names_, body)
        finally:
            self.types.pop()

    def _carried_body(self, s: ast.stmt, before: list, names_: list[str], body: list[ast.stmt]) -> tuple[list, list]:
        last, results = body[-1] if body else None, None
        if (
            isinstance(last, ast.Assign)
            and isinstance(last.value, ast.Call)
            and self.pl_path(last.value.func) == "yield_"
        ):
            t = last.targets[0]
            results = [t.id] if isinstance(t, ast.Name) else [e.id for e in t.elts]
        if results is None:
            return before, self.block(body) or [ast.Pass()]
        if len(results) != len(names_):
            raise self.refuse(last, f"pl.yield_ of {len(results)} values in a loop that carries {len(names_)}")
        for r, n in zip(results, names_):  # with no iteration, the result is the initial value
            before.append(self._assign_name(s, r, ast.Name(n, ast.Load())))
            self.kinds.setdefault(r, self.kinds.get(n, "any"))
        lowered = self.block(body)
        for r, n in zip(results, names_):
            lowered.append(self._assign_name(last, n, ast.Name(r, ast.Load())))
        return before, lowered

    def _while(self, s: ast.For, call: ast.Call) -> list[ast.stmt]:
        keywords = self._keywords(call, ("init_values",))
        if call.args or "init_values" not in keywords:
            raise self.refuse(call, "pl.while_ takes init_values=(...) only", "put the condition into pl.cond(...)")
        if not isinstance(s.target, ast.Tuple):
            raise self.refuse(s.target, "pl.while_ needs `for (x,) in ...`")
        first = s.body[0]
        is_cond = isinstance(first, ast.Expr) and isinstance(first.value, ast.Call)
        if not is_cond or self.pl_path(first.value.func) != "cond" or len(first.value.args) != 1:
            raise self.refuse(first, "the first statement of pl.while_ must be pl.cond(condition)")
        carried = self._carried_names(s.target)
        before, body = self._carry(s, carried, keywords["init_values"], s.body[1:])
        return [*before, ast.While(self.expr(first.value.args[0]), body, [])]

    def _is_constant(self, node: ast.expr) -> bool:
        return all(
            isinstance(n, (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)) for n in ast.walk(node)
        )

    def _evaluate(self, node: ast.expr) -> Any:
        return eval(compile(ast.fix_missing_locations(ast.Expression(node)), "<constant>", "eval"))

    # ---- scopes ----------------------------------------------------------------------------------------

    def _with(self, s: ast.With) -> list[ast.stmt]:
        if len(s.items) != 1:
            raise self.refuse(s, "several context managers in one with", "nest them")
        item = s.items[0]
        call = item.context_expr
        path = self.pl_path(call.func) if isinstance(call, ast.Call) else None
        if item.optional_vars is not None and not isinstance(item.optional_vars, ast.Name):
            raise self.refuse(item.optional_vars, "`as` takes one name")
        if path == "at":
            return self._at(s, call, item.optional_vars)
        if path == "spmd":
            return self._spmd(s, call, None, s.body, item.optional_vars)
        if path in ("scope", "manual_scope"):
            if self.incore:
                raise self.refuse(s, f"pl.{path} inside an InCore region", "scopes belong to orchestration")
            manual = path == "manual_scope" or any("MANUAL" in ast.unparse(k.value) for k in call.keywords)
            if not manual and self.auto_scope and self.function_kind == "entry" and self.program is None:
                raise self.refuse(
                    call,
                    "pl.scope in a function that has automatic scopes",
                    "decorate it with @pl.jit(auto_scope=False)",
                )
            return [self._with_machine("scope", [ast.Constant(manual)], [], None, self.block(s.body))]
        if path == "cluster":
            return self.block(s.body)
        raise self.refuse(call, "this context manager is not in the language", "use pl.at, pl.spmd or pl.scope")

    def _with_machine(self, method: str, args: list, keywords: list, bound: ast.Name | None, body: list) -> ast.With:
        return ast.With([ast.withitem(self.machine(method, args, keywords), bound)], body or [ast.Pass()])

    def _at(self, s: ast.With, call: ast.Call, bound: ast.Name | None) -> list[ast.stmt]:
        keywords = self._keywords(call, (
            "level", "role", "optimizations", "name_hint", "deps", "no_dep_args", "dumps", "allow_early_resolve",
            "windowize",
        ))  # fmt: skip
        level = keywords.get("level", call.args[0] if call.args else None)
        if level is None:
            raise self.refuse(call, "pl.at needs a level", "pl.at(level=pl.Level.CORE_GROUP)")
        if not ast.unparse(level).endswith("CORE_GROUP"):
            raise self.refuse(
                level, f"pl.at at {ast.unparse(level)}: interpret mode runs one chip", "pl.Level.CORE_GROUP"
            )
        split = self._split(keywords.get("optimizations"))
        if self.incore:
            raise self.refuse(
                call, "pl.at inside an InCore region", "one region is one task: write them one after the other"
            )
        name = self._task_name(keywords, call, "incore")
        passed = self._passed(keywords, deps="deps", early="allow_early_resolve", no_dep_args="no_dep_args") + split
        body = self._incore_block(s.body)
        for n in s.live_after:
            export = self.machine("export", [self.place(call), ast.Name(n, ast.Load())])
            body.append(self._assign_name(s.body[-1], n, export))
        if bound is not None:
            self.kinds[bound.id] = "task"
        return [self._with_machine("at", [self.place(call), ast.Constant(name)], passed, bound, body)]

    def _passed(self, keywords: dict[str, ast.expr], **names_: str) -> list[ast.keyword]:
        """Keywords of a scope that the machine takes too: its name = the language's."""
        return [ast.keyword(mine, self.expr(keywords[theirs])) for mine, theirs in names_.items() if theirs in keywords]

    def _incore_block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        self.incore, around, self.nested = True, self.nested, 0
        try:
            return self.block(body) or [ast.Pass()]
        finally:
            self.incore, self.nested = self.plane == INCORE, around

    def _task_name(self, keywords: dict, call: ast.Call, fallback: str) -> str:
        hint = keywords.get("name_hint")
        if hint is None:
            return f"{self.fn.__name__}_{fallback}_{call.lineno}"
        name = hint.value if isinstance(hint, ast.Constant) and isinstance(hint.value, str) else ""
        if not name.isidentifier() or keyword.iskeyword(name):
            raise self.refuse(hint, "name_hint must be a string literal that is an identifier and no keyword")
        return hint.value

    def _split(self, node: ast.expr | None) -> list[ast.keyword]:
        """Check `optimizations=`; what of it the machine takes: the mode of a pl.split."""
        if node is None:
            return []
        found = []
        if not isinstance(node, ast.List):
            raise self.refuse(node, "optimizations= must be a list written in place")
        for e in node.elts:
            path = self.pl_path(e.func) if isinstance(e, ast.Call) else None
            if path not in ("split", "cross_core_slot"):
                raise self.refuse(
                    e, "this entry of optimizations= is not known", "pl.split(mode) or pl.cross_core_slot(slot_num=n)"
                )
            if path == "split" and (e.args or e.keywords):
                mode = e.args[0] if e.args else e.keywords[0].value
                found = [ast.keyword("split", ast.Constant(ast.unparse(mode).rsplit(".", 1)[-1]))]
        return found

    def _spmd(
        self, s: ast.stmt, call: ast.Call, target: ast.expr | None, body: list[ast.stmt], bound: ast.Name | None = None
    ) -> list[ast.stmt]:
        keywords = self._keywords(call, (
            "core_num", "name_hint", "optimizations", "sync_start", "deps", "predicate", "allow_early_resolve",
        ))  # fmt: skip
        if self.incore:
            raise self.refuse(
                call, "pl.spmd inside an InCore region", "pl.spmd launches tasks: write it in orchestration"
            )
        if "deps" in keywords and bound is None:
            raise self.refuse(
                keywords["deps"], "deps= on a pl.spmd without `as tid`", "with pl.spmd(n, deps=[...]) as tid:"
            )
        count = keywords.get("core_num", call.args[0] if call.args else None)
        if count is None or len(call.args) > 1:
            raise self.refuse(call, "pl.spmd takes the number of blocks", "pl.spmd(n)")
        self._check_number(count)
        if self.function_kind == "inline" and self._asks_extent(count):
            raise self.refuse(
                count, "the number of blocks reads an extent inside an inline function",
                f"n = {ast.unparse(count)} on a line of its own, and pl.spmd(n)",
            )  # fmt: skip
        split = self._split(keywords.get("optimizations"))
        dispatches = any(self._dispatched(n.func) for b in body for n in ast.walk(b) if isinstance(n, ast.Call))
        if target is None and not dispatches and not any("get_block_idx" in ast.unparse(b) for b in body):
            raise self.refuse(
                call, "the body of `with pl.spmd` does not read its block index: every block would do the same",
                "read pl.tile.get_block_idx(), or write `for i in pl.spmd(n):`",
            )  # fmt: skip
        if target is not None and not isinstance(target, ast.Name):
            raise self.refuse(target, "the block index must be one name")
        name = self._task_name(keywords, call, "spmd")
        index = target.id if target is not None else "_block"
        self._check_no_break(body, "pl.spmd")
        self.kinds[index] = "scalar"
        self.facts.counter(index)
        function = f"_blocks_{call.lineno}_{call.col_offset}"
        captured = sorted({*s.needed, *s.live_after})
        self.dispatching = dispatches
        define = self._function(function, index, captured, body, self._incore_block)
        self.dispatching = False
        extra = self._passed(keywords, deps="deps", early="allow_early_resolve", sync_start="sync_start")
        extra += self._predicate(keywords) + split
        launch = self.machine("spmd", [
            self.place(call), self.expr(count), ast.Name(function, ast.Load()),
            _names(captured, ast.Load()), ast.Constant(name),
        ], extra)  # fmt: skip
        out = _names(captured, ast.Store())
        tid = ast.Name(bound.id if bound is not None else "_tid", ast.Store())
        if bound is not None:
            self.kinds[bound.id] = "task"
        return [
            ast.copy_location(define, s),
            ast.Assign([ast.Tuple([tid, out], ast.Store())], ast.copy_location(launch, call)),
        ]


# Operations that take tensors as they are, and where operations that make a tile have its shape.
TAKES_TENSORS = {
    "slice", "load", "store", "assemble", "read", "write", "dim", "view", "no_dep", "gather_row", "paged_gather",
    "mgather", "mscatter", "scatter_update", "create_tensor", "reshape", "transpose", "reinterpret_view", "matmul",
    "matmul_acc", "gather", "scatter",
}  # fmt: skip
SHAPED = {"full": 0, "slice": 1, "load": 2, "create_tile": 0}


def _compatible(old: tuple, new: tuple) -> bool:
    """False when two types, as far as they are certain, differ."""
    (kind, element, shape), (kind2, element2, shape2) = old, new
    if kind is None or kind2 is None:
        return True
    if kind != kind2 or (element is not None and element2 is not None and element != element2):
        return False
    if shape is None or shape2 is None:
        return True
    return len(shape) == len(shape2) and all(a is None or b is None or a == b for a, b in zip(shape, shape2))


def _described(t: tuple) -> str:
    kind, element, shape = t
    extents = "" if shape is None else f" [{', '.join('?' if n is None else str(n) for n in shape)}]"
    return f"a {kind}{extents} {element or ''}".rstrip()


DIRECTIVE_PLACE = {
    "cond": "it is the first statement of a pl.while_ loop",
    "yield_": "assign it: x = pl.yield_(value)",
    "at": "write `with pl.at(...):`",
    "range": "write `for i in pl.range(...):`",
}


def _raiser(error: KernelError) -> Callable:
    def fail() -> None:
        raise error

    return fail


def _dynamic_axes(t: annotations.Type) -> set[int]:
    return {i for i, n in enumerate(t.shape or ()) if isinstance(n, annotations.Dim)}


def _dim(m: Any, name: str) -> int:
    return m.dims[name]


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


def _handed_on(body: list[ast.stmt]) -> set[str]:
    """Names that regions in `body` take in or hand on; they are bound to None until something binds them."""
    nodes = [n for s in body for n in ast.walk(s) if hasattr(n, "live_after")]
    return {name for n in nodes for name in (*n.live_after, *n.needed)}


def _names(names_: list[str], context: ast.expr_context) -> ast.Tuple:
    return ast.Tuple([ast.Name(n, context) for n in names_], context)


def linear(node: ast.expr) -> dict[str, float]:
    """An integer expression as {atom: coefficient}; "" is the constant term, other atoms are source text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return {"": node.value}
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        out = dict(linear(node.left))
        sign = 1 if isinstance(node.op, ast.Add) else -1
        for atom, n in linear(node.right).items():
            out[atom] = out.get(atom, 0) + sign * n
        return out
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        a, b = linear(node.left), linear(node.right)
        for factor, rest in ((a, b), (b, a)):
            if factor.keys() <= {""}:
                return {atom: n * factor.get("", 0) for atom, n in rest.items()}
    if isinstance(node, (ast.BinOp, ast.UnaryOp)) and all(
        isinstance(n, (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)) for n in ast.walk(node)
    ):
        return {"": eval(compile(ast.fix_missing_locations(ast.Expression(node)), "<constant>", "eval"))}
    return {ast.unparse(node): 1}
