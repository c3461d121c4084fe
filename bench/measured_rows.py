"""The rows of published.csv: what was measured on real chips, of which program, and where that is said."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

CSV = Path(__file__).with_name("published.csv")


@dataclass(frozen=True)
class Row:
    """One measurement; see the head of published.csv. `value`: microseconds, or percent where `quantity` says so.
    `args`: what the program is given. `times`: how many times as long the measured run is as what that follows."""

    source: str
    date: str
    chip: str
    program: str
    revision: str
    config: str
    args: tuple[str, ...]
    times: float
    item: str
    quantity: str
    value: float
    tasks: int | None
    part: str
    note: str

    @property
    def before(self) -> bool:
        """It is the state before a change, whose row after it has the same revision without ^."""
        return self.revision.endswith("^")


def read() -> list[Row]:
    """All rows, in the file's order."""
    with open(CSV, newline="") as f:
        lines = csv.DictReader(text for text in f if not text.startswith("#"))
        return [
            Row(
                x["source"], x["date"], x["chip"], x["program"], x["revision"], x["config"],
                tuple(x["args"].split()), float(x["times"] or 1), x["item"], x["quantity"], float(x["value_us"]),
                int(x["tasks"]) if x["tasks"] else None, x["part"], x["note"],
            )
            for x in lines
        ]  # fmt: skip
