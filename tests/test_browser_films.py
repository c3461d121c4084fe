"""Films and the hunt in JupyterLab, in a real browser: play, pause, step; hint and answer of a case."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from test_browser import begin, chrome, closed, ended, jupyterlab, new_page, notebook, opened, output, pictures

__all__ = ["chrome"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
CELLS = [
    "from golden import mistakes\n"
    "from golden.spec import values_of\n"
    "from helpers import plots\n"
    "from helpers.profile import profile\n"
    "from helpers.run import run\n"
    "from helpers.widgets import case, play\n"
    "from kernels import mistakes_projection\n"
    "trace = run(mistakes_projection.right_peeled, values_of(mistakes.product()), platform='a2a3interp').trace",
    "play(plots.chip_flow(profile(trace), 'product'))",
    "case(2, None)",
    "from kernels.mistakes_attention import wrong_barrier\n"
    "from helpers.stages import find, trace_stage\n"
    "many = run(wrong_barrier, values_of(mistakes.rows_and_zeros()), platform='a5interp', dry=True).trace\n"
    "play(plots.barrier(many, 'a2a3'))",
    "play(plots.handing_out(profile(trace_stage(find('rope_kv_cache'), 'flat', batch=4, ctx=1))))",
    "from helpers.inside import inside\n"
    "from kernels import prefill\n"
    "values = values_of(find('prefill').specs(ctx=128, hidden=512, inter=512))\n"
    "kept = run(prefill.chunked, values, platform='a2a3interp', keep=True)\n"
    "play(plots.causal_windows([inside(kept, 'softmax', block) for block in range(8)]))",
]
FILM, CASE, DEADLOCK, HANDED, CAUSAL = 1, 2, 3, 4, 5


@pytest.fixture(scope="module")
def page(chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A notebook with a film and a case, all of it run."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "notebooks").mkdir()
    notebook(folder / "notebooks" / "films.ipynb", CELLS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBOOK_ANSWERS", str(folder / "answers"))
        with jupyterlab(folder) as lab:
            made = new_page(chrome)
            opened(made, lab, "films")
            begin(made)
            ended(made, lab, "films")
            yield made
            pictures(made, "films")
            closed(made)


def number(page: Page) -> int:
    return int(re.search(r"(\d+) of \d+", output(page, FILM).locator(".workbook-bar span").inner_text())[1])


def test_a_film_plays_pauses_and_steps(page: Page):
    film = output(page, FILM)
    image = film.locator("img")
    expect(image).to_be_visible()
    assert number(page) == 1
    before = image.get_attribute("src")
    film.get_by_role("button", name="play").click()
    expect(film.locator(".workbook-bar span")).to_contain_text(re.compile(r"^[4-9] of|^\d\d of"))
    film.get_by_role("button", name="pause").click()
    expect(film.get_by_role("button", name="play", exact=True)).to_be_visible()
    page.wait_for_timeout(1500)
    at = number(page)
    assert at >= 4
    expect(image).not_to_have_attribute("src", before)
    page.wait_for_timeout(1500)
    assert number(page) == at
    film.get_by_role("button", name="step on").click()
    expect(film.locator(".workbook-bar span")).to_contain_text(f"{at + 1} of")
    film.get_by_role("button", name="step back").click()
    expect(film.locator(".workbook-bar span")).to_contain_text(f"{at} of")
    slider = film.get_by_role("slider", name="picture")
    slider.focus()
    slider.press("End")
    last = film.locator(".workbook-bar span").inner_text()
    expect(film.locator(".workbook-bar span")).to_contain_text(re.compile(rf"^{last.split()[-1]} of"))
    film.get_by_role("button", name="play").click()  # at the end it begins again
    expect(film.locator(".workbook-bar span")).to_contain_text(re.compile(r"^[2-9] of"))
    film.get_by_role("button", name="pause").click()


@pytest.mark.parametrize(("cell", "last"), [(DEADLOCK, "deadlock"), (HANDED, "32 done"), (CAUSAL, "tokens 112 to 127")])
def test_other_films_step_to_their_end(page: Page, cell: int, last: str):
    film = output(page, cell)
    film.get_by_role("button", name="step on").click()
    expect(film.locator(".workbook-bar span")).to_contain_text("2 of")
    slider = film.get_by_role("slider", name="picture")
    slider.focus()
    slider.press("End")
    expect(film.get_by_role("status")).to_contain_text(last)
    film.get_by_role("button", name="play").click()  # from the end it begins again
    expect(film.locator(".workbook-bar span")).to_contain_text(re.compile(r"^[2-9] of"))
    film.get_by_role("button", name="pause").click()


def test_a_case_gives_its_answer_on_request_only(page: Page):
    shown = output(page, CASE)
    expect(shown).to_contain_text("not answered yet")
    expect(shown).not_to_contain_text("added without")
    shown.get_by_role("button", name="hint").click()
    expect(shown).to_contain_text("open the task")
    shown.get_by_role("button", name="sanitizers").click()
    expect(shown).to_contain_text("wrong-result")
    shown.get_by_role("button", name="answer").click()
    expect(shown.get_by_role("button", name="really show it")).to_be_visible()
    shown.get_by_role("button", name="really show it").click()
    expect(shown).to_contain_text("added without")
