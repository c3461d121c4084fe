"""Products that are worked out when someone looks at them, several steps of a K-loop in one.

A K-loop of `matmul` and `matmul_acc` walks along rows of the weights, tile by tile. Nobody reads the accumulator in
between, so the tiles it has passed are one window on global memory, and their sum is one product: fewer and larger
calls, which threads can share. Weights in BF16 and FP16 are widened piece by piece into a scratch that stays in a
core's cache; none of them is ever there as a whole in FP32.

How a product is cut into pieces depends on its shape alone, not on the number of threads: results do not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import torch

# Elements of the right operand in a piece: 2^18 FP32 values are 1 MB, which stay in a core's cache. Columns and terms
# of K of one: measured with bench.interpreters for few rows (wide) and many.
PIECE = 1 << 18
FEW_ROWS = 32
COLUMNS = 128
SHARED = 1 << 19  # elements of the right operand from which on threads share a product

_scratch = threading.local()
_threads = 1


class Product:
    """x @ y, not worked out yet; x [..., M, K] and y [..., K, N] are views of memory that nothing writes before `value`
    is called (see `Machine.store`), which tells `hold` how many elements a block takes in FP32 at once."""

    __slots__ = ("x", "y", "terms", "hold", "done", "__weakref__")

    def __init__(self, x: torch.Tensor, y: torch.Tensor, terms: int, hold: Callable[[int], None]):
        self.x, self.y, self.terms, self.hold = x, y, terms, hold
        self.done: torch.Tensor | None = None

    def extended(self, x: torch.Tensor, y: torch.Tensor) -> Product | None:
        """This plus x @ y, when these lie in memory just behind what is there; else None."""
        if self.done is not None or not (_follows(self.x, x, -1, self.terms) and _follows(self.y, y, -2, self.terms)):
            return None
        return Product(self.x, self.y, self.terms + x.shape[-1], self.hold)

    def value(self) -> torch.Tensor:
        """The sum, in FP32."""
        if self.done is None:
            x, y = _window(self.x, -1, self.terms), _window(self.y, -2, self.terms)
            block = x.shape[-2] * x.shape[-1], y.shape[-2] * y.shape[-1]
            if max(block) < PIECE or max(x.dim(), y.dim()) > 3:
                self.hold(max(block))
                self.done = torch.matmul(_float(x), _float(y))
            else:
                self.done = _in_pieces(x, y)
            self.x = self.y = None
        return self.done

    def of_row(self, row: int, rank: int) -> Product:
        """That of one block of a batch, not worked out either; `rank`: axes of what it gives for one block."""
        x, y = (t[row : row + 1] if t.dim() > rank and t.shape[0] > 1 else t for t in (self.x, self.y))
        return Product(x, y, self.terms, self.hold)

    def detach(self) -> None:
        """Work it out: the memory that it reads is about to change."""
        self.value()


def _follows(first: torch.Tensor, t: torch.Tensor, axis: int, terms: int) -> bool:
    """True when `t` goes on along `axis` where `terms` of the window that begins with `first` end."""
    step = first.stride(axis)
    return (
        t.data_ptr() == first.data_ptr() + terms * step * first.element_size()
        and t.stride() == first.stride()
        and t.dtype == first.dtype
        and t.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and all(a == b for i, (a, b) in enumerate(zip(t.shape, first.shape)) if i != t.dim() + axis)
    )


def _window(first: torch.Tensor, axis: int, terms: int) -> torch.Tensor:
    """The window that begins with `first` and has `terms` along `axis`."""
    shape = list(first.shape)
    shape[axis] = terms
    return torch.as_strided(first, shape, first.stride(), first.storage_offset())


def _float(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float32 else x.float()


def _in_pieces(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x @ y, some columns of y at a time, on all threads when it is large; one or both may have a batch axis."""
    rows, columns, terms = x.shape[-2], y.shape[-1], y.shape[-2]
    batch = max(t.shape[0] if t.dim() == 3 else 1 for t in (x, y))
    xs, ys = ((t if t.dim() == 3 else t[None]).expand(batch, -1, -1) for t in (x, y))
    out = torch.empty(batch, rows, columns)
    turned = ys.stride(1) == 1  # y is the transpose of what lies in memory row by row
    few = rows <= FEW_ROWS and turned
    width = COLUMNS if few else 2 * COLUMNS
    left = _float(x) if x.dim() == 2 else None  # the same for all

    def piece(b: int, c: int) -> None:
        a, part = xs[b] if left is None else left, ys[b][:, c : c + width]
        step = max(16, PIECE // max(part.shape[1], rows))
        total = None
        for k in range(0, terms, step):
            p, q = _float(a[:, k : k + step]), _widened(part[k : k + step], turned)
            if few:
                p, q = q.t(), p.t()
            total = torch.mm(p, q) if total is None else total.addmm_(p, q)
        out[b, :, c : c + width] = total.t() if few else total

    _share(piece, [(b, c) for b in range(batch) for c in range(0, columns, width)], batch * terms * columns >= SHARED)
    return out if 3 in (x.dim(), y.dim()) else out[0]


def _widened(y: torch.Tensor, turned: bool) -> torch.Tensor:
    """`y` in FP32, in this thread's scratch unless it is FP32 already."""
    if y.dtype == torch.float32:
        return y
    n = y.numel()
    memory = getattr(_scratch, "memory", None)
    if memory is None or memory.numel() < n:
        memory = _scratch.memory = torch.empty(max(n, PIECE))
    memory = memory[:n]
    if turned:
        return memory.view(y.shape[1], y.shape[0]).copy_(y.t()).t()
    return memory.view(y.shape).copy_(y)


# ---- threads ---------------------------------------------------------------------------------------------


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: a tile is little work to share, and on a busy machine waiting for the other one is more.

    Products that are large are shared among as many threads as torch had.
    """
    global _threads
    before = _threads
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _threads = max(before, threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _threads = before


def _share(piece: Callable[[int, int], None], pieces: list[tuple[int, int]], large: bool) -> None:
    """Call `piece` for all pieces, on several threads when that pays; each piece goes to the first that is free."""
    helpers = min(_threads, len(pieces)) - 1 if large else 0
    todo = iter(pieces)

    def work() -> None:
        for p in todo:
            piece(*p)

    others = [_pool(os.getpid()).submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        for o in others:
            o.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads that help; a process that was forked needs its own."""
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), initializer=torch.set_num_threads, initargs=(1,))
