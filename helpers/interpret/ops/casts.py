"""pl.cast: from one element type to another, in the steps that the chip has.

A chip converts some pairs of types in one instruction (`pto.tcvt`); PyPTO's pass 14 (LegalizeTileCast) makes of the
others the shortest chain of such, each of which rounds. Source: src/ir/transforms/legalize_tile_cast_pass.cpp and the
tables of src/backend/910B and 950; the page of that pass lists the lengths of the chains.
"""

from __future__ import annotations

from typing import Any

import torch

from helpers.interpret import cuts, dtypes, numbers
from helpers.interpret.dtypes import DType
from helpers.interpret.lanes import is_scalar
from helpers.interpret.machine import Machine
from helpers.interpret.ops.common import dtype_of, everywhere, in_ub, op, vector
from helpers.interpret.source import Place
from helpers.interpret.values import Tile

_EIGHT = "FP8E4M3FN FP8E5M2"

# From types, to types: by way of.
_CHAINS = {
    "a2a3": (
        ("FP32 INT32 INT16", "INT8 UINT8", "FP16"),
        ("INT8", "UINT8", "FP16"),
        ("UINT8", "INT8", "FP16"),
        ("FP16 INT64 INT32 INT16", "BF16", "FP32"),
        ("BF16 INT64", "FP16 INT16", "FP32"),
        ("BF16 INT64", "INT8 UINT8", "FP32 FP16"),
    ),
    "a5": (
        ("FP32 BF16 INT16 UINT8", "INT8", "FP16"),
        ("FP32 BF16 INT8", "UINT8", "FP16"),
        ("FP32 FP16 BF16 INT64 INT8", "UINT16", "INT32"),
        (f"FP16 INT64 INT32 INT16 {_EIGHT}", "BF16", "FP32"),
        (f"INT64 INT32 {_EIGHT}", "FP16", "FP32"),
        (f"BF16 INT64 {_EIGHT}", "INT16", "FP32"),
        (f"FP16 BF16 INT64 INT32 INT16 {_EIGHT}", _EIGHT, "FP32"),
        ("INT8 UINT8", _EIGHT, "FP16 FP32"),
        (f"INT64 INT32 {_EIGHT}", "INT8", "FP32 FP16"),
        (_EIGHT, "UINT8", "FP32 FP16"),
        (_EIGHT, "UINT16", "FP32 INT32"),
        ("INT64", "UINT8", "INT32"),
        ("INT16", "UINT16", "UINT32"),
        ("UINT32", "INT8", "INT16 FP16"),
    ),
}  # fmt: skip
BY_WAY_OF = {
    chip: {
        (s, t): tuple(dtypes.BY_NAME[w] for w in way.split())
        for sources, targets, way in rows
        for s in sources.split()
        for t in targets.split()
    }
    for chip, rows in _CHAINS.items()
}

MODES = ("none", "rint", "round", "floor", "ceil", "trunc", "odd")


@op(*everywhere("cast"))
def cast(m: Machine, at: Place, input: Any, target_type: Any, mode: Any = "round", folds: bool = False) -> Any:
    """Another element type, of a tile or of a scalar.

    Float to float rounds to nearest, ties to even, whatever the mode: so does PTO-ISA's CPU reference
    (include/pto/cpu/TCvt.hpp), which PyPTO's simulators run. The device's own CAST_ROUND (the default mode) rounds
    ties away from zero; write mode="rint" where that matters. Float to integer rounds by the mode: none, rint (ties
    to even), round (ties away), floor, ceil, trunc, odd.
    """
    d = dtype_of(m, at, target_type)
    if is_scalar(input):
        return numbers.cast(m, at, input, d)
    if folds and cuts.folds(m.chip, input):
        return _folded(m, at, input, d)
    x = in_ub(m, at, input)
    if x.dtype is d:
        raise m.fault(at, f"pl.cast of {x} to its own type", "remove the cast")
    vector(m, x.shape, x.dtype if x.dtype.bits > d.bits else d, "cast")
    how = _mode(m, at, mode)
    data = None if m.dry else converted(x.data, x.dtype, d, how, m.chip.name)
    return m.tile(at, data, x.shape, d, x.valid)


def _folded(m: Machine, at: Place, x: Tile, d: DType) -> Tile:
    """A product goes from L0C to L1, rounded to nearest even on its way: no vector core has to do with it."""
    if x.memory.cut is not None:
        x.memory.cut.used(at, cuts.FOLDED)
    m.touch(x)
    if not m.quiet:
        m.step("move", "L0C-L1", d, (x.shape[0], x.shape[1] * d.bits // 8))
    return m.tile(at, None if m.dry else x.data.to(d.torch), x.shape, d, x.valid, "L1")


def _mode(m: Machine, at: Place, mode: Any) -> str:
    name = MODES[mode] if isinstance(mode, int) and 0 <= mode < len(MODES) else mode
    if name not in MODES:
        raise m.fault(at, f"cast mode {mode!r}", f"use one of {', '.join(MODES)}")
    return name


def converted(data: torch.Tensor, src: DType, dst: DType, mode: str, chip: str) -> torch.Tensor:
    """Values of `src` in the carrier of `dst`, by way of the types that the chip takes."""
    for way in (*BY_WAY_OF[chip].get((src.name, dst.name), ()), dst):
        data, src = _step(data, src, way, mode), way
    return data


def _step(data: torch.Tensor, src: DType, dst: DType, mode: str) -> torch.Tensor:
    """What one instruction converts."""
    if src.is_float and not dst.is_float:
        return _whole(data if data.dtype == torch.float32 else data.float(), dst, mode)
    if dst.name == "FP8E4M3FN":  # it has no infinity
        data = data.clamp(-448, 448)
    return dtypes.wrap(data.to(dst.torch), dst)


def _whole(x: torch.Tensor, dst: DType, mode: str) -> torch.Tensor:
    """Floats as integers, rounded by the mode: the nearest that the type has of what is out of range, 0 of NaN."""
    if mode == "round":
        x = _away(x)
    elif mode in ("rint", "odd"):
        x = _odd(x) if mode == "odd" else torch.round(x)
    elif mode == "floor":
        x = torch.floor(x)
    elif mode == "ceil":
        x = torch.ceil(x)
    bits, signed = numbers.width(dst)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if signed and bool((x.abs() <= min(high, 1 << 24)).all()):
        return x.to(dst.torch)
    x = torch.nan_to_num(x.double(), nan=0.0, posinf=torch.inf, neginf=-torch.inf)
    if bits < 64:
        return x.clamp(low, high).long().to(dst.torch)
    top = x >= 2.0**63  # of which FP64 has no largest below
    return torch.where(top, high, torch.where(top, 0.0, x.clamp(min=low)).long())


def _away(x: torch.Tensor) -> torch.Tensor:
    # x + 0.5 can itself round up in FP32 (0.49999997 + 0.5 = 1), so the fraction is looked at instead
    whole = torch.trunc(x)
    return torch.where((x - whole).abs() >= 0.5, whole + torch.sign(x), whole)


def _odd(x: torch.Tensor) -> torch.Tensor:
    low = torch.floor(x)
    tie = (x - low) == 0.5
    return torch.where(tie, torch.where(low.remainder(2) == 1, low, low + 1), torch.round(x))
