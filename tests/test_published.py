"""Predictions beside published times: how far off they may be, and that the page has the table of this code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import measured_rows, published
from helpers import chips


@pytest.fixture(scope="module")
def found() -> list[published.Beside]:
    return published.found()


def ours(found: list[published.Beside]) -> list[published.Beside]:
    """Those that kernels of this repository predict."""
    return [b for b in found if (b.row.source, b.row.revision) in published.KERNELS and b.predicted]


def test_there_are_enough_measurements_with_a_source_each():
    rows = measured_rows.read()
    assert len(rows) >= 60
    assert {r.part for r in rows} == {"fitted", "compared"}
    assert all(r.source and r.chip in ("a2a3", "a5") and r.value > 0 for r in rows)
    assert len({(r.source, r.revision, r.program, r.config, r.item, r.quantity) for r in rows}) == len(rows)


def test_sixty_of_them_are_predicted_and_most_were_never_fitted_on(found: list[published.Beside]):
    assert sum(b.predicted is not None for b in found) >= 60
    assert len(published.times(found)) >= 60


def test_the_error_bar_is_that_of_the_compared_rows(found: list[published.Beside]):
    assert chips.SPREAD.read_text() == published.spread(found), "run python -m bench.published"
    assert f"±{100 * published.error(found):.0f} %" in chips.chip("a2a3").within


def test_what_is_far_off_says_why_or_that_it_is_not_known(found: list[published.Beside]):
    for b in published.times(found):
        assert bool(published.reason(b)) == (abs(b.off) > published.EXPLAINED)


def test_upstream_was_followed_for_the_rows_that_there_are():
    kept, rows = published._upstream(), {published.key_of(r) for r in measured_rows.read()}
    assert set(kept) <= rows
    assert all(bool(x["predicted_us"]) != bool(x["why"]) for x in kept.values())


def test_times_are_within_35_percent(found: list[published.Beside]):
    assert len(ours(found)) == 8 + 1
    assert {f"{b.row.source} {b.row.revision}": b.off for b in ours(found) if abs(b.off) > published.TIME} == {}


def test_speedups_are_within_20_percent(found: list[published.Beside]):
    off = {(row.source, row.config): mine / measured - 1 for row, measured, mine in published.speedups(ours(found))}
    assert [source for source, _ in off] == ["pypto-lib#662", "pypto-lib#662", "pypto-lib#90", "pypto-lib#391"]
    assert {source for (source, _), x in off.items() if abs(x) > published.SPEEDUP} == {"pypto-lib#662"}  # a known miss


def test_the_floor_is_what_memory_gives(found: list[published.Beside]):
    (floor,) = [b for b in found if b.row.quantity == "floor"]
    assert floor.predicted == pytest.approx(floor.row.value, rel=0.01)


def test_what_was_fitted_on_does_not_count_as_agreement(found: list[published.Beside]):
    mine = published.compared(found)
    assert mine
    assert {b.row.part for b in mine} == {"compared"}
    assert published.error([b for b in found if b.row.part == "fitted"]) is None


def test_the_page_has_these_tables(found: list[published.Beside]):
    page = published.PAGE.read_text().splitlines()
    for line in published.markdown(found).splitlines():
        assert line in page, f"run python -m bench.published: the page lacks {line}"


def test_a_miss_is_marked_and_comes_first(found: list[published.Beside]):
    good = next(b for b in found if b.predicted and b.row.part == "compared")
    bad = replace(good, predicted=1.4 * good.row.value)
    text = published.markdown([good, bad])
    assert "**+40 %, a miss**" in text
    assert text.index("a miss") < text.index(f"{good.predicted:,.6g}")
