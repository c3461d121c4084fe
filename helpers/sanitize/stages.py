"""Checking the kernels of the workbook's stages: `check_stage(stage, version)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from helpers.sanitize.check import check
from helpers.sanitize.findings import Finding
from helpers.stages import Stage
from kernels.qwen3 import BATCH, MAX_CTX, PAGE

BATCHES = (1, BATCH - 1, BATCH)
CONTEXTS = (1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 1, MAX_CTX)  # the last one fills the last page of the table


def check_stage(
    stage: Stage,
    version: str,
    *,
    batch: int = BATCH,
    ctx: int | Sequence[int] | None = None,
    on: Sequence[str] = ("a2a3", "a5"),
    dry: bool = False,
    sweeps: bool = True,
) -> list[Finding]:
    """Findings about one version of a stage, at `batch` and `ctx` and at the sizes that break kernels.

    Args:
        version: A name in `stage.versions`.
        batch, ctx: Of the run with arithmetic, as for helpers.stages.run_stage.
        on: Chips; kernels run on the first.
        dry: No arithmetic and no golden.
        sweeps: False: at `batch` and `ctx` only.
    """
    sweep: dict[str, Any] = {"batch": BATCHES}
    if stage.name in ("rope_kv_cache", "flash_attention"):
        sweep["ctx"] = CONTEXTS

    def specs(**sizes: Any) -> list:
        return stage.specs(**{"batch": batch, "ctx": ctx, **sizes})

    return check(
        stage.versions[version],
        specs,
        None if dry else stage.reference,
        rtol=stage.tolerance.rtol,
        atol=stage.tolerance.atol,
        compare_fn=stage.compare_fn,
        on=on,
        sweep=sweep,
        sweeps=sweeps,
        dry=dry,
    )
