"""A kernel's text as an AST, and how an error about it reads.

A kernel is parsed, never executed, so its source must be at hand: `of(fn)` returns what it was bound to (`texts`) as an
AST whose line and column numbers are those of the file. `explain` turns a place in it into the message a user sees.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from helpers.errors import KernelError, WorkbookError, shown
from helpers.interpret.source import texts
from helpers.interpret.source.texts import Bound, FileText

E = TypeVar("E", bound=WorkbookError)


@dataclass(frozen=True)
class Place:
    """A construct in a kernel's file: line from 1, column from 1. `text` is the file as it was; None: as it is."""

    file: str
    line: int
    column: int
    text: FileText | None = field(default=None, compare=False, repr=False)

    @property
    def code(self) -> str:
        """The line, without its end; "" where there is none."""
        if self.text is not None:
            return self.text.line(self.line)
        return linecache.getline(self.file, self.line).rstrip("\n")

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Source:
    """A function's parsed source. `tree` is the FunctionDef, numbered as in the file."""

    name: str
    bound: Bound
    tree: ast.FunctionDef

    @property
    def file(self) -> str:
        """The file, or what stands for one."""
        return self.bound.text.file

    def place(self, node: ast.AST) -> Place:
        return Place(self.file, node.lineno, node.col_offset + 1, self.bound.text)


def of(fn: Callable) -> Source:
    """Parse the text that Python function `fn` was bound to.

    Raises:
        KernelError: there is none (a function typed at a prompt without a cell history), or it is no longer there.
    """
    bound = texts.of(fn)
    span = bound.span
    if not span.plain:
        place = Place(bound.text.file, span.line, span.column + 1, bound.text)
        raise refuse(place, f"kernel '{fn.__name__}' is not a plain `def` function", f"def {fn.__name__}(...):")
    text = "".join(bound.lines)
    if text[0] in " \t":  # as far from the edge as it stands in the file
        tree, before = ast.parse(f"if True:\n{text}").body[0].body[0], span.first - 2
    else:
        tree, before = ast.parse(text).body[0], span.first - 1
    return Source(fn.__name__, bound, ast.increment_lineno(tree, before))


def explain(place: Place, what: str, fix: str | None = None) -> str:
    """The text of an error at `place`: what is wrong, the line with a caret, what to write instead."""
    line = place.code
    file = shown(place.file)
    out = [f"{what}", f"  at {file}:{place.line}:{place.column}"]
    if line.strip():
        out += [f"    {line}", "    " + " " * (place.column - 1) + "^"]
    if fix:
        out.append(f"  fix: {fix}")
    return "\n".join(out)


def refuse(place: Place, what: str, fix: str | None = None) -> KernelError:
    """The KernelError to raise for a construct the language does not allow."""
    return located(KernelError, place, what, fix)


def located(error: type[E], place: Place, what: str, fix: str | None = None, kind: str = "") -> E:
    """An error about a place in a kernel, whose parts can be read one by one."""
    made = error(explain(place, what, fix))
    made.kind, made.place, made.what, made.fix = kind, place, what, fix
    return made
