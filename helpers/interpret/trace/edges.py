"""Dependencies between the launches of a trace: one as an `Edge`, all of them as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np

from helpers.interpret.trace.cells import AFTER_READ, AFTER_WRITE, OVERWRITE

KINDS = (AFTER_WRITE, OVERWRITE, AFTER_READ)
WHYS = ("deps", "inferred", *KINDS)


class Edge(NamedTuple):
    """`later` must come after `earlier`; `why` is "deps", "inferred" or one of KINDS, on buffer `buffer` (-1: none)."""

    earlier: int
    later: int
    why: str
    buffer: int = -1


@dataclass(frozen=True, eq=False)
class Edges(Sequence[Edge]):
    """Edges as arrays of one entry each: 40 layers of a naive kernel have millions. An item is an `Edge`.

    `why` is an index into WHYS.
    """

    earlier: np.ndarray  # int32
    later: np.ndarray  # int32
    why: np.ndarray  # int8
    buffer: np.ndarray  # int32

    @classmethod
    def of(cls, edges: Iterable[Edge]) -> Edges:
        """These edges as arrays."""
        if isinstance(edges, Edges):
            return edges
        rows = [(a, b, WHYS.index(why), buffer) for a, b, why, buffer in edges]
        earlier, later, why, buffer = np.array(rows, np.int32).reshape(-1, 4).T
        return cls(earlier, later, why.astype(np.int8), buffer)

    @classmethod
    def joined(cls, *parts: Edges) -> Edges:
        """The edges of all parts, one after the other."""
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("earlier", "later", "why", "buffer")))

    def __len__(self) -> int:
        return len(self.earlier)

    @overload
    def __getitem__(self, at: int) -> Edge: ...
    @overload
    def __getitem__(self, at: slice) -> Edges: ...
    def __getitem__(self, at: int | slice) -> Edge | Edges:
        mine = self.earlier[at], self.later[at], self.why[at], self.buffer[at]
        if isinstance(at, slice):
            return Edges(*mine)
        earlier, later, why, buffer = (x.item() for x in mine)
        return Edge(earlier, later, WHYS[why], buffer)

    def __iter__(self) -> Iterator[Edge]:
        columns = (self.earlier.tolist(), self.later.tolist(), self.why.tolist(), self.buffer.tolist())
        return (Edge(a, b, WHYS[why], buffer) for a, b, why, buffer in zip(*columns))

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(earlier, later) of each two launches once, by the later and then the earlier; int64."""
        keys = np.unique(self.later.astype(np.int64) << 32 | self.earlier)
        return keys & 0xFFFFFFFF, keys >> 32
