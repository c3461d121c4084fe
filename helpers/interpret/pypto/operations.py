"""The operations as `pl` has them outside kernels: names with a signature and a docstring, which cannot be called."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from helpers.interpret.facts import spelling
from helpers.interpret.language import pl_names as language
from helpers.interpret.language.operation import Operation
from helpers.interpret.ops import NO_CODE, OPS

SHAPES = {
    "first": "of the shape of the first operand", "both": "of the shape of both operands",
    "fold": "of the shape of the first operand with one axis of extent 1",
}  # fmt: skip
VALID = {"first": "valid where the first operand is", "whole": "of tensors, valid as a whole"}
UNITS = {"vector": "the vector unit", "cube": "the cube"}


def names(space: str) -> list[str]:
    """The operations of a namespace; of `pl` itself with ""."""
    return [n for s, _, n in (p.rpartition(".") for p in (*OPS, *NO_CODE)) if s == space]


def unknown(path: str, others: list[str]) -> str:
    """What is said of `pl.<path>`, which is not there; `others`: what else its owner has."""
    fix = spelling.of_language(path, [*others, *names(path.rpartition(".")[0])])
    return f"pl.{path} is not a name of pypto.language{'; ' + fix if fix else ''}"


def stand_in(path: str) -> Callable | None:
    """A function for `pl.<path>` that only tells what it is, or None where there is no such operation."""
    record = OPS.get(path)
    if record is None and path not in NO_CODE:
        return None

    def operation(*_: Any, **__: Any) -> Any:
        raise language.only_parsed(path)

    operation.__name__ = operation.__qualname__ = path.rpartition(".")[2]
    operation.__module__ = f"pypto.language.{path.rpartition('.')[0]}".rstrip(".")
    operation.__doc__ = (
        f"PyPTO cannot compile it: write {NO_CODE[path]}." if record is None else described(record, path)
    )
    if record is not None:
        operation.__signature__ = record.signatures[path]
    return operation


def described(record: Operation, path: str) -> str:
    """What is known of an operation: what it computes, where, of which element types, and its other names."""
    first, *rest = (" ".join(part.split()) for part in (inspect.getdoc(record.compute) or record.says).split("\n\n"))
    details = [first.removeprefix(record.says).strip(), *rest] if first.startswith(record.says) else []
    out = [record.says, *(d for d in details if d and not d.startswith("Raises:"))]
    parts = [*out, "\n".join(f"{name}: {text}." for name, text in facts(record, path))]
    return "\n\n".join("\n".join(line for row in p.split("\n") for line in textwrap.wrap(row, 100)) for p in parts)


def facts(record: Operation, path: str) -> list[tuple[str, str]]:
    """(what, said) of an operation, in the order in which a page has them."""
    out = [("Where", _where(record, path))]
    if record.types is not None:
        a2a3, a5 = (", ".join(record.types[c]) for c in ("a2a3", "a5"))
        out.append(("Element types", a2a3 if set(a2a3) == set(a5) else f"{a2a3}; on A5 {a5}"))
    of = record.result
    result = [
        SHAPES.get(of.shape), "of its element type" if of.type and of.shape in SHAPES else None, VALID.get(of.valid)
    ]  # fmt: skip
    if any(result):
        out.append(("Result", ", ".join(r for r in result if r)))
    if record.scratch and path in (record.name, f"tile.{record.name}"):
        out.append(("Scratch", f"of tiles it needs {record.scratch}, a tile in UB; of tensors the compiler makes it"))
    others = [p for p in record.signatures if p != path]
    if others:
        out.append(("Also", ", ".join(f"pl.{p}{record.signatures[p]}".replace("=None", "=...") for p in others)))
    return out


def _where(record: Operation, path: str) -> str:
    if record.gives in ("index", "number") or (record.orchestration and not path.startswith("tile.")):
        return "in orchestration and in InCore regions"
    return f"in an InCore region{', on ' + UNITS[record.unit] if record.unit and not record.moves else ''}"
