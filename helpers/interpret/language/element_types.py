"""Which element types each operation takes, chip by chip: named groups, casts, and how a refusal is worded.

An operation's own types stand in its record. Three refuse: PyPTO's compiler, from an operation's type rules, its
assembler, and the chip's instruction, which asserts what it is instantiated with. Source: small kernels of every
operation and type compiled with PyPTO and its assembler for both chips, and for the unsigned types, which no
tensor of torch's has there, the assertions of PTO-ISA's instructions (include/pto/npu/a2a3 and a5). A type that was
not tried (`TRIED`) is not refused.
"""

from __future__ import annotations

from helpers.interpret.language.operation import Types

CHIPS = ("a2a3", "a5")

FLOAT = "FP32 FP16"
FOUR = "FP32 FP16 INT32 INT16"
NINE = "FP32 FP16 BF16 INT32 INT16 INT8 UINT32 UINT16 UINT8"
EIGHT = "FP32 FP16 INT32 INT16 INT8 UINT32 UINT16 UINT8"
SIX = "FP32 FP16 BF16 INT32 INT16 INT8"
SIX_WORDS = "FP32 FP16 INT32 INT16 UINT32 UINT16"
INTEGERS = "INT32 INT16 INT8 UINT32 UINT16 UINT8"
WORDS = "INT32 INT16 UINT32 UINT16"
CUBE = "FP32 FP16 BF16 INT8"
CUBE_A5 = "FP32 FP16 BF16 INT8 FP8E4M3FN FP8E5M2"

# What pl.cast makes of a type: on A2/A3, and besides that on A5.
_CASTS = {
    "FP32": ("FP16 BF16 INT32 INT16 INT8 UINT8 INT64", "UINT16 FP8E4M3FN FP8E5M2 FP4"),
    "FP16": ("FP32 BF16 INT32 INT16 INT8 UINT8", "UINT16 FP8E4M3FN FP8E5M2 FP4"),
    "BF16": ("FP32 FP16 INT32 INT16 INT8 UINT8", "UINT16 FP8E4M3FN FP8E5M2 FP4"),
    "INT32": ("FP32 FP16 BF16 INT16 INT8 UINT8 INT64", "UINT16 FP8E4M3FN FP8E5M2 FP4"),
    "INT16": ("FP32 FP16 BF16 INT8 UINT8", "INT32 UINT16 UINT32 FP8E4M3FN FP8E5M2 FP4"),
    "INT8": ("FP16 UINT8", "INT32 INT16 UINT16 FP8E4M3FN FP8E5M2 FP4"),
    "UINT8": ("FP16 INT8", "UINT16 FP8E4M3FN FP8E5M2 FP4"),
    "UINT16": ("", ""),
    "UINT32": ("", "INT16 INT8 UINT8 UINT16"),
    "INT64": ("FP32 FP16 BF16 INT32 INT16 INT8 UINT8", "UINT16 FP8E4M3FN FP8E5M2 FP4"),
    "FP8E4M3FN": ("", "FP32 FP16 BF16 INT16 INT8 UINT8 UINT16 FP8E5M2 FP4"),
    "FP8E5M2": ("", "FP32 FP16 BF16 INT16 INT8 UINT8 UINT16 FP8E4M3FN FP4"),
    "FP4": ("", "BF16 INT8 UINT8 FP8E4M3FN FP8E5M2"),
}

# What PyPTO does with tiles of FP4, which its chips compute nothing in.
OF_FP4 = frozenset(
    "cast load store move slice extract view reshape assemble set_validshape reinterpret_view create_tile "
    "create_tensor dim no_dep dump_tag transpose".split()
)

TRIED = frozenset(_CASTS) | {"UINT64"}
CASTS: dict[str, Types] = {
    source: {"a2a3": tuple(a.split()), "a5": (*a.split(), *b.split())} for source, (a, b) in _CASTS.items()
}


def by_chip(*texts: str) -> Types:
    """One group of types for both chips, or one for each."""
    return {chip: tuple(text.split()) for chip, text in zip(CHIPS, texts * (3 - len(texts)))}


def refused(types: Types, element: str, chip: str) -> bool:
    """True when an operation that takes `types` does not take tiles of that element type on a chip."""
    return element in TRIED and element not in types[chip]


def cast_refused(source: str, target: str, chip: str) -> bool:
    """True when there is no way from one element type to another on a chip."""
    return source in TRIED and target in TRIED and source in CASTS and target not in CASTS[source][chip]


def described(operation: str, types: Types, element: str, chip: str, number: bool = False) -> tuple[str, str]:
    """(what is wrong, what to do), for a type that an operation does not take; `number`: its second operand is one."""
    takes = types[chip]
    beside = " and a number" if number else ""
    fix = next(
        (f"pl.cast(x, pl.{t}) first" for t in takes if t in CASTS.get(element, {}).get(chip, ())), "another type"
    )
    where = _where(all(refused(types, element, c) for c in CHIPS), chip)
    return f"pl.{operation} of {element}{beside}{where}: it takes {', '.join(takes)}", fix


def cast_described(source: str, target: str, chip: str) -> tuple[str, str]:
    """(what is wrong, what to do), for a cast that a chip does not have."""
    ways = [t for t in CASTS[source][chip] if target in CASTS.get(t, {}).get(chip, ())]
    fix = f"pl.cast(pl.cast(x, pl.{ways[0]}), pl.{target})" if ways else "another type"
    where = _where(all(cast_refused(source, target, c) for c in CHIPS), chip)
    return f"pl.cast from {source} to {target}{where}: there is no such instruction", fix


def _where(everywhere: bool, chip: str) -> str:
    return "" if everywhere else " on A2/A3" if chip == "a2a3" else " on A5"
