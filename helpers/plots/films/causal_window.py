"""The causal window of prefill: which keys of a page the tokens of a window see, and what their softmax makes of them.

Read from opened tasks (`helpers.inside`): the part of the mask that they took, and the weights that they made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.patches import Rectangle

from helpers.errors import InputError
from helpers.inside import Inside
from helpers.interpret.values.seen import Seen
from helpers.plots.films.film import Film
from helpers.plots.style import BLUE, FAINT, HEAT, ORANGE, TEXT, Figure, figure, sign, styled

MASK, WEIGHTS = "hidden_later", "s_weights"  # the names that hold them in kernels/prefill_parts


@dataclass(frozen=True, eq=False)
class Window:
    """A window of tokens on a page.

    Attributes:
        page, first: The page's number in its sequence, and the position of the window's first token.
        seen: bool [tokens, keys of a page]: the mask lets the token see the key.
        weights: float32 of the same shape: exp(score - maximum) of the first query head, 0 past what is valid.
        shift: The column of the mask that the page's first key has.
        columns: How many the mask has.
    """

    page: int
    first: int
    seen: torch.Tensor
    weights: torch.Tensor
    shift: int
    columns: int


def windows(opened: Sequence[Inside]) -> list[Window]:
    """The first window of each task that takes a part of the mask and makes weights, by the names of `by_chunk`.

    Raises:
        InputError: a task does neither.
    """
    out = []
    for task in opened:
        cut = next((m for m in task.moments if m.bound == MASK), None)
        made = next((m for m in task.moments if isinstance(m.names.get(WEIGHTS), Seen) and MASK in m.names), None)
        if cut is None or made is None:
            raise InputError(f"{task.title} masks nothing: it does not make `{WEIGHTS}` with `{MASK}`")
        mask, weights = cut.result.data, made.names[WEIGHTS].data
        padded = torch.zeros(mask.shape)
        padded[: weights.shape[0], : weights.shape[1]] = weights.float()
        numbers = {n: int(cut.names[n]) for n in ("p", "first", "into")}
        shift, columns = mask.shape[-1] - numbers["into"], cut.names["mask"].shape[-1]
        out.append(Window(numbers["p"], numbers["first"], mask > -1e30, padded, shift, columns))
    return out


def causal_windows(opened: Sequence[Inside]) -> Film:
    """A picture for each opened task: the part of the mask that its window takes, and what its tokens see of a page.

    Args:
        opened: Tasks `softmax` of a prefill kernel, of which the first item counts.

    Raises:
        InputError: no tasks, or one that masks nothing.
    """
    opened = list(opened)
    if not opened or not all(isinstance(o, Inside) for o in opened):
        raise InputError("give a list of tasks that were opened, such as [inside(run, 'softmax', b) for b in range(8)]")
    found = windows(opened)
    said = tuple(
        f"page {w.page}, tokens {w.first} to {w.first + len(w.seen) - 1}: the first sees {_sees(w, 0)} of its keys, "
        f"the last {_sees(w, -1)}; the mask is taken from column {w.shift} on"
        for w in found
    )

    def draw(n: int) -> Figure:
        return _picture(opened[n], found[n], said[n])

    return Film(f"causal windows of {len(found[0].seen)} tokens, {len(found)} of them", said, draw, (len(found) // 2,))


def _sees(w: Window, row: int) -> int:
    return int(w.seen[row].sum())


def _picture(opened: Inside, w: Window, said: str) -> Figure:
    rows, keys = w.seen.shape
    with styled():
        fig = figure(3.9, f"causal window: {said}")
        above, below = fig.subplots(2, 1, height_ratios=(1.0, 2.2))
        above.set_xlim(0, w.columns)
        above.set_ylim(rows, 0)
        above.add_patch(Rectangle((0, 0), w.columns, rows, fill=False, edgecolor=FAINT))
        above.imshow(
            w.seen.float().numpy(),
            cmap=HEAT,
            vmin=0,
            vmax=1.6,
            aspect="auto",
            extent=(w.shift, w.shift + keys, rows, 0),
        )
        above.add_patch(Rectangle((w.shift, 0), keys, rows, fill=False, edgecolor=ORANGE, linewidth=2))
        above.set_xlim(0, w.columns)
        above.set_title(f"the mask, made once, {rows} x {w.columns}: this window takes columns {w.shift} to "
                        f"{w.shift + keys - 1}")  # fmt: skip
        above.set_yticks([0.5, rows - 0.5], ["0", str(rows - 1)])
        shown = torch.where(w.seen, w.weights.clamp(min=0) ** 0.5, torch.nan)
        below.imshow(shown.numpy(), cmap=HEAT, vmin=0, vmax=1, aspect="auto", interpolation="nearest",
                     extent=(w.page * keys, (w.page + 1) * keys, rows, 0))  # fmt: skip
        for row in range(rows):
            sees = _sees(w, row)
            below.plot([w.page * keys + sees] * 2, [row, row + 1], color=ORANGE, linewidth=1.6)
        below.set_yticks([0.5, rows - 0.5], [str(w.first), str(w.first + rows - 1)])
        below.set_ylabel("token")
        below.set_xlabel("key, by position; darker: a larger weight")
        below.set_title(said.split(";")[0], color=BLUE if w.seen.all() else TEXT)
        sign(fig, opened.platform, opened.title)
    return fig
