"""A run of a check beside its golden: wrong results, each with where it begins, and tolerances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from golden.compare import compare_outputs
from golden.spec import TensorSpec, values_of
from helpers.chips import Chip
from helpers.errors import WorkbookError
from helpers.interpret.call import arrange
from helpers.interpret.lowering.compiled import Compiled
from helpers.interpret.source.source import Place
from helpers.interpret.values import fp4
from helpers.sanitize.case_run import Run, again, extents, raised_at
from helpers.sanitize.cases import Specs
from helpers.sanitize.rules import results
from helpers.sanitize.rules.findings import ERROR, Finding


@dataclass
class Judge:
    """Compares runs of a kernel with the golden; says of the first wrong result where it begins.

    Attributes:
        reference, rtol, atol, compare_fn, given, beside: As for `check`.
        on: The chip of the runs.
        traced: A wrong result has been traced: it takes more runs, and of one the reason is enough.
    """

    kernel: Any
    compiled: Compiled
    reference: Callable[[dict[str, Any]], Any]
    rtol: float
    atol: float
    compare_fn: Mapping[str, Callable]
    given: Place | None
    beside: Mapping[str, Any]
    on: Chip
    traced: bool = False

    def __call__(self, specs: Specs, run: Run) -> list[Finding]:
        """Findings about the outputs of a run on what `specs` make."""
        arranged = arrange(self.compiled, run.values)
        by_spec, expected = (
            dict(zip([s.name for s in specs], v))
            for v in (arranged, arrange(self.compiled, again(self.compiled, specs, run)))
        )
        inputs = results.as_inputs(list(specs), expected)
        try:
            self.reference(expected)
        except Exception as error:  # the caller's own
            what = f"the golden ended with {type(error).__name__}: {error}"
            return [
                Finding("script-failed", ERROR, what, raised_at(error), fix="nothing is compared until it does not")
            ]
        names = [s.name for s in specs if isinstance(s, TensorSpec) and s.is_output]
        seen = results.Seen(
            run.trace, run.memory, dict(zip([s.name for s in specs], [p.name for p in self.compiled.parameters])),
            extents(self.compiled, run.values), self.given,
        )  # fmt: skip
        found = results.against_golden(
            seen, {n: by_spec[n] for n in names}, {n: expected[n] for n in names}, inputs, self.rtol, self.atol,
            self.compare_fn,
        )  # fmt: skip
        if self.traced or not any(f.kind == "wrong-result" for f in found):
            return found
        self.traced = True
        begins = self._by_intermediates(specs, expected) or self._by_another(specs, expected, inputs)
        return [replace(f, fix=begins) if begins and f.kind == "wrong-result" else f for f in found]

    def _by_intermediates(self, specs: Specs, expected: Mapping[str, Any]) -> str:
        """Where it begins, by the intermediates that the golden names; "" where that says no more."""
        from helpers.inside.intermediates import against
        from helpers.run import run as run_kernel

        own = {s.name for s in specs}
        if not any(isinstance(v, torch.Tensor) and name not in own for name, v in expected.items()):
            return ""
        try:
            kept = run_kernel(self.kernel, list(values_of(specs).values()), platform=f"{self.on.name}interp", keep=True)
            tensors = {name: v for name, v in expected.items() if isinstance(v, torch.Tensor)}
            wrong = against(kept, tensors, rtol=self.rtol, atol=self.atol)
        except WorkbookError:  # its golden and the kernel do not go together in this way
            return ""
        if wrong is None or wrong.name in own:
            return ""
        return str(wrong)

    def _by_another(self, specs: Specs, expected: Mapping[str, Any], inputs: Mapping[str, torch.Tensor]) -> str:
        """Where it begins, beside another kernel that is right; "" where none is."""
        from helpers.inside.diverge import diverge

        for name, other in self.beside.items():
            try:
                if not self._right(other, specs, expected, inputs):
                    continue
                found = diverge(self.kernel, other, specs, platform=f"{self.on.name}interp")
            except WorkbookError:  # it does not run on this, or the two have no task in common
                continue
            if found is not None:
                return f"it {found.text(f'{name}, which is right')}"
        return ""

    def _right(
        self, kernel: Any, specs: Specs, expected: Mapping[str, Any], inputs: Mapping[str, torch.Tensor]
    ) -> bool:
        from helpers.run import run as run_kernel

        values = values_of(specs)
        run_kernel(kernel, list(values.values()), platform=f"{self.on.name}interp")
        outputs = {s.name: fp4.elements(values[s.name]) for s in specs if getattr(s, "is_output", False)}
        wanted = {name: fp4.elements(expected[name]) for name in outputs}
        _, failures = compare_outputs(outputs, wanted, self.rtol, self.atol, dict(self.compare_fn), dict(inputs))
        return not failures
