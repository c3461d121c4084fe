"""golden.compare: statistics against an element-by-element computation, and verdicts on either side of each rule."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from golden import (
    addressed_rows,
    close,
    comparators,
    compare,
    error_distribution,
    error_size,
    exact,
    mapped_pool_ratio_allclose,
    measure,
    ratio_allclose,
    ratio_reldiff,
    topk_pair_compare,
    validate_golden,
)
from golden.compare import REL_FLOOR, broken, compare_outputs, first_difference, seal
from helpers.errors import InputError

DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int32, torch.int8, torch.float64])
NUMBERS = st.one_of(
    st.integers(-100, 100).map(float),
    st.floats(-100, 100, width=16),
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan]),
)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS, st.booleans()), max_size=12)


def tensors(pairs: list, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Two tensors out of (actual, expected, keep them equal); integers get no NaN and inf."""

    def number(x: float) -> float | int:
        return x if dtype.is_floating_point else (int(x) if math.isfinite(x) else 7)

    expected = torch.tensor([number(e) for _, e, _ in pairs], dtype=dtype)
    actual = torch.tensor([number(e if same else a) for a, e, same in pairs], dtype=dtype)
    return actual, expected


def run(comparator, actual, expected, *, inputs=None, outputs=None, rtol=0.0, atol=0.0) -> tuple[bool, str]:
    return comparator(
        actual,
        expected,
        actual_outputs=outputs or {},
        expected_outputs={},
        inputs=inputs or {},
        rtol=rtol,
        atol=atol,
    )


# Statistics.


@given(PAIRS, DTYPES, st.sampled_from([0.0, 0.01, 0.5]), st.sampled_from([0.0, 0.125, 3.0]))
def test_measure_is_what_each_element_says(pairs: list, dtype: torch.dtype, rtol: float, atol: float) -> None:
    actual, expected = tensors(pairs, dtype)
    gaps, rels, outside = [], [], 0
    for a, e in zip(actual.double().tolist(), expected.double().tolist(), strict=True):
        if a == e or (math.isnan(a) and math.isnan(e)):
            gap = 0.0
        else:
            gap = abs(a - e) if math.isfinite(a) and math.isfinite(e) else math.inf
        gaps.append(gap)
        rels.append(gap / max(abs(e), REL_FLOOR) if 0 < gap < math.inf else gap)
        outside += not (a == e or (math.isfinite(gap) and not math.isnan(a) and gap <= atol + rtol * abs(e)))
    error = measure(actual, expected, rtol, atol)
    assert error.max_abs == max(gaps, default=0.0)
    assert error.max_rel == max(rels, default=0.0)
    assert error.mean_abs == pytest.approx(sum(gaps) / max(len(gaps), 1))
    assert error.mismatched == outside
    assert error.total == len(gaps)
    if error.max_abs > 0:
        assert gaps[error.worst[0]] == error.max_abs


@given(PAIRS, st.sampled_from([torch.float32, torch.bfloat16, torch.int32]))
def test_bitwise_counts_bits(pairs: list, dtype: torch.dtype) -> None:
    actual, expected = tensors(pairs, dtype)
    bits = {4: torch.int32, 2: torch.int16}[actual.element_size()]
    differing = (actual.view(bits) != expected.view(bits)).nonzero().flatten().tolist()
    assert measure(actual, expected, bitwise=True).mismatched == len(differing)
    assert run(exact(), actual, expected)[0] is (not differing)
    found = first_difference(actual, expected)
    assert found == ((len(differing), (differing[0],)) if differing else None)


@given(PAIRS, DTYPES, st.sampled_from([0.0, 0.01, 0.5]), st.sampled_from([0.0, 0.125, 3.0]))
def test_close_agrees_with_torch(pairs: list, dtype: torch.dtype, rtol: float, atol: float) -> None:
    actual, expected = tensors(pairs, dtype)
    agreed = torch.allclose(actual.double(), expected.double(), rtol=rtol, atol=atol)
    assert run(close(rtol, atol), actual, expected)[0] is agreed
    assert (measure(actual, expected, rtol, atol).mismatched == 0) is agreed


def test_the_relative_tolerance_is_of_the_golden() -> None:
    one, two = torch.ones(1), torch.full([1], 2.0)
    assert run(close(0.5, 0.0), one, two)[0]
    assert not run(close(0.5, 0.0), two, one)[0]


@given(st.integers(1, 7))
def test_statistics_do_not_depend_on_the_chunk(chunk: int) -> None:
    generator = torch.Generator().manual_seed(0)
    expected = torch.randn([5, 4], generator=generator)
    actual = expected + 0.1 * torch.randn([5, 4], generator=generator)
    actual[1, 1], actual[3, 2] = math.nan, math.inf
    changed = actual.clone()
    changed[2:, 0] += 1
    whole = measure(actual, expected, 0.01, 0.01), compare.nonfinite_text(actual, expected)
    rows = comparators._changed_rows(changed, actual, torch.tensor([2]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(error_size, "CHUNK", chunk)
        assert (measure(actual, expected, 0.01, 0.01), compare.nonfinite_text(actual, expected)) == whole
        assert comparators._changed_rows(changed, actual, torch.tensor([2])) == rows
    assert "2 rows" in rows
    assert "row 3 " in rows


def test_a_golden_of_another_dtype_is_compared_by_value() -> None:
    golden = torch.tensor([1.0, 1.001])
    error = measure(golden.bfloat16(), golden, atol=0.01)
    assert (error.max_abs, error.mismatched) == (pytest.approx(0.001, rel=1e-3), 0)
    assert error.worst == (1,)


def test_worst_index_is_in_the_tensors_own_shape() -> None:
    expected = torch.zeros(2, 3, 4)
    actual = expected.clone()
    actual[1, 0, 2], actual[0, 2, 3] = -3.0, 2.0
    assert measure(actual, expected).worst == (1, 0, 2)
    assert measure(expected, expected).worst is None


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match="shapes"):
        measure(torch.zeros(2), torch.zeros(2, 1))
    _, failures = compare_outputs({"y": torch.zeros(2, 2)}, {"y": torch.zeros(2)})
    assert "shape [2, 2]" in failures["y"]


# validate_golden.


def test_validate_golden_says_what_where_and_by_how_much(capsys: pytest.CaptureFixture) -> None:
    good, bad = torch.ones(3), torch.tensor([[1.0, 2.0], [3.0, 4.5]])
    golden = {"good": torch.ones(3), "bad": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}
    with pytest.raises(AssertionError) as caught:
        validate_golden({"good": good, "bad": bad}, golden)
    text = str(caught.value)
    assert "'bad'" in text
    assert "'good'" not in text
    assert "1 of 4" in text
    assert "(1, 1): 4.5, golden 4.0" in text
    printed = capsys.readouterr().out
    assert "'good' PASS" in printed
    assert "'bad' FAIL" in printed


def test_default_tolerance_is_upstreams() -> None:
    validate_golden({"y": torch.tensor([1.0 + 1.5e-5])}, {"y": torch.tensor([1.0])})
    with pytest.raises(AssertionError):
        validate_golden({"y": torch.tensor([1.0 + 2.5e-5])}, {"y": torch.tensor([1.0])})


def test_a_missing_golden_is_an_error() -> None:
    with pytest.raises(InputError, match="'y'"):
        validate_golden({"y": torch.zeros(1)}, {})


@pytest.mark.parametrize("comparator", [None, lambda *_a, **_k: (True, ""), exact(), ratio_allclose(9, 9, 1.0)])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_comparator_hides_nan_and_inf(comparator, value: float) -> None:
    golden = torch.ones(4, 5)
    output = golden.clone()
    output[2, 1] = output[3, 3] = value
    compare_fn = {"y": comparator} if comparator else None
    with pytest.raises(AssertionError) as caught:
        validate_golden({"y": output}, {"y": golden}, rtol=1.0, atol=1.0, compare_fn=compare_fn)
    counted = "2 NaN and 0 inf" if math.isnan(value) else "0 NaN and 2 inf"
    assert counted in str(caught.value)
    assert "(2, 1)" in str(caught.value)
    assert measure(output, golden).max_abs == math.inf


def test_where_the_golden_is_infinite_so_may_the_output_be() -> None:
    golden = torch.tensor([math.inf, 1.0])
    validate_golden({"y": golden.clone()}, {"y": golden})
    with pytest.raises(AssertionError):
        validate_golden({"y": -golden}, {"y": golden})
    with pytest.raises(AssertionError):
        validate_golden({"y": torch.tensor([math.nan])}, {"y": torch.tensor([math.nan])})


def test_a_comparator_gets_the_whole_run() -> None:
    seen = {}

    def comparator(actual, expected, **run):
        seen.update(run, actual=actual, expected=expected)
        return False, "because"

    output, golden, given_input = torch.ones(1), torch.zeros(1), torch.full([1], 2.0)
    errors, failures = compare_outputs({"y": output}, {"y": golden}, 0.5, 0.25, {"y": comparator}, {"x": given_input})
    assert failures == {"y": "because"}
    assert errors["y"].max_abs == 1.0
    assert seen["inputs"] == {"x": given_input}
    assert (seen["rtol"], seen["atol"]) == (0.5, 0.25)
    assert seen["actual_outputs"]["y"] is output
    assert seen["expected_outputs"]["y"] is golden


def test_statistics_count_against_the_comparators_own_tolerance() -> None:
    golden = {"y": torch.ones(10)}
    output = {"y": torch.ones(10) + torch.arange(10) / 10}
    for comparator, outside in (
        (close(0.0, 0.45), 5),
        (close(0.45, 0.0), 5),
        (ratio_allclose(atol=0.75, rtol=0.0), 2),
        (exact(), 9),
    ):
        errors, _ = compare_outputs(output, golden, compare_fn={"y": comparator})
        assert errors["y"].mismatched == outside
        assert errors["y"].tolerance == comparator.__name__


# The comparators.


def test_exact_is_about_bits_and_dtype() -> None:
    assert run(exact(), torch.tensor([0.0, math.nan]), torch.tensor([0.0, math.nan]))[0]
    passed, detail = run(exact(), torch.tensor([1.0, -0.0]), torch.tensor([1.0, 0.0]))
    assert not passed
    assert "(1,): -0.0, golden 0.0" in detail
    assert not run(exact(), torch.ones(1), torch.ones(1).double())[0]


@pytest.mark.parametrize(("bad", "passes"), [(0, True), (5, True), (6, False)])
def test_ratio_allclose_allows_its_fraction(bad: int, passes: bool) -> None:
    golden = torch.full([100], 4.0)
    output = golden.clone()
    output[:bad] += 3.0
    output[bad:] += 1.99
    assert run(ratio_allclose(atol=1.0, rtol=0.25, max_error_ratio=0.05), output, golden)[0] is passes


def test_ratio_allclose_takes_the_runs_tolerance() -> None:
    one, two = torch.ones(1), torch.full([1], 2.0)
    assert run(ratio_allclose(), two, one, atol=1.0)[0]
    assert run(ratio_allclose(), two, one, rtol=1.0)[0]
    assert not run(ratio_allclose(atol=0.5, rtol=0.0), two, one, atol=1.0, rtol=1.0)[0]


@pytest.mark.parametrize("make", [ratio_allclose, ratio_reldiff])
def test_ratio_comparators_never_pass_nonfinite(make) -> None:
    nan, one = torch.tensor([1.0, math.nan]), torch.ones(2)
    for actual, expected in ((nan, one), (one, nan), (nan, nan)):
        assert not run(make(), actual, expected, rtol=9, atol=9)[0]


@pytest.mark.parametrize("make", [ratio_allclose, ratio_reldiff])
def test_valid_rows(make) -> None:
    golden = torch.ones(4, 2)
    output = golden.clone()
    output[2:] = math.nan
    assert run(make(valid_rows=2), output, golden)[0]
    assert run(make(valid_rows=0), output * math.nan, golden)[0]
    assert not run(make(valid_rows=3), output, golden)[0]
    assert run(make(valid_rows=2, valid_axis=1), output.T, golden.T)[0]
    passed, detail = run(make(valid_rows=5), output, golden)
    assert not passed
    assert "valid_rows=5" in detail
    output[2:] = 0.0
    assert run(make(valid_rows=2, zero_tail=True), output, golden)[0]
    output[3, 1] = 1e-9
    passed, detail = run(make(valid_rows=2, zero_tail=True), output, golden)
    assert not passed
    assert "1 nonzero" in detail


@pytest.mark.parametrize(
    "make",
    [
        lambda: ratio_allclose(max_error_ratio=1.5),
        lambda: ratio_reldiff(pct_thd=-0.1),
        lambda: ratio_reldiff(diff_thd=0.0),
        lambda: ratio_reldiff(max_diff_hd=0.0),
        lambda: mapped_pool_ratio_allclose("m", mapping_shape=(), block_size=2),
        lambda: mapped_pool_ratio_allclose("m", mapping_shape=(0,), block_size=2),
        lambda: mapped_pool_ratio_allclose("m", mapping_shape=(1,), block_size=0),
        lambda: mapped_pool_ratio_allclose("m", mapping_shape=(1,), block_size=2, leading_rank_axis=True),
    ],
)
def test_impossible_comparators_are_refused(make) -> None:
    with pytest.raises(InputError):
        make()


def test_ratio_reldiff_fraction_cap_and_small_values() -> None:
    golden = torch.full([100], 10.0)
    output = golden.clone()
    output[:5] = 10.5  # difference 0.5 / 10.5 = 0.048
    assert run(ratio_reldiff(0.01, 0.05), output, golden)[0]
    assert not run(ratio_reldiff(0.01, 0.04), output, golden)[0]
    assert run(ratio_reldiff(0.05, 0.0), output, golden)[0]
    assert not run(ratio_reldiff(0.01, 0.05, max_diff_hd=0.04), output, golden)[0]
    assert run(ratio_reldiff(0.01, 0.05, max_diff_hd=0.05), output, golden)[0]
    # below the threshold the absolute difference counts, so a value that doubled near zero is not bad
    assert run(ratio_reldiff(0.01, 0.0), torch.tensor([0.008]), torch.tensor([0.004]))[0]


def test_topk_accepts_ties_and_nothing_else() -> None:
    golden = torch.tensor([[3, 1, 2, 0]])
    swapped = torch.tensor([[3, 2, 1, 0]])
    tied = torch.tensor([[9.0, 5.0, 5.0, 1.0]])
    broken = torch.tensor([[9.0, 4.0, 5.0, 1.0]])
    comparator = topk_pair_compare("scores")
    assert run(comparator, golden, golden, outputs={"scores": broken})[0]
    assert run(comparator, swapped, golden, outputs={"scores": tied})[0]
    passed, detail = run(comparator, swapped, golden, outputs={"scores": broken})
    assert not passed
    assert "2 other indices" in detail
    assert "(0, 1): index 2, golden 1, score 4" in detail
    assert run(topk_pair_compare("scores", descending=False), swapped, golden, outputs={"scores": -tied})[0]
    assert not run(topk_pair_compare("scores", descending=False), swapped, golden, outputs={"scores": tied})[0]
    assert run(topk_pair_compare("scores", dim=0), swapped.T, golden.T, outputs={"scores": tied.T})[0]
    assert not run(topk_pair_compare("scores", dim=0), swapped.T, golden.T, outputs={"scores": broken.T})[0]
    assert not run(comparator, swapped, golden, outputs={"scores": torch.full([1, 4], math.nan)})[0]


def test_topk_that_cannot_be_compared_fails() -> None:
    index = torch.zeros(2, 2, dtype=torch.int32)
    for comparator, scores in (
        (topk_pair_compare("other"), torch.zeros(2, 2)),
        (topk_pair_compare("scores"), torch.zeros(2, 3)),
        (topk_pair_compare("scores", dim=2), torch.zeros(2, 2)),
    ):
        assert not run(comparator, index, index + 1, outputs={"scores": scores})[0]


def test_addressed_rows_splits_tolerance_from_bytes() -> None:
    golden = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    comparator = addressed_rows(lambda inputs, rows: inputs["slots"] % rows, close(0.0, 0.1))
    inputs = {"slots": torch.tensor([[1], [10]])}  # rows 1 and 4
    near = golden.clone()
    near[[1, 4]] += 0.05
    assert run(comparator, near, golden, inputs=inputs)[0]
    far = golden.clone()
    far[4, 2] += 0.2
    passed, detail = run(comparator, far, golden, inputs=inputs)
    assert not passed
    assert "(1, 2)" in detail
    stray = golden.clone()
    stray[3, 0] = torch.nextafter(stray[3, 0], torch.tensor(9.0))
    passed, detail = run(comparator, stray, golden, inputs=inputs)
    assert not passed
    assert "row 3 (1 of its 3 elements)" in detail
    assert not run(
        addressed_rows(lambda _i, _r: torch.tensor([0]), lambda *_a, **_k: (True, "")),
        torch.full([2, 1], math.nan),
        torch.tensor([[0.0], [math.nan]]),
    )[0]


@pytest.mark.parametrize("ranked", [False, True])
def test_mapped_pool(ranked: bool) -> None:
    pool = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))  # ranks, blocks, rows, width
    slots = torch.tensor([[5, -1], [0, 11]])  # a rank's pool has 12 rows
    if not ranked:
        pool, slots = pool.flatten(0, 1), torch.tensor([5, -1, 12, 23])
    comparator = mapped_pool_ratio_allclose(
        "slots",
        mapping_shape=tuple(slots.shape),
        block_size=4,
        leading_rank_axis=ranked,
        atol=0.1,
        rtol=0.0,
        max_error_ratio=0.0,
    )
    inputs = {"slots": slots}

    def changed(row: int, by: float) -> torch.Tensor:
        other = pool.clone()
        other.view(24, 5)[row, 2] += by
        return other

    for row in (5, 12, 23):
        assert run(comparator, changed(row, 0.05), pool, inputs=inputs)[0]
        assert not run(comparator, changed(row, 0.2), pool, inputs=inputs)[0]
        assert not run(comparator, changed(row, math.nan), pool, inputs=inputs)[0]
    passed, detail = run(comparator, changed(11, 1e-3), pool, inputs=inputs)
    assert not passed
    assert "row 11" in detail

    bad = slots.clone()
    for value, message in ((-2, "-2"), (24, "24"), (5, "more than once")):
        bad.view(-1)[1] = value
        passed, detail = run(comparator, pool, pool, inputs={"slots": bad})
        assert not passed
        assert message in detail
    assert not run(comparator, pool, pool, inputs={})[0]
    assert not run(comparator, pool, pool, inputs={"slots": slots.float()})[0]
    assert not run(comparator, pool, pool, inputs={"slots": slots.flatten()[:3]})[0]
    assert not run(comparator, pool[..., :3, :], pool[..., :3, :], inputs=inputs)[0]
    assert run(comparator, changed(0, 0.0), pool, inputs={"slots": torch.full_like(slots, -1)})[0]


def test_error_distribution_measures_and_passes(capsys: pytest.CaptureFixture) -> None:
    golden = torch.full([1000], 10.0)
    output = golden.clone()
    output[:20] = 11.0
    assert run(error_distribution(), output, golden)[0]
    printed = capsys.readouterr().out
    assert "above 1e-02: 2.0000%" in printed
    assert f"rel-L2 {math.sqrt(20) / (10 * math.sqrt(1000)):.4%}" in printed
    assert "p100=1" in printed
    output[5] = math.nan
    assert run(error_distribution(), output, golden)[0]
    assert "1 of 1000 elements are NaN or inf" in capsys.readouterr().out
    assert not run(error_distribution(always_pass=False), output, golden)[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.int32])
@pytest.mark.parametrize("shape", [[3], [0], [7, 1001], [5, 20000]])
def test_a_seal_sees_any_change_and_about_where(dtype: torch.dtype, shape: list[int]) -> None:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(100).to(dtype)
    before = seal(tensor)
    assert broken(tensor, before) == ""
    assert broken(tensor.clone(), before) == ""
    flat = tensor.view(-1)
    for at in {0, flat.numel() // 2, flat.numel() - 1} if flat.numel() else ():
        kept = flat[at].clone()
        flat[at] = kept + 64
        first, last = map(int, re.search(r"between elements (\d+) and (\d+)", broken(tensor, before)).groups())
        assert first <= at <= last < flat.numel()
        flat[at] = kept
    assert broken(tensor, before) == ""


def test_a_seal_sees_elements_that_changed_places() -> None:
    tensor = torch.arange(100_000)
    before = seal(tensor)
    tensor[[5, 900]] = tensor[[900, 5]]
    assert "places" in broken(tensor, before)
