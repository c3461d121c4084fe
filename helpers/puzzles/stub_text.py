"""What the reader gets of a puzzle's kernels: a module with the one function, and what that function uses."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from helpers.puzzles.found import Entry


def stub(entry: Entry) -> str:
    """The stub as a module of its own; its kernel has the puzzle's name."""
    return module(entry.file, "stub", entry.name)


def solution(entry: Entry) -> str:
    """The same of the solution."""
    return module(entry.file, "solution", entry.name)


def module(file: Path, function: str, name: str) -> str:
    """Imports, constants and functions of a file that `function` uses, and itself, called `name`.

    A constant that only its docstring names is there as well: the reader is asked to use it.
    """
    text = file.read_text(encoding="utf-8")
    lines, body = text.splitlines(), ast.parse(text).body
    defined: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            defined[node.name] = node
        elif isinstance(node, ast.Assign):
            defined |= {n.id: node for n in ast.walk(node.targets[0]) if isinstance(n, ast.Name)}
    used, todo = set(), [function]
    while todo:
        node = defined[todo.pop()]
        if id(node) not in used:
            used.add(id(node))
            todo += [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in defined]
            said = (ast.get_docstring(node) or "") if isinstance(node, ast.FunctionDef) else ""
            todo += [n for n in re.findall(r"\b[A-Z][A-Z_]+\b", said) if n in defined]
    imports = [_lines(lines, n) for n in body if isinstance(n, (ast.Import, ast.ImportFrom))]
    constants = [_lines(lines, n) for n in body if id(n) in used and isinstance(n, ast.Assign)]
    functions = [_lines(lines, n) for n in body if id(n) in used and isinstance(n, ast.FunctionDef)]
    functions[-1] = functions[-1].replace(f"def {function}(", f"def {name}(", 1)
    parts = ["\n".join(imports), *(["\n".join(constants)] if constants else []), "\n\n\n".join(functions)]
    whole = "\n\n".join(parts[:-1]) + "\n\n\n" + parts[-1] + "\n"
    return re.sub(r"  # noqa[^\n]*", "", whole)


def _lines(lines: list[str], node: ast.stmt) -> str:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(lines[first - 1 : node.end_lineno])


def same(a: str, b: str) -> bool:
    """Whether two texts are the same code: spaces at ends of lines and empty lines do not count."""
    return [x.rstrip() for x in a.splitlines() if x.strip()] == [x.rstrip() for x in b.splitlines() if x.strip()]
