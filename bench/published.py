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

import torch

import golden.mlp
import golden.prefill
from bench.measured_rows import Row, read
from bench.upstream import FIELDS, RESULTS
from bench.upstream import key as key_of
from golden.spec import TensorSpec
from helpers import chips, stages
from helpers.files import whole
from helpers.interpret.trace.trace import Trace
from helpers.profile import Profile, profile
from helpers.tuning import tuned, tuned_stage

PAGE = Path(__file__).parent.parent / "docs" / "profile.md"
BEGIN, END = "<!-- bench.published -->", "<!-- end -->"
LAYERS = 2  # of the 40 of request 662
TIME, SPEEDUP, POINTS = 0.35, 0.20, 15  # how far off a prediction may be; of a pipe's share of the time, in points
EXPLAINED = 0.20  # a time that is further off has its reason
MISSES = Path(__file__).with_name("misses.csv")


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


TILES_662 = {"tiles.WIDE_N": 128, "tiles.WIDE_K": 128}


def product(size: int) -> Trace:
    """PTO-ISA's example of a product."""
    from bench.gemm import gemm

    specs = [
        *(TensorSpec(name, [size, size], torch.float16) for name in "ab"),
        TensorSpec("c", [size, size], torch.float32, is_output=True),
    ]
    return stages.trace_settled(tuned(gemm, SIZE=size), specs, chip="a2a3")


def of_product(row: Row, done: dict[str, Profile]) -> Beside:
    """Time and pipes of `bench.gemm`."""
    if row.config not in done:
        done[row.config] = profile(product(int(row.config.split()[0])), chips.chip(row.chip))
    p = done[row.config]
    if row.quantity == "pipe %":
        return Beside(row, "bench.gemm", None, 100 * p.by_name()[0].busy[row.item])
    return Beside(row, "bench.gemm", len(p.tasks), p.makespan)


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
    products: dict[str, Profile] = {}
    out = []
    for row in read():
        key = row.source, row.revision
        if row.program == "bench/gemm.py":
            out.append(of_product(row, products))
        elif row.quantity == "floor":
            weights = 152064 * 5120 * 2
            out.append(Beside(row, "", None, weights / (chips.chip(row.chip).memory.shared * 1e3)))
        elif key in KERNELS and row.item == "whole":
            if key not in done:
                name, make, times = KERNELS[key]
                predicted = profile(make(), chips.chip(row.chip))
                done[key] = name, round(len(predicted.tasks) * times), predicted.makespan * times
            out.append(Beside(row, *done[key]))
        else:
            kept = upstream.get(key_of(row), {})
            us, tasks = kept.get("predicted_us"), kept.get("tasks")
            why = kept.get("why") or "" if kept else "no kernel here, and no program to follow"
            out.append(Beside(row, "its own", int(tasks) if tasks else None, float(us) if us else None, why))
    return out


def _upstream() -> dict[tuple, dict[str, str]]:
    if not RESULTS.exists():
        return {}
    with open(RESULTS, newline="") as f:
        lines = csv.DictReader(text for text in f if not text.startswith("#"))
        return {tuple(x[f] for f in FIELDS[:6]): x for x in lines}


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


def times(rows: list[Beside]) -> list[Beside]:
    """Those of them that are times."""
    return [b for b in compared(rows) if "%" not in b.row.quantity]


def error(rows: list[Beside], chip: str = "a2a3") -> float | None:
    """The median of how far off the compared times of a chip are, as a share: what a prediction's error bar is."""
    mine = [abs(b.off) for b in times(rows) if b.row.chip == chip]
    return statistics.median(mine) if mine else None


def spread(rows: list[Beside]) -> str:
    """What helpers/chips/spread.toml has to say: the error bar of predicted times, by chip."""
    text = "# Written by bench/published.py: how far off predicted times are where nothing was fitted.\n"
    for chip in ("a2a3", "a5"):
        off = error(rows, chip)
        if off is not None:
            n = sum(b.row.chip == chip for b in times(rows))
            text += f"\n[{chip}]\nmedian = {off:.3f}\nrows = {n}\n"
    return text


def summary(rows: list[Beside]) -> str:
    """Median and worst error of the compared rows, by chip, and of their speedups."""
    lines = []
    for chip in ("a2a3", "a5"):
        off = sorted(abs(b.off) for b in times(rows) if b.row.chip == chip)
        if off:
            over = sum(x > TIME for x in off)
            lines.append(
                f"{chip}: {len(off)} compared times, median error {100 * statistics.median(off):.0f} %, worst "
                f"{100 * off[-1]:.0f} %, {over} above {100 * TIME:.0f} %"
            )
    off = sorted(abs(ours / measured - 1) for row, measured, ours in speedups(rows) if row.part == "compared")
    if off:
        lines.append(
            f"{len(off)} speedups, median error {100 * statistics.median(off):.0f} %, worst {100 * off[-1]:.0f} %, "
            f"{sum(x > SPEEDUP for x in off)} above {100 * SPEEDUP:.0f} %"
        )
    return "\n".join(lines)


def markdown(rows: list[Beside]) -> str:
    """The tables: the compared rows, the worst first; the fitted ones; speedups; those that are not predicted."""
    lines = []
    for title, mine in (
        ("Compared, and never fitted on; the largest misses first", sorted(times(rows), key=lambda b: -abs(b.off))),
        ("How busy pipes are, compared", [b for b in compared(rows) if "%" in b.row.quantity]),
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


def reason(b: Beside) -> str:
    """Why a prediction is off by more than EXPLAINED, from misses.csv; "" where it is not."""
    if abs(b.off) <= EXPLAINED or "%" in b.row.quantity:
        return ""
    with open(MISSES, newline="") as f:
        for x in csv.DictReader(text for text in f if not text.startswith("#")):
            mine = (b.row.source, b.row.item, b.row.quantity)
            if all(not said or said == own for said, own in zip((x["source"], x["item"], x["quantity"]), mine)):
                return x["reason"]
    return "not found"


def _table(rows: list[Beside]) -> list[str]:
    out = [
        "| source | chip | program | of | kernel | tasks | predicted for | us measured | predicted | off | why |",
        "|---|---|---|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for b in rows:
        r = b.row
        state = " before" if r.before else ""
        tasks, ours = (f"{n:,}" if n else "" for n in (r.tasks, b.tasks))
        out.append(
            f"| {r.source}{state} | {r.chip} | {r.program.rpartition('/')[2]} {r.config} | {r.item}, {r.quantity} "
            f"| {b.kernel} | {tasks} | {ours} | {r.value:,.6g} | {b.predicted:,.6g} | {_off_of(b)} | {reason(b)} |"
        )
    return out


def _off_of(b: Beside) -> str:
    """Shares of a kernel's time are off by points."""
    if "%" not in b.row.quantity:
        return _off(b.off, TIME)
    points = b.predicted - b.row.value
    return f"{points:+.0f} points" if abs(points) <= POINTS else f"**{points:+.0f} points, a miss**"


def _off(off: float, limit: float) -> str:
    return f"{100 * off:+.0f} %" if abs(off) <= limit else f"**{100 * off:+.0f} %, a miss**"


def main() -> None:
    """Print the tables and put them into the page."""
    rows = found()
    text = markdown(rows)
    print(text)
    print(summary(rows), file=sys.stderr)
    with whole(chips.SPREAD) as f:
        f.write(spread(rows))
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    part = PAGE.with_suffix(".part")
    part.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")
    part.replace(PAGE)
    print(f"written to {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
