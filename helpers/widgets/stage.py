"""`explore`: change version, chip, batch and context of a stage; watch error, on-chip memory and tasks change."""

from __future__ import annotations

import html
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import ipywidgets
from IPython import get_ipython

from helpers import plots, show
from helpers.errors import WorkbookError
from helpers.plots.style import Figure, bytes_text
from helpers.stages import find, run_stage
from kernels.qwen3 import BATCH, MAX_CTX, PAGE

CTX = (1, PAGE - 1, PAGE, PAGE + 1, 512, 1024, 2048, MAX_CTX)
CHIPS = ("a2a3", "a5")

_kept: dict[str, tuple[dict, dict]] = {}  # by stage: what `explore` was called with, and what the sliders say since


@dataclass(frozen=True)
class Setting:
    """What the controls choose: a version of the stage, a chip, sequences, tokens of each."""

    version: str
    chip: str
    batch: int
    ctx: int


@dataclass(frozen=True)
class Measured:
    """A run with one setting: its text, which is stable, and its figure."""

    text: str
    figure: Figure = field(repr=False)


@lru_cache(maxsize=64)
def measure(stage: str, setting: Setting) -> Measured:
    """Run the stage in interpret mode; a setting that was run before is not run again.

    Raises:
        WorkbookError: see helpers.stages.run_stage.
    """
    one = find(stage)
    how = {"batch": setting.batch, "ctx": setting.ctx}
    result = run_stage(one, setting.version, platform=f"{setting.chip}interp", **how)
    ratios, against = _ratios(one, result, how)
    trace = result.trace
    title = f"{setting.version}, batch {setting.batch}, context {setting.ctx}"
    lines = [
        f"{stage} {title} on {result.platform}: {'PASS' if result.passed else 'FAIL'}",
        f"largest error / tolerance, against {against}: " + ", ".join(f"{n} {r:.2g}" for n, r in ratios.items()),
        f"tasks: {trace.tasks:,}; launches one after the other: {plots.longest_chain(trace):,}",
        f"GM: {bytes_text(trace.gm_read_bytes)} read, {bytes_text(trace.gm_write_bytes)} written",
        "on-chip peak: " + ", ".join(f"{s} {bytes_text(n)}" for s, n in trace.peaks().items() if n),
    ]
    return Measured("\n".join(lines), plots.summary(trace, ratios, title))


def _ratios(stage: Any, result: Any, how: dict) -> tuple[dict[str, float], str]:
    """The largest error of every output over the tolerance: against the exact math where the golden has it.

    Against the golden where that has `limits`, tolerances of its own for each output: they allow for no more.
    """
    golden, allowed = sys.modules[stage.reference.__module__], (stage.tolerance.rtol, stage.tolerance.atol)
    if hasattr(golden, "written"):
        values = show.inputs(stage.specs(**how, seed=0))
        actual = golden.written(values, result.outputs)
        if hasattr(golden, "limits"):
            expected, limits = golden.written(values, result.expected), golden.limits(values)
            return {n: plots.worst_ratio(actual[n], e, *limits[n]) for n, e in expected.items()}, "golden"
        exact = golden.exact(values)
        return {n: plots.worst_ratio(actual[n], e, *allowed) for n, e in exact.items()}, "FP64"
    pairs = {n: (result.outputs[n], e) for n, e in result.expected.items()}
    return {n: plots.worst_ratio(*pair, *allowed) for n, pair in pairs.items()}, "golden"


class Explorer:
    """What `explore` returns: controls where there is a front end, else the text and figure of its setting."""

    def __init__(self, stage: str, setting: Setting, live: bool):
        self.stage, self.setting, self.live = stage, setting, live

    def __repr__(self) -> str:
        return measure(self.stage, self.setting).text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self.live:
            return self.controls()._repr_mimebundle_()
        bundle, metadata = measure(self.stage, self.setting).figure._repr_mimebundle_()
        return {**bundle, "text/plain": repr(self)}, metadata

    def controls(self) -> ipywidgets.VBox:
        """The controls, and below them text and figure, which follow them."""
        stage, now = find(self.stage), self.setting
        ctx = sorted({*CTX, now.ctx})
        wide = ipywidgets.Layout(width="28em")
        made = {
            "version": ipywidgets.ToggleButtons(options=list(stage.versions), value=now.version, description="version"),
            "chip": ipywidgets.ToggleButtons(options=CHIPS, value=now.chip, description="chip"),
            "batch": ipywidgets.IntSlider(
                now.batch, 1, BATCH, description="batch", continuous_update=False, layout=wide
            ),
            "ctx": ipywidgets.SelectionSlider(
                options=ctx, value=now.ctx, description="context", continuous_update=False, layout=wide
            ),
        }
        text = ipywidgets.HTML()
        image = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%", width="864px"))

        def update(_: Any = None) -> None:
            chosen = {name: control.value for name, control in made.items()}
            _kept[self.stage][1].update(chosen)
            text.value = _pre("running ...")
            try:
                measured = measure(self.stage, Setting(**chosen))
            except WorkbookError as error:
                text.value = _pre(str(error))
                return
            text.value, image.value = _pre(measured.text), measured.figure.png()

        update()
        for control in made.values():
            control.observe(update, "value")
        return ipywidgets.VBox([*made.values(), text, image])


def _pre(text: str) -> str:
    return f'<pre style="line-height:1.3">{html.escape(text)}</pre>'


def explore(
    stage: str, version: str | None = None, chip: str = "a2a3", batch: int = BATCH, ctx: int = 1024,
    live: bool | None = None,
) -> Explorer:  # fmt: skip
    """Controls over a stage; run in interpret mode. Running the cell again keeps what the controls say.

    Args:
        stage: Name of a stage.
        version, chip, batch, ctx: Where the controls start; `version` None is the last of the ladder.
        live: True for controls, False for text and figure; None: controls where a front end shows the cell.

    Raises:
        InputError: there is no such stage.
        ValueError: chip, version, batch or ctx is none there is.
    """
    versions = list(find(stage).versions)
    start = {"version": version or versions[-1], "chip": chip, "batch": batch, "ctx": ctx}
    if start["version"] not in versions or chip not in CHIPS or not 1 <= batch <= BATCH or not 1 <= ctx <= MAX_CTX:
        raise ValueError(
            f"explore({stage!r}) on {start}: versions are {', '.join(versions)}, chips {', '.join(CHIPS)}, "
            f"batch 1 to {BATCH}, ctx 1 to {MAX_CTX}"
        )
    if stage not in _kept or _kept[stage][0] != start:
        _kept[stage] = (start, dict(start))
    return Explorer(stage, Setting(**_kept[stage][1]), front_end() if live is None else live)


def front_end() -> bool:
    """True when a notebook's user interface runs this cell: it names the cell in its request, which nbclient, nbval
    and the HTML pages of `make run` do not."""
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    return bool(shell.kernel.get_parent("shell").get("metadata", {}).get("cellId"))
