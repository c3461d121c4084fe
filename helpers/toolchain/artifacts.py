"""What the compiler wrote, read back: its files, its plan of the on-chip buffers, its hints; at lines of the kernel.

The formats are those of PyPTO's PTO backend: `kernels/**/*.pto` or `ptoas/*.pto` (one module an InCore function,
with a place for every operation), `report/perf_hints.log`, `kernel_config.py` where the assembler has run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from helpers.interpret.source import texts
from helpers.interpret.source.source import Place

# PyPTO's names of the on-chip buffers, and those of the chip tables.
BUFFERS = {"vec": "UB", "mat": "L1", "left": "L0A", "right": "L0B", "acc": "L0C"}
_BITS = {"f32": 32, "i32": 32, "ui32": 32, "f16": 16, "bf16": 16, "i16": 16, "ui16": 16, "i8": 8, "ui8": 8, "i1": 8,
         "i64": 64, "ui64": 64, "f8E4M3FN": 8, "f8E5M2": 8}  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """One buffer of the compiler's plan: its first byte, its bytes, what it is, and the line it is made at."""

    buffer: str
    offset: int
    bytes: int
    what: str
    place: Place | None

    @property
    def end(self) -> int:
        return self.offset + self.bytes


@dataclass(frozen=True)
class Unit:
    """One InCore function as generated, the code of a task on one kind of core.

    Attributes:
        name: The compiler's name of it; of a mixed kernel the two lanes end in _aic and _aiv.
        place: Where the kernel launches it.
        tiles: Every on-chip buffer of its plan; those of different lifetimes share bytes.
        file: The generated file.
    """

    name: str
    place: Place | None
    tiles: tuple[Tile, ...]
    file: Path

    def peaks(self) -> dict[str, int]:
        """The highest byte in use, by buffer."""
        out: dict[str, int] = {}
        for t in self.tiles:
            out[t.buffer] = max(out.get(t.buffer, 0), t.end)
        return out

    def largest(self, buffer: str) -> Tile:
        """The tile that ends highest in a buffer."""
        return max((t for t in self.tiles if t.buffer == buffer), key=lambda t: t.end)


@dataclass(frozen=True)
class Hint:
    """A performance hint of the compiler; `count` of them say the same at one place."""

    code: str
    check: str
    text: str
    place: Place | None
    count: int


# Of PyPTO's runtime, of a run's records, and our own.
_OTHERS = ("cache", "dfx_outputs", "debug", "workbook.json")
_CONSTANT = re.compile(r"\s*(%\w+) = arith\.constant (-?\d+) : \w+")
_FUNCTION = re.compile(r"\s*func\.func (?:private )?@(\w+)\(")
LOCATION = re.compile(r'loc\("([^"]+)":(\d+):(\d+)\)')
_TILE = re.compile(
    r"(%\w+) = pto\.alloc_tile addr = (%\w+).*?tile_buf<(?:loc=)?(\w+), (?:dtype=)?(\w+)?.*?rows=(\d+), cols=(\d+)"
)
_RESERVED = re.compile(
    r'pto\.reserve_buffer \{name = "(\w+)", size = (\d+), location = #pto\.address_space<(\w+)>.*?base = (\d+)'
)


def units(folder: Path) -> list[Unit]:
    """The InCore functions of a compilation, by name; empty where nothing runs on a core."""
    files = sorted({f.name: f for f in folder.rglob("*.pto")}.values(), key=lambda f: f.name)
    return [unit for file in files for unit in _read(file)]


def hints(folder: Path) -> list[Hint]:
    """The compiler's performance hints, equal ones together, in the order of the text."""
    log = folder / "report" / "perf_hints.log"
    if not log.is_file():
        return []
    counted: dict[tuple, int] = {}
    for line in log.read_text().splitlines():
        found = re.match(r"\[perf_hint (\S+)\] (\w+): (.*?)(?:\s+at (\S+):(\d+):(\d+))?\s*$", line)
        if found:
            code, check, text, file, row, column = found.groups()
            place = _at(file, row, column) if file else None
            key = (code, check, text.strip(), place)
            counted[key] = counted.get(key, 0) + 1
    found_all = [Hint(*key, count) for key, count in counted.items()]
    return sorted(found_all, key=lambda h: (h.place.file, h.place.line) if h.place else ("", 0))


def files(folder: Path) -> list[Path]:
    """The generated files, as paths in the folder."""
    inside = (f.relative_to(folder) for f in folder.rglob("*") if f.is_file())
    return sorted(f for f in inside if f.parts[0] not in _OTHERS and not f.name.startswith("."))


def has_barrier(folder: Path) -> bool:
    """Whether the kernel has a barrier between cores (`pl.system.syncall`), which the simulators do not have."""
    return any("pto.syncall" in file.read_text() for file in folder.rglob("*.pto"))


def _read(file: Path) -> list[Unit]:
    out: list[Unit] = []
    constants: dict[str, int] = {}
    name, place, tiles = "", None, []

    def close() -> None:
        if name:
            out.append(Unit(name, place, tuple(tiles), file))

    for line in file.read_text().splitlines():
        if found := _FUNCTION.match(line):
            close()
            name, place, tiles, constants = found[1], None, [], {}
        elif found := _CONSTANT.match(line):
            constants[found[1]] = int(found[2])
        else:
            at = _place(line)
            place = place or at
            if found := _TILE.search(line):
                what, address, space, dtype, rows, cols = found.groups()
                if address in constants and space in BUFFERS:
                    size = int(rows) * int(cols) * _BITS[dtype] // 8
                    text = f"{_plain(what)} [{rows}, {cols}] {dtype}"
                    tiles.append(Tile(BUFFERS[space], constants[address], size, text, at))
            elif found := _RESERVED.search(line):
                what, size, space, base = found.groups()
                if space in BUFFERS:
                    tiles.append(Tile(BUFFERS[space], int(base), int(size), what, at))
    close()
    return out


def _place(line: str) -> Place | None:
    found = LOCATION.search(line)
    return _at(*found.groups()) if found else None


def _at(file: str, line: str, column: str) -> Place:
    return Place(file, int(line), int(column), texts.read(file))


def _plain(value: str) -> str:
    """A name of the generated code without what the compiler's passes have added: %x_inline14__tile is x."""
    name = re.sub(r"(_inline\d+|__(tile|ssa|rv|iter|phi)(_\w+)*|_v\d+)+$", "", value.lstrip("%"))
    return "a value" if name.isdigit() else name
