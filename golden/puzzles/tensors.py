"""Specs in a line each: tensors that a puzzle gives, and those that it wants."""

from __future__ import annotations

import math

import torch

from golden.spec import TensorSpec


def given(name: str, values: torch.Tensor) -> TensorSpec:
    """An input, with its values."""
    return TensorSpec(name, list(values.shape), values.dtype, init_value=values)


def wanted(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> TensorSpec:
    """An output that the kernel writes whole."""
    return TensorSpec(name, list(shape), dtype, is_output=True)


def drawn(rows: int, columns: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A slanting wave with noise, the same one for the same shape and seed: in a picture each place can be told."""
    noise = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    down, across = torch.arange(rows).view(-1, 1) / rows, torch.arange(columns) / columns
    wave = torch.sin(2 * math.pi * ((1 + seed) * down + 2 * across + 0.3 * seed))
    return (1.2 * wave + 0.4 * noise).to(dtype)
