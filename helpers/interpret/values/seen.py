"""One task of a run seen from inside: each operation with what it took and what it made.

A `Look` is handed to a run, which then records that one task while it runs as it always does: in the same batch of
blocks, with the same products worked out in one, so that the values are those that the run had, bit by bit. What
belongs to the task is picked out of the batch afterwards, when the launches of the batch have got their numbers.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import torch

from helpers.interpret.source.source import Place
from helpers.interpret.values.lanes import Lanes
from helpers.interpret.values.products import Product
from helpers.interpret.values.values import Memory, Tensor, Tile, held

LIMIT = 1 << 31  # bytes of values that are kept; of later ones only what they are
WINDOW = 1 << 16  # elements of a window on global memory that are kept, as an operand: more than a tile in UB has


EDGE = 3  # rows and columns from each end that are shown of a large tile


class Enough(BaseException):
    """The task has been seen: the run need not go on."""


@dataclass(eq=False, repr=False)
class Seen:
    """A tile, or a window on global memory, as it was when an operation took or made it.

    `kind`: "tile" or "tensor". `valid`: its valid shape, None for all. `source`: of a tensor, the name of the global
    memory. `offset`: of a tensor, in elements from the beginning of that memory. `memory`: of a tile, where it lies.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    valid: tuple | None
    source: str = ""
    offset: int | None = None
    memory: Memory | None = None
    _data: torch.Tensor | Product | None = None  # a Product until the task ends
    _row: int | None = None  # of a batch
    _rank: int = 0

    @property
    def what(self) -> str:
        """Without its elements: "tile [16, 128] FP32 in UB, valid [5, 128]"."""
        valid = "" if self.valid is None else f", valid {list(self.valid)}"
        if self.kind == "tensor":
            return f"window {list(self.shape)} {self.dtype} of {self.source} at {self.offset:,}{valid}"
        return f"tile {list(self.shape)} {self.dtype} in {self.buffer}{valid}"

    def __repr__(self) -> str:
        return self.what if self.data is None else f"{self.what}\n{self.data}"

    def _repr_html_(self) -> str:
        """The first and the last rows and columns as a table."""
        if self.data is None:
            return f"<p>{escape(self.what)}</p>"
        data = self.data.reshape(-1, self.data.shape[-1]) if self.data.dim() > 1 else self.data.reshape(1, -1)
        rows, columns = ([*range(n)] if n <= 2 * EDGE + 1 else [*range(EDGE), None, *range(n - EDGE, n)]
                         for n in data.shape)  # fmt: skip
        head = "".join(f"<th>{'&hellip;' if c is None else c}</th>" for c in columns)
        body = "".join(
            f"<tr><th>{'&hellip;' if r is None else r}</th>"
            + "".join(f"<td>{'' if None in (r, c) else format(data[r, c].item(), '.5g')}</td>" for c in columns)
            + "</tr>"
            for r in rows
        )
        return f"<p>{escape(self.what)}</p><table><tr><th></th>{head}</tr>{body}</table>"

    @property
    def buffer(self) -> str:
        """The on-chip buffer of a tile, once something has used it."""
        return (self.memory.space or "no buffer yet") if self.memory is not None else ""

    @property
    def data(self) -> torch.Tensor | None:
        """The values of its valid part, in the type that interpret mode keeps them in; None: they were not kept."""
        data = self._data
        if data is None or data.dim() <= self._rank or self._row is None:
            return data
        return data[self._row if data.shape[0] > 1 else 0]

    def of_row(self, row: int) -> Seen:
        """The same in one block of the batch."""
        valid = None if self.valid is None else tuple(_of_row(v, row) for v in self.valid)
        data = self.data
        if data is not None and valid is not None:
            extents = held(self.shape, valid)
            data = data[(..., *(slice(0, n) for n in extents))]
        picked = Seen(self.kind, self.shape, self.dtype, valid, self.source, _of_row(self.offset, row), self.memory)
        picked._data, picked._row, picked._rank = data, row, self._rank
        return picked


@dataclass(eq=False)
class Moment:
    """One operation of a task.

    Attributes:
        place: The call in the kernel's file.
        operation: Its path below `pl`; "x[...]" and "x[...] = y" for subscripts.
        function: The kernel or inline function that it stands in.
        operands: What it took, in the order of the call: `Seen`, numbers, and what else it was called with.
        results: What it made.
        names: What the names of the function held before it.
        clock: When, in operations of the run.
        error: What it ended with, where it could not be done.
        bound: The name that its result got.
    """

    place: Place
    operation: str
    function: str
    operands: tuple
    names: dict[str, Any]
    clock: int
    results: tuple = ()
    error: BaseException | None = None
    bound: str | None = None

    @property
    def result(self) -> Any:
        """The first result; None where there is none."""
        return self.results[0] if self.results else None


@dataclass
class _Chunk:
    """What was recorded of one batch of blocks."""

    launched: list
    blocks: np.ndarray
    phase: int
    moments: list[Moment] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)


class Look:
    """What a run is asked to record: one block of one launch, both by their numbers in the trace.

    `place`: where the launch is made; None: the task that fails is recorded, whichever it is.
    """

    def __init__(self, launch: int = -1, block: int = 0, place: Place | None = None):
        self.launch, self.block, self.place = launch, block, place
        self.failed: tuple[Any, int] | None = None  # the launch that failed, and its block
        self.error: BaseException | None = None
        self._chunks: list[_Chunk] = []
        self._chunk: _Chunk | None = None
        self._failed: _Chunk | None = None
        self._tiles: dict[int, tuple[Any, Seen]] = {}  # id -> the tile, which keeps the id its own, and what it was
        self._kept = 0
        self._depth = 0
        self._now: int | None = None  # the row of the chunk that runs, where it is known before it ends

    # ---- told by the machine ---------------------------------------------------------------------------------

    def begin(self, launched: list, blocks: np.ndarray, phase: int) -> bool:
        """A chunk begins; True when it is to be recorded."""
        if self.place is None:
            self._chunks = []
        elif launched[0].place != self.place:
            return False
        elif len(launched) == 1 and launched[0].index >= 0:
            if launched[0].index != self.launch or self.block not in blocks:
                return False
        self._chunks = [c for c in self._chunks if self._may_be(c)]
        if not self._chunks:
            self._tiles.clear()
            self._kept = 0
        self._chunk = _Chunk(launched, blocks, phase)
        self._now = self._row(self._chunk)
        return True

    def end(self, memory: list[Memory], error: BaseException | None) -> None:
        """The chunk ends, with an error where it is given up."""
        chunk, self._chunk = self._chunk, None
        chunk.memory = memory
        self._chunks = [c for c in self._chunks if not (c.launched is chunk.launched and c.phase == chunk.phase)]
        for _, seen in self._tiles.values():
            if isinstance(seen._data, Product):  # what it reads is still there: later tasks may write to it
                product = seen._data
                if product.done is None and self._now is not None:  # a partial sum, which the run has not worked out
                    seen._data = product.of_row(self._now, seen._rank).value()
                else:
                    seen._data = self._ours(product.value(), seen._rank)
        if error is None:
            self._chunks.append(chunk)
        else:
            self.error, self._failed = error, chunk
            self.failed = chunk.launched[0], int(chunk.blocks[0]) if len(chunk.launched) == 1 else 0

    def complete(self) -> bool:
        """True once the task is there as a whole, when the next launch begins."""
        return any(self._row(c) is not None for c in self._chunks)

    def through(self, m: Any, operation: str, at: Place, fn: Callable, args: tuple, named: dict) -> Any:
        """Do an operation and record it; those that it is made of are not recorded."""
        if self._depth or m.now.quiet or m.now.dry:
            return fn(m, at, *args, **named)
        function, names = self._names(m.now.task.start)
        moment = Moment(at, operation, function, tuple(map(self._operand, args)), names, m.onchip.clock)
        moment.operands += tuple((n, self._operand(v)) for n, v in named.items())
        self._chunk.moments.append(moment)
        self._depth += 1
        try:
            out = fn(m, at, *args, **named)
        except BaseException as e:
            moment.error = e
            raise
        finally:
            self._depth -= 1
        moment.results = tuple(self._value(v, made=True) for v in (out if isinstance(out, tuple) else (out,)))
        moment.clock = m.onchip.clock
        return out

    # ---- asked afterwards ------------------------------------------------------------------------------------

    def moments(self) -> list[Moment]:
        """The operations of the task, in order."""
        found = sorted((c for c in self._chunks if self._row(c) is not None), key=lambda c: c.phase)
        out = [m for c in found for m in _picked(c.moments, self._row(c))]
        if not out and self.error is not None:
            rows = np.flatnonzero(self._failed.blocks == self.block)
            out = list(_picked(self._failed.moments, int(rows[0]) if len(rows) and self.place is not None else 0))
        later: dict[str, Moment] = {}
        for one in reversed(out):
            after = later.get(one.function)
            one.bound = None if after is None else _bound(one, after)
            later[one.function] = one
        return out

    def memory(self) -> list[Memory]:
        """The on-chip buffers of the task."""
        found = [c for c in self._chunks if self._row(c) is not None]
        return found[-1].memory if found else self._failed.memory if self._failed is not None else []

    def _ours(self, data: torch.Tensor, rank: int) -> torch.Tensor:
        """What belongs to the task of the values of a batch, where that is known."""
        if self._now is None or data.dim() <= rank or data.shape[0] == 1:
            return data
        return data[self._now : self._now + 1]

    def _may_be(self, chunk: _Chunk) -> bool:
        return any(d.index in (-1, self.launch) for d in chunk.launched)

    def _row(self, chunk: _Chunk) -> int | None:
        """Which row of a chunk the task is."""
        if len(chunk.launched) > 1:
            return next((r for r, d in enumerate(chunk.launched) if d.index == self.launch), None)
        rows = np.flatnonzero(chunk.blocks == self.block)
        return int(rows[0]) if chunk.launched[0].index == self.launch and len(rows) else None

    def _names(self, start: int) -> tuple[str, dict[str, Any]]:
        """The function of the kernel that runs, and what its names hold; tiles of tasks before this one are no more."""
        frame = sys._getframe(3)
        while frame is not None and "__source__" not in frame.f_globals:
            frame = frame.f_back
        if frame is None:
            return "", {}
        there = {
            n: v for n, v in frame.f_locals.items()
            if not n.startswith("_") and _shown(v) and not (type(v) is Tile and v.memory.born < start)
        }  # fmt: skip
        held = {n: self._value(v) for n, v in there.items()}
        return frame.f_globals["__source__"].name, held

    def _operand(self, x: Any) -> Any:
        """What an operation takes; of a window that is no larger than a tile also what memory holds there."""
        seen = self._value(x)
        if type(x) is not Tensor or x.buffer.base is None or self._kept >= LIMIT:
            return seen
        extents = held(x.shape, x.valid)
        offsets = np.atleast_1d(x.offset)
        if self._now is not None and len(offsets) > 1:
            offsets = offsets[self._now : self._now + 1]
        if math.prod(extents) > WINDOW or len(offsets) * math.prod(extents) > 64 * WINDOW:
            return seen
        base, origin = x.buffer.base.view(-1), x.buffer.origin
        parts = [torch.as_strided(base, extents, x.strides, origin + int(o)) for o in offsets]
        seen._data = torch.stack(parts) if isinstance(x.offset, np.ndarray) else parts[0].clone()
        seen._rank = len(extents)
        self._kept += seen._data.numel() * seen._data.element_size()
        return seen

    def _value(self, x: Any, made: bool = False) -> Any:
        if isinstance(x, (list, tuple)):
            return type(x)(map(self._value, x)) if type(x) in (list, tuple) else x
        if type(x) is Tensor:
            return Seen("tensor", x.shape, str(x.dtype), x.valid, x.buffer.name, x.offset, None, None, None)
        if type(x) is not Tile:
            return x
        known = self._tiles.get(id(x))
        if known is not None and not made:
            return known[1]
        seen = Seen("tile", x.shape, str(x.dtype), x.valid, "", None, x.memory, _rank=len(x.shape))
        if self._kept < LIMIT:
            if x.pending is not None:
                seen._data = x.pending
            elif not x.empty:
                seen._data = self._ours(x.data, len(x.shape)).clone()
                self._kept += seen._data.nbytes
        self._tiles[id(x)] = x, seen
        return seen


def _shown(x: Any) -> bool:
    return isinstance(x, (Tile, Tensor, Lanes, int, float, np.integer, np.floating)) and not isinstance(x, bool)


def _of_row(x: Any, row: int) -> Any:
    if type(x) is Lanes:
        return x.values[row].item()
    if isinstance(x, np.ndarray):
        return x[row].item()
    return x.item() if isinstance(x, np.generic) else x


def _picked(moments: list[Moment], row: int) -> Iterator[Moment]:
    """The moments as one block of the batch had them."""
    known: dict[int, Seen] = {}

    def one(x: Any) -> Any:
        if isinstance(x, (list, tuple)) and type(x) in (list, tuple):
            return type(x)(map(one, x))
        if isinstance(x, Seen):
            if id(x) not in known:
                known[id(x)] = x.of_row(row)
            return known[id(x)]
        return _of_row(x, row)

    for m in moments:
        names = {n: one(v) for n, v in m.names.items()}
        yield Moment(
            m.place, m.operation, m.function, one(m.operands), names, m.clock, one(m.results), m.error, m.bound
        )


def _bound(moment: Moment, after: Moment) -> str | None:
    """The name that holds what a moment made, when the next one begins."""
    made = [r for r in moment.results if isinstance(r, Seen)]
    for name, value in after.names.items():
        if any(value is r for r in made) and moment.names.get(name) is not value:
            return name
    return None
