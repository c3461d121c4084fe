"""Puzzles in a notebook: what is asked, as a picture; the verdict on a cell, with hints and the solution as buttons."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets

from helpers.plots.style import GREEN, LIMIT, Figure
from helpers.puzzles import answers, kept_progress, pictures
from helpers.puzzles import found as known
from helpers.puzzles import table as progress_table
from helpers.puzzles.answers import Checked
from helpers.puzzles.found import Entry
from helpers.puzzles.verdict import par, text
from helpers.show import Source
from helpers.widgets.front_end import front_end

STORED = "shown where this cell runs in JupyterLab; `workbook puzzles` shows it in a terminal"


class Asked:
    """What `puzzle` returns: the tensors as a picture, and par."""

    def __init__(self, entry: Entry):
        self.entry = entry

    def __repr__(self) -> str:
        return f"par: {par(self.entry)}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        bundle, metadata = pictures.asked(self.entry)._repr_mimebundle_()
        return {**bundle, "text/plain": repr(self)}, metadata


def puzzle(name: str) -> ipywidgets.VBox | Asked:
    """What a puzzle asks for: a picture of its tensors, and what its solution takes.

    Raises:
        InputError: there is no such puzzle.
    """
    shown = Asked(known.find(name))
    if not front_end():
        return shown
    return ipywidgets.VBox([_picture(pictures.asked(shown.entry)), _lines(repr(shown))])


class Judged:
    """What a `%%puzzle` cell returns: the verdict; in a front end with buttons for a hint and for the solution."""

    def __init__(self, entry: Entry, checked: Checked, live: bool):
        self.entry, self.checked, self.live = entry, checked, live

    def __repr__(self) -> str:
        begins = "this is the stub as it stands; change it and run the cell again\n" if self.checked.untouched else ""
        return begins + text(self.entry, self.checked.verdict)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self.live:
            return self.controls().box._repr_mimebundle_()
        fig = pictures.wrong(self.entry, self.checked.verdict)
        if fig is None:
            return {"text/plain": repr(self)}, {}
        bundle, metadata = fig._repr_mimebundle_()
        return {**bundle, "text/plain": repr(self)}, metadata

    def controls(self) -> Controls:
        """The verdict with its buttons."""
        return Controls(self)


class Controls:
    """The verdict, its picture, and buttons; what they give appears below. `box` is the widget."""

    def __init__(self, judged: Judged):
        entry, verdict = judged.entry, judged.checked.verdict
        self.entry = entry
        self.hint = ipywidgets.Button(description="hint", icon="lightbulb-o")
        self.solution = ipywidgets.Button(description="solution", icon="eye")
        self.told = ipywidgets.VBox()
        fig = pictures.wrong(entry, verdict)
        said = _lines(repr(judged), GREEN if verdict.solved else LIMIT)
        self.box = ipywidgets.VBox(
            [said, *([_picture(fig)] if fig else []), ipywidgets.HBox([self.hint, self.solution]), self.told]
        )
        self.hint.on_click(lambda _: self._tell(_lines(answers.hint(entry))))
        self.solution.on_click(lambda _: self._solve())

    def _tell(self, widget: ipywidgets.Widget) -> None:
        self.told.children = (*self.told.children, widget)

    def _solve(self) -> None:
        if self.solution.description == "solution":
            self.solution.description = "really show it"
            return
        self.solution.disabled = True
        code = answers.solution(self.entry)
        numbers = list(range(1, len(code.splitlines()) + 1))
        self._tell(ipywidgets.HTML(Source([("the solution", numbers, code)])._repr_html_()))


def _lines(said: str, colour: str = "") -> ipywidgets.HTML:
    first, _, rest = html.escape(said).partition("\n")
    head = f'<b style="color:{colour}">{first}</b>' if colour else first
    look = "white-space:pre-wrap;line-height:1.3;margin:4px 0"
    return ipywidgets.HTML(f'<pre style="{look}">{head}{chr(10) if rest else ""}{rest}</pre>')


def _picture(fig: Figure) -> ipywidgets.Image:
    width = round(fig.get_size_inches()[0] * 96)
    made = ipywidgets.Image(value=fig.png(), format="png", width=width)
    made.add_class("workbook-puzzle")
    return made


def judged(name: str, cell: str) -> Judged:
    """Check the text of a cell as the answer to a puzzle.

    Raises:
        InputError: there is no such puzzle.
    """
    entry = known.find(name)
    return Judged(entry, answers.check_cell(entry, cell), front_end())


class Progress:
    """How far the puzzles are, as a table; in a notebook that nobody looks at only where that is seen."""

    def __init__(self, live: bool):
        self.live = live

    def __repr__(self) -> str:
        return progress_table.text(progress_table.rows()) if self.live else f"progress: {STORED}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        if not self.live:
            return {"text/plain": repr(self)}
        where = html.escape(str(kept_progress.folder()))
        kept = f'<div style="font-size:small">answers and progress are kept in {where}</div>'
        return {"text/plain": repr(self), "text/html": progress_table.as_html(progress_table.rows()) + kept}


def puzzle_progress() -> Progress:
    """How far each puzzle is, from the file that keeps it."""
    return Progress(front_end())
