"""Kernels of the puzzles of part cube: of each the stub, the solution, and attempts that are refused."""
