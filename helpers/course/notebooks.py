"""Runs the notebooks and writes them, figures included, as HTML pages."""

from __future__ import annotations

import asyncio
import copy
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from helpers.course.formulas import pictured
from helpers.errors import WorkbookError
from helpers.files import whole

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
_AT_ONCE = 2  # notebooks executed side by side: each computes on one thread, and may take 3 GB


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
    """Execute each notebook from a clean kernel and write it to FOLDER/NAME.html, two at a time; show progress.

    A page is written to a temporary name and then renamed, so that there is never half of one. A notebook in
    which a cell fails has its page all the same, with the error in it.

    Returns:
        What failed: one text for each such notebook.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        return _interruptible(lambda stopping: _write_all(notebooks, folder, progress, stopping))


def _interruptible(work: Callable[[asyncio.Event], Coroutine[Any, Any, list[str]]]) -> list[str]:
    """Run it on an event loop in a thread of its own. Ctrl-C sets `stopping`, cancels it and waits for its end.

    In the main thread nbclient would answer Ctrl-C itself, of all kernels only for the one that was started last, and
    not any more once one notebook has ended.
    """
    started: Future[Callable[[], None]] = Future()

    async def main() -> list[str]:
        loop, task, stopping = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()

        def stop() -> None:
            stopping.set()
            task.cancel()

        started.set_result(lambda: loop.call_soon_threadsafe(stop))
        return await work(stopping)

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(lambda: asyncio.run(main()))
        try:
            return done.result()
        except KeyboardInterrupt:
            if not done.done():
                started.result()()
            raise


async def _write_all(notebooks: Sequence[Path], folder: Path, progress: Progress, stopping: asyncio.Event) -> list[str]:
    free = asyncio.Semaphore(_AT_ONCE)

    async def write(path: Path) -> tuple[str, str | None]:
        async with free:
            return await _write_one(path, folder, progress, stopping)

    failures = []
    writing = [asyncio.ensure_future(write(path)) for path in notebooks]
    for path, one in zip(notebooks, writing):  # told in their order, whichever is done first
        line, failure = await one
        progress.console.print(line, markup=False, highlight=False)
        if failure is not None:
            failures.append(f"{path.name}: {failure}")
    return failures


async def _write_one(path: Path, folder: Path, progress: Progress, stopping: asyncio.Event) -> tuple[str, str | None]:
    """What to print of a notebook, and what failed in it."""
    start = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    task = progress.add_task(path.stem, total=len(notebook.cells))
    failure = await _execute(
        notebook,
        path.parent,
        lambda cell, cell_index: progress.update(task, completed=cell_index),
        stopping,
    )
    page = folder / f"{path.stem}.html"
    text = _page(notebook, path.stem)
    with whole(page) as file:
        file.write(text)
    progress.remove_task(task)
    took = f"{path.name} -> {page} ({time.perf_counter() - start:.1f} s)"
    return (took if failure is None else f"{took}: FAIL"), failure


async def _execute(
    notebook: nbformat.NotebookNode, folder: Path, on_cell: Callable[..., None], stopping: asyncio.Event
) -> str | None:
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
            await client.async_execute(stderr=chatter.fileno())
        except CellExecutionError as error:
            return f"a cell failed: {error.ename}: {error.evalue}"
        except Exception as error:
            if stopping.is_set():  # nbclient takes a cancelled notebook for the death of its kernel
                raise asyncio.CancelledError from None
            if not isinstance(error, DeadKernelError):
                raise
            chatter.seek(0)
            return f"{error}\n{chatter.read()[-2000:]}".strip()
    return None


def _page(notebook: nbformat.NotebookNode, title: str) -> str:
    """The notebook as HTML whose formulas are pictures, so that it reads without a network."""
    shown = copy.deepcopy(notebook)
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = pictured(cell.source)
    exporter = HTMLExporter(mathjax_url="", embed_images=False)
    html, _ = exporter.from_notebook_node(shown, resources={"metadata": {"name": title}})
    return html
