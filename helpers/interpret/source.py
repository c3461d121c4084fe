"""Where a kernel's text is, and how an error about it reads.

A kernel is parsed, never executed, so its source must be at hand: `of(fn)` returns it as an AST whose line
and column numbers are those of the file. `explain` turns a place in it into the message a user sees.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from helpers.errors import KernelError, WorkbookError

E = TypeVar("E", bound=WorkbookError)


@dataclass(frozen=True)
class Place:
    """A construct in a kernel's file: line from 1, column from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Source:
    """A function's parsed source. `tree` is the FunctionDef, numbered as in `file`."""

    name: str
    file: str
    tree: ast.FunctionDef

    def place(self, node: ast.AST) -> Place:
        return Place(self.file, node.lineno, node.col_offset + 1)


def of(fn: Callable) -> Source:
    """Parse the source of Python function `fn`.

    Raises:
        KernelError: the source is not available (a function typed at a prompt without a cell history).
    """
    try:
        lines, first = inspect.getsourcelines(fn)
    except (OSError, TypeError) as e:
        raise KernelError(
            f"the source of kernel '{getattr(fn, '__name__', fn)}' cannot be read ({e}); a kernel is parsed from "
            "its source: define it in a file or a notebook cell"
        ) from e
    text = "".join(lines)
    indent = len(lines[0]) - len(lines[0].lstrip())
    tree = ast.parse(textwrap.dedent(text)).body[0]
    file = inspect.getsourcefile(fn) or fn.__code__.co_filename
    if not isinstance(tree, ast.FunctionDef):
        place = Place(file, tree.lineno + first - 1, tree.col_offset + indent + 1)
        raise refuse(place, f"kernel '{fn.__name__}' is not a plain `def` function", f"def {fn.__name__}(...):")
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.lineno += first - 1
            node.end_lineno += first - 1
            node.col_offset += indent
            node.end_col_offset += indent
    return Source(fn.__name__, file, tree)


def explain(place: Place, what: str, fix: str | None = None) -> str:
    """The text of an error at `place`: what is wrong, the line with a caret, what to write instead."""
    line = linecache.getline(place.file, place.line).rstrip("\n")
    file = shown(place.file)
    out = [f"{what}", f"  at {file}:{place.line}:{place.column}"]
    if line.strip():
        out += [f"    {line}", "    " + " " * (place.column - 1) + "^"]
    if fix:
        out.append(f"  fix: {fix}")
    return "\n".join(out)


def shown(file: str) -> str:
    """`file` as it is shown: relative to the working directory, or to the workbook, when it lies below it."""
    for folder in (Path.cwd(), Path(__file__).parents[2]):
        if Path(file).is_relative_to(folder):
            return str(Path(file).relative_to(folder))
    return file


def refuse(place: Place, what: str, fix: str | None = None) -> KernelError:
    """The KernelError to raise for a construct the language does not allow."""
    return located(KernelError, place, what, fix)


def located(error: type[E], place: Place, what: str, fix: str | None = None, kind: str = "") -> E:
    """An error about a place in a kernel, whose parts can be read one by one."""
    made = error(explain(place, what, fix))
    made.kind, made.place, made.what, made.fix = kind, place, what, fix
    return made
