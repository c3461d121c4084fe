"""What the trace notes of global memory: who reads and writes which windows, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from helpers.interpret.machine.now import MachinePart
from helpers.interpret.source.source import Place
from helpers.interpret.trace.trace import ATOMIC, IN, INOUT, OUT, READ
from helpers.interpret.values.extents import lane_values
from helpers.interpret.values.lanes import Lanes
from helpers.interpret.values.values import Tensor


class Accesses(MachinePart):
    """Notes accesses."""

    def by_host(self, at: Place, mode: int, w: Tensor) -> None:
        """Note an access that orchestration makes itself, without a task; or the scheduler, for a predicate=."""
        if mode != READ and self.now.dry and self.m.reopened is None and not self.m.memory.keeps(w.buffer):
            w.buffer.stale = True
        access = self.m.trace.shapes[self.m.trace.shape_id(w.buffer, mode, w.shape, w.strides, at)]
        if self.m.launches.gated is not None:
            self.m.launches.gated.append((access, int(w.offset)))
            return
        for offset in np.unique(w.offset):
            self.m.trace.host.append((len(self.m.trace.dispatches), access, int(offset)))

    def record(self, at: Place, mode: int, w: Tensor) -> None:
        """Note an access to global memory in the trace."""
        if self.now.quiet:
            return
        if mode != READ:
            w.buffer.stale = self.m.reopened is None and (w.buffer.stale or self.m.memory.leaves(w.buffer))
            for key in [k for k in self.now.task.loaded if k[0] == w.buffer.id]:
                del self.now.task.loaded[key]
        valid = w.valid
        task = self.now.task
        root = w.root or w
        if self.m.masks.mask is not None:
            self._record_ours(at, mode, w, root)
            return
        task.offsets.append(w.offset)
        task.events.append(len(task.moved))
        task.moved.append((None, *self.now.inside, self.now.lane[1]))
        if valid is not None and any(type(v) is Lanes for v in valid):
            self._use(root, IN if mode == READ else INOUT if mode == ATOMIC else OUT)
            rows = self.extents(valid)
            task.shapes.append(self.m.trace.shape_id(w.buffer, mode, tuple(rows.max(0).tolist()), w.strides, at))
            different, which = np.unique(rows, axis=0, return_inverse=True)
            ids = [self.m.trace.shape_id(w.buffer, mode, tuple(r), w.strides, at) for r in different.tolist()]
            task.varying[len(task.shapes) - 1] = np.array(ids, np.int32)[which.reshape(-1)]
            return
        key = (id(at), mode, w.buffer.id, w.shape if valid is None else valid, id(root))
        known = task.seen.get(key)
        if known is not None:
            task.shapes.append(known[0])
            return
        self._use(root, IN if mode == READ else INOUT if mode == ATOMIC else OUT)
        shape = w.shape if valid is None else tuple(valid)
        number = self.m.trace.shape_id(w.buffer, mode, shape, w.strides, at)
        task.seen[key] = number, root
        task.shapes.append(number)

    def _record_ours(self, at: Place, mode: int, w: Tensor, root: Tensor) -> None:
        """Note an access that some blocks take no part in: of a single element."""
        task = self.now.task
        self._use(root, IN if mode == READ else OUT)
        number = self.m.trace.shape_id(w.buffer, mode, w.shape, w.strides, at)
        task.offsets.append(self.m.masks.nowhere(w))
        task.events.append(len(task.moved))
        task.moved.append((None, *self.now.inside, self.now.lane[1]))
        task.varying[len(task.shapes)] = np.where(self.m.masks.mask, number, -1).astype(np.int32)
        task.shapes.append(number)

    def _use(self, root: Tensor, bits: int) -> None:
        """Note what the task does with a tensor of orchestration."""
        where = root.offset if type(root.offset) is not np.ndarray else id(root.offset)
        known = self.now.task.arguments.setdefault((root.buffer.id, where, root.shape), [root, 0])
        known[1] |= bits

    def extents(self, valid: Sequence) -> np.ndarray:
        """A valid shape of a batch, a row each."""
        return np.stack([np.broadcast_to(lane_values(v), len(self.m.batches.batch.ids)) for v in valid], 1)
