"""The table of `workbook run`: a line for each version of a stage that was run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from golden import RunResult
    from helpers.stages import Stage

ON_CHIP = ("UB", "L1", "L0A", "L0B", "L0C")
ERRORS = ("max abs", "max rel")
BELOW = f"{' '.join(ON_CHIP)}: the most of each on-chip buffer that a task needs, in KiB"


def empty(errors: bool) -> Table:
    """The table without a line; with `errors`, it has the largest errors too."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("stage", "version"):
        table.add_column(heading)
    table.add_column("tolerance")
    for heading in (*(ERRORS if errors else ()), "outside", "tasks", "seconds", *ON_CHIP):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    return table


def row(stage: Stage, version: str, result: RunResult, errors: bool) -> list[str | Text]:
    """A run's line of the table: elements outside the tolerance, tasks and peaks, verdict; with `errors` the largest.

    Which error is the largest, the rounding of this computer's torch decides; whether all are allowed, it does not.
    """
    largest = (result.max_abs, result.max_rel) if errors else ()
    outside = sum(e.mismatched for e in result.errors.values())
    peaks = result.trace.peaks() if result.trace is not None else {}
    return [
        stage.name,
        version,
        str(stage.tolerance),
        *("-" if e is None else f"{e:.2e}" for e in largest),
        f"{outside:,}" if result.errors else "-",
        f"{result.trace.tasks:,}" if result.trace is not None else "-",
        f"{result.seconds:.2f}" if result.seconds is not None else "-",
        *(f"{peaks[buffer] / 1024:.3g}" if buffer in peaks else "-" for buffer in ON_CHIP),
        Text("PASS", style="green") if result.passed else Text("FAIL", style="bold red"),
    ]
