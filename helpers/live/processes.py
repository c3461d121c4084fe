"""A process forked from this one, and the connection to it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any


@dataclass
class Child:
    pid: int
    connection: Connection

    def end(self) -> None:
        """End it, and with it all that it has started."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.connection.close()


def fork(work: Callable[..., None], *given: Any) -> Child:
    """A process that does `work(connection, *given)` and ends; it is ended when this one ends."""
    here, there = Pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        there.close()
        return Child(pid, here)
    code = 1
    try:
        _end_with(parent)
        here.close()
        work(there, *given)
        code = 0
    except (EOFError, BrokenPipeError):
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends (Linux, prctl(2): PR_SET_PDEATHSIG is 1)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
