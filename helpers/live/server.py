"""The processes in which saves run, so that each run imports the files as they are, and can be ended at any moment.

    server     has imported torch and this package; lives as long as the session
    holder     forked from it; has imported the golden's side and keeps inputs and expected outputs
    filler     forked from the holder once; makes inputs and expected outputs, in memory that all see
    run        forked from the holder for each save; imports the kernel, runs and judges it. The latest whose save
               passed stays, to be run again beside one that fails, see `beside`
    rest       forked from a run that passed: its figures and findings

Nothing is imported twice in one process, so no object of an earlier save can be met. A save ends the run before it. A
golden's side that changed takes a new holder, anything that the server itself has imported a new server. A process
ends when its parent does.

Messages are tuples; those that a run sends begin with the save's number:
    ("files", list)             files that this subject was seen to import
    (n, "mistake", text, place) the source cannot be run: the lines of its error, (file, line) or None
    (n, "judged", Judged)       one size was run
    (n, "figures", dict)        PNG files by name, each as it is there
    (n, "divergence", text)     where it first writes something else than the latest save that passed
    (n, "findings", list)       sanitize.Finding.as_dict of each
    (n, "passed")               at every size: its process stays
    (n, "done")
    ("restart",)                what the server has imported changed: start another one
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golden.runner import RunResult
    from helpers.live import beside

_NOTHING, _INPUTS, _ALL, _FAILED = 0, 1, 2, 3  # how far the filler has come with a size


@dataclass
class _Child:
    pid: int
    connection: Connection

    def end(self) -> None:
        """End it, and with it all that it has started."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.connection.close()


def main(fd: int) -> None:
    """Serve the session at the other end of a socket until it goes away."""
    here = Connection(fd)
    from helpers.live import subject as subjects

    _warm()
    subject: subjects.Subject = pickle.loads(here.recv())
    mine = {file: _written(file) for file in subjects.user_files().values()}
    here.send(("files", sorted(mine)))
    holder: _Child | None = None
    used: dict[str, str] = {}  # digests of the files of the golden's side
    latest = 0
    while True:
        for ready in wait([here, *([holder.connection] if holder else [])]):
            if ready is here:
                try:
                    latest = here.recv()
                except EOFError:
                    if holder:
                        holder.end()
                    return
                if any(_written(file) != when for file, when in mine.items()):
                    here.send(("restart",))
                    continue
                if holder and any(subjects.outside_kernels(file) != digest for file, digest in used.items()):
                    holder.end()
                    holder = None
                if holder is None:
                    holder, used = _fork(hold, subject), {}
                holder.connection.send(latest)
                continue
            try:
                message = holder.connection.recv()
            except EOFError:
                holder.end()
                holder = None
                here.send((latest, "mistake", "the process that runs the kernel was ended: out of memory?", None))
                here.send((latest, "done"))
                continue
            if message[0] == "used":
                used = message[1]
            else:
                here.send(message)
            if message[-1] == "unusable":
                holder.end()
                holder = None


def _warm() -> None:
    """Import what every run needs. Torch stays on one thread here: its threads would not survive a fork.

    Bytecode on disk is neither read nor written from here on: it counts as that of a file that was written in the same
    second and is as long, whatever that says.
    """
    sys.dont_write_bytecode, sys.pycache_prefix = True, os.devnull
    import torch

    torch.set_num_threads(1)
    import golden  # noqa: F401
    import helpers.live.judge
    import helpers.sanitize
    import helpers.stages
    from helpers.interpret.pypto import language

    language.install()
    helpers.live.judge.warm()


def _fork(work: Callable[..., None], *given: Any) -> _Child:
    """A process that does `work(connection, *given)` and ends; it is ended when this one ends."""
    here, there = Pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        there.close()
        return _Child(pid, here)
    code = 1
    try:
        _end_with(parent)
        here.close()
        work(there, *given)
        code = 0
    except (EOFError, BrokenPipeError):
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends (Linux, prctl(2): PR_SET_PDEATHSIG is 1)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _written(file: str) -> int:
    """When a file was written, in nanoseconds; 0 when it is not there."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


@dataclass(frozen=True)
class _Held:
    """What a size's runs are given: specs whose inputs lie in a block, its expected outputs, how far they are made."""

    specs: list
    block: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    state: Any

    def made(self, state: int) -> int:
        """Wait until so much is made; returns what is, _FAILED included."""
        view = self.block.view(self.state)
        while int(view[0]) < state:
            time.sleep(0.002)
        return int(view[0])


def _reserve(specs: list) -> _Held:
    """Memory for the inputs and expected outputs of `specs`; nothing of it is made yet."""
    import torch

    from golden.spec import TensorSpec
    from helpers.shared_tensors import reserve

    tensors = [s for s in specs if isinstance(s, TensorSpec)]
    inputs, outputs = [s for s in tensors if s.is_input], [s for s in tensors if s.is_output]
    block, slots = reserve([([1], torch.int64), *((s.shape, s.dtype) for s in [*inputs, *outputs])])
    state, rest = slots[0], slots[1:]
    return _Held(
        specs, block, {s.name: slot for s, slot in zip(inputs, rest)},
        {s.name: slot for s, slot in zip(outputs, rest[len(inputs) :])}, state,
    )  # fmt: skip


def _fill(there: Connection, given: Any, held: dict[str, _Held]) -> None:
    """Make the inputs and the expected outputs of each size, the small one first."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    for one in held.values():
        state = one.block.view(one.state)
        try:
            for spec in one.specs:
                if spec.name in one.inputs:
                    one.block.view(one.inputs[spec.name]).copy_(spec.create_tensor())
            state[0] = _INPUTS
            if given.reference is not None:
                values = {}
                for spec in one.specs:
                    if spec.name in one.inputs:
                        view = one.block.view(one.inputs[spec.name])
                        values[spec.name] = view.clone() if spec.is_output else view
                    else:
                        values[spec.name] = spec.create_tensor() if spec.name in one.outputs else spec.to_python()
                given.reference(values)
                for name, slot in one.outputs.items():
                    one.block.view(slot).copy_(values[name])
            state[0] = _ALL
        except BaseException as error:
            there.send(_mistake(error))
            state[0] = _FAILED
            return


def hold(there: Connection, subject: Any) -> None:
    """Import the golden's side, keep its tensors, and fork a run for each save."""
    from helpers.live import beside
    from helpers.live import subject as subjects

    before = set(subjects.user_files())
    try:
        given = subjects.load_given(subject)
        held = {size: _reserve(specs) for size, specs in given.sizes.items()}
    except BaseException as error:
        files = {*subjects.user_files().values(), *_files_of(error), *([subject.file] if subject.file else [])}
        there.send(("files", sorted(files)))
        n = there.recv()
        there.send((n, *_mistake(error)))
        there.send((n, "done", "unusable"))
        there.recv()
        return
    mine = {f for n, f in subjects.user_files().items() if n not in before} | (
        {subject.file} if subject.file else set()
    )
    there.send(("used", {f: subjects.outside_kernels(f) for f in mine}))
    there.send(("files", sorted(mine)))
    filler: _Child | None = _fork(_fill, given, held)
    broken: tuple | None = None
    run: _Child | None = None
    stays: tuple[int, _Child] | None = None  # the latest save that passed, and its process
    answers = tempfile.TemporaryFile()
    latest = 0
    while True:
        for ready in wait([there, *(c.connection for c in (filler, run) if c)]):
            if ready is there:
                latest = there.recv()
                if run and stays and run is stays[1]:
                    run.connection.send(beside.STOP)
                elif run:
                    run.end()
                run = None
                if broken:
                    there.send((latest, *broken))
                    there.send((latest, "done"))
                    continue
                earlier = stays and beside.Earlier(stays[0], stays[1].connection, answers.fileno())
                run = _fork(_run, latest, subject, given, held, answers.fileno(), earlier)
                continue
            child = filler if filler and ready is filler.connection else run
            if child is None or ready is not child.connection:
                continue  # of a run that was ended meanwhile
            try:
                message = child.connection.recv()
            except EOFError:
                child.end()
                stays = None if stays and child is stays[1] else stays
                if child is run:
                    there.send((latest, "done"))
                    run = None
                else:
                    filler = None
                continue
            if child is filler:
                broken = message
                there.send((latest, *broken))
            elif message[-1] == "passed":
                if stays:
                    stays[1].end()
                stays = message[0], run
            else:
                there.send(message)


def _run(
    there: Connection, n: int, subject: Any, given: Any, held: dict[str, _Held], file: int,
    earlier: beside.Earlier | None,
) -> None:  # fmt: skip
    """Judge a save. If it passes, stay to be compared with later ones, while another process does the rest."""
    import torch

    from helpers.live import beside

    torch.set_num_threads(os.cpu_count() or 1)  # the first threads of this process: none are forked
    own = lambda size: _own(held[size])[0]  # noqa: E731
    judged = _judge(there, n, subject, given, held)
    if judged is None:
        return
    kernel, sizes, result = judged
    if not result.passed:
        compared = partial(beside.compared, n, kernel, subject.chip, own, sizes, earlier) if earlier else None
        _rest(there, n, subject, given, kernel, own(sizes[-1]), sizes[-1], result, compared)
        return
    there.send((n, "passed"))
    rest = _fork(_rest, n, subject, given, kernel, own(sizes[-1]), sizes[-1], result)
    del judged, result
    gc.collect()  # no values of the run stay
    beside.answer(there, n, rest, file, kernel, subject.chip, own)


def _judge(
    there: Connection, n: int, subject: Any, given: Any, held: dict[str, _Held]
) -> tuple[Any, list[str], RunResult] | None:
    """Import the kernel and run it at each size until one fails: the kernel, these sizes, the last result."""
    from helpers.live import judge
    from helpers.live import subject as subjects

    sizes: list[str] = []
    importlib.invalidate_caches()
    try:
        kernel = subjects.load_kernel(subject)
        there.send(("files", sorted(subjects.user_files().values())))
        for size, one in held.items():
            specs, expected = _own(one)
            if one.made(_INPUTS) == _FAILED:
                return None
            sizes.append(size)
            found, result = judge.judged(kernel, given, size, specs, expected, subject.chip)
            there.send((n, "judged", found))
            if not found.passed:
                break
    except _NoGolden:
        return None
    except BaseException as error:
        there.send(("files", sorted({*subjects.user_files().values(), *_files_of(error)})))
        there.send((n, *_mistake(error)))
        return None
    return kernel, sizes, result


def _rest(
    there: Connection, n: int, subject: Any, given: Any, kernel: Any, specs: list, size: str, result: RunResult,
    compared: Callable[[], str] | None = None,
) -> None:  # fmt: skip
    """Figures and findings of a run; what `compared` says, between them."""
    import torch

    from helpers.live import judge

    torch.set_num_threads(1)  # this process may have been forked from one with threads, which it has not

    def tell(*what: Any) -> None:
        there.send((n, *what))

    try:
        _draw(judge.figures(result), tell)
        if compared is not None:
            tell("divergence", compared())
        tell("findings", _findings(kernel, given, size, specs, subject))
    except BaseException as error:
        tell(*_mistake(error))


def _draw(figures: dict[str, Callable[[], bytes]], tell: Callable[..., None]) -> None:
    """Make figures and tell of each; every second one is made in a process beside this one.

    Raises:
        Exception: what kept a figure from being made.
    """

    def draw(there: Connection, names: list[str]) -> None:
        for name in names:
            there.send((name, figures[name]()))

    names = list(figures)
    other = _fork(draw, names[1::2])
    try:
        for name in names[::2]:
            tell("figures", {name: figures[name]()})
        for name in names[1::2]:
            try:
                tell("figures", dict([other.connection.recv()]))
            except EOFError:  # whatever kept it from being made is said here
                tell("figures", {name: figures[name]()})
    finally:
        other.end()


class _NoGolden(Exception):
    """The golden cannot be had; whoever makes it has said why."""


def _own(one: _Held) -> tuple[list, Callable[[], dict[str, Any]]]:
    """The size's specs over memory of this process, and what gives its expected outputs once they are made."""
    from helpers.shared_tensors import Block

    block = Block(one.block.fd, one.block.size, private=True)

    def of(spec: Any) -> Any:
        if spec.name not in one.inputs:
            return spec
        view = block.view(one.inputs[spec.name])
        if spec.is_output:
            return replace(spec, init_value=lambda: view, fill=None)
        return replace(spec, init_value=None, fill=None, shared=lambda: view)

    def expected() -> dict[str, Any]:
        if one.made(_ALL) == _FAILED:
            raise _NoGolden
        return {name: one.block.view(slot) for name, slot in one.outputs.items()}

    return [of(s) for s in one.specs], expected


def _findings(kernel: Any, given: Any, size: str, specs: list, subject: Any) -> list[dict[str, Any]]:
    """What the sanitizers say of the kernel at the size it was run with last."""
    from helpers.sanitize import check

    found = check(
        kernel, specs, None, rtol=given.rtol, atol=given.atol, on=(subject.chip,), sweeps=False, dry=size == "full"
    )
    return [f.as_dict() for f in found]


def _mistake(error: BaseException) -> tuple[str, str, tuple[str, int] | None]:
    """The lines that say what is wrong and where: of an error of this project its own, else those of the exception."""
    from helpers.errors import WorkbookError
    from helpers.interpret.source.source import Place, explain

    if isinstance(error, WorkbookError):
        place = error.place
        return "mistake", str(error), place and (place.file, place.line)
    if isinstance(error, SyntaxError) and error.filename:
        place = Place(error.filename, error.lineno or 1, error.offset or 1)
        return "mistake", explain(place, f"SyntaxError: {error.msg}"), (place.file, place.line)
    from helpers.live import subject as subjects

    mine = set(subjects.user_files().values()) | _files_of(error)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if os.path.abspath(f.filename) in mine]
    outside = [f for f in frames if f"{os.sep}helpers{os.sep}" not in f.filename]
    if not (outside or frames):
        return "mistake", "".join(traceback.format_exception_only(error)).strip(), None
    frame = (outside or frames)[-1]
    place = Place(frame.filename, frame.lineno or 1, (frame.colno or 0) + 1 if hasattr(frame, "colno") else 1)
    return "mistake", explain(place, f"{type(error).__name__}: {error}"), (place.file, place.line)


def _files_of(error: BaseException) -> set[str]:
    """Files that an error names: those of its traceback that were written here, and of a syntax error its own."""
    from helpers.live.subject import _installed

    files = {f.filename for f in traceback.extract_tb(error.__traceback__)}
    if isinstance(error, SyntaxError) and error.filename:
        files.add(error.filename)
    return {os.path.abspath(f) for f in files if os.path.isfile(f) and not _installed(os.path.abspath(f))}


if __name__ == "__main__":
    main(int(sys.argv[1]))
