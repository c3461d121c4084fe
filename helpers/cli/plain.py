"""What all commands share: the app, how errors are shown, where output goes, how a script is run."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from helpers.errors import WorkbookError

if TYPE_CHECKING:
    from helpers.interpret.trace.trace import Trace

WHAT = "A stage (see `workbook list`), FILE.py or FILE.py:KERNEL."

app = typer.Typer(
    help="Run PyPTO kernels, stage by stage, and hold them against their golden.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# A checkout of pypto-lib has a `golden` of its own; commands are run inside it, or with it on PYTHONPATH.
sys.path.insert(0, str(Path(__file__).parents[2]))

FAILED, REFUSED, INTERRUPTED = 1, 2, 130  # exit codes: a FAIL verdict, an error, Ctrl-C


def plainly(command: Callable) -> Callable:
    """Show a WorkbookError as its message alone, and end with exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except WorkbookError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(REFUSED) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except OSError as error:
            print(f"error: {error.strerror or error}: {error.filename}", file=sys.stderr)
            raise typer.Exit(REFUSED) from None
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
            print(f"error: the workbook itself failed, which is a defect of it: {what}", file=sys.stderr)
            raise typer.Exit(REFUSED) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None

    return wrapped


def script(file: Path, args: list[str], trace_only: bool) -> tuple[int, list[Trace]]:
    """Run a script; an exception of its own is an error that shows its line.

    Raises:
        InputError: there is no such file, or it ended with an exception.
    """
    from helpers.interpret.pypto.script import run_script, told_at_its_line

    with told_at_its_line(file):
        return run_script(file, args, trace_only)


def console() -> Console:
    """Standard output; wide enough for the table where it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=140)
