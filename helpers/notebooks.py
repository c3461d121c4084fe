"""Runs the notebooks and writes them, figures included, as HTML pages."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from helpers.errors import WorkbookError

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def find(name: str | None = None) -> list[Path]:
    """The notebooks in their order: all of them, or the one called `name` (with or without .ipynb).

    Raises:
        WorkbookError: there is none.
    """
    found = sorted(NOTEBOOKS.glob("*.ipynb"))
    if name is not None:
        found = [path for path in found if path.stem == name.removesuffix(".ipynb")]
    if not found:
        raise WorkbookError(f"no notebook {name or '*.ipynb'} in {NOTEBOOKS}")
    return found


def write_html(notebooks: Sequence[Path], folder: Path, console: Console) -> list[str]:
    """Execute each notebook from a clean kernel and write it to FOLDER/NAME.html; show progress.

    A page is written to a temporary name and then renamed, so that there is never half of one. A notebook in
    which a cell fails has its page all the same, with the error in it.

    Returns:
        What failed: one text for each such notebook.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for path in notebooks:
            start = time.perf_counter()
            notebook = nbformat.read(path, as_version=4)
            task = progress.add_task(path.stem, total=len(notebook.cells))
            failure = _execute(
                notebook,
                path.parent,
                lambda cell, cell_index, task=task: progress.update(task, completed=cell_index),
            )
            page = folder / f"{path.stem}.html"
            _write(page, _page(notebook, path.stem))
            progress.remove_task(task)
            took = f"{time.perf_counter() - start:.1f} s"
            if failure is None:
                progress.console.print(f"{path.name} -> {page} ({took})", markup=False, highlight=False)
            else:
                progress.console.print(f"{path.name} -> {page} ({took}): FAIL", markup=False, highlight=False)
                failures.append(f"{path.name}: {failure}")
    return failures


def _execute(notebook: nbformat.NotebookNode, folder: Path, on_cell) -> str | None:
    """Run every cell, in place; what failed, or None. The kernel's own chatter is shown only if it dies."""
    with tempfile.TemporaryFile("w+") as chatter:
        client = NotebookClient(
            notebook,
            timeout=None,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            on_cell_start=on_cell,
        )
        try:
            client.execute(stderr=chatter.fileno())
        except CellExecutionError as error:
            return f"a cell failed: {error.ename}: {error.evalue}"
        except Exception as error:
            # nbclient answers Ctrl-C itself: it ends the kernel, and what comes out is whatever that led to.
            if hasattr(client, "_async_cleanup_kernel_future"):
                raise KeyboardInterrupt from None
            if not isinstance(error, DeadKernelError):
                raise
            chatter.seek(0)
            return f"{error}\n{chatter.read()[-2000:]}".strip()
    return None


def _page(notebook: nbformat.NotebookNode, title: str) -> str:
    html, _ = HTMLExporter().from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return html


def _write(page: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=page.parent, prefix=f".{page.stem}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, page)
    except BaseException:
        os.unlink(temporary)
        raise
