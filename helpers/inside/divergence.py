"""Where two versions of a kernel first write something else: both are run again, at a small shape, and recorded.

A run keeps no values. When a save fails, it and the last version that passed are run once more on a `Recorder`: what
each task writes to global memory is compared, launch by launch, and of the first launch that differs each tile.

Launches belong together that are the same call in turn of one task's name; elements by the name of their tensor and
their place in it; tiles by the line that makes them, as a comparison of the two texts pairs lines.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from helpers.chips import chip
from helpers.errors import shown
from helpers.interpret.call import interpret
from helpers.interpret.machine.machine import Machine
from helpers.interpret.machine.now import Running
from helpers.interpret.machine.onchip import OnChip
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import READ, Access, Dispatch, Trace
from helpers.interpret.values.lanes import Lanes
from helpers.interpret.values.values import Tile
from helpers.sanitize.rules.rounding import apart

MOST_BYTES = 1 << 29  # of written values that are kept; a run that writes more is compared as far as that goes

# Two versions that compute the same round in other places and add in another order. Elements that are no further apart
# than this share of the larger one, or of the root mean square of what is written with them, may be that. What is large
# is looked for first: products of BF16 differ in FP32 by as much as BF16 does. Where nothing is, less counts.
ROUNDING = (
    {torch.float64: 2.0**-20, torch.float32: 2.0**-8, torch.float16: 2.0**-8, torch.bfloat16: 2.0**-6, torch.int8: 1},
    {torch.float64: 2.0**-48, torch.float32: 2.0**-20, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7},
)

ROWS = 8  # of a column, from which on its own root mean square counts

Launch = tuple[str, int]  # a task's name, and which of its launches
Turn = tuple[int, int]  # how many barriers a block has passed, and the block


@dataclass(frozen=True)
class Spot:
    """A line of a kernel: file, number from 1, its text."""

    file: str
    line: int
    code: str


class Made(NamedTuple):
    """A tile: its line, which tile of that line, the values of its valid part, its whole shape, whether it was loaded
    from global memory."""

    spot: Spot
    nth: int
    values: torch.Tensor
    whole: tuple[int, ...]
    loaded: bool


@dataclass
class Record:
    """What a run wrote, as plain data.

    Attributes:
        order: Its launches, in order.
        writes: Of each launch, by tensor (name, which of that name): flat numbers of elements, values, and for each
            element which write it was.
        shapes: Of each tensor.
        writers: Of each launch, by number of the write: turn and line.
        tiles: Of each turn of the launch that was asked for, in order.
        texts: Lines of each file.
        skipped: Launches that did not run, for their predicate= was false.
        places: Where each launch is made.
    """

    order: list[Launch] = field(default_factory=list)
    skipped: set[Launch] = field(default_factory=set)
    places: dict[Launch, Spot] = field(default_factory=dict)
    writes: dict[Launch, dict[tuple[str, int], tuple[np.ndarray, torch.Tensor, np.ndarray]]] = field(
        default_factory=dict
    )
    shapes: dict[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)
    writers: dict[Launch, list[tuple[Turn, Spot]]] = field(default_factory=dict)
    tiles: dict[Turn, list[Made]] = field(default_factory=dict)
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Divergence:
    """The first values that are others than in an earlier version, and which line makes them.

    Attributes:
        spot: The line.
        task, launch, block: The task's name, which launch of that name from 0, and the block of it.
        tensor: What was written; "" for a tile.
        index: The element.
        now, before: Its value here, and in the earlier version.
        what: Where something else than a value differs: in words, of which "{}" is the earlier version.
    """

    spot: Spot
    task: str
    launch: int
    block: int
    tensor: str
    index: tuple[int, ...]
    now: float | int
    before: float | int
    what: str = ""

    def text(self, version: str) -> str:
        """One sentence; `version` names the earlier one, as in "save 3"."""
        where = (
            f"first differs at {shown(self.spot.file)}:{self.spot.line} `{self.spot.code.strip()}`, task '{self.task}' "
            f"{self.launch} block {self.block}"
        )
        if self.what:
            return f"{where}: {self.what.format(version)}"
        now, before = apart(self.now, self.before)
        of = f" of {self.tensor}" if self.tensor else ""
        return f"{where}, element {list(self.index)}{of}: {now} here, {before} in {version}"


class Recorder:
    """Keeps what tasks write, and of one launch every tile."""

    def __init__(self, launch: Launch | None = None):
        self.asked = launch
        self.wrote: list[tuple[Dispatch, Turn, Access, int, torch.Tensor]] = []  # offset, values
        self.tiles: list[tuple[Dispatch, Turn, Place, torch.Tensor, tuple[int, ...], bool]] = []
        self._bytes = 0
        self._made: list[tuple[Place, Tile, bool]] = []  # of the running task, whose values are not kept yet
        self._seen: list[tuple[Place, Tile, torch.Tensor, bool]] = []

    def machine(self, *args: Any, **options: Any) -> Machine:
        """A machine that this looks at."""
        recorder = self

        class Recorded(Running):
            @contextmanager
            def chunk(self, launched: list[Dispatch], blocks: np.ndarray, *of: Any) -> Iterator[None]:
                parts = [len(d.parts) for d in launched]
                recorder.begin()
                with super().chunk(launched, blocks, *of):
                    yield
                    recorder.look()
                recorder.end(launched, blocks, parts, self)

        class Tiles(OnChip):
            def tile(self, at: Place, *args: Any, **named: Any) -> Tile:
                recorder.look()
                made = super().tile(at, *args, **named)
                if not self.now.quiet and recorder.wants(self.now.launched[0]):
                    recorder.made(at, made, bool(named.get("loaded")))
                return made

        class Whole(Machine):
            running, on_chip = Recorded, Tiles

        return Whole(*args, **options)

    def wants(self, launched: Dispatch) -> bool:
        """The tiles of this launch are kept."""
        return self.asked is not None and launched.name == self.asked[0]

    def begin(self) -> None:
        """A chunk begins."""
        self._made, self._seen = [], []

    def made(self, at: Place, tile: Tile, loaded: bool) -> None:
        """A tile is made, whose values are not there yet."""
        self._made.append((at, tile, loaded))

    def look(self) -> None:
        """Keep the values of the tiles that were made last: what makes them has ended."""
        for at, made, loaded in self._made:
            if made.data is not None and self._bytes <= MOST_BYTES:
                self._bytes += made.data.nbytes
                self._seen.append((at, made, made.data.clone(), loaded))
        self._made = []

    def end(self, launched: list[Dispatch], blocks: np.ndarray, parts: list[int], now: Running) -> None:
        """A chunk has ended; `parts`: how many its launches had before it."""
        if self.wants(launched[0]):
            for row, block in enumerate(blocks.tolist()):
                d = launched[row if len(launched) > 1 else 0]
                turn = (now.phase, block)
                self.tiles += [
                    (d, turn, at, _of_block(made, data, row), tuple(made.shape), loaded)
                    for at, made, data, loaded in self._seen
                ]
        for d, before in zip(launched, parts):
            for part in d.parts[before:]:
                self._keep(d, part, now.m.trace)

    def _keep(self, d: Dispatch, part: Any, trace: Trace) -> None:
        rows = range(len(part.chunk.blocks)) if part.row is None else [part.row]
        for number, offsets in zip(part.chunk.shapes.tolist(), part.chunk.offsets):
            access = trace.shapes[number]
            buffer = trace.buffers[access.buffer]
            if access.mode == READ or buffer.base is None:
                continue
            for row in rows:
                if self._bytes > MOST_BYTES:
                    return
                offset = int(offsets[row]) if isinstance(offsets, np.ndarray) else int(offsets)
                values = torch.as_strided(buffer.base, access.extent, access.strides, buffer.origin + offset).clone()
                self._bytes += values.nbytes
                self.wrote.append((d, (part.chunk.phase, int(part.chunk.blocks[row])), access, offset, values))


def _of_block(made: Tile, data: torch.Tensor, row: int) -> torch.Tensor:
    """What is valid in one block of a batch."""
    values = data[row] if made.batched else data
    ends = [int(v.values[row]) if type(v) is Lanes else None for v in made.valid or ()]
    return values[tuple(slice(0, end) for end in ends)]


def record(kernel: Any, specs: list, chip_name: str, launch: Launch | None = None) -> Record:
    """Run a kernel on what its specs say, and keep what it writes; of one launch its tiles, too.

    Raises:
        WorkbookError: what keeps the kernel from running to its end.
    """
    from golden.spec import values_of

    recorder = Recorder(launch)
    values = list(values_of(specs).values())
    trace = interpret(kernel, values, f"{chip_name}interp", chip(chip_name), make_machine=recorder.machine)
    return _plain(recorder, trace, launch)


def _plain(m: Recorder, trace: Any, asked: Launch | None) -> Record:
    out = Record()
    counts: Counter[str] = Counter()
    names: dict[int, Launch] = {}
    for d in trace.dispatches:
        names[id(d)] = (d.name, counts[d.name])
        counts[d.name] += 1
        out.order.append(names[id(d)])
        out.places[names[id(d)]] = _spot(out, d.place)
        if d.skipped:
            out.skipped.add(names[id(d)])
    tensors: dict[int, tuple[str, int]] = {}
    counts.clear()
    for b in trace.buffers:
        name = b.name if b.argument else assigned(b.place)
        tensors[b.id] = (name, counts[name])
        counts[name] += 1
        out.shapes[tensors[b.id]] = tuple(b.shape)
    gathered: dict[Launch, dict[tuple[str, int], list]] = defaultdict(lambda: defaultdict(list))
    for d, turn, access, offset, values in m.wrote:
        if id(d) not in names:  # it was taken back, and made in another way
            continue
        launch = names[id(d)]
        writers = out.writers.setdefault(launch, [])
        writers.append((turn, _spot(out, access.place)))
        flat = np.full(access.extent, offset, np.int64)
        for axis, (n, stride) in enumerate(zip(access.extent, access.strides)):
            flat += (np.arange(n) * stride).reshape([-1 if a == axis else 1 for a in range(len(access.extent))])
        gathered[launch][tensors[access.buffer]].append(
            (flat.ravel(), values.reshape(-1), np.full(flat.size, len(writers) - 1))
        )
    for launch, by_tensor in gathered.items():
        out.writes[launch] = {}
        for tensor, pieces in by_tensor.items():
            flat = np.concatenate([p[0] for p in pieces])
            at, last = np.unique(flat[::-1], return_index=True)  # what was written last
            last = flat.size - 1 - last
            out.writes[launch][tensor] = (
                at, torch.cat([p[1] for p in pieces])[torch.from_numpy(last)],
                np.concatenate([p[2] for p in pieces])[last],
            )  # fmt: skip
    seen: dict[Turn, Counter] = defaultdict(Counter)
    for d, turn, place, values, whole, loaded in m.tiles:
        if names.get(id(d)) == asked:
            spot = _spot(out, place)
            out.tiles.setdefault(turn, []).append(Made(spot, seen[turn][spot], values, whole, loaded))
            seen[turn][spot] += 1
    return out


def assigned(place: Place | None) -> str:
    """The name that what is allocated at a place gets: of `x = pl.create_tensor(...)` "x"."""
    code = place.code if place is not None else ""
    name, equals, _ = code.partition("=")
    return name.partition(":")[0].strip() if equals and name.partition(":")[0].strip().isidentifier() else code.strip()


def _spot(out: Record, place: Place) -> Spot:
    if place.file not in out.texts:
        out.texts[place.file] = place.text.lines if place.text is not None else ()
    return Spot(place.file, place.line, place.code)


def differing_launch(now: Record, before: Record) -> tuple[Launch, int] | None:
    """The first launch that writes elements with other values in both, and which of ROUNDING they exceed."""
    for level in range(len(ROUNDING)):
        for launch in now.order:
            if _of_writes(now, before, launch, level) is not None:
                return launch, level
    return None


def elsewhere(now: Record, before: Record) -> Divergence | None:
    """The first launch that only one of them runs, or that writes elements which no launch of the other one writes.

    That is where two versions part which write the same values where both write.
    """
    here, there = _written(now), _written(before)
    theirs = set(before.order)
    for launch in now.order:
        if launch not in theirs:
            continue
        if (launch in now.skipped) != (launch in before.skipped):
            did = ("is skipped", "runs") if launch in now.skipped else ("runs", "is skipped")
            return Divergence(now.places[launch], *launch, 0, "", (), 0, 0, f"it {did[0]} here and {did[1]} in {{}}")
        for tensor, (flat, values, writers) in now.writes.get(launch, {}).items():
            if tensor not in there or now.shapes[tensor] != before.shapes[tensor]:
                continue
            new = np.flatnonzero(~np.isin(flat, there[tensor]))
            if new.size:
                first = new[np.argmin(writers[new])]
                turn, spot = now.writers[launch][int(writers[first])]
                index = _index(int(flat[first]), now.shapes[tensor])
                what = f"element {list(index)} of {tensor[0]} is written here, and not in {{}}"
                return Divergence(spot, *launch, turn[1], tensor[0], index, values[int(first)].item(), 0, what)
            lost = np.setdiff1d(before.writes.get(launch, {}).get(tensor, (flat,))[0], here[tensor])
            if lost.size:
                index = _index(int(lost[0]), now.shapes[tensor])
                what = f"element {list(index)} of {tensor[0]} is not written here, and is in {{}}"
                turn, spot = now.writers[launch][int(writers.min())]  # what it writes there instead
                return Divergence(spot, *launch, turn[1], tensor[0], index, 0, 0, what)
    return None


def _written(of: Record) -> dict[tuple[str, int], np.ndarray]:
    """The elements of each tensor that any launch writes."""
    parts: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    for by_tensor in of.writes.values():
        for tensor, (flat, _, _) in by_tensor.items():
            parts[tensor].append(flat)
    return {tensor: np.unique(np.concatenate(found)) for tensor, found in parts.items()}


def divergence(now: Record, before: Record, launch: Launch, level: int) -> Divergence | None:
    """The first value of a launch that differs: of a tile, if both have the launch's; else of what was written.

    A tile that is computed from tiles which are the same, bit by bit, parts them as soon as it differs by more than the
    smallest rounding; one that may have inherited less than `level` must differ by more.
    """
    last, written = _of_writes(now, before, launch, level) or (None, None)
    lines = _Lines(now.texts, before.texts)
    for turn in sorted(now.tiles.keys() & before.tiles.keys()):
        if last is not None and turn > last:
            break
        known = {(made.spot.file, made.spot.line, made.nth): made for made in before.tiles[turn]}
        exact = True  # all tiles up to here are the same, bit by bit
        for made in now.tiles[turn]:
            other = known.get((made.spot.file, lines.before(made.spot), made.nth))
            if other is None or other.values.dtype != made.values.dtype:
                continue
            if other.values.shape != made.values.shape:
                if other.whole != made.whole:  # it may be cut in another way all through
                    continue
                valid = f"the valid part is {list(made.values.shape)} here, {list(other.values.shape)} in {{}}"
                return Divergence(made.spot, *launch, turn[1], "", (), 0, 0, valid)
            a, b = made.values.reshape(-1), other.values.reshape(-1)
            rounding = ROUNDING[-1] if exact and not made.loaded else ROUNDING[level]
            columns = torch.arange(a.numel()) % (made.values.shape[-1] if made.values.dim() else 1)
            at = _first(a, b, rounding, columns)
            if at is not None:
                index = _index(at, made.values.shape)
                return Divergence(made.spot, *launch, turn[1], "", index, a[at].item(), b[at].item())
            exact = exact and bool(((a == b) | (a.isnan() & b.isnan())).all())
    mine, theirs = (max((block for _, block in r.tiles), default=-1) + 1 for r in (now, before))
    if mine != theirs and mine and theirs and launch in now.places:  # those that both have made the same tiles
        what = f"it has {mine} blocks here, {theirs} in {{}}"
        return Divergence(now.places[launch], *launch, 0, "", (), 0, 0, what)
    return written


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, tuple(shape))) if flat < math.prod(shape) else (flat,)


def _of_writes(now: Record, before: Record, launch: Launch, level: int) -> tuple[Turn, Divergence] | None:
    found: list[tuple[int, Turn, Divergence]] = []
    for tensor, (flat, values, writers) in now.writes.get(launch, {}).items():
        other = before.writes.get(launch, {}).get(tensor)
        if other is None or now.shapes[tensor] != before.shapes.get(tensor) or other[1].dtype != values.dtype:
            continue
        _, mine, theirs = np.intersect1d(flat, other[0], assume_unique=True, return_indices=True)
        order = np.lexsort((mine, writers[mine]))  # as they were written
        mine, theirs = mine[order], theirs[order]
        a, b = values[torch.from_numpy(mine)], other[1][torch.from_numpy(theirs)]
        at = _first(a, b, ROUNDING[level], torch.from_numpy(flat[mine]) % now.shapes[tensor][-1])
        if at is None:
            continue
        number = int(writers[mine[at]])
        turn, spot = now.writers[launch][number]
        index = _index(int(flat[mine[at]]), now.shapes[tensor])
        found.append((number, turn, Divergence(spot, *launch, turn[1], tensor[0], index, a[at].item(), b[at].item())))
    return min(found, key=lambda f: f[0])[1:] if found else None


def _usual(values: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """For each element the root mean square of what it is written with: of all, or of its column where that is less and
    has rows enough to say so. One large column says nothing of the others."""
    finite = torch.isfinite(values)
    squares = torch.where(finite, values, 0.0).square()
    whole = squares.sum() / max(1, int(finite.sum()))
    _, group = columns.unique(return_inverse=True)
    count = torch.zeros(int(group.max()) + 1, dtype=torch.float64).index_add_(0, group, finite.double())
    of_column = torch.zeros_like(count).index_add_(0, group, squares) / count.clamp(min=1)
    of_column[count < ROWS] = whole
    return torch.minimum(of_column[group], whole).sqrt()


def _first(
    a: torch.Tensor, b: torch.Tensor, rounding: Mapping[torch.dtype, float], columns: torch.Tensor
) -> int | None:
    """The first element that differs by more than rounding; NaN and NaN are the same. `columns`: where each stands."""
    if not a.numel():
        return None
    x, y = a.double(), b.double()
    same = (x == y) | (torch.isnan(x) & torch.isnan(y))
    if same.all():
        return None
    allowed = torch.tensor(float(rounding.get(a.dtype, 0.0)), dtype=torch.float64)
    if a.is_floating_point():
        allowed = allowed * torch.maximum(torch.maximum(x.abs(), y.abs()), _usual(y, columns))
    near = torch.isfinite(x) & torch.isfinite(y) & ((x - y).abs() <= allowed)
    at = (~same & ~near).nonzero().flatten()
    return int(at[0]) if at.numel() else None


class _Lines:
    """Which line of the earlier text a line is: those that a comparison of the texts leaves, or replaces one by one."""

    def __init__(self, now: Mapping[str, tuple[str, ...]], before: Mapping[str, tuple[str, ...]]):
        self._now, self._before = now, before
        self._known: dict[str, dict[int, int]] = {}

    def before(self, spot: Spot) -> int | None:
        """The number of the line in the earlier text; None where there is none."""
        if spot.file not in self._known:
            a, b = self._now.get(spot.file, ()), self._before.get(spot.file, ())
            pairs: dict[int, int] = {}
            for kind, i, i_end, j, j_end in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
                if kind in ("equal", "replace") and i_end - i == j_end - j:
                    pairs.update(zip(range(i + 1, i_end + 1), range(j + 1, j_end + 1)))
            self._known[spot.file] = pairs
        return self._known[spot.file].get(spot.line)
