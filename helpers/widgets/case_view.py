"""`case`: one case of the hunt: what is to be found, its source; hint, sanitizers and answer on request."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets

from helpers.hunt.hunted import Hunted, find, place
from helpers.plots.style import GREEN, LIMIT
from helpers.show import Source
from helpers.widgets.front_end import front_end

_LOOK = "white-space:pre-wrap;line-height:1.3;margin:4px 0"


class Case:
    """What `case` returns. Its tools are those of `helpers.hunt.hunted.Hunted`: check, inside, against, run, kernel."""

    def __init__(self, hunted: Hunted, answer: int | str | None, live: bool):
        self._hunted, self._answer, self._live = hunted, answer, live

    def __getattr__(self, name: str) -> Any:
        if name in ("check", "inside", "against", "run", "kernel", "specs", "file", "asked", "symptom"):
            return getattr(self._hunted, name)
        raise AttributeError(name)

    def _said(self) -> str:
        h = self._hunted
        return f"case {h.number}: {h.asked}\n{h.symptom}\n{h.judged(self._answer)}"

    def _source(self) -> Source:
        text = self._hunted.file.read_text(encoding="utf-8")
        return Source([(place(self._hunted), list(range(1, len(text.splitlines()) + 1)), text)])

    def __repr__(self) -> str:
        return f"{self._said()}\n\n{self._source()!r}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self._live:
            return CaseControls(self).box._repr_mimebundle_()
        page = f'<pre style="{_LOOK}">{html.escape(self._said())}</pre>{self._source()._repr_html_()}'
        return {"text/plain": repr(self), "text/html": page}


class CaseControls:
    """The case with its buttons; what they give appears below. `box` is the widget."""

    def __init__(self, shown: Case):
        self.hunted = shown._hunted
        answered = shown._answer not in (None, ...)
        right = "is right" in self.hunted.judged(shown._answer)
        head, _, last = shown._said().rpartition("\n")
        colour = (GREEN if right else LIMIT) if answered else "inherit"
        said = ipywidgets.HTML(
            f'<pre style="{_LOOK}">{html.escape(head)}\n<b style="color:{colour}">{html.escape(last)}</b></pre>'
        )
        self.hint = ipywidgets.Button(description="hint", icon="lightbulb-o")
        self.found = ipywidgets.Button(description="sanitizers", icon="search")
        self.answer = ipywidgets.Button(description="answer", icon="eye")
        self.told = ipywidgets.VBox()
        buttons = ipywidgets.HBox([self.hint, self.found, self.answer])
        self.box = ipywidgets.VBox([said, ipywidgets.HTML(shown._source()._repr_html_()), buttons, self.told])
        self.hint.on_click(lambda _: self._tell(self.hunted.record.hint, self.hint))
        self.found.on_click(lambda _: self._tell(repr(self.hunted.check()), self.found))
        self.answer.on_click(lambda _: self._answer())

    def _tell(self, text: str, button: ipywidgets.Button) -> None:
        button.disabled = True
        self.told.children = (*self.told.children, ipywidgets.HTML(f'<pre style="{_LOOK}">{html.escape(text)}</pre>'))

    def _answer(self) -> None:
        if self.answer.description == "answer":
            self.answer.description = "really show it"
            return
        lines = ", ".join(str(n) for n in sorted(self.hunted.lines))
        self._tell(f"line {lines}: {self.hunted.record.answer}", self.answer)


def case(number: int, answer: int | str | None = None) -> Case:
    """A case of the hunt, and the verdict on an answer.

    Args:
        number: From 1 on.
        answer: The line of its file that is wrong, or the kind of the finding that names it; None: not yet.

    Raises:
        InputError: there is no such case.
    """
    return Case(find(number), answer, front_end())
