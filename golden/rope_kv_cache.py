"""Stage rope_kv_cache: per-head Q/K norm, RoPE, and one new token per sequence into the paged KV cache.

The values of a run, by name; B sequences (1 to BATCH), L layers, R rows in the rotary tables, P pages:

    q_proj                        [BATCH, HIDDEN] FP32     projections of the new tokens; rows from B on are
    k_proj, v_proj                [BATCH, KV_HIDDEN] FP32  padding
    q_norm_weight, k_norm_weight  [L, HEAD_DIM] FP32
    rope_cos, rope_sin            [R, HEAD_DIM] FP32       row = position
    seq_lens                      [B] INT32                tokens, the new one included: it is at seq_len - 1
    block_table                   [B * MAX_PAGES] INT32    page of each PAGE tokens, the same for every layer
    slot_mapping                  [B] INT32                page * PAGE + offset of the new token
    k_cache, v_cache              [L * P * KV_HEADS * PAGE, HEAD_DIM] BF16, updated in place
                                  row = ((layer * P + page) * KV_HEADS + head) * PAGE + offset
    q_padded                      [B * KV_HEADS * Q_PAD, HEAD_DIM] BF16, output
                                  the Q_PER_KV query heads of a KV head, then zeros
    layer_idx                     INT32

Lengths and positions are in tokens. The math is that of Qwen3's attention; tests/test_golden_rope_kv_cache.py
holds it against the code of Hugging Face transformers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from golden import inputs
from golden.compare import Comparator, Tolerance, addressed_rows, close
from golden.compare import exact as same_bits
from golden.spec import ScalarSpec, TensorSpec
from helpers.errors import InputError
from kernels.qwen3 import (
    BATCH,
    EPS,
    HALF_DIM,
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

STAGE = {
    "order": 2,
    "title": "Q/K RMSNorm, RoPE, and K/V into the paged cache (decode)",
    "notebook": "01_rope_kv_cache",
    "versions": {"naive": {}, "per_sequence": {}, "flat": {}},
    "small": {"batch": 2, "ctx": (1, 130)},
}

# Kernel and reference both compute in FP32 and round once, to BF16. Their FP32 results differ in the last
# bits (order of the sum of squares, rsqrt), so a value near a rounding boundary can go to either neighbour.
# rtol: one BF16 ULP is 2^-7 of the power of two at or below the value, so 2^-7 of the value is at least one
# ULP and less than two.
# atol: RoPE subtracts, and a result near zero keeps the FP32 error of its terms while its own ULPs are small.
# A normalised element is at most sqrt(128) = 11.3, below 2^4 with its weight; FP32 rounds it by at most 2^-24
# of that, some 4 times on its way (norm, weight, two products): 2^4 * 2^-24 * 4 = 2^-18.
# V is cast and nothing else, rows that no slot addresses are not touched: both are compared bit by bit.
TOLERANCE = Tolerance(rtol=2.0**-7, atol=2.0**-18, text="1 BF16 ULP")


def _query_rows(_inputs: dict[str, Any], rows: int) -> torch.Tensor:
    """Rows of q_padded that hold query heads; the others are padding."""
    return torch.arange(rows).view(-1, Q_PAD)[:, :Q_PER_KV]


def addressed(values: dict[str, Any], cache_rows: int, layer: int | None = None) -> torch.Tensor:
    """Rows of a cache that this step writes: INT64 [B, KV_HEADS].

    Args:
        values: At least slot_mapping, q_norm_weight (for the number of layers) and, without `layer`, layer_idx.
        cache_rows: Rows of the whole cache, all layers.
        layer: The layer that writes, if not that of layer_idx.
    """
    layer = int(values["layer_idx"]) if layer is None else layer
    rows_per_layer = cache_rows // values["q_norm_weight"].shape[0]
    slots = values["slot_mapping"].long()
    heads = torch.arange(KV_HEADS)
    rows = (slots[:, None] // PAGE * KV_HEADS + heads) * PAGE + slots[:, None] % PAGE
    return layer * rows_per_layer + rows


COMPARE_FN: dict[str, Comparator] = {
    "k_cache": addressed_rows(addressed, close(TOLERANCE.rtol, TOLERANCE.atol)),
    "v_cache": same_bits(),
    "q_padded": addressed_rows(_query_rows, close(TOLERANCE.rtol, TOLERANCE.atol)),
}
"""The comparator of each output, for `golden.run_jit(compare_fn=...)`."""


def reference(values: dict[str, Any]) -> None:
    """Write k_cache, v_cache and q_padded of `values` in place, from the model's math.

    For a head x of q or k, in FP32: n = x / sqrt(mean(x^2) + EPS) * weight; then, lo and hi being the halves
    of n, lo * cos_lo - hi * sin_lo and hi * cos_hi + lo * sin_hi with the tables' row of the token's
    position; rounded to BF16. V is rounded only. Padding rows of q_padded become zero.
    """
    q, k, v = _heads(values, torch.float32)
    batch = q.shape[0]
    rows = addressed(values, values["k_cache"].shape[0])
    values["k_cache"][rows] = k.to(torch.bfloat16)
    values["v_cache"][rows] = v.to(torch.bfloat16)
    padded = values["q_padded"].view(batch, KV_HEADS, Q_PAD, HEAD_DIM)
    padded[:, :, :Q_PER_KV] = q.view(batch, KV_HEADS, Q_PER_KV, HEAD_DIM).to(torch.bfloat16)
    padded[:, :, Q_PER_KV:] = 0


def exact(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What this step would write if nothing were rounded: the same math in FP64. Changes nothing.

    Returns:
        What `written` gives, in FP64: q_padded [B * HEADS, HEAD_DIM], k_cache and v_cache [B * KV_HEADS, HEAD_DIM].
    """
    q, k, v = _heads(values, torch.float64)
    return {"q_padded": q.flatten(0, 1), "k_cache": k.flatten(0, 1), "v_cache": v.flatten(0, 1)}


def written(values: dict[str, Any], outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The rows of the outputs that this step writes, padding left out.

    Returns:
        BF16, rows by sequence, then head: q_padded [B * HEADS, HEAD_DIM], k_cache and v_cache [B * KV_HEADS, HEAD_DIM].
    """
    rows = addressed(values, outputs["k_cache"].shape[0]).flatten()
    heads = _query_rows(values, outputs["q_padded"].shape[0]).flatten()
    return {
        "q_padded": outputs["q_padded"][heads],
        "k_cache": outputs["k_cache"][rows],
        "v_cache": outputs["v_cache"][rows],
    }


def _heads(values: dict[str, Any], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normed and rotated q [B, HEADS, HEAD_DIM] and k [B, KV_HEADS, HEAD_DIM], and v as it is, computed in `dtype`."""
    layer = int(values["layer_idx"])
    positions = values["seq_lens"].long() - 1
    batch = positions.numel()
    cos = values["rope_cos"][positions][:, None].to(dtype)
    sin = values["rope_sin"][positions][:, None].to(dtype)
    q = values["q_proj"][:batch].view(batch, HEADS, HEAD_DIM).to(dtype)
    k = values["k_proj"][:batch].view(batch, KV_HEADS, HEAD_DIM).to(dtype)
    v = values["v_proj"][:batch].view(batch, KV_HEADS, HEAD_DIM).to(dtype)
    q = rotate(inputs.rms_norm(q, values["q_norm_weight"][layer], EPS), cos, sin)
    k = rotate(inputs.rms_norm(k, values["k_norm_weight"][layer], EPS), cos, sin)
    return q, k, v


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """RoPE over the last dimension: its two halves are the coordinates that turn."""
    lo, hi = x.split(HALF_DIM, dim=-1)
    return x * cos + torch.cat([-hi, lo], dim=-1) * sin


def rope_tables(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine tables of RoPE, each FP32 [rows, HEAD_DIM]; row = position, the two halves are equal.

    The angle of position p and pair i is p * ROPE_THETA^(-2i / HEAD_DIM), in radians, computed in FP32 as the
    model does: at position 4095 an FP64 table would differ from the one the model knows by up to 1e-4.
    """
    frequencies = 1.0 / ROPE_THETA ** (torch.arange(HALF_DIM, dtype=torch.float32) / HALF_DIM)
    angles = torch.arange(rows, dtype=torch.float32)[:, None] * frequencies
    return angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)


def specs(
    batch: int = BATCH,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
    layers: int = 2,
    layer: int = 1,
    rope_rows: int = MAX_CTX,
    spare_pages: int = 8,
    ahead: int = 0,
) -> list[TensorSpec | ScalarSpec]:
    """Realistic seeded inputs at the model's full shapes, one spec for each parameter of the stage's kernels.

    The pages of a sequence are drawn at random from a pool, so they are neither in order nor next to each
    other; entries of the block table past a sequence's last page are -1. Both caches are filled with random
    data before the run. Padding rows of the projections (batch index >= batch) are NaN: nothing may come of
    them.

    Args:
        batch: Sequences, 1 to BATCH.
        ctx: Length of every sequence, or of each; the new token included. None: ragged, up to `rope_rows`,
            with a sequence of the greatest length, one of 1 and, from 4 sequences on, one on either side of a
            page's end.
        seed: Same seed, same tensors.
        layers, layer: Layers in the cache, and the one that is written.
        rope_rows: Positions in the rotary tables.
        spare_pages: Pages of the pool that no sequence owns.
        ahead: Tokens after the new one for which every sequence has pages already.

    Raises:
        InputError: an argument out of its range.
    """
    inputs.of_layers(layers, layer)
    if rope_rows < 1 or spare_pages < 0 or ahead < 0:
        raise InputError(
            f"rope_rows is {rope_rows}, spare_pages {spare_pages}, ahead {ahead}: must be at least 1, 0 and 0"
        )
    longest = min(rope_rows, MAX_CTX) - ahead
    if ctx is None and 1 <= batch <= BATCH and longest > 0:
        ctx = _ragged(batch, seed, longest)
    lengths = inputs.lengths(batch, ctx, longest).tolist()

    owned = [-(-(length + ahead) // PAGE) for length in lengths]
    pages = sum(owned) + spare_pages
    pool = iter(torch.randperm(pages, generator=inputs.generator(seed, "pages")).tolist())
    table = torch.full([batch, MAX_PAGES], -1, dtype=torch.int32)
    slots = []
    for b, length in enumerate(lengths):
        table[b, : owned[b]] = torch.tensor(list(itertools.islice(pool, owned[b])), dtype=torch.int32)
        slots.append(int(table[b, (length - 1) // PAGE]) * PAGE + (length - 1) % PAGE)

    cache = [layers * pages * KV_HEADS * PAGE, HEAD_DIM]
    weights = [layers, HEAD_DIM]
    rope = [rope_rows, HEAD_DIM]
    fp32, int32, bf16 = torch.float32, torch.int32, torch.bfloat16

    def given(name: str, value: Sequence[int] | torch.Tensor) -> TensorSpec:
        tensor = torch.as_tensor(value, dtype=int32)
        return TensorSpec(name, list(tensor.shape), int32, init_value=tensor)

    def projection(name: str, width: int) -> TensorSpec:
        return inputs.normal(seed, name, [BATCH, width], fp32, std=2.0, batch=batch)

    def norm_weight(name: str) -> TensorSpec:
        return inputs.normal(seed, name, weights, fp32, mean=1.0, std=0.25)

    return [
        projection("q_proj", HIDDEN),
        projection("k_proj", KV_HIDDEN),
        projection("v_proj", KV_HIDDEN),
        norm_weight("q_norm_weight"),
        norm_weight("k_norm_weight"),
        TensorSpec("rope_cos", rope, fp32, init_value=lambda: rope_tables(rope_rows)[0]),
        TensorSpec("rope_sin", rope, fp32, init_value=lambda: rope_tables(rope_rows)[1]),
        given("seq_lens", lengths),
        given("block_table", table.flatten()),
        given("slot_mapping", slots),
        inputs.normal(seed, "k_cache", cache, bf16, is_output=True),
        inputs.normal(seed, "v_cache", cache, bf16, is_output=True),
        TensorSpec("q_padded", [batch * KV_HEADS * Q_PAD, HEAD_DIM], bf16, is_output=True),
        ScalarSpec("layer_idx", int32, layer),
    ]


def check(values: dict[str, Any]) -> None:
    """Raise InputError, before anything is run, for values that this stage cannot be run on. Changes nothing.

    Checked: what `check_step` checks, and q_padded.
    """
    batch = check_step(values)
    check_tensor(values, "q_padded", [batch * KV_HEADS * Q_PAD, HEAD_DIM], torch.bfloat16)


def check_step(values: dict[str, Any]) -> int:
    """Raise InputError unless `values` hold one decode step: every value of this stage but q_padded. Changes nothing.

    Checked: the projections, what `check_paged` checks, layer_idx.

    Returns:
        B, the number of sequences.
    """
    for name, width in (("q_proj", HIDDEN), ("k_proj", KV_HIDDEN), ("v_proj", KV_HIDDEN)):
        check_tensor(values, name, [BATCH, width], torch.float32)
    batch = check_paged(values)
    inputs.layer_of(values, values, "q_norm_weight")
    return batch


def check_paged(values: dict[str, Any]) -> int:
    """Raise InputError unless `values` hold the caches, and where in them a decode step reads and writes.

    Checked: dtypes, shapes and that they fit together; 1 <= B <= BATCH; 1 or more layers; 1 <= seq_len <= MAX_CTX
    and the rows of the rotary tables; pages of a sequence inside the cache (past its last page also -1 is
    allowed); slots inside the cache and where the block table says; no slot written twice. Changes nothing.

    Returns:
        B, the number of sequences.
    """
    tensors = {name: inputs.tensor(values, name, rank, dtype) for name, (rank, dtype) in _PAGED.items()}
    batch = inputs.batch_of(tensors["seq_lens"])
    layers = inputs.layers_of(tensors, "q_norm_weight")
    rope_rows = tensors["rope_cos"].shape[0]
    cache_rows = tensors["k_cache"].shape[0]
    sizes = {
        "q_norm_weight": [layers, HEAD_DIM],
        "k_norm_weight": [layers, HEAD_DIM],
        "rope_cos": [rope_rows, HEAD_DIM],
        "rope_sin": [rope_rows, HEAD_DIM],
        "block_table": [batch * MAX_PAGES],
        "slot_mapping": [batch],
        "k_cache": [cache_rows, HEAD_DIM],
        "v_cache": [cache_rows, HEAD_DIM],
    }
    inputs.shapes(tensors, sizes)
    page_rows = KV_HEADS * PAGE
    if cache_rows == 0 or cache_rows % (layers * page_rows):
        raise InputError(
            f"k_cache has {cache_rows} rows: must be a multiple of {layers * page_rows}, "
            f"{layers} layers of whole pages of {page_rows} rows"
        )
    _check_paging(tensors, batch, cache_rows // layers // page_rows, rope_rows)
    return batch


def _check_paging(tensors: dict[str, torch.Tensor], batch: int, pages: int, rope_rows: int) -> None:
    """Lengths, pages and slots of every sequence, against each other and a cache of `pages` pages."""
    table = tensors["block_table"].view(batch, MAX_PAGES).tolist()
    slots = tensors["slot_mapping"].tolist()
    writer: dict[int, int] = {}
    for b, length in enumerate(tensors["seq_lens"].tolist()):
        if not 1 <= length <= MAX_CTX:
            raise InputError(
                f"seq_lens[{b}] is {length}: must be 1 to {MAX_CTX}, what {MAX_PAGES} pages of block_table hold"
            )
        if length > rope_rows:
            raise InputError(f"seq_lens[{b}] is {length}: rope_cos and rope_sin have {rope_rows} positions only")
        used = -(-length // PAGE)
        for p, page in enumerate(table[b]):
            if not (0 <= page < pages or (page == -1 and p >= used)):
                raise InputError(
                    f"block_table[{b * MAX_PAGES + p}] (sequence {b}, page {p}) is {page}: must be 0 to "
                    f"{pages - 1}, the cache has {pages} pages a layer"
                )
        if not 0 <= slots[b] < pages * PAGE:
            raise InputError(
                f"slot_mapping[{b}] is {slots[b]}: must be 0 to {pages * PAGE - 1}, "
                f"the cache has {pages} pages of {PAGE} tokens a layer"
            )
        slot = table[b][used - 1] * PAGE + (length - 1) % PAGE
        if slots[b] != slot:
            raise InputError(
                f"slot_mapping[{b}] is {slots[b]}: must be {slot}, where block_table puts position {length - 1}"
            )
        if slot in writer:
            raise InputError(
                f"slot_mapping[{b}] is {slot}, as slot_mapping[{writer[slot]}] is: two sequences cannot write one slot"
            )
        writer[slot] = b


_PAGED: dict[str, tuple[int, torch.dtype]] = {
    "q_norm_weight": (2, torch.float32),
    "k_norm_weight": (2, torch.float32),
    "rope_cos": (2, torch.float32),
    "rope_sin": (2, torch.float32),
    "seq_lens": (1, torch.int32),
    "block_table": (1, torch.int32),
    "slot_mapping": (1, torch.int32),
    "k_cache": (2, torch.bfloat16),
    "v_cache": (2, torch.bfloat16),
}


def check_tensor(values: dict[str, Any], name: str, shape: list[int], dtype: torch.dtype) -> None:
    """Raise InputError unless the value of that name is a contiguous tensor of that shape and dtype."""
    inputs.shapes({name: inputs.tensor(values, name, len(shape), dtype)}, {name: shape})


def _ragged(batch: int, seed: int, longest: int) -> list[int]:
    """Lengths of the sequences where none are asked for, as `specs` says."""
    edges = [length for length in (longest, 1, PAGE, PAGE + 1) if length <= longest]
    drawn = torch.randint(1, longest + 1, [batch], generator=inputs.generator(seed, "seq_lens")).tolist()
    return [*edges[:batch], *drawn[min(batch, len(edges)) :]]
