"""`pl.parse` and `pl.loads`: a function or a program from text (PyPTO, user manual, Debugging: IR through text)."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

from helpers.interpret.language.kernel import JitFunction, Program
from helpers.interpret.source import texts

_NUMBERS = itertools.count()


class _Names(dict):
    """The namespace that the text is executed in: a name that nobody defines is a `pl.dynamic` of that name."""

    def __missing__(self, name: str) -> Any:
        if name.startswith("__"):
            raise KeyError(name)
        self[name] = found = self["pl"].dynamic(name)
        return found


def parse(code: str, filename: str = "<string>") -> Any:
    """The one `@pl.function` or `@pl.program` that `code` defines; it is executed, with `pl` imported.

    It runs as a kernel of a file does: `helpers.run.run(pl.parse(code), args)`.

    Raises:
        ValueError: `code` defines none, or more than one.
        SyntaxError: it is no Python.
    """
    if filename == "<string>":  # each text has lines of its own, for its kernels and the errors in them
        filename = f"<pl.parse {next(_NUMBERS)}>"
    namespace = _Names(__name__=f"parsed {filename}", __file__=filename, pl=sys.modules["pypto.language"])
    namespace["__builtins__"] = __builtins__
    texts.execute(texts.of_code(filename, code), namespace)
    found = [
        v
        for v in namespace.values()
        if isinstance(v, Program) or (isinstance(v, JitFunction) and v.options.get("function") and v.program is None)
    ]
    if len(found) != 1:
        names = ", ".join(f.name for f in found) or "none"
        raise ValueError(f"{filename} must define one @pl.function or one @pl.program; it defines {names}")
    return found[0]


def loads(filepath: str) -> Any:
    """The one `@pl.function` or `@pl.program` of a file; see `parse`."""
    return parse(Path(filepath).read_text(encoding="utf-8"), str(filepath))


def parse_program(code: str, filename: str = "<string>") -> Any:
    """`parse`, for a `@pl.program` only."""
    return _program(parse(code, filename), filename)


def loads_program(filepath: str) -> Any:
    """`loads`, for a `@pl.program` only."""
    return _program(loads(filepath), filepath)


def _program(found: Any, where: str) -> Any:
    if not isinstance(found, Program):
        raise ValueError(f"{where} defines the @pl.function '{found.name}' and no @pl.program; pl.parse takes both")
    return found
