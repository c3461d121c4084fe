"""golden.prefill: the reference against Hugging Face's Qwen3 model with its cache, and the inputs it is run on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import DynamicCache, Qwen3Config, Qwen3Model

from golden.compare import compare_outputs
from golden.prefill import COMPARE_FN, Q_WIDTH, check, exact, limits, reference, specs, written
from golden.spec import values_of
from helpers.errors import InputError
from kernels import qwen3
from kernels.qwen3 import (
    BATCH,
    EPS,
    HEAD_DIM,
    HEADS,
    KV_HEADS,
    KV_HIDDEN,
    MAX_CHUNK,
    MAX_CTX,
    MAX_PAGES,
    PAGE,
    ROPE_THETA,
)

HIDDEN, INTER = 512, 256  # of most tests here

Values = dict[str, Any]
OUTPUTS = ("k_cache", "v_cache", "hidden_states")


def make(*args: Any, hidden: int = HIDDEN, inter: int = INTER, **kwargs: Any) -> Values:
    """The values that `specs` describes."""
    described = specs(*args, hidden=hidden, inter=inter, **kwargs)
    return values_of(described)


def copied(values: Values) -> Values:
    return {name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in values.items()}


# Against Hugging Face.


def model_of(values: Values) -> Qwen3Model:
    """Hugging Face's model in FP64 with the layers' weights; its final norm does nothing."""
    layers, hidden = values["input_norm_weight"].shape
    inter = values["w_gate"].shape[1]
    config = Qwen3Config(
        vocab_size=2,
        hidden_size=hidden,
        intermediate_size=inter,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        max_position_embeddings=MAX_CTX,
        rms_norm_eps=EPS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
    )
    config._attn_implementation = "eager"
    model = Qwen3Model(config).eval().double()
    model.norm = torch.nn.Identity()
    projections = {
        "self_attn.q_proj": ("wq", hidden),
        "self_attn.k_proj": ("wk", hidden),
        "self_attn.v_proj": ("wv", hidden),
        "self_attn.o_proj": ("wo", Q_WIDTH),
        "mlp.gate_proj": ("w_gate", hidden),
        "mlp.up_proj": ("w_up", hidden),
        "mlp.down_proj": ("w_down", inter),
    }
    norms = {
        "input_layernorm": "input_norm_weight",
        "self_attn.q_norm": "q_norm_weight",
        "self_attn.k_norm": "k_norm_weight",
        "post_attention_layernorm": "post_norm_weight",
    }
    with torch.no_grad():
        for n, layer in enumerate(model.layers):
            for theirs, (ours, depth) in projections.items():
                layer.get_submodule(theirs).weight.copy_(values[ours][n * depth : (n + 1) * depth].T)
            for theirs, ours in norms.items():
                layer.get_submodule(theirs).weight.copy_(values[ours][n])
    return model


def cached(values: Values, name: str, layer: int, b: int, tokens: int) -> torch.Tensor:
    """What a cache holds for a sequence, spelled out token by token: [KV_HEADS, tokens, HEAD_DIM]."""
    rows_per_layer = values[name].shape[0] // values["q_norm_weight"].shape[0]
    rows = []
    for position in range(tokens):
        page = int(values["block_table"][b * MAX_PAGES + position // PAGE])
        first = layer * rows_per_layer + page * KV_HEADS * PAGE + position % PAGE
        rows.append(values[name][first : first + KV_HEADS * PAGE : PAGE])
    return torch.stack(rows, 1)


@torch.no_grad()
@pytest.mark.parametrize(
    ("lens", "starts"),
    [([5, 140, 1], [0, 0, 0]), ([3, 64, 130], [130, 128, 0]), ([1, 1], [PAGE - 1, 200])],
    ids=["prefill", "later chunks", "decode steps"],
)
def test_exact_is_hugging_faces_model_on_its_own_cache(lens: list[int], starts: list[int]) -> None:
    """What is before a chunk is in both caches; each layer's keys, values and result are compared."""
    values = make(len(lens), lens, seed=len(lens), start=starts, layers=2)
    check(values)
    model, ours, row = model_of(values), exact(values), 0
    for b, (length, start) in enumerate(zip(lens, starts, strict=True)):
        cache = DynamicCache()
        for layer in range(2 if start else 0):
            kept = (cached(values, name, layer, b, start)[None].double() for name in ("k_cache", "v_cache"))
            cache.update(*kept, layer)
        rows = slice(row, row + length)
        position = torch.arange(start, start + length)
        given = values["hidden_states"][rows][None].double()
        theirs = model(
            inputs_embeds=given, past_key_values=cache, position_ids=position[None], cache_position=position
        ).last_hidden_state[0]
        assert torch.allclose(ours["hidden_states"][rows], theirs, rtol=1e-4, atol=1e-4)
        for name, held in (("k_cache", "keys"), ("v_cache", "values")):
            new = ours[name].view(2, -1, KV_HEADS, HEAD_DIM)[:, rows]
            for layer in range(2):
                expected = getattr(cache.layers[layer], held)[0, :, start:].transpose(0, 1)
                assert torch.allclose(new[layer], expected, rtol=1e-4, atol=1e-4), (name, layer)
        row += length


@torch.no_grad()
def test_reference_in_chunks_then_a_decode_step_is_hugging_faces_whole_prompt() -> None:
    """300 tokens as chunks of 128, 100 and 71 on one cache, then one more: within rounding of one forward pass."""
    whole = make(1, 300, seed=5, layers=1)
    theirs = model_of(whole)(inputs_embeds=whole["hidden_states"][None].double()).last_hidden_state[0]
    values = copied(whole)
    rows = []
    for first, last in ((0, 128), (128, 228), (228, 299), (299, 300)):
        call = values | {
            "seq_lens": torch.tensor([last], dtype=torch.int32),
            "chunk_lens": torch.tensor([last - first], dtype=torch.int32),
            "slot_mapping": whole["slot_mapping"][first:last].clone(),
            "hidden_states": whole["hidden_states"][first:last].clone(),
        }
        check(call)
        reference(call)
        rows.append(call["hidden_states"])
    in_chunks = torch.cat(rows).double()
    assert torch.allclose(in_chunks, theirs, rtol=2.0**-7, atol=2e-2)
    reference(whole)
    for name, ours in {**written(whole, values), "hidden_states": in_chunks}.items():
        assert torch.allclose(ours.double(), written(whole, whole)[name].double(), rtol=2.0**-7, atol=1e-3), name


@pytest.mark.parametrize("layers", [1, 3])
def test_reference_is_exact_within_rounding(layers: int) -> None:
    values = make(3, [70, 1, 20], seed=layers, start=[100, 0, 3 * PAGE], layers=layers)
    before = copied(values)
    unrounded = exact(values)
    assert all(torch.equal(values[name], before[name]) for name in values)
    reference(values)
    rows = written(values, values)
    assert set(rows) == set(unrounded) == set(limits(values)) == set(OUTPUTS)
    for name, actual in rows.items():
        assert actual.dtype == torch.bfloat16
        assert unrounded[name].dtype == torch.float64
        rtol, atol = limits(values)[name]
        assert ((actual.double() - unrounded[name]).abs() <= atol / 2 + rtol * unrounded[name].abs()).all(), name
    for name, value in before.items():
        if name not in OUTPUTS:
            assert torch.equal(values[name], value), name


# The comparison.


def judged(change: Callable[[Values], None]) -> set[str]:
    """Outputs that the stage's comparators refuse when they are the reference's but for one change."""
    values = make(2, [9, 30], start=[150, 0], layers=2)
    reference(values)
    other = copied(values)
    change(other)
    given = {name: torch.as_tensor(v) for name, v in values.items() if name not in OUTPUTS}
    return set(compare_outputs({n: other[n] for n in OUTPUTS}, values, compare_fn=COMPARE_FN, inputs=given)[1])


def first_row(values: Values, layer: int) -> int:
    """The cache row of head 0 of the call's first token."""
    slot = int(values["slot_mapping"][0])
    per_layer = values["k_cache"].shape[0] // 2
    return layer * per_layer + slot // PAGE * KV_HEADS * PAGE + slot % PAGE


def added(name: str, row: Callable[[Values], int], by: float) -> Callable[[Values], None]:
    def change(values: Values) -> None:
        column = int(values[name][row(values)].abs().argmin())
        values[name][row(values), column] += by

    return change


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (lambda values: None, set()),
        (added("hidden_states", lambda _: 38, 0.2), set()),
        (added("hidden_states", lambda _: 38, 0.4), {"hidden_states"}),
        (added("hidden_states", lambda _: 0, math.nan), {"hidden_states"}),
        (added("k_cache", lambda v: first_row(v, 0), 0.01), set()),
        (added("k_cache", lambda v: first_row(v, 0), 0.03), {"k_cache"}),
        (added("v_cache", lambda v: first_row(v, 1), 0.03), set()),
        (added("v_cache", lambda v: first_row(v, 1), 0.06), {"v_cache"}),
        (added("v_cache", lambda v: first_row(v, 1), math.inf), {"v_cache"}),
        (added("v_cache", lambda v: first_row(v, 0) - 1, 0.01), {"v_cache"}),  # a token of an earlier call
    ],
)
def test_the_tolerance_grows_with_the_layers_and_what_is_not_written_stays(
    change: Callable[[Values], None], refused: set[str]
) -> None:
    assert judged(change) == refused


# The inputs.


def test_specs_are_the_stages_parameters_at_full_shapes() -> None:
    described = {s.name: (tuple(s.shape), s.dtype, s.is_output) for s in specs(2, [3, 500], start=[0, 100], layers=2)}
    h, i, fp32, bf16, int32 = qwen3.HIDDEN, qwen3.INTERMEDIATE, torch.float32, torch.bfloat16, torch.int32
    rows = 2 * (1 + 5 + 8) * KV_HEADS * PAGE
    assert described == {
        "input_norm_weight": ((2, h), fp32, False),
        "wq": ((2 * h, 5120), bf16, False),
        "wk": ((2 * h, KV_HIDDEN), bf16, False),
        "wv": ((2 * h, KV_HIDDEN), bf16, False),
        "q_norm_weight": ((2, HEAD_DIM), fp32, False),
        "k_norm_weight": ((2, HEAD_DIM), fp32, False),
        "rope_cos": ((MAX_CTX, HEAD_DIM), fp32, False),
        "rope_sin": ((MAX_CTX, HEAD_DIM), fp32, False),
        "wo": ((2 * 5120, h), bf16, False),
        "post_norm_weight": ((2, h), fp32, False),
        "w_gate": ((2 * h, i), bf16, False),
        "w_up": ((2 * h, i), bf16, False),
        "w_down": ((2 * i, h), bf16, False),
        "seq_lens": ((2,), int32, False),
        "chunk_lens": ((2,), int32, False),
        "chunk_offsets": ((2,), int32, False),
        "block_table": ((2 * MAX_PAGES,), int32, False),
        "slot_mapping": ((503,), int32, False),
        "k_cache": ((rows, HEAD_DIM), bf16, True),
        "v_cache": ((rows, HEAD_DIM), bf16, True),
        "hidden_states": ((503, h), bf16, True),
    }


@pytest.mark.parametrize("batch", [1, 2, BATCH])
def test_default_chunks_are_128_tokens_in_all(batch: int) -> None:
    values = make(batch, seed=1, start=None)
    check(values)
    assert int(values["chunk_lens"].sum()) == 128
    assert int(values["chunk_lens"].min()) >= 1
    assert torch.equal(values["chunk_lens"], make(batch, seed=1)["chunk_lens"])
    assert (values["seq_lens"] > values["chunk_lens"]).any()


def test_inputs_are_seeded() -> None:
    values, same, other = make(1, 3, seed=1), make(1, 3, seed=1), make(1, 3, seed=2)
    for name in ("w_up", "wq", "hidden_states", "k_cache"):
        assert torch.equal(values[name], same[name])
        assert not torch.equal(values[name], other[name])
    assert not torch.equal(values["w_up"], values["w_gate"])
    assert not torch.equal(values["k_cache"], values["v_cache"])


def test_large_weights_repeat_values_but_no_row() -> None:
    weight = make(1, 1, hidden=1024, inter=4608)["w_gate"]
    assert weight.numel() > 4_194_301
    assert float(weight.float().std()) == pytest.approx(0.02, rel=1e-3)
    assert torch.equal(weight.view(-1)[4_194_301:], weight.view(-1)[: weight.numel() - 4_194_301])
    assert len({tuple(row.tolist()) for row in weight[:, :8]}) == 1024


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"batch": 17}, "batch is 17.*16"),
        ({"layers": 0}, "layers is 0"),
        ({"ctx": 0}, "ctx of sequence 0 is 0.*1 to 512"),
        ({"ctx": MAX_CHUNK + 1}, "ctx of sequence 0 is 513"),
        ({"batch": 2, "ctx": [1]}, "ctx has 1 lengths for 2 sequences"),
        ({"start": -1}, "start of sequence 0 is -1"),
        ({"ctx": 512, "start": MAX_CTX - 511}, "start of sequence 0 is 3585: with 512 tokens.*0 to 3584"),
        ({"batch": 2, "start": [0, 0, 0]}, "start has 3 lengths for 2"),
        ({"ctx": 5, "rope_rows": 4}, "start of sequence 0 is 0.*-1"),
        ({"hidden": 768}, "hidden width is 768: must be a multiple of 512"),
        ({"inter": 128}, "intermediate width is 128: must be a multiple of 256"),
    ],
)
def test_impossible_inputs_are_not_built(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        specs(**arguments)


def put(name: str, index: Any, value: Any) -> Callable[[Values], None]:
    return lambda values: values[name].__setitem__(index, value)


def replace(name: str, other: Callable[[Any], Any]) -> Callable[[Values], None]:
    return lambda values: values.update({name: other(values[name])})


def page_twice(values: Values) -> None:
    values["block_table"][0] = values["block_table"][1]


# Three sequences of 200 (its last 5), 1 and 300 (its last 128) tokens on 2 + 1 + 3 + 2 pages.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace("hidden_states", lambda h: h[:-1]), r"slot_mapping has shape \[134\]: must be \[133\]"),
        (replace("hidden_states", lambda h: h.float()), "hidden_states has dtype torch.float32"),
        (replace("hidden_states", lambda h: h.T.contiguous().T), "hidden_states is not contiguous"),
        (replace("wq", lambda w: w[:, :-1].contiguous()), r"wq has shape \[1024, 5119\]: must be \[1024, 5120\]"),
        (replace("w_down", lambda w: w[:-1]), "w_down has shape"),
        (replace("w_gate", lambda w: w[:, :200].contiguous()), "intermediate width is 200"),
        (replace("input_norm_weight", lambda w: w[:0]), "input_norm_weight has 0 rows"),
        (replace("input_norm_weight", lambda w: w[:1]), r"wq has shape \[1024, 5120\]: must be \[512, 5120\]"),
        (replace("rope_sin", lambda r: r[:-1]), "rope_sin has shape"),
        (replace("seq_lens", lambda s: s[:0]), "seq_lens has 0 sequences"),
        (replace("seq_lens", lambda s: s.long()), "seq_lens has dtype torch.int64"),
        (replace("chunk_lens", lambda s: s[:2]), r"chunk_lens has shape \[2\]: must be \[3\]"),
        (replace("wo", lambda _: None), "wo must be a tensor, not NoneType"),
        (lambda values: values.pop("slot_mapping"), "slot_mapping must be a tensor"),
        (replace("k_cache", lambda k: k[:-1]), r"v_cache has shape|k_cache has \d+ rows"),
        (lambda v: v.update(k_cache=v["k_cache"][:100], v_cache=v["v_cache"][:100]), "k_cache has 100 rows"),
        (put("chunk_lens", 1, 0), r"chunk_lens\[1\] is 0: must be 1 to 512"),
        (put("chunk_lens", 0, 513), r"chunk_lens\[0\] is 513"),
        (put("seq_lens", 0, 4), r"seq_lens\[0\] is 4: must be 5, the tokens of its chunk, to 4096"),
        (put("seq_lens", 2, 4097), r"seq_lens\[2\] is 4097"),
        (put("seq_lens", 2, 401), r"seq_lens\[2\] is 401: rope_cos and rope_sin have 400 positions"),
        (put("chunk_offsets", 2, 5), r"chunk_offsets\[2\] is 5: must be 6"),
        (put("chunk_lens", 2, 127), "hidden_states has 134 rows: chunk_lens add up to 133"),
        (put("block_table", 1, 8), r"block_table\[1\] \(sequence 0, tokens 128 to 255\) is 8: must be 0 to 7"),
        (put("block_table", 1, -1), r"block_table\[1\].*is -1"),
        (put("block_table", 5, 9), r"block_table\[5\].*is 9"),
        (put("slot_mapping", 0, 0), r"slot_mapping\[0\] is 0: token 195 of sequence 0 has slot"),
        (put("slot_mapping", 133, -1), r"slot_mapping\[133\] is -1: token 299 of sequence 2"),
        (page_twice, r"block_table has a page twice for sequence 0"),
    ],
)
def test_bad_values_are_refused_and_left_alone(change: Callable[[Values], None], message: str) -> None:
    values = make(3, [5, 1, 128], start=[195, 0, 172], layers=2, rope_rows=400, spare_pages=2)
    check(values)
    change(values)
    before = copied(values)
    with pytest.raises(InputError, match=message):
        check(values)
    for name, value in before.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(values[name], value), name


def test_a_page_that_is_only_read_may_be_shared_but_not_one_that_is_written() -> None:
    values = make(2, [5, 5], start=[PAGE, PAGE])
    values["block_table"][MAX_PAGES] = values["block_table"][0]  # a common beginning
    check(values)
    values = make(2, [5, 1], start=[0, PAGE])
    values["block_table"][MAX_PAGES] = values["block_table"][0]
    with pytest.raises(InputError, match=r"block_table\[32\] is page \d for sequence 1: sequence 0 writes that page"):
        check(values)
