"""Results against the golden: wrong ones, and tolerances that do not go with the error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from golden.compare import OutputError, close, compare_outputs
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import Trace
from helpers.interpret.values import fp4
from helpers.sanitize.rules import origin
from helpers.sanitize.rules.findings import ERROR, WARNING, Finding
from helpers.sanitize.rules.read_and_written import Memory
from helpers.sanitize.rules.rounding import ROUNDING, Outside, apart, outside

LOOSE = 100  # a tolerance this many times the largest error, and
COARSE = 0.05  # of this part of the usual value, is no check


@dataclass(frozen=True)
class Seen:
    """A run whose outputs are compared.

    Attributes:
        trace, memory: What it did.
        parameters: The kernel's parameter for each output whose spec has another name.
        extents: Those that are dynamic in this run.
        given: Where the tolerance is written.
    """

    trace: Trace
    memory: Memory
    parameters: Mapping[str, str] = field(default_factory=dict)
    extents: Iterable[int] = ()
    given: Place | None = None

    def buffer(self, output: str) -> int | None:
        """The number of an output's buffer."""
        name = self.parameters.get(output, output)
        return next((b.id for b in self.trace.buffers if b.argument and b.name == name), None)


def against_golden(
    run: Seen,
    outputs: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    inputs: Mapping[str, torch.Tensor],
    rtol: float,
    atol: float,
    compare_fn: Mapping[str, Callable],
) -> list[Finding]:
    """Findings about the outputs of a run that has a golden."""
    outputs, expected = ({n: fp4.elements(t) for n, t in of.items()} for of in (outputs, expected))
    errors, failures = compare_outputs(dict(outputs), dict(expected), rtol, atol, dict(compare_fn), dict(inputs))
    out = []
    for name, actual in outputs.items():
        place, task = run.memory.writes.get(run.buffer(name), (None, ""))
        where = {"place": run.given or place, "task": task}
        if run.given is not None:
            where |= {"other": place, "role": "written here"}
        error = errors.get(name)
        if name in failures:
            rule = compare_fn.get(name) or close(rtol, atol)
            off = outside(actual, expected[name], rule, rtol, atol) if error is not None else None
            if off is not None and off.count and off.worst is None:
                out.append(_tight(name, actual, error, off, where))
            else:
                out.append(_wrong(run, name, actual, expected[name], error, off, failures[name]))
        elif name not in compare_fn and expected[name].is_floating_point():
            usual = float(expected[name].double().square().nanmean().sqrt())
            allowed = atol + rtol * usual
            if allowed > LOOSE * error.max_abs and allowed > COARSE * usual > 0:
                what = (
                    f"'{name}' is off by {error.max_abs:.2g} at most; a value of the usual size, {usual:.2g}, "
                    f"may be by {allowed:.2g}: errors pass unseen"
                )
                out.append(Finding("tolerance", WARNING, what, **where, fix="allow a few times what was measured"))
    return out


def _tight(name: str, actual: torch.Tensor, error: OutputError, off: Outside, where: dict[str, Any]) -> Finding:
    """A tolerance that each element outside it is outside by no more than rounding explains of that element."""
    kind = str(actual.dtype).removeprefix("torch.")
    what = (
        f"{off.count:,} of {error.total:,} elements of '{name}' are outside the tolerance ({error.tolerance}); each is "
        f"within {off.spacings:.1f} spacings of {kind} at its own value, {error.max_abs:.2g} at most: rounding"
    )
    fix = "allow what was measured and say where it comes from; or round less"
    return Finding("tolerance", WARNING, what, **where, fix=fix)


def _wrong(
    run: Seen, name: str, actual: torch.Tensor, expected: torch.Tensor, error: OutputError | None, off: Outside | None,
    why: str,
) -> Finding:  # fmt: skip
    """An output that is wrong, at what wrote the worst of its elements, or at the load that leaves something out."""
    fix = f"open the task that wrote it: workbook debug ... --wrote '{name}[...]', or helpers.inside in a notebook"
    if error is None:
        place, task = run.memory.writes.get(run.buffer(name), (None, ""))
        return Finding("wrong-result", ERROR, f"'{name}' has {why}", place, task=task, fix=fix)
    at = error.worst if off is None or off.worst is None else off.worst
    if error.mismatched:
        what = f"'{name}' is off by {error.max_abs:.3g} at most, in {error.mismatched:,} of {error.total:,} elements"
        if off is not None and off.beyond.numel() < off.count:
            what += f"; {off.beyond.numel():,} by more than {ROUNDING} roundings of their own value"
    else:
        what = f"'{name}' is not the golden's: {why.splitlines()[0]}"
    where = {"region": "" if at is None else _values(name, at, actual, expected), "fix": fix}
    buffer = run.buffer(name)
    wrote = None if at is None or buffer is None else origin.writer(run.trace, buffer, _flat(at, actual.shape))
    if wrote is None:
        place, task = run.memory.writes.get(buffer, (None, ""))
        return Finding("wrong-result", ERROR, what, place, task=task, **where)
    gap = origin.gap(run.trace, wrote, set(run.extents))
    if gap is not None:
        what += f". {gap.what[0].upper()}{gap.what[1:]}: task '{gap.task}' leaves that out"
        return Finding(
            "wrong-result", ERROR, what, gap.place, wrote.place, f"written by {wrote.text}", gap.task, **where
        )
    if wrote.launch.blocks > 1:
        what += f"; the worst is of {wrote.text}"
    return Finding("wrong-result", ERROR, what, wrote.place, task=wrote.launch.name, **where)


def _values(name: str, at: tuple[int, ...], actual: torch.Tensor, expected: torch.Tensor) -> str:
    seen, wanted = (v[at].double().item() if v.is_floating_point() else v[at].item() for v in (actual, expected))
    return "{}{}: {}, golden {}".format(name, list(at), *apart(seen, wanted))


def _flat(at: tuple[int, ...], shape: torch.Size) -> int:
    out = 0
    for i, n in zip(at, shape):
        out = out * n + i
    return out


def as_inputs(specs: list, values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What comparators get as inputs: tensors that are no outputs, and scalars as 0-dim tensors."""
    out = {}
    for s in specs:
        if not getattr(s, "is_output", False):
            v = values[s.name]
            out[s.name] = v if isinstance(v, torch.Tensor) else torch.tensor(v, dtype=s.dtype)
    return out
