"""The prose of the notebooks: its length, what it claims of causes, and its formulas in pages without a network."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import nbformat
import pytest

from helpers.course import formulas, notebooks

WORDS = 1000


def prose(path: Path) -> str:
    """The markdown of a notebook without its code."""
    cells = nbformat.read(path, 4).cells
    return "\n\n".join(re.sub(r"```.*?```", "", c.source, flags=re.DOTALL) for c in cells if c.cell_type == "markdown")


@pytest.mark.parametrize("path", notebooks.find(), ids=lambda path: path.stem)
def test_no_notebook_is_longer_than_a_reader_takes_in(path: Path):
    assert len(prose(path).split()) <= WORDS


@pytest.mark.parametrize("path", notebooks.find(), ids=lambda path: path.stem)
def test_links_between_notebooks_lead_somewhere(path: Path):
    links = [t for t in re.findall(r"\]\(([^)#\s]+)", prose(path)) if not re.match(r"[a-z]+:", t)]
    assert links or path.stem.startswith("puzzles")
    assert [t for t in links if not (path.parent / t).exists()] == []


@pytest.mark.parametrize("path", notebooks.find(), ids=lambda path: path.stem)
def test_formulas_need_no_network(path: Path):
    text = prose(path)
    made = formulas.pictured(text)
    assert "$" not in re.sub(r"`[^`]*`", "", made)
    assert made.count("data:image/svg") >= text.count("$$") // 2


def test_a_formula_is_a_picture_with_its_text():
    image = formulas.picture(r"\frac{a}{b}", block=True)
    (data,) = re.findall(r"base64,([^\"]+)", image)
    svg = base64.b64decode(data).decode()
    assert svg.startswith("<svg")
    assert svg.count("M") >= 3
    assert r'alt="\frac{a}{b}"' in image
    assert formulas.pictured("costs $5, not `$x$`") == "costs $5, not `$x$`"
