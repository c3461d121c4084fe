"""Upstream's own programs, predicted at the revisions that were measured: `python -m bench.upstream DIR`.

DIR is a git repository of pypto-lib. For each row of published.csv that names a program and a revision, the tree of
that revision is unpacked, the program is followed by interpret mode as `workbook profile` does it, and what the row
measured is read off the prediction. The result is written to upstream.csv, with why where a program cannot be followed;
the table of docs/profile.md is made from it. Nothing of the repository is kept.

    python -m bench.upstream ~/pypto-lib.git [--only hc_pre]
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.measured_rows import Row, read

RESULTS = Path(__file__).with_name("upstream.csv")
FIELDS = ("source", "revision", "program", "item", "quantity", "predicted_us", "tasks", "why")
SECONDS = 400  # that a program may take


def revision(row: Row) -> str:
    """The revision of a row as git names it; "" where it has none."""
    return row.revision if re.fullmatch(r"[0-9a-f]{7,40}\^?", row.revision) else ""


def predicted(root: Path, row: Row) -> list[dict[str, Any]]:
    """What a program launches, predicted, largest first: {"makespan", "tasks", "names": {name: {...}}} a kernel."""
    code = "from bench.upstream import one; one()"
    run = subprocess.run(
        [sys.executable, "-c", code, row.program, row.chip], cwd=root, capture_output=True, text=True, timeout=SECONDS
    )
    last = (run.stdout.strip().splitlines() or [""])[-1]
    if run.returncode or not last.startswith("["):
        lines = [s for s in (run.stderr + run.stdout).strip().splitlines() if s.strip()]
        raise RuntimeError(lines[-1] if lines else f"it ended with {run.returncode}")
    return json.loads(last)


def one() -> None:
    """In a process of its own, in the unpacked tree: follow a program and print what is predicted, as JSON."""
    from helpers import chips
    from helpers.interpret.pypto.script import run_script
    from helpers.profile import profile

    program, chip = sys.argv[1:3]
    sys.path.insert(0, str(Path(program).parent))
    _, traces = run_script(Path(program), ["-p", chip], True)
    out = []
    for trace in traces:
        p = profile(trace, chips.chip(chip))
        t, s = p.tasks, p.schedule
        names = {
            r.name: {
                "exec": r.mean, "busy": r.total, "tasks": r.tasks,
                "span": float(s.end[t.name == i].max() - s.start[t.name == i].min()),
            }
            for i, r in enumerate(p.by_name())
        }  # fmt: skip
        out.append({"makespan": p.makespan, "tasks": len(t), "names": names})
    print(json.dumps(sorted(out, key=lambda x: -x["makespan"])))


def read_off(found: list[dict[str, Any]], row: Row) -> tuple[float, int]:
    """(microseconds, tasks) of what a row measured.

    Raises:
        RuntimeError: the program has nothing of that name.
    """
    if not found:
        raise RuntimeError("it launches nothing")
    if row.item == "whole":
        return found[0]["makespan"], found[0]["tasks"]
    for kernel in found:
        mine = [v for n, v in kernel["names"].items() if n == row.item or n.startswith(f"{row.item}_")]
        if mine and row.quantity in ("exec", "busy", "span"):
            tasks = sum(m["tasks"] for m in mine)
            total = sum(m["busy"] for m in mine)
            us = {"exec": total / tasks, "busy": total, "span": max(m["span"] for m in mine)}[row.quantity]
            return us, tasks
    raise RuntimeError(f"it has no task called '{row.item}'")


def results(git: Path, only: str) -> list[dict[str, Any]]:
    """The rows of upstream.csv."""
    out, done = [], {}
    for row in read():
        rev = revision(row)
        if not rev or not row.program.endswith(".py") or only not in f"{row.source} {row.program}":
            continue
        base = dict(zip(FIELDS, (row.source, row.revision, row.program, row.item, row.quantity, "", "", "")))
        key = (rev, row.program, row.chip)
        if key not in done:
            try:
                with tempfile.TemporaryDirectory() as folder:
                    tree = subprocess.run(["git", f"--git-dir={git}", "archive", rev], capture_output=True, check=True)
                    subprocess.run(["tar", "-x", "-C", folder], input=tree.stdout, check=True)
                    done[key] = predicted(Path(folder), row)
            except (RuntimeError, subprocess.SubprocessError) as error:
                done[key] = error
        try:
            if isinstance(done[key], Exception):
                raise done[key]
            us, tasks = read_off(done[key], row)
            out.append(base | {"predicted_us": f"{us:.2f}", "tasks": tasks})
        except (RuntimeError, subprocess.SubprocessError) as error:
            out.append(base | {"why": " ".join(str(error).split())[:160]})
        print(*out[-1].values(), sep=" | ", file=sys.stderr, flush=True)
    return out


def main() -> None:
    """Predict, and write upstream.csv; with --only, only print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("git", type=Path, help="a git repository of pypto-lib")
    parser.add_argument("--only", default="", help="rows whose source or program has this in it")
    options = parser.parse_args()
    found = results(options.git, options.only)
    if options.only:
        return
    with open(RESULTS, "w", newline="") as f:
        f.write("# Written by bench/upstream.py: upstream's own programs at the measured revisions, predicted.\n")
        writer = csv.DictWriter(f, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
