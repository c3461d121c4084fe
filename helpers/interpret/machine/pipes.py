"""Cross-core pipes: what a cube core pushes to the vector cores of its cluster, and the other way.

A pipe is a ring of slots in the consumer's memory. A push waits until a slot is free, a pop until a tile is there, and
a `tfree` frees the slot of a popped tile (PyPTO, docs/en/reference/pto-isa/01-tpush_tpop.md). Hand-written functions of
a Group are of full width: PyPTO's LowerAutoVectorSplit (pass 20) halves tiles and moves stores for `split=`, and where
two vector cores are dispatched without a split only the first one computes (pass 23). So here one vector core runs, at
full width, whatever the split.

Pushes and pops of one `pl.at` go through the ring in the order of the region's lines: the compiler deals them out to
the two cores, sets the pipe up and frees its slots (ExpandMixedKernel, pass 21).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from helpers.interpret.language.dtypes import DType
from helpers.interpret.machine.crew import Core, run_in_turns
from helpers.interpret.machine.now import MachinePart
from helpers.interpret.source.source import Place
from helpers.interpret.trace.program import Goes
from helpers.interpret.values.values import Memory, Tile, Turn

if TYPE_CHECKING:
    from helpers.interpret.machine.machine import Machine

TO_VECTOR, TO_CUBE = 1, 2  # bits of dir_mask: cube to vector, vector to cube
CONSUMER = {TO_VECTOR: "UB", TO_CUBE: "L1"}  # the memory in which the tiles of a direction arrive


@dataclass
class Ring:
    """One direction of a pipe."""

    slots: int | None = None  # None: of a pl.at, whose ring the compiler sizes
    slot_size: int = 0  # bytes
    tiles: deque[tuple[Tile, Place]] = field(default_factory=deque)  # pushed, and not popped yet
    taken: dict[int, tuple[Tile, Place]] = field(default_factory=dict)  # id of the memory of a popped tile

    @property
    def full(self) -> bool:
        return self.slots is not None and len(self.tiles) + len(self.taken) >= self.slots


@dataclass
class Cluster:
    """What the cores of a Group have set up while they run."""

    running: Core | None = None
    opened: dict[tuple[str, int, int], tuple[int, Place]] = field(default_factory=dict)  # (core, id, dir) -> slot size
    reserved: set[tuple[str, str]] = field(default_factory=set)  # (function, buffer)
    imported: list[tuple[str, str, Place]] = field(default_factory=list)  # (function, buffer, where)
    rings: list[Memory] = field(default_factory=list)  # reserved buffers: they live as long as the task
    barriers: dict[str, int] = field(default_factory=dict)  # function -> how many it has come to


class Pipes(MachinePart):
    """Passes tiles from core to core."""

    def __init__(self, m: Machine):
        super().__init__(m)
        self.cores: Cluster | None = None  # of a Group, while it runs

    def together(self, place: Place, members: Sequence[tuple]) -> tuple:
        """Run functions of a Group at the same time; members are (name, "AIC" or "AIV", body, arguments).

        Raises:
            FaultError: they wait for each other for ever, or leave tiles in a pipe.
        """
        task = self.now.task
        outer, self.cores = self.cores, Cluster()
        cores = [
            Core(
                name,
                lambda body=body, args=args: body(self.m, *args),
                _State(kind, self.now.inside, self.now.turn_of, []),
            )
            for name, kind, body, args in members
        ]
        self.cores.barriers = dict.fromkeys((c.name for c in cores), 0)
        memory, own = task.memory, [c.state.memory for c in cores]

        def enter(core: Core) -> None:
            self.cores.running = core
            self.now.stand(core.state.inside, core.state.turn_of)
            task.memory = core.state.memory

        def leave(core: Core) -> None:
            core.state.inside, core.state.turn_of = self.now.inside, self.now.turn_of

        inside, turn_of = self.now.inside, self.now.turn_of
        try:
            run_in_turns(cores, enter, leave)
            self._check_cluster()
            for ring in self.cores.rings:
                ring.last = self.m.onchip.clock
            self.check_rings()
        finally:
            self.now.stand(inside, turn_of)
            self.cores = outer
            task.memory = memory
        for part in own:
            memory += part
        return tuple(c.result for c in cores)

    def open_pipe(self, at: Place, core: str, dir_mask: int, slot_size: int, slot_num: int | None, number: int) -> None:
        """`pl.aic_initialize_pipe` and `pl.aiv_initialize_pipe`.

        Raises:
            FaultError: on the wrong core, twice, or with another slot size than the peer.
        """
        here = self._core(at, f"pl.{core.lower()}_initialize_pipe")
        if here != core:
            raise self.m.fault(
                at, f"pl.{core.lower()}_initialize_pipe in an {here} function", f"pl.{here.lower()}_initialize_pipe"
            )
        if dir_mask not in (1, 2, 3):
            raise self.m.fault(at, f"dir_mask={dir_mask}", "1: cube to vector, 2: vector to cube, 3: both")
        for way in (TO_VECTOR, TO_CUBE):
            if not dir_mask & way:
                continue
            if (core, number, way) in self.cores.opened:
                raise self.m.fault(at, f"pipe {number} is initialized a second time", "give the second another id=")
            self.cores.opened[core, number, way] = slot_size, at
            ring = self._ring(way, number)
            if ring.slot_size not in (0, slot_size):
                raise self.m.fault(
                    at, f"pipe {number} has slots of {slot_size} bytes here and of {ring.slot_size} on the other core",
                    "one slot_size on both",
                )  # fmt: skip
            ring.slot_size, ring.slots = slot_size, slot_num or (4 if dir_mask == 3 else 8)

    def reserve(self, at: Place, name: str, size: int) -> int:
        """`pl.reserve_buffer`: the memory of a ring, in the memory of the core that pops from it."""
        core = self._core(at, "pl.reserve_buffer")
        self.cores.reserved.add((self.cores.running.name, name))
        memory = Memory("UB" if core == "AIV" else "L1", size, self.m.onchip.clock, at)
        self.now.task.memory.append(memory)
        self.now.task.total += size
        self.cores.rings.append(memory)
        return 0

    def import_peer(self, at: Place, name: str, function: str) -> int:
        """`pl.import_peer_buffer`: the buffer that the other core's function reserves by that name."""
        self._core(at, "pl.import_peer_buffer")
        self.cores.imported.append((function, name, at))
        return 0

    def push(self, at: Place, tile: Tile, way: int, number: int) -> None:
        """A tile goes into the ring, once a slot is free; it is copied."""
        self._check_side(at, way, number, "push")
        ring = self._ring(way, number)
        size = (_elements(tile.shape) * tile.dtype.bits + 7) // 8
        if ring.slot_size and size > ring.slot_size:
            raise self.m.fault(
                at, f"{tile} takes {size} bytes and a slot of pipe {number} {ring.slot_size}", f"slot_size={size}"
            )
        if self.cores is not None:
            self.cores.running.wait(lambda: not ring.full, lambda: self._stalled(at, ring, number))
        data = None if tile.data is None else tile.data.clone()
        ring.tiles.append((Tile(data, tile.shape, tile.dtype, tile.valid, tile.memory), at))

    def pop(self, at: Place, way: int, number: int, shape: tuple | None, dtype: DType | None) -> Tile:
        """The next tile of the ring, once there is one. It lies in its slot until that is freed."""
        self._check_side(at, way, number, "pop")
        ring = self._ring(way, number)
        starved = lambda: self.m.fault(  # noqa: E731
            at, f"nothing is pushed to pipe {number} that this pop waits for", "push a tile for each pop, before it"
        )
        if self.cores is not None:
            self.cores.running.wait(lambda: bool(ring.tiles), starved)
        elif not ring.tiles:
            raise starved()
        tile, pushed = ring.tiles.popleft()
        if shape not in (None, tile.shape) or dtype not in (None, tile.dtype):
            wanted = f"{list(shape or tile.shape)} {dtype or tile.dtype}"
            raise self.m.fault(
                at, f"{tile}, pushed on line {pushed.line}, is popped as {wanted}", "pop what was pushed"
            )
        out = self.m.onchip.tile(
            at, tile.data, tile.shape, tile.dtype, tile.valid, CONSUMER[way], loaded=self.cores is not None
        )
        self.now.task.events.append(Goes(out.memory, tile.memory))
        if self.cores is not None:
            out.memory.bytes = 0  # the slot is a part of the buffer that was reserved
        if ring.slots is not None:
            ring.taken[id(out.memory)] = out, at
        return out

    def free(self, at: Place, tile: Tile, way: int, number: int | None) -> None:
        """`tfree`: the slot of a popped tile is free again.

        Raises:
            FaultError: the tile was not popped from that direction, or is freed already.
        """
        if self.cores is None:
            return  # of a pl.at: the compiler frees its slots
        for (direction, n), ring in self.now.task.pipes.items():
            if direction == way and id(tile.memory) in ring.taken:
                if number not in (None, n):
                    raise self.m.fault(at, f"a tile of pipe {n} is freed with id={number}", f"id={n}, or none")
                del ring.taken[id(tile.memory)]
                return
        raise self.m.fault(
            at,
            f"{tile} holds no slot of this direction",
            "free what was popped, once, by the tfree of its pop",
        )

    def rendezvous(self, at: Place) -> None:
        """`pl.system.syncall` in functions of a Group: each core waits until all have come to theirs."""
        if self.now.block_num > 1:
            raise self.m.fault(at, "pl.system.syncall of several blocks in a function of a Group", "a pl.at instead")
        come, core = self.cores.barriers, self.cores.running
        come[core.name] += 1
        mine = come[core.name]
        core.wait(
            lambda: all(n >= mine for n in come.values()),
            lambda: self.m.fault(
                at, "the other core never comes to a pl.system.syncall", "one in each", kind="syncall"
            ),
        )

    def _core(self, at: Place, what: str) -> str:
        if self.cores is None:
            raise self.m.fault(
                at, f"{what} outside the functions of a Group",
                "functions of type AIC and AIV, called in one of type Group; a pl.at needs no setting up",
            )  # fmt: skip
        return self.cores.running.state.core

    def _ring(self, way: int, number: int) -> Ring:
        return self.now.task.pipes.setdefault((way, number), Ring())

    def _check_side(self, at: Place, way: int, number: int, what: str) -> None:
        if self.now.task is None:
            raise self.m.fault(
                at, f"a {what} outside an InCore region", "put it into a function of a Group, or a pl.at"
            )
        if self.cores is None:
            if self.now.inside[1] == 2:
                raise self.m.fault(at, f"a {what} in a pl.split_aiv", "pl.aiv_shard and pl.aic_gather")
            return
        core = self.cores.running.state.core
        wanted = "AIC" if (way == TO_VECTOR) == (what == "push") else "AIV"
        if core != wanted:
            raise self.m.fault(at, f"this {what} is the {wanted}'s, and stands in an {core} function")
        if (core, number, way) not in self.cores.opened:
            raise self.m.fault(
                at, f"pipe {number} is not initialized for this direction on this core",
                f"pl.{core.lower()}_initialize_pipe(dir_mask={way}, slot_size=..., id={number})",
            )  # fmt: skip

    def _stalled(self, at: Place, ring: Ring, number: int) -> Exception:
        held = ", ".join(str(p.line) for _, p in ring.taken.values())
        why = f"tiles popped on line {held} are not freed" if held else "nobody pops"
        return self.m.fault(
            at, f"all {ring.slots} slots of pipe {number} are taken and stay so: {why}", "a tfree for each pop",
            kind="pipe",
        )  # fmt: skip

    def _check_cluster(self) -> None:
        for function, name, at in self.cores.imported:
            if (function, name) not in self.cores.reserved:
                raise self.m.fault(at, f"'{function}' reserves no buffer '{name}'", "pl.reserve_buffer(name=...) there")

    def check_rings(self) -> None:
        """At the end of a task: what was pushed is popped, what was popped freed."""
        for (_, number), ring in self.now.task.pipes.items():
            if ring.tiles:
                raise self.m.fault(
                    ring.tiles[0][1], f"{len(ring.tiles)} tiles stay in pipe {number} that nobody pops",
                    "a pop for each push", kind="pipe",
                )  # fmt: skip
            if ring.taken:
                raise self.m.fault(
                    next(iter(ring.taken.values()))[1], "the slot of this tile is never freed", "pl.tfree_to_...(tile)",
                    kind="pipe",
                )  # fmt: skip


@dataclass
class _State:
    """What of the machine belongs to one core."""

    core: str
    inside: tuple
    turn_of: tuple[Turn, ...]
    memory: list[Memory]


def _elements(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n
