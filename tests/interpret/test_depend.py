"""Which launch must wait for which: what the elements demand, against a look at every element."""

from __future__ import annotations

import networkx as nx
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernelgen import few, kernel
from test_dry import dry

from helpers.interpret.trace import cells, depend
from helpers.interpret.trace.trace import ATOMIC, READ, WRITE

axes = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 12)), min_size=1, max_size=3)


def elements(offset: int, axes_: list[tuple[int, int]]) -> set[int]:
    out = {offset}
    for e, s in axes_:
        out = {o + i * s for o in out for i in range(e)}
    return out


def filled(boxes: np.ndarray, row: int) -> list[int]:
    return [r * row + c for r0, r1, c0, c1 in boxes.tolist() for r in range(r0, r1) for c in range(c0, c1)]


@few
@given(st.lists(st.integers(0, 60), min_size=1, max_size=4), axes, st.integers(1, 13))
def test_rectangles_hold_the_elements_of_their_boxes(offsets: list[int], axes_: list, row: int):
    extent, strides = zip(*axes_)
    boxes, owner = cells.rectangles(np.array(offsets, np.int64), extent, strides, row)
    for i, o in enumerate(offsets):
        assert set(filled(boxes[owner == i], row)) == elements(o, axes_)
    merged = filled(cells.union(boxes), row)
    assert set(merged) == set().union(*(elements(o, axes_) for o in offsets))
    assert boxes[:, 3].max() <= row


def box(row: int):
    def one(r: int, h: int, c: int, w: int) -> list[int]:
        return [r, r + h, c, min(c + w, row)]

    return st.builds(one, st.integers(0, 5), st.integers(1, 4), st.integers(0, row - 1), st.integers(1, row))


touches = st.lists(
    st.tuples(st.sampled_from([READ, WRITE, ATOMIC]), st.lists(box(6), min_size=1, max_size=2)), min_size=2, max_size=9
)


@few
@given(touches, st.booleans())
def test_chains_of_nearest_edges_join_all_that_touch(accesses: list, banded: bool):
    before, cells.CELLS = cells.CELLS, 4 if banded else cells.CELLS
    try:
        found = list(cells.waits([(t, mode, np.array(b, np.int64)) for t, (mode, b) in enumerate(accesses)]))
    finally:
        cells.CELLS = before
    own = [(mode, set(filled(np.array(b), 6))) for mode, b in accesses]
    conflicts = set()
    for later, (m, mine) in enumerate(own):
        for earlier, (w, theirs) in enumerate(own[:later]):
            if m != w or m == WRITE:
                if mine & theirs:
                    conflicts.add((earlier, later))
    edges = {(a, b) for a, b, _ in found}
    assert edges <= conflicts
    closure = nx.transitive_closure(nx.DiGraph(edges))
    assert conflicts <= set(closure.edges)
    for a, b, why in found:
        expected = {READ: cells.AFTER_WRITE}.get(own[b][0], cells.AFTER_READ if own[a][0] == READ else cells.OVERWRITE)
        assert why == expected


@few
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(1, 11)), max_size=25), st.integers(0, 3))
def test_what_no_chain_enforces_is_found(pairs: list[tuple[int, int]], batch: int):
    pairs = [(a, a + b) for a, b in pairs]
    given_, asked = pairs[::2], [depend.Edge(a, b, depend.KINDS[0]) for a, b in dict.fromkeys(pairs[1::2])]
    before: dict[int, set[int]] = {}
    for a, b in given_:
        before.setdefault(b, set()).add(a)
    g = nx.DiGraph(given_)
    g.add_nodes_from(range(25))
    want = {(e.earlier, e.later) for e in asked if not nx.has_path(g, e.earlier, e.later)}
    size, depend.SOURCES = depend.SOURCES, batch + 1
    try:
        assert {(e.earlier, e.later) for e in depend.unordered(asked, before)} == want
    finally:
        depend.SOURCES = size


CHAIN = kernel("""
@pl.jit
def k(x: pl.Tensor[[512, 16], pl.FP32], o: pl.Out[pl.Tensor[[512, 16], pl.FP32]]):
    s = pl.create_tensor([512, 16], dtype=pl.FP32)
    for i in pl.range(512):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="scale"):
            s[i : i + 1, :] = pl.mul(x[i : i + 1, :], 2.0)
    with pl.manual_scope():
        for i in pl.range(512):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="copy"):
                o[i : i + 1, :] = pl.add(s[i : i + 1, :], 1.0)
    return o
""")


def test_edges_of_a_thousand_launches():
    """Every copy waits for its row alone, and, in a manual scope, does so by nobody's word."""
    trace = dry(CHAIN, torch.zeros(512, 16), torch.zeros(512, 16))
    want = [(i, 512 + i) for i in range(512)]
    assert [(e.earlier, e.later, e.why) for e in depend.required(trace)] == [
        (a, b, "read after write") for a, b in want
    ]
    assert [(e.earlier, e.later) for e in depend.races(trace)] == want


ADD = kernel("""
@pl.jit
def k(x: pl.Tensor[[64, 16], pl.FP32], o: pl.InOut[pl.Tensor[[16, 16], pl.FP32]]):
    with pl.manual_scope():
        for i in pl.range(4):
            with pl.at(level=pl.Level.CORE_GROUP):
                o = pl.assemble(o, pl.mul(x[i * 16 : i * 16 + 16, :], 2.0), [0, 0], atomic=pl.AtomicType.Add)
    return o
""")


def test_atomic_additions_need_no_order():
    assert depend.required(dry(ADD, torch.zeros(64, 16), torch.zeros(16, 16))) == []
