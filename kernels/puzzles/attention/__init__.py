"""Kernels of the puzzles of part attention: of each the stub, the solution, and attempts that are refused."""
