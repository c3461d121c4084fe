"""What a sanitizer reports: a `Finding`, in the words of `KINDS`. See `report` for how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from helpers.errors import shown
from helpers.interpret.source.source import Place

ERROR, WARNING, HINT = "error", "warning", "hint"
SEVERITIES = (ERROR, WARNING, HINT)

KINDS: dict[str, str] = {
    "language": "The kernel is not in the language.",
    "fault": "The kernel cannot go on: an operation was given what it does not take.",
    "out-of-bounds": "An access reaches outside its tensor.",
    "uninitialized-read": "Memory is read that nothing has written, and the result depends on what it held.",
    "unwritten-output": "Elements of an output are never written.",
    "double-write": "Two tasks, or blocks of one launch, write the same elements in no order.",
    "race": "A task needs another to have run (or not yet), and no dependency says so.",
    "direction": "A parameter is used in another direction than it is declared.",
    "redundant-dependency": "A declared dependency is enforced by others already.",
    "on-chip-overflow": "The tiles of a task exceed an on-chip buffer of the chip.",
    "syncall": "A barrier cannot complete: not all the cores it waits for come to it.",
    "valid-extent": "A valid extent is negative, larger than its tile, or, in a store, zero, for a legal input.",
    "unread-result": "Something is computed that nothing reads; it can be eliminated, its time with it.",
    "padded-lanes": "Lanes that hold no data take part in a result.",
    "wrong-result": "The result is not the golden's.",
    "tolerance": "The tolerance does not go with the error: tighter than rounding, or far looser than the error.",
    "atomic-order": "A sum of floats depends on the order in which tasks or blocks add to it.",
    "low-precision-accumulation": "A sum is kept in a type of 16 bits or less, and rounds at every step.",
    "task-name": "A task has the name of a keyword of C++, so that no simulator and no chip can be built for it.",
    "peeled-pipeline": "The first turn of a pl.pipeline is written before it; its load overlaps with nothing.",
    "unused-name": "A name is bound, or a parameter taken, that nothing uses.",
    "script-failed": "The script or the golden failed, and nothing that was found in the kernels says why.",
    "debug-option": "An option for debugging is on, which slows every run down.",
}
"""Every kind of finding, and what it means."""


OF_TWO_LINES = ("race", "double-write", "unwritten-output", "wrong-result")
"""Kinds of which one line may have several, each with another line."""


@dataclass(frozen=True)
class Finding:
    """One defect, at a line of a kernel.

    Attributes:
        kind: A name in KINDS.
        severity: "error": a wrong result, or none; "warning": a risk or a waste; "hint": could be better.
        what: What is wrong, with its values, in one sentence.
        place: The line it is about; None for what is about no line.
        other: The other side of it: the write that a read does not wait for, the tensor that is not written.
        role: What `other` is, such as "written here".
        task: Name of the task that was running.
        region: The elements it is about, such as "scores[16:32, 0:128]".
        fix: What to do.
        proof: What was run to be certain, and what it showed; "" where the finding needs none.
        case: The sizes it was found with; "" for those given.
        chip: The chip it is about, "" for all.
        count: How often it was met.
    """

    kind: str
    severity: str
    what: str
    place: Place | None = None
    other: Place | None = None
    role: str = ""
    task: str = ""
    region: str = ""
    fix: str = ""
    proof: str = ""
    case: str = ""
    chip: str = ""
    count: int = field(default=1, compare=False)

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind
        assert self.severity in SEVERITIES, self.severity

    @property
    def file(self) -> str:
        """File of `place`, as people see it; "" without one."""
        return shown(self.place.file) if self.place else ""

    @property
    def line(self) -> int:
        """Line of `place`, from 1; 0 without one."""
        return self.place.line if self.place else 0

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.place else ""
        return f"{where}{self.severity}: {self.what} [{self.kind}]"

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain data."""

        def spot(p: Place | None) -> dict[str, Any] | None:
            return p and {"file": shown(p.file), "line": p.line, "column": p.column}

        return {
            "kind": self.kind, "severity": self.severity, "what": self.what, "place": spot(self.place),
            "other": spot(self.other), "role": self.role, "task": self.task, "region": self.region, "fix": self.fix,
            "proof": self.proof, "case": self.case, "chip": self.chip, "count": self.count,
        }  # fmt: skip


def grouped(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each kind and pair of lines, the worst and first met, in order of severity, file and line.

    Findings of one line that only differ in the chip are joined.
    """
    kept: dict[tuple, Finding] = {}
    for f in findings:
        key = (f.kind, f.place, f.other if f.kind in OF_TWO_LINES else None)
        was = kept.get(key)
        if was is None:
            kept[key] = f
            continue
        best = f if SEVERITIES.index(f.severity) < SEVERITIES.index(was.severity) else was
        chip = ", ".join(dict.fromkeys(c for c in (was.chip, f.chip) if c))
        count = was.count + (f.count if f.case == was.case else 0)
        kept[key] = replace(best, count=count, chip=chip if was.chip and f.chip else "")
    return sorted(
        kept.values(), key=lambda f: (SEVERITIES.index(f.severity), f.file, f.line, list(KINDS).index(f.kind), f.what)
    )


def worst(findings: Iterable[Finding]) -> str | None:
    """The highest severity among findings; None without any."""
    return min((f.severity for f in findings), key=SEVERITIES.index, default=None)
