"""The processes in which saves run, so that each run imports the files as they are, and can be ended at any moment.

    server     has imported torch and this package; lives as long as the session
    holder     forked from it; has imported the golden's side and keeps inputs and expected outputs
    filler     forked from the holder once; makes inputs and expected outputs, in memory that all see
    run        forked from the holder for each save; imports the kernel, runs and judges it. The latest whose save
               passed stays, to be run again beside one that fails, see `beside`
    rest       forked from a run that passed: its figures and findings
    spare      forked from the holder once a save is judged: does what can be done before the next one, and becomes
               its run if no file that it has imported changed, see `ahead`

Nothing is imported twice in one process, so no object of an earlier save can be met. A save ends the run before it. A
golden's side that changed takes a new holder, anything that the server itself has imported a new server. A process
ends when its parent does.

Messages are tuples; those that a run sends begin with the save's number:
    ("files", list)             files that this subject was seen to import
    (n, "mistake", text, place) the source cannot be run: the lines of its error, (file, line) or None
    (n, "judged", Judged)       one size was run
    (n, "predicted", size, us)  predicted time of the last size that was judged
    (n, "figures", dict)        PNG files by name, each as it is there
    (n, "divergence", text)     where it first writes something else than the latest save that passed
    (n, "findings", list)       sanitize.Finding.as_dict of each
    (n, "passed")               at every size: its process stays
    (n, "done")
    ("loaded", Loaded)          what this run has imported; for the holder
    ("ready", dict)             the files of a spare and their digests; for the holder
    ("restart",)                what the server has imported changed: start another one
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
from multiprocessing.connection import Connection, wait

from helpers.live.processes import Child, fork


def main(fd: int) -> None:
    """Serve the session at the other end of a socket until it goes away."""
    here = Connection(fd)
    from helpers.live import subject as subjects

    _warm()
    from helpers.live.holder import hold

    subject: subjects.Subject = pickle.loads(here.recv())
    mine = {file: _written(file) for file in subjects.user_files().values()}
    here.send(("files", sorted(mine)))
    holder: Child | None = None
    used: dict[str, str] = {}  # digests of the files of the golden's side
    latest = 0
    while True:
        for ready in wait([here, *([holder.connection] if holder else [])]):
            if ready is here:
                try:
                    latest = here.recv()
                except EOFError:
                    if holder:
                        holder.end()
                    return
                if any(_written(file) != when for file, when in mine.items()):
                    here.send(("restart",))
                    continue
                if holder and any(subject.golden_digest(file) != digest for file, digest in used.items()):
                    holder.end()
                    holder = None
                if holder is None:
                    holder, used = fork(hold, subject), {}
                holder.connection.send(latest)
                continue
            try:
                message = holder.connection.recv()
            except EOFError:
                holder.end()
                holder = None
                here.send((latest, "mistake", "the process that runs the kernel was ended: out of memory?", None))
                here.send((latest, "done"))
                continue
            if message[0] == "used":
                used = message[1]
            else:
                here.send(message)
            if message[-1] == "unusable":
                holder.end()
                holder = None


def _warm() -> None:
    """Import what every run needs. Torch stays on one thread here: its threads would not survive a fork.

    Bytecode on disk is neither read nor written from here on: it counts as that of a file that was written in the same
    second and is as long, whatever that says.
    """
    sys.dont_write_bytecode, sys.pycache_prefix = True, os.devnull
    import torch

    torch.set_num_threads(1)
    import golden  # noqa: F401
    import helpers.live.judge
    import helpers.sanitize
    import helpers.stages
    from helpers.interpret.pypto import language

    language.install()
    helpers.live.judge.warm()
    gc.collect()
    gc.freeze()  # what is here stays: collecting in a fork need not look at it, nor copy its pages


def _written(file: str) -> int:
    """When a file was written, in nanoseconds; 0 when it is not there."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
