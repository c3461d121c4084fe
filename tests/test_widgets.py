"""Widgets: their controls and what they change, their text and figure where there is no front end, what they keep."""

from __future__ import annotations

import io
import sys
import threading
from copy import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import image as pictures
from nbclient import NotebookClient
from nbformat import v4

from helpers.errors import InputError
from helpers.profile import Profile, profile
from helpers.stages import find, trace_stage
from helpers.widgets import explore, front_end, graph, stage, steps, timeline
from helpers.widgets.job import Cancelled, Job
from helpers.widgets.timeline import details, lanes

STAGE = "rope_kv_cache"
SMALL = {"version": "flat", "batch": 1, "ctx": 1}


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stage", "graph", "steps", "timeline"):
        monkeypatch.setattr(sys.modules[f"helpers.widgets.{name}"], "_kept", {})


def controls_of(name: str = STAGE, **start: object) -> stage.Controls:
    """The controls of `explore(name, **start)`, when their first run has ended."""
    explorer = explore(name, **start)
    made = stage.Controls(name, explorer.setting, stage._kept[name][1].update)
    made.job.wait(300)
    return made


def turn(made: stage.Controls, control: str, value: object) -> None:
    """Set a control and wait for what follows."""
    getattr(made, control).value = value
    made.job.wait(300)


# explore


def test_static_text_says_what_a_run_is():
    text = repr(explore(STAGE, **SMALL))
    first, errors, time, tasks, gm, chip = text.split("\n")
    assert first == "rope_kv_cache flat, batch 1, context 1 on a2a3interp: PASS"
    assert errors == "errors against FP64, by the tolerance: q_padded within, k_cache within, v_cache within"
    assert time.startswith("predicted time: ")
    assert tasks == "tasks: 8; critical path, in launches: 1"
    assert gm.startswith("GM: ")
    assert chip.startswith("on-chip peak: UB ")
    assert repr(explore(STAGE, **SMALL)) == text


def test_static_output_is_text_and_picture():
    bundle, _ = explore(STAGE, **SMALL, live=False)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"}
    assert bundle["text/plain"] == repr(explore(STAGE, **SMALL))


def test_what_a_kernel_decides_by_what_it_computes_is_predicted_before_it_has_run():
    fused = stage.Setting("fused", "a2a3", 1, 300)
    said = stage.predicted(stage.tried("flash_attention", fused))
    assert said[0].startswith("predicted time: ")
    assert "L0B 32 KiB" in said[3]
    assert stage.measure("flash_attention", fused).text.endswith("\n".join(said))


def test_a_partial_trace_predicts_no_time():
    trace = stage.tried("flash_attention", stage.Setting("fused", "a2a3", 1, 128))
    part = copy(trace)
    part.partial = "loops go by numbers that this run has not computed"
    said = stage.predicted(part)
    assert said[0] == "predicted time, tasks, bytes: when it has run, for they depend on what it computes"
    assert said[1:] == stage.predicted(trace)[3:]


def test_where_the_golden_has_limits_of_its_own_errors_are_against_it():
    text = repr(explore("flash_attention", batch=1, ctx=1))
    assert text.startswith("flash_attention fused, batch 1, context 1 on a2a3interp: PASS")
    assert "errors against golden, by the tolerance: attn_out within" in text


def test_controls_start_where_they_are_told_and_offer_what_is_legal():
    made = controls_of(version="naive", chip="a5", batch=3, ctx=300)
    assert (made.version.value, made.chip.value, made.batch.value, made.ctx.value) == ("naive", "a5", 3, 300)
    assert made.version.options == ("naive", "per_sequence", "flat")
    assert (made.batch.min, made.batch.max) == (1, 16)
    assert (min(made.ctx.options), max(made.ctx.options)) == (1, 4096)
    assert "a5interp: PASS" in made.text.value
    assert "predicted time: " in made.text.value
    assert pictures.imread(io.BytesIO(made.image.value)).ndim == 3
    assert (made.state.value, made.bar.value, made.cancel.disabled) == ("done", 1.0, True)
    assert not made.tiles


@pytest.mark.parametrize(
    ("control", "value", "said"),
    [
        ("version", "naive", "tasks: 48; critical path, in launches: 9"),
        ("version", "per_sequence", "tasks: 1; "),
        ("batch", 2, "tasks: 16; "),
        ("ctx", 129, "context 129 on a2a3interp"),
        ("chip", "a5", "on a5interp"),
    ],
)
def test_a_control_changes_text_and_picture(control: str, value: object, said: str):
    made = controls_of(**SMALL)
    before, picture = made.text.value, made.image.value
    assert said not in before
    turn(made, control, value)
    assert said in made.text.value
    assert "PASS" in made.text.value
    assert made.image.value != picture


def test_tile_sizes_offer_what_fits_and_say_what_does_not():
    made = controls_of("qkv_proj", version="spmd", batch=1, ctx=1)
    assert {n: list(s.options) for n, s in made.tiles.items()} == {
        "GROUP_N": [64, 128, 256], "TILE_K": [64, 128, 256],
    }  # fmt: skip
    assert "TILE_K 512" in made.refused.value
    assert "557,056 bytes of L1" in made.refused.value  # what PyPTO's compiler says of it, too
    tasks = made.text.value
    made.tiles["GROUP_N"].value = 128
    made.job.wait(300)
    assert made.setting.tiles == (("GROUP_N", 128),)
    assert "spmd, batch 1, context 1, GROUP_N 128 on a2a3interp: PASS" in made.text.value
    assert made.text.value != tasks
    assert list(made.tiles["TILE_K"].options) == [64, 128, 256, 512]  # more fits beside a narrower tile
    assert made.tiles["GROUP_N"].value == 128
    turn(made, "version", "split_k")
    assert list(made.tiles) == ["GROUP_N", "SPLIT_TILE_K", "SPLITS"]
    assert made.setting.tiles == ()


def test_a_tile_size_that_is_asked_for_and_not_offered_is_refused():
    with pytest.raises(InputError, match="GROUP_N 100"):
        explore("qkv_proj", "spmd", GROUP_N=100)
    with pytest.raises(InputError, match="there are: none"):
        explore(STAGE, TILE=1)
    assert explore("qkv_proj", "spmd", GROUP_N=256).setting.tiles == ()
    assert explore("qkv_proj", "spmd", GROUP_N=128).setting.tiles == (("GROUP_N", 128),)


def test_what_the_controls_say_survives_running_the_cell_again():
    made = controls_of(**SMALL)
    turn(made, "batch", 2)
    turn(made, "version", "per_sequence")
    assert explore(STAGE, **SMALL).setting == stage.Setting("per_sequence", "a2a3", 2, 1)
    made = controls_of(**SMALL)
    assert (made.version.value, made.batch.value) == ("per_sequence", 2)
    assert explore(STAGE, "flat", batch=4, ctx=1).setting == stage.Setting("flat", "a2a3", 4, 1)


def test_an_error_is_shown_and_the_next_change_works(monkeypatch: pytest.MonkeyPatch):
    made = controls_of(**SMALL)
    real = stage.measure

    def fails(*_: object) -> None:
        raise InputError("<that> does not work")

    monkeypatch.setattr(stage, "measure", fails)
    turn(made, "batch", 2)
    assert "&lt;that&gt; does not work" in made.text.value
    assert (made.state.value, made.bar.bar_style) == ("refused", "danger")
    monkeypatch.setattr(stage, "measure", real)
    turn(made, "batch", 1)
    assert "PASS" in made.text.value


def test_a_run_can_be_cancelled_and_begun_again(monkeypatch: pytest.MonkeyPatch):
    made = controls_of(**SMALL)
    before = made.text.value
    in_it, go = threading.Event(), threading.Event()
    real = stage.run_stage

    def slow(*args: object, **kwargs: object) -> object:
        in_it.set()
        go.wait(60)
        return real(*args, **kwargs)  # whose first task finds that nobody waits for it

    monkeypatch.setattr(stage, "run_stage", slow)
    made.batch.value = 3
    assert in_it.wait(60)
    assert not made.cancel.disabled
    made.cancel.click()
    assert made.state.value.startswith("cancelled")
    go.set()
    made.job.wait(60)
    assert "batch 3" in made.text.value
    assert "traced, not run" in made.text.value
    assert made.cancel.disabled
    made.batch.value = 1
    made.job.wait(60)
    assert made.text.value == before


def test_progress_goes_up_to_all_tasks():
    made = stage.Controls(STAGE, stage.Setting("naive", "a2a3", 5, 9), lambda _: None)
    seen = []
    made.bar.observe(lambda change: seen.append(change["new"]), "value")
    made.job.wait(300)
    assert seen == sorted(seen)
    assert any(0 < share < 1 for share in seen)
    assert made.bar.value == 1


@pytest.mark.parametrize(
    "wrong", [{"version": "fast"}, {"chip": "a7"}, {"batch": 0}, {"batch": 17}, {"ctx": 0}, {"ctx": 4097}]
)
def test_a_setting_that_there_is_not_is_refused(wrong: dict):
    with pytest.raises(ValueError, match="versions are naive, per_sequence, flat, chips a2a3, a5"):
        explore(STAGE, **wrong)


def test_a_stage_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="unknown stage"):
        explore("rope")


# The job behind it


def test_only_the_latest_request_is_shown():
    started, go, shown, ends = threading.Event(), threading.Event(), [], []

    def work(request: int, check) -> None:
        if request == 1:
            started.set()
            go.wait(10)
        check()
        shown.append(request)

    job = Job(work, ends.append)
    job.cancel()
    assert ends == []
    job.start(1)
    assert started.wait(10)
    job.start(2)
    job.start(3)
    go.set()
    job.wait(10)
    assert shown == [3]
    assert ends == [None]
    job.start(1)
    job.wait(10)
    assert shown == [3, 1]


def test_a_job_tells_its_errors_and_can_be_waited_for():
    ends, go = [], threading.Event()
    job = Job(lambda request, check: go.wait(10) and 1 // request, ends.append)
    job.wait()
    job.start(0)
    with pytest.raises(TimeoutError):
        job.wait(0.05)
    go.set()
    job.wait(10)
    assert [type(e) for e in ends] == [ZeroDivisionError]
    go.clear()
    job.start(1)
    job.cancel()
    assert isinstance(ends[-1], Cancelled)
    go.set()
    job.wait(10)
    assert len(ends) == 2


# timeline, graph, steps


@pytest.fixture(scope="module")
def flat() -> Profile:
    return profile(trace_stage(find("flash_attention"), "flat", batch=2, ctx=300))


def test_the_swimlane_has_every_bar_of_the_schedule(flat: Profile):
    made = lanes(flat)
    task, core = flat.schedule.lanes()
    starts, tasks = np.frombuffer(made.starts, "<f4"), np.frombuffer(made.tasks, "<u4")
    where = np.frombuffer(made.lanes, "<u2")
    assert len(starts) == len(np.frombuffer(made.ends, "<f4")) == len(np.frombuffer(made.names, "<u2")) == len(task)
    assert (np.diff(starts) >= 0).all()
    assert starts == pytest.approx(flat.schedule.start[tasks], rel=1e-6)
    names = [made.lane_names[i] for i in where]
    assert sorted(zip(tasks.tolist(), names)) == sorted(
        (int(t), flat.chip.core_name(int(c))) for t, c in zip(task, core)
    )
    assert len(made.shades) == len(made.name_list) == 5
    assert max(made.shades) < len(made.labels) <= len(made.colors)


def test_details_of_a_task(flat: Profile):
    sv = flat.tasks.names.index("sv")
    task = int(np.flatnonzero(flat.tasks.name == sv)[3])
    said = details(flat, task)
    assert said["task"] == "sv[3]"
    assert said["core"].endswith("(cube task)")
    assert "predicted" in said["when"]
    assert "1 x softmax" in said["depends on"]
    assert said["launched at"].startswith("kernels/flash_attention.py:")
    assert "pl.spmd" in said["source"]
    last = int(flat.critical_path[-1])
    assert details(flat, last)["critical path"] == "on it"


def test_choosing_a_task_shows_it_and_is_kept(flat: Profile):
    made, text = timeline(flat).controls().children
    assert "click a task" in text.value
    made.selected = 7
    made.span = [1.0, 5.0]
    assert flat.tasks.title(7) in text.value
    assert "kernels/flash_attention.py" in text.value
    again, text = timeline(flat).controls().children
    assert (again.selected, again.span) == (7, [1.0, 5.0])
    assert flat.tasks.title(7) in text.value
    again.selected = -1
    assert "click a task" in text.value


def test_a_click_takes_a_name_apart_and_puts_it_together():
    trace = trace_stage(find(STAGE), "per_sequence", batch=4, ctx=1)
    made = graph(trace).picture()
    assert list(made.spots) == ["rope_kv_cache"]
    before = made.png
    made._handle_custom_msg({"clicked": "rope_kv_cache"}, [])
    assert list(made.spots) == [f"rope_kv_cache {i}" for i in range(1, 5)]
    assert made.png != before
    assert list(graph(trace).picture().spots) == list(made.spots)
    made._handle_custom_msg({"clicked": "rope_kv_cache 3"}, [])
    assert (list(made.spots), made.png) == (["rope_kv_cache"], before)


def test_steps_say_what_changed():
    one = find(STAGE)
    traces = {v: trace_stage(one, v, batch=2, ctx=1) for v in one.versions}
    ladder = steps(one, traces)
    text = ladder.text("flat").split("\n")
    assert text[0] == "3 of 3: flat (a2a3, predicted)"
    assert any(line.startswith("The idea:") for line in text)
    assert "  tasks                         2 -> 16" in text
    assert "->" not in ladder.text("naive").split("predicted time")[1]
    row, shown, image = ladder.controls().children
    back, on, step = row.children
    assert (step.value, back.disabled, on.disabled) == ("naive", True, False)
    picture = image.value
    on.click()
    assert "2 of 3: per_sequence" in shown.value
    assert image.value != picture
    on.click()
    assert (step.value, on.disabled) == ("flat", True)
    assert steps(one, traces).controls().children[0].children[2].value == "flat"


@pytest.mark.parametrize("live", [True, False])
def test_widgets_where_there_is_a_front_end_figures_elsewhere(flat: Profile, live: bool):
    for made in (
        timeline(flat, live),
        graph(flat.trace, live=live),
        steps(find("flash_attention"), {"flat": flat}, live),
    ):
        bundle = made._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        assert ("application/vnd.jupyter.widget-view+json" in data) is live
        if not live:
            assert set(data) == {"text/plain", "image/png"}
            assert data["text/plain"] == repr(made)


# Where there is a front end


@pytest.mark.parametrize(("metadata", "live"), [({"cellId": "a"}, True), ({}, False), ({"cellId": None}, False)])
def test_a_front_end_names_its_cell(monkeypatch: pytest.MonkeyPatch, metadata: dict, live: bool):
    kernel = SimpleNamespace(get_parent=lambda channel: {"metadata": metadata})
    monkeypatch.setattr(front_end, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    assert front_end.front_end() is live
    assert explore(STAGE, **SMALL).live is live


def test_without_a_notebook_there_is_no_front_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(front_end, "get_ipython", lambda: None)
    assert front_end.front_end() is False


def test_run_by_nbclient_the_cell_has_no_widget(tmp_path: Path):
    cell = v4.new_code_cell(f"from helpers.widgets import explore\nexplore({STAGE!r}, batch=1, ctx=1)")
    notebook = v4.new_notebook(cells=[cell])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    (output,) = notebook.cells[0].outputs
    assert set(output["data"]) == {"text/plain", "image/png"}
    assert "batch 1, context 1 on a2a3interp: PASS" in output["data"]["text/plain"]
