"""The chunks of a prefill's call, and what the values of stage prefill must be, see `golden.prefill`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from golden import inputs
from helpers.errors import InputError
from kernels.qwen3 import HEAD_DIM, HEADS, KV_HEADS, KV_HIDDEN, MAX_CHUNK, MAX_CTX, MAX_PAGES, PAGE

Q_WIDTH = HEADS * HEAD_DIM


class Chunk(NamedTuple):
    """What a call brings of sequence `b`: rows of hidden_states, for positions `start` to `end` - 1."""

    b: int
    rows: slice
    start: int
    end: int


def chunks(values: dict[str, Any]) -> Iterator[Chunk]:
    """The chunks of a call, in order."""
    row = 0
    for b, (end, length) in enumerate(zip(values["seq_lens"].tolist(), values["chunk_lens"].tolist(), strict=True)):
        yield Chunk(b, slice(row, row + length), end - length, end)
        row += length


def check(values: dict[str, Any]) -> None:
    """Raise InputError, before anything is run, for values that this stage cannot be run on. Changes nothing.

    Checked: dtypes, shapes and that they fit together; widths that the tiles divide; 1 <= B <= BATCH; chunks of 1 to
    MAX_CHUNK tokens, one after the other without gaps, all of hidden_states; 1 <= chunk_len <= seq_len <= MAX_CTX
    and the rows of the rotary tables; pages of a sequence inside the cache (past its last page also -1 is allowed);
    slots where the block table says; no page written by one sequence and used by another.
    """
    tensors = {name: inputs.tensor(values, name, rank, dtype) for name, (rank, dtype) in _TENSORS.items()}
    batch = inputs.batch_of(tensors["seq_lens"])
    layers, hidden = tensors["input_norm_weight"].shape
    if layers < 1:
        raise InputError("input_norm_weight has 0 rows: must have one for each layer, 1 or more")
    inter = tensors["w_gate"].shape[1]
    inputs.check_widths(hidden, inter)
    tokens, rope_rows = tensors["hidden_states"].shape[0], tensors["rope_cos"].shape[0]
    cache_rows = tensors["k_cache"].shape[0]
    wanted = {
        "wq": [layers * hidden, Q_WIDTH],
        "wk": [layers * hidden, KV_HIDDEN],
        "wv": [layers * hidden, KV_HIDDEN],
        "q_norm_weight": [layers, HEAD_DIM],
        "k_norm_weight": [layers, HEAD_DIM],
        "rope_cos": [rope_rows, HEAD_DIM],
        "rope_sin": [rope_rows, HEAD_DIM],
        "wo": [layers * Q_WIDTH, hidden],
        "post_norm_weight": [layers, hidden],
        "w_gate": [layers * hidden, inter],
        "w_up": [layers * hidden, inter],
        "w_down": [layers * inter, hidden],
        "chunk_lens": [batch],
        "chunk_offsets": [batch],
        "block_table": [batch * MAX_PAGES],
        "slot_mapping": [tokens],
        "k_cache": [cache_rows, HEAD_DIM],
        "v_cache": [cache_rows, HEAD_DIM],
        "hidden_states": [tokens, hidden],
    }
    inputs.shapes(tensors, wanted)
    page_rows = KV_HEADS * PAGE
    if cache_rows == 0 or cache_rows % (layers * page_rows):
        raise InputError(
            f"k_cache has {cache_rows} rows: must be a multiple of {layers * page_rows}, "
            f"{layers} layers of whole pages of {page_rows} rows"
        )
    _check_chunks(tensors, rope_rows)
    _check_paging(tensors, cache_rows // layers // page_rows)


def _check_chunks(tensors: dict[str, torch.Tensor], rope_rows: int) -> None:
    """Lengths and offsets of the chunks, against hidden_states and the rotary tables."""
    row = 0
    rows = (tensors[name].tolist() for name in ("seq_lens", "chunk_lens", "chunk_offsets"))
    for b, (end, length, offset) in enumerate(zip(*rows, strict=True)):
        if not 1 <= length <= MAX_CHUNK:
            raise InputError(f"chunk_lens[{b}] is {length}: must be 1 to {MAX_CHUNK}")
        if not length <= end <= MAX_CTX:
            raise InputError(
                f"seq_lens[{b}] is {end}: must be {length}, the tokens of its chunk, to {MAX_CTX}, "
                f"what {MAX_PAGES} pages of block_table hold"
            )
        if end > rope_rows:
            raise InputError(f"seq_lens[{b}] is {end}: rope_cos and rope_sin have {rope_rows} positions only")
        if offset != row:
            raise InputError(f"chunk_offsets[{b}] is {offset}: must be {row}, chunks follow each other without gaps")
        row += length
    if row != tensors["hidden_states"].shape[0]:
        raise InputError(f"hidden_states has {tensors['hidden_states'].shape[0]} rows: chunk_lens add up to {row}")


def _check_paging(tensors: dict[str, torch.Tensor], pages: int) -> None:
    """Pages and slots of every sequence, against each other and a cache of `pages` pages."""
    table = tensors["block_table"].view(-1, MAX_PAGES).tolist()
    slots = tensors["slot_mapping"].tolist()
    writer: dict[int, int] = {}
    for chunk in chunks(tensors):
        used = -(-chunk.end // PAGE)
        for p, page in enumerate(table[chunk.b]):
            if not (0 <= page < pages or (page == -1 and p >= used)):
                raise InputError(
                    f"block_table[{chunk.b * MAX_PAGES + p}] (sequence {chunk.b}, tokens {p * PAGE} to "
                    f"{(p + 1) * PAGE - 1}) is {page}: must be 0 to {pages - 1}, the pages of the cache"
                )
        for row, position in zip(range(chunk.rows.start, chunk.rows.stop), range(chunk.start, chunk.end), strict=True):
            slot = table[chunk.b][position // PAGE] * PAGE + position % PAGE
            if slots[row] != slot:
                raise InputError(
                    f"slot_mapping[{row}] is {slots[row]}: token {position} of sequence {chunk.b} has slot {slot}, "
                    "as block_table says"
                )
        for p in range(chunk.start // PAGE, used):
            writer.setdefault(table[chunk.b][p], chunk.b)
    for chunk in chunks(tensors):
        for p in range(-(-chunk.end // PAGE)):
            page = table[chunk.b][p]
            if writer.get(page, chunk.b) != chunk.b:
                raise InputError(
                    f"block_table[{chunk.b * MAX_PAGES + p}] is page {page} for sequence {chunk.b}: sequence "
                    f"{writer[page]} writes that page"
                )
        used_pages = table[chunk.b][: -(-chunk.end // PAGE)]
        if len(set(used_pages)) != len(used_pages):
            raise InputError(f"block_table has a page twice for sequence {chunk.b}: {used_pages}")


_TENSORS: dict[str, tuple[int, torch.dtype]] = {
    **dict.fromkeys(
        ("input_norm_weight", "q_norm_weight", "k_norm_weight", "rope_cos", "rope_sin", "post_norm_weight"),
        (2, torch.float32),
    ),
    **dict.fromkeys(("wq", "wk", "wv", "wo", "w_gate", "w_up", "w_down"), (2, torch.bfloat16)),
    **dict.fromkeys(("seq_lens", "chunk_lens", "chunk_offsets", "block_table", "slot_mapping"), (1, torch.int32)),
    **dict.fromkeys(("k_cache", "v_cache", "hidden_states"), (2, torch.bfloat16)),
}
