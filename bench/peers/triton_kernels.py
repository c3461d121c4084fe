"""The yardsticks in Triton, for its interpreter (TRITON_INTERPRET=1)."""

from __future__ import annotations

import torch
import triton
import triton.language as tl


@triton.jit
def _lm_head(x, w, out, V: tl.constexpr, K: tl.constexpr, M: tl.constexpr, N: tl.constexpr, KB: tl.constexpr):
    block = tl.program_id(0)
    rows, cols, ks = tl.arange(0, M), block * N + tl.arange(0, N), tl.arange(0, KB)
    acc = tl.zeros((M, N), tl.float32)
    for k in range(0, K, KB):
        a = tl.load(x + rows[:, None] * K + k + ks[None, :])
        b = tl.load(w + cols[:, None] * K + k + ks[None, :])
        acc += tl.dot(a, tl.trans(b))
    tl.store(out + rows[:, None] * V + cols[None, :], acc)


@triton.jit
def _attention(
    q, kc, vc, table, lens, out, scale, KV: tl.constexpr, NB: tl.constexpr, QP: tl.constexpr, D: tl.constexpr,
    PAGE: tl.constexpr,
):  # fmt: skip
    g = tl.program_id(0)
    b, kv = g // KV, g % KV
    n = tl.load(lens + b)
    rows, ds, ps = tl.arange(0, QP), tl.arange(0, D), tl.arange(0, PAGE)
    qt = tl.load(q + (g * QP + rows)[:, None] * D + ds[None, :])
    m = tl.full((QP,), -3.0e38, tl.float32)
    total = tl.zeros((QP,), tl.float32)
    o = tl.zeros((QP, D), tl.float32)
    for i in range((n + PAGE - 1) // PAGE):
        at = ((tl.load(table + b * NB + i) * KV + kv) * PAGE + ps)[:, None] * D + ds[None, :]
        s = tl.dot(qt, tl.trans(tl.load(kc + at))) * scale
        s = tl.where((i * PAGE + ps)[None, :] < n, s, float("-inf"))
        new = tl.maximum(m, tl.max(s, 1))
        p = tl.exp(s - new[:, None])
        keep = tl.exp(m - new)
        total = total * keep + tl.sum(p, 1)
        v = tl.load(vc + at)
        o = o * keep[:, None] + tl.dot(p.to(v.dtype), v)
        m = new
    tl.store(out + (g * QP + rows)[:, None] * D + ds[None, :], o / total[:, None])


def lm_head(a: dict, tiles: dict) -> torch.Tensor:
    """x [M, K] BF16 with w [V, K] BF16 transposed -> [M, V] FP32."""
    v, k = a["w"].shape
    out = torch.empty(a["x"].shape[0], v)
    _lm_head[(v // tiles["n"],)](a["x"], a["w"], out, v, k, a["x"].shape[0], tiles["n"], tiles["k"])
    return out


def attention(a: dict, shape: dict) -> torch.Tensor:
    """Decode attention over the paged cache -> [B * KV * QP, D] FP32."""
    out = torch.empty(a["q"].shape)
    _attention[(shape["b"] * shape["kv"],)](
        a["q"], a["k"], a["v"], a["table"], a["lens"], out, shape["d"] ** -0.5, shape["kv"], shape["nb"], shape["qp"],
        shape["d"], shape["page"],
    )  # fmt: skip
    return out
