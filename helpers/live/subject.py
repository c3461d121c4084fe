"""What is developed: a version of a stage, or a kernel of a file with specs and a golden of its own."""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.errors import InputError
from helpers.file_stages import named, run_jit_calls

SMALL = 1 << 22  # bytes of tensors with which a file's own specs count as small


@dataclass(frozen=True)
class Subject:
    """What is watched and run.

    Attributes:
        text: As it was typed: "mlp.mixed", "my_kernel.py:fused".
        chip: The chip that interpret mode models.
        stage, version: A version of a stage; the last one where none was named.
        file, kernel: Or a kernel of a file; "" for the one that the file itself runs.
        specs, reference, rtol, atol: What a notebook says of a file's kernel, in place of what the file says.
    """

    text: str
    chip: str
    stage: str = ""
    version: str = ""
    file: str = ""
    kernel: str = ""
    specs: Any = None
    reference: Any = None
    rtol: float = 1e-5
    atol: float = 1e-5

    @property
    def name(self) -> str:
        """A name for its files: "mlp.mixed", "my_kernel.fused"."""
        if self.stage:
            return f"{self.stage}.{self.version}"
        return ".".join(filter(None, (Path(self.file).stem, self.kernel)))

    def golden_digest(self, file: str) -> str:
        """A digest of what a file gives to the golden's side, which runs share and do not import again.

        That is all of it, kernels too, but for the subject's own file: every run runs that one again. "" for no file.
        """
        return outside_kernels(file) if file == self.file else _digest(file, lambda node: True)


@dataclass(frozen=True)
class Given:
    """What a run is given: its specs by size, and what its outputs are compared with.

    `sizes` has "small", where there is a smaller legal shape than the full one, and "full", in this order.
    """

    sizes: dict[str, list]
    reference: Callable[[dict[str, Any]], Any] | None
    rtol: float
    atol: float
    compare_fn: Mapping[str, Callable] = field(default_factory=dict)
    check: Callable[[dict[str, Any]], Any] | None = None


def parse(text: str, chip: str = "a2a3", **given: Any) -> Subject:
    """The subject that "STAGE", "STAGE.VERSION", "FILE.py" or "FILE.py:KERNEL" names.

    Args:
        given: specs, reference, rtol, atol of a file's kernel, see Subject.

    Raises:
        InputError: no such stage, version, file or chip.
    """
    from helpers.stages import find

    if chip not in ("a2a3", "a5"):
        raise InputError(f"chip is {chip!r}: must be a2a3 or a5")
    path, _, kernel = text.partition(":")
    if path.endswith(".py"):
        if not Path(path).is_file():
            raise InputError(f"there is no file {path}")
        return Subject(text, chip, file=os.path.abspath(path), kernel=kernel, **given)
    if given.get("specs") is not None or given.get("reference") is not None:
        raise InputError(f"{text} is a stage, which has specs and a golden; leave specs= and reference= out")
    name, _, version = text.partition(".")
    stage = find(name)
    version = version or list(stage.versions)[-1]
    if version not in stage.versions:
        raise InputError(f"stage {name} has no version {version!r}; there are: {', '.join(stage.versions)}")
    return Subject(text, chip, stage=name, version=version)


def load_given(subject: Subject) -> Given:
    """Import what the subject's runs are given, and nothing of a stage's kernels.

    Raises:
        InputError: the file says nothing of specs.
        Exception: what the files raise that are imported.
    """
    if subject.stage:
        from helpers.stages import find

        stage = find(subject.stage)
        sizes = {"small": stage.specs(**stage.small), "full": stage.specs(batch=stage.batch)}
        return Given(
            sizes, stage.reference, stage.tolerance.rtol, stage.tolerance.atol, stage.compare_fn, stage.check
        )  # fmt: skip
    call = _call(subject)
    return Given(_sizes(call), call["golden_fn"], call["rtol"], call["atol"], call["compare_fn"] or {})


def load_kernel(subject: Subject) -> Any:
    """Import the kernel as its file is now.

    Raises:
        InputError: the file has no such kernel.
        Exception: what the files raise that are imported.
    """
    if subject.stage:
        from helpers.stages import find

        versions = find(subject.stage).versions
        if subject.version not in versions:
            raise InputError(f"stage {subject.stage} has no version {subject.version!r} any more")
        return versions[subject.version]
    return _call(subject)["fn"]


def _call(subject: Subject) -> dict[str, Any]:
    """The subject's run as its file describes it: what it would hand to golden.run_jit."""
    calls, names = run_jit_calls(Path(subject.file))
    if subject.specs is not None:
        specs = subject.specs() if callable(subject.specs) else subject.specs
        fn = _kernel(subject, names)
        return {
            "fn": fn, "specs": list(specs), "golden_fn": subject.reference, "rtol": subject.rtol, "atol": subject.atol,
            "compare_fn": None,
        }  # fmt: skip
    matching = [c for c in calls if not subject.kernel or named(c["fn"]) == subject.kernel]
    if matching:
        return matching[0]
    if subject.kernel:
        _kernel(subject, names)
    known = ", ".join(dict.fromkeys(named(c["fn"]) for c in calls)) or "none"
    raise InputError(
        f"{subject.text}: the file runs no such kernel (it runs {known}), so its specs and golden are not known; call\n"
        f"  golden.run_jit({subject.kernel or 'kernel'}, specs, golden_fn)  under  if __name__ == '__main__':"
    )


def _kernel(subject: Subject, names: dict[str, Any]) -> Any:
    from helpers.interpret.language.decorated import unwrap

    kernels = {n: v for n, v in names.items() if unwrap(v) is not None}
    if subject.kernel in kernels:
        return kernels[subject.kernel]
    if not subject.kernel and len(kernels) == 1:
        return next(iter(kernels.values()))
    raise InputError(f"{subject.file} has no kernel {subject.kernel!r}; it has: {', '.join(kernels) or 'none'}")


def _sizes(call: dict[str, Any]) -> dict[str, list]:
    """The file's specs, and before them the same at the smallest extents of its dynamic dimensions."""
    import math

    from golden.spec import TensorSpec
    from helpers.interpret.lowering.lower import compile_kernel
    from helpers.sanitize.cases import by_resizing

    specs = call["specs"]
    full = {"full": specs}
    if sum(math.prod(s.shape) * s.dtype.itemsize for s in specs if isinstance(s, TensorSpec)) <= SMALL:
        return full
    try:
        space = by_resizing(compile_kernel(call["fn"]), specs, None, {})
    except Exception:  # a kernel with a mistake is run, and said to have one, at its full shape
        return full
    if not space.axes:
        return full
    return {"small": space.build({a.name: a.sizes[0] for a in space.axes}), **full}


def user_files() -> dict[str, str]:
    """Files of the modules that are loaded and were written here: module name -> file. Not the environment's."""
    out = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and file.endswith(".py") and not installed(file):
            out[name] = os.path.abspath(file)
    return out


def installed(file: str) -> bool:
    """True for a file of Python or of an installed package."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    return "site-packages" in file or "dist-packages" in file or any(file.startswith(f + os.sep) for f in folders)


def outside_kernels(file: str) -> str:
    """A digest of what a file says beside its kernels: what inputs and goldens can depend on. "" for no such file."""
    return _digest(file, lambda node: not _is_kernel(node))


def _digest(file: str, counts: Callable[[ast.stmt], bool]) -> str:
    """Of the statements of a file that count; comments never do."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""
    tree.body = [n for n in tree.body if counts(n)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_kernel(node: ast.stmt) -> bool:
    def root(e: ast.expr) -> str:
        while isinstance(e, (ast.Attribute, ast.Call)):
            e = e.value if isinstance(e, ast.Attribute) else e.func
        return e.id if isinstance(e, ast.Name) else ""

    return isinstance(node, (ast.FunctionDef, ast.ClassDef)) and any(root(d) == "pl" for d in node.decorator_list)
