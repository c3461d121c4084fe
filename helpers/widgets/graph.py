"""`graph`: the task graph by kernel name; a click on a box takes the name apart into its launches, and back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets

from helpers import plots
from helpers.interpret.trace.depend import stated
from helpers.interpret.trace.edges import Edge, Edges
from helpers.interpret.trace.trace import Trace
from helpers.plots.style import Figure
from helpers.run import Run
from helpers.widgets.front_end import front_end
from helpers.widgets.look import Opener

_HERE = Path(__file__).parent / "browser"
_kept: dict[tuple, set[str]] = {}  # names that are taken apart, by graph


class Picture(anywidget.AnyWidget):
    """A figure whose `spots` (shares of its size: left, top, right, bottom) are buttons; a click sends its name."""

    _esm = _HERE / "picture.js"
    _css = _HERE / "widgets.css"
    alt = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    spots = traitlets.Dict().tag(sync=True)
    tips = traitlets.Dict().tag(sync=True)
    png = traitlets.Bytes().tag(sync=True)

    def show(self, figure: Figure, tips: dict[str, str]) -> None:
        """Show a figure with its spots."""
        with self.hold_sync():
            self.alt, self.width = figure.alt, round(figure.get_size_inches()[0] * 96)
            self.spots, self.tips = {n: list(box) for n, box in figure.spots.items()}, tips
            self.png = figure.png()


class Graph:
    """What `graph` returns: the figure with boxes to click where there is a front end, else the figure."""

    def __init__(self, trace: Trace, edges: Edges, live: bool, of: Run | None = None):
        self.trace, self.edges, self.live = trace, edges, live
        self.opener = Opener(of, trace) if of is not None else None
        self._open = ""  # the box whose task is open

    def __repr__(self) -> str:
        return repr(plots.task_graph(self.trace, self.edges))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self.live:
            return self.controls()._repr_mimebundle_()
        return plots.task_graph(self.trace, self.edges)._repr_mimebundle_()

    def controls(self) -> ipywidgets.DOMWidget:
        """The figure, and below it the task that is open, where there is a run to open one of."""
        return self.picture() if self.opener is None else ipywidgets.VBox([self.picture(), self.opener.box])

    def picture(self) -> Picture:
        """The figure; names that were taken apart before still are."""
        tasks = self.trace.tasks_by_name()
        apart = _kept.setdefault((self.trace.platform, tuple(tasks.items())), set())
        made = Picture()

        def draw() -> None:
            figure = plots.task_graph(self.trace, self.edges, apart)
            made.show(figure, {box: self._tip(box, apart) for box in figure.spots})

        def clicked(_: Any, content: dict, __: Any) -> None:
            box = content["clicked"]
            launch = self._launch(box)
            if self.opener is not None and launch is not None and self._open != box:
                self._open = box
                self.opener.open(launch)
            else:
                apart.symmetric_difference_update({self._name(box)})
            draw()

        draw()
        made.on_msg(clicked)
        return made

    def _tip(self, box: str, apart: set[str]) -> str:
        if self.opener is not None and self._launch(box) is not None and self._open != box:
            return "click to open the task"
        return "click to put together" if self._name(box) in apart else "click to take apart"

    def _launch(self, box: str) -> int | None:
        """The number of the launch that a box is; None where it stands for several."""
        name = self._name(box)
        launches = [d.index for d in self.trace.dispatches if d.name == name and d.runs]
        which = box.removeprefix(name).strip()
        if len(launches) == 1:
            return launches[0]
        return launches[int(which.replace(",", "")) - 1] if which.replace(",", "").isdigit() else None

    def _name(self, box: str) -> str:
        """The kernel name of a box: its text without the numbers of launches."""
        return max((n for n in self.trace.tasks_by_name() if box == n or box.startswith(f"{n} ")), key=len)


def graph(trace: Trace, edges: Iterable[Edge] | None = None, live: bool | None = None, of: Run | None = None) -> Graph:
    """The task graph, see `plots.task_graph`; a click on a box takes its name apart, another puts it together.

    Args:
        edges: Dependencies, when they are at hand.
        live: True for boxes to click, False for the figure; None: boxes where a front end shows the cell.
        of: The run whose trace this is, `helpers.run.run(..., keep=True)`: a click on a box that is one launch opens
            its first block (see `look`); another on the same box puts the name together.

    Raises:
        InputError: the run has other launches than the trace.
    """
    found = stated(trace) if edges is None else Edges.of(edges)
    return Graph(trace, found, front_end() if live is None else live, of)
