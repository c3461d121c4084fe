"""`check`: run a kernel under every sanitizer and return what is wrong with it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from helpers.chips import Chip, chip
from helpers.errors import InputError, KernelError, WorkbookError
from helpers.interpret.call import arrange
from helpers.interpret.call import check as check_arguments
from helpers.interpret.lowering.compiled import Compiled
from helpers.interpret.lowering.lower import compile_kernel
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import Trace
from helpers.sanitize import cases
from helpers.sanitize.case_run import Run, again, arguments, by_parameter, bytes_of, directions, extents, make
from helpers.sanitize.cases import Space, Specs
from helpers.sanitize.judged import Judge
from helpers.sanitize.rules import atomics, chips, lint, order, padding, read_and_written
from helpers.sanitize.rules.findings import ERROR, WARNING, Finding, grouped
from helpers.sanitize.rules.padding import Padding
from helpers.sanitize.rules.replay import Subject, in_another_order, refilled, reordered
from helpers.sanitize.rules.untaken import Untaken

MOST_PROOFS = 4  # replays of one kernel; each is two runs
MOST_SHRINKS = 8
MUCH = 1 << 28  # bytes of tensors with which a kernel that reads back what it computed is only gone through
LITTLE = 1 << 24  # bytes of tensors with which another size is run and compared, not only gone through


def check(
    kernel: Any,
    specs: Specs | Callable[..., Specs],
    reference: Callable[[dict[str, Any]], Any] | None = None,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    compare_fn: Mapping[str, Callable] | None = None,
    on: Sequence[str] = ("a2a3", "a5"),
    sweep: Mapping[str, Sequence[int]] | None = None,
    sweeps: bool = True,
    dry: bool = False,
    given: Place | None = None,
    beside: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """Run `kernel` under every sanitizer.

    Args:
        kernel: A function decorated with @pl.jit.
        specs: Its TensorSpecs and ScalarSpecs in parameter order; or a function that returns them and whose parameters
            are the names in `sweep`.
        reference: Writes the golden into a dict of values, as for golden.run_jit. None: results are not compared.
        rtol, atol, compare_fn: What the comparison allows, as for golden.run_jit.
        on: Chips. The kernel is run on the first; what depends on the chip is looked at on all.
        sweep: Sizes to try, by the name of a dynamic dimension, an integer scalar or a parameter of `specs`. What is
            not named is tried around the tiles that the kernel uses.
        sweeps: False: only the sizes given.
        dry: No arithmetic where the control flow does not need it: no golden, no proofs by running again.
        given: Where the tolerance is written, for findings about it.
        beside: Other kernels that take the same and should compute the same, by name, such as the other versions of a
            stage. A wrong result is traced to the first line that computes something else than in one that is right.

    Returns:
        Findings, worst first, one for each line and kind; see findings.grouped.

    Raises:
        InputError: specs that do not fit the kernel's parameters.
    """
    try:
        compiled = compile_kernel(kernel)
    except KernelError as error:
        return [of_error(error)]
    home = chip(on[0])
    found = of_text(compiled)
    if reference is not None:
        found += lint.golden(reference)
    build = specs if callable(specs) else None
    start = {n: max(s) for n, s in (sweep or {}).items()} if build else {}
    base: list = list(build(**_defaults(build, start)) if build else specs)

    run = _examine(kernel, compiled, base, home, dry)
    judge = None
    if reference is not None and not dry:
        judge = Judge(kernel, compiled, reference, rtol, atol, compare_fn or {}, given, beside or {}, home)
    if run.trace is not None and not dry:
        subject = Subject(kernel, lambda: again(compiled, base, run), home)
        found += certain(subject, compiled, run)
        if judge is not None:
            found += judge(base, run)
    else:
        found += [*run.findings, *(f for f, _ in run.clashes)]
    for name in on[1:]:
        found += _elsewhere(kernel, compiled, base, chip(name), run)
    if sweeps:
        if build:
            space = cases.by_calling(build, sweep or {})
        else:
            space = cases.by_resizing(compiled, base, run.trace, sweep or {})
        sweep_ = _Sweep(kernel, compiled, space, home, judge or (lambda specs, run: []), _most(compiled, space, base))
        found += sweep_.findings(found, _blind(kernel, compiled, base, home))
        if not dry:
            found += sweep_.padded(run, base)
        read = set().union(*sweep_.read)  # what nothing reads at one size may be there for another
        found = [f for f in found if f.kind != "unread-result" or f.other not in read]
    return grouped(found)


def _defaults(build: Callable, start: dict[str, int]) -> dict[str, int]:
    """Arguments of `specs` for the base case: its own defaults, and the largest size of what has none."""
    known = inspect.signature(build).parameters
    return {n: v for n, v in start.items() if n in known and known[n].default is inspect.Parameter.empty}


def of_text(compiled: Compiled) -> list[Finding]:
    seen, out, todo = set(), [], [compiled]
    while todo:
        c = todo.pop()
        key = (c.source.file, c.source.tree.lineno)
        if key not in seen:
            seen.add(key)
            out += lint.kernel(c.source)
            out += [Finding("task-name", WARNING, what, place, fix=fix) for place, what, fix in c.misnamed]
            todo += c.callees
    return out


def of_error(error: WorkbookError) -> Finding:
    kind = error.kind.replace(" ", "-") or ("language" if isinstance(error, KernelError) else "fault")
    return Finding(kind, ERROR, error.what or str(error), error.place, fix=error.fix or "")


def _examine(kernel: Any, compiled: Compiled, specs: Specs, on: Chip, dry: bool) -> Run:
    """Run one case, without arithmetic when `dry` and when that goes the same way, and look at its trace."""
    made = arguments(compiled, specs, make(specs, dry))
    updated = [n for n, s in by_parameter(compiled, specs).items() if getattr(s, "is_output", False) and s.is_input]
    before = {} if dry else {n: made[n].clone() for n in updated}
    subject = Subject(kernel, lambda: made, on)
    try:
        trace = subject.run(made, dry=dry)
    except InputError:
        raise
    except WorkbookError as error:
        return Run(None, [of_error(error)])
    if dry and trace.blind:
        if bytes_of(specs) <= MUCH:
            return _examine(kernel, compiled, specs, on, False)
        mem = read_and_written.walk(trace, directions(compiled))
        return Run(trace, _whatever_was_read(trace, compiled, mem, on), [], mem, made)
    return replace(look(trace, compiled, made, on, dry), before=before)


def look(trace: Trace, compiled: Compiled, made: dict[str, Any], on: Chip, dry: bool = False) -> Run:
    """What the trace of a run shows; `dry`: of one without arithmetic."""
    ways = directions(compiled)
    mem = read_and_written.walk(trace, ways, dry=dry)
    sizes = [*extents(compiled, made)]
    found = _whatever_was_read(trace, compiled, mem, on)
    found += [
        Finding(
            "low-precision-accumulation", WARNING, n.what, n.place, count=n.count,
            fix="keep the sum in FP32 and cast it once, at the end",
        )
        for n in trace.notes.values()
        if n.kind == "low-precision sum"
    ]  # fmt: skip
    found += read_and_written.uninitialized(trace, mem, None)
    rebound = partial(lint.rebound, compiled.source)
    found += read_and_written.unwritten(trace, mem, ways, sizes, rebound)
    found += read_and_written.partly_written(trace, mem, ways)
    found += read_and_written.unread(trace, mem, Untaken(compiled, trace).reads)
    found += read_and_written.accumulated_low(trace)
    found += read_and_written.stored_nothing(trace)
    found += order.redundant(trace)
    clashes = [*order.between_tasks(trace), *order.between_blocks(trace)]
    return Run(trace, found, clashes, mem, made)


def _whatever_was_read(trace: Trace, compiled: Compiled, mem: read_and_written.Memory, on: Chip) -> list[Finding]:
    """What is wrong with a run even where it went by zeros, in place of what the kernel computed and reads back."""
    found = read_and_written.directions_of(trace, mem, directions(compiled))
    return [*found, *chips.overflow(trace, on), *chips.syncall(trace, on)]


def certain(subject: Subject, compiled: Compiled, run: Run) -> list[Finding]:
    """The findings of a run with the proofs that a second one gives: over other memory, and in another order."""
    found = run.findings
    written = {run.trace.buffers[b].name for b in run.memory.writes if run.trace.buffers[b].argument}
    ways = directions(compiled)
    outputs = {n: v for n, v in run.values.items() if n in written or ways.get(n, "In") != "In"}
    notes = {n.kind: n for n in run.trace.notes.values()}
    stale = [f for f in found if f.kind == "uninitialized-read"]
    if stale or "undefined lanes" in notes or "new tile" in notes:
        reaches, proof = refilled(subject, outputs, _own(compiled, run))
        kept = [f for f in found if f.kind != "uninitialized-read"]
        found = kept + read_and_written.uninitialized(run.trace, run.memory, reaches, proof)
        if reaches and not stale:
            found += _on_chip(run.trace, proof)
    for n, (finding, clash) in enumerate(run.clashes):
        proof = reordered(subject, run.trace, clash, outputs) if n < MOST_PROOFS else ""
        found = [*found, replace(finding, proof=proof)]
    if not run.clashes:
        found = [*found, *_sums(subject, run.trace, outputs)]
    return found


def _sums(subject: Subject, trace: Trace, outputs: dict[str, torch.Tensor]) -> list[Finding]:
    """Sums in no order that change an output: of those that blocks make all at once first, then one by one."""
    sums = atomics.sums(trace)
    blocks = [s for s in sums if s.earlier == s.later]
    if len(blocks) > 1 and not in_another_order(subject, trace, [s.later for s in blocks], None, outputs):
        sums = [s for s in sums if s not in blocks]
    out = []
    for s in sums[:MOST_PROOFS]:
        if proof := in_another_order(subject, trace, [s.later], None if s in blocks else s.earlier, outputs):
            out.append(atomics.finding(trace, s, proof))
    return out


def _own(compiled: Compiled, run: Run) -> dict[str, torch.Tensor | None]:
    """The parameters declared pl.Out that are tensors, and which elements of each the run wrote; None: all."""
    out: dict[str, torch.Tensor | None] = {}
    for b in run.trace.buffers:
        if b.argument and b.direction == "Out":
            mask = read_and_written.written(run.memory, b)
            out[b.name] = None if mask is None else torch.from_numpy(mask).reshape(b.shape)
    return out


def _on_chip(trace: Trace, proof: str) -> list[Finding]:
    """The tiles whose undefined elements may have reached an output, which does depend on some."""
    out = []
    for n in trace.notes.values():
        if n.kind == "undefined lanes":
            out.append(
                Finding(
                    "padded-lanes", ERROR, "lanes that hold no data take part in a result", n.place,
                    fix="pl.fillpad the tile with a value that does not count, or keep its valid shape", proof=proof,
                )
            )  # fmt: skip
    if not out:
        for n in trace.notes.values():
            if n.kind == "new tile":
                out.append(
                    Finding(
                        "uninitialized-read", ERROR, "a result depends on what this tile held before it was written",
                        n.place, fix="write all of it first (pl.full, pl.assemble)", proof=proof,
                    )
                )  # fmt: skip
    return out


def _elsewhere(kernel: Any, compiled: Compiled, specs: Specs, on: Chip, run: Run) -> list[Finding]:
    """What is wrong on another chip: only what depends on the chip is new."""
    if run.trace is None:
        return []
    made = arguments(compiled, specs, make(specs, True))
    subject = Subject(kernel, lambda: made, on)
    try:
        trace = subject.run(made, dry=True)
    except InputError:
        raise
    except WorkbookError as error:
        return [replace(of_error(error), chip=on.name)]
    return [*chips.overflow(trace, on), *chips.syncall(trace, on)]


def _most(compiled: Compiled, space: Space, base: Specs) -> dict[str, int]:
    """The largest extent of each dynamic dimension among the sizes of a space and the given specs."""
    most: dict[str, int] = {}
    for specs in [base, *(space.build({a.name: a.sizes[-1] for a in space.axes}) for _ in space.axes[:1])]:
        shapes = dict(zip([p.name for p in compiled.parameters], [getattr(s, "shape", ()) for s in specs]))
        for name, spots in cases.dynamic(compiled).items():
            most[name] = max([most.get(name, 0), *(shapes[p][axis] for p, axis in spots if p in shapes)])
    return most


def _blind(kernel: Any, compiled: Compiled, specs: Specs, on: Chip) -> bool:
    """True when a run without arithmetic does not go the way of one with it: the kernel reads back what it computed."""
    made = arguments(compiled, specs, make(specs, True))
    try:
        return Subject(kernel, lambda: made, on).run(made, dry=True).blind
    except WorkbookError:
        return False


@dataclass(frozen=True)
class _Sweep:
    """The sizes of a space, run one after the other.

    `judge` compares a run that computed with the golden. `most`: the largest extent of each dynamic dimension. Filled
    by the runs: `read`, of each case where the tensors were allocated that something reads; `padding`, by input the
    smallest case in which a task reads rows of it that hold no data.
    """

    kernel: Any
    compiled: Compiled
    space: Space
    on: Chip
    judge: Callable[[list, Run], list[Finding]]
    most: dict[str, int]
    read: list[set] = field(default_factory=list)
    padding: dict[str, tuple[int, str, list, Padding]] = field(default_factory=dict)

    def findings(self, known: list[Finding], computes: bool) -> list[Finding]:
        """What other sizes show and the given ones do not, each at its smallest case."""
        seen = {(f.kind, f.place) for f in known}
        out = []
        for sizes in self.space.cases(small=computes):
            for f in self.at(sizes):
                key = (f.kind, f.place)
                if key not in seen:
                    seen.add(key)
                    out.append(self.shrunk(sizes, f))
        return out

    def at(self, sizes: dict[str, int]) -> list[Finding]:
        """Errors and warnings of one case; compared with the golden where that is little work."""
        try:
            specs = self.space.build(sizes)
            little = bytes_of(specs) <= LITTLE
            run = _examine(self.kernel, self.compiled, specs, self.on, not little)
            found = [*run.findings, *(f for f, _ in run.clashes)]
            if run.trace is not None and run.memory is not None:
                self.read.append({run.trace.buffers[b].place for b in run.memory.reads})
                self._note_padding(run, specs, cases.text(sizes))
            if little and run.trace is not None:
                found += self.judge(specs, run)
        except InputError:
            return []  # sizes that the kernel's own parameters exclude
        return [replace(f, case=cases.text(sizes)) for f in found if f.severity in (ERROR, WARNING)]

    def _note_padding(self, run: Run, specs: list, case: str) -> None:
        extents = check_arguments(self.compiled, arrange(self.compiled, run.values), True)
        for p in padding.read(run.trace, self.compiled, extents, self.most):
            size = bytes_of(specs), case
            if p.name not in self.padding or size < self.padding[p.name][:2]:
                self.padding[p.name] = *size, specs, p

    def padded(self, run: Run, specs: list) -> list[Finding]:
        """Rows that hold no data and change a result: of each input whose padding was read, at the smallest case."""
        if run.trace is not None:
            self._note_padding(run, specs, "")
        out = []
        for case in dict.fromkeys(case for _, case, *_ in self.padding.values()):
            specs = next(s for _, c, s, _ in self.padding.values() if c == case)
            subject = Subject(self.kernel, lambda s=specs: arguments(self.compiled, s, make(s, False)), self.on)
            mine = [p for _, c, _, p in self.padding.values() if c == case]
            out += [replace(f, case=case) for f in padding.reaching(subject, self.compiled, mine)]
        return out

    def shrunk(self, sizes: dict[str, int], f: Finding) -> Finding:
        """The same finding at the smallest sizes that show it."""
        for _ in range(MOST_SHRINKS):
            for smaller in self.space.smaller(sizes):
                match = [g for g in self.at(smaller) if (g.kind, g.place) == (f.kind, f.place)]
                if match:
                    sizes, f = smaller, match[0]
                    break
            else:
                return f
        return f
