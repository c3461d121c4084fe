"""Every defect that reviewers of the source pull requests found is found, at its line; its repair is clean."""

from __future__ import annotations

import pytest

from golden import mistakes as golden
from helpers.course import defects
from helpers.course.defects import DEFECTS, PAGE_FILE, Defect
from helpers.sanitize import KINDS, check
from kernels import mistakes_puzzles as puzzles


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: d.name)
def test_is_found_at_its_line_and_gone_when_repaired(defect: Defect):
    findings = defect.check()
    assert defect.found(findings), (defect.kind, defect.place, [str(f) for f in findings])
    assert [str(f) for f in defect.repaired()] == []


def test_the_table_of_the_docs_is_the_newest():
    page = PAGE_FILE.read_text()
    assert defects.written(page) == page
    assert all(f"| {kind} | {meaning} |" in page for kind, meaning in KINDS.items())


def test_cases_are_shrunk_to_the_smallest_that_fails():
    assert {f.case for f in defects.find("662c").check()} == {"ctx=1"}
    assert {f.case for f in defects.find("387b").check() if f.kind == "out-of-bounds"} == {"batch=1"}
    assert {f.case for f in defects.find("662a").check() if f.kind == "out-of-bounds"} == {"ctx=256"}


def test_a_race_is_proven_by_another_order():
    (found,) = [f for f in defects.find("656e").check() if f.kind == "race"]
    assert "'add_one' before 'times2'" in found.proof
    assert "elements of 'y' differ" in found.proof


def test_an_uninitialized_read_is_proven_by_other_memory():
    (found,) = [f for f in defects.find("387a").check() if f.kind == "uninitialized-read"]
    assert "elements of 'out' differ" in found.proof


def test_what_shows_without_a_sanitizer_is_mostly_nothing():
    seen = {d.name: d.run().split(",")[0].split(":")[0] for d in DEFECTS}
    assert {n for n, text in seen.items() if text != "PASS"} == {"387a", "387c", "90a", "90b"}


def test_puzzles_have_the_defects_that_the_hunt_says():
    (race,) = check(puzzles.chain, golden.rows(), golden.chained, rtol=1e-4, atol=1e-4)
    assert race.kind == "race"
    assert "'subtract' reads what task 'square' writes" in race.what
    tail = {n: check(puzzles.tail, golden.tokens(n), golden.double, sweeps=False) for n in (16, 17)}
    assert tail[16] == []
    assert tail[17][0].kind == "unwritten-output"
    tolerance = {"rtol": 2.0**-7, "atol": 2.0**-7}
    found = check(puzzles.steps, golden.steps(), golden.summed, **tolerance)
    assert "low-precision-accumulation" in {f.kind for f in found}
    assert {f.kind for f in check(puzzles.pairs, golden.rows())} == {"double-write", "unwritten-output"}
