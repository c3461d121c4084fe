"""Executing notebooks and writing them as HTML: what a page holds, what a failure looks like, no half pages."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from rich.console import Console

from helpers.course import notebooks
from helpers.errors import WorkbookError


def write(path: Path, *cells: str) -> Path:
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells]), path)
    return path


def run(paths: list[Path], folder: Path) -> tuple[list[str], str]:
    output = io.StringIO()
    return notebooks.write_html(paths, folder, Console(file=output, width=200)), output.getvalue()


def test_pages_hold_text_and_figures_and_a_failure_is_named(tmp_path: Path):
    good = write(
        tmp_path / "good.ipynb",
        "print('six times seven is', 6 * 7)",
        "import matplotlib.pyplot as plt\nfrom pathlib import Path\nplt.plot([1, 2]);",
        "print(Path.cwd().name)",
    )
    bad = write(tmp_path / "bad.ipynb", "print('before')", "1 / 0", "print('never')")
    before = good.read_bytes()
    failures, output = run([good, bad], tmp_path / "out" / "deep")

    pages = {page.name: page.read_text() for page in (tmp_path / "out" / "deep").iterdir()}
    assert set(pages) == {"good.html", "bad.html"}
    assert "six times seven is 42" in pages["good.html"]
    assert "data:image/png;base64" in pages["good.html"]
    assert tmp_path.name in pages["good.html"]  # a notebook runs in its own folder
    assert "ZeroDivisionError" in pages["bad.html"]
    assert good.read_bytes() == before
    assert failures == ["bad.ipynb: a cell failed: ZeroDivisionError: division by zero"]
    assert [line.partition(" (")[0].split(" -> ")[0] for line in output.splitlines()] == [
        "good.ipynb",
        "bad.ipynb",
    ]


def test_ctrl_c_ends_every_kernel_and_leaves_no_other_page(tmp_path: Path):
    """One notebook has ended, two run, one waits."""
    quick = write(tmp_path / "quick.ipynb", "1")
    slow = [
        write(
            tmp_path / f"slow{n}.ipynb",
            "import os, pathlib, time\n"
            f"pathlib.Path('new{n}').write_text(str(os.getpid()))\nos.rename('new{n}', 'pid{n}')",
            "time.sleep(300)",
        )
        for n in range(3)
    ]
    code = f"""
import signal
from pathlib import Path
from rich.console import Console
from helpers import cli
from helpers.course import notebooks
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
paths = [Path(name) for name in {[str(path) for path in (quick, *slow)]!r}]
cli.plainly(notebooks.write_html)(paths, Path({str(tmp_path / "out")!r}), Console())
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    page = tmp_path / "out" / "quick.html"
    while not all(path.exists() for path in (page, tmp_path / "pid0", tmp_path / "pid1")):
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)  # a busy machine is no failure
    assert stderr.splitlines()[0] == "interrupted", stderr
    assert process.returncode != 0
    assert list((tmp_path / "out").iterdir()) == [page]
    assert not (tmp_path / "pid2").exists()  # two at a time
    for n in range(2):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"pid{n}").read_text()), 0)


def test_find_names_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    with pytest.raises(WorkbookError, match="no notebook"):
        notebooks.find()
    second, first = write(tmp_path / "02_b.ipynb", "1"), write(tmp_path / "01_a.ipynb", "1")
    assert notebooks.find() == [first, second]
    assert notebooks.find("02_b") == notebooks.find("02_b.ipynb") == [second]
    with pytest.raises(WorkbookError, match="03_c"):
        notebooks.find("03_c")
