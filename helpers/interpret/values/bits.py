"""The bits of a tile's elements, whatever torch type carries them: for views of other types and packed masks.

A carrier may be wider than the element it carries (UINT16 in int32, UINT32 in int64; see `dtypes`), so bits are
taken at the element's own width, little-endian as the device has them.
"""

from __future__ import annotations

import torch

from helpers.interpret.language.dtypes import DType

_SIGNED = {8: torch.int8, 16: torch.int16, 32: torch.int32, 64: torch.int64}


def bits_of(data: torch.Tensor, dtype: DType) -> torch.Tensor:
    """The elements' bit patterns as signed integers of the element's width (8, 16, 32 or 64 bits)."""
    width = _SIGNED[dtype.bits]
    if dtype.is_float or data.element_size() * 8 == dtype.bits:
        return data.view(width) if data.dtype != torch.bool else data.to(width)
    return data.to(width)  # a carrier that is wider: the low bits


def of_bits(raw: torch.Tensor, dtype: DType) -> torch.Tensor:
    """Bit patterns (signed integers of the element's width) as elements of `dtype`, in its carrier."""
    if dtype.torch == torch.bool:
        return raw != 0
    if dtype.is_float or raw.element_size() == torch.empty(0, dtype=dtype.torch).element_size():
        return raw.view(dtype.torch)
    return raw.to(dtype.torch) & ((1 << dtype.bits) - 1)  # only unsigned types have a wider carrier


def reinterpret(data: torch.Tensor, source: DType, target: DType) -> torch.Tensor:
    """The same bytes as elements of another type; the last axis grows or shrinks with the ratio of the widths."""
    return of_bits(bits_of(data, source).contiguous().view(_SIGNED[target.bits]), target)
