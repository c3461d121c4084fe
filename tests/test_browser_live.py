"""`live` in JupyterLab, in a real browser: a file is edited on disk, and the view follows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from test_browser import begin, chrome, closed, ended, jupyterlab, new_page, notebook, opened, output, pictures

__all__ = ["chrome"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

KERNEL = """import pypto.language as pl


@pl.jit
def k(x: pl.Tensor[[64, 64], pl.FP32], y: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
    for b in pl.spmd(2, name_hint="scale"):
        y[b * 32 : b * 32 + 32, :] = pl.mul(x[b * 32 : b * 32 + 32, :], 2.0)
    return y
"""
CELLS = [
    """import torch
from golden import TensorSpec
from helpers.widgets import live

specs = [
    TensorSpec("x", [64, 64], torch.float32, init_value=torch.randn),
    TensorSpec("y", [64, 64], torch.float32, is_output=True),
]


def reference(values):
    values["y"][:] = values["x"] * 2


view = live("mine.py:k", specs=specs, reference=reference)
view""",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("live")
    (made / "notebooks").mkdir()
    notebook(made / "notebooks" / "mine.ipynb", CELLS)
    (made / "notebooks" / "mine.py").write_text(KERNEL)
    return made


@pytest.fixture(scope="module")
def page(chrome, folder: Path) -> Iterator[Page]:
    """The notebook CELLS, all of it run."""
    with jupyterlab(folder) as lab:
        made = new_page(chrome)
        opened(made, lab, "mine")
        begin(made)
        ended(made, lab, "mine")
        yield made
        pictures(made, "live")
        closed(made)


def saves(view: Locator) -> int:
    """How many saves the strip chart has."""
    return len({c.get_attribute("data-save") for c in view.locator(".workbook-strip circle").all()})


def test_the_view_follows_the_file(page: Page, folder: Path):
    """Wrong, right in another way, a mistake, and its repair."""
    file, view = folder / "notebooks" / "mine.py", output(page, 0)
    errors = view.locator("img.workbook-error-map, .workbook-error-map img").first
    verdict = view.locator("b").nth(1)
    expect(verdict).to_have_text("PASS")
    expect(errors).to_be_visible()
    before, first = errors.get_attribute("src"), saves(view)

    file.write_text(KERNEL.replace("2.0", "3.0"))
    expect(verdict).to_have_text("FAIL")
    expect(errors).not_to_have_attribute("src", before)
    assert saves(view) == first + 1
    expect(view.locator("pre").first).to_contain_text("first differs at mine.py:7")
    wrong = errors.get_attribute("src")

    file.write_text(KERNEL.replace("2.0", "1.0 + 1.0"))
    expect(verdict).to_have_text("PASS")
    expect(view.locator("pre")).to_have_count(0)
    expect(errors).not_to_have_attribute("src", wrong)
    assert saves(view) == first + 2

    file.write_text(KERNEL.replace("pl.mul(", "pl.sigmoid("))
    expect(verdict).to_have_text("refused")
    said = view.locator("pre").first
    expect(said).to_contain_text("pl.sigmoid")
    expect(said).to_contain_text("mine.py:7")
    expect(view.locator("table.workbook-stale")).to_be_visible()
    expect(errors).to_have_class(re.compile("workbook-stale"))

    file.write_text(KERNEL)
    expect(verdict).to_have_text("PASS")
    expect(view.locator("pre")).to_have_count(0)
    expect(view.locator(".workbook-stale")).to_have_count(0)
    assert saves(view) == first + 4
