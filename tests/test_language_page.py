"""docs/language.md says what the code does."""

from __future__ import annotations

from helpers.interpret.language import names
from helpers.interpret.ops import OPS
from helpers.interpret.pypto import report


def test_the_page_is_up_to_date():
    assert report.PAGE.read_text() == report.page(), "run: python -m helpers.interpret.pypto.report"


def test_every_operation_is_a_name_of_the_language():
    known = {*names.OPERATIONS, *(f"{space}.{n}" for space, members in names.NAMESPACES.items() for n in members)}
    assert OPS.keys() <= known


def test_a_missing_operation_is_listed_as_missing():
    assert report.state("add") == "runs"
    assert report.state("no_such_operation") == "no"
