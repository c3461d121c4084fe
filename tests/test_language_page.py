"""docs/language.md says what the code does."""

from __future__ import annotations

from helpers.interpret.pypto import language_pages


def test_the_page_is_up_to_date():
    assert language_pages.PAGE.read_text() == language_pages.page(), f"run: python -m {language_pages.__name__}"


def test_a_missing_operation_is_listed_as_missing():
    assert language_pages.state("add") == "runs"
    assert language_pages.state("no_such_operation") == "no"
