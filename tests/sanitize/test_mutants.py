"""Mutants of kernels: a quick part of `python -m bench.mutants`, whose table is in the docs."""

from __future__ import annotations

import pytest

from bench import mutants
from bench.mutant_subjects import SUBJECTS, VALUE, Mutant
from bench.mutants import MUTANTS

QUICK = [m for m in MUTANTS if m.subject.startswith(("hello.", "scopes."))]


@pytest.mark.parametrize("mutant", QUICK, ids=lambda m: m.name)
def test_is_noticed_and_not_excused(mutant: Mutant):
    outcome = mutants.outcome(mutant)
    assert outcome.caught
    assert outcome.sanitizers or mutant.family == VALUE
    assert not outcome.excused


@pytest.mark.parametrize("subject", [s for s in SUBJECTS if s.startswith(("hello.", "scopes."))])
def test_nothing_is_wrong_with_what_is_mutated(subject: str):
    sums = {"atomic-order"} if subject == "scopes.summed" else set()
    assert {kind for kind, _ in mutants.clean(subject, False)} == sums


def test_every_edit_is_there_to_be_made():
    assert len(MUTANTS) >= 150
    texts = [mutants.mutated(m) for m in MUTANTS]
    assert len({(m.subject, t) for m, t in zip(MUTANTS, texts)}) == len(MUTANTS)
    for text in texts:
        compile(text, "mutant", "exec")
