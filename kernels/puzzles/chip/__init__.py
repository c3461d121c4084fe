"""Kernels of the puzzles of part chip: of each the stub, the solution, and attempts that are refused."""
