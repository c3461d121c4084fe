"""`look`: an opened task to step through: its source with a gutter, the tile of each operation, what is on chip."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets

from helpers import plots
from helpers.inside import Inside, values
from helpers.interpret.values.seen import Seen
from helpers.widgets.front_end import front_end

AROUND = 9  # lines of source above and below
_kept: dict[tuple, int] = {}  # the operation that is shown, by task


class Look:
    """What `look` returns: controls where there is a front end, else the operations as text and one figure."""

    def __init__(self, opened: Inside, at: int, live: bool):
        self.opened, self.at, self.live = opened, at, live

    def __repr__(self) -> str:
        return f"{self.opened!r}\n{self.opened.described(self.at)}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self.live:
            return self.controls()._repr_mimebundle_()
        fig = self.figure(self.at)
        if fig is None:
            return {"text/plain": repr(self)}, {}
        bundle, metadata = fig._repr_mimebundle_()
        return {**bundle, "text/plain": repr(self)}, metadata

    def figure(self, number: int) -> plots.Figure | None:
        """The tile that an operation made; None where it made none."""
        m = self.opened[number]
        seen = next((r for r in m.results if isinstance(r, Seen) and r.data is not None), None)
        if seen is None or not seen.data.numel():
            return None
        return plots.tile(seen.data, seen.shape, seen.valid, f"{m.bound or m.operation}, line {m.place.line}")

    def source(self, number: int) -> str:
        """The source around an operation as HTML: how often each line runs in the task, and what is odd there."""
        m = self.opened[number]
        odd: dict[int, str] = {}
        for i, what in self.opened.odd:
            odd.setdefault(self.opened[i].place.line, "; ".join(what))
        rows = []
        for n in range(max(1, m.place.line - AROUND), m.place.line + AROUND + 1):
            code = m.place.text.line(n) if m.place.text is not None else m.place.code if n == m.place.line else ""
            runs = len(self.opened.lines.get((m.place.file, n), ()))
            here = ' style="background:#0072b230"' if n == m.place.line else ""
            mark = f'<td style="color:#c84400">{html.escape(odd.get(n, ""))}</td>'
            rows.append(
                f"<tr{here}><td style='text-align:right;opacity:.6'>{runs or ''}</td>"
                f"<td style='text-align:right;opacity:.6'>{n}</td>"
                f"<td><pre style='margin:0'>{html.escape(code)}</pre></td>{mark}</tr>"
            )
        return f"<table style='line-height:1.15;border-spacing:6px 0'>{''.join(rows)}</table>"

    def facts(self, number: int) -> str:
        """What an operation took and made, its elements, and the bytes on chip."""
        m = self.opened[number]
        out = [self.opened.described(number)]
        out += [values.table(r) for r in m.results if isinstance(r, Seen) and r.data is not None][:1]
        for space, n in sorted(self.opened.on_chip(number).items()):
            out.append(f"{space}: {n:,} of {self.opened.limits.get(space, 0):,} bytes")
        return "\n".join(out)

    def controls(self) -> ipywidgets.VBox:
        """A slider over the operations, buttons for one step and for the next odd value. Shown again, it is where it
        was left."""
        opened = self.opened
        key = (opened.title, len(opened))
        last = len(opened) - 1
        step = ipywidgets.IntSlider(
            value=min(_kept.get(key, self.at), last), min=0, max=last, description="operation",
            layout=ipywidgets.Layout(width="32em"),
        )  # fmt: skip
        narrow = ipywidgets.Layout(width="6em")
        back = ipywidgets.Button(description="back", icon="arrow-left", layout=narrow)
        on = ipywidgets.Button(description="next", icon="arrow-right", layout=narrow)
        odd = ipywidgets.Button(description="next odd value", icon="exclamation-triangle")
        source, facts = ipywidgets.HTML(), ipywidgets.HTML()
        image = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%", width="864px"))
        strange = [i for i, _ in opened.odd]

        def update(_: Any = None) -> None:
            _kept[key] = at = step.value
            back.disabled, on.disabled = at == 0, at == last
            odd.disabled = not any(i > at for i in strange)
            source.value = self.source(at)
            facts.value = f'<pre style="line-height:1.2">{html.escape(self.facts(at))}</pre>'
            fig = self.figure(at)
            image.layout.display = "none" if fig is None else ""
            if fig is not None:
                image.value = fig.png()

        def to(number: int) -> None:
            step.value = max(0, min(last, number))

        back.on_click(lambda _: to(step.value - 1))
        on.on_click(lambda _: to(step.value + 1))
        odd.on_click(lambda _: to(next(i for i in strange if i > step.value)))
        step.observe(update, "value")
        update()
        title = ipywidgets.HTML(html.escape(f"{opened.title}: {len(opened):,} operations"))
        return ipywidgets.VBox([title, ipywidgets.HBox([back, on, step, odd]), source, image, facts])


def look(opened: Inside, at: int = 0, live: bool | None = None) -> Look:
    """An opened task, operation by operation.

    Args:
        opened: What `helpers.inside.inside` gives.
        at: The operation to begin with; `opened.at(line)` finds one.
        live: True for the widget, False for text and a figure; None: the widget where a front end shows the cell.
    """
    return Look(opened, at, front_end() if live is None else live)
