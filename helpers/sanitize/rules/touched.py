"""Elements of buffers: which the accesses of a trace touch, and how people read them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from helpers.interpret.trace.boxes import affine_step
from helpers.interpret.trace.trace import Access, Part, Trace
from helpers.interpret.values.values import Buffer, dense_strides


def views(table: np.ndarray, access: Access, offsets: object, blocks: np.ndarray) -> Iterator[tuple]:
    """(blocks, view) of what an access touches in `table`, an array with an entry for each element of its buffer.

    A view has an axis for its blocks in front. Blocks that point to places at one distance share a view.
    """
    item = table.itemsize
    strides = tuple(s * item for s in access.strides)

    def view(first: int, count: int, step: int) -> np.ndarray:
        return np.lib.stride_tricks.as_strided(
            table[first:], (count, *access.extent), (step * item, *strides), writeable=True
        )

    if not access.elements:
        return
    if np.ndim(offsets) == 0:
        yield blocks[-1:], view(int(offsets), 1, 0)
        return
    step = affine_step(offsets)
    if step is not None:
        yield blocks, view(int(offsets[0]), len(offsets), step)
        return
    for i, offset in enumerate(offsets):
        yield blocks[i : i + 1], view(int(offset), 1, 0)


def accesses(trace: Trace, part: Part) -> Iterator[tuple[Access, object]]:
    """(access, offset or offsets) of what a part of a dispatch did, in order."""
    for s, offset in zip(part.chunk.shapes, part.chunk.offsets):
        yield trace.shapes[s], part.at(offset)


def blocks(part: Part) -> np.ndarray:
    """The block numbers of a part."""
    return part.chunk.blocks if part.row is None else part.chunk.blocks[part.row : part.row + 1]


def name(buffer: Buffer) -> str:
    """How a buffer is called: its parameter, or the line that allocates it."""
    return f"'{buffer.name}'" if buffer.argument else f"the tensor of line {buffer.name}"


def text(buffer: Buffer, flat: np.ndarray) -> str:
    """The box around elements of a buffer, given by number: "scores[16:32, 0:128]"."""
    shape = buffer.shape or (buffer.size,)
    where = np.unravel_index(flat, shape)
    spans = ", ".join(f"{int(w.min())}:{int(w.max()) + 1}" for w in where)
    label = buffer.name if buffer.argument else f"line {buffer.name}"
    return f"{label}[{spans}]"


def around(buffer: Buffer, mask: np.ndarray) -> str:
    """The box around the elements of a buffer that are True in `mask`, an array of the buffer's shape."""
    spans = []
    for axis, n in enumerate(mask.shape):
        some = mask.any(tuple(a for a in range(mask.ndim) if a != axis))
        spans.append(f"{int(some.argmax())}:{n - int(some[::-1].argmax())}")
    return f"{buffer.name if buffer.argument else f'line {buffer.name}'}[{', '.join(spans)}]"


def is_padding(gone: np.ndarray, sizes: set[int]) -> bool:
    """Whether what is True in `gone`, an array of a buffer's shape, is all that lies from a dynamic extent on."""
    for axis, n in enumerate(gone.shape):
        whole = gone.any(tuple(a for a in range(gone.ndim) if a != axis))
        first = int(whole.argmax())
        if 0 < first < n and first in sizes and gone[(slice(None),) * axis + (slice(first, n),)].all():
            return True
    return False


def marked(access: Access, offset: int, view: np.ndarray) -> np.ndarray:
    """Numbers in the buffer of the elements that are True in `view`, a boolean view of one box."""
    index = np.nonzero(view)
    return offset + sum((i * s for i, s in zip(index, access.strides)), np.zeros(len(index[0]), np.int64))


def box(buffer: Buffer, access: Access, offset: int) -> str:
    """The elements of one access, as people read them."""
    if access.strides and tuple(access.strides) == dense_strides(buffer.shape or (buffer.size,)):
        first = np.unravel_index(offset, buffer.shape or (buffer.size,))
        spans = ", ".join(f"{int(o)}:{int(o) + n}" for o, n in zip(first, access.extent))
    else:
        spans = f"elements {offset}:{offset + access.span}"
    label = buffer.name if buffer.argument else f"line {buffer.name}"
    return f"{label}[{spans}]"
