"""How much memory `workbook watch` takes more after many saves, with all processes that it has.

    python -m bench.saves_memory [STAGE] [--saves N]

The last version of a stage, rope_kv_cache if none is named, is watched in a copy of this repository; N times, 200 if it
is not said, a line is added to its kernel's file. Memory is what Linux counts as this process's own (PSS), in MB: after
ten saves, after each fifty, and at the end.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.save_to_verdict import ROOT, WAIT, kernel_file, saves

FIRST, EVERY = 10, 50


def memory(process: psutil.Process) -> float:
    """Of a process and all that it has started, in MB."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.saves_memory", description=__doc__.splitlines()[0])
    parser.add_argument("stage", nargs="?", default="rope_kv_cache")
    parser.add_argument("--saves", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-live-") as made:
        folder = Path(made)
        for room in ("helpers", "golden", "kernels"):
            shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
        file, environment = kernel_file(args.stage, folder)
        command = [sys.executable, "-m", "helpers", "watch", args.stage]
        running = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        try:
            found: dict[int, float] = {}
            for n in range(1, args.saves + 1):
                end = time.monotonic() + WAIT
                while len(saves(folder, args.stage)) < n:
                    if time.monotonic() > end or running.poll() is not None:
                        raise SystemExit(f"no verdict of save {n}")
                    time.sleep(0.05)
                if n == FIRST or n % EVERY == 0 or n == args.saves:
                    time.sleep(3)  # what the last save started has ended
                    found[n] = memory(psutil.Process(running.pid))
                    print(f"{n} saves: {found[n]:.0f} MB", flush=True)
                with open(file, "a", encoding="utf-8") as f:
                    f.write(f"# edit {n}\n")
        finally:
            running.terminate()
            running.wait()
    print(f"from save {FIRST} to save {args.saves}: {found[args.saves] - found[FIRST]:+.0f} MB")


if __name__ == "__main__":
    main()
