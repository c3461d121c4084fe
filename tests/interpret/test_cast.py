"""pl.cast: every mode and pair of types, against rounding written with exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import FLOATS, INTEGERS, TORCH, few, incore, out, run, same, seeds, sevens, tensor, values

from helpers.errors import FaultError
from helpers.interpret.language import element_types

MODES = ("none", "rint", "round", "floor", "ceil", "trunc", "odd")


def rounded(x: float, mode: str) -> int:
    """x as an integer, computed without a floating-point operation."""
    f = Fraction(x)
    low = math.floor(f)
    rest = f - low
    if mode == "floor":
        return low
    if mode == "ceil":
        return math.ceil(f)
    if mode in ("trunc", "none"):
        return math.trunc(f)
    if rest != Fraction(1, 2):
        return low if rest < Fraction(1, 2) else low + 1
    if mode == "round":  # away from zero
        return low + 1 if f > 0 else low
    even = low if low % 2 == 0 else low + 1
    return even if mode == "rint" else 2 * low + 1 - even


def cast(x: torch.Tensor, source: str, target: str, mode: str | None = None, chip: str = "a5") -> torch.Tensor:
    o = sevens(tuple(x.shape), target)
    keyword = "" if mode is None else f', mode="{mode}"'
    body = f"o[:, :] = pl.cast(x, target_type=pl.{target}{keyword})"
    run(incore({"x": tensor(x.shape, source), "o": out(x.shape, target)}, body), x, o, on=chip)
    return o


def ways(sources: tuple[str, ...] | list[str], targets: tuple[str, ...] | list[str]) -> list[tuple[str, str]]:
    """Pairs of types that A5 casts."""
    return [(s, t) for s in sources for t in targets if s != t and not element_types.cast_refused(s, t, "a5")]


@pytest.mark.parametrize("mode", MODES)
@few
@given(st.sampled_from(ways(FLOATS, [*INTEGERS, "INT64"])), seeds)
def test_float_to_integer(mode: str, way: tuple[str, str], seed: int):
    source, target = way
    low = 0 if target == "UINT8" else -100
    x = torch.cat([values((1, 44), "FP32", seed, low, 100), torch.arange(20).view(1, 20) + (low or 0) / 5 + 0.5], 1)
    x = x.to(TORCH[source])
    near = x.half() if (target in ("INT8", "UINT8") and source != "FP16") else x  # that is the way there
    want = torch.tensor([[rounded(v, mode) for v in near[0].tolist()]]).to(TORCH[target])
    same(cast(x, source, target, mode), want)


@pytest.mark.parametrize("chip", ["a2a3", "a5"])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        *((s, t) for s in FLOATS for t in INTEGERS),
        ("FP32", "INT64"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_floats_out_of_range_give_the_nearest_integer(source: str, target: str, mode: str, chip: str):
    info, inf, nan = torch.iinfo(TORCH[target]), math.inf, math.nan
    x = torch.tensor([inf, -inf, nan, 3e38, -3e38, 3e9, -3e9, 1e20, 70000, -70000, 300, -300, -5, 2, 0, -0.0] * 2)
    x = x.to(TORCH[source])
    narrow = x.half() if target in ("INT8", "UINT8") else x  # by way of FP16, which has no more than 65504
    want = [
        0 if v != v else info.max if v >= info.max else info.min if v <= info.min else rounded(v, mode)
        for v in narrow.tolist()
    ]
    got = cast(x.view(1, 32), source, target, mode, chip)
    assert got[0].tolist() == want


def test_the_ends_of_wide_integers():
    x = torch.tensor([[2147483520.0, 2147483648.0, -2147483648.0, -2147483904.0] * 4])
    want = [2147483520, 2**31 - 1, -(2**31), -(2**31)] * 4
    assert cast(x, "FP32", "INT32", "rint")[0].tolist() == want
    x = torch.tensor([[9223371487098961920.0, 9223372036854775808.0, -9223372036854775808.0, -1e19] * 4])
    want = [9223371487098961920, 2**63 - 1, -(2**63), -(2**63)] * 4
    assert cast(x, "FP32", "INT64", "rint")[0].tolist() == want


@pytest.mark.parametrize("chip", ["a2a3", "a5"])
def test_integers_out_of_range_keep_their_low_bits(chip: str):
    x = torch.tensor([[70000, -70000, 32768, -32769, 2**31 - 1, -(2**31), 1, -1] * 4], dtype=torch.int32)
    same(cast(x, "INT32", "INT16", None, chip), x.to(torch.int16))
    wide = torch.tensor([[2**31, -(2**31) - 1, 2**40 + 5, -1] * 4])
    same(cast(wide, "INT64", "INT32", None, chip), wide.to(torch.int32))


def test_casts_in_steps_round_at_every_step():
    """By way of FP16: 0.49999997 becomes 0.5 there. By way of FP32: 2^24 + 2^16 + 1 becomes a tie of BF16 there."""
    x = torch.tensor([[0.49999997, -0.49999997, 126.99999, 1.4999999] * 8])
    assert cast(x, "FP32", "INT8", "round")[0, :4].tolist() == [1, -1, 127, 2]
    assert cast(x.view(2, 16), "FP32", "INT32", "round")[0, :4].tolist() == [0, 0, 127, 1]
    i = torch.tensor([[2**24 + 2**16 + 1, 2**24 + 3 * 2**16 - 1] * 8], dtype=torch.int32)
    assert cast(i, "INT32", "BF16")[0, :2].tolist() == [2**24, 2**24 + 2**18]
    i = torch.tensor([[300, -300, 40, 2049] * 8], dtype=torch.int32)
    for chip in ("a2a3", "a5"):
        assert cast(i, "INT32", "INT8", None, chip)[0, :4].tolist() == [127, -128, 40, 127]


def test_floats_out_of_range_of_a_narrower_float():
    x = torch.tensor([[65504.0, 65519.0, 65520.0, -1e30, math.inf, math.nan, 1e-30, 3e38] * 4])
    got = cast(x, "FP32", "FP16")[0, :8].tolist()
    assert got[:5] == [65504, 65504, math.inf, -math.inf, math.inf]
    assert math.isnan(got[5])
    assert cast(x, "FP32", "BF16")[0, 7].item() == torch.tensor(3e38).bfloat16().item()
    i = torch.tensor([[65519, 65520, -70000, 2**31 - 1] * 4], dtype=torch.int32)
    for chip in ("a2a3", "a5"):
        assert cast(i, "INT32", "FP16", None, chip)[0, :4].tolist() == [65504, math.inf, -math.inf, math.inf]


def test_the_default_mode_rounds_half_away_from_zero():
    x = torch.tensor([[0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 8388607.5, -0.49999997, *7 * [0.0]]])
    want = torch.tensor([[1, 2, 3, -1, -2, -3, 0, 8388608, 0, *7 * [0]]], dtype=torch.int32)
    same(cast(x, "FP32", "INT32"), want)
    same(cast(x, "FP32", "INT32", "round"), want)


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", FLOATS)
@few
@given(st.sampled_from([None, *MODES]), seeds)
def test_float_to_float(source: str, target: str, mode: str | None, seed: int):
    """To nearest, ties to even, whatever the mode."""
    if source == target:
        with pytest.raises(FaultError, match="own type"):
            cast(values((2, 16), source, seed), source, target, mode)
        return
    x = values((4, 16), source, seed, -300, 300)
    if target == "BF16" and source == "FP32":
        bits = x.view(torch.int32).to(torch.int64)
        low, rest = (bits >> 16) << 16, bits & 0xFFFF
        up = (rest > 0x8000) | ((rest == 0x8000) & ((bits >> 16) & 1 == 1))
        want = (low + torch.where(up, 0x10000, 0)).to(torch.int32).view(torch.float32).to(torch.bfloat16)
    else:
        want = torch.from_numpy(x.double().numpy()).to(TORCH[target])
    same(cast(x, source, target, mode), want)


def test_bf16_tie_goes_to_even():
    x = torch.tensor([[1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, *13 * [2.0]]])
    want = torch.tensor([[1, 1 + 2**-6, 1 + 2**-7, *13 * [2.0]]]).bfloat16()
    same(cast(x, "FP32", "BF16", "rint"), want)
    same(cast(x, "FP32", "BF16"), want)


@few
@given(st.sampled_from(ways(INTEGERS, FLOATS)), seeds)
def test_integer_to_float(way: tuple[str, str], seed: int):
    source, target = way
    x = values((4, 32), source, seed, -2000, 2000)
    same(cast(x, source, target), x.double().to(TORCH[target]))


@few
@given(st.sampled_from(ways(INTEGERS, INTEGERS)), seeds)
def test_integer_to_integer(way: tuple[str, str], seed: int):
    source, target = way
    x = values((4, 32), source, seed, 0 if "UINT8" in (source, target) else -128, 127)
    same(cast(x, source, target), x.to(TORCH[target]))


def test_unknown_mode():
    with pytest.raises(FaultError, match=r"(?s)cast mode 'up'.*none, rint, round"):
        cast(values((1, 8), "FP32", 0), "FP32", "INT32", "up")


@few
@given(st.integers(-100, 100), st.integers(1, 9))
def test_scalar(a: int, b: int):
    x, i = torch.ones(1, 8), torch.tensor([a, b], dtype=torch.int32)
    o = sevens((1, 8), "FP32")
    parameters = {"x": tensor((1, 8), "FP32"), "i": tensor([2], "INT32"), "o": out((1, 8), "FP32")}
    run(
        incore(
            parameters,
            "s = pl.cast(pl.read(i, [0]), pl.FP32) / pl.cast(pl.read(i, [1]), pl.FP32)\no[:, :] = pl.mul(x, s)",
        ),
        x,
        i,
        o,
    )
    same(o, torch.full((1, 8), a, dtype=torch.float32) / b)
