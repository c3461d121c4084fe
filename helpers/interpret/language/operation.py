"""The record of one operation of `pl`: its names, what it takes, what is known of its result.

A record stands beside the function that computes the operation, in a module of `ops`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

ALL = (0, 1, 2, 3)  # operands, by their number

Types = dict[str, tuple[str, ...]]  # chip -> element types


@dataclass(frozen=True)
class Result:
    """What is certain of a result from its operands alone.

    `shape`: "first" for that of the first operand, "both" for that of two operands that agree, "fold" for that of the
    first operand with one axis of extent 1, "written" for that of its parameter `shape`. `type`: it has the first
    operand's element type. `layout`: it lies in UB as the first operand does (tried on PyPTO, with a product). `valid`:
    "first" for the valid part of the first operand; "whole": of tensors, all of it is valid.
    """

    shape: str = ""
    type: bool = False
    layout: bool = False
    valid: str = ""


LIKE_FIRST = Result("first", type=True, layout=True, valid="first")
LIKE_FIRST_WHOLE = Result("first", type=True, layout=True, valid="whole")
LIKE_BOTH = Result("both", type=True, layout=True)
FOLD = Result("fold", type=True)
WRITTEN = Result("written")
WRITTEN_LAID_OUT = Result("written", type=True, layout=True)
TYPED = Result(type=True)
LAID_OUT = Result(type=True, layout=True)


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of the language.

    Source of `signatures`: `inspect.signature` of every operation of `pypto.language` in hw-native-sys/pypto;
    a test compares the two where that package is installed. Source of the rest: each operation tried with
    each kind of operand on the same PyPTO, and the type deduction in its src/ir/op.
    """

    name: str  # without its namespace
    signatures: Mapping[str, inspect.Signature]  # path below `pl` -> what it is called with there
    compute: Callable  # (machine, place, operands...)
    says: str  # one sentence: what it computes
    types: Types | None = None  # element types that it takes, by chip; None: every type
    result: Result = Result()
    unit: str = ""  # "vector" or "cube", where only that unit does it
    moves: bool = False  # a vector operation that computes nothing: in a pl.split_aiv it may stand on either side
    creates: bool = False  # it makes a tensor or a tile that holds nothing yet
    fills: str = ""  # "same" or "counted": it makes one of numbers alone, all of them the same, or by where they lie
    target: str = ""  # the parameter that it stores a tile to
    factors: tuple[int, ...] = ()  # operands that a product multiplies
    gives: str = ""  # "index" or "number", else "tile", "tensor" or "either"; "": what its first operand is
    orchestration: bool = False  # it may stand outside regions, but for its path below pl.tile
    tensors: bool = False  # it takes tensors in global memory as they are
    tiles_only: bool = False  # it takes none: there is an instruction on tiles, and no form for tensors
    number_second: bool = False  # its second operand is a number
    tiles_at: tuple[int, ...] = ()  # operands that are tiles or tensors and no numbers
    same_number: bool = False  # of FP32 tiles its number is FP32, too; others convert an integer
    apart: tuple[int, ...] = ()  # operands that its result may not overwrite; scratch included where it is ALL

    @property
    def scratch(self) -> str | None:
        """The scratch that its form for tiles needs, and its form for tensors, where the compiler makes it, has not."""
        plain, tile, tensor = (self.signatures.get(p + self.name) for p in ("", "tile.", "tensor."))
        if plain is None or tile is None or tensor is None:
            return None
        needed = [n for n, p in tile.parameters.items() if p.default is p.empty and n not in tensor.parameters]
        optional = {n for n, p in plain.parameters.items() if p.default is not p.empty}
        return next((n for n in needed if n in optional), None)

    def misuse(self, path: str, positional: int, named: Sequence[str]) -> str | None:
        """What is wrong with a call of `pl.<path>` with so many positional arguments and these named ones, or None."""
        signature = self.signatures[path]
        try:
            signature.bind(*[None] * positional, **dict.fromkeys(named))
        except TypeError as e:
            return (
                f"{e}: it takes ({', '.join(str(p).replace('=None', '=...') for p in signature.parameters.values())})"
            )
        return None

    def bound(self, path: str, args: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> dict[str, ast.expr] | None:
        """The arguments of a call of `pl.<path>` by its names, in its order; None where they do not fit."""
        names = self._names[path]
        if names is None:
            try:
                return dict(self.signatures[path].bind(*args, **{k.arg: k.value for k in keywords}).arguments)
            except TypeError:
                return None
        if len(args) > names.positional:
            return None
        given = dict(zip(names.all, args))
        for k in keywords:
            if k.arg in given or k.arg not in names.all:
                return None
            given[k.arg] = k.value
        if not names.needed <= given.keys():
            return None
        return {n: given[n] for n in names.all if n in given}

    @cached_property
    def _names(self) -> dict[str, _Names | None]:
        return {path: _named(signature) for path, signature in self.signatures.items()}

    def own_names(self, path: str) -> dict[str, str]:
        """Parameters of `pl.<path>` to those of `compute`: of the same name, or else at the same position."""
        mine = [p.name for p in _parameters(self.compute)]
        theirs = enumerate(self.signatures[path].parameters)
        return {n: n if n in mine else mine[i] for i, n in theirs if n in mine or i < len(mine)}

    def arranged(
        self, path: str, args: Sequence[ast.expr], keywords: Sequence[ast.keyword]
    ) -> tuple[list[ast.expr], dict[str, ast.expr]]:
        """The arguments of a call of `pl.<path>` as `compute` takes them: by position as far as the order agrees."""
        own = _parameters(self.compute)
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own):
            return list(args), {k.arg: k.value for k in keywords}
        names, mine, theirs = self.own_names(path), [p.name for p in own], list(self.signatures[path].parameters)
        same = next((i for i, n in enumerate(theirs[: len(args)]) if names.get(n, mine[i]) != mine[i]), len(args))
        by_name = {names[n]: a for n, a in zip(theirs[same:], args[same:])}
        return list(args[:same]), by_name | {names.get(k.arg, k.arg): k.value for k in keywords}


@dataclass(frozen=True)
class _Names:
    """Names of parameters: all, how many may be given by position, those that have to be given."""

    all: dict[str, None]
    positional: int
    needed: frozenset[str]


def _named(signature: inspect.Signature) -> _Names | None:
    """The names of a signature; None where it takes any number of arguments."""
    of = signature.parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in of):
        return None
    positional = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in of)
    return _Names(dict.fromkeys(p.name for p in of), positional, frozenset(p.name for p in of if p.default is p.empty))


@cache
def _parameters(compute: Callable) -> list[inspect.Parameter]:
    """The parameters of an operation's function, but for the machine and the place."""
    return list(inspect.signature(compute).parameters.values())[2:]


def signature(text: str) -> inspect.Signature:
    """A signature from the names of its parameters: `?` after one that may be left out, after `*` by name only."""
    out, kind = [], inspect.Parameter.POSITIONAL_OR_KEYWORD
    for word in text.split():
        if word == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
        elif word.startswith("**"):
            out.append(inspect.Parameter(word[2:], inspect.Parameter.VAR_KEYWORD))
        elif word.startswith("*"):
            out.append(inspect.Parameter(word[1:], inspect.Parameter.VAR_POSITIONAL))
        else:
            default = None if word.endswith("?") else inspect.Parameter.empty
            out.append(inspect.Parameter(word.rstrip("?"), kind, default=default))
    return inspect.Signature(out)
