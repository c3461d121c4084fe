"""The notebooks in JupyterLab, in a real browser: every cell runs, sliders move figures, a click shows a task.

Needs a Chromium on the PATH (Debian: apt-get install chromium); without one these tests are skipped, which the
summary says. Nothing is downloaded. What the browser showed is kept as pictures under out/browser/.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import chromium
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "out" / "browser"
NOTEBOOKS = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
SETTINGS = {  # every cell in the page at once; nothing asked of the network
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a JupyterLab on a free port with a copy of the notebooks; its settings are its own."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    token = secrets.token_hex(16)
    own = {
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_DATA_DIR": folder / "data",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "PYTHONPATH": ROOT,
    }
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--expose-app-in-browser",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder / 'notebooks'}",
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ]  # fmt: skip
    log = folder / "log"
    with open(log, "w") as chatter:
        server = subprocess.Popen(
            command, stdout=chatter, stderr=chatter, env={**os.environ, **{k: str(v) for k, v in own.items()}}
        )
    try:
        yield f"{address(server, folder / 'runtime', log)}lab/tree/{{}}.ipynb?reset&token={token}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def address(server: subprocess.Popen, runtime: Path, log: Path) -> str:
    for _ in range(600):
        assert server.poll() is None, log.read_text()[-3000:]
        for file in runtime.glob("jpserver-*.json"):
            return json.loads(file.read_text())["url"]
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start in a minute:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium())
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code').map(c => ({
  prompt: c.prompt, ran: c.model.executionCount, source: c.model.sharedModel.source,
  errors: c.model.outputs.toJSON().filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue),
}))"""


def opened(page: Page, lab: str, name: str) -> None:
    """The notebook with its kernel ready, and nothing shown that was stored with it."""
    page.goto(lab.format(name))
    page.wait_for_function(
        "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel", timeout=60_000
    )
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
    )
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")


def run_all(page: Page) -> None:
    """Run all cells from the menu, and wait until the last has ended."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()
    page.wait_for_function(f"() => ({CELLS})().every(c => c.ran !== null && c.prompt !== '*')", timeout=500_000)


def pictures(page: Page, name: str) -> None:
    """Keep what the notebook shows, from top to bottom, in pictures of 3,000 pixels."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    before = page.viewport_size
    page.set_viewport_size({"width": before["width"], "height": 3000})
    panel = page.locator(".jp-NotebookPanel:visible .jp-WindowedPanel-outer").first
    for i in range(20):
        panel.evaluate("(e, i) => e.scrollTo(0, i * e.clientHeight)", i)
        panel.screenshot(path=PICTURES / f"{name}-{i + 1}.png")
        if panel.evaluate("e => e.scrollTop + e.clientHeight >= e.scrollHeight - 1"):
            break
    page.set_viewport_size(before)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_runs(page: Page, lab: str, name: str):
    opened(page, lab, name)
    run_all(page)
    cells = page.evaluate(CELLS)
    assert len(cells) > 5
    assert [c for c in cells if c["errors"]] == []
    pictures(page, name)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")  # frees its memory
