"""Every puzzle: its solution passes; its stub and plausible attempts are refused, for the reason its record gives."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from helpers import plots
from helpers.profile import profile
from helpers.puzzles import answers, glossary, pictures, stub_text
from helpers.puzzles.found import PARTS, Entry, find, puzzles
from helpers.puzzles.verdict import OVER_PAR, SOLVED, best, figures, judge, kernel_of, par, ran, text
from helpers.sanitize.rules.findings import KINDS

ENTRIES = list(puzzles().values())
NAMED = {"ids": lambda e: e.name}
WRONG = [(e, name) for e in ENTRIES for name in e.record.wrong]


def test_how_many_there_are():
    assert len(ENTRIES) >= 24
    assert [e.number for e in ENTRIES] == list(range(1, len(ENTRIES) + 1))
    assert {e.part for e in ENTRIES} == set(PARTS)
    for part in PARTS:
        orders = [e.record.order for e in ENTRIES if e.part == part]
        assert len(set(orders)) == len(orders), part


@pytest.mark.parametrize("entry", ENTRIES, **NAMED)
def test_the_solution_passes(entry: Entry, tmp_path: Path):
    """As a reader would hand it in, as a file. The sanitizers find nothing in it, at every size and on both chips."""
    file = tmp_path / f"{entry.name}.py"
    file.write_text(stub_text.solution(entry))
    verdict = judge(entry, kernel_of(entry, file))
    assert verdict.kind == SOLVED, text(entry, verdict)
    assert verdict.mine == verdict.par == par(entry)
    assert pictures.wrong(entry, verdict) is None


@pytest.mark.parametrize("entry", ENTRIES, **NAMED)
def test_the_stub_is_refused_for_the_reason_it_should_be(entry: Entry, tmp_path: Path):
    file = tmp_path / f"{entry.name}.py"
    file.write_text(stub_text.stub(entry))
    verdict = judge(entry, kernel_of(entry, file))
    assert verdict.kind == entry.record.stub, text(entry, verdict)
    assert not verdict.solved


@pytest.mark.parametrize(("entry", "name"), WRONG, ids=[f"{e.name}-{n}" for e, n in WRONG])
def test_a_plausible_attempt_is_refused(entry: Entry, name: str):
    begun = time.process_time()
    verdict = judge(entry, entry.kernels[name])
    # under 2 s on a quiet machine; where a test shares its cores, a second of the processor does less
    assert time.process_time() - begun < 8
    assert verdict.kind == entry.record.wrong[name], text(entry, verdict)
    shown = verdict.ran is not None
    assert (pictures.wrong(entry, verdict) is not None) == shown
    assert shown or verdict.kind not in ("wrong-result", OVER_PAR)


@pytest.mark.parametrize("entry", ENTRIES, **NAMED)
def test_par_is_what_the_solution_takes(entry: Entry):
    again = figures(ran(entry, entry.solution, {}).trace)
    assert par(entry) == again
    assert again.tasks == best(entry).tasks > 0


@pytest.mark.parametrize("entry", ENTRIES, **NAMED)
def test_what_a_record_says_can_be_met(entry: Entry):
    of = entry.record
    assert of.wrong
    assert {of.stub, *of.wrong.values()} <= {*KINDS, OVER_PAR}
    assert 1 <= len(of.math) <= 2
    assert len(of.hints) == len(set(of.hints)) == 2
    assert all(factor >= 1 for factor in of.asked.values())
    if OVER_PAR in (of.stub, *of.wrong.values()):
        assert of.asked
    for sizes in of.sizes:
        assert of.specs(**sizes)


@pytest.mark.parametrize("entry", ENTRIES, **NAMED)
def test_the_stub_is_a_module_that_says_nothing_of_the_solution(entry: Entry):
    stub, solution = stub_text.stub(entry), stub_text.solution(entry)
    assert stub.count("@pl.jit") == solution.count("@pl.jit") == 1
    assert f"def {entry.name}(" in stub
    assert f"def {entry.name}(" in solution
    for other in ("solution", "wrong_", "noqa"):
        assert other not in stub
    assert not stub_text.same(stub, solution)


@pytest.mark.parametrize("entry", ENTRIES, **NAMED)
def test_what_a_statement_names_has_a_value(entry: Entry):
    """A constant in the mathematics or the text is in the stub, or the text says its value."""
    of, stub = entry.record, stub_text.stub(entry)
    constants = set(re.findall(r"^([A-Z][A-Z_]+) = ", entry.file.read_text(encoding="utf-8"), re.M))
    for name in constants & set(re.findall(r"\b[A-Z][A-Z_]+\b", " ".join((*of.math, of.text)))):
        assert f"\n{name} = " in stub or f"{name} = " in of.text, name


def test_most_of_the_time_of_narrow_tiles_is_dispatches():
    """As the statement says."""
    entry = find("wide_tiles")
    assert profile(ran(entry, entry.stub, {}).trace).losses["dispatch"] > 0.5


def test_pictures_are_drawn_of_data():
    entry = find("tail")
    asked = pictures.asked(entry)
    assert isinstance(asked, plots.Figure)
    assert "x [40, 64]" in asked.alt
    frames = [p for axes in asked.axes for p in axes.patches]
    assert len(frames) == 2  # what one task reads, and what it writes
    verdict = judge(entry, entry.stub)
    drawn = pictures.wrong(entry, verdict)
    assert [a.get_title(loc="left") for a in drawn.axes] == ["your y", "the right y", "the difference"]
    mine = drawn.axes[0].images[0].get_array()
    assert mine.mask.sum() == 8 * 64  # of 40 rows the last 8 are never written
    assert not drawn.axes[1].images[0].get_array().mask.any()


@pytest.mark.parametrize("entry", ENTRIES, **NAMED)
def test_each_has_a_picture(entry: Entry):
    assert pictures.asked(entry).png().startswith(b"\x89PNG")


def test_every_name_has_a_sentence_where_it_first_occurs():
    told: list[str] = []
    for entry in ENTRIES:
        fresh = glossary.new(entry)
        assert not set(fresh) & set(told)
        told += fresh
        for name in fresh:
            assert re.fullmatch(r"- \[?`pl\.[\w.]+`.*: [^\n]{8,}\.", glossary.line(name)), glossary.line(name)
    assert {"slice", "assemble", "at", "spmd", "matmul", "system.syncall"} <= set(told)
    assert len(told) > 40


def test_an_answer_that_is_no_kernel_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKBOOK_ANSWERS", str(tmp_path))
    entry = find("copy_tile")
    good = stub_text.solution(entry)
    for cell, says in (
        ("x = (\n", "line 2: '(' was never closed"),
        ("import nowhere\n", "ModuleNotFoundError: No module named 'nowhere'"),
        ("x = 1\n", "there is no kernel copy_tile"),
        (good.replace("def copy_tile(", "def other("), "there is no kernel copy_tile"),
        (good.replace("    x: pl", "    z: pl").replace("slice(x", "slice(z"), "the kernel takes (z, y)"),
        (good.replace("pl.assemble(y, tile, [0, 0])", "pl.assembel(y, tile, [0, 0])"), "pl.assembel"),
        (good.replace("x: pl.Tensor[[ROWS, WIDTH], pl.FP32]", "x: pl.Tensor[[ROWS, WIDTH], pl.FP16]"), "FP16"),
    ):
        checked = answers.check_cell(entry, cell)
        said = text(entry, checked.verdict)
        assert not checked.verdict.solved
        assert says in said, said
        assert "Traceback" not in said
        assert len(said.splitlines()) <= 6


def test_a_fault_has_the_line_of_the_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKBOOK_ANSWERS", str(tmp_path))
    entry = find("tail")
    cell = stub_text.module(entry.file, "wrong_whole_tile", "tail")
    said = text(entry, answers.check_cell(entry, cell).verdict)
    number = next(i for i, code in enumerate(f"%%puzzle tail\n{cell}".splitlines(), start=1) if "pl.slice" in code)
    assert f"line {number}: tile = pl.slice(x" in said
