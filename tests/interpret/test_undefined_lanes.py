"""An operation whose second operand has fewer valid lanes than its result uses lanes that hold anything: a note says
so, and the result has what such lanes hold, which a run can choose."""

from __future__ import annotations

import kernelgen
import pytest
import torch

from helpers.chips import chip
from helpers.interpret.call import interpret

ROWS, COLS = 32, 64
FILL = 3.0  # what lanes hold that are not valid, in these runs

COLUMN, ROW, BLOCK = ([ROWS, 1], [20, 1]), ([1, COLS], [1, 40]), ([ROWS, COLS], [20, 40])
EXPDIF = lambda a, b: torch.exp(a - b)  # noqa: E731
CASES = {
    **{f"pl.{n}(p, q)": (BLOCK, fn) for n, fn in {
        "add": torch.add, "sub": torch.sub, "mul": torch.mul, "maximum": torch.maximum, "minimum": torch.minimum,
        "fmod": torch.fmod,
    }.items()},
    **{f"pl.{way}_expand_{n}(p, q)": (operand, fn) for way, operand in (("row", COLUMN), ("col", ROW)) for n, fn in {
        "sub": torch.sub, "mul": torch.mul, "div": torch.div, "max": torch.maximum, "min": torch.minimum,
        "expdif": EXPDIF,
    }.items()},
    "pl.col_expand_add(p, q)": (ROW, torch.add),
    "pl.row_expand(p, q)": (COLUMN, lambda a, b: b.expand(ROWS, COLS)),
    "pl.col_expand(p, q)": (ROW, lambda a, b: b.expand(ROWS, COLS)),
    "pl.addc(p, q, p)": (BLOCK, lambda a, b: a + b + a),
    "pl.sel(pl.cmps(p, 1.5, cmp_type=4), p, q, t)": (BLOCK, lambda a, b: torch.where(a > 1.5, a, b)),
    "pl.sel(pl.tile.cmp(p, q, cmp_type=4), p, pl.neg(p), t)": (BLOCK, lambda a, b: torch.where(a > b, a, -a)),
}  # fmt: skip


def ran(expression: str, operand: tuple, valid: list[int]) -> tuple:
    """Notes of a run, both operands, and the output."""
    shape = operand[0]
    k = kernelgen.kernel(f"""
@pl.jit
def k(a: pl.Tensor[[{ROWS}, {COLS}], pl.FP32], b: pl.Tensor[{shape}, pl.FP32],
      out: pl.InOut[pl.Tensor[[{ROWS}, {COLS}], pl.FP32]]):
    with pl.at(level=pl.Level.CORE_GROUP):
        t = pl.create_tile([1, 32], dtype=pl.UINT8)
        p = pl.load(a, [0, 0], [{ROWS}, {COLS}])
        q = pl.load(b, [0, 0], {shape}, valid_shape={valid})
        out = pl.store({expression}, [0, 0], out)
    return out
""")
    a, b = kernelgen.values((ROWS, COLS), "FP32", 1, 1, 2), kernelgen.values(tuple(shape), "FP32", 2, 1, 2)
    out = torch.zeros(ROWS, COLS)
    trace = interpret(k, [a, b, out], "a2a3interp", chip("a2a3"), fill=FILL)
    return {kind for kind, _ in trace.notes}, a, b, out


@pytest.mark.parametrize("expression", CASES)
def test_lanes_that_are_not_valid_are_used(expression: str):
    operand, computes = CASES[expression]
    notes, a, b, out = ran(expression, operand, operand[1])
    assert "undefined lanes" in notes
    held = torch.full_like(b, FILL)
    held[: operand[1][0], : operand[1][1]] = b[: operand[1][0], : operand[1][1]]
    assert torch.equal(out, computes(a, held))


@pytest.mark.parametrize("expression", CASES)
def test_all_lanes_are_valid(expression: str):
    operand, computes = CASES[expression]
    notes, a, b, out = ran(expression, operand, operand[0])
    assert "undefined lanes" not in notes
    assert torch.equal(out, computes(a, b))


def test_a_mask_of_fewer_elements():
    """The elements of a mask beyond those that were compared are undefined, too."""
    expression = "pl.sel(pl.cmps(q, 0.0, cmp_type=4), p, pl.neg(p), t)"
    notes, a, _, out = ran(expression, BLOCK, [20, 40])
    assert "undefined lanes" in notes
    assert torch.equal(out[:20, :40], a[:20, :40])
    assert "undefined lanes" not in ran(expression, BLOCK, [ROWS, COLS])[0]
