"""What the notebooks claim of causes and of figures in their prose, and what each claim is checked by.

A claim is a sentence of a notebook with a function that says whether it holds, today. `python -m helpers.course.claims`
writes the list into docs/claims.md; a test holds the notebooks, the page and the model to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

from helpers import chips
from helpers.course import ladders, notebooks
from helpers.course.ladders import Climbed
from helpers.interpret.trace.depend import stated
from helpers.profile import profile
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
        "The steps of a head in one task: **no time**.",
        "the rung saves less than 3 % on both chips",
        lambda: all(_small(saves("rope_kv_cache", "head_at_once", c)) for c in CHIPS),
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
        "A block for each head is **slower** than one for each sequence",
        "the rung takes more time, and cores wait more for a dispatch than they work",
        lambda: (
            all(saves("rope_kv_cache", "flat", c) < -0.1 for c in CHIPS)
            and climbed("rope_kv_cache").profiles["a2a3"]["flat"].losses["dispatch"] > 0.5
        ),
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
        "Pages that wait for nobody, alone: next to nothing. 2,152 tasks",
        "the rung saves less than 3 %; its tasks",
        lambda: _small(saves("flash_attention", "merged_last")) and _tasks("flash_attention", "merged_last") == 2152,
    ),
    Claim(
        "02b_mixed_and_fused",
        "**One launch a step** is nearly everything: a fifteenth of the time.",
        "the rung's time over the one before",
        lambda: 1 / 17 < 1 - saves("flash_attention", "flat, no loads ahead") < 1 / 13,
    ),
    Claim(
        "02b_mixed_and_fused",
        "Loads ahead save a tenth, on either kernel.",
        "two rungs, 7 to 14 % each",
        lambda: all(0.07 < saves("flash_attention", r) < 0.14 for r in ("flat", "shared_out")),
    ),
    Claim(
        "02b_mixed_and_fused",
        "One region for cube and vector saves a fifth on A2/A3, where scores and weights go through GM as before",
        "the rung's share of the time on both chips; bytes written on A2/A3",
        lambda: (
            0.17 < saves("flash_attention", "mixed") < 0.23 < saves("flash_attention", "mixed", "a5") < 0.3
            and _written("flash_attention", "mixed", "a2a3")
            == _written("flash_attention", "flat, no loads ahead", "a2a3")
            > _written("flash_attention", "mixed", "a5")
        ),
    ),
    Claim(
        "02b_mixed_and_fused",
        "An even share of the pages saves an eighth, on lengths this ragged.",
        "the rung's share of the time",
        lambda: 0.1 < saves("flash_attention", "shared_out, no loads ahead") < 0.15,
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
        "02b_mixed_and_fused",
        "Now the region **costs** time on A2/A3, where its ring goes through GM",
        "4,096 tokens each: the rung on A2/A3, and on the same chip with the ring on chip",
        lambda: saves("flash_attention", "mixed", ctx=4096) < 0 < _with_ring_on_chip(),
    ),
    Claim(
        "02b_mixed_and_fused",
        "On A5 the region saves a sixth, and `mixed` is the fastest.",
        "4,096 tokens each: the least time on each chip",
        lambda: (
            _fastest("flash_attention", "a2a3", 4096) == "flat"
            and _fastest("flash_attention", "a5", 4096) == "mixed"
            and 0.14 < saves("flash_attention", "mixed", "a5", 4096) < 0.2
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
        "After that **the width of the tiles is nearly all**",
        "its share over all orders of the changes",
        lambda: _share("mlp", "tiles of 256 columns") > 0.8,
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
        "the region, its launches and the shared loop are worth less than a tenth of the gain",
        "what is left of the gain over all orders",
        lambda: _share("mlp", REST) < 0.1,
    ),
    Claim(
        "03c_qkv_proj",
        "wide tiles are half of what is above the roof",
        "the rung's share",
        lambda: 0.45 < climbed("qkv_proj").share("+ 256 columns") < 0.58,
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
    Claim(
        "03c_qkv_proj",
        "K in four parts saves a seventh on A2/A3",
        "the rung's share of the time",
        lambda: 0.12 < saves("qkv_proj", "split_k") < 0.16,
    ),
    Claim(
        "04_lm_head",
        "on A2/A3 the **width of the tiles is all of it**",
        "the rung saves more than the whole ladder does",
        lambda: (
            climbed("lm_head").saved("+ 256 columns") > climbed("lm_head").us("narrow") - climbed("lm_head").us("wide")
        ),
    ),
    Claim(
        "04_lm_head",
        "Deeper steps of K save nothing. No staging saves little on A2/A3, and a sixth on A5.",
        "two rungs' shares of the time",
        lambda: (
            all(_small(saves("lm_head", "+ K of 512", c), 0.01) for c in CHIPS)
            and _small(saves("lm_head", "+ no staging"), 0.01)
            and 0.14 < saves("lm_head", "+ no staging", "a5") < 0.2
        ),
    ),
    Claim(
        "04_lm_head",
        "Two chunks a task cost time: 297 tasks on 24 cubes end less evenly than 594.",
        "the rung takes more time; cubes with nothing left to start",
        lambda: (
            all(saves("lm_head", "wide", c) < 0 for c in CHIPS)
            and _left_over("wide") > 1.5 * _left_over("+ no staging")
        ),
    ),
    Claim(
        "05_decode_layer",
        "of 42 ms all but 1 % is the MLP's partial products",
        "the last rung's saving over the first rung's time",
        lambda: climbed("decode_layer").saved("fused") > 0.97 * climbed("decode_layer").us("naive"),
    ),
    Claim(
        "05_decode_layer",
        "they save 270 µs together, and the layer that is left takes 660",
        "the rungs' microseconds, to 5 %",
        lambda: (
            abs(sum(climbed("decode_layer").saved(r) for r in ("attention_fused", "projected")) / 270 - 1) < 0.05
            and abs(climbed("decode_layer").us("fused") / 660 - 1) < 0.05
        ),
    ),
    Claim(
        "06b_prefill_chunks",
        "what follows attention is a third of the gain, most of it one launch a step",
        "three rungs over the saving up to `spmd`",
        lambda: (
            0.3 < _of_gain("end in steps", "+ 256 columns", "+ loads ahead") < 0.4 and _of_gain("end in steps") > 0.2
        ),
    ),
    Claim(
        "06b_prefill_chunks",
        "`chunked` reads each weight once for both tiles of 64 tokens, and saves a tenth.",
        "the rung's share of the time",
        lambda: 0.07 < saves("prefill", "chunked") < 0.13,
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


def _left_over(rung: str) -> float:
    return climbed("lm_head").profiles["a2a3"][rung].losses_by_engine["cube"]["imbalance"]


def _of_gain(*rungs: str) -> float:
    c = climbed("prefill")
    return sum(c.saved(r) for r in rungs) / (c.us("per_token") - c.us("spmd"))


def _with_ring_on_chip() -> float:
    """What the region saves of attention at 4,096 tokens on a chip that is A2/A3 but for its ring, a share."""
    chip = replace(chips.chip("a2a3"), ring="chip")
    before, after = (
        profile(climbed("flash_attention", 4096).profiles["a2a3"][r].trace, chip).makespan
        for r in ("flat, no loads ahead", "mixed")
    )
    return 1 - after / before


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
