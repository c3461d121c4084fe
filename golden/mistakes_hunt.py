"""Specs and goldens of the kernels in kernels.mistakes_hunt."""

from __future__ import annotations

from typing import Any

import torch

from golden.mistakes import output, tensor
from golden.spec import TensorSpec
from kernels.qwen3 import BATCH, EPS, HEAD_DIM

SEQUENCES, HEADS_OF, ROWS, WIDTH = 8, 2, 16, 512


def rotation() -> list[TensorSpec]:
    """x, cos, sin and y [BATCH, HEAD_DIM] FP32; row p is position p, whose angles are p / 2^(i / 8)."""
    angles = torch.arange(BATCH)[:, None] * 0.5 ** (torch.arange(HEAD_DIM // 2) / 8)
    both = torch.cat([angles, angles], 1)
    tables = [TensorSpec(n, [BATCH, HEAD_DIM], torch.float32, init_value=f(both)) for n, f in _TURNS.items()]
    return [tensor("x", [BATCH, HEAD_DIM]), *tables, output("y", [BATCH, HEAD_DIM])]


_TURNS = {"cos": torch.cos, "sin": torch.sin}


def rotated(values: dict[str, Any]) -> None:
    """Each row turned: lo cos - hi sin, hi cos + lo sin."""
    lo, hi = values["x"].chunk(2, 1)
    c, s = values["cos"][:, : HEAD_DIM // 2], values["sin"][:, : HEAD_DIM // 2]
    values["y"].copy_(torch.cat([lo * c - hi * s, hi * c + lo * s], 1))


def pages() -> list[TensorSpec]:
    """o [BATCH, HEAD_DIM], top and total [BATCH, 1] of two pages, a and b, and y [BATCH, HEAD_DIM], FP32."""
    parts = []
    for page, seed in (("a", 1), ("b", 2)):
        random = torch.Generator().manual_seed(seed)
        values = {
            "o": torch.randn([BATCH, HEAD_DIM], generator=random),
            "top": torch.randn([BATCH, 1], generator=random),
            "total": 1 + 20 * torch.rand([BATCH, 1], generator=random),
        }
        parts += [TensorSpec(f"{n}_{page}", list(v.shape), torch.float32, init_value=v) for n, v in values.items()]
    return [*parts, output("y", [BATCH, HEAD_DIM])]


def joined(values: dict[str, Any]) -> None:
    """(o_a e^(top_a - m) + o_b e^(top_b - m)) / (total_a e^(top_a - m) + total_b e^(top_b - m))."""
    m = torch.maximum(values["top_a"], values["top_b"])
    a, b = torch.exp(values["top_a"] - m), torch.exp(values["top_b"] - m)
    total = values["total_a"] * a + values["total_b"] * b
    values["y"].copy_((values["o_a"] * a + values["o_b"] * b) / total)


def paged() -> list[TensorSpec]:
    """cache and y [SEQUENCES * HEADS_OF * ROWS, HEAD_DIM] FP32, table [SEQUENCES] INT32: the page of each sequence."""
    shape = [SEQUENCES * HEADS_OF * ROWS, HEAD_DIM]
    table = torch.tensor([3, 6, 0, 5, 1, 7, 2, 4], dtype=torch.int32)
    return [tensor("cache", shape), TensorSpec("table", [SEQUENCES], torch.int32, init_value=table), output("y", shape)]


def looked_up(values: dict[str, Any]) -> None:
    """Twice the page of each sequence, a page being HEADS_OF times ROWS rows."""
    by_page = values["cache"].view(SEQUENCES, HEADS_OF * ROWS, HEAD_DIM)
    values["y"].copy_(2 * by_page[values["table"].long()].reshape(values["y"].shape))


def mlp() -> list[TensorSpec]:
    """x [BATCH, HEAD_DIM], w_gate, w_up, w_down [HEAD_DIM, HEAD_DIM] BF16, y [BATCH, HEAD_DIM] FP32."""
    out = [tensor("x", [BATCH, HEAD_DIM], torch.bfloat16)]
    for seed, name in enumerate(("w_gate", "w_up", "w_down")):
        w = torch.randn([HEAD_DIM, HEAD_DIM], generator=torch.Generator().manual_seed(seed)) * HEAD_DIM**-0.5
        out.append(TensorSpec(name, list(w.shape), torch.bfloat16, init_value=w.bfloat16()))
    return [*out, output("y", [BATCH, HEAD_DIM])]


def gated(values: dict[str, Any]) -> None:
    """y, and what leads to it: gate, up, act."""
    x = values["x"].float()
    values["gate"] = x @ values["w_gate"].float()
    values["up"] = x @ values["w_up"].float()
    act = values["gate"] * torch.sigmoid(values["gate"]) * values["up"]
    values["act"] = act.bfloat16()
    values["y"].copy_(values["act"].float() @ values["w_down"].float())


def rows_and_weight() -> list[TensorSpec]:
    """x [BATCH, WIDTH] and weight [1, WIDTH] FP32, y [BATCH, WIDTH] BF16."""
    weight = 0.5 + torch.rand([1, WIDTH], generator=torch.Generator().manual_seed(3))
    return [
        tensor("x", [BATCH, WIDTH]),
        TensorSpec("weight", [1, WIDTH], torch.float32, init_value=weight),
        output("y", [BATCH, WIDTH], torch.bfloat16),
    ]


def normed(values: dict[str, Any]) -> None:
    """RMSNorm of each row, rounded once."""
    x = values["x"].double()
    values["y"].copy_(x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPS) * values["weight"].double())
