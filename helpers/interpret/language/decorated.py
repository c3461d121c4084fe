"""Kernels as their decorators leave them."""

from __future__ import annotations

import ast
import hashlib
import os
import types
from collections.abc import Callable
from typing import Any

from helpers.interpret.language.kernel import JitFunction, Program
from helpers.interpret.source import texts
from helpers.interpret.source.source import of
from helpers.interpret.source.texts import Bound


def unwrap(kernel: Any) -> tuple[Callable, str, dict] | None:
    """(function, kind, options) of a decorated kernel - the stand-in's or PyPTO's own JITFunction - or None."""
    if isinstance(kernel, Program):
        kernel = kernel.entry
    if isinstance(kernel, JitFunction):
        return kernel.fn, kernel.kind, {"program": kernel.program, **kernel.options}
    if type(kernel).__name__ == "JITFunction" and hasattr(kernel, "_func"):
        kind = str(getattr(kernel, "_func_type", "orchestration"))
        options = {"auto_scope": getattr(kernel, "_auto_scope", True)}
        return kernel._func, {"orchestration": "entry"}.get(kind, kind), options
    return None


def environment(fn: Callable, closure: bool = False) -> dict[str, Any]:
    """Names visible to `fn` from outside: those of its module, and kernels of an enclosing function.

    With `closure` everything of the enclosing function: PyPTO resolves it for a `@pl.program` and a `@pl.function`
    (python/pypto/language/parser/decorator.py, `_build_closure_vars`), not for a `@pl.jit`.
    """
    out = texts.of(fn).names()
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


def digest(kernel: Any) -> str:
    """Of all the text that a kernel depends on, as it was when it was decorated.

    Raises:
        KernelError: see `bounds`.
    """
    found = sorted((os.path.basename(path), text.digest) for path, text in texts.files(bounds(kernel)).items())
    return hashlib.sha256(repr(found).encode()).hexdigest()


def bounds(kernel: Any) -> list[Bound]:
    """What a kernel and all kernels that it names, and so on, are bound to; its own first.

    Raises:
        KernelError: the text of one of them is not there.
    """
    functions = kernel.functions.values() if hasattr(kernel, "functions") else [kernel]
    todo = [found for found in map(unwrap, functions) if found is not None]
    out: dict[Callable, Bound] = {}
    for fn, _, options in todo:  # which grows
        if fn in out:
            continue
        source = of(fn)
        out[fn] = source.bound
        around = environment(fn, closure=True) | options.get("around", {})
        named = dict.fromkeys(n.id for n in ast.walk(source.tree) if isinstance(n, ast.Name))
        todo += [found for n in named if n in around and (found := unwrap(around[n])) is not None]
    return list(out.values())
