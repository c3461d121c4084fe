"""What PyPTO's compiler did on another day: which tasks wait for which, and how far the cube runs ahead."""

from __future__ import annotations

from datetime import date

import pytest
import torch
from kernelgen import kernel

from helpers import chips
from helpers.errors import InputError
from helpers.interpret import follow
from helpers.interpret.trace import depend
from helpers.interpret.trace.compilers import TODAY, Compiler, of_day, parse
from helpers.interpret.trace.trace import Trace
from helpers.profile import profile

ROWS = """
@pl.jit
def k(x: pl.Tensor[[64, 64], pl.FP32], o: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
    held = pl.create_tensor([64, 64], dtype=pl.FP32)
    for i in pl.range(4):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="write"):
            held[i * 16 : i * 16 + 16, :] = pl.add(x[i * 16 : i * 16 + 16, :], 1.0)
    for i in pl.range(4):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="read"):
            o[i * 16 : i * 16 + 16, :] = pl.add(held[i * 16 : i * 16 + 16, :], 1.0)
    return o
"""


def rows() -> Trace:
    args = [torch.zeros(64, 64), torch.zeros(64, 64)]
    return follow.trace(kernel(ROWS), args, "a2a3interp", chips.chip("a2a3"))


def chained(trace: Trace, compiler: Compiler) -> dict[str, int]:
    """How many tasks of each name wait for one of their own name."""
    names = {d.index: d.name for d in trace.dispatches}
    out = {"write": 0, "read": 0}
    for later, earlier in {(e.later, e.earlier) for e in depend.stated(trace, compiler)}:
        if names[later] == names[earlier] and later == earlier + 1:
            out[names[later]] += 1
    return out


@pytest.mark.parametrize(
    ("day", "write", "read"),
    [
        (date(2026, 4, 20), 3, 0),  # of a created tensor every output is InOut, of a parameter none
        (date(2026, 4, 24), 3, 0),  # a loop is around; parameters are left out
        (date(2026, 5, 1), 3, 3),  # parameters as well
        (date(2026, 5, 10), 0, 0),  # each turn stores somewhere else
        (date(2026, 5, 15), 3, 3),  # which does not count any more
        (None, 3, 3),
    ],
)
def test_which_tasks_wait_for_the_one_before_by_day(day: date | None, write: int, read: int):
    assert chained(rows(), of_day(day)) == {"write": write, "read": read}


def test_a_day_changes_the_time_and_is_said():
    trace = rows()
    apart, now = profile(trace, compiler=of_day(date(2026, 5, 10))), profile(trace)
    assert apart.makespan < now.makespan
    assert (str(apart.compiler), str(now.compiler)) == ("of 2026-05-10", "today's")


def test_how_far_the_cube_is_ahead_and_the_ring_by_day():
    days = [date(2026, 6, 14), date(2026, 6, 15), date(2026, 7, 1), date(2026, 8, 17)]
    assert [(of_day(d).ahead, of_day(d).ring) for d in days] == [(0, 8), (1, 8), (2, 8), (2, 2)]
    assert (TODAY.ahead, TODAY.ring) == (2, 2)


def test_what_is_no_day_is_refused():
    assert parse(None) is TODAY
    assert parse("2026-05-10") == of_day(date(2026, 5, 10))
    with pytest.raises(InputError, match="--pypto is 'May': a day such as 2026-05-25"):
        parse("May")
