"""golden.flash_attention: the reference against Hugging Face's Qwen3 attention, and the comparison it is used in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import DynamicCache, Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention, Qwen3RotaryEmbedding, eager_attention_forward

from golden import ScalarSpec, measure, rope_kv_cache
from golden.compare import compare_outputs
from golden.flash_attention import COMPARE_FN, check, exact, limits, reference, specs, written
from golden.spec import values_of
from helpers.errors import InputError
from kernels.qwen3 import (
    BATCH,
    EPS,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    KV_HEADS,
    KV_HIDDEN,
    MAX_CTX,
    MAX_PAGES,
    PAGE,
    Q_PAD,
    Q_PER_KV,
    ROPE_THETA,
)

Values = dict[str, Any]
INPUT_HIDDEN = 64  # of the attention layer built here; only its projections see it


def make(*args: Any, **kwargs: Any) -> Values:
    """The values that `specs` describes."""
    return values_of(specs(*args, **kwargs))


def copied(values: Values) -> Values:
    return {name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in values.items()}


def cached(values: Values, name: str, layer: int, b: int) -> torch.Tensor:
    """What the cache holds for sequence b, spelled out token by token: [KV_HEADS, n, HEAD_DIM]."""
    rows_per_layer = values[name].shape[0] // values["q_norm_weight"].shape[0]
    rows = []
    for position in range(int(values["seq_lens"][b])):
        page = int(values["block_table"][b * MAX_PAGES + position // PAGE])
        first = layer * rows_per_layer + page * KV_HEADS * PAGE + position % PAGE
        rows.append(values[name][first : first + KV_HEADS * PAGE : PAGE])
    return torch.stack(rows, 1)


# Against Hugging Face.


class Layer:
    """Hugging Face's Qwen3 attention with random weights. `seen`: outputs of its projections, input of its last one."""

    def __init__(self, seed: int) -> None:
        config = Qwen3Config(
            hidden_size=INPUT_HIDDEN,
            num_hidden_layers=1,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            head_dim=HEAD_DIM,
            max_position_embeddings=MAX_CTX,
            rms_norm_eps=EPS,
            rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        )
        config._attn_implementation = "eager"
        torch.manual_seed(seed)
        self.attention = Qwen3Attention(config, layer_idx=0).eval()
        self.rotary = Qwen3RotaryEmbedding(config)
        self.seen: dict[str, torch.Tensor] = {}
        for norm in (self.attention.q_norm, self.attention.k_norm):
            torch.nn.init.normal_(norm.weight, 1.0, 0.25)
        for name in ("q_proj", "k_proj", "v_proj"):
            projection = getattr(self.attention, name)
            torch.nn.init.normal_(projection.weight, 0.0, INPUT_HIDDEN**-0.5)
            projection.register_forward_hook(lambda _m, _i, out, name=name: self.seen.update({name: out[0]}))
        self.attention.o_proj.register_forward_pre_hook(lambda _m, given: self.seen.update(attn_out=given[0][0]))

    @torch.no_grad()
    def __call__(self, tokens: torch.Tensor, first: int, cache: DynamicCache) -> None:
        """Run tokens [n, INPUT_HIDDEN] at positions from `first` on."""
        positions = torch.arange(first, first + tokens.shape[0])[None]
        self.attention(tokens[None], self.rotary(tokens[None], positions), None, cache)


def test_exact_is_hugging_faces_decode_step() -> None:
    """The tokens before the last are in the cache, in BF16 on both sides; the last one goes through the layer."""
    lengths = [2 * PAGE + 3, 1, PAGE, PAGE + 1]
    values = make(4, lengths, seed=1, layers=2, layer=1, rope_rows=MAX_CTX, spare_pages=3)
    layer = Layer(1)
    values["q_norm_weight"][1] = layer.attention.q_norm.weight.detach()
    values["k_norm_weight"][1] = layer.attention.k_norm.weight.detach()
    expected = []
    for b, n in enumerate(lengths):
        tokens = torch.randn([n, INPUT_HIDDEN], generator=torch.Generator().manual_seed(b))
        cache = DynamicCache()
        if n > 1:
            layer(tokens[:-1], 0, cache)
            held = cache.layers[0]
            held.keys, held.values = held.keys.bfloat16().float(), held.values.bfloat16().float()
            for name, theirs in (("k_cache", held.keys), ("v_cache", held.values)):
                paged = values[name].view(2, -1, KV_HEADS, PAGE, HEAD_DIM)[1]
                for position in range(n - 1):
                    page = int(values["block_table"][b * MAX_PAGES + position // PAGE])
                    paged[page, :, position % PAGE] = theirs[0, :, position].bfloat16()
        layer(tokens[-1:], n - 1, cache)
        for name in ("q_proj", "k_proj", "v_proj"):
            values[name][b] = layer.seen[name][0]
        expected.append(layer.seen["attn_out"][0])
    check(values)
    ours = exact(values)["attn_out"].view(4, HIDDEN)
    assert torch.allclose(ours, torch.stack(expected).double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("batch", "ctx"), [(1, 1), (2, [PAGE, PAGE + 1]), (3, [5, 3 * PAGE, 300])])
def test_reference_is_hugging_faces_attention_of_rounded_heads(batch: int, ctx: Any) -> None:
    values = make(batch, ctx, seed=batch, rope_rows=3 * PAGE)
    rope = {**copied(values), "q_padded": torch.empty([batch * KV_HEADS * Q_PAD, HEAD_DIM], dtype=torch.bfloat16)}
    rope_kv_cache.reference(rope)
    reference(values)
    layer = Layer(0).attention
    heads = rope["q_padded"].view(batch, KV_HEADS, Q_PAD, HEAD_DIM)[:, :, :Q_PER_KV].reshape(batch, HEADS, 1, HEAD_DIM)
    for b in range(batch):
        k, v = (cached(rope, name, 1, b)[None].float() for name in ("k_cache", "v_cache"))
        theirs, _ = eager_attention_forward(layer, heads[b : b + 1].float(), k, v, None, scaling=HEAD_DIM**-0.5)
        error = measure(values["attn_out"][b], theirs.reshape(HIDDEN).bfloat16(), 2.0**-7, 1e-6)
        assert error.mismatched == 0, error


# What the reference does to its values.


def test_the_caches_are_those_of_the_stage_before_and_padding_rows_stay() -> None:
    before = make(7, seed=3, layers=3, layer=2, rope_rows=2 * PAGE)
    after = copied(before)
    reference(after)
    rope = {**copied(before), "q_padded": torch.empty([7 * KV_HEADS * Q_PAD, HEAD_DIM], dtype=torch.bfloat16)}
    rope_kv_cache.reference(rope)
    for name, value in before.items():
        if name in ("k_cache", "v_cache"):
            assert torch.equal(after[name], rope[name])
        elif name == "attn_out":
            assert torch.equal(after[name][7:], value[7:])
            assert not (after[name][:7] == value[:7]).any()
        elif isinstance(value, torch.Tensor):
            assert torch.equal(after[name].nan_to_num(), value.nan_to_num()), name


def test_written_are_the_rows_of_exact() -> None:
    values = make(7, seed=4, rope_rows=3 * PAGE)
    before = copied(values)
    unrounded = exact(values)
    assert all(
        torch.equal(torch.as_tensor(values[n]).nan_to_num(), torch.as_tensor(v).nan_to_num()) for n, v in before.items()
    )
    reference(values)
    rows = written(values, values)
    assert {name: (tuple(t.shape), t.dtype) for name, t in rows.items()} == {
        "attn_out": ((7 * HEADS, HEAD_DIM), torch.bfloat16),
        "k_cache": ((7 * KV_HEADS, HEAD_DIM), torch.bfloat16),
        "v_cache": ((7 * KV_HEADS, HEAD_DIM), torch.bfloat16),
    }
    for name, actual in rows.items():
        assert unrounded[name].dtype == torch.float64
        error = measure(actual, unrounded[name], 2.0**-7, 2.0**-6)
        assert error.mismatched == 0, (name, error)


@pytest.mark.parametrize(("by", "passes"), [(0.99, True), (1.01, False)])
def test_limits_are_what_the_comparison_allows(by: float, passes: bool) -> None:
    values = make(2, [1, 300])
    reference(values)
    expected = values["attn_out"].double()
    rtol, atol = limits(values)["attn_out"]
    assert atol.shape == (2 * HEADS, 1)
    allowed = (atol + rtol * expected[:2].view(2 * HEADS, HEAD_DIM).abs()).view(2, -1)
    actual = expected.clone()
    actual[1, 77] += by * allowed[1, 77]
    run = {"inputs": values, "actual_outputs": {}, "expected_outputs": {}}
    assert COMPARE_FN["attn_out"](actual, expected, **run)[0] is passes
    assert set(limits(values)) == set(written(values, values))


def test_one_token_attends_to_itself() -> None:
    values = make(2, 1, rope_rows=1)
    reference(values)
    v = values["v_proj"][:2].bfloat16().view(2, KV_HEADS, 1, HEAD_DIM).expand(-1, -1, Q_PER_KV, -1)
    assert torch.equal(values["attn_out"][:2], v.reshape(2, HIDDEN))


# The comparison.


def judged(change: Callable[[Values], None], ctx: int = 300) -> dict[str, str]:
    """What the stage's comparators say about outputs that are the reference's but for one change."""
    values = make(3, [ctx, 1, 7], layers=1, layer=0)
    reference(values)
    other = copied(values)
    change(other)
    outputs = {name: other[name] for name in COMPARE_FN}
    inputs = {name: torch.as_tensor(v) for name, v in values.items() if name not in COMPARE_FN}
    return compare_outputs(outputs, values, compare_fn=COMPARE_FN, inputs=inputs)[1]


def without_a_page(values: Values, ctx: int) -> None:
    """Sequence 0's output without the tokens of its second page, as a kernel that forgets one would have it."""
    q = torch.zeros([3 * KV_HEADS * Q_PAD, HEAD_DIM], dtype=torch.bfloat16)
    step = {**values, "q_padded": q}
    rope_kv_cache.reference(step)
    heads = q.view(3, KV_HEADS, Q_PAD, HEAD_DIM)[0, :, :Q_PER_KV].float()
    left = torch.cat([torch.arange(PAGE), torch.arange(2 * PAGE, ctx)])
    k, v = (cached(values, name, 0, 0)[:, left].float() for name in ("k_cache", "v_cache"))
    weights = torch.softmax(heads @ k.transpose(1, 2) * HEAD_DIM**-0.5, -1)
    values["attn_out"][0] = (weights @ v).reshape(HIDDEN).bfloat16()


def test_equal_outputs_pass() -> None:
    assert judged(lambda values: None) == {}


@pytest.mark.parametrize(
    ("row", "by", "passes"),
    [(0, 5e-4, True), (0, 3e-2, False), (2, 5e-3, True), (2, 6e-2, False), (1, 0.5, False), (3, 0.5, False)],
)
def test_the_tolerance_falls_with_the_length_and_holds_no_padding(row: int, by: float, passes: bool) -> None:
    def change(values: Values) -> None:
        column = int(values["attn_out"][row].abs().argmin())
        values["attn_out"][row, column] += by

    assert set(judged(change)) == (set() if passes else {"attn_out"})


@pytest.mark.parametrize("ctx", [300, MAX_CTX])
def test_a_forgotten_page_is_no_rounding_error(ctx: int) -> None:
    assert "sqrt(n)" in judged(lambda values: without_a_page(values, ctx), ctx)["attn_out"]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_fails(wrong: float) -> None:
    def change(values: Values) -> None:
        values["attn_out"][1, 17] = wrong

    assert set(judged(change)) == {"attn_out"}


# The inputs.


def test_specs_are_the_stages_parameters_at_full_shapes() -> None:
    described = specs()
    assert [s.name for s in described] == [
        *("q_proj", "k_proj", "v_proj", "q_norm_weight", "k_norm_weight", "rope_cos", "rope_sin", "seq_lens"),
        *("block_table", "slot_mapping", "k_cache", "v_cache", "attn_out", "layer_idx"),
    ]
    assert isinstance(described[-1], ScalarSpec)
    by_name = {s.name: s for s in described}
    assert (by_name["attn_out"].shape, by_name["attn_out"].dtype) == ([BATCH, HIDDEN], torch.bfloat16)
    assert [s.name for s in described if getattr(s, "is_output", False)] == ["k_cache", "v_cache", "attn_out"]
    rope = {s.name: s for s in rope_kv_cache.specs()}
    for name in set(by_name) & set(rope) - {"layer_idx"}:
        assert by_name[name].shape == rope[name].shape, name


def put(name: str, index: Any, value: Any) -> Callable[[Values], None]:
    return lambda values: values[name].__setitem__(index, value)


def replace(name: str, make_other: Callable[[Any], Any]) -> Callable[[Values], None]:
    return lambda values: values.update({name: make_other(values[name])})


# Three sequences of 200, 1 and 128 tokens on 2 + 1 + 1 + 2 pages.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace("attn_out", lambda t: t[:3]), r"attn_out has shape \[3, 5120\]: must be \[16, 5120\]"),
        (replace("attn_out", lambda t: t.float()), "attn_out has dtype torch.float32: must be torch.bfloat16"),
        (replace("attn_out", lambda t: t.T.contiguous().T), "attn_out is not contiguous"),
        (replace("attn_out", lambda _: None), "attn_out must be a tensor, not NoneType"),
        (lambda values: values.pop("attn_out"), "attn_out must be a tensor"),
        (put("seq_lens", 2, 0), r"seq_lens\[2\] is 0.*4096"),
        (put("block_table", 0, 6), r"block_table\[0\].*is 6.*0 to 5"),
        (put("slot_mapping", 1, -1), r"slot_mapping\[1\] is -1"),
        (replace("layer_idx", lambda _: 2), "layer_idx is 2.*0 to 1"),
        (replace("k_proj", lambda k: k[:, : KV_HIDDEN - 1].contiguous()), "k_proj has shape"),
    ],
)
def test_bad_values_are_refused_and_left_alone(change: Callable[[Values], None], message: str) -> None:
    values = make(3, [200, 1, 128], rope_rows=256, spare_pages=2)
    check(values)
    change(values)
    before = copied(values)
    with pytest.raises(InputError, match=message):
        check(values)
    for name, value in before.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(torch.nan_to_num(values[name]), torch.nan_to_num(value))
