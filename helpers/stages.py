"""The stages of the decoder: for each its notebook, its ladder of kernels, its golden. And how to run one.

A stage is one record, STAGE, in its golden's file. It is read without importing that: to list stages takes neither
torch nor a kernel. What runs a stage is imported when one is run.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from helpers.errors import InputError, KernelError, shown
from kernels.qwen3 import BATCH, MAX_CTX

if TYPE_CHECKING:
    import torch

    from golden.runner import RunResult
    from golden.weights import Checkpoint
    from helpers.interpret.trace.trace import Trace


@dataclass(frozen=True)
class Late:
    """What a module has, looked up whenever it is asked for: a module that is loaded again has something else."""

    module: str
    pick: Callable[[ModuleType], Any]
    names: tuple[str, ...] = ()  # of what it picks, where that has names
    folder: str = ""  # that has the module, where that is none of Python's

    def now(self) -> Any:
        if self.folder and self.folder not in sys.path:
            sys.path.append(self.folder)
        return self.pick(importlib.import_module(self.module))


@dataclass(frozen=True)
class Knob:
    """A constant that may be changed: its name (see `tuning.tuned`), what it is, the values that keep results right."""

    name: str
    title: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """One stage of the decoder. Its kernels and its golden are those that their modules have when they are asked for.

    Attributes:
        name: As typed on the command line; also the name of its modules in kernels and golden (mlp_32b: mlp).
        title: One line for people.
        notebook: Stem of its file in notebooks/.
        versions: Its kernels, by name, naive to fused; all have the same parameters.
        specs: `specs(batch=, ctx=, seed=)` gives a run's TensorSpecs and ScalarSpecs, in parameter order.
        reference: Writes the golden into a dict of values.
        check: Raises InputError for values that the stage cannot be run on.
        tolerance: What the comparison allows; has rtol and atol, and reads well as text.
        compare_fn: The comparator of each output that needs one of its own.
        batch: Sequences of a run that does not say how many; None: it has no number of them.
        longest: The largest `ctx`, in tokens.
        small: Arguments of `specs` for a run that takes little: what is tried first at each save.
        context: Sequences have lengths, which `specs` takes as `ctx`.
        tiles: The constants of each version that may be changed.
        order: Where it stands among the others.
        changes: Of a version, what it changes of the one before, see `records`.
    """

    name: str
    title: str
    notebook: str | None
    versions: dict[str, Any]
    specs: Callable[..., list]
    reference: Callable[[dict[str, Any]], None]
    check: Callable[[dict[str, Any]], None]
    tolerance: Any
    compare_fn: dict[str, Callable] = field(default_factory=dict)
    batch: int | None = BATCH
    longest: int = MAX_CTX
    small: dict[str, Any] = field(default_factory=dict)
    context: bool = True
    tiles: dict[str, tuple[Knob, ...]] = field(default_factory=dict)
    order: float = math.inf
    changes: dict[str, dict[str, tuple]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its versions, without looking at them."""
        versions = object.__getattribute__(self, "versions")
        return versions.names if isinstance(versions, Late) else tuple(versions)

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        return value.now() if isinstance(value, Late) else value


def _kernels(module: str, names: tuple[str, ...], folder: str) -> Late:
    """Kernels of a module, by name, naive to fused."""
    return Late(module, lambda m: {n: _kernel(m, n) for n in names}, names, folder)


def _kernel(module: ModuleType, name: str) -> Any:
    if not hasattr(module, name):
        raise KernelError(f"{module.__name__} has no kernel '{name}' since it was loaded again; a stage has it")
    return getattr(module, name)


# ---- records


_GOLDENS = Path(__file__).parents[1] / "golden"
_KEYS = "name order title notebook kernels versions specs tolerance context batch longest small changes".split()


def records(file: Path) -> list[dict[str, Any]]:
    """The records of a golden's file: its STAGE, a dict or several, as it is written there. Nothing is imported.

    Of several, the later ones have what the first one says and they do not.

        name       as typed on the command line; the golden's name if it is not said
        order      where it stands among the others
        title      one line for people
        notebook   stem of its file in notebooks/
        kernels    the module of its kernels; the golden's own name in kernels/, or beside it
        versions   its kernels, naive to fused, each with the constants that may be changed:
                   {"WIDE_N": ("columns of a block", (64, 128, 256))}; "mlp.WIDE_N": "mixed" is as stage mlp's mixed has
                   WIDE_N. The values divide the widths of the stage's tensors
        specs      arguments of the golden's specs()
        tolerance  the golden's name for it; TOLERANCE if it is not said
        context    False: no sequence has a length
        batch, longest, small: see Stage
        changes    of a version, what it changes of the one before, one thing at a time: for each, by its name, how to
                   make it in the version before, and how to undo it in this one, as constants; "stages" stands for the
                   stages of loops that load: {"mixed": {"wide tiles": ({"TILE_N": 256}, {"WIDE_N": 64})}}. None in
                   place of one: it cannot be done alone there

    A text with dots stands for a module's constant: "kernels.qwen3_32b.HIDDEN".

    Raises:
        InputError: it cannot be read; says where.
    """
    text = file.read_text(encoding="utf-8")
    if "\nSTAGE = " not in text:
        return []
    try:
        found = [n for n in ast.parse(text).body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "STAGE"]
        line = found[-1].lineno if found else 1
        given = ast.literal_eval(found[-1].value) if found else ()
    except SyntaxError as error:
        raise InputError(f"{shown(str(file))}:{error.lineno}: SyntaxError: {error.msg}") from None
    except ValueError:
        raise InputError(f"{shown(str(file))}:{line}: STAGE must be plain data: text, numbers, dicts, tuples") from None
    parts = [given] if isinstance(given, dict) else list(given)
    for part in parts:
        wrong = [str(k) for k in part if k not in _KEYS] if isinstance(part, dict) else [repr(part)]
        if wrong or not isinstance({**parts[0], **part}.get("versions"), dict):
            what = f"knows no {', '.join(wrong)}" if wrong else 'has no "versions", a dict of kernels'
            raise InputError(f"{shown(str(file))}:{line}: STAGE {what}; it may have: {', '.join(_KEYS)}")
    return [{**parts[0], **part} for part in parts]


def _stage(file: Path, record: dict[str, Any], package: str) -> Stage:
    """The stage of a record; `package` "" for one beside its kernels, in a folder of its own."""
    own = file.stem if package else file.stem.removesuffix("_golden")
    golden, folder = f"{package}{file.stem}", "" if package else str(file.parent)
    kernels = record.get("kernels", f"kernels.{own}" if package else own)
    how, tolerance = {n: _constant(v) for n, v in record.get("specs", {}).items()}, record.get("tolerance", "TOLERANCE")

    def late(pick: Callable[[ModuleType], Any]) -> Late:
        return Late(golden, pick, folder=folder)

    return Stage(
        name=record.get("name", own), title=record.get("title", own), notebook=record.get("notebook"),
        versions=_kernels(kernels, tuple(record["versions"]), folder),
        specs=late(lambda m: _specs(m.specs, how)), reference=late(lambda m: m.reference),
        check=late(lambda m: getattr(m, "check", _anything)), tolerance=late(lambda m: getattr(m, tolerance)),
        compare_fn=late(lambda m: getattr(m, "COMPARE_FN", {})),
        batch=record.get("batch", BATCH if package else None), longest=_constant(record.get("longest", MAX_CTX)),
        small=record.get("small", {}), context=record.get("context", bool(package)),
        tiles={version: _tiles(offered) for version, offered in record["versions"].items()},
        order=record.get("order", math.inf), changes=record.get("changes", {}),
    )  # fmt: skip


def _constant(value: Any) -> Any:
    module, dot, name = value.rpartition(".") if isinstance(value, str) else ("", "", "")
    return getattr(importlib.import_module(module), name) if dot else value


def _anything(_: dict[str, Any]) -> None:
    """A golden that takes all values."""


def _tiles(offered: dict[str, Any]) -> tuple[Knob, ...]:
    out = []
    for name, what in offered.items():
        if isinstance(what, str):  # as a part's version has it
            part, _, constant = name.rpartition(".")
            what = records(_GOLDENS / f"{part}.py")[0]["versions"][what][constant]
        out.append(Knob(name, what[0], tuple(what[1])))
    return tuple(out)


def _specs(specs: Callable[..., list], how: dict[str, Any]) -> Callable[..., list]:
    """`specs` of a golden, which may know nothing of sequences, their lengths, or seeds."""
    takes = inspect.signature(specs).parameters
    if not {"batch", "ctx", "seed"} - takes.keys():
        return partial(specs, **how) if how else specs

    return partial(_those_taken, specs, **how)


def _those_taken(specs: Callable[..., list], **wanted: Any) -> list:
    takes = inspect.signature(specs).parameters
    unknown = [n for n, v in wanted.items() if n not in takes and not _is_default(n, v)]
    if unknown:
        raise InputError(f"{specs.__module__} has specs that do not depend on {', '.join(unknown)}")
    return specs(**{n: v for n, v in wanted.items() if n in takes})


def _is_default(name: str, value: Any) -> bool:
    """It asks for nothing of `specs` but what these do by themselves."""
    return value is None or (name == "seed" and value == 0)


def _of(files: Iterable[Path], package: str) -> dict[str, Stage]:
    made = [_stage(file, record, package) for file in files for record in records(file)]
    return {stage.name: stage for stage in sorted(made, key=lambda s: (s.order, s.name))}


STAGES: dict[str, Stage] = _of(sorted(_GOLDENS.glob("*.py")), "golden.")
"""Every stage of the repository, by name, in the decoder's order."""


def beside() -> dict[str, Stage]:
    """The stages of the working directory: of each NAME_golden.py there that has a STAGE."""
    return _of(sorted(Path.cwd().glob("*_golden.py")), "")


def find(name: str) -> Stage:
    """The stage called `name`, of the repository or of the working directory.

    Raises:
        InputError: there is none; says which there are.
    """
    if name in STAGES:
        return STAGES[name]
    more = beside()
    if name not in more:
        raise InputError(f"unknown stage {name!r}; there are: {', '.join({**STAGES, **more})}")
    return more[name]


def parse_ctx(text: str | None) -> int | list[int] | None:
    """`--ctx` as a number ("4096"), or one for each sequence ("1,128,4096").

    Raises:
        InputError: something in it is not a whole number.
    """
    if text is None:
        return None
    try:
        lengths = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--ctx is {text!r}: must be a whole number, or one for each sequence with commas between"
        ) from None
    return lengths if "," in text else lengths[0]


def run_stage(
    stage: Stage,
    version: str,
    *,
    platform: str = "default",
    batch: int | None = None,
    ctx: int | Sequence[int] | None = None,
    seed: int = 0,
    weights: Checkpoint | None = None,
    options: Mapping[str, Any] | None = None,
    tell: Callable[[int], None] | None = None,
    **how: Any,
) -> RunResult:
    """Run one version of a stage on seeded inputs, of the model's full shapes by default; compare it with the golden.

    Args:
        version: A name in `stage.versions`.
        platform: "default" or one of helpers.platforms.PLATFORMS.
        batch: Sequences, 1 to 16; None: as many as the stage has by default.
        ctx: Tokens of every sequence, or of each; None: the stage's own ragged lengths.
        seed: Same seed, same inputs.
        weights: Where to take the weights from, in place of seeded ones.
        options: Of PyPTO's RunConfig, such as enable_dump_args, and dump_tasks: see `helpers.run.run`.
        tell: Called while the kernel runs, see there.
        how: Other arguments of `stage.specs`, such as widths.

    Returns:
        What golden.run_jit returns: verdict, errors by output, platform, seconds, trace.

    Raises:
        InputError: no such version; batch or ctx out of range; weights that are not this stage's.
        PlatformError: the platform does not exist or does not work here.
        KernelError, FaultError: see helpers.errors.
    """
    import golden.weights
    from golden.runner import run_jit

    if version not in stage.versions:
        raise InputError(f"stage {stage.name} has no version {version!r}; there are: {', '.join(stage.versions)}")
    how = {"batch": stage.batch if batch is None else batch, "ctx": ctx, "seed": seed, **how}
    specs = stage.specs(**how)
    if weights is not None:
        specs = golden.weights.loaded(stage.name, specs, weights)
    result = run_jit(
        stage.versions[version],
        _kept(specs, (_source_of(stage.specs, how), weights and weights.directory)),
        stage.reference,
        runtime_cfg={**(options or {}), "platform": platform},
        rtol=stage.tolerance.rtol,
        atol=stage.tolerance.atol,
        compare_fn=stage.compare_fn,
        check=stage.check,
        quiet=True,
        tell=tell,
    )
    if not result.passed:  # it may have written what it should only read
        forget_inputs()
    return result


_LARGE = 1 << 27  # bytes of an input from which on it is kept for the stage's other versions
_large: dict[tuple, dict[str, torch.Tensor]] = {}  # the large inputs of the last run, by what they depend on


def forget_inputs() -> None:
    """Give back the memory of the large inputs that are kept for the next run of a stage."""
    _large.clear()


def _source_of(specs: Callable[..., list], how: Mapping[str, Any]) -> tuple:
    """What makes a run's specs, to be compared: a function, which is another one once its module is loaded again, and
    what it is given."""
    func, args = specs, ()
    if isinstance(specs, partial):
        func, args, how = specs.func, specs.args, {**specs.keywords, **how}
    return func, args, str(sorted((n, v) for n, v in how.items() if not _is_default(n, v)))


def _kept(specs: list, run_of: tuple) -> list:
    """The specs, with those tensors shared with the next run or trace of the same inputs that are large."""

    def made(spec: Any) -> torch.Tensor:
        if run_of not in _large:
            _large.clear()
            _large[run_of] = {}
        if spec.name not in _large[run_of]:
            _large[run_of][spec.name] = spec.create_tensor()
        return _large[run_of][spec.name]

    return [_shared(spec, partial(made, spec)) if _is_large_input(spec) else spec for spec in specs]


def _shared(spec: Any, made: Callable[[], torch.Tensor]) -> Any:
    return replace(spec, init_value=None, fill=None, shared=made)


def made_once(specs: list) -> list:
    """The specs, for several runs or traces of them: an input of 128 MiB and more is made once, for all that need it.

    It lives as long as the specs that are returned.
    """
    return [_shared(spec, cache(spec.create_tensor)) if _is_large_input(spec) else spec for spec in specs]


def _is_large_input(spec: Any) -> bool:
    from golden.spec import TensorSpec

    if not isinstance(spec, TensorSpec) or spec.is_output:
        return False
    return math.prod(spec.shape) * spec.dtype.itemsize >= _LARGE


def trace_stage(stage: Stage, version: str, *, chip: str = "a2a3", batch: int | None = None, **how: Any) -> Trace:
    """What a version of a stage would do at full shapes, without its arithmetic: no numbers, and no time to speak of.

    Tensors of 1 MiB and more have no memory. `batch` is as in `run_stage`, `how` what else `stage.specs` takes.
    """
    how = {"batch": stage.batch if batch is None else batch, **how}
    specs = _kept(stage.specs(**how), (_source_of(stage.specs, how), None))
    return trace_kernel(stage.versions[version], specs, chip=chip)


def trace_kernel(kernel: Any, specs: list, *, chip: str = "a2a3") -> Trace:
    """The same for any kernel, with arguments as `specs` say: TensorSpecs and ScalarSpecs, in parameter order."""

    import torch

    from golden.spec import TensorSpec
    from helpers.run import run

    def value(spec: Any) -> Any:
        if not isinstance(spec, TensorSpec):
            return spec.to_python()
        if math.prod(spec.shape) * spec.dtype.itemsize < 2**20:
            return spec.create_tensor()
        return torch.empty(spec.shape, dtype=spec.dtype, device="meta")

    values = {spec.name: value(spec) for spec in specs}
    make = {spec.name: spec.create_tensor for spec in specs if isinstance(spec, TensorSpec)}
    return run(kernel, values, platform=f"{chip}interp", dry=True, make=make).trace


def trace_settled(kernel: Any, specs: list, *, chip: str = "a2a3") -> Trace:
    """The same, also for a kernel that goes by more than can be computed at once: that one is run."""
    from golden.spec import values_of
    from helpers.run import run

    trace = trace_kernel(kernel, specs, chip=chip)
    if not trace.partial:
        return trace
    values = values_of(specs)
    return run(kernel, values, platform=f"{chip}interp").trace
