"""Every claim of the notebooks stands where it is said to, and holds; the page that lists them is the newest."""

from __future__ import annotations

import pytest

from helpers.course.claims import CLAIMS, PAGE, Claim, page


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: f"{c.notebook[:3]}{c.sentence[:40]}")
def test_a_claim_stands_in_its_notebook_and_holds(claim: Claim):
    assert claim.stands()
    assert claim.holds()


def test_the_page_is_the_newest():
    assert PAGE.read_text(encoding="utf-8") == page()


def test_a_sentence_that_does_not_stand_there_is_seen():
    assert not Claim("01_rope_kv_cache", "128 blocks fill the chip", "", lambda: True).stands()
