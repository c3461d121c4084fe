"""Following a run while it goes on, and ending it early: `with watched(tell): run(kernel, args)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

watcher: ContextVar[Callable[[int], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(tell: Callable[[int], None]) -> Iterator[None]:
    """Runs in this block call `tell(n)` whenever n tasks are about to execute together.

    What `tell` raises ends the run, which then puts back what it had overwritten of its arguments. A task may be told
    of more than once: tasks that could not be executed together are executed again, and a `pl.system.syncall` divides
    a task in parts.
    """
    before = watcher.set(tell)
    try:
        yield
    finally:
        watcher.reset(before)
