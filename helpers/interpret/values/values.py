"""What a name in a kernel can hold: a window on global memory, a tile on chip, a task id, an array.

`Tensor` and `Tile` are the language's two levels. A `Tensor` is a strided window on a `Buffer` of global
memory and never a copy; where it points may differ from block to block (`offset` is then a NumPy array).
A `Tile` is a value: its `data` has the extents of the tile's valid part (see `held`), with one more axis in
front when it differs from block to block (see `lanes`). In a dry run (control flow only) `data` is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from helpers.interpret.language.dtypes import DType
from helpers.interpret.values.products import Product


class Known(int):
    """An offset that PyPTO knows while it compiles."""

    __slots__ = ()


@dataclass(eq=False)
class Buffer:
    """One allocation of global memory: a kernel argument or a `pl.create_tensor`."""

    id: int
    name: str
    base: torch.Tensor | None  # flat, contiguous; None in a dry run, and once a run is over
    size: int  # elements
    dtype: DType
    argument: bool  # passed by the caller, not allocated by the kernel
    origin: int = 0  # storage offset of element 0 of `base`
    manual_dep: bool = False
    initialised: bool = False  # allocated with an init_value
    filled: float = 0  # what each element of an allocation held at first
    since: int = 0  # launches that were made before it
    shape: tuple[int, ...] = ()  # as it was declared
    place: object = None  # the source.Place of the parameter, or of what allocated it
    layout: str = ""  # "MX_A_ZZ" or "MX_B_NN", of the scales of block-scaled operands
    direction: str = ""  # "In", "Out" or "InOut", of a kernel's parameter
    stale: bool = False  # a dry run has left something out that would have written to it
    parts: int = 1  # allocations of one size that it holds: one for each turn of a loop that ran as a batch

    @property
    def bytes(self) -> int:
        return math.ceil(self.size * self.dtype.bytes)

    @property
    def known(self) -> bool:
        """False for what a dry run has not computed."""
        return self.base is not None and not self.stale

    @property
    def key(self) -> object:
        """What stays the same from run to run: a parameter's name, or the place that allocates."""
        return self.name if self.argument or self.place is None else self.place


class Tensor:
    """A window on a buffer: offset, shape and strides in elements; `valid` is its valid shape or None for all.

    `root` is, for a window made inside an InCore region, the tensor of orchestration that it is a part of: that one
    is the argument of the task, which dependencies are inferred from. `inside` is, for a window that orchestration cut
    past the end of a tensor, how much of it there is: nothing beyond can be read or written.
    """

    __slots__ = ("buffer", "offset", "shape", "strides", "dtype", "valid", "root", "inside")

    def __init__(
        self,
        buffer: Buffer,
        offset: int | np.ndarray,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: DType,
        valid: tuple | None = None,
        root: Tensor | None = None,
    ):
        self.buffer, self.offset, self.shape, self.strides = buffer, offset, shape, strides
        self.dtype, self.valid, self.root = dtype, valid, root
        self.inside: tuple[int, ...] | None = None

    @property
    def contiguous(self) -> bool:
        return self.strides == dense_strides(self.shape)

    def __repr__(self) -> str:
        return f"Tensor {self.buffer.name}{list(self.shape)} {self.dtype}"


class Tile:
    """A value on chip. `space` is where it lies: UB, L1, L0A, L0B, L0C, or "" until something uses it."""

    __slots__ = (
        "_data", "pending", "shape", "dtype", "valid", "memory", "origin", "wide", "window", "crossed", "scales",
        "strided", "turned", "view", "pages", "slot",
        "__weakref__",
    )  # fmt: skip

    def __init__(
        self, data: torch.Tensor | None, shape: tuple[int, ...], dtype: DType, valid: tuple | None, memory: Memory
    ):
        self._data, self.shape, self.dtype, self.valid, self.memory = data, shape, dtype, valid, memory
        self.pending: Product | None = None  # what `data` will be, once someone looks
        self.origin: Buffer | None = None  # the global memory that `data` still shares
        self.wide: torch.Tensor | None = None  # the same values in FP32, once a matmul has needed them
        self.window: tuple[Tile, tuple[slice, ...]] | None = None  # the accumulator that this is a part of, and which
        self.scales = ""  # the layout in which scales of a block-scaled operand lay in global memory
        self.crossed = False  # it went from the cube to a vector core, or back
        self.pages = False  # several products, one for each index of the axes in front
        self.view = False  # a part of another tile
        self.turned: int | None = None  # the axis that pl.split halves, where pl.reshape made it another one
        self.slot: tuple[str, int] | None = None  # the allocation (pl.MemRef) that it lies in, and which slot of it
        self.strided = False  # some columns of several rows of another tile in UB

    @property
    def data(self) -> torch.Tensor | None:
        """The values; None in a dry run."""
        if self.pending is not None:
            self._data, self.pending = self.pending.value(), None
        return self._data

    @data.setter
    def data(self, data: torch.Tensor | None) -> None:
        self._data, self.pending = data, None

    @property
    def empty(self) -> bool:
        """True when there are no values, as in a dry run."""
        return self._data is None and self.pending is None

    def detach(self) -> None:
        """Stop sharing global memory, which is about to change."""
        self.data, self.origin = self.data.clone(), None

    @property
    def batched(self) -> bool:
        return self.data is not None and self.data.dim() > len(self.shape)

    def __repr__(self) -> str:
        v = f" valid {list(self.valid)}" if self.valid else ""
        return f"Tile {list(self.shape)} {self.dtype}{v}"


class Turn(NamedTuple):
    """Where a turn of a `pl.pipeline` is: the loop, which of its stages the turn is (turn modulo stages), how many
    stages there are, and the operation before which their loads are made: the first turn of these stages begins with
    it, or in another loop of that turn the turn of that loop. None: each load where it stands.

    `rest`: it is left over, for the number of turns is no multiple of the stages; the compiler writes it after the
    loop. `ready`: what it loads goes on before the loop.
    """

    place: object
    stage: int
    stages: int
    start: int | None
    rest: bool = False
    ready: bool = False


class Memory:
    """One on-chip buffer of a task: which space, how many bytes, from which operation to which it lives.

    `turns`: of the pipelines around, outermost first. `loaded`: it holds what comes from global memory. `shape`: of the
    tile. `cut`: of a product larger than L0C, what becomes of it, see `cuts`.
    """

    __slots__ = ("space", "bytes", "born", "last", "place", "turns", "loaded", "shape", "cut")

    def __init__(
        self, space: str, nbytes: int, born: int, place: object, turns: tuple[Turn, ...] = (), loaded: bool = False,
        shape: tuple[int, ...] = (),
    ):  # fmt: skip
        self.space, self.bytes, self.born, self.last, self.place = space, nbytes, born, born, place
        self.turns, self.loaded, self.shape = turns, loaded, shape
        self.cut: Any = None

    def copied(self) -> Memory:
        """Another one that is the same so far."""
        new = Memory(self.space, self.bytes, self.born, self.place, self.turns, self.loaded, self.shape)
        new.last, new.cut = self.last, self.cut
        return new

    @property
    def copies(self) -> int:
        """How many of it a pipeline asks for."""
        return math.prod(t.stages for t in self.turns) if self.loaded else 1


@dataclass(frozen=True)
class TaskId:
    """What `as tid` binds: the launches that it names, by number; None, and `task_invalid`, name nothing.

    `slots`: how many turns of a `pl.parallel` it stands for, 0 for a single id. `scope`: where generated code has a
    name for it; None: nowhere (see `task_ids`).
    """

    dispatches: tuple[int, ...] = ()
    slots: int = 0
    scope: int | None = None


@dataclass
class Array:
    """`pl.array.create(extent, dtype)`: a small array of scalars or task ids; updates are functional.

    `dtype`: None for task ids. `scope`: as of a `TaskId`.
    """

    items: list = field(default_factory=list)
    dtype: DType | None = None
    scope: int | None = None


def held(shape: tuple[int, ...], valid: tuple | None) -> tuple[int, ...]:
    """The extents of the data that a tile of this shape and valid shape keeps: operations work on what is valid.

    Along an axis whose valid extent differs from block to block the whole axis is kept.
    """
    if valid is None:
        return shape
    return tuple(v if isinstance(v, int) else n for n, v in zip(shape, valid))


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides of `shape`, in elements."""
    out, step = [], 1
    for n in reversed(shape):
        out.append(step)
        step *= n
    return tuple(reversed(out))


def same(a: Any, b: Any) -> bool:
    """True when a name holds after a turn of a loop what it held before: the same number, the same window."""
    if a is b:
        return True
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same = a.buffer is b.buffer and a.shape == b.shape and a.strides == b.strides
        return same and type(b.offset) is not np.ndarray and a.offset == b.offset
    return a is None or (isinstance(a, (int, float)) and isinstance(b, (int, float)) and a == b)


def unchanged(a: Any, b: Any) -> bool:
    """True when what a name holds after a loop can be had without the loop."""
    if a is None or not same(a, b):
        return a is b
    return not isinstance(a, Tensor) or (a.dtype, a.valid, a.inside) == (b.dtype, b.valid, b.inside)
