"""Two tensors of the same values that share their memory until one of them is written."""

from __future__ import annotations

import mmap
import os

import torch


def twins(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two contiguous tensors of the values, shape and dtype of a CPU tensor; a write to one leaves the other alone.

    On Linux both are private mappings of one anonymous file: a page takes memory of its own when one of them writes
    it. Elsewhere the second is a copy.
    """
    if not hasattr(os, "memfd_create") or not values.numel():
        return values, values.clone()
    values = values.contiguous()
    size = values.numel() * values.element_size()
    file = os.memfd_create("tensor")
    try:
        os.truncate(file, size)
        with mmap.mmap(file, size) as shared:
            whole = torch.frombuffer(shared, dtype=torch.uint8)
            whole.copy_(values.view(-1).view(torch.uint8))
            del whole
        pages = [mmap.mmap(file, size, mmap.MAP_PRIVATE) for _ in range(2)]
    finally:
        os.close(file)
    first, second = (torch.frombuffer(p, dtype=torch.uint8).view(values.dtype).view(values.shape) for p in pages)
    return first, second
