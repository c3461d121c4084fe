"""What PyPTO's assembler and the simulators' C++ compiler print of a kernel, read back: the line that it is about.

Formats: of the assembler those of MLIR's diagnostics, gathered by PyPTO (python/pypto/backend/pto_backend.py,
report/codegen_errors.txt: "[function]", then what was printed); of g++ its own, with the chain "required from".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from helpers.interpret.source import texts
from helpers.interpret.source.source import Place
from helpers.toolchain import artifacts

REPORT = "report/codegen_errors.txt"


At = tuple[str, int, int]
"""A place as a tool names it: file, line, column."""


@dataclass(frozen=True)
class Diagnostic:
    """An error that a tool prints: in which InCore function, what it says, and the place in the kernel if known."""

    function: str
    text: str
    place: At | None


_FUNCTION = re.compile(r"^  \[(\w+)\]$", re.MULTILINE)
_PRINTED = re.compile(
    r'^(?:loc\(")?(?P<file>[^":\n]+)"?:(?P<line>\d+):(?P<column>\d+)\)?: error: (?P<text>.*)$', re.MULTILINE
)
_ANY_ERROR = re.compile(r"^(?:.*?\b)?error: (.*)$", re.MULTILINE | re.IGNORECASE)
_RAN = "ptoas compilation failed:"


def assembler(folder: Path) -> list[Diagnostic]:
    """What the assembler says of each function that it refuses; empty when it refuses none.

    What has no place gets that of its region.

    Args:
        folder: Of a compilation that has failed.
    """
    file = folder / REPORT
    report = file.read_text() if file.is_file() else ""
    regions = {u.name: u.place and (u.place.file, u.place.line, u.place.column) for u in artifacts.units(folder)}
    found = []
    pieces = _FUNCTION.split(report)[1:]
    for function, said in zip(pieces[::2], pieces[1::2]):
        if _RAN not in said:
            continue  # of the compiler's own code generation
        said = said.partition(_RAN)[2].partition("\n" + "=" * 72)[0].strip()
        at = next((m for m in _PRINTED.finditer(said) if m["file"].endswith(".py")), None)
        if at is not None:
            found.append(Diagnostic(function, at["text"], (at["file"], int(at["line"]), int(at["column"]))))
        else:
            other = _ANY_ERROR.search(said)
            text = other[1] if other else said.splitlines()[0] if said else "it printed nothing"
            found.append(Diagnostic(function, text, regions.get(function)))
    return found


_NO_RETURN = re.compile(r"function '(\w+)' has no ReturnStmt but declares")
_NO_RESULT = re.compile(r"ForStmt iter_args at index \d+ is not an IterArg after mutation")


def forgotten_return(message: str) -> str | None:
    """What is wrong in plain words where PyPTO's compiler fails, of itself, for want of a return; None elsewhere.

    Tried on PyPTO: of a function without one, and of an entry without one whose last region has a loop.
    """
    named = _NO_RETURN.search(message)
    if named is not None:
        return f"'{named[1]}' ends without a return: PyPTO cannot compile it"
    if _NO_RESULT.search(message):
        return "the kernel ends without a return: PyPTO takes the names of its last region for results, and fails"
    return None


# ---- g++ -----------------------------------------------------------------------------------------------------------

_OF_CPP = re.compile(r"compilation failed with exit code \d+:\n(.*)", re.DOTALL)
_KERNEL = re.compile(r"([^\s:,]*?/(?:kernels|ptoas)/[^\s:,]*?(\w+)\.cpp):(\d+)")
_ERROR = re.compile(r"^[^\n]*?\berror: (.*)$", re.MULTILINE)
_CALL = re.compile(r"\b(T[A-Z0-9_]+)\s*(?:<[^;]*>)?\(")


@dataclass(frozen=True)
class Unbuilt:
    """A kernel's C++ that g++ refuses: the instruction of PTO-ISA that is called, what g++ says, and where."""

    function: str
    instruction: str | None
    text: str
    place: At | None


def cpp(message: str) -> Unbuilt | None:
    """The first error of g++ in the message of simpler's kernel compiler; None when it is no such message.

    The kernel's C++ has no places, its input has: the n-th call of an instruction there is the n-th such operation
    in the assembler's input.
    """
    said = _OF_CPP.search(message)
    error = said and _ERROR.search(said[1])
    if not error:
        return None
    before = said[1][: error.end()]
    chain = list(_KERNEL.finditer(before)) or list(_KERNEL.finditer(said[1]))
    if not chain:
        return None
    file, function, row = Path(chain[-1][1]), chain[-1][2], int(chain[-1][3])
    lines = file.read_text().splitlines() if file.is_file() else []
    called = _CALL.search(lines[row - 1]) if 0 < row <= len(lines) else None
    if called is None:
        return Unbuilt(function, None, error[1], None)
    number = sum(bool(re.search(rf"\b{called[1]}\b", line)) for line in _of_function(lines, row))
    return Unbuilt(function, called[1], error[1], _operation(file, function, called[1].lower(), number))


def _of_function(lines: list[str], row: int) -> list[str]:
    """The lines from the start of the function that has line `row`, to that line."""
    start = next((i for i in range(row - 1, -1, -1) if re.match(r"\S.*\bvoid \w+\(", lines[i])), 0)
    return lines[start:row]


def _operation(file: Path, function: str, name: str, number: int) -> At | None:
    """Where the n-th operation of a name comes from, or the only place that has it; from 1."""
    root = next((p.parent for p in file.parents if p.name in ("kernels", "ptoas")), file.parent)
    places = []
    inside = False
    for source in sorted(root.rglob("*.pto")):
        for line in source.read_text().splitlines():
            if started := re.match(r"\s*func\.func (?:private )?@(\w+)\(", line):
                inside = started[1] == function
            elif inside and re.search(rf"\bpto\.{name}\b", line) and (at := artifacts.LOCATION.search(line)):
                places.append((at[1], int(at[2]), int(at[3])))
    if len(set(places)) == 1:
        return places[0]
    return places[number - 1] if 0 < number <= len(places) else None


def placed(place: At) -> Place:
    """A place that a tool has named, with the text of its file."""
    return Place(*place, texts.read(place[0]))
