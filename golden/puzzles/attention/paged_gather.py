"""Puzzle paged_gather: what is asked, and its golden."""

from __future__ import annotations

from typing import Any

import torch

from golden.puzzles.record import Puzzle
from golden.puzzles.tensors import drawn, given, wanted
from golden.spec import TensorSpec


def specs(pages: int = 4, of: int = 7) -> list[TensorSpec]:
    """cache [of * 16, 64] FP32, table [pages] INT32, all different."""
    order = torch.randperm(of, generator=torch.Generator().manual_seed(pages + of))
    table = order[:pages].int()
    return [given("cache", drawn(of * 16, 64)), given("table", table), wanted("y", pages * 16, 64)]


def reference(values: dict[str, Any]) -> None:
    """The pages of the table, one after the other."""
    pages = values["cache"].view(-1, 16, 64)
    values["y"][:] = pages[values["table"].long()].flatten(0, 1)


PUZZLE = Puzzle(
    order=3,
    title="Gather pages",
    math=("y[16 i + r, c] = cache[16 table[i] + r, c]   for r < 16",),
    text="""\
A KV cache is made of pages, and a table says which pages a sequence has. A task can read a number from a tensor
in GM, and compute with it where a tile is. The stub copies the first pages, whatever the table says.""",
    hints=(
        "A block reads its entry of the table first.",
        "`page = pl.tensor.read(table, [i])`, and the tile begins at row `page * PAGE` of cache.",
    ),
    specs=specs,
    reference=reference,
    stub="wrong-result",
    wrong={"wrong_row": "wrong-result", "wrong_scatter": "out-of-bounds", "wrong_page_by_page": "over-par"},
    cases=({"pages": 1, "of": 3}, {"pages": 5, "of": 9}),
    asked={"tasks": 1.0, "bytes": 1.0},
)
