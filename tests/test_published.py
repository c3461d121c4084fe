"""Predictions beside published times: how far off they may be, and that the page has the table of this code."""

from __future__ import annotations

import pytest

from bench import published


@pytest.fixture(scope="module")
def found() -> list[published.Row]:
    return published.rows()


def test_times_are_within_35_percent(found: list[published.Row]):
    assert len(found) == 8
    assert {f"{r.pr} {r.variant}": r.off for r in found if abs(r.off) > published.TIME} == {}


def test_speedups_are_within_20_percent(found: list[published.Row]):
    off = {(pr, config): ours / measured - 1 for pr, config, measured, ours in published.speedups(found)}
    assert [pr for pr, _ in off] == ["662", "662", "90", "391"]
    assert {pr: x for pr, x in off.items() if abs(x) > published.SPEEDUP} == {}


def test_the_floor_is_what_memory_gives():
    measured, predicted = published.floor()
    assert predicted == pytest.approx(measured, rel=0.01)


def test_the_page_has_these_tables(found: list[published.Row]):
    page = published.PAGE.read_text().splitlines()
    for line in published.markdown(found).splitlines():
        assert line in page, f"run python -m bench.published: the page lacks {line}"


def test_a_miss_is_marked():
    row = published.Row("1", "config", "before", None, 100.0, "kernel", 1, 140.0)
    assert "**+40 %, a miss**" in published.markdown([row])
