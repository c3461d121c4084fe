"""Running a kernel on tensors made from its specs, and comparing what it wrote with a golden."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from golden.compare import (
    Comparator,
    OutputError,
    Seal,
    broken,
    compare_outputs,
    failure_text,
    first_difference,
    seal,
)
from golden.spec import ScalarSpec, TensorSpec
from golden.twins import twins
from helpers.errors import InputError, shown

Spec = TensorSpec | ScalarSpec
Values = dict[str, Any]

# Options of PyPTO's runtime and compiler. `platform` and `output_dir` mean something here; the others go to PyPTO's
# RunConfig on its platforms. They steer device, code generation or what is recorded, none of which changes a result,
# and interpret mode, which always records a trace, has no use for them.
_SHARED_OPTIONS = """
    platform device_id backend_type distributed_config aicpu_thread_num analyze_auto_scopes_for_deps
    enable_chip_swimlane enable_l2_swimlane enable_dump_args enable_pmu enable_dep_gen enable_scope_stats
    ring_task_window ring_heap ring_dep_pool
"""
_RUNTIME_OPTIONS = frozenset((_SHARED_OPTIONS + "log_level level dfx dump_tasks").split())
_COMPILE_OPTIONS = frozenset(
    (
        _SHARED_OPTIONS
        + """
    output_dir strategy runtime memory_planner enable_pypto_l0c_double_buffer codegen_only skip_ptoas
    dump_passes dump_ptoas_passes save_kernels save_kernels_dir golden_data_dir emit_source_loc
    profiling compile_profiling verification_level diagnostic_phase disabled_diagnostics
"""
    ).split()
)

_LARGE = 1 << 27  # bytes: the weights of a few projections are copied, those of an LM head are not


@dataclass
class RunResult:
    """What came of a run.

    Attributes:
        passed: The kernel ran, every output matched its golden (if there was one), no input was modified.
        error: What was wrong, None if nothing was.
        execution_time: Seconds of the whole call: inputs, kernel, golden, comparison.
        work_dir: Directory the tensors were saved in, or the `runtime_dir` given; None without either.
        bench: Timings of repeated launches on a device; always None in interpret mode.
        platform: The platform it ran on; None if it did not run.
        errors: Error statistics of each output that has a golden.
        outputs: What the kernel wrote, by name.
        expected: The golden, by name; empty without one.
        trace: What the kernel did, task by task, where the platform records it.
        seconds: Seconds of the kernel alone.
        notes: Which files have changed since the kernel was loaded from them, and it ran as it was then; which
            parameters it writes that are declared as inputs.
        dumps: Values of tasks' arguments, where runtime_cfg has enable_dump_args: see `helpers.interpret.dumps`. With
            an output_dir they are written there, too, under dfx_outputs.
    """

    passed: bool
    error: str | None = None
    execution_time: float | None = None
    work_dir: Path | None = None
    bench: Any = None
    platform: str | None = None
    errors: dict[str, OutputError] = field(default_factory=dict)
    outputs: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)
    expected: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)
    trace: Any = field(default=None, repr=False)
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    dumps: Any = field(default=(), repr=False)

    @property
    def max_abs(self) -> float | None:
        """Largest absolute error of the outputs; of floating-point ones where there are any, for of a table or a chosen
        token a difference says nothing. None without a golden."""
        return max((e.max_abs for e in self._measured()), default=None)

    @property
    def max_rel(self) -> float | None:
        """Largest relative error, of the same outputs."""
        return max((e.max_rel for e in self._measured()), default=None)

    def _measured(self) -> list[OutputError]:
        floating = [e for name, e in self.errors.items() if self.outputs[name].is_floating_point()]
        return floating or list(self.errors.values())

    def __str__(self) -> str:
        took = "" if self.execution_time is None else f" ({self.execution_time:.2f}s)"
        verdict = "PASS" if self.passed else f"FAIL: {self.error}" if self.error else "FAIL"
        return "\n".join([f"{verdict}{took}", *(f"note: {note}" for note in self.notes)])


def run_jit(
    fn: Any,
    specs: list[Spec],
    golden_fn: Callable[[Values], Any] | None = None,
    golden_data: str | None = None,
    compile_cfg: dict[str, Any] | None = None,
    runtime_cfg: dict[str, Any] | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    compare_fn: dict[str, Comparator] | None = None,
    compile_only: bool = False,
    runtime_dir: str | None = None,
    save_data: bool = False,
    *,
    check: Callable[[Values], Any] | None = None,
    expected_fn: Callable[[], Values] | None = None,
    quiet: bool = False,
    tell: Callable[[int], None] | None = None,
) -> RunResult:
    """Run a `@pl.jit` kernel on tensors made from `specs` and compare its outputs with a golden.

    Args:
        fn: The kernel.
        specs: One spec for each parameter of the kernel, in their order.
        golden_fn: Gets a dict with every value by name (tensors of its own, Python scalars) and writes the
            outputs into it, in place. Its inputs are what the kernel's were before the run. Inputs of more than
            128 MiB and those of a spec with `shared` are the kernel's own memory, which golden_fn must not write
            either.
        golden_data: Directory with in/NAME.pt for inputs and scalars and out/NAME.pt for outputs; nothing is
            generated then and `golden_fn` is not called. With neither, nothing is compared.
        compile_cfg: Options of PyPTO's compiler. Used here: `output_dir`, and `platform` if runtime_cfg has
            none.
        runtime_cfg: Options of PyPTO's runtime. Used here: `platform` ("default" if there is none).
        rtol, atol: Tolerance, |actual - expected| <= atol + rtol * |expected|.
        compare_fn: Comparators by output, see golden.compare.
        compile_only: Compute nothing and compare nothing: interpret mode checks the kernel and follows its
            control flow, which leaves a trace.
        runtime_dir: Directory of an earlier compilation. Interpret mode compiles nothing and reuses nothing.
        save_data: Save inputs under data/in and golden under data/out of the work directory (output_dir, else
            runtime_dir, else a new directory under build_output), for a later run with `golden_data`.
        check: Called with every value by name before anything runs; raises if the values cannot be run.
        expected_fn: Called in place of golden_fn, after the kernel, with nothing: gives the golden of every output by
            name, for values that are made elsewhere. Nothing is copied for it.
        quiet: Print nothing.
        tell: Called while the kernel runs, see helpers.run.run.

    Returns:
        RunResult. A wrong result, a modified input and unusable golden data are failed results.

    Raises:
        InputError: options, specs or input values that cannot be right.
        WorkbookError: whatever else kept the kernel from running to its end.
        Exception: what golden_fn, check or an init_value raises.
    """
    from helpers.run import compared as tell_script
    from helpers.run import records_writes, scripted, tracing
    from helpers.run import run as run_kernel  # here, so that golden can be imported without the interpreter

    start = time.perf_counter()
    compile_cfg, runtime_cfg = compile_cfg or {}, runtime_cfg or {}
    _check_options("runtime_cfg", runtime_cfg, _RUNTIME_OPTIONS)
    _check_options("compile_cfg", compile_cfg, _COMPILE_OPTIONS)
    _check_specs(specs)
    if golden_fn is not None and not callable(golden_fn):
        raise InputError(f"golden_fn must be a function that writes the golden, not {golden_fn!r}")
    for name, comparator in (compare_fn or {}).items():
        if not callable(comparator):
            raise InputError(f"compare_fn[{name!r}] must be a comparator, see golden.comparators, not {comparator!r}")
    _check_names(fn, [spec.name for spec in specs])
    platforms = (runtime_cfg.get("platform"), compile_cfg.get("platform"), "default")
    platform = next(name for name in platforms if name is not None)
    tensor_specs = [spec for spec in specs if isinstance(spec, TensorSpec)]
    compared = any(given is not None for given in (golden_fn, golden_data, expected_fn))
    if compared and not any(spec.is_output for spec in tensor_specs):
        raise InputError("no spec has is_output=True: there is nothing to compare with the golden")
    result = RunResult(passed=False, work_dir=None if runtime_dir is None else Path(runtime_dir))

    def log(line: str) -> None:
        if not quiet:
            print(line, flush=True)

    def finish(error: str | None, note: str = "") -> RunResult:
        result.passed, result.error = error is None, error
        result.execution_time = time.perf_counter() - start
        log(f"[RUN] {'PASS' if result.passed else 'FAIL'} ({result.execution_time:.2f}s{note})")
        return result

    if compile_only and runtime_dir is not None:
        return finish("compile_only and runtime_dir exclude each other: one compiles, the other skips it")
    if runtime_dir is not None and not Path(runtime_dir).is_dir():
        return finish(f"there is no runtime_dir {runtime_dir}")

    if tracing():
        make = {spec.name: spec.create_tensor for spec in tensor_specs}
        ran = run_kernel(fn, [_outline(spec) for spec in specs], platform=platform, dry=True, make=make)
        result.platform, result.trace, result.notes = ran.platform, ran.trace, ran.notes
        return finish(None, ", trace only: nothing computed or compared")

    # What goes in.
    try:
        shared: Values = {}  # the golden's side of large inputs of a script, which may write what it calls an input
        made = _make_values(specs, shared if scripted() else None) if golden_data is None else None
        values = _load_values(specs, Path(golden_data)) if made is None else made
        expected = {} if golden_data is None else _load_expected(tensor_specs, Path(golden_data))
    except _DataError as problem:
        return finish(str(problem))
    if check is not None:
        check(values)

    args = [values[spec.name] for spec in specs]
    if compile_only:
        ran = run_kernel(fn, args, platform=platform, dry=True)
        result.platform, result.trace, result.notes = ran.platform, ran.trace, ran.notes
        return finish(None, ", compile only: nothing computed or compared")

    # What went in: for the golden to work on, and to see that inputs stay as they are.
    copied = save_data or scripted()
    traced = not copied and records_writes(fn, platform)
    one_memory = [] if copied else _of_one_memory(tensor_specs, values, traced)
    sealed = {name: None if traced else seal(values[name]) for name in one_memory}
    by_golden = golden_fn is not None and golden_data is None and expected_fn is None
    outputs = save_data or by_golden
    before = _copies(specs, values, sealed, shared, outputs=outputs)

    ran = run_kernel(fn, args, platform=platform, options={**compile_cfg, **runtime_cfg}, tell=tell)
    result.platform, result.seconds, result.trace, result.notes = ran.platform, ran.seconds, ran.trace, ran.notes
    result.dumps = ran.dumps
    if ran.dumps and compile_cfg.get("output_dir") is not None:
        log(f"[RUN] args_dump written to {ran.dumps.write(Path(compile_cfg['output_dir']) / 'dfx_outputs')}")
    result.outputs = {spec.name: values[spec.name] for spec in tensor_specs if spec.is_output}
    log(f"[RUN] kernel ran on {ran.platform} ({ran.seconds:.3f}s)")
    if os.environ.get("PYPTO_BENCH", "") not in ("", "0", "false", "False"):
        log("[RUN] PYPTO_BENCH is set, but there are no device timings to take on this platform")

    problems = _modified_inputs(tensor_specs, before, sealed, values, result.trace)
    if scripted():  # upstream's harness does not look at inputs, and its scripts mark few of the caches they write
        for problem in problems:
            log(f"[RUN] note: {problem}")
        problems = []
    if save_data:
        result.work_dir = _work_dir(fn, compile_cfg, runtime_dir)
        _save(result.work_dir / "data" / "in", _saved_inputs(specs, before))
    if expected_fn is not None:
        expected = _golden_outputs(tensor_specs, expected_fn())
    elif by_golden:
        golden_fn(before)
        expected = _golden_outputs(tensor_specs, before)
        if save_data:
            _save(result.work_dir / "data" / "out", expected)
    result.expected = expected

    if compared:
        inputs = {spec.name: values[spec.name] for spec in tensor_specs if not spec.is_output}
        inputs |= {spec.name: _scalar(spec, values) for spec in specs if isinstance(spec, ScalarSpec)}
        tell_script(result.outputs, expected, inputs, rtol, atol, compare_fn)
        result.errors, failures = compare_outputs(result.outputs, expected, rtol, atol, compare_fn, inputs, log=log)
        if failures:
            problems.append(failure_text(failures))
    note = "" if compared else ", nothing compared: no golden_fn or golden_data"
    return finish("\n".join(problems) or None, note)


def run(
    program: Any,
    specs: list[Spec],
    golden_fn: Callable[[Values], Any] | None = None,
    golden_data: str | None = None,
    compile_cfg: dict[str, Any] | None = None,
    runtime_cfg: dict[str, Any] | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    compare_fn: dict[str, Comparator] | None = None,
    compile_only: bool = False,
    runtime_dir: str | None = None,
    save_data: bool = False,
    *,
    check: Callable[[Values], Any] | None = None,
    quiet: bool = False,
) -> RunResult:
    """`run_jit` for a `@pl.program`; same parameters, same result."""
    return run_jit(
        program, specs, golden_fn, golden_data, compile_cfg, runtime_cfg, rtol, atol, compare_fn, compile_only,
        runtime_dir, save_data, check=check, quiet=quiet,
    )  # fmt: skip


class _DataError(Exception):
    """A golden-data directory that cannot be used."""


def _check_options(what: str, options: dict[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(set(options) - known)
    if unknown:
        raise InputError(f"{what} has no option {', '.join(map(repr, unknown))}; it has {', '.join(sorted(known))}")
    platform = options.get("platform")
    if platform is not None and not isinstance(platform, str):
        raise InputError(f"{what}['platform'] must be a platform's name, not {platform!r}")


def _check_specs(specs: Iterable[Spec]) -> None:
    if not isinstance(specs, Sequence) or isinstance(specs, str):
        raise InputError(f"specs must be a list of TensorSpec and ScalarSpec, not {type(specs).__name__}")
    seen: set[str] = set()
    for spec in specs:
        if not isinstance(spec, (TensorSpec, ScalarSpec)):
            raise InputError(f"specs must hold TensorSpec and ScalarSpec, not {type(spec).__name__}")
        if spec.name in seen:
            raise InputError(f"two specs are called '{spec.name}'")
        seen.add(spec.name)


def _check_names(kernel: Any, given: list[str]) -> None:
    """Specs are passed by position, and the golden gets their values by name: the two must agree."""
    from helpers.run import parameters

    wanted = parameters(kernel)
    if wanted is None or given == wanted[: len(given)]:  # too few: said where they are bound
        return
    takes = f"kernel '{getattr(kernel, '__name__', kernel)}' takes ({', '.join(wanted)})"
    unknown, left = [n for n in given if n not in wanted], [n for n in wanted if n not in given]
    if unknown:
        lack = f", and no spec is called {', '.join(left)}" if left else ""
        raise InputError(f"{takes}: no parameter is called {', '.join(unknown)}{lack}")
    raise InputError(f"{takes}: the specs must be in that order, for they are passed by it; not ({', '.join(given)})")


def _outline(spec: Spec) -> Any:
    """A value for a run without arithmetic: numbers and integer tensors as they are, others without memory."""
    if isinstance(spec, ScalarSpec):
        return spec.to_python()
    if spec.dtype.is_floating_point:
        return torch.empty(spec.shape, dtype=spec.dtype, device="meta")
    return spec.create_tensor()


def _make_values(specs: Iterable[Spec], shared: Values | None = None) -> Values:
    """The values of a run; with `shared`, large inputs are one of twins each, and the other one goes there."""
    values: Values = {}
    for s in specs:
        value = s.create_tensor() if isinstance(s, TensorSpec) else s.to_python()
        if shared is not None and isinstance(s, TensorSpec) and not s.is_output and value.nbytes > _LARGE:
            value, shared[s.name] = twins(value)
        values[s.name] = value
    return values


def _of_one_memory(specs: Iterable[TensorSpec], values: Values, traced: bool) -> list[str]:
    """Inputs of which golden and kernel get the same memory: large ones, and shared ones if writes are traced."""
    inputs = [spec for spec in specs if not spec.is_output]
    return [s.name for s in inputs if values[s.name].nbytes > _LARGE or (traced and s.shared is not None)]


def _copies(specs: Iterable[Spec], values: Values, sealed: Collection[str], shared: Values, *, outputs: bool) -> Values:
    """The values, tensors copied but for those sealed or shared; without the output tensors unless `outputs`."""
    copied = {}
    for spec in specs:
        value = values[spec.name]
        if isinstance(spec, ScalarSpec) or spec.name in sealed:
            copied[spec.name] = value
        elif spec.name in shared:
            copied[spec.name] = shared[spec.name]
        elif outputs or not spec.is_output:
            copied[spec.name] = value.clone()
    return copied


def _scalar(spec: ScalarSpec, values: Values) -> torch.Tensor:
    """The scalar of this run as a 0-dim tensor: golden data may hold another value than the spec."""
    return torch.tensor(values[spec.name], dtype=spec.dtype)


def _modified_inputs(
    specs: Iterable[TensorSpec], before: Values, sealed: dict[str, Seal | None], after: Values, trace: Any
) -> list[str]:
    """What to say of each input that the run changed. Of those without a seal the trace says which it wrote."""
    problems = []
    unsealed = [name for name, found in sealed.items() if found is None]
    written = trace.written(unsealed) if unsealed else {}
    for spec in specs:
        if spec.is_output:
            continue
        if spec.name in unsealed:
            place = written.get(spec.name)
            found = place and f"{shown(place.file)}:{place.line} writes it"
        elif spec.name in sealed:
            found = broken(after[spec.name], sealed[spec.name])
        else:
            difference = first_difference(after[spec.name], before[spec.name])
            found = (
                difference and f"{difference[0]} of {after[spec.name].numel()} elements, the first at {difference[1]}"
            )
        if found:
            problems.append(
                f"the kernel modified its input '{spec.name}': {found} "
                "(a tensor it is meant to write needs is_output=True)"
            )
    return problems


def _golden_outputs(specs: Iterable[TensorSpec], values: Values) -> dict[str, torch.Tensor]:
    outputs = {spec.name: values.get(spec.name) for spec in specs if spec.is_output}
    for name, tensor in outputs.items():
        if not isinstance(tensor, torch.Tensor):
            raise InputError(f"golden_fn left a {type(tensor).__name__} in place of output tensor '{name}'")
    return outputs


# Golden data on disk.


def _work_dir(kernel: Any, compile_cfg: dict[str, Any], runtime_dir: str | None) -> Path:
    given = compile_cfg.get("output_dir") or runtime_dir
    if given is not None:
        return Path(given)
    name = getattr(kernel, "__name__", type(kernel).__name__)
    return Path("build_output") / f"{name}_{datetime.now():%Y%m%d_%H%M%S_%f}"


def _saved_inputs(specs: Iterable[Spec], before: Values) -> dict[str, torch.Tensor]:
    """What belongs in data/in: scalars and every tensor that is read, as they were before the run."""
    kept: dict[str, torch.Tensor] = {}
    for spec in specs:
        if isinstance(spec, ScalarSpec):
            kept[spec.name] = _scalar(spec, before)
        elif spec.is_input:
            kept[spec.name] = before[spec.name]
    return kept


def _save(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write NAME.pt for each tensor; a file is there whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, tensor in tensors.items():
        unfinished = directory / f".{name}.pt.{os.getpid()}"
        try:
            torch.save(tensor, unfinished)
            os.replace(unfinished, directory / f"{name}.pt")
        finally:
            unfinished.unlink(missing_ok=True)


def _load_values(specs: Iterable[Spec], directory: Path) -> Values:
    missing = [str(file) for file in _files(specs, directory) if not file.is_file()]
    if missing:
        raise _DataError(f"golden_data lacks {', '.join(missing)}")
    values: Values = {}
    for spec in specs:
        if isinstance(spec, TensorSpec) and not spec.is_input:
            values[spec.name] = spec.create_tensor()
            continue
        shape = [] if isinstance(spec, ScalarSpec) else list(spec.shape)
        loaded = _load(directory / "in" / f"{spec.name}.pt", shape, spec.dtype)
        values[spec.name] = loaded.item() if isinstance(spec, ScalarSpec) else loaded
    return values


def _load_expected(specs: Iterable[TensorSpec], directory: Path) -> dict[str, torch.Tensor]:
    outputs = [spec for spec in specs if spec.is_output]
    return {s.name: _load(directory / "out" / f"{s.name}.pt", list(s.shape), None) for s in outputs}


def _files(specs: Iterable[Spec], directory: Path) -> list[Path]:
    """The files that golden data for these specs consists of."""
    files = []
    for spec in specs:
        if isinstance(spec, ScalarSpec) or spec.is_input:
            files.append(directory / "in" / f"{spec.name}.pt")
        if isinstance(spec, TensorSpec) and spec.is_output:
            files.append(directory / "out" / f"{spec.name}.pt")
    return files


def _load(file: Path, shape: list[int], dtype: torch.dtype | None) -> torch.Tensor:
    """The tensor in `file`, which must have this shape and, unless None, dtype."""
    try:
        tensor = torch.load(file, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as problem:
        raise _DataError(f"golden_data file {file} cannot be read: {problem}") from problem
    if not isinstance(tensor, torch.Tensor):
        raise _DataError(f"golden_data file {file} holds a {type(tensor).__name__}, not a tensor")
    if list(tensor.shape) != shape or (dtype is not None and tensor.dtype != dtype):
        wanted = f"{shape} {dtype}" if dtype is not None else f"{shape}"
        raise _DataError(f"golden_data file {file} holds {list(tensor.shape)} {tensor.dtype}, the spec says {wanted}")
    return tensor
