"""Drawings that move: what a film is, and the films there are. All of them are computed from a run.

`helpers.widgets.play` shows one with buttons; without a front end its still picture is shown.
"""

from helpers.plots.films.barrier_meet import barrier
from helpers.plots.films.causal_window import causal_windows
from helpers.plots.films.film import Film
from helpers.plots.films.handing_out import handing_out
from helpers.plots.films.load_lanes import two_lanes
from helpers.plots.films.page_joins import softmax_pages
from helpers.plots.films.tile_flow import chip_flow

__all__ = ["Film", "barrier", "causal_windows", "chip_flow", "handing_out", "softmax_pages", "two_lanes"]
