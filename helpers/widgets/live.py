"""`live`: a kernel's file is watched, each save is run, and one view shows what came of it."""

from __future__ import annotations

import atexit
import html
import math
import threading
import time
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets

from helpers.live.history import History, Save
from helpers.live.save_table import SERIES, best_text, rows, title
from helpers.live.session import Session
from helpers.live.subject import Subject, parse
from helpers.live.terminal import findings_text
from helpers.widgets.front_end import front_end

_HERE = Path(__file__).parent / "browser"
_COLOURS = {"PASS": "#009e73", "FAIL": "#c84400", "refused": "#c84400", "": "#7a7a7a"}
_SHOWN = 60  # saves of the strip chart
_RUNNING: dict[str, Live] = {}  # by subject; running a cell again ends the session that it began before


class Strip(anywidget.AnyWidget):
    """The strip chart: `saves` has number, verdict, when, values (number, text) by series; `selected` a number."""

    _esm = _HERE / "strip.js"
    _css = _HERE / "widgets.css"
    saves = traitlets.List().tag(sync=True)
    series = traitlets.List(traitlets.Unicode()).tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)


class Live:
    """What `live` returns: the view where there is a front end, else the verdict of the files as they are."""

    def __init__(self, subject: Subject, view: bool, folder: Path | None = None):
        self.subject, self.view = subject, view
        self._changed = threading.Condition()
        self.session = Session(subject, self._follow, folder)
        self._panel: Panel | None = Panel(self.session) if view else None

    def _follow(self, save: Save) -> None:
        with self._changed:
            self._changed.notify_all()
        if self._panel is not None:
            self._panel.show()

    def wait(self, seconds: float = 600.0) -> Save:
        """The latest save, once nothing more comes of it.

        Raises:
            TimeoutError: it is not done after so many seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.session.history.saves[-1].done, seconds):
                raise TimeoutError(f"still running after {seconds} s")
        return self.session.history.saves[-1]

    def stop(self) -> None:
        """End it: no thread and no process is left."""
        self.session.stop()
        if _RUNNING.get(self.subject.text) is self:
            del _RUNNING[self.subject.text]

    def __repr__(self) -> str:
        save = self.session.history.saves[-1]
        head = f"{self.subject.text} on {self.subject.chip}interp: {save.verdict or 'running'}"
        return "\n".join([head, *([save.mistake] if save.mistake else [title(save.last)] if save.last else [])])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self._panel is not None:
            return self._panel.box._repr_mimebundle_()
        return {"text/plain": repr(self)}


class Panel:
    """The view of a session; `box` is the widget."""

    def __init__(self, session: Session):
        self._session = session
        self._lock = threading.RLock()
        self._follows = True  # the latest save is shown, whatever comes
        self.head, self.mistake, self.numbers, self.findings = (ipywidgets.HTML() for _ in range(4))
        self.diff = ipywidgets.HTML()
        self.strip = Strip()
        self.images = ipywidgets.VBox()
        self._pictures: dict[str, ipywidgets.Image] = {}
        small = ipywidgets.Layout(width="auto")
        self.latest = ipywidgets.Button(description="latest", layout=small)
        self.against = ipywidgets.Dropdown(description="against", layout=ipywidgets.Layout(width="15em"))
        self.back = ipywidgets.Button(description="write this save back to its files", layout=small)
        self.stop = ipywidgets.Button(description="stop watching", layout=small)
        self.said = ipywidgets.Label()
        controls = ipywidgets.HBox([self.latest, self.against, self.back, self.stop, self.said])
        self.box = ipywidgets.VBox(
            [self.head, self.mistake, self.strip, controls, self.numbers, self.findings, self.diff, self.images]
        )
        self.box.add_class("workbook-live")
        self.strip.observe(self._chosen, "selected")
        self.against.observe(lambda _: self._compare(), "value")
        self.latest.on_click(lambda _: self._choose_latest())
        self.back.on_click(lambda _: self._write_back())
        self.stop.on_click(lambda _: self._stop())

    @property
    def _history(self) -> History:
        return self._session.history

    def _save(self) -> Save:
        """The save that is shown."""
        saves = self._history.saves
        if self._follows:
            return saves[-1]
        return next((s for s in saves if s.number == self.strip.selected), saves[-1])

    def show(self) -> None:
        """Draw the latest save, or the one that was chosen."""
        with self._lock:
            if self._follows:
                self.strip.unobserve(self._chosen, "selected")
                self.strip.selected = self._history.saves[-1].number
                self.strip.observe(self._chosen, "selected")
            self._draw_strip()
            self._draw(self._save())

    def _draw_strip(self) -> None:
        saves = self._history.saves[-_SHOWN:]
        used = [s for s in SERIES if any(x.last is not None and s.value(x.last) is not None for x in saves)]
        self.strip.series = [s.name for s in used]
        self.strip.saves = [
            {
                "number": x.number, "verdict": x.verdict, "when": time.strftime("%H:%M:%S", time.localtime(x.when)),
                "values": {s.name: _point(s, x) for s in used},
            }
            for x in saves
        ]  # fmt: skip
        options = [("nothing", 0), *((f"save {x.number}", x.number) for x in reversed(saves))]
        if list(self.against.options) != options:
            value = self.against.value or 0
            self.against.options = options
            self.against.value = value if any(value == number for _, number in options) else 0

    def _draw(self, save: Save) -> None:
        subject = self._session.subject
        verdict = save.verdict or ("running ..." if not save.done else "no verdict")
        size = save.last.size if save.last else ""
        self.head.value = (
            f"<b>{html.escape(subject.text)}</b> on {subject.chip}interp, save {save.number}: "
            f"<b style='color:{_COLOURS[save.verdict]}'>{verdict}</b>"
            + (f" at the {size} shape, {save.seconds[size]:.2f} s after the save" if size in save.seconds else "")
        )
        wrong = save.mistake or (save.last.error if save.last and save.last.error else "")
        wrong = "\n".join(filter(None, [wrong, save.divergence]))
        self.mistake.value = f'<pre style="line-height:1.3;color:#c84400">{html.escape(wrong)}</pre>' if wrong else ""
        shown = save if save.last is not None else self._history.last_passed(save)
        stale = shown is not save
        self.numbers.value = self._table(shown, stale)
        self.findings.value = "".join(f"<div>{html.escape(line)}</div>" for line in findings_text(save))
        self._draw_figures(save, shown)
        self._compare()

    def _table(self, save: Save | None, stale: bool) -> str:
        if save is None or save.last is None:
            return ""
        heads = ["", f"save {save.number}", "save before", best_text(self._history)]
        head = "".join(f"<th>{h}</th>" for h in heads)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in r) + "</tr>" for r in rows(self._history, save)
        )
        return f"<table class='{'workbook-stale' if stale else ''}'><tr>{head}</tr>{body}</table>"

    def _draw_figures(self, save: Save, shown: Save | None) -> None:
        """The figures of the save; while it has none, those that are there, greyed."""
        figures = save.figures or (shown.figures if shown is not None else {})
        for name, png in figures.items():
            if name not in self._pictures:
                self._pictures[name] = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%"))
                self._pictures[name].add_class("workbook-figure")
                self._pictures[name].add_class("workbook-" + name.replace(" ", "-"))
            if self._pictures[name].value != png:
                self._pictures[name].value = png
        for name, picture in self._pictures.items():
            if save.figures and name in save.figures:
                picture.remove_class("workbook-stale")
            else:
                picture.add_class("workbook-stale")
        children = tuple(self._pictures.values())
        if self.images.children != children:
            self.images.children = children

    def _chosen(self, _: Any) -> None:
        with self._lock:
            self._follows = self.strip.selected == self._history.saves[-1].number
            self._draw(self._save())

    def _choose_latest(self) -> None:
        self._follows = True
        self.show()

    def _compare(self) -> None:
        other = next((s for s in self._history.saves if s.number == self.against.value), None)
        save = self._save()
        if other is None or other is save:
            self.diff.value = ""
            return
        text = self._history.diff(other, save) or "the files are the same"
        lines = []
        for line in text.splitlines():
            colour = {"+": "#009e73", "-": "#c84400"}.get(line[:1], "inherit")
            lines.append(f"<span style='color:{colour}'>{html.escape(line)}</span>")
        self.diff.value = f'<pre style="line-height:1.3">{chr(10).join(lines)}</pre>'

    def _write_back(self) -> None:
        save = self._save()
        written = self._history.write_back(save)
        names = ", ".join(Path(f).name for f in written)
        self.said.value = f"{names} as in save {save.number}" if written else "the files are as in this save"

    def _stop(self) -> None:
        self._session.stop()
        self.said.value = "not watched any more; run the cell again to go on"
        self.stop.disabled = True


def _point(series: Any, save: Save) -> list | None:
    value = series.value(save.last) if save.last is not None else None
    if value is None:
        return None
    return [value if math.isfinite(value) else None, series.text(value)]


def live(
    text: str, *, chip: str = "a2a3", specs: Any = None, reference: Any = None, rtol: float = 1e-5, atol: float = 1e-5,
    view: bool | None = None, folder: Path | None = None,
) -> Live:  # fmt: skip
    """Watch a kernel, and show what each save of its file, its golden, or anything they import does.

    Args:
        text: "STAGE", "STAGE.VERSION", "FILE.py" or "FILE.py:KERNEL". A file's specs and golden are those that it hands
            to `golden.run_jit` when it is run as a script.
        chip: The chip that interpret mode models.
        specs, reference, rtol, atol: Of a file's kernel, in place of what the file says.
        view: True for the view, False for one run and its verdict; None: the view where a front end shows the cell.
        folder: Where saves are kept; None: out/live/NAME below the working directory.

    Raises:
        InputError: no such stage, version, file or chip.
    """
    if text in _RUNNING:
        _RUNNING[text].stop()
    given = {} if specs is None else {"specs": specs, "reference": reference, "rtol": rtol, "atol": atol}
    made = Live(parse(text, chip, **given), front_end() if view is None else view, folder)
    _RUNNING[text] = made
    made.session.start()
    if not made.view:
        made.wait()
        made.stop()
    return made


@atexit.register
def _stop_all() -> None:
    for one in list(_RUNNING.values()):
        one.stop()
