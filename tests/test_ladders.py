"""The ladders of the notebooks: every rung computes what its stage does, on both chips, and changes what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers import plots, stages
from helpers.course.ladders import LADDERS, Climbed, Rung, climb, kernel, least, questions, rungs_of
from helpers.errors import InputError

SMALL = {
    "rope_kv_cache": {"batch": 3, "ctx": [1, 128, 129]},
    "flash_attention": {"batch": 3, "ctx": [1, 128, 300]},
    "mlp": {"batch": 2, "hidden": 512, "inter": 512},
    "qkv_proj": {"batch": 2, "layers": 1, "layer": 0},
    "lm_head": {"batch": 2, "mode": "single"},
    "decode_layer": {"batch": 2, "ctx": [1, 130]},
    "prefill": {"batch": 2, "ctx": [20, 3], "start": [120, 0], "hidden": 512, "inter": 1024},
}
OWN = [(s, r) for s, ladder in LADDERS.items() if s in SMALL for r in ladder if r.kernel]


@pytest.mark.parametrize("platform", ["a2a3interp", "a5interp"])
@pytest.mark.parametrize(("name", "rung"), OWN, ids=[f"{s}-{r.name}" for s, r in OWN])
def test_a_rung_computes_what_its_stage_does(name: str, rung: Rung, platform: str):
    stage = replace(stages.find(name), versions={rung.name: kernel(name, rung)})
    result = stages.run_stage(stage, rung.name, platform=platform, **SMALL[name])  # large inputs stay for the next one
    assert result.passed, result.error


@pytest.mark.parametrize("name", LADDERS)
def test_a_ladder_goes_from_the_first_version_to_the_last_and_names_each_change(name: str):
    ladder = rungs_of(name)
    names = [r.name for r in ladder]
    versions = stages.find(name).names
    assert len(set(names)) == len(names)
    assert (names[0], ladder[0].change) == (versions[0], "")
    assert names[-1] == versions[-1] or name == "rope_kv_cache"
    assert all(r.change for r in ladder[1:])
    assert all(r.of in names[:i] for i, r in enumerate(ladder) if r.of)
    assert all(r.name in versions for r in ladder if not r.kernel)
    assert questions(name).count("\n") == len(ladder) - 1


@pytest.fixture(scope="module")
def rope() -> Climbed:
    return climb("rope_kv_cache", {"flat": 5.0}, batch=4, ctx=1)


def test_what_a_rung_saves(rope: Climbed):
    for chip in ("a2a3", "a5"):
        us = {r.name: rope.us(r.name, chip) for r in rope.rungs}
        assert rope.saved("naive", chip) == 0
        assert sum(rope.saved(n, chip) for n in us) == pytest.approx(us["naive"] - us["striding"])
        assert 0 < rope.roof(chip) <= min(us.values())
        share = rope.share("flat", chip)
        assert share == pytest.approx(rope.saved("flat", chip) / (us["side_by_side"] - rope.roof(chip)))
        assert all(least(p) <= p.makespan for p in rope.profiles[chip].values())


def test_what_is_said_of_a_rung_and_of_a_guess(rope: Climbed):
    said = repr(rope).splitlines()
    at = said.index("flat, of side_by_side: a block for each head, not for each sequence")
    assert said[at + 1] == "  tasks 4 -> 32"
    assert "you thought 5.0" in said[at + 2]
    assert sum("you thought" in line for line in said) == 1
    figure = plots.rungs(rope, {"before": 900.0}, "somewhere")
    texts = [t.get_text() for axes in figure.axes for t in axes.get_yticklabels()]
    assert "before, published" in texts
    assert figure.legends[0].get_texts()[-1].get_text() == "measured: somewhere"
    assert figure.alt.startswith("rope_kv_cache, one change a rung: naive, head_at_once")


def test_what_there_is_not():
    with pytest.raises(InputError, match="no ladder of 'decode'"):
        climb("decode")
    with pytest.raises(InputError, match="no rung 'naive'"):
        climb("rope_kv_cache", {"naive": 3.0})
