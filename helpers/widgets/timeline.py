"""`timeline`: a swimlane to zoom; a click on a task shows what it is, what it costs, where it is launched."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import numpy as np
import traitlets

from helpers import plots
from helpers.errors import shown
from helpers.plots.core_lanes import Groups, hues, shades
from helpers.plots.style import bytes_text, many, time_text
from helpers.profile import CORES, Profile
from helpers.profile.pipe_times import PIPES
from helpers.profile.stalls import stalls
from helpers.run import Run
from helpers.widgets.front_end import front_end
from helpers.widgets.look import Opener

_HERE = Path(__file__).parent / "browser"
_kept: dict[tuple, dict[str, Any]] = {}  # what is zoomed to and chosen, by what is shown


class Lanes(anywidget.AnyWidget):
    """The swimlane itself. An entry a bar in `starts`, `ends` (float32, microseconds), `lanes`, `names` (uint16) and
    `tasks` (uint32), by start; `selected` is a task, or -1."""

    _esm = _HERE / "lanes.js"
    _css = _HERE / "widgets.css"
    starts = traitlets.Bytes().tag(sync=True)
    ends = traitlets.Bytes().tag(sync=True)
    lanes = traitlets.Bytes().tag(sync=True)
    names = traitlets.Bytes().tag(sync=True)
    tasks = traitlets.Bytes().tag(sync=True)
    name_list = traitlets.List(traitlets.Unicode()).tag(sync=True)
    shades = traitlets.List(traitlets.Int()).tag(sync=True)  # of each name, the place of its colour
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)  # of each colour
    colors = traitlets.List(traitlets.Unicode()).tag(sync=True)
    lane_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    makespan = traitlets.Float().tag(sync=True)
    kind = traitlets.Unicode().tag(sync=True)  # "predicted", or what else the times are
    span = traitlets.List(traitlets.Float()).tag(sync=True)
    selected = traitlets.Int(-1).tag(sync=True)


def lanes(profile: Profile, groups: Groups | None = None) -> Lanes:
    """The swimlane of a profile, all of it shown, nothing chosen."""
    task, core = profile.schedule.lanes()
    order = np.argsort(profile.schedule.start[task], kind="stable")
    task, core = task[order], core[order]
    used, lane = np.unique(core, return_inverse=True)
    labels, place = shades(profile, groups)
    t = profile.tasks
    return Lanes(
        starts=profile.schedule.start[task].astype("<f4").tobytes(),
        ends=profile.schedule.end[task].astype("<f4").tobytes(),
        lanes=lane.astype("<u2").tobytes(),
        names=t.name[task].astype("<u2").tobytes(),
        tasks=task.astype("<u4").tobytes(),
        name_list=list(t.names),
        shades=place.tolist(),
        labels=labels,
        colors=hues(labels, profile, groups),
        lane_names=[profile.chip.core_name(int(c)) for c in used],
        makespan=profile.makespan,
        kind=profile.kind,
    )


def details(profile: Profile, task: int) -> dict[str, str]:
    """What there is to say of a task, by title; times are predicted."""
    t, s, cost = profile.tasks, profile.schedule, profile.costs[task]
    place, launch = t.place(task), t.launch(task)
    before = [profile.trace.dispatches[d].name for d in profile.producers(launch.index)]
    of = ", ".join(f"{before.count(n):,} x {n}" for n in dict.fromkeys(before))
    start, end, ready = (float(x[task]) for x in (s.start, s.end, s.ready))
    pipes = ", ".join(f"{n} {time_text(us)}" for n, us in zip(PIPES, cost.busy) if us)
    waits = sorted((s for core in profile.core(task) for s in stalls(core)), key=lambda s: -s.us)[:2]
    return {
        "task": t.title(task),
        "core": f"{profile.chip.core_name(int(s.core[task]))} ({CORES[t.kind[task]]} task)",
        "when": f"{time_text(start)} to {time_text(end)}: {time_text(end - start)}, {profile.kind}",
        "ready": f"at {time_text(ready)}, so it waited {time_text(start - ready)} for its dispatch and a core",
        "pipes": f"{pipes}; bound by {cost.bound}" if pipes else "not known",
        **({"waits": "; ".join(f"{time_text(s.us)}: {s}" for s in waits)} if waits else {}),
        "global memory": f"{bytes_text(cost.read_bytes)} read, {bytes_text(cost.write_bytes)} written",
        "depends on": of or "nothing",
        "critical path": "on it" if task in profile.critical_path else "not on it",
        "launched at": f"{shown(place.file)}:{place.line}",
        "source": place.code.strip(),
    }


def _table(rows: dict[str, str]) -> str:
    cell = '<tr><td style="padding-right:1.2em;vertical-align:top">{}</td><td>{}</td></tr>'
    values = {k: f"<code>{html.escape(v)}</code>" if k == "source" else html.escape(v) for k, v in rows.items()}
    return f"<table>{''.join(cell.format(k, v) for k, v in values.items())}</table>"


def _pipes(profile: Profile, task: int) -> str:
    """The figure of a task's pipes, where something is known of them."""
    if not any(core.bars for core in profile.core(task)):
        return ""
    figure = plots.core(profile, task)
    picture = base64.b64encode(figure.png()).decode()
    width = round(figure.get_size_inches()[0] * 96)
    return f'<img alt="{html.escape(figure.alt)}" width="{width}" src="data:image/png;base64,{picture}">'


class Timeline:
    """What `timeline` returns: the swimlane to use where there is a front end, else its figure."""

    def __init__(self, profile: Profile, live: bool, of: Run | None = None, groups: Groups | None = None):
        self.profile, self.live, self.groups = profile, live, groups
        self.opener = Opener(of, profile.trace) if of is not None else None

    def __repr__(self) -> str:
        chip = self.profile.chip.name
        return f"[timeline] {many(len(self.profile.tasks), 'task')} of {len(self.profile.tasks.names)} names on {chip}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self.live:
            return self.controls()._repr_mimebundle_()
        bundle, metadata = plots.swimlane(self.profile, groups=self.groups)._repr_mimebundle_()
        return {**bundle, "text/plain": repr(self)}, metadata

    def controls(self) -> ipywidgets.VBox:
        """The swimlane, and below it the details of the task that is chosen. Shown again, it is as it was left."""
        p = self.profile
        state = _kept.setdefault((p.chip.name, p.tasks.names, len(p.tasks)), {"span": [], "selected": -1})
        shown_lanes = lanes(p, self.groups)
        if not state["span"] or state["span"][1] <= p.makespan:
            shown_lanes.span = state["span"]
        shown_lanes.selected = state["selected"]
        text = ipywidgets.HTML()

        def update(_: Any = None) -> None:
            state.update(span=list(shown_lanes.span), selected=shown_lanes.selected)
            chosen = shown_lanes.selected
            text.value = "click a task; drag to zoom" if chosen < 0 else _table(details(p, chosen)) + _pipes(p, chosen)

        def choose(_: Any) -> None:
            chosen = shown_lanes.selected
            if chosen < 0:
                self.opener.close()
            else:
                self.opener.open(p.tasks.launch(chosen).index, int(p.tasks.block[chosen]))

        update()
        shown_lanes.observe(update, ["span", "selected"])
        if self.opener is None:
            return ipywidgets.VBox([shown_lanes, text])
        shown_lanes.observe(choose, "selected")
        return ipywidgets.VBox([shown_lanes, text, self.opener.box])


def timeline(
    profile: Profile, live: bool | None = None, of: Run | None = None, groups: Groups | None = None
) -> Timeline:
    """A lane for each core in use, predicted time from left to right; drag zooms, a click shows a task's details.

    Running the cell again keeps what is zoomed to and chosen.

    Args:
        live: True for the widget, False for the figure; None: the widget where a front end shows the cell.
        of: The run whose trace this is, `helpers.run.run(..., keep=True)`: a click opens the task, too (see `look`).
        groups: Labels, each for several kernel names, which then share a colour.

    Raises:
        InputError: the run has other launches than the profile.
    """
    return Timeline(profile, front_end() if live is None else live, of, groups)
