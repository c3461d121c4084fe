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

KINDS = {
    **dict.fromkeys(("div", "divs", "rem", "rems", "fmod", "fmods", "recip", "sin", "cos"), "divide"),
    **dict.fromkeys(
        ("neg", "abs", "relu", "not_", "rsqrt", "full", "arange", "assemble", "fillpad", "expand"), "plain"
    ),
    "gather": "gather",
    "scatter": "scatter",
    **dict.fromkeys(("row_expand", "concat"), "spread"),
    "sort": "sort",
}
"""Operations by the kind of their instructions, fields of `chips.Vector`; others: `instruction`."""
FOLDS = ("sum", "max", "min", "prod", "argmax", "argmin")


def pipe_times(step: Step, chip: Chip, halves: bool = False, missed: float = 0.0) -> list[tuple[int, float]]:
    """(pipe, microseconds) of one step, in the order in which its data goes; `halves`: two vector cores share it, when
    it is one of theirs; `missed`: the share of what it loads that the L2 cache has not."""
    memory = chip.memory
    cycles = 1e-3 / chip.clock_ghz  # microseconds of one
    if step.kind == "scalar":
        return [(VECTOR_SCALAR, chip.scalar.read * cycles)]
    if step.engine == "load":
        rows, nbytes = step.size
        to_l1 = step.kind == "L1"
        rate = memory.to_l1 if to_l1 else memory.to_ub
        burst = memory.burst_l1 if to_l1 else memory.burst_ub
        if missed:  # of a line's bytes those that the row has; who reads the rest of it finds it in the cache
            share = missed * nbytes / (lines(nbytes, memory.line) * memory.line)
            rate = 1 / ((1 - share) / rate + share / memory.missed)
        time = moved(_share(step, halves) * rows, nbytes, rate, burst, chip)
        return [(CUBE_MTE2 if to_l1 else VECTOR_MTE2, time)]
    if step.engine == "store":
        rows, nbytes = step.size
        from_l0c = step.kind == "L0C"
        rate = memory.from_l0c if from_l0c else memory.from_ub
        time = moved(_share(step, halves) * rows, nbytes, rate, 0.0, chip)
        return [(FIXP, max(time, drain(rows, nbytes, chip) * cycles))] if from_l0c else [(MTE3, time)]
    if step.engine == "move":
        return _handed(step, chip, halves)
    if step.engine == "cube":
        made = product(step, chip)
        return [(MTE1, made.into_a + made.into_b), (CUBE, made.us)]
    return [(VECTOR, worked(step, chip, halves) * cycles)]


def worked(step: Step, chip: Chip, halves: bool = False) -> float:
    """Cycles of a vector instruction. Those that work row by row take their time for each row, and a little more where
    a row is more than 256 bytes."""
    vector = chip.vector
    rows, cols = math.prod(step.size[:-1]), step.size[-1] if step.size else 1
    rows *= 0.5 if halves else 1.0
    width = cols * BY_NAME[step.dtype].bits / 8 / 256  # of a row, in 256 bytes
    kind = instruction(step.kind)
    if kind in ("row", "col"):
        each, more = (vector.row, vector.row_more) if kind == "row" else (vector.col, vector.col_more)
        return (vector.row_head if kind == "row" else vector.head) + rows * (each + more * max(0.0, width - 1))
    if kind == "scatter":
        return vector.head + rows * cols * vector.scatter
    if kind in ("gather", "spread"):
        return vector.head + rows * getattr(vector, kind) * max(1.0, width if kind == "gather" else 1.0)
    return vector.head + math.ceil(rows * width) * getattr(vector, kind)


def moved(rows: float, nbytes: float, rate: float, burst: float, chip: Chip) -> float:
    """Microseconds that a transfer keeps its pipe busy: whole lines of each row at `rate` GB/s, at least `burst`
    nanoseconds a row, and what a transfer costs whatever its size."""
    line = chip.memory.line
    return chip.memory.issue + rows * max(lines(nbytes, line) * line / rate, burst) * 1e-3


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
        out = max(out, memory.issue + size / memory.from_l0c)
        return [(FIXP, out), (VECTOR_MTE2, memory.issue + share * size / memory.to_ub)]
    out = memory.issue + share * size / memory.from_ub
    return [(MTE3, out)] if chip.ring == "chip" else [(MTE3, out), (CUBE_MTE2, memory.issue + size / memory.to_l1)]


def instruction(name: str) -> str:
    """The kind of a vector operation: a field of `chips.Vector`, or "row", "col" for reductions along one."""
    if name.startswith(("row_", "col_")) and name[4:] in FOLDS:
        return name[:3]
    return KINDS.get(name) or ("plain" if name.endswith("s") else "pair")


def lag(pipe: int, buffer: str, chip: Chip) -> float:
    """Microseconds from the end of a bar to when what it moved can be used: what comes from global memory, or goes
    there."""
    pipe = pipe if pipe < len(PIPES) else pipe - SECOND
    if pipe in (VECTOR_MTE2, MTE3):
        return chip.memory.latency_ub
    return chip.memory.latency if pipe == CUBE_MTE2 or (pipe == FIXP and buffer == "GM") else 0.0


def lines(nbytes: float, line: int) -> int:
    """Lines of memory that a row of so many bytes takes."""
    return max(1, math.ceil(nbytes / line))


def drain(rows: float, nbytes: float, chip: Chip) -> float:
    """Cycles in which a result leaves L0C."""
    cube = chip.cube
    return cube.drain_head + rows * max(cube.drain_row, nbytes / cube.drain_bytes)
