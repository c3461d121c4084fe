"""Sums of columns of 16-bit floats: each addition rounds, so their order matters.

Source: PTO-ISA include/pto/npu/a2a3/TColSum.hpp, a5/TColSum.hpp and a5/TColReduceOps.hpp. Both chips add row by row,
A5 two rows at a time; with scratch (`tmp_tile=`) they add neighbours, then neighbours of the sums, and so on, and
differ in which sum an odd row is added to. (PTO-ISA's CPU reference adds row by row on both, scratch or not.)
"""

from __future__ import annotations

import torch


def column_sum(x: torch.Tensor, chip: str, scratch: bool) -> torch.Tensor:
    """The sum over axis -2 of a tile, which keeps extent 1."""
    rows = list(x.unbind(-2))
    return (_tree(rows, chip) if scratch else _in_turn(rows, chip)).unsqueeze(-2)


def _in_turn(rows: list[torch.Tensor], chip: str) -> torch.Tensor:
    total, rest = rows[0], rows[1:]
    while len(rest) > 1 and chip == "a5":
        total = total + (rest[0] + rest[1])
        rest = rest[2:]
    for row in rest:
        total = total + row
    return total


def _tree(rows: list[torch.Tensor], chip: str) -> torch.Tensor:
    while len(rows) > 1:
        sums = [a + b for a, b in zip(rows[::2], rows[1::2])]
        if len(rows) % 2:
            last = -1 if chip == "a5" else 0
            sums[last] = sums[last] + rows[-1]
        rows = sums
    return rows[0]
