"""Long work behind a widget: in a thread of its own, the latest request only, with progress and an end on request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_one_at_a_time = threading.Lock()  # interpret mode sets torch's threads for the whole process


class Cancelled(Exception):
    """Ends work that nobody waits for any more."""


class Job:
    """Does what `start` asks for; a later `start`, or `cancel`, ends what runs.

    Widgets' callbacks may come on any thread (JupyterLab runs them beside the cells), and must return at once for the
    next one to be heard; hence the thread.

    Args:
        work: `work(request, check)` does it and shows what there is to show. It calls `check()` often, which raises
            Cancelled once the work is no longer wanted.
        ended: `ended(error)` is called after the latest request: None, a Cancelled, or what `work` raised.
    """

    def __init__(self, work: Callable[[Any, Callable[[], None]], None], ended: Callable[[Exception | None], None]):
        self._work, self._ended = work, ended
        self._turn = 0  # of the latest request; a thread whose turn is over stops
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()

    def start(self, request: Any) -> None:
        """Begin with `request`; whatever ran before is ended, and shows nothing any more."""
        with self._lock:
            self._turn += 1
            self._thread = threading.Thread(target=self._run, args=(self._turn, request), daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        """End what runs, if anything does."""
        with self._lock:
            running = self._thread is not None and self._thread.is_alive()
            self._turn += 1
        if running:
            self._ended(Cancelled())

    def wait(self, seconds: float | None = None) -> None:
        """Return when the latest request has ended, one way or the other.

        Raises:
            TimeoutError: it has not, after so many seconds.
        """
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
            if thread.is_alive():
                raise TimeoutError(f"still running after {seconds} s")

    def _run(self, turn: int, request: Any) -> None:
        def check() -> None:
            if self._turn != turn:
                raise Cancelled

        error = None
        with _one_at_a_time:
            try:
                check()
                self._work(request, check)
            except Exception as caught:  # shown by `ended`; a thread has nobody else to tell
                error = caught
        with self._lock:
            if self._turn == turn:
                self._ended(error)
