"""Every defect that reviewers of the source pull requests found is found, at its line; its repair is clean."""

from __future__ import annotations

import pytest

from helpers import defects
from helpers.defects import DEFECTS, PAGE_FILE, Defect
from helpers.sanitize import KINDS


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
    assert "'add_one' before 'double'" in found.proof
    assert "elements of 'y' differ" in found.proof


def test_an_uninitialized_read_is_proven_by_other_memory():
    (found,) = [f for f in defects.find("387a").check() if f.kind == "uninitialized-read"]
    assert "elements of 'out' differ" in found.proof
