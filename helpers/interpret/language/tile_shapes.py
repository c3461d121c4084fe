"""Shapes of tiles that PyPTO's assembler cannot lay out on chip. PyPTO itself takes them.

Source: the assembler, `verifyTileBufLayoutConstraints` (lib/PTO/IR/PTO.cpp), of every `pto.alloc_tile`; PyPTO's choice
of a layout (include/pypto/ir/tile_view_semantics.h): column-major for [rows, 1], else row-major. Tiles of more axes
are laid out as [all but the last, last].
"""

from __future__ import annotations

import math
from functools import cache

from helpers.interpret.language.dtypes import FP4, DType

UNIT = 32  # bytes
BLOCK = 16  # rows and columns of a block of an accumulator, rows of a block of an operand


@cache
def misfit(shape: tuple[int, ...], dtype: DType, space: str) -> tuple[str, str] | None:
    """What is wrong with a tile of this shape in buffer `space`, and what to write instead; None if nothing is."""
    if (dtype.bits < 8 and dtype is not FP4) or space not in ("UB", "L0C"):
        return None
    rows, columns = math.prod(shape[:-1]), shape[-1]
    if space == "L0C":
        rows = shape[-2] if len(shape) > 1 else 1
        if (rows == 1 or rows % BLOCK == 0) and columns % BLOCK == 0:
            return None
        return (
            f"a tile {list(shape)} {dtype} in L0C; PyPTO's assembler takes blocks of {BLOCK} x {BLOCK}, or one row",
            f"multiples of {BLOCK}; valid_shape= or pl.set_validshape says what is real",
        )
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


@cache
def product_misfit(m: int, k: int, n: int, dtype: DType, a_trans: bool, b_trans: bool) -> tuple[str, str] | None:
    """The same for the operands of a product [m, k] @ [k, n].

    They come from global memory into L1 as blocks of 16 rows of 32 bytes ([k, m] and [n, k] where they are transposed),
    and are multiplied in L0A and L0B as blocks of 32 bytes along k, 16 along m and n. A single row needs no block.
    """
    line = UNIT * 8 // dtype.bits
    if dtype.bits < 8:
        return None
    multiples = {"M": {BLOCK}, "K": {line}, "N": {BLOCK}}
    if a_trans:
        multiples["M"].add(line)
    if a_trans or not b_trans:
        multiples["K"].add(BLOCK)
    if not b_trans:
        multiples["N"].add(line)
    for name, extent in (("M", m), ("K", k), ("N", n)):
        unit = max(multiples[name])  # all are powers of two
        if extent % unit and not (name == "M" and extent == 1 and not a_trans):
            return (
                f"a product of {dtype} [{m}, {k}] @ [{k}, {n}]: {name} is {extent}; PyPTO's assembler takes "
                f"multiples of {unit}",
                f"pad {name} to {-(-extent // unit) * unit}; valid_shape= says how much of it is real",
            )
    return None
