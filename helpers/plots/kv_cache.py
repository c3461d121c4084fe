"""The paged KV cache as a picture: which page of the pool holds which tokens of which sequence."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from helpers.plots.style import FAINT, PALETTE, RED, Figure, figure, many, sign, styled


def cache_pages(
    seq_lens: Sequence[int],
    block_table: Sequence[Sequence[int]],
    slot_mapping: Sequence[int],
    pages: int,
    page_tokens: int,
    platform: str | None = None,
) -> Figure:
    """Sequences with the pages they own, in their order; the pool with each page where it lies; new tokens marked.

    Args:
        seq_lens: Tokens of each sequence, the new one included.
        block_table: For each sequence its pages, in the order of its tokens; entries past its last page are not read.
        slot_mapping: For each sequence the slot of its new token: page * page_tokens + offset.
        pages: Pages in the pool.
        page_tokens: Tokens a page holds.
    """
    owned = [-(-n // page_tokens) for n in seq_lens]
    names = [f"sequence {b}" for b in range(len(seq_lens))]
    shade = [PALETTE[b % 5] for b in range(len(names))]  # the sixth is the new token's
    across = max(16, *owned) if owned else 16
    size = 7.0 if across <= 20 else 5.5
    down = -(-pages // across)
    alt = f"paged cache: {len(seq_lens)} sequences own {sum(owned)} of {pages} pages of {page_tokens} tokens"
    with styled():
        fig = figure(1.5 + 0.3 * (len(names) + down), alt)
        above, below = fig.subplots(2, height_ratios=[max(1, len(names)), max(1, down)])
        for b, n in enumerate(owned):
            for p in range(n):
                filled = min(page_tokens, seq_lens[b] - p * page_tokens) / page_tokens
                _page(above, p, b, shade[b], filled, str(block_table[b][p]), size)
            _token(above, n - 1 + ((seq_lens[b] - 1) % page_tokens + 0.5) / page_tokens, b)
        owner = {int(block_table[b][p]): (b, p) for b, n in enumerate(owned) for p in range(n)}
        for page in range(pages):
            x, y = page % across, page // across
            b, p = owner.get(page, (None, 0))
            filled = 0.0 if b is None else min(page_tokens, seq_lens[b] - p * page_tokens) / page_tokens
            _page(below, x, y, FAINT if b is None else shade[b], filled, "" if b is None else f"{b}.{p}", size)
        for slot in slot_mapping:
            page, offset = divmod(int(slot), page_tokens)
            _token(below, page % across + (offset + 0.5) / page_tokens, page // across)
        above.set_yticks(range(len(names)), [f"{n} ({many(t, 'token')})" for n, t in zip(names, seq_lens)])
        below.set_yticks(range(down), [f"page {across * i}" for i in range(down)])
        above.set_title("block table: the pages of each sequence, by number; triangle: its new token")
        below.set_title("the pool: who owns each page (sequence.page); triangle: the slot that slot_mapping gives")
        for axes, n in ((above, len(names)), (below, down)):
            axes.set(xlim=(0, across), ylim=(n - 0.4, -0.6))
            axes.set_xticks([])
            axes.tick_params(axis="y", length=0)
            for side in ("left", "bottom"):
                axes.spines[side].set_visible(False)
        sign(fig, platform)
    return fig


def _token(axes: Axes, x: float, y: float) -> None:
    axes.plot([x], [y + 0.34], marker="^", markersize=5, color=RED, linestyle="none", clip_on=False)


def _page(axes: Axes, x: float, y: float, color: str, filled: float, text: str, size: float) -> None:
    axes.add_patch(Rectangle((x + 0.04, y - 0.4), 0.92, 0.8, fill=False, edgecolor=color, linewidth=0.9))
    if filled:
        axes.add_patch(Rectangle((x + 0.04, y - 0.4), 0.92 * filled, 0.8, color=color, alpha=0.3, linewidth=0))
    axes.text(x + 0.5, y - 0.06, text, ha="center", va="center", fontsize=size)
