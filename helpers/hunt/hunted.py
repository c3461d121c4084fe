"""One case of the hunt: its kernel in a file that says nothing of the defect, the tools, the verdict on an answer."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from golden import mistakes
from golden.spec import values_of
from helpers.errors import InputError, shown
from helpers.files import whole
from helpers.hunt.hunt_cases import CASES, Record
from helpers.inside import Inside, against, inside
from helpers.inside.intermediates import Wrong
from helpers.interpret.language.decorated import unwrap
from helpers.puzzles import kept_progress, stub_text
from helpers.puzzles.imported import imported
from helpers.run import run
from helpers.sanitize import check, report
from helpers.sanitize.check_scripts import check_script


@dataclass(frozen=True)
class Hunted:
    """A case. `number`: from 1 on; `record`: what it is, which the reader does not look at."""

    number: int
    record: Record

    @property
    def asked(self) -> str:
        """What the kernel is to compute."""
        return self.record.asked

    @property
    def symptom(self) -> str:
        """What somebody noticed."""
        return self.record.symptom

    @cached_property
    def file(self) -> Path:
        """A file with the kernel, called `kernel`, and what it uses; nothing in it says what is wrong."""
        path = kept_progress.folder() / "hunt" / f"case_{self.number:02}.py"
        text = self._text()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path) as file:
                file.write(text)
        return path

    def _text(self) -> str:
        wrong = self.record.wrong
        if isinstance(wrong, Path):
            return wrong.read_text(encoding="utf-8")
        function = None if self.record.reference is mistakes.wrong_golden else unwrap(wrong)[0]
        if function is None:  # the golden is what is wrong
            return f'"""{self.asked}"""\n\n' + _without_docstring(inspect.getsource(self.record.reference), self.asked)
        return told(Path(inspect.getsourcefile(function)), function.__name__, self.asked)

    @cached_property
    def kernel(self) -> Any:
        """The kernel, from that file.

        Raises:
            InputError: the case is none of a kernel.
        """
        if isinstance(self.record.wrong, Path) or "def kernel(" not in self.file.read_text(encoding="utf-8"):
            raise InputError(f"case {self.number} is no kernel: {self.asked}")
        return imported(self.file, f"case_{self.number:02}").kernel

    def specs(self, **sizes: Any) -> list:
        """The kernel's arguments as specs, of the usual sizes or of others."""
        return self.record.specs(**sizes)

    def run(self, **sizes: Any) -> Any:
        """A run of the kernel that is kept, so that its tasks can be opened."""
        return run(self.kernel, values_of(self.specs(**sizes)), platform="a2a3interp", keep=True)

    def inside(self, task: int | str | None = None, block: int = 0, wrote: str | None = None, **sizes: Any) -> Inside:
        """A task opened, see `helpers.inside.inside`."""
        return inside(self.kernel, task, block, args=self.specs(**sizes), wrote=wrote)

    def against(self, **sizes: Any) -> Wrong | None:
        """The first tensor that is not the golden's, see `helpers.inside.against`."""
        r = self.record
        return against(self.run(**sizes), r.reference, rtol=r.rtol, atol=r.atol)

    def check(self) -> Found:
        """What the sanitizers find."""
        r = self.record
        if isinstance(r.wrong, Path):
            return Found(check_script(self.file, []))
        kernel = self.kernel if "def kernel(" in self.file.read_text(encoding="utf-8") else r.wrong
        return Found(check(kernel, r.specs, reference=r.reference, rtol=r.rtol, atol=r.atol, sweep=r.sweep))

    @cached_property
    def lines(self) -> set[int]:
        """The lines of the file that are an answer: those that the repair changes, and those of the record's pieces."""
        rows = self.file.read_text(encoding="utf-8").splitlines()
        first = next((n for n, row in enumerate(rows) if row.startswith("def ")), 0)
        found = {n for n, row in enumerate(rows, 1) if n > first and any(p in row for p in self.record.pieces)}
        if self.record.right is None:
            return found
        function = unwrap(self.record.right)[0]
        repaired = told(Path(inspect.getsourcefile(function)), function.__name__, self.asked).splitlines()
        matcher = difflib.SequenceMatcher(None, rows, repaired, autojunk=False)
        for tag, a, b, _, _ in matcher.get_opcodes():
            if tag in ("replace", "delete"):
                found |= {n + 1 for n in range(a, b) if n >= first and rows[n].strip()}
            elif tag == "insert":
                found |= {n for n in (a, a + 1) if n > first}
        return found

    def judged(self, answer: int | str | None) -> str:
        """Whether an answer is right, in words: a line of the file, or the kind of a finding."""
        if answer is None or answer is ...:
            return "not answered yet"
        if isinstance(answer, int) and not isinstance(answer, bool):
            right = answer in self.lines
            what = f"line {answer}"
        else:
            right = str(answer).strip().lower() in self.record.kinds
            what = repr(answer)
        if not right:
            return f"{what} is not where it is"
        return f"{what} is right. {self.record.answer}"


class Found:
    """Findings as text and as HTML."""

    def __init__(self, findings: list):
        self.findings = findings

    def __repr__(self) -> str:
        return report.text(self.findings)

    def _repr_html_(self) -> str:
        return report.as_html(self.findings)


def told(file: Path, function: str, asked: str) -> str:
    """The function as a module of its own, called `kernel`, with what it is to compute in place of its docstring."""
    return _without_docstring(stub_text.module(file, function, "kernel"), asked)


def _without_docstring(text: str, asked: str) -> str:
    tree = ast.parse(text)
    rows = text.splitlines()
    last = [n for n in tree.body if isinstance(n, ast.FunctionDef)][-1]
    said = last.body[0]
    indent = " " * said.col_offset
    rows[said.lineno - 1 : said.end_lineno] = [f'{indent}"""{asked}"""']
    return re.sub(r"wrong_golden", "golden", "\n".join(rows) + "\n")


def find(number: int) -> Hunted:
    """The case of a number.

    Raises:
        InputError: there is none.
    """
    if not isinstance(number, int) or not 1 <= number <= len(CASES):
        raise InputError(f"there are cases 1 to {len(CASES)}, not {number!r}")
    return Hunted(number, CASES[number - 1])


def symptoms(first: int, last: int = len(CASES)) -> str:
    """What is to be found in cases `first` to `last`, a line each."""
    rows = []
    for n in range(first, last + 1):
        c = find(n)
        rows.append(f"{n:3}  {c.asked} {c.symptom}")
    return "\n".join(rows)


def place(of: Hunted) -> str:
    """The file of a case as it is shown."""
    return shown(str(of.file))
