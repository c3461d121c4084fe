"""The scheduler's properties, on random task graphs; what each part of the runtime's model does, by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import chips
from helpers.chips import Chip
from helpers.errors import FaultError
from helpers.interpret.source.source import Place
from helpers.interpret.trace.edges import Edge, Edges
from helpers.interpret.trace.trace import Chunk, Dispatch, Part, Trace, Work
from helpers.profile.cost import Costs
from helpers.profile.pipe_times import PIPES
from helpers.profile.profile import Profile
from helpers.profile.schedule import Schedule, schedule
from helpers.profile.task_table import CUBE, MIXED, VECTOR, Tasks, tabulate

A2A3 = chips.chip("a2a3")
WORK = {CUBE: Work(cube_ops=1), VECTOR: Work(vector_ops=1), MIXED: Work(cube_ops=1, vector_ops=1)}


def sized(clusters: int) -> Chip:
    """An A2/A3 of few clusters."""
    return replace(A2A3, cube_cores=clusters, vector_cores=2 * clusters, clusters=clusters)


def table(kinds: list[int], blocks: list[int] | None = None, early: list[bool] | None = None) -> Tasks:
    """One launch for each kind, of so many blocks."""
    trace = Trace("a2a3interp")
    for i, kind in enumerate(kinds):
        n = blocks[i] if blocks else 1
        d = Dispatch(i, f"k{kind}", Place("none.py", i + 1, 1), "spmd", n, False, 0, early=bool(early and early[i]))
        d.parts = [Part(Chunk(np.arange(n), np.zeros(0, np.int32), [], [], WORK[kind], {}), None)]
        trace.dispatches.append(d)
    return tabulate(trace)


def costs(us: list[float] | np.ndarray, hbm: list[float] | None = None, phases: dict | None = None) -> Costs:
    """Tasks of given durations, and bytes of HBM."""
    total = np.asarray(us, float)
    none = np.zeros(len(total))
    busy = np.zeros((len(total), len(PIPES)))
    return Costs(
        busy, total, none, none, none if hbm is None else np.array(hbm), np.stack([total, total], 1), phases or {}, {}
    )


def run(tasks: Tasks, us: list[float], edges: list[tuple[int, int]] = (), chip: Chip = A2A3, **more) -> Schedule:
    return schedule(tasks, costs(us, **more), [Edge(a, b, "deps") for a, b in edges], chip)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Tasks, list[float], list[tuple[int, int]], Chip, list[float]]:
    """Launches of all kinds and of several blocks, dependencies, early resolve, memory traffic, a small chip."""
    n = draw(st.integers(1, 14))
    kinds = draw(st.lists(st.sampled_from((CUBE, VECTOR, MIXED)), min_size=n, max_size=n))
    blocks = draw(st.lists(st.integers(1, 5), min_size=n, max_size=n))
    early = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1])
    edges = draw(st.lists(pairs, max_size=20)) if n > 1 else []
    tasks = table(kinds, blocks, early)
    us = draw(st.lists(st.floats(0, 100), min_size=len(tasks), max_size=len(tasks)))
    hbm = draw(st.lists(st.sampled_from((0.0, 1e5, 1e8)), min_size=len(tasks), max_size=len(tasks)))
    return tasks, us, edges, sized(draw(st.integers(1, 4))), hbm


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_a_schedule_is_possible(case):
    tasks, us, edges, chip, hbm = case
    s = run(tasks, us, edges, chip, hbm=hbm)
    # every task runs for as long as it takes, or longer where memory is short
    assert (s.end - s.start >= np.array(us) - 1e-6).all()
    # no core runs two tasks at once, and each task is on a core of its kind
    task, core = s.lanes()
    for c in range(chip.cores):
        mine = sorted((s.start[t], s.end[t]) for t in task[core == c])
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(mine))
    assert ((s.core < chip.cube_cores) == (tasks.kind != VECTOR)).all()
    # nothing starts before what it depends on has ended
    ended = [s.end[tasks.first[d] : tasks.first[d + 1]].max() for d in range(len(tasks.first) - 1)]
    for a, b in edges:
        assert ended[a] <= s.start[tasks.first[b] : tasks.first[b + 1]].min() + 1e-9
    # it takes at least the longest chain, and at least the work shared out
    longest = np.zeros(len(ended))
    for d in range(len(ended)):
        before = max((longest[a] for a, b in edges if b == d), default=0.0)
        longest[d] = before + max(us[tasks.first[d] : tasks.first[d + 1]])
    assert s.makespan >= longest.max() - 1e-6
    work = {kind: np.array(us)[tasks.kind == kind].sum() for kind in (CUBE, VECTOR, MIXED)}
    assert s.makespan >= (work[CUBE] + work[MIXED]) / chip.cube_cores - 1e-6
    assert s.makespan >= (work[VECTOR] + 2 * work[MIXED]) / chip.vector_cores - 1e-6
    # a task is submitted, has what it waits for, gets a core and starts, in this order
    assert (s.submitted <= s.ready).all()
    assert (s.ready <= s.given).all()
    assert (s.given <= s.start).all()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from((CUBE, VECTOR, MIXED)),
    st.lists(st.lists(st.floats(0, 50), min_size=1, max_size=5), min_size=1, max_size=12),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_more_cores_are_never_slower_for_independent_tasks(kind: int, us: list[list[float]], cores: int, more: int):
    """Launches of several blocks, all of one kind: tasks of different kinds are in each other's way."""
    tasks = table([kind] * len(us), [len(blocks) for blocks in us])
    few, many = (run(tasks, list(chain(*us)), chip=sized(n)).makespan for n in (cores, cores + more))
    assert many <= few + 1e-6


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_the_path_and_the_shares_account_for_the_makespan(case):
    tasks, us, edges, chip, hbm = case
    s = run(tasks, us, edges, chip, hbm=hbm)
    links = Edges.of(Edge(a, b, "deps") for a, b in edges)
    p = Profile(tasks.trace, chip, tasks, costs(us), links, s)
    spent = sum(step.end - step.start + step.waited for step in p.path)
    assert spent == pytest.approx(p.makespan)
    assert p.path[0].cause == "submit"
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(p.path))
    for shares in p.losses_by_engine.values():
        assert sum(shares.values()) == pytest.approx(1.0)
        assert min(shares.values()) >= -1e-9


def test_a_launch_costs_its_submit_its_dispatch_and_the_pickup():
    r = A2A3.runtime
    s = run(table([CUBE]), [10.0])
    assert s.start[0] == pytest.approx(r.submit + r.dispatch + r.pickup)
    assert s.makespan == pytest.approx(s.start[0] + 10)


def test_a_consumer_waits_until_its_producer_is_seen_to():
    r = A2A3.runtime
    s = run(table([CUBE, VECTOR]), [10.0, 5.0], [(0, 1)])
    assert s.start[1] == pytest.approx(s.end[0] + r.complete + r.dispatch + r.pickup)


def test_early_resolve_stages_a_consumer_when_all_its_producers_allow_it():
    r = A2A3.runtime
    s = run(table([CUBE, CUBE, VECTOR], early=[True, True, False]), [10.0, 20.0, 5.0], [(0, 2), (1, 2)])
    assert s.start[2] == pytest.approx(s.end[1] + r.doorbell)
    s = run(table([CUBE, CUBE, VECTOR], early=[True, False, False]), [10.0, 20.0, 5.0], [(0, 2), (1, 2)])
    assert s.start[2] == pytest.approx(s.end[1] + r.complete + r.dispatch + r.pickup)


def test_the_schedulers_limit_how_many_tasks_start():
    r = A2A3.runtime
    n = 3000
    s = run(table([VECTOR], [n]), [0.0] * n)
    assert s.makespan > r.block * (r.dispatch + r.complete) * (n - 1) / r.threads
    many = run(table([VECTOR] * n), [0.0] * n)
    assert many.makespan > max(r.submit, (r.dispatch + r.complete) / r.threads) * n


def test_blocks_meet_at_a_barrier():
    chip, r = sized(2), A2A3.runtime
    phases = np.array([[10.0, 4.0], [1.0, 6.0]])
    tasks = table([MIXED], [2])
    s = run(tasks, phases.sum(0).tolist(), chip=chip, phases={0: phases})
    met = max(s.start[0] + 10, s.start[1] + 4) + r.barrier
    assert s.end.tolist() == pytest.approx([met + 1, met + 6])


def test_a_barrier_of_more_blocks_than_cores_is_an_error():
    with pytest.raises(FaultError, match=r"none.py:1:1: 3 blocks .* 2 cores .* at most 2"):
        run(table([MIXED], [3]), [1.0] * 3, chip=sized(2), phases={0: np.ones((2, 3))})


def test_tasks_that_ask_for_more_memory_than_there_is_slow_down_alike():
    shared = A2A3.memory.shared
    n, us = 24, 100.0
    nbytes = 2 * shared * 1e3 * us / n  # together twice what the chip gives
    s = run(table([CUBE], [n]), [us] * n, hbm=[nbytes] * n)
    assert s.makespan == pytest.approx(2 * us, rel=0.1)
    assert s.makespan >= n * nbytes / (shared * 1e3)


def test_a_mixed_task_takes_a_cluster():
    s = run(table([MIXED, MIXED, VECTOR]), [10.0, 10.0, 1.0], chip=sized(1))
    task, core = s.lanes()
    assert sorted(core[task == 0].tolist()) == [0, 1, 2]
    assert s.start[1] >= s.end[0]


def test_a_join_passes_on_what_it_waits_for():
    tasks = table([CUBE, CUBE, CUBE])
    tasks.trace.dispatches[1].dummy = True
    tasks = tabulate(tasks.trace)
    s = run(tasks, [10.0, 10.0], [(0, 1), (1, 2)])
    assert s.start[1] >= s.end[0]
    p = Profile(tasks.trace, A2A3, tasks, costs([10.0, 10.0]), Edges.of([Edge(0, 1, "deps"), Edge(1, 2, "deps")]), s)
    assert [step.task for step in p.path] == [0, 1]
