"""The script that is being interpreted now, if one is: how its kernels run, and who looks on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from helpers import chips
from helpers.interpret.trace.trace import Trace


@dataclass(frozen=True)
class Observer:
    """Who looks on while a script runs.

    Attributes:
        interpret: Runs a kernel in place of `call.interpret`: (kernel, args, platform, chip, dry), returns the trace.
        compared: Told of outputs that are compared with a golden: (outputs, expected, inputs, rtol, atol, compare_fn).
    """

    interpret: Callable[..., Trace]
    compared: Callable[..., None]


@dataclass
class Session:
    """A script being interpreted, and the traces of the kernels it ran."""

    trace_only: bool
    observer: Observer | None = None
    traces: list[Trace] = field(default_factory=list)


_CURRENT: list[Session] = []


def current() -> Session | None:
    """The session of the script that is being interpreted now, or None."""
    return _CURRENT[-1] if _CURRENT else None


def interpreted(platform: str) -> str:
    """The interpret-mode platform of the chip that a script asks for; a name that no platform has stays as it is."""
    chip = "a2a3" if platform == "default" else platform.removesuffix("sim").removesuffix("interp")
    return f"{chip}interp" if chip in chips.NAMES else platform


@contextmanager
def begun(trace_only: bool, observer: Observer | None) -> Iterator[Session]:
    """The session of a script, until the end of the block."""
    session = Session(trace_only, observer)
    _CURRENT.append(session)
    try:
        yield session
    finally:
        _CURRENT.pop()
