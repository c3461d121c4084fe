"""Tensors that two processes see: one block of anonymous memory, whose file descriptor is handed over."""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from helpers.errors import ToolchainError

_ALIGN = 64  # bytes


@dataclass(frozen=True)
class Slot:
    """Where a tensor lies in the block: offset in bytes, shape and element type."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype


class Block:
    """One block of memory with a file descriptor, mapped into this process; `private`: writes stay in this process."""

    def __init__(self, fd: int, size: int, private: bool = False):
        self.fd, self.size = fd, size
        self._map: Any = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE if private else mmap.MAP_SHARED)

    def view(self, slot: Slot) -> torch.Tensor:
        """The tensor in a slot; shares the block's memory."""
        n = math.prod(slot.shape)
        return torch.frombuffer(self._map, dtype=slot.dtype, count=n, offset=slot.offset).reshape(slot.shape)

    def close(self) -> None:
        """Give the memory back, once no view is left; safe to call twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd, self._map = -1, None  # the mapping goes with the last view of it


def reserve(shapes: Sequence[tuple[Sequence[int], torch.dtype]]) -> tuple[Block, list[Slot]]:
    """A block of zeros with a slot for each (shape, element type).

    Raises:
        ToolchainError: there is not enough memory.
    """
    slots, size = [], 0
    for shape, dtype in shapes:
        slots.append(Slot(size, tuple(shape), dtype))
        size += -(-math.prod(shape) * dtype.itemsize // _ALIGN) * _ALIGN
    size = max(size, mmap.PAGESIZE)
    return Block(_anonymous(size), size), slots


def allocate(values: Sequence[Any]) -> tuple[Block, list[Slot | None]]:
    """A block that holds a copy of every tensor of `values`; None for what is no tensor.

    Tensors of the same memory and size share a slot.

    Raises:
        ToolchainError: there is not enough memory.
    """
    slots: list[Slot | None] = []
    places: dict[tuple[int, int], int] = {}
    size = 0
    for v in values:
        if not isinstance(v, torch.Tensor):
            slots.append(None)
            continue
        key = (v.data_ptr(), v.numel() * v.element_size())
        if key not in places:
            places[key] = size
            size += -(-key[1] // _ALIGN) * _ALIGN
        slots.append(Slot(places[key], tuple(v.shape), v.dtype))
    size = max(size, mmap.PAGESIZE)
    fd = _anonymous(size)
    try:
        block = Block(fd, size)
    except BaseException:
        os.close(fd)
        raise
    for v, slot in zip(values, slots):
        if slot is not None:
            block.view(slot).copy_(v)
    return block, slots


def _anonymous(size: int) -> int:
    """A file of memory, without a name, that nothing is left of when its last user is gone.

    The memory is claimed here: taking a page of a full file system later would end the process with SIGBUS.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("pypto-workbook")
    else:
        file, name = tempfile.mkstemp()
        os.unlink(name)
        fd = file
    try:
        os.ftruncate(fd, size)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
    except OSError as e:
        os.close(fd)
        if e.errno in (errno.ENOSPC, errno.ENOMEM):
            raise ToolchainError(f"not enough memory for the kernel's arguments ({size / 2**20:,.0f} MiB)") from e
        raise
    return fd
