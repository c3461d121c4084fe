"""The hunt of notebook 07: every case shows what it says, its answer is right, and nothing stored gives it away."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from golden import run_jit
from helpers.course.defects import DEFECTS
from helpers.errors import InputError
from helpers.hunt.hunt_cases import CASES, GUIDED
from helpers.hunt.hunted import Hunted, find, symptoms
from helpers.inside import rounding
from helpers.sanitize import KINDS
from helpers.widgets.case_view import Case, CaseControls

NUMBERS = range(1, len(CASES) + 1)
ONLY_NUMBERS = {n for n in NUMBERS if not CASES[n - 1].kinds}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBOOK_ANSWERS", str(tmp_path))


def test_every_defect_of_the_pull_requests_is_a_case():
    wrong = [r.wrong for r in CASES]
    assert all(any(w is d.wrong for w in wrong) for d in DEFECTS)


def test_half_of_the_guided_cases_need_the_debugger():
    assert len([n for n in ONLY_NUMBERS if n <= GUIDED]) == GUIDED // 2
    assert max(ONLY_NUMBERS) <= GUIDED


@pytest.mark.parametrize("number", NUMBERS)
def test_the_answer_is_right_and_other_lines_are_not(number: int):
    case = find(number)
    assert case.judged(None) == "not answered yet"
    assert case.lines
    rows = case.file.read_text().splitlines()
    assert all(case.judged(n).endswith(case.record.answer) for n in case.lines)
    others = set(range(1, len(rows) + 1)) - case.lines
    assert len(others) > len(case.lines)
    assert all(case.judged(n) == f"line {n} is not where it is" for n in others)
    assert all(k in KINDS and "is right" in case.judged(k) for k in case.record.kinds)
    assert "is not where it is" in case.judged("nonsense")


@pytest.mark.parametrize("number", NUMBERS)
def test_the_file_says_nothing_of_the_defect(number: int):
    case = find(number)
    text = case.file.read_text()
    tree = ast.parse(text)
    function = [n for n in tree.body if isinstance(n, ast.FunctionDef)][-1]
    assert "wrong" not in text
    if not isinstance(case.record.wrong, Path):
        assert ast.get_docstring(function) == case.asked


@pytest.mark.parametrize("number", sorted(set(NUMBERS) - ONLY_NUMBERS))
def test_the_sanitizers_name_what_they_are_to_name(number: int):
    case = find(number)
    kinds = {f.kind for f in case.check().findings}
    assert kinds & set(case.record.kinds)


@pytest.mark.parametrize("number", sorted(ONLY_NUMBERS))
def test_what_needs_the_debugger_is_wrong_and_no_sanitizer_names_it(number: int):
    case = find(number)
    assert {f.kind for f in case.check().findings} <= {"wrong-result", "tolerance"}
    r = case.record
    sizes = {"ctx": 256} if r.sweep else {}
    passed = []
    for kernel in (r.wrong, r.right):
        specs = r.specs(**sizes)
        passed.append(run_jit(kernel, specs, r.reference, rtol=r.rtol, atol=r.atol, quiet=True).passed)
    assert passed == [False, True]


def test_the_tools_of_the_hints():
    by = {find(n).asked: find(n) for n in NUMBERS}
    gate = next(c for a, c in by.items() if "w_gate" in a)
    assert gate.against().name == "act"
    norm = next(c for a, c in by.items() if a.startswith("RMSNorm"))
    dearest = max(rounding(norm.inside()).lines, key=lambda line: line.part) if hasattr(rounding, "lines") else None
    assert dearest is None or dearest
    turn = next(c for a, c in by.items() if a.startswith("RoPE"))
    assert turn.inside(wrote="y[3, 100]").at(min(turn.lines)) >= 0
    assert "262" not in symptoms(1)


def test_what_there_is_not():
    with pytest.raises(InputError, match="there are cases 1 to"):
        find(0)
    script = next(find(n) for n in NUMBERS if isinstance(CASES[n - 1].wrong, Path))
    with pytest.raises(InputError, match="is no kernel"):
        script.kernel  # noqa: B018


def test_a_case_in_a_notebook_and_its_buttons():
    case = Case(find(2), None, live=True)
    controls = CaseControls(case)
    answer = find(2).record.answer
    controls.hint.click()
    controls.answer.click()
    assert controls.answer.description == "really show it"
    assert answer not in controls.told.children[-1].value
    controls.answer.click()
    assert "Each page" in controls.told.children[-1].value
    assert answer not in repr(case)
    assert answer in repr(Case(find(2), min(find(2).lines), live=False))
    assert "text/html" in Case(find(2), None, live=False)._repr_mimebundle_()


def test_nothing_that_is_stored_gives_an_answer_away():
    path = Path(__file__).parents[1] / "notebooks" / "07_find_the_bug.ipynb"
    cells = json.loads(path.read_text())["cells"]
    text = "\n".join("".join(c["source"]) + json.dumps(c.get("outputs", "")) for c in cells)
    for number in NUMBERS:
        case: Hunted = find(number)
        assert case.record.answer not in text
        assert case.record.hint not in text
    assert not any(f"{severity}: {kind}: " in text for kind in KINDS for severity in ("error", "warning", "hint"))
    asked = [n for n in range(1, GUIDED + 1) if f"case({n}, None)" in text]
    assert asked == list(range(1, GUIDED + 1))
