"""Which region of a kernel a refusal of PyPTO's compiler is about, where its message does not say.

A pass of the compiler works on all functions of a program at once, and some of its checks name none: "Vec buffer usage
(...) exceeds platform limit". So the kernel is compiled once more, up to the pass that refuses it, and that pass is
tried on one function after the other. For the far side: this imports PyPTO.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

_NAMES = re.compile(r"[Ff]unction '(\w+)'")
_LINE = re.compile(r"\.py:\d+:\d+")


def region(error: Exception, again: Callable[[], None]) -> tuple[str, tuple[str, int, int] | None] | None:
    """The function that `error` is about and where it stands; None where the message has a line, or none is found.

    Args:
        again: Compiles the kernel once more.
    """
    if getattr(error, "span", None) is not None or _LINE.search(first_line(error)):
        return None
    from pypto import ir
    from pypto.pypto_core import passes

    last: list[Any] = []

    def before(step: Any, program: Any) -> None:
        last[:] = [step, program]

    with passes.PassContext([passes.CallbackInstrument(before_pass=before)]):
        failed = raised(again)
    if failed is None or not last or first_line(failed) != first_line(error):
        return None
    step, program = last
    functions = list(program.functions.values())

    def alone(function: Any) -> None:
        with passes.PassContext([], passes.VerificationLevel.NONE):
            step(ir.Program([function], program.name, program.span))

    found = blamed(error, functions, alone)
    if found is None:
        return None
    span = found.span
    return found.name, (span.filename, span.begin_line, span.begin_column) if span.is_valid() else None


def blamed(error: Exception, functions: Iterable[Any], alone: Callable[[Any], None]) -> Any:
    """The function that a message names; else the first that raises the same when it is tried alone."""
    functions = list(functions)
    named = _NAMES.search(first_line(error))
    if named is not None:
        return next((f for f in functions if f.name == named[1]), None)
    same = [f for f in functions if (e := raised(lambda f=f: alone(f))) and first_line(e) == first_line(error)]
    return same[0] if same else None


def raised(do: Callable[[], None]) -> Exception | None:
    """What this raises."""
    try:
        do()
    except Exception as e:
        return e
    return None


def first_line(error: Exception) -> str:
    """What an exception says, without where in PyPTO's own code it was raised."""
    return (str(error).splitlines() or [""])[0]
