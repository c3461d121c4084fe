"""How far the puzzles are, as a table."""

from __future__ import annotations

import html
from dataclasses import dataclass

from helpers.plots.style import GREEN, time_text
from helpers.puzzles import kept_progress
from helpers.puzzles.found import puzzles
from helpers.show import table


@dataclass(frozen=True)
class Row:
    """A puzzle and how far it is."""

    number: int
    name: str
    title: str
    part: str
    notebook: str
    state: str
    tries: int
    hints: int
    took: str

    @property
    def solved(self) -> bool:
        return self.state.startswith("solved")


def rows() -> list[Row]:
    """All puzzles in their order."""
    kept = kept_progress.load()
    out = []
    for e in puzzles().values():
        s = kept.get(e.name, kept_progress.State())
        state = "solved" if s.solved else s.last if s.tries else ""
        state += ", solution seen" if s.looked else ""
        took = ""
        if s.figures:
            took = (
                f"{s.figures['tasks']:,} tasks, {s.figures['bytes']:,} bytes, {time_text(s.figures['time'])} predicted"
            )
        out.append(Row(e.number, e.name, e.record.title, e.part, e.notebook, state, s.tries, s.hints, took))
    return out


def text(found: list[Row]) -> str:
    """A line for each puzzle, and one that counts."""
    lines = {
        f"{r.number:>2} {r.name}": {"idea": r.title, "state": r.state, "tries": r.tries or "", "hints": r.hints or ""}
        for r in found
    }
    return f"{table(lines)}\n{sum(r.solved for r in found)} of {len(found)} solved"


def as_html(found: list[Row]) -> str:
    """The same for a notebook, with what the last answer that passed took."""
    cells = []
    for r in found:
        mark = f'<b style="color:{GREEN}">{html.escape(r.state)}</b>' if r.solved else html.escape(r.state)
        of = (str(r.number), r.name, r.title, mark, str(r.tries or ""), str(r.hints or ""), r.took)
        cells.append("".join(f'<td style="text-align:left">{c}</td>' for c in of))
    head = "".join(f'<th style="text-align:left">{h}</th>' for h in "# name idea state tries hints took".split())
    body = "".join(f"<tr>{c}</tr>" for c in cells)
    count = f"<div><b>{sum(r.solved for r in found)} of {len(found)} solved</b></div>"
    return f"<table><tr>{head}</tr>{body}</table>{count}"
