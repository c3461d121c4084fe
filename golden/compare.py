"""Comparing what a kernel wrote with its golden: verdicts for each output, and how large the error is.

`compare_fn={"name": comparator}` puts a comparator of `golden.comparators`, or one of your own, in place of the
default, which is `close`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from golden.comparators import (
    Comparator,
    addressed_rows,
    close,
    error_distribution,
    exact,
    mapped_pool_ratio_allclose,
    ratio_allclose,
    ratio_reldiff,
    topk_pair_compare,
)
from golden.error_size import REL_FLOOR, OutputError, Seal, broken, first_difference, measure, nonfinite_text, seal
from helpers.errors import InputError
from helpers.interpret.values import fp4

__all__ = [
    "REL_FLOOR",
    "Comparator",
    "OutputError",
    "Seal",
    "Tolerance",
    "addressed_rows",
    "broken",
    "close",
    "compare_outputs",
    "error_distribution",
    "exact",
    "failure_text",
    "first_difference",
    "mapped_pool_ratio_allclose",
    "measure",
    "nonfinite_text",
    "ratio_allclose",
    "ratio_reldiff",
    "seal",
    "topk_pair_compare",
    "validate_golden",
]


@dataclass(frozen=True)
class Tolerance:
    """|actual - expected| <= atol + rtol * |expected|; `text` is what a table shows for it."""

    rtol: float
    atol: float
    text: str

    def __str__(self) -> str:
        return self.text


def validate_golden(
    outputs: dict[str, torch.Tensor],
    golden: dict[str, torch.Tensor],
    rtol: float = 1e-5,
    atol: float = 1e-5,
    compare_fn: dict[str, Comparator] | None = None,
    inputs: dict[str, torch.Tensor] | None = None,
) -> None:
    """Compare every output with its golden and print a line for each.

    Args:
        outputs: What the kernel wrote, by name.
        golden: What it should have written, by name; any shape and dtype, the same shape as the output.
        rtol, atol: Tolerance of the default comparator, |actual - expected| <= atol + rtol * |expected|.
        compare_fn: Comparators for outputs where the default will not do.
        inputs: Inputs of the run, for comparators that need them.

    Raises:
        AssertionError: at least one output does not match; the message has them all.
        InputError: an output has no golden.
    """
    _, failures = compare_outputs(outputs, golden, rtol, atol, compare_fn, inputs, log=print)
    if failures:
        raise AssertionError(failure_text(failures))


def failure_text(failures: dict[str, str]) -> str:
    """One message out of the failures of `compare_outputs`: the names, then what is wrong with each."""
    listed = "\n".join(f"  '{name}': {detail.strip()}" for name, detail in failures.items())
    return f"output does not match its golden: {', '.join(failures)}\n{listed}"


def compare_outputs(
    outputs: dict[str, torch.Tensor],
    golden: dict[str, torch.Tensor],
    rtol: float = 1e-5,
    atol: float = 1e-5,
    compare_fn: dict[str, Comparator] | None = None,
    inputs: dict[str, torch.Tensor] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, OutputError], dict[str, str]]:
    """The work of `validate_golden`: error statistics by output, and what is wrong with those that fail.

    NaN or inf where the golden has a finite number fails with any comparator, except those of this module
    that compare only a part of the tensor and look for such values in that part themselves.
    """
    compare_fn = compare_fn or {}
    errors: dict[str, OutputError] = {}
    failures: dict[str, str] = {}
    for name in compare_fn:
        if name not in outputs:
            log(f"[RUN]   compare_fn names '{name}', which is not an output")
    for name, tensor in outputs.items():
        if golden.get(name) is None:
            raise InputError(f"there is no golden for output '{name}'")
        actual, expected = fp4.elements(tensor.cpu()), fp4.elements(golden[name].cpu())
        comparator = compare_fn.get(name) or close(rtol, atol)
        label = getattr(comparator, "__name__", type(comparator).__name__)
        if actual.shape != expected.shape:
            failures[name] = f"shape {list(actual.shape)}, the golden has {list(expected.shape)}"
        else:
            errors[name], passed, detail = _judge(
                comparator, label, actual, expected, outputs, golden, inputs or {}, rtol, atol
            )
            if not passed:
                failures[name] = detail
        verdict = "FAIL" if name in failures else "PASS"
        log(f"[RUN]   '{name}' {verdict}  shape={list(actual.shape)} dtype={actual.dtype} ({label})")
    return errors, failures


def _judge(
    comparator: Comparator,
    label: str,
    actual: torch.Tensor,
    expected: torch.Tensor,
    outputs: dict[str, torch.Tensor],
    golden: dict[str, torch.Tensor],
    inputs: dict[str, torch.Tensor],
    rtol: float,
    atol: float,
) -> tuple[OutputError, bool, str]:
    """Statistics, verdict and what is wrong, of one output whose two tensors have one shape."""
    own_rtol, own_atol, bitwise = getattr(comparator, "tolerance", (None, None, False))
    own_rtol = rtol if own_rtol is None else own_rtol
    own_atol = atol if own_atol is None else own_atol
    error = measure(actual, expected, own_rtol, own_atol, bitwise=bitwise, tolerance=label)
    if not getattr(comparator, "checks_nonfinite", False):
        stray = nonfinite_text(actual, expected)
        if stray:
            return error, False, stray
    judged = comparator(
        actual,
        expected,
        actual_outputs=outputs,
        expected_outputs=golden,
        inputs=inputs,
        rtol=rtol,
        atol=atol,
    )
    if not isinstance(judged, tuple) or len(judged) != 2:
        raise InputError(f"the comparator {label} returned {judged!r}, not whether it passed and what is wrong")
    return error, bool(judged[0]), judged[1]
