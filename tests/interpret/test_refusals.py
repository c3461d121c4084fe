"""What the language refuses is refused at its line and touches nothing; what it accepts runs and is right."""

from __future__ import annotations

import linecache
import re
from dataclasses import fields

import kernelgen
import pytest
import torch
from language_cases import ACCEPTED, REFUSED, STRICTER, Arguments, Case

from helpers.errors import FaultError, KernelError
from helpers.interpret.language.decorated import unwrap

PLACE = re.compile(r"^  at (?P<file>.+):(?P<line>\d+):(?P<column>\d+)$", re.MULTILINE)


def test_titles_are_unique():
    titles = [c.title for c in REFUSED + STRICTER + ACCEPTED]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("case", REFUSED + STRICTER, ids=lambda c: c.title)
def test_refused(case: Case):
    a, before = Arguments.new(), Arguments.new()
    found = kernelgen.module(case.source())
    given = {f.name: getattr(a, f.name) for f in fields(a)}
    with pytest.raises((KernelError, FaultError)) as e:
        kernelgen.run(found.k, **{n: given[n] for n in unwrap(found.k)[0].__annotations__ if n in given})
    message = str(e.value)
    place = PLACE.search(message)
    assert place is not None, message
    assert place["file"].endswith(found.__file__.rsplit("/", 1)[-1])
    line = linecache.getline(found.__file__, int(place["line"])).rstrip("\n")
    assert line.endswith("#!"), message
    assert line[int(place["column"]) - 1 :].startswith(case.at), message
    assert line in message
    for f in fields(a):
        value = getattr(a, f.name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(before, f.name)), f.name


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda c: c.title)
def test_accepted(case: Case):
    a, before = Arguments.new(), Arguments.new()
    k = kernelgen.kernel(case.source())
    given = {f.name: getattr(a, f.name) for f in fields(a)}
    names = [
        n for n in unwrap(k)[0].__annotations__ if n in given and not (case.title == "default of a scalar" and n == "n")
    ]
    kernelgen.run(k, **{n: given[n] for n in names})
    torch.testing.assert_close(a.out, case.want(before), rtol=0, atol=0)
