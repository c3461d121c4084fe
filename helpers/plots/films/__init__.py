"""Drawings that move: what a film is, and the films there are. All of them are computed from a run.

`helpers.widgets.play` shows one with buttons; without a front end its still picture is shown.
"""

from helpers.plots.films.film import Film
from helpers.plots.films.load_lanes import two_lanes
from helpers.plots.films.page_joins import softmax_pages
from helpers.plots.films.tile_flow import chip_flow

__all__ = ["Film", "chip_flow", "softmax_pages", "two_lanes"]
