"""The near side: one worker process a platform; it is started when needed, watched, and ended when it misbehaves.

A worker serves one request after the other and is ended when this process ends, when a request takes too long, when
a source that it has imported changes, or when what is installed does.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any

from helpers import platforms
from helpers.errors import InputError, ToolchainError

LOG_LINES = 30  # of a worker's log, in an error
FIRST_ERRORS = 5  # lines of it that come before those and name an error: a simulator's last words are a stack
_LIMIT = "PYPTO_WORKBOOK_TIMEOUT"
_BOOT = "import sys; sys.path[:] = {path!r}; from helpers.toolchain.worker import main; main({fd}, {watched})"


class Failed(Exception):
    """A worker's own account of what went wrong, see `worker.describe`; for `helpers.toolchain` alone."""

    def __init__(self, about: dict[str, Any], log: str):
        super().__init__(about["message"])
        self.about, self.log = about, log


@dataclass
class _Process:
    owner: int  # the process that started it: a fork of that one must leave it alone
    popen: subprocess.Popen
    connection: Connection
    watch: int  # a pipe's end that nobody else has: when it goes, this process is gone, and the worker goes too
    log: Any
    setting: tuple
    files: dict[str, int] = field(default_factory=dict)

    def stale(self) -> bool:
        """True when it has ended, or what it has imported is no longer what is there."""
        if self.owner != os.getpid() or self.popen.poll() is not None or self.setting != _setting():
            return True
        return any(_written(file) != when for file, when in self.files.items())

    def end(self) -> None:
        """End it with everything that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self.connection.close()
        os.close(self.watch)


_PROCESSES: dict[str, _Process] = {}
_LOCK = threading.RLock()


def ask(platform: str, request: dict[str, Any], progress: Callable[[str], None], fd: int | None = None) -> dict:
    """Have the worker of a platform do something and wait for it.

    Args:
        request: See `worker`; its sender's import path and folder are added here.
        progress: Told what the worker is at.
        fd: A block of memory to hand over.

    Raises:
        Failed: the worker says that it could not; it goes on living.
        ToolchainError: it crashed, was killed, or took too long; there is no worker then.
    """
    limit, folder = time_limit(), _folder()
    with _LOCK:
        process = _process(platform)
        start = process.log.seek(0, os.SEEK_END)
        try:
            with _ended_on_error(platform):
                request = {**request, "platform": platform, "path": _path(), "folder": folder}
                kind, answer = _talk(process, request, fd, progress, limit)
        except TimeoutError:  # before its base, OSError
            raise ToolchainError(
                f"{platform}: the process that {_doing(request)} was ended after {limit:g} s without a result "
                f"({_LIMIT} sets this limit, in seconds).{_tail(process.log, start)}"
            ) from None
        except (EOFError, OSError):
            code = process.popen.wait()
            raise ToolchainError(
                f"{platform}: the process that {_doing(request)} {_ended(code)}.{_tail(process.log, start)}"
            ) from None
        process.files = answer.pop("files", {})
        if kind == "failed":
            raise Failed(answer, _tail(process.log, start))
        return answer


def stop(platform: str | None = None) -> None:
    """End the worker of a platform, or all, with everything that they started."""
    with _LOCK:
        for name in [platform] if platform else list(_PROCESSES):
            process = _PROCESSES.pop(name, None)
            if process is None or process.owner != os.getpid():
                continue
            process.end()
            process.log.close()


atexit.register(stop)


def time_limit() -> float:
    """Seconds that one request may take: 1800, or what PYPTO_WORKBOOK_TIMEOUT says.

    Raises:
        InputError: that is no positive number.
    """
    text = os.environ.get(_LIMIT, "1800")
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise InputError(f"{_LIMIT} is {text!r}: must be a positive number of seconds")
    return limit


@contextmanager
def _ended_on_error(platform: str) -> Iterator[None]:
    """Whatever interrupts a conversation (an error, Ctrl-C) leaves a worker that nobody can talk to: end it.

    The log stays open for the error's text.
    """
    try:
        yield
    except BaseException:
        _PROCESSES.pop(platform).end()
        raise


def _talk(
    process: _Process, request: dict[str, Any], fd: int | None, progress: Callable[[str], None], limit: float
) -> tuple[str, dict[str, Any]]:
    connection, deadline = process.connection, time.monotonic() + limit
    connection.send(request)
    if fd is not None:
        send_handle(connection, fd, process.popen.pid)
    while True:
        while not connection.poll(0.1):
            if process.popen.poll() is not None and not connection.poll(0):
                raise EOFError
            if time.monotonic() > deadline:
                raise TimeoutError
        kind, value = connection.recv()
        if kind != "progress":
            return kind, value
        progress(value)


def _process(platform: str) -> _Process:
    """The worker of a platform, started if there is none that can be used."""
    process = _PROCESSES.get(platform)
    if process is not None and process.stale():
        stop(platform)
        process = None
    if process is None:
        near, far = Pipe()
        log = tempfile.TemporaryFile()
        watched, watch = os.pipe()
        popen = subprocess.Popen(
            [sys.executable, "-c", _BOOT.format(path=_path(), fd=far.fileno(), watched=watched)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[far.fileno(), watched],
            start_new_session=True,  # so that all it starts can be ended with it
        )
        os.close(watched)
        far.close()
        process = _PROCESSES[platform] = _Process(os.getpid(), popen, near, watch, log, _setting())
    return process


def _path() -> list[str]:
    """This process's import path, with this repository on it."""
    root = str(Path(__file__).parents[2])
    path = [os.path.abspath(p) for p in sys.path]
    return path if root in path else [root, *path]


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise InputError("the folder that this process works in is not there any more: change to one that is") from None


def _setting() -> tuple:
    """What decides which PyPTO and which tools a worker finds."""
    return (*(os.environ.get(v) for v in platforms.ENVIRONMENT), *sys.path)


def _written(file: str) -> int | None:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return None


def _doing(request: dict[str, Any]) -> str:
    name = request.get("name") or Path(request["file"]).name
    return f"{'compiles' if request['do'] == 'compile' else 'runs'} {name}"


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended by itself with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}" + {"SIGSEGV": " (it crashed)", "SIGKILL": " (out of memory?)"}.get(name, "")


def _tail(log: Any, start: int) -> str:
    """The end of what a worker has printed since `start`, as the end of an error's text."""
    log.seek(start)
    lines = log.read().decode(errors="replace").rstrip().splitlines()
    if not lines:
        return " It printed nothing."
    shown = lines[-LOG_LINES:]
    first = [line for line in lines[: -len(shown) or None] if "ERROR" in line][:FIRST_ERRORS]
    before = "".join(f"\n  | {line}" for line in first)
    if before:
        before = f" The first errors in its log:{before}\n"
    return f"{before} The end of its log, {len(shown)} of {len(lines)} lines:\n" + "\n".join(f"  | {x}" for x in shown)
