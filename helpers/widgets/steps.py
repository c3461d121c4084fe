"""`steps`: a stage's ladder, one step at a time: what changed, what it bought, and the timeline it gives."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping
from typing import Any

import ipywidgets

from helpers import plots
from helpers.interpret.language.decorated import unwrap
from helpers.interpret.trace.trace import Trace
from helpers.plots.style import bytes_text, time_text
from helpers.plots.versions import figures_of
from helpers.profile import Profile, profile
from helpers.stages import Stage
from helpers.widgets.front_end import front_end

_kept: dict[tuple, str] = {}  # the step that is shown, by stage and versions


def idea(kernel: Any) -> str:
    """What a kernel's docstring says first, and after "The idea:"; lines of 100 characters."""
    paragraphs = [" ".join(p.split()) for p in (unwrap(kernel)[0].__doc__ or "").split("\n\n")]
    said = paragraphs[:1] + [p for p in paragraphs[1:] if p.startswith("The idea:")]
    return "\n".join(textwrap.fill(p, 100) for p in said)


def changes(before: Profile | None, now: Profile) -> dict[str, str]:
    """The numbers of a version, each with what it was in the version before where it differs."""
    rows = {f"{now.kind} time": (None if before is None else before.makespan, now.makespan, time_text)}
    old = {} if before is None else figures_of(before.trace)
    for title, n in figures_of(now.trace).items():
        size = title.startswith("GM") or title.endswith("peak")
        rows[title] = (old.get(title), n, bytes_text if size else lambda x: f"{x:,}")
    return {
        title: (f"{text(a)} -> " if a is not None and a != b else "") + text(b) for title, (a, b, text) in rows.items()
    }


class Steps:
    """What `steps` returns: the ladder to walk where there is a front end, else all steps as text and their times."""

    def __init__(self, stage: Stage, profiles: Mapping[str, Profile], live: bool):
        self.stage, self.profiles, self.live = stage, dict(profiles), live

    def text(self, version: str) -> str:
        """What one step is and what it changed."""
        names = list(self.profiles)
        i = names.index(version)
        lines = [
            f"{i + 1} of {len(names)}: {version} ({self.profiles[version].chip.name}, {self.profiles[version].kind})"
        ]
        lines.append(idea(self.stage.versions[version]))
        rows = changes(self.profiles[names[i - 1]] if i else None, self.profiles[version])
        return "\n".join([*lines, *(f"  {title:<30}{value}" for title, value in rows.items())])

    def __repr__(self) -> str:
        return "\n\n".join(self.text(v) for v in self.profiles)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self.live:
            return self.controls()._repr_mimebundle_()
        bundle, metadata = plots.times(self.profiles)._repr_mimebundle_()
        return {**bundle, "text/plain": repr(self)}, metadata

    def controls(self) -> ipywidgets.VBox:
        """Buttons to go up and down the ladder; the step's text and swimlane. Shown again, it is where it was left."""
        names = list(self.profiles)
        key = (self.stage.name, *names)
        step = ipywidgets.SelectionSlider(
            options=names, value=_kept.get(key, names[0]), description="step", layout=ipywidgets.Layout(width="32em")
        )
        back = ipywidgets.Button(description="back", icon="arrow-left", layout=ipywidgets.Layout(width="6em"))
        on = ipywidgets.Button(description="next", icon="arrow-right", layout=ipywidgets.Layout(width="6em"))
        text = ipywidgets.HTML()
        image = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%", width="864px"))

        def go(by: int) -> None:
            step.value = names[min(max(0, names.index(step.value) + by), len(names) - 1)]

        def update(_: Any = None) -> None:
            _kept[key] = step.value
            at = names.index(step.value)
            back.disabled, on.disabled = at == 0, at == len(names) - 1
            text.value = f'<pre style="line-height:1.3">{html.escape(self.text(step.value))}</pre>'
            image.value = plots.swimlane(self.profiles[step.value]).png()

        update()
        back.on_click(lambda _: go(-1))
        on.on_click(lambda _: go(1))
        step.observe(update, "value")
        return ipywidgets.VBox([ipywidgets.HBox([back, on, step]), text, image])


def steps(stage: Stage, traces: Mapping[str, Trace | Profile], live: bool | None = None) -> Steps:
    """The ladder of a stage, step by step.

    Args:
        traces: Of the versions to show, naive to fused, all on one chip; a profile does as well.
        live: True for the widget, False for text and figure; None: the widget where a front end shows the cell.
    """
    profiles = {v: t if isinstance(t, Profile) else profile(t) for v, t in traces.items()}
    return Steps(stage, profiles, front_end() if live is None else live)
