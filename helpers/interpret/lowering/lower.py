"""From a kernel's source to Python that runs it.

PyPTO parses a kernel once and never executes it as Python; `compile_kernel` does the same. It turns the AST of
the function into that of another Python function whose operations are calls into `ops`, whose scopes are calls
on the `Machine`, and whose scalar arithmetic and loops are Python's own, so that nothing of the source is looked
at again while the kernel runs. Names resolve as in PyPTO: locals first, then the values of the enclosing Python
scope, folded in when the kernel is compiled. The result is cached until one of those values changes.
"""

from __future__ import annotations

import ast
import traceback
from collections.abc import Callable
from typing import Any

from helpers.errors import KernelError, WorkbookError
from helpers.interpret.checks import returns, rules
from helpers.interpret.checks.every import Checks
from helpers.interpret.facts.forms import INCORE, ORCHESTRATION, handed_on
from helpers.interpret.facts.function import Subject
from helpers.interpret.facts.infer import Facts
from helpers.interpret.facts.names import Names
from helpers.interpret.facts.region import Region
from helpers.interpret.language.decorated import unwrap
from helpers.interpret.lowering.blocks import Blocks
from helpers.interpret.lowering.calls import Calls
from helpers.interpret.lowering.code import Code, assigned
from helpers.interpret.lowering.compiled import Compiled, Signature
from helpers.interpret.lowering.expressions import Expressions
from helpers.interpret.lowering.groups import Groups
from helpers.interpret.lowering.loops import Loops
from helpers.interpret.lowering.masked import Masked
from helpers.interpret.lowering.numbers import Numbers
from helpers.interpret.lowering.scopes import Scopes
from helpers.interpret.lowering.statements import Statements
from helpers.interpret.lowering.task_ids import TaskIds
from helpers.interpret.ops.common import OPS
from helpers.interpret.source import chunks, id_names, live
from helpers.interpret.source.source import refuse
from helpers.interpret.source.walk import walk

_CACHE: dict[tuple[Callable, str], Compiled] = {}

_IN_PROGRESS: list[Callable] = []


class Lowering:
    """Lowers one function for one plane: what is certain of it, the checks, and the parts that make its code."""

    def __init__(self, subject: Subject):
        self.subject = subject
        ids = _prepared(subject)
        self.code, self.names, self.region = Code(subject), Names(), Region(subject.plane == INCORE)
        self.blocks = Blocks(p.name for p in subject.parameters)
        self.facts = Facts(
            subject, self.names, lambda upper, lower: self.numbers.extent(upper, lower),
            lambda upper, lower: self.numbers.fixed(upper, lower),
        )  # fmt: skip
        for p in subject.parameters:
            if p.type.kind == "scalar" and p.type.dtype is None and p.name in ids:
                self.names.note(p.name, kind="task")
        self.checks = Checks(subject, self.facts, self.region)
        self.expressions, self.numbers, self.calls = Expressions(self), Numbers(self), Calls(self)
        self.statements, self.loops, self.masked = Statements(self), Loops(self), Masked(self)
        self.scopes, self.groups, self.task_ids = Scopes(self), Groups(self), TaskIds(self, ids)
        self.expr, self.block = self.expressions.expr, self.statements.block

    def compile(self) -> Compiled:
        """The kernel, compiled.

        Raises:
            KernelError: its source is not in the language.
        """
        subject, tree = self.subject, self.subject.tree
        self.checks.begin(tree.body)
        returns.check(subject)
        if subject.kind == "incore":
            self.scopes.check_task_name(tree, tree.name, tree.body)
        lowered = (self.groups.group(tree) if subject.kind == "group" else self.block(tree.body)) or [ast.Pass()]
        given = [p.name for p in subject.parameters]
        blanks = sorted((handed_on(tree.body) | self.blocks.begun) - set(given))
        body = [assigned(tree, n, ast.Constant(None)) for n in blanks] + lowered
        arguments = ast.arguments(
            posonlyargs=[], args=[ast.arg("_m"), *map(ast.arg, given)], kwonlyargs=[], kw_defaults=[], defaults=[]
        )
        function = ast.FunctionDef(name=tree.name, args=arguments, body=body, decorator_list=[])
        stores, of_region = self.checks.stores, subject.plane == INCORE
        return Compiled(
            subject.fn.__name__, subject.source, subject.kind, subject.parameters,
            self.code.run(ast.copy_location(function, tree)), subject.captured, subject.environment, self.calls.callees,
            frozenset(stores.stored if of_region else ()), frozenset(stores.written if of_region else ()),
            subject.closure, frozenset(v.name for v in subject.captured.values() if type(v).__name__ == "DynVar"),
            frozenset(self.task_ids.asked), subject.auto_scope, tuple(self.scopes.misnamed),
            self.checks.in_place.placed if subject.kind == "inline" else {},
            frozenset(self.checks.units.needed if of_region else ()), self.calls.outsiders,
        )  # fmt: skip

    def compiled(self, kernel: Any, plane: str | None = None) -> Compiled:
        """A kernel that this one calls."""
        return compile_kernel(kernel, plane)

    def compiling(self, fn: Callable) -> bool:
        """True when `fn` is being compiled: this one is called from it."""
        return fn in _IN_PROGRESS


def _prepared(subject: Subject) -> set[str]:
    """Rewrite the tree as PyPTO's parser does, and refuse what no kernel may contain; the names of task ids."""
    tree = subject.tree
    chunks.rewrite(tree, subject.pl_path)
    _operands_in_place(subject)
    id_names.rename(tree)
    ids = id_names.names(tree, subject.pl_path)
    rules.check(subject.source, program=subject.closure)
    live.analyse(tree, subject.is_region, subject.is_turns, subject.is_lanes)
    subject.read()
    rules.check_names(subject)
    return ids


OPERANDS = {
    "lhs", "rhs", "src0", "src1", "acc", "input", "tile", "tensor", "src", "dst", "data", "target", "source", "mask",
    "mem", "array", "row_vec", "col_vec", "rhs2", "src2", "src3", "bias", "lhs_scale", "rhs_scale", "slope", "tmp",
    "tmp_tile", "idx", "indices", "indexes", "index", "value",
}  # fmt: skip


def _operands_in_place(subject: Subject) -> None:
    """Operands that a call names come first, as everything that looks at calls expects them: pl.exp(input=x) is
    pl.exp(x). What makes a tensor or tile has none, and what else an operation takes stays as it is written."""
    for n in walk(subject.tree):
        record = OPS.get(subject.pl_path(n.func) or "") if isinstance(n, ast.Call) and n.keywords else None
        if record is None or record.creates:
            continue
        names = list(record.signatures[subject.pl_path(n.func)].parameters)
        for name in names[len(n.args) :]:
            given = next((k for k in n.keywords if k.arg == name), None)
            if given is None or not (name in OPERANDS or record.name in ("read", "write")):
                break
            n.keywords.remove(given)
            n.args.append(given.value)


def signature(kernel: Any) -> Signature:
    """The parameters of a decorated kernel; its body is not looked at.

    Raises:
        KernelError: it is not a kernel, or a parameter has no usable type.
    """
    fn, kind, options = _unwrapped(kernel)
    subject = Subject(fn, kind, ORCHESTRATION, options)
    return Signature(fn.__name__, subject.signature(), subject.program is not None)


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
        subject = Subject(fn, kind, plane, options)
        _IN_PROGRESS.append(fn)
        try:
            cached = _CACHE[key] = Lowering(subject).compile()
        except WorkbookError:
            raise
        except RecursionError:
            raise KernelError(f"kernel '{fn.__name__}' is nested too deeply to be read: {DEEPEST}") from None
        except Exception as e:
            raise _own_failure(subject, e) from e
        finally:
            _IN_PROGRESS.pop()
    return cached


def compiled_kernels() -> list[tuple[Callable, str]]:
    """What was compiled in this process: functions, each with its plane."""
    return list(_CACHE)


DEEPEST = "use names for parts of its expressions"


def _own_failure(subject: Subject, error: Exception) -> KernelError:
    """The error for an exception of our own while a kernel is lowered, at the construct that it was about."""
    place = subject.place(subject.tree)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = [v for v in frame.f_locals.values() if isinstance(v, (ast.expr, ast.stmt)) and hasattr(v, "lineno")]
        if found and type(frame.f_locals.get("self")).__module__.startswith("helpers.interpret."):
            place = subject.place(found[0])
    what = f"interpret mode itself failed on this line, which is a defect of it ({type(error).__name__}: {error})"
    return refuse(place, what)
