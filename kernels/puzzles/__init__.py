"""Kernels of the puzzles, a module each; see golden/puzzles for what is asked in them."""
