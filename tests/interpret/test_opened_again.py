"""A task of a run that was kept is opened without running the rest: it does what it did, and leaves no trace."""

from __future__ import annotations

import random
from typing import Any

import kernelgen
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernelgen import seeds
from programs import legal

from golden.spec import values_of
from helpers import stages
from helpers.chips import chip
from helpers.errors import InputError
from helpers.inside import inside
from helpers.inside import opened as opening
from helpers.interpret.call import again, interpret
from helpers.interpret.machine.launch import Launches
from helpers.interpret.values.kept import Unwritten
from helpers.interpret.values.seen import Look, Seen
from helpers.run import Run, run

VERSIONS = [(name, version) for name, one in stages.STAGES.items() for version in one.names]
A5 = chip("a5")


def tasks(of: Run, chosen: random.Random, most: int) -> list[tuple[int, int]]:
    """Launches and blocks to open: the first and last launch, and some between."""
    launches = of.trace.dispatches
    ran = [d for d in launches if d.parts]
    picked = {ran[0].index, ran[-1].index, *(chosen.choice(ran).index for _ in range(most))}
    return [(n, chosen.randrange(launches[n].blocks)) for n in sorted(picked)]


def tensors(args: Any) -> dict[Any, torch.Tensor]:
    named = args.items() if isinstance(args, dict) else enumerate(args)
    return {n: t for n, t in named if isinstance(t, torch.Tensor)}


def opened_all(of: Run, args: Any, chosen: random.Random, most: int = 8) -> int:
    """Open some tasks: each must store again, bit by bit, what it stored in the run. Says how many there were."""
    after = {n: t.clone() for n, t in tensors(args).items()}
    done = tasks(of, chosen, most)
    for launch, block in done:
        look = Look(launch, block, of.trace.dispatches[launch].place)
        on = chip(of.platform.removesuffix("interp"))
        assert again(of.kernel, of.kept, launch, of.platform, on, look), (launch, block)
        for n, t in tensors(args).items():
            assert torch.equal(t.view(torch.uint8), after[n].view(torch.uint8)), f"{n} was changed by opening a task"
    return len(done)


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_tasks_of_a_stage_store_again_what_they_stored(name: str, version: str):
    stage = stages.find(name)
    args = values_of(stage.specs(**stage.small))
    kept = run(stage.versions[version], args, platform="a2a3interp", keep=True)
    assert opened_all(kept, args, random.Random(f"{name} {version}"))


def values(look: Look) -> list[torch.Tensor]:
    """Everything that the operations of a task took and made."""
    out = []
    for m in look.moments():
        for v in (*m.operands, *m.results, *m.names.values()):
            if isinstance(v, Seen) and v.data is not None:
                out.append(v.data)
    return out


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(legal(), seeds)
def test_every_value_is_the_one_that_the_run_had(program, seed: int):
    """The same task recorded while the whole kernel runs, and opened in a run that was kept."""
    k, args = kernelgen.module(program.source()).k, program.arguments(seed)
    kept = run(k, args, platform="a5interp", keep=True)
    for launch, block in tasks(kept, random.Random(seed), 2):
        place = kept.trace.dispatches[launch].place
        fresh, reopened = Look(launch, block, place), Look(launch, block, place)
        interpret(k, program.arguments(seed), "a5interp", A5, look=fresh)
        assert again(k, kept.kept, launch, "a5interp", A5, reopened)
        a, b = values(fresh), values(reopened)
        assert len(a) == len(b) > 0
        assert all(torch.equal(x, y) or torch.equal(x.isnan(), y.isnan()) for x, y in zip(a, b))


OVER = """
@pl.jit
def k(a: pl.Tensor[[64, 32], pl.FP32], n: pl.InOut[pl.Tensor[[8], pl.INT32]], s: pl.InOut[pl.Tensor[[64, 32], pl.FP32]],
      o: pl.Out[pl.Tensor[[64, 32], pl.FP32]]):
    scratch = pl.create_tensor([64, 32], dtype=pl.FP32)
    for turn in pl.range(3):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="grow"):
            s[:, :] = pl.mul(pl.add(s[:, :], a[:, :]), 0.5)
        for b in pl.spmd(4, name_hint="scratch"):
            scratch[b * 16 : b * 16 + 16, :] = pl.exp(s[b * 16 : b * 16 + 16, :])
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="count"):
            pl.write(n, [0], pl.cast(pl.read(n, [0]) + 1, pl.INT32))
        times = pl.read(n, [0])
        if times > 1:
            for b in pl.parallel(4):
                with pl.at(level=pl.Level.CORE_GROUP, name_hint="often"):
                    o[b * 16 : b * 16 + 16, :] = pl.add(scratch[b * 16 : b * 16 + 16, :], 1.0)
                with pl.at(level=pl.Level.CORE_GROUP, name_hint="twice"):
                    o[b * 16 : b * 16 + 16, :] = pl.mul(o[b * 16 : b * 16 + 16, :], 2.0)
        pl.write(n, [4 + turn], times)
    return n, s, o
"""


def over() -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    numbers = torch.zeros(8, dtype=torch.int32)
    return [torch.randn(64, 32, generator=g), numbers, torch.randn(64, 32, generator=g), torch.zeros(64, 32)]


def test_memory_that_is_written_over_and_numbers_that_orchestration_reads():
    args = over()
    kept = run(kernelgen.kernel(OVER), args, keep=True)
    for seed in range(4):
        opened_all(kept, args, random.Random(seed), 20)
    a, _, s, _ = over()
    grow = [d.index for d in kept.trace.dispatches if d.name == "grow"]
    for launch in grow:
        made = next(m.result.data for m in inside(kept, launch).moments if m.operation == "mul")
        s = (s + a) * 0.5
        assert torch.equal(made, s)
    twice = [d.index for d in kept.trace.dispatches if d.name == "twice"]
    assert len(twice) == 8
    assert [d.index for d in kept.trace.dispatches] == list(range(len(kept.trace.dispatches)))


def test_another_task_of_what_was_opened_is_there_at_once():
    first = inside(kernelgen.kernel(OVER), "grow", args=over())
    assert first.run is not None
    assert inside(first.run, "count").launch.name == "count"


def test_a_task_that_goes_astray_is_found_by_running_from_the_beginning(monkeypatch: pytest.MonkeyPatch):
    """Opening it by itself may fail; what is shown is right all the same."""
    args = over()
    kept = run(kernelgen.kernel(OVER), args, keep=True)
    after = [t.clone() for t in args]
    want = [m.result.data for m in inside(kept, "often").moments if isinstance(m.result, Seen)]
    monkeypatch.setattr(opening, "again", lambda *_: False)
    got = [m.result.data for m in inside(kept, "often").moments if isinstance(m.result, Seen)]
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True) if a is not None)
    assert all(torch.equal(a, b) for a, b in zip(args, after))


def test_a_number_that_is_another_is_noticed():
    """What the task stores then is not what it stored, which `again` says."""
    args = over()
    kept = run(kernelgen.kernel(OVER), args, keep=True)
    kept.kept.log.entries[0][1].add_(1.0)  # what `s` held at the beginning
    look = Look(0, 0, kept.trace.dispatches[0].place)
    assert not again(kept.kernel, kept.kept, 0, kept.platform, chip("a2a3"), look)


def test_arguments_that_changed_since_are_said():
    args = over()
    kept = run(kernelgen.kernel(OVER), args, keep=True)
    args[0][3, 3] = 7.0
    with pytest.raises(InputError, match="'a' has changed since the run"):
        inside(kept, 0)


def test_a_run_that_was_not_kept_is_said():
    with pytest.raises(InputError, match="keep=True"):
        inside(run(kernelgen.kernel(OVER), over()), 0)


def test_a_run_that_overwrote_too_much_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("helpers.run.LOG_BYTES", 1000)
    kept = run(kernelgen.kernel(OVER), over(), keep=True)
    with pytest.raises(InputError, match="too much to be kept"):
        inside(kept, 0)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_counts_as_unwritten_has_not_been_written(data):
    """Windows of a matrix, of one shape or of several, on a grid or not."""
    rows, columns = data.draw(st.sampled_from([(8, 8), (6, 12), (4, 16)]))
    shape = data.draw(st.tuples(st.integers(1, rows), st.integers(1, columns)))
    known, touched = Unwritten(shape, (columns, 1)), torch.zeros(rows, columns, dtype=torch.bool)
    for _ in range(data.draw(st.integers(1, 10))):
        h, w = (
            shape if data.draw(st.booleans()) else data.draw(st.tuples(st.integers(1, rows), st.integers(1, columns)))
        )
        y, x = data.draw(st.integers(0, rows - h)), data.draw(st.integers(0, columns - w))
        if data.draw(st.booleans()):
            y, x = y // h * h, x // w * w
        window = touched[y : y + h, x : x + w]
        if known.take((h, w), (columns, 1), np.array([y * columns + x])):
            assert not window.any()
        window[:] = True


def test_tensors_that_torch_does_not_count_the_writes_of():
    with torch.inference_mode():
        args = over()
        kept = run(kernelgen.kernel(OVER), args, keep=True)
    assert len(inside(kept, "count")) > 0
    args = over()
    args[3].requires_grad_()
    with torch.no_grad():
        kept = run(kernelgen.kernel(OVER), args, keep=True)
    assert len(inside(kept, "twice")) > 0


LOOPS = """
@pl.jit
def k(
    x: pl.Tensor[[128, 64], pl.FP32],
    y: pl.Out[pl.Tensor[[128, 64], pl.FP32]],
    z: pl.Out[pl.Tensor[[128, 64], pl.FP32]],
):
    for i in pl.range(8):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="first"):
            y[i * 16 : i * 16 + 16, :] = pl.add(x[i * 16 : i * 16 + 16, :], 1.0)
    for i in pl.parallel(8):
        for j in pl.range(i + 1):
            with pl.at(level=pl.Level.CORE_GROUP, name_hint="second"):
                z[i * 16 : i * 16 + 16, :] = pl.mul(y[i * 16 : i * 16 + 16, :], 2.0)
    for i in pl.range(8):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="third"):
            z[i * 16 : i * 16 + 16, :] = pl.add(z[i * 16 : i * 16 + 16, :], y[i * 16 : i * 16 + 16, :])
    return y, z
"""


def test_loops_that_a_task_is_not_in_are_passed_over(monkeypatch: pytest.MonkeyPatch):
    """Turns of the second loop differ, so they run in groups, in another order than the trace lists them."""
    args = [torch.rand(128, 64), torch.zeros(128, 64), torch.zeros(128, 64)]
    done = run(kernelgen.kernel(LOOPS), args, platform="a2a3interp", keep=True)
    assert [d.name for d in done.trace.dispatches] == ["first"] * 8 + ["second"] * 36 + ["third"] * 8
    made = []
    begun = Launches.dispatch
    monkeypatch.setattr(Launches, "dispatch", lambda m, *a, **o: made.append(1) or begun(m, *a, **o))
    for d in done.trace.dispatches:
        made.clear()
        look = Look(d.index, 0, d.place)
        assert again(done.kernel, done.kept, d.index, "a2a3interp", chip("a2a3"), look), d.index
        assert look.moments()[0].place.line == d.place.line + 1
        assert len(made) <= 8, (d.index, len(made))  # never those of the other loops
    assert [d.index for d in done.trace.dispatches] == list(range(52))
