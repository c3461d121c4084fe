"""Checking the kernels of the workbook's stages: `check_stage(stage, version)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from helpers.sanitize.check import check
from helpers.sanitize.rules.findings import Finding
from helpers.stages import Stage
from kernels.qwen3 import PAGE


def sweep_of(stage: Stage) -> dict[str, Any]:
    """The sizes that break kernels of a stage: batches around the tile, lengths around a page, the last page."""
    batches = {"batch": sorted({1, max(1, stage.batch - 1), stage.batch})} if stage.batch is not None else {}
    if not stage.context:
        return batches
    around = (1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 1)
    return {**batches, "ctx": [*(n for n in around if n < stage.longest), stage.longest]}


def check_stage(
    stage: Stage,
    version: str,
    *,
    batch: int | None = None,
    ctx: int | Sequence[int] | None = None,
    on: Sequence[str] = ("a2a3", "a5"),
    dry: bool = False,
    sweeps: bool = True,
    sweep: Mapping[str, Sequence[int]] | None = None,
    **how: Any,
) -> list[Finding]:
    """Findings about one version of a stage, at `batch` and `ctx` and at the sizes that break kernels.

    Args:
        version: A name in `stage.versions`.
        batch, ctx: Of the run with arithmetic, as for helpers.stages.run_stage.
        on: Chips; kernels run on the first.
        dry: No arithmetic and no golden.
        sweeps: False: at `batch` and `ctx` only.
        sweep: Sizes to try, by argument of `stage.specs`; None: those of `sweep_of`.
        how: Other arguments of `stage.specs`, such as widths.
    """

    def specs(**sizes: Any) -> list:
        return stage.specs(**{"batch": stage.batch if batch is None else batch, "ctx": ctx, **how, **sizes})

    return check(
        stage.versions[version],
        specs,
        None if dry else stage.reference,
        rtol=stage.tolerance.rtol,
        atol=stage.tolerance.atol,
        compare_fn=stage.compare_fn,
        on=on,
        sweep=sweep_of(stage) if sweep is None else sweep,
        sweeps=sweeps,
        dry=dry,
        beside=_nearest(stage, version),
    )


def _nearest(stage: Stage, version: str) -> dict[str, Any]:
    """The other versions of a stage, those that are next to this one in its ladder first; of two, the earlier one."""
    names = list(stage.versions)
    at = names.index(version)
    others = sorted((abs(n - at), n) for n in range(len(names)) if n != at)
    return {f"'{names[n]}'": stage.versions[names[n]] for _, n in others}
