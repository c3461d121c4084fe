"""Interpret mode and PyPTO itself on the same kernels. Needs PyPTO (hw-native-sys/pypto) and a C++ compiler; tests
marked `simulator` also its assembler, its runtime and g++-15."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import test_dumps as dump_cases
import torch

from helpers import chips, stages
from helpers.errors import KernelError, PlatformError
from helpers.inside import differences
from helpers.interpret.language.decorated import unwrap
from helpers.interpret.lowering import lower
from helpers.interpret.pypto import language
from helpers.run import run
from helpers.toolchain import artifacts, near, process
from helpers.toolchain.side_by_side import common, compare, outline, tasks_of

sys.path.insert(0, str(Path(__file__).parent / "interpret"))
import kernelgen
from check_cases import CHECKS, Check
from check_cases_calls import CALLS
from check_cases_in_place import IN_PLACE
from check_cases_operands import OPERANDS
from check_cases_valid import VALID
from language_cases import ACCEPTED, INTEGER_QUOTIENT, REFUSED, Arguments, Case
from plan_cases import PLANS, Plan
from test_checks import arguments as ones

pytestmark = pytest.mark.pypto

VERSIONS = [(stage, version) for stage in stages.STAGES.values() for version in stage.versions]
SIMULATORS = ("a2a3sim", "a5sim")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that an earlier run has compiled counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
    process.stop()


def title(value: object) -> str:
    return value[0].name + "-" + value[1] if isinstance(value, tuple) else str(value)


def test_the_language_is_pypto_and_not_the_stand_in():
    assert not language.is_stand_in()


@pytest.mark.parametrize("version", ["naive", "per_sequence", "flat"])
def test_a_stage_runs_unchanged(version: str):
    stage = stages.find("rope_kv_cache")
    kernel = stage.versions[version]
    assert not isinstance(kernel, language.JitFunction)
    assert unwrap(kernel)[1] == "entry"
    result = stages.run_stage(stage, version, platform="a2a3interp", batch=2, ctx=[5, 130], seed=0)
    assert result.passed, result.error


@pytest.mark.parametrize("which", VERSIONS, ids=title)
@pytest.mark.parametrize("platform", SIMULATORS)
def test_every_kernel_compiles_for_both_chips(platform: str, which: tuple):
    stage, version = which
    compiled = near.compile_kernel(stage.versions[version], platform)
    assert {u.name for u in compiled.units}
    for buffer, used in compiled.peaks().items():
        assert used <= chips.chip(platform.removesuffix("sim")).buffers[buffer]
    folder = Path(unwrap(stage.versions[version])[0].__code__.co_filename).parent  # some are put together from stages
    assert all(unit.place is not None and Path(unit.place.file).parent == folder for unit in compiled.units)


@pytest.mark.parametrize("which", VERSIONS, ids=title)
@pytest.mark.parametrize("platform", SIMULATORS)
def test_the_compiler_launches_the_same_tasks(platform: str, which: tuple):
    stage, version = which
    values = {spec.name: outline(spec) for spec in stage.specs(batch=2)}
    theirs, _ = tasks_of(near.replay(stage.versions[version], values, platform))
    ours, _ = tasks_of(stages.trace_stage(stage, version, chip=platform.removesuffix("sim"), batch=2))
    assert theirs == ours


@pytest.mark.parametrize("case", PLANS, ids=lambda c: c.title)
@pytest.mark.parametrize("platform", SIMULATORS)
def test_the_compiler_plans_what_the_cases_say(platform: str, case: Plan):
    peaks = near.compile_kernel(kernelgen.kernel(case.source()), platform).peaks()
    assert {b: peaks[b] for b in case.bytes} == case.on(platform.removesuffix("sim"))


# Tasks of which a dry run sees a part only: the work of the cube hangs on values that another task computes.
IN_PART = {("decode_layer", "attention"), ("decode", "attention")}


@pytest.mark.parametrize("which", VERSIONS, ids=title)
@pytest.mark.parametrize("platform", SIMULATORS)
def test_on_chip_peaks_are_those_of_the_compilers_plan(platform: str, which: tuple):
    stage, version = which
    how = {"ctx": [5, 300]} if stage.name in ("flash_attention", "decode_layer", "decode") else {}
    batch = min(2, stage.batch)
    trace = stages.trace_stage(stage, version, chip=platform.removesuffix("sim"), batch=batch, **how)
    ours: dict[str, dict[str, int]] = {}
    for d in trace.dispatches:
        for part in d.parts:
            for buffer, n in part.chunk.peaks.items():
                known = ours.setdefault(d.name, {})
                known[buffer] = max(known.get(buffer, 0), n)
    theirs: dict[str, dict[str, int]] = {}
    for unit in near.compile_kernel(stage.versions[version], platform).units:
        name = common(re.sub(r"_ai[cv]$", "", unit.name), set(ours))
        for buffer, n in unit.peaks().items():
            known = theirs.setdefault(name, {})
            known[buffer] = max(known.get(buffer, 0), n)
    for name, peaks in ours.items():
        if (stage.name, name) in IN_PART and version == "fused":
            continue
        for buffer in ("UB", "L1"):
            assert abs(peaks.get(buffer, 0) - theirs.get(name, {}).get(buffer, 0)) <= 128, (name, buffer)


@pytest.mark.parametrize(
    ("stage", "version"),
    [
        ("rope_kv_cache", "naive"), ("flash_attention", "separate"), ("flash_attention", "fused"), ("lm_head", "wide"),
        ("qkv_proj", "split_k"), ("decode_layer", "naive"),
    ],
)  # fmt: skip
def test_compare_has_nothing_unexplained(stage: str, version: str):
    found = compare(stages.find(stage), version, ["a2a3interp", "a2a3sim"], batch=2, ctx=[5, 130])
    assert found.agrees, found.differences
    assert found.sides[0].passed
    assert sum(found.sides[1].tasks.values()) > 0


@pytest.mark.simulator
@pytest.mark.timeout(3600)  # 9 minutes for the longest, on two cores that do nothing else
@pytest.mark.parametrize("which", VERSIONS, ids=title)
@pytest.mark.parametrize("platform", SIMULATORS)
def test_every_version_matches_its_golden_on_the_simulator(platform: str, which: tuple):
    stage, version = which
    if artifacts.has_barrier(near.compile_kernel(stage.versions[version], platform).folder):
        with pytest.raises(PlatformError, match="has a barrier between cores"):
            stages.run_stage(stage, version, platform=platform, batch=2, seed=1)
        return
    result = stages.run_stage(stage, version, platform=platform, batch=2, seed=1)
    assert result.passed, result.error
    assert result.trace.tasks > 0


def arguments(kernel: object) -> dict:
    given = Arguments.new()
    known = {f.name: getattr(given, f.name) for f in fields(given)}
    return {n: known[n] for n in unwrap(kernel)[0].__annotations__ if n in known}


# Taken by the compiler when numbers are left to run time, and not when they are compiled in, as PyPTO's own call does.
TAKEN = {"keyword-only parameter", "a parameter as FP32", "z = n > 1", "z = m > 1", "z = not (f > 0.5)"}
# Taken, and not what Python means by it: a return that has no effect, a quotient that is cut to an integer.
ANOTHER_MEANING = ("a return before the end", INTEGER_QUOTIENT)
# Another process does not find a kernel that a function defines.
NOT_FOUND = {"kernel in a function"}


@pytest.mark.parametrize(
    "case",
    [c for c in REFUSED if c.title not in TAKEN and not c.title.startswith(ANOTHER_MEANING)],
    ids=lambda c: c.title,
)
def test_what_interpret_mode_refuses_the_compiler_refuses(case: Case):
    try:
        kernel = kernelgen.module(case.source()).k
    except Exception:
        return  # refused when it is decorated
    try:
        compiled = near.compile_kernel(kernel, "a2a3sim", arguments(kernel))
    except KernelError:
        return
    assert case.title.startswith("assembled: "), "the compiler takes it"
    assert not compiled.assembled, "the assembler takes it"


@pytest.mark.parametrize("case", [c for c in ACCEPTED if c.title not in NOT_FOUND], ids=lambda c: c.title)
def test_what_interpret_mode_takes_the_compiler_takes(case: Case):
    kernel = kernelgen.module(case.source()).k
    near.compile_kernel(kernel, "a2a3sim", arguments(kernel))


@pytest.mark.parametrize("case", CHECKS + OPERANDS + IN_PLACE + CALLS + VALID, ids=lambda c: c.title)
@pytest.mark.parametrize("platform", SIMULATORS)
def test_what_the_checks_say_the_compiler_says(platform: str, case: Check):
    kernel = kernelgen.module(case.source()).k
    refused = "#!" in case.body and platform.removesuffix("sim") in case.chips
    try:
        compiled = near.compile_kernel(kernel, platform, ones(kernel))
    except KernelError:
        assert refused
        return
    assert not refused or not compiled.assembled, "it takes it"


@pytest.mark.parametrize("source", [dump_cases.SOURCE, dump_cases.ROLES], ids=["marks", "roles"])
def test_dumps_have_roles_and_marks_as_the_compiler_generates_them(source: str):
    """The arguments of each task in order, what it does with them, and which of them are dumped at level 1."""
    kernel = kernelgen.kernel(source)
    args = [torch.randn(128, 128) for _ in lower.signature(kernel).parameters]
    folder = near.compile_kernel(kernel, "a2a3sim", args).folder
    (orchestration,) = (folder / "orchestration").glob("*.cpp")
    text = orchestration.read_text()
    numbers = sorted(set(map(int, re.findall(r"params_t(\d+)\.add_", text))))
    added = [re.findall(rf"params_t{n}\.add_(input|output|inout)\((\w+)\)", text) for n in numbers]
    tasks = list(zip(added, (re.findall(rf"params_t{n}\.dump\((.*)\);", text) for n in numbers)))
    full, marked = (
        run(kernel, [a.clone() for a in args], platform="a2a3interp", options={"enable_dump_args": level}).dumps
        for level in (2, 1)
    )
    names = list(dict.fromkeys(d.name for d in full))
    assert len(names) == len(tasks)
    for name, (arguments, dumped) in zip(names, tasks):
        first = next(d.task for d in full if d.name == name)
        ours = {d.index: d.role for d in full if d.task == first}
        assert [role for _, role in sorted(ours.items())] == [role for role, _ in arguments]
        places = {argument: i for i, (_, argument) in enumerate(arguments)}
        theirs = {places[a] for a in (dumped[0].split(", ") if dumped else ())}
        assert {d.index for d in marked if d.task == first} == theirs


@pytest.mark.simulator
@pytest.mark.parametrize("source", [dump_cases.SOURCE, dump_cases.ROLES], ids=["marks", "roles"])
@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("platform", ["a2a3sim"])  # on A5 the runtime's values are not to be trusted, simpler 1560
def test_a_simulator_dumps_the_same(platform: str, source: str, level: int):
    """The same arguments at the same moments, with the same values where a task reads or writes them."""
    kernel = kernelgen.kernel(source)
    args = [torch.randn(128, 128) for _ in lower.signature(kernel).parameters]
    options = {"enable_dump_args": level}
    ours = run(kernel, [a.clone() for a in args], platform="a2a3interp", options=options)
    theirs = run(kernel, args, platform=platform, options=options).dumps
    assert [(d.task, d.name, d.index, d.role, d.stage, d.shape, d.dtype) for d in ours.dumps] == [
        (d.task, d.name, d.index, d.role, d.stage, d.shape, d.dtype) for d in theirs if d.value is None
    ]
    assert differences(ours.trace, ours.dumps, theirs) == []


def test_the_page_of_the_language_has_every_name():
    import pypto.language as pl

    from helpers.interpret.pypto import language_pages

    assert set(pl.__all__) == language_pages.listed()
