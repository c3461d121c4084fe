"""FP4, two elements to a byte: how a caller passes it, and the numbers that it has.

A tensor of `pl.FP4` is a `torch.float4_e2m1fn_x2` tensor outside, whose last axis counts bytes; the element with the
even index is in the low half of a byte (PyPTO, docs/en/user/language/00-types.md and
tests/st/runtime/ops/test_matmul_mx.py). Torch computes nothing in that type, so a kernel runs on one element each, in
FP8, which has every number of FP4.
"""

from __future__ import annotations

import itertools

import torch

from helpers.interpret.language.dtypes import FP4

NUMBERS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # by their low three bits; the fourth is the sign
_SIGN = 8
_MIDDLES = torch.tensor([(a + b) / 2 for a, b in itertools.pairwise(NUMBERS)])
_TABLE = torch.tensor([*NUMBERS, *(-n for n in NUMBERS)]).to(FP4.torch)


def is_packed(data: torch.Tensor) -> bool:
    """True for a tensor of bytes that hold two elements each."""
    return data.dtype == torch.float4_e2m1fn_x2


def extents(data: torch.Tensor) -> tuple[int, ...]:
    """The shape of a caller's tensor in elements."""
    return (*data.shape[:-1], 2 * data.shape[-1]) if is_packed(data) and data.dim() else tuple(data.shape)


def zeros(shape: tuple[int, ...]) -> torch.Tensor:
    """A caller's tensor of so many elements, all zero."""
    return torch.zeros((*shape[:-1], shape[-1] // 2), dtype=torch.float4_e2m1fn_x2)


def elements(data: torch.Tensor) -> torch.Tensor:
    """The elements of a packed tensor, one each; any other tensor as it is."""
    if not is_packed(data):
        return data
    if data.device.type == "meta":
        return torch.empty(extents(data), dtype=FP4.torch, device="meta")
    pairs = data.view(torch.uint8)
    codes = torch.stack([pairs & 15, pairs >> 4], -1).reshape(extents(data))
    return _TABLE[codes.long()]


def pack(elements_: torch.Tensor, into: torch.Tensor) -> None:
    """Write elements back into the packed tensor that they came from."""
    codes = _codes(elements_.float())
    into.view(torch.uint8).copy_(codes[..., 0::2] | codes[..., 1::2] << 4)


def nearest(x: torch.Tensor) -> torch.Tensor:
    """The nearest number of FP4, of two the one with an even code; the largest for what is larger."""
    return _TABLE[_codes(x.float()).long()]


def _codes(x: torch.Tensor) -> torch.Tensor:
    size = x.abs()
    low, high = torch.bucketize(size, _MIDDLES), torch.bucketize(size, _MIDDLES, right=True)
    even = torch.where(high % 2 == 0, high, low)  # the same two, but in the middle between numbers
    return (even | torch.signbit(x).int() * _SIGN).to(torch.uint8)
