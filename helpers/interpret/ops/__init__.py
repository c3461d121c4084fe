"""The operations of `pl`, by family. `OPS` maps the path below `pl` to the function that does it."""

from helpers.interpret.ops import (
    casts,
    cross_core,
    cube,
    elementwise,
    gather,
    movement,
    reduce,
    scaled,
    scatter,
    select,
    sort,
    system,
    views,
)
from helpers.interpret.ops.common import OPS

__all__ = [
    "OPS",
    "casts",
    "cross_core",
    "cube",
    "elementwise",
    "gather",
    "movement",
    "reduce",
    "scaled",
    "scatter",
    "select",
    "sort",
    "system",
    "views",
]
