"""Which element types each operation takes, chip by chip.

Three refuse: PyPTO's compiler, from an operation's type rules, its assembler, and the chip's instruction, which asserts
what it is instantiated with. Source: small kernels of every operation and type compiled with PyPTO e2d0f78a and ptoas
0.57 for both chips, and for the unsigned types, which no tensor of torch's has there, the assertions of PTO-ISA's
instructions (include/pto/npu/a2a3 and a5). An operation that is not here takes every type; a type that was not tried
(`TRIED`) is not refused.
"""

from __future__ import annotations

CHIPS = ("a2a3", "a5")

_FLOAT = "FP32 FP16"
_FOUR = "FP32 FP16 INT32 INT16"
_NINE = "FP32 FP16 BF16 INT32 INT16 INT8 UINT32 UINT16 UINT8"
_EIGHT = "FP32 FP16 INT32 INT16 INT8 UINT32 UINT16 UINT8"
_SIX = "FP32 FP16 BF16 INT32 INT16 INT8"
_INTEGERS = "INT32 INT16 INT8 UINT32 UINT16 UINT8"

# Operations; their types on A2/A3; their types on A5. With a number as second operand an operation's name ends in s.
_TABLE = (
    ("add minimum part_add part_max part_min col_sum col_max col_min", _FOUR, _NINE),
    ("sub maximum", _FOUR, _EIGHT),
    ("adds subs muls maximums minimums", _FOUR, _SIX),
    ("mul", _FOUR, f"{_FOUR} UINT32 UINT16"),
    ("neg", _FOUR, _NINE),
    ("part_mul", _FOUR, _NINE),
    ("div", _FLOAT, _FOUR),
    ("divs", _FOUR, _EIGHT),
    ("fmod fmods", _FOUR, f"{_FOUR} UINT32 UINT16"),
    ("rem rems", "FP32 INT32", f"{_FOUR} UINT32 UINT16"),
    ("and_ or_", _INTEGERS, _INTEGERS),
    ("ands ors", "INT16 UINT16 INT8 UINT8", _INTEGERS),
    ("xors", "INT16 UINT16", _INTEGERS),
    ("xor", f"{_INTEGERS} INT64 UINT64", _INTEGERS),
    ("shl shr", _INTEGERS, _INTEGERS),
    ("shls", f"{_INTEGERS} INT64 UINT64", f"{_INTEGERS} INT64 UINT64"),
    ("shrs", "INT32 INT16 UINT32 UINT16", _INTEGERS),
    ("not_", "INT16 UINT16", "INT16 UINT16"),
    ("exp sqrt rsqrt log lrelu prelu row_expand_expdif col_expand_expdif", _FLOAT, _FLOAT),
    ("sin cos", "FP32", "FP32"),
    ("abs", _FLOAT, _FLOAT),
    ("recip", _FOUR, _FLOAT),
    ("relu", "FP32 FP16 INT32", "FP32 FP16 INT32"),
    ("row_sum row_prod row_min row_max", _FOUR, _FOUR),
    ("col_prod", _FOUR, "FP32 FP16 BF16 INT32 INT16 UINT32 UINT16"),
    ("row_argmax row_argmin", "FP32 FP16 INT32 INT16", "FP32 FP16 INT32 INT16"),
    ("col_argmax col_argmin", "FP32 FP16 UINT32 UINT16", _NINE),
    ("row_expand_sub row_expand_mul row_expand_max row_expand_min", _FOUR, _EIGHT),
    ("col_expand_add col_expand_sub col_expand_mul col_expand_max col_expand_min", _FOUR, _EIGHT),
    ("row_expand_add", _FOUR, f"{_FOUR} INT8"),
    ("row_expand_div col_expand_div", _FLOAT, _EIGHT),
    ("cmp", "FP32 FP16 INT32", _NINE),
    ("cmps", "FP32 FP16 INT32 INT16 UINT16", _EIGHT),
    ("arange ci", "INT32 INT16 UINT32 UINT16", "INT32 INT16 UINT32 UINT16"),
    ("sort32 mrgsort", _FLOAT, _FLOAT),
    ("tri", "FP32 FP16 INT32 INT16 UINT32 UINT16", _NINE),
    ("gather gather_mask", _FOUR, _FOUR),
    ("matmul", "FP32 FP16 BF16 INT8 UINT8", "FP32 FP16 BF16 INT8 UINT8 FP8E4M3FN FP8E5M2"),
    ("matmul_bias batch_matmul gemv gemv_bias", "FP32 FP16 BF16 INT8", "FP32 FP16 BF16 INT8 FP8E4M3FN FP8E5M2"),
)  # fmt: skip

# What pl.cast makes of a type: on A2/A3, and besides that on A5.
_CASTS = {
    "FP32": ("FP16 BF16 INT32 INT16 INT8 UINT8 INT64", "UINT16 FP8E4M3FN FP8E5M2"),
    "FP16": ("FP32 BF16 INT32 INT16 INT8 UINT8", "UINT16 FP8E4M3FN FP8E5M2"),
    "BF16": ("FP32 FP16 INT32 INT16 INT8 UINT8", "UINT16 FP8E4M3FN FP8E5M2"),
    "INT32": ("FP32 FP16 BF16 INT16 INT8 UINT8 INT64", "UINT16 FP8E4M3FN FP8E5M2"),
    "INT16": ("FP32 FP16 BF16 INT8 UINT8", "INT32 UINT16 UINT32 FP8E4M3FN FP8E5M2"),
    "INT8": ("FP16 UINT8", "INT32 INT16 UINT16 FP8E4M3FN FP8E5M2"),
    "UINT8": ("FP16 INT8", "UINT16 FP8E4M3FN FP8E5M2"),
    "UINT16": ("", ""),
    "UINT32": ("", "INT16 INT8 UINT8 UINT16"),
    "INT64": ("FP32 FP16 BF16 INT32 INT16 INT8 UINT8", "UINT16 FP8E4M3FN FP8E5M2"),
    "FP8E4M3FN": ("", "FP32 FP16 BF16 INT16 INT8 UINT8 UINT16 FP8E5M2"),
    "FP8E5M2": ("", "FP32 FP16 BF16 INT16 INT8 UINT8 UINT16 FP8E4M3FN"),
}

TRIED = frozenset(_CASTS) | {"UINT64"}
LIMITS = {
    name: dict(zip(CHIPS, (tuple(a.split()), tuple(b.split())))) for names, a, b in _TABLE for name in names.split()
}
CASTS = {
    source: {"a2a3": tuple(a.split()), "a5": (*a.split(), *b.split())} for source, (a, b) in _CASTS.items()
}  # fmt: skip


def limited(operation: str, scalar: bool) -> str | None:
    """The row of the table for `pl.<operation>`, whose second operand is a number (`scalar`) or not; None: no limit."""
    of_number = operation.rstrip("_") + "s"
    if scalar and of_number in LIMITS:
        return of_number
    return operation if operation in LIMITS else None


def refused(row: str, element: str, chip: str) -> bool:
    """True when an operation does not take tiles of that element type on a chip."""
    return element in TRIED and element not in LIMITS[row][chip]


def cast_refused(source: str, target: str, chip: str) -> bool:
    """True when there is no way from one element type to another on a chip."""
    return source in TRIED and target in TRIED and source in CASTS and target not in CASTS[source][chip]


def described(operation: str, row: str, element: str, chip: str) -> tuple[str, str]:
    """(what is wrong, what to do), for a type that an operation does not take."""
    takes = LIMITS[row][chip]
    number = " and a number" if row != operation else ""
    fix = next(
        (f"pl.cast(x, pl.{t}) first" for t in takes if t in CASTS.get(element, {}).get(chip, ())), "another type"
    )
    where = "" if all(refused(row, element, c) for c in CHIPS) else " on A2/A3" if chip == "a2a3" else " on A5"
    return f"pl.{operation} of {element}{number}{where}: it takes {', '.join(takes)}", fix


def cast_described(source: str, target: str, chip: str) -> tuple[str, str]:
    """(what is wrong, what to do), for a cast that a chip does not have."""
    ways = [t for t in CASTS[source][chip] if target in CASTS.get(t, {}).get(chip, ())]
    fix = f"pl.cast(pl.cast(x, pl.{ways[0]}), pl.{target})" if ways else "another type"
    where = "" if all(cast_refused(source, target, c) for c in CHIPS) else " on A2/A3" if chip == "a2a3" else " on A5"
    return f"pl.cast from {source} to {target}{where}: there is no such instruction", fix
