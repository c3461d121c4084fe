"""golden.mlp: the reference against Hugging Face's Qwen3 decoder layer, and the inputs it is run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import Qwen3Config
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from golden import TensorSpec
from golden.mlp import check, exact, reference, specs, written
from golden.spec import values_of
from helpers.errors import InputError
from kernels import qwen3
from kernels.qwen3 import BATCH, EPS, HEAD_DIM

HIDDEN, INTER = 512, 768  # of most tests here

Values = dict[str, Any]


def make(*args: Any, hidden: int = HIDDEN, inter: int = INTER, **kwargs: Any) -> Values:
    """The values that `specs` describes."""
    described = specs(*args, hidden=hidden, inter=inter, **kwargs)
    return values_of(described)


def layer_of(values: Values, layer: int) -> Qwen3DecoderLayer:
    """Hugging Face's decoder layer in FP32 with the weights of one layer; the rest of it is random."""
    heads = HIDDEN // HEAD_DIM
    config = Qwen3Config(
        hidden_size=HIDDEN,
        intermediate_size=INTER,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=HEAD_DIM,
        rms_norm_eps=EPS,
    )
    theirs = Qwen3DecoderLayer(config, layer_idx=0)
    rows = slice(layer * HIDDEN, (layer + 1) * HIDDEN)
    theirs.post_attention_layernorm.weight.copy_(values["norm_weight"][layer])
    theirs.self_attn.o_proj.weight.copy_(values["wo"][rows].T)
    theirs.mlp.gate_proj.weight.copy_(values["w_gate"][rows].T)
    theirs.mlp.up_proj.weight.copy_(values["w_up"][rows].T)
    theirs.mlp.down_proj.weight.copy_(values["w_down"][layer * INTER : (layer + 1) * INTER].T)
    return theirs


@torch.no_grad()
@pytest.mark.parametrize("layer", [0, 2])
def test_reference_is_the_end_of_hugging_faces_layer(layer: int) -> None:
    values = make(9, seed=layer, layers=3, layer=layer)
    theirs = layer_of(values, layer)
    attended = values["attn_out"][:9].float().view(9, 1, -1, HEAD_DIM)
    ALL_ATTENTION_FUNCTIONS.register("given", lambda *_args, **_kwargs: (attended, None))
    theirs.self_attn.config._attn_implementation = "given"
    rotary = torch.ones(1, 1, HEAD_DIM), torch.zeros(1, 1, HEAD_DIM)
    expected = theirs(values["hidden_states"][:9, None].float(), position_embeddings=rotary)
    expected = (expected[0] if isinstance(expected, tuple) else expected)[:, 0]
    ours = exact(values)["out"]
    assert ours.dtype == torch.float64
    assert torch.allclose(ours, expected.double(), rtol=1e-5, atol=1e-5)
    reference(values)
    assert values["out"].dtype == torch.bfloat16
    assert torch.allclose(written(values, values)["out"].double(), ours, rtol=2.0**-8, atol=1e-5)


def test_rows_beyond_the_batch_become_zero_and_inputs_stay() -> None:
    values = make(2)
    before = {name: v.clone() for name, v in values.items() if isinstance(v, torch.Tensor)}
    values["out"].fill_(torch.nan)
    reference(values)
    assert torch.equal(values["out"][2:], torch.zeros(BATCH - 2, HIDDEN).bfloat16())
    assert values["out"][:2].abs().min(1).values.isfinite().all()
    for name, old in before.items():
        if name != "out":
            assert torch.equal(values[name].view(torch.int16), old.view(torch.int16)), name


def test_specs_are_the_stages_parameters_at_full_shapes() -> None:
    described = {s.name: (tuple(s.shape), s.dtype, s.is_output) for s in specs(5) if isinstance(s, TensorSpec)}
    h, i, bf16 = qwen3.HIDDEN, qwen3.INTERMEDIATE, torch.bfloat16
    assert described == {
        "attn_out": ((BATCH, h), bf16, False),
        "hidden_states": ((BATCH, h), bf16, False),
        "norm_weight": ((1, h), torch.float32, False),
        "wo": ((h, h), bf16, False),
        "w_gate": ((h, i), bf16, False),
        "w_up": ((h, i), bf16, False),
        "w_down": ((i, h), bf16, False),
        "seq_lens": ((5,), torch.int32, False),
        "out": ((BATCH, h), bf16, True),
    }


def test_inputs_are_seeded_and_padding_is_nan() -> None:
    values, same, other = make(7, seed=1), make(7, seed=1), make(7, seed=2)
    check(values)
    for name in ("attn_out", "hidden_states"):
        assert torch.isfinite(values[name][:7]).all()
        assert torch.isnan(values[name][7:]).all()
    assert torch.equal(values["w_up"], same["w_up"])
    assert not torch.equal(values["w_up"], other["w_up"])
    assert not torch.equal(values["w_up"], values["w_gate"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"batch": 17}, "batch is 17.*16"),
        ({"ctx": 5000}, "ctx of sequence 0 is 5000"),
        ({"layer": 1}, "layer is 1 of 1"),
        ({"hidden": 5120 + 256}, "hidden width is 5376: must be a multiple of 512"),
        ({"inter": 17408 + 128}, "intermediate width is 17536: must be a multiple of 256"),
        ({"hidden": 0}, "hidden width is 0"),
    ],
)
def test_impossible_inputs_are_not_built(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        specs(**arguments)


def replace(name: str, other: Callable[[Any], Any]) -> Callable[[Values], None]:
    return lambda values: values.update({name: other(values[name])})


def narrower(values: Values) -> None:
    """All of H = 512 made 384, which fits together and no tile divides."""
    for name in ("attn_out", "hidden_states", "norm_weight", "w_down", "out"):
        values[name] = values[name][:, :384].contiguous()
    values["wo"] = values["wo"][:384, :384].contiguous()
    values["w_gate"], values["w_up"] = values["w_gate"][:384], values["w_up"][:384]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (narrower, "hidden width is 384: must be a multiple of 512"),
        (replace("w_gate", lambda w: w[:, :700].contiguous()), "intermediate width is 700"),
        (replace("seq_lens", lambda s: s[:0]), "seq_lens has 0 sequences.*16"),
        (replace("seq_lens", lambda s: s.repeat(9)), "seq_lens has 18 sequences.*16"),
        (replace("seq_lens", lambda s: s.float()), "seq_lens has dtype torch.float32"),
        (replace("attn_out", lambda a: a[:2]), r"attn_out has shape \[2, 512\]: must be \[16, 512\]"),
        (replace("attn_out", lambda a: a.float()), "attn_out has dtype"),
        (replace("hidden_states", lambda h: h.T.contiguous().T), "hidden_states is not contiguous"),
        (replace("norm_weight", lambda w: w[:0]), "norm_weight has 0 rows"),
        (replace("norm_weight", lambda w: w[:1]), "layer_idx is 1: must be 0 to 0"),
        (replace("norm_weight", lambda w: w.repeat(2, 1)), r"wo has shape \[1024, 512\]: must be \[2048, 512\]"),
        (replace("w_up", lambda w: w[:, :512].contiguous()), "w_up has shape"),
        (replace("w_down", lambda w: w[:-1]), "w_down has shape"),
        (replace("w_down", lambda _: [1.0]), "w_down must be a tensor, not list"),
        (replace("out", lambda o: o[:-1]), "out has shape"),
        (replace("layer_idx", lambda _: 2), "layer_idx is 2: must be 0 to 1"),
        (replace("layer_idx", lambda _: 0.0), "layer_idx must be an integer, not 0.0"),
        (lambda values: values.pop("layer_idx"), "layer_idx must be an integer, not None"),
    ],
)
def test_bad_values_are_refused_and_left_alone(change: Callable[[Values], None], message: str) -> None:
    values = make(2, layers=2, layer=1)
    check(values)
    change(values)
    before = {name: v.clone() for name, v in values.items() if isinstance(v, torch.Tensor)}
    with pytest.raises(InputError, match=message):
        check(values)
    for name, old in before.items():
        assert torch.equal(torch.nan_to_num(values[name]), torch.nan_to_num(old)), name
