"""Stage decode_layer: one whole decoder layer, one decode step, paged KV cache included.

The values of a run, by name; B sequences (1 to BATCH), L layers, R rows in the rotary tables, P pages:

    hidden_states                 [BATCH, HIDDEN] BF16     rows from B on are padding
    input_norm_weight             [L, HIDDEN] FP32
    wq                            [L * HIDDEN, HEADS * HEAD_DIM] BF16   input features are rows, here as below
    wk, wv                        [L * HIDDEN, KV_HIDDEN] BF16
    q_norm_weight, k_norm_weight  [L, HEAD_DIM] FP32
    rope_cos, rope_sin            [R, HEAD_DIM] FP32       these and the next five as in golden.rope_kv_cache
    seq_lens                      [B] INT32
    block_table                   [B * MAX_PAGES] INT32
    slot_mapping                  [B] INT32
    k_cache, v_cache              [L * P * KV_HEADS * PAGE, HEAD_DIM] BF16, updated in place
    wo                            [L * HIDDEN, HIDDEN] BF16
    post_norm_weight              [L, HIDDEN] FP32
    w_gate, w_up                  [L * HIDDEN, I] BF16     I is INTERMEDIATE; a small run has a narrower MLP
    w_down                        [L * I, HIDDEN] BF16
    out                           [BATCH, HIDDEN] BF16, output; rows from B on become zero
    layer_idx                     INT32

The math is that of Qwen3's decoder layer; tests/test_golden_decode_layer.py holds it against the code of Hugging
Face transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import silu

from golden import flash_attention, inputs, rope_kv_cache
from golden.compare import Comparator, Tolerance, addressed_rows, close
from golden.spec import ScalarSpec, TensorSpec
from kernels.qwen3 import (
    BATCH,
    EPS,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    INTERMEDIATE,
    KV_HEADS,
    KV_HIDDEN,
    MAX_CTX,
    Q_PER_KV,
)

STAGE = {
    "order": 7,
    "title": "One decoder layer, all of it (decode)",
    "notebook": "05_decode_layer",
    "versions": {
        "naive": {},
        "fused": {
            "qkv_proj.SPLITS": "split_k",
            "flash_attention.RUN": "fused",
            "mlp.WIDE_N": "mixed",
            "mlp.WIDE_K": "mixed",
        },
    },
    "small": {"batch": 1, "ctx": 1, "inter": 512},
}

Values = dict[str, Any]

# The golden rounds out and the new rows of the caches, to BF16. A kernel also rounds what it hands the cube: normed
# rows, q, the weights of the softmax, the attention's output, mlp. A rounding is a relative error of at most 2^-8, or
# 1.6e-3 in the root mean square. With activations of size 1 and weights of 0.02 (see `specs`), a sum of 5120 products
# makes an error e one of 0.02 * sqrt(5120) * e = 1.4 e, one of 17408 makes it 2.6 e:
#   q, k and v are 1.4 in size with an error of 2.3e-3; the largest of 16 * 1024 is 4.2 times that, 1e-2: 2^-6 = 1.6e-2;
#   the attention's output is at most as large, with 2.3e-3 from v and 2.4e-3 from its own rounding: 3.3e-3;
#   the residual is 2.3 in size and has 4.7e-3, or 2.0e-3 of itself; normed and rounded 2.6e-3;
#   gate and up, 1.5 in size, have 3.7e-3; mlp has 1.4 times that and 2.2e-3 of its own: 5.6e-3;
#   out has 2.6 times that and what the residual has: 1.55e-2. The largest of 16 * 5120 is 4.6 times that: 7.1e-2.
# atol = 2^-3 leaves room for other seeds. rtol: two values that close may round to neighbours in BF16; one ULP is at
# most 2^-7 of the value.
TOLERANCE = Tolerance(rtol=2.0**-7, atol=2.0**-3, text="BF16 activations")
"""Of out."""

CACHE_TOLERANCE = Tolerance(rtol=2.0**-7, atol=2.0**-6, text="BF16 activations")
"""Of the rows written to the caches."""

COMPARE_FN: dict[str, Comparator] = {
    name: addressed_rows(rope_kv_cache.addressed, close(CACHE_TOLERANCE.rtol, CACHE_TOLERANCE.atol))
    for name in ("k_cache", "v_cache")
}
"""The comparator of each output that has one of its own, for `golden.run_jit(compare_fn=...)`."""


def reference(values: Values) -> None:
    """Write k_cache, v_cache and out of `values` in place, from the model's math.

    All in FP32; only what is stored is rounded to BF16: the new rows of the caches, before they are attended to, and
    out.
    """
    layer, batch = int(values["layer_idx"]), values["seq_lens"].numel()
    result = step(values, values["hidden_states"][:batch].float(), layer)
    values["out"].zero_()
    values["out"][:batch] = result.to(torch.bfloat16)


def exact(values: Values) -> dict[str, torch.Tensor]:
    """What this step would write if nothing were rounded: the same math in FP64. Changes nothing.

    Returns:
        What `written` gives, in FP64.
    """
    layer, batch = int(values["layer_idx"]), values["seq_lens"].numel()
    hidden = values["hidden_states"][:batch].double()
    q, k, v = project(values, hidden, layer)
    out = finish(values, hidden, attend(values, q, k, v, layer), layer)
    return {"out": out, "k_cache": k.flatten(0, 1), "v_cache": v.flatten(0, 1)}


def written(values: Values, outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The rows of the outputs that this step writes, padding left out.

    Returns:
        BF16: out [B, HIDDEN]; k_cache and v_cache [B * KV_HEADS, HEAD_DIM], rows by sequence, then head.
    """
    rows = rope_kv_cache.addressed(values, outputs["k_cache"].shape[0]).flatten()
    return {
        "out": outputs["out"][: values["seq_lens"].numel()],
        "k_cache": outputs["k_cache"][rows],
        "v_cache": outputs["v_cache"][rows],
    }


def limits(_values: Values) -> dict[str, tuple[float, float]]:
    """What the comparison allows each of `written`: (rtol, atol)."""
    cache = (CACHE_TOLERANCE.rtol, CACHE_TOLERANCE.atol)
    return {"out": (TOLERANCE.rtol, TOLERANCE.atol), "k_cache": cache, "v_cache": cache}


def step(values: Values, hidden: torch.Tensor, layer: int) -> torch.Tensor:
    """One layer on hidden [B, H]: write its new rows to the caches, rounded; return its output, not rounded."""
    q, k, v = project(values, hidden, layer)
    rows = rope_kv_cache.addressed(values, values["k_cache"].shape[0], layer)
    k, v = k.to(torch.bfloat16), v.to(torch.bfloat16)
    values["k_cache"][rows], values["v_cache"][rows] = k, v
    return finish(values, hidden, attend(values, q, k.to(q.dtype), v.to(q.dtype), layer), layer)


def project(values: Values, hidden: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q [B, HEADS, HEAD_DIM], k and v [B, KV_HEADS, HEAD_DIM] of a layer, normed and rotated, in hidden's dtype."""
    batch, width = hidden.shape
    rows = slice(layer * width, (layer + 1) * width)
    normed = inputs.rms_norm(hidden, values["input_norm_weight"][layer], EPS)
    q = inputs.product(normed, values["wq"][rows]).view(batch, HEADS, HEAD_DIM)
    k = inputs.product(normed, values["wk"][rows]).view(batch, KV_HEADS, HEAD_DIM)
    v = inputs.product(normed, values["wv"][rows]).view(batch, KV_HEADS, HEAD_DIM)
    positions = values["seq_lens"].long() - 1
    cos = values["rope_cos"][positions][:, None].to(hidden.dtype)
    sin = values["rope_sin"][positions][:, None].to(hidden.dtype)
    q = rope_kv_cache.rotate(inputs.rms_norm(q, values["q_norm_weight"][layer], EPS), cos, sin)
    k = rope_kv_cache.rotate(inputs.rms_norm(k, values["k_norm_weight"][layer], EPS), cos, sin)
    return q, k, v


def attend(values: Values, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layer: int) -> torch.Tensor:
    """Attention of q to a layer's cache, the rows of the new token replaced by k and v: [B, HEADS * HEAD_DIM]."""
    rows = []
    for b, (k_cached, v_cached) in enumerate(flash_attention.cached(values, layer)):
        k_all = torch.cat([k_cached[:, :-1].to(q.dtype), k[b, :, None]], 1)
        v_all = torch.cat([v_cached[:, :-1].to(q.dtype), v[b, :, None]], 1)
        rows.append(flash_attention.attend(q[b].view(KV_HEADS, Q_PER_KV, HEAD_DIM), k_all, v_all).flatten())
    return torch.stack(rows)


def finish(values: Values, hidden: torch.Tensor, attended: torch.Tensor, layer: int) -> torch.Tensor:
    """The output [B, H] of a layer from its input and its attention: output projection, MLP, both residuals."""
    width, inter = hidden.shape[1], values["w_gate"].shape[1]
    rows, heads = slice(layer * width, (layer + 1) * width), attended.shape[1]
    resid = hidden + inputs.product(attended, values["wo"][layer * heads : (layer + 1) * heads])
    normed = inputs.rms_norm(resid, values["post_norm_weight"][layer], EPS)
    activated = silu(inputs.product(normed, values["w_gate"][rows])) * inputs.product(normed, values["w_up"][rows])
    return resid + inputs.product(activated, values["w_down"][layer * inter : (layer + 1) * inter])


def specs(
    batch: int = BATCH,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
    layers: int = 1,
    layer: int = 0,
    spare_pages: int = 8,
    inter: int = INTERMEDIATE,
) -> list[TensorSpec | ScalarSpec]:
    """Seeded inputs at the model's full shapes, one spec for each parameter of the stage's kernels.

    Hidden states and caches have a standard deviation of 1, weights of 0.02 (norm weights: 0.25 around 1). Padding
    rows of the hidden states are NaN: nothing may come of them. Pages are as in golden.rope_kv_cache.specs.

    Args:
        batch: Sequences, 1 to BATCH.
        ctx: Length of every sequence, or of each; the new token included. None: ragged, 1 to MAX_CTX.
        seed: Same seed, same tensors.
        layers, layer: Layers in weights and caches, and the one that is computed. A layer's weights have 0.66 GB.
        spare_pages: Pages that no sequence owns.
        inter: Width of the MLP in elements, a multiple of 256.

    Raises:
        InputError: an argument out of its range.
    """
    inputs.of_layers(layers, layer)
    out = TensorSpec("out", [BATCH, HIDDEN], torch.bfloat16, is_output=True)
    shared = layer_specs(batch, ctx, seed, layers, spare_pages, inter=inter)
    return [*shared, out, ScalarSpec("layer_idx", torch.int32, layer)]


def layer_specs(
    batch: int, ctx: int | Sequence[int] | None, seed: int, layers: int, spare_pages: int = 8, ahead: int = 0,
    inter: int = INTERMEDIATE,
) -> list[TensorSpec]:  # fmt: skip
    """The specs of what a layer reads and of the caches, in the order of the kernels' parameters."""
    inputs.check_widths(HIDDEN, inter)
    paging = rope_kv_cache.specs(batch, ctx, seed, layers, 0, MAX_CTX, spare_pages, ahead)
    given = {spec.name: spec for spec in paging}

    def weight(name: str, rows: int, width: int) -> TensorSpec:
        return inputs.weight(seed, name, [layers * rows, width], std=0.02)

    def norm_weight(name: str) -> TensorSpec:
        return inputs.normal(seed, name, [layers, HIDDEN], torch.float32, mean=1.0, std=0.25)

    return [
        inputs.normal(seed, "hidden_states", [BATCH, HIDDEN], torch.bfloat16, batch=batch),
        norm_weight("input_norm_weight"),
        weight("wq", HIDDEN, HIDDEN),
        weight("wk", HIDDEN, KV_HIDDEN),
        weight("wv", HIDDEN, KV_HIDDEN),
        *(given[name] for name in _PAGED),
        weight("wo", HIDDEN, HIDDEN),
        norm_weight("post_norm_weight"),
        weight("w_gate", HIDDEN, inter),
        weight("w_up", HIDDEN, inter),
        weight("w_down", inter, HIDDEN),
    ]


def check(values: Values) -> None:
    """Raise InputError, before anything is run, for values that this stage cannot be run on. Changes nothing.

    Checked: what `check_layers` checks; layer_idx; out.
    """
    tensors, _ = check_layers(values)
    inputs.layer_of(values, tensors, "input_norm_weight")
    rope_kv_cache.check_tensor(values, "out", [BATCH, HIDDEN], torch.bfloat16)


def check_layers(values: Values) -> tuple[dict[str, torch.Tensor], int]:
    """Raise InputError unless `values` hold what layers need for one decode step. Changes nothing.

    Checked: dtypes, shapes and that they fit together; 1 <= B <= BATCH; lengths, pages and slots as in
    golden.rope_kv_cache.check_step.

    Returns:
        The tensors by name, and B.
    """
    tensors = {name: inputs.tensor(values, name, rank, dtype) for name, (rank, dtype) in _TENSORS.items()}
    batch = rope_kv_cache.check_paged(values)
    layers, inter = tensors["q_norm_weight"].shape[0], tensors["w_gate"].shape[1]
    inputs.check_widths(HIDDEN, inter)
    wanted = {
        "hidden_states": [BATCH, HIDDEN],
        "input_norm_weight": [layers, HIDDEN],
        "wq": [layers * HIDDEN, HIDDEN],
        "wk": [layers * HIDDEN, KV_HIDDEN],
        "wv": [layers * HIDDEN, KV_HIDDEN],
        "wo": [layers * HIDDEN, HIDDEN],
        "post_norm_weight": [layers, HIDDEN],
        "w_gate": [layers * HIDDEN, inter],
        "w_up": [layers * HIDDEN, inter],
        "w_down": [layers * inter, HIDDEN],
    }
    inputs.shapes(tensors, wanted)
    return tensors, batch


_PAGED = (
    "q_norm_weight", "k_norm_weight", "rope_cos", "rope_sin", "seq_lens", "block_table", "slot_mapping", "k_cache",
    "v_cache",
)  # fmt: skip

_TENSORS: dict[str, tuple[int, torch.dtype]] = {
    "hidden_states": (2, torch.bfloat16),
    "input_norm_weight": (2, torch.float32),
    "wq": (2, torch.bfloat16),
    "wk": (2, torch.bfloat16),
    "wv": (2, torch.bfloat16),
    "q_norm_weight": (2, torch.float32),
    "wo": (2, torch.bfloat16),
    "post_norm_weight": (2, torch.float32),
    "w_gate": (2, torch.bfloat16),
    "w_up": (2, torch.bfloat16),
    "w_down": (2, torch.bfloat16),
}
