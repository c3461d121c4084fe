"""What the kernels of __NAME__ are called with, what they have to write, and how far off that may be."""

from __future__ import annotations

from typing import Any

import torch

from golden import TensorSpec, Tolerance
from __KERNELS__ import EPS, ROWS, WIDTH

TOLERANCE = Tolerance(rtol=2.0**-20, atol=2.0**-20, text="8 FP32 ULP")


def specs(seed: int = 0) -> list[TensorSpec]:
    """The kernels' parameters, in their order. Same seed, same tensors."""
    draw = torch.Generator().manual_seed(seed)
    return [
        TensorSpec("x", [ROWS, WIDTH], torch.float32, init_value=torch.randn(ROWS, WIDTH, generator=draw)),
        TensorSpec("weight", [1, WIDTH], torch.float32, init_value=torch.randn(1, WIDTH, generator=draw)),
        TensorSpec("y", [ROWS, WIDTH], torch.float32, is_output=True),
    ]


def reference(values: dict[str, Any]) -> None:
    """Write the outputs into `values`, in FP64 rounded once."""
    x, weight = values["x"].double(), values["weight"].double()
    values["y"][:] = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * weight
