"""How every figure looks: one palette, a transparent background, text that reads on white and on black.

A figure carries `alt`, a sentence that says what it shows. It is the figure's text where pictures cannot be seen:
a terminal, a screen reader, and the comparison of a notebook's stored outputs, so it holds stable facts only.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import matplotlib
import matplotlib.colors
import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imsave
from matplotlib.ticker import FuncFormatter

from helpers.interpret.trace.trace import Trace

# After Okabe and Ito's colours for colour-blind readers (https://jfly.uni-koeln.de/color), made darker until each has a
# contrast of 3 or more on white and on JupyterLab's dark background (#111111), and still differs from the others.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072b2", "#bd8100", "#009e73", "#c84400", "#3f98cf", "#c671a1"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
TEXT = "#7a7a7a"  # contrast 4.3 on white, 4.4 on #111111
FAINT = "#8888887f"  # frames
LIMIT = RED  # what must not be crossed: tolerance, capacity
HEAT = matplotlib.colors.LinearSegmentedColormap.from_list("heat", [BLUE + "26", BLUE + "ff"])  # by opacity

WIDTH = 9.0  # inches, the width of a notebook's text
DPI = 144

_RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same widths everywhere
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.titley": 1.0,  # there is nothing above the axes that it would have to look for a place beside
    "axes.labelsize": 9.0,
    "axes.facecolor": "none",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": TEXT,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "legend.frameon": False,
    "legend.labelcolor": TEXT,
    "lines.linewidth": 1.6,
}


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that shows itself in a notebook whatever the backend, and says what it shows.

    It is none of pyplot's: nothing needs to be closed.
    """

    alt: str = ""
    spots: dict[
        str, tuple[float, float, float, float]
    ]  # what can be clicked: left, top, right, bottom, shares of the size

    def png(self, dpi: int = DPI, compress: int = 6) -> bytes:
        """The figure as a PNG file, transparent. It is drawn once, where `savefig` draws it twice.

        Args:
            compress: zlib's level, 0 to 9: less takes less time, and makes a larger file.
        """
        out, before = io.BytesIO(), self.dpi
        with matplotlib.rc_context(_RC):
            canvas = FigureCanvasAgg(self)
            self.set_dpi(dpi)
            try:
                canvas.draw()
            finally:
                self.set_dpi(before)
            imsave(
                out, canvas.buffer_rgba(), format="png", dpi=dpi, origin="upper", metadata={"Software": None},
                pil_kwargs={"compress_level": compress},
            )  # fmt: skip
        return out.getvalue()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        width, height = (round(inches * 96) for inches in self.get_size_inches())
        size = {"width": width, "height": height}
        return {"text/plain": repr(self), "image/png": self.png()}, {"image/png": size}

    def __repr__(self) -> str:
        return f"[figure] {self.alt}"

    __str__ = __repr__


def figure(height: float, alt: str, width: float = WIDTH) -> Figure:
    """An empty figure of a size in inches, whose axes arrange themselves."""
    with matplotlib.rc_context(_RC):
        made = Figure(figsize=(width, height), layout="constrained")
    made.alt = alt
    made.spots = {}
    return made


def axes_at(fig: Figure, left: float, top: float, width: float, height: float, like: Axes | None = None) -> Axes:
    """Axes at a place of a figure, in inches from its left and its top; they share their horizontal axis with `like`.

    Such a figure does not arrange its axes, which would take longer than to draw them.
    """
    fig.set_layout_engine("none")
    wide, tall = fig.get_size_inches()
    return fig.add_axes((left / wide, 1 - (top + height) / tall, width / wide, height / tall), sharex=like)


def text_width(fig: Figure, texts: Iterable[str], size: float) -> float:
    """Inches that the longest of some texts takes, in a size in points."""
    text = fig.text(0, 0, max(texts, key=len, default=""), fontsize=size)
    inches = text.get_window_extent().width / fig.dpi
    text.remove()
    return inches


def beside(axes: Axes, y: float, text: str, size: float) -> None:
    """Write a label to the left of the axes at a height of theirs; a tick's takes several times as long to draw."""
    axes.annotate(
        text, (0, y), (-4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", annotation_clip=False,
        fontsize=size, ha="right", va="center_baseline",
    )  # fmt: skip


def styled() -> Any:
    """`with styled():` around whatever makes axes, text and artists."""
    return matplotlib.rc_context(_RC)


def sign(fig: Figure, platform: str | None, note: str = "") -> None:
    """Say below the figure on which platform its numbers come from."""
    if platform is None:
        return
    where = f"platform {platform}" + (" (interpret mode)" if "interp" in platform else "")
    fig.supxlabel(f"{where}{': ' if note else ''}{note}", x=0.995, ha="right", fontsize=7.5, color=TEXT)


def platform_of(traces: Iterable[Trace | None]) -> str | None:
    """The label of the first trace there is."""
    return next((t.label for t in traces if t is not None), None)


def colors(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name: the one that it had before where that is free, else the next that is.

    So a kernel keeps its colour from figure to figure. They repeat after the sixth: a label must name it too.
    """
    out: dict[str, str] = {}
    unique = list(dict.fromkeys(names))
    for name in unique:
        if _had.get(name, "") and _had[name] not in out.values():
            out[name] = _had[name]
    for i, name in enumerate(unique):
        if name not in out:
            free = [c for c in PALETTE if c not in out.values()] or [PALETTE[i % len(PALETTE)]]
            out[name] = free[0]
            _had.setdefault(name, free[0])
    return {name: out[name] for name in unique}


_had: dict[str, str] = {}  # the colour that a name was given first


def count(n: float) -> str:
    """A number with thousands separated: 351,050."""
    return f"{round(n):,}"


def many(n: int, one: str, more: str = "") -> str:
    """A number and what it counts, in the singular where that is right: 1 launch, 2 launches."""
    return f"{count(n)} {one if n == 1 else more or one + 's'}"


def bytes_text(n: float) -> str:
    """Bytes as people write them: 512 B, 17 KiB, 1.4 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{n:.3g} {unit}" if n < 1000 else f"{n:.0f} {unit}"
        n /= 1024
    raise AssertionError


def byte_axis(axes: Axes, axis: str = "y") -> None:
    """Label an axis of bytes as people write them."""
    which = axes.yaxis if axis == "y" else axes.xaxis
    which.set_major_formatter(FuncFormatter(lambda n, _: bytes_text(n) if n else "0"))


def time_text(us: float) -> str:
    """Microseconds as people write them: 850 ns, 12.3 µs, 1,447 µs, 536 ms."""
    if us < 1:
        return f"{us * 1000:.0f} ns"
    if us < 10_000:
        return f"{us:.3g} µs" if us < 100 else f"{us:,.0f} µs"
    return f"{us / 1000:.3g} ms" if us < 1e6 else f"{us / 1e6:.3g} s"


def time_axis(axes: Axes) -> None:
    """Label the horizontal axis, which is in microseconds, in the unit that its length asks for."""
    low, high = axes.get_xlim()
    unit, scale = next((u for u in (("µs", 1), ("ms", 1e3)) if high - low < 5000 * u[1]), ("s", 1e6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda us, _: f"{us / scale:,.6g} {unit}"))


def contrast(color: Any, background: Any) -> float:
    """Contrast ratio of two opaque colours, 1 to 21 (WCAG 2.1, https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio)."""
    a, b = sorted((_luminance(color), _luminance(background)))
    return (b + 0.05) / (a + 0.05)


def _luminance(color: Any) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
