"""`explore`: change version, chip, batch, context and tile sizes of a stage; watch error, memory and time change."""

from __future__ import annotations

import html
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import ipywidgets

from golden import RunResult, TensorSpec
from helpers import file_stages, plots, show
from helpers.errors import InputError, WorkbookError
from helpers.interpret.language.decorated import digest
from helpers.interpret.trace.trace import Trace
from helpers.plots.style import Figure, bytes_text, time_text
from helpers.profile import profile
from helpers.stages import Knob, Stage, find, run_stage
from helpers.tuning import attempt, constants, tuned_stage
from helpers.widgets.front_end import front_end
from helpers.widgets.job import Cancelled, Job
from kernels.qwen3 import BATCH, MAX_CTX, PAGE

CTX = (1, PAGE - 1, PAGE, PAGE + 1, 512, 1024, 2048, MAX_CTX)
CHIPS = ("a2a3", "a5")

_kept: dict[str, tuple[dict, dict]] = {}  # by stage: what `explore` was called with, and what the controls say since


@dataclass(frozen=True)
class Setting:
    """What the controls choose: a version of the stage, a chip, sequences, tokens of each, and its tile sizes.

    `tiles` has (constant, value) for constants that differ from what the kernel's file says, see `helpers.tuning`.
    """

    version: str
    chip: str
    batch: int | None
    ctx: int | None
    tiles: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        sizes = [f"{n} {v}" for n, v in (("batch", self.batch), ("context", self.ctx)) if v is not None]
        return ", ".join([self.version, *sizes, *(f"{n} {v}" for n, v in self.tiles)])


@dataclass(frozen=True)
class Measured:
    """A run with one setting: its text, which is stable, and its figure."""

    text: str
    figure: Figure = field(repr=False)


def predicted(trace: Trace) -> list[str]:
    """What a trace says without any arithmetic; less when that decides what the kernel does."""
    peak = "on-chip peak: " + ", ".join(f"{s} {bytes_text(n)}" for s, n in trace.peaks().items() if n)
    if trace.partial:
        return ["predicted time, tasks, bytes: when it has run, for they depend on what it computes", peak]
    p = profile(trace)
    by = max(p.by_name(), key=lambda r: r.total)
    return [
        f"{p.kind} time: {time_text(p.makespan)}{p.within} on {p.chip.name}; most of it {by.name}",
        f"tasks: {trace.tasks:,}; critical path, in launches: {plots.longest_chain(trace):,}",
        f"GM: {bytes_text(trace.gm_read_bytes)} read, {bytes_text(trace.gm_write_bytes)} written",
        peak,
    ]


def tried(stage: str, setting: Setting) -> Trace | WorkbookError:
    """The trace of a setting without arithmetic, or what stands against it; made once for each text of the kernel."""
    try:
        text = digest(_of(stage, setting.version).versions[setting.version])
    except WorkbookError as error:
        return error
    return _tried(stage, setting, text)


@lru_cache(maxsize=512)
def _tried(stage: str, setting: Setting, _: str) -> Trace | WorkbookError:
    return attempt(
        _of(stage, setting.version),
        setting.version,
        chip=setting.chip,
        batch=setting.batch,
        ctx=setting.ctx,
        **dict(setting.tiles),
    )


_measured: dict[tuple, Measured] = {}  # what was run last, by what it depends on
_MEASURED = 64


def measure(stage: str, setting: Setting, tell: Callable[[int], None] | None = None) -> Measured:
    """Run the stage in interpret mode; a setting that was run before is not run again while the kernel's text is that.

    Args:
        tell: Called while the kernel runs, see helpers.run.run.

    Raises:
        WorkbookError: see helpers.stages.run_stage.
    """
    key = stage, setting, digest(_of(stage, setting.version).versions[setting.version])
    found = _measured.pop(key, None) or _measure(stage, setting, tell)
    while len(_measured) >= _MEASURED:
        del _measured[next(iter(_measured))]
    _measured[key] = found
    return found


def _measure(stage: str, setting: Setting, tell: Callable[[int], None] | None) -> Measured:
    given = _given(stage, setting.version if _is_file(stage) else "", setting.batch, setting.ctx)
    one = tuned_stage(given.stage, setting.version, **dict(setting.tiles))
    on = f"{setting.chip}interp"
    result = run_stage(one, setting.version, platform=on, batch=setting.batch, ctx=setting.ctx, tell=tell)
    ratios = given.ratios(result)
    judged = ", ".join(f"{name} {plots.verdict(ratio)}" for name, ratio in ratios.items())
    lines = [
        f"{stage} {setting} on {result.platform}: {'PASS' if result.passed else 'FAIL'}",
        f"errors against {given.against}, by the tolerance: {judged}",
        *predicted(result.trace),
    ]
    return Measured("\n".join(lines), plots.summary(result.trace, ratios, str(setting)))


_LARGE = 2**28  # bytes; a tensor as large as that is made anew for each run, not kept


class _Given:
    """A stage whose inputs and golden for one batch and context are made once and kept, and what errors are against.

    Against the exact math where the golden module has it; against the golden where that has `limits`, tolerances of
    its own for each output: they allow for no more.
    """

    def __init__(self, stage: Stage, batch: int | None, ctx: int | None):
        specs = stage.specs(batch=batch, ctx=ctx, seed=0)
        kept = [self._kept(s) if isinstance(s, TensorSpec) else s for s in specs]
        self._golden, self._stage = sys.modules.get(getattr(stage.reference, "__module__", "")), stage
        self._expected: dict[str, Any] = {}
        self._outputs = [s.name for s in specs if getattr(s, "is_output", False)]
        reference = self._reference if stage.reference is not None else None
        self.stage = replace(stage, specs=lambda **_: kept, reference=reference)
        self._values, self._right = {}, None
        self.against = "golden" if reference is not None else "nothing"
        if hasattr(self._golden, "written"):
            values = show.inputs(kept)
            self._values = {n: v for n, v in values.items() if getattr(v, "nbytes", 0) < _LARGE}
            if not hasattr(self._golden, "limits"):
                self._right, self.against = self._golden.exact(values), "FP64"

    @staticmethod
    def _kept(spec: TensorSpec) -> TensorSpec:
        if not spec.is_input or math.prod(spec.shape) * spec.dtype.itemsize >= _LARGE:
            return spec
        return replace(spec, init_value=spec.create_tensor(), fill=None)

    def _reference(self, values: dict[str, Any]) -> None:
        if not self._expected:
            self._stage.reference(values)
            self._expected = {n: values[n].clone() for n in self._outputs}
        for name, right in self._expected.items():
            values[name][:] = right

    def ratios(self, result: RunResult) -> dict[str, float]:
        """The largest error of every output over the tolerance."""
        allowed = (self._stage.tolerance.rtol, self._stage.tolerance.atol)
        actual, right = result.outputs, result.expected
        if hasattr(self._golden, "written"):
            actual = self._golden.written(self._values, actual)
            right = self._right or self._golden.written(self._values, right)
        limits = self._golden.limits(self._values) if hasattr(self._golden, "limits") else {}
        return {n: plots.worst_ratio(actual[n], r, *limits.get(n, allowed)) for n, r in right.items()}


@lru_cache(maxsize=1)
def _given(stage: str, version: str, batch: int | None, ctx: int | None) -> _Given:
    return _Given(_of(stage, version), batch, ctx)


def _is_file(stage: str) -> bool:
    return stage.partition(":")[0].endswith(".py")


@lru_cache(maxsize=8)
def _runs(text: str, _: int) -> tuple[Stage, ...]:
    """The runs of a file as stages; made anew when it was written."""
    return tuple(file_stages.found(text))


def _of(stage: str, version: str = "") -> Stage:
    """A stage, or the kernels of a file as one: with the specs and the golden of `version`, of the last run if none."""
    if not _is_file(stage):
        return find(stage)
    file = Path(stage.partition(":")[0])
    runs = _runs(stage, file.stat().st_mtime_ns if file.is_file() else 0)
    chosen = next((one for one in runs if version in one.versions), runs[-1])
    return replace(chosen, versions={n: k for one in runs for n, k in one.versions.items()})


class Explorer:
    """What `explore` returns: controls where there is a front end, else the text and figure of its setting."""

    def __init__(self, stage: str, setting: Setting, live: bool):
        self.stage, self.setting, self.live = stage, setting, live

    def __repr__(self) -> str:
        return measure(self.stage, self.setting).text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self.live:
            return Controls(self.stage, self.setting, _kept[self.stage][1].update).box._repr_mimebundle_()
        bundle, metadata = measure(self.stage, self.setting).figure._repr_mimebundle_()
        return {**bundle, "text/plain": repr(self)}, metadata


class Controls:
    """The controls, and below them text and figure, which follow them.

    `box` is the widget, `job` does the work: what a setting would do, without arithmetic, is there at once; then what
    fits beside it; then the run itself, which can be cancelled.

    Args:
        keep: Called with each new setting's fields.
    """

    def __init__(self, stage: str, setting: Setting, keep: Callable[[dict], None]):
        self.stage, self._keep, self._quiet = stage, keep, False
        wide = ipywidgets.Layout(width="32em")
        self.version = ipywidgets.ToggleButtons(
            options=list(_of(stage).versions), value=setting.version, description="version"
        )
        self.chip = ipywidgets.ToggleButtons(options=CHIPS, value=setting.chip, description="chip")
        self.batch, self.ctx = None, None
        if setting.batch is not None:
            self.batch = ipywidgets.IntSlider(
                setting.batch, 1, BATCH, description="batch", continuous_update=False, layout=wide
            )
        if setting.ctx is not None:
            self.ctx = ipywidgets.SelectionSlider(
                options=sorted({*(n for n in CTX if n <= _of(stage).longest), setting.ctx}), value=setting.ctx,
                description="context", continuous_update=False, layout=wide,
            )  # fmt: skip
        self.tiles: dict[str, ipywidgets.SelectionSlider] = {}
        self.tile_box = ipywidgets.VBox()
        self.refused = ipywidgets.HTML()
        self.text = ipywidgets.HTML()
        self.image = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%", width="864px"))
        self.bar = ipywidgets.FloatProgress(value=0.0, min=0.0, max=1.0, layout=ipywidgets.Layout(width="20em"))
        self.cancel = ipywidgets.Button(description="cancel", disabled=True, layout=ipywidgets.Layout(width="6em"))
        self.state = ipywidgets.Label()
        self.job = Job(self._work, self._ended)
        self.cancel.on_click(lambda _: self.job.cancel())
        self.box = ipywidgets.VBox(
            [
                self.version, self.chip, *filter(None, (self.batch, self.ctx)), self.tile_box, self.refused,
                ipywidgets.HBox([self.bar, self.cancel, self.state]), self.text, self.image,
            ]
        )  # fmt: skip
        self._offer(dict(setting.tiles))
        self.version.observe(self._other_version, "value")
        for control in filter(None, (self.chip, self.batch, self.ctx)):
            control.observe(self._update, "value")
        self._update()

    @property
    def setting(self) -> Setting:
        """What the controls say."""
        now = {name: slider.value for name, slider in self.tiles.items()}
        plain = self._plain(self.version.value)
        tiles = tuple((n, v) for n, v in now.items() if v != plain[n])
        batch, ctx = (control and control.value for control in (self.batch, self.ctx))
        return Setting(self.version.value, self.chip.value, batch, ctx, tiles)

    def _plain(self, version: str) -> dict[str, int]:
        """What the kernel's file says for each constant."""
        return _constants(_of(self.stage, version), version)

    def _knobs(self, version: str) -> tuple[Knob, ...]:
        return _of(self.stage, version).tiles.get(version, ())

    def _offer(self, values: dict[str, int]) -> None:
        """A slider for each constant of the version; until it is known what else fits, with its value alone."""
        self.refused.value = ""
        self.tiles = {}
        for knob in self._knobs(self.version.value):
            value = values.get(knob.name, self._plain(self.version.value)[knob.name])
            self.tiles[knob.name] = ipywidgets.SelectionSlider(
                options=[value], value=value, description=knob.name, continuous_update=False,
                layout=ipywidgets.Layout(width="34em"), style={"description_width": "11em"},
            )  # fmt: skip
            self.tiles[knob.name].observe(self._update, "value")
        titles = [k.title for k in self._knobs(self.version.value)]
        self.tile_box.children = [
            ipywidgets.HBox([slider, ipywidgets.Label(t)]) for slider, t in zip(self.tiles.values(), titles)
        ]

    def _other_version(self, _: Any) -> None:
        self._offer({})
        self._update()

    def _update(self, _: Any = None) -> None:
        if self._quiet:
            return
        setting = self.setting
        self._keep(vars(setting))
        self.bar.value, self.bar.bar_style, self.cancel.disabled = 0.0, "", False
        self.state.value = "tracing"
        self.job.start(setting)

    def _work(self, setting: Setting, check: Callable[[], None]) -> None:
        trace = tried(self.stage, setting)
        check()
        head = f"{self.stage} {setting} on {setting.chip}interp: "
        if isinstance(trace, WorkbookError):
            self._fit(setting, check)
            raise trace
        self.text.value = _pre("\n".join([head + "traced, not run", "", *predicted(trace)]))
        done = 0

        def tell(n: int) -> None:
            nonlocal done
            check()
            done += n
            if done >= 1.05 * self.bar.value * trace.tasks:  # not each of thousands
                self.bar.value = min(1.0, done / trace.tasks)

        self.state.value = "making inputs and golden, running"
        measured = measure(self.stage, setting, tell)
        check()
        self.text.value, self.image.value = _pre(measured.text), measured.figure.png()
        self._fit(setting, check)  # last: many traces of a whole layer take longer than its run

    def _fit(self, setting: Setting, check: Callable[[], None]) -> None:
        """Let each slider of a constant offer what fits, the other constants as they are."""
        refused = []
        for knob in self._knobs(setting.version):
            self.state.value = f"which {knob.name} fit"
            fits = []
            for value in knob.values:
                check()
                error = tried(self.stage, self._with(setting, knob, value))
                if isinstance(error, WorkbookError):
                    refused.append(f"{knob.name} {value}: {str(error).splitlines()[0]}")
                else:
                    fits.append(value)
            slider = self.tiles[knob.name]
            value = slider.value
            fits = sorted({*fits, value})
            if list(slider.options) != fits:
                self._quiet = True  # new options make the slider forget its value for a moment
                try:
                    with slider.hold_sync():
                        slider.options = fits
                        slider.value = value
                finally:
                    self._quiet = False
        self.refused.value = _pre("not offered:\n" + "\n".join(refused)) if refused else ""

    def _with(self, setting: Setting, knob: Knob, value: int) -> Setting:
        tiles = {**dict(setting.tiles), knob.name: value}
        plain = self._plain(setting.version)
        ordered = tuple((n, tiles[n]) for n in plain if n in tiles and tiles[n] != plain[n])
        return Setting(setting.version, setting.chip, setting.batch, setting.ctx, ordered)

    def _ended(self, error: Exception | None) -> None:
        self.cancel.disabled = True
        if error is None:
            self.bar.value, self.bar.bar_style, self.state.value = 1.0, "success", "done"
        elif isinstance(error, Cancelled):
            self.bar.bar_style, self.state.value = "warning", "cancelled; any change starts again"
        else:
            known = isinstance(error, WorkbookError)
            self.bar.bar_style, self.state.value = "danger", "refused" if known else type(error).__name__
            self.text.value = _pre(str(error))


def _pre(text: str) -> str:
    return f'<pre style="line-height:1.3">{html.escape(text)}</pre>'


def _constants(stage: Stage, version: str) -> dict[str, int]:
    """What the kernel's file says for each constant that may be changed."""
    names = tuple(k.name for k in stage.tiles.get(version, ()))
    return constants(stage.versions[version], names) if names else {}


def explore(
    stage: str, version: str | None = None, chip: str = "a2a3", batch: int | None = None, ctx: int | None = None,
    live: bool | None = None, **tiles: int,
) -> Explorer:  # fmt: skip
    """Controls over a stage; run in interpret mode. Running the cell again keeps what the controls say.

    Args:
        stage: Name of a stage, FILE.py, or FILE.py:KERNEL; a file has no batch, ctx and tiles to choose.
        version, chip, batch, ctx: Where the controls start; `version` None is the last of the ladder, `batch` None
            what the stage has by default, `ctx` None is 1024, or as long as the stage takes it.
        live: True for controls, False for text and figure; None: controls where a front end shows the cell.
        tiles: Constants of the version's kernel to start with, see `helpers.stages.Stage.tiles`.

    Raises:
        InputError: there is no such stage, file or kernel, or the version has no such constant, or not with this value.
        ValueError: chip, version, batch or ctx is none there is.
    """
    one = _of(stage, version or "")
    versions, longest = list(one.versions), one.longest
    version = version or versions[-1]
    wrong = version not in versions or chip not in CHIPS
    if one.batch is None:
        wrong = wrong or batch is not None or (ctx is not None and not one.context)
    else:
        batch = one.batch if batch is None else batch
        wrong = wrong or not 1 <= batch <= BATCH
    if one.batch is not None or one.context:
        ctx = min(1024, longest) if ctx is None else ctx
        wrong = wrong or not 1 <= ctx <= longest
    start = {"version": version, "chip": chip, "batch": batch, "ctx": ctx}
    if wrong:
        sizes = f", batch 1 to {BATCH}" if one.batch is not None else ""
        sizes += f", ctx 1 to {longest}" if one.batch is not None or one.context else ""
        raise ValueError(
            f"explore({stage!r}) on {start}: versions are {', '.join(versions)}, chips {', '.join(CHIPS)}{sizes}"
        )
    offered = {k.name: k.values for k in one.tiles.get(version, ())}
    for name, value in tiles.items():
        if value not in offered.get(name, ()):
            raise InputError(f"explore({stage!r}): {version} has no {name} {value!r}; there are: {offered or 'none'}")
    plain = _constants(one, version)
    start["tiles"] = tuple((n, tiles[n]) for n in offered if n in tiles and tiles[n] != plain[n])
    if stage not in _kept or _kept[stage][0] != start:
        _kept[stage] = (start, dict(start))
    return Explorer(stage, Setting(**_kept[stage][1]), front_end() if live is None else live)
