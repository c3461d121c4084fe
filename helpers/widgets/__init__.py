"""Widgets for notebooks, on top of the figures. Where nobody can use them they are a figure and its text."""

from helpers.widgets.graph import graph
from helpers.widgets.live import live
from helpers.widgets.look import look
from helpers.widgets.stage import explore
from helpers.widgets.steps import steps
from helpers.widgets.timeline import timeline

__all__ = ["explore", "graph", "live", "look", "steps", "timeline"]
