"""What the kernels of __NAME__ are called with, what they have to write, and how far off that may be."""

from __future__ import annotations

from typing import Any

import torch

from golden import TensorSpec, Tolerance
from golden.compare import Comparator
from __KERNELS__ import EPS, ROWS, WIDTH

STAGE = {  # what `workbook list` shows in this folder; of each version the constants to try, which `explore` offers
    "title": "Rows divided by their root mean square, times a weight",
    "versions": {
        "naive": {"TILE": ("rows of a tile", (8, 16, 32))},
        "fused": {"TILE": ("rows of a tile", (8, 16, 32))},
    },
}
TOLERANCE = Tolerance(rtol=2.0**-20, atol=2.0**-20, text="8 FP32 ULP")
COMPARE_FN: dict[str, Comparator] = {}  # of outputs that are compared in another way, see golden.compare


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
