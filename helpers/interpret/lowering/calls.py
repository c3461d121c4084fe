"""Calls in a kernel, of operations and of other kernels, checked and lowered."""

from __future__ import annotations

import ast
import builtins
import types
from collections.abc import Callable
from typing import Any

from helpers.errors import KernelError
from helpers.interpret.checks import returns, rules
from helpers.interpret.facts import folds, spelling
from helpers.interpret.facts.forms import (
    INCORE,
    MISSING,
    OPERATORS,
    ORCHESTRATION,
    Parameter,
    dynamic_axes,
)
from helpers.interpret.language import pl_names
from helpers.interpret.language.decorated import unwrap
from helpers.interpret.lowering.code import Part, Whole, load, machine
from helpers.interpret.lowering.compiled import Compiled
from helpers.interpret.ops import OPS, OUTSIDE_REGIONS
from helpers.interpret.source.walk import walk

# How a name may have been bound to be passed to another kernel as a tensor (tried on PyPTO's specializer).
NAMED_BY = {"create_tensor", "create", "slice", "reshape", "assemble", "load"}

DIRECTIVE_PLACE = {
    "cond": "it is the first statement of a pl.while_ loop",
    "yield_": "assign it: x = pl.yield_(value)",
    "at": "write `with pl.at(...):`",
    "range": "write `for i in pl.range(...):`",
    **dict.fromkeys(("dump_tag", "tensor.dump_tag", "static_print"), "it is a line of its own, and gives nothing"),
}


class Calls(Part):
    """Does calls."""

    def __init__(self, whole: Whole):
        super().__init__(whole)
        self.callees: list[Compiled] = []
        self.outsiders: dict[str, Callable] = {}  # functions outside the program that it calls, by PyPTO's name
        self._folded = folds.folded(self.subject.tree, self.pl_path)  # casts that stay with the cube

    def note_callee(self, compiled: Compiled) -> None:
        """The function calls this kernel."""
        self.callees.append(compiled)

    def called(self, node: ast.Call) -> ast.expr:
        path = self.pl_path(node.func)
        if path is not None:
            return self._pl_call(node, path)
        value = self.outside(node.func)
        if value is MISSING:
            raise self.refuse(
                node.func, f"'{ast.unparse(node.func)}' is not a kernel or an operation of pl", self._meant(node.func)
            )  # fmt: skip
        if value is min or value is max:
            raise self.refuse(node, f"Python's {value.__name__} in a kernel", f"use pl.{value.__name__}(a, b)")
        found = unwrap(value)
        if found is not None:
            raise self.refuse(
                node, f"the call of '{ast.unparse(node.func)}' is part of an expression",
                f"give its result a name of its own in the line before, and use that: {self.subject.free_name()} = "
                f"{ast.unparse(node)}",
            )  # fmt: skip
        raise self.refuse(
            node.func, f"'{ast.unparse(node.func)}' is a Python function: a kernel calls kernels and pl operations",
            self._instead(node.func, value),
        )  # fmt: skip

    def _instead(self, node: ast.expr, value: Any) -> str:
        """What to write in place of a Python function."""
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if getattr(builtins, name, MISSING) is value and name in spelling.INSTEAD:
            return spelling.INSTEAD[name]
        if isinstance(value, types.FunctionType) and value.__code__.co_filename == self.subject.source.file:
            return "decorate it with @pl.jit.inline, or compute the value outside the kernel"
        return f"pl.{name}(...)" if name in OPS else "write it with operations of pl, or compute it outside the kernel"

    def _meant(self, node: ast.expr) -> str | None:
        """What the function of a call may have been meant to be: an operation of pl, or a kernel that is there."""
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if isinstance(node, ast.Attribute) and self.kind(node.value) != "tensor":
            return None
        if name in OPS:
            return f"pl.{name}({f'{ast.unparse(node.value)}, ' if isinstance(node, ast.Attribute) else ''}...)"
        if isinstance(node, ast.Attribute):
            return None
        return spelling.meant(name, [n for n, v in self.subject.env.items() if unwrap(v) is not None])

    def _pl_call(self, node: ast.Call, path: str) -> ast.expr:
        if path == "const":
            self.checks.operands.check_const(node)
            return self.whole.expr(node.args[0])
        if path.endswith(".get_byte"):  # pl.FP32.get_byte()
            return ast.Constant(self.outside(node.func)())
        if path == "system.task_dummy":
            return self._task_dummy(node)
        if path in pl_names.DIRECTIVES or path in DIRECTIVE_PLACE:
            raise self.refuse(node, f"pl.{path} cannot stand here", DIRECTIVE_PLACE.get(path))
        if path == "cmp" and node.args and self.facts.level(node.args[0]) == "tile":
            path = "tile.cmp"  # of tiles it gives a packed mask
        record = OPS.get(path)
        if record is None:
            raise rules.unknown(self.subject, node.func, path)
        self.checks.operands.check_words(node, path)
        self.checks.scalars.check_kinds(node, path)
        if self.facts.of_scalars(node, path):
            return self.whole.expr(ast.copy_location(ast.BinOp(node.args[0], OPERATORS[path](), node.args[1]), node))
        of_scalar = self.facts.of_scalars(node, path) or (
            path.endswith("cast") and node.args and self.kind(node.args[0]) != "tensor"
        )
        if not (self.region.incore or of_scalar or path in OUTSIDE_REGIONS or path.startswith(("system.", "array."))):
            raise self._misplaced(node, f"pl.{path}")
        op = self.code.named("_op_" + path.replace(".", "_"), record.compute)
        checked = self.checks.call(node, path, record)
        args, keywords = record.arranged(path, node.args, node.keywords)
        folds = [ast.keyword("folds", ast.Constant(True))] if id(node) in self._folded else []
        return ast.Call(
            op if checked is record.compute else self.bind(checked, f"checked{op.id}"),
            [load("_m"), self.place(node), *(self._argument(path, i, a) for i, a in enumerate(args))],
            [*(ast.keyword(k, self._argument(path, k, v)) for k, v in keywords.items()), *folds],
        )

    def _task_dummy(self, node: ast.Call) -> ast.expr:
        if node.args or [k.arg for k in node.keywords] != ["deps"]:
            raise self.refuse(node, "pl.system.task_dummy takes deps=[...]", "pl.system.task_dummy(deps=[tid])")
        made = self.code.named("_task_dummy", OPS["system.task_dummy"].compute)
        args = [load("_m"), self.place(node), self.whole.task_ids.waits(node.keywords[0].value)]
        return ast.Call(made, args, [])

    def _argument(self, path: str, where: int | str, node: ast.expr) -> ast.expr:
        if path in ("slice", "tile.slice", "tensor.slice") and where in (2, "offset") and isinstance(node, ast.List):
            return ast.copy_location(ast.List([self.whole.expressions.offset(e) for e in node.elts], ast.Load()), node)
        return self.whole.expr(node)

    def kernel_call(self, node: ast.Call) -> ast.expr | None:
        """The call of another kernel, which must be the whole value of a statement; None when it is no kernel."""
        member = self.subject.member(node.func)
        value = self.outside(node.func) if self.pl_path(node.func) is None and member is None else member or MISSING
        found = None if value is MISSING else unwrap(value)
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
        if kind == "opaque":
            raise self.refuse(
                node, f"'{fn.__name__}' is @pl.jit.opaque, of which PyPTO generates no code",
                "make it @pl.jit.inline",
            )  # fmt: skip
        if kind in ("incore", "group") and self.region.incore and not self.region.dispatching:
            raise self.refuse(
                node, f"the {kind} function '{fn.__name__}' is called inside an InCore region", "make it .inline"
            )
        if self.whole.compiling(fn):
            raise self.refuse(node, f"'{fn.__name__}' calls itself", "loop: the device has no recursion")
        callee = self.whole.compiled(
            value, INCORE if self.region.incore or kind in ("incore", "group") else ORCHESTRATION
        )
        self.note_callee(callee)
        self._check_one_name(node, fn, kind, callee, member is not None)
        wanted = [p.name for p in callee.parameters]
        named = {k.arg: k.value for k in node.keywords}
        if len(node.args) > len(wanted) or (
            list(named) != wanted[len(node.args) :] and sorted(map(str, named)) != sorted(wanted[len(node.args) :])
        ):
            raise self.refuse(node, f"'{fn.__name__}' takes ({', '.join(wanted)})")
        given = [*node.args, *(named[n] for n in wanted[len(node.args) :])]
        for a, p in zip(given, callee.parameters):
            self._check_kernel_argument(a, p)
            if kind == "inline" or self.subject.program is None:
                self.checks.in_place.check_sized(a)
            if kind != "inline":
                self.checks.in_place.check_argument(a, p)
        args = [self.whole.expr(a) for a in given]
        if kind == "inline":
            self._one_shape(node, fn, callee.parameters, args)
            for a, p in zip(given, callee.parameters):
                self.checks.in_place.check_inlined(a, p, callee.placed)
                self.checks.units.check_inlined(a, p, callee.needed)
                self.checks.stores.check_passed(node, a, p.name in callee.stored, p.name in callee.written)
        target = self.bind(callee.run, fn.__name__)
        if kind == "inline" and callee.asked:
            asked = [(p.name, [a]) for a, p in zip(given, callee.parameters) if p.name in callee.asked]
            known = [[ast.Constant(name), self.whole.task_ids.trip_count(bounds)] for name, bounds in asked]
            pairs = [ast.Tuple(pair, ast.Load()) for pair in known]
            return machine("ids.inlined", [ast.Tuple(pairs, ast.Load()), target, *args])
        if kind in ("incore", "group") and not self.region.incore:
            return machine(
                "launches.incore", [self.place(node), ast.Constant(fn.__name__), target, ast.Tuple(args, ast.Load())]
            )
        return ast.Call(target, [load("_m"), *args], [])

    def _check_one_name(self, node: ast.Call, fn: Callable, kind: str, callee: Compiled, member: bool) -> None:
        """A program knows its functions, and those outside of it that it calls, by their names alone
        (`_parse_external_function_call` in python/pypto/language/parser/ast_parser.py)."""
        if self.subject.program is None or kind == "inline":
            return
        for name, found in callee.outside.items() if member else [(fn.__name__, fn)]:
            same = name in self.subject.program.functions
            if same or self.outsiders.setdefault(name, found) is not found:
                where = "in the program itself" if same else "called from this program already"
                raise self.refuse(
                    node, f"'{name}', a function outside the program, is called as another one is, {where}",
                    "give one of the two functions another name",
                )  # fmt: skip

    def _one_shape(self, node: ast.Call, fn: Callable, parameters: list[Parameter], args: list[ast.expr]) -> None:
        """Have the machine check that an inline function sees tensors of one shape wherever it is called."""
        static = [i for i, p in enumerate(parameters) if p.type.kind == "tensor" and not dynamic_axes(p.type)]
        if static:
            seen = [self.place(node), self.bind(fn, fn.__name__), *(args[i] for i in static)]
            args[static[0]] = machine("launches.called", seen)

    def _submit(self, call: ast.Call, path: str) -> ast.expr:
        """`pl.submit(self.kernel, *args, deps=...)`: a task of that kernel; its results and its task id."""
        callee = self.subject.member(call.args[0]) if call.args else None
        if callee is None:
            raise self.refuse(call, f"pl.{path} takes a kernel of the program first", f"pl.{path}(self.kernel, x, out)")
        keywords = self.keywords(
            call, ("deps", "dumps", "allow_early_resolve", "predicate", "core_num", "sync_start", "name_hint")
        )
        compiled = self.whole.compiled(callee, INCORE)
        self.note_callee(compiled)
        if len(call.args) - 1 != len(compiled.parameters):
            raise self.refuse(call, f"'{compiled.name}' takes {', '.join(p.name for p in compiled.parameters)}")
        if (path == "spmd_submit") != ("core_num" in keywords):
            raise self.refuse(call, "core_num= belongs to pl.spmd_submit, which needs it")
        if "core_num" in keywords:
            self.checks.in_place.check_count(keywords["core_num"])
        for a, p in zip(call.args[1:], compiled.parameters):
            self.checks.in_place.check_argument(a, p)
        args = ast.Tuple([self.whole.expr(a) for a in call.args[1:]], ast.Load())
        passed = self.passed(keywords, early="allow_early_resolve", core_num="core_num")
        passed += self.whole.task_ids.passed_deps(keywords)
        if "predicate" in keywords:
            kept = returns.returned_parameters(compiled.source.tree, [p.name for p in compiled.parameters])
            passed += [
                *self.whole.task_ids.predicate(keywords, f"pl.{path}"),
                ast.keyword("kept", ast.Constant(tuple(kept))),
            ]
        target = self.bind(compiled.run, compiled.name)
        return machine("launches.submit", [self.place(call), ast.Constant(compiled.name), target, args], passed)

    def _check_kernel_argument(self, a: ast.expr, p: Parameter) -> None:
        """In a `@pl.jit` PyPTO infers the shape of a tensor argument from how its name was bound, not from what was
        computed; in a `@pl.program` a parameter has the shape that its type says."""
        self.checks.assembled.check_scalar_argument(a, p)
        if p.type.kind != "tensor":
            return
        if not isinstance(a, ast.Name):
            raise self.refuse(a, f"the tensor argument '{p.name}' is an expression", "bind it to a name first")
        made_by = self.names[a.id].origin
        if self.subject.program is None and made_by and made_by.rsplit(".", 1)[-1] not in NAMED_BY:
            raise self.refuse(
                a, f"the tensor argument '{a.id}' was made by a {made_by}: its shape is not inferred",
                "pass a parameter, a pl.create_tensor, a pl.slice, a reshape of a name or another kernel's result",
            )  # fmt: skip

    def _misplaced(self, node: ast.expr, what: str) -> KernelError:
        return self.refuse(
            node, f"{what} outside an InCore region: orchestration launches tasks and computes nothing on tensors",
            "put it into `with pl.at(level=pl.Level.CORE_GROUP):` or into a @pl.jit.incore function",
        )  # fmt: skip

    def launch(self, call: ast.Call) -> ast.expr | None:
        """A call that is the whole value of a statement: of a kernel, or of pl.submit; None for any other."""
        path = self.pl_path(call.func)
        if path in ("submit", "spmd_submit"):
            return self._submit(call, path)
        return self.kernel_call(call)

    def check_gives(self, s: ast.Assign) -> None:
        """Names are bound to what an inline function returns: it has to return something."""
        callee = self.outside(s.value.func) if self.pl_path(s.value.func) is None else None
        found = unwrap(callee)
        if found is None or found[1] != "inline":
            return
        tree = self.whole.compiled(callee, INCORE if self.region.incore else ORCHESTRATION).source.tree
        if returns.gives(tree):
            return
        made = [n.id for b in tree.body for n in walk(b) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        wanted = made[-1] if made else "a value"
        raise self.refuse(
            s, f"'{found[0].__name__}' ends without a return: `{ast.unparse(s.targets[0])}` is bound to nothing",
            f"return {wanted} at the end of '{found[0].__name__}'",
        )  # fmt: skip

    def discarded(self, call: ast.Call) -> None:
        """Outputs of an incore function cannot be read by their old names: what it returns has new ones."""
        found = unwrap(self.outside(call.func)) if self.pl_path(call.func) is None else None
        if found is None or found[1] != "incore":
            return
        for a, p in zip(call.args, self.whole.compiled(self.outside(call.func)).parameters):
            if p.type.direction != "In" and isinstance(a, ast.Name):
                self.names.note(a.id, passed_on=found[0].__name__)

    def bind_dynamic(self, call: ast.Call, func: ast.Attribute) -> list[ast.stmt]:
        """`x.bind_dynamic(axis, M)`: the extent of that axis is M, a pl.dynamic of the module."""
        if len(call.args) != 2 or call.keywords or not isinstance(func.value, ast.Name):
            raise self.refuse(call, "bind_dynamic takes an axis and a pl.dynamic")
        name = getattr(self.outside(call.args[1]), "name", None)
        if name is None:
            raise self.refuse(call.args[1], f"`{ast.unparse(call.args[1])}` is no pl.dynamic of the module")
        args = [self.place(call), self.whole.expr(func.value), self.whole.expr(call.args[0]), ast.Constant(name)]
        return [ast.Expr(machine("memory.bind_dynamic", args))]

    def keywords(self, call: ast.Call, allowed: tuple[str, ...]) -> dict[str, ast.expr]:
        path = self.pl_path(call.func)
        out = {}
        for k in call.keywords:
            if k.arg not in allowed:
                raise self.refuse(
                    k.value, f"pl.{path} has no keyword '{k.arg}'", f"it takes {', '.join(allowed) or 'no keywords'}"
                )
            out[k.arg] = k.value
        return out

    def passed(self, keywords: dict[str, ast.expr], **names_: str) -> list[ast.keyword]:
        """Keywords of a scope that the machine takes too: its name = the language's."""
        return [
            ast.keyword(mine, self.whole.expr(keywords[theirs]))
            for mine, theirs in names_.items()
            if theirs in keywords
        ]
