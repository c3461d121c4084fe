"""golden.decode_layer and golden.decode against Hugging Face's Qwen3, cache included; their inputs; bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM

from golden import TensorSpec, decode, decode_layer, lm_head, rope_kv_cache
from golden.flash_attention import cached
from helpers.errors import InputError
from kernels.qwen3 import BATCH, EPS, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, MAX_CTX, PAGE, ROPE_THETA

Values = dict[str, Any]

WIDTH, INTER, LAYERS = 64, 96, 2  # of the model compared with Hugging Face's; its heads are Qwen3-14B's
VOCAB = lm_head.VOCAB_CHUNK


def theirs(seed: int = 3) -> Qwen3ForCausalLM:
    """Hugging Face's model with random weights, BF16 numbers in FP32."""
    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        intermediate_size=INTER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        max_position_embeddings=MAX_CTX,
        rms_norm_eps=EPS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=False,
    )
    config._attn_implementation = "eager"
    random = torch.Generator().manual_seed(seed)
    model = Qwen3ForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            mean, std = (1.0, 0.25) if "norm" in name else (0.0, weight.shape[-1] ** -0.5)
            std = 1.0 if "embed" in name else std
            weight.copy_(torch.empty_like(weight).normal_(mean, std, generator=random).bfloat16())
    return model


def ours(model: Qwen3ForCausalLM, batch: int, ctx: list[int], ahead: int = 0) -> Values:
    """The values of a decode step of that model: caches full of random rows, hidden states of random tokens."""
    described = rope_kv_cache.specs(batch, ctx, seed=1, layers=LAYERS, layer=0, ahead=ahead)
    values = {s.name: s.create_tensor() for s in described if isinstance(s, TensorSpec)}
    layers = model.model.layers

    def stacked(pick: Callable[[Any], torch.Tensor]) -> torch.Tensor:
        return torch.cat([pick(layer).detach().T.bfloat16() for layer in layers])

    def norms(pick: Callable[[Any], torch.Tensor]) -> torch.Tensor:
        return torch.stack([pick(layer).detach() for layer in layers])

    hidden = torch.full([BATCH, WIDTH], torch.nan, dtype=torch.bfloat16)
    hidden[:batch] = model.model.embed_tokens.weight[torch.arange(batch) * 5]
    return values | {
        "hidden_states": hidden,
        "input_norm_weight": norms(lambda at: at.input_layernorm.weight),
        "wq": stacked(lambda at: at.self_attn.q_proj.weight),
        "wk": stacked(lambda at: at.self_attn.k_proj.weight),
        "wv": stacked(lambda at: at.self_attn.v_proj.weight),
        "q_norm_weight": norms(lambda at: at.self_attn.q_norm.weight),
        "k_norm_weight": norms(lambda at: at.self_attn.k_norm.weight),
        "wo": stacked(lambda at: at.self_attn.o_proj.weight),
        "post_norm_weight": norms(lambda at: at.post_attention_layernorm.weight),
        "w_gate": stacked(lambda at: at.mlp.gate_proj.weight),
        "w_up": stacked(lambda at: at.mlp.up_proj.weight),
        "w_down": stacked(lambda at: at.mlp.down_proj.weight),
        "out": torch.full([BATCH, WIDTH], torch.nan, dtype=torch.bfloat16),
        "final_norm_weight": model.model.norm.weight.detach()[None],
        "lm_head_weight": model.lm_head.weight.detach().bfloat16(),
        "logits": torch.full([batch, VOCAB], torch.nan),
        "tokens": torch.full([batch], -1, dtype=torch.int32),
        "chunks": 1,
    }


def past(values: Values, b: int) -> DynamicCache:
    """What the caches hold for sequence b before its new token."""
    kept = DynamicCache()
    for layer in range(LAYERS):
        k, v = cached(values, layer)[b]
        kept.update(k[None, :, :-1].float(), v[None, :, :-1].float(), layer)
    return kept


def step_of(model: Qwen3ForCausalLM, row: torch.Tensor, kept: DynamicCache, position: int) -> torch.Tensor:
    """Logits [VOCAB] of one more token, whose embedding is `row`."""
    at = torch.tensor([[position]])
    return model(inputs_embeds=row.float()[None, None], past_key_values=kept, position_ids=at, use_cache=True).logits[
        0, 0
    ]


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    return theirs()


CTX = [1, 2, PAGE, PAGE + 1, 300]


@torch.no_grad()
@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_layer_is_hugging_faces(model: Qwen3ForCausalLM, layer: int) -> None:
    values = ours(model, len(CTX), CTX) | {"layer_idx": layer}
    kept = [past(values, b) for b in range(len(CTX))]
    seen = {}
    hook = model.model.layers[layer].register_forward_hook(
        lambda _module, args, kwargs, out: seen.update(given=args[0] if args else kwargs["hidden_states"], out=out),
        with_kwargs=True,
    )
    unrounded, rounded = [], []
    try:
        for b, length in enumerate(CTX):
            step_of(model, values["hidden_states"][b], kept[b], length - 1)
            given = {**values, "hidden_states": values["hidden_states"].double()}
            given["hidden_states"][b] = seen["given"][0, 0]
            expected = (seen["out"][0] if isinstance(seen["out"], tuple) else seen["out"]).flatten()
            exact = decode_layer.exact(given)
            unrounded.append((exact["out"][b] - expected).abs().max())
            for name, theirs in (("k_cache", kept[b].layers[layer].keys), ("v_cache", kept[b].layers[layer].values)):
                rows = exact[name].view(len(CTX), KV_HEADS, HEAD_DIM)[b]
                assert torch.allclose(rows, theirs[0, :, -1].double(), rtol=1e-4, atol=1e-4), name
            if layer == 0:
                rounded.append(expected)
    finally:
        hook.remove()
    assert max(unrounded) < 1e-4
    if layer == 0:  # hidden states are then BF16 numbers, as the reference takes them
        before = {name: v.clone() for name, v in values.items() if isinstance(v, torch.Tensor)}
        decode_layer.reference(values)
        out = decode_layer.written(values, values)["out"].float()
        assert torch.allclose(out, torch.stack(rounded), rtol=2.0**-7, atol=2e-2)
        assert not values["out"][len(CTX) :].any()
        written = rope_kv_cache.addressed(values, len(before["k_cache"]))
        for name in ("k_cache", "v_cache"):
            changed = (values[name] != before[name]).any(1).nonzero().flatten()
            assert set(changed.tolist()) <= set(written.flatten().tolist())


@torch.no_grad()
def test_a_step_of_all_layers_is_hugging_faces(model: Qwen3ForCausalLM) -> None:
    values = ours(model, len(CTX), CTX)
    kept = [past(values, b) for b in range(len(CTX))]
    expected = torch.stack([step_of(model, values["hidden_states"][b], kept[b], n - 1) for b, n in enumerate(CTX)])
    exact = decode.exact(values)["logits"]
    assert exact.dtype == torch.float64
    assert torch.allclose(exact, expected.double(), rtol=1e-4, atol=1e-4)
    decode.reference(values)
    assert torch.allclose(values["logits"], expected, rtol=0, atol=5e-2)
    assert torch.equal(values["tokens"].long(), values["logits"].argmax(1))
    for layer in range(LAYERS):
        rows = decode.addressed(values, len(values["k_cache"]))[layer]
        for b in range(len(CTX)):
            theirs = kept[b].layers[layer]
            assert torch.allclose(values["k_cache"][rows[b]].float(), theirs.keys[0, :, -1], rtol=2.0**-7, atol=3e-2)
            assert torch.allclose(values["v_cache"][rows[b]].float(), theirs.values[0, :, -1], rtol=2.0**-7, atol=3e-2)


@torch.no_grad()
def test_eight_steps_are_hugging_faces() -> None:
    """Each token fed back; pages are crossed on the way. The seed is one where no choice is as close as rounding."""
    model = theirs(seed=11)
    ctx = [1, PAGE - 3, PAGE, 200]
    values = ours(model, len(ctx), ctx, ahead=7)
    table = model.model.embed_tokens.weight.detach()
    kept = [past(values, b) for b in range(len(ctx))]
    rows = values["hidden_states"].clone()
    expected, margins = [], []
    for number in range(8):
        logits = torch.stack([step_of(model, rows[b], kept[b], n - 1 + number) for b, n in enumerate(ctx)])
        best = logits.topk(2).values
        margins.append(best[:, 0] - best[:, 1])
        expected.append(logits.argmax(1))
        rows[: len(ctx)] = table[expected[-1]].bfloat16()
    ran = decode.generate(
        values, 8, decode.reference, lambda tokens: table[tokens.long()].bfloat16(), check=lambda _values: None
    )
    assert float(torch.stack(margins).min()) > 0.03
    assert torch.equal(ran.tokens.long(), torch.stack(expected))
    assert torch.allclose(ran.margins, torch.stack(margins), atol=2e-2)
    assert values["seq_lens"].tolist() == [n + 7 for n in ctx]


# Inputs.


def described(specs: list) -> Values:
    """Values without memory for what is large."""
    return {
        s.name: s.to_python()
        if not isinstance(s, TensorSpec)
        else s.create_tensor()
        if not s.dtype.is_floating_point or s.name.startswith("rope")
        else torch.empty(s.shape, dtype=s.dtype, device="meta")
        for s in specs
    }


@pytest.fixture
def layer_values() -> Values:
    return described(decode_layer.specs(3, [1, 130, 256], layers=3, layer=2))


@pytest.fixture
def values() -> Values:
    return described(decode.specs(3, [1, 130, 256], ahead=7))


def test_what_specs_describe_can_be_run(layer_values: Values, values: Values) -> None:
    decode_layer.check(layer_values)
    decode.check(values)
    decode.check_steps(values, 8)
    assert layer_values["wq"].shape == (3 * HIDDEN, HIDDEN)
    assert values["w_down"].shape[0] == 2 * 17408
    assert values["logits"].shape == (3, 152064)


def test_lengths_are_ragged_and_have_room() -> None:
    values = described(decode.specs(16, seed=2, ahead=7))
    lengths = values["seq_lens"].tolist()
    assert lengths[:4] == [MAX_CTX - 7, 1, PAGE, PAGE + 1]
    decode.check_steps(values, 8)
    with pytest.raises(InputError, match="sequence 0 has 4089 tokens, and 4097 after 9 steps: at most 4096"):
        decode.check_steps(values, 9)


def replace(name: str, other: Callable[[Any], Any]) -> Callable[[Values], Values]:
    return lambda values: {**values, name: other(values[name])}


def at(index: int, value: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        changed = tensor.clone()
        changed[index] = value
        return changed

    return change


SHARED = [
    (replace("hidden_states", lambda h: h[:3]), "hidden_states has shape"),
    (replace("hidden_states", lambda h: h.float()), "hidden_states has dtype"),
    (replace("wq", lambda w: w[:HIDDEN]), "wq has shape"),
    (replace("wk", lambda w: w.T), "wk is not contiguous"),
    (replace("w_down", lambda w: w[1:]), "w_down has shape"),
    (replace("post_norm_weight", lambda w: w[0]), "post_norm_weight.*2 dimensions"),
    (replace("seq_lens", at(1, 0)), r"seq_lens\[1\] is 0: must be 1 to 4096"),
    (replace("seq_lens", at(0, 4097)), r"seq_lens\[0\] is 4097"),
    (replace("seq_lens", lambda s: s[:0]), "seq_lens has 0 sequences"),
    (replace("slot_mapping", at(1, 0)), r"slot_mapping\[1\]"),
    (replace("block_table", at(32, -1)), r"block_table\[32\] \(sequence 1, page 0\) is -1"),
    (replace("k_cache", lambda c: c[:-1]), "v_cache has shape"),
    (replace("v_cache", lambda _: None), "v_cache must be a tensor"),
]


@pytest.mark.parametrize(("change", "message"), SHARED)
def test_bad_values_are_refused(layer_values: Values, values: Values, change: Callable, message: str) -> None:
    for check, good in ((decode_layer.check, layer_values), (decode.check, values)):
        with pytest.raises(InputError, match=message):
            check(change(good))


def test_bad_values_of_one_of_the_stages(layer_values: Values, values: Values) -> None:
    for change, message in (
        (replace("layer_idx", lambda _: 3), "layer_idx is 3: must be 0 to 2, there are 3 layers"),
        (replace("out", lambda o: o[:3]), "out has shape"),
    ):
        with pytest.raises(InputError, match=message):
            decode_layer.check(change(layer_values))
    for change, message in (
        (replace("chunks", lambda _: 595), "chunks is 595"),
        (replace("final_norm_weight", lambda w: w[0]), "final_norm_weight.*2 dimensions"),
        (replace("tokens", lambda t: t.long()), "tokens has dtype"),
        (replace("lm_head_weight", lambda w: w[:151936]), "lm_head_weight has shape"),
    ):
        with pytest.raises(InputError, match=message):
            decode.check(change(values))


@pytest.mark.parametrize(
    ("change", "steps", "message"),
    [
        (lambda v: v, 0, "steps is 0"),
        (lambda v: described(decode.specs(3, [1, 130, 256])), 8, r"sequence 2, page 2\) is -1: 8 steps need that page"),
        (replace("block_table", lambda t: at(66, int(t[33]))(t)), 2, "is written by sequences 1 and 2 within 2 steps"),
    ],
)
def test_steps_that_have_no_room_are_refused_before_the_first(
    values: Values, change: Callable, steps: int, message: str
) -> None:
    def step(_values: Values) -> None:
        raise AssertionError("nothing may run")

    with pytest.raises(InputError, match=message):
        decode.generate(change(values), steps, step, decode.random_embedding(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 17}, "batch is 17"),
        ({"batch": 2, "ctx": [1]}, "ctx has 1 lengths for 2"),
        ({"batch": 1, "ctx": 4097}, "ctx of sequence 0 is 4097"),
        ({"layers": 0}, "of 0 layers"),
    ],
)
def test_impossible_inputs_are_not_built(arguments: dict, message: str) -> None:
    for specs in (decode_layer.specs, decode.specs):
        with pytest.raises(InputError, match=message):
            specs(**arguments)
    with pytest.raises(InputError, match="unknown mode 'most'"):
        decode.specs(mode="most")
    with pytest.raises(InputError, match="ctx of sequence 0 is 4096: must be 1 to 4089"):
        decode.specs(1, 4096, ahead=7)


def test_a_token_has_the_same_embedding_whenever_it_comes() -> None:
    embed = decode.random_embedding(5)
    rows = embed(torch.tensor([3, 8, 3]))
    assert rows.shape == (3, HIDDEN)
    assert rows.dtype == torch.bfloat16
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], decode.random_embedding(6)(torch.tensor([3]))[0])
