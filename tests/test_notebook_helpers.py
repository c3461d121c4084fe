"""What notebooks lean on: sources shown, tables, exercises and their solutions, storing outputs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import v4

from helpers import show
from helpers.course import notebooks, refresh
from helpers.course.exercises import EXERCISES, exercise, verdict
from helpers.errors import InputError, KernelError, WorkbookError
from helpers.run import run
from kernels import hello, mistakes

# Sources


def test_source_is_that_of_the_file_with_its_line_numbers():
    lines = Path(inspect.getsourcefile(hello.two_tasks.fn)).read_text().splitlines()
    file, *shown = repr(show.source(hello.two_tasks)).splitlines()
    assert file == "kernels/hello.py"
    assert shown[0].endswith("@pl.jit")
    assert shown[-1].endswith("return out")
    for line in shown:
        number, text = line[:4], line[5:]
        assert lines[int(number) - 1] == text


def test_source_with_helpers_has_callees_first():
    text = repr(show.source(hello.two_tasks, helpers=True))
    assert text.index("def normalize") < text.index("def two_tasks")
    assert "def normalize" not in repr(show.source(hello.two_tasks))


def test_source_without_the_signature():
    text = repr(show.source(hello.one_task, signature=False))
    assert "     def one_task(...):" in text
    assert "weight: pl.Tensor" not in text
    assert '"""Both steps' in text


def test_html_of_a_source_has_every_line():
    page = show.source(hello.one_task)._repr_html_()
    bare = re.sub(r"<[^>]+>", "", page).replace("&quot;", '"').replace("&#39;", "'").replace("&gt;", ">")
    text = repr(show.source(hello.one_task))
    assert [line.strip() for line in bare.splitlines()][1:] == [line.strip() for line in text.splitlines()][2:]


def test_source_of_what_is_no_kernel():
    with pytest.raises(KernelError, match="is not a kernel"):
        show.source(print)


def test_table():
    rows = {"a": {"n": 1234, "x": 0.4987}, "long": {"n": 5, "y": "text", "ok": True}}
    assert show.table(rows).split("\n") == [
        "          n    x     y    ok",
        "a     1,234  0.5",
        "long      5       text  True",
    ]
    one = {"naive": {"critical path, in launches": 129, "GM read": 1_404_928}}
    assert show.table(one).split("\n") == [
        "       critical path,",
        "          in launches    GM read",
        "naive             129  1,404,928",
    ]


# Kernels that are refused on purpose


def test_mistakes_are_refused_in_the_words_of_the_notebook():
    import torch

    with pytest.raises(WorkbookError, match=r"augmented assignment.*\n  at kernels/mistakes.py:\d+:9"):
        run(mistakes.augmented, [torch.zeros(16, hello.WIDTH)] * 2)
    for platform in ("a2a3interp", "a5interp"):
        with pytest.raises(WorkbookError, match="bytes of UB at once"):
            run(mistakes.too_tall, [torch.zeros(mistakes.TALL, hello.WIDTH) for _ in "xy"], platform=platform)


# Exercises


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_right_and_nothing_else_is(name: str, capsys: pytest.CaptureFixture[str]):
    solution = EXERCISES[name].solution
    assert verdict(name, solution).startswith("right. ")
    assert verdict(name) == verdict(name, ...) == "not solved yet"
    assert verdict(name, -1).startswith("not right: ")
    assert verdict(name, "nonsense").startswith("not right: ")
    if callable(solution):
        assert verdict(name, lambda *_: None) == "not solved yet"
        assert verdict(name, lambda *_: 0).startswith("not right: ")
        assert verdict(name, lambda: 0).startswith("not right: the check ended with TypeError")
    exercise(name, solution)
    assert capsys.readouterr().out.startswith(f"exercise {name}: right.")


def test_solutions_agree_with_the_kernels():
    import torch

    rows = torch.zeros(256, hello.WIDTH)
    out = torch.zeros(256, hello.WIDTH, dtype=torch.bfloat16)
    weight = torch.ones(1, hello.WIDTH)
    assert run(hello.one_task, [rows, weight, out]).trace.tasks == EXERCISES["0.1"].solution
    two, one = (run(k, [rows[:64], weight, out[:64]]).trace for k in (hello.two_tasks, hello.one_task))
    saved = two.gm_read_bytes + two.gm_write_bytes - one.gm_read_bytes - one.gm_write_bytes
    assert saved == EXERCISES["0.2"].solution


def test_solutions_agree_with_the_stage():
    from golden import rope_kv_cache
    from helpers.chips import chip
    from helpers.stages import find, run_stage

    stage = find("rope_kv_cache")
    assert run_stage(stage, "naive", batch=7, ctx=1).trace.tasks == EXERCISES["1.1"].solution
    inputs = show.inputs(stage.specs(batch=3, ctx=[1, 129, 300]))
    table, pages = inputs["block_table"].view(3, -1).tolist(), 6 + 8
    rows = rope_kv_cache.addressed(inputs, 2 * pages * 8 * 128)
    for b, length in enumerate([1, 129, 300]):
        slot = EXERCISES["1.3"].solution(table[b], length)
        assert slot == inputs["slot_mapping"][b]
        at = EXERCISES["1.2"].solution(inputs["layer_idx"], pages, slot // 128, 5, slot % 128)
        assert at == rows[b, 5]
    cores, least = chip("a2a3").vector_cores, EXERCISES["1.4"].solution
    blocks = [run_stage(stage, "flat", batch=b, ctx=1).trace.tasks for b in (least - 1, least)]
    assert blocks[0] < cores <= blocks[1]


def test_solutions_agree_with_flash_attention():
    from helpers.chips import chip
    from helpers.stages import find, run_stage
    from kernels.qwen3 import MAX_PAGES

    stage = find("flash_attention")
    one = {v: run_stage(stage, v, platform="a2a3interp", batch=1, ctx=300).trace for v in ("separate", "flat", "mixed")}
    assert one["separate"].tasks == EXERCISES["2.1"].solution
    assert chip("a5").clusters + 1 == EXERCISES["2.3"].solution
    on_chip = run_stage(stage, "mixed", platform="a5interp", batch=1, ctx=300).trace
    saved = one["flat"].gm_write_bytes - on_chip.gm_write_bytes
    assert one["flat"].gm_write_bytes == one["mixed"].gm_write_bytes  # through the ring, on A2/A3
    assert saved == 8 * 3 * EXERCISES["2.4"].solution
    assert EXERCISES["2.5"].solution([300, 1]) == [0, 1, 2, MAX_PAGES]


def test_solutions_agree_with_the_mlp():
    from helpers.chips import chip
    from helpers.stages import find, trace_stage

    products = trace_stage(find("mlp"), "partial_products").tasks_by_name()
    a_tile = ("gate_or_up", "silu", "down_product", "down_add")
    assert sum(products[n] for n in a_tile) == 272 * EXERCISES["3.1"].solution
    mixed = trace_stage(find("mlp"), "mixed").tasks_by_name()
    assert chip("a2a3").clusters - mixed["down_proj_residual"] == EXERCISES["3.3"].solution
    assert chip("a2a3").buffers["UB"] == EXERCISES["3.4"].solution * 16 * 4


def test_torch_nn_is_no_answer_where_the_formula_is_asked_for():
    import torch

    for answer in (lambda g, u: torch.nn.functional.silu(g) * u, lambda g, u: torch.nn.SiLU()(g) * u):
        assert "calls silu of torch.nn" in verdict("3.2", answer)
    assert verdict("3.2", lambda g, u: g * torch.sigmoid(g) * u).startswith("right")


def test_solutions_agree_with_the_projections():
    from helpers.stages import find, trace_stage
    from helpers.tuning import tuned_stage

    eight = trace_stage(tuned_stage(find("qkv_proj"), "split_k", SPLITS=8), "split_k")
    assert eight.tasks_by_name()["project_split"] == EXERCISES["3.5"].solution


def test_a_trace_without_arithmetic_has_the_figures_of_a_run():
    from helpers import plots
    from helpers.stages import find, run_stage, trace_stage

    stage = find("qkv_proj")
    for version in stage.versions:
        run = run_stage(stage, version, platform="a5interp", batch=3).trace
        dry = trace_stage(stage, version, chip="a5", batch=3)
        assert plots.figures_of(dry) == plots.figures_of(run)
        assert dry.tasks_by_name() == run.tasks_by_name()


def test_an_exercise_that_there_is_not():
    with pytest.raises(InputError, match=r"there are: 0\.1"):
        exercise("9.9", 1)


def test_every_exercise_is_in_its_notebook_unsolved():
    for name in EXERCISES:
        pages = [p.read_text() for p in Path(notebooks.NOTEBOOKS).glob(f"{int(name.split('.')[0]):02}*_*.ipynb")]
        (text,) = [page for page in pages if f'exercise(\\"{name}\\"' in page]
        assert f"exercise {name}: not solved yet" in text


# Storing


def test_storing_again_changes_nothing(tmp_path: Path):
    path = tmp_path / "a.ipynb"
    notebook = v4.new_notebook(cells=[v4.new_code_cell("print(6 * 7)"), v4.new_markdown_cell("text")])
    notebook.cells[0].metadata = {"tags": ["keep"], "execution": {"iopub.status.busy": "now"}}
    nbformat.write(notebook, path)
    assert refresh.store(path)
    stored = path.read_text()
    assert not refresh.store(path)
    assert path.read_text() == stored
    cells = nbformat.read(path, 4).cells
    assert [c.id for c in cells] == ["cell-00", "cell-01"]
    assert cells[0].metadata == {"tags": ["keep"]}
    assert cells[0].outputs[0].text == "42\n"


def test_a_notebook_that_fails_stays_as_it_was(tmp_path: Path):
    path = tmp_path / "a.ipynb"
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("1 / 0")]), path)
    before = path.read_text()
    with pytest.raises(CellExecutionError):
        refresh.store(path)
    assert path.read_text() == before


@pytest.mark.parametrize("path", notebooks.find(), ids=lambda path: path.stem)
def test_stored_notebooks_are_executed_and_plain(path: Path):
    notebook = nbformat.read(path, 4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not c.metadata for c in notebook.cells)
    assert not any("widget-view" in str(o) for c in code for o in c.outputs)
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for c in code for o in c.outputs)
