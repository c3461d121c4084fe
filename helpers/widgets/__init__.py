"""Widgets for notebooks, on top of the figures. Where nobody can use them they are a figure and its text."""

from helpers.widgets.case_view import case
from helpers.widgets.graph import graph
from helpers.widgets.live import live
from helpers.widgets.look import look
from helpers.widgets.player import play
from helpers.widgets.stage import explore
from helpers.widgets.steps import steps
from helpers.widgets.timeline import timeline

__all__ = ["case", "explore", "graph", "live", "look", "play", "steps", "timeline"]
