"""Kernels of a file of one's own as stages: with the specs and the golden that the file hands to `golden.run_jit`.

So what takes a stage takes FILE.py and FILE.py:KERNEL too.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import InputError

if TYPE_CHECKING:
    from helpers.stages import Stage


def split(text: str) -> tuple[Path | None, str | None]:
    """The file and the kernel of "FILE.py:KERNEL"; None for no kernel, and for a text that names no file.

    Raises:
        InputError: there is no such file.
    """
    path, _, kernel = text.partition(":")
    if not path.endswith(".py"):
        return None, None
    if not Path(path).is_file():
        raise InputError(f"there is no file {path}")
    return Path(path), kernel or None


def found(text: str) -> list[Stage]:
    """The stages that "STAGE", "FILE.py" or "FILE.py:KERNEL" names: of a file one for each run, of a single version.

    Raises:
        InputError: no such stage or file; the file runs no such kernel, or ends with an exception of its own.
        KernelError: a kernel of the file is not in the language.
    """
    from golden.compare import Tolerance
    from helpers.interpret.pypto.script import told_at_its_line
    from helpers.stages import Stage, find

    file, kernel = split(text)
    if file is None:
        return [find(text)]
    path = str(file)
    with told_at_its_line(file):
        calls, _ = run_jit_calls(file)
    known = [named(c["fn"]) for c in calls]
    chosen = [c for c in calls if not kernel or named(c["fn"]) == kernel]
    if not chosen:
        raise InputError(
            f"{text}: the file runs {', '.join(dict.fromkeys(known)) or 'no kernel'}. It has to call\n"
            f"  golden.run_jit({kernel or 'kernel'}, specs, golden_fn)  under  if __name__ == '__main__':"
        )
    return [
        Stage(
            name=file.stem, title=path, notebook=None, versions={named(c["fn"]): c["fn"]}, specs=_specs(path, c),
            reference=c["golden_fn"], check=lambda values: None,
            tolerance=Tolerance(c["rtol"], c["atol"], f"rtol {c['rtol']:.2g}, atol {c['atol']:.2g}"),
            compare_fn=c["compare_fn"] or {}, batch=None, context=False,
        )
        for c in chosen
    ]  # fmt: skip


def having(stages: list[Stage], version: str | None) -> list[Stage]:
    """Those that have the version; all where none is asked for.

    Raises:
        InputError: none has it.
    """
    kept = [one for one in stages if version is None or version in one.versions]
    if not kept:
        names = dict.fromkeys(name for one in stages for name in one.versions)
        raise InputError(f"stage {stages[0].name} has no version {version!r}; there are: {', '.join(names)}")
    return kept


def _specs(path: str, call: dict[str, Any]) -> Callable[..., list]:
    def specs(**how: Any) -> list:
        """The file's own; it has no sequences, lengths or seeds to choose.

        Raises:
            InputError: something was chosen.
        """
        chosen = [n for n, v in how.items() if v is not None and not (n == "seed" and v == 0)]
        if chosen:
            raise InputError(f"{path} has specs of its own, which do not depend on {', '.join(chosen)}")
        return call["specs"]

    return specs


def named(kernel: Any) -> str:
    """A kernel's name."""
    return getattr(kernel, "__name__", "")


def run_jit_calls(file: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What a file, run as a script, hands to golden.run_jit, and its names; no kernel runs."""
    import golden
    from golden.runner import RunResult
    from helpers.interpret.pypto import language

    language.install()
    calls: list[dict[str, Any]] = []
    usual = {"golden_fn": None, "rtol": 1e-5, "atol": 1e-5, "compare_fn": None}

    def recorded(fn: Any = None, specs: Any = None, golden_fn: Any = None, *_: Any, **options: Any) -> RunResult:
        fn = options.get("program", fn)
        known = {n: v for n, v in options.items() if n in usual}
        calls.append({**usual, "fn": fn, "specs": list(specs or ()), "golden_fn": golden_fn, **known})
        return RunResult(passed=True)

    before = golden.run_jit, golden.run, sys.argv, sys.path[:]
    golden.run_jit = golden.run = recorded
    sys.argv = [str(file)]
    sys.path.insert(0, str(file.resolve().parent))
    names: dict[str, Any] = {}
    try:
        names = runpy.run_path(str(file), run_name="__main__")
    except SystemExit:
        pass
    finally:
        golden.run_jit, golden.run, sys.argv, sys.path[:] = before
    return calls, names
