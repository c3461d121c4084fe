"""Stage mlp: what a decoder layer does after its attention, one decode step ("scope 3").

The values of a run, by name; B sequences (1 to BATCH), L layers, H hidden width, I intermediate width:

    attn_out        [BATCH, H] BF16      output of the attention; rows from B on are padding, here as below
    hidden_states   [BATCH, H] BF16      input of the layer, the first residual
    norm_weight     [L, H] FP32          of the post-attention RMSNorm
    wo              [L * H, H] BF16      input features are rows, one layer after the other, here as below
    w_gate, w_up    [L * H, I] BF16
    w_down          [L * I, H] BF16
    seq_lens        [B] INT32            only how many there are is used
    out             [BATCH, H] BF16, output; rows from B on become zero
    layer_idx       INT32

The math is that of Qwen3's decoder layer; tests/test_golden_mlp.py holds it against the code of Hugging Face
transformers. Widths are those of the tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import silu

from golden import inputs
from golden.compare import Tolerance
from golden.spec import ScalarSpec, TensorSpec
from kernels import qwen3
from kernels.qwen3 import BATCH, EPS

STAGE = (
    {
        "order": 4,
        "title": "Output projection, RMSNorm, SwiGLU MLP, down projection, residuals (decode)",
        "notebook": "03_swiglu_mlp",
        "versions": {
            "partial_products": {
                "TILE_N": ("columns of a tile", (32, 64, 128)),
                "TILE_K": ("step of K", (64, 128, 256, 512)),
            },
            "accumulate": {
                "TILE_N": ("columns of a tile", (32, 64, 128)),
                "TILE_K": ("step of K", (64, 128, 256, 512)),
            },
            "mixed": {
                "WIDE_N": ("columns of a block", (64, 128, 256, 512, 1024)),
                "WIDE_K": ("step of K", (64, 128, 256, 512, 1024)),
                "MIXED_K": ("step of K, gate and up", (32, 64, 128, 256, 512)),
            },
        },
        "changes": {
            "mixed": {
                "tiles of 256 columns": ({"TILE_N": 256, "TILE_K": 256}, {"WIDE_N": 64}),
                "loads run ahead": ({"stages": 2}, {"stages": 1}),
            },
        },
        "context": False,
        "small": {"batch": 2, "hidden": 512, "inter": 512},
    },
    {
        "name": "mlp_32b",
        "order": 5,
        "title": "The same at the width of pull request 90: hidden 8192, intermediate 25600",
        "specs": {"hidden": "kernels.qwen3_32b.HIDDEN", "inter": "kernels.qwen3_32b.INTERMEDIATE"},
        "tolerance": "TOLERANCE_32B",
    },
)

# The golden rounds its result to BF16 and nothing else. A kernel also rounds the normed row and mlp, which the cube
# multiplies. BF16 has 8 significant bits: a relative error of at most 2^-8 an element, 1.6e-3 in the root mean square.
# With activations of size 1 and weights of 0.02 (see `specs`), at Qwen3-14B's widths:
#   gate and up, sums of 5120, are 1.5 in size with an error of 1.6e-3 * 0.02 * sqrt(5120) = 2.3e-3;
#   mlp, 1.4 in size, has 3.2e-3 from them and 2.2e-3 from its own rounding, together 3.9e-3;
#   the down projection, a sum of 17408, makes that 0.02 * sqrt(17408) * 3.9e-3 = 1.0e-2;
#   the largest of 16 * 5120 is 4.6 times that: 4.7e-2. atol = 2^-4 = 6.2e-2.
# At the 32B shape sums are longer: 3.0e-3, 6.7e-3, 2.1e-2, the largest 0.1; atol = 2^-3 = 0.125.
# rtol: two values that close may round to neighbours in BF16; one ULP is at most 2^-7 of the value.
TOLERANCE = Tolerance(rtol=2.0**-7, atol=2.0**-4, text="BF16 activations")
TOLERANCE_32B = Tolerance(rtol=2.0**-7, atol=2.0**-3, text="BF16 activations")


def reference(values: dict[str, Any]) -> None:
    """Write `out` of `values` in place, from the model's math, in FP32 until it is rounded to BF16 at the end."""
    result = _layer_end(values, torch.float32)
    values["out"].zero_()
    values["out"][: result.shape[0]] = result.to(torch.bfloat16)


def exact(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The same in FP64 and not rounded, real rows only: out [B, H]. Changes nothing."""
    return {"out": _layer_end(values, torch.float64)}


def written(values: dict[str, Any], outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The real rows of `out`, BF16: what `exact` computes."""
    return {"out": outputs["out"][: values["seq_lens"].numel()]}


def _layer_end(values: dict[str, Any], dtype: torch.dtype) -> torch.Tensor:
    """[B, H] in `dtype`: the residual after the output projection, plus the MLP of its RMSNorm."""
    layer, batch = int(values["layer_idx"]), values["seq_lens"].numel()
    inter, hidden = values["w_gate"].shape[1], values["wo"].shape[1]
    rows = slice(layer * hidden, (layer + 1) * hidden)
    resid = values["hidden_states"][:batch].to(dtype)
    resid = resid + inputs.product(values["attn_out"][:batch].to(dtype), values["wo"][rows])
    normed = inputs.rms_norm(resid, values["norm_weight"][layer], EPS)
    activated = silu(inputs.product(normed, values["w_gate"][rows])) * inputs.product(normed, values["w_up"][rows])
    return resid + inputs.product(activated, values["w_down"][layer * inter : (layer + 1) * inter])


def specs(
    batch: int = BATCH,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
    layers: int = 1,
    layer: int = 0,
    hidden: int = qwen3.HIDDEN,
    inter: int = qwen3.INTERMEDIATE,
) -> list[TensorSpec | ScalarSpec]:
    """Seeded inputs, at Qwen3-14B's widths unless others are given; one spec for each parameter of the kernels.

    Both activations have a standard deviation of 1, weights of 0.02 (norm weights: 0.25 around 1). Padding rows
    of the activations are NaN: nothing may come of them.

    Args:
        batch: Sequences, 1 to BATCH.
        ctx: Tokens of every sequence, or of each; this stage computes the same whatever they are.
        seed: Same seed, same tensors.
        layers, layer: Layers in the stacked weights, and the one that is computed. A layer of Qwen3-14B has 0.6 GB.
        hidden, inter: Widths in elements, multiples of 512 and 256.

    Raises:
        InputError: an argument out of its range.
    """
    seq_lens = inputs.lengths(batch, ctx)
    inputs.of_layers(layers, layer)
    inputs.check_widths(hidden, inter)
    bf16 = torch.bfloat16

    def rows(name: str) -> TensorSpec:
        return inputs.normal(seed, name, [BATCH, hidden], bf16, batch=batch)

    def weight(name: str, rows: int, width: int) -> TensorSpec:
        return inputs.weight(seed, name, [layers * rows, width], std=0.02)

    return [
        rows("attn_out"),
        rows("hidden_states"),
        inputs.normal(seed, "norm_weight", [layers, hidden], torch.float32, mean=1.0, std=0.25),
        weight("wo", hidden, hidden),
        weight("w_gate", hidden, inter),
        weight("w_up", hidden, inter),
        weight("w_down", inter, hidden),
        TensorSpec("seq_lens", [batch], torch.int32, init_value=seq_lens),
        TensorSpec("out", [BATCH, hidden], bf16, is_output=True),
        ScalarSpec("layer_idx", torch.int32, layer),
    ]


def check(values: dict[str, Any]) -> None:
    """Raise InputError, before anything is run, for values that this stage cannot be run on. Changes nothing.

    Checked: dtypes, shapes and that they fit together; widths that the tiles divide; 1 <= B <= BATCH; layer_idx.
    """
    tensors = {name: inputs.tensor(values, name, rank, dtype) for name, (rank, dtype) in _TENSORS.items()}
    inputs.batch_of(tensors["seq_lens"])
    _, layers = inputs.layer_of(values, tensors, "norm_weight")
    hidden, inter = tensors["norm_weight"].shape[1], tensors["w_gate"].shape[1]
    inputs.check_widths(hidden, inter)
    wanted = {
        "attn_out": [BATCH, hidden],
        "hidden_states": [BATCH, hidden],
        "wo": [layers * hidden, hidden],
        "w_gate": [layers * hidden, inter],
        "w_up": [layers * hidden, inter],
        "w_down": [layers * inter, hidden],
        "out": [BATCH, hidden],
    }
    inputs.shapes(tensors, wanted)


_TENSORS: dict[str, tuple[int, torch.dtype]] = {
    "attn_out": (2, torch.bfloat16),
    "hidden_states": (2, torch.bfloat16),
    "norm_weight": (2, torch.float32),
    "wo": (2, torch.bfloat16),
    "w_gate": (2, torch.bfloat16),
    "w_up": (2, torch.bfloat16),
    "w_down": (2, torch.bfloat16),
    "seq_lens": (1, torch.int32),
    "out": (2, torch.bfloat16),
}
