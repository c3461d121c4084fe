"""The state of one interpreted run: global memory, the task being executed, and the trace it leaves.

Generated kernel code (see `lower`) calls the operations in `ops`, and those call a `Machine` for everything
that is not arithmetic: loading a window of global memory into a tile, storing one back, starting and ending
tasks, accounting for on-chip memory and work.

Blocks of a `pl.spmd` run in batches (see `lanes`). A batch is optimistic: stores keep what they overwrite,
and when blocks disagree on control flow (`Diverged`) or touch each other's memory (`Conflict`) everything the
batch wrote is put back and its blocks run again in smaller groups, at last one by one in program order.
"""

from __future__ import annotations

import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from helpers.chips import Chip
from helpers.errors import FaultError
from helpers.interpret import dtypes
from helpers.interpret.boxes import affine_step, disjoint, row_index, separate, unrelated
from helpers.interpret.dtypes import DType
from helpers.interpret.lanes import Diverged, Lanes, counted, one, settled
from helpers.interpret.memory import peaks
from helpers.interpret.products import Product
from helpers.interpret.progress import watcher
from helpers.interpret.source import Place, located
from helpers.interpret.trace import (
    ATOMIC,
    IN,
    INOUT,
    OUT,
    READ,
    WRITE,
    Argument,
    Chunk,
    Dispatch,
    Part,
    Syncall,
    Trace,
    Work,
)  # fmt: skip
from helpers.interpret.values import Buffer, Memory, TaskId, Tensor, Tile, dense_strides

# A batch of blocks may hold this many elements in its largest tile: 2^18 FP32 values are 1 MB, which stay in a core's
# cache, and are enough to hide the cost of a torch call. Tiles so large that only a few fit gain nothing from a batch
# and lose the cache to it: they run one by one. Measured with bench.interpreters and bench.rope_kv_cache.
BATCH_ELEMENTS = 1 << 18
FEW = 4


# How many blocks of the pl.spmd at a place fit in a batch, learned from its first block; kept from run to run.
BATCH_SIZES: dict[Place, int] = {}


# What a dry run takes for an element that it has not computed.
UNKNOWN: ContextVar[int] = ContextVar("UNKNOWN", default=0)


# How much of what a run overwrites in its arguments is remembered, to be put back when the run fails.
LOG_BYTES = 1 << 29


class Barrier(Exception):
    """The running blocks have come to the barrier at which this phase ends."""


class Crossing(Exception):
    """A tile made before a barrier is used after it."""


class Conflict(Exception):
    """Blocks of one batch touch the same memory, so they must run one by one."""


@dataclass
class Replay:
    """A run in another order than the program's, in passes: each runs some launches and goes over the others dry.

    Attributes:
        only: Numbers of the launches that this pass runs; None: all.
        memory: What the kernel allocated, kept from pass to pass; empty before the first.
        backward: Blocks of a `pl.spmd` run one by one from the last to the first.
    """

    only: frozenset[int] | None = None
    memory: dict[int, torch.Tensor] = field(default_factory=dict)
    backward: bool = False


class _Task:
    """What the running chunk has done so far; becomes a `Chunk`."""

    __slots__ = (
        "shapes", "varying", "offsets", "arguments", "seen", "memory", "total", "start", "views", "largest",
        "cube_flops", "vector_elements", "vector_ops", "cube_ops", "loads", "stores", "read_bytes", "write_bytes",
        "moved", "steps", "loops",
    )  # fmt: skip

    def __init__(self, clock: int) -> None:
        self.start = clock
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
        self.loads = self.stores = self.read_bytes = self.write_bytes = 0
        self.moved: list[tuple] = []  # of each access: on-chip buffer, pl.pipeline around, vector lanes
        self.steps: dict[tuple, int] = {}
        self.loops: dict[Place, list[int]] = {}  # [times entered, turns] of each pl.pipeline

    def forget_work(self) -> None:
        """Start counting: what was done so far was counted in the phase that did it."""
        self.shapes, self.offsets, self.varying, self.moved, self.steps = [], [], {}, [], {}
        self.cube_flops = self.vector_elements = self.vector_ops = self.cube_ops = 0
        self.loads = self.stores = self.read_bytes = self.write_bytes = 0

    def work(self, row: int = 0) -> Work:
        """What was done; `row` picks the block where the bytes moved differ."""
        moved = (int(n[row]) if isinstance(n, np.ndarray) else n for n in (self.read_bytes, self.write_bytes))
        return Work(
            self.cube_flops, self.vector_elements, self.vector_ops, self.cube_ops, self.loads, self.stores, *moved
        )


class _Batch:
    """Blocks of a `pl.spmd`, or turns of a `pl.parallel`, that execute together, and how to take it back."""

    __slots__ = ("ids", "undo", "shapes", "offsets", "groups")

    def __init__(self, ids: np.ndarray):
        self.ids = ids
        self.undo: list[tuple] = []  # (where, what was there), in order of writing
        self.shapes: list[int] = []
        self.offsets: list = []
        self.groups: list[list[Dispatch]] = []  # of a pl.parallel: for each launch of its body, one dispatch a turn

    def take_back(self) -> None:
        """Restore everything that was overwritten."""
        restore([(where, old) for where, old, _ in self.undo])


class _Split:
    """A batch whose blocks diverged and run in groups: what the groups did, until all of them are done."""

    __slots__ = ("ids", "left", "done", "mark")

    def __init__(self, ids: np.ndarray, mark: tuple[int, int, int]):
        self.ids, self.left, self.mark = ids, len(ids), mark
        self.done: list[_Batch] = []


class Machine:
    """One run on one modelled chip.

    `dry` runs control flow only and leaves every tensor as it was. `fit` makes a task whose tiles exceed an on-chip
    buffer an error, as it is for PyPTO's compiler. `fill` is what memory holds that nothing was written to, and what
    the lanes of a tile hold that are not valid; None: poison, and zero. `replay`: in which order tasks run.
    """

    def __init__(
        self, platform: str, chip: Chip, dry: bool = False, fit: bool = True, fill: float | None = None,
        replay: Replay | None = None,
    ):  # fmt: skip
        self.chip, self.dry, self.fit = chip, dry, fit
        self.fill, self.replay = fill, replay
        self._dry = dry  # what `dry` is when no phase is being gone through again
        self.trace = Trace(platform)
        self.task: _Task | None = None
        self.batch: _Batch | None = None
        self.block: int | Lanes = 0
        self.block_num = 1
        self.clock = 0
        self.stages = 1  # product of the stage= of the pl.pipeline loops around
        self.dims: dict[str, int] = {}  # pl.dynamic name -> extent
        self._called: dict[Callable, list] = {}  # inline function -> shapes of its tensors
        self._scopes: list[bool] = [False]  # manual?
        self._scope_count = 0
        self.inside: tuple[Place | None, int] = (None, 1)  # the pl.pipeline around; 2 in a pl.split_aiv
        self.lane: tuple[str, int] = ("NONE", 0)  # the pl.split_aiv around: its mode, and the lane that runs
        self.halves: dict[Place, deque[Tile]] = defaultdict(deque)  # what lane 0 of a split gave to pl.aic_gather
        self.phase = self.barriers = 0  # of a pl.spmd with barriers: which phase runs, how many were passed
        self.quiet = False  # before the phase that runs: nothing is stored or recorded
        self._known_peaks: dict[tuple, tuple[dict[str, int], frozenset[Place]]] = {}
        self._log_entries: list[tuple] = []  # what the arguments held where they were overwritten
        self._log_bytes = 0
        self._sizes: dict[Place, int] = {} if dry else BATCH_SIZES
        self._widest = 1  # blocks or turns of the largest batch made inside the loop that runs
        self._largest = 1  # elements of the largest tile since a pl.parallel began
        self._sequential = 0  # pl.range and while loops of orchestration around
        self._written: list[set[int]] = [set()]  # buffers written so far by each loop body around, and before it
        self._first: set[int] = set()  # those that the latest launch was the first to write
        self._tell = watcher.get()

    # ---- global memory ---------------------------------------------------------------------------------

    def bind(self, name: str, data: torch.Tensor, dtype: DType) -> Tensor:
        """The window on a caller's contiguous tensor."""
        base = None if data.device.type == "meta" else data
        buffer = Buffer(len(self.trace.buffers), name, base, data.numel(), dtype, True, data.storage_offset())
        self.trace.buffers.append(buffer)
        shape = buffer.shape = tuple(data.shape)
        return Tensor(buffer, 0, shape, dense_strides(shape), dtype)

    def bind_dynamic(self, at: Place, t: Tensor, axis: int, name: str) -> None:
        """`t.bind_dynamic(axis, M)`: the dynamic dimension M is the extent of that axis, unless an argument says it."""
        self.dims.setdefault(name, t.shape[axis])

    def allocate(
        self, name: str, shape: tuple[int, ...], dtype: DType, init: float | None = None, at: Place | None = None
    ) -> Tensor:
        """New global memory. It is filled with poison (NaN, or the type's smallest integer) unless `init` is given.

        Turns that run as a batch each get a part of one buffer.
        """
        part, turns = int(np.prod(shape, dtype=np.int64)), 1 if self.batch is None else len(self.batch.ids)
        n, base = part * turns, None
        number = len(self.trace.buffers)
        if self.replay is not None and number in self.replay.memory:
            base = self.replay.memory[number]
        elif not self.dry or self.replay is not None:
            base = torch.full((n,), self.unwritten(dtype) if init is None else init, dtype=dtype.torch)
            if self.replay is not None:
                self.replay.memory[number] = base
        buffer = Buffer(number, name, base, n, dtype, False, place=at, parts=turns)
        buffer.initialised, buffer.shape = init is not None, shape if turns == 1 else (turns, *shape)
        self.trace.buffers.append(buffer)
        offset = 0 if self.batch is None else np.arange(turns, dtype=np.int64) * part
        return Tensor(buffer, offset, shape, dense_strides(shape), dtype)

    def unwritten(self, dtype: DType) -> float:
        """What memory of this type holds that nothing was written to."""
        return poison(dtype) if self.fill is None else self.fill

    def undefined(self, at: Place) -> float:
        """What lanes hold that are not valid, for an operation that uses them; noted in the trace."""
        self.trace.note("undefined lanes", at, "lanes that are not valid are used")
        return self.fill or 0

    def window(
        self,
        at: Place,
        t: Tensor,
        offsets: Sequence,
        sizes: Sequence,
        valid: Sequence | None = None,
        what: str = "slice",
    ) -> Tensor:
        """The part of `t` at `offsets` of `sizes`; only its `valid` part must lie inside `t`.

        Raises:
            FaultError: the window reaches outside the tensor, or is empty.
        """
        if len(offsets) != len(t.shape) or len(sizes) != len(t.shape):
            what = f"{what} of a rank {len(t.shape)} tensor with {len(sizes)} sizes, {len(offsets)} offsets"
            raise self.fault(at, what)
        if type(sizes) is not tuple:
            sizes = tuple(int(one(n)) for n in sizes)
        valid = narrowed(sizes, t, offsets, valid)
        if valid is not None:
            self._check_valid(at, t, sizes, valid)
        position = t.offset
        for off, reach, extent, stride in zip(offsets, sizes if valid is None else valid, t.shape, t.strides):
            if type(off) is Lanes or type(reach) is Lanes:
                off, reach = _lane(off), _lane(reach)
                if np.any((off < 0) | (off + reach > extent)):
                    raise Conflict  # one by one, the first block that reaches outside says so
            elif off < 0 or off + reach > extent:
                raise self._outside(at, t, offsets, sizes, valid, what)
            position = position + off * stride
        root = None if self.task is None else t.root or t
        return Tensor(t.buffer, position, sizes, t.strides, t.dtype, valid, root)

    def _check_valid(self, at: Place, t: Tensor, sizes: tuple, valid: tuple) -> None:
        """A negative valid extent is a fault; one larger than the window is noted.

        Raises:
            FaultError: an extent is negative, in the only block that runs.
        """
        for axis, (v, n) in enumerate(zip(valid, sizes)):
            low, high = (int(v.values.min()), int(v.values.max())) if type(v) is Lanes else (v, v)
            if 0 <= low and high <= n:
                continue
            where = f"of axis {axis} of a window {list(sizes)} of {called(t.buffer)}"
            if low < 0:
                if type(v) is Lanes:
                    raise Conflict  # one by one, the first block where it is so says so
                fix = "clamp it: pl.max(0, pl.min(rows, n))"
                raise self.fault(at, f"valid extent {low} {where}", fix, kind="valid extent")
            self.trace.note("valid extent", at, f"valid extent {high} {where}")

    def _outside(
        self, at: Place, t: Tensor, offsets: Sequence, sizes: tuple, valid: tuple | None, what: str
    ) -> FaultError:
        axis = 0
        for axis, (off, reach, extent) in enumerate(zip(offsets, valid or sizes, t.shape)):  # noqa: B007
            if type(off) is not Lanes and (off < 0 or off + reach > extent):
                break
        return self.fault(
            at,
            f"{what} outside {called(t.buffer)}: axis {axis} from {off} to {off + reach} of extent {extent}"
            f" (tensor {list(t.shape)}, offsets {[_plain(o) for o in offsets]}, sizes {list(sizes)})",
            "keep offset + size within the extent, or pass valid_shape= for a partial block",
            kind="out of bounds",
        )

    def view(self, w: Tensor) -> torch.Tensor:
        """The torch view (or, where blocks point to irregular places, the gathered copy) of a window."""
        buffer = w.buffer
        if type(w.offset) is not np.ndarray:
            return torch.as_strided(buffer.base, w.shape, w.strides, buffer.origin + int(w.offset))
        offsets = w.offset
        step = affine_step(offsets)
        if step is not None:
            return torch.as_strided(
                buffer.base, (len(offsets), *w.shape), (step, *w.strides), buffer.origin + int(offsets[0])
            )
        rows = row_index(w)
        if rows is not None:
            table, index = rows
            return table(buffer).index_select(0, index).view(len(offsets), *w.shape)
        return torch.stack([torch.as_strided(buffer.base, w.shape, w.strides, buffer.origin + int(o)) for o in offsets])

    def load(self, at: Place, w: Tensor, space: str = "") -> Tile:
        """Read a window into a tile. The tile shares the window's memory until something overwrites it."""
        task = self.task
        if task is None:
            raise self.fault(
                at, "a tile is loaded outside an InCore region", "put the operation into `with pl.at(...)`"
            )
        self._agreed(w)
        self.record(at, READ, w)
        moved = task.moved
        task.loads += 1
        task.read_bytes += _moved(w)
        data = None
        if not self.dry:
            # what is not valid may lie outside the buffer
            part = w if w.valid is None else Tensor(w.buffer, w.offset, w.valid, w.strides, w.dtype)
            data = self.view(part)
        tile = self.tile(at, data, w.shape, w.dtype, w.valid, space, loaded=True)
        if not self.quiet:
            moved[-1] = (tile.memory, *self.inside)
        if data is not None:
            self.share(tile, w.buffer)
        return tile

    def _agreed(self, w: Tensor) -> None:
        """`Diverged` where data of a different extent is to be moved in each block: a tile has one extent for all."""
        if not self._dry and w.valid is not None and any(type(v) is Lanes for v in w.valid):
            raise Diverged(self._extents(w.valid))

    def _extents(self, valid: Sequence) -> np.ndarray:
        """A valid shape of a batch, a row each."""
        return np.stack([np.broadcast_to(_lane(v), len(self.batch.ids)) for v in valid], 1)

    def share(self, tile: Tile, buffer: Buffer) -> None:
        """Remember that `tile` is a view of `buffer`, to be copied before a store changes it."""
        tile.origin = buffer
        self.task.views.setdefault(buffer.id, []).append(weakref.ref(tile))

    def share_product(self, product: Product, a: Tile, b: Tile) -> None:
        """Remember that a product reads its operands' global memory, to be worked out before a store changes it."""
        for buffer in {a.origin.id, b.origin.id}:
            self.task.views.setdefault(buffer, []).append(weakref.ref(product))

    def store(self, at: Place, w: Tensor, tile: Tile, atomic: bool = False) -> None:
        """Write the valid part of `tile` to window `w` (of the tile's shape)."""
        task = self.task
        if task is None:
            raise self.fault(
                at, "a tile is stored outside an InCore region", "put the operation into `with pl.at(...)`"
            )
        self._agreed(w)
        self.touch(tile)
        self.record(at, ATOMIC if atomic else WRITE, w)
        if not self.quiet:
            task.moved[-1] = (tile.memory, *self.inside)
        task.stores += 1
        task.write_bytes += _moved(w)
        if self.dry or self.quiet:
            return
        for ref in task.views.pop(w.buffer.id, ()):
            shared = ref()
            if shared is not None:
                shared.detach()
        data = tile.data
        if w.valid is not None:
            w = Tensor(w.buffer, w.offset, tuple(w.valid), w.strides, w.dtype)
        self._write(w, data, atomic)

    def _write(self, w: Tensor, data: torch.Tensor, atomic: bool) -> None:
        buffer, undo = w.buffer, self.batch and self.batch.undo
        if type(w.offset) is not np.ndarray:
            if data.dim() > len(w.shape) or (undo is not None and atomic):
                raise Conflict  # every block of the batch writes here
            dst = torch.as_strided(buffer.base, w.shape, w.strides, buffer.origin + int(w.offset))
            if undo is not None:
                undo.append((dst, dst.clone(), buffer.argument))
            elif buffer.argument:
                self._log(dst, dst.clone())
            dst.add_(data) if atomic else dst.copy_(data)
            return
        if atomic or not disjoint(w.offset, w):
            raise Conflict
        step = affine_step(w.offset)
        if step is not None:
            shape, strides = (len(w.offset), *w.shape), (step, *w.strides)
            dst = torch.as_strided(buffer.base, shape, strides, buffer.origin + int(w.offset[0]))
            undo.append((dst, dst.clone(), buffer.argument))
            dst.copy_(data)
            return
        rows = row_index(w)
        if rows is not None:
            table, index = rows[0](buffer), rows[1]
            undo.append(((table, index), table.index_select(0, index), buffer.argument))
            wanted = (len(w.offset), *w.shape)
            table.index_copy_(0, index, data.expand(wanted).reshape(len(index), -1))
            return
        for i, o in enumerate(w.offset):
            dst = torch.as_strided(buffer.base, w.shape, w.strides, buffer.origin + int(o))
            undo.append((dst, dst.clone(), buffer.argument))
            dst.copy_(data[i] if data.dim() > len(w.shape) else data)

    def by_host(self, at: Place, mode: int, w: Tensor) -> None:
        """Note an access that orchestration makes itself, without a task."""
        access = self.trace.shapes[self.trace.shape_id(w.buffer, mode, w.shape, w.strides, at)]
        for offset in np.unique(w.offset):
            self.trace.host.append((len(self.trace.dispatches), access, int(offset)))

    def overwrite(self, at: Place, w: Tensor, value: Any) -> None:
        """Orchestration writes a window itself, without a task."""
        if self.batch is not None:
            raise Conflict
        self.by_host(at, WRITE, w)
        view = self.view(w)
        if w.buffer.argument:
            self._log(view, view.clone())
        view.copy_(value) if isinstance(value, torch.Tensor) else view.fill_(value)

    def _log(self, where: Any, old: torch.Tensor) -> None:
        """Remember what an argument held, so that a run that fails can leave it as it was."""
        if self._log_bytes <= LOG_BYTES:
            self._log_entries.append((where, old))
            self._log_bytes += old.numel() * old.element_size()

    def take_back(self) -> bool:
        """After a fault: put the arguments back to what they were. False when too much was written to remember."""
        if self._log_bytes > LOG_BYTES:
            return False
        restore(self._log_entries)
        return True

    def record(self, at: Place, mode: int, w: Tensor) -> None:
        """Note an access to global memory in the trace."""
        if self.quiet:
            return
        valid = w.valid
        task = self.task
        root = w.root or w
        task.offsets.append(w.offset)
        task.moved.append((None, *self.inside))
        if valid is not None and any(type(v) is Lanes for v in valid):
            self._use(root, IN if mode == READ else INOUT if mode == ATOMIC else OUT)
            rows = self._extents(valid)
            task.shapes.append(self.trace.shape_id(w.buffer, mode, tuple(rows.max(0).tolist()), w.strides, at))
            different, which = np.unique(rows, axis=0, return_inverse=True)
            ids = [self.trace.shape_id(w.buffer, mode, tuple(r), w.strides, at) for r in different.tolist()]
            task.varying[len(task.shapes) - 1] = np.array(ids, np.int32)[which.reshape(-1)]
            return
        key = (id(at), mode, w.buffer.id, w.shape if valid is None else valid, id(root))
        known = task.seen.get(key)
        if known is not None:
            task.shapes.append(known[0])
            return
        self._use(root, IN if mode == READ else INOUT if mode == ATOMIC else OUT)
        shape = w.shape if valid is None else tuple(valid)
        number = self.trace.shape_id(w.buffer, mode, shape, w.strides, at)
        task.seen[key] = number, root
        task.shapes.append(number)

    def _use(self, root: Tensor, bits: int) -> None:
        """Note what the task does with a tensor of orchestration."""
        where = root.offset if type(root.offset) is not np.ndarray else id(root.offset)
        known = self.task.arguments.setdefault((root.buffer.id, where, root.shape), [root, 0])
        known[1] |= bits

    # ---- on chip ---------------------------------------------------------------------------------------

    def tile(
        self, at: Place, data: torch.Tensor | None, shape: tuple[int, ...], dtype: DType, valid: tuple | None = None,
        space: str = "UB", loaded: bool = False,
    ) -> Tile:  # fmt: skip
        """A new on-chip value; `space` "" leaves the buffer to the first operation that uses it. What is `loaded`
        shares global memory."""
        task = self.task
        n = _elements(shape)
        if not loaded:
            self.hold(n)
        self.clock += 1
        size = n * dtype.bits + 7 >> 3
        task.total += size
        memory = Memory(space, size, self.clock, at, self.stages if space == "" else 1)
        task.memory.append(memory)
        return Tile(data, shape, dtype, valid, memory)

    def hold(self, elements: int) -> None:
        """A block holds a value of that many elements: the largest decides how many blocks make a batch."""
        if elements > self._largest:
            self._largest = elements
        if self.task is not None and elements > self.task.largest:
            self.task.largest = elements

    def step(self, engine: str, kind: str, dtype: DType, size: tuple) -> None:
        """Note something that takes time, see `trace.Step`."""
        key = (engine, kind, dtype.name, size, *self.inside)
        steps = self.task.steps
        steps[key] = steps.get(key, 0) + 1

    def scratch(self, at: Place, like: Tile, space: str = "UB") -> None:
        """An operation takes a temporary buffer of the size of `like` while it runs."""
        memory = Memory(space, _elements(like.shape) * like.dtype.bits + 7 >> 3, self.clock, at, 1)
        self.task.total += memory.bytes
        self.task.memory.append(memory)

    def alias(self, tile: Tile, data: torch.Tensor | None, shape: tuple, dtype: DType, valid: tuple | None) -> Tile:
        """Another view of the same on-chip buffer (reshape, slice, set_validshape)."""
        self.touch(tile)
        out = Tile(data, shape, dtype, valid, tile.memory)
        if tile.origin is not None:
            self.share(out, tile.origin)
        return out

    def touch(self, tile: Tile, space: str = "") -> None:
        """`tile` is used now, from buffer `space` if it has none yet."""
        self.clock += 1
        memory = tile.memory
        memory.last = self.clock
        if not memory.space:
            memory.space = space or "UB"

    # ---- tasks -----------------------------------------------------------------------------------------

    def dispatch(self, at: Place, name: str, kind: str, blocks: int, deps: Any = (), early: bool = False,
                 no_dep: frozenset[int] = frozenset(), sync_start: bool = False,
                 split: str = "NONE") -> list[Dispatch]:  # fmt: skip
        """Begin a launch; its chunks follow. Inside a batch of `pl.parallel` turns it is one launch a turn."""
        waits = flatten_deps(deps)
        self._first = set()
        if self.batch is not None and waits:
            raise Conflict  # which turn waits for which is told apart only one by one
        made = [
            Dispatch(
                -1, name, at, kind, blocks, self._scopes[-1], self._scope_count, waits, no_dep, early,
                sequential=self._sequential > 0, sync_start=sync_start, split=split,
            )
            for _ in range(1 if self.batch is None else len(self.batch.ids))
        ]  # fmt: skip
        if self.batch is None:
            self._commit(made)
        else:
            self.batch.groups.append(made)
        if self.replay is not None and self.replay.only is not None:
            self.dry = self._dry = made[0].index not in self.replay.only
        return made

    def _commit(self, dispatches: list[Dispatch]) -> None:
        for d in dispatches:
            d.index = len(self.trace.dispatches)
            self.trace.dispatches.append(d)

    @contextmanager
    def running(self, launched: list[Dispatch], blocks: np.ndarray) -> Iterator[None]:
        """Execute a chunk: blocks of one dispatch, or one block of several. On an exception it leaves no mark."""
        first = launched[0]
        if self.task is not None:
            raise self.fault(first.place, "a task is launched inside an InCore region", "launch it from orchestration")
        if self._tell is not None:
            self._tell(len(blocks))
        task = self.task = _Task(self.clock)
        self._launched = launched
        try:
            yield
            if self.fit:
                self._check_fit(first, self._peaks(first.place, task)[0])
            arguments = [
                (Argument(t.buffer.id, 0, t.shape, t.strides), t.offset, b) for t, b in task.arguments.values()
            ]
            if self.batch is not None:
                self.batch.shapes += task.shapes
                self.batch.offsets += task.offsets
                if not self.batch.groups:  # blocks of one pl.spmd
                    self._check_conflicts()
            rewritten = self._note_writes([a.buffer for a, _, bits in arguments if bits & OUT])
            for d in launched if rewritten else ():
                d.rewritten |= rewritten
            for rows, chunk in self._chunks(task, blocks, arguments):
                if len(launched) == 1:
                    first.parts.append(Part(chunk, None))
                    continue
                for row, d in enumerate(launched if rows is None else (launched[r] for r in rows)):
                    d.parts.append(Part(chunk, row))
            site = (first.name, first.place)
            if len(task.memory) > len(self.trace.memory.get(site, ())):
                self.trace.memory[site] = task.memory
        finally:
            self.task = None

    def _note_writes(self, buffers: list[int]) -> frozenset[int]:
        """Remember that these buffers are written; returns those that an earlier launch of the scope had written."""
        again = []
        for b in buffers:
            if b in self._first:
                continue
            if any(b in body for body in self._written):
                again.append(b)
            else:
                self._first.add(b)
                self._written[-1].add(b)
        return frozenset(again)

    @contextmanager
    def batched(self, ids: np.ndarray) -> Iterator[None]:
        """Run several blocks or turns as one; whatever goes wrong, what they wrote is taken back."""
        self.batch = self._latest = _Batch(ids)
        buffers = len(self.trace.buffers)
        try:
            yield
            for where, old, argument in self.batch.undo:
                if argument:
                    self._log(where, old)
        except BaseException:
            self.batch.take_back()
            del self.trace.buffers[buffers:]
            raise
        finally:
            self.batch = None

    def _chunks(self, task: _Task, blocks: np.ndarray, arguments: list) -> list[tuple[np.ndarray | None, Chunk]]:
        """The chunk that a task becomes, or one for each group of rows that made the same accesses: (rows, chunk)."""
        top, cramped = self._peaks(self._launched[0].place, task)
        loops = tuple((place, *counts) for place, counts in task.loops.items())
        shapes = np.asarray(task.shapes, np.int32)
        if not task.varying:
            steps = self._steps(task, task.shapes, cramped)
            offsets = task.offsets
            return [(None, Chunk(blocks, shapes, offsets, arguments, task.work(), top, self.phase, steps, loops))]
        numbers = list(task.varying)
        table = np.stack([task.varying[n] for n in numbers], 1)
        out = []
        for rows in split_by(np.arange(len(blocks)), table):
            part = shapes.copy()
            part[numbers] = table[rows[0]]
            offsets = [o[rows] if isinstance(o, np.ndarray) else o for o in task.offsets]
            uses = [(a, o[rows] if isinstance(o, np.ndarray) else o, bits) for a, o, bits in arguments]
            work, steps = task.work(int(rows[0])), self._steps(task, part.tolist(), cramped)
            out.append((rows, Chunk(blocks[rows], part, offsets, uses, work, top, self.phase, steps, loops)))
        return out

    def _steps(self, task: _Task, shapes: Sequence[int], cramped: frozenset[Place]) -> tuple:
        """What took a task that made these accesses its time. A load that has no room to run ahead counts as outside
        of its pl.pipeline."""
        steps = dict(task.steps)
        for s, (memory, loop, lanes) in zip(shapes, task.moved):
            rows, nbytes = self.trace.rows(s)
            access = self.trace.shapes[s]
            dtype = self.trace.buffers[access.buffer].dtype.name
            kind = "scalar" if memory is None and access.elements == 1 else "UB" if memory is None else memory.space
            if memory is not None and memory.place in cramped:
                loop = None
            key = ("load" if access.mode == READ else "store", kind or "UB", dtype, (rows, nbytes), loop, lanes)
            steps[key] = steps.get(key, 0) + 1
        return tuple((self.trace.step(key), n) for key, n in steps.items())

    def _peaks(self, place: Place, task: _Task) -> tuple[dict[str, int], frozenset[Place]]:
        """Peaks of the task's memory, and where loads of a pl.pipeline have one buffer only.

        Worked out once for all tasks of a place that made the same steps.
        """
        key = (id(place), len(task.memory), task.total, self.clock - task.start)
        known = self._known_peaks.get(key)
        if known is None:
            staged = [m for m in task.memory if m.copies > 1]
            top = peaks(task.memory, self.chip.buffers if self.fit else None)
            known = self._known_peaks[key] = (top, frozenset(m.place for m in staged if m.copies == 1))
        return known

    def _check_fit(self, d: Dispatch, top: dict[str, int]) -> None:
        for space, n in top.items():
            limit = self.chip.buffers[space]
            if n > limit:
                largest = sorted((m for m in self.task.memory if m.space == space), key=lambda m: -m.bytes)[:4]
                tiles = ", ".join(f"{m.bytes * m.copies:,} B of line {m.place.line}" for m in largest)
                raise self.fault(
                    d.place, f"task '{d.name}' needs {n:,} bytes of {space} at once; {self.chip.title} has {limit:,} "
                    f"(largest: {tiles})", "use smaller tiles, or fewer pipeline stages", kind="on-chip overflow",
                )  # fmt: skip

    def _check_conflicts(self) -> None:
        """Raise Conflict when two blocks of the batch touch the same memory and one of them writes."""
        batch, shapes = self.batch, self.trace.shapes
        written = {shapes[s].buffer for s in batch.shapes if shapes[s].mode != READ}
        for b in written:
            entries = [(shapes[s], o) for s, o in zip(batch.shapes, batch.offsets) if shapes[s].buffer == b]
            if not separate(entries, len(batch.ids)):
                raise Conflict

    @contextmanager
    def at(
        self, place: Place, name: str, deps: Any = (), early: bool = False, no_dep_args: Any = (), split: str = "NONE"
    ) -> Iterator[TaskId]:
        """`with pl.at(level=pl.Level.CORE_GROUP, ...) as tid:`"""
        no_dep = frozenset(t.buffer.id for t in no_dep_args)
        launched = self.dispatch(place, name, "at", 1, deps, early, no_dep, split=split)
        self.block, self.block_num = 0, 1
        with self.running(launched, np.zeros(len(launched), np.int64)):
            yield TaskId((launched[0].index,))

    def incore(self, place: Place, name: str, body: Callable, args: tuple) -> Any:
        """Call of a `@pl.jit.incore` function: one task."""
        launched = self.dispatch(place, name, "incore", 1)
        self.block, self.block_num = 0, 1
        with self.running(launched, np.zeros(len(launched), np.int64)):
            return self._exported(place, body(self, *args))

    def _exported(self, place: Place, result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(self.export(place, r) for r in result)
        return self.export(place, result)

    def spmd(self, place: Place, n: Any, body: Callable, captured: tuple, name: str, deps: Any = (),
             early: bool = False, sync_start: bool = False, predicate: bool = True, split: str = "NONE",
             ) -> tuple[TaskId, tuple]:  # fmt: skip
        """Run `body(machine, block, *captured)` for blocks 0..n-1; returns the task id and the body's last result.

        Raises:
            FaultError: the number of blocks is not a positive integer.
        """
        n = one(n)
        if not isinstance(n, (int, np.integer)) or n < 1:
            raise self.fault(place, f"pl.spmd over {n} blocks", "give a positive number of blocks")
        if self.batch is not None:
            raise Conflict  # turns of a pl.parallel that launch many blocks each run one by one
        launched = self.dispatch(place, name, "spmd", int(n), deps, early, sync_start=bool(sync_start), split=split)
        tid = TaskId((launched[0].index,))
        if not predicate:
            launched[0].skipped = True
            return tid, captured
        self.block_num = int(n)
        self.phase = 0
        while True:
            stopped, out = self._phase(place, launched, body, captured, int(n))
            if not stopped:
                break
            self.phase += 1
        self.phase, self.block, self.block_num = 0, 0, 1
        return tid, tuple(None if isinstance(v, Tile) else v for v in out)  # a tile ends with its block

    def _phase(
        self, place: Place, launched: list[Dispatch], body: Callable, captured: tuple, n: int
    ) -> tuple[bool, tuple]:
        """Run all blocks from the last barrier to the next; returns whether they stopped at one, and the body's result.

        What a block did before is gone through again without effect, for its scalars. Where a tile lives across the
        barrier, that part is computed again.
        """
        dry, out, stopped = self.dry, captured, set()

        def run(block: Any) -> bool:
            nonlocal out
            again, last = False, int(block.values[-1] if type(block) is Lanes else block) == n - 1
            while True:
                self.barriers = 0
                self.quiet = self.phase > 0
                self.dry = dry or (self.quiet and not again)
                try:
                    found = body(self, block, *captured)
                    if last:
                        out = tuple(_of_block(v, -1) for v in found)
                    return False
                except Barrier:
                    return True
                except Crossing:
                    if again:
                        raise
                    again = True
                finally:
                    self.dry, self.quiet = dry, False

        def together(ids: np.ndarray) -> None:
            self.block = Lanes(ids)
            with self.batched(ids), self.running(launched, ids):
                found = run(self.block)
            stopped.add(found)

        def alone(i: int) -> int:
            self.block = i
            with self.running(launched, np.array([i])):
                stopped.add(run(i))
                return self.task.largest

        self._in_batches(place, np.arange(n), together, alone)
        if len(stopped) > 1:
            raise self.fault(
                place, "some blocks come to a pl.system.syncall that others do not: it never completes",
                "let every block pass the same barriers", kind="syncall",
            )  # fmt: skip
        return stopped.pop(), out

    def barrier(self, at: Place, core_type: str = "mix", mode: str = "hard") -> None:
        """`pl.system.syncall`: every block waits here for all the others."""
        if self.task is None:
            raise self.fault(at, "pl.system.syncall outside an InCore region")
        here = Syncall(at, core_type, mode)
        for d in self._launched:
            if here not in d.barriers:
                d.barriers = (*d.barriers, here)
        if self.block_num == 1:
            return
        self.barriers += 1
        if self.barriers > self.phase:
            raise Barrier
        if self.barriers == self.phase:
            self.quiet = False
            self.dry = self._dry
            self.task.forget_work()

    def submit(self, place: Place, name: str, body: Callable, args: tuple, deps: Any = (), early: bool = False,
               core_num: int | None = None, predicate: bool = True) -> tuple:  # fmt: skip
        """`pl.submit` and `pl.spmd_submit`: (what the kernel returns, its task id)."""
        if core_num is None:
            launched = self.dispatch(place, name, "incore", 1, deps, early)
            if not predicate:
                launched[0].skipped = True
                return None, TaskId((launched[0].index,))
            self.block, self.block_num = 0, 1
            with self.running(launched, np.zeros(len(launched), np.int64)):
                result = self._exported(place, body(self, *args))
            return result, TaskId((launched[0].index,))
        results: list = []

        def blocks(m: Machine, _: Any) -> tuple:
            results[:] = [body(m, *args)]
            return ()

        tid, _ = self.spmd(place, core_num, blocks, (), name, deps, early, predicate=predicate)
        return (results[0] if results else None), tid

    def split_aiv(self, mode: str) -> Iterator[int]:
        """`pl.split_aiv(2, mode=...)`: the two vector lanes of a cluster, one after the other."""
        around = self.lane, self.inside
        self.halves.clear()
        try:
            for lane in (0, 1):
                self.lane, self.inside = (mode, lane), (self.inside[0], 2)
                yield lane
        finally:
            self.lane, self.inside = around

    def turns(self, place: Place, bounds: tuple, body: Callable, captured: tuple, sequential: bool) -> tuple:
        """A loop of orchestration: `body(machine, i, *captured)` for every i; returns what `captured` hold at its end.

        The turns of a `pl.parallel` are independent by the language's definition, so they run in batches like the
        blocks of a `pl.spmd`; a turn that hands a value on to the next, or touches what another writes, shows that it
        is not, and then the turns run one by one. Those of a `pl.range` run one by one, but for a dry run, where
        nothing is computed that could be handed on. The trace lists the launches turn by turn either way.
        """
        ids = np.arange(*(int(one(b)) for b in bounds))
        before, after = self._written[-1], set()
        start, turns = len(self.trace.dispatches), {}  # id of a launch -> the turn that made it

        def turn(i: Any) -> tuple:
            self._written.append(set())
            try:
                return body(self, i, *captured)
            finally:
                after.update(self._written.pop())

        def together(ids: np.ndarray) -> None:
            with self.batched(ids):
                out = turn(Lanes(ids))
                if not all(_same(a, b) for a, b in zip(captured, out)):
                    raise Conflict
                if not self.dry:
                    self._check_conflicts()
                groups = self.batch.groups
            for row, i in enumerate(ids):
                made = [group[row] for group in groups]
                self._commit(made)
                turns.update((id(d), i) for d in made)

        def alone(i: int) -> int:
            nonlocal captured
            first = len(self.trace.dispatches)
            captured = turn(i)
            turns.update((id(d), i) for d in self.trace.dispatches[first:])
            return self._largest

        self._sequential += sequential
        try:
            if self.batch is not None or self.replay is not None or (sequential and not self.dry):
                for i in ids:
                    captured = turn(int(i))
            else:
                self._largest = 1
                self._in_batches(place, ids, together, alone)
                self._in_order(start, [turns[id(d)] for d in self.trace.dispatches[start:]])
        finally:  # also when a batch around this loop is given up
            self._sequential -= sequential
        before |= after
        return captured

    def _in_order(self, start: int, turns: list[int]) -> None:
        """List the launches from number `start` on by turn: turns that diverged ran in another order."""
        if turns == sorted(turns):
            return
        launches = self.trace.dispatches[start:]
        order = sorted(range(len(launches)), key=lambda i: turns[i])
        number = {launches[i].index: start + n for n, i in enumerate(order)}
        for n, i in enumerate(order):
            d = self.trace.dispatches[start + n] = launches[i]
            d.index = start + n
            d.deps = tuple(number.get(k, k) for k in d.deps)

    def _in_batches(self, place: Place, ids: np.ndarray, together: Callable, alone: Callable) -> None:
        """Run `ids` in batches whose tiles fit the cache.

        Where the size is not known yet the first runs alone. A loop around one that makes larger batches runs turn by
        turn, so that the inner one can. Where blocks diverge they run in groups, which is another order: when the
        groups turn out to touch each other's memory, all of them are taken back and run one by one.
        """
        count = len(ids)
        if self.replay is not None and self.replay.backward:
            for i in ids[::-1]:
                alone(int(i))
            return
        todo: list[tuple[np.ndarray, _Split | None]] = [(ids, None)]
        if place not in self._sizes:
            todo = [(ids[:1], None), (ids[1:], None)]
        while todo:
            ids, split = todo.pop(0)
            size = self._sizes.get(place, 1)
            if self.dry and size > 1:
                size = count
            if len(ids) > size:
                todo.insert(0, (ids[size:], split))
                ids = ids[:size]
            if not len(ids):
                continue
            if len(ids) == 1 and split is None:
                around, self._widest = self._widest, 1
                largest = alone(int(ids[0]))
                if place not in self._sizes:
                    size = BATCH_ELEMENTS // largest
                    self._sizes[place] = size if size >= FEW and self._widest <= count else 1
                self._widest = max(around, self._widest)
                continue
            try:
                together(ids)
                self._widest = max(self._widest, len(ids))
                if split is not None:
                    split.done.append(self._latest)
                    split.left -= len(ids)
                    if not split.left and not self.dry and not self._unrelated(split.done):
                        raise Conflict
            except Diverged as e:
                split = split or _Split(ids, self._mark())
                todo[:0] = [(group, split) for group in split_by(ids, e.values)]
            except (Conflict, FaultError):
                if self.dry:
                    self._sizes[place] = 1
                if split is not None:
                    self._take_back(split)
                    ids, todo = split.ids, [t for t in todo if t[1] is not split]
                todo[:0] = [(ids[i : i + 1], None) for i in range(len(ids))]

    def _unrelated(self, batches: list[_Batch]) -> bool:
        """True when no batch touches what another one writes."""
        shapes = self.trace.shapes
        written = {shapes[s].buffer for b in batches for s in b.shapes if shapes[s].mode != READ}
        groups = [[(s, o) for s, o in zip(b.shapes, b.offsets) if shapes[s].buffer in written] for b in batches]
        return unrelated(groups, shapes)

    def _mark(self) -> tuple[int, int, int]:
        """Where the trace ends now."""
        launches = self.trace.dispatches
        return len(self.trace.buffers), len(launches), len(launches[-1].parts) if launches else 0

    def _take_back(self, split: _Split) -> None:
        """Undo every group of a split: in memory and in the trace."""
        for batch in reversed(split.done):
            batch.take_back()
        buffers, launches, parts = split.mark
        del self.trace.buffers[buffers:], self.trace.dispatches[launches:]
        if launches:
            del self.trace.dispatches[-1].parts[parts:]

    def export(self, place: Place, value: Any) -> Any:
        """A value that leaves an InCore region: a tile becomes a new tensor in global memory."""
        if not isinstance(value, Tile):
            return value
        t = self.allocate(f"{place.line}", value.shape, value.dtype, at=place)
        self.store(place, Tensor(t.buffer, t.offset, t.shape, t.strides, t.dtype, value.valid), value)
        t.valid = value.valid
        return t

    def called(self, at: Place, fn: Callable, *tensors: Any) -> Any:
        """An inline function is called with these tensors; returns the first.

        Raises:
            FaultError: it was called with other shapes before: PyPTO compiles it for one.
        """
        shapes = [(t.shape, t.dtype) for t in tensors if isinstance(t, (Tensor, Tile))]
        known = self._called.setdefault(fn, shapes)
        if known != shapes:
            was, now = (", ".join(f"{list(s)} {d}" for s, d in x) for x in (known, shapes))
            raise self.fault(at, f"'{fn.__name__}' is called with ({now}) and was with ({was})", "write one for each")
        return tensors[0]

    @contextmanager
    def scope(self, manual: bool) -> Iterator[None]:
        """`pl.scope` / `pl.manual_scope`."""
        self._scope_count += 1
        self._scopes.append(manual)
        try:
            yield
        finally:
            self._scopes.pop()

    def stride(self, at: Place, value: Any) -> Any:
        """The step of a loop, when it is known only at run time: a positive number."""
        if np.any(_lane(value) <= 0):
            raise self.fault(at, f"a loop whose step is {_plain(value)}", "a positive step; compute the index")
        return value

    def loop(self, *bounds: Any) -> Iterator[int]:
        """A sequential loop of orchestration whose body is no function: it carries values, or is left early."""
        before, after = self._written[-1], set()
        self._sequential += 1
        try:
            for i in range(*(int(one(b)) for b in bounds)):
                self._written.append(set())
                try:
                    yield i
                finally:
                    after |= self._written.pop()
        finally:
            self._sequential -= 1
            before |= after

    def pipeline(self, at: Place, *bounds: Any, stage: int) -> Iterator[int]:
        """`pl.pipeline`: a sequential loop whose loads hold `stage` buffers."""
        around = self.inside
        self.stages *= stage
        if stage > 1:
            self.inside = (at, around[1])
        counts = self.task.loops.setdefault(at, [0, 0])
        counts[0] += 1
        try:
            for i in counted(*bounds):
                counts[1] += 1
                yield i
        finally:
            self.stages //= stage
            self.inside = around

    def fault(self, at: Place, what: str, fix: str | None = None, kind: str = "") -> FaultError:
        """The error for something that went wrong while the kernel ran."""
        where = f" [block {self.block} of {self.block_num}]" if self.task is not None and self.block_num > 1 else ""
        return located(FaultError, at, what + where, fix, kind)


# ---- helpers ---------------------------------------------------------------------------------------------


def called(buffer: Buffer) -> str:
    """How a message names a buffer: its parameter, or the line that allocates it."""
    return f"'{buffer.name}'" if buffer.argument else f"the tensor of line {buffer.name}"


def restore(entries: list[tuple]) -> None:
    """Put back what was overwritten, the latest first."""
    for where, old in reversed(entries):
        if isinstance(where, tuple):
            where[0].index_copy_(0, where[1], old)
        else:
            where.copy_(old)


def poison(dtype: DType) -> float:
    """What never-written memory holds: NaN, or the smallest value of an integer type."""
    if dtype.is_float:
        return float("nan")
    return 1 if dtype.torch is torch.bool else torch.iinfo(dtype.torch).min


def _elements(shape: Sequence) -> int:
    n = 1
    for s in shape:
        n *= int(s.values.max()) if type(s) is Lanes else s
    return n


def _moved(w: Tensor) -> int | np.ndarray:
    """Bytes of the valid part of a window; one number a block where they differ."""
    n: Any = 1
    for s in w.shape if w.valid is None else w.valid:
        n = n * _lane(s)
    return (n * w.dtype.bits + 7) // 8


def _plain(x: Any) -> Any:
    return x.values.tolist() if type(x) is Lanes else x


def _lane(v: Any) -> Any:
    return v.values if type(v) is Lanes else v


def narrowed(sizes: tuple, t: Tensor, offsets: Sequence, valid: Sequence | None) -> tuple | None:
    """The valid shape of a window: what was asked for, cut to what is valid in `t`. None when all is valid."""
    from helpers.interpret.lanes import larger, smaller

    if valid is None and t.valid is None:
        return None
    out = list(sizes) if valid is None else [settled(v) if type(v) is Lanes else int(v) for v in valid]
    if t.valid is not None:
        out = [settled(smaller(v, larger(0, limit - o))) for v, limit, o in zip(out, t.valid, offsets)]
    if all(type(v) is not Lanes and v == s for v, s in zip(out, sizes)):
        return None
    return tuple(out)


def filled(tile: Tile, fill: float) -> torch.Tensor:
    """The data of a tile at its full shape, `fill` outside its valid part."""
    data, shape, valid = tile.data, tile.shape, tile.valid
    if valid is None:
        return data
    rank = len(shape)
    if any(type(v) is Lanes for v in valid):
        mask = inside(tuple(data.shape[-rank:]), valid)
        data = torch.where(mask, data, torch.tensor(fill, dtype=data.dtype))
    if tuple(data.shape[-rank:]) == shape:
        return data
    out = torch.full((*data.shape[:-rank], *shape), fill, dtype=data.dtype)
    out[(..., *(slice(0, n) for n in data.shape[-rank:]))] = data
    return out


def fitted(tile: Tile, extents: tuple[int, ...], fill: Callable[[], float] = float) -> torch.Tensor:
    """The data of a tile cut or, with `fill()`, grown to `extents`; axes of extent 1 stay as they broadcast."""
    rank = len(tile.shape)
    data = tile.data
    have = tuple(data.shape[-rank:])
    wanted = tuple(h if n == 1 else e for h, n, e in zip(have, tile.shape, extents))
    if have == wanted:
        return data
    data = data[(..., *(slice(0, min(h, w)) for h, w in zip(have, wanted)))]
    if any(h < w for h, w in zip(have, wanted)):
        out = torch.full((*data.shape[:-rank], *wanted), fill(), dtype=data.dtype)
        out[(..., *(slice(0, n) for n in data.shape[-rank:]))] = data
        return out
    return data


def inside(shape: tuple, valid: tuple) -> torch.Tensor:
    """Boolean mask of the valid part; with a block axis where an extent differs from block to block."""
    mask = None
    rank = len(shape)
    for axis, (n, v) in enumerate(zip(shape, valid)):
        index = torch.arange(n).view([n if a == axis else 1 for a in range(rank)])
        limit = torch.as_tensor(v.values).view(-1, *[1] * rank) if type(v) is Lanes else v
        part = index < limit
        mask = part if mask is None else mask & part
    return mask


def _same(a: Any, b: Any) -> bool:
    """True when a name holds after a turn of a loop what it held before: the same number, the same window."""
    if a is b:
        return True
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same = a.buffer is b.buffer and a.shape == b.shape and a.strides == b.strides
        return same and type(b.offset) is not np.ndarray and a.offset == b.offset
    return a is None or (isinstance(a, (int, float)) and isinstance(b, (int, float)) and a == b)


def _of_block(value: Any, row: int) -> Any:
    """What a name holds in one block of a batch."""
    if type(value) is Lanes:
        found = value.values[row]
        return found if isinstance(found, np.floating) else found.item()
    if isinstance(value, Tensor) and type(value.offset) is np.ndarray:
        return Tensor(value.buffer, int(value.offset[row]), value.shape, value.strides, value.dtype, value.valid)
    return value


def split_by(ids: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Block ids grouped by equal rows of `values`, groups in order of their first block."""
    _, first, inverse = np.unique(values, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    return [ids[inverse == g] for g in np.argsort(first)]


def flatten_deps(deps: Any) -> tuple[int, ...]:
    """Dispatch numbers named by a deps= list of task ids and arrays of task ids."""
    from helpers.interpret.values import Array

    out: list[int] = []
    for d in deps if isinstance(deps, (list, tuple)) else [deps]:
        if isinstance(d, TaskId):
            out += d.dispatches
        elif isinstance(d, Array):
            out += flatten_deps([i for i in d.items if i is not None])
    return tuple(dict.fromkeys(out))


def carrier(value: torch.Tensor, dtype: DType) -> torch.Tensor:
    """`value` in the torch type that carries `dtype`."""
    return dtypes.wrap(value.to(dtype.torch), dtype)
