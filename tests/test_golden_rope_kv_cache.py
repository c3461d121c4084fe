"""golden.rope_kv_cache: the reference against Hugging Face's Qwen3 attention, and the inputs it is run on."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache, Qwen3Config
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention, Qwen3RotaryEmbedding

from golden import ScalarSpec, TensorSpec, measure
from golden.compare import compare_outputs
from golden.rope_kv_cache import (
    COMPARE_FN,
    TOLERANCE,
    addressed,
    check,
    exact,
    reference,
    rope_tables,
    specs,
    written,
)
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
INPUT_HIDDEN = 64  # of the attention layers built here; only their projections see it


def make(*args: Any, **kwargs: Any) -> Values:
    """The values that `specs` describes."""
    return values_of(specs(*args, **kwargs))


def copied(values: Values) -> Values:
    return {name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in values.items()}


# Against Hugging Face.


class Model:
    """A layer of Hugging Face's Qwen3 attention with random weights, and what passes through it.

    `query`: what its attention function was last called with, [batch, HEADS, tokens, HEAD_DIM] after norm and RoPE.
    `projections`: outputs of its three projections, by name, [batch, tokens, width].
    """

    def __init__(self, seed: int, scale: float = 1.0) -> None:
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
        self.projections: dict[str, torch.Tensor] = {}
        for norm in (self.attention.q_norm, self.attention.k_norm):
            torch.nn.init.normal_(norm.weight, 1.0, 0.25)
        for name in ("q_proj", "k_proj", "v_proj"):
            projection = getattr(self.attention, name)
            torch.nn.init.normal_(projection.weight, 0.0, scale)
            projection.register_forward_hook(self._keep(name))

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            self.projections[name] = output

        return hook

    @torch.no_grad()
    def __call__(self, tokens: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, DynamicCache]:
        """Run tokens [batch, n, INPUT_HIDDEN] at positions [batch, n]; the queries and a fresh cache."""
        seen = {}

        def capture(module, query, key, value, mask, **_kwargs):
            seen["query"] = query
            return query.transpose(1, 2), None

        ALL_ATTENTION_FUNCTIONS.register("capture_query", capture)
        self.attention.config._attn_implementation = "capture_query"
        cache = DynamicCache()
        self.attention(tokens, self.rotary(tokens, positions), None, cache)
        return seen["query"], cache

    def weights(self, values: Values, layer: int) -> None:
        """Put its norm weights where `values` has those of `layer`."""
        values["q_norm_weight"][layer] = self.attention.q_norm.weight.detach()
        values["k_norm_weight"][layer] = self.attention.k_norm.weight.detach()


def assert_close(actual: torch.Tensor, exact: torch.Tensor) -> None:
    """BF16 results against FP32 ones that are rounded here."""
    error = measure(actual, exact.to(torch.bfloat16), TOLERANCE.rtol, TOLERANCE.atol)
    assert error.mismatched == 0, error
    assert error.total > 0


# With projections of 1e-3, EPS is as large as the mean square.
@pytest.mark.parametrize(("seed", "scale"), [(0, 0.25), (1, 4.0), (2, 1.2e-4)])
def test_one_decode_step_is_hugging_faces(seed: int, scale: float) -> None:
    values = make(seed=seed, layers=3, layer=1, spare_pages=2, ctx=None)
    batch = values["seq_lens"].numel()
    model = Model(seed, scale)
    model.weights(values, 1)
    tokens = torch.randn([batch, 1, INPUT_HIDDEN], generator=torch.Generator().manual_seed(seed))
    positions = values["seq_lens"].long()[:, None] - 1
    assert positions.max() == MAX_CTX - 1
    query, cache = model(tokens, positions)
    for name, projected in model.projections.items():
        values[name][:batch] = projected[:, 0]
    reference(values)

    rows = addressed(values, values["k_cache"].shape[0])
    assert_close(values["k_cache"][rows], cache.layers[0].keys[:, :, 0])
    assert torch.equal(values["v_cache"][rows], cache.layers[0].values[:, :, 0].to(torch.bfloat16))
    padded = values["q_padded"].view(batch, KV_HEADS, Q_PAD, HEAD_DIM)
    assert_close(padded[:, :, :Q_PER_KV].reshape(batch, HEADS, HEAD_DIM), query[:, :, 0])
    assert torch.equal(padded[:, :, Q_PER_KV:], torch.zeros(batch, KV_HEADS, Q_PAD - Q_PER_KV, HEAD_DIM).bfloat16())

    unrounded = exact(values)
    for name, theirs in (("q_padded", query), ("k_cache", cache.layers[0].keys), ("v_cache", cache.layers[0].values)):
        assert unrounded[name].dtype == torch.float64
        assert torch.allclose(unrounded[name], theirs[:, :, 0].flatten(0, 1).double(), rtol=1e-5, atol=1e-5)


def test_written_are_the_rows_of_exact() -> None:
    """What the reference wrote is the unrounded result, rounded: each row at its place, no other row."""
    values = make(7, seed=4, rope_rows=3 * PAGE)
    before = copied(values)
    unrounded = exact(values)
    assert all(
        torch.equal(torch.as_tensor(values[n]).nan_to_num(), torch.as_tensor(v).nan_to_num()) for n, v in before.items()
    )
    reference(values)
    rows = written(values, values)
    assert {name: tuple(t.shape) for name, t in rows.items()} == {
        "q_padded": (7 * HEADS, HEAD_DIM),
        "k_cache": (7 * KV_HEADS, HEAD_DIM),
        "v_cache": (7 * KV_HEADS, HEAD_DIM),
    }
    for name, actual in rows.items():
        assert actual.dtype == torch.bfloat16
        assert_close(actual, unrounded[name])
    assert torch.equal(rows["v_cache"], unrounded["v_cache"].to(torch.bfloat16))


def test_decoding_token_by_token_fills_the_pages_as_a_prefill_fills_its_cache() -> None:
    layer, length = 1, 2 * PAGE + 3
    lengths = [length, length - PAGE]
    values = make(2, lengths, seed=5, layers=2, layer=layer, rope_rows=length, spare_pages=3)
    model = Model(5)
    model.weights(values, layer)
    tokens = torch.randn([2, length, INPUT_HIDDEN], generator=torch.Generator().manual_seed(5))
    _, cache = model(tokens, torch.arange(length).expand(2, -1))
    table = values["block_table"].view(2, MAX_PAGES).long()

    step = dict(values)
    for position in range(length):
        batch = sum(position < n for n in lengths)
        slots = table[:batch, position // PAGE] * PAGE + position % PAGE
        step["seq_lens"] = torch.full([batch], position + 1, dtype=torch.int32)
        step["slot_mapping"] = slots.int()
        step["block_table"] = values["block_table"][: batch * MAX_PAGES]
        step["q_padded"] = values["q_padded"][: batch * KV_HEADS * Q_PAD]
        for name, projected in model.projections.items():
            step[name] = torch.full_like(values[name], math.nan)
            step[name][:batch] = projected[:batch, position]
        if position % PAGE in (0, PAGE - 1):
            check(step)
        reference(step)

    for b, n in enumerate(lengths):
        pages = table[b, : -(-n // PAGE)]
        for name, theirs in (("k_cache", cache.layers[0].keys), ("v_cache", cache.layers[0].values)):
            paged = values[name].view(2, -1, KV_HEADS, PAGE, HEAD_DIM)[layer, pages]  # pages, heads, tokens
            ours = paged.transpose(0, 1).reshape(KV_HEADS, -1, HEAD_DIM)[:, :n]
            assert_close(ours, theirs[b, :, :n])


def test_rope_tables_are_hugging_faces() -> None:
    cos, sin = rope_tables(MAX_CTX)
    their_cos, their_sin = Model(0).rotary(torch.zeros(1), torch.arange(MAX_CTX)[None])
    assert cos.shape == sin.shape == (MAX_CTX, HEAD_DIM)
    assert cos.dtype == sin.dtype == torch.float32
    assert torch.allclose(cos, their_cos[0], rtol=0, atol=1e-6)
    assert torch.allclose(sin, their_sin[0], rtol=0, atol=1e-6)


# What the reference does to its values.


@pytest.mark.parametrize("batch", [1, 7, 16])
def test_only_outputs_change_and_of_the_caches_only_the_addressed_rows(batch: int) -> None:
    before = make(batch, seed=batch, layers=3, layer=2, rope_rows=2 * PAGE)
    after = copied(before)
    reference(after)
    rows = addressed(after, before["k_cache"].shape[0])
    assert rows.shape == (batch, KV_HEADS)
    assert rows.unique().numel() == batch * KV_HEADS
    for name, value in before.items():
        if name in ("k_cache", "v_cache"):
            changed = (after[name].view(torch.int16) != value.view(torch.int16)).any(1).nonzero().flatten()
            assert torch.equal(changed, rows.flatten().sort().values)
        elif name == "q_padded":
            assert not torch.isnan(after[name]).any()
        elif isinstance(value, torch.Tensor):
            assert torch.equal(after[name].view(torch.int32), value.view(torch.int32)), name


def test_addressed_rows_spelled_out() -> None:
    values = make(7, seed=3, layers=4, layer=2, rope_rows=3 * PAGE, spare_pages=5)
    pages = values["k_cache"].shape[0] // (4 * KV_HEADS * PAGE)
    rows = addressed(values, values["k_cache"].shape[0])
    for b, length in enumerate(values["seq_lens"].tolist()):
        page = int(values["block_table"][b * MAX_PAGES + (length - 1) // PAGE])
        for head in range(KV_HEADS):
            expected = 2 * pages * KV_HEADS * PAGE + (page * KV_HEADS + head) * PAGE + (length - 1) % PAGE
            assert int(rows[b, head]) == expected


def test_padding_is_written_over() -> None:
    values = make(2, 5)
    values["q_padded"].fill_(3.0)
    reference(values)
    padding = values["q_padded"].view(-1, Q_PAD, HEAD_DIM)[:, Q_PER_KV:]
    assert torch.equal(padding.view(torch.int16), torch.zeros_like(padding.view(torch.int16)))


# The comparison.


def judged(change: Callable[[Values], None]) -> dict[str, str]:
    """What the stage's comparators say about outputs that are the reference's but for one change."""
    values = make(3, [PAGE, 1, 7], rope_rows=PAGE)
    reference(values)
    other = copied(values)
    change(other)
    outputs = {name: other[name] for name in COMPARE_FN}
    inputs = {name: torch.as_tensor(v) for name, v in values.items() if name not in COMPARE_FN}
    return compare_outputs(outputs, values, compare_fn=COMPARE_FN, inputs=inputs)[1]


def ulps(tensor: torch.Tensor, index: Any, count: int) -> None:
    """Move an element of a BF16 tensor, chosen to be well away from zero, by some ULPs."""
    flat = tensor[index].view(torch.int16)
    at = int(tensor[index].abs().argmax())
    flat[at] += count


def target(values: Values) -> int:
    return int(addressed(values, values["k_cache"].shape[0])[1, 2])


def test_equal_outputs_pass() -> None:
    assert judged(lambda values: None) == {}


@pytest.mark.parametrize(
    ("name", "row", "count", "passes"),
    [
        ("k_cache", "addressed", 1, True),
        ("k_cache", "addressed", 3, False),
        ("k_cache", "other", 1, False),
        ("v_cache", "addressed", 1, False),
        ("v_cache", "other", 1, False),
        ("q_padded", 4, 1, True),
        ("q_padded", 4, 3, False),
        ("q_padded", 5, 1, False),
        ("q_padded", 15, 1, False),
    ],
)
def test_one_ulp_is_tolerated_where_the_math_rounds_and_nowhere_else(
    name: str, row: int | str, count: int, passes: bool
) -> None:
    def change(values: Values) -> None:
        index = {"addressed": target(values), "other": target(values) + 1}.get(row, row)
        ulps(values[name], index, count)

    assert set(judged(change)) == (set() if passes else {name})


def test_computing_in_another_order_stays_within_the_tolerance() -> None:
    """FP64 and a rearranged FP32 computation, on many values: both within it; both also differ somewhere."""
    values = make(16, seed=11, rope_rows=MAX_CTX)
    reference(values)
    rearranged = copied(values)
    positions = values["seq_lens"].long() - 1
    for dtype in (torch.float64, torch.float32):
        q = values["q_proj"].view(BATCH, HEADS, HEAD_DIM).to(dtype)
        weight = values["q_norm_weight"][1].to(dtype)
        squares = q.square().flip(-1).cumsum(-1)[..., -1:]
        n = q * weight / (squares / HEAD_DIM + EPS).sqrt()
        lo, hi = n.chunk(2, -1)
        cos, sin = (values[t][positions][:, None].to(dtype).chunk(2, -1)[0] for t in ("rope_cos", "rope_sin"))
        turned = torch.cat([lo * cos - hi * sin, lo * sin + hi * cos], -1).to(torch.bfloat16)
        padded = rearranged["q_padded"].view(BATCH, KV_HEADS, Q_PAD, HEAD_DIM)
        padded[:, :, :Q_PER_KV] = turned.view(BATCH, KV_HEADS, Q_PER_KV, HEAD_DIM)
        error = measure(rearranged["q_padded"], values["q_padded"], TOLERANCE.rtol, TOLERANCE.atol)
        assert error.mismatched == 0, error
        assert error.max_abs > 0


# The inputs.


def test_specs_are_the_stages_parameters_at_full_shapes() -> None:
    described = {s.name: (tuple(s.shape), s.dtype, s.is_output) for s in specs() if isinstance(s, TensorSpec)}
    fp32, int32, bf16 = torch.float32, torch.int32, torch.bfloat16
    cache = described["k_cache"][0]
    assert cache[0] % (2 * KV_HEADS * PAGE) == 0
    assert described == {
        "q_proj": ((BATCH, HIDDEN), fp32, False),
        "k_proj": ((BATCH, KV_HIDDEN), fp32, False),
        "v_proj": ((BATCH, KV_HIDDEN), fp32, False),
        "q_norm_weight": ((2, HEAD_DIM), fp32, False),
        "k_norm_weight": ((2, HEAD_DIM), fp32, False),
        "rope_cos": ((MAX_CTX, HEAD_DIM), fp32, False),
        "rope_sin": ((MAX_CTX, HEAD_DIM), fp32, False),
        "seq_lens": ((BATCH,), int32, False),
        "block_table": ((BATCH * MAX_PAGES,), int32, False),
        "slot_mapping": ((BATCH,), int32, False),
        "k_cache": (cache, bf16, True),
        "v_cache": (cache, bf16, True),
        "q_padded": ((BATCH * KV_HEADS * Q_PAD, HEAD_DIM), bf16, True),
    }
    last = specs()[-1]
    assert isinstance(last, ScalarSpec)
    assert (last.name, last.dtype, last.to_python()) == ("layer_idx", torch.int32, 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, BATCH), st.integers(0, 2**40), st.integers(1, 3), st.integers(1, 3 * PAGE), st.integers(0, 9))
def test_every_input_is_one_the_stage_can_run_on(
    batch: int, seed: int, layers: int, rope_rows: int, spare: int
) -> None:
    layer = random.Random(seed).randrange(layers)
    described = [
        s for s in specs(batch, None, seed, layers, layer, rope_rows, spare) if s.name not in ("k_cache", "v_cache")
    ]
    values = values_of(described)
    cache = next(s for s in specs(batch, None, seed, layers, layer, rope_rows, spare) if s.name == "k_cache")
    values["k_cache"] = values["v_cache"] = torch.empty(cache.shape, dtype=cache.dtype)
    check(values)
    pages = values["block_table"][values["block_table"] >= 0]
    assert pages.unique().numel() == pages.numel() == sum(-(-n // PAGE) for n in values["seq_lens"].tolist())
    assert int(pages.max()) < cache.shape[0] // (layers * KV_HEADS * PAGE)
    assert int(values["seq_lens"].max()) == rope_rows
    for name in ("q_proj", "k_proj", "v_proj"):
        assert torch.isfinite(values[name][:batch]).all()
        assert torch.isnan(values[name][batch:]).all()


def test_default_lengths_have_the_edges_and_pages_are_scattered() -> None:
    described = {s.name: s for s in specs()}
    lengths = described["seq_lens"].create_tensor().tolist()
    assert {1, PAGE, PAGE + 1, MAX_CTX} <= set(lengths)
    assert len(set(lengths)) > BATCH // 2
    table = described["block_table"].create_tensor()[:MAX_PAGES]  # of the sequence of MAX_CTX
    steps = table[1:] - table[:-1]
    assert int((steps != 1).sum()) > MAX_PAGES // 2


def test_same_seed_same_tensors_other_seed_others() -> None:
    first, again, other = (make(2, 3, seed=seed, rope_rows=4) for seed in (7, 7, 8))
    for name in ("q_proj", "k_proj", "v_proj", "q_norm_weight", "k_norm_weight", "k_cache", "v_cache"):
        same = [torch.equal(torch.nan_to_num(first[name]), torch.nan_to_num(t[name])) for t in (again, other)]
        assert same == [True, False], name
    assert not torch.equal(first["k_cache"], first["v_cache"])
    assert not torch.equal(first["k_proj"][:2], first["v_proj"][:2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"batch": 17}, "batch is 17"),
        ({"ctx": 0}, "ctx of sequence 0 is 0"),
        ({"ctx": MAX_CTX + 1}, "4097"),
        ({"ctx": [5, 6]}, "2 lengths"),
        ({"batch": 2, "ctx": [5, -1]}, "sequence 1 is -1"),
        ({"ctx": 9, "rope_rows": 8}, "1 to 8"),
        ({"layer": 2}, "layer is 2"),
        ({"layer": -1}, "layer is -1"),
        ({"layers": 0, "layer": 0}, "0 layers"),
        ({"spare_pages": -1}, "spare_pages"),
        ({"rope_rows": 0}, "rope_rows"),
    ],
)
def test_impossible_inputs_are_not_built(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        specs(**arguments)


# check.


def put(name: str, index: Any, value: Any) -> Callable[[Values], None]:
    return lambda values: values[name].__setitem__(index, value)


def replace(name: str, make_other: Callable[[Any], Any]) -> Callable[[Values], None]:
    return lambda values: values.update({name: make_other(values[name])})


def both_caches(make_other: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Values], None]:
    return lambda values: values.update({name: make_other(values[name]) for name in ("k_cache", "v_cache")})


def swap_slots(values: Values) -> None:
    values["slot_mapping"][[0, 1]] = values["slot_mapping"][[1, 0]]


def share_a_slot(values: Values) -> None:
    values["seq_lens"][1] = values["seq_lens"][0]
    values["block_table"][MAX_PAGES : 2 * MAX_PAGES] = values["block_table"][:MAX_PAGES]
    values["slot_mapping"][1] = values["slot_mapping"][0]


# Three sequences of 200, 1 and 128 tokens on 2 + 1 + 1 + 2 pages, 256 rows in the rotary tables, 2 layers.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("seq_lens", 2, 0), r"seq_lens\[2\] is 0.*4096"),
        (put("seq_lens", 0, -5), r"seq_lens\[0\] is -5.*4096"),
        (put("seq_lens", 1, 4097), r"seq_lens\[1\] is 4097.*4096"),
        (put("seq_lens", 1, 257), r"seq_lens\[1\] is 257.*256 positions"),
        (put("block_table", 1, 6), r"block_table\[1\].*is 6.*0 to 5"),
        (put("block_table", 0, -1), r"block_table\[0\].*is -1.*0 to 5"),
        (put("block_table", MAX_PAGES + 1, -2), r"block_table\[33\] \(sequence 1, page 1\) is -2"),
        (put("block_table", -1, 10**6), r"block_table\[95\].*is 1000000"),
        (put("slot_mapping", 1, 6 * PAGE), r"slot_mapping\[1\] is 768.*0 to 767"),
        (put("slot_mapping", 0, -1), r"slot_mapping\[0\] is -1: must be 0 to 767"),
        (swap_slots, r"slot_mapping\[0\] is \d+: must be \d+, where block_table"),
        (share_a_slot, r"slot_mapping\[1\] is \d+, as slot_mapping\[0\]"),
        (replace("layer_idx", lambda _: 2), "layer_idx is 2.*0 to 1"),
        (replace("layer_idx", lambda _: -1), "layer_idx is -1.*0 to 1"),
        (replace("layer_idx", lambda _: 1.0), "layer_idx.*1.0"),
        (replace("layer_idx", lambda _: torch.tensor([0, 1])), "layer_idx"),
        (both_caches(lambda c: c[:-1]), r"k_cache has 12287 rows.*2048"),
        (both_caches(lambda c: c[: 2 * KV_HEADS * PAGE + KV_HEADS * PAGE]), "k_cache has 3072 rows.*2048"),
        (both_caches(lambda c: c[:0]), "k_cache has 0 rows"),
        (replace("v_cache", lambda c: c[: KV_HEADS * PAGE * 2]), "v_cache has shape.*12288"),
        (replace("seq_lens", lambda s: s[:0]), "seq_lens has 0 sequences.*16"),
        (replace("seq_lens", lambda s: s.repeat(6)), "seq_lens has 18 sequences.*16"),
        (replace("slot_mapping", lambda s: s[:2]), r"slot_mapping has shape \[2\]: must be \[3\]"),
        (replace("block_table", lambda t: t[:-1]), r"block_table has shape \[95\]: must be \[96\]"),
        (replace("q_norm_weight", lambda w: w[:0]), "q_norm_weight has 0 rows"),
        (replace("k_norm_weight", lambda w: w[:1]), "k_norm_weight has shape"),
        (replace("rope_sin", lambda t: t[:-1]), "rope_sin has shape"),
        (replace("q_proj", lambda q: q[:3]), r"q_proj has shape \[3, 5120\]: must be \[16, 5120\]"),
        (replace("q_padded", lambda q: q[:-1]), "q_padded has shape"),
        (replace("q_proj", lambda q: q.bfloat16()), "q_proj has dtype torch.bfloat16: must be torch.float32"),
        (replace("k_cache", lambda c: c.float()), "k_cache has dtype"),
        (replace("seq_lens", lambda s: s.long()), "seq_lens has dtype torch.int64"),
        (replace("k_proj", lambda k: k[None]), "k_proj.*2 dimensions"),
        (replace("v_proj", lambda v: v.T.contiguous().T), "v_proj is not contiguous"),
        (replace("rope_cos", lambda _: None), "rope_cos must be a tensor, not NoneType"),
        (lambda values: values.pop("v_cache"), "v_cache must be a tensor"),
        (lambda values: values.pop("layer_idx"), "layer_idx"),
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


def test_a_scalar_tensor_is_a_layer_index_too() -> None:
    values = make(1, 1, rope_rows=1)
    values["layer_idx"] = torch.tensor(1, dtype=torch.int32)
    check(values)
