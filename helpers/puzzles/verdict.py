"""The check of an answer: golden at several sizes, sanitizers, both chips, par; and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from golden.compare import compare_outputs
from golden.puzzles.record import FIGURES
from golden.spec import TensorSpec, values_of
from helpers.errors import InputError, WorkbookError
from helpers.interpret.language.decorated import unwrap
from helpers.interpret.lowering.lower import compile_kernel, signature
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import Trace
from helpers.plots.style import bytes_text, count, many, time_text
from helpers.profile import profile
from helpers.puzzles.found import Entry
from helpers.puzzles.imported import imported
from helpers.run import run
from helpers.sanitize.check import check, of_error, of_text
from helpers.sanitize.rules.findings import ERROR, KINDS, SEVERITIES, WARNING, Finding

HOME = "a2a3interp"  # where answers are run, and par is computed; A5 is looked at by the sanitizers
SOLVED, OVER_PAR = "solved", "over-par"


@dataclass(frozen=True)
class Figures:
    """What a kernel takes: tasks, bytes of global memory, microseconds predicted, bytes of each on-chip buffer."""

    tasks: int
    bytes: int
    time: float
    chip: Mapping[str, int]

    def __str__(self) -> str:
        chip = ", ".join(f"{space} {bytes_text(n)}" for space, n in self.chip.items() if n)
        moved = f"{many(self.tasks, 'task')}, {count(self.bytes)} bytes of GM"
        return f"{moved}, {chip}; predicted time {time_text(self.time)}"

    def plain(self) -> dict[str, float]:
        """What is kept of it."""
        return {"tasks": self.tasks, "bytes": self.bytes, "time": round(self.time, 3)}


@dataclass(frozen=True)
class Ran:
    """One run of an answer beside its golden."""

    sizes: Mapping[str, int]
    trace: Trace
    outputs: dict[str, torch.Tensor]
    expected: dict[str, torch.Tensor]
    wrong: dict[str, str]


@dataclass(frozen=True)
class Verdict:
    """What came of a check.

    Attributes:
        kind: "solved", "over-par", or the kind of the finding that matters most (helpers.sanitize.KINDS).
        what: One sentence.
        sizes: The arguments of the record's specs that it was found with.
        finding: What the sentence is from, where it is from a finding.
        mine, par: What the answer takes, and the solution; None where the answer does not get that far.
        ran: The run that shows it, for its picture: a wrong result, or what is over par.
    """

    kind: str
    what: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    finding: Finding | None = None
    mine: Figures | None = None
    par: Figures | None = None
    ran: Ran | None = None

    @property
    def solved(self) -> bool:
        return self.kind == SOLVED


def figures(trace: Trace) -> Figures:
    """What a trace's kernel takes."""
    peaks = {space: n for space, n in trace.peaks().items() if n}
    return Figures(trace.tasks, trace.gm_read_bytes + trace.gm_write_bytes, profile(trace).makespan, peaks)


@lru_cache(64)
def best(entry: Entry) -> Trace:
    """What the solution does, at the sizes that the record's specs have by themselves."""
    return ran(entry, entry.solution, {}).trace


@lru_cache(64)
def par(entry: Entry) -> Figures:
    """What the solution takes at these sizes."""
    return figures(best(entry))


def ran(entry: Entry, kernel: Any, sizes: Mapping[str, int]) -> Ran:
    """Run a kernel at some sizes. What it only writes holds no number before.

    Raises:
        WorkbookError: it does not run.
    """
    of = entry.record
    specs = of.specs(**sizes)
    values, expected = values_of(specs), values_of(specs)
    for s in specs:
        if isinstance(s, TensorSpec) and not s.is_input:
            empty = torch.nan if s.dtype.is_floating_point else torch.iinfo(s.dtype).min
            values[s.name].fill_(empty)
    trace = run(kernel, list(values.values()), platform=HOME).trace
    of.reference(expected)
    names = [s.name for s in specs if isinstance(s, TensorSpec) and s.is_output]
    outputs, golden = ({n: among[n] for n in names} for among in (values, expected))
    inputs = {n: v for n, v in values.items() if isinstance(v, torch.Tensor) and n not in names}
    _, wrong = compare_outputs(outputs, golden, of.rtol, of.atol, dict(of.compare_fn), inputs)
    return Ran(sizes, trace, outputs, golden, wrong)


def judge(entry: Entry, kernel: Any) -> Verdict:
    """The verdict on a kernel; nothing is kept."""
    try:
        return _signature(entry, kernel) or _judged(entry, kernel)
    except WorkbookError as error:
        return from_error(error, {})


def _signature(entry: Entry, kernel: Any) -> Verdict | None:
    mine, theirs = ([p.name for p in signature(k).parameters] for k in (kernel, entry.stub))
    if mine == theirs:
        return None
    what = f"the kernel takes ({', '.join(mine)}); it is called with ({', '.join(theirs)}), as the stub has them"
    return Verdict("fault", what)


def _judged(entry: Entry, kernel: Any) -> Verdict:
    of, shown = entry.record, None
    read = [(f.kind, f.place) for f in of_text(compile_kernel(kernel))]  # what is wrong at any size
    for sizes in of.sizes:
        try:
            one = ran(entry, kernel, sizes)
        except WorkbookError as error:
            return from_error(error, sizes)
        shown = shown if sizes else one
        failed = one if one.wrong else None
        worst = _finding(entry, kernel, sizes)
        if worst is not None:
            what = _difference(one) if failed and worst.kind == "wrong-result" else worst.what
            at = {} if (worst.kind, worst.place) in read else sizes
            return Verdict(worst.kind, what, at, worst, ran=failed)
        if failed:
            return Verdict("wrong-result", _difference(one), sizes, ran=failed)
    mine, theirs = figures(shown.trace), par(entry)
    over = _over(mine, theirs, of.asked)
    if over:
        return Verdict(OVER_PAR, f"right, but over par: {over}", mine=mine, par=theirs, ran=shown)
    return Verdict(SOLVED, "solved", mine=mine, par=theirs)


def _finding(entry: Entry, kernel: Any, sizes: Mapping[str, int]) -> Finding | None:
    """The worst error or warning of the sanitizers at some sizes; None for nothing."""
    of = entry.record
    found = check(
        kernel, of.specs(**sizes), of.reference, rtol=of.rtol, atol=of.atol, compare_fn=of.compare_fn, sweeps=False
    )
    told = [f for f in found if f.severity in (ERROR, WARNING) and f.kind != "tolerance"]
    return min(told, key=lambda f: (SEVERITIES.index(f.severity), list(KINDS).index(f.kind)), default=None)


def from_error(error: WorkbookError, sizes: Mapping[str, int]) -> Verdict:
    """The verdict that an error is."""
    found = of_error(error)
    return Verdict(found.kind, found.what, sizes, found)


def _difference(one: Ran) -> str:
    """How the first wrong output differs, in a sentence."""
    name = next(iter(one.wrong))
    mine, right = one.outputs[name].double(), one.expected[name].double()
    apart = (mine - right).abs().nan_to_num(torch.inf)
    at = tuple(int(i) for i in torch.unravel_index(apart.argmax(), apart.shape))
    where = f"{name}[{', '.join(map(str, at))}]"
    if mine[at].isnan():
        return (
            f"{where} holds no number: it was never written, or made from what is none; right is {right[at].item():.3g}"
        )
    return f"{where} is {mine[at].item():.3g}, not {right[at].item():.3g}"


def _over(mine: Figures, theirs: Figures, asked: Mapping[str, float]) -> str:
    out = []
    for what, factor in asked.items():
        if what == "chip":
            spaces = [s for s, n in mine.chip.items() if n > factor * theirs.chip.get(s, 0)]
            out += [f"{s} {bytes_text(mine.chip[s])}, par {bytes_text(theirs.chip.get(s, 0))}" for s in spaces]
            continue
        a, b = getattr(mine, what), getattr(theirs, what)
        if a > factor * b:
            shown = time_text if what == "time" else count
            out.append(f"{FIGURES[what]} {shown(a)}, par {shown(b)}")
    return "; ".join(out)


def line(place: Place | None) -> str:
    """A place in an answer, as it is shown: the number of its line and its code."""
    return "" if place is None else f"line {place.line}: {place.code.strip()}"


def text(entry: Entry, verdict: Verdict) -> str:
    """A verdict as lines of text."""
    sizes = ", ".join(f"{n}={v}" for n, v in verdict.sizes.items())
    out = [f"{entry.name}: {verdict.what}" + (f" (with {sizes})" if sizes else "")]
    if not verdict.solved and verdict.kind != OVER_PAR:
        out[0] = f"{entry.name}: not yet. {verdict.kind}: {verdict.what}" + (f" (with {sizes})" if sizes else "")
    found = verdict.finding
    if found is not None:
        out += [f"  {place}" for place in (line(found.place),) if place]
        if found.other is not None and found.other != found.place:
            out.append(f"  {found.role or 'and'}, {line(found.other)}")
        fix = "" if verdict.kind == "wrong-result" else found.fix  # it names commands for stages; here it is drawn
        labelled = (("chip", found.chip), ("proof", found.proof), ("fix", fix))
        out += [f"  {label}: {value}" for label, value in labelled if value]
    if verdict.mine is not None:
        out += [f"  yours: {verdict.mine}", f"  par:   {verdict.par}"]
    return "\n".join(out)


def kernel_of(entry: Entry, file: Path) -> Any:
    """The kernel of an answer's file.

    Raises:
        InputError: the file is no Python, or has no such kernel.
        WorkbookError: the kernel is refused while the file is imported.
    """
    try:
        names = vars(imported(file, f"answer_{entry.name}"))
    except WorkbookError:
        raise
    except SyntaxError as error:
        raise InputError(f"line {error.lineno}: {error.msg}: {(error.text or '').strip()}") from None
    except Exception as error:
        raise InputError(f"{type(error).__name__}: {error}") from None
    kernel = names.get(entry.name)
    if kernel is None or unwrap(kernel) is None:
        raise InputError(f"there is no kernel {entry.name}: a function of that name under @pl.jit is looked for")
    return kernel
