"""Widgets for notebooks, on top of the figures. Where nobody can move a slider they are a figure and its text."""

from helpers.widgets.stage import explore

__all__ = ["explore"]
