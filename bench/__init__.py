"""Ratios that anyone can reproduce: `python -m bench.NAME`."""
