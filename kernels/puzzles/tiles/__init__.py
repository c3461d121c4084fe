"""Kernels of the puzzles of part tiles: of each the stub, the solution, and attempts that are refused."""
