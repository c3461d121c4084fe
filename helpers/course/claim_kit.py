"""What a claim of a notebook is, and what its checks are computed with: ladders, ablations, traces, facts.

Claims are in `claims_of_decode` and `claims_of_layers`; `claims` has them all.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

from helpers import chips, stages
from helpers.course import ladders, notebooks
from helpers.course.ladders import Climbed
from helpers.interpret.trace.depend import stated, waves
from helpers.interpret.trace.trace import Trace
from helpers.profile import Profile, profile
from helpers.profile.ablation import Step, ablate

CTX = {
    "rope_kv_cache": [1, 127, 128, 129, 300, 640, 1000, 1024, 17, 256, 511, 700, 384, 64, 900, 33],
    "flash_attention": [1, 127, 128, 129, 300, 640, 1000, 4096, 17, 256, 511, 700, 384, 64, 900, 33],
    "decode_layer": [1, 128, 129, 300],
}
"""The lengths that the notebooks take."""


def climbed(stage: str, ctx: int | None = None) -> Climbed:
    """The ladder of a stage as its notebook climbs it; of all sequences at `ctx` tokens."""
    return _climbed(stage, ctx)


@cache
def _climbed(stage: str, ctx: int | None) -> Climbed:
    lengths = CTX.get(stage) if ctx is None else ctx
    if stage == "prefill":
        return ladders.climb(stage, ctx=128)
    if stage == "mlp_32b":
        return ladders.climb(stage, on=("a2a3",))
    batch = {"batch": len(CTX[stage]) if stage == "decode_layer" else 16}
    if stage == "flash_attention" and ctx is not None:
        return ladders.climb(stage, since="flat, no loads ahead", batch=16, ctx=ctx)
    return ladders.climb(stage, **batch, **({"ctx": lengths} if lengths is not None else {}))


@cache
def ablated(stage: str) -> Step:
    """The first step of a stage, a change at a time."""
    return ablate(stage)[0]


@dataclass(frozen=True)
class Claim:
    """A sentence, or a part of one, of a notebook.

    Attributes:
        notebook: Its stem.
        sentence: As it stands there.
        by: What it is checked by, in words.
        holds: Whether it does.
    """

    notebook: str
    sentence: str
    by: str
    holds: Callable[[], Any]

    def stands(self) -> bool:
        """Whether the notebook says so."""
        text = "\n".join(c.source for c in nbformat.read(notebooks.find(self.notebook)[0], 4).cells)
        return plain(self.sentence) in plain(text)


def plain(text: str) -> str:
    return " ".join(re.sub(r"\*\*", "", text).split())


def saves(stage: str, rung: str, chip: str = "a2a3", ctx: int | None = None) -> float:
    """Share of the time of the rung before that a rung saves; below 0: it takes more."""
    c = climbed(stage, ctx)
    before = c.of(next(r for r in c.rungs if r.name == rung))
    return c.saved(rung, chip) / c.us(before.name, chip)


def small(share: float, most: float = 0.03) -> bool:
    """Less than `most` of the time, either way."""
    return abs(share) < most


def tasks(stage: str, rung: str) -> int:
    return climbed(stage).profiles["a2a3"][rung].trace.tasks


def longest(name: str) -> bool:
    """Of stage flash_attention's naive kernel: the launches that end the longest chain have this name."""
    trace = climbed("flash_attention").profiles["a2a3"]["separate"].trace
    wave = waves(trace, stated(trace))
    return {d.name for d, at in zip(trace.dispatches, wave) if at == wave.max()} == {name}


CHIPS = ladders.CHIPS
"""The chips on which a claim is to hold where it names none."""


def fastest(stage: str, chip: str, ctx: int | None = None) -> str:
    """The rung that takes least."""
    c = climbed(stage, ctx)
    return min(c.profiles[chip], key=lambda name: c.us(name, chip))


def written(stage: str, rung: str, chip: str) -> int:
    """Bytes that a rung writes to global memory."""
    return climbed(stage).profiles[chip][rung].trace.gm_write_bytes


def share(stage: str, change: str) -> float:
    """Of a gain, what a change is worth over all orders."""
    return next(c.share for c in ablated(stage).changes if c.name == change) or 0.0


def between(low: float, value: float, high: float) -> bool:
    """Whether a value lies between two others."""
    return low < value < high


@cache
def traced(stage: str, version: str, **how: Any) -> Trace:
    """The trace of a version, without arithmetic; lengths as tuples."""
    given = {n: list(v) if isinstance(v, tuple) else v for n, v in how.items()}
    return stages.trace_stage(stages.find(stage), version, **given)


def profiled(stage: str, rung: str, chip: str = "a2a3") -> Profile:
    """The profile of a rung of a ladder."""
    return climbed(stage).profiles[chip][rung]


@cache
def published(source: str, note: str) -> dict[str, str]:
    """The first row of bench/published.csv of a source, such as "pypto-lib#90", whose note begins like that."""
    with open(Path(__file__).parents[2] / "bench" / "published.csv", encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return next(r for r in rows if r["source"] == source and r["note"].startswith(note))


def forget() -> None:
    """Give back the memory of ladders and traces that claims have in common."""
    for kept in (_climbed, ablated, traced):
        kept.cache_clear()


def predicted(trace: Trace, chip: str = "a2a3") -> float:
    """Microseconds of a trace."""
    return profile(trace, chips.chip(chip)).makespan
