"""A task opened in JupyterLab, in a real browser: from the timeline, step by step, with the values of its elements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from test_browser import chrome, jupyterlab, notebook, output, run_all

__all__ = ["chrome"]
CELLS = [
    "from helpers.inside import inside\n"
    "from helpers.profile import profile\n"
    "from helpers.widgets import graph, look, timeline\n"
    "ours = inside('flash_attention.flat', size='small').run\n"
    "theirs = inside('flash_attention.flat', size='small').run",
    "timeline(profile(ours.trace), of=ours)",
    "graph(ours.trace, of=ours)",
    "look(inside(ours, 'softmax', 1), beside=inside(theirs, 'softmax', 1))",
]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder: Path = tmp_path_factory.mktemp("inside")
    (folder / "notebooks").mkdir()
    notebook(folder / "notebooks" / "inside.ipynb", CELLS)
    with jupyterlab(folder) as lab, run_all(request.getfixturevalue("chrome"), lab, "inside") as page:
        yield page


def test_a_click_in_the_timeline_opens_the_task(page: Page):
    shown = output(page, 1)
    lanes = shown.locator(".workbook-lanes canvas")
    lanes.scroll_into_view_if_needed()
    lanes.focus()
    lanes.press("ArrowRight")
    expect(shown).to_contain_text(re.compile(r"of task '\w+', launch \d+, on a2a3interp: \d+ operations"))
    expect(shown.locator(".workbook-tile canvas")).to_be_visible()
    lanes.press("Escape")
    expect(shown.locator(".workbook-tile canvas")).to_have_count(0)


def test_a_click_in_the_graph_opens_the_task(page: Page):
    shown = output(page, 2)
    shown.get_by_role("button", name=re.compile("click to open the task")).first.click()
    expect(shown).to_contain_text(re.compile(r"of task '\w+', launch \d+, on a2a3interp: \d+ operations"))


def test_a_step_and_the_value_of_an_element(page: Page):
    shown = output(page, 3)
    shown.scroll_into_view_if_needed()
    expect(shown).to_contain_text("block 1 of")
    before = shown.locator("pre").last.inner_text()
    for _ in range(5):  # to a tile that is valid as a whole
        shown.get_by_role("button", name=re.compile(r"next\s*$")).click()
    expect(shown.locator("pre").last).not_to_have_text(before)
    expect(shown).to_contain_text("elements are the same, bit by bit")
    tile, tip = shown.locator(".workbook-tile canvas"), shown.locator(".workbook-tip")
    tile.scroll_into_view_if_needed()
    tile.hover(position={"x": 30, "y": 30})
    expect(tip).to_have_text(re.compile(r"^\[\d+, \d+\]: \S+, \S+ in there"))
    said = tip.inner_text()
    tile.focus()
    tile.press("ArrowRight")
    expect(tip).not_to_have_text(said)
    tile.press("Escape")
    expect(tip).to_be_hidden()


def test_another_block(page: Page):
    shown = output(page, 3)
    block = shown.get_by_label("block")
    block.fill("0")
    block.press("Enter")
    expect(shown).to_contain_text("block 0 of")


def test_the_keys_step(page: Page):
    shown = output(page, 3)
    slider = shown.locator(".noUi-handle").first
    text = shown.locator("pre").last
    before = text.inner_text()
    slider.focus()
    slider.press("ArrowRight")
    expect(text).not_to_have_text(before)
