"""`python -m bench.first_kernel [FOLDER]`: from `make lab` to the first own kernel that passes, as a newcomer goes.

A browser does what the pages say and nothing else: read 00_start_here as far as the kernel of six lines, run its cells,
change it and run it again, follow the link to the puzzles, read as far as the first, solve it. Seconds of the machine
are measured. What a reader adds is counted: the words of all that stands before each step, at 200 a minute, and what is
typed, at 200 characters a minute. Thinking is not counted.

FOLDER: a checkout, such as a fresh clone, whose set-up is then part of the time; without one, this.
Needs a Chromium on the PATH. Writes into FOLDER's out/answers what a newcomer would; WORKBOOK_ANSWERS can say where.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from playwright.sync_api import Page, expect, sync_playwright

WORDS, KEYS = 200, 200  # that a reader reads and types in a minute
ANSWER = "y = pl.assemble(y, tile, [0, 0])"  # in place of the stub's comment
WAIT = 300_000


def words(cells: list) -> int:
    """Words of the text and of the code of some cells of a notebook."""
    return sum(len(re.sub(r"https?://\S+|[|`*#$-]+", " ", c.source).split()) for c in cells)


def read(folder: Path, name: str, until: str) -> int:
    """Words of a notebook up to the cell that has a text, that cell included."""
    cells = nbformat.read(folder / "notebooks" / f"{name}.ipynb", 4).cells
    last = next(i for i, c in enumerate(cells) if until in c.source)
    return words(cells[: last + 1])


def main(folder: Path) -> None:
    """Go the way, and print what each step takes."""
    steps: list[tuple[str, float, int, int]] = []  # what, seconds of the machine, words, characters typed
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        begun = time.perf_counter()
        lab, address = _lab(folder, Path(made))
        try:
            steps.append(("make lab", time.perf_counter() - begun, 0, 0))
            chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            page.set_default_timeout(WAIT)
            expect.set_options(timeout=WAIT)
            begun = time.perf_counter()
            page.goto(address)
            _ready(page, "00_start_here")
            steps.append(("the page is there", time.perf_counter() - begun, 0, 0))
            before = read(folder, "00_start_here", "result[0, :4]")
            begun = time.perf_counter()
            _run(page, "from kernels import hello")
            _run(page, "def first(")
            _run(page, "result[0, :4]")
            expect(_cell(page, "result[0, :4]").locator(".jp-Cell-outputArea")).to_contain_text("2., 2., 2.")
            steps.append(("run the kernel of six lines", time.perf_counter() - begun, before, 0))
            begun = time.perf_counter()
            _edit(page, "def first(", "2.0", "3.0")
            _run(page, "def first(")
            _run(page, "result[0, :4]")
            expect(_cell(page, "result[0, :4]").locator(".jp-Cell-outputArea")).to_contain_text("3., 3., 3.")
            steps.append(("change it and run it again", time.perf_counter() - begun, 0, 3))
            begun = time.perf_counter()
            page.locator(".jp-NotebookPanel:visible a", has_text=re.compile("^puzzles$")).first.click()
            _ready(page, "puzzles_1_tiles")
            steps.append(("go to the puzzles", time.perf_counter() - begun, 0, 0))
            before = read(folder, "puzzles_1_tiles", "%%puzzle copy_tile")
            begun = time.perf_counter()
            _run(page, "%load_ext helpers")
            _run(page, 'puzzle("copy_tile")')
            _edit(page, "%%puzzle copy_tile", "# the tile is on chip now: store it into y", ANSWER)
            _run(page, "%%puzzle copy_tile")
            shown = _cell(page, "%%puzzle copy_tile").locator(".jp-Cell-outputArea")
            expect(shown).to_contain_text("copy_tile: solved")
            steps.append(("solve the first puzzle", time.perf_counter() - begun, before, len(ANSWER)))
            browser.close()
        finally:
            os.killpg(lab.pid, signal.SIGINT)
            time.sleep(0.5)
            os.killpg(lab.pid, signal.SIGKILL)
    for what, seconds, n, keys in steps:
        print(f"{what:30}{seconds:7.1f} s of the machine{n:7} words{keys:5} characters")
    machine, n, keys = (sum(s[i] for s in steps) for i in (1, 2, 3))
    reading, typing = n / WORDS * 60, keys / KEYS * 60
    print(f"machine {machine:.0f} s, reading {reading:.0f} s, typing {typing:.0f} s: "
          f"{(machine + reading + typing) / 60:.1f} minutes")  # fmt: skip


def _lab(folder: Path, made: Path) -> tuple[subprocess.Popen, str]:
    """`make lab`, and the address that it opens."""
    asked = made / "address"
    opener = made / "browser"
    opener.write_text(f'#!/bin/sh\ncp "${{1#file://}}" {asked}.page\nmv {asked}.page {asked}\n')
    opener.chmod(0o755)
    (made / "config").mkdir()
    server = {"allow_root": True, "port": 0}
    (made / "config" / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": server}))
    own = {
        "BROWSER": f"{opener} %s",
        "JUPYTER_CONFIG_DIR": str(made / "config"),
        "JUPYTERLAB_WORKSPACES_DIR": str(made / "spaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(made / "settings"),
    }
    log = open(made / "log", "w")
    lab = subprocess.Popen(
        ["make", "lab"], cwd=folder, stdout=log, stderr=log, env={**os.environ, **own}, start_new_session=True
    )
    while not asked.exists():
        if lab.poll() is not None:
            sys.exit(f"make lab ended:\n{(made / 'log').read_text()[-3000:]}")
        time.sleep(0.1)
    found = re.search(r'(?:url=|href=")([^"]+)"', asked.read_text())
    return lab, found[1].replace("&amp;", "&")


def _ready(page: Page, name: str) -> None:
    """The notebook is shown and its kernel answers."""
    page.locator(f".lm-TabBar-tab.jp-mod-current:has-text('{name}')").first.wait_for()
    for _ in range(600):
        shown = page.locator(".jp-NotebookPanel:visible .jp-Notebook-ExecutionIndicator[data-status=idle]")
        if shown.count():
            return
        page.wait_for_timeout(200)
    raise SystemExit(f"the kernel of {name} did not get ready")


def _cell(page: Page, has: str):
    """The code cell that has a text."""
    return page.locator(".jp-NotebookPanel:visible .jp-CodeCell", has_text=has).first


def _run(page: Page, has: str) -> None:
    """Click into a cell, press Shift and Enter, and wait until it has run."""
    cell = _cell(page, has)
    cell.scroll_into_view_if_needed()
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-InputPrompt").first).to_have_text(re.compile(r"\[\d+\]:"))


def _edit(page: Page, has: str, old: str, new: str) -> None:
    """Type a text in place of another one in a cell."""
    cell = _cell(page, has)
    cell.scroll_into_view_if_needed()
    line = cell.locator(".cm-line", has_text=old).first
    text = line.inner_text()
    line.click()
    page.keyboard.press("Home")
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.type(text.replace(old, new))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else Path(__file__).parents[1])
