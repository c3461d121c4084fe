"""`look`: an opened task to step through: its source with a gutter, the tile of each operation, what is on chip."""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import torch
import traitlets

from helpers import plots
from helpers.errors import InputError
from helpers.inside import Inside, inside, value_text
from helpers.inside.opened import check_kept
from helpers.inside.rounding_by_line import own_errors
from helpers.inside.value_text import text as values_text
from helpers.interpret.trace.trace import Trace
from helpers.interpret.values.seen import Moment, Seen
from helpers.plots.style import BLUE, LIMIT, ORANGE
from helpers.run import Run
from helpers.widgets.front_end import front_end
from helpers.widgets.job import Cancelled, Job

_HERE = Path(__file__).parent / "browser"

AROUND = 9  # lines of source above and below
NOTHING = "this task does nothing"
_kept: dict[tuple, int] = {}  # the operation that is shown, by task


class Look:
    """What `look` returns: controls where there is a front end, else the operations as text and one figure."""

    def __init__(self, opened: Inside, at: int, live: bool, other: Inside | None = None):
        self.opened, self.at, self.live, self.other = opened, at, live, other
        self.errors: dict[int, float] = {}  # by line, in ULPs, once `measure` was called

    def measure(self) -> None:
        """Have the source show each line's own rounding: all operations are done again in FP64."""
        self.errors = own_errors(self.opened)

    def __repr__(self) -> str:
        if not len(self.opened):
            return f"{self.opened!r}\n{NOTHING}"
        said = self.difference(self.at)
        return f"{self.opened!r}\n{self.opened.described(self.at)}" + (f"\n   {said}" if said else "")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self.live:
            return self.controls()._repr_mimebundle_()
        fig = self.figure(self.at) if len(self.opened) else None
        if fig is None:
            return {"text/plain": repr(self)}, {}
        bundle, metadata = fig._repr_mimebundle_()
        return {**bundle, "text/plain": repr(self)}, metadata

    def figure(self, number: int) -> plots.Figure | None:
        """The tile that an operation made; None where it made none."""
        m = self.opened[number]
        seen = _tile(m)
        if seen is None:
            return None
        return plots.tile(seen.data, seen.shape, seen.valid, f"{m.bound or m.operation}, line {m.place.line}")

    def source(self, number: int) -> str:
        """The source around an operation as HTML: how often each line runs in the task, the largest error that it adds
        itself, if that was measured, and what is odd there."""
        m = self.opened[number]
        odd: dict[int, str] = {}
        for i, what in self.opened.odd:
            odd.setdefault(self.opened[i].place.line, "; ".join(what))
        rows = []
        for n in range(max(1, m.place.line - AROUND), m.place.line + AROUND + 1):
            code = m.place.text.line(n) if m.place.text is not None else m.place.code if n == m.place.line else ""
            runs = len(self.opened.lines.get((m.place.file, n), ()))
            here = ' style="background:#0072b230"' if n == m.place.line else ""
            mark = f'<td style="color:{LIMIT};white-space:nowrap">{html.escape(odd.get(n, ""))}</td>'
            rows.append(
                f"<tr{here}><td style='text-align:right;opacity:.6'>{runs or ''}</td>{self._error(n)}"
                f"<td style='text-align:right;opacity:.6'>{n}</td>"
                f"{mark}<td><pre style='margin:0;white-space:pre'>{html.escape(code)}</pre></td></tr>"
            )
        table = f"<table style='line-height:1.15;border-spacing:6px 0'>{''.join(rows)}</table>"
        return f"<div style='overflow-x:auto'>{table}</div>"

    def _error(self, line: int) -> str:
        """The cell of the gutter that has a line's own error."""
        if not self.errors:
            return ""
        text = f"{self.errors[line]:.2g} ULP" if line in self.errors else ""
        return f"<td style='text-align:right;white-space:nowrap;opacity:.8'>{text}</td>"

    def facts(self, number: int) -> str:
        """What an operation took and made, its elements, and the bytes on chip."""
        m = self.opened[number]
        out = [self.opened.described(number)]
        out += [value_text.table(r) for r in m.results if isinstance(r, Seen) and r.data is not None][:1]
        for space, n in sorted(self.opened.on_chip(number).items()):
            out.append(f"{space}: {n:,} of {self.opened.limits.get(space, 0):,} bytes")
        return "\n".join(out)

    def beside(self, number: int) -> int | None:
        """The operation of the other task that belongs to one of this: the same call, as often before."""
        if self.other is None:
            return None
        m = self.opened[number]
        key = (m.place.line, m.place.column, m.operation)
        nth = sum((o.place.line, o.place.column, o.operation) == key for o in self.opened.moments[:number])
        same = [i for i, o in enumerate(self.other.moments) if (o.place.line, o.place.column, o.operation) == key]
        return same[nth] if nth < len(same) else None

    def difference(self, number: int) -> str:
        """How the tile of an operation differs from that of the other task, in one line."""
        theirs = self.beside(number)
        if theirs is None:
            return "the other task does not do this" if self.other is not None else ""
        a, b = (_tile(of[n]) for of, n in ((self.opened, number), (self.other, theirs)))
        if a is None or b is None:
            return ""
        if a.data.shape != b.data.shape:
            return f"valid part {list(a.data.shape)} here, {list(b.data.shape)} there"
        x, y = a.data.double(), b.data.double()
        where = ((x != y) & ~(x.isnan() & y.isnan())).nonzero()
        if not len(where):
            return f"all {x.numel():,} elements are the same, bit by bit"
        at = tuple(where[0].tolist())
        most = (x - y).abs().nan_to_num(torch.inf).max()
        return (
            f"{len(where):,} of {x.numel():,} elements differ, by {most:.4g} at most; the first at {list(at)}: "
            f"{x[at]:.6g} here, {y[at]:.6g} there"
        )

    def controls(self) -> ipywidgets.VBox:
        """See `Controls`."""
        return Controls(self).box


class Tiles(anywidget.AnyWidget):
    """Tiles side by side; the value of the element under the pointer is shown.

    An entry a tile in `tiles`: "title", "alt", "shape" and "valid", each rows and columns. `values`: the elements of
    their valid parts one after the other, float64. `colors`: of what is above zero, below, and no number.
    """

    _esm = _HERE / "tile.js"
    _css = _HERE / "widgets.css"
    tiles = traitlets.List(traitlets.Dict()).tag(sync=True)
    values = traitlets.Bytes().tag(sync=True)
    colors = traitlets.List([BLUE, ORANGE, LIMIT]).tag(sync=True)

    def show(self, tiles: list[tuple[str, Seen]]) -> None:
        """Show these, with their titles."""
        described, values = [], []
        for title, seen in tiles:
            columns = seen.shape[-1] if seen.shape else 1
            data = seen.data.double().reshape(-1, seen.data.shape[-1] if seen.data.dim() else 1)
            shape = [math.prod(seen.shape[:-1]) if seen.shape else 1, columns]
            described.append({"title": title, "alt": values_text(seen), "shape": shape, "valid": list(data.shape)})
            values.append(data.contiguous().numpy().tobytes())
        with self.hold_sync():
            self.tiles, self.values = described, b"".join(values)


def _tile(m: Moment) -> Seen | None:
    """The tile that an operation made, with elements to show."""
    return next((r for r in m.results if isinstance(r, Seen) and r.data is not None and r.data.numel()), None)


class Controls:
    """What steps through a task in a front end: a slider, buttons, lists of lines and of their turns, and the block.

    `box` is the widget. Shown again, it is where it was left. Another block is opened in a thread of its own, `job`.
    """

    def __init__(self, view: Look):
        self.view = view
        narrow = ipywidgets.Layout(width="6em")
        self.title, self.source, self.facts = (ipywidgets.HTML() for _ in range(3))
        self.back = ipywidgets.Button(description="back", icon="arrow-left", layout=narrow)
        self.on = ipywidgets.Button(description="next", icon="arrow-right", layout=narrow)
        self.step = ipywidgets.IntSlider(description="operation", layout=ipywidgets.Layout(width="32em"))
        self.odd = ipywidgets.Button(description="next odd value", icon="exclamation-triangle")
        self.errors = ipywidgets.Button(
            description="rounding", icon="search", layout=narrow, tooltip="the largest error that each line adds itself"
        )
        self.line = ipywidgets.Dropdown(description="line", layout=ipywidgets.Layout(width="40em"))
        self.turn = ipywidgets.BoundedIntText(description="turn", min=1, layout=ipywidgets.Layout(width="11em"))
        launch = view.opened.launch
        self.block = ipywidgets.BoundedIntText(
            view.opened.block, min=0, max=launch.blocks - 1, description="block",
            layout=ipywidgets.Layout(width="11em"), continuous_update=False,
        )  # fmt: skip
        if view.opened.run is None or launch.blocks == 1:
            self.block.layout.display = "none"
        self.tiles = Tiles()
        self.job = Job(lambda block, check: self._open(block), self._opened)
        self.box = ipywidgets.VBox([
            self.title, ipywidgets.HBox([self.back, self.on, self.step, self.odd, self.errors]),
            ipywidgets.HBox([self.line, self.turn, self.block]), self.source, self.tiles, self.facts,
        ])  # fmt: skip
        self.measuring = Job(lambda view, check: view.measure(), self._measured)
        self._fill()
        self.back.on_click(lambda _: self.to(self.step.value - 1))
        self.on.on_click(lambda _: self.to(self.step.value + 1))
        self.odd.on_click(lambda _: self.to(next(i for i, _ in self.view.opened.odd if i > self.step.value)))
        self.errors.on_click(lambda _: self.measuring.start(self.view))
        self.step.observe(self._update, "value")
        self.line.observe(self._to_line, "value")
        self.turn.observe(self._to_line, "value")
        self.block.observe(lambda change: self.job.start(change["new"]), "value")

    def to(self, number: int) -> None:
        """Show an operation by its number; one before the first is the first."""
        self.step.value = max(0, min(self.step.max, number))

    def _key(self) -> tuple:
        return self.view.opened.title, len(self.view.opened)

    def _fill(self) -> None:
        """The controls of a task that has just been opened."""
        opened = self.view.opened
        self.title.value = html.escape(f"{opened.title}: {len(opened):,} operations")
        if not len(opened):
            self.facts.value = f"<pre>{NOTHING}</pre>"
            for control in (self.back, self.on, self.step, self.odd, self.errors, self.line, self.turn):
                control.disabled = True
            return
        for control in (self.step, self.line, self.turn, self.errors):
            control.disabled = False
        self.step.max = len(opened) - 1
        first = {}
        for m in opened.moments:
            first.setdefault(m.place.line, f"{m.place.line}: {m.place.code.strip()}")
        self._quiet = True
        self.line.options = [(first[n], n) for n in sorted(first)]
        self._quiet = False
        self.to(_kept.get(self._key(), self.view.at))
        self._update()

    def _open(self, block: int) -> None:
        of = self.view.opened
        other = self.view.other
        if other is not None and other.run is not None and block < other.launch.blocks:
            other = inside(other.run, other.launch.index, block)
        self.view = Look(inside(of.run, of.launch.index, block), self.step.value, True, other)

    def _opened(self, error: Exception | None) -> None:
        if error is not None:
            self.facts.value = f"<pre>{html.escape(str(error))}</pre>"
            return
        self._fill()

    def _measured(self, error: Exception | None) -> None:
        if error is None:
            self._update()
        elif not isinstance(error, Cancelled):
            self.facts.value = f"<pre>{html.escape(str(error))}</pre>"

    def _to_line(self, change: dict) -> None:
        if not self._quiet:
            self.to(self.view.opened.at(self.line.value, self.turn.value - 1 if change["owner"] is self.turn else 0))

    def _update(self, _: Any = None) -> None:
        view, opened = self.view, self.view.opened
        _kept[self._key()] = at = self.step.value
        m = opened[at]
        self.back.disabled, self.on.disabled = at == 0, at == self.step.max
        self.odd.disabled = not any(i > at for i, _ in opened.odd)
        starts = opened.turns(m.place.line)
        self._quiet = True
        self.line.value, self.turn.max = m.place.line, max(1, len(starts))
        self.turn.value = max(1, sum(i <= at for i in starts))
        self._quiet = False
        self.source.value = view.source(at)
        theirs = view.beside(at)
        shown = [(f"{m.bound or m.operation}, line {m.place.line}", _tile(m))]
        if view.other is not None:
            shown[0] = ("here: " + shown[0][0], shown[0][1])
            shown.append(("there", _tile(view.other[theirs]) if theirs is not None else None))
        self.tiles.show([(title, seen) for title, seen in shown if seen is not None])
        said = "\n".join(x for x in (view.difference(at), view.facts(at)) if x)
        self.facts.value = f'<pre style="line-height:1.2">{html.escape(said)}</pre>'


class Opener:
    """Tasks of a run that are opened in a place of their own, `box`, the latest only; in a thread of its own, `job`."""

    def __init__(self, of: Run, trace: Trace):
        check_kept(of)
        if len(of.trace.dispatches) != len(trace.dispatches):
            mine, theirs = len(trace.dispatches), len(of.trace.dispatches)
            raise InputError(f"what is shown has {mine:,} launches and the run {theirs:,}: show what this run did")
        self.of, self.box = of, ipywidgets.VBox()
        self._look: Look | None = None
        self.job = Job(lambda task, check: self._open(*task), self._opened)

    def open(self, launch: int, block: int = 0) -> None:
        """Begin to open a block of a launch."""
        self.box.children = [ipywidgets.HTML(f"opening launch {launch}, block {block} ...")]
        self.job.start((launch, block))

    def close(self) -> None:
        """Show nothing."""
        self.job.cancel()
        self.box.children = []

    def _open(self, launch: int, block: int) -> None:
        self._look = look(inside(self.of, launch, block), live=True)

    def _opened(self, error: Exception | None) -> None:
        if error is None:
            self.box.children = [self._look.controls()]
        elif not isinstance(error, Cancelled):
            self.box.children = [ipywidgets.HTML(f"<pre>{html.escape(str(error))}</pre>")]


def look(opened: Inside, at: int = 0, beside: Inside | None = None, live: bool | None = None) -> Look:
    """An opened task, operation by operation.

    Args:
        opened: What `helpers.inside.inside` gives.
        at: The operation to begin with; `opened.at(line)` finds one.
        beside: A task of another run, shown beside it: the same call, and how the tiles differ.
        live: True for the widget, False for text and a figure; None: the widget where a front end shows the cell.

    Raises:
        InputError: it has no such operation.
    """
    if at and not 0 <= at < len(opened):
        raise InputError(f"operation {at}: {opened.title} has {len(opened):,}, counted from 0")
    return Look(opened, at, front_end() if live is None else live, beside)
