"""Stage decode: a decode step of the model, all its layers, logits and greedy tokens; and steps one after the other.

The values of a run are those of stage decode_layer (see golden.decode_layer), its layers all computed, with these in
place of `out` and `layer_idx`:

    final_norm_weight   [1, HIDDEN] FP32
    lm_head_weight      [VOCAB_PADDED, HIDDEN] BF16     these and the next three as in golden.lm_head
    logits              [B, VOCAB_PADDED] FP32, output
    tokens              [B] INT32, output
    chunks              INT32                           see golden.lm_head.MODES

`generate` feeds the tokens of one step back into the next one. The math is that of Qwen3;
tests/test_golden_decode.py holds it against the code of Hugging Face transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from golden import decode_layer, inputs, lm_head, rope_kv_cache
from golden.compare import Comparator, Tolerance, addressed_rows, close
from golden.spec import ScalarSpec, TensorSpec
from helpers.errors import InputError
from kernels.qwen3 import BATCH, HIDDEN, INTERMEDIATE, MAX_CTX, MAX_PAGES, PAGE, VOCAB, VOCAB_PADDED

STAGE = {
    "order": 8,
    "title": "Two decoder layers, the LM head and the greedy token (decode)",
    "notebook": "05_decode_layer",
    "versions": {
        "naive": {},
        "fused": {
            "qkv_proj.SPLITS": "split_k",
            "flash_attention.RUN": "fused",
            "mlp.WIDE_N": "mixed",
            "mlp.WIDE_K": "mixed",
            "lm_head.WIDE_CHUNKS": "wide",
        },
    },
    "small": {"batch": 1, "ctx": 1, "layers": 1, "mode": "single", "inter": 512},
}

Values = dict[str, Any]

# For two layers. What golden.decode_layer says of the first one goes on: its out, 4.4 in size, has an error of 1.55e-2,
# with its rounding 1.7e-2, or 3.8e-3 of itself; normed and rounded 4.1e-3. In the second layer
#   q, k and v have 1.4 times that, 5.9e-3; the largest of 16 * 1024 is 4.2 times that, 2.5e-2; two versions that round
#   in different places are sqrt(2) times that apart, 3.5e-2, and are held against each other, too: 3 * 2^-6 = 4.7e-2;
#   the attention's output has 6.4e-3; the residual, 4.9 in size, 1.9e-2, or 3.9e-3 of itself; normed 4.2e-3;
#   gate and up have 6.2e-3, mlp 9.0e-3; out, 6.1 in size, 3.0e-2, or 5.0e-3 of itself; normed and rounded 5.5e-3.
# A logit has 1.4 times that, 8e-3. The largest of 16 * 152064 is 5.2 times that: 4.2e-2. atol = 2^-4 = 6.2e-2.
# More layers have larger errors.
TOLERANCE = Tolerance(rtol=0.0, atol=2.0**-4, text="BF16 activations")
"""Of logits."""

CACHE_TOLERANCE = Tolerance(rtol=2.0**-7, atol=3 * 2.0**-6, text="BF16 activations")
"""Of the rows written to the caches."""


def addressed(values: Values, cache_rows: int) -> torch.Tensor:
    """Rows of a cache that this step writes, of all layers: INT64 [L, B, KV_HEADS]."""
    layers = range(values["q_norm_weight"].shape[0])
    return torch.stack([rope_kv_cache.addressed(values, cache_rows, layer) for layer in layers])


COMPARE_FN: dict[str, Comparator] = {
    **{
        name: addressed_rows(addressed, close(CACHE_TOLERANCE.rtol, CACHE_TOLERANCE.atol))
        for name in ("k_cache", "v_cache")
    },
    "logits": close(TOLERANCE.rtol, TOLERANCE.atol),
    "tokens": lm_head.greedy_tokens(TOLERANCE.atol),
}
"""The comparator of each output, for `golden.run_jit(compare_fn=...)`."""


def reference(values: Values) -> None:
    """Write the caches, logits and tokens of `values` in place, from the model's math.

    All in FP32; only what is stored is rounded to BF16: the new rows of the caches, and what a layer hands the next.
    """
    hidden = values["hidden_states"][: values["seq_lens"].numel()].float()
    for layer in range(values["q_norm_weight"].shape[0]):
        hidden = decode_layer.step(values, hidden, layer).to(torch.bfloat16).float()
    lm_head.store(values, _logits(values, hidden))


def exact(values: Values) -> dict[str, torch.Tensor]:
    """The computed logits if nothing were rounded, in FP64: [B, chunks * VOCAB_CHUNK]. Changes nothing."""
    hidden = values["hidden_states"][: values["seq_lens"].numel()].double()
    for layer in range(values["q_norm_weight"].shape[0]):
        attended = decode_layer.attend(values, *decode_layer.project(values, hidden, layer), layer)
        hidden = decode_layer.finish(values, hidden, attended, layer)
    return {"logits": _logits(values, hidden)}


def written(values: Values, outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The computed logits, FP32: what `exact` computes."""
    return lm_head.written(values, outputs)


def _logits(values: Values, hidden: torch.Tensor) -> torch.Tensor:
    return lm_head.head(hidden, values["final_norm_weight"][0], values["lm_head_weight"], int(values["chunks"]))


def specs(
    batch: int = BATCH,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
    layers: int = 2,
    mode: str | int = "full",
    ahead: int = 0,
    spare_pages: int = 8,
    inter: int = INTERMEDIATE,
) -> list[TensorSpec | ScalarSpec]:
    """Seeded inputs at the model's full shapes, one spec for each parameter of the stage's kernels.

    They are as in golden.decode_layer.specs and golden.lm_head.specs.

    Args:
        batch: Sequences, 1 to BATCH.
        ctx: Length of every sequence, or of each; the new token included. None: ragged, 1 to MAX_CTX - ahead.
        seed: Same seed, same tensors.
        layers: Layers of the model. One has 0.66 GB of weights.
        mode: A name in golden.lm_head.MODES. The LM head's weight has 1.56 GB, of which "single" and "skip" touch
            little. Or a number of chunks.
        ahead: Steps that are to follow this one, for which there are pages.
        spare_pages: Pages that no sequence owns.
        inter: Width of the MLP in elements, a multiple of 256.

    Raises:
        InputError: an argument out of its range.
    """
    inputs.of_layers(layers, 0)
    chunks = lm_head.chunks_of(mode)

    def fill(weight: torch.Tensor) -> None:
        inputs.draw(weight[: chunks * lm_head.VOCAB_CHUNK], inputs.generator(seed, "lm_head_weight"), 0.0, 0.02)

    return [
        *decode_layer.layer_specs(batch, ctx, seed, layers, spare_pages, ahead, inter),
        inputs.normal(seed, "final_norm_weight", [1, HIDDEN], torch.float32, mean=1.0, std=0.25),
        TensorSpec("lm_head_weight", [VOCAB_PADDED, HIDDEN], torch.bfloat16, fill=fill),
        TensorSpec("logits", [batch, VOCAB_PADDED], torch.float32, is_output=True),
        TensorSpec("tokens", [batch], torch.int32, is_output=True),
        ScalarSpec("chunks", torch.int32, chunks),
    ]


def check(values: Values) -> None:
    """Raise InputError, before anything is run, for values that this stage cannot be run on. Changes nothing.

    Checked: what golden.decode_layer.check_layers and golden.lm_head.check check.
    """
    decode_layer.check_layers(values)
    lm_head.check_head(values, "final_norm_weight")


def one_layer(values: Values, layer: int) -> Values:
    """The values of stage decode_layer for one layer of these: what it writes is copied, the rest is shared."""
    names = [spec.name for spec in decode_layer.specs(1, 1)]
    written = {name: values[name].clone() for name in ("k_cache", "v_cache")}
    out = torch.zeros([BATCH, values["hidden_states"].shape[1]], dtype=torch.bfloat16)
    return {name: values.get(name) for name in names} | written | {"out": out, "layer_idx": layer}


# Steps one after the other.


@dataclass(frozen=True)
class Generated:
    """Tokens of several steps.

    Attributes:
        tokens: INT32 [steps, B].
        margins: FP32 [steps, B], by how much a token's logit was above the second best; inf without logits.
    """

    tokens: torch.Tensor
    margins: torch.Tensor


def generate(
    values: Values,
    steps: int,
    step: Callable[[Values], Any],
    embed: Callable[[torch.Tensor], torch.Tensor],
    check: Callable[[Values], Any] = check,
) -> Generated:
    """Decode `steps` tokens of every sequence: run `step`, feed its tokens back, and so on.

    Args:
        values: The first step's, changed in place: caches, outputs, and from the second step on also hidden_states,
            seq_lens and slot_mapping. block_table must have the pages of all steps already (see `specs`, ahead).
        step: Runs one step in place: `reference`, or a kernel.
        embed: The rows of hidden_states [B, HIDDEN] of tokens [B].
        check: Raises for values that `step` cannot be run on; called with those of the first step.

    Raises:
        InputError: see `check`; fewer than 1 step; a sequence would outgrow its pages. Nothing has run.
    """
    check(values)
    check_steps(values, steps)
    batch, width = values["tokens"].numel(), min(int(values["chunks"]) * lm_head.VOCAB_CHUNK, VOCAB)
    tokens, margins = [], []
    for number in range(steps):
        if number:
            advance(values, embed(values["tokens"]))
        step(values)
        tokens.append(values["tokens"].clone())
        best = values["logits"][:, :width].topk(2).values if width else torch.tensor([[torch.inf, 0.0]] * batch)
        margins.append(best[:, 0] - best[:, 1])
    return Generated(torch.stack(tokens), torch.stack(margins))


def check_steps(values: Values, steps: int) -> None:
    """Raise InputError unless every sequence has room for `steps` tokens, the one of `values` included."""
    if steps < 1:
        raise InputError(f"steps is {steps}: must be 1 or more")
    table = values["block_table"].view(-1, MAX_PAGES).tolist()
    longest = min(MAX_CTX, values["rope_cos"].shape[0])
    taken: dict[int, int] = {}
    for b, length in enumerate(values["seq_lens"].tolist()):
        last = length + steps - 1
        if last > longest:
            raise InputError(f"sequence {b} has {length} tokens, and {last} after {steps} steps: at most {longest}")
        for p in range((length - 1) // PAGE, (last - 1) // PAGE + 1):
            page = table[b][p]
            if page < 0:
                raise InputError(
                    f"block_table[{b * MAX_PAGES + p}] (sequence {b}, page {p}) is {page}: {steps} steps need that page"
                )
            if page in taken:
                raise InputError(f"page {page} is written by sequences {taken[page]} and {b} within {steps} steps")
            taken[page] = b


def advance(values: Values, rows: torch.Tensor) -> None:
    """Make `values` those of the next step, in place: one token more in every sequence, its embeddings `rows`."""
    values["hidden_states"][: len(rows)] = rows
    values["seq_lens"] += 1
    table = values["block_table"].view(-1, MAX_PAGES)
    for b, length in enumerate(values["seq_lens"].tolist()):
        values["slot_mapping"][b] = int(table[b, (length - 1) // PAGE]) * PAGE + (length - 1) % PAGE


def random_embedding(seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Embeddings of standard deviation 1, BF16 [B, HIDDEN] for tokens [B]: a token has the same whenever it comes."""

    def embed(tokens: torch.Tensor) -> torch.Tensor:
        rows = [torch.randn(HIDDEN, generator=inputs.generator(seed, f"token {t}")) for t in tokens.tolist()]
        return torch.stack(rows).to(torch.bfloat16)

    return embed
