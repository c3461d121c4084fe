"""Films of a whole chip and of the causal window: their pictures are what a run's schedule, barriers and values say."""

from __future__ import annotations

import pytest

from golden import mistakes
from golden.spec import values_of
from helpers import chips, plots
from helpers.errors import InputError
from helpers.inside import inside
from helpers.plots.films import barrier_meet as meet
from helpers.plots.films.causal_window import windows
from helpers.plots.films.handing_out import STATES, states
from helpers.profile import profile
from helpers.run import run
from helpers.stages import find, trace_stage
from kernels import mistakes_attention as attention
from kernels import prefill


def dry(kernel, specs: list, platform: str = "a2a3interp"):
    return run(kernel, values_of(specs), platform=platform, dry=True).trace


def test_tasks_are_handed_out_as_the_schedule_says():
    found = profile(trace_stage(find("rope_kv_cache"), "flat", batch=4, ctx=1))
    film = plots.handing_out(found)
    s = found.schedule
    assert 10 < len(film) <= 48
    assert repr(film) == f"[film] 32 tasks handed out on a2a3: {len(film)} pictures"
    middle = float(s.start[0])
    assert (states(found, middle) == STATES.index("runs")).sum() == ((s.start <= middle) & (s.end > middle)).sum()
    assert set(states(found, s.makespan)) == {STATES.index("has ended")}
    assert "32 done" in film.said[-1]
    shown = film.draw(film.still).axes[1]
    running = int(film.said[film.still].split(" running")[0].split()[-1])
    assert len(shown.texts) == running  # a vector core each


def test_a_barrier_opens_when_all_have_come():
    trace = trace_stage(find("flash_attention"), "fused", batch=2, ctx=200)
    met = meet.meeting(trace, chips.chip("a2a3"))
    said = [m.said for m in met.moments]
    assert met.stuck == ""
    assert said.count("all have come: the barrier opens") == 2
    assert "attention[0] comes to the barrier: 24 of 24" in said or any(s.endswith("24 of 24") for s in said)
    assert met.moments[-1].ended == 25
    film = plots.barrier(trace)
    assert repr(film) == "[film] barrier of attention on a2a3, which opens: 40 pictures"
    assert len(film.draw(film.still).axes) == 2


@pytest.mark.parametrize(
    ("kernel", "specs", "traced", "why"),
    [
        (attention.wrong_barrier, mistakes.rows_and_zeros, "a5", "hold all 48 vector cores and wait for 24 blocks"),
        (attention.wrong_probe, mistakes.rows, "a2a3", "the barrier waits for 1 vector core that no block"),
        (attention.right_barrier, mistakes.rows_and_zeros, "a5", "wants 72 vector cores at once"),
        (attention.right_barrier, mistakes.rows_and_zeros, "a2a3", ""),
        (attention.right_probe, mistakes.rows, "a2a3", ""),
    ],
    ids=["more blocks than cores", "fewer", "together or not at all", "right", "right probe"],
)
def test_whether_a_barrier_completes(kernel, specs, traced: str, why: str):
    met = meet.meeting(dry(kernel, specs(), f"{traced}interp"), chips.chip("a2a3"))
    assert (why in met.stuck) if why else met.stuck == ""
    assert len(met.moments[-1].cores) == len(set(met.moments[-1].cores))
    for moment in met.moments:
        assert moment.waiting <= set(moment.cores.values())


def test_a_film_of_a_barrier_that_never_opens_ends_with_why():
    trace = dry(attention.wrong_barrier, mistakes.rows_and_zeros(), "a5interp")
    film = plots.barrier(trace, "a2a3")
    assert "never opens" in repr(film)
    assert "deadlock" in film.said[film.still]
    assert "deadlock" in film.draw(film.still).alt
    with pytest.raises(InputError, match="no barrier"):
        plots.barrier(dry(attention.wrong_loop, mistakes.rows()))


def test_a_causal_window_is_what_the_task_took_and_made():
    values = values_of(find("prefill").specs(ctx=36, hidden=512, inter=512))
    kept = run(prefill.chunked, values, platform="a2a3interp", keep=True)
    opened = [inside(kept, "softmax", block) for block in range(3)]
    found = windows(opened)
    assert [(w.page, w.first, w.shift, w.columns) for w in found] == [(0, 16 * n, 128 - 16 * n, 256) for n in range(3)]
    for w in found:
        for row in range(16):
            assert w.seen[row].sum() == w.first + row + 1
        assert (w.weights[~w.seen] == 0).all()  # what is hidden has no weight
        assert w.weights[0].max() == 1
    film = plots.causal_windows(opened)
    assert "tokens 16 to 31: the first sees 17 of its keys, the last 32" in film.said[1]
    assert len(film.draw(1).axes) == 2
    with pytest.raises(InputError, match="masks nothing"):
        plots.causal_windows([inside(kept, "qk")])
    with pytest.raises(InputError, match="give a list"):
        plots.causal_windows([])
