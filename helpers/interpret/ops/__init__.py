"""The operations of `pl`, by family. `OPS` maps the path below `pl` to the function that does it."""

from helpers.interpret.ops import (
    cube,
    elements,
    elementwise,
    gather,
    movement,
    reduce,
    scatter,
    select,
    shapes,
    sort,
    system,
    views,
)
from helpers.interpret.ops.common import OPS

__all__ = [
    "OPS",
    "cube",
    "elements",
    "elementwise",
    "gather",
    "movement",
    "reduce",
    "scatter",
    "select",
    "shapes",
    "sort",
    "system",
    "views",
]
