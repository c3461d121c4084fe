"""What the blocks of a launch did before its barriers, so that a later phase does not go through all of it again.

Each phase runs a block from its start, without effect up to its barrier, for the scalars that it goes on with. A loop
which left every name as it was has none to give, and is passed over; what it took of the on-chip buffers is known from
the phase that ran it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helpers.interpret.machine.batches import unchanged
from helpers.interpret.machine.task import OnChipUse


@dataclass
class _Loop:
    """A loop of the block's body, between barriers.

    Attributes:
        nothing: For each block, whether it has gone through it whole and left no name another value.
        barriers: How many had been passed when it began.
    """

    nothing: np.ndarray
    barriers: int = 0


class Phases:
    """What the blocks of one launch did so far.

    Attributes:
        passes: A loop has been passed over since the block that runs, or the batch, began.
    """

    def __init__(self, blocks: int):
        self._blocks = blocks
        self._loops: dict[int, _Loop] = {}
        self._uses: list[OnChipUse | None] = [None] * blocks  # of each block, up to the latest barrier
        self.passes = False

    def begin(self, number: int, barriers: int) -> None:
        """A loop is gone through, from its start."""
        loop = self._loops.setdefault(number, _Loop(np.zeros(self._blocks, bool)))
        loop.barriers = barriers

    def end(self, number: int, barriers: int, rows: np.ndarray, before: tuple, after: tuple) -> None:
        """These blocks have gone through a loop; its names held `before`, and hold `after`."""
        loop = self._loops[number]
        loop.nothing[rows] = barriers == loop.barriers and all(map(unchanged, before, after))

    def known(self, number: int, rows: np.ndarray) -> bool:
        """True for a loop that these blocks can pass over."""
        loop = self._loops.get(number)
        return loop is not None and bool(loop.nothing[rows].all()) and all(self._uses[i] for i in rows)

    def came_to_barrier(self, rows: np.ndarray, use: OnChipUse | None) -> None:
        """What these blocks have taken of the on-chip buffers, of which there is a loop to pass over."""
        if self._loops:
            for i in rows:
                self._uses[i] = use

    def used(self, rows: np.ndarray) -> OnChipUse:
        """What blocks took up to the barrier, of the one that took most."""
        return max((self._uses[i] for i in rows), key=lambda use: use.total)
