"""What the notebooks claim of causes and of figures in their prose, and what each claim is checked by.

A claim is a sentence of a notebook with a function that says whether it holds, today. `python -m helpers.course.claims`
writes the list into docs/claims.md; a test holds the notebooks, the page and the model to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

from helpers.course import ladders, notebooks
from helpers.course.ladders import Climbed
from helpers.interpret.trace.depend import stated
from helpers.profile.ablation import REST, Step, ablate

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
CTX = {
    "rope_kv_cache": [1, 127, 128, 129, 300, 640, 1000, 1024, 17, 256, 511, 700, 384, 64, 900, 33],
    "flash_attention": [1, 127, 128, 129, 300, 640, 1000, 4096, 17, 256, 511, 700, 384, 64, 900, 33],
    "decode_layer": [1, 128, 129, 300],
}
"""The lengths that the notebooks take."""


@cache
def climbed(stage: str, ctx: int | None = None) -> Climbed:
    """The ladder of a stage as its notebook climbs it; of all sequences at `ctx` tokens."""
    lengths = CTX.get(stage) if ctx is None else ctx
    if stage == "prefill":
        return ladders.climb(stage, ctx=128)
    batch = {} if stage == "mlp_32b" else {"batch": len(CTX[stage]) if stage == "decode_layer" else 16}
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
        return _plain(self.sentence) in _plain(text)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"\*\*", "", text).split())


def saves(stage: str, rung: str, chip: str = "a2a3", ctx: int | None = None) -> float:
    """Share of the time of the rung before that a rung saves; below 0: it takes more."""
    c = climbed(stage, ctx)
    before = c.of(next(r for r in c.rungs if r.name == rung))
    return c.saved(rung, chip) / c.us(before.name, chip)


def _small(share: float, most: float = 0.03) -> bool:
    """Less than `most` of the time, either way."""
    return abs(share) < most


def _tasks(stage: str, rung: str) -> int:
    return climbed(stage).profiles["a2a3"][rung].trace.tasks


def _longest(name: str) -> bool:
    """Of stage flash_attention's naive kernel: no launch is deeper than those of this name."""
    trace = climbed("flash_attention").profiles["a2a3"]["separate"].trace
    depth = {d.name: 0 for d in trace.dispatches}
    deep: dict[int, int] = {}
    before: dict[int, list[int]] = {}
    for edge in stated(trace):
        before.setdefault(edge.later, []).append(edge.earlier)
    for d in trace.dispatches:
        deep[d.index] = 1 + max((deep[e] for e in before.get(d.index, ())), default=0)
        depth[d.name] = max(depth[d.name], deep[d.index])
    return max(depth, key=lambda n: depth[n]) == name


CHIPS = ladders.CHIPS
"""The chips on which a claim is to hold where it names none."""

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "01_rope_kv_cache",
        "The steps of a head in one task: a fifth.",
        "the rung saves 12 to 26 %",
        lambda: all(0.12 < saves("rope_kv_cache", "head_at_once", c) < 0.26 for c in CHIPS),
    ),
    Claim(
        "01_rope_kv_cache",
        "A block for each head, not for each sequence: **no time** on A2/A3.",
        "the rung saves less than 1 %",
        lambda: saves("rope_kv_cache", "flat") < 0.01,
    ),
    Claim(
        "02b_mixed_and_fused",
        "Pages that wait for nobody, alone: a fifth. 2,152 tasks",
        "the rung saves 15 to 23 %; its tasks",
        lambda: (
            0.15 < saves("flash_attention", "merged_last") < 0.23 and _tasks("flash_attention", "merged_last") == 2152
        ),
    ),
    Claim(
        "02b_mixed_and_fused",
        "One region for cube and vector saves a tenth on A2/A3, where scores and weights go through GM as before",
        "the rung's share of the time on both chips; bytes written",
        lambda: (
            0.08 < saves("flash_attention", "mixed") < 0.14 < saves("flash_attention", "mixed", "a5") < 0.3
            and _written("flash_attention", "mixed", "a2a3") > _written("flash_attention", "mixed", "a5")
        ),
    ),
    Claim(
        "02b_mixed_and_fused",
        "`flat` with loads ahead is faster on A2/A3.",
        "the two rungs' times",
        lambda: climbed("flash_attention").us("flat") < climbed("flash_attention").us("mixed"),
    ),
    Claim(
        "01_rope_kv_cache",
        "Eight heads in one task: half the time",
        "the rung saves 45 to 60 %",
        lambda: all(0.45 < saves("rope_kv_cache", "per_sequence", c) < 0.6 for c in CHIPS),
    ),
    Claim(
        "01_rope_kv_cache",
        "One launch whose blocks wait for nobody: nearly all that is left.",
        "the rung saves over 90 % of what is above the roof",
        lambda: all(climbed("rope_kv_cache").share("side_by_side", c) > 0.9 for c in CHIPS),
    ),
    Claim(
        "01_rope_kv_cache",
        "48 blocks that stride over the heads are the fastest.",
        "the least time of all rungs",
        lambda: all(_fastest("rope_kv_cache", c) == "striding" for c in CHIPS),
    ),
    Claim(
        "02_flash_attention",
        "But the longest chain is that of `finish`",
        "the depth of every launch in the graph",
        lambda: _longest("finish"),
    ),
    Claim(
        "02b_mixed_and_fused",
        "Barriers for launches: **no time** on either chip. `fused` has 256 tasks less",
        "the rung saves less than 3 % on both chips; tasks",
        lambda: (
            all(saves("flash_attention", "fused", c) < 0.03 for c in CHIPS)
            and _tasks("flash_attention", "shared_out") - _tasks("flash_attention", "fused") == 256
        ),
    ),
    Claim(
        "03b_wide_and_mixed",
        "the sum in L0C is worth a factor of nearly thirty",
        "the rung's time",
        lambda: 25 < 1 / (1 - saves("mlp", "accumulate")) < 30,
    ),
    Claim(
        "03b_wide_and_mixed",
        "After that **the width of the tiles is most of it**",
        "its share over all orders of the changes",
        lambda: _share("mlp", "tiles of 256 columns") > 0.6,
    ),
    Claim(
        "03b_wide_and_mixed",
        "On A2/A3 what the cube makes goes through GM as before: as many bytes are written",
        "bytes written by the two rungs",
        lambda: (
            _written("mlp", "mixed", "a2a3") == _written("mlp", "accumulate", "a2a3") > _written("mlp", "mixed", "a5")
        ),
    ),
    Claim(
        "03b_wide_and_mixed",
        "the region, its launches and the shared loop are worth a fifth of the gain",
        "what is left of the gain over all orders",
        lambda: 0.16 < _share("mlp", REST) < 0.24,
    ),
    Claim(
        "03c_qkv_proj",
        "One launch a projection saves nothing on A2/A3, and an eighth on A5.",
        "the rung's share of the time",
        lambda: (
            _small(saves("qkv_proj", "spmd, no loads ahead"))
            and 0.1 < saves("qkv_proj", "spmd, no loads ahead", "a5") < 0.15
        ),
    ),
    Claim(
        "03c_qkv_proj",
        "Loads ahead save a seventh on A2/A3, and next to nothing on A5.",
        "the rung's share of the time",
        lambda: 0.12 < saves("qkv_proj", "spmd") < 0.16 and _small(saves("qkv_proj", "spmd", "a5")),
    ),
)
"""The claims, notebook by notebook."""


def _fastest(stage: str, chip: str, ctx: int | None = None) -> str:
    c = climbed(stage, ctx)
    return min(c.profiles[chip], key=lambda name: c.us(name, chip))


def _written(stage: str, rung: str, chip: str) -> int:
    return climbed(stage).profiles[chip][rung].trace.gm_write_bytes


def _share(stage: str, change: str) -> float:
    return next(c.share for c in ablated(stage).changes if c.name == change) or 0.0


def page() -> str:
    """The claims as a page in Markdown."""
    out = [
        "# What the notebooks claim, and what checks it",
        "",
        "Written by `python -m helpers.course.claims` from [helpers/course/claims.py](../helpers/course/claims.py).",
        "`tests/test_claims.py` looks for each sentence in its notebook and computes what it says.",
        "",
        "| notebook | claim | checked by |",
        "|---|---|---|",
    ]
    out += [f"| {c.notebook} | {_plain(c.sentence).replace('|', '&#124;')} | {c.by} |" for c in CLAIMS]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
