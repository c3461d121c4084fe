"""The runtime's map of who wrote what, against a list that is searched from front to back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kernelgen import few

from helpers.interpret.trace.trace import Argument
from helpers.interpret.trace.writers import Writers

WIDTH = 12  # of the buffer's rows
LAYOUTS = [(WIDTH, 1), (6, 1), (1, WIDTH), (5, 2)]  # regular ones first


def axes(a: Argument) -> list[tuple[int, int]]:
    """First index and end along each axis, of a window of regular strides."""
    row, column = divmod(a.offset, a.strides[0])
    return [(row, row + a.extent[0]), (column, column + a.extent[1])]


def regular(a: Argument) -> bool:
    return a.strides[1] == 1 and a.strides in LAYOUTS


def span(a: Argument) -> tuple[int, int]:
    return a.offset, a.offset + 1 + sum((n - 1) * s for n, s in zip(a.extent, a.strides))


def meet(a: Argument, b: Argument) -> bool:
    pairs = [(span(a), span(b))]
    if a.strides == b.strides and regular(a):
        pairs += zip(axes(a), axes(b))
    return all(x[0] < y[1] and y[0] < x[1] for x, y in pairs)


def inside(a: Argument, b: Argument) -> bool:
    """`a` lies in `b`, as far as the map can tell."""
    return (
        a.strides == b.strides and regular(a) and all(y[0] <= x[0] and x[1] <= y[1] for x, y in zip(axes(a), axes(b)))
    )


tiles = st.builds(
    lambda r, c: Argument(0, 2 * r * WIDTH + 3 * c, (2, 3), (WIDTH, 1)), st.integers(0, 3), st.integers(0, 3)
)
boxes = st.builds(
    lambda o, h, w, s: Argument(0, o, (h, w), s),
    st.integers(0, 40), st.integers(0, 4), st.integers(1, 5), st.sampled_from(LAYOUTS),
)  # fmt: skip
accesses = st.tuples(st.sampled_from(["write", "read", "replace"]), st.one_of(tiles, tiles, tiles, boxes))


@few
@given(st.one_of(st.lists(st.tuples(st.sampled_from(["write", "read", "replace"]), tiles)), st.lists(accesses)))
def test_the_map_finds_and_forgets_what_a_list_does(events: list[tuple[str, Argument]]):
    known: list[tuple[Argument, int]] = []
    writers = Writers()
    for task, (what, a) in enumerate(events):
        if what != "write" and known:
            want = [t for w, t in known if meet(w, a)]
            assert writers.meeting(a, replaces=what == "replace") == want
            if what == "replace":
                known = [(w, t) for w, t in known if not (meet(w, a) and inside(w, a))]
        if what != "read":
            known.append((a, task))
            writers.append(a, task)
