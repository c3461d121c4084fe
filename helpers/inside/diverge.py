"""Where two kernels first write something else: a kernel before and after an edit, two versions of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from helpers.errors import InputError
from helpers.inside.divergence import Divergence, Launch, Record, differing_launch, divergence, elsewhere, record
from helpers.interpret.lowering.lower import compile_kernel
from helpers.live import subject as subjects


def diverge(
    now: Any, before: Any, specs: Sequence[Any] | None = None, *, size: str = "small", platform: str = "a2a3interp"
) -> Divergence | None:
    """The first value that differs by more than rounding, and the line that makes it; None where none does.

    Both run on the same inputs. Launches belong together that are the same call in turn of one task's name, tensors by
    their names, tiles by their lines: two texts of one kernel are paired line by line.

    Args:
        now: "STAGE.VERSION", "FILE.py:KERNEL", or a kernel, which takes `specs`.
        before: What it is held against.
        specs: Of a kernel: what a run is given.
        size: Of a stage or file: "small", or "full".
        platform: a2a3interp or a5interp.

    Raises:
        InputError: no such subject; the two have no task in common.
        KernelError, FaultError: what keeps one of them from running.
    """
    if platform not in ("a2a3interp", "a5interp"):
        raise InputError(f"platform is {platform!r}: runs are compared on a2a3interp or a5interp")
    chip = platform.removesuffix("interp")
    one, given = _subject(now, specs, size, chip)
    other, _ = _subject(before, given, size, chip)
    files = {compile_kernel(other).source.file: compile_kernel(one).source.file}

    def mine_of(launch: Launch | None) -> Record:
        return _without(record(one, given, chip, launch), other, one)

    def theirs_of(launch: Launch | None) -> Record:
        return _without(_renamed(record(other, given, chip, launch), files), one, other)

    mine, theirs = mine_of(None), theirs_of(None)
    if not {n for n, _ in mine.order} & {n for n, _ in theirs.order}:
        names = (", ".join(dict.fromkeys(n for n, _ in r.order)) for r in (mine, theirs))
        raise InputError("the two have no task in common: {} and {}".format(*names))
    part = differing_launch(mine, theirs)
    if part is None:
        found = elsewhere(mine, theirs)
        launch = (found.task, found.launch) if found is not None else None
        if launch is None or launch in mine.skipped | theirs.skipped:
            return found
        return divergence(mine_of(launch), theirs_of(launch), launch, 0) or found
    return divergence(mine_of(part[0]), theirs_of(part[0]), *part)


def _renamed(record: Record, files: dict[str, str]) -> Record:
    """The same, as if its kernel stood in the other one's file: lines are paired within a file."""
    texts = {files.get(f, f): lines for f, lines in record.texts.items()}
    tiles = {
        turn: [one._replace(spot=replace(one.spot, file=files.get(one.spot.file, one.spot.file))) for one in made]
        for turn, made in record.tiles.items()
    }
    return replace(record, texts=texts, tiles=tiles)


def _without(record: Record, kernel: Any, among: Any) -> Record:
    """The same; where both kernels stand in one file, as if the lines of `kernel` were none that others can be paired
    with: those of the two are to be."""
    source, own = compile_kernel(kernel).source, compile_kernel(among).source
    if source.file != own.file or source.tree.name == own.tree.name:
        return record
    lines = list(record.texts.get(own.file, ()))
    for n in range(source.tree.lineno - 1, min(source.tree.end_lineno, len(lines))):
        lines[n] = f"{source.tree.name}\0{n}"
    return replace(record, texts={**record.texts, own.file: tuple(lines)})


def _subject(what: Any, specs: Sequence[Any] | None, size: str, chip: str) -> tuple[Any, Sequence[Any]]:
    """A kernel, and the specs of its run."""
    if not isinstance(what, str):
        if specs is None:
            raise InputError("a kernel needs specs=: what a run of it is given")
        return what, specs
    subject = subjects.parse(what, chip)
    sizes = {} if specs is not None else subjects.load_given(subject).sizes
    return subjects.load_kernel(subject), specs if specs is not None else sizes.get(size) or next(iter(sizes.values()))
