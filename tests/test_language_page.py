"""docs/language.md says what the code does."""

from __future__ import annotations

from helpers.interpret.pypto import report


def test_the_page_is_up_to_date():
    assert report.PAGE.read_text() == report.page(), "run: python -m helpers.interpret.pypto.report"


def test_a_missing_operation_is_listed_as_missing():
    assert report.state("add") == "runs"
    assert report.state("no_such_operation") == "no"
