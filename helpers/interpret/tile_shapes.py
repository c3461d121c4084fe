"""Shapes of tiles that PyPTO's assembler cannot lay out on chip. PyPTO itself takes them.

Source: ptoas 0.57, `verifyTileBufLayoutConstraints` (lib/PTO/IR/PTO.cpp), of every `pto.alloc_tile`, and PyPTO's choice
of a layout (include/pypto/ir/tile_view_semantics.h): column-major for [rows, 1], else row-major. Tiles of more axes
are laid out as [all but the last, last].
"""

from __future__ import annotations

import math
from functools import cache

from helpers.interpret.dtypes import DType

UNIT = 32  # bytes


@cache
def misfit(shape: tuple[int, ...], dtype: DType, space: str) -> tuple[str, str] | None:
    """What is wrong with a tile of this shape in buffer `space`, and what to write instead; None if nothing is."""
    if space != "UB" or dtype.bits < 8:
        return None
    rows, columns = math.prod(shape[:-1]), shape[-1]
    column = columns == 1
    line = (rows if column else columns) * dtype.bits // 8
    if line % UNIT == 0:
        return None
    one, more, n = ("column", "rows", rows) if column else ("row", "columns", columns)
    each = UNIT * 8 // dtype.bits
    return (
        f"a tile {list(shape)} {dtype} in UB has {line} bytes in a {one}; PyPTO's assembler takes multiples of {UNIT}",
        f"pad it to {-(-n // each) * each} {more}; pl.slice(..., valid_shape=...) says how many of them are real",
    )
