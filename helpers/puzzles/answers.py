"""An answer is checked and kept; hints and the solution are given."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from helpers.errors import WorkbookError
from helpers.files import whole
from helpers.puzzles import kept_progress, stub_text
from helpers.puzzles.found import Entry
from helpers.puzzles.verdict import Verdict, from_error, judge, kernel_of

MARK = "# %%puzzle "  # the first line of an answer that a cell wrote, so that its lines have the cell's numbers


@dataclass(frozen=True)
class Checked:
    """A verdict, and whether it is that of the stub as it stands, of which nothing is kept."""

    verdict: Verdict
    untouched: bool


def check_cell(entry: Entry, cell: str) -> Checked:
    """Check the text of a cell; it becomes the puzzle's answer, but for the stub as it stands."""
    text = f"{MARK}{entry.name}\n{cell}"
    if stub_text.same(cell, stub_text.stub(entry)):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{entry.name}.py"
            file.write_text(text, encoding="utf-8")
            return Checked(_verdict(entry, file), True)
    with whole(kept_progress.answer(entry.name)) as out:
        out.write(text)
    return check_file(entry)


def check_file(entry: Entry) -> Checked:
    """Check the answer as its file has it, and keep what came of it."""
    file = kept_progress.answer(entry.name)
    verdict = _verdict(entry, file)
    own = file.read_text(encoding="utf-8")
    if stub_text.same(own.removeprefix(f"{MARK}{entry.name}\n"), stub_text.stub(entry)):
        return Checked(verdict, True)
    before = kept_progress.load().get(entry.name, kept_progress.State())
    changes = {"tries": before.tries + 1, "last": verdict.kind, "solved": before.solved or verdict.solved}
    if verdict.solved:
        changes["figures"] = verdict.mine.plain()
    kept_progress.note(entry.name, **changes)
    return Checked(verdict, False)


def begin(entry: Entry) -> Path:
    """The file of an answer; with the stub in it where there was none."""
    file = kept_progress.answer(entry.name)
    if not file.exists():
        with whole(file) as out:
            out.write(stub_text.stub(entry))
    return file


def _verdict(entry: Entry, file: Path) -> Verdict:
    try:
        return judge(entry, kernel_of(entry, file))
    except WorkbookError as error:
        return from_error(error, {})
    except Exception as error:
        what = f"the check itself failed, which is a defect of the workbook: {type(error).__name__}: {error}"
        return Verdict("fault", what)


def hint(entry: Entry) -> str:
    """The next hint; after the last one all of them."""
    hints = entry.record.hints
    given = kept_progress.load().get(entry.name, kept_progress.State()).hints
    if given >= len(hints):
        return "\n".join(f"hint {i} of {len(hints)}: {h}" for i, h in enumerate(hints, start=1))
    kept_progress.note(entry.name, hints=given + 1)
    return f"hint {given + 1} of {len(hints)}: {hints[given]}"


def solution(entry: Entry) -> str:
    """The solution's text; it is kept that it was looked at before the puzzle was solved."""
    if not kept_progress.load().get(entry.name, kept_progress.State()).solved:
        kept_progress.note(entry.name, looked=True)
    return stub_text.solution(entry)
