"""`python -m helpers.course.refresh [NAME ...]`: run notebooks from a clean kernel and store their outputs in them.

What differs from run to run or from machine to machine is left out (times, cell ids, versions), so that storing again
changes a file only where its outputs have changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from helpers.course.notebooks import find


def store(path: Path) -> bool:
    """Run the notebook and write it back; True when the file has changed.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the file is as it was.
    """
    before = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(before, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": path.parent}},
    )
    client.execute()
    plain(notebook)
    after = nbformat.writes(notebook) + "\n"
    if after != before:
        path.write_text(after, encoding="utf-8")
    return after != before


def plain(notebook: nbformat.NotebookNode) -> None:
    """Leave out of a notebook, in place, what is not its content."""
    notebook.metadata = nbformat.NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:02}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.NotebookNode({"tags": tags} if tags else {})


def main(names: list[str]) -> None:
    """Store the named notebooks, or all."""
    for path in [p for name in names for p in find(name)] or find():
        print(f"{path.name}: {'changed' if store(path) else 'as it was'}")


if __name__ == "__main__":
    main(sys.argv[1:])
