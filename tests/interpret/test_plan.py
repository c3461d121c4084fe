"""What a task takes of the on-chip buffers: as much as PyPTO's compiler plans for it."""

from __future__ import annotations

import pytest
import torch
from kernelgen import incore, kernel, out, run, tensor
from plan_cases import MORE, PLANS, Plan

from helpers.errors import FaultError
from helpers.interpret.lowering.lower import signature
from helpers.interpret.machine.memory import alive, plan
from helpers.interpret.source.source import Place
from helpers.interpret.values.values import Memory, Turn


def arguments(case: Plan) -> dict[str, torch.Tensor]:
    return {
        p.name: torch.ones(p.type.shape, dtype=p.type.dtype.torch) for p in signature(kernel(case.source())).parameters
    }


@pytest.mark.parametrize("chip", ["a2a3", "a5"])
@pytest.mark.parametrize("case", PLANS, ids=lambda c: c.title)
def test_a_kernel_takes_what_the_compiler_plans(case: Plan, chip: str):
    peaks = run(case.source(), on=chip, **arguments(case)).peaks()
    more = MORE.get(case.title, 0)
    assert {b: peaks[b] - more for b in case.bytes} == case.on(chip)


# Rows of 256 FP32 with which PyPTO's compiler still takes the kernel for A2/A3, of 8, 16, ...
@pytest.mark.parametrize(
    ("rows", "body"),
    [
        (56, "t = pl.mul(t, pl.recip(pl.add(pl.exp(pl.neg(t)), 1.0)))"),
        (88, "t = pl.recip(pl.add(pl.exp(t), 1.0))"),
        (184, "t = pl.exp(pl.add(t, 1.0))"),
        (88, "t = pl.row_expand_mul(t, pl.row_sum(t))"),
    ],
)
def test_what_the_compiler_has_no_room_for_is_refused(rows: int, body: str):
    def source(n: int) -> str:
        lines = f"t = pl.slice(x, [{n}, 256], [0, 0])\n{body}\no = pl.assemble(o, t, [0, 0])"
        shape = (n, 256)
        return incore({"x": tensor(shape, "FP32"), "o": out(shape, "FP32")}, lines)

    def fits(n: int) -> bool:
        try:
            run(source(n), torch.ones(n, 256), torch.ones(n, 256))
        except FaultError:
            return False
        return True

    assert fits(rows)
    assert not fits(rows + 8)
    with pytest.raises(FaultError, match="bytes of UB at once"):
        run(source(rows + 8), torch.ones(rows + 8, 256), torch.ones(rows + 8, 256))


def memory(nbytes: int, born: int, last: int, line: int, **more: object) -> Memory:
    m = Memory("UB", nbytes, born, Place("k.py", line, 1), **more)
    m.last = last
    return m


LIMITS = {"UB": 1024}


def test_a_slot_is_as_large_as_its_largest_tile():
    tiles = [memory(64, 1, 2, 1), memory(256, 3, 4, 2), memory(128, 4, 5, 3)]
    assert alive(tiles) == 384
    assert plan(tiles, LIMITS).peaks == {"UB": 384}  # the first goes into the slot of the second
    tiles = [memory(128, 1, 4, 1), memory(256, 3, 6, 2), memory(256, 5, 8, 3)]
    assert alive(tiles) == 512
    assert plan(tiles, LIMITS).peaks == {"UB": 512}


def test_tiles_of_one_place_are_one_value_unless_they_are_alive_together():
    assert plan([memory(64, i, i, 1) for i in range(9)], LIMITS).peaks == {"UB": 64}
    assert plan([memory(64, i, i + 1, 1) for i in range(9)], LIMITS).peaks == {"UB": 128}


def test_a_pipeline_gives_up_stages_where_they_do_not_fit():
    def turns(n: int, nbytes: int) -> list[Memory]:
        return [
            memory(nbytes, 2 * i, 2 * i + 1, 1, turns=(Turn("loop", i % n, n, 2 * (i - i % n)),)) for i in range(2 * n)
        ]

    assert plan(turns(4, 256), LIMITS).peaks == {"UB": 1024}
    assert plan(turns(4, 320), LIMITS).peaks == {"UB": 960}
    assert plan(turns(4, 1024), LIMITS).peaks == {"UB": 1024}
    loads = [memory(1024, 2 * i, 2 * i + 1, 1, turns=(Turn("loop", 0, 1, 2 * i),), loaded=True) for i in range(4)]
    assert plan(loads, LIMITS).cramped == {Place("k.py", 1, 1)}
    assert not plan(turns(2, 64), LIMITS).cramped
