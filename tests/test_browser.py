"""The notebooks in JupyterLab, in a real browser: whatever is live in them works, a slider moves a figure, a click
shows a task. Cells whose outputs stand still run under nbval, and here only where a live one needs what they compute.

Needs a Chromium on the PATH (Debian: apt-get install chromium); without one these tests are skipped, which the
summary says. Nothing is downloaded. What the browser showed is kept as pictures under out/browser/.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from conftest import chromium
from nbformat import v4
from playwright.sync_api import BrowserType, Locator, Page, expect, sync_playwright

from helpers.course.refresh import plain

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "out" / "browser"
NOTEBOOKS = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
WHOLE = {"00_start_here"}  # what a reader sees first, and as it is
SETTINGS = {  # every cell in the page at once; nothing asked of the network
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}

WIDGETS = [
    "from helpers.profile import profile\n"
    "from helpers.stages import find, trace_stage\n"
    "from helpers.widgets import explore, graph, steps, timeline\n"
    "stage = find('flash_attention')\n"
    "traces = {v: trace_stage(stage, v, batch=2, ctx=300) for v in ('separate', 'flat')}",
    "explore('rope_kv_cache', batch=2, ctx=1)",
    "timeline(profile(traces['flat']))",
    "graph(traces['separate'])",
    "steps(stage, traces)",
]

# Kernels behind sockets of the file system, whose names are short: no other process can take a port before them.
SOCKETS = hasattr(socket, "AF_UNIX")
expect.set_options(timeout=120_000)  # a busy machine is no failure
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab with a copy of the notebooks, see `jupyterlab`."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name in set(NOTEBOOKS) - WHOLE:
        notebook(folder / "notebooks" / f"{name}.ipynb", live_part(code_of(name)))
    notebook(folder / "notebooks" / "widgets.ipynb", WIDGETS)
    with jupyterlab(folder) as address_of:
        yield address_of


def code_of(name: str) -> list[str]:
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    return [c.source for c in cells if c.cell_type == "code"]


LIVE = ("helpers.widgets", "helpers.plots.films")


def live_part(cells: list[str]) -> list[str]:
    """Of the code cells of a notebook those that show something live, and those that bind a name that these need; none
    where nothing is live."""
    reads, binds, live = [], [], set()
    for cell in cells:
        if cell.startswith("%%"):  # a magic of a widget: %%puzzle
            tree = ast.Module([], [])
        else:
            tree = ast.parse("\n".join(line for line in cell.splitlines() if not line.startswith("%")))
        nodes = list(ast.walk(tree))
        imports = [n for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]
        names = {(a.asname or a.name).partition(".")[0] for n in imports for a in n.names}
        live |= {a.asname or a.name for n in imports if getattr(n, "module", None) for a in n.names
                 if n.module.startswith(LIVE) or f"{n.module}.{a.name}".startswith(LIVE)}  # fmt: skip
        names |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        names |= {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        into = [n.value for n in nodes if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store)]
        binds.append(names | {n.id for n in into if isinstance(n, ast.Name)})
        reads.append({n.id for n in nodes if isinstance(n, ast.Name)} - set(dir(builtins)))
    kept, wanted = set(), set()
    for at in reversed(range(len(cells))):
        if cells[at].startswith("%%") or reads[at] & live or binds[at] & wanted or (at == 0 and kept):
            kept.add(at)
            wanted |= reads[at]
    return [cells[at] for at in sorted(kept)]


def notebook(path: Path, cells: list[str]) -> None:
    own = v4.new_notebook(cells=[v4.new_code_cell(c) for c in cells])
    plain(own)  # with the kernel that the other notebooks have
    nbformat.write(own, path)


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """A JupyterLab on a free port with the notebooks of a folder `notebooks`: the address of each, to be formatted with
    its name. Its settings are its own."""
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
        *(["--KernelManager.transport=ipc"] if SOCKETS and len(str(folder)) < 40 else []),
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
    for _ in range(3000):
        assert server.poll() is None, log.read_text()[-3000:]
        for file in runtime.glob("jpserver-*.json"):
            return json.loads(file.read_text())["url"]
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start in five minutes:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def chrome() -> Iterator[BrowserType]:
    with sync_playwright() as playwright:
        yield playwright.chromium


def new_page(chrome: BrowserType) -> Page:
    """A page in a browser of its own: one that lies behind another is not drawn, and what waits for that waits on."""
    context = chrome.launch(executable_path=chromium()).new_context(
        viewport={"width": 1280, "height": 1000}, reduced_motion="reduce"
    )
    context.set_default_timeout(180_000)
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())  # leaving a notebook that is not saved
    return page


def closed(page: Page) -> None:
    page.context.browser.close()


def until(page: Page, expression: str, seconds: float = 180) -> bool:
    """Wait until a JavaScript expression is true; False if it never was. Unlike Playwright's own wait it does not ask
    when the page is drawn, but from outside."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if page.evaluate(f"() => Boolean({expression})"):
            return True
        page.wait_for_timeout(300)
    return False


CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code').map(c => ({
  prompt: c.prompt, ran: c.model.executionCount, source: c.model.sharedModel.source,
  errors: c.model.outputs.toJSON().filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue),
}))"""


SESSION = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session"


def opened(page: Page, lab: str, name: str) -> None:
    """The notebook with its kernel ready, and nothing shown that was stored with it.

    A kernel stays `unknown` to JupyterLab where the first it said of itself was lost, which was seen, so it is asked
    again; and where it cannot be reached, so it is ended and the page loaded again, twice at most, with a warning.
    """
    for chance in range(3):
        page.goto(lab.format(name))
        for _ in range(12 if chance else 6):
            if until(page, f"{SESSION}?.kernel?.status === 'idle'", 10):
                page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
                return
            # what a kernel says of itself while it is being connected to can get lost: ask it again
            page.evaluate(f"() => {{ {SESSION}?.kernel?.requestKernelInfo().catch(() => 0); }}")
        kernel = page.evaluate(f"() => [{SESSION}?.kernel?.status, {SESSION}?.kernel?.connectionStatus].map(String)")
        warnings.warn(f"{name}: its kernel is {' and '.join(kernel)} to JupyterLab", stacklevel=2)
        page.evaluate(f"() => {{ {SESSION}?.shutdown().catch(() => 0); }}")  # nothing waits for the answer
        page.wait_for_timeout(5000)
    raise AssertionError(f"{name}: no kernel could be reached, which JupyterLab's log may explain")


def begin(page: Page) -> None:
    """Run all cells, from the menu."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()


STATE = f"""() => {{
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel;
  const cells = ({CELLS})();
  return {{
    kernel: kernel?.status, connection: kernel?.connectionStatus,
    dialogs: [...document.querySelectorAll('.jp-Dialog')].map(d => d.innerText),
    failed: cells.filter(c => c.errors.length), waiting: cells.filter(c => c.ran === null || c.prompt === '*'),
  }};
}}"""


def ended(page: Page, lab: str, name: str) -> None:
    """Wait until the last cell has run; a cell that fails ends the wait, for the cells after it never run.

    JupyterLab may lose what a kernel answers. If the kernel has been idle for a minute with cells that wait, the
    notebook is run once more, with a warning.
    """
    begun_again = False
    end, quiet = time.monotonic() + 500, time.monotonic() + 60
    while (state := page.evaluate(STATE))["waiting"] and not state["failed"] and time.monotonic() < end:
        if state["kernel"] != "idle":
            quiet = time.monotonic() + 60
        elif time.monotonic() > quiet and not begun_again:
            warnings.warn(f"{name} is run once more, its kernel was idle: {state}", stacklevel=2)
            begun_again = True
            opened(page, lab, name)
            begin(page)
            end = time.monotonic() + 500
        page.wait_for_timeout(300)
    assert not state["failed"]
    assert not state["waiting"], state


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


@contextmanager
def run_all(chrome: BrowserType, lab: str, name: str) -> Iterator[Page]:
    """A notebook, all of it run; at the end its pictures are taken, on white and on black."""
    page = new_page(chrome)
    opened(page, lab, name)
    begin(page)
    ended(page, lab, name)
    yield page
    pictures(page, name)
    page.evaluate("() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    pictures(page, f"{name}-dark")
    closed(page)


@pytest.fixture(scope="module")
def running(chrome: BrowserType, lab: str) -> Iterator[dict[str, Page]]:
    """Pages of notebooks that have been begun, by name."""
    begun: dict[str, Page] = {}
    yield begun
    for page in begun.values():
        closed(page)


WITH_WIDGETS = [name for name in NOTEBOOKS if name in WHOLE or live_part(code_of(name))]


@pytest.mark.parametrize("name", WITH_WIDGETS)
def test_whatever_is_live_works(chrome: BrowserType, lab: str, running: dict[str, Page], name: str):
    at = WITH_WIDGETS.index(name)
    for one in WITH_WIDGETS[at : at + 2]:  # the next one runs beside it: a kernel is busy on one core
        if one not in running:
            page = new_page(chrome)
            opened(page, lab, one)
            begin(page)
            running[one] = page
    page = running.pop(name)
    ended(page, lab, name)
    assert len(page.evaluate(CELLS)) == len(code_of(name) if name in WHOLE else live_part(code_of(name)))
    widgets_of(page, name)
    pictures(page, name)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")  # frees its memory
    closed(page)


def widgets_of(page: Page, name: str) -> None:
    """Choose a task in each swimlane; move the first slider of `explore` and see its figure change."""
    source = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
    timelines = page.locator(".jp-OutputArea-output", has=page.locator(".workbook-lanes canvas"))
    assert timelines.count() == len(re.findall(r'"timeline\(', source))
    for one in timelines.all():
        one.locator("canvas").focus()
        one.locator("canvas").press("ArrowRight")
        expect(one).to_contain_text("kernels/")
    shown = page.locator(".jp-OutputArea-output", has=page.get_by_role("button", name="cancel")).last
    if '"explore(' not in source:
        assert shown.count() == 0
        return
    expect(shown).to_contain_text("done", timeout=300_000)
    before, handle = shown.locator("img").get_attribute("src"), shown.locator(".noUi-handle").first
    at = handle.get_attribute("aria-valuenow")
    slide(handle, "ArrowLeft")
    if handle.get_attribute("aria-valuenow") == at:  # it was at its end
        slide(handle, "ArrowRight")
    expect(handle).not_to_have_attribute("aria-valuenow", at)
    expect(shown.locator("img")).not_to_have_attribute("src", before, timeout=300_000)
    expect(shown).to_contain_text("PASS")
    expect(shown).to_contain_text("done")


def output(page: Page, cell: int) -> Locator:
    """What a code cell shows; the first is 0."""
    return page.locator(".jp-NotebookPanel:visible .jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")


def slide(handle: Locator, key: str) -> None:
    handle.focus()
    handle.press(key)


@pytest.fixture(scope="module")
def widgets(chrome: BrowserType, lab: str) -> Iterator[Page]:
    """The notebook WIDGETS, all of it run."""
    with run_all(chrome, lab, "widgets") as page:
        yield page


def test_a_slider_moves_the_figure(widgets: Page):
    shown = output(widgets, 1)
    expect(shown).to_contain_text("flat, batch 2, context 1 on a2a3interp: PASS")
    before = shown.locator("img").get_attribute("src")
    slide(shown.locator(".noUi-handle").first, "ArrowRight")
    expect(shown).to_contain_text("flat, batch 3, context 1 on a2a3interp: PASS")
    expect(shown.locator("img")).not_to_have_attribute("src", before)
    expect(shown).to_contain_text("done")
    shown.get_by_role("button", name="naive").click()
    expect(shown).to_contain_text("naive, batch 3, context 1 on a2a3interp: PASS")


def test_running_the_cell_again_keeps_the_sliders(widgets: Page):
    shown = output(widgets, 1)
    widgets.locator(".jp-CodeCell").nth(1).locator(".jp-InputArea-editor").click()
    widgets.keyboard.press("Control+Enter")
    expect(shown).to_contain_text("naive, batch 3, context 1 on a2a3interp: PASS")


def test_a_click_on_a_task_shows_what_it_is(widgets: Page):
    shown = output(widgets, 2)
    canvas = shown.locator("canvas")
    canvas.scroll_into_view_if_needed()
    expect(shown).to_contain_text("click a task")
    assert painted(canvas) > 500
    canvas.focus()
    canvas.press("ArrowRight")
    expect(shown).to_contain_text("kernels/flash_attention.py")
    canvas.press("Escape")
    expect(shown).to_contain_text("click a task")
    box = canvas.bounding_box()
    for share in range(2, 40):  # somewhere in the lane of cube core 0 a task is hit
        canvas.click(position={"x": 76 + share / 40 * (box["width"] - 84), "y": 8})
        widgets.wait_for_timeout(150)
        if "cube 0 (cube task)" in shown.inner_text():
            break
    expect(shown).to_contain_text("cube 0 (cube task)")
    expect(shown.locator("code")).to_contain_text("pl.spmd")


def test_dragging_zooms_in_and_a_double_click_out(widgets: Page):
    shown = output(widgets, 2)
    canvas, where = shown.locator("canvas"), shown.locator(".workbook-bar span")
    whole = where.inner_text()
    box = canvas.bounding_box()
    widgets.mouse.move(box["x"] + 300, box["y"] + 30)
    widgets.mouse.down()
    widgets.mouse.move(box["x"] + 500, box["y"] + 30, steps=4)
    widgets.mouse.up()
    expect(where).not_to_have_text(whole)
    part = where.inner_text()
    shown.get_by_role("button", name="zoom in").click()
    expect(where).not_to_have_text(part)
    canvas.dblclick(position={"x": 600, "y": box["height"] - 5})
    expect(where).to_have_text(whole)


def test_a_click_on_a_box_takes_it_apart(widgets: Page):
    shown = output(widgets, 3)
    before = shown.locator("img").get_attribute("src")
    shown.get_by_role("button", name="qk: click to take apart").click()
    expect(shown.get_by_role("button", name="qk 1 to 12: click to put together")).to_be_visible()
    expect(shown.locator("img")).not_to_have_attribute("src", before)


def test_the_ladder_steps(widgets: Page):
    shown = output(widgets, 4)
    expect(shown).to_contain_text("1 of 2: separate")
    before = shown.locator("img").get_attribute("src")
    shown.get_by_role("button", name="next").click()
    expect(shown).to_contain_text("2 of 2: flat")
    expect(shown.locator("img")).not_to_have_attribute("src", before)


PAINTED = """canvas => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let n = 0;
  for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
  return n;
}"""


def painted(canvas: Locator) -> int:
    """Pixels of a canvas that something is drawn on."""
    return canvas.evaluate(PAINTED)
