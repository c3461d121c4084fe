"""Specs and goldens of the kernels in kernels.mistakes_attention and kernels.mistakes_projection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from golden.spec import ScalarSpec, TensorSpec
from kernels.qwen3 import BATCH, HEAD_DIM, KV_HEADS, PAGE, Q_PAD

ROWS = KV_HEADS * Q_PAD


def _random(shape: list[int], scale: float = 1.0, dtype: torch.dtype = torch.float32) -> Callable[[], torch.Tensor]:
    def make() -> torch.Tensor:
        return (torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + shape[0])) * scale).to(dtype)

    return make


def tensor(name: str, shape: list[int], dtype: torch.dtype = torch.float32, scale: float = 1.0) -> TensorSpec:
    return TensorSpec(name, shape, dtype, init_value=_random(shape, scale, dtype))


def output(name: str, shape: list[int], dtype: torch.dtype = torch.float32) -> TensorSpec:
    return TensorSpec(name, shape, dtype, is_output=True)


def scores(ctx: int = PAGE, rows: int = ROWS, out: str = "top") -> list[TensorSpec]:
    """scores [rows, ctx] FP32 and an output [rows, 1] FP32."""
    return [tensor("scores", [rows, ctx]), output(out, [rows, 1])]


def top(values: dict[str, Any]) -> None:
    """The largest score of each row."""
    values["top"].copy_(values["scores"].amax(1, keepdim=True))


def one_head(ctx: int = PAGE) -> list[TensorSpec]:
    """`scores` of one KV head."""
    return scores(ctx, Q_PAD)


def denominators(ctx: int = PAGE) -> list[TensorSpec]:
    """scores [Q_PAD, ctx] and total [Q_PAD, 1], FP32."""
    return scores(ctx, Q_PAD, "total")


def total(values: dict[str, Any]) -> None:
    """The softmax denominator of each row: the sum of exp(score - largest score)."""
    s = values["scores"]
    values["total"].copy_(torch.exp(s - s.amax(1, keepdim=True)).sum(1, keepdim=True))


def tokens(tokens: int = 160) -> list[TensorSpec]:
    """x and y [tokens, HEAD_DIM] FP32."""
    return [tensor("x", [tokens, HEAD_DIM]), output("y", [tokens, HEAD_DIM])]


def double(values: dict[str, Any]) -> None:
    """Twice x."""
    values["y"].copy_(2 * values["x"])


def groups() -> list[TensorSpec]:
    """parts [ROWS, HEAD_DIM] and out [Q_PAD, HEAD_DIM], FP32."""
    return [tensor("parts", [ROWS, HEAD_DIM]), output("out", [Q_PAD, HEAD_DIM])]


def group_sum(values: dict[str, Any]) -> None:
    """Twice the sum over groups."""
    values["out"].copy_(2 * values["parts"].view(KV_HEADS, Q_PAD, HEAD_DIM).sum(0))


def lanes(batch: int = BATCH) -> list[TensorSpec]:
    """x [BATCH, HEAD_DIM] FP32, seq_lens [batch] INT32, y like x; rows of y from `batch` on keep what they held."""
    lengths = torch.arange(1, batch + 1, dtype=torch.int32)
    y = TensorSpec("y", [BATCH, HEAD_DIM], torch.float32, init_value=64.0, is_output=True)
    return [tensor("x", [BATCH, HEAD_DIM]), TensorSpec("seq_lens", [batch], torch.int32, init_value=lengths), y]


def by_length(values: dict[str, Any]) -> None:
    """Each row of x times the length of its sequence."""
    n = values["seq_lens"].numel()
    values["y"][:n] = values["x"][:n] * values["seq_lens"][:, None]


def rows() -> list[TensorSpec]:
    """x and y [ROWS, HEAD_DIM] FP32."""
    return tokens(ROWS)


def rows_and_zeros() -> list[TensorSpec]:
    """`rows`, and another output of that shape."""
    return [*rows(), output("zeros", [ROWS, HEAD_DIM])]


def double_and_zeros(values: dict[str, Any]) -> None:
    """Twice x; and zeros."""
    double(values)
    values["zeros"].zero_()


def double_and_one(values: dict[str, Any]) -> None:
    """Twice x, plus one."""
    values["y"].copy_(2 * values["x"] + 1)


def product(dtype: torch.dtype = torch.float32, k: int = 512, columns: int = 128) -> list[TensorSpec]:
    """a [BATCH, k] and b [k, columns] BF16, c [BATCH, columns]."""
    a = tensor("a", [BATCH, k], torch.bfloat16)
    b = tensor("b", [k, columns], torch.bfloat16, k**-0.5)
    return [a, b, output("c", [BATCH, columns], dtype)]


def rounded_product() -> list[TensorSpec]:
    """`product` with an output in BF16."""
    return product(torch.bfloat16)


def matmul(values: dict[str, Any]) -> None:
    """a @ b in FP32."""
    values["c"].copy_(values["a"].float() @ values["b"].float())


def scaled_matmul(values: dict[str, Any]) -> None:
    """1.1 (a @ b), rounded once."""
    values["c"].copy_(1.1 * (values["a"].float() @ values["b"].float()))


def wide(columns: int = 512, dtype: torch.dtype = torch.float32) -> list[TensorSpec]:
    """x and y [BATCH, columns]."""
    return [tensor("x", [BATCH, columns], dtype), output("y", [BATCH, columns], dtype)]


def first_chunk(values: dict[str, Any], chunk: int = 128) -> None:
    """Twice x in the first `chunk` columns, zero in the others."""
    values["y"].zero_()
    values["y"][:, :chunk] = 2 * values["x"][:, :chunk]


def wrong_golden(values: dict[str, Any], chunk: int = 128) -> None:
    """Twice x. What is wrong with it is its parameter."""
    values["y"].copy_(2 * values["x"])


def valid_rows(batch: int = 20) -> list[TensorSpec | ScalarSpec]:
    """x and y [2 BATCH, HEAD_DIM] FP32, of which `batch` rows are real; the others of y keep what they held."""
    y = TensorSpec("y", [2 * BATCH, HEAD_DIM], torch.float32, init_value=64.0, is_output=True)
    return [tensor("x", [2 * BATCH, HEAD_DIM]), y, ScalarSpec("batch", torch.int32, batch)]


def double_valid(values: dict[str, Any]) -> None:
    """Twice the real rows of x."""
    n = int(values["batch"])
    values["y"][:n] = 2 * values["x"][:n]


def chained(values: dict[str, Any]) -> None:
    """(2 x + 1)^2 - 2 x."""
    x = values["x"]
    values["y"].copy_((2 * x + 1) ** 2 - 2 * x)


def steps() -> list[TensorSpec]:
    """x [64 BATCH, HEAD_DIM] and y [BATCH, HEAD_DIM], FP16."""
    x = tensor("x", [64 * BATCH, HEAD_DIM], torch.float16)
    return [x, output("y", [BATCH, HEAD_DIM], torch.float16)]


def summed(values: dict[str, Any]) -> None:
    """The sum of the 64 tiles, rounded once."""
    values["y"].copy_(values["x"].float().view(64, BATCH, HEAD_DIM).sum(0))


def copied(values: dict[str, Any]) -> None:
    """x."""
    values["y"].copy_(values["x"])
