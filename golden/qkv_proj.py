"""Stage qkv_proj: input RMSNorm of one decode step and the projections of its rows to Q, K and V.

The values of a run, by name; B sequences (1 to BATCH), L layers:

    hidden_states           [BATCH, HIDDEN] BF16          rows from B on are padding
    norm_weight             [L, HIDDEN] FP32
    wq                      [L * HIDDEN, HIDDEN] BF16     input features are rows, one layer after the other
    wk, wv                  [L * HIDDEN, KV_HIDDEN] BF16
    seq_lens                [B] INT32                     only how many there are is used
    q_proj                  [BATCH, HIDDEN] FP32, output  rows from B on become zero
    k_proj, v_proj          [BATCH, KV_HIDDEN] FP32, outputs, likewise
    layer_idx               INT32

The math is that of Qwen3's input norm and projections; tests/test_golden_qkv_proj.py holds it against the code
of Hugging Face transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from golden import inputs
from golden.compare import Tolerance
from golden.spec import ScalarSpec, TensorSpec
from kernels.qwen3 import BATCH, EPS, HIDDEN, KV_HIDDEN

STAGE = {
    "order": 1,
    "title": "Input RMSNorm and the Q, K and V projections (decode)",
    "notebook": "03_swiglu_mlp",
    "versions": {
        "tile": {
            "TILE_N": ("columns of a tile", (32, 64, 128)),
            "TILE_K": ("step of K", (64, 128, 256, 512, 1024)),
        },
        "grouped": {
            "GROUP_N": ("columns of a group", (64, 128, 256, 512)),
            "TILE_K": ("step of K", (64, 128, 256, 512, 1024)),
        },
        "spmd": {
            "GROUP_N": ("columns of a group", (64, 128, 256, 512)),
            "TILE_K": ("step of K", (64, 128, 256, 512, 1024)),
        },
        "split_k": {
            "GROUP_N": ("columns of a group", (64, 128, 256, 512)),
            "SPLIT_TILE_K": ("step of K", (64, 128, 256)),
            "SPLITS": ("parts of K", (1, 2, 4, 5, 10, 20)),
        },
    },
    "changes": {
        "grouped": {"tiles of 256 columns": ({"TILE_N": 256}, {"GROUP_N": 64})},
        "spmd": {"loads run ahead": ({"stages": 2}, {"stages": 1})},
        "split_k": {"K in four parts": (None, {"SPLITS": 1})},
    },
    "context": False,
    "small": {"batch": 2, "layers": 1, "layer": 0},
}

# The golden rounds nothing; a kernel hands the cube BF16, so it rounds the normed row (or, with 1/rms deferred,
# hidden * weight) once. BF16 has 8 significant bits: a relative error of at most 2^-8 an element, 1.6e-3 in the
# root mean square. An output is a sum of 5120 products of such elements, about 1 in size, with weights of 0.02
# (see `specs`): its error is about 1.6e-3 * 0.02 * sqrt(5120) = 2.3e-3, and the largest of 16 * 7168 outputs is
# that times 4.7, or 1.1e-2. Two versions that round in different places are sqrt(2) times that apart, 1.6e-2, and are
# held against each other, too: 5 * 2^-8 = 2.0e-2 leaves room for other seeds. FP32 sums in another order add 1e-6.
TOLERANCE = Tolerance(rtol=0.0, atol=5 * 2.0**-8, text="BF16 activations")

PROJECTIONS = {"q_proj": ("wq", HIDDEN), "k_proj": ("wk", KV_HIDDEN), "v_proj": ("wv", KV_HIDDEN)}
"""Of each output: its weight, and its width in elements."""


def reference(values: dict[str, Any]) -> None:
    """Write q_proj, k_proj and v_proj of `values` in place, from the model's math, all in FP32.

    normed = hidden / sqrt(mean(hidden^2) + EPS) * norm_weight for the real rows, 0 for the others; then
    normed @ weight for each projection.
    """
    for name, projected in _project(values, torch.float32).items():
        values[name].zero_()
        values[name][: projected.shape[0]] = projected


def exact(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The same in FP64, real rows only: q_proj [B, HIDDEN], k_proj and v_proj [B, KV_HIDDEN]. Changes nothing."""
    return _project(values, torch.float64)


def written(values: dict[str, Any], outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The real rows of the outputs, FP32: what `exact` computes."""
    batch = values["seq_lens"].numel()
    return {name: outputs[name][:batch] for name in PROJECTIONS}


def _project(values: dict[str, Any], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    layer, batch = int(values["layer_idx"]), values["seq_lens"].numel()
    normed = inputs.rms_norm(values["hidden_states"][:batch].to(dtype), values["norm_weight"][layer], EPS)
    rows = slice(layer * HIDDEN, (layer + 1) * HIDDEN)
    return {name: inputs.product(normed, values[weight][rows]) for name, (weight, _) in PROJECTIONS.items()}


def specs(
    batch: int = BATCH,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
    layers: int = 2,
    layer: int = 1,
) -> list[TensorSpec | ScalarSpec]:
    """Seeded inputs at the model's full shapes, one spec for each parameter of the stage's kernels.

    Hidden states have a standard deviation of 1, weights of 0.02 (norm weights: 0.25 around 1). Padding rows of
    the hidden states are NaN: nothing may come of them.

    Args:
        batch: Sequences, 1 to BATCH.
        ctx: Tokens of every sequence, or of each; this stage computes the same whatever they are.
        seed: Same seed, same tensors.
        layers, layer: Layers in the stacked weights, and the one that is computed.

    Raises:
        InputError: an argument out of its range.
    """
    seq_lens = inputs.lengths(batch, ctx)
    inputs.of_layers(layers, layer)
    fp32, bf16 = torch.float32, torch.bfloat16

    def weight(name: str, width: int) -> TensorSpec:
        return inputs.weight(seed, name, [layers * HIDDEN, width], std=0.02)

    return [
        inputs.normal(seed, "hidden_states", [BATCH, HIDDEN], bf16, batch=batch),
        inputs.normal(seed, "norm_weight", [layers, HIDDEN], fp32, mean=1.0, std=0.25),
        weight("wq", HIDDEN),
        weight("wk", KV_HIDDEN),
        weight("wv", KV_HIDDEN),
        TensorSpec("seq_lens", [batch], torch.int32, init_value=seq_lens),
        *(TensorSpec(name, [BATCH, width], fp32, is_output=True) for name, (_, width) in PROJECTIONS.items()),
        ScalarSpec("layer_idx", torch.int32, layer),
    ]


def check(values: dict[str, Any]) -> None:
    """Raise InputError, before anything is run, for values that this stage cannot be run on. Changes nothing.

    Checked: dtypes, shapes and that they fit together; 1 <= B <= BATCH; layer_idx.
    """
    tensors = {name: inputs.tensor(values, name, rank, dtype) for name, (rank, dtype) in _TENSORS.items()}
    inputs.batch_of(tensors["seq_lens"])
    _, layers = inputs.layer_of(values, tensors, "norm_weight")
    wanted = {"hidden_states": [BATCH, HIDDEN], "norm_weight": [layers, HIDDEN]}
    for name, (weight, width) in PROJECTIONS.items():
        wanted[weight] = [layers * HIDDEN, width]
        wanted[name] = [BATCH, width]
    inputs.shapes(tensors, wanted)


_TENSORS: dict[str, tuple[int, torch.dtype]] = {
    "hidden_states": (2, torch.bfloat16),
    "norm_weight": (2, torch.float32),
    "wq": (2, torch.bfloat16),
    "wk": (2, torch.bfloat16),
    "wv": (2, torch.bfloat16),
    "seq_lens": (1, torch.int32),
    "q_proj": (2, torch.float32),
    "k_proj": (2, torch.float32),
    "v_proj": (2, torch.float32),
}
