"""The blocks of statements around what is lowered, and which names each of them has bound so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Blocks:
    """The blocks of the function that is generated, from its own to the innermost."""

    def __init__(self, bound: Iterable[str]):
        self._bound = [set(bound)]
        self._loops: list[int] = []  # of the loops around, how many blocks are outside
        self._depth = 0  # loops and arms around, in the region
        self.begun: set[str] = set()  # names that are bound to None at the function's start: their old values are read

    def bind(self, names: Iterable[str]) -> None:
        """Names are bound here."""
        self._bound[-1].update(names)

    @property
    def bound(self) -> set[str]:
        """Names bound so far, here or around."""
        return set().union(*self._bound)

    def around(self, name: str) -> bool:
        """True for a name that a block around this one has bound."""
        return any(name in names for names in self._bound[:-1])

    def outer(self, name: str) -> bool:
        """True for one that was bound in a block around this one, in the region, and not in it."""
        return self._depth > 0 and name not in self._bound[-1] and self.around(name)

    def again(self, name: str) -> bool:
        """True for a name of a region that a loop or an arm binds again."""
        return self._depth > 0 and self.around(name)

    def of_turns(self, name: str) -> bool:
        """True for a name that was bound before one of the loops around."""
        return any(name in names for depth in self._loops for names in self._bound[:depth])

    def begin(self, names: Iterable[str]) -> None:
        """Their old values are read: they need one from the start of the function."""
        self.begun.update(names)

    @contextmanager
    def inner(self, turns: bool) -> Iterator[None]:
        """In the body of a loop or of an arm of an if; `turns` for a loop that stays one."""
        self._depth += 1
        if turns:
            self._loops.append(len(self._bound))
        self._bound.append(set())
        yield
        self._depth -= 1
        self._bound.pop()
        if turns:
            self._loops.pop()

    @contextmanager
    def region(self) -> Iterator[None]:
        """In a region: loops and arms outside do not count."""
        around, self._depth = self._depth, 0
        yield
        self._depth = around

    @contextmanager
    def function(self, bound: Iterable[str]) -> Iterator[set[str]]:
        """In a function of its own, which begins with these names; gives those that it reads before it binds them."""
        around = self._bound, self.begun
        self._bound, self.begun = [set(bound)], set()
        yield self.begun
        self._bound, self.begun = around
