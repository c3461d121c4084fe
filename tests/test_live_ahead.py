"""What is imported and compiled before a save comes is used where it still holds, and never where it does not."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.live import ahead
from helpers.live.history import Save
from helpers.live.new import files_of
from helpers.live.session import Session
from helpers.live.subject import parse

KERNEL = """
import pypto.language as pl

from parts import add_{how}


@pl.jit
def plus(x: pl.Tensor[[64, 128], pl.FP32], y: pl.Out[pl.Tensor[[64, 128], pl.FP32]]):
    y = add_{how}(x, y)
    return y


def golden(values):
    values["y"][:] = 0.0


if __name__ == "__main__":
    import torch
    from golden import TensorSpec, run_jit

    specs = [
        TensorSpec("x", [64, 128], torch.float32, init_value=1.0),
        TensorSpec("y", [64, 128], torch.float32, is_output=True),
    ]
    run_jit(plus, specs, golden, rtol=0.0, atol=100.0)
"""
PARTS = """
import importlib

import pypto.language as pl

import numbers_of_mine

MORE = importlib.import_module("unseen").MORE
BOTH = numbers_of_mine.FIRST + MORE

@pl.jit.inline
def add_it(x: pl.Tensor[[64, 128], pl.FP32], y: pl.Out[pl.Tensor[[64, 128], pl.FP32]]):
    for b in pl.spmd(4, name_hint="add"):
        y[b * 16 : b * 16 + 16, :] = pl.add(x[b * 16 : b * 16 + 16, :], BOTH - 1.0)
    return y
"""


class Files:
    """Four files: the kernel, what it calls, and two that only that one imports, the second unseen in its text."""

    def __init__(self, folder: Path):
        self.kernel, self.parts = folder / "kernel.py", folder / "parts.py"
        self.first, self.unseen = folder / "numbers_of_mine.py", folder / "unseen.py"
        self.first.write_text("FIRST = 2.0\n")
        self.unseen.write_text("MORE = 3.0\n")
        self.parts.write_text(PARTS)
        self.kernel.write_text(KERNEL.format(how="it"))
        self.session = Session(parse(str(self.kernel)), lambda _: None, folder / "saves")

    def done(self, after: int = 0) -> Save:
        deadline = time.time() + 120
        while time.time() < deadline:
            save = self.session.history.saves[-1]
            if save.number > after and save.done:
                return save
            time.sleep(0.02)
        raise AssertionError(self.session.history.saves[-1])

    def edit(self, file: Path, text: str, wait: float) -> float:
        """The largest element of y after a save of `file`, and `wait` seconds in which the next run is prepared."""
        before = self.session.history.saves[-1].number
        file.write_text(text)
        save = self.done(before)
        assert not save.mistake, save.mistake
        time.sleep(wait)
        return save.last.outputs["y"][0]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    made = Files(tmp_path)
    made.session.start()
    made.done()
    yield made
    made.session.stop()


def test_what_a_save_leaves_alone_is_imported_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stage's kernel imports another module: before the second save, in a process that is that save's run."""
    for path, text in files_of("some_stage", tmp_path).items():
        if path.suffix == ".py":
            path.write_text(
                text.replace("from some_stage import EPS, ROWS, WIDTH", "EPS, ROWS, WIDTH = 1e-6, 128, 512")
            )
    kernel, log = tmp_path / "some_stage.py", tmp_path / "log"
    text = "import helps\n" + kernel.read_text()
    kernel.write_text(text)
    says = f"import os, time\nwith open({str(log)!r}, 'a') as f:\n    print(os.getpid(), time.time(), file=f)\n"
    (tmp_path / "helps.py").write_text(says)
    monkeypatch.chdir(tmp_path)
    session = Session(parse("some_stage"), lambda _: None, tmp_path / "saves")

    def until(there: Callable[[], bool]) -> None:
        deadline = time.time() + 120
        while not there():
            assert time.time() < deadline, session.history.saves[-1]
            time.sleep(0.02)

    def imports() -> list[tuple[int, float]]:
        lines = log.read_text().splitlines()
        found = [(int(pid), float(when)) for pid, when in map(str.split, lines)]
        return [(pid, when) for pid, when in found if pid != os.getpid()]

    session.start()
    try:
        until(lambda: session.history.saves[-1].done)
        until(lambda: len(imports()) == 2)  # of the first run, and of what waits for the second
        time.sleep(1.0)
        saved = time.time()
        kernel.write_text(
            "import os\n" + text + f"\nwith open({str(log)!r}, 'a') as f:\n    print(os.getpid(), 0, file=f)\n"
        )
        until(lambda: session.history.saves[-1].number > 1 and session.history.saves[-1].done)
        assert session.history.saves[-1].verdict == "PASS"
    finally:
        session.stop()
    ran = next(pid for pid, when in imports() if when == 0)
    assert [when < saved for pid, when in imports() if pid == ran and when] == [True]


@pytest.mark.parametrize("wait", [0.0, 1.0])
def test_every_file_that_is_edited_counts(files: Files, wait: float):
    time.sleep(wait)
    assert files.edit(files.first, "FIRST = 4.0\n", wait) == 7.0
    assert files.edit(files.unseen, "MORE = 5.0\n", wait) == 9.0
    assert files.edit(files.kernel, KERNEL.format(how="it").replace("x, y)\n", "x, y)\n\n"), wait) == 9.0
    renamed = PARTS.replace("add_it", "add_more").replace("- 1.0", "+ 1.0")
    both = renamed + "\n\nadd_it = add_more\n"
    assert files.edit(files.parts, both, wait) == 11.0
    assert files.edit(files.kernel, KERNEL.format(how="more"), wait) == 11.0
    assert files.edit(files.parts, both.replace("+ 1.0", "+ 2.0"), wait) == 12.0  # inside the kernel alone
    assert files.edit(files.unseen, "MORE = 6.0\n", wait) == 13.0


def test_dependents_are_found_in_the_text(tmp_path: Path):
    texts = {"a": "", "b": "import a", "c": "from b import x", "d": "def f():\n    import c", "e": "from . import a"}
    modules = {}
    for name, text in texts.items():
        modules[name] = str(tmp_path / f"{name}.py")
        Path(modules[name]).write_text(text)
    assert ahead._dependents(modules, {modules["b"]}) == {"b", "c", "d"}
    assert ahead._dependents(modules, {modules["d"]}) == {"d"}
    assert ahead._dependents(modules, set()) == set()
    Path(modules["c"]).write_text("from b import (")  # cannot be read: imports nothing
    assert ahead._dependents(modules, {modules["b"]}) == {"b"}


def test_a_changed_file_does_not_fit(tmp_path: Path):
    file = tmp_path / "m.py"
    file.write_text("A = 1\n")
    digests = {str(file): ahead.digest(str(file))}
    assert ahead.fits(digests)
    file.write_text("A = 2\n")
    assert not ahead.fits(digests)
    file.unlink()
    assert not ahead.fits(digests)


def test_what_cannot_be_told_from_the_text_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "reaches_further.py").write_text("import importlib\nimportlib.import_module('edited_one')\n")
    (tmp_path / "edited_one.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    modules = {n: str(tmp_path / f"{n}.py") for n in ("edited_one", "reaches_further")}
    last = ahead.Loaded(modules, {}, (), modules["edited_one"])
    try:
        assert ahead.prepare(last, {modules["edited_one"]}) is None
        for name in modules:
            sys.modules.pop(name, None)
        assert set(ahead.prepare(last, set())) == set(modules.values())
    finally:
        for name in modules:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
