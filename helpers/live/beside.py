"""The latest save that passed, run again beside one that fails, to say where their values part.

The process of a run that passed stays, with the kernel that it imported and no values; it hands on its figures and its
findings, which another one makes. A run that fails asks it: the request and the answer's length go through its
connection, the answer itself through a file that all runs share.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from helpers.errors import WorkbookError
from helpers.inside.divergence import Launch, Record, differing_launch, divergence, elsewhere, record

Specs = Callable[[str], list]  # the specs of a size, over memory of this process


@dataclass(frozen=True)
class Earlier:
    """A save that passed: its number, the other end of its process's connection."""

    number: int
    connection: Connection


STOP = ("stop",)  # what is left of a run is not wanted any more
ANSWER = "answer"


def answer(
    there: Connection, n: int, rest: Any, file: int, kernel: Any, chip: str, specs: Specs, forget: Callable[[], None]
) -> None:
    """Hand on what the process `rest` says; answer requests: (who asks, size, launch) with (who asks, bytes, ANSWER).

    Args:
        forget: Called once `rest` has ended: it takes time that `rest` would have to wait for.

    Raises:
        EOFError: nobody will ask any more.
    """
    while True:
        for ready in wait([there, *([rest.connection] if rest else [])]):
            if ready is not there:
                try:
                    there.send(rest.connection.recv())
                except EOFError:
                    rest.end()
                    rest = None
                    forget()
                    there.send((n, "done"))
                continue
            request = there.recv()
            if rest:
                rest.end()
                rest = None
                forget()
            if request == STOP:
                break
            asks, size, launch = request
            try:
                data = pickle.dumps(record(kernel, specs(size), chip, launch))
            except WorkbookError:
                data = b""
            os.ftruncate(file, 0)
            written = 0
            while written < len(data):
                written += os.pwrite(file, data[written:], written)
            there.send((asks, len(data), ANSWER))
            break


def compared(
    number: int, kernel: Any, chip: str, specs: Specs, sizes: Sequence[str], earlier: Earlier, file: int
) -> str:
    """Where the kernel of a save first writes something else than an earlier one, in a sentence; "" if nobody knows.

    Args:
        number: Of the save.
        sizes: At which it was run, the small one first.
        earlier: What it is compared with.
        file: The file that its answers lie in.
    """

    def before(size: str, launch: Launch | None) -> Record | None:
        earlier.connection.send((number, size, launch))
        message: tuple = ()
        while message[::2] != (number, ANSWER):  # what was under way when that run was stopped comes first
            message = earlier.connection.recv()
        length = message[1]
        data = os.pread(file, length, 0) if length else b""
        while 0 < len(data) < length:
            data += os.pread(file, length - len(data), len(data))
        os.ftruncate(file, 0)
        return pickle.loads(data) if data else None

    version = f"save {earlier.number}"
    for size in sizes:
        theirs = before(size, None)
        if theirs is None:
            continue
        mine = record(kernel, specs(size), chip)
        part = differing_launch(mine, theirs)
        if part is None:
            found = elsewhere(mine, theirs)
            if found is None:
                continue
            launch = found.task, found.launch
            tiles = before(size, launch) if launch not in mine.skipped | theirs.skipped else None
            closer = tiles and divergence(record(kernel, specs(size), chip, launch), tiles, launch, 0)
            return (closer or found).text(version)
        theirs = before(size, part[0])
        if theirs is None:
            continue
        found = divergence(record(kernel, specs(size), chip, part[0]), theirs, *part)
        if found is not None:
            return found.text(version)
    return f"no task writes other values than in {version}, up to rounding"
