"""Blocks of a batch that go different ways where nothing but numbers is computed: they stay together, under a mask.

Where blocks disagree on an `if` or on the turns of a loop that holds no tile, both arms and the longest loop are gone
through once for all of them, and each block takes part in what is its own (`lowering.masked`). Names that it would not
have bound keep their values; it makes no access to memory, and none is recorded. Everything else that blocks disagree
on splits the batch (`batches`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.interpret.machine.now import MachinePart
from helpers.interpret.values.lanes import Lanes, counted
from helpers.interpret.values.values import Tensor

if TYPE_CHECKING:
    from helpers.interpret.machine.machine import Machine


class Masks(MachinePart):
    """Which blocks of a batch take part."""

    def __init__(self, m: Machine):
        super().__init__(m)
        self.mask: np.ndarray | None = None  # one truth a block; None: all

    def branch(self, test: Any) -> Any:
        """A condition as True or False, or, where the blocks that take part disagree, as it is."""
        if type(test) is not Lanes:
            return bool(test)
        truth = test.values != 0
        among = truth if self.mask is None else truth[self.mask]
        if among.all():
            return True
        return Lanes(truth) if among.any() else False

    def arm(self, test: Any, wanted: bool) -> Iterable[None]:
        """One turn for the blocks for which a condition (of `branch`) is as `wanted`, none when there are no such."""
        if type(test) is Lanes:
            return self._masked([None], test.values if wanted else ~test.values)
        return (None,) if test is wanted else ()

    def _masked(self, turns: Iterable[Any], truth: np.ndarray) -> Iterator[Any]:
        around = self.mask
        self.mask = truth if around is None else around & truth
        yield from turns
        self.mask = around  # after an exception `lift` does it

    def lift(self) -> None:
        """A chunk has ended, or is given up: all take part in the next."""
        self.mask = None

    def merged(self, test: Lanes, then: tuple, otherwise: tuple) -> tuple:
        """What names hold after an `if` whose arms left `then` and `otherwise` in them."""
        return tuple(_chosen(test.values, a, b) for a, b in zip(then, otherwise))

    def side_by_side(self, *bounds: Any) -> Iterable[Any]:
        """The turns of a loop that blocks may make a different number of: those that are through take no part."""
        if not any(type(b) is Lanes for b in bounds) or type(bounds[-1] if len(bounds) == 3 else 1) is Lanes:
            return counted(*bounds)
        start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1)[:3]
        first, last = (b.values if type(b) is Lanes else np.asarray(b) for b in (start, stop))
        counts = np.maximum(0, -((first - last) // step))
        among = counts if self.mask is None else counts[self.mask]
        if counts.ndim == 0 or (among == among[0]).all():
            count = int(among.max())
            return (start + k * step for k in range(count))
        return self._masked_turns(start, step, np.broadcast_to(counts, (len(self.m.batches.batch.ids),)))

    def _masked_turns(self, start: Any, step: int, counts: np.ndarray) -> Iterator[Any]:
        longest = int(counts.max() if self.mask is None else counts[self.mask].max())
        for k in range(longest):
            yield from self._masked([start + k * step], counts > k)

    def after_turn(self, before: tuple, now: tuple) -> tuple:
        """What names hold after a turn in which only some blocks took part."""
        return now if self.mask is None else tuple(_chosen(self.mask, a, b) for a, b in zip(now, before))

    def ours(self, values: np.ndarray) -> np.ndarray:
        """Of one value a block, those of the blocks that take part."""
        return values if self.mask is None or values.ndim == 0 else values[self.mask]

    def index_of_ours(self, index: Any) -> Any:
        """An index into memory that is harmless where a block takes no part."""
        if self.mask is None or type(index) is not Lanes:
            return index
        return Lanes(np.where(self.mask, index.values, index.values[self.mask][0]))

    def window_of_ours(self, w: Tensor) -> Tensor:
        """A window of the blocks that take part alone."""
        return Tensor(w.buffer, np.broadcast_to(w.offset, self.mask.shape)[self.mask], w.shape, w.strides, w.dtype)

    def nowhere(self, w: Tensor) -> np.ndarray:
        """Where a window lies in each block: of those that take no part behind the buffer, apart from all others."""
        return np.where(self.mask, w.offset, w.buffer.size + np.asarray(self.m.batches.batch.ids))


def _chosen(truth: np.ndarray, a: Any, b: Any) -> Any:
    """`a` where it is true, `b` elsewhere; a name that one of the arms did not bind has no value there."""
    if a is b or b is None or isinstance(a, Tensor):
        return a
    if a is None:
        return b
    a, b = (v.values if type(v) is Lanes else v for v in (a, b))
    return Lanes(np.where(truth, a, b))
