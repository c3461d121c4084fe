"""Predicted times beside published ones: `python -m bench.published` prints the table and writes it to docs/profile.md.

Each row of published.csv that says before or after is predicted from this repository's own kernel: the version that
does what that pull request's before or after does, at its widths. One set of chip constants serves all of them.

- 90: its before was measured at hidden 5120 and its after at hidden 8192: the request changed that, too (its
  qwen3_32b_decode_scope3.py before and after), so it is predicted so. The task counts say the same.
- 662: layers are alike and follow one another, so LAYERS of them are predicted, and 40 are so many times as long.
  `spmd` has the request's MLP tiles, 128 x 128, where the version of this repository has wider ones.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import golden.mlp
import golden.prefill
from helpers import chips, stages
from helpers.interpret.trace.trace import Trace
from helpers.profile import profile
from helpers.tuning import tuned_stage

CSV = Path(__file__).with_name("published.csv")
PAGE = Path(__file__).parent.parent / "docs" / "profile.md"
BEGIN, END = "<!-- bench.published -->", "<!-- end -->"
LAYERS = 2  # of the 40 of request 662
TIME, SPEEDUP = 0.35, 0.20  # how far off a prediction may be


@dataclass(frozen=True)
class Row:
    """A published time in microseconds and the prediction: of which kernel, its tasks and its microseconds."""

    pr: str
    config: str
    variant: str
    tasks: int | None
    us: float
    kernel: str
    our_tasks: int
    predicted: float

    @property
    def off(self) -> float:
        """Predicted over published, less 1."""
        return self.predicted / self.us - 1


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
    ("90", "before"): ("mlp.partial_products, hidden 5120", lambda: decode_mlp("partial_products", 5120), 1),
    ("90", "after"): ("mlp.accumulate, hidden 8192", lambda: decode_mlp("accumulate", 8192), 1),
    ("391", "before"): ("lm_head.narrow", lambda: stages.trace_stage(stages.find("lm_head"), "narrow"), 1),
    ("391", "after"): ("lm_head.wide", lambda: stages.trace_stage(stages.find("lm_head"), "wide"), 1),
    ("662", "before"): ("prefill.per_token", lambda: prefill("per_token"), 40 / LAYERS),
    ("662", "after"): ("prefill.spmd, tiles 128 x 128", lambda: prefill("spmd", **TILES_662), 40 / LAYERS),
}
"""By request and variant: the kernel, how its trace is made, and how many times as long the published run is."""


def rows(requests: tuple[str, ...] = ("90", "391", "662")) -> list[Row]:
    """The published rows of these requests, each with its prediction."""
    done: dict[tuple[str, str], tuple[str, int, float]] = {}
    out = []
    with open(CSV, newline="") as f:
        for line in csv.DictReader(text for text in f if not text.startswith("#")):
            key = line["pr"], line["variant"]
            if key[0] not in requests or key not in KERNELS:
                continue
            if key not in done:
                name, make, times = KERNELS[key]
                predicted = profile(make(), chips.chip("a2a3"))
                done[key] = name, round(len(predicted.tasks) * times), predicted.makespan * times
            tasks = int(line["tasks"]) if line["tasks"] else None
            out.append(Row(key[0], line["config"], key[1], tasks, float(line["time_us"]), *done[key]))
    return out


def floor() -> tuple[float, float]:
    """(published, predicted) microseconds of request 391's floor: its weights at what memory gives."""
    weights = 152064 * 5120 * 2
    return 1367.0, weights / (chips.chip("a2a3").memory.shared * 1e3)


def speedups(found: list[Row]) -> list[tuple[str, str, float, float]]:
    """(request, config, published, predicted) speedup of every pair of before and after."""
    by = {(r.pr, r.config, r.variant): r for r in found}
    return [
        (pr, config, before.us / after.us, before.predicted / after.predicted)
        for (pr, config, variant), before in by.items()
        if variant == "before" and (after := by.get((pr, config, "after")))
    ]


def markdown(found: list[Row]) -> str:
    """Both tables, with what misses its limit marked."""
    lines = [
        "| request | config | | kernel of this repository | tasks published | ours | us published | predicted | off |",
        "|---|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for r in found:
        tasks = f"{r.tasks:,}" if r.tasks else ""
        lines.append(
            f"| {r.pr} | {r.config} | {r.variant} | `{r.kernel}` | {tasks} | {r.our_tasks:,} | {r.us:,.0f} "
            f"| {r.predicted:,.0f} | {_off(r.off, TIME)} |"
        )
    us, predicted = floor()
    lines.append(
        f"| 391 | floor of 24 cores | | | | | {us:,.0f} | {predicted:,.0f} | {_off(predicted / us - 1, TIME)} |"
    )
    lines += ["", "| request | config | speedup published | predicted | off |", "|---|---|---:|---:|---:|"]
    for pr, config, published, ours in speedups(found):
        lines.append(f"| {pr} | {config} | {published:.2f} | {ours:.2f} | {_off(ours / published - 1, SPEEDUP)} |")
    return "\n".join(lines)


def _off(off: float, limit: float) -> str:
    return f"{100 * off:+.0f} %" if abs(off) <= limit else f"**{100 * off:+.0f} %, a miss**"


def main() -> None:
    """Print the tables and put them into the page."""
    text = markdown(rows())
    print(text)
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    part = PAGE.with_suffix(".part")
    part.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")
    part.replace(PAGE)
    print(f"written to {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
