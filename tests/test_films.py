"""Films: their pictures are what a run's schedule and values say, and the widget goes through them."""

from __future__ import annotations

import math

import pytest

from golden import mistakes
from golden.spec import values_of
from helpers import plots
from helpers.errors import InputError
from helpers.inside import inside
from helpers.plots.films import tile_flow as flow
from helpers.plots.films.page_joins import joints
from helpers.profile import Profile, profile
from helpers.profile.pipe_times import CUBE, CUBE_MTE2, MTE1
from helpers.run import run
from helpers.stages import find, run_stage, trace_stage
from helpers.tuning import tuned_stage
from helpers.widgets import play
from helpers.widgets.player import Player
from kernels import flash_attention, mistakes_projection


@pytest.fixture(scope="module")
def product() -> Profile:
    values = values_of(mistakes.product())
    return profile(run(mistakes_projection.right_peeled, values, platform="a2a3interp").trace)


def test_tiles_are_where_the_schedule_has_them(product: Profile):
    (core,) = product.core(0)
    alive = flow.lives(core)
    names = {(a.space, a.name): a.bytes for a in alive}
    assert names["L1", "a_tile"] == 16 * 128 * 2
    assert names["L1", "b_tile"] == names["L0B", "b_tile"] == 128 * 128 * 2
    assert names["L0A", "a_tile"] == 16 * 128 * 2
    loads = [b for b in core.bars if b.pipe == CUBE_MTE2]
    assert sum(a.space == "L1" for a in alive) == len(loads) == 8
    for a in alive:
        assert 0 <= a.first < a.last <= core.total + 1e-9
    limits = product.chip.buffers
    for t in flow._moments(core):
        for space in ("L1", "L0A", "L0B", "L0C"):
            assert sum(a.bytes for a in alive if a.space == space and a.first <= t < a.last) <= limits[space]


def test_a_picture_for_each_moment_and_what_it_says(product: Profile):
    film = plots.chip_flow(product, "product")
    (core,) = product.core(0)
    starts = {round(b.start, 6) for b in core.bars if b.pipe in (CUBE, CUBE_MTE2, MTE1)}
    assert len(starts) <= len(film) <= 60
    assert "cube MTE2: line" in film.said[0]
    figure = film.draw(film.still)
    said = " ".join(t.get_text() for t in figure.axes[0].texts)
    assert all(name in said for name in ("GM", "L2", "L1", "L0A", "L0B", "L0C", "cube"))
    assert "UB" not in said  # no vector core has part in it
    assert repr(film) == f"[film] tiles of product through a core of a2a3: {len(film)} pictures"
    with pytest.raises(InputError, match="no task is called"):
        plots.chip_flow(product, "nothing")


def test_two_lanes_count_what_is_done():
    stage = find("mlp")
    sizes = {"batch": 2, "hidden": 512, "inter": 512}
    traces = [trace_stage(s, "mixed", **sizes) for s in (tuned_stage(stage, "mixed", stages=1), stage)]
    lanes = {"one": profile(traces[0]), "two": profile(traces[1])}
    film = plots.two_lanes(lanes, "gate_up_silu", ("cube MTE2", "cube"), turns=4)
    assert film.said[-1].count("4 products done") + film.said[-1].count("products done") >= 2
    done = [int(part.split(" products")[0].split()[-1]) for part in film.said[-1].split("; ")]
    assert done[1] >= done[0] == 4  # with loads ahead at least as many in the same time
    assert len(film.draw(3).axes) == 2
    with pytest.raises(InputError, match="there is no pipe"):
        plots.two_lanes(lanes, "gate_up_silu", ("cube MTE2", "gears"))


@pytest.fixture(scope="module")
def merged():
    stage = find("flash_attention")
    kept = run(flash_attention.flat, values_of(stage.specs(batch=1, ctx=[500])), platform="a2a3interp", keep=True)
    return kept, inside(kept, "merge", 2)


def test_pages_join_with_the_numbers_of_the_run(merged):
    _, opened = merged
    found = joints(opened)
    assert len(found) == 3  # 500 tokens are four pages
    running = found[0].top_a, found[0].total_a, found[0].o_a
    for j in found:
        assert (j.top_a, j.total_a, j.o_a) == pytest.approx(running, rel=1e-5)
        a, b = j.scales
        running = max(j.top_a, j.top_b), j.total_a * a + j.total_b * b, j.o_a * a + j.o_b * b
        assert min(a, b) < 1 or j.top_a == j.top_b
    film = plots.softmax_pages(opened)
    assert len(film) == 4
    assert f"{math.exp(-abs(found[0].top_a - found[0].top_b)):.3g}" in film.said[1]
    text = [t.get_text() for t in film.draw(3).axes[1].texts]
    assert any(f"o / t = {running[2] / running[1]:.4g}" in t for t in text)


def test_a_task_that_joins_nothing(merged):
    kept, _ = merged
    with pytest.raises(InputError, match="joins no pages"):
        plots.softmax_pages(inside(kept, "softmax"))


def test_the_widget_draws_the_picture_that_is_asked_for(product: Profile):
    film = plots.chip_flow(product, "product")
    player = Player(film)
    assert (player.count, player.said) == (len(film), film.said[player.at])
    first = player.png
    player.at = 5
    assert player.said == film.said[5]
    assert player.png != first
    assert Player(film).at == 5  # shown again, it is where it was left
    player.at = 10**6
    assert player.said == film.said[-1]
    still = play(film, live=False)
    assert "image/png" in still._repr_mimebundle_()[0]
    assert repr(still) == repr(film)


def test_a_film_of_every_kind_of_core():
    stage = find("rope_kv_cache")
    trace = run_stage(stage, "flat", batch=1, ctx=1).trace
    film = plots.chip_flow(profile(trace))
    said = " ".join(t.get_text() for t in film.draw(film.still).axes[0].texts)
    assert "UB" in said
    assert "L0C" not in said
