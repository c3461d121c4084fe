"""Predicted times beside published ones: `python -m bench.published` writes the tables to docs/profile.md.

published.csv has the measurements. Two kinds of predictions stand beside them. Where this repository has a kernel that
does what the measured one does, at its widths, that is predicted here. Where it has none, upstream's own program can
be, at the measured revision: `bench.upstream` does that, with a checkout, and upstream.csv keeps what it found. One set
of chip constants serves all; which rows they were fitted on, the column `part` says. Only the others are agreement.

- 90: its before was measured at hidden 5120 and its after at hidden 8192: the request changed that, too (its
  qwen3_32b_decode_scope3.py before and after), so it is predicted so. The task counts say the same.
- 662: layers are alike and follow one another, so LAYERS of them are predicted, and 40 are so many times as long.
  `spmd` has the request's MLP tiles, 128 x 128, where the version of this repository has wider ones.
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import golden.mlp
import golden.prefill
from bench.measured_rows import Row, read
from helpers import chips, stages
from helpers.interpret.trace.trace import Trace
from helpers.profile import profile
from helpers.tuning import tuned_stage

UPSTREAM = Path(__file__).with_name("upstream.csv")
PAGE = Path(__file__).parent.parent / "docs" / "profile.md"
BEGIN, END = "<!-- bench.published -->", "<!-- end -->"
LAYERS = 2  # of the 40 of request 662
TIME, SPEEDUP = 0.35, 0.20  # how far off a prediction may be


@dataclass(frozen=True)
class Beside:
    """A measurement and its prediction in microseconds: of which kernel, and how many tasks that has. `why`: why there
    is no prediction."""

    row: Row
    kernel: str
    tasks: int | None
    predicted: float | None
    why: str = ""

    @property
    def off(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted / self.row.value - 1


def decode_mlp(version: str, hidden: int) -> Trace:
    """Request 90, at a hidden width."""
    specs = partial(golden.mlp.specs, hidden=hidden, inter=25600)
    return stages.trace_stage(replace(stages.find("mlp_32b"), specs=specs), version)


def prefill(version: str, **constants: int) -> Trace:
    """Request 662: LAYERS layers on one sequence of 128 tokens."""
    stage = replace(stages.find("prefill"), specs=partial(golden.prefill.specs, layers=LAYERS, ctx=128))
    return stages.trace_stage(tuned_stage(stage, version, **constants), version, batch=1)


TILES_662 = {"WIDE_N": 128, "WIDE_K": 128}
KERNELS: dict[tuple[str, str], tuple[str, Callable[[], Trace], float]] = {
    ("pypto-lib#90", "4f729f38^"): (
        "mlp.partial_products, hidden 5120", lambda: decode_mlp("partial_products", 5120), 1,
    ),
    ("pypto-lib#90", "4f729f38"): ("mlp.accumulate, hidden 8192", lambda: decode_mlp("accumulate", 8192), 1),
    ("pypto-lib#391", "391^"): ("lm_head.narrow", lambda: stages.trace_stage(stages.find("lm_head"), "narrow"), 1),
    ("pypto-lib#391", "391"): ("lm_head.wide", lambda: stages.trace_stage(stages.find("lm_head"), "wide"), 1),
    ("pypto-lib#662", "67834290^"): ("prefill.per_token", lambda: prefill("per_token"), 40 / LAYERS),
    ("pypto-lib#662", "67834290"): (
        "prefill.spmd, tiles 128 x 128", lambda: prefill("spmd", **TILES_662), 40 / LAYERS,
    ),
}  # fmt: skip
"""By source and revision: the kernel, how its trace is made, and how many times as long the measured run is."""


def found() -> list[Beside]:
    """Every row of published.csv, with its prediction where there is one."""
    done: dict[tuple[str, str], tuple[str, int, float]] = {}
    upstream = _upstream()
    out = []
    for row in read():
        key = row.source, row.revision
        if row.quantity == "floor":
            weights = 152064 * 5120 * 2
            out.append(Beside(row, "", None, weights / (chips.chip(row.chip).memory.shared * 1e3)))
        elif key in KERNELS and row.item == "whole":
            if key not in done:
                name, make, times = KERNELS[key]
                predicted = profile(make(), chips.chip(row.chip))
                done[key] = name, round(len(predicted.tasks) * times), predicted.makespan * times
            out.append(Beside(row, *done[key]))
        else:
            kept = upstream.get((*key, row.program, row.item, row.quantity), {})
            us, tasks = kept.get("predicted_us"), kept.get("tasks")
            why = kept.get("why") or "" if kept else "no kernel here, and no program to follow"
            out.append(Beside(row, "its own", int(tasks) if tasks else None, float(us) if us else None, why))
    return out


def _upstream() -> dict[tuple, dict[str, str]]:
    if not UPSTREAM.exists():
        return {}
    with open(UPSTREAM, newline="") as f:
        lines = csv.DictReader(text for text in f if not text.startswith("#"))
        return {(x["source"], x["revision"], x["program"], x["item"], x["quantity"]): x for x in lines}


def speedups(rows: list[Beside]) -> list[tuple[Row, float, float]]:
    """(row, measured, predicted) speedup of every pair of before and after that is predicted."""
    by = {(b.row.source, b.row.revision, b.row.config, b.row.item, b.row.quantity): b for b in rows if b.predicted}
    out = []
    for (source, revision, config, item, quantity), before in by.items():
        after = by.get((source, revision.removesuffix("^"), config, item, quantity))
        if revision.endswith("^") and after is None:  # a change that changed the width as well
            after = next(
                (b for k, b in by.items() if k[:2] == (source, revision[:-1]) and k[3:] == (item, quantity)), None
            )
        if revision.endswith("^") and after is not None and quantity in ("wall", "exec", "span"):
            out.append((before.row, before.row.value / after.row.value, before.predicted / after.predicted))
    return out


def compared(rows: list[Beside]) -> list[Beside]:
    """The rows that say how good the model is: predicted, and not fitted on."""
    return [b for b in rows if b.predicted and b.row.part == "compared"]


def error(rows: list[Beside], chip: str = "a2a3") -> float | None:
    """The median of how far off the compared rows of a chip are, as a share: what a prediction's error bar is."""
    mine = [abs(b.off) for b in compared(rows) if b.row.chip == chip]
    return statistics.median(mine) if mine else None


def markdown(rows: list[Beside]) -> str:
    """The tables: the compared rows, the worst first; the fitted ones; speedups; those that are not predicted."""
    lines = []
    for title, mine in (
        ("Compared, and never fitted on; the largest misses first", sorted(compared(rows), key=lambda b: -abs(b.off))),
        ("Fitted on", [b for b in rows if b.predicted and b.row.part == "fitted"]),
    ):
        lines += [f"**{title}**", "", *_table(mine), ""]
    lines += ["**Speedups**", "", "| source | of | measured | predicted | off |", "|---|---|---:|---:|---:|"]
    for row, measured, ours in speedups(rows):
        what = f"{row.program.rpartition('/')[2]} {row.config} {row.item}"
        lines.append(f"| {row.source} | {what} | {measured:.2f} | {ours:.2f} | {_off(ours / measured - 1, SPEEDUP)} |")
    left = [b for b in rows if not b.predicted]
    lines += ["", f"**Not predicted: {len(left)} of {len(rows)} rows**", ""]
    lines += ["| source | of | measured | why not |", "|---|---|---:|---|"]
    for b in left:
        r = b.row
        unit = "%" if "%" in r.quantity else "us"
        why = b.why.replace("|", "/").replace("`", "'")
        what = f"{r.program.rpartition('/')[2]} {r.config}: {r.item}, {r.quantity}"
        lines.append(f"| {r.source}{' before' if r.before else ''} | {what} | {r.value:,g} {unit} | {why} |")
    return "\n".join(lines)


def _table(rows: list[Beside]) -> list[str]:
    out = [
        "| source | chip | program | of | kernel | tasks | predicted for | us measured | predicted | off |",
        "|---|---|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for b in rows:
        r = b.row
        state = " before" if r.before else ""
        tasks, ours = (f"{n:,}" if n else "" for n in (r.tasks, b.tasks))
        out.append(
            f"| {r.source}{state} | {r.chip} | {r.program.rpartition('/')[2]} {r.config} | {r.item}, {r.quantity} "
            f"| {b.kernel} | {tasks} | {ours} | {r.value:,.6g} | {b.predicted:,.6g} | {_off(b.off, TIME)} |"
        )
    return out


def _off(off: float, limit: float) -> str:
    return f"{100 * off:+.0f} %" if abs(off) <= limit else f"**{100 * off:+.0f} %, a miss**"


def main() -> None:
    """Print the tables and put them into the page."""
    rows = found()
    text = markdown(rows)
    print(text)
    for chip in ("a2a3", "a5"):
        off = error(rows, chip)
        print(
            f"{chip}: median error of compared rows", "none" if off is None else f"{100 * off:.1f} %", file=sys.stderr
        )
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    part = PAGE.with_suffix(".part")
    part.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")
    part.replace(PAGE)
    print(f"written to {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
