"""Upstream's own programs, predicted at the revisions that were measured: `python -m bench.upstream DIR`.

DIR is a git repository of pypto-lib. For each row of published.csv that names a program and a revision, the tree of
that revision is unpacked, the program is followed by interpret mode as `workbook profile --pypto DAY` does it, with the
row's arguments and the compiler of its day, and what the row measured is read off the prediction. The result is written
to upstream.csv, with why where a program cannot be followed; the table of docs/profile.md is made from it. Nothing of
the repository is kept.

    python -m bench.upstream ~/pypto-lib.git [--only hc_pre] [--kept DIR]
"""

from __future__ import annotations

import argparse
import csv
import json
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from bench.measured_rows import Row, read

RESULTS = Path(__file__).with_name("upstream.csv")
FIELDS = ("source", "revision", "program", "args", "item", "quantity", "predicted_us", "tasks", "why")
SECONDS = 900  # that a program may take
ALL = {"all tasks": None, "cube cores": "cube", "vector cores": "vector"}


def revision(row: Row) -> str:
    """The revision of a row as git names it; "" where it has none."""
    return row.revision if re.fullmatch(r"[0-9a-f]{7,40}\^?", row.revision) else ""


def key(row: Row) -> tuple[str, str, str, str, str, str]:
    """What tells a row from others."""
    return row.source, row.revision, row.program, " ".join(row.args), row.item, row.quantity


RENAMED = {r"\bvalid_shapes=": "valid_shape="}  # what the language calls otherwise today


def rename(root: Path) -> None:
    """Give today's names to what an unpacked tree calls by an earlier one."""
    for path in root.rglob("*.py"):
        text = now = path.read_text(errors="surrogateescape")
        for old, new in RENAMED.items():
            now = re.sub(old, new, now)
        if now != text:
            path.write_text(now, errors="surrogateescape")


def predicted(root: Path, row: Row, kept: Path | None) -> list[dict[str, Any]]:
    """What a program launches, predicted, largest first: see `told`."""
    code = "from bench.upstream import one; one()"
    what = [sys.executable, "-c", code, row.program, row.chip, row.date, str(kept or ""), *row.args]
    run = subprocess.run(what, cwd=root, capture_output=True, text=True, timeout=SECONDS)
    last = (run.stdout.strip().splitlines() or [""])[-1]
    if run.returncode or not last.startswith("["):
        lines = [s for s in (run.stdout + run.stderr).strip().splitlines() if s.strip()]
        errors = [s for s in lines if re.match(r"[\w.]*Error: ", s)]
        raise RuntimeError((errors or lines)[-1] if lines else f"it ended with {run.returncode}")
    return json.loads(last)


def one() -> None:
    """In a process of its own, in the unpacked tree: follow a program and print what is predicted, as JSON."""
    sys.path.insert(0, str(Path(__file__).parents[1]))  # the tree has a `golden` of its own
    program, chip, day, kept, *args = sys.argv[1:]
    if kept and Path(kept).exists():
        with open(kept, "rb") as f:
            traces = pickle.load(f)
    else:
        traces = followed(Path(program), ["-p", chip, *args])
        if kept:
            with open(kept, "wb") as f:
                pickle.dump(traces, f)
    print(json.dumps(told(traces, chip, day)))


def followed(program: Path, args: list[str]) -> list[Any]:
    """The traces of what a script runs."""
    from bench import older_golden
    from helpers.interpret.pypto import language
    from helpers.interpret.pypto.script import run_script, told_at_its_line

    language.install()
    older_golden.given()
    sys.path.insert(1, str(program.parent))
    with told_at_its_line(program):
        code, traces = run_script(program, args, True)
    if not traces:
        raise RuntimeError(f"it runs no kernel and ends with {code}")
    return traces


def told(traces: Iterable[Any], chip: str, day: str) -> list[dict[str, Any]]:
    """{"makespan", "span", "tasks", "names": {name: {...}}} of each trace, the longest first.

    Of each name, by kind of core that its tasks have: how many, their microseconds together, and the span of all.
    """
    from helpers import chips
    from helpers.interpret.trace.compilers import of_day
    from helpers.profile import profile

    out = []
    for trace in traces:
        p = profile(trace, chips.chip(chip), compiler=of_day(date.fromisoformat(day) if day else None))
        t, s = p.tasks, p.schedule
        names = {}
        for i, r in enumerate(p.by_name()):
            mine = t.name == i
            sides = p.costs.ends[mine].sum(0)
            names[r.name] = {
                "core": r.core, "tasks": r.tasks, "total": r.total,
                "cube": float(sides[0]) if r.core == "mixed" else r.total,
                "vector": float(sides[1]) if r.core == "mixed" else r.total,
                "start": float(s.start[mine].min()), "end": float(s.end[mine].max()),
            }  # fmt: skip
        out.append({"makespan": p.makespan, "tasks": len(t), "names": names})
    return sorted(out, key=lambda x: -x["makespan"])


def read_off(found: list[dict[str, Any]], row: Row) -> tuple[float, int]:
    """(microseconds, tasks) of what a row measured.

    A row's item is "whole", a name of tasks or how names begin, or one of `ALL`; with ", cube" or ", vector" it means
    that side of mixed tasks. A mixed task is busy on three cores.

    Raises:
        RuntimeError: the program has nothing of that name.
    """
    if not found:
        raise RuntimeError("it launches nothing")
    if row.item == "whole":
        return found[0]["makespan"] * row.times, found[0]["tasks"]
    item, _, side = row.item.partition(", ")
    side = ALL.get(item) or side
    for kernel in found:
        if item in ALL:
            mine = [v for v in kernel["names"].values() if not side or v["core"] in (side, "mixed")]
        else:
            mine = [v for n, v in kernel["names"].items() if n == item]
            mine = mine or [v for n, v in kernel["names"].items() if n.startswith(item)]
        if not mine:
            continue
        tasks = sum(m["tasks"] for m in mine)
        if row.quantity == "span":
            return max(m["end"] for m in mine) - min(m["start"] for m in mine), tasks
        if row.quantity == "exec":
            return sum(m[side or "total"] for m in mine) / tasks, tasks
        if row.quantity == "busy":
            return sum(_busy(m, side) for m in mine), tasks
    raise RuntimeError(f"it has no task called '{row.item}'")


def _busy(m: dict[str, Any], side: str) -> float:
    if m["core"] != "mixed":
        return m["total"]
    return {"cube": m["cube"], "vector": 2 * m["vector"], "": m["cube"] + 2 * m["vector"]}[side]


def results(git: Path, only: str, kept: Path | None) -> list[dict[str, Any]]:
    """The rows of upstream.csv."""
    out, done = [], {}
    for row in read():
        rev = revision(row)
        if not rev or not row.program.endswith(".py") or only not in f"{row.source} {row.program}":
            continue
        base = dict(zip(FIELDS, (*key(row), "", "", "")))
        run = rev, row.program, row.args, row.chip
        if run not in done:
            name = re.sub(r"\W+", "_", "_".join((rev, row.program, *row.args)))
            try:
                with tempfile.TemporaryDirectory() as folder:
                    tree = subprocess.run(["git", f"--git-dir={git}", "archive", rev], capture_output=True, check=True)
                    subprocess.run(["tar", "-x", "-C", folder], input=tree.stdout, check=True)
                    rename(Path(folder))
                    done[run] = predicted(Path(folder), row, kept and kept / name)
            except (RuntimeError, subprocess.SubprocessError) as error:
                done[run] = error
        try:
            if isinstance(done[run], Exception):
                raise done[run]
            us, tasks = read_off(done[run], row)
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
    parser.add_argument("--kept", type=Path, help="a folder where traces are kept, and taken from: to try a model")
    options = parser.parse_args()
    found = results(options.git, options.only, options.kept)
    if options.only:
        return
    with open(RESULTS, "w", newline="") as f:
        f.write("# Written by bench/upstream.py: upstream's own programs at the measured revisions, predicted.\n")
        writer = csv.DictWriter(f, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
