"""A puzzle in JupyterLab, in a real browser: hints, a wrong answer, one that passes, and progress that stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from test_browser import SESSION, begin, chrome, closed, ended, jupyterlab, new_page, notebook, opened, output, pictures

from helpers.puzzles import pages, stub_text
from helpers.puzzles.found import find, puzzles

__all__ = ["chrome"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
NAME = "add_row"
ENTRY = find(NAME)
PROGRESS, ASKED, CELL = range(3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A notebook with one puzzle, and answers of its own."""
    made = tmp_path_factory.mktemp("puzzles")
    (made / "notebooks").mkdir()
    cells = [pages.SETUP, f'puzzle("{NAME}")', f"%%puzzle {NAME}\n{stub_text.stub(ENTRY)}"]
    notebook(made / "notebooks" / "mine.ipynb", cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBOOK_ANSWERS", str(made / "answers"))
        yield made


@pytest.fixture(scope="module")
def page(chrome, folder: Path) -> Iterator[Page]:
    """The notebook, all of it run."""
    with jupyterlab(folder) as lab:
        made = new_page(chrome)
        opened(made, lab, "mine")
        begin(made)
        ended(made, lab, "mine")
        yield made
        pictures(made, "puzzles")
        closed(made)


def run_with(page: Page, source: str) -> None:
    """Put a text in place of the puzzle's cell, as from a clipboard, and run it."""
    page.locator(".jp-NotebookPanel:visible .jp-CodeCell").nth(CELL).locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(source)
    page.keyboard.press("Control+Enter")


def test_a_puzzle_from_its_stub_to_its_solution(page: Page, folder: Path):
    said = output(page, CELL)
    expect(output(page, PROGRESS)).to_contain_text(f"0 of {len(puzzles())} solved")
    expect(output(page, ASKED).locator("img")).to_be_visible()
    expect(output(page, ASKED)).to_contain_text("par:")
    expect(said).to_contain_text("this is the stub as it stands")
    expect(said.locator("img")).to_be_visible()  # the stub's result is wrong, and drawn

    said.get_by_role("button", name="hint").click()
    expect(said).to_contain_text("hint 1 of 2")
    said.get_by_role("button", name="hint").click()
    expect(said).to_contain_text("hint 2 of 2")
    assert not (folder / "answers" / f"{NAME}.py").exists()

    wrong = stub_text.module(ENTRY.file, "wrong_times", NAME)
    run_with(page, f"%%puzzle {NAME}\n{wrong}")
    expect(said).to_contain_text("not yet. wrong-result")
    expect(said.locator("img")).to_be_visible()
    said.get_by_role("button", name="solution").click()
    expect(said.get_by_role("button", name="really show it")).to_be_visible()
    expect(said).not_to_contain_text("col_expand_add(")

    run_with(page, f"%%puzzle {NAME}\n{stub_text.solution(ENTRY)}")
    expect(said).to_contain_text(f"{NAME}: solved")
    expect(said).to_contain_text("yours:")
    expect(said.locator("img")).to_have_count(0)
    assert "pl.col_expand_add" in (folder / "answers" / f"{NAME}.py").read_text()


def test_progress_is_there_after_a_restart(page: Page):
    page.evaluate(f"() => {SESSION}.kernel.restart()")
    cell = page.locator(".jp-NotebookPanel:visible .jp-CodeCell").nth(PROGRESS)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    shown = output(page, PROGRESS)
    expect(shown).to_contain_text(f"1 of {len(puzzles())} solved")
    expect(shown.locator("tr", has_text=NAME)).to_contain_text("solved")
    expect(shown.locator("tr", has_text=NAME)).to_contain_text("2")  # tries, and hints
