"""Opening a task: it is done again, from the memory that it began with, and recorded."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from typing import Any

import torch

from helpers.chips import chip as chip_of
from helpers.errors import FaultError, InputError, WorkbookError, shown
from helpers.inside import value_text
from helpers.interpret import follow
from helpers.interpret.call import again, arrange, interpret, once_more
from helpers.interpret.lowering.lower import compile_kernel
from helpers.interpret.machine.machine import LOG_BYTES
from helpers.interpret.source.texts import FileText
from helpers.interpret.trace.trace import Dispatch, Trace
from helpers.interpret.values.seen import Look, Moment, Seen
from helpers.live import subject as subjects
from helpers.run import Run, run
from helpers.sanitize.rules import origin


@dataclass(eq=False)
class Inside:
    """One task of a run. `moments` are its operations in order, numbered from 0.

    Attributes:
        launch: The launch in the trace.
        block: Which of its blocks.
        moments: See `helpers.interpret.values.seen.Moment`.
        memory: The on-chip buffers of the task.
        limits: Bytes of each on-chip buffer of the chip.
        error: What the task ended with, where it failed.
        run: The run that it is a task of; `inside(opened.run, ...)` opens another without running anew. None where it
            failed.
    """

    platform: str
    launch: Dispatch
    block: int
    moments: list[Moment]
    memory: list
    limits: dict[str, int]
    error: WorkbookError | None = None
    run: Run | None = None

    def __len__(self) -> int:
        return len(self.moments)

    def __getitem__(self, number: int) -> Moment:
        return self.moments[number]

    @property
    def title(self) -> str:
        """ "block 3 of 24 of task 'fused', launch 1, on a2a3interp"."""
        block = f"block {self.block} of {self.launch.blocks} of " if self.launch.blocks > 1 else ""
        return f"{block}task '{self.launch.name}', launch {self.launch.index}, on {self.platform}"

    @cached_property
    def lines(self) -> dict[tuple[str, int], list[int]]:
        """(file, line) -> the numbers of its moments."""
        out: dict[tuple[str, int], list[int]] = {}
        for i, m in enumerate(self.moments):
            out.setdefault((m.place.file, m.place.line), []).append(i)
        return out

    def at(self, line: int, turn: int = 0) -> int:
        """The first moment of a line, when it runs for the `turn`-th time (0: the first; -1: the last).

        Raises:
            InputError: the task does not run that line, or not so often; says which it does.
        """
        starts = self.turns(line)
        if not starts:
            known = sorted({n for _, n in self.lines})
            raise InputError(f"line {line} does nothing in this task; lines that do: {_ranges(known)}")
        if not -len(starts) <= turn < len(starts):
            raise InputError(f"line {line} runs {len(starts)} times in this task, not {turn + 1}")
        return starts[turn]

    def turns(self, line: int) -> list[int]:
        """The moments that a line begins with, one for each time that it runs."""
        found = sorted(i for (_, n), numbers in self.lines.items() if n == line for i in numbers)
        first = self.moments[found[0]].place.column if found else 0
        return [i for i in found if self.moments[i].place.column == first]

    def names(self, number: int) -> dict[str, Any]:
        """What the names of the function hold once a moment is over: `Seen` and numbers."""
        m = self.moments[number]
        out = dict(m.names)
        if m.bound is not None:
            out[m.bound] = m.result
        return out

    def on_chip(self, number: int) -> dict[str, int]:
        """Bytes alive in each on-chip buffer at a moment, before the compiler's plan of slots."""
        now, out = self.moments[number].clock, Counter()
        for m in self.memory:
            if m.space and m.born <= now <= m.last:
                out[m.space] += m.bytes
        return dict(out)

    @cached_property
    def odd(self) -> list[tuple[int, list[str]]]:
        """The moments whose result is odd, see `values.marks`: their numbers, and what is odd."""
        found = ((i, [w for r in m.results for w in value_text.marks(r)]) for i, m in enumerate(self.moments))
        return [(i, what) for i, what in found if what]

    def described(self, number: int) -> str:
        """A moment in a few lines: its source, what it took, what it made."""
        m = self.moments[number]
        out = [f"{number}: {shown(m.place.file)}:{m.place.line}  {m.place.code.strip()}"]
        names = {id(v): n for n, v in m.names.items() if isinstance(v, Seen)}
        for o in m.operands:
            name, value = o if isinstance(o, tuple) and len(o) == 2 and isinstance(o[0], str) else ("", o)
            label = name or names.get(id(value), "")
            out.append(f"   took {label + ' = ' if label else ''}{_operand(value)}")
        for r in m.results:
            out.append(f"   made {m.bound + ' = ' if m.bound else ''}{value_text.text(r)}")
        if m.error is not None:
            out.append(f"   failed: {str(m.error).splitlines()[0]}")
        return "\n".join(out)

    def __repr__(self) -> str:
        rows = [f"{self.title}: {len(self.moments):,} operations"]
        odd = self.odd
        rows += [f"  {i:>6}  line {self.moments[i].place.line}: {'; '.join(what)}" for i, what in odd[:8]]
        if len(odd) > 8:
            rows.append(f"  ... and {len(odd) - 8:,} more with NaN, inf, zeros or elements at a limit")
        rows.append(
            "  [i] is a moment, .described(i) says what it took and made, .at(line) finds one, .names(i) holds tiles"
        )
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{i}</td><td>{m.place.line}</td><td style='text-align:left'><code>{escape(m.place.code.strip())}"
            f"</code></td><td style='text-align:left'>{escape(value_text.text(m.result))}</td></tr>"
            for i, m in list(enumerate(self.moments))[:200]
        )
        more = f"<p>{len(self.moments) - 200:,} more</p>" if len(self.moments) > 200 else ""
        head = "<tr><th>operation</th><th>line</th><th>source</th><th>result</th></tr>"
        table = f"<div style='max-height:30em;overflow:auto'><table>{head}{rows}</table></div>"
        return f"<p>{escape(self.title)}</p>{table}{more}"


def inside(
    what: Any,
    task: int | str | None = None,
    block: int = 0,
    *,
    args: Sequence[Any] | Mapping[str, Any] | None = None,
    wrote: str | None = None,
    line: int | None = None,
    size: str = "full",
    platform: str = "a2a3interp",
) -> Inside:
    """Open a task: do it again, from the memory that it began with, and give every operation of it with its values.

    A run that was kept is not run again: its task is opened at once. Anything else is run first, once.

    Args:
        what: A run that was kept, `helpers.run.run(..., keep=True)`; or "STAGE", "STAGE.VERSION", "FILE.py:KERNEL", or
            a kernel, which takes `args`.
        task: The number of the launch, or the name of a task for its first launch; None: the one that fails, else the
            first.
        block: Which of its blocks.
        args: Of a kernel, as they are before the run, in parameter order or by name; or the specs of a run. They are
            not changed.
        wrote: In place of `task` and `block`: an element such as "out[3, 17]", for the task that wrote it last.
        line: In place of `task`: a line of the source, for the first task that runs it, and its first block.
        size: Of a stage: "full", or "small" for the shapes that `workbook watch` tries first.
        platform: a2a3interp or a5interp.

    Raises:
        InputError: no such subject, task, block or element; the arguments of a run have changed since.
        KernelError: the kernel's source is not in the language.
        FaultError: it failed before it came to the task. A task that fails itself is opened, with `error`.
    """
    if platform not in ("a2a3interp", "a5interp"):
        raise InputError(f"platform is {platform!r}: a task is opened on a2a3interp or a5interp")
    if isinstance(what, Run):
        check_kept(what)
        return _chosen(what.trace, lambda launch, b: _of_run(what, launch, b), task, block, wrote, line)
    kernel, given = (what, _made(args)) if args is not None else _of_subject(what, size, platform)
    parameters = compile_kernel(kernel).parameters
    held = arrange(compile_kernel(kernel), given)
    try:
        kept = run(kernel, _copied(parameters, held), platform=platform, keep=True)
    except FaultError:
        if task is None and wrote is None and line is None:
            return _of_failure(kernel, _copied(parameters, held), platform, None, 0)
    else:
        return _chosen(kept.trace, lambda launch, b: _of_run(kept, launch, b), task, block, wrote, line)
    trace = follow.trace(kernel, held, platform, chip_of(platform.removesuffix("interp")), None)
    up_to = lambda launch, b: _of_failure(kernel, _copied(parameters, held), platform, launch, b)  # noqa: E731
    return _chosen(trace, up_to, task, block, wrote, line)


def _chosen(
    trace: Trace, opening: Callable[[Dispatch, int], Inside], task: int | str | None, block: int,
    wrote: str | None, line: int | None,
) -> Inside:  # fmt: skip
    """The task that is asked for, see `inside`."""
    if line is not None:
        for launch in _candidates(trace, line):
            opened = opening(launch, min(block, launch.blocks - 1))
            if any(n == line for _, n in opened.lines):
                return opened
        raise InputError(f"no task of this run does anything at line {line}")
    launch, block = _writer(trace, wrote) if wrote is not None else (_launch(trace, task or 0), block)
    if not 0 <= block < launch.blocks:
        raise InputError(f"task '{launch.name}' has {launch.blocks} blocks; there is no block {block}")
    return opening(launch, block)


def check_kept(of: Run) -> None:
    """Make sure that tasks of a run can be opened.

    Raises:
        InputError: it was not kept, or wrote too much.
    """
    if of.kept is None:
        raise InputError(
            "this run was not kept: run(kernel, args, keep=True) on interpret mode keeps what opening a task takes"
        )
    if not of.kept.log.whole:
        raise InputError(f"the run overwrote more than {LOG_BYTES >> 20} MB, too much to be kept: open a smaller one")


def _of_run(of: Run, launch: Dispatch, block: int) -> Inside:
    """Open a block of a launch of a run that was kept."""
    changed = [of.trace.buffers[n].name for n in of.kept.changed()]
    if changed:
        raise InputError(f"'{changed[0]}' has changed since the run, so its tasks cannot be done again: run it again")
    on = chip_of(of.platform.removesuffix("interp"))
    look = Look(launch.index, block, launch.place)
    with (
        torch.inference_mode(any(x.is_inference() for x in of.kept.memory)),
        torch.no_grad(),
    ):  # as the run may have had
        if not again(of.kernel, of.kept, launch.index, of.platform, on, look):
            look = Look(launch.index, block, launch.place)
            once_more(of.kernel, of.kept, of.platform, on, look)
    return _seen(look, of.platform, launch, block, None, of)


def _of_failure(kernel: Any, args: list[Any], platform: str, launch: Dispatch | None, block: int) -> Inside:
    """Run a kernel that fails up to a launch, and record a block of it; None: whichever fails."""
    look = Look() if launch is None else Look(launch.index, block, launch.place)
    error = None
    try:
        interpret(kernel, args, platform, chip_of(platform.removesuffix("interp")), look=look)
    except WorkbookError as e:
        error = e
    return _seen(look, platform, launch, block, error, None)


def _seen(
    look: Look, platform: str, launch: Dispatch | None, block: int, error: WorkbookError | None, of: Run | None
) -> Inside:
    moments = look.moments()
    if error is not None and not (moments and moments[-1].error is not None):
        raise error
    for m in moments:
        m.bound = m.bound or _targets(m.place.text).get((m.place.line, m.place.column))
    if launch is None:
        launch, block = look.failed
    buffers = chip_of(platform.removesuffix("interp")).buffers
    return Inside(platform, launch, block, moments, look.memory(), dict(buffers), error, of)


@cache
def _targets(text: FileText | None) -> dict[tuple[int, int], str]:
    """(line, column) of what is assigned to a name -> the name."""
    out: dict[tuple[int, int], str] = {}
    for n in ast.walk(ast.parse("".join(text.lines))) if text is not None else ():
        if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name):
            out[n.value.lineno, n.value.col_offset + 1] = n.targets[0].id
    return out


def _of_subject(what: Any, size: str, platform: str) -> tuple[Any, dict[str, Any]]:
    if not isinstance(what, str):
        raise InputError(f"{what!r}: name a stage or FILE.py:KERNEL, or pass the kernel with args=")
    subject = subjects.parse(what, platform.removesuffix("interp"))
    given = subjects.load_given(subject)
    sizes = given.sizes
    return subjects.load_kernel(subject), _values(sizes.get(size) or next(iter(sizes.values())))


def _made(args: Any) -> Any:
    """Arguments, or what specs make."""
    specs = not isinstance(args, Mapping) and all(hasattr(a, "name") and not isinstance(a, torch.Tensor) for a in args)
    return _values(args) if specs else args


def _values(specs: Sequence[Any]) -> dict[str, Any]:
    from golden.spec import values_of

    return values_of(specs)


def _copied(parameters: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """The arguments, with a copy of each that the kernel writes."""
    return [
        a.clone() if isinstance(a, torch.Tensor) and p.type.direction != "In" else a for p, a in zip(parameters, args)
    ]


ELEMENT = re.compile(r"^(\w+)\s*\[([^\]]*)\]$")


def _launch(trace: Trace, task: int | str) -> Dispatch:
    """The launch of that number, or the first of that name."""
    launches = trace.dispatches
    if isinstance(task, str) and not task.isdigit():
        found = next((d for d in launches if d.name == task), None)
        if found is None:
            known = ", ".join(dict.fromkeys(d.name for d in launches))
            raise InputError(f"there is no task {task!r}; there are: {known}")
        return found
    if not 0 <= int(task) < len(launches):
        raise InputError(f"there is no launch {task}: this run has {len(launches):,}, counted from 0")
    return launches[int(task)]


def _candidates(trace: Trace, line: int) -> list[Dispatch]:
    """The first launch of each place, those first that touch global memory at a line."""
    first: dict[Any, Dispatch] = {}
    for d in trace.dispatches:
        first.setdefault(d.place, d)
    touches = {
        place for place, d in first.items()
        if any(trace.shapes[s].place.line == line for p in d.parts for s in p.chunk.shapes.tolist())
    }  # fmt: skip
    return sorted(first.values(), key=lambda d: d.place not in touches)


def _writer(trace: Trace, wrote: str) -> tuple[Dispatch, int]:
    match = ELEMENT.match(wrote.strip())
    by_name = {b.name: b for b in reversed(trace.buffers) if b.argument}
    if match is None or match[1] not in by_name:
        raise InputError(f"{wrote!r} is no element of an argument, such as {next(iter(by_name), 'out')}[0, 0]")
    buffer = by_name[match[1]]
    try:
        index = [int(i) for i in match[2].split(",")]
    except ValueError:
        raise InputError(f"{wrote!r}: an index is a whole number") from None
    if len(index) != len(buffer.shape) or any(not 0 <= i < n for i, n in zip(index, buffer.shape)):
        raise InputError(f"{wrote!r}: {match[1]} has the shape {list(buffer.shape)}")
    flat = 0
    for i, n in zip(index, buffer.shape):
        flat = flat * n + i
    found = origin.writer(trace, buffer.id, flat)
    if found is None:
        raise InputError(f"no task writes {wrote}")
    return found.launch, found.block


def _operand(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_operand(v) for v in value) + "]"
    if isinstance(value, slice):
        return ":".join("" if v is None else str(v) for v in (value.start, value.stop))
    return value_text.text(value)


def _ranges(numbers: Sequence[int]) -> str:
    """ "3-5, 9"."""
    out: list[list[int]] = []
    for n in numbers:
        if out and n == out[-1][1] + 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)
