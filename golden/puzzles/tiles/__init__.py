"""Tiles: one vector core, its tiles, and what is valid of them."""
