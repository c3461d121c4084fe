"""golden.runner: what a run passes to the kernel, what it makes of the results, and what it refuses.

The kernel here is a Python function and the platform a stand-in that calls it.
"""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from golden import RunResult, ScalarSpec, TensorSpec, exact, run, run_jit, runner
from helpers.errors import InputError, PlatformError


@dataclass(frozen=True)
class Run:
    platform: str = "a2a3interp"
    seconds: float = 0.25
    trace: object = "the trace"
    notes: tuple = ()
    dumps: tuple = ()


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict]:
    """Put a stand-in in place of helpers.run; the calls it gets."""
    made: list[dict] = []

    def fake(kernel, args, *, platform="default", dry=False, options=None, make=None, tell=None) -> Run:
        made.append({"args": list(args), "platform": platform, "dry": dry, "options": options})
        if not dry:
            kernel(*args)
        return Run()

    module = types.ModuleType("helpers.run")
    module.run = fake
    module.tracing = module.scripted = lambda: False
    module.compared = lambda *_: None
    module.records_writes = lambda kernel, platform: False
    module.parameters = lambda kernel: list(inspect.signature(kernel).parameters)
    monkeypatch.setitem(sys.modules, "helpers.run", module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYPTO_BENCH", raising=False)
    return made


def scale(x, s, state, y) -> None:
    """y = x * s; state counts."""
    y[:] = x * s
    state += 1


def golden_scale(values: dict) -> None:
    values["y"][:] = values["x"] * values["s"]
    values["state"] += 1


def specs() -> list:
    return [
        TensorSpec("x", [2, 3], torch.float32, init_value=torch.randn),
        ScalarSpec("s", torch.bfloat16, 0.1),
        TensorSpec("state", [4], torch.int32, init_value=lambda: torch.arange(4), is_output=True),
        TensorSpec("y", [2, 3], torch.float32, is_output=True),
    ]


def test_options_go_to_the_platform(calls: list[dict]):
    run_jit(scale, specs(), compile_cfg={"codegen_only": False}, runtime_cfg={"platform": "a5", "device_id": 3})
    assert calls[0]["options"] == {"codegen_only": False, "platform": "a5", "device_id": 3}


def test_a_right_kernel_passes(calls: list[dict]) -> None:
    result = run_jit(fn=scale, specs=specs(), golden_fn=golden_scale)
    assert result.passed
    assert result.error is None
    assert (result.platform, result.seconds, result.trace) == ("a2a3interp", 0.25, "the trace")
    assert result.execution_time > 0
    assert (result.work_dir, result.bench) == (None, None)
    assert set(result.errors) == set(result.outputs) == set(result.expected) == {"state", "y"}
    assert result.errors["y"].max_abs == 0.0
    assert result.outputs["state"].tolist() == result.expected["state"].tolist() == [1, 2, 3, 4]
    assert str(result).startswith("PASS (")
    (call,) = calls
    assert call["platform"] == "default"
    assert call["args"][1] == 0.10009765625  # a Python number, as rounded by its dtype
    assert call["args"][2] is result.outputs["state"]
    assert [type(a) for a in call["args"]] == [torch.Tensor, float, torch.Tensor, torch.Tensor]


def test_a_wrong_kernel_fails_with_numbers_and_tensors() -> None:
    def wrong(x, s, state, y) -> None:
        scale(x, s, state, y)
        y[1, 2] += 0.5

    result = run_jit(wrong, specs(), golden_scale)
    assert not result.passed
    assert "'y'" in result.error
    assert "(1, 2)" in result.error
    assert "'state'" not in result.error
    assert result.errors["y"].max_abs == pytest.approx(0.5)
    assert (result.errors["y"].mismatched, result.errors["y"].worst) == (1, (1, 2))
    assert result.errors["state"].mismatched == 0
    assert float((result.outputs["y"] - result.expected["y"]).abs().max()) == pytest.approx(0.5)
    assert str(result).startswith("FAIL: ")


def test_an_output_that_is_not_written_fails() -> None:
    result = run_jit(lambda x, s, state, y: None, specs(), golden_scale)
    assert not result.passed
    assert result.outputs["y"].count_nonzero() == 0
    assert result.errors["state"].max_abs == 1.0


def test_nan_fails_and_is_counted() -> None:
    def wrong(x, s, state, y) -> None:
        scale(x, s, state, y)
        y[0, 1:] = math.nan

    result = run_jit(wrong, specs(), golden_scale, rtol=10, atol=10)
    assert not result.passed
    assert "2 NaN" in result.error
    assert "(0, 1)" in result.error


@pytest.mark.parametrize("value", [1.0, -0.0])
def test_an_input_that_the_kernel_modifies_fails_and_is_named(value: float) -> None:
    def wrong(x, y) -> None:
        y[:] = x
        x[1] = value

    both = [
        TensorSpec("x", [3], torch.float32, init_value=0.0),
        TensorSpec("y", [3], torch.float32, is_output=True),
    ]
    for golden_fn in (lambda values: None, None):
        result = run_jit(wrong, both, golden_fn)
        assert not result.passed
        assert "input 'x': 1 of 3 elements, the first at (1,)" in result.error
        assert "'y'" not in result.error


def test_a_large_input_is_not_copied_and_still_watched(monkeypatch: pytest.MonkeyPatch, calls: list[dict]) -> None:
    monkeypatch.setattr(runner, "_LARGE", 11)
    shared = []

    def golden_fn(values: dict) -> None:
        shared.append(values["x"] is calls[-1]["args"][0])
        values["y"][:] = values["x"]

    def right(x, y) -> None:
        y[:] = x

    def wrong(x, y) -> None:
        y[:] = x
        x[1] = -0.0

    both = [TensorSpec("x", [3], torch.float32), TensorSpec("y", [3], torch.float32, is_output=True)]
    assert run_jit(right, both, golden_fn).passed
    result = run_jit(wrong, both, golden_fn)
    assert shared == [True, True]
    assert "modified its input 'x': the first change is between elements 0 and 2" in result.error
    monkeypatch.setattr(runner, "_LARGE", 12)
    assert run_jit(right, both, golden_fn).passed
    assert shared[-1] is False


def test_a_golden_may_use_up_its_own_inputs() -> None:
    def golden_in_place(values: dict) -> None:
        values["x"] *= values["s"]
        values["y"][:] = values["x"]
        values["state"] = values["state"] + 1

    assert run_jit(scale, specs(), golden_in_place).passed


def test_the_golden_sees_inputs_from_before_the_run() -> None:
    seen = {}

    def golden_fn(values: dict) -> None:
        seen.update({name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in values.items()})
        golden_scale(values)

    run_jit(scale, specs(), golden_fn)
    assert list(seen) == ["x", "s", "state", "y"]
    assert seen["s"] == 0.10009765625
    assert seen["state"].tolist() == [0, 1, 2, 3]
    assert seen["y"].count_nonzero() == 0


def test_without_a_golden_nothing_is_compared(capsys: pytest.CaptureFixture) -> None:
    result = run_jit(scale, specs())
    assert result.passed
    assert result.errors == result.expected == {}
    assert set(result.outputs) == {"state", "y"}
    assert "nothing compared" in capsys.readouterr().out


def test_tolerance_and_comparators_are_used() -> None:
    def off(x, s, state, y) -> None:
        scale(x, s, state, y)
        y += 0.01

    assert not run_jit(off, specs(), golden_scale).passed
    assert run_jit(off, specs(), golden_scale, atol=0.011).passed
    assert not run_jit(off, specs(), golden_scale, atol=0.011, compare_fn={"y": exact()}).passed
    seen = {}

    def comparator(actual, expected, **run_values):
        seen.update(run_values["inputs"])
        return True, ""

    assert run_jit(off, specs(), golden_scale, compare_fn={"y": comparator}).passed
    assert set(seen) == {"x", "s"}
    assert seen["s"].dtype == torch.bfloat16


def test_quiet_and_not(capsys: pytest.CaptureFixture) -> None:
    run_jit(scale, specs(), golden_scale, quiet=True)
    assert capsys.readouterr().out == ""
    run_jit(scale, specs(), golden_scale)
    printed = capsys.readouterr().out
    assert "'y' PASS" in printed
    assert "[RUN] PASS" in printed


@pytest.mark.parametrize(
    ("runtime_cfg", "compile_cfg", "platform"),
    [
        (None, None, "default"),
        ({"platform": "a5sim"}, None, "a5sim"),
        (None, {"platform": "a5interp"}, "a5interp"),
        ({"platform": "a2a3"}, {"platform": "a5"}, "a2a3"),
        ({"platform": ""}, {}, ""),
    ],
)
def test_platform(calls: list[dict], runtime_cfg, compile_cfg, platform: str) -> None:
    run_jit(scale, specs(), runtime_cfg=runtime_cfg, compile_cfg=compile_cfg)
    assert calls[0]["platform"] == platform


def test_options_of_the_toolchain_are_accepted() -> None:
    result = run_jit(
        scale,
        specs(),
        golden_scale,
        compile_cfg={"dump_passes": True, "distributed_config": None},
        runtime_cfg={"device_id": 3, "enable_chip_swimlane": True, "log_level": "warn", "ring_heap": 1 << 20},
    )
    assert result.passed


@pytest.mark.parametrize("which", ["runtime_cfg", "compile_cfg"])
def test_unknown_options_are_refused(calls: list[dict], which: str) -> None:
    with pytest.raises(InputError, match=rf"{which}.*'platfrom'.*platform"):
        run_jit(scale, specs(), golden_scale, **{which: {"platfrom": "a5"}})
    with pytest.raises(InputError, match="platform"):
        run_jit(scale, specs(), golden_scale, **{which: {"platform": 5}})
    assert calls == []


def test_impossible_spec_lists_are_refused(calls: list[dict]) -> None:
    with pytest.raises(InputError, match="two specs are called 'x'"):
        run_jit(scale, [specs()[0], specs()[0]])
    with pytest.raises(InputError, match="str"):
        run_jit(scale, ["x"])
    with pytest.raises(InputError, match="nothing to compare"):
        run_jit(scale, specs()[:2], golden_scale)
    for given in (None, "x", {"x": specs()[0]}, torch.zeros(2)):
        with pytest.raises(InputError, match=f"must be a list of .*, not {type(given).__name__}"):
            run_jit(scale, given, golden_scale)
    assert calls == []


def test_what_is_no_function_is_refused(calls: list[dict]) -> None:
    with pytest.raises(InputError, match="golden_fn must be a function that writes the golden, not 'golden_scale'"):
        run_jit(scale, specs(), "golden_scale")
    with pytest.raises(InputError, match=r"compare_fn\['y'\] must be a comparator.*, not 'exact'"):
        run_jit(scale, specs(), golden_scale, compare_fn={"y": "exact"})
    assert calls == []
    with pytest.raises(InputError, match=r"the comparator .* returned None, not whether it passed"):
        run_jit(scale, specs(), golden_scale, compare_fn={"y": lambda *a, **named: None})


def test_what_the_platform_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kernel, args, *, platform="default", options=None, tell=None):
        raise PlatformError(f"{platform} is not installed")

    monkeypatch.setattr(sys.modules["helpers.run"], "run", refuse)
    with pytest.raises(PlatformError, match="a5 is not installed"):
        run_jit(scale, specs(), golden_scale, runtime_cfg={"platform": "a5"})


def test_check_sees_every_value_before_anything_runs(calls: list[dict]) -> None:
    seen = {}

    def check(values: dict) -> None:
        seen.update(values)
        raise InputError("not with these")

    with pytest.raises(InputError, match="not with these"):
        run_jit(scale, specs(), lambda values: pytest.fail("the golden ran"), check=check)
    assert list(seen) == ["x", "s", "state", "y"]
    assert calls == []


def test_a_golden_that_drops_an_output_is_an_error() -> None:
    with pytest.raises(InputError, match="output tensor 'y'"):
        run_jit(scale, specs(), lambda values: values.pop("y"))


def test_compile_only_computes_nothing(calls: list[dict]) -> None:
    result = run_jit(scale, specs(), golden_scale, compile_only=True)
    assert result.passed
    assert [call["dry"] for call in calls] == [True]
    assert (result.outputs, result.errors, result.trace) == ({}, {}, "the trace")
    assert not run_jit(scale, specs(), compile_only=True, runtime_dir=".").passed


def test_a_trace_only_script_makes_no_floating_point_tensors(
    monkeypatch: pytest.MonkeyPatch, calls: list[dict]
) -> None:
    monkeypatch.setattr(sys.modules["helpers.run"], "tracing", lambda: True)
    result = run_jit(scale, specs(), lambda values: pytest.fail("the golden ran"))
    assert result.passed
    assert (result.outputs, result.errors, result.trace) == ({}, {}, "the trace")
    (call,) = calls
    x, s, state, y = call["args"]
    assert call["dry"]
    assert x.is_meta
    assert y.is_meta
    assert (list(x.shape), x.dtype) == ([2, 3], torch.float32)
    assert (s, state.tolist()) == (0.10009765625, [0, 1, 2, 3])


def test_runtime_dir_must_exist(calls: list[dict], tmp_path: Path) -> None:
    result = run_jit(scale, specs(), golden_scale, runtime_dir="nowhere")
    assert not result.passed
    assert "nowhere" in result.error
    assert calls == []
    result = run_jit(scale, specs(), golden_scale, runtime_dir=str(tmp_path))
    assert result.passed
    assert result.work_dir == tmp_path


# Golden data.


def saved(tmp_path: Path) -> tuple[RunResult, Path]:
    result = run_jit(scale, specs(), golden_scale, save_data=True, compile_cfg={"output_dir": str(tmp_path / "w")})
    assert result.passed
    assert result.work_dir == tmp_path / "w"
    return result, tmp_path / "w" / "data"


def test_saved_data_is_what_went_in_and_what_should_come_out(tmp_path: Path) -> None:
    result, data = saved(tmp_path)
    files = sorted(str(file.relative_to(data)) for file in data.rglob("*") if file.is_file())
    assert files == ["in/s.pt", "in/state.pt", "in/x.pt", "out/state.pt", "out/y.pt"]
    assert torch.load(data / "in" / "state.pt").tolist() == [0, 1, 2, 3]
    assert torch.load(data / "in" / "s.pt").dtype == torch.bfloat16
    assert torch.equal(torch.load(data / "out" / "y.pt"), result.expected["y"])


def test_golden_data_replays_inputs_and_golden(calls: list[dict], tmp_path: Path) -> None:
    first, data = saved(tmp_path)
    replayed = run_jit(scale, specs(), lambda values: pytest.fail("the golden ran"), golden_data=str(data))
    assert replayed.passed
    assert torch.equal(replayed.outputs["y"], first.outputs["y"])  # inputs are random: they were loaded
    torch.save(torch.tensor(2.0, dtype=torch.bfloat16), data / "in" / "s.pt")
    replayed = run_jit(scale, specs(), golden_data=str(data))
    assert calls[-1]["args"][1] == 2.0
    assert not replayed.passed
    assert replayed.errors["y"].mismatched > 0


def test_replay_does_not_write_into_its_data(tmp_path: Path) -> None:
    _, data = saved(tmp_path)
    before = {file: file.read_bytes() for file in data.rglob("*.pt")}
    run_jit(scale, specs(), golden_data=str(data))
    assert {file: file.read_bytes() for file in data.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("in/x.pt", None, r"lacks .*in/x\.pt"),
        ("out/y.pt", None, r"lacks .*out/y\.pt"),
        ("in/x.pt", b"no tensor", r"in/x\.pt cannot be read"),
        ("in/x.pt", torch.zeros(3, 2), r"in/x\.pt holds \[3, 2\]"),
        ("in/x.pt", torch.zeros(2, 3).double(), "float64"),
        ("in/s.pt", torch.tensor(1.0), "float32"),
        ("out/y.pt", torch.zeros(2), r"out/y\.pt holds \[2\]"),
        ("out/y.pt", [1.0], "list"),
    ],
)
def test_unusable_golden_data_fails_without_running(
    calls: list[dict], tmp_path: Path, file: str, content, message: str
) -> None:
    _, data = saved(tmp_path)
    calls.clear()
    if content is None:
        (data / file).unlink()
    elif isinstance(content, bytes):
        (data / file).write_bytes(content)
    else:
        torch.save(content, data / file)
    result = run_jit(scale, specs(), golden_data=str(data))
    assert not result.passed
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result.error)
    assert calls == []


def test_a_failed_save_leaves_no_half_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, data = saved(tmp_path)
    before = (data / "in" / "x.pt").read_bytes()

    def interrupted(tensor, file) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(OSError, match="disk full"):
        saved(tmp_path)
    assert (data / "in" / "x.pt").read_bytes() == before
    assert [file.name for file in (data / "in").iterdir() if not file.name.endswith(".pt")] == []


def test_work_directories_are_new_ones_under_build_output(tmp_path: Path) -> None:
    made = {run_jit(scale, specs(), golden_scale, save_data=True).work_dir for _ in range(2)}
    assert len(made) == 2
    assert all(path.parent == Path("build_output") and path.name.startswith("scale_") for path in made)


# The interface is pypto-lib's.


def test_parameters_come_in_upstreams_order() -> None:
    shared = [
        *["specs", "golden_fn", "golden_data", "compile_cfg", "runtime_cfg", "rtol", "atol", "compare_fn"],
        *["compile_only", "runtime_dir", "save_data"],
    ]
    own = {run: {"check", "quiet"}, run_jit: {"check", "expected_fn", "quiet", "tell"}}
    for function, first in ((run, "program"), (run_jit, "fn")):
        parameters = inspect.signature(function).parameters.values()
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert positional == [first, *shared]
        assert (function.__kwdefaults__ or {}).keys() == own[function]


def test_a_golden_made_elsewhere_and_memory_that_is_written_where_it_lies() -> None:
    """`expected_fn` gives the golden; an output with `shared` is not copied, neither before the run nor for it."""
    x = torch.arange(6.0).view(2, 3)
    memory = x.clone()
    both = TensorSpec("x", [2, 3], torch.float32, is_output=True, shared=lambda: memory)
    assert both.is_input

    def twice(x) -> None:
        x *= 2.0

    result = run_jit(twice, [both], expected_fn=lambda: {"x": 2.0 * x}, quiet=True)
    assert result.passed, result.error
    assert result.outputs["x"] is memory
    assert torch.equal(memory, 2.0 * x)
    wrong = run_jit(twice, [both], expected_fn=lambda: {"x": 2.0 * x}, quiet=True)
    assert not wrong.passed  # it doubled what was there


def test_run_is_run_jit(calls: list[dict], tmp_path: Path) -> None:
    result = run(
        program=scale,
        specs=specs(),
        golden_fn=golden_scale,
        golden_data=None,
        compile_cfg={"output_dir": str(tmp_path)},
        runtime_cfg={"platform": "a5interp"},
        rtol=0.0,
        atol=0.0,
        compare_fn={"y": exact()},
        compile_only=False,
        runtime_dir=None,
        save_data=True,
        check=lambda values: None,
        quiet=True,
    )
    assert result.passed
    assert calls[0]["platform"] == "a5interp"
    assert (tmp_path / "data" / "out" / "y.pt").is_file()
    assert result.errors["y"].tolerance == "exact"
    assert result.errors["state"].tolerance == "rtol=0 atol=0"


@pytest.mark.parametrize("asked", ["a2a3", "a5sim"])
def test_a_script_that_asks_for_a_chip_or_a_simulator_is_interpreted(asked: str, tmp_path: Path):
    file = tmp_path / "double.py"
    file.write_text(
        "import sys\nimport torch\nimport pypto.language as pl\nfrom golden import TensorSpec, run_jit\n\n\n"
        "@pl.jit\ndef k(x: pl.Tensor[[16, 64], pl.FP32], y: pl.Out[pl.Tensor[[16, 64], pl.FP32]]):\n"
        "    with pl.at(level=pl.Level.CORE_GROUP):\n        y[:, :] = pl.mul(x[:, :], 2.0)\n    return y\n\n\n"
        "specs = [TensorSpec('x', [16, 64], torch.float32, init_value=torch.randn),\n"
        "         TensorSpec('y', [16, 64], torch.float32, is_output=True)]\n"
        "done = run_jit(k, specs, lambda v: v['y'].copy_(v['x'] * 2), runtime_cfg={'platform': sys.argv[1]})\n"
        "raise SystemExit(0 if done.passed else 1)\n"
    )
    command = [sys.executable, "-m", "helpers", "interpret", str(file), asked]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{asked.removesuffix('sim')}interp" in done.stdout
