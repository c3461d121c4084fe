"""The cores of a chip as a grid of groups, a cube core above its two vector cores, and what each of them does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from helpers.chips import Chip
from helpers.plots.style import FAINT, TEXT
from helpers.profile.task_table import CUBE, VECTOR

COLUMNS = 6  # groups side by side


class Doing(NamedTuple):
    """What a core does: the colour of its task, the number of its block, and whether it stands at a barrier."""

    color: str
    block: str
    waits: bool = False


def members(chip: Chip, kind: int, core: int) -> tuple[int, ...]:
    """The cores of a task of a kind (see `helpers.profile.task_table`) that has `core`; a mixed one has three."""
    if kind in (CUBE, VECTOR):
        return (core,)
    return core, chip.cube_cores + 2 * core, chip.cube_cores + 2 * core + 1


def draw(axes: Axes, chip: Chip, doing: Mapping[int, Doing]) -> None:
    """Every core of the chip, in groups: a full box works, a hatched one waits at a barrier, an empty one is free."""
    rows = -(-chip.clusters // COLUMNS)
    axes.set_xlim(-0.05, COLUMNS + 0.02)
    axes.set_ylim(rows + 0.02, -0.05)
    axes.set_axis_off()
    for group in range(chip.clusters):
        left, top = group % COLUMNS, group // COLUMNS
        for n, core in enumerate((group, chip.cube_cores + 2 * group, chip.cube_cores + 2 * group + 1)):
            x, y, wide, high = (left + 0.04, top + 0.05, 0.88, 0.42) if n == 0 else (left + 0.04 + 0.45 * (n - 1),
                                                                                   top + 0.5, 0.43, 0.42)  # fmt: skip
            what = doing.get(core)
            box = (x, y), wide, high
            if what is None:
                axes.add_patch(Rectangle(*box, linewidth=1.0, facecolor="none", edgecolor=FAINT))
                continue
            if what.waits:
                axes.add_patch(Rectangle(*box, linewidth=0, facecolor=what.color, alpha=0.2))
                axes.add_patch(Rectangle(*box, linewidth=1.2, facecolor="none", edgecolor=what.color, hatch="//"))
            else:
                axes.add_patch(Rectangle(*box, linewidth=0, facecolor=what.color))
            axes.text(
                x + wide / 2, y + high / 2, what.block, ha="center", va="center", fontsize=7, color="white",
                bbox={"facecolor": what.color, "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
    axes.set_title("groups of a cube core (above) and two vector cores", fontsize=8, color=TEXT)
