"""Cores of a cluster that run together: each in a thread of its own, one at a time, until it waits for another.

A cube and a vector core that push tiles to each other both make progress only when their programs take turns. One runs
until what it waits for is not there yet, then the next: the order is always the same, and no two touch the machine at
one time.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch


class _Stopped(BaseException):
    """The others ended, or one failed: this core unwinds."""


class Core:
    """One core. `state` is what the machine holds while this core runs and another value while another does."""

    def __init__(self, name: str, body: Callable[[], Any], state: Any):
        self.name, self.body, self.state = name, body, state
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = self.stopped = False
        self.ready: Callable[[], bool] = lambda: True
        self.stuck: Callable[[], Exception] | None = None  # the error, if it never becomes ready
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    def wait(self, ready: Callable[[], bool], stuck: Callable[[], Exception]) -> None:
        """Called by this core: let the others run until `ready()`; `stuck()` is the error when that never comes."""
        if self.stopped:
            raise _Stopped
        if ready():
            return
        self.ready, self.stuck = ready, stuck
        self._back.release()
        self._go.acquire()
        self.ready, self.stuck = (lambda: True), None
        if self.stopped:
            raise _Stopped

    def resume(self) -> None:
        """Run on until it waits or ends; called by the thread that runs the crew."""
        if self._thread is None:
            context, threads = contextvars.copy_context(), torch.get_num_threads()
            self._thread = threading.Thread(target=context.run, args=(self._run, threads), name=self.name, daemon=True)
            self._thread.start()
        else:
            self._go.release()
        self._back.acquire()

    def stop(self) -> None:
        """End it where it waits."""
        self.stopped = True
        if self._thread is not None and not self.done:
            self._go.release()
            self._thread.join()

    def _run(self, threads: int) -> None:
        torch.set_num_threads(threads)  # a thread begins with torch's default
        try:
            self.result = self.body()
        except BaseException as e:  # handed to the thread that runs the crew
            self.error = e
        finally:
            self.done = True
            self._back.release()


def run_in_turns(cores: Sequence[Core], enter: Callable[[Core], None], leave: Callable[[Core], None]) -> None:
    """Run all cores to their end; `enter` and `leave` go around every turn of one.

    Raises:
        Exception: what a core raised; or, when every core that is left waits, the `stuck` error of the first.
    """
    try:
        while left := [c for c in cores if not c.done]:
            able = [c for c in left if c.ready()]
            if not able:
                raise left[0].stuck()
            for core in able:
                enter(core)
                try:
                    core.resume()
                finally:
                    leave(core)
                if core.error is not None:
                    raise core.error
    finally:
        for core in cores:
            core.stop()
