"""Stage flash_attention: attention of one decode step over the paged KV cache, norm, RoPE and cache write included.

The values of a run are those of stage rope_kv_cache (see golden.rope_kv_cache), with the rotated query heads,
which here stay inside the stage, replaced by the attention's output:

    attn_out                      [BATCH, HIDDEN] BF16, output; column = query head * HEAD_DIM + element
                                  rows from B on are padding: they keep what they held

Every query head attends to all tokens of its sequence, the new one included. The math is that of Qwen3's
attention; tests/test_golden_flash_attention.py holds it against the code of Hugging Face transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from golden import rope_kv_cache
from golden.compare import Comparator, Tolerance, addressed_rows, close
from golden.spec import ScalarSpec, TensorSpec
from kernels.qwen3 import BATCH, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, MAX_CTX, MAX_PAGES, PAGE, Q_PAD, Q_PER_KV

STAGE = {
    "order": 3,
    "title": "Attention over the paged KV cache, online softmax over its pages (decode)",
    "notebook": "02_flash_attention",
    "versions": {
        "separate": {},
        "flat": {},
        "mixed": {},
        "fused": {"RUN": ("KV heads at a time", (1, 2, 4, 8))},
    },
    "small": {"batch": 2, "ctx": (1, 130)},
}

# A kernel rounds each weight w = exp(s - max) to BF16 before it meets V: a relative error of at most 2^-9, with a
# standard deviation of 2^-9 / sqrt(3). On an output element that is 2^-9 / sqrt(3) * sqrt(sum((w v)^2)) / sum(w). With
# v about 1 in size and scores of standard deviation 1, as `specs` makes them, sqrt(sum(w^2)) / sum(w) is sqrt(e / n)
# for n tokens: together 1.9e-3 / sqrt(n). The largest of 16 * 5120 outputs is 4.5 times that, 8e-3 / sqrt(n), and
# few tokens with a large v can double it: 2^-6 / sqrt(n).
# rtol: both results are rounded to BF16. One ULP is at least 2^-8 of a value and less than 2^-7.
# An error that does not shrink with n is not rounding: without one of 32 pages, elements are off by 4e-3.
TOLERANCE = Tolerance(rtol=2.0**-7, atol=2.0**-6, text="1 BF16 ULP + 2^-6 / sqrt(n)")
"""Of attn_out; `atol` is for a sequence of one token, and falls with the square root of its tokens."""


def _compare_attn_out(actual: torch.Tensor, expected: torch.Tensor, **run: Any) -> tuple[bool, str]:
    """Real rows within TOLERANCE, padding rows untouched."""
    lengths = run["inputs"]["seq_lens"].double()
    rows = addressed_rows(lambda _inputs, _rows: torch.arange(lengths.numel()), _close_by_length(lengths))
    return rows(actual, expected, **run)


def _close_by_length(lengths: torch.Tensor) -> Comparator:
    """|a - e| <= atol / sqrt(n) + rtol |e|, which is the same as |a sqrt(n) - e sqrt(n)| <= atol + rtol |e sqrt(n)|."""
    scale = lengths.sqrt()[:, None]
    unscaled = close(TOLERANCE.rtol, TOLERANCE.atol)

    def comparator(actual: torch.Tensor, expected: torch.Tensor, **_run: Any) -> tuple[bool, str]:
        passed, detail = unscaled(actual.double() * scale, expected.double() * scale)
        return passed, f"values times sqrt(n), n tokens of their sequence: {detail}" if detail else detail

    return comparator


COMPARE_FN: dict[str, Comparator] = {
    "k_cache": rope_kv_cache.COMPARE_FN["k_cache"],
    "v_cache": rope_kv_cache.COMPARE_FN["v_cache"],
    "attn_out": _compare_attn_out,
}
"""The comparator of each output, for `golden.run_jit(compare_fn=...)`."""


def reference(values: dict[str, Any]) -> None:
    """Write k_cache, v_cache and attn_out of `values` in place, from the model's math.

    The new token's rotated K and its V go to the cache. Then, for a query head q (rounded to BF16) and the n
    cached rows K, V of its KV head, in FP32: softmax(q K^T / sqrt(HEAD_DIM)) V, rounded to BF16.
    """
    batch = values["seq_lens"].numel()
    step = {**values, "q_padded": torch.empty([batch * KV_HEADS * Q_PAD, HEAD_DIM], dtype=torch.bfloat16)}
    rope_kv_cache.reference(step)
    q = rope_kv_cache.written(step, step)["q_padded"].float()
    for b, (k, v) in enumerate(cached(values, int(values["layer_idx"]))):
        out = attend(q.view(batch, KV_HEADS, Q_PER_KV, HEAD_DIM)[b], k.float(), v.float())
        values["attn_out"][b] = out.reshape(HIDDEN).to(torch.bfloat16)


def exact(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What this step would write if nothing were rounded: the same math in FP64. Changes nothing.

    Returns:
        What `written` gives, in FP64.
    """
    new = rope_kv_cache.exact(values)
    batch = values["seq_lens"].numel()
    q = new["q_padded"].view(batch, KV_HEADS, Q_PER_KV, HEAD_DIM)
    rows = []
    for b, (k, v) in enumerate(cached(values, int(values["layer_idx"]))):
        k, v = k.double(), v.double()
        k[:, -1] = new["k_cache"].view(batch, KV_HEADS, HEAD_DIM)[b]
        v[:, -1] = new["v_cache"].view(batch, KV_HEADS, HEAD_DIM)[b]
        rows.append(attend(q[b], k, v).flatten(0, 1))
    return {"attn_out": torch.cat(rows), "k_cache": new["k_cache"], "v_cache": new["v_cache"]}


def written(values: dict[str, Any], outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The rows of the outputs that this step writes, padding left out.

    Returns:
        BF16, rows by sequence, then head: attn_out [B * HEADS, HEAD_DIM], k_cache and v_cache [B * KV_HEADS, HEAD_DIM].
    """
    batch = values["seq_lens"].numel()
    rows = rope_kv_cache.addressed(values, outputs["k_cache"].shape[0]).flatten()
    return {
        "attn_out": outputs["attn_out"][:batch].view(batch * HEADS, HEAD_DIM),
        "k_cache": outputs["k_cache"][rows],
        "v_cache": outputs["v_cache"][rows],
    }


def limits(values: dict[str, Any]) -> dict[str, tuple[float, float | torch.Tensor]]:
    """What the comparison allows each of `written`: (rtol, atol), one atol or one a row, [B * HEADS, 1] FP64."""
    by_head = values["seq_lens"].double().repeat_interleave(HEADS)[:, None]
    rows = (rope_kv_cache.TOLERANCE.rtol, rope_kv_cache.TOLERANCE.atol)
    return {"attn_out": (TOLERANCE.rtol, TOLERANCE.atol / by_head.sqrt()), "k_cache": rows, "v_cache": rows}


def cached(values: dict[str, Any], layer: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each sequence the rows of K and V that a layer's cache holds for it: BF16 [KV_HEADS, n, HEAD_DIM]."""
    layers = values["q_norm_weight"].shape[0]
    table = values["block_table"].view(-1, MAX_PAGES).long()

    def gathered(cache: torch.Tensor, b: int, n: int) -> torch.Tensor:
        pages = cache.view(layers, -1, KV_HEADS, PAGE, HEAD_DIM)[layer, table[b, : -(-n // PAGE)]]
        return pages.transpose(0, 1).flatten(1, 2)[:, :n]

    return [
        (gathered(values["k_cache"], b, n), gathered(values["v_cache"], b, n))
        for b, n in enumerate(values["seq_lens"].tolist())
    ]


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention of q [KV_HEADS, Q_PER_KV, HEAD_DIM] to k, v [KV_HEADS, n, HEAD_DIM], in their dtype; q's shape."""
    scores = q @ k.transpose(-1, -2) * HEAD_DIM**-0.5
    return torch.softmax(scores, -1) @ v


def specs(
    batch: int = BATCH,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
    layers: int = 2,
    layer: int = 1,
    rope_rows: int = MAX_CTX,
    spare_pages: int = 8,
) -> list[TensorSpec | ScalarSpec]:
    """Realistic seeded inputs at the model's full shapes, one spec for each parameter of the stage's kernels.

    Arguments, inputs and errors are those of golden.rope_kv_cache.specs. attn_out is 64 everywhere before the run,
    which is far from any result: what nobody writes cannot pass for one.
    """
    step = rope_kv_cache.specs(batch, ctx, seed, layers, layer, rope_rows, spare_pages)
    attn_out = TensorSpec("attn_out", [BATCH, HIDDEN], torch.bfloat16, init_value=64.0, is_output=True)
    return [attn_out if spec.name == "q_padded" else spec for spec in step]


def check(values: dict[str, Any]) -> None:
    """Raise InputError, before anything is run, for values that this stage cannot be run on. Changes nothing.

    Checked: what golden.rope_kv_cache.check_step checks, and attn_out.
    """
    rope_kv_cache.check_step(values)
    rope_kv_cache.check_tensor(values, "attn_out", [BATCH, HIDDEN], torch.bfloat16)
