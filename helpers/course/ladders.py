"""The ladders of the notebooks, a rung at a time: each rung changes one thing of the rung before, or of another named.

`climb` predicts every rung on both chips. A rung's saving is worth what its one change is worth there, so that a cause
is named only where nothing else changed. Kernels between the versions are in kernels/rungs, or are versions with other
constants (`helpers.tuning`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from helpers import chips, stages
from helpers.errors import InputError
from helpers.interpret.trace.trace import Trace
from helpers.profile import Profile, profile
from helpers.tuning import tuned

CHIPS = ("a2a3", "a5")
NAMED = {"a2a3": "A2/A3", "a5": "A5"}


@dataclass(frozen=True)
class Rung:
    """A kernel and the one thing in which it differs from another one.

    Attributes:
        name: Its label; that of a version where it is one as it stands.
        change: What it changes, in a few words; "" for the first.
        kernel: The version, or "module.function" of kernels/rungs, that it is made of.
        stages: Of loops that load, see `helpers.tuning.tuned`; None: as they are.
        values: Other constants of the kernel.
        of: The rung that it changes; "": the one before.
    """

    name: str
    change: str = ""
    kernel: str = ""
    stages: int | None = None
    values: Mapping[str, int] = field(default_factory=dict)
    of: str = ""


def _mlp() -> tuple[Rung, ...]:
    tiles = "mlp_rungs.tile_by_tile"
    return (
        Rung("partial_products"),
        Rung("accumulate", "a tile's sum stays in L0C, so one task makes all of it"),
        Rung(
            "looped", "the first product of a sum stands in the loop, too", tiles,
            values={"OUT_N": 64, "DOWN_N": 128, "DOWN_K": 64, "AHEAD": 1},
        ),
        Rung("+ 256 columns", "tiles of 256 columns, not 64 or 128", tiles, values={"DOWN_K": 64, "AHEAD": 1}),
        Rung("+ K of 128", "steps of 128 of K in the down projection, not 64", tiles, values={"AHEAD": 1}),
        Rung("+ loads ahead", "the next tile loads while this one is multiplied", tiles),
        Rung("a launch a step", "one launch a step, not one a tile", "mlp_rungs.step_by_step"),
        Rung("+ shared loop", "gate and up in one loop, which loads x once", "mlp_rungs.one_loop"),
        Rung("mixed", "cube and vector work in one region"),
    )  # fmt: skip


_WIDE_PRODUCTS = {
    "prefill_launches.END_N": 256, "prefill_launches.END_MLP_N": 256,
    "prefill_launches.PROJ_N": 256, "prefill_launches.PROJ_KV_N": 128,
}  # fmt: skip
_LOW_VECTORS = {
    "prefill_launches.END_ROWS": 32, "prefill_launches.END_VECTOR_N": 256, "prefill_launches.END_MLP_VECTOR_N": 256
}  # fmt: skip

LADDERS: dict[str, tuple[Rung, ...]] = {
    "rope_kv_cache": (
        Rung("naive"),
        Rung("head_at_once", "the six steps of a head are one task", "rope_rungs.head_at_once"),
        Rung("per_sequence", "the eight heads of a sequence are one task"),
        Rung("side_by_side", "one launch, whose blocks do not wait for each other", "rope_rungs.side_by_side"),
        Rung("flat", "a block for each head, not for each sequence"),
        Rung("striding", "as many blocks as vector cores, which stride over the heads", "rope_rungs.striding"),
    ),
    "flash_attention": (
        Rung("separate"),
        Rung(
            "merged_last",
            "pages are merged at the end, so none waits for the one before",
            "attention_rungs.merged_last",
        ),
        Rung("walking", "a task takes all pages of a head, one after the other", "attention_rungs.walking"),
        Rung("flat, no loads ahead", "one launch a step, not one a head", "flat", 1),
        Rung("flat", "the next page loads while this one is computed"),
        Rung("mixed", "QK, softmax and SV are one region, launched at once", of="flat, no loads ahead"),
        Rung(
            "shared_out, no loads ahead", "pages are handed out evenly, from a table", "attention_rungs.shared_out", 1
        ),
        Rung("shared_out", "the next page loads while this one is computed", "attention_rungs.shared_out"),
        Rung("fused", "one launch; barriers, not launches, between its phases"),
    ),
    "mlp": _mlp(),
    "mlp_32b": _mlp(),
    "qkv_proj": (
        Rung("tile"),
        Rung("+ 256 columns", "tiles of 256 columns, not 64", "tile", values={"TILE_N": 256}),
        Rung("spmd, no loads ahead", "one launch a projection, with a block for each tile", "spmd", 1),
        Rung("spmd", "the next tile loads while this one is multiplied"),
        Rung("+ K of 128", "steps of 128 of K, not 256", "spmd", values={"TILE_K": 128}),
        Rung(
            "factor at the end", "products do not wait for the norm's factor", "qkv_rungs.factor_last",
            values={"qkv_proj.TILE_K": 128},
        ),
        Rung("split_k, whole K", "sums start as zero and are added to in GM", "split_k", values={"SPLITS": 1}),
        Rung("split_k", "K in four parts, which add up in global memory"),
    ),
    "lm_head": (
        Rung("narrow"),
        Rung("+ 256 columns", "tiles of 256 columns, not 64", "narrow", values={"NARROW_N": 256}),
        Rung("+ K of 512", "steps of 512 of K, not 256", "narrow", values={"NARROW_N": 256, "NARROW_K": 512}),
        Rung(
            "+ no staging", "the store takes the real rows; no second task cuts them", "wide", values={"WIDE_CHUNKS": 1}
        ),
        Rung("wide", "two chunks a task"),
    ),
    "decode_layer": (
        Rung("naive"),
        Rung("mlp_mixed", "output projection and MLP: mixed for partial_products", "layer_rungs.mlp_mixed"),
        Rung("attention_fused", "attention: fused for separate", "layer_rungs.attention_fused"),
        Rung("fused", "Q, K, V: split_k for tile"),
    ),
    "prefill": (
        Rung("per_token"),
        Rung("16 tokens", "attention takes 16 tokens at once, with the same keys", "prefill_rungs.sixteen_tokens"),
        Rung("one end", "one task after the products of a head, not four", "prefill_rungs.one_end"),
        Rung(
            "attention in steps", "one launch a step of attention, not one a window and head",
            "prefill_rungs.attention_step_by_step",
        ),
        Rung("all in steps", "one launch a step of the rest, not one a tile", "prefill_rungs.all_step_by_step"),
        Rung(
            "+ 256 columns", "products in tiles of 256 columns, 128 of K and V, not 64 or 128",
            "prefill_rungs.all_step_by_step", values=_WIDE_PRODUCTS,
        ),
        Rung(
            "+ 32 rows", "residuals and SiLU in tiles of 32 rows and 256 columns", "prefill_rungs.all_step_by_step",
            values=_WIDE_PRODUCTS | _LOW_VECTORS,
        ),
        Rung(
            "+ loads ahead", "the next tile loads while this one is multiplied", "prefill_rungs.all_step_by_step",
            values=_WIDE_PRODUCTS | _LOW_VECTORS | {"prefill_launches.AHEAD": 2},
        ),
        Rung("shared loops", "K with V and gate with up in a loop, which loads x once", "prefill_rungs.shared_loops"),
        Rung("spmd", "heads are normed where RoPE turns them, not before"),
        Rung("chunked", "steps over all tokens of the call, not over 64 at a time"),
    ),
}  # fmt: skip
"""Rungs by stage, first to last."""


@dataclass(frozen=True)
class Climbed:
    """A ladder, predicted.

    Attributes:
        stage: Its name.
        rungs: First to last.
        profiles: Of every rung, by chip, then by the rung's name.
        guesses: What the reader thought each rung would save, in microseconds on A2/A3.
    """

    stage: str
    rungs: tuple[Rung, ...]
    profiles: dict[str, dict[str, Profile]]
    guesses: Mapping[str, float | None]

    def of(self, rung: Rung) -> Rung | None:
        """The rung that one changes; None for the first."""
        at = self.rungs.index(rung)
        return (
            next((r for r in self.rungs if r.name == rung.of), None) if rung.of else self.rungs[at - 1] if at else None
        )

    def us(self, name: str, chip: str = "a2a3") -> float:
        """Microseconds of a rung, predicted."""
        return self.profiles[chip][name].makespan

    def saved(self, name: str, chip: str = "a2a3") -> float:
        """Microseconds that a rung takes less than the one that it changes; below 0: more."""
        before = self.of(next(r for r in self.rungs if r.name == name))
        return 0.0 if before is None else self.us(before.name, chip) - self.us(name, chip)

    def roof(self, chip: str = "a2a3") -> float:
        """Microseconds that no rung can take less than: the least of all rungs' `least`."""
        return self._roofs[chip]

    @cached_property
    def _roofs(self) -> dict[str, float]:
        return {chip: min(map(least, of.values())) for chip, of in self.profiles.items()}

    def share(self, name: str, chip: str = "a2a3") -> float:
        """What a rung saves, as a share of what the one that it changes has above the roof."""
        before = self.of(next(r for r in self.rungs if r.name == name))
        above = self.us(before.name, chip) - self.roof(chip) if before else 0.0
        return self.saved(name, chip) / above if above > 0 else 0.0

    def __repr__(self) -> str:
        lines, counted = [], next(iter(self.profiles.values()))
        for rung in self.rungs:
            before = self.of(rung)
            tasks = f"{counted[rung.name].trace.tasks:,}"
            if before is None:
                lines.append(f"{rung.name}: {tasks} tasks")
                continue
            was = f"{counted[before.name].trace.tasks:,}"
            lines.append(f"{rung.name}, of {before.name}: {rung.change}")
            lines.append(f"  tasks {was} -> {tasks}" if was != tasks else f"  tasks {tasks}, as before")
            lines.append(f"  predicted time {'; '.join(self._times(rung, before, chip) for chip in self.profiles)}")
        return "\n".join(lines)

    def _times(self, rung: Rung, before: Rung, chip: str) -> str:
        text = f"{NAMED[chip]} {self.us(before.name, chip):,.1f} -> {self.us(rung.name, chip):,.1f} µs"
        text += f", {100 * self.share(rung.name, chip):.0f} % of what was above the roof"
        guess = self.guesses.get(rung.name)
        if chip == CHIPS[0] and guess is not None:
            text += f" (saves {self.saved(rung.name):,.1f}, you thought {guess:,.1f})"
        return text


def least(profile: Profile) -> float:
    """Microseconds that a chip needs at least for what a run moves and computes: the longest of its bytes from HBM at
    the memory's rate, its products at the cubes', its vector elements at the vector cores'."""
    chip = profile.chip
    work = [(len(p), p.chunk.work) for d in profile.trace.dispatches if d.runs for p in d.parts]
    moved = float(profile.costs.hbm_bytes.sum()) / (chip.memory.shared * 1e3)
    cube = sum(n * w.cube_flops for n, w in work) / (chip.cube_tflops * 1e6)
    vector = sum(n * w.vector_elements for n, w in work) / (chip.vector_gflops * 1e3)
    return max(moved, cube, vector)


def rungs_of(stage: str) -> tuple[Rung, ...]:
    """The ladder of a stage.

    Raises:
        InputError: it has none; says which have.
    """
    if stage not in LADDERS:
        raise InputError(f"there is no ladder of {stage!r}; there are: {', '.join(LADDERS)}")
    return LADDERS[stage]


def questions(stage: str) -> str:
    """What each rung of a ladder changes, to be guessed at before it is climbed.

    Raises:
        InputError: there is no such ladder.
    """
    ladder = rungs_of(stage)
    wide = max(len(r.name) for r in ladder)
    return "\n".join(
        f"{r.name:{wide}}  of {r.of or ladder[i - 1].name}: {r.change}" if i else f"{r.name:{wide}}  the first"
        for i, r in enumerate(ladder)
    )


def kernel(stage: str, rung: Rung) -> Any:
    """The kernel of a rung."""
    module, _, name = rung.kernel.rpartition(".")
    if module:
        made = getattr(importlib.import_module(f"kernels.rungs.{module}"), name)
    else:
        made = stages.find(stage).versions[rung.kernel or rung.name]
    return tuned(made, rung.stages, **rung.values) if rung.values or rung.stages is not None else made


def climb(
    stage: str,
    guesses: Mapping[str, float | None] | None = None,
    since: str = "",
    on: Sequence[str] = CHIPS,
    **how: Any,
) -> Climbed:
    """Predict every rung of a stage's ladder.

    Args:
        guesses: Microseconds that a rung saves on A2/A3, as the reader thinks; None: no guess.
        since: The rung to begin with; "": the first.
        on: For which chips.
        how: Arguments of the stage's specs: batch, ctx.

    Raises:
        InputError: there is no such ladder, or a guess is for a rung that it does not have.
    """
    ladder = rungs_of(stage)
    names = [r.name for r in ladder]
    if since and since not in names:
        raise InputError(f"the ladder of {stage} has no rung {since!r}; it has: {', '.join(names)}")
    ladder = ladder[names.index(since) if since else 0 :]
    guesses = dict(guesses or {})
    unknown = [n for n in guesses if n not in [r.name for r in ladder[1:]]]
    if unknown:
        raise InputError(
            f"the ladder of {stage} has no rung {unknown[0]!r}; it has: {', '.join(r.name for r in ladder[1:])}"
        )
    specs = stages.made_once(stages.find(stage).specs(**how))
    profiles: dict[str, dict[str, Profile]] = {chip: {} for chip in on}
    for rung in ladder:
        made = kernel(stage, rung)
        for chip in on:
            trace: Trace = stages.trace_kernel(made, specs, chip=chip)
            profiles[chip][rung.name] = profile(trace, chips.chip(chip))
    return Climbed(stage, ladder, profiles, guesses)
