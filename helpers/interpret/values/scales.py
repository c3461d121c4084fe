"""Scales of block-scaled operands: how they lie in global memory.

A block of 32 values along K shares one scale, a power of two (FP8E8M0). In memory, scales lie in pieces of 16 rows (of
the left operand, or columns of the right one) by 2 blocks, two bytes side by side: the layouts `pl.MX_A_ZZ` and
`pl.MX_B_NN` (PyPTO, tests/st/runtime/ops/test_matmul_mx.py).
"""

from __future__ import annotations

import torch

BLOCK = 32  # values along K that share a scale
PIECE, PAIR = 16, 2


def packed(scales: torch.Tensor, layout: str) -> torch.Tensor:
    """Scales in the order that the chip reads them, in the same shape.

    Args:
        scales: [M, K / 32] for "MX_A_ZZ", [K / 32, N] for "MX_B_NN"; M and N multiples of 16, K of 64.
        layout: "MX_A_ZZ" or "MX_B_NN".

    Raises:
        ValueError: an extent is no such multiple.
    """
    rows = _rows(scales, layout)
    n, blocks = rows.shape
    return rows.reshape(n // PIECE, PIECE, blocks // PAIR, PAIR).transpose(1, 2).reshape(scales.shape)


def unpacked(data: torch.Tensor, layout: str) -> torch.Tensor:
    """What `packed` was given."""
    shape = data.shape if layout == "MX_A_ZZ" else data.shape[::-1]
    _check(shape, layout)
    n, blocks = shape
    rows = data.reshape(n // PIECE, blocks // PAIR, PIECE, PAIR).transpose(1, 2).reshape(n, blocks)
    return rows if layout == "MX_A_ZZ" else rows.transpose(0, 1)


def _rows(scales: torch.Tensor, layout: str) -> torch.Tensor:
    rows = scales if layout == "MX_A_ZZ" else scales.transpose(0, 1)
    _check(rows.shape, layout)
    return rows


def _check(shape: tuple[int, ...], layout: str) -> None:
    if len(shape) != 2 or shape[0] % PIECE or shape[1] % PAIR:
        raise ValueError(f"scales {list(shape)} in {layout}: a multiple of 16 by a multiple of 2 is needed")
