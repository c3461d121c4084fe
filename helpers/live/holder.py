"""The golden's side of a subject: its inputs and expected outputs, and the runs that are forked from it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from helpers.live import ahead, beside
from helpers.live.one_save import ALL, FAILED, INPUTS, Held, Work, files_of, go, mistake, run, run_later
from helpers.live.processes import Child, fork
from helpers.live.subject import Given, Subject, load_given, user_files


def hold(there: Connection, subject: Subject) -> None:
    """Import the golden's side, keep its tensors, and fork a run for each save."""
    before = frozenset(user_files())
    try:
        given = load_given(subject)
        held = {size: _reserve(specs) for size, specs in given.sizes.items()}
    except BaseException as error:
        files = {*user_files().values(), *files_of(error), *([subject.file] if subject.file else [])}
        there.send(("files", sorted(files)))
        n = there.recv()
        there.send((n, *mistake(error)))
        there.send((n, "done", "unusable"))
        there.recv()
        return
    mine = {f for n, f in user_files().items() if n not in before} | ({subject.file} if subject.file else set())
    there.send(("used", {f: subject.golden_digest(f) for f in mine}))
    there.send(("files", sorted(mine)))
    _Holder(there, subject, given, held, frozenset(user_files())).serve()


@dataclass
class _Spare:
    """A process that waits to be the next run, and what it has imported."""

    child: Child
    digests: dict[str, str] | None = None  # once it is ready


class _Holder:
    """The processes that are forked from this one, and what they say."""

    def __init__(
        self, there: Connection, subject: Subject, given: Given, held: dict[str, Held], before: frozenset[str]
    ):
        self._there = there
        self._filler: Child | None = fork(_fill, given, held)
        self._broken: tuple | None = None  # why there is no golden
        self._run: Child | None = None
        self._over = False  # the run has no more to say
        self._stays: tuple[int, Child] | None = None  # the latest save that passed, and its process
        self._spare: _Spare | None = None
        self._last: ahead.Loaded | None = None  # by the latest run that got so far
        self._edited: set[str] = set()
        self._answers = tempfile.TemporaryFile()
        self._work = Work(subject, given, held, before, self._answers.fileno())
        self._latest = 0

    def serve(self) -> None:
        """Fork a run for each number that comes, until nobody sends one.

        Raises:
            EOFError: the server has gone.
        """
        while True:
            children = (self._filler, self._run, self._spare and self._spare.child)
            for ready in wait([self._there, *(c.connection for c in children if c)]):
                if ready is self._there:
                    self._begin(self._there.recv())
                elif self._spare and ready is self._spare.child.connection:
                    self._ready(self._spare)
                elif self._filler and ready is self._filler.connection:
                    self._filled(self._filler)
                elif self._run and ready is self._run.connection:
                    self._said(self._run)

    def _begin(self, n: int) -> None:
        """Start the run of a save; one that is under way ends."""
        self._latest = n
        if self._run and self._stays and self._run is self._stays[1]:
            self._run.connection.send(beside.STOP)
        elif self._run:
            self._run.end()
        self._run, self._over = None, False
        if self._broken:
            self._there.send((n, *self._broken))
            self._there.send((n, "done"))
            return
        spare, self._spare = self._spare, None
        if spare and spare.digests is not None and ahead.fits(spare.digests):
            self._run = spare.child
            go(self._run, n, self._stays)
            return
        if spare:
            spare.child.end()
        earlier = self._stays and beside.Earlier(self._stays[0], self._stays[1].connection)
        self._run = fork(run, n, self._work, earlier)

    def _ready(self, spare: _Spare) -> None:
        try:
            spare.digests = spare.child.connection.recv()[1]
        except EOFError:  # there is nothing that it could do
            spare.child.end()
            self._spare = None

    def _filled(self, filler: Child) -> None:
        try:
            self._broken = filler.connection.recv()
        except EOFError:
            filler.end()
            self._filler = None
        else:
            self._there.send((self._latest, *self._broken))

    def _said(self, child: Child) -> None:
        """Hand on what a run says; note what is for this process."""
        try:
            message = child.connection.recv()
        except EOFError:
            child.end()
            self._stays = None if self._stays and child is self._stays[1] else self._stays
            if not self._over:
                self._there.send((self._latest, "done"))
            self._run = None
            self._end()
            return
        if message[0] == "loaded":
            self._edited, self._last = message[1].differing(self._last), message[1]
            self._prepare()
        elif message[-1] == "passed":
            if self._stays:
                self._stays[1].end()
            self._stays = message[0], child
        else:
            self._there.send(message)
            if message[1] == "done":
                self._end()

    def _end(self) -> None:
        """A run is over."""
        self._over = True
        self._prepare()  # where it had a mistake, this has not been done

    def _prepare(self) -> None:
        """Have a process do what can be done for the next run; it may be beside the one that is under way."""
        if self._spare is None and self._last is not None and not self._broken:
            self._spare = _Spare(fork(run_later, self._last, self._edited, self._work))


def _reserve(specs: list) -> Held:
    """Memory for the inputs and expected outputs of `specs`; nothing of it is made yet."""
    import torch

    from golden.spec import TensorSpec
    from helpers.shared_tensors import reserve

    tensors = [s for s in specs if isinstance(s, TensorSpec)]
    inputs, outputs = [s for s in tensors if s.is_input], [s for s in tensors if s.is_output]
    block, slots = reserve([([1], torch.int64), *((s.shape, s.dtype) for s in [*inputs, *outputs])])
    state, rest = slots[0], slots[1:]
    return Held(
        specs, block, {s.name: slot for s, slot in zip(inputs, rest)},
        {s.name: slot for s, slot in zip(outputs, rest[len(inputs) :])}, state,
    )  # fmt: skip


def _fill(there: Connection, given: Any, held: dict[str, Held]) -> None:
    """Make the inputs and the expected outputs of each size, the small one first."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    for one in held.values():
        state = one.block.view(one.state)
        try:
            for spec in one.specs:
                if spec.name in one.inputs:
                    one.block.view(one.inputs[spec.name]).copy_(spec.create_tensor())
            state[0] = INPUTS
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
            state[0] = ALL
        except BaseException as error:
            there.send(mistake(error))
            state[0] = FAILED
            return
