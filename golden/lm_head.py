"""Stage lm_head: final RMSNorm of one decode step, logits over the vocabulary, and the greedy token of each row.

The values of a run, by name; B sequences (1 to BATCH):

    hidden_states   [BATCH, HIDDEN] BF16            rows from B on are padding
    norm_weight     [1, HIDDEN] FP32
    lm_head_weight  [VOCAB_PADDED, HIDDEN] BF16     a row for each token; rows from VOCAB on are padding
    seq_lens        [B] INT32                       only how many there are is used
    logits          [B, VOCAB_PADDED] FP32, output
    tokens          [B] INT32, output
    chunks          INT32                           chunks of VOCAB_CHUNK columns that are computed, see MODES

Logits of the columns that are not computed are zero. A token is the first column of the greatest logit among
those computed that are no padding; 0 if none are computed. The math is that of Qwen3's final norm and LM head;
tests/test_golden_lm_head.py holds it against the code of Hugging Face transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from golden import inputs
from golden.compare import Comparator, Tolerance, close
from golden.spec import ScalarSpec, TensorSpec
from helpers.errors import InputError
from kernels.qwen3 import BATCH, EPS, HIDDEN, VOCAB, VOCAB_PADDED

STAGE = {
    "order": 6,
    "title": "Final RMSNorm, LM head and the greedy token (decode)",
    "notebook": "04_lm_head",
    "versions": {
        "narrow": {
            "NARROW_N": ("columns of a tile", (32, 64, 128, 256)),
            "NARROW_K": ("step of K", (64, 128, 256, 512, 1024)),
        },
        "wide": {
            "WIDE_CHUNKS": ("chunks of a task", (1, 2, 3, 4, 6, 9, 12)),
            "WIDE_K": ("step of K", (64, 128, 256, 512, 1024)),
        },
    },
    "changes": {
        "wide": {
            "tiles of 256 columns": ({"NARROW_N": 256}, None),
            "steps of 512 of K": ({"NARROW_K": 512}, {"WIDE_K": 256}),
        },
    },
    "context": False,
    "small": {"batch": 2, "mode": "single"},
}

VOCAB_CHUNK = 256
CHUNKS = VOCAB_PADDED // VOCAB_CHUNK

MODES = {"full": CHUNKS, "single": 1, "skip": 0}
"""`chunks` of each mode: all logits, those of the first chunk, none."""

# The golden rounds nothing; a kernel hands the cube BF16, so it rounds the normed row once. BF16 has 8 significant
# bits: a relative error of at most 2^-8 an element, 1.6e-3 in the root mean square. A logit is a sum of 5120
# products of such elements, about 1 in size, with weights of 0.02 (see `specs`): its error is about
# 1.6e-3 * 0.02 * sqrt(5120) = 2.3e-3, and the largest of 16 * 151936 is that times 5.2, or 1.2e-2.
# 2^-6 = 1.6e-2 leaves room for other seeds. FP32 sums in another order add 1e-6.
TOLERANCE = Tolerance(rtol=0.0, atol=2.0**-6, text="BF16 activations")


def greedy_tokens(atol: float = TOLERANCE.atol) -> Comparator:
    """For `tokens`: each is where the kernel's own logits are greatest, and as good as the golden's choice.

    Two logits closer than the tolerance may change places, and then another token than the golden's is right.
    """

    def comparator(actual: torch.Tensor, expected: torch.Tensor, **run: Any) -> tuple[bool, str]:
        width = _columns(int(run["inputs"]["chunks"]))
        if width == 0:
            return bool((actual == 0).all()), f"tokens {actual.tolist()} of no logits: must be 0"
        outside = ((actual < 0) | (actual >= width)).nonzero().flatten().tolist()
        if outside:
            return False, f"token of sequence {outside[0]} is {int(actual[outside[0]])}: must be 0 to {width - 1}"
        own = run["actual_outputs"]["logits"][:, :width]
        golden = run["expected_outputs"]["logits"][:, :width]
        at = actual.long()[:, None]
        wrong = own.gather(1, at)[:, 0] != own.amax(1)
        worse = golden.gather(1, at)[:, 0] < golden.amax(1) - 2 * atol
        for b in (wrong | worse).nonzero().flatten().tolist():
            return False, (
                f"token of sequence {b} is {int(actual[b])} with logit {own[b, int(actual[b])].item():.6g}, the "
                f"greatest is {own[b].amax().item():.6g} at {int(own[b].argmax())}; golden {int(expected[b])}"
            )
        return True, ""

    comparator.__name__ = "greedy tokens"
    return comparator


COMPARE_FN: dict[str, Comparator] = {
    "logits": close(TOLERANCE.rtol, TOLERANCE.atol),
    "tokens": greedy_tokens(),
}
"""The comparator of each output, for `golden.run_jit(compare_fn=...)`."""


def reference(values: dict[str, Any]) -> None:
    """Write logits and tokens of `values` in place, from the model's math, all in FP32."""
    store(values, _head(values, torch.float32))


def exact(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The computed logits in FP64, [B, chunks * VOCAB_CHUNK]. Changes nothing."""
    return {"logits": _head(values, torch.float64)}


def written(values: dict[str, Any], outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The computed logits, FP32: what `exact` computes."""
    return {"logits": outputs["logits"][:, : int(values["chunks"]) * VOCAB_CHUNK]}


def _head(values: dict[str, Any], dtype: torch.dtype) -> torch.Tensor:
    """Logits of the computed chunks, [B, chunks * VOCAB_CHUNK] in `dtype`."""
    hidden = values["hidden_states"][: values["seq_lens"].numel()].to(dtype)
    return head(hidden, values["norm_weight"][0], values["lm_head_weight"], int(values["chunks"]))


def head(hidden: torch.Tensor, norm_weight: torch.Tensor, weight: torch.Tensor, chunks: int) -> torch.Tensor:
    """Logits [B, chunks * VOCAB_CHUNK] of hidden [B, H], in its dtype; the weight [tokens, H] is widened in parts."""
    columns = chunks * VOCAB_CHUNK
    normed = inputs.rms_norm(hidden, norm_weight, EPS)
    logits = normed.new_empty(len(normed), columns)
    for first in range(0, columns, VOCAB_CHUNK):
        part = slice(first, first + VOCAB_CHUNK)
        torch.matmul(normed, weight[part].to(normed.dtype).T, out=logits[:, part])
    return logits


def store(values: dict[str, Any], computed: torch.Tensor) -> None:
    """Write `computed`, what `head` gives, to logits, and the greedy tokens of it to tokens."""
    values["logits"].zero_()
    values["logits"][:, : computed.shape[1]] = computed
    values["tokens"].zero_()
    width = _columns(int(values["chunks"]))
    if width:
        values["tokens"].copy_(computed[:, :width].argmax(1))


def _columns(chunks: int) -> int:
    """Columns of the first `chunks` chunks that are no padding."""
    return min(chunks * VOCAB_CHUNK, VOCAB)


def chunks_of(mode: str | int) -> int:
    """`chunks` of a mode, or of a number of chunks.

    Raises:
        InputError: no such mode, or more chunks than there are.
    """
    if isinstance(mode, int) and not isinstance(mode, bool) and 0 <= mode <= CHUNKS:
        return mode
    if mode not in MODES:
        raise InputError(f"unknown mode {mode!r}; there are: {', '.join(MODES)}, or 0 to {CHUNKS} chunks")
    return MODES[mode]


def specs(
    batch: int = BATCH,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
    mode: str | int = "full",
) -> list[TensorSpec | ScalarSpec]:
    """Seeded inputs at the model's full shapes, one spec for each parameter of the stage's kernels.

    Hidden states have a standard deviation of 1, weights of 0.02 (norm weights: 0.25 around 1). The weight's rows
    for padding begin with the hidden states themselves, so the greatest logit of every sequence is one of padding,
    and a kernel that does not leave those out chooses it.
    Rows of the weight that the mode does not compute are zero. Padding rows of the hidden states are NaN.

    Args:
        batch: Sequences, 1 to BATCH.
        ctx: Tokens of every sequence, or of each; this stage computes the same whatever they are.
        seed: Same seed, same tensors.
        mode: A name in MODES. The weight has 1.56 GB, of which the others than "full" touch little.

    Raises:
        InputError: an argument out of its range.
    """
    seq_lens = inputs.lengths(batch, ctx)
    chunks = chunks_of(mode)
    fp32, bf16 = torch.float32, torch.bfloat16
    hidden_states = inputs.normal(seed, "hidden_states", [BATCH, HIDDEN], bf16, batch=batch)

    def fill(weight: torch.Tensor) -> None:
        computed = weight[: chunks * VOCAB_CHUNK]
        inputs.draw_weight(computed, inputs.generator(seed, "lm_head_weight"), 0.02)
        padding = computed[VOCAB:]
        padding[:batch] = hidden_states.create_tensor()[:batch][: len(padding)] * 0.02

    return [
        hidden_states,
        inputs.normal(seed, "norm_weight", [1, HIDDEN], fp32, mean=1.0, std=0.25),
        TensorSpec("lm_head_weight", [VOCAB_PADDED, HIDDEN], bf16, fill=fill),
        TensorSpec("seq_lens", [batch], torch.int32, init_value=seq_lens),
        TensorSpec("logits", [batch, VOCAB_PADDED], fp32, is_output=True),
        TensorSpec("tokens", [batch], torch.int32, is_output=True),
        ScalarSpec("chunks", torch.int32, chunks),
    ]


def check(values: dict[str, Any]) -> None:
    """Raise InputError, before anything is run, for values that this stage cannot be run on. Changes nothing.

    Checked: dtypes, shapes and that they fit together; 1 <= B <= BATCH; 0 <= chunks <= CHUNKS.
    """
    check_head(values, "norm_weight")


def check_head(values: dict[str, Any], norm_weight: str) -> None:
    """The work of `check`, for values in which the norm's weight has this name."""
    names = {norm_weight if name == "norm_weight" else name: what for name, what in _TENSORS.items()}
    tensors = {name: inputs.tensor(values, name, rank, dtype) for name, (rank, dtype) in names.items()}
    batch = inputs.batch_of(tensors["seq_lens"])
    wanted = {
        "hidden_states": [BATCH, HIDDEN],
        norm_weight: [1, HIDDEN],
        "lm_head_weight": [VOCAB_PADDED, HIDDEN],
        "logits": [batch, VOCAB_PADDED],
        "tokens": [batch],
    }
    inputs.shapes(tensors, wanted)
    inputs.integer(values, "chunks", CHUNKS + 1, f"the vocabulary has {CHUNKS} chunks of {VOCAB_CHUNK}")


_TENSORS: dict[str, tuple[int, torch.dtype]] = {
    "hidden_states": (2, torch.bfloat16),
    "norm_weight": (2, torch.float32),
    "lm_head_weight": (2, torch.bfloat16),
    "seq_lens": (1, torch.int32),
    "logits": (2, torch.float32),
    "tokens": (1, torch.int32),
}
