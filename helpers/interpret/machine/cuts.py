"""Products larger than L0C: who PyPTO cuts into parts that fit, and what is then where.

Source: PyPTO src/ir/transforms/auto_tile_matmul_l0_pass.cpp and docs/en/dev/passes/15-auto_tile_matmul_l0.md; of
batches 13-flatten_tile_nd_to_2d.md. A product of tiles in L1 is cut where it is stored once, as it is, or where it is
only multiplied on: then its parts are put together in L1, in BF16 or FP16 on A2/A3. Everything else stays whole, and
does not fit. Values do not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from helpers.chips import Chip
from helpers.interpret.language import autotile
from helpers.interpret.language.dtypes import DType
from helpers.interpret.language.tile_shapes import product_misfit
from helpers.interpret.source.source import Place
from helpers.interpret.values.values import Memory, Tile

BIAS_TABLE = {"a2a3": 1 << 10, "a5": 4 << 10}  # bytes, BackendHandler::GetBiasCapacityBytes
KEPT_IN_L1 = {"a2a3": ("BF16", "FP16"), "a5": ("BF16", "FP16", "FP32")}  # RequiresLowPrecisionMatScratch
# What a bias in L1 may be beside an accumulator (SupportsMatToBiasMove); INT32 beside INT32.
BIASES = {"a2a3": ("FP32", "FP16"), "a5": ("FP32", "FP16", "BF16")}

STORED, MULTIPLIED, FOLDED, OTHER = "stored", "multiplied", "folded", "other"
CARRIED = "carried"  # it is what the same loop adds to


@dataclass(eq=False)
class Cut:
    """A product that L0C cannot hold whole, and what is done with it.

    Attributes:
        memory: Where it lies.
        part: What lies in L0C at a time, None where PyPTO does not cut such a product whatever is done with it.
        dtype: Of its elements.
        operands: Where its operands lie.
        product: M, K and N.
        carried: It is the accumulator of a loop that is cut as a whole, see `facts/split_k`.
        uses: What reads it, in order: each is a place, and a word of those above.
    """

    memory: Memory
    part: autotile.Part | None
    dtype: DType
    operands: tuple[Memory, ...]
    product: tuple[int, int, int]
    carried: bool
    uses: list[tuple[object, str]] = field(default_factory=list)

    def used(self, at: Place, how: str = OTHER) -> None:
        """Something at `at` reads it; said more closely by those that know, after it was said at all."""
        if how != OTHER:
            self.uses = [use for use in self.uses if use != (at, OTHER)]
        if how != CARRIED:
            self.uses.append((at, how))

    @property
    def ways(self) -> set[str]:
        return {how for _, how in self.uses}

    def settle(self, chip: Chip) -> Memory | None:
        """Once nothing more is done with it: what it takes of L0C becomes what its part takes, where it is cut. Returns
        the memory that it takes beside."""
        if self.part is None:
            return None
        if self.carried and len(self.uses) == 1 and self.ways == {STORED}:
            self.memory.bytes = self.part.bytes
        if self.carried:
            return None
        if len(self.uses) == 1 and self.ways == {STORED}:  # all of it is done where it is stored
            self.memory.bytes, self.memory.born = self.part.bytes, self.memory.last
            for operand in self.operands:
                operand.last = max(operand.last, self.memory.last)
            return None
        if len(self.uses) == 1 and self.ways == {FOLDED}:
            self.memory.bytes, self.memory.last = self.part.bytes, self.memory.born
            return None
        whole = Memory("L1", self.memory.bytes, self.memory.born, self.memory.place, self.memory.turns)
        fits = whole.bytes <= chip.buffers["L1"]
        if self.ways != {MULTIPLIED} or self.dtype.name not in KEPT_IN_L1[chip.rules] or not fits:
            return None
        whole.last, self.memory.last, self.memory.bytes = self.memory.last, self.memory.born, self.part.bytes
        return whole

    def why(self, chip: Chip) -> str:
        """Why it is not cut, for the error."""
        if self.part is None:
            return "PyPTO cuts no product of such operands"
        if OTHER in self.ways or len(self.ways) > 1 or not self.uses:
            return "PyPTO cuts it where it is stored once, as it is, or only multiplied on"
        if self.ways == {STORED}:
            return "PyPTO cuts it where it is stored once"
        return f"PyPTO keeps {' or '.join(KEPT_IN_L1[chip.rules])} of a cut product in L1, as much as fits"


def watched(m: Any, tile: Tile, a: Tile, b: Tile, bias: Tile | None, shape: Sequence[int]) -> None:
    """Have an eye on a new product, if it is larger than L0C; `shape`: M, K, N."""
    rows = 32 if tile.dtype.name == "INT32" and m.chip.rules == "a2a3" else autotile.GRAIN
    M, K, N = shape
    l0c, size = m.chip.buffers["L0C"], int(tile.dtype.bytes)
    batches = 1
    for n in tile.shape[:-2]:
        batches *= n
    physical = -(-M // rows) * rows * N * size
    if batches * physical <= l0c:
        return
    if tile.dtype.bits < 32 or batches > 1:  # what the accumulator itself holds is not known here
        part = autotile.Part(M, N, K, physical) if batches > 1 and physical <= l0c else None
    else:
        part = _part(m.chip, l0c, (M, K, N), a, b, bias, tile.dtype, rows, m.onchip.parted is not None)
    operands = tuple(x.memory for x in (a, b, bias) if x is not None)
    tile.memory.cut = Cut(tile.memory, part, tile.dtype, operands, (M, K, N), m.onchip.parted is not None)
    tile.memory.bytes = max(tile.memory.bytes, physical)


def _part(
    chip: Chip,
    l0c: int,
    product: tuple[int, int, int],
    a: Tile,
    b: Tile,
    bias: Tile | None,
    to: DType,
    rows: int,
    carried: bool,
) -> autotile.Part | None:
    if a.memory.space != "L1" or b.memory.space != "L1" or a.dtype.bits < 8:
        return None
    size = int(a.dtype.bytes)
    limits = autotile.Limits(autotile.GRAIN, autotile.BLOCK // size, output=True) if carried else autotile.Limits()
    if bias is not None:
        box = autotile.BLOCK // size
        grain = max(autotile.GRAIN, box)
        table = BIAS_TABLE[chip.rules] // int(to.bytes)
        allowed = BIASES[chip.rules] if to.is_float else ("INT32",)
        if product[0] % autotile.GRAIN or product[1] % grain or product[2] % grain or bias.dtype.name not in allowed:
            return None
        limits = autotile.Limits(autotile.GRAIN, box, (autotile.GRAIN, grain, grain), table)
    found = autotile.part(chip.rules, l0c, product, size, int(to.bytes), rows, limits)
    if found is not None and bias is not None and found.n != product[2] and not bias.memory.loaded:
        return None  # the bias table has no windows: a bias is loaded anew for each part
    return None if found is None or found.bytes > l0c else found


def page_by_page(m: Any, a: Tile, b: Tile) -> None:
    """Operands of a batch that L1 does not hold together are loaded one of the batch at a time."""
    if len(a.shape) < 3 or a.memory.bytes + b.memory.bytes <= m.chip.buffers["L1"]:
        return
    for x in (a, b):
        if x.memory.loaded and x.memory.shape == x.shape:
            page = x.shape[-2] * x.shape[-1] * x.dtype.bits + 7 >> 3
            m.now.task.total -= x.memory.bytes - page
            x.memory.bytes = page


def folds(chip: Chip, x: Any) -> bool:
    """True for a product that a cast to BF16 or FP16 takes to L1: in FP32, and cut where L0C does not hold it."""
    if type(x) is not Tile or x.memory.space != "L0C" or len(x.shape) != 2 or x.dtype.name != "FP32":
        return False
    fits = x.shape[0] * x.shape[1] * 2 <= chip.buffers["L1"]
    return x.memory.cut is None or (x.memory.cut.part is not None and not x.memory.cut.uses and fits)


def boxed(m: Any, rows: int, k: int, columns: int, dtype: DType) -> bool:
    """True for the product of a loop that is cut as a whole: its windows are loaded in whole boxes."""
    if m.onchip.parted is None or dtype.bits < 8 or 4 * rows * columns <= m.chip.buffers["L0C"]:
        return False
    box = autotile.BLOCK * 8 // dtype.bits
    wide = -(-columns // box) * box
    return columns % autotile.GRAIN == 0 and product_misfit(rows, k, wide, dtype, False, False) is None


def repeat(m: Any, cut: Cut, loads: list) -> None:
    """Loads of a loop that is gone through once for each part: of each operand, the window that the part needs."""
    if cut.part is None:
        return
    M, K, N = cut.product
    down, across = -(-M // cut.part.m), -(-N // cut.part.n)
    for at, w, tile in loads:
        times, windows = {(M, K): (across, down), (K, N): (down, across)}.get(tile.shape, (1, 1))
        tile.memory.bytes = -(-tile.memory.bytes // windows)
        for _ in range(times - 1):
            m.memory.again(at, w, tile)
