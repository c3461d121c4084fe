"""What the chunk that runs has done so far, and what the blocks of its launch did before their barriers.

Each phase runs a block from its start, without effect up to its barrier, for the scalars that it goes on with. A loop
which left every name as it was has none to give, and is passed over; what it took of the on-chip buffers is known from
the phase that ran it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import FaultError
from helpers.interpret.trace.trace import Work
from helpers.interpret.values.values import Memory, Tensor, Tile, unchanged

if TYPE_CHECKING:
    from helpers.interpret.machine.pipes import Ring


@dataclass(frozen=True)
class OnChipUse:
    """What a chunk has made on chip up to a barrier, apart from the tiles: see `Task` for what each is."""

    start: int
    clock: int
    total: int
    memory: list[Memory]
    slots: dict[str, Memory]
    channels: dict[str, Memory]
    slot_counts: dict[str, tuple[int, str]]
    crossed: dict[object, set[str]]
    largest: int
    cube: bool
    misuse: FaultError | None


class Task:
    """What the running chunk has done so far; becomes a `Chunk`."""

    __slots__ = (
        "shapes", "varying", "offsets", "arguments", "seen", "memory", "total", "start", "views", "largest",
        "cube_flops", "vector_elements", "vector_ops", "cube_ops", "loads", "stores", "read_bytes", "write_bytes",
        "moved", "events", "trail", "pipes", "slots", "channels", "crossed", "axis", "cube", "misuse", "slot_counts",
        "loaded", "in_slots", "ring_bytes",
    )  # fmt: skip

    def __init__(self, clock: int, axis: int | None = None) -> None:
        self.start = clock
        self.axis = axis  # that the vector cores halve between them, if there is a product (see `ops/halves`)
        self.cube = False  # there is one
        self.misuse: FaultError | None = None  # what is done along that axis and cannot be
        self.total = 0  # bytes of all tiles made
        self.shapes: list[int] = []
        self.varying: dict[int, np.ndarray] = {}  # number of an access -> its shape in each block, where they differ
        self.offsets: list = []
        self.seen: dict[tuple, tuple] = {}  # accesses made before, to their shape (and what keeps the key's id alive)
        self.arguments: dict[tuple, list] = {}  # [tensor of orchestration, what is done with it]
        self.memory: list[Memory] = []
        self.views: dict[int, list] = {}  # buffer id -> weak references to tiles that still share its memory
        self.largest = 1
        self.cube_flops = self.vector_elements = self.vector_ops = self.cube_ops = 0
        self.loads = self.stores = self.read_bytes = self.write_bytes = self.ring_bytes = 0
        self.moved: list[tuple] = []  # of each access: on-chip buffer, pl.pipeline around, vector lanes, which of them
        self.events: list = []  # what happens on chip, see `trace.program`
        self.trail = 0  # a hash of the steps among them
        self.pipes: dict[tuple[int, int], Ring] = {}  # cross-core pipes by direction and number
        self.slot_counts: dict[str, tuple[int, str]] = {}  # how many slots each has, and where
        self.in_slots: dict[tuple[str, int], Tile] = {}  # the last tile that was put into each
        self.slots: dict[str, Memory] = {}  # allocations of pl.MemRef by name
        self.channels: dict[str, Memory] = {}  # by buffer: slots for tiles of the other kind of core
        self.loaded: dict[tuple, tuple[Tile, Tensor]] = {}  # whole tensors of orchestration that vector work has read
        self.crossed: dict[object, set[str]] = {}  # the buffers that get such tiles in each pl.pipeline

    def forget_work(self) -> None:
        """Start counting: what was done so far was counted in the phase that did it."""
        self.loaded = {}
        self.shapes, self.offsets, self.varying, self.moved, self.events, self.trail = [], [], {}, [], [], 0
        self.cube_flops = self.vector_elements = self.vector_ops = self.cube_ops = 0
        self.loads = self.stores = self.read_bytes = self.write_bytes = self.ring_bytes = 0

    def use(self, clock: int) -> OnChipUse | None:
        """What was made on chip so far, at a barrier; None where more than that is known of it (see `cuts`)."""
        if any(m.cut is not None for m in self.memory):
            return None
        memory, slots, channels = _copied(self.memory, self.slots, self.channels)
        return OnChipUse(
            self.start, clock, self.total, memory, slots, channels, dict(self.slot_counts),
            {place: set(spaces) for place, spaces in self.crossed.items()}, self.largest, self.cube, self.misuse,
        )  # fmt: skip

    def resume(self, use: OnChipUse) -> None:
        """Go on from a barrier, as if all that another chunk did before it had been done here."""
        self.start, self.total, self.largest = use.start, use.total, use.largest
        self.cube, self.misuse = use.cube, use.misuse
        self.memory, self.slots, self.channels = _copied(use.memory, use.slots, use.channels)
        self.slot_counts = dict(use.slot_counts)
        self.crossed = {place: set(spaces) for place, spaces in use.crossed.items()}

    def work(self, row: int = 0) -> Work:
        """What was done; `row` picks the block where the bytes moved differ."""
        counts = (self.loads, self.stores, self.read_bytes, self.write_bytes)
        moved = (int(n[row]) if isinstance(n, np.ndarray) else n for n in counts)
        return Work(self.cube_flops, self.vector_elements, self.vector_ops, self.cube_ops, *moved, self.ring_bytes)


def _copied(memory: Sequence[Memory], *named: dict[str, Memory]) -> tuple[Any, ...]:
    """Copies of what lies on chip, and of names for some of it."""
    new = {id(m): m.copied() for m in memory}
    return list(new.values()), *({name: new[id(m)] for name, m in names.items()} for names in named)


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

    def start(self) -> None:
        """Blocks begin, one or a batch."""
        self.passes = False

    def pass_over(self) -> None:
        """They pass over a loop."""
        self.passes = True

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

    def came_to_barrier(self, rows: np.ndarray, task: Task, clock: int) -> None:
        """These blocks have come to a barrier. Where a loop may be passed over later, note what they took on chip."""
        if self._loops:
            use = task.use(clock)
            for i in rows:
                self._uses[i] = use

    def used(self, rows: np.ndarray) -> OnChipUse:
        """What blocks took up to the barrier, of the one that took most."""
        return max((self._uses[i] for i in rows), key=lambda use: use.total)
