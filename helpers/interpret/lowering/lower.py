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
import traceback
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from helpers.errors import KernelError, WorkbookError
from helpers.interpret.checks import returns, rules, task_ids
from helpers.interpret.checks.assembled import Assembled
from helpers.interpret.checks.directives import Directives
from helpers.interpret.checks.forms import INCORE, MISSING, ORCHESTRATION, Parameter, dynamic_axes, handed_on
from helpers.interpret.checks.in_place import InPlace
from helpers.interpret.checks.infer import Facts
from helpers.interpret.checks.operands import Operands
from helpers.interpret.checks.stores import Stores
from helpers.interpret.checks.types import ElementTypes
from helpers.interpret.checks.units import Units
from helpers.interpret.checks.vector_lanes import VectorLanes
from helpers.interpret.language import annotations
from helpers.interpret.language.decorated import environment, unwrap
from helpers.interpret.lowering import folds, spelling
from helpers.interpret.lowering.calls import Calls
from helpers.interpret.lowering.expressions import Expressions
from helpers.interpret.lowering.groups import Groups
from helpers.interpret.lowering.loops import Loops
from helpers.interpret.lowering.masked import Masked
from helpers.interpret.lowering.numbers import Numbers
from helpers.interpret.lowering.scopes import Scopes
from helpers.interpret.lowering.simplified import Simplified
from helpers.interpret.lowering.statements import Statements
from helpers.interpret.machine.batches import BATCH_SIZES
from helpers.interpret.ops import elements
from helpers.interpret.source import chunks, live, variables
from helpers.interpret.source.source import Place, Source, of, refuse
from helpers.interpret.values import numbers
from helpers.interpret.values.lanes import Lanes, counted
from helpers.interpret.values.values import Known

_CACHE: dict[tuple[Callable, str], Compiled] = {}

SOURCE = "__source__"  # the name in generated code of the Source that it is made from

_IN_PROGRESS: list[Callable] = []


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
    stored: frozenset[str] = frozenset()  # parameters that tiles are stored to, where it is compiled for a region
    written: frozenset[str] = frozenset()  # and those that numbers are written to
    program: bool = False  # a function of PyPTO's older kind, @pl.program or @pl.function
    own_extents: frozenset[str] = frozenset()  # the dimensions (pl.dynamic) that its text reads as numbers
    asked: frozenset[str] = frozenset()  # parameters that the number of turns of a pl.parallel with task ids depends on
    auto_scope: bool = True  # PyPTO puts loops and arms of ifs of orchestration into scopes of their own
    misnamed: tuple[tuple[Place, str, str], ...] = ()  # tasks whose C++ cannot be called so: where, what, what to do

    @property
    def extents(self) -> frozenset[str]:
        """The dimensions that it or what it calls reads as numbers."""
        return self.own_extents.union(*(c.extents for c in self.callees))

    def stale(self) -> bool:
        """True when a value that was folded in has changed since."""
        now = self.environment()
        return any(now.get(k, MISSING) is not v and now.get(k, MISSING) != v for k, v in self.captured.items()) or any(
            c.stale() for c in self.callees
        )


def with_callees(compiled: Compiled) -> list[Compiled]:
    """A kernel and those that it calls, and so on, each once."""
    out = {id(compiled): compiled}
    for c in compiled.callees:
        out |= {id(found): found for found in with_callees(c)}
    return list(out.values())


@dataclass(frozen=True)
class Signature:
    """What a kernel takes: all that its caller's arguments are checked against, before its body is looked at."""

    name: str
    parameters: list[Parameter]
    program: bool = False  # a function of a program
    extents: frozenset[str] = frozenset()  # what the body reads of its dimensions is not known


class Lowering(
    Expressions, Numbers, Simplified, Calls, Statements, Loops, Masked, Scopes, Groups, Operands, ElementTypes,
    Assembled, Stores, Units, Directives, VectorLanes, InPlace, task_ids.TaskIds,
):  # fmt: skip
    """Lowers one function for one plane."""

    def __init__(self, fn: Callable, kind: str, plane: str, options: dict[str, Any]):
        self.program, self.auto_scope = options.get("program"), options.get("auto_scope", True)
        self.dispatching = False  # in a `with pl.spmd` whose body calls a kernel
        self.fn, self.function_kind, self.plane = fn, kind, plane
        self.source = of(fn)
        self.closure = self.program is not None or "around" in options
        self.around = options.get("around", {})
        self.env = environment(fn, self.closure) | self.around
        self.captured: dict[str, Any] = {}
        self.callees: list[Compiled] = []
        self.undefined: set[str] = set()  # names that are assigned by subscript alone
        self.space: dict[str, Any] = {
            "_getitem": elements.getitem, "_getrows": elements.getrows, "_setitem": elements.setitem,
            "_and": _logical_and, "_or": _logical_or,
            "_not": _logical_not, "_typed": elements.typed, "_viewed": elements.viewed, "_rebound": elements.rebound,
            "_carried": elements.carried, "_quotient": numbers.quotient, "_remainder": numbers.remainder,
            "_shifted": numbers.shifted, "_wrapped": numbers.wrapped, "_unequal": numbers.unequal,
            "_at_odds": _at_odds,
            "_known": Known, "_slice": slice, "_range": counted, "_dim": _dim,
        }  # fmt: skip
        self.interned: dict[int, str] = {}
        self.kinds: dict[str, str] = {}  # local name -> "scalar", "tensor", "task" or "any"
        self.incore = plane == INCORE
        self.origin: dict[str, str] = {}  # local name -> the pl operation that bound it last
        self.forms: dict[str, dict[str, float]] = {}  # local name bound once, to a linear form of such names
        self.unrolled: set[str] = set()  # variables of pl.unroll loops
        self.sources: dict[str, ast.expr] = {}  # local name bound once, to this
        self.ids: set[str] = set()  # names that can hold a task id
        self.misnamed: list[tuple[Place, str, str]] = []
        self.asked: set[str] = set()  # parameters of an inline function that trip counts of such loops depend on
        self.producers: dict[str, tuple[str, int]] = {}  # tensor -> its task, and how often that name was bound
        self.id_bound: Counter[str] = Counter()  # how often the name of a task id was bound
        self.constants: set[str] = set()  # names bound once, to what PyPTO works out while it compiles
        self.spans: dict[str, tuple[int | None, int | None]] = {}  # loop variable -> the bounds of its loop
        self.parted: set[int] = set()  # loops whose accumulator is cut as a whole, see `lowering/split_k`
        self.nested = 0  # loops and branches around, in the region
        self.loops: list[int] = []  # of the loops around, how many of `frame` are outside
        self.frame: list[set[str]] = []  # names bound so far, block by block, in the function being generated
        self.checked: set[str] = set()  # names that are bound to None at its start, for `_rebound`
        self.extents: set[str] = set()  # names bound to pl.tensor.dim
        self.computed: set[str] = set()  # names of numbers computed from an extent
        self.types: list[dict[str, tuple]] = [{}]  # variable -> what is certain of its type, scope by scope
        self.manual = False  # in a manual scope
        self.lanes, self.lane_mode = False, "NONE"  # in a pl.split_aiv, and which
        self.region_split: str | None = None  # the mode of the pl.split of the region around
        self.narrowed: dict[str, ast.expr] = {}  # see `checks.in_place`
        self.arrays: dict[str, str] = {}  # name of a pl.array -> its element type
        self.prologue: set[int] = set()  # the calls of pl.func_attr that stand first
        self.passed_on: dict[str, str] = {}  # name handed to an incore function as output -> that function

    def compile(self) -> Compiled:
        _IN_PROGRESS.append(self.fn)
        try:
            return self._compile()
        finally:
            _IN_PROGRESS.pop()

    def _compile(self) -> Compiled:
        tree = self.source.tree
        chunks.rewrite(tree, self.pl_path)
        task_ids.rename(tree)
        self.ids = task_ids.names(tree, self.pl_path)
        rules.check(self.source, program=self.closure)
        live.analyse(tree, self._is_region, self._is_turns)
        parameters = self._parameters(tree)
        self.locals = {p.name for p in parameters} | live.stores(tree.body)
        self.bindings = Counter(
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        )
        self.undefined = live.stores(tree.body) - self.bindings.keys() - {p.name for p in parameters}
        self._check_names(tree)
        entry = self.function_kind == "entry" and self.program is None
        literal = {p.name for p in parameters if entry and p.type.kind == "scalar" and not self.bindings[p.name]}
        self.facts = Facts({p.name: p.type for p in parameters}, literal, self.pl_path, self.outside, self.extent)
        self.begin_numbers(tree)
        self.folded = folds.folded(tree, self.pl_path)
        self.begin_region(tree.body)
        self.begin_units(tree.body)
        self.begin_lanes(tree.body)
        self.prologue = set(self.attributes(tree.body))
        self.dynamic = {p.name: dynamic_axes(p.type) for p in parameters if p.type.shape is not None}
        self.frame = [{p.name for p in parameters}]
        self.variables = variables.variables(tree, renames=self.program is None)
        if entry:  # of other functions PyPTO takes the shapes that they are called with
            for p in parameters:
                if p.type.kind == "tensor" and p.type.shape is not None:
                    self.facts.shapes[p.name] = tuple(n if isinstance(n, int) else None for n in p.type.shape)
            self.types[-1].update({p.name: self._type(ast.Name(p.name, ast.Load())) for p in parameters})
        self._check_returns(tree, parameters, entry)
        if self.function_kind == "incore":
            self.check_task_name(tree, tree.name, tree.body)
        for p in parameters:
            self.kinds[p.name] = {"tile": "tensor", "other": "any", "array": "any"}.get(p.type.kind, p.type.kind)
            if p.type.kind == "scalar" and p.type.dtype is None and p.name in self.ids:
                self.kinds[p.name] = "task"
        lowered = (self.group(tree) if self.function_kind == "group" else self.block(tree.body)) or [ast.Pass()]
        blanks = sorted((handed_on(tree.body) | self.checked) - {p.name for p in parameters})
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
        self.space[SOURCE] = self.source
        exec(compile(module, self.source.file, "exec"), self.space)
        return Compiled(
            self.fn.__name__, self.source, self.function_kind, parameters, self.space[tree.name], self.captured,
            lambda: environment(self.fn, self.closure) | self.around, self.callees,
            *((frozenset(self.stored), frozenset(self.written)) if self.plane == INCORE else (frozenset(),) * 2),
            self.closure, frozenset(v.name for v in self.captured.values() if type(v).__name__ == "DynVar"),
            frozenset(self.asked), self.auto_scope, tuple(self.misnamed),
        )  # fmt: skip

    def _parameters(self, tree: ast.FunctionDef) -> list[Parameter]:
        out = []
        given = [*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs]
        for a in given[1:] if self.program is not None else given:
            if a.annotation is None:
                raise refuse(
                    self.source.place(a), f"parameter '{a.arg}' has no type", f"write {a.arg}: pl.Tensor[[64], pl.FP32]"
                )
            if annotations.has_strides(a.annotation, self.pl_path):
                raise self.refuse(
                    a.annotation, f"strides in the type of '{a.arg}': they are those of the tensor passed",
                    "leave it out, and slice the window where it is used",
                )  # fmt: skip
            default = inspect.signature(self.fn).parameters[a.arg].default
            known = default if isinstance(default, (bool, int, float)) else None
            given = self._annotation(a.annotation, self.fn.__annotations__.get(a.arg))
            out.append(Parameter(a.arg, given, known, self.source.place(a)))
        return out

    def _check_returns(self, tree: ast.FunctionDef, parameters: list[Parameter], entry: bool) -> None:
        """A return stands at the end: once in an inline function, which is put in the caller's place."""
        for n in returns.jumps(tree):
            raise self.refuse(
                n, "a return before the end: PyPTO takes it for no jump, and what follows would run",
                "return once, at the end",
            )  # fmt: skip
        for n in ast.walk(tree) if self.function_kind == "inline" else ():
            if isinstance(n, ast.Return) and n is not tree.body[-1]:
                raise self.refuse(n, "a return in an arm of an inline function", "return once, at its end")
        outputs = [p.name for p in parameters if p.type.direction != "In"]
        if self.function_kind == "incore" and self.program is None and outputs and not returns.has_return(tree):
            raise self.refuse(tree, f"'{tree.name}' returns nothing", f"return {outputs[0]} at its end")
        numbers = {p.name for p in parameters if p.type.kind == "scalar"}
        stuck = returns.unfinished(tree, self.pl_path, numbers) if entry else None
        if stuck is not None:
            wanted = outputs[0] if outputs else "a tensor"
            raise self.refuse(
                stuck, f"'{tree.name}' ends without a return: PyPTO takes the names of its last region for results, and"
                " then compiles no loop, if, load, store or product in it", f"return {wanted} at the end",
            )  # fmt: skip

    def _annotation(self, node: ast.expr, found: Any = None) -> annotations.Type:
        """The type that an annotation means; `found`: what Python made of it, where the function was defined."""

        def value(e: ast.expr) -> Any:
            if found is None and isinstance(e, (ast.List, ast.Tuple)):
                return [extent(x) for x in e.elts]
            code = compile(ast.Expression(ast.fix_missing_locations(e)), self.source.file, "eval")
            return eval(code, self.env)

        def extent(e: ast.expr) -> Any:
            """An extent in the type of a name of the kernel: it may be a number of the kernel."""
            names_ = {n.id for n in ast.walk(e) if isinstance(n, ast.Name)}
            return annotations.Dim(ast.unparse(e)) if names_ & self.locals else value(e)

        try:
            try:
                return annotations.seen(annotations.parse(node, self.pl_path, value), found)
            except NameError:  # of the function around, seen when the annotation was evaluated
                if found is None or isinstance(found, str):
                    raise
                return annotations.evaluated(found)
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

    def _check_names(self, tree: ast.FunctionDef) -> None:
        """Every name below `pl` is one of the language; an enum's members are looked at where they are used."""
        inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or id(node) in inner or not self.pl_path(node):
                continue
            chain = [node]
            while isinstance(chain[-1].value, ast.Attribute):
                chain.append(chain[-1].value)
            for part in reversed(chain):
                owner = self.outside(part.value)
                if not isinstance(owner, types.ModuleType):
                    break
                if not hasattr(owner, part.attr):
                    raise self.unknown(part, self.pl_path(part))

    def defined(self, name: str) -> str | None:
        """What is defined and looks like `name`."""
        return spelling.meant(name, {*self.locals, *self.env} - self.undefined)

    def compiled(self, kernel: Any, plane: str | None = None) -> Compiled:
        """A kernel that this one calls."""
        return compile_kernel(kernel, plane)

    def compiling(self, fn: Callable) -> bool:
        """True when `fn` is being compiled: this one is called from it."""
        return fn in _IN_PROGRESS

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


def signature(kernel: Any) -> Signature:
    """The parameters of a decorated kernel; its body is not looked at.

    Raises:
        KernelError: it is not a kernel, or a parameter has no usable type.
    """
    fn, kind, options = _unwrapped(kernel)
    lowering = Lowering(fn, kind, ORCHESTRATION, options)
    return Signature(fn.__name__, lowering._parameters(lowering.source.tree), lowering.program is not None)


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
        plane = INCORE if kind in ("incore", "group") else ORCHESTRATION
    key = (fn, plane)
    cached = _CACHE.get(key)
    if cached is None or cached.stale():
        lowering = Lowering(fn, kind, plane, options)
        try:
            cached = _CACHE[key] = lowering.compile()
        except WorkbookError:
            raise
        except RecursionError:
            raise KernelError(f"kernel '{fn.__name__}' is nested too deeply to be read: {DEEPEST}") from None
        except Exception as e:
            raise _own_failure(lowering, e) from e
    return cached


DEEPEST = "use names for parts of its expressions"


def _own_failure(lowering: Lowering, error: Exception) -> KernelError:
    """The error for an exception of our own while a kernel is lowered, at the construct that it was about."""
    place = lowering.source.place(lowering.source.tree)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = [v for v in frame.f_locals.values() if isinstance(v, (ast.expr, ast.stmt)) and hasattr(v, "lineno")]
        if found and frame.f_locals.get("self") is lowering:
            place = lowering.source.place(found[0])
    what = f"interpret mode itself failed on this line, which is a defect of it ({type(error).__name__}: {error})"
    return refuse(place, what)


def _dim(m: Any, name: str) -> int:
    if name not in m.dims:
        raise KernelError(f"no argument has an axis whose extent is {name} alone: pass the number as a pl.Scalar")
    return m.dims[name]


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
