"""What is left of a kernel when it is compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from helpers.interpret.facts.forms import MISSING, Parameter
from helpers.interpret.source.source import Place, Source


@dataclass
class Compiled:
    """A kernel ready to run: `run(machine, *args)`."""

    name: str
    source: Source
    kind: str
    parameters: list[Parameter]
    run: Callable
    captured: dict[str, Any]  # names of the enclosing scope and the values that were folded in
    environment: Callable[[], dict[str, Any]]
    callees: list[Compiled]
    stored: frozenset[str] = frozenset()  # parameters that tiles are stored to, where it is compiled for a region
    written: frozenset[str] = frozenset()  # and those that numbers are written to
    program: bool = False  # a function of PyPTO's older kind, @pl.program or @pl.function
    own_extents: frozenset[str] = frozenset()  # the dimensions (pl.dynamic) that its text reads as numbers
    asked: frozenset[str] = frozenset()  # parameters that the number of turns of a pl.parallel with task ids depends on
    auto_scope: bool = True  # PyPTO puts loops and arms of ifs of orchestration into scopes of their own
    misnamed: tuple[tuple[Place, str, str], ...] = ()  # tasks whose C++ cannot be called so: where, what, what to do
    placed: dict[str, str] = field(default_factory=dict)  # parameters that stand where PyPTO wants a name, and where
    needed: frozenset[str] = frozenset()  # parameters that the cube unit needs, where it is compiled for a region
    outside: dict[str, Callable] = field(default_factory=dict)  # of a program: what it calls that stands outside of it

    @property
    def extents(self) -> frozenset[str]:
        """The dimensions that it or what it calls reads as numbers."""
        return self.own_extents.union(*(c.extents for c in self.callees))

    def stale(self) -> bool:
        """True when a value that was folded in has changed since."""
        now = self.environment()
        return any(now.get(k, MISSING) is not v and now.get(k, MISSING) != v for k, v in self.captured.items()) or any(
            c.stale() for c in self.callees
        )


def with_callees(compiled: Compiled) -> list[Compiled]:
    """A kernel and those that it calls, and so on, each once."""
    out = {id(compiled): compiled}
    for c in compiled.callees:
        out |= {id(found): found for found in with_callees(c)}
    return list(out.values())


@dataclass(frozen=True)
class Signature:
    """What a kernel takes: all that its caller's arguments are checked against, before its body is looked at."""

    name: str
    parameters: list[Parameter]
    program: bool = False  # a function of a program
    extents: frozenset[str] = frozenset()  # what the body reads of its dimensions is not known
