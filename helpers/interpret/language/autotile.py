"""How PyPTO cuts a product that L0 cannot hold: extents [m, n] of the part that lies in L0C, and k of a step.

Source: PyPTO src/ir/transforms/utils/l0_tile_chooser.cpp and docs/en/dev/passes/15-auto_tile_matmul_l0.md, with the
default memory planner. Every part that fits is tried; the one with the shortest estimated time is taken: loads into
L0A and L0B beside the multiplications, then the way out of L0C. Who may be cut at all is in `cuts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

GRAIN = 16  # m, n and k are multiples of it, and no less (BackendHandler::GetL0FractalAlignment, GetMinL0TileDim)
L0 = 64 << 10  # bytes of L0A, and of L0B


@dataclass(frozen=True)
class Costs:
    """What the compiler takes a chip for: bytes a cycle into L0A and L0B and out of L0C, cycles of a way out (fixed, a
    row at least, a row for each further burst), cycles of a multiplication's start, passes over FP32 operands."""

    to_a: float
    to_b: float
    out: float
    out_fixed: float
    out_row: float
    out_burst: float
    head: int
    passes: int


# include/pypto/backend: common/backend_handler.h (L0CostModel), 950/backend_950_handler.h
COSTS = {
    "a2a3": Costs(129.7, 85.4, 118.0, 164.0, 4.45, 2.6, 21, 2),
    "a5": Costs(206.3, 223.8, 30.0, 343.4, 4.59, 0.26, 25, 8),
}
BLOCK = 32  # bytes of a row of a block, in the operands and on the way out


@dataclass(frozen=True)
class Limits:
    """What else a part has to keep: rows and columns of the boxes that operands are laid out in (a part is rounded up
    to them), the grain of k, columns that the bias table holds; `output`: no operand stays while the other passes."""

    box_m: int = 1
    box_n: int = 1
    grain: tuple[int, int, int] = (GRAIN, GRAIN, GRAIN)
    columns: int | None = None
    output: bool = False


@dataclass(frozen=True)
class Part:
    """A part of a product in L0C, and the bytes that it takes there."""

    m: int
    n: int
    k: int
    bytes: int


@cache
def part(
    chip: str, l0c: int, product: tuple[int, int, int], operand: int, result: int, rows: int, limits: Limits = Limits()
) -> Part | None:
    """The part that a product [M, K] x [K, N] is cut into.

    Args:
        chip: "a2a3" or "a5".
        l0c: Bytes of L0C.
        product: M, K and N.
        operand: Bytes of an element of the operands; `result`: of the accumulator.
        rows: L0C holds multiples of this many rows.
        limits: What else a part has to keep.

    Returns:
        The part, or None where no part is legal.
    """
    extents = product
    if any(n < g for n, g in zip(extents, limits.grain)) or extents[1] % limits.grain[1]:
        return None
    best = None
    for holds in ("",) if limits.output else ("", "A", "B"):  # the operand that stays, whole, while the other passes
        found = _best(COSTS[chip], l0c, extents, operand, result, rows, limits, holds)
        if found is not None and (best is None or found[0][0] < best[0][0]):
            best = found
        if best is not None and best[1][:3] == (extents[0], extents[2], extents[1]):
            break  # it fits as it is
    return None if best is None else Part(*best[1])


def _up(x: np.ndarray | int, grain: int) -> np.ndarray | int:
    return -(-x // grain) * grain


def _best(
    c: Costs, l0c: int, product: tuple[int, int, int], operand: int, result: int, rows: int, limits: Limits, holds: str
) -> tuple[tuple, tuple] | None:
    """((cost and what decides between equal costs), (m, n, k, bytes)) of the best part."""
    M, K, N = product
    grain_m, grain_k, grain_n = limits.grain
    widest = N if limits.columns is None else min(N, limits.columns)
    m = np.arange(grain_m, M + 1, grain_m)[:, None]
    n = np.arange(grain_n, widest + 1, grain_n)[None, :]
    if n.size == 0:
        return None
    boxed_m, boxed_n = _up(m, limits.box_m), _up(n, limits.box_n)
    taken = _up(boxed_m, rows) * boxed_n * result
    room_a = L0 // (operand * (1 if holds == "A" else 2))
    room_b = L0 // (operand * (1 if holds == "B" else 2))
    across, down = -(-N // n), -(-M // m)
    held_a = operand * M * K / c.to_a + operand * K * N * down / c.to_b
    held_b = operand * M * K * across / c.to_a + operand * K * N / c.to_b
    both = operand * M * K * across / c.to_a + operand * K * N * down / c.to_b
    step = max(1, BLOCK // operand)
    passes = c.passes if operand == 4 else max(1, operand // 2)
    drain = across * down * (c.out_fixed + m * _row(c, n, result))
    best: tuple[tuple, tuple] | None = None
    for k in range(grain_k, K + 1, grain_k):
        if holds and k != K:
            continue
        legal = (taken <= l0c) & (boxed_m * k <= room_a) & (boxed_n * k <= room_b)
        if limits.columns is not None and k == K and holds != "B":  # its windows are kept once a stage
            nested = (held_a <= held_b) & (holds == "")
            tiled = (m != M) | (n != N)
            legal &= ~tiled | (n <= np.where(nested, limits.columns // 4, limits.columns // 2))
        if not legal.any():
            continue
        whole, tail = divmod(K, k)
        blocks = whole + (tail > 0)
        fractals = whole * -(-k // step) + -(-tail // step)
        multiplied = down * across * (blocks * c.head + passes * -(-m // GRAIN) * fractals * -(-n // GRAIN))
        loads = {"A": held_a, "B": held_b}.get(holds, np.where(held_a <= held_b, held_a, held_b) if k == K else both)
        cost = np.floor(np.maximum(loads, multiplied) + drain + 0.5)
        padded = down * m * across * n * _up(K, k)
        keys = [np.broadcast_to(x, legal.shape)[legal] for x in (cost, padded, loads, -(m * n), m, n, taken)]
        first = np.lexsort([keys[5], keys[4], keys[3], keys[2], keys[1], keys[0]])[0]
        at = [x[first] for x in keys]
        key = (at[0], at[1], blocks, at[2], at[3], -k)
        if best is None or key < best[0]:
            best = key, (int(at[4]), int(at[5]), k, int(at[6]))
    return best


def _row(c: Costs, n: np.ndarray, result: int) -> np.ndarray:
    """Cycles in which a row of n columns leaves L0C: columns that are no power of two of bursts take more."""
    bursts = -(-n // max(1, BLOCK // result))
    odd = bursts // (bursts & -bursts)
    return np.maximum(c.out_row, result * n / c.out) + c.out_burst * (odd - 1)
