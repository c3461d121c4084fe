"""Where in a kernel the lowering is: in orchestration or on a core, and in what there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Region:
    """The scopes around what is lowered now; each is entered with a `with`."""

    def __init__(self, incore: bool):
        self.incore = incore
        self.split: str | None = None  # the mode of the pl.split of the region
        self.dispatching = False  # in a `with pl.spmd` whose body calls a kernel
        self.lanes: str | None = None  # in a pl.split_aiv: its mode
        self.manual = False  # in a manual scope
        self.dropped = False  # in an arm or a loop that PyPTO may drop, for what it knows while it compiles

    @contextmanager
    def core(self, split: str | None, dispatching: bool) -> Iterator[None]:
        """In a `pl.at` or a `pl.spmd` of orchestration."""
        self.incore, self.split, self.dispatching = True, split, dispatching
        yield
        self.incore, self.split, self.dispatching = False, None, False

    @contextmanager
    def over_lanes(self, mode: str) -> Iterator[None]:
        """In a `pl.split_aiv`."""
        self.lanes = mode
        yield
        self.lanes = None

    @contextmanager
    def scope(self, manual: bool) -> Iterator[None]:
        """In a `pl.scope` or a `pl.manual_scope`."""
        around, self.manual = self.manual, manual
        yield
        self.manual = around

    @contextmanager
    def known(self, decided: bool) -> Iterator[None]:
        """In an arm or a loop; `decided`: what it depends on is known while PyPTO compiles, and it may be left out."""
        around, self.dropped = self.dropped, self.dropped or decided
        yield
        self.dropped = around
