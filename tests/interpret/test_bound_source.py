"""What runs is what was decorated: edits of a kernel's file, with and without a reload, and every way to look at it."""

from __future__ import annotations

import importlib
import itertools
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
import torch
from joblib.externals.loky import get_reusable_executor

from golden import TensorSpec, run_jit
from helpers import show
from helpers.errors import InputError, KernelError
from helpers.interpret.language.decorated import bounds, digest
from helpers.interpret.lowering.lower import compile_kernel
from helpers.interpret.pypto import language
from helpers.interpret.source import texts
from helpers.profile.sweep import sweep
from helpers.run import Run, run
from helpers.sanitize.check import check
from helpers.stages import STAGES, Late, find, replace
from helpers.tuning import constants, tuned

language.install()
pl = importlib.import_module("pypto.language")

ROOT = Path(__file__).parents[2]
NUMBERS = itertools.count()

KERNEL = """
@pl.jit
def {name}({x}: pl.Tensor[[64, 512], pl.FP32], y: pl.Out[pl.Tensor[[64, 512], pl.FP32]]):
    for b in pl.spmd(4, name_hint="{name}"):
        t = pl.slice({x}, [16, 512], [b * 16, 0])
        y = pl.assemble(y, pl.mul(t, {by}), [b * 16, 0])
    return y
"""
HEAD = "import pypto.language as pl\n"


def kernel(name: str, by: object, x: str = "x") -> str:
    return KERNEL.format(name=name, by=by, x=x)


TWO = HEAD + kernel("first", 2.0) + kernel("second", 3.0)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module and imports it; `load.edit` writes it again, and `load.again` loads it again."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"edited_{next(NUMBERS)}"

    class Load:
        def __call__(self, text: str, part: str = "") -> ModuleType:
            (tmp_path / f"{name}{part}.py").write_text(text)
            importlib.invalidate_caches()
            return importlib.import_module(name + part)

        def edit(self, text: str, part: str = "") -> Path:
            (tmp_path / f"{name}{part}.py").write_text(text)
            return tmp_path / f"{name}{part}.py"

        def again(self, part: str = "") -> ModuleType:
            return importlib.reload(sys.modules[name + part])

    made = Load()
    made.name, made.folder = name, tmp_path
    yield made
    for known in [m for m in sys.modules if m.startswith(name)]:
        del sys.modules[known]


def scale(ran_kernel: object, **more: object) -> float:
    """By what a kernel multiplies."""
    return ran(ran_kernel)[1]


def ran(one: object) -> tuple[Run, float]:
    y = torch.zeros(64, 512)
    done = run(one, [torch.ones(64, 512), y], platform="a2a3interp")
    assert (y == y[0, 0]).all()
    return done, y[0, 0].item()


EDITS = {
    "a line added above": "# a comment\n# another\n" + TWO,
    "a line taken away": TWO.removeprefix(HEAD).lstrip(),
    "the kernel changed": HEAD + kernel("first", 2.0) + kernel("second", 5.0),
    "the kernel renamed": HEAD + kernel("first", 2.0) + kernel("other", 3.0),
    "the parameter renamed": HEAD + kernel("first", 2.0) + kernel("second", 3.0, "q"),
    "the kernel deleted": HEAD + kernel("first", 2.0),
    "the kernels swapped": HEAD + kernel("second", 3.0) + kernel("first", 2.0),
    "the decorator gone": TWO.replace("@pl.jit\n", "\n"),
    "a syntax error": TWO.replace("pl.spmd(4", "pl.spmd((4"),
    "an empty file": "",
}


@pytest.mark.parametrize("before", [True, False], ids=["ran before", "not run before"])
@pytest.mark.parametrize("edit", EDITS)
def test_a_held_kernel_runs_as_it_was_decorated(load, edit: str, before: bool, capsys: pytest.CaptureFixture):
    held = load(TWO).second
    if before:
        assert scale(held) == 3
    file = load.edit(EDITS[edit])
    done, by = ran(held)
    assert by == 3
    assert done.trace.tasks_by_name() == {"second": 4}
    (note,) = done.notes
    assert f"{file.name} has changed on disk" in note
    assert "'second'" in note
    assert "reload" in note
    assert capsys.readouterr().err.count("has changed on disk") == 1
    ran(held)  # it is said once
    assert capsys.readouterr().err == ""
    shown = repr(show.source(held))
    assert "pl.mul(t, 3.0)" in shown
    assert "def second" in shown
    assert "changed on disk" in shown
    assert all(d.place.code.strip().startswith("for b in") for d in done.trace.dispatches)


@pytest.mark.parametrize("before", [True, False], ids=["ran before", "not run before"])
@pytest.mark.parametrize("edit", [e for e in EDITS if e not in ("a line taken away", "a syntax error")])
def test_a_held_kernel_runs_as_it_was_after_a_reload(load, edit: str, before: bool):
    module = load(TWO)
    held = module.second
    if before:
        assert scale(held) == 3
    load.edit(EDITS[edit])
    load.again()
    done, by = ran(held)
    assert by == 3
    assert done.trace.tasks_by_name() == {"second": 4}
    assert done.notes
    if edit == "the kernel changed":
        assert scale(module.second) == 5


def test_a_deleted_file_is_said_to_be_gone(load):
    held = load(TWO).second
    os.remove(load.folder / f"{load.name}.py")
    done, by = ran(held)
    assert by == 3
    assert "is gone" in done.notes[0]


def test_a_file_replaced_by_a_rename_is_noticed(load):
    held = load(TWO).second
    file = load.folder / f"{load.name}.py"
    stat = file.stat()
    new = load.folder / "new.py"
    new.write_text(TWO.replace("3.0", "7.0"))  # as long
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # and as old
    os.replace(new, file)
    done, by = ran(held)
    assert by == 3
    assert done.notes


def test_a_file_written_again_as_it_was_has_not_changed(load):
    held = load(TWO).second
    load.edit("")
    load.edit(TWO)
    assert ran(held)[0].notes == ()


def test_a_syntax_error_that_is_repaired(load):
    module = load(TWO)
    held = module.second
    load.edit(TWO + "def broken(:\n")
    with pytest.raises(SyntaxError):
        load.again()
    assert scale(held) == 3
    assert scale(module.second) == 3
    load.edit(TWO.replace("3.0", "4.0"))
    load.again()
    assert scale(held) == 3
    assert scale(module.second) == 4


CONSTANTS = "import pypto.language as pl\nBY = {by}\n" + kernel("second", "BY")


def test_a_constant_changed_by_a_reload_is_not_mixed_into_the_kernel_as_it_was(load):
    module = load(CONSTANTS.format(by=3.0))
    held = module.second
    load.edit(CONSTANTS.format(by=6.0))
    load.again()
    assert scale(held) == 3  # never compiled before: not 6, which would be a kernel that no file ever had
    assert scale(module.second) == 6


def test_a_constant_set_by_hand_counts(load):
    module = load(CONSTANTS.format(by=3.0))
    assert scale(module.second) == 3
    module.BY = 8.0
    assert scale(module.second) == 8


CALLS = (
    kernel("second", 1.0)
    .replace("        y = pl", "        u = scaled(t)\n        y = pl")
    .replace("pl.mul(t, 1.0)", "u")
)  # fmt: skip
HELPER = (
    HEAD
    + """
@pl.jit.inline
def scaled(t: pl.Tensor[[16, 512], pl.FP32]):
    return pl.mul(t, {by})
"""
)
CALLER = HEAD + "from {name}_part import scaled\n" + CALLS


@pytest.mark.parametrize("before", [True, False], ids=["ran before", "not run before"])
@pytest.mark.parametrize("reload", [True, False], ids=["reloaded", "not reloaded"])
def test_a_helper_in_another_module(load, before: bool, reload: bool):
    load(HELPER.format(by=3.0), "_part")
    module = load(CALLER.format(name=load.name))
    held = module.second
    if before:
        assert scale(held) == 3
    load.edit("# above\n\n\n" + HELPER.format(by=9.0), "_part")
    if reload:
        load.again("_part")
    done, by = ran(held)  # it took the helper when it was imported
    assert by == 3
    assert f"{load.name}_part.py has changed" in done.notes[0]
    assert "'scaled'" in done.notes[0]
    assert "pl.mul(t, 3.0)" in repr(show.source(held, helpers=True))
    load.again("_part")
    load.again()
    assert scale(module.second) == 9


def test_a_constant_of_another_module(load):
    load("BY = 3.0\n", "_part")
    text = HEAD + f"from {load.name}_part import BY\n" + kernel("second", "BY")
    held = load(text).second
    load.edit("BY = 5.0\n", "_part")
    done, by = ran(held)
    assert by == 3
    assert f"{load.name}_part.py has changed" in done.notes[0]


def test_a_helper_below_its_caller_is_not_guessed_after_a_reload(load):
    text = HEAD + CALLS + HELPER.removeprefix(HEAD)
    module = load(text.format(by=3.0))
    held = module.second
    load.edit(text.format(by=4.0))
    load.again()
    with pytest.raises(KernelError, match=rf"scaled was then is not known.*{load.name}\.second"):
        ran(held)
    assert scale(module.second) == 4


def test_two_kernels_of_one_name_in_a_file(load):
    module = load(HEAD + kernel("second", 2.0) + "early = second\n" + kernel("second", 3.0))
    assert (scale(module.early), scale(module.second)) == (2, 3)
    load.edit("# above\n" + HEAD + kernel("second", 4.0) + "early = second\n" + kernel("second", 5.0))
    assert (scale(module.early), scale(module.second)) == (2, 3)


LOOP = (
    HEAD
    + """
MADE = []
for by in (2.0, 3.0):
"""
    + textwrap.indent(kernel("second", "by"), "    ")
    + """
    MADE.append(second)


def make():
"""
    + textwrap.indent(kernel("second", 3.0), "    ")
    + """
    return second
"""
)


def test_a_kernel_decorated_in_a_loop(load):
    module = load(LOOP)
    load.edit("# above\n" + LOOP.replace("pl.mul(t, by)", "pl.exp(t)"))
    assert [scale(k) for k in module.MADE] == [3, 3]  # `by` is a name of the module, looked up when it is compiled


@pytest.mark.parametrize("edit", ["# above\n\n" + LOOP, LOOP + "\n# below"], ids=["above", "below"])
def test_a_factory_called_after_an_edit_finds_its_function(load, edit: str):
    module = load(LOOP)
    load.edit(edit)
    made = module.make()
    assert scale(made) == 3
    bound = texts.of(made.fn)
    assert "".join(bound.lines).strip().startswith("@pl.jit")


@pytest.mark.parametrize(
    "edit",
    [
        LOOP.replace("pl.mul(t, 3.0)", "pl.mul(t, 4.0)"),
        LOOP.replace("        for b in", "        # more\n        for b in").replace("t, 3.0", "t, 4.0"),
        LOOP.replace("def make():", "def made():"),
        LOOP[: LOOP.index("def make")].replace("pl.FP32", "pl.FP16"),
    ],
    ids=["changed", "moved and changed", "renamed", "gone"],
)  # fmt: skip
def test_a_factory_whose_text_has_changed_makes_no_other_kernel(load, edit: str):
    module = load(LOOP)
    load.edit(edit)
    with pytest.raises(KernelError, match=r"has changed since kernel 'second' was loaded.*load it again"):
        ran(module.make())


def test_a_factory_whose_annotation_has_changed_makes_no_other_kernel(load):
    module = load(LOOP)
    head, tail = LOOP.split("def make")
    load.edit(head + "def make" + tail.replace("[64, 512]", "[64, 256]"))
    with pytest.raises(KernelError, match="has changed since"):
        ran(module.make())


def test_a_factory_of_a_file_that_is_no_python_now(load):
    module = load(LOOP)
    load.edit(LOOP + "def broken(:\n")
    with pytest.raises(KernelError, match="is no Python now"):
        ran(module.make())


def test_bytecode_of_an_older_text_is_not_taken_for_the_file(load, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    module = load(TWO)
    file = load.folder / f"{load.name}.py"
    stat = file.stat()
    load.edit(TWO.replace("3.0", "4.0"))  # as long, and below as old: Python loads the bytecode of the text before
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    load.again()
    with pytest.raises(KernelError, match="__pycache__"):
        ran(module.second)


PROGRAM = (
    HEAD
    + """
@pl.program
class P:
    @pl.function(type=pl.FunctionType.InCore)
    def work(self, x: pl.Tensor[[64, 512], pl.FP32], at: pl.Scalar[pl.INDEX], y: pl.Out[pl.Tensor[[64, 512], pl.FP32]]):
        t = pl.load(x, [at, 0], [16, 512])
        y = pl.store(pl.mul(t, {by}), [at, 0], y)
        return y

    @pl.function(type=pl.FunctionType.Orchestration)
    def main(self, x: pl.Tensor[[64, 512], pl.FP32], y: pl.Out[pl.Tensor[[64, 512], pl.FP32]]):
        for i in pl.range(4):
            row = i * 16
            y = self.work(x, row, y)
        return y
"""
)


@pytest.mark.parametrize("reload", [True, False], ids=["reloaded", "not reloaded"])
def test_a_program(load, reload: bool):
    module = load(PROGRAM.format(by=3.0))
    held = module.P
    load.edit("# above\n" + PROGRAM.format(by=4.0))
    if reload:
        load.again()
    assert scale(held) == 3
    if reload:
        assert scale(module.P) == 4


def test_a_decorator_with_options_on_several_lines(load):
    text = TWO.replace("@pl.jit\n", "@pl.jit(\n    auto_scope=True,\n)\n")
    held = load(text).second
    load.edit("#\n" * 7 + text.replace("3.0", "4.0"))
    assert scale(held) == 3
    assert repr(show.source(held)).splitlines()[1].split(maxsplit=1)[1].startswith("@pl.jit(")


def test_parsed_text_is_the_one_that_was_given(tmp_path: Path):
    one = pl.parse(PROGRAM.format(by=3.0))
    two = pl.parse(PROGRAM.format(by=4.0))
    assert (scale(one), scale(two)) == (3, 4)
    file = tmp_path / "program.py"
    file.write_text(PROGRAM.format(by=5.0))
    three = pl.loads(str(file))
    file.write_text("# above\n" + PROGRAM.format(by=6.0))
    assert scale(three) == 5


def test_executed_text_is_known_where_linecache_has_it():
    import linecache

    name, text = f"<cell {next(NUMBERS)}>", TWO
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space: dict = {}
    exec(compile(text, name, "exec"), space)
    linecache.cache[name] = (0, None, (HEAD + kernel("second", 9.0)).splitlines(keepends=True), name)
    assert scale(space["second"]) == 3


def test_executed_text_that_nobody_kept_is_refused_in_words():
    space: dict = {}
    exec(TWO, space)
    with pytest.raises(KernelError, match="define it in a file or a notebook cell"):
        ran(space["second"])


def test_text_executed_under_the_name_of_another_file_is_refused(tmp_path: Path):
    file = tmp_path / "other.py"
    file.write_text(TWO.replace("3.0", "4.0"))
    space: dict = {}
    exec(compile(TWO, str(file), "exec"), space)
    with pytest.raises(KernelError, match="has changed since"):
        ran(space["second"])
    assert scale(space["first"]) == 2  # which is the same in both


def test_a_comment_at_the_edge_of_an_indented_kernel(load):
    text = LOOP.replace("            t = pl.slice", "#\n            t = pl.slice")
    assert scale(load(text).make()) == 3


# ---- every way to look at a kernel


def test_findings_show_the_line_that_ran(load):
    text = TWO.replace("pl.assemble(y, pl.mul(t, 3.0), [b * 16, 0])", "pl.assemble(y, pl.mul(t, 3.0), [b * 32, 0])")
    held = load(text).second
    load.edit("\n\n\n" + TWO)

    def specs() -> list:
        return [TensorSpec("x", [64, 512], torch.float32), TensorSpec("y", [64, 512], torch.float32, is_output=True)]

    found = [f for f in check(held, specs, None) if f.severity == "error"]
    assert found
    assert all("b * 32" in f.place.code for f in found)


def test_a_fault_shows_the_line_that_ran(load):
    text = TWO.replace(
        "[b * 16, 0])\n        y = pl.assemble(y, pl.mul(t, 3.0)",
        "[b * 32, 0])\n        y = pl.assemble(y, pl.mul(t, 3.0)",
    )
    held = load(text).second
    load.edit("\n\n\n\n\n")
    with pytest.raises(Exception, match=r"b \* 32") as caught:
        ran(held)
    assert "b * 32" in caught.value.place.code


def test_a_refusal_shows_the_line_that_was_read(load):
    held = load(TWO.replace("pl.mul(t, 3.0)", "pl.mull(t, 3.0)")).second
    load.edit("")
    with pytest.raises(KernelError, match=r"pl\.mull\(t, 3\.0\)"):
        ran(held)


def test_a_result_carries_the_note(load):
    held = load(TWO).second
    load.edit("#\n" + TWO)
    specs = [
        TensorSpec("x", [64, 512], torch.float32, init_value=torch.ones),
        TensorSpec("y", [64, 512], torch.float32, is_output=True),
    ]
    result = run_jit(held, specs, lambda v: v["y"].copy_(3 * v["x"]), quiet=True)
    assert result.passed
    assert "has changed on disk" in str(result)


def test_tuning_changes_the_text_that_is_bound(load):
    held = load(CONSTANTS.format(by=3.0)).second
    load.edit("BY = None\n")
    assert constants(held, ("BY",)) == {"BY": 3.0}
    other = tuned(held, BY=7.0)
    assert scale(other) == 7
    assert scale(held) == 3
    with pytest.raises(InputError, match="has no constant"):
        tuned(held, BYE=1)


def test_tuning_a_kernel_of_no_module_is_refused():
    with pytest.raises(KernelError, match="not at the top of an imported module"):
        tuned(pl.parse(PROGRAM.format(by=3.0)), BY=1)


def _specs() -> list:
    return [TensorSpec("x", [64, 512], torch.float32), TensorSpec("y", [64, 512], torch.float32, is_output=True)]


WIDTHS = (
    HEAD + "BLOCKS = 4\n" + kernel("second", 3.0).replace("pl.spmd(4", "pl.spmd(BLOCKS").replace("16", "64 // BLOCKS")
)


def test_a_sweep_predicts_the_kernel_it_is_given_and_not_one_that_a_process_still_has(load):
    module = load(WIDTHS)
    how = {"specs": _specs, "jobs": 2, "progress": False}
    assert [p.tasks for p in sorted(sweep(module.second, {"BLOCKS": [2, 4]}, **how), key=lambda p: p.tasks)] == [2, 4]
    load.edit(WIDTHS.replace("pl.spmd(BLOCKS", "pl.spmd(BLOCKS // 2"))
    get_reusable_executor().shutdown(wait=True)  # which had the module as it was
    with pytest.raises(InputError, match="have changed since"):
        sweep(module.second, {"BLOCKS": [2, 8]}, **how)
    load.again()
    assert [p.tasks for p in sweep(module.second, {"BLOCKS": [4]}, **how)] == [2]


def test_a_sweep_keeps_results_by_the_text_that_is_bound(load, tmp_path: Path):
    module = load(WIDTHS)
    how = {"specs": _specs, "jobs": 1, "progress": False, "cache": tmp_path / "kept.json"}
    before = sweep(module.second, {"BLOCKS": [4]}, **how)
    load.edit(WIDTHS.replace("pl.mul(t, 3.0)", "pl.exp(t)"))
    assert sweep(module.second, {"BLOCKS": [4]}, **how) == before  # kept: of the text that this kernel has
    load.again()
    assert sweep(module.second, {"BLOCKS": [4]}, **how) != before


def test_the_digest_is_of_all_that_a_kernel_takes(load):
    load(HELPER.format(by=3.0), "_part")
    module = load(CALLER.format(name=load.name))
    held, before = module.second, digest(module.second)
    assert {Path(p).name for p in texts.files(bounds(held))} == {f"{load.name}.py", f"{load.name}_part.py"}
    load.edit(HELPER.format(by=4.0), "_part")
    assert digest(held) == before
    load.again("_part")
    load.again()
    assert digest(module.second) != before
    assert digest(held) == before


def test_places_survive_being_sent_to_another_process(load):
    held = load(TWO).second
    place = compile_kernel(held).source.place(compile_kernel(held).source.tree)
    load.edit("")
    assert (
        pickle.loads(pickle.dumps(place)).code == place.code == "def second(x: pl.Tensor[[64, 512], pl.FP32], y: "
        "pl.Out[pl.Tensor[[64, 512], pl.FP32]]):"
    )


def test_a_stage_has_the_kernels_and_the_golden_that_its_modules_have_now(load):
    module = load(TWO + "\ndef reference(v):\n    v['y'].copy_(3 * v['x'])\n")
    stage = replace(
        find("mlp"),
        versions=Late(load.name, lambda m: {"second": m.second}),
        reference=Late(load.name, lambda m: m.reference),
    )
    assert stage.versions["second"] is module.second
    load.edit(TWO.replace("3.0", "4.0") + "\ndef reference(v):\n    v['y'].copy_(4 * v['x'])\n")
    load.again()
    assert stage.versions["second"] is module.second
    assert scale(stage.versions["second"]) == 4
    assert stage.reference is module.reference


@pytest.mark.parametrize("name", STAGES)
def test_stages_follow_their_modules(name: str, monkeypatch: pytest.MonkeyPatch):
    stage = find(name)
    for version, one in stage.versions.items():
        module = sys.modules[one.fn.__module__]
        monkeypatch.setattr(module, version, object())
        assert stage.versions[version] is getattr(module, version)


NOTEBOOK = """
import sys
sys.dont_write_bytecode = True
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def cell(text):
    done = shell.run_cell(text, store_history=True)
    done.raise_error()
cell("%load_ext autoreload\\n%autoreload 2")
cell("import torch, sys, kernels\\nfrom pathlib import Path\\nfrom helpers.run import run")
cell('''def by(kernel):
    y = torch.zeros(64, 512)
    run(kernel, [torch.ones(64, 512), y], platform="a2a3interp")
    return y[0, 0].item()''')
"""


def notebook(tmp_path: Path, cells: str) -> str:
    """What cells print; `cell(text)` runs one."""
    file = tmp_path / "cells.py"
    file.write_text(NOTEBOOK + cells)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path, "IPYTHONDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_autoreload_in_a_notebook(tmp_path: Path):
    (tmp_path / "mine.py").write_text(TWO)
    out = notebook(
        tmp_path,
        f"""
cell("import mine\\nfrom mine import second as held")
cell("print('ran', by(mine.second), by(held))")
import os
Path = shell.user_ns["Path"]
file = Path({str(tmp_path / "mine.py")!r})
file.write_text("# a line\\n\\n" + file.read_text().replace("3.0", "4.0"))
os.utime(file, (2e9, 2e9))
cell("print('ran', by(mine.second), by(held))")
file.write_text(file.read_text().replace("second", "other"))
os.utime(file, (2.1e9, 2.1e9))
cell("print('ran', by(mine.other), by(held))")
""",
    )
    assert [line for line in out.splitlines() if line.startswith("ran")] == [
        "ran 3.0 3.0",
        "ran 4.0 3.0",
        "ran 4.0 3.0",
    ]


def test_a_kernel_of_a_cell_that_is_defined_again(tmp_path: Path):
    out = notebook(
        tmp_path,
        f"""
text = {HEAD + kernel("second", 3.0)!r}
cell(text)
cell("held = second")
cell("# edited\\n" + text.replace("3.0", "4.0"))
cell("print('ran', by(second), by(held))")
cell("BY = 5.0\\n" + text.replace("3.0", "BY"))
cell("print('ran', by(second))\\nBY = 6.0\\nprint('ran', by(second))")
cell("from helpers import show\\nprint('shown', 'pl.mul(t, 3.0)' in repr(show.source(held)))")
""",
    )
    lines = [line for line in out.splitlines() if line.startswith(("ran", "shown"))]
    assert lines == ["ran 4.0 3.0", "ran 5.0", "ran 6.0", "shown True"]
