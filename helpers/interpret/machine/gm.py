"""Global memory: allocations, windows, loads and stores, and what the trace notes of them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from helpers.errors import FaultError
from helpers.interpret.language.dtypes import FP4, DType, four_bits
from helpers.interpret.machine import cuts
from helpers.interpret.machine.batches import Conflict, Unfollowed
from helpers.interpret.machine.now import MachinePart
from helpers.interpret.source.source import Place
from helpers.interpret.trace.boxes import affine_step, disjoint, row_index, span
from helpers.interpret.trace.trace import ATOMIC, READ, WRITE
from helpers.interpret.values.extents import lane_values, moved_bytes, narrowed, plain, poison, vary
from helpers.interpret.values.kept import Where, get
from helpers.interpret.values.lanes import Diverged, Lanes, one
from helpers.interpret.values.products import Product
from helpers.interpret.values.values import Buffer, Memory, Tensor, Tile, dense_strides, held

if TYPE_CHECKING:
    from helpers.interpret.machine.machine import Machine

_WRITTEN = Memory("", 0, 0, None)  # where a number lies that pl.write moves: on its way it is a tile of one element


class GlobalMemory(MachinePart):
    """Reads and writes global memory."""

    def __init__(self, m: Machine):
        super().__init__(m)
        self.dims: dict[str, int] = {}  # pl.dynamic name -> extent

    def begin(self, dims: dict[str, int]) -> None:
        """A kernel begins, whose arguments have these extents."""
        self.dims = dims

    def bind(self, name: str, data: torch.Tensor, dtype: DType) -> Tensor:
        """The window on a caller's contiguous tensor."""
        base = None if data.device.type == "meta" else data
        buffer = Buffer(len(self.m.trace.buffers), name, base, data.numel(), dtype, True, data.storage_offset())
        self.m.trace.buffers.append(buffer)
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
        part, turns = (
            int(np.prod(shape, dtype=np.int64)),
            1 if self.m.batches.batch is None else len(self.m.batches.batch.ids),
        )
        n, base = part * turns, None
        filled = self.unwritten(dtype) if init is None else init
        number = len(self.m.trace.buffers)
        if self.m.reopened is not None:
            base = self.m.reopened.memory(number, n)
        elif self.m.replay is not None and number in self.m.replay.memory:
            base = self.m.replay.memory[number]
        elif not self.now.dry or self.m.replay is not None or self._kept(name if at is None else at):
            base = torch.full((n,), filled, dtype=dtype.torch)
            if init is None and self.m.fill is not None:
                vary(base, self.m.fill)
            if self.m.replay is not None:
                self.m.replay.memory[number] = base
        buffer = Buffer(number, name, base, n, dtype, False, place=at, parts=turns)
        buffer.since = len(self.m.trace.dispatches)
        buffer.filled, buffer.initialised, buffer.shape = (
            filled,
            init is not None,
            shape if turns == 1 else (turns, *shape),
        )
        self.m.trace.buffers.append(buffer)
        offset = 0 if self.m.batches.batch is None else np.arange(turns, dtype=np.int64) * part
        return Tensor(buffer, offset, shape, dense_strides(shape), dtype)

    def _kept(self, key: object) -> bool:
        return self.m.follow is not None and key in self.m.follow.memory

    def keeps(self, buffer: Buffer) -> bool:
        """True for memory that holds what was written to it."""
        return self._kept(buffer.key)

    def leaves(self, buffer: Buffer) -> bool:
        """True when a task writes to memory whose contents are not kept in this run."""
        return self.now.dry or (self.m.follow is not None and not self.keeps(buffer))

    def unwritten(self, dtype: DType) -> float:
        """What memory of this type holds that nothing was written to."""
        return poison(dtype) if self.m.fill is None else self.m.fill

    def undefined(self, at: Place) -> float:
        """What lanes hold that are not valid, for an operation that uses them; noted in the trace."""
        self.m.trace.note("undefined lanes", at, "lanes that are not valid are used")
        return self.m.fill or 0

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
            raise self.m.fault(at, what)
        if t.buffer.layout and what != "load":
            raise self.m.fault(
                at, f"a {what} of {called(t.buffer)}, whose scales lie in pl.{t.buffer.layout}", "pl.load the part"
            )
        if type(sizes) is not tuple:
            sizes = tuple(int(one(n)) for n in sizes)
        if valid is not None and len(valid) != len(sizes):
            raise self.m.fault(at, f"a {what} of {len(sizes)} axes with a valid shape of {len(valid)}")
        valid = narrowed(sizes, t, offsets, valid)
        if valid is not None:
            self._check_valid(at, t, sizes, valid)
        position, over = t.offset, False
        extents = t.inside or t.shape
        for off, reach, extent, stride in zip(offsets, sizes if valid is None else valid, extents, t.strides):
            if type(off) is Lanes or type(reach) is Lanes:
                off, reach = lane_values(off), lane_values(reach)
                if np.any((off < 0) | (off + reach > extent)):
                    raise Conflict  # one by one, the first block that reaches outside says so
            elif off < 0 or off + reach > extent:
                if self.now.task is not None or what != "slice" or valid is not None or not 0 <= off < extent:
                    raise self._outside(at, t, offsets, sizes, valid, what)
                over = True  # PyPTO hands on a window as it is asked for: what is done with it decides
            position = position + off * stride
        root = None if self.now.task is None else t.root or t
        out = Tensor(t.buffer, position, sizes, t.strides, t.dtype, valid, root)
        if over:
            out.inside = tuple(min(n, extent - off) for n, extent, off in zip(sizes, extents, offsets))
        return out

    def _check_valid(self, at: Place, t: Tensor, sizes: tuple, valid: tuple) -> None:
        """Each valid extent lies between zero and the window's.

        Raises:
            FaultError: one does not, in the only block that runs.
        """
        for axis, (v, n) in enumerate(zip(valid, sizes)):
            low, high = (int(v.values.min()), int(v.values.max())) if type(v) is Lanes else (v, v)
            if 0 <= low and high <= n:
                continue
            if type(v) is Lanes:
                raise Conflict  # one by one, the first block where it is so says so
            where = f"of axis {axis} of a window {list(sizes)} of {called(t.buffer)}"
            raise self.m.fault(
                at,
                f"valid extent {v} {where}",
                "pl.min(rows, n); and no task where nothing is left",
                kind="valid extent",
            )

    def _outside(
        self, at: Place, t: Tensor, offsets: Sequence, sizes: tuple, valid: tuple | None, what: str
    ) -> FaultError:
        axis = 0
        for axis, (off, reach, extent) in enumerate(zip(offsets, valid or sizes, t.inside or t.shape)):  # noqa: B007
            if type(off) is not Lanes and (off < 0 or off + reach > extent):
                break
        return self.m.fault(
            at,
            f"{what} outside {called(t.buffer)}: axis {axis} from {off} to {off + reach} of extent {extent}"
            f" (tensor {list(t.inside or t.shape)}, offsets {[plain(o) for o in offsets]}, sizes {list(sizes)})",
            "keep offset + size within the extent, or pass valid_shape= for a partial block",
            kind="out of bounds",
        )

    def view(self, w: Tensor) -> torch.Tensor:
        """The torch view (or, where blocks point to irregular places, the gathered copy) of a window."""
        buffer = w.buffer
        if self.m.follow is not None and not buffer.known:
            self.m.ask(buffer)
            raise Unfollowed
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
        task = self.now.task
        if task is None:
            raise self.m.fault(
                at, "a tile is loaded outside an InCore region", "put the operation into `with pl.at(...)`"
            )
        refusal = four_bits(w.dtype, self.m.chip.rules)
        if refusal is not None:
            raise self.m.fault(at, *refusal)
        self._all_there(at, w)
        part = self._part(w)
        self.m.accesses.record(at, READ, w)
        moved = task.moved
        task.loads += 1
        task.read_bytes += moved_bytes(w)
        data = None
        if not self.now.dry:
            data = self.view(part)
        tile = self.m.onchip.tile(at, data, w.shape, w.dtype, w.valid, space, loaded=True)
        if not self.now.quiet:
            moved[-1] = (tile.memory, *self.now.inside, self.now.lane[1])
        if data is not None:
            self.share(tile, w.buffer)
        if self.m.onchip.parted is not None:
            self.m.onchip.parted.append((at, w, tile))
        return tile

    def again(self, at: Place, w: Tensor, tile: Tile) -> None:
        """The load of a tile is made once more."""
        self.m.accesses.record(at, READ, w)
        self.now.task.loads += 1
        self.now.task.read_bytes += moved_bytes(w)
        if not self.now.quiet:
            self.now.task.moved[-1] = (tile.memory, *self.now.inside, self.now.lane[1])

    def entry_load(self, at: Place, x: Tensor) -> Tile:
        """A whole tensor of orchestration as an operand of vector work: a region loads it once, before all else.

        Source: PyPTO, docs/en/dev/passes/10, entry loads. What the region has written to is read again.
        """
        if self.now.task is None or self.now.quiet:
            return self.load(at, x, "UB")
        offset = x.offset if type(x.offset) is not np.ndarray else id(x.offset)
        key = (x.buffer.id, offset, x.shape, x.strides)
        known = self.now.task.loaded.get(key)
        if known is None:
            tile = self.load(at, x, "UB")
            tile.memory.born = self.now.task.start
            known = self.now.task.loaded[key] = (tile, x)  # the tensor keeps its offsets, and their id
        return known[0]

    def _all_there(self, at: Place, w: Tensor) -> None:
        """Refuse all of a window that orchestration cut past the end of its tensor, and a part of a byte of FP4."""
        if w.inside is not None:
            raise self._outside(at, w, [0] * len(w.shape), w.shape, None, "a window")
        if w.dtype is FP4 and (
            w.strides[-1] != 1 or np.any((w.shape if w.valid is None else w.valid)[-1] % 2) or np.any(w.offset % 2)
        ):
            raise self.m.fault(
                at, f"{w} begins or ends within a byte", "FP4 lies in pairs: even columns, an even number"
            )

    def _part(self, w: Tensor) -> Tensor:
        """What is read of a window: its valid part; where that differs from block to block, as much as is valid in one
        of them, for nothing uses the rest.

        Raises:
            Diverged: so much does not lie in the buffer in every block.
        """
        if w.valid is None:
            return w
        if not any(type(v) is Lanes for v in w.valid):
            return Tensor(w.buffer, w.offset, w.valid, w.strides, w.dtype)
        part = Tensor(w.buffer, w.offset, held(w.shape, w.valid), w.strides, w.dtype)
        if np.any(w.offset + span(part) > w.buffer.size):
            self._agreed(w)
        return part

    def _agreed(self, w: Tensor) -> None:
        """`Diverged` where data of a different extent is to be written in each block."""
        if not self.now.settled and w.valid is not None and any(type(v) is Lanes for v in w.valid):
            raise Diverged(self.m.accesses.extents(w.valid))

    def share(self, tile: Tile, buffer: Buffer) -> None:
        """Remember that `tile` is a view of `buffer`, to be copied before a store changes it."""
        tile.origin = buffer
        self.now.task.views.setdefault(buffer.id, []).append(weakref.ref(tile))

    def share_product(self, product: Product, a: Tile, b: Tile) -> None:
        """Remember that a product reads its operands' global memory, to be worked out before a store changes it."""
        for buffer in {a.origin.id, b.origin.id}:
            self.now.task.views.setdefault(buffer, []).append(weakref.ref(product))

    def store(self, at: Place, w: Tensor, tile: Tile, atomic: bool = False) -> None:
        """Write the valid part of `tile` to window `w` (of the tile's shape)."""
        task = self.now.task
        if task is None:
            raise self.m.fault(
                at, "a tile is stored outside an InCore region", "put the operation into `with pl.at(...)`"
            )
        self._all_there(at, w)
        self._agreed(w)
        self._rows_follow(at, w.root or w)
        self.m.onchip.touch(tile)
        if tile.memory.cut is not None:
            tile.memory.cut.used(at, cuts.STORED)
        self.m.accesses.record(at, ATOMIC if atomic else WRITE, w)
        if not self.now.quiet:
            task.moved[-1] = (tile.memory, *self.now.inside, self.now.lane[1])
        task.stores += 1
        task.write_bytes += moved_bytes(w)
        if self.now.quiet or self.leaves(w.buffer):
            return
        for ref in task.views.pop(w.buffer.id, ()):
            shared = ref()
            if shared is not None:
                shared.detach()
        data = tile.data
        if w.valid is not None:
            w = Tensor(w.buffer, w.offset, tuple(w.valid), w.strides, w.dtype)
        self._write(w, data, atomic)

    def _rows_follow(self, at: Place, argument: Tensor) -> None:
        """What a task writes is handed to it with its rows one after the other: PyPTO takes every such tensor
        for dense, and writes a window of columns that orchestration cut (`pl.slice`) to the wrong places, without a
        word (tried with a2a3sim; reading one is right).

        Raises:
            FaultError: the tensor of orchestration is a window of columns.
        """
        if argument.strides[-1] != 1:  # transposed: not tried
            return
        dense = 1
        for extent, stride in zip(reversed(argument.shape), reversed(argument.strides)):
            if extent > 1 and stride > dense:
                raise self.m.fault(
                    at, f"a task writes to {argument}, a window of columns that orchestration cut: PyPTO would write "
                    "its rows one after the other, not where they belong",
                    "hand the task the whole tensor and write at an offset, or give it scratch of its own",
                )  # fmt: skip
            dense *= extent

    def _write(self, w: Tensor, data: torch.Tensor, atomic: bool) -> None:
        buffer, undo = w.buffer, self.m.batches.batch and self.m.batches.batch.undo
        many = data.dim() > len(w.shape)
        if self.now.dumping is not None:
            self.now.dumping.store(buffer)

        def put(w: Tensor, dst: torch.Tensor, *values: torch.Tensor) -> None:
            if undo is not None:
                undo.append((dst, self._before(w, dst), buffer.argument))
            elif buffer.argument or self.m.logs_all:
                self.m.log.add(dst, self._before(w, dst))
            for data in values:
                dst.add_(data) if atomic else dst.copy_(data)

        if type(w.offset) is not np.ndarray:
            if many and not atomic:
                raise Conflict  # every block of the batch writes here
            times = (
                len(self.m.batches.batch.ids) if undo is not None and atomic else 1
            )  # one block after the other, as alone
            dst = torch.as_strided(buffer.base, w.shape, w.strides, buffer.origin + int(w.offset))
            put(w, dst, *(data if many else [data] * times))
            return
        apart = disjoint(w.offset, w)
        if not apart and not atomic:
            raise Conflict
        step = affine_step(w.offset) if apart else None
        if step is not None:
            shape, strides = (len(w.offset), *w.shape), (step, *w.strides)
            put(w, torch.as_strided(buffer.base, shape, strides, buffer.origin + int(w.offset[0])), data)
            return
        rows = None if atomic else row_index(w)
        if rows is not None:
            table, index = rows[0](buffer), rows[1]
            undo.append(((table, index), self._before(w, (table, index)), buffer.argument))
            wanted = (len(w.offset), *w.shape)
            table.index_copy_(0, index, data.expand(wanted).reshape(len(index), -1))
            return
        for i, o in enumerate(w.offset):
            dst = torch.as_strided(buffer.base, w.shape, w.strides, buffer.origin + int(o))
            put(Tensor(buffer, int(o), w.shape, w.strides, w.dtype), dst, data[i] if many else data)

    def _before(self, w: Tensor, where: Where) -> torch.Tensor:
        """A copy of what a window holds; what nothing was written to holds one value, which is not copied."""
        if self.m.kept is None or not self.m.kept.first(w):
            return get(where)
        shape = (len(where[1]), *where[0].shape[1:]) if isinstance(where, tuple) else where.shape
        return torch.full((), w.buffer.filled, dtype=w.buffer.base.dtype).expand(shape)

    def overwrite(self, at: Place, w: Tensor, value: Any) -> None:
        """Orchestration writes a window itself, without a task."""
        if self.m.batches.batch is not None:
            raise Conflict
        self.m.accesses.by_host(at, WRITE, w)
        view = self.view(w)
        if self.m.dumps is not None:
            self.m.dumps.changed(w.buffer)
        if w.buffer.argument or self.m.logs_all:
            self.m.log.add(view, self._before(w, view))
        view.copy_(value) if isinstance(value, torch.Tensor) else view.fill_(value)

    def one_element(self, at: Place, mode: int, t: Tensor, index: Sequence, what: str) -> Tensor:
        """The window on one element that a region reads or writes, noted in the trace."""
        cell = self.window(at, t, [self.m.masks.index_of_ours(i) for i in index], (1,) * len(index), what=what)
        task, once = self.now.task, 1 if self.m.masks.mask is None else self.m.masks.mask.astype(np.int64)
        if mode == WRITE:
            self._rows_follow(at, cell.root or cell)
            self.m.accesses.record(at, WRITE, cell)
            if not self.now.quiet:
                task.moved[-1] = (_WRITTEN, *self.now.inside, self.now.lane[1])
            task.stores = task.stores + once
            task.write_bytes = task.write_bytes + once * int(t.dtype.bytes)
        else:
            self.m.accesses.record(at, READ, cell)
            task.read_bytes = task.read_bytes + once * int(t.dtype.bytes)
        return cell

    def put(self, w: Tensor, value: torch.Tensor) -> None:
        """Write one element in a region: a number, or one of each block."""
        if self.leaves(w.buffer):
            return
        for ref in self.now.task.views.pop(w.buffer.id, ()):
            shared = ref()
            if shared is not None:
                shared.detach()
        if self.m.masks.mask is not None:
            w = self.m.masks.window_of_ours(w)
            value = value[torch.from_numpy(self.m.masks.mask)] if value.dim() > len(w.shape) else value
        self._write(w, value, False)


def called(buffer: Buffer) -> str:
    """How a message names a buffer: its parameter, or the line that allocates it."""
    return f"'{buffer.name}'" if buffer.argument else f"the tensor of line {buffer.name}"
