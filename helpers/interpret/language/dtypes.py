"""Element types of `pypto.language` and the torch types that carry them.

PyPTO's own `DataType` objects (when that package is installed) and the stand-in's are told apart by
nothing but their name, so everything here goes by name: `of(obj)` accepts either.

Torch has no arithmetic for uint16, uint32 and uint64; they are carried in the next wider signed type
(uint64 in int64) and wrapped to their width where a value is produced (`wrap`).

Torch takes a second to import. It is imported when it is first needed, so that `import pypto.language` is quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class DType:
    """One element type: `name` as `pl` spells it, `bits` on the device, `carrier` its type on the host, in torch."""

    name: str
    bits: int
    carrier: str
    is_float: bool

    @cached_property
    def torch(self) -> torch.dtype:
        """Torch's type that carries it on the host."""
        import torch

        return getattr(torch, self.carrier)

    @property
    def bytes(self) -> float:
        """Bytes of one element on the device; a half for 4-bit types, which are packed two to a byte."""
        return self.bits / 8

    def __str__(self) -> str:
        return self.name


_TABLE = [
    DType("BOOL", 8, "bool", False),
    DType("INT4", 4, "int8", False),
    DType("UINT4", 4, "uint8", False),
    DType("FP4", 4, "float8_e4m3fn", True),
    DType("INT8", 8, "int8", False),
    DType("UINT8", 8, "uint8", False),
    DType("INT16", 16, "int16", False),
    DType("UINT16", 16, "int32", False),
    DType("INT32", 32, "int32", False),
    DType("UINT32", 32, "int64", False),
    DType("INT64", 64, "int64", False),
    DType("UINT64", 64, "int64", False),
    DType("INDEX", 64, "int64", False),
    DType("FP16", 16, "float16", True),
    DType("BF16", 16, "bfloat16", True),
    DType("FP32", 32, "float32", True),
    DType("FP8E4M3FN", 8, "float8_e4m3fn", True),
    DType("FP8E5M2", 8, "float8_e5m2", True),
    DType("FP8E8M0", 8, "float8_e8m0fnu", True),
]
BY_NAME = {d.name: d for d in _TABLE}

# PyPTO prints its types in lower case and spells two of them differently (`str(pl.BF16)` is "bfloat16").
_SPELLINGS = {d.name.lower(): d for d in _TABLE} | {"bfloat16": BY_NAME["BF16"], "float32": BY_NAME["FP32"]}

# What a host tensor of a torch type may be passed as.
_HOST = (
    {
        d.carrier: d
        for d in reversed(_TABLE)
        if d.name not in ("INDEX", "INT4", "UINT4", "FP4", "UINT16", "UINT32", "UINT64")
    }
    | {n.lower(): BY_NAME[n] for n in ("UINT16", "UINT32", "UINT64")}
    | {"float4_e2m1fn_x2": BY_NAME["FP4"]}
)

FP32, BF16, FP16, FP4 = BY_NAME["FP32"], BY_NAME["BF16"], BY_NAME["FP16"], BY_NAME["FP4"]
INT32, INT64, INDEX, BOOL = BY_NAME["INT32"], BY_NAME["INT64"], BY_NAME["INDEX"], BY_NAME["BOOL"]


def of(obj: object) -> DType | None:
    """The element type that `obj` (a `pl` constant of the stand-in or of PyPTO, or a DType) names, or None."""
    if isinstance(obj, DType):
        return obj
    return _SPELLINGS.get(str(obj).lower())


def of_host(dtype: torch.dtype) -> DType | None:
    """The element type under which a host tensor of torch type `dtype` enters a kernel, or None."""
    return _HOST.get(str(dtype).removeprefix("torch."))


def four_bits(dtype: DType, chip: str) -> tuple[str, str] | None:
    """(what is wrong, what to do) about a tile of a 4-bit type on a chip; None where it may be: FP4 on A5."""
    if dtype.bits >= 8 or (dtype is FP4 and chip == "a5"):
        return None
    if dtype is FP4:
        return "a tile of FP4: A2/A3 has no type of 4 bits", "run it on A5, or keep FP16 or BF16"
    fix = "keep several in a wider type, and take them apart with pl.and_ and pl.shr"
    return f"a tile of {dtype}: neither chip computes on 4-bit integers", fix


def wrap(data: torch.Tensor, dtype: DType) -> torch.Tensor:
    """Reduce carrier values to the width of an unsigned type that torch cannot compute in."""
    if dtype.name in ("UINT16", "UINT32", "UINT4"):
        return data & ((1 << dtype.bits) - 1)
    if dtype.name == "INT4":
        return ((data + 8) & 15) - 8
    return data
