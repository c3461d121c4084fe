"""Kernels as their decorators leave them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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
