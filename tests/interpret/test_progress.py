"""Following a run: every task is told of before it runs, and what `tell` raises ends the run and undoes it."""

from __future__ import annotations

import pytest
import torch

from helpers.run import run
from kernels import hello


def arguments() -> list[torch.Tensor]:
    return [torch.randn(64, hello.WIDTH), torch.rand(1, hello.WIDTH), torch.zeros(64, hello.WIDTH).bfloat16()]


@pytest.mark.parametrize("dry", [False, True])
def test_all_tasks_are_told_of(dry: bool):
    told = []
    trace = run(hello.two_tasks, arguments(), platform="a2a3interp", dry=dry, tell=told.append).trace
    assert sum(told) == trace.tasks == 8
    run(hello.one_task, arguments(), platform="a2a3interp")
    assert sum(told) == 8


def test_what_tell_raises_ends_the_run_and_outputs_are_as_they_were():
    class Cancelled(Exception):
        pass

    seen = 0

    def tell(n: int) -> None:
        nonlocal seen
        if seen:
            raise Cancelled
        seen += n

    args = arguments()
    with pytest.raises(Cancelled):
        run(hello.two_tasks, args, platform="a2a3interp", tell=tell)
    assert not args[2].any()
    assert run(hello.two_tasks, args, platform="a2a3interp").trace.tasks == 8
