"""`workbook new NAME`: a kernel to start from, with its golden, its test and its notebook. All of them run and pass."""

from __future__ import annotations

import importlib.util
import keyword
import os
import shutil
import tempfile
from pathlib import Path

import jupytext
import nbformat

from helpers.errors import InputError

_TEMPLATE = Path(__file__).parent / "template"


def files_of(name: str, folder: Path) -> dict[Path, str]:
    """The files of a new kernel in a folder of its own, by path: kernels, golden, test; the notebook as a script.

    Raises:
        InputError: a name that no Python module can have, or that another module has.
    """
    _check_name(name)
    kernels, golden = name, f"{name}_golden"
    texts = {
        f"{kernels}.py": _text("kernel.py") + _text("main.py"),
        f"{golden}.py": _text("golden.py"),
        f"test_{name}.py": _text("test.py"),
        f"{name}.ipynb": _text("notebook.py"),
    }
    words = {"NAME": name, "KERNELS": kernels, "GOLDEN": golden, "WATCHED": f"{kernels}.py:fused"}
    for word, value in words.items():
        texts = {file: text.replace(f"__{word}__", value) for file, text in texts.items()}
    return {folder / file: text for file, text in texts.items()}


def _text(file: str) -> str:
    return (_TEMPLATE / file).read_text(encoding="utf-8")


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise InputError(f"{name!r} cannot be a module's name: letters, digits and _, beginning with a letter")
    there = importlib.util.find_spec(name)
    if there is not None:
        where = f" ({there.origin})" if there.origin else ""
        raise InputError(f"there is a module {name!r} already{where}, which the new one would hide or be hidden by")


def new(name: str, folder: Path) -> list[Path]:
    """Write a new kernel's files to a folder, the notebook with its outputs; all of them or none.

    Raises:
        InputError: the name cannot be used, or one of the files is there.
    """
    wanted = files_of(name, folder)
    there = [path.name for path in wanted if path.exists()]
    if there:
        raise InputError(f"{folder} has {', '.join(there)} already; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as part:
        made = [Path(part) / path.name for path in wanted]
        for path, text in zip(made, wanted.values()):
            _write(path, text)
        done = []
        try:
            for source, path in zip(made, wanted):
                os.replace(source, path)
                done.append(path)
        except BaseException:
            for path in done:
                path.unlink(missing_ok=True)
            raise
        shutil.rmtree(Path(part) / "out", ignore_errors=True)
    return list(wanted)


def _write(path: Path, text: str) -> None:
    if path.suffix != ".ipynb":
        path.write_text(text, encoding="utf-8")
        return
    from helpers.course.refresh import plain, store

    notebook = jupytext.reads(text, fmt="py:percent")
    plain(notebook)
    nbformat.write(notebook, path)
    store(path)
