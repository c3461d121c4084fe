"""Figures of what a kernel did: errors, tasks, on-chip memory, versions side by side. Each function returns a Figure.

They read outputs, goldens and the recorded trace; they run nothing. On a trace of 5 tasks and on one of 350,000
they stay legible: what is many is counted, binned or collapsed, and the figure says so.
"""

from helpers.interpret.trace.depend import longest_chain
from helpers.plots.core_lanes import core, swimlane
from helpers.plots.error_figures import error_histogram, error_ladder, error_map, error_steps, verdict, worst_ratio
from helpers.plots.films import Film, barrier, causal_windows, chip_flow, handing_out, softmax_pages, two_lanes
from helpers.plots.footprint import regions
from helpers.plots.kv_cache import cache_pages
from helpers.plots.memory_map import memory_map
from helpers.plots.roofline import roofline
from helpers.plots.style import Figure
from helpers.plots.summary import summary
from helpers.plots.tasks import task_graph, task_order
from helpers.plots.tile import tile
from helpers.plots.times import ablation, rungs, times
from helpers.plots.versions import balance, figures_of, ladder

__all__ = [
    "Figure",
    "Film",
    "ablation",
    "balance",
    "barrier",
    "cache_pages",
    "causal_windows",
    "chip_flow",
    "core",
    "error_histogram",
    "error_ladder",
    "error_map",
    "error_steps",
    "figures_of",
    "handing_out",
    "ladder",
    "longest_chain",
    "memory_map",
    "regions",
    "roofline",
    "rungs",
    "softmax_pages",
    "summary",
    "swimlane",
    "task_graph",
    "task_order",
    "tile",
    "times",
    "two_lanes",
    "verdict",
    "worst_ratio",
]
