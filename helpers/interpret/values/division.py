"""Quotients and remainders of tiles: of integers cut toward zero, and without the exceptions of the host's processor.

Source: PTO-ISA include/pto/cpu/ElementOp.h (OP_DIV, OP_FMOD, OP_REM), which asserts that no divisor is zero.
"""

from __future__ import annotations

from typing import Any

import torch

from helpers.interpret.source.source import Place


def divide(m: Any, at: Place, a: torch.Tensor, b: Any) -> torch.Tensor:
    """a / b."""
    if a.is_floating_point():
        return torch.div(a, b)
    b = _divisor(m, at, a, b)
    # the smallest number by -1 raises SIGFPE in torch: it wraps
    return torch.where(b == -1, -a, torch.div(a, torch.where(b == -1, 1, b), rounding_mode="trunc"))


def modulo(m: Any, at: Place, a: torch.Tensor, b: Any) -> torch.Tensor:
    """`pl.fmod`: the remainder with the sign of the dividend."""
    if a.is_floating_point():
        return torch.fmod(a, b)
    b = _divisor(m, at, a, b)
    return torch.fmod(a, torch.where(b == -1, 1, b))


def remainder(m: Any, at: Place, a: torch.Tensor, b: Any) -> torch.Tensor:
    """`pl.rem`: the remainder with the sign of the divisor."""
    if a.is_floating_point():
        return torch.remainder(a, b)
    b = _divisor(m, at, a, b)
    return torch.remainder(a, torch.where(b == -1, 1, b))


def _divisor(m: Any, at: Place, a: torch.Tensor, b: Any) -> torch.Tensor:
    """The divisor in the type of the dividend.

    Raises:
        FaultError: an element of it is zero.
    """
    b = torch.as_tensor(b).to(a.dtype)
    zeros = int((b == 0).sum())
    if zeros:
        count = "the number 0" if b.dim() == 0 else f"{zeros} of {b.numel()} elements that are 0"
        raise m.fault(at, f"a division of integers by {count}", "pl.maximum(divisor, 1), or pl.cast both to FP32")
    return b
