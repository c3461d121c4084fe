"""The errors a user can meet. All are WorkbookError; the command line prints them without a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class WorkbookError(Exception):
    """Base of every error this project raises for its user. The message says what is wrong and what to do.

    Attributes:
        kind: Which sort of fault, in the words of helpers.sanitize; "" where nothing tells them apart.
        place: The helpers.interpret.source.source.Place in the kernel that it is about, None if about none.
        what, fix: The two parts of the message, where it has a place.
    """

    kind: str = ""
    place: Any = None
    what: str = ""
    fix: str | None = None

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the message alone; after `%xmode Verbose` the frames as well."""
        from IPython import get_ipython

        shell = get_ipython()
        if shell is not None and shell.InteractiveTB.mode == "Verbose":
            return shell.InteractiveTB.structured_traceback(type(self), self, self.__traceback__)
        return [f"{type(self).__name__}: {self}"]


class InputError(WorkbookError, ValueError):
    """An argument that does not fit: dtype, shape, rank, range. Raised before anything runs or is changed."""


class PlatformError(WorkbookError, ValueError):
    """A platform that does not exist, or does not work on this machine; says what is missing."""


class KernelError(WorkbookError):
    """A kernel the language does not allow: file, line and column, the line, what to write instead."""


class FaultError(WorkbookError):
    """Something a kernel did while it ran, such as an access out of bounds; says where in its source."""


class ToolchainError(WorkbookError):
    """The installed PyPTO failed rather than the kernel: a crash, a time-out, a full disk; has its log's end."""


def shown(file: str) -> str:
    """`file` as it is shown: relative to the working directory, or to the workbook, when it lies below it."""
    for folder in (Path.cwd(), Path(__file__).parents[1]):
        if Path(file).is_relative_to(folder):
            return str(Path(file).relative_to(folder))
    return file
