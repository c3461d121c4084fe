"""Results against the golden: wrong ones, and tolerances that do not go with the error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from golden.compare import compare_outputs
from helpers.interpret.source import Place
from helpers.interpret.trace import Trace
from helpers.sanitize.findings import ERROR, WARNING, Finding
from helpers.sanitize.memory import Memory

ROUNDING = 4  # errors up to this many times the spacing of the type at the largest value may be rounding
LOOSE = 100  # a tolerance this many times the largest error, and
COARSE = 0.05  # of this part of the usual value, is no check


def against_golden(
    trace: Trace,
    memory: Memory,
    outputs: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    inputs: Mapping[str, torch.Tensor],
    rtol: float,
    atol: float,
    compare_fn: Mapping[str, Callable],
    given: Place | None = None,
) -> list[Finding]:
    """Findings about the outputs of a run that has a golden. `given`: where the tolerance is written."""
    errors, failures = compare_outputs(dict(outputs), dict(expected), rtol, atol, dict(compare_fn), dict(inputs))
    places = {trace.buffers[b].name: w for b, w in memory.writes.items() if trace.buffers[b].argument}
    out = []
    for name, error in errors.items():
        place, task = places.get(name, (None, ""))
        where = {"place": given or place, "other": place if given else None, "role": "written here" if given else ""}
        if name in failures:
            spacing = _spacing(expected[name])
            if error.max_abs <= ROUNDING * spacing:
                what = (
                    f"the error of '{name}' is {error.max_abs:.2g} at most, {error.max_abs / spacing:.1f} spacings of "
                    f"{str(expected[name].dtype).removeprefix('torch.')} at its largest value; the tolerance is "
                    f"{error.tolerance}"
                )
                out.append(
                    Finding(
                        "tolerance", WARNING, what, **where, task=task,
                        fix="allow what was measured and say where it comes from; or round less",
                    )
                )  # fmt: skip
            else:
                count = f"{error.mismatched:,} of {error.total:,} elements"
                what = f"'{name}' is off by {error.max_abs:.3g} at most, in {count}"
                out.append(
                    Finding(
                        "wrong-result", ERROR, what, place, None, "", task, f"{name}{list(error.worst or ())}",
                        "follow the element back through the tasks that wrote it",
                    )
                )  # fmt: skip
        elif name not in compare_fn and expected[name].is_floating_point():
            usual = float(expected[name].double().square().nanmean().sqrt())
            allowed = atol + rtol * usual
            if allowed > LOOSE * error.max_abs and allowed > COARSE * usual > 0:
                what = (
                    f"'{name}' is off by {error.max_abs:.2g} at most; a value of the usual size, {usual:.2g}, "
                    f"may be by {allowed:.2g}: errors pass unseen"
                )
                out.append(
                    Finding("tolerance", WARNING, what, **where, task=task, fix="allow a few times what was measured")
                )
    return out


def _spacing(values: torch.Tensor) -> float:
    """The distance of neighbours in a tensor's type at its largest finite value; 0 for integers."""
    if not values.is_floating_point() or not values.numel():
        return 0.0
    return torch.finfo(values.dtype).eps * float(values.double().abs().nan_to_num(0, 0, 0).max())


def as_inputs(specs: list, values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What comparators get as inputs: tensors that are no outputs, and scalars as 0-dim tensors."""
    out = {}
    for s in specs:
        if not getattr(s, "is_output", False):
            v = values[s.name]
            out[s.name] = v if isinstance(v, torch.Tensor) else torch.tensor(v, dtype=s.dtype)
    return out
