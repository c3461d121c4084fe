"""Save, and see: what is in the files runs, whatever kind of edit put it there; nothing is left when it ends."""

from __future__ import annotations

import math
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from golden import TensorSpec
from helpers.errors import InputError
from helpers.live.history import History, Save
from helpers.live.save_table import rows, sparkline
from helpers.live.session import Session
from helpers.live.subject import load_given, outside_kernels, parse
from helpers.stages import STAGES, trace_stage

KERNEL = """
import pypto.language as pl

from factors import FACTOR

ROWS = 64


@pl.jit
def scale(x: pl.Tensor[[ROWS, 128], pl.FP32], y: pl.Out[pl.Tensor[[ROWS, 128], pl.FP32]]):
    for b in pl.spmd(ROWS // 16, name_hint="scale"):
        y[b * 16 : b * 16 + 16, :] = pl.mul(x[b * 16 : b * 16 + 16, :], FACTOR)
    return y


def golden(values):
    values["y"][:] = values["x"] * 2.0


if __name__ == "__main__":
    import torch
    from golden import TensorSpec, run_jit

    specs = [
        TensorSpec("x", [ROWS, 128], torch.float32, init_value=1.0),
        TensorSpec("y", [ROWS, 128], torch.float32, is_output=True),
    ]
    run_jit(scale, specs, golden, rtol=1e-3, atol=1e-3)
"""


class Developer:
    """Edits files below a folder and waits for what the session says of each save."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.file, self.factors = folder / "kernel.py", folder / "factors.py"
        self.reset()
        self._changed = threading.Condition()
        self.session = Session(parse(str(self.file)), self._follow, folder / "saves")

    def reset(self) -> None:
        self.factors.write_text("FACTOR = 2.0\n")
        self.file.write_text(KERNEL)

    def _follow(self, _: Save) -> None:
        with self._changed:
            self._changed.notify_all()

    def done(self, after: int = 0, verdict: bool = False) -> Save:
        """The latest save, once it comes after number `after` and is done, or has a verdict."""

        def there() -> bool:
            save = self.session.history.saves[-1]
            return save.number > after and (save.done or bool(verdict and save.verdict))

        with self._changed:
            assert self._changed.wait_for(there, 120.0), self.session.history.saves[-1]
        return self.session.history.saves[-1]

    def edit(self, change: Callable[[], object]) -> Save:
        """What comes of a save after `change`: its verdict; figures and findings are not waited for."""
        before = self.session.history.saves[-1].number
        change()
        return self.done(before, verdict=True)

    def replace(self, old: str, new: str) -> Save:
        text = self.file.read_text()
        assert old in text
        return self.edit(lambda: self.file.write_text(text.replace(old, new)))


@pytest.fixture(scope="module")
def developer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Developer]:
    made = Developer(tmp_path_factory.mktemp("live"))
    made.session.start()
    made.done()
    yield made
    made.session.stop()


@pytest.fixture
def dev(developer: Developer) -> Developer:
    """The session with the files as they were at first, and the verdict on these."""
    before = developer.session.history.saves[-1]
    texts = {developer.file: KERNEL, developer.factors: "FACTOR = 2.0\n"}
    if before.verdict != "PASS" or any(not f.exists() or f.read_bytes() != t.encode() for f, t in texts.items()):
        developer.edit(developer.reset)
        time.sleep(0.15)  # two files were written: that may have been two saves
        developer.done(verdict=True)
    assert developer.session.history.saves[-1].verdict == "PASS"
    return developer


def factor(save: Save) -> float:
    """The factor that the kernel applied, or one as far from 2."""
    return 2.0 + save.last.outputs["y"][0]


def test_the_first_verdict(dev: Developer):
    save = dev.done()
    assert save.last.passed
    assert save.last.tasks == 4
    assert save.last.predicted_us > 0
    assert save.last.peaks["UB"] > 0
    assert {"error map", "on-chip memory", "timeline"} <= set(save.figures)
    assert all(png.startswith(b"\x89PNG") for png in save.figures.values())
    assert {os.path.basename(f) for f in save.files} >= {"kernel.py", "factors.py"}


EDITS: dict[str, tuple[str, str, float]] = {  # what is replaced, by what, the factor that runs
    "a line above": ("import pypto", "# one more line\nimport pypto", 2.0),
    "many lines above": ("\nROWS", "\n" * 60 + "ROWS", 2.0),
    "a number": (", FACTOR)", ", 3.0)", 3.0),
    "a constant of the file": ("ROWS = 64", "ROWS = 64\nFACTOR = 5.0", 5.0),
    "the kernel's name": ("scale(", "scaled(", 2.0),
    "a statement more": ("    return y", "        pass\n    return y", 2.0),
    "the signature": ("scale(x: pl.Tensor[[ROWS, 128]", "scale(x: pl.Tensor[[64, 128]", 2.0),
    "the decorator": ("@pl.jit\n", "@pl.jit()\n", 2.0),
    "the golden": ('values["x"] * 2.0', 'values["x"] * 4.0', 4.0),
    "the inputs": ("init_value=1.0", "init_value=2.0", 2.0),
    "the shape": ("ROWS = 64", "ROWS = 128", 2.0),
    "a docstring": ("    for b", '    """Twice."""\n    for b', 2.0),
    "white space": ("ROWS // 16", "ROWS  //  16", 2.0),
    "a helper of its own": ("@pl.jit", "def three():\n    return 3.0\n\n\nFACTOR = three()\n\n\n@pl.jit", 3.0),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_runs(dev: Developer, name: str):
    old, new, expected = EDITS[name]
    if name == "the kernel's name":
        save = dev.edit(lambda: dev.file.write_text(KERNEL.replace("scale(", "scaled(").replace("(scale,", "(scaled,")))
    else:
        save = dev.replace(old, new)
    assert not save.mistake
    assert factor(save) == pytest.approx(expected)
    assert save.verdict == ("PASS" if expected == 2.0 else "FAIL")
    assert save.last.tasks == (8 if name == "the shape" else 4)


MISTAKES: dict[str, tuple[str, str, str]] = {  # what is replaced, by what, what is said
    "a syntax error": ("pl.mul(x[", "pl.mul((x[", "SyntaxError"),
    "an unknown operation": ("pl.mul", "pl.mull", "mull"),
    "an unknown name": ("FACTOR)", "FACTORS)", "FACTORS"),
    "no decorator": ("@pl.jit\n", "", "kernel"),
    "what import raises": ("ROWS = 64", "ROWS = 64 // 0", "ZeroDivisionError"),
    "a module that is not there": ("import FACTOR", "import FACTOR, missing", "missing"),
    "a tile that does not fit": ("ROWS // 16", "0", ""),
    "an access out of bounds": ("pl.mul(x[b * 16 :", "pl.mul(x[b * 16 + 16 :", ""),
    "a shape that does not fit": ('TensorSpec("x", [ROWS, 128]', 'TensorSpec("x", [ROWS, 64]', "x"),
    "no run": ("    run_jit(scale, specs, golden, rtol=1e-3, atol=1e-3)\n", "", "run_jit"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_said_at_its_place(dev: Developer, name: str):
    old, new, said = MISTAKES[name]
    save = dev.replace(old, new)
    assert save.verdict in ("refused", "FAIL")
    assert said in save.mistake
    assert "Traceback" not in save.mistake
    assert len(save.mistake.splitlines()) <= 12
    repaired = dev.edit(dev.reset)
    assert repaired.verdict == "PASS"


def test_another_module(dev: Developer):
    assert factor(dev.edit(lambda: dev.factors.write_text("FACTOR = 7.0\n"))) == pytest.approx(7.0)


def test_another_module_is_deleted_and_comes_back(dev: Developer):
    assert "factors" in dev.edit(dev.factors.unlink).mistake
    assert dev.edit(lambda: dev.factors.write_text("FACTOR = 2.0\n")).verdict == "PASS"


def test_a_module_that_is_new(dev: Developer):
    (dev.folder / "more.py").write_text("MORE = 8.0\n")
    save = dev.edit(lambda: dev.factors.write_text("from more import MORE\n\nFACTOR = MORE\n"))
    assert factor(save) == pytest.approx(8.0)
    save = dev.edit(lambda: (dev.folder / "more.py").write_text("MORE = 9.0\n"))
    assert factor(save) == pytest.approx(9.0)


def test_an_editors_rename(dev: Developer):
    part = dev.folder / "kernel.py~"
    part.write_text(KERNEL.replace("FACTOR)", "3.0)"))
    assert factor(dev.edit(lambda: os.replace(part, dev.file))) == pytest.approx(3.0)


def test_the_file_is_deleted_and_comes_back(dev: Developer):
    assert dev.edit(dev.file.unlink).verdict == "refused"
    assert dev.edit(lambda: dev.file.write_text(KERNEL)).verdict == "PASS"


def test_an_empty_file(dev: Developer):
    assert dev.edit(lambda: dev.file.write_text("")).verdict == "refused"


def test_carriage_returns(dev: Developer):
    text = KERNEL.replace("FACTOR)", "3.0)").replace("\n", "\r\n")
    assert factor(dev.edit(lambda: dev.file.write_bytes(text.encode()))) == pytest.approx(3.0)


def test_git_checkout(dev: Developer):
    def git(*args: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *args], cwd=dev.folder, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("add", "kernel.py", "factors.py")
    git("commit", "-qm", "two")
    assert factor(dev.replace("FACTOR)", "3.0)")) == pytest.approx(3.0)
    git("commit", "-qam", "three")
    assert dev.edit(lambda: git("checkout", "-q", "HEAD~1")).verdict == "PASS"
    assert factor(dev.edit(lambda: git("checkout", "-q", "main"))) == pytest.approx(3.0)


def test_a_save_that_changes_nothing_runs_nothing(dev: Developer):
    number = dev.session.history.saves[-1].number
    os.utime(dev.file)
    dev.file.write_text(KERNEL)
    time.sleep(0.5)
    assert dev.session.history.saves[-1].number == number


def test_a_save_ends_the_run_before_it(dev: Developer):
    before = dev.session.history.saves[-1].number
    dev.file.write_text(KERNEL.replace("ROWS = 64", "import time\ntime.sleep(600)\nROWS = 64"))
    while dev.session.history.saves[-1].number == before:
        time.sleep(0.01)
    assert dev.edit(dev.reset).verdict == "PASS"


def test_a_process_that_ends_is_a_mistake(dev: Developer):
    assert dev.replace("ROWS = 64", "import os\nos._exit(3)\nROWS = 64").verdict == "refused"
    assert dev.edit(dev.reset).verdict == "PASS"


def test_saves_are_kept_compared_and_written_back(dev: Developer):
    history = dev.session.history
    good = history.saves[-1]
    bad = dev.replace("FACTOR)", "3.0)")
    dev.done()
    assert "-" in history.diff(good, bad)
    assert history.changed(good, bad) == [str(dev.file)]
    again = History(history.folder)
    assert {s.number for s in again.saves} <= {s.number for s in history.saves}
    assert next(s for s in again.saves if s.number == bad.number).last == bad.last
    assert again.text(good, str(dev.file)) == KERNEL
    assert history.best().passed
    assert dev.edit(lambda: history.write_back(good)).verdict == "PASS"
    assert dev.file.read_text() == KERNEL
    dev.done()
    assert {r[0] for r in rows(history, history.saves[-1])} >= {
        "predicted time",
        "error / tolerance",
        "tasks",
        "UB peak",
    }
    assert "x" in sparkline(history)


def test_a_cut_off_history_is_read_as_far_as_it_goes(tmp_path: Path, dev: Developer):
    folder = tmp_path / "saves"
    folder.mkdir()
    kept = dev.session.history.saves[-1].as_json()
    (folder / "saves.jsonl").write_text(f"{kept}\n{kept[:40]}")
    assert len(History(folder).saves) == 1


def processes(group: int) -> list[str]:
    """What still runs of a process group, as ps says."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True).stdout.splitlines()
    rows = [line.split(None, 2) for line in listed]
    return [args for pgid, state, *args in rows if int(pgid) == group and not state.startswith("Z")]


def test_nothing_is_left(tmp_path: Path):
    def handles() -> set[str]:
        found = set()
        for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
            try:
                found.add(os.readlink(f"/proc/self/fd/{fd}"))
            except OSError:
                continue
        return {f for f in found if not f.startswith(("/dev", "pipe:[", "anon_inode:[eventp"))}

    threads, before = set(threading.enumerate()), handles()
    one = Developer(tmp_path)
    one.session.start()
    one.done()
    server = one.session._server.pid
    one.session.stop()
    assert set(threading.enumerate()) <= threads
    end = time.monotonic() + 20
    while processes(server) and time.monotonic() < end:
        time.sleep(0.05)
    assert not processes(server)
    assert len(handles()) <= len(before)
    one.session.stop()


def test_what_is_no_subject(tmp_path: Path):
    with pytest.raises(InputError, match="no file"):
        parse(str(tmp_path / "none.py"))
    with pytest.raises(InputError, match="unknown stage"):
        parse("mpl")
    with pytest.raises(InputError, match="no version"):
        parse("mlp.mixd")
    with pytest.raises(InputError, match="chip"):
        parse("mlp", "a3")


def test_kernels_do_not_count_as_the_goldens_side(tmp_path: Path):
    file = tmp_path / "k.py"
    file.write_text(KERNEL)
    digest = outside_kernels(str(file))
    file.write_text("# more\n" + KERNEL.replace("pl.mul", "pl.add"))
    assert outside_kernels(str(file)) == digest
    file.write_text(KERNEL.replace("* 2.0", "* 3.0"))
    assert outside_kernels(str(file)) != digest


@pytest.mark.parametrize("name", STAGES)
def test_the_small_shape_of_a_stage_is_legal_and_little(name: str):
    given = load_given(parse(name))
    small, full = (
        sum(math.prod(s.shape) for s in specs if isinstance(s, TensorSpec)) for specs in given.sizes.values()
    )
    assert small <= full
    stage = STAGES[name]
    trace = trace_stage(stage, list(stage.versions)[-1], **stage.small)
    assert 0 < trace.tasks


def test_a_stage_is_watched(tmp_path: Path):
    seen = threading.Event()
    session = Session(parse("rope_kv_cache.flat"), lambda s: seen.set() if "small" in s.judged else None, tmp_path)
    session.start()
    try:
        assert seen.wait(120)
        save = session.history.saves[-1]
        assert save.judged["small"].passed
        assert {"rope_kv_cache.py", "qwen3.py"} <= {Path(f).name for f in save.files}
        assert {Path(f).parent.name for f in save.files if Path(f).name == "rope_kv_cache.py"} == {"kernels", "golden"}
    finally:
        session.stop()


def test_a_save_that_fails_says_where_it_first_differs(dev: Developer):
    good = dev.done()
    dev.replace("FACTOR)", "3.0)")
    save = dev.done()
    assert save.verdict == "FAIL"
    assert "kernel.py:12 `y[b * 16" in save.divergence
    assert f"task 'scale' 0 block 0, element [0, 0]: 3 here, 2 in save {good.number}" in save.divergence
    assert dev.edit(dev.reset).divergence == ""
