"""Running a kernel script as it stands: `workbook interpret FILE.py [its own arguments]`.

The script's `golden` and `pypto.*` imports find this repository's; the platform it asks for (`a2a3`, `a5sim` ...)
means that chip, interpreted. With `trace_only`, kernels run their control flow on their integer inputs and nothing
else: no arithmetic, no weights, no golden.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from helpers.errors import InputError
from helpers.interpret import language
from helpers.interpret.trace import Trace


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
    """The interpret-mode platform of the chip that a script asks for."""
    chip = platform.removesuffix("sim").removesuffix("interp")
    return f"{chip}interp" if chip in ("a2a3", "a5") else "a2a3interp"


def run_script(
    file: Path, args: Sequence[str], trace_only: bool = False, observer: Observer | None = None
) -> tuple[int, list[Trace]]:
    """Run a script in this process; returns its exit code and the traces of the kernels it ran.

    Raises:
        InputError: there is no such file.
    """
    if not file.is_file():
        raise InputError(f"there is no file {file}")
    language.install()
    import golden  # noqa: F401 - so that the script's `import golden` finds this one, whatever lies beside it

    with _session(trace_only, observer) as session, _as_main(file, args):
        try:
            runpy.run_path(str(file), run_name="__main__")
            code = 0
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
            if isinstance(e.code, str):
                print(e.code, file=sys.stderr)
    return code, session.traces


@contextmanager
def _session(trace_only: bool, observer: Observer | None) -> Iterator[Session]:
    session = Session(trace_only, observer)
    _CURRENT.append(session)
    try:
        yield session
    finally:
        _CURRENT.pop()


@contextmanager
def _as_main(file: Path, args: Sequence[str]) -> Iterator[None]:
    argv, path, modules = sys.argv, list(sys.path), set(sys.modules)
    sys.argv = [str(file), *args]
    sys.path.insert(0, os.fspath(file.resolve().parent))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path
        for name in set(sys.modules) - modules:  # the script's neighbours (config, ...) are nobody else's
            found = getattr(sys.modules[name], "__file__", None)
            if found and Path(found).is_relative_to(file.resolve().parent):
                del sys.modules[name]
