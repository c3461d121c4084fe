"""Figures of a stage or of a file's kernels, written to files: `workbook plot`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from golden.runner import RunResult
from helpers.errors import InputError
from helpers.files import whole
from helpers.plots.core_lanes import core, swimlane
from helpers.plots.error_figures import error_histogram, error_map
from helpers.plots.footprint import regions
from helpers.plots.memory_map import memory_map
from helpers.plots.roofline import roofline
from helpers.plots.style import Figure
from helpers.plots.tasks import task_graph, task_order
from helpers.plots.versions import ladder

OF_A_RUN: dict[str, Callable[[RunResult], Figure]] = {
    "error_map": error_map,
    "error_histogram": error_histogram,
    "memory_map": memory_map,
    "task_graph": task_graph,
    "task_order": task_order,
    "regions": regions,
    "swimlane": swimlane,
    "core": core,
    "roofline": roofline,
}
"""Figures of one version, by name."""

FIGURES = (*OF_A_RUN, "ladder")
"""All that can be asked for: `ladder` puts the versions side by side."""


def chosen(names: Sequence[str]) -> Sequence[str]:
    """The figures of these names, all for none.

    Raises:
        InputError: there is no such figure.
    """
    unknown = [n for n in names if n not in FIGURES]
    if unknown:
        raise InputError(f"no figure is called {', '.join(unknown)}; there are: {', '.join(FIGURES)}")
    return names or FIGURES


def write(results: dict[str, RunResult], names: Sequence[str], folder: Path, stem: str) -> list[Path]:
    """Write figures as PNG files, each there whole or not at all; returns their paths.

    Args:
        results: Of each version.
        names: Of FIGURES.
        folder: Made where it is missing.
        stem: Their names begin with it.

    Raises:
        InputError: there is no golden to draw what was asked for alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names:
        if name == "ladder":
            written.append(_write(ladder(results), folder / f"{stem}-ladder.png"))
            continue
        for version, result in results.items():
            if name.startswith("error_") and not result.expected:
                if len(names) == 1:
                    raise InputError(f"{stem} {version} has no golden to draw {name} against")
                continue
            written.append(_write(OF_A_RUN[name](result), folder / f"{stem}-{version.replace(' ', '-')}-{name}.png"))
    return written


def _write(figure: Figure, path: Path) -> Path:
    with whole(path, "wb") as file:
        file.write(figure.png(144))
    return path
