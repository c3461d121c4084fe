"""From a save to its verdict: how long a kernel's developer waits.

    python -m bench.save_to_verdict [STAGE ...] [--edits N] [--host watch|notebook]

The last version of each stage is watched in a copy of this repository, by `workbook watch` and by `live` in the kernel
of a notebook; N times, 10 if it is not said, a line is added to its kernel's file. Medians, in seconds of this machine:
from the save to the verdict at the small shape, and at the full one; from the last verdict to the predicted time, to
the last figure, and to the findings. Beside them the processor's seconds to both verdicts, of all its cores: another
program that runs at the same time changes these less.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
HOSTS = ("watch", "notebook")
WAIT = 900.0  # seconds for one save


@contextmanager
def watch(name: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """`workbook watch` of a stage, in a folder, while the block runs."""
    command = [sys.executable, "-m", "helpers", "watch", name]
    running = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.terminate()
        running.wait()


@contextmanager
def notebook(name: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """`live` of a stage in the kernel of a notebook, while the block runs."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(cwd=str(folder), env=environment)
    try:
        client.execute(f"from helpers.widgets import live\nview = live({name!r}, view=True)\nview")
        yield
        client.execute_interactive("view.stop()", timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


def saves(folder: Path, name: str) -> list[dict[str, Any]]:
    """The saves that are done, as the history has them."""
    files = list((folder / "out" / "live").glob(f"{name}.*/saves.jsonl"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def kernel_file(name: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """The file of a stage's last version in a copy of the repository, and the environment in which that copy runs."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    asked = (
        "import sys; from helpers.stages import find; last = list(find(sys.argv[1]).versions.values())[-1]; "
        "print(sys.modules[last.__module__].__file__)"
    )
    found = subprocess.run(
        [sys.executable, "-c", asked, name], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return Path(found.stdout.strip()), environment


def measured(name: str, host: str, folder: Path, edits: int) -> list[dict[str, Any]]:
    """The saves of so many edits of a stage's kernel in a copy of the repository at `folder`."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    file, environment = kernel_file(name, folder)
    with {"watch": watch, "notebook": notebook}[host](name, folder, environment):
        for edit in range(edits + 1):  # the first is no edit: it makes the inputs
            end = time.monotonic() + WAIT
            while len(done := saves(folder, name)) <= edit:
                if time.monotonic() > end:
                    raise SystemExit(f"{name}: no verdict in {WAIT:.0f} s")
                time.sleep(0.05)
            if done[-1]["mistake"] or not all(j["passed"] for j in done[-1]["judged"].values()):
                raise SystemExit(f"{name}: {done[-1]['mistake'] or 'it does not pass'}")
            if edit < edits:
                with open(file, "a", encoding="utf-8") as f:
                    f.write(f"# edit {edit}\n")
    return done[1:]


def row(found: list[dict[str, Any]]) -> list[str]:
    """The medians of some saves: small, full, predicted, figures, findings, the processor's to both verdicts."""

    def after(save: dict[str, Any], what: str) -> float:
        return save["seconds"][what] - max(save["seconds"][size] for size in save["judged"])

    numbers = [
        *(statistics.median(s["seconds"][size] for s in found) for size in ("small", "full")),
        *(statistics.median(after(s, what) for s in found) for what in ("predicted", "figures", "findings")),
        *(statistics.median(s["judged"][size]["processor"] for s in found) for size in ("small", "full")),
    ]
    return [f"{n:.2f}" for n in numbers]


def main() -> None:
    from helpers.stages import STAGES

    parser = argparse.ArgumentParser(prog="python -m bench.save_to_verdict", description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE")
    parser.add_argument("--edits", type=int, default=10)
    parser.add_argument("--host", choices=HOSTS, help="both if it is not said")
    args = parser.parse_args()
    heads = (
        "stage",
        "host",
        "small",
        "full",
        "predicted",
        "figures",
        "findings",
        "processor, small",
        "processor, full",
    )
    console = Console(width=110)
    with tempfile.TemporaryDirectory(prefix="bench-live-") as made:
        folder = Path(made)
        for room in ("helpers", "golden", "kernels"):
            shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
        table = Table(*heads, box=None, title=f"medians of {args.edits} edits, in seconds")
        for name in args.stages or STAGES:
            for host in [args.host] if args.host else HOSTS:
                numbers = row(measured(name, host, folder, args.edits))
                print(name, host, *numbers, "load", *(f"{n:.1f}" for n in os.getloadavg()), file=sys.stderr, flush=True)
                table.add_row(name, host, *numbers)
    console.print(table)


if __name__ == "__main__":
    main()
