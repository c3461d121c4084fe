"""What is kept of a reader's work on puzzles: answers, progress, hints, copies of notebooks; and `workbook puzzles`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers.errors import InputError
from helpers.puzzles import answers, found, kept_progress, pages, stub_text, table
from helpers.puzzles.found import PARTS, find, notebook_of

ROOT = Path(__file__).parents[1]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of answers of its own."""
    monkeypatch.setenv("WORKBOOK_ANSWERS", str(tmp_path / "answers"))
    return tmp_path / "answers"


def test_nothing_is_kept_of_a_stub(kept: Path):
    entry = find("copy_tile")
    checked = answers.check_cell(entry, stub_text.stub(entry))
    assert checked.untouched
    assert not checked.verdict.solved
    assert kept_progress.load() == {}
    assert not kept_progress.answer("copy_tile").exists()


def test_tries_and_what_came_of_them(kept: Path):
    entry = find("copy_tile")
    solution = stub_text.solution(entry)
    assert (
        answers.check_cell(entry, solution.replace("[0, 0])\n        y", "[0, 1])\n        y")).verdict.kind != "solved"
    )
    assert not kept_progress.load()["copy_tile"].solved
    assert answers.check_cell(entry, solution).verdict.solved
    state = kept_progress.load()["copy_tile"]
    assert (state.tries, state.solved, state.last) == (2, True, "solved")
    assert state.figures["tasks"] == 1
    answers.check_cell(entry, stub_text.module(entry.file, "wrong_half", "copy_tile"))
    assert kept_progress.load()["copy_tile"].solved  # it has been solved once
    assert "wrong" not in kept_progress.answer("copy_tile").read_text()


def test_hints_come_one_by_one(kept: Path):
    entry = find("fuse")
    first, second = entry.record.hints
    assert answers.hint(entry) == f"hint 1 of 2: {first}"
    assert answers.hint(entry) == f"hint 2 of 2: {second}"
    assert first in answers.hint(entry)
    assert kept_progress.load()["fuse"].hints == 2
    assert stub_text.solution(entry) == answers.solution(entry)
    assert kept_progress.load()["fuse"].looked


def test_a_broken_file_is_told_in_words(kept: Path):
    kept_progress.note("tail", tries=1)
    (kept / "progress.json").write_text("{")
    with pytest.raises(InputError, match="remove it to begin anew"):
        kept_progress.load()
    (kept / "progress.json").write_text('{"tail": {"tries": 2, "of a later version": 1}}')
    assert kept_progress.load()["tail"].tries == 2


def test_the_table_counts(kept: Path):
    assert table.text(table.rows()).endswith(f"0 of {len(found.puzzles())} solved")
    kept_progress.note("tail", tries=3, solved=True, last="solved", figures={"tasks": 3, "bytes": 10, "time": 1.0})
    rows = {r.name: r for r in table.rows()}
    assert rows["tail"].solved
    assert "3 tasks" in rows["tail"].took
    assert "<b" in table.as_html(table.rows())


def test_unknown_names_are_told_in_words():
    with pytest.raises(InputError, match="did you mean row_softmax"):
        find("row_softmx")
    assert find("1").name == "copy_tile"


# The command


def workbook(folder: Path, *args: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "WORKBOOK_ANSWERS": str(folder), "COLUMNS": "120"}
    command = [sys.executable, "-m", "helpers", "puzzles", *args]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_path_of_a_reader_in_a_terminal(tmp_path: Path):
    begun = workbook(tmp_path, "copy_tile")
    assert begun.returncode == 0, begun.stderr
    assert "y[r, c] = x[r, c]" in begun.stdout
    assert "copy_tile.py" in begun.stdout
    file = tmp_path / "copy_tile.py"
    assert file.read_text() == stub_text.stub(find("copy_tile"))
    untouched = workbook(tmp_path, "copy_tile")
    assert untouched.returncode == 1
    assert "this is the stub as it stands" in untouched.stdout
    file.write_text(stub_text.module(find("copy_tile").file, "wrong_half", "copy_tile"))
    wrong = workbook(tmp_path, "copy_tile", "--picture", "wrong.png")
    assert wrong.returncode == 1
    assert "unwritten-output" in wrong.stdout
    assert (tmp_path / "wrong.png").read_bytes().startswith(b"\x89PNG")
    hinted = workbook(tmp_path, "copy_tile", "--hint")
    assert "hint 1 of 2" in hinted.stdout
    file.write_text(workbook(tmp_path, "copy_tile", "--solution").stdout)
    right = workbook(tmp_path, "copy_tile")
    assert right.returncode == 0, right.stdout + right.stderr
    assert "copy_tile: solved" in right.stdout
    all_of_them = workbook(tmp_path)
    assert "solved, solution seen" in all_of_them.stdout
    assert f"1 of {len(found.puzzles())} solved" in all_of_them.stdout
    refused = workbook(tmp_path, "nothing_like_it")
    assert refused.returncode == 2
    assert "there is no puzzle" in refused.stderr


# Notebooks


@pytest.mark.parametrize("part", PARTS)
def test_the_notebooks_are_those_of_the_records(part: str):
    """Write them anew with python -m helpers.puzzles.pages."""
    stored = nbformat.read(ROOT / "notebooks" / f"{notebook_of(part)}.ipynb", as_version=4)
    made = pages.cells(part)
    assert [(c.cell_type, c.source) for c in stored.cells] == [(c.cell_type, c.source) for c in made]


@pytest.mark.parametrize("part", PARTS)
def test_nothing_stored_gives_a_solution_away(part: str):
    stored = json.loads((ROOT / "notebooks" / f"{notebook_of(part)}.ipynb").read_text())
    outputs = json.dumps([cell.get("outputs") for cell in stored["cells"]])
    for entry in found.puzzles().values():
        if entry.part == part:
            stub = {s.strip() for s in stub_text.stub(entry).splitlines()}
            new = [s.strip() for s in stub_text.solution(entry).splitlines() if s.strip() and s.strip() not in stub]
            assert not [s for s in new if json.dumps(s)[1:-1] in outputs and len(s) > 4]
            for hint in entry.record.hints:
                assert json.dumps(hint)[1:-1] not in outputs


@pytest.mark.parametrize("part", PARTS)
def test_a_notebook_is_no_longer_than_is_read(part: str):
    prose = [re.sub(r"```.*?```", "", c.source, flags=re.S) for c in pages.cells(part) if c.cell_type == "markdown"]
    assert sum(len(p.split()) for p in prose) <= 1000


def test_copies_are_made_once_and_their_links_lead_somewhere(kept: Path):
    copies = kept_progress.copies()
    assert [c.name for c in copies] == [f"{notebook_of(p)}.ipynb" for p in PARTS]
    text = "".join(c.source for c in nbformat.read(copies[0], as_version=4).cells if c.cell_type == "markdown")
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if not re.match(r"[a-z]+:", t)]
    assert targets
    assert [t for t in targets if not (kept / t).exists()] == []
    copies[0].write_text("mine")
    kept_progress.copies()
    assert copies[0].read_text() == "mine"


@pytest.fixture
def shell():
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    yield made
    InteractiveShell.clear_instance()


def test_a_cell_is_checked_and_kept(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], kept: Path):
    shell.run_line_magic("load_ext", "helpers")
    cell = stub_text.solution(find("copy_tile"))
    shell.run_cell(f"%%puzzle copy_tile\n{cell}")
    assert "copy_tile: solved" in capsys.readouterr().out
    assert cell in kept_progress.answer("copy_tile").read_text()
    shell.run_cell(f"%%puzzle copy_tail\n{cell}")
    assert "did you mean" in capsys.readouterr().out
    shell.run_cell(f"%%puzzle\n{cell}")
    assert "wants the name of a puzzle" in capsys.readouterr().out
