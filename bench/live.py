"""From a save to its verdict: how long a kernel's developer waits.

    python -m bench.live [STAGE ...]

The last version of each stage is watched in a copy of this repository; EDITS times a line is added to its kernel's
file. Medians, in seconds of this computer, from the save: to the verdict at the small shape, at the full one, and to
the last figure. Another program that runs at the same time changes all of them.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
EDITS = 10
INSIDE = "--in-a-copy"


def measured(name: str, folder: Path) -> tuple[float, float, float]:
    """(small, full, figures): medians over EDITS edits."""
    from helpers.interpret.language.decorated import unwrap
    from helpers.live.history import Save
    from helpers.live.session import Session
    from helpers.live.subject import parse
    from helpers.stages import find

    changed = threading.Condition()
    ended: dict[int, float] = {}

    def follow(save: Save) -> None:
        with changed:
            if save.done:
                ended.setdefault(save.number, time.time())
            changed.notify_all()

    file = Path(unwrap(list(find(name).versions.values())[-1])[0].__code__.co_filename)
    session = Session(parse(name), follow, folder / name)
    saves: list[Save] = []
    try:
        session.start()
        for edit in range(EDITS + 1):  # the first is no edit: it makes the inputs
            with changed:
                if not changed.wait_for(lambda: session.history.saves[-1].number in ended, 600):
                    raise SystemExit(f"{name}: no verdict in ten minutes")
            save = session.history.saves[-1]
            if save.verdict != "PASS":
                raise SystemExit(f"{name}: {save.verdict} {save.mistake}")
            saves += [save] if edit else []
            if edit < EDITS:
                number = save.number
                with open(file, "a", encoding="utf-8") as f:
                    f.write(f"# edit {edit}\n")
                with changed:
                    changed.wait_for(lambda: session.history.saves[-1].number > number, 60)  # noqa: B023
    finally:
        session.stop()
    by_size = [statistics.median(s.seconds[size] for s in saves) for size in ("small", "full")]
    return *by_size, statistics.median(ended[s.number] - s.when for s in saves)


def main() -> None:
    if INSIDE not in sys.argv:
        with tempfile.TemporaryDirectory(prefix="bench-live-") as made:
            for room in ("helpers", "golden", "kernels", "bench"):
                shutil.copytree(ROOT / room, Path(made) / room, ignore=shutil.ignore_patterns("__pycache__"))
            command = [sys.executable, "-m", "bench.live", INSIDE, *sys.argv[1:]]
            raise SystemExit(subprocess.run(command, cwd=made, env=_environment(made)).returncode)
    from helpers.stages import STAGES

    names = [a for a in sys.argv[1:] if a != INSIDE] or list(STAGES)
    table = Table("stage", "small, s", "full, s", "figures, s", box=None, title=f"medians of {EDITS} edits")
    for name in names:
        table.add_row(name, *(f"{t:.2f}" for t in measured(name, Path.cwd() / "saves")))
    Console(width=100).print(table)


def _environment(folder: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": folder}


if __name__ == "__main__":
    main()
