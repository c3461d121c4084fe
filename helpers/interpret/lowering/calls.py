"""Calls in a kernel, of operations and of other kernels, checked and lowered."""

from __future__ import annotations

import ast
import builtins
import itertools
import types
from collections.abc import Callable
from typing import Any

from helpers.errors import KernelError
from helpers.interpret.checks import returns
from helpers.interpret.checks.forms import (
    INCORE,
    MISSING,
    OPERATORS,
    ORCHESTRATION,
    Parameter,
    dynamic_axes,
)
from helpers.interpret.language import names
from helpers.interpret.language.decorated import unwrap
from helpers.interpret.lowering import spelling
from helpers.interpret.lowering.expressions import DIRECTIVE_PLACE
from helpers.interpret.ops import NO_CODE, OPS, OUTSIDE_REGIONS, exists

# How a name may have been bound to be passed to another kernel as a tensor (tried on PyPTO's specializer).
NAMED_BY = {"create_tensor", "create", "slice", "reshape", "assemble", "load"}


class Calls:
    """The part of the lowering that does calls."""

    def _call(self, node: ast.Call) -> ast.expr:
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
                f"give its result a name of its own in the line before, and use that: {self._free_name()} = "
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
        if isinstance(value, types.FunctionType) and value.__code__.co_filename == self.source.file:
            return "decorate it with @pl.jit.inline, or compute the value outside the kernel"
        return f"pl.{name}(...)" if name in OPS else "write it with operations of pl, or compute it outside the kernel"

    def _free_name(self) -> str:
        """A name that the kernel does not use."""
        names = itertools.chain(["result"], (f"result_{i}" for i in itertools.count(2)))
        return next(n for n in names if n not in self.locals)

    def _meant(self, node: ast.expr) -> str | None:
        """What the function of a call may have been meant to be: an operation of pl, or a kernel that is there."""
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if isinstance(node, ast.Attribute) and self.kind(node.value) != "tensor":
            return None
        if name in OPS:
            return f"pl.{name}({f'{ast.unparse(node.value)}, ' if isinstance(node, ast.Attribute) else ''}...)"
        if isinstance(node, ast.Attribute):
            return None
        return spelling.meant(name, [n for n, v in self.env.items() if unwrap(v) is not None])

    def _pl_call(self, node: ast.Call, path: str) -> ast.expr:
        if path == "const":
            self.check_const(node)
            return self.expr(node.args[0])
        if path.endswith(".get_byte"):  # pl.FP32.get_byte()
            return ast.Constant(self.outside(node.func)())
        if path == "system.task_dummy":
            return self._task_dummy(node)
        if path in names.DIRECTIVES or path in ("cond", "yield_"):
            raise self.refuse(node, f"pl.{path} cannot stand here", DIRECTIVE_PLACE.get(path))
        if path == "cmp" and node.args and self.facts.level(node.args[0]) == "tile":
            path = "tile.cmp"  # of tiles it gives a packed mask
        record = OPS.get(path)
        if record is None:
            raise self.unknown(node.func, path)
        fn = record.compute
        self.check_words(node, path)
        self.check_kinds(node, path)
        if self._of_scalars(node, path):
            return self.expr(ast.copy_location(ast.BinOp(node.args[0], OPERATORS[path](), node.args[1]), node))
        of_scalar = self._of_scalars(node, path) or (
            path.endswith("cast") and node.args and self.kind(node.args[0]) != "tensor"
        )
        if not (self.incore or of_scalar or path in OUTSIDE_REGIONS or path.startswith(("system.", "array."))):
            raise self.misplaced(node, f"pl.{path}")
        key = "_op_" + path.replace(".", "_")
        self.space[key] = fn
        wrong = record.misuse(path, len(node.args), [k.arg for k in node.keywords])
        if wrong is not None:
            raise self.refuse(node, f"pl.{path}: {wrong}")
        if path == "array.create":
            self.check_array(node, self.facts.called(node)[1])
        if path == "system.syncall":
            self.check_barrier(node)
        self._check_numbers(node, path)
        self.check_lists(node, path)
        self.check_operands(node, path)
        self.check_assembled(node, path)
        self.check_stored(node)
        self.check_units(node)
        self.check_lane(node)
        if path.rpartition(".")[-1] in ("store", "assemble"):
            given = self.facts.called(node)[1]
            self.check_something(node, given.get("source", given.get("tile")))
        checked = self.check_types(node, path, fn)
        args, keywords = record.arranged(path, node.args, node.keywords)
        folds = [ast.keyword("folds", ast.Constant(True))] if id(node) in self.folded else []
        return ast.Call(
            ast.Name(key, ast.Load()) if checked is fn else self.bind(checked, f"checked{key}"),
            [ast.Name("_m", ast.Load()), self.place(node), *(self._argument(path, i, a) for i, a in enumerate(args))],
            [*(ast.keyword(k, self._argument(path, k, v)) for k, v in keywords.items()), *folds],
        )

    def _task_dummy(self, node: ast.Call) -> ast.expr:
        if node.args or [k.arg for k in node.keywords] != ["deps"]:
            raise self.refuse(node, "pl.system.task_dummy takes deps=[...]", "pl.system.task_dummy(deps=[tid])")
        self.space["_task_dummy"] = OPS["system.task_dummy"].compute
        args = [ast.Name("_m", ast.Load()), self.place(node), self.waits(node.keywords[0].value)]
        return ast.Call(ast.Name("_task_dummy", ast.Load()), args, [])

    def _argument(self, path: str, where: int | str, node: ast.expr) -> ast.expr:
        if path in ("slice", "tile.slice", "tensor.slice") and where in (2, "offset") and isinstance(node, ast.List):
            return ast.copy_location(ast.List([self.offset(e) for e in node.elts], ast.Load()), node)
        return self.expr(node)

    def _of_scalars(self, node: ast.Call, path: str) -> bool:
        """True for pl.add and its like between numbers: another way to write the operator."""
        return path in OPERATORS and len(node.args) == 2 and all(self.kind(a) == "scalar" for a in node.args)

    def kernel_call(self, node: ast.Call) -> ast.expr | None:
        """The call of another kernel, which must be the whole value of a statement; None when it is no kernel."""
        member = self._member(node.func)
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
                node, f"'{fn.__name__}' is @pl.jit.opaque, of which PyPTO e2d0f78a generates no code",
                "make it @pl.jit.inline",
            )  # fmt: skip
        if kind in ("incore", "group") and self.incore and not self.dispatching:
            raise self.refuse(
                node, f"the {kind} function '{fn.__name__}' is called inside an InCore region", "make it .inline"
            )
        if self.compiling(fn):
            raise self.refuse(node, f"'{fn.__name__}' calls itself", "loop: the device has no recursion")
        callee = self.compiled(value, INCORE if self.incore or kind in ("incore", "group") else ORCHESTRATION)
        self.callees.append(callee)
        wanted = [p.name for p in callee.parameters]
        named = {k.arg: k.value for k in node.keywords}
        if len(node.args) > len(wanted) or (
            list(named) != wanted[len(node.args) :] and sorted(map(str, named)) != sorted(wanted[len(node.args) :])
        ):
            raise self.refuse(node, f"'{fn.__name__}' takes ({', '.join(wanted)})")
        given = [*node.args, *(named[n] for n in wanted[len(node.args) :])]
        for a, p in zip(given, callee.parameters):
            self._check_kernel_argument(a, p)
            if kind != "inline":
                self.check_argument(a, p)
        args = [self.expr(a) for a in given]
        if kind == "inline":
            self._one_shape(node, fn, callee.parameters, args)
            for a, p in zip(given, callee.parameters):
                self.check_passed(node, a, p.name in callee.stored, p.name in callee.written)
        target = self.bind(callee.run, fn.__name__)
        if kind == "inline" and callee.asked:
            known = [(p.name, self.trip_count([a])) for a, p in zip(given, callee.parameters) if p.name in callee.asked]
            pairs = [ast.Tuple([ast.Constant(name), value], ast.Load()) for name, value in known]
            return self.machine("inlined", [ast.Tuple(pairs, ast.Load()), target, *args])
        if kind in ("incore", "group") and not self.incore:
            return self.machine(
                "incore", [self.place(node), ast.Constant(fn.__name__), target, ast.Tuple(args, ast.Load())]
            )
        return ast.Call(target, [ast.Name("_m", ast.Load()), *args], [])

    def _one_shape(self, node: ast.Call, fn: Callable, parameters: list[Parameter], args: list[ast.expr]) -> None:
        """Have the machine check that an inline function sees tensors of one shape wherever it is called."""
        static = [i for i, p in enumerate(parameters) if p.type.kind == "tensor" and not dynamic_axes(p.type)]
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
        compiled = self.compiled(callee, INCORE)
        self.callees.append(compiled)
        if len(call.args) - 1 != len(compiled.parameters):
            raise self.refuse(call, f"'{compiled.name}' takes {', '.join(p.name for p in compiled.parameters)}")
        if (path == "spmd_submit") != ("core_num" in keywords):
            raise self.refuse(call, "core_num= belongs to pl.spmd_submit, which needs it")
        if "core_num" in keywords:
            self.check_count(keywords["core_num"])
        for a, p in zip(call.args[1:], compiled.parameters):
            self.check_argument(a, p)
        args = ast.Tuple([self.expr(a) for a in call.args[1:]], ast.Load())
        passed = self._passed(keywords, early="allow_early_resolve", core_num="core_num") + self.passed_deps(keywords)
        if "predicate" in keywords:
            kept = returns.returned_parameters(compiled.source.tree, [p.name for p in compiled.parameters])
            passed += [*self.predicate(keywords, f"pl.{path}"), ast.keyword("kept", ast.Constant(tuple(kept)))]
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

    def _check_kernel_argument(self, a: ast.expr, p: Parameter) -> None:
        """In a `@pl.jit` PyPTO infers the shape of a tensor argument from how its name was bound, not from what was
        computed; in a `@pl.program` a parameter has the shape that its type says."""
        self.check_scalar_argument(a, p)
        if p.type.kind != "tensor":
            return
        if not isinstance(a, ast.Name):
            raise self.refuse(a, f"the tensor argument '{p.name}' is an expression", "bind it to a name first")
        if self.program is None and self.origin.get(a.id, "slice").rsplit(".", 1)[-1] not in NAMED_BY:
            raise self.refuse(
                a, f"the tensor argument '{a.id}' was made by a {self.origin[a.id]}: its shape is not inferred",
                "pass a parameter, a pl.create_tensor, a pl.slice, a reshape of a name or another kernel's result",
            )  # fmt: skip

    def machine(self, method: str, args: list[ast.expr], keywords: list[ast.keyword] | None = None) -> ast.Call:
        return ast.Call(ast.Attribute(ast.Name("_m", ast.Load()), method, ast.Load()), args, keywords or [])

    def unknown(self, node: ast.expr, path: str) -> KernelError:
        if path in NO_CODE:
            return self.refuse(node, f"pl.{path} is a name of pypto.language that PyPTO cannot compile", NO_CODE[path])
        if exists(path):
            return self.refuse(node, f"pl.{path} is not supported by interpret mode yet")
        owner = self.outside(node.value) if isinstance(node, ast.Attribute) else MISSING
        members = dir(owner) if owner is not MISSING else ()
        return self.refuse(node, f"pl.{path} is not a name of pypto.language", spelling.of_language(path, members))

    def misplaced(self, node: ast.expr, what: str) -> KernelError:
        return self.refuse(
            node, f"{what} outside an InCore region: orchestration launches tasks and computes nothing on tensors",
            "put it into `with pl.at(level=pl.Level.CORE_GROUP):` or into a @pl.jit.incore function",
        )  # fmt: skip

    def _launch(self, call: ast.Call) -> ast.expr | None:
        """A call that is the whole value of a statement: of a kernel, or of pl.submit; None for any other."""
        path = self.pl_path(call.func)
        if path in ("submit", "spmd_submit"):
            return self._submit(call, path)
        return self.kernel_call(call)

    def check_gives(self, s: ast.Assign) -> None:
        """A name is bound to what an inline function returns: it has to return something."""
        callee = self.outside(s.value.func) if self.pl_path(s.value.func) is None else None
        found = unwrap(callee)
        if found is None or found[1] != "inline":
            return
        tree = self.compiled(callee, INCORE if self.incore else ORCHESTRATION).source.tree
        if returns.gives(tree):
            return
        made = [
            n.id for b in tree.body for n in ast.walk(b) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        ]
        wanted = made[-1] if made else "a value"
        raise self.refuse(
            s, f"'{found[0].__name__}' ends without a return: `{ast.unparse(s.targets[0])}` is bound to nothing",
            f"return {wanted} at the end of '{found[0].__name__}'",
        )  # fmt: skip

    def _discarded(self, call: ast.Call) -> None:
        """Outputs of an incore function cannot be read by their old names: what it returns has new ones."""
        found = unwrap(self.outside(call.func)) if self.pl_path(call.func) is None else None
        if found is None or found[1] != "incore":
            return
        for a, p in zip(call.args, self.compiled(self.outside(call.func)).parameters):
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

    def _passed(self, keywords: dict[str, ast.expr], **names_: str) -> list[ast.keyword]:
        """Keywords of a scope that the machine takes too: its name = the language's."""
        return [ast.keyword(mine, self.expr(keywords[theirs])) for mine, theirs in names_.items() if theirs in keywords]
