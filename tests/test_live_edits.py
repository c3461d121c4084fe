"""Kinds of edits of a kernel's file: each runs what is in the file, or says why not, and never another kernel."""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from test_live import KERNEL, Developer, dev, developer, factor

__all__ = ["dev", "developer"]


def swapped(text: str) -> str:
    """The kernel's name goes to another one, which multiplies by 3, and the kernel has another name."""
    kernel = text[text.index("@pl.jit") : text.index("def golden")]
    return text.replace(kernel, kernel.replace("scale(", "former(") + kernel.replace("FACTOR)", "3.0)"))


KINDS: dict[str, tuple[Callable[[str], str | bytes], Callable[[str], str | bytes | None], float | str]] = {
    # the kernel's file and the other module, as what is made of each; the factor that runs, or what is said
    "tabs": (lambda t: t.replace("    ", "\t"), lambda f: None, 2.0),
    "tabs and spaces": (lambda t: t.replace("    return y", "\treturn y"), lambda f: None, "inconsistent use of tabs"),
    "a byte that is no UTF-8": (lambda t: t.encode() + b"# \xff\n", lambda f: None, "utf-8"),
    "a byte order mark": (lambda t: b"\xef\xbb\xbf" + t.replace("FACTOR)", "3.0)").encode(), lambda f: None, 3.0),
    "another encoding": (lambda t: ("# coding: latin-1\n# é\n" + t).encode("latin-1"), lambda f: None, 2.0),
    "a null byte": (lambda t: t + "\0", lambda f: None, "null"),
    "no line end at the end": (lambda t: t.replace("FACTOR)", "3.0)").rstrip("\n"), lambda f: None, 3.0),
    "an import added": (
        lambda t: t.replace("ROWS = 64", "import math\n\nROWS = 64\nFACTOR = math.sqrt(9.0)"), lambda f: None, 3.0,
    ),
    "an import of all names": (lambda t: t.replace("import FACTOR", "import *"), lambda f: "FACTOR = 5.0\n", 5.0),
    "a circular import": (lambda t: t, lambda f: "from kernel import FACTOR\n", "circular import"),
    "an import of itself": (lambda t: t.replace("from factors", "from kernel"), lambda f: None, "circular import"),
    "a name that goes to another kernel": (swapped, lambda f: None, 3.0),
    "a kernel that is gone": (lambda t: t.replace("def scale(", "def scales("), lambda f: None, "scale"),
    "two runs, of which the first counts": (
        lambda t: t + "    run_jit(scale, specs, lambda v: None, rtol=1e-3, atol=1e-3)\n", lambda f: None, 2.0,
    ),
    "an element type of the specs": (
        lambda t: t.replace("128], torch.float32, init", "128], torch.float16, init"), lambda f: None, "dtype",
    ),
    "a golden that raises": (lambda t: t.replace('values["x"] * 2.0', 'values["z"]'), lambda f: None, "KeyError"),
    "a golden of NaN": (lambda t: t.replace("* 2.0", '* float("nan")'), lambda f: None, math.inf),
    "a tolerance": (
        lambda t: t.replace("FACTOR)", "2.01)").replace("atol=1e-3", "atol=1"), lambda f: None, 2.01,
    ),
    "the other module with a mistake": (lambda t: t, lambda f: "FACTOR = (\n", "factors.py:1"),
    "the other module with another type": (lambda t: t, lambda f: "FACTOR = 'two'\n", "is a str"),
    "the other module empty": (lambda t: t, lambda f: "", "FACTOR"),
    "a decorator that is none": (lambda t: t.replace("@pl.jit\n", "@pl.jitt\n"), lambda f: None, "jit"),
    "a call of itself without end": (
        lambda t: t.replace("ROWS = 64", "def f():\n    return f()\n\n\nROWS = f()"), lambda f: None, "RecursionError",
    ),
    "an end of its own": (lambda t: t.replace("ROWS = 64", "raise SystemExit(3)\nROWS = 64"), lambda f: None, "run"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_an_edit_runs_what_is_in_the_file_or_says_why_not(dev: Developer, name: str):
    kernel, other, expected = KINDS[name]

    def change() -> None:
        factors = other("")
        if factors is not None:
            dev.factors.write_text(factors)
        text = kernel(KERNEL)
        if text != KERNEL:
            dev.file.write_bytes(text if isinstance(text, bytes) else text.encode())

    before = dev.session.history.saves[-1].number
    change()
    time.sleep(0.15)  # two files are two saves, or one
    save = dev.done(before, verdict=True)
    if isinstance(expected, str):
        assert save.verdict == "refused"
        assert expected in save.mistake
        assert len(save.mistake.splitlines()) <= 12
        assert "Traceback" not in save.mistake
    else:
        assert not save.mistake
        assert factor(save) == pytest.approx(expected)


def test_a_link_that_leads_to_another_file(dev: Developer):
    three = dev.folder / "three.py"
    three.write_text(KERNEL.replace("FACTOR)", "3.0)"))

    def link(to: Path) -> None:
        (dev.folder / "link").unlink(missing_ok=True)
        (dev.folder / "link").symlink_to(to)
        os.replace(dev.folder / "link", dev.file)

    try:
        assert factor(dev.edit(lambda: link(three))) == pytest.approx(3.0)
        four = dev.folder / "four.py"
        four.write_text(KERNEL.replace("FACTOR)", "4.0)"))
        assert factor(dev.edit(lambda: link(four))) == pytest.approx(4.0)
    finally:
        dev.file.unlink()


def test_two_saves_at_once(dev: Developer):
    def change() -> None:
        dev.file.write_text(KERNEL.replace("FACTOR)", "3.0)"))
        time.sleep(0.005)
        dev.file.write_text(KERNEL.replace("FACTOR)", "4.0)"))

    dev.edit(change)
    time.sleep(0.3)
    assert factor(dev.done(verdict=True)) == pytest.approx(4.0)


def test_a_file_that_is_written_in_parts(dev: Developer):
    def change() -> None:
        text = KERNEL.replace("FACTOR)", "3.0)")
        with open(dev.file, "w") as f:
            f.write(text[:200])
            f.flush()
            time.sleep(0.005)
            f.write(text[200:])

    dev.edit(change)
    time.sleep(0.3)
    assert factor(dev.done(verdict=True)) == pytest.approx(3.0)


def test_a_text_as_long_as_the_one_before_it_in_the_same_second(dev: Developer):
    """Python takes a module's bytecode for that of a file of the same second and size."""
    now = time.time_ns()
    for number in (3, 4, 5):

        def change(number: int = number) -> None:
            dev.factors.write_text(f"FACTOR = {number}.0\n")
            os.utime(dev.factors, ns=(now, now))

        assert factor(dev.edit(change)) == pytest.approx(number)


def test_an_older_file(dev: Developer):
    def change() -> None:
        dev.file.write_text(KERNEL.replace("FACTOR)", "3.0)"))
        os.utime(dev.file, (1e9, 1e9))

    assert factor(dev.edit(change)) == pytest.approx(3.0)


def test_a_folder_in_place_of_the_file(dev: Developer):
    def change() -> None:
        dev.file.unlink()
        dev.file.mkdir()

    assert dev.edit(change).verdict == "refused"
    assert dev.edit(lambda: (dev.file.rmdir(), dev.file.write_text(KERNEL))).verdict == "PASS"


def resident(group: int) -> float:
    """MiB of memory that this process and a process group hold."""
    listed = subprocess.run(["ps", "-eo", "pid=,pgid=,rss="], capture_output=True, text=True).stdout.splitlines()
    rows = [[int(n) for n in line.split()] for line in listed]
    return sum(rss for pid, pgid, rss in rows if group == pgid or pid == os.getpid()) / 1024


def test_two_hundred_saves_take_no_memory(tmp_path: Path):
    one = Developer(tmp_path)
    one.session.start()
    try:
        one.done()
        early = 0.0
        for number in range(200):
            save = one.edit(partial(one.file.write_text, KERNEL + f"# {number}\n"))
            assert save.verdict == "PASS"
            if number == 9:
                one.done()
                early = resident(one.session._server.pid)
        one.done()
        late = resident(one.session._server.pid)
        print(f"{early:.0f} MiB after 10 saves, {late:.0f} MiB after 200")
        assert late - early < 100
    finally:
        one.session.stop()
