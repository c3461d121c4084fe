"""The numbers of saves as text, side by side: what the terminal and the notebook show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from helpers.live.history import History, Save
from helpers.live.judge import Judged
from helpers.plots.style import bytes_text, time_text


@dataclass(frozen=True)
class Series:
    """A number of a run that is followed from save to save; `value` gives None where a run has none."""

    name: str
    value: Callable[[Judged], float | None]
    text: Callable[[float], str]


def _ratio_text(r: float) -> str:
    return "inf" if math.isinf(r) else f"{r:.2g}"


SERIES = (
    Series("predicted time", lambda j: j.predicted_us, time_text),
    Series("error / tolerance", lambda j: j.ratio, _ratio_text),
    Series("tasks", lambda j: j.tasks, lambda n: f"{n:,.0f}"),
    Series("GM bytes", lambda j: j.gm_bytes, bytes_text),
    *(
        Series(f"{space} peak", lambda j, space=space: j.peaks.get(space) or None, bytes_text)
        for space in ("UB", "L1", "L0A", "L0B", "L0C")
    ),
)
"""What is followed, in the order in which it is shown."""


def title(judged: Judged) -> str:
    """A run in one line, of what does not depend on this computer: predicted time and tasks."""
    shown = [s for s in SERIES if s.name in ("predicted time", "tasks")]
    return ", ".join(f"{s.name} {s.text(v)}" for s in shown if (v := s.value(judged)) is not None)


def rows(history: History, save: Save) -> list[tuple[str, str, str, str]]:
    """A row for each number: its name, in this save, in the one before that ran, in the best. Peaks have limits."""
    now = save.last
    earlier = [s for s in history.saves if s.number < save.number and s.last is not None]
    before, best = earlier[-1] if earlier else None, history.best()
    out = []
    for series in SERIES:
        value = series.value(now)
        if value is None:
            continue
        limit = now.limits.get(series.name.removesuffix(" peak")) if series.name.endswith("peak") else None
        text = series.text(value) + (f" of {bytes_text(limit)}" if limit else "")
        out.append((series.name, text, _beside(series, before), _beside(series, best)))
    return out


def _beside(series: Series, save: Save | None) -> str:
    value = series.value(save.last) if save is not None and save.last is not None else None
    return "" if value is None else series.text(value)


def best_text(history: History) -> str:
    """The heading of the best save's column."""
    best = history.best()
    return f"best, save {best.number}" if best else ""


_LEVELS = "▁▂▃▄▅▆▇█"


def sparkline(history: History, most: int = 40) -> str:
    """Predicted time of the latest saves, low to high; x for a save that does not pass, a dot for one without time."""
    saves = [s for s in history.saves if s.done][-most:]
    times = [s.last.predicted_us for s in saves if s.last is not None and s.last.predicted_us is not None]
    if not times:
        return ""
    low, high = min(times), max(times)
    out = ""
    for s in saves:
        us = s.last.predicted_us if s.last is not None else None
        if not s.passed:
            out += "x"
        elif us is None:
            out += "."
        else:
            out += _LEVELS[round((us - low) / (high - low) * 7) if high > low else 0]
    return (
        f"predicted time, saves {saves[0].number} to {saves[-1].number}: {out}  ({time_text(low)} to {time_text(high)})"
    )
