"""What is said of the mistakes of a first day: of those who know PyTorch, Triton or CUDA, and try a puzzle."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.puzzles import stub_text
from helpers.puzzles.answers import check_cell
from helpers.puzzles.found import find
from helpers.puzzles.verdict import text

# The puzzle, an edit of its solution, what is said, and the line it is said of.
MISTAKES = {
    "a transpose as torch has it": (
        "transpose_tiles", ("pl.transpose(tile, 0, 1)", "tile.T"), "fix: pl.transpose(tile, 0, 1)", "tile.T",
    ),
    "a product as torch has it": (
        "matmul_tile", ("pl.matmul(left, right, out_dtype=pl.FP32)", "left @ right"),
        "fix: write pl.matmul(a, b, out_dtype=pl.FP32)", "left @ right",
    ),
    "a square as torch has it": ("rms_norm", ("pl.mul(tile, tile)", "tile**2"), "fix: write pl.mul(a, a)", "tile**2"),
    "a product as Triton has it": (
        "matmul_tile", ("pl.matmul(", "pl.dot("), "fix: pl.matmul(a, b, out_dtype=pl.FP32)", "pl.dot(",
    ),
    "a quotient rounded up as Triton has it": (
        "stride_blocks", ("pl.system.available_aiv_count()", "pl.cdiv(tiles, 9)"), "fix: (a + b - 1) // b", "pl.cdiv",
    ),
    "a barrier as CUDA has it": (
        "barrier", ('pl.system.syncall(core_type="aiv_only")', "pl.syncthreads()"),
        "pl.system.syncall() between blocks", "pl.syncthreads",
    ),
    "a sum as torch has it": ("row_softmax", ("pl.row_sum(", "pl.sum("), "fix: pl.row_sum(tile)", "pl.sum("),
    "the output's name for a tile": (
        "copy_tile", ("pl.assemble(y, tile, [0, 0])", "pl.mul(tile, 1.0)"),
        "'y' is bound to something else, which stores nothing", "y = pl.mul(tile, 1.0)",
    ),
    "the output's name for an input": (
        "copy_tile", ("pl.assemble(y, tile, [0, 0])", "x"), "fix: store a tile to it: y = pl.assemble(y,", "y = x",
    ),
    "what is stored and where, exchanged": (
        "copy_tile", ("pl.assemble(y, tile,", "pl.assemble(tile, y,"),
        "'y' is bound to something else, which stores nothing", "pl.assemble(tile, y,",
    ),
    "a return with the indent of a loop": (
        "load_once", ("\n    return y", "\n        return y"), "at the end, in line with the first statement", "return",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def answers_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKBOOK_ANSWERS", str(tmp_path))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_what_to_write(mistake: str):
    name, (right, wrong), said, line = MISTAKES[mistake]
    entry = find(name)
    solution = stub_text.solution(entry)
    assert right in solution
    told = text(entry, check_cell(entry, solution.replace(right, wrong)).verdict)
    assert said in told
    assert any(line in told_line for told_line in told.splitlines() if told_line.startswith("  line "))


def test_what_the_text_shows_is_told_without_a_size():
    """The sizes of the picture come last here, so the first that is tried has a name."""
    entry = find("barrier")
    solution = stub_text.solution(entry)
    told = text(entry, check_cell(entry, solution.replace("pl.get_block_num()", "pl.get_blocks()")).verdict)
    assert "(with" not in told.splitlines()[0]


def test_what_a_size_shows_is_told_with_it():
    entry = find("stride_blocks")
    cell = stub_text.solution(entry).replace("block, tiles, pl.get_block_num()", "block, tiles")
    assert "(with tiles=3)" in text(entry, check_cell(entry, cell).verdict)
