"""Mutants of this repository's kernels: a quick part of `python -m bench.mutants`, whose table is in the docs."""

from __future__ import annotations

import pytest

from bench import mutants
from bench.mutants import MUTANTS, VALUE, Mutant

QUICK = [m for m in MUTANTS if m.subject.startswith("hello.")]


@pytest.mark.parametrize("mutant", QUICK, ids=lambda m: m.name)
def test_is_noticed(mutant: Mutant):
    outcome = mutants.outcome(mutant)
    assert outcome.caught
    assert outcome.sanitizers or mutant.family == VALUE


def test_every_edit_is_there_to_be_made():
    assert len(MUTANTS) >= 60
    texts = [mutants.mutated(m) for m in MUTANTS]
    assert len({(m.subject, t) for m, t in zip(MUTANTS, texts)}) == len(MUTANTS)
    for text in texts:
        compile(text, "mutant", "exec")
