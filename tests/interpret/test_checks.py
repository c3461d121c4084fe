"""What PyPTO's passes and code generation refuse is refused at the same line; what stands next to it is not."""

from __future__ import annotations

import linecache
import re

import kernelgen
import pytest
import torch
from check_cases import BOTH, CHECKS, STRICTER, Check
from check_cases_calls import CALLS
from check_cases_in_place import IN_PLACE
from check_cases_operands import OPERANDS
from check_cases_valid import VALID

from helpers.errors import FaultError, KernelError
from helpers.interpret.lowering.lower import signature

EVERY = CHECKS + OPERANDS + IN_PLACE + STRICTER + CALLS + VALID
PLACE = re.compile(r"^  at (?P<file>.+):(?P<line>\d+):(?P<column>\d+)$", re.MULTILINE)


def arguments(kernel: object) -> dict:
    """An argument for each parameter: ones, of which an index is legal anywhere."""
    given: dict = {}
    for p in signature(kernel).parameters:
        if p.type.kind == "scalar":
            given[p.name] = 1.0 if p.type.dtype.is_float else 1
        else:
            given[p.name] = torch.ones(
                [n if isinstance(n, int) else 64 for n in p.type.shape], dtype=p.type.dtype.torch
            )
    return given


def test_titles_are_unique():
    assert len({c.title for c in EVERY}) == len(EVERY)


@pytest.mark.parametrize("case", EVERY, ids=lambda c: c.title)
@pytest.mark.parametrize("on", BOTH)
def test_check(on: str, case: Check):
    k = kernelgen.module(case.source()).k
    given = arguments(k)
    if "#!" not in case.body or on not in case.chips:
        kernelgen.run(k, on=on, **given)
        return
    with pytest.raises((KernelError, FaultError)) as e:
        kernelgen.run(k, on=on, **given)
    place = PLACE.search(str(e.value))
    assert place is not None, str(e.value)
    line = linecache.getline(place["file"], int(place["line"])).rstrip("\n")
    assert line.endswith("#!"), str(e.value)
    assert line[int(place["column"]) - 1 :].startswith(case.at), str(e.value)
    assert all(torch.equal(v, arguments(k)[n]) for n, v in given.items() if isinstance(v, torch.Tensor))
