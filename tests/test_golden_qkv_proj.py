"""golden.qkv_proj: the reference against Hugging Face's input norm and projections, and the inputs it is run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention, Qwen3RMSNorm

from golden import ScalarSpec, TensorSpec
from golden.qkv_proj import PROJECTIONS, TOLERANCE, check, exact, reference, specs, written
from golden.spec import values_of
from helpers.errors import InputError
from kernels.qwen3 import BATCH, EPS, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, KV_HIDDEN

Values = dict[str, Any]


def make(*args: Any, **kwargs: Any) -> Values:
    """The values that `specs` describes."""
    return values_of(specs(*args, **kwargs))


@pytest.fixture(scope="module")
def values() -> Values:
    return make(7, seed=3)


@torch.no_grad()
def test_reference_is_hugging_faces(values: Values) -> None:
    """Theirs in FP32 on the same weights: no rounding on either side."""
    config = Qwen3Config(
        hidden_size=HIDDEN, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, rms_norm_eps=EPS
    )
    attention, norm = Qwen3Attention(config, layer_idx=0), Qwen3RMSNorm(HIDDEN, EPS)
    norm.weight.copy_(values["norm_weight"][1])
    for name, (weight, _) in PROJECTIONS.items():
        getattr(attention, name).weight.copy_(values[weight][HIDDEN:].T)
    normed = norm(values["hidden_states"][:7].float())
    reference(values)
    unrounded = exact(values)
    for name, ours in written(values, values).items():
        theirs = getattr(attention, name)(normed)
        assert ours.dtype == torch.float32
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5), name
        assert unrounded[name].dtype == torch.float64
        assert torch.allclose(ours.double(), unrounded[name], rtol=1e-5, atol=1e-5), name
        assert theirs.std() > 0.5


def test_rows_beyond_the_batch_become_zero_and_inputs_stay() -> None:
    values = make(2, seed=1, layers=1, layer=0)
    before = {name: v.clone() for name, v in values.items() if isinstance(v, torch.Tensor)}
    for name in PROJECTIONS:
        values[name].fill_(torch.nan)
    reference(values)
    for name, old in before.items():
        if name in PROJECTIONS:
            assert torch.equal(values[name][2:], torch.zeros_like(values[name][2:]))
            assert torch.isfinite(values[name]).all()
        else:
            assert torch.equal(values[name].view(torch.int16), old.view(torch.int16)), name


@pytest.mark.parametrize("deferred", [False, True])
def test_the_tolerance_is_what_rounding_the_activations_costs(values: Values, deferred: bool) -> None:
    """BF16 at either place is within it, on every element, and needs more than half of it."""
    reference(values)
    x = values["hidden_states"][:7].double()
    scale = torch.rsqrt(x.square().mean(1, keepdim=True) + EPS)
    weighted = x * values["norm_weight"][1]
    rounded = weighted.bfloat16().double() * scale if deferred else (weighted * scale).bfloat16().double()
    error = max(
        float((rounded @ values[weight][HIDDEN:].double() - values[name][:7]).abs().max())
        for name, (weight, _) in PROJECTIONS.items()
    )
    assert TOLERANCE.atol / 2 < error <= TOLERANCE.atol
    assert TOLERANCE.rtol == 0


def test_specs_are_the_stages_parameters_at_full_shapes() -> None:
    described = {s.name: (tuple(s.shape), s.dtype, s.is_output) for s in specs(9) if isinstance(s, TensorSpec)}
    fp32, bf16 = torch.float32, torch.bfloat16
    assert described == {
        "hidden_states": ((BATCH, HIDDEN), bf16, False),
        "norm_weight": ((2, HIDDEN), fp32, False),
        "wq": ((2 * HIDDEN, HIDDEN), bf16, False),
        "wk": ((2 * HIDDEN, KV_HIDDEN), bf16, False),
        "wv": ((2 * HIDDEN, KV_HIDDEN), bf16, False),
        "seq_lens": ((9,), torch.int32, False),
        "q_proj": ((BATCH, HIDDEN), fp32, True),
        "k_proj": ((BATCH, KV_HIDDEN), fp32, True),
        "v_proj": ((BATCH, KV_HIDDEN), fp32, True),
    }
    last = specs()[-1]
    assert isinstance(last, ScalarSpec)
    assert (last.name, last.to_python()) == ("layer_idx", 1)


def test_inputs_are_seeded_and_padding_is_nan(values: Values) -> None:
    check(values)
    assert torch.isfinite(values["hidden_states"][:7]).all()
    assert torch.isnan(values["hidden_states"][7:]).all()
    same, other = make(7, seed=3, layers=1, layer=0), make(7, seed=4, layers=1, layer=0)
    assert torch.equal(same["hidden_states"][:7], values["hidden_states"][:7])
    assert not torch.equal(other["wk"], same["wk"])
    assert not torch.equal(same["wv"], same["wk"])
    assert 0.019 < float(same["wq"].float().std()) < 0.021


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"batch": 17}, "batch is 17.*16"),
        ({"ctx": 0}, "ctx of sequence 0 is 0"),
        ({"batch": 2, "ctx": [5, 4097]}, "sequence 1 is 4097"),
        ({"ctx": [5, 6]}, "2 lengths for 16"),
        ({"layer": 2}, "layer is 2"),
        ({"layers": 0, "layer": 0}, "0 layers"),
    ],
)
def test_impossible_inputs_are_not_built(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        specs(**arguments)


def replace(name: str, other: Callable[[Any], Any]) -> Callable[[Values], Values]:
    return lambda values: {**values, name: other(values[name])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace("seq_lens", lambda s: s[:0]), "seq_lens has 0 sequences.*16"),
        (replace("seq_lens", lambda s: s.repeat(3)), "seq_lens has 21 sequences.*16"),
        (replace("seq_lens", lambda s: s.long()), "seq_lens has dtype torch.int64: must be torch.int32"),
        (replace("hidden_states", lambda h: h[:7]), r"hidden_states has shape \[7, 5120\]: must be \[16, 5120\]"),
        (replace("hidden_states", lambda h: h.float()), "hidden_states has dtype torch.float32"),
        (replace("hidden_states", lambda h: h.T.contiguous().T), "hidden_states is not contiguous"),
        (replace("norm_weight", lambda w: w[0]), "norm_weight.*2 dimensions"),
        (replace("norm_weight", lambda w: w[:0]), "norm_weight has 0 rows"),
        (replace("norm_weight", lambda w: w.repeat(2, 1)), r"wq has shape \[10240, 5120\]: must be \[20480, 5120\]"),
        (replace("wk", lambda w: w[:-1]), r"wk has shape \[10239, 1024\]"),
        (replace("wv", lambda w: w[:, :512].contiguous()), "wv has shape"),
        (replace("wq", lambda _: None), "wq must be a tensor, not NoneType"),
        (replace("k_proj", lambda k: k.bfloat16()), "k_proj has dtype"),
        (replace("layer_idx", lambda _: 2), "layer_idx is 2: must be 0 to 1, there are 2 layers"),
        (replace("layer_idx", lambda _: -1), "layer_idx is -1"),
        (replace("layer_idx", lambda _: True), "layer_idx must be an integer"),
        (replace("layer_idx", lambda _: torch.tensor([0, 1])), "layer_idx must be an integer"),
    ],
)
def test_bad_values_are_refused(values: Values, change: Callable[[Values], Values], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(change(values))
