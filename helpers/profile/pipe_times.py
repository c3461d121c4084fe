"""How long each instruction of a task keeps which pipe busy: predicted, in microseconds.

A core has pipes that run side by side, each in its own order. A cube core: MTE2 (global memory to L1), MTE1 (L1 to L0A
and L0B), cube, FIXP (out of L0C), scalar. A vector core: MTE2 (global memory to UB), vector, MTE3 (out of UB), scalar.
Rates, with their sources: helpers/chips/chips.toml.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from helpers.chips import Chip
from helpers.interpret.language.dtypes import BY_NAME
from helpers.interpret.trace.program import Step

PIPES = ("cube MTE2", "MTE1", "cube", "FIXP", "cube scalar", "vector MTE2", "vector", "MTE3", "vector scalar")
"""The pipes of a core group, the cube core's first; of its two vector cores, which have the same pipes, one stands for
both unless they do different things."""
CUBE_PIPES = PIPES[:5]
CUBE_MTE2, MTE1, CUBE, FIXP, CUBE_SCALAR, VECTOR_MTE2, VECTOR, MTE3, VECTOR_SCALAR = range(9)
SECOND = 4  # added to the number of a vector core's pipe: the same pipe of the second one, in a pl.split_aiv

FUNCTIONS = {"exp", "log", "sin", "cos", "sqrt", "rsqrt", "recip", "div", "divs", "rem", "rems", "fmod", "fmods"}
PLAIN = {"neg", "abs", "relu", "not_", "full", "arange", "assemble", "fillpad", "expand", "concat"}


def pipe_times(step: Step, chip: Chip, halves: bool = False) -> list[tuple[int, float]]:
    """(pipe, microseconds) of one step, in the order in which its data goes; `halves`: two vector cores share it, when
    it is one of theirs."""
    memory, vector = chip.memory, chip.vector
    cycles = 1e-3 / chip.clock_ghz  # microseconds of one
    if step.kind == "scalar":
        return [(VECTOR_SCALAR, chip.scalar.read * cycles)]
    if step.engine == "load":
        rows, nbytes = step.size
        to_l1 = step.kind == "L1"
        rate = memory.to_l1 if to_l1 else memory.to_ub
        time = memory.latency + _share(step, halves) * rows * lines(nbytes, memory.line) * memory.line / rate * 1e-3
        return [(CUBE_MTE2 if to_l1 else VECTOR_MTE2, time)]
    if step.engine == "store":
        rows, nbytes = step.size
        from_l0c = step.kind == "L0C"
        rate = memory.from_l0c if from_l0c else memory.from_ub
        time = memory.latency + _share(step, halves) * rows * lines(nbytes, memory.line) * memory.line / rate * 1e-3
        return [(FIXP, max(time, drain(rows, nbytes, chip) * cycles))] if from_l0c else [(MTE3, time)]
    if step.engine == "move":
        return _handed(step, chip, halves)
    if step.engine == "cube":
        made = product(step, chip)
        return [(MTE1, made.into_a + made.into_b), (CUBE, made.us)]
    count = math.prod(step.size) * (0.5 if halves else 1.0)
    repeats = math.ceil(count * BY_NAME[step.dtype].bits / 8 / 256)
    return [(VECTOR, (vector.head + repeats * getattr(vector, instruction(step.kind))) * cycles)]


class Product(NamedTuple):
    """What a product takes: microseconds into L0A, into L0B and of the cube, all pieces together; how many pieces L0
    makes of it; whether L0 holds two of them at a time."""

    into_a: float
    into_b: float
    us: float
    pieces: int
    twice: bool


def product(step: Step, chip: Chip) -> Product:
    """What a product takes. One that L0 cannot hold is cut along K, into pieces that fit twice."""
    cube, cycles = chip.cube, 1e-3 / chip.clock_ghz
    m, k, n = step.size
    width = BY_NAME[step.dtype].bits / 8
    passes = cube.passes_fp32 if width == 4 else 1
    tiles = math.ceil(m / 16) * math.ceil(k * width / 32) * math.ceil(n / 16)
    full = max(m * k * width / chip.buffers["L0A"], n * k * width / chip.buffers["L0B"])
    pieces = 1 if full <= 1 else math.ceil(2 * full)
    into_a, into_b = m * k * width / cube.l0a_bytes * cycles, n * k * width / cube.l0b_bytes * cycles
    return Product(into_a, into_b, (cube.head * pieces + passes * tiles) * cycles, pieces, 2 * full <= pieces)


def _share(step: Step, halves: bool) -> float:
    """How much of a step each vector core does."""
    return 0.5 if halves and step.kind == "UB" else 1.0


def _handed(step: Step, chip: Chip, halves: bool) -> list[tuple[int, float]]:
    """A tile that goes from one buffer to another. Between cube and vector cores it goes out to global memory and comes
    back where the chip's ring lies there, in one piece each way."""
    memory, cycles = chip.memory, 1e-3 / chip.clock_ghz
    rows, nbytes = step.size
    if step.kind == "L0C-L1":
        return [(FIXP, drain(rows, nbytes, chip) * cycles)]
    share = 0.5 if halves else 1.0  # of it, for each of two vector cores
    size = rows * nbytes * 1e-3
    if step.kind == "L0C-UB":
        out = drain(rows, nbytes, chip) * cycles
        if chip.ring == "chip":
            return [(FIXP, out)]
        out = max(out, memory.latency + size / memory.from_l0c)
        return [(FIXP, out), (VECTOR_MTE2, memory.latency + share * size / memory.to_ub)]
    out = memory.latency + share * size / memory.from_ub
    return [(MTE3, out)] if chip.ring == "chip" else [(MTE3, out), (CUBE_MTE2, memory.latency + size / memory.to_l1)]


def instruction(name: str) -> str:
    """The kind of a vector operation, a field of `chips.Vector`."""
    if name in FUNCTIONS:
        return "function"
    if name.startswith(("row_", "col_")) or name in ("sort", "gather", "scatter"):
        return "fold"
    return "plain" if name in PLAIN or (name.endswith("s") and name != "abs") else "pair"


def lines(nbytes: float, line: int) -> int:
    """Lines of memory that a row of so many bytes takes."""
    return max(1, math.ceil(nbytes / line))


def drain(rows: float, nbytes: float, chip: Chip) -> float:
    """Cycles in which a result leaves L0C."""
    cube = chip.cube
    return cube.drain_head + rows * max(cube.drain_row, nbytes / cube.drain_bytes)
