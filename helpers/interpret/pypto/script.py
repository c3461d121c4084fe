"""Running a kernel script as it stands: `workbook interpret FILE.py [its own arguments]`.

The script's `golden` and `pypto.*` imports find this repository's; the platform it asks for (`a2a3`, `a5sim` ...)
means that chip, interpreted. With `trace_only`, kernels run their control flow on their integer inputs and nothing
else: no arithmetic, no weights, no golden.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from helpers.errors import InputError, WorkbookError
from helpers.interpret import running_script
from helpers.interpret.pypto import language
from helpers.interpret.source import texts
from helpers.interpret.source.source import Place, located
from helpers.interpret.trace.trace import Trace


def run_script(
    file: Path, args: Sequence[str], trace_only: bool = False, observer: running_script.Observer | None = None
) -> tuple[int, list[Trace]]:
    """Run a script in this process; returns its exit code and the traces of the kernels it ran.

    Raises:
        InputError: there is no such file.
    """
    if not file.is_file():
        raise InputError(f"there is no file {file}")
    language.install()
    import golden  # noqa: F401 - so that the script's `import golden` finds this one, whatever lies beside it

    with running_script.begun(trace_only, observer) as session_, _as_main(file, args):
        try:
            runpy.run_path(str(file), run_name="__main__")
            code = 0
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
            if isinstance(e.code, str):
                print(e.code, file=sys.stderr)
    return code, session_.traces


@contextmanager
def told_at_its_line(file: Path) -> Iterator[None]:
    """What the block raises while it runs a script is told at the line of the script that it came through last.

    Raises:
        InputError: the script ended with an exception of its own.
    """
    try:
        yield
    except WorkbookError as error:
        name, lines = last_line(error, file)
        if error.place is not None or not lines:
            raise
        raise _at(type(error), name, lines[-1], str(error)) from error
    except Exception as error:
        what = f"{file} ended with {type(error).__name__}: {error}".rstrip(": ") + _not_served(error)
        if isinstance(error, SyntaxError):
            name, lines = error.filename or str(file), [error.lineno or 1]
        else:
            name, lines = last_line(error, file)
        raise (_at(InputError, name, lines[-1], what) if lines else InputError(what)) from error


def _not_served(error: Exception) -> str:
    """What to add where an exception is about a name that a served module or object does not have."""
    name, of = "", getattr(error, "obj", None)
    if isinstance(error, ImportError):
        name = error.name or ""
    elif isinstance(error, AttributeError):
        name = of.__name__ if isinstance(of, ModuleType) else type(of).__module__
    if name.partition(".")[0] == "pypto" or name.startswith("helpers.interpret."):
        return ", which interpret mode does not have; what PyPTO has beside its language may need PyPTO itself"
    return ""


def _at(kind: type[WorkbookError], name: str, line: int, what: str) -> WorkbookError:
    text = texts.read(name)
    code = text.line(line) if text is not None else ""
    return located(kind, Place(name, line, len(code) - len(code.lstrip()) + 1, text), what)


def last_line(error: Exception, file: Path) -> tuple[str, list[int]]:
    """Of a script or a module beside it: the file and the line that an exception came through last; [] if none."""
    folder = str(file.resolve().parent)
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = frame.f_code.co_filename
        module = frame.f_globals.get("__name__", "")
        beside = os.path.realpath(name).startswith(folder + os.sep) and texts.is_source(module, name)
        if name == str(file) or beside:
            return name, [line]
    return str(file), []


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
