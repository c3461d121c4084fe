"""The yardsticks in Pallas, for `interpret=True` and for the TPU interpret mode."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu


def _lm_head_kernel(x: Any, w: Any, out: Any) -> None:
    @pl.when(pl.program_id(1) == 0)
    def _() -> None:
        out[...] = jnp.zeros_like(out)

    out[...] += jax.lax.dot_general(x[...], w[...], (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)


def lm_head(tiles: dict, v: int, m: int, k: int, interpret: Any) -> Callable:
    """x [m, k] BF16 with w [v, k] BF16 transposed -> [m, v] FP32."""
    n, kb = tiles["n"], tiles["k"]
    call = pl.pallas_call(
        _lm_head_kernel,
        grid=(v // n, k // kb),
        in_specs=[pl.BlockSpec((m, kb), lambda j, i: (0, i)), pl.BlockSpec((n, kb), lambda j, i: (j, i))],
        out_specs=pl.BlockSpec((m, n), lambda j, i: (0, j)),
        out_shape=jax.ShapeDtypeStruct((m, v), jnp.float32),
        interpret=interpret,
    )
    return jax.jit(lambda a: call(a["x"], a["w"]))


def _attention_kernel(
    table: Any, lens: Any, q: Any, k: Any, v: Any, out: Any, m: Any, total: Any, *, kv: int, page: int, scale: float
) -> None:
    g, i = pl.program_id(0), pl.program_id(1)
    n = lens[g // kv]

    @pl.when(i == 0)
    def _() -> None:
        m[...] = jnp.full_like(m, -3.0e38)
        total[...] = jnp.zeros_like(total)
        out[...] = jnp.zeros_like(out)

    @pl.when(i * page < n)
    def _() -> None:
        s = jax.lax.dot_general(q[...], k[...], (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32) * scale
        at = i * page + jax.lax.broadcasted_iota(jnp.int32, s.shape, 1)
        s = jnp.where(at < n, s, -jnp.inf)
        new = jnp.maximum(m[...], s.max(1, keepdims=True))
        p = jnp.exp(s - new)
        keep = jnp.exp(m[...] - new)
        total[...] = total[...] * keep + p.sum(1, keepdims=True)
        pv = jnp.dot(p.astype(jnp.bfloat16), v[...], preferred_element_type=jnp.float32)
        out[...] = out[...] * keep + pv
        m[...] = new

    @pl.when(i == pl.num_programs(1) - 1)
    def _() -> None:
        out[...] = out[...] / total[...]


def attention(shape: dict, interpret: Any) -> Callable:
    """Decode attention over the paged cache -> [B * KV * QP, D] FP32."""
    b, kv, nb, qp, d, page = (shape[n] for n in ("b", "kv", "nb", "qp", "d", "page"))

    def cache(g: Any, i: Any, table: Any, lens: Any) -> tuple:
        return table[(g // kv) * nb + i] * kv + g % kv, 0

    grid = pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=2,
        grid=(b * kv, nb),
        in_specs=[
            pl.BlockSpec((qp, d), lambda g, i, table, lens: (g, 0)),
            pl.BlockSpec((page, d), cache),
            pl.BlockSpec((page, d), cache),
        ],
        out_specs=pl.BlockSpec((qp, d), lambda g, i, table, lens: (g, 0)),
        scratch_shapes=[pltpu.VMEM((qp, 1), jnp.float32), pltpu.VMEM((qp, 1), jnp.float32)],
    )
    call = pl.pallas_call(
        partial(_attention_kernel, kv=kv, page=page, scale=d**-0.5),
        grid_spec=grid,
        out_shape=jax.ShapeDtypeStruct((b * kv * qp, d), jnp.float32),
        interpret=interpret,
    )
    return jax.jit(lambda a: call(a["table"], a["lens"], a["q"], a["k"], a["v"]))
