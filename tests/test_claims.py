"""Every claim of the notebooks stands where it is said to, and holds; what no claim holds is no number and no gain; the
page that lists them is the newest."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from helpers.course import notebooks, prose
from helpers.course.claim_kit import Claim
from helpers.course.claims import CLAIMS, PAGE, page


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: f"{c.notebook[:3]}{c.sentence[:40]}")
def test_a_claim_stands_in_its_notebook_and_holds(claim: Claim):
    assert claim.stands()
    assert claim.holds()


@pytest.mark.parametrize("path", [p for p in notebooks.find() if p.stem[0].isdigit()], ids=lambda p: p.stem)
def test_no_number_and_no_gain_in_prose_is_without_a_check(path: Path):
    assert prose.loose(path) == []


def test_what_is_loose_is_found(tmp_path: Path):
    cells = [
        v4.new_markdown_cell("It takes 1,235 µs. `x[77]` and pull request 90 say nothing. How many of 55 are there? "),
        v4.new_markdown_cell("Wide tiles save a third, because rows are longer. What each is worth is in 03b."),
        v4.new_code_cell("x", outputs=[v4.new_output("stream", text="4,321 tasks")]),
        v4.new_markdown_cell("4,321 tasks on 24 cubes, in 2 waves."),
    ]
    path = tmp_path / "mine.ipynb"
    nbformat.write(v4.new_notebook(cells=cells), path)
    assert [n for n, _ in prose.loose(path)] == ["1235", "a third", "worth"]


def test_the_page_is_the_newest():
    assert PAGE.read_text(encoding="utf-8") == page()


def test_a_sentence_that_does_not_stand_there_is_seen():
    assert not Claim("01_rope_kv_cache", "128 blocks fill the chip", "", lambda: True).stands()
