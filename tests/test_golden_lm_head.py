"""golden.lm_head: the reference against Hugging Face's final norm and LM head, the tokens, the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from golden import ScalarSpec, TensorSpec
from golden.compare import compare_outputs
from golden.lm_head import CHUNKS, COMPARE_FN, MODES, TOLERANCE, VOCAB_CHUNK, check, exact, reference, specs, written
from golden.spec import values_of
from helpers.errors import InputError
from kernels import lm_head as kernels
from kernels.qwen3 import BATCH, EPS, HIDDEN, VOCAB, VOCAB_PADDED

Values = dict[str, Any]


def make(*args: Any, **kwargs: Any) -> Values:
    """The values that `specs` describes."""
    return values_of(specs(*args, **kwargs))


@pytest.fixture(scope="module")
def values() -> Values:
    return make(7, seed=3, mode="single")


@torch.no_grad()
def test_reference_is_hugging_faces(values: Values) -> None:
    """Theirs in FP32 with a vocabulary of one chunk, on the same weights."""
    config = Qwen3Config(
        vocab_size=VOCAB_CHUNK,
        hidden_size=HIDDEN,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        rms_norm_eps=EPS,
        tie_word_embeddings=False,
    )
    theirs = Qwen3ForCausalLM(config)
    theirs.model.norm.weight.copy_(values["norm_weight"][0])
    theirs.lm_head.weight.copy_(values["lm_head_weight"][:VOCAB_CHUNK])
    expected = theirs.lm_head(theirs.model.norm(values["hidden_states"][:7].float()))
    reference(values)
    ours, unrounded = written(values, values)["logits"], exact(values)["logits"]
    assert torch.allclose(ours, expected, rtol=1e-5, atol=1e-5)
    assert torch.allclose(ours.double(), unrounded, rtol=1e-5, atol=1e-5)
    assert unrounded.dtype == torch.float64
    assert torch.equal(values["tokens"].long(), expected.argmax(-1))
    assert not values["logits"][:, VOCAB_CHUNK:].any()


def test_skip_leaves_zeros() -> None:
    values = make(2, mode="skip")
    values["logits"].fill_(torch.nan)
    values["tokens"].fill_(5)
    reference(values)
    assert not values["logits"].any()
    assert not values["tokens"].any()
    assert written(values, values)["logits"].shape == (2, 0)


def test_padding_columns_are_computed_and_never_chosen() -> None:
    values = make(3, mode="skip")
    values["chunks"] = CHUNKS
    values["lm_head_weight"][VOCAB:] = 0.02
    values["lm_head_weight"][VOCAB - 1] = 0.01
    values["hidden_states"][:3] = torch.tensor([1.0, 2.0, -1.0])[:, None]
    reference(values)
    assert (values["logits"][:2, VOCAB:] > values["logits"][:2, VOCAB - 1 : VOCAB]).all()
    assert values["tokens"].tolist() == [VOCAB - 1, VOCAB - 1, 0]


def test_the_kernels_have_the_same_chunks() -> None:
    assert (kernels.VOCAB_CHUNK, kernels.CHUNKS) == (VOCAB_CHUNK, CHUNKS)
    assert MODES == {"full": 594, "single": 1, "skip": 0}
    assert CHUNKS * VOCAB_CHUNK == VOCAB_PADDED


def judged(values: Values, change: Callable[[Values], None]) -> set[str]:
    """The outputs that fail when they are the reference's but for one change."""
    reference(values)
    outputs = {name: values[name].clone() for name in COMPARE_FN}
    change(outputs)
    inputs = {name: torch.as_tensor(v) for name, v in values.items() if name not in COMPARE_FN}
    return set(compare_outputs(outputs, values, compare_fn=COMPARE_FN, inputs=inputs)[1])


def second(outputs: Values, gap: float) -> None:
    """Sequence 0's second best logit raised to `gap` above the best, and chosen."""
    best, place = outputs["logits"][0].topk(2)
    outputs["logits"][0, place[1]] = best[0] + gap
    outputs["tokens"][0] = int(place[1])


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (lambda outputs: None, set()),
        (lambda outputs: outputs["logits"].add_(TOLERANCE.atol / 2), set()),
        (lambda outputs: outputs["logits"][3, 9].add_(2 * TOLERANCE.atol), {"logits"}),
        (lambda outputs: outputs["logits"][0, -1].add_(1.0), {"logits"}),
        (lambda outputs: outputs["tokens"][2].add_(1), {"tokens"}),
        (lambda outputs: outputs["tokens"][2].fill_(-1), {"tokens"}),
        (lambda outputs: outputs["tokens"][2].fill_(VOCAB_CHUNK), {"tokens"}),
        (lambda outputs: second(outputs, 0.25), {"logits", "tokens"}),
        (lambda outputs: second(outputs, -0.25), {"logits", "tokens"}),
    ],
)
def test_a_token_must_be_the_best_of_the_kernels_logits(values: Values, change: Callable, failing: set[str]) -> None:
    assert judged(values, change) == failing


def test_of_two_logits_within_the_tolerance_either_is_right() -> None:
    values = make(1, mode="single", seed=9)
    values["lm_head_weight"][11] = values["lm_head_weight"][200] = values["hidden_states"][0] * 0.02

    def other(outputs: Values) -> None:
        outputs["logits"][0, 200] += TOLERANCE.atol / 2
        outputs["tokens"][0] = 200

    assert judged(values, other) == set()
    assert values["tokens"].tolist() == [11]  # of equal ones the first


def test_specs_are_the_stages_parameters_at_full_shapes() -> None:
    described = {s.name: (tuple(s.shape), s.dtype, s.is_output) for s in specs(5) if isinstance(s, TensorSpec)}
    fp32, int32, bf16 = torch.float32, torch.int32, torch.bfloat16
    assert described == {
        "hidden_states": ((BATCH, HIDDEN), bf16, False),
        "norm_weight": ((1, HIDDEN), fp32, False),
        "lm_head_weight": ((VOCAB_PADDED, HIDDEN), bf16, False),
        "seq_lens": ((5,), int32, False),
        "logits": ((5, VOCAB_PADDED), fp32, True),
        "tokens": ((5,), int32, True),
    }
    for mode, chunks in MODES.items():
        last = specs(mode=mode)[-1]
        assert isinstance(last, ScalarSpec)
        assert (last.name, last.to_python()) == ("chunks", chunks)


def test_inputs_are_seeded_and_padding_is_nan(values: Values) -> None:
    check(values)
    assert torch.isnan(values["hidden_states"][7:]).all()
    same = make(7, seed=3, mode="single")
    assert torch.equal(same["lm_head_weight"][:VOCAB_CHUNK], values["lm_head_weight"][:VOCAB_CHUNK])
    assert not values["lm_head_weight"][VOCAB_CHUNK : 2 * VOCAB_CHUNK].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"batch": 0}, "batch is 0"), ({"batch": 17}, "batch is 17"), ({"mode": "most"}, "unknown mode 'most'.*skip")],
)
def test_impossible_inputs_are_not_built(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        specs(**arguments)


def replace(name: str, other: Callable[[Any], Any]) -> Callable[[Values], Values]:
    return lambda values: {**values, name: other(values[name])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace("chunks", lambda _: 595), "chunks is 595: must be 0 to 594, the vocabulary has 594 chunks of 256"),
        (replace("chunks", lambda _: -1), "chunks is -1"),
        (replace("chunks", lambda _: None), "chunks must be an integer"),
        (replace("seq_lens", lambda s: s[:0]), "seq_lens has 0 sequences"),
        (replace("seq_lens", lambda s: s.repeat(3)), "seq_lens has 21 sequences"),
        (replace("seq_lens", lambda s: s[:3]), r"logits has shape \[7, 152064\]: must be \[3, 152064\]"),
        (replace("tokens", lambda t: t[:3]), r"tokens has shape \[3\]: must be \[7\]"),
        (replace("tokens", lambda t: t.long()), "tokens has dtype"),
        (replace("logits", lambda o: o[:, :VOCAB].contiguous()), "logits has shape"),
        (replace("lm_head_weight", lambda w: w[:VOCAB]), "lm_head_weight has shape"),
        (replace("lm_head_weight", lambda w: w.T), "lm_head_weight is not contiguous"),
        (replace("hidden_states", lambda h: h[:7]), "hidden_states has shape"),
        (replace("norm_weight", lambda w: w[0]), "norm_weight.*2 dimensions"),
    ],
)
def test_bad_values_are_refused(values: Values, change: Callable[[Values], Values], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(change(values))
