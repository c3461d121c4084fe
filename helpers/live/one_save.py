"""The run of one save, in a process of its own: judged at each size, its figures, its findings, or its mistake."""

from __future__ import annotations

import gc
import importlib
import os
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import TYPE_CHECKING, Any

from helpers.live import ahead, beside
from helpers.live.processes import Child, fork
from helpers.live.subject import Given, Subject, installed, load_kernel, user_files

if TYPE_CHECKING:
    from golden.runner import RunResult
    from helpers.profile import Profile

NOTHING, INPUTS, ALL, FAILED = 0, 1, 2, 3  # how far a size's tensors are made


@dataclass(frozen=True)
class Held:
    """What a size's runs are given: specs whose inputs lie in a block, its expected outputs, how far they are made."""

    specs: list
    block: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    state: Any

    def made(self, state: int) -> int:
        """Wait until so much is made; returns what is, FAILED included."""
        view = self.block.view(self.state)
        while int(view[0]) < state:
            time.sleep(0.002)
        return int(view[0])


@dataclass(frozen=True)
class Work:
    """What a run is given beside its number.

    Attributes:
        held: By size, the small one first.
        before: Modules that were imported before a run was forked.
        file: The file that answers lie in, see `beside`.
    """

    subject: Subject
    given: Given
    held: dict[str, Held]
    before: frozenset[str]
    file: int

    def own(self, size: str) -> list:
        """The specs of a size over memory of this process."""
        return _own(self.held[size])[0]


def run(there: Connection, n: int, work: Work, earlier: beside.Earlier | None) -> None:
    """Judge a save. If it passes, stay to be compared with later ones, while another process does the rest.

    Args:
        earlier: The latest save that passed, which this one is compared with if it fails.
    """
    _start_threads()
    judged = _judge(there, n, work)
    if judged is None:
        return
    kernel, sizes, result = judged
    chip, size = work.subject.chip, sizes[-1]
    if not result.passed:
        compared = None
        if earlier:
            compared = partial(beside.compared, n, kernel, chip, work.own, sizes, earlier, work.file)
        _rest(there, n, work, kernel, size, result, compared)
        return
    there.send((n, "passed"))
    rest = fork(_rest, n, work, kernel, size, result)
    values = [judged, result]
    del judged, result

    def forget() -> None:
        """No values of the run stay."""
        values.clear()
        gc.collect()

    beside.answer(there, n, rest, work.file, kernel, chip, work.own, forget)


def run_later(there: Connection, last: ahead.Loaded, edited: Collection[str], work: Work) -> None:
    """Do what can be done before the next save, and become its run."""
    digests = ahead.prepare(last, edited)
    if digests is None:
        return
    _start_threads()
    there.send(("ready", digests))
    n, passed = there.recv()
    earlier = None if passed is None else beside.Earlier(passed, Connection(recv_handle(there)))
    run(there, n, work, earlier)


def go(child: Child, n: int, passed: tuple[int, Child] | None) -> None:
    """Make a process that waits in `run_later` the run of a save.

    Args:
        passed: The latest save that passed, and its process.
    """
    child.connection.send((n, passed and passed[0]))
    if passed:
        send_handle(child.connection, passed[1].connection.fileno(), child.pid)


def _start_threads() -> None:
    """Give this process threads of its own: none are forked, and the first operation that uses them starts them."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    torch.zeros(1 << 20).add_(1)


def _judge(there: Connection, n: int, work: Work) -> tuple[Any, list[str], RunResult] | None:
    """Import the kernel and run it at each size until one fails: the kernel, these sizes, the last result."""
    from helpers.live import judge

    sizes: list[str] = []
    importlib.invalidate_caches()
    gc.disable()  # to compile makes much, and leaves little to collect
    try:
        kernel = load_kernel(work.subject)
        there.send(("files", sorted(user_files().values())))
        for size, one in work.held.items():
            specs, expected = _own(one, once=True)
            if one.made(INPUTS) == FAILED:
                return None
            sizes.append(size)
            found, result = judge.judged(kernel, work.given, size, specs, expected, work.subject.chip)
            there.send((n, "judged", found))
            if len(sizes) == 1:  # what this save has imported, the next one may
                gc.enable()
                there.send(("loaded", ahead.loaded(kernel, work.before)))
            if not found.passed:
                break
    except _NoGolden:
        return None
    except BaseException as error:
        there.send(("files", sorted({*user_files().values(), *files_of(error)})))
        there.send((n, *mistake(error)))
        return None
    return kernel, sizes, result


def _rest(
    there: Connection, n: int, work: Work, kernel: Any, size: str, result: RunResult,
    compared: Callable[[], str] | None = None,
) -> None:  # fmt: skip
    """Predicted time, figures and findings of a run; what `compared` says, between them."""
    import torch

    from helpers.live import judge

    torch.set_num_threads(1)  # this process may have been forked from one with threads, which it has not

    def tell(*what: Any) -> None:
        there.send((n, *what))

    def times() -> Profile | None:
        found = judge.predicted(result)
        if found is not None:
            tell("predicted", size, found.makespan)
        return found

    try:
        gc.disable()  # a run leaves much to look through, and figures need little
        _draw(judge.figures(result, times), tell)
        gc.enable()
        if compared is not None:
            tell("divergence", compared())
        tell("findings", _findings(kernel, work, size))
    except BaseException as error:
        tell(*mistake(error))


def _draw(figures: dict[str, Callable[[], bytes | None]], tell: Callable[..., None]) -> None:
    """Make figures and tell of each that there is; all but the first are made in a process beside this one.

    Raises:
        Exception: what kept a figure from being made.
    """

    def draw(there: Connection, names: list[str]) -> None:
        for name in names:
            there.send((name, figures[name]()))

    first, *names = figures
    other = fork(draw, names)
    try:
        picture = figures[first]()
        if picture is not None:
            tell("figures", {first: picture})
        for name in names:
            try:
                tell("figures", dict([other.connection.recv()]))
            except EOFError:  # whatever kept it from being made is said here
                tell("figures", {name: figures[name]()})
    finally:
        other.end()


class _NoGolden(Exception):
    """The golden cannot be had; whoever makes it has said why."""


def _own(one: Held, once: bool = False) -> tuple[list, Callable[[], dict[str, Any]]]:
    """The size's specs over memory of this process, and what gives its expected outputs once they are made.

    Args:
        once: They are for one run, which may write what it updates where it lies.
    """
    from helpers.shared_tensors import Block

    block = Block(one.block.fd, one.block.size, private=True)

    def of(spec: Any) -> Any:
        if spec.name not in one.inputs:
            return spec
        view = block.view(one.inputs[spec.name])
        if spec.is_output and not once:
            return replace(spec, init_value=lambda: view, fill=None, shared=None)
        return replace(spec, init_value=None, fill=None, shared=lambda: view)

    def expected() -> dict[str, Any]:
        if one.made(ALL) == FAILED:
            raise _NoGolden
        return {name: one.block.view(slot) for name, slot in one.outputs.items()}

    return [of(s) for s in one.specs], expected


def _findings(kernel: Any, work: Work, size: str) -> list[dict[str, Any]]:
    """What the sanitizers say of the kernel at the size it was run with last."""
    from helpers.sanitize import check

    given = work.given
    found = check(
        kernel, work.own(size), None, rtol=given.rtol, atol=given.atol, on=(work.subject.chip,), sweeps=False,
        dry=size == "full",
    )  # fmt: skip
    return [f.as_dict() for f in found]


def mistake(error: BaseException) -> tuple[str, str, tuple[str, int] | None]:
    """The lines that say what is wrong and where: of an error of this project its own, else those of the exception."""
    from helpers.errors import WorkbookError
    from helpers.interpret.source.source import Place, explain

    if isinstance(error, WorkbookError):
        place = error.place
        return "mistake", str(error), place and (place.file, place.line)
    if isinstance(error, SyntaxError) and error.filename:
        place = Place(error.filename, error.lineno or 1, error.offset or 1)
        return "mistake", explain(place, f"SyntaxError: {error.msg}"), (place.file, place.line)
    mine = set(user_files().values()) | files_of(error)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if os.path.abspath(f.filename) in mine]
    outside = [f for f in frames if f"{os.sep}helpers{os.sep}" not in f.filename]
    if not (outside or frames):
        return "mistake", "".join(traceback.format_exception_only(error)).strip(), None
    frame = (outside or frames)[-1]
    place = Place(frame.filename, frame.lineno or 1, (frame.colno or 0) + 1 if hasattr(frame, "colno") else 1)
    return "mistake", explain(place, f"{type(error).__name__}: {error}"), (place.file, place.line)


def files_of(error: BaseException) -> set[str]:
    """Files that an error names: those of its traceback that were written here, and of a syntax error its own."""
    files = {f.filename for f in traceback.extract_tb(error.__traceback__)}
    if isinstance(error, SyntaxError) and error.filename:
        files.add(error.filename)
    return {os.path.abspath(f) for f in files if os.path.isfile(f) and not installed(os.path.abspath(f))}
