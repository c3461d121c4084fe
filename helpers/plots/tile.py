"""One tile as a picture: its elements as a heatmap with the part that is valid, and how often each value occurs."""

from __future__ import annotations

import math

import matplotlib.colors
import numpy as np
import torch
from matplotlib.patches import Rectangle

from helpers.plots.style import BLUE, FAINT, LIMIT, ORANGE, TEXT, Figure, figure, styled

SIGNED = matplotlib.colors.LinearSegmentedColormap.from_list(
    "signed", [ORANGE + "ff", ORANGE + "10", BLUE + "10", BLUE]
)
_BINS = 40
_MOST = 512  # rows and columns drawn at most: of more, every second, third ...


def tile(data: torch.Tensor, shape: tuple[int, ...], valid: tuple[int, ...] | None = None, title: str = "") -> Figure:
    """A tile's elements: blue above zero, orange below, by how large they are; NaN and infinities red.

    Args:
        data: The elements of its valid part.
        shape: Of the whole tile; what is not valid is left empty, in a frame.
        valid: Its valid shape, None for all.
    """
    rows, columns = (math.prod(shape[:-1]), shape[-1]) if shape else (1, 1)
    values = data.double().reshape(-1, data.shape[-1] if data.dim() else 1).numpy()
    finite = values[np.isfinite(values)]
    top = float(np.abs(finite).max()) if finite.size else 0.0
    wrong = int(values.size - finite.size)
    alt = f"{title or 'tile'}: {list(shape)}" + (f", {list(valid)} of it valid" if valid is not None else "")
    with styled():
        fig = figure(2.9, alt)
        left, right = fig.subplots(1, 2, width_ratios=(2.2, 1))
        step = -(-values.shape[0] // _MOST), -(-values.shape[1] // _MOST)
        drawn = np.ma.masked_invalid(values[:: step[0], :: step[1]])
        colours = SIGNED.with_extremes(bad=LIMIT)
        extent = (-0.5, values.shape[1] - 0.5, values.shape[0] - 0.5, -0.5)
        image = left.imshow(
            drawn, cmap=colours, vmin=-top or -1, vmax=top or 1, extent=extent, aspect="auto", interpolation="nearest"
        )
        left.add_patch(Rectangle((-0.5, -0.5), columns, rows, fill=False, edgecolor=FAINT, linestyle=":"))
        left.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xlabel="column", ylabel="row")
        left.set_title(title)
        fig.colorbar(image, ax=left, shrink=0.8).outline.set_visible(False)
        if finite.size:
            low, high = float(finite.min()), float(finite.max())
            around = max(0.5, abs(low) / 1000)  # bins have a width in FP64 that can be told from 0
            spread = (low, high) if high - low > abs(low) / 1e9 else (low - around, high + around)
            right.hist(finite.ravel(), bins=_BINS, range=spread, color=BLUE)
        right.set(yscale="log", xlabel="value", ylabel="elements")
        right.set_title(f"{wrong:,} NaN or infinite" if wrong else "all finite", color=LIMIT if wrong else TEXT)
    return fig
