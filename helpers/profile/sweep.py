"""Trying tile sizes: `sweep(kernel, grid)` predicts a kernel's time for every combination of its constants.

What is varied are constants of the kernel's module, as `helpers.tuning.tuned` does it: a kernel for a sweep is any
kernel whose tile sizes are named at the top of its file. A combination that does not fit the chip's buffers, or that
the language refuses, is not predicted and says why. The best are run against the golden.

Combinations are worked on by processes of this machine, or by a dask.distributed cluster. With a cache, each result is
kept as soon as it is there, so that a sweep that was interrupted goes on where it was.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
from tqdm import tqdm

from golden import run_jit
from helpers import chips, stages
from helpers.errors import InputError, WorkbookError
from helpers.files import whole
from helpers.interpret.language.decorated import digest, unwrap
from helpers.interpret.source.texts import again
from helpers.profile.profile import profile
from helpers.stages import Stage
from helpers.tuning import constants, tuned

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Point:
    """One combination of constants.

    Attributes:
        values: The constants.
        us: Predicted microseconds; None where it is not legal.
        tasks: How many tasks it has.
        why: What stands against it; "" when nothing does.
        max_abs: Largest absolute error against the golden; None when it was not run.
        passed: The golden's verdict; None when it was not run.
    """

    values: dict[str, int]
    us: float | None = None
    tasks: int | None = None
    why: str = ""
    max_abs: float | None = None
    passed: bool | None = None


def sweep(
    kernel: Any,
    grid: Mapping[str, Sequence[int]],
    *,
    chip: str = "a2a3",
    batch: int | None = None,
    best: int = 1,
    specs: Callable[[], list] | None = None,
    reference: Callable[[dict[str, Any]], None] | None = None,
    jobs: int = -1,
    client: Client | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> list[Point]:
    """Predict a kernel's time for every combination of values in `grid`, and run the best of them.

    Args:
        kernel: A version of a stage; or any kernel of an importable module, with `specs`.
        grid: For each constant of the kernel's module the values to try.
        chip: "a2a3" or "a5".
        batch: Sequences of a stage; None: the stage's own.
        best: How many of the fastest legal combinations are run against the golden.
        specs: Gives the TensorSpecs and ScalarSpecs of a run; None: those of the kernel's stage.
        reference: Writes the golden; None: the stage's.
        jobs: Processes, as joblib counts them: -1 is one for each core.
        client: A dask.distributed client; then its workers do the work, and need this repository, too.
        cache: A JSON file of results, made when there is none; written to a temporary name and renamed.
        progress: Show a bar.

    Returns:
        All combinations: the legal ones first, fastest first.

    Raises:
        InputError: no such constant or chip; neither a version of a stage nor `specs`.
    """
    if chip not in chips.NAMES:
        raise InputError(f"chip is {chip!r}: must be {' or '.join(chips.NAMES)}")
    stage = _stage_of(kernel)
    if specs is None:
        if stage is None:
            raise InputError("the kernel is no version of a stage: pass specs=, what gives its arguments' specs")
        specs = partial(stage.specs, batch=stage.batch if batch is None else batch)
    before = constants(kernel, tuple(grid))
    fn, text = unwrap(kernel)[0], digest(kernel)
    if fn.__module__ == "__main__":
        raise InputError(f"kernel '{fn.__name__}' is of this script or notebook: put it into a file and import it")
    if getattr(sys.modules.get(fn.__module__), fn.__name__, None) is not kernel:
        raise InputError(
            f"kernel '{fn.__name__}' is not the one that {fn.__module__} has: it has other tile sizes, or the module "
            "was loaded again since. Pass the module's"
        )
    if not grid or any(len(values) == 0 for values in grid.values()):
        raise InputError(f"the grid {dict(grid)} has a constant without values, or none; {before}")
    points = [dict(zip(grid, values)) for values in itertools.product(*grid.values())]
    known = _read(cache)
    keys = [_key(fn, text, values, chip, specs) for values in points]
    results = {k: Point(**known[k]) for k in keys if k in known}
    missing = [i for i, k in enumerate(keys) if k not in results]
    todo = [(fn.__module__, fn.__name__, text, points[i], chip, specs) for i in missing]
    bar = tqdm(total=len(points), initial=len(results), desc="sweep", unit="kernel", disable=not progress)
    with bar:
        for i, point in _work(todo, jobs, client):
            results[keys[missing[i]]] = point
            _write(cache, known, keys[missing[i]], point)
            bar.update()
    order = sorted(keys, key=lambda k: (results[k].us is None, results[k].us or 0.0))
    reference = reference or (stage.reference if stage is not None else None)
    if reference is not None:
        for k in [k for k in order if results[k].us is not None][:best]:
            if results[k].passed is None:
                results[k] = _checked(kernel, results[k], chip, specs, reference, stage)
                _write(cache, known, k, results[k])
    return [results[k] for k in order]


def predict(module: str, name: str, text: str, values: dict[str, int], chip: str, specs: Callable[[], list]) -> Point:
    """One combination, in whatever process: its predicted time, or what stands against it.

    Args:
        text: The digest of the kernel's text. A process that has another one loads the files again.

    Raises:
        InputError: the files have another text, too.
    """
    kernel = _with_text(module, name, text)
    try:
        changed = tuned(kernel, **values)
        trace = stages.trace_settled(changed, specs(), chip=chip)
        predicted = profile(trace, chips.chip(chip))
    except WorkbookError as error:
        return Point(values, why=str(error))
    return Point(values, predicted.makespan, len(predicted.tasks))


def _with_text(module: str, name: str, text: str) -> Any:
    kernel = getattr(importlib.import_module(module), name, None)
    if kernel is None or digest(kernel) != text:
        try:
            again(sys.modules[module])
        except Exception as e:  # the module's own
            raise InputError(f"{module} cannot be loaded again: {type(e).__name__}: {e}") from None
        kernel = getattr(sys.modules[module], name, None)
    if kernel is None or digest(kernel) != text:
        raise InputError(
            f"the files of kernel '{name}' have changed since {module} was imported: import it again "
            "(importlib.reload, or a new process), and sweep what it then has"
        )
    return kernel


def _stage_of(kernel: Any) -> Stage | None:
    """The stage that the kernel is a version of."""
    return next((s for s in stages.STAGES.values() if any(v is kernel for v in s.versions.values())), None)


def _work(todo: list[tuple], jobs: int, client: Client | None) -> Iterator[tuple[int, Point]]:
    """(number, point) of each piece of work, as they are done."""
    if client is not None:
        from distributed import as_completed

        futures = {client.submit(predict, *args, pure=False): i for i, args in enumerate(todo)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            client.cancel(list(futures))
        return
    numbered = (joblib.delayed(_numbered)(i, args) for i, args in enumerate(todo))
    yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(numbered)


def _numbered(i: int, args: tuple) -> tuple[int, Point]:
    return i, predict(*args)


def _checked(
    kernel: Any, point: Point, chip: str, specs: Callable[[], list], reference: Callable, stage: Stage | None
) -> Point:
    """The point with its errors against the golden."""
    limits = {} if stage is None else {"rtol": stage.tolerance.rtol, "atol": stage.tolerance.atol}
    more = {} if stage is None else {"compare_fn": stage.compare_fn, "check": stage.check}
    changed = tuned(kernel, **point.values)
    platform = {"platform": f"{chip}interp"}
    result = run_jit(changed, specs(), reference, runtime_cfg=platform, quiet=True, **limits, **more)
    return replace(point, max_abs=result.max_abs, passed=result.passed)


# ---- the cache


def _key(fn: Any, text: str, values: dict[str, int], chip: str, specs: Callable[[], list]) -> str:
    """A result is the same as long as the text of the kernel and of all it takes from other files, its constants, its
    arguments and the chip data are."""
    arguments = [(s.name, getattr(s, "shape", None), str(s.dtype)) for s in specs()]
    facts = Path(chips.__file__).with_name("chips.toml").read_bytes()
    what = json.dumps([fn.__module__, fn.__name__, sorted(values.items()), chip, arguments], default=str).encode()
    return hashlib.sha256(b"\0".join((text.encode(), facts, what))).hexdigest()


def _read(cache: Path | None) -> dict[str, dict]:
    if cache is None or not cache.exists():
        return {}
    try:
        known = json.loads(cache.read_text())
        return {k: v for k, v in known.items() if set(v) <= set(Point.__dataclass_fields__)}
    except (ValueError, AttributeError, TypeError) as e:
        raise InputError(f"{cache} is no cache of a sweep ({e}): remove it, or name another file") from None


def _write(cache: Path | None, known: dict[str, dict], key: str, point: Point) -> None:
    if cache is None:
        return
    known[key] = asdict(point)
    with whole(cache) as file:
        json.dump(known, file, indent=0)
