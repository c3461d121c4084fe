"""A subject under development: its files watched, each save sent to the server, what came of it handed on."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from watchfiles import watch

from helpers.live.history import History, Save
from helpers.live.subject import Subject

_SETTLE = 15  # milliseconds in which several writes of an editor count as one save
_ROOT = Path(__file__).parents[2]


class Session:
    """Watches a subject from `start` to `stop`; `changed(save)` is called, on a thread of its own, as results come.

    Nothing is left behind by `stop`: no thread, no process, no file that is open.
    """

    def __init__(self, subject: Subject, changed: Callable[[Save], None], folder: Path | None = None):
        self.subject, self.history = subject, History(folder or Path("out") / "live" / subject.name)
        self.files: list[str] = [subject.file] if subject.file else []
        self._changed = changed
        self._lock = threading.RLock()
        self._stop = threading.Event()  # the session is over
        self._rewatch = threading.Event()  # other folders are to be watched
        self._server: subprocess.Popen | None = None
        self._connection: Connection | None = None
        self._threads: list[threading.Thread] = []
        self._save: Save | None = None
        self._known: dict[str, str] = {}  # digests of the latest save

    def start(self) -> None:
        """Run the files as they are, and again at every save, until `stop`."""
        self._threads = [threading.Thread(target=self._watch, name="live-watch", daemon=True)]
        self._start_server()
        self._threads[0].start()
        self.run()

    def stop(self) -> None:
        """End the run in progress and everything that was started. Safe to call twice."""
        self._stop.set()
        self._rewatch.set()
        with self._lock:
            self._end_server()
            threads, self._threads = self._threads, []
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(10)

    def run(self) -> None:
        """Run the files as they are now; a run in progress is ended."""
        with self._lock:
            if self._stop.is_set():
                return
            if self._save is not None and not self._save.done:
                self._finish(self._save)
            self._save = self.history.begin(self.files)
            self._known = dict(self._save.files)
            self._send(self._save.number)
            save = self._save
        self._changed(save)

    def _send(self, number: int) -> None:
        try:
            self._connection.send(number)
        except (OSError, AttributeError):  # it has gone; its reader says so
            pass

    def _start_server(self) -> None:
        here, there = Pipe()
        self._log = tempfile.TemporaryFile()
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._server = subprocess.Popen(
            [sys.executable, "-m", "helpers.live.server", str(there.fileno())],
            pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env={**os.environ, "PYTHONPATH": path}, start_new_session=True,
        )  # fmt: skip
        there.close()
        self._connection = here
        with contextlib.suppress(OSError):
            here.send(_pickled(self.subject))
        reader = threading.Thread(target=self._read, args=(here,), name="live-read", daemon=True)
        self._threads = [*(t for t in self._threads if t.is_alive() or t.ident is None), reader]
        reader.start()

    def _end_server(self) -> None:
        if self._server is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()
        with contextlib.suppress(OSError):
            self._connection.close()
        self._log.close()
        self._server = None

    def _read(self, connection: Connection) -> None:
        """Take in what the server says, until it has no more to say."""
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError, TypeError):
                break
            with self._lock:
                if connection is not self._connection or self._stop.is_set():
                    return
                save = self._take(message)
            if save is not None:
                self._changed(save)
        with self._lock:
            if self._stop.is_set() or connection is not self._connection:
                return
            save = self._save
            if save is not None and not save.done:
                save.mistake = f"the process that runs kernels ended.\n{self._tail()}"
                self._finish(save)
            self._end_server()
            self._start_server()
        if save is not None:
            self._changed(save)

    def _tail(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 2000))
        return self._log.read().decode("utf-8", "replace").strip()

    def _take(self, message: tuple) -> Save | None:
        """Note a message of the server; the save that it changed."""
        if message[0] == "restart":
            self._end_server()
            self._start_server()
            self._send(self._save.number)
            return None
        if message[0] == "files":
            self._add_files(message[1])
            return None
        number, kind, *rest = message
        save = self._save
        if save is None or number != save.number or save.done:
            return None
        if kind == "mistake":
            save.mistake, save.place = rest
        elif kind == "judged":
            save.judged[rest[0].size] = rest[0]
            save.seconds[rest[0].size] = time.time() - save.when
        elif kind == "predicted":
            size, us = rest
            save.judged[size] = replace(save.judged[size], predicted_us=us)
            save.seconds["predicted"] = time.time() - save.when
        elif kind == "figures":
            save.figures = {**save.figures, **rest[0]}
            save.seconds["figures"] = time.time() - save.when
        elif kind == "divergence":
            save.divergence = rest[0]
        elif kind == "findings":
            save.findings = rest[0]
            save.seconds["findings"] = time.time() - save.when
        elif kind == "done":
            self._finish(save)
        return save

    def _finish(self, save: Save) -> None:
        save.done = True
        if save.judged or save.mistake:
            self.history.keep(save)

    def _add_files(self, files: list[str]) -> None:
        new = [f for f in files if f not in self.files]
        if not new:
            return
        folders = {os.path.dirname(f) for f in self.files}
        self.files = sorted({*self.files, *new})
        if self._save is not None:
            found = self.history.digests(new)
            self._save.files.update(found)
            self._known.update(found)
        if {os.path.dirname(f) for f in new} - folders:
            self._rewatch.set()

    def _watch(self) -> None:
        """Start a run whenever the text of a file is another one."""
        while not self._stop.is_set():
            self._rewatch.clear()
            folders = sorted({os.path.dirname(f) for f in self.files if os.path.isdir(os.path.dirname(f))})
            if not folders:
                self._rewatch.wait(0.2)
                continue
            for _ in watch(
                *folders, recursive=False, step=_SETTLE, debounce=200, stop_event=self._rewatch,
                watch_filter=lambda _, path: os.path.abspath(path) in self.files, raise_interrupt=False,
            ):  # fmt: skip
                if self._stop.is_set():
                    return
                if self._differs():
                    self.run()

    def _differs(self) -> bool:
        """True when a file's text is not that of the latest save."""
        with self._lock:
            now = self.history.digests(self.files)
            return any(now[f] != self._known.get(f) for f in now)


def _pickled(subject: Subject) -> bytes:
    """A subject as bytes; functions of a notebook's cells go with it."""
    if subject.specs is None and subject.reference is None:
        return pickle.dumps(subject)
    import cloudpickle

    return cloudpickle.dumps(subject)


def follow(subject: Subject, changed: Callable[[Save], None], **options: Any) -> Session:
    """A session that has started."""
    session = Session(subject, changed, **options)
    session.start()
    return session
