"""Which puzzles there are: each a record in golden/puzzles and a module of kernels of the same name."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import InputError

if TYPE_CHECKING:
    from golden.puzzles.record import Puzzle

PARTS = ("tiles", "cube", "attention", "chip")
"""The folders of golden/puzzles and kernels/puzzles, in the order in which they are read."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A puzzle: its name, its part, its number among all, its record, and its kernels by name."""

    name: str
    part: str
    number: int
    record: Puzzle
    kernels: dict[str, Any]
    file: Path

    @property
    def stub(self) -> Any:
        """The kernel that the reader begins with."""
        return self.kernels["stub"]

    @property
    def solution(self) -> Any:
        """The kernel that par is computed from."""
        return self.kernels["solution"]

    @property
    def notebook(self) -> str:
        """The stem of the notebook that has it."""
        return notebook_of(self.part)


def notebook_of(part: str) -> str:
    """The stem of a part's notebook."""
    return f"puzzles_{PARTS.index(part) + 1}_{part}"


def about(part: str) -> str:
    """What a part is about, in a sentence."""
    return importlib.import_module(f"golden.puzzles.{part}").__doc__.strip()


@lru_cache(1)
def puzzles() -> dict[str, Entry]:
    """All puzzles by name, in their order."""
    records: list[tuple[str, str, Puzzle]] = []
    for part in PARTS:
        package = importlib.import_module(f"golden.puzzles.{part}")
        names = [m.name for m in pkgutil.iter_modules(package.__path__)]
        own = [(part, n, importlib.import_module(f"golden.puzzles.{part}.{n}").PUZZLE) for n in names]
        records += sorted(own, key=lambda found: found[2].order)
    out = {}
    for number, (part, name, record) in enumerate(records, start=1):
        module = importlib.import_module(f"kernels.puzzles.{part}.{name}")
        kernels = {n: getattr(module, n) for n in ("stub", "solution", *record.wrong)}
        out[name] = Entry(name, part, number, record, kernels, Path(module.__file__))
    return out


def find(name: str) -> Entry:
    """The puzzle called `name`, or with that number.

    Raises:
        InputError: there is none; says which is meant.
    """
    known = puzzles()
    if name.isdigit() and 1 <= int(name) <= len(known):
        return list(known.values())[int(name) - 1]
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise InputError(f"there is no puzzle {name!r}; {meant}")
    return known[name]
