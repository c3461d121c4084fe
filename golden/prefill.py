"""Stage prefill: whole decoder layers on chunks of prompts, K and V into the paged cache, causal attention over it.

The values of a run, by name; B sequences (1 to BATCH), T tokens of all their chunks, L layers, H hidden width,
I intermediate width, QW = HEADS * HEAD_DIM, R rows in the rotary tables, P pages:

    input_norm_weight, post_norm_weight  [L, H] FP32
    wq                                   [L * H, QW] BF16         input features are rows, one layer after the other,
    wk, wv                               [L * H, KV_HIDDEN] BF16  here as below
    q_norm_weight, k_norm_weight         [L, HEAD_DIM] FP32
    rope_cos, rope_sin                   [R, HEAD_DIM] FP32       row = position
    wo                                   [L * QW, H] BF16
    w_gate, w_up                         [L * H, I] BF16
    w_down                               [L * I, H] BF16
    seq_lens                             [B] INT32                tokens of each sequence, its chunk included
    chunk_lens                           [B] INT32                tokens of its chunk, 1 to MAX_CHUNK, the last ones
    chunk_offsets                        [B] INT32                row of the first of them in hidden_states
    block_table                          [B * MAX_PAGES] INT32    page of each PAGE tokens, the same for every layer
    slot_mapping                         [T] INT32                page * PAGE + offset of each token of the chunks
    k_cache, v_cache                     [L * P * KV_HEADS * PAGE, HEAD_DIM] BF16, updated in place
                                         row = ((layer * P + page) * KV_HEADS + head) * PAGE + offset
    hidden_states                        [T, H] BF16              before the first layer; after the last, in place

A token sees the tokens of its sequence up to itself, those of earlier calls in the cache. The math is that of
Qwen3's decoder layer; tests/test_golden_prefill.py holds it against the code of Hugging Face transformers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import silu

from golden import inputs
from golden.compare import Comparator, Tolerance, addressed_rows, close
from golden.prefill_checks import Q_WIDTH, chunks
from golden.prefill_checks import check as check
from golden.rope_kv_cache import rope_tables
from golden.spec import ScalarSpec, TensorSpec
from helpers.errors import InputError
from kernels import qwen3
from kernels.qwen3 import (
    BATCH,
    EPS,
    HALF_DIM,
    HEAD_DIM,
    KV_HEADS,
    KV_HIDDEN,
    MAX_CHUNK,
    MAX_CTX,
    MAX_PAGES,
    PAGE,
    Q_PER_KV,
)

STAGE = (
    {
        "order": 9,
        "title": "A whole layer on a prompt: K and V of all its tokens to the cache, causal attention",
        "notebook": "06_prefill",
        "versions": {
            "per_token": {},
            "spmd": {
                "tiles.WIDE_N": ("columns of a tile", (128, 256, 512)),
                "tiles.WIDE_K": ("step of K", (64, 128, 256)),
                "tiles.ATTENTION_BLOCKS": ("blocks of attention", (4, 8, 16, 24, 48)),
                "tiles.MLP_BLOCKS": ("blocks of gate and up", (8, 12, 16, 24)),
            },
            "chunked": {
                "tiles.WIDE_N": ("columns of a tile", (128, 256, 512)),
                "tiles.WIDE_K": ("step of K", (64, 128, 256)),
                "tiles.ATTENTION_BLOCKS": ("blocks of attention", (4, 8, 16, 24, 48)),
                "tiles.MLP_BLOCKS": ("blocks of gate and up", (8, 12, 16, 24)),
            },
        },
        "batch": 1,
        "longest": "kernels.qwen3.MAX_CHUNK",
        "small": {"ctx": 8, "hidden": 512, "inter": 1024},
    },
    {
        "name": "prefill_chunk",
        "order": 10,
        "title": "Two layers on chunks of several prompts, which go on where earlier calls ended",
        "versions": {
            "spmd": {},
            "chunked": {
                "tiles.WIDE_N": ("columns of a tile", (128, 256, 512)),
                "tiles.WIDE_K": ("step of K", (64, 128, 256)),
                "tiles.ATTENTION_BLOCKS": ("blocks of attention", (4, 8, 16, 24, 48)),
                "tiles.MLP_BLOCKS": ("blocks of gate and up", (8, 12, 16, 24)),
            },
        },
        "specs": {"start": None, "layers": 2},
        "batch": 4,
        "small": {"batch": 2, "ctx": 8, "hidden": 512, "inter": 1024, "layers": 1},
    },
)

DEFAULT_TOKENS = 128  # the published measurement of prefill has one sequence of 128
DRAWN_START = 8 * PAGE  # what is drawn is below it

# The golden rounds K, V and the hidden states after each layer to BF16. A kernel also rounds what the cube multiplies:
# two normed rows, q, the weights of the softmax, the attention's output, mlp. BF16 has 8 significant bits: a relative
# error of at most 2^-8 an element, 1.6e-3 in the root mean square. With activations of size 1 and weights of 0.02 (see
# `specs`), at Qwen3-14B's widths:
#   K and V, sums of 5120, are 1.4 in size with an error of 1.6e-3 * 0.02 * sqrt(5120) = 2.3e-3 (K is then normed);
#   the MLP's error is 1.0e-2, see golden.mlp; what comes to it from attention and its norm makes that 1.3e-2;
#   the result is 3.9 in size, and both sides round it: 6e-3 each, when a neighbour of 2^-6 to 2^-5 is hit or not;
#   together 1.6e-2, and the largest of 512 * 5120 is 5.3 times that: 8e-2. atol = 2^-3 = 0.125.
# A layer adds its own error, 1.9e-2, to one in its input that is as large in proportion: it grows with the number of
# layers. For K and V the first layer's norm is all, 5.3 * 2.3e-3 = 1.2e-2 (2^-6); each layer before adds 5e-3 * 5.3 =
# 2.7e-2 (2^-5). rtol: two values that close may round to neighbours in BF16; one ULP is at most 2^-7 of the value.
TOLERANCE = Tolerance(rtol=2.0**-7, atol=2.0**-3, text="BF16 activations")
"""Of hidden_states; `atol` is for one layer, and grows with the number of layers."""
CACHE_TOLERANCE = Tolerance(rtol=2.0**-7, atol=2.0**-6, text="BF16 activations")
"""Of K and V in the first layer; `atol` is 1 + 2 n times that in a layer with n before it."""


def addressed(values: dict[str, Any], cache_rows: int) -> torch.Tensor:
    """Rows of a cache that this call writes: INT64 [L, T, KV_HEADS].

    Args:
        values: At least slot_mapping and q_norm_weight (for the number of layers).
        cache_rows: Rows of the whole cache, all layers.
    """
    layers = values["q_norm_weight"].shape[0]
    slots = values["slot_mapping"].long()
    rows = (slots[:, None] // PAGE * KV_HEADS + torch.arange(KV_HEADS)) * PAGE + slots[:, None] % PAGE
    return torch.arange(layers)[:, None, None] * (cache_rows // layers) + rows


def _compare_hidden(actual: torch.Tensor, expected: torch.Tensor, **run: Any) -> tuple[bool, str]:
    """Within TOLERANCE, `atol` for each layer."""
    layers = run["inputs"]["q_norm_weight"].shape[0]
    return close(TOLERANCE.rtol, layers * TOLERANCE.atol)(actual, expected, **run)


def _compare_cached(actual: torch.Tensor, expected: torch.Tensor, **run: Any) -> tuple[bool, str]:
    """Rows of the call's tokens within CACHE_TOLERANCE, all others untouched."""
    scale = _growth(run["inputs"]).double()[:, None]
    unscaled = close(CACHE_TOLERANCE.rtol, CACHE_TOLERANCE.atol)

    def by_layer(ours: torch.Tensor, theirs: torch.Tensor, **_run: Any) -> tuple[bool, str]:
        passed, detail = unscaled(ours.double() / scale, theirs.double() / scale)
        return passed, f"values over 1 + 2 n, n the layers before: {detail}" if detail else detail

    return addressed_rows(addressed, by_layer)(actual, expected, **run)


def _growth(values: dict[str, Any]) -> torch.Tensor:
    """1 + 2 n of each row of K or V that a call writes, n the layers before: INT64 [L * T * KV_HEADS]."""
    layers = values["q_norm_weight"].shape[0]
    return (1 + 2 * torch.arange(layers)).repeat_interleave(values["slot_mapping"].numel() * KV_HEADS)


COMPARE_FN: dict[str, Comparator] = {
    "k_cache": _compare_cached,
    "v_cache": _compare_cached,
    "hidden_states": _compare_hidden,
}
"""The comparator of each output, for `golden.run_jit(compare_fn=...)`."""


def reference(values: dict[str, Any]) -> None:
    """Write hidden_states, k_cache and v_cache of `values` in place, from the model's math, in FP32.

    Rounded to BF16 are K and V, which attention reads from the cache, and the hidden states after each layer.
    """
    layers, rows = values["q_norm_weight"].shape[0], addressed(values, values["k_cache"].shape[0])
    for layer in range(layers):
        x, k, v = _layer(values, layer, values["hidden_states"].float(), rounded=True)
        values["k_cache"][rows[layer]] = k.to(torch.bfloat16)
        values["v_cache"][rows[layer]] = v.to(torch.bfloat16)
        values["hidden_states"].copy_(x)


def exact(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What this call would write if nothing were rounded: the same math in FP64. Changes nothing.

    Returns:
        What `written` gives, in FP64.
    """
    x, ks, vs = values["hidden_states"].double(), [], []
    for layer in range(values["q_norm_weight"].shape[0]):
        x, k, v = _layer(values, layer, x, rounded=False)
        ks.append(k.flatten(0, 1))
        vs.append(v.flatten(0, 1))
    return {"hidden_states": x, "k_cache": torch.cat(ks), "v_cache": torch.cat(vs)}


def written(values: dict[str, Any], outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The rows of the outputs that this call writes.

    Returns:
        BF16: hidden_states [T, H]; k_cache and v_cache [L * T * KV_HEADS, HEAD_DIM], by layer, token, head.
    """
    rows = addressed(values, outputs["k_cache"].shape[0]).flatten()
    return {
        "hidden_states": outputs["hidden_states"],
        "k_cache": outputs["k_cache"][rows],
        "v_cache": outputs["v_cache"][rows],
    }


def limits(values: dict[str, Any]) -> dict[str, tuple[float, float | torch.Tensor]]:
    """What the comparison allows each of `written`: (rtol, atol), one atol or one a row, FP64."""
    layers = values["q_norm_weight"].shape[0]
    cache = (CACHE_TOLERANCE.rtol, CACHE_TOLERANCE.atol * _growth(values).double()[:, None])
    return {"hidden_states": (TOLERANCE.rtol, layers * TOLERANCE.atol), "k_cache": cache, "v_cache": cache}


def _layer(
    values: dict[str, Any], layer: int, x: torch.Tensor, *, rounded: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x [T, H] after one layer, in its dtype, and the rotated K and the V of its tokens, [T, KV_HEADS, HEAD_DIM].

    rounded: whether attention sees K and V as BF16, as it does from the cache.
    """
    dtype, tokens = x.dtype, x.shape[0]
    hidden, inter = x.shape[1], values["w_gate"].shape[1]

    def projected(given: torch.Tensor, name: str, depth: int) -> torch.Tensor:
        return inputs.product(given, values[name][layer * depth : (layer + 1) * depth])

    def heads(given: torch.Tensor, norm: str) -> torch.Tensor:
        given = given.view(tokens, -1, HEAD_DIM)
        return _rotate(inputs.rms_norm(given, values[norm][layer], EPS), cos, sin)

    positions = torch.cat([torch.arange(chunk.start, chunk.end) for chunk in chunks(values)])
    cos, sin = (values[name][positions][:, None].to(dtype) for name in ("rope_cos", "rope_sin"))
    normed = inputs.rms_norm(x, values["input_norm_weight"][layer], EPS)
    q = heads(projected(normed, "wq", hidden), "q_norm_weight")
    k = heads(projected(normed, "wk", hidden), "k_norm_weight")
    v = projected(normed, "wv", hidden).view(tokens, KV_HEADS, HEAD_DIM)

    attended = torch.empty([tokens, Q_WIDTH], dtype=dtype)
    for chunk in chunks(values):
        past = [_cached(values, name, layer, chunk.b, chunk.start).to(dtype) for name in ("k_cache", "v_cache")]
        new = [t[chunk.rows].to(torch.bfloat16).to(dtype) if rounded else t[chunk.rows] for t in (k, v)]
        keys, vals = (torch.cat(pair) for pair in zip(past, new, strict=True))
        attended[chunk.rows] = _attend(q[chunk.rows], keys, vals)

    resid = x + projected(attended, "wo", Q_WIDTH)
    normed = inputs.rms_norm(resid, values["post_norm_weight"][layer], EPS)
    activated = silu(projected(normed, "w_gate", hidden)) * projected(normed, "w_up", hidden)
    return resid + projected(activated, "w_down", inter), k, v


def _rotate(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """RoPE over the last dimension: element i of the low half turns with element i of the high half."""
    lo, hi = heads[..., :HALF_DIM], heads[..., HALF_DIM:]
    return torch.cat(
        [lo * cos[..., :HALF_DIM] - hi * sin[..., :HALF_DIM], hi * cos[..., HALF_DIM:] + lo * sin[..., HALF_DIM:]], -1
    )


def _cached(values: dict[str, Any], name: str, layer: int, b: int, tokens: int) -> torch.Tensor:
    """What a cache holds of the first tokens of a sequence: BF16 [tokens, KV_HEADS, HEAD_DIM]."""
    pages = values["block_table"].view(-1, MAX_PAGES)[b, : -(-tokens // PAGE)].long()
    paged = values[name].view(values["q_norm_weight"].shape[0], -1, KV_HEADS, PAGE, HEAD_DIM)[layer, pages]
    return paged.transpose(1, 2).flatten(0, 1)[:tokens]


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal attention of the last tokens q [n, HEADS, HEAD_DIM] to k, v [m, KV_HEADS, HEAD_DIM]: [n, Q_WIDTH]."""
    n, m = q.shape[0], k.shape[0]
    grouped = q.view(n, KV_HEADS, Q_PER_KV, HEAD_DIM)
    scores = torch.einsum("nhgd,mhd->hgnm", grouped, k) * HEAD_DIM**-0.5
    later = torch.arange(m) > torch.arange(m - n, m)[:, None]
    weights = torch.softmax(scores.masked_fill(later, -torch.inf), -1)
    return torch.einsum("hgnm,mhd->nhgd", weights, v).reshape(n, Q_WIDTH)


def specs(
    batch: int = 1,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
    start: int | Sequence[int] | None = 0,
    layers: int = 1,
    hidden: int = qwen3.HIDDEN,
    inter: int = qwen3.INTERMEDIATE,
    rope_rows: int = MAX_CTX,
    spare_pages: int = 8,
) -> list[TensorSpec | ScalarSpec]:
    """Seeded inputs, at Qwen3-14B's widths unless others are given; one spec for each parameter of the kernels.

    Hidden states have a standard deviation of 1, weights of 0.02 (norm weights: 0.25 around 1). Pages of a sequence
    are drawn at random from a pool, entries of the block table past its last page are -1. Both caches are full of
    normally distributed values before the run: the tokens before each chunk, and what nobody may read.

    Args:
        batch: Sequences, 1 to BATCH.
        ctx: Tokens of every chunk, or of each, 1 to MAX_CHUNK. None: DEFAULT_TOKENS in all, cut at random.
        seed: Same seed, same tensors.
        start: Tokens before every chunk, or before each: what earlier calls have put into the cache. None: drawn.
        layers: Layers, all of which are computed. A layer of Qwen3-14B has 0.66 GB.
        hidden, inter: Widths in elements, multiples of 512 and 256. Heads are Qwen3-14B's.
        rope_rows: Positions in the rotary tables.
        spare_pages: Pages of the pool that no sequence owns.

    Raises:
        InputError: an argument out of its range.
    """
    if not 1 <= batch <= BATCH:
        raise InputError(f"batch is {batch}: must be 1 to {BATCH}")
    if layers < 1 or rope_rows < 1 or spare_pages < 0:
        raise InputError(
            f"layers is {layers}, rope_rows {rope_rows}, spare_pages {spare_pages}: must be at least 1, 1 and 0"
        )
    inputs.check_widths(hidden, inter)
    lens = _cut(batch, seed) if ctx is None else _each("ctx", ctx, batch)
    drawn = torch.randint(DRAWN_START, [batch], generator=inputs.generator(seed, "start")).tolist()
    starts = drawn if start is None else _each("start", start, batch)
    for b, (length, before) in enumerate(zip(lens, starts, strict=True)):
        if not 1 <= length <= MAX_CHUNK:
            raise InputError(f"ctx of sequence {b} is {length}: a chunk must have 1 to {MAX_CHUNK} tokens")
        if not 0 <= before <= min(MAX_CTX, rope_rows) - length:
            raise InputError(
                f"start of sequence {b} is {before}: with {length} tokens it must be 0 to "
                f"{min(MAX_CTX, rope_rows) - length}"
            )
    ends = [before + length for before, length in zip(starts, lens, strict=True)]
    owned = [-(-end // PAGE) for end in ends]
    pages, tokens = sum(owned) + spare_pages, sum(lens)
    pool = iter(torch.randperm(pages, generator=inputs.generator(seed, "pages")).tolist())
    table = torch.full([batch, MAX_PAGES], -1, dtype=torch.int32)
    for b, n in enumerate(owned):
        table[b, :n] = torch.tensor(list(itertools.islice(pool, n)), dtype=torch.int32)
    slots = [
        int(table[b, position // PAGE]) * PAGE + position % PAGE
        for b in range(batch)
        for position in range(starts[b], ends[b])
    ]
    fp32, bf16, int32 = torch.float32, torch.bfloat16, torch.int32
    cache = [layers * pages * KV_HEADS * PAGE, HEAD_DIM]

    def given(name: str, value: Sequence[int] | torch.Tensor) -> TensorSpec:
        tensor = torch.as_tensor(value, dtype=int32)
        return TensorSpec(name, list(tensor.shape), int32, init_value=tensor)

    def norm_weight(name: str, width: int) -> TensorSpec:
        return inputs.normal(seed, name, [layers, width], fp32, mean=1.0, std=0.25)

    def weight(name: str, rows: int, width: int) -> TensorSpec:
        return inputs.weight(seed, name, [layers * rows, width], std=0.02)

    def updated(name: str, shape: list[int]) -> TensorSpec:
        return inputs.normal(seed, name, shape, bf16, is_output=True)

    return [
        norm_weight("input_norm_weight", hidden),
        weight("wq", hidden, Q_WIDTH),
        weight("wk", hidden, KV_HIDDEN),
        weight("wv", hidden, KV_HIDDEN),
        norm_weight("q_norm_weight", HEAD_DIM),
        norm_weight("k_norm_weight", HEAD_DIM),
        TensorSpec("rope_cos", [rope_rows, HEAD_DIM], fp32, init_value=lambda: rope_tables(rope_rows)[0]),
        TensorSpec("rope_sin", [rope_rows, HEAD_DIM], fp32, init_value=lambda: rope_tables(rope_rows)[1]),
        weight("wo", Q_WIDTH, hidden),
        norm_weight("post_norm_weight", hidden),
        weight("w_gate", hidden, inter),
        weight("w_up", hidden, inter),
        weight("w_down", inter, hidden),
        given("seq_lens", ends),
        given("chunk_lens", lens),
        given("chunk_offsets", [sum(lens[:b]) for b in range(batch)]),
        given("block_table", table.flatten()),
        given("slot_mapping", slots),
        updated("k_cache", cache),
        updated("v_cache", cache),
        updated("hidden_states", [tokens, hidden]),
    ]


def _each(name: str, value: int | Sequence[int], batch: int) -> list[int]:
    """One number for each sequence.

    Raises:
        InputError: another count of them.
    """
    values = [value] * batch if isinstance(value, int) else list(value)
    if len(values) != batch:
        raise InputError(f"{name} has {len(values)} lengths for {batch} sequences")
    return values


def _cut(batch: int, seed: int) -> list[int]:
    """DEFAULT_TOKENS cut into as many chunks as there are sequences, at random places."""
    places = torch.randperm(DEFAULT_TOKENS - 1, generator=inputs.generator(seed, "chunk_lens"))[: batch - 1] + 1
    bounds = [0, *sorted(places.tolist()), DEFAULT_TOKENS]
    return [b - a for a, b in itertools.pairwise(bounds)]
