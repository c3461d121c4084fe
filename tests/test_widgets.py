"""`explore`: its controls and what they change, its text and figure where there is no front end, what it keeps."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import ipywidgets
import pytest
from matplotlib import image as pictures
from nbclient import NotebookClient
from nbformat import v4

from helpers.errors import InputError
from helpers.widgets import explore, stage

STAGE = "rope_kv_cache"
SMALL = {"version": "flat", "batch": 1, "ctx": 1}


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_kept", {})


def parts(box: ipywidgets.VBox) -> tuple[dict[str, ipywidgets.Widget], ipywidgets.HTML, ipywidgets.Image]:
    *controls, text, image = box.children
    return {c.description: c for c in controls}, text, image


def test_static_text_says_what_a_run_is():
    text = repr(explore(STAGE, **SMALL))
    first, errors, tasks, gm, chip = text.split("\n")
    assert first == "rope_kv_cache flat, batch 1, context 1 on a2a3interp: PASS"
    assert errors.startswith("largest error / tolerance, against FP64: q_padded 0.")
    assert tasks == "tasks: 8; launches one after the other: 1"
    assert gm.startswith("GM: ")
    assert chip.startswith("on-chip peak: UB ")
    assert repr(explore(STAGE, **SMALL)) == text


def test_static_output_is_text_and_picture():
    bundle, _ = explore(STAGE, **SMALL, live=False)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"}
    assert bundle["text/plain"] == repr(explore(STAGE, **SMALL))


def test_where_the_golden_has_limits_of_its_own_errors_are_against_it():
    text = repr(explore("flash_attention", batch=1, ctx=1))
    assert text.startswith("flash_attention fused, batch 1, context 1 on a2a3interp: PASS")
    assert "largest error / tolerance, against golden: attn_out 0" in text


def test_controls_start_where_they_are_told_and_offer_what_is_legal():
    controls, text, image = parts(explore(STAGE, "naive", "a5", 3, 300, live=True).controls())
    assert {n: c.value for n, c in controls.items()} == {
        "version": "naive", "chip": "a5", "batch": 3, "context": 300,
    }  # fmt: skip
    assert controls["version"].options == ("naive", "per_sequence", "flat")
    assert (controls["batch"].min, controls["batch"].max) == (1, 16)
    assert min(controls["context"].options) == 1
    assert max(controls["context"].options) == 4096
    assert "a5interp: PASS" in text.value
    assert pictures.imread(io.BytesIO(image.value)).ndim == 3


@pytest.mark.parametrize(
    ("control", "value", "said"),
    [
        ("version", "naive", "tasks: 48; launches one after the other: 9"),
        ("version", "per_sequence", "tasks: 1; "),
        ("batch", 2, "tasks: 16; "),
        ("context", 129, "context 129 on a2a3interp"),
        ("chip", "a5", "on a5interp"),
    ],
)
def test_a_control_changes_text_and_picture(control: str, value: object, said: str):
    controls, text, image = parts(explore(STAGE, **SMALL).controls())
    before, picture = text.value, image.value
    assert said not in before
    controls[control].value = value
    assert said in text.value
    assert "PASS" in text.value
    assert image.value != picture


def test_what_the_controls_say_survives_running_the_cell_again():
    controls, *_ = parts(explore(STAGE, **SMALL).controls())
    controls["batch"].value = 2
    controls["version"].value = "per_sequence"
    assert explore(STAGE, **SMALL).setting == stage.Setting("per_sequence", "a2a3", 2, 1)
    controls, *_ = parts(explore(STAGE, **SMALL).controls())
    assert (controls["version"].value, controls["batch"].value) == ("per_sequence", 2)
    assert explore(STAGE, "flat", batch=4, ctx=1).setting == stage.Setting("flat", "a2a3", 4, 1)


def test_an_error_is_shown_and_the_next_change_works(monkeypatch: pytest.MonkeyPatch):
    controls, text, _ = parts(explore(STAGE, **SMALL).controls())
    real = stage.measure

    def fails(*_: object) -> None:
        raise InputError("<that> does not work")

    monkeypatch.setattr(stage, "measure", fails)
    controls["batch"].value = 2
    assert "&lt;that&gt; does not work" in text.value
    monkeypatch.setattr(stage, "measure", real)
    controls["batch"].value = 1
    assert "PASS" in text.value


@pytest.mark.parametrize(
    "wrong", [{"version": "fast"}, {"chip": "a7"}, {"batch": 0}, {"batch": 17}, {"ctx": 0}, {"ctx": 4097}]
)
def test_a_setting_that_there_is_not_is_refused(wrong: dict):
    with pytest.raises(ValueError, match="versions are naive, per_sequence, flat, chips a2a3, a5"):
        explore(STAGE, **wrong)


def test_a_stage_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="unknown stage"):
        explore("rope")


@pytest.mark.parametrize(("metadata", "live"), [({"cellId": "a"}, True), ({}, False), ({"cellId": None}, False)])
def test_a_front_end_names_its_cell(monkeypatch: pytest.MonkeyPatch, metadata: dict, live: bool):
    kernel = SimpleNamespace(get_parent=lambda channel: {"metadata": metadata})
    monkeypatch.setattr(stage, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    assert stage.front_end() is live
    bundle = explore(STAGE, **SMALL)._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert ("application/vnd.jupyter.widget-view+json" in data) is live


def test_without_a_notebook_there_is_no_front_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stage, "get_ipython", lambda: None)
    assert stage.front_end() is False


def test_run_by_nbclient_the_cell_has_no_widget(tmp_path: Path):
    cell = v4.new_code_cell(f"from helpers.widgets import explore\nexplore({STAGE!r}, batch=1, ctx=1)")
    notebook = v4.new_notebook(cells=[cell])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    (output,) = notebook.cells[0].outputs
    assert set(output["data"]) == {"text/plain", "image/png"}
    assert "batch 1, context 1 on a2a3interp: PASS" in output["data"]["text/plain"]
