"""What is done before a save comes: the modules that it will not change are imported, and their kernels compiled.

A process is forked for it, which becomes the run of the next save if none of the files that it has imported has changed
by then. If one has, it is thrown away, and the save runs in a process that has imported nothing of it. So a run never
meets a module of an earlier text; what is left out of the import here only decides how often that work is of use.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from helpers.errors import WorkbookError
from helpers.live import history
from helpers.live.subject import user_files


@dataclass(frozen=True)
class Loaded:
    """What the run of a save has imported.

    Attributes:
        modules: Module name -> file, those imported first before those that import them.
        digests: File -> digest of its text.
        compiled: Kernels that were compiled: module, name, plane.
        own: The file of the kernel itself.
    """

    modules: dict[str, str]
    digests: dict[str, str]
    compiled: tuple[tuple[str, str, str], ...]
    own: str

    def differing(self, earlier: Loaded | None) -> set[str]:
        """Files that a developer works on: the kernel's own, and those that differ from an earlier run's."""
        old = earlier.digests if earlier else {}
        return {self.own} | {f for f, digest in self.digests.items() if old.get(f, digest) != digest}


def loaded(kernel: Any, before: Collection[str]) -> Loaded:
    """What this process has imported for a kernel that it has run; `before`: modules that were there already."""
    from helpers.interpret.language.decorated import unwrap
    from helpers.interpret.lowering.lower import compiled_kernels

    found = unwrap(kernel)
    own = found[0].__code__.co_filename if found else ""
    modules = {name: file for name, file in user_files().items() if name not in before and name != "__main__"}
    depth = _depths(modules)
    ordered = {name: modules[name] for name in sorted(modules, key=depth.__getitem__)}
    keys = tuple((fn.__module__, fn.__name__, plane) for fn, plane in compiled_kernels())
    return Loaded(ordered, {f: digest(f) for f in {*modules.values(), own} if f}, keys, own)


def prepare(last: Loaded, edited: Collection[str]) -> dict[str, str] | None:
    """Import what the last run had imported and does not depend on the edited files, and compile its kernels.

    Returns:
        File -> digest of its text, of all that is imported here; None if it cannot be used.
    """
    changing = _dependents(last.modules, edited)
    wanted = [name for name in last.modules if name not in changing]
    digests = {last.modules[name]: digest(last.modules[name]) for name in wanted}
    there = set(user_files())
    for name in wanted:
        importlib.import_module(name)
    imported = {file for name, file in user_files().items() if name not in there}
    if imported - set(digests):  # one imports what is not seen in its text
        return None
    _compile(last, set(user_files()))
    return digests


def _compile(last: Loaded, names: Collection[str]) -> None:
    from helpers.interpret.language.decorated import unwrap
    from helpers.interpret.lowering.lower import compile_kernel

    for module, name, plane in last.compiled:
        kernel = getattr(sys.modules[module], name, None) if module in names else None
        if kernel is not None and unwrap(kernel) is not None:
            try:
                compile_kernel(kernel, plane)
            except WorkbookError:  # the run will say it, if it uses this kernel
                continue


def fits(digests: Mapping[str, str]) -> bool:
    """True while every file still has the text of its digest."""
    return all(digest(file) == was for file, was in digests.items())


def digest(file: str) -> str:
    """The digest of a file's text; "" when it is not there."""
    try:
        with open(file, "rb") as f:
            return history.digest(f.read())
    except OSError:
        return ""


def _imports(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Which of the modules each of them names in its import statements."""
    out = {}
    for name, file in modules.items():
        try:
            with open(file, "rb") as f:
                tree = ast.parse(f.read())
        except (OSError, SyntaxError, ValueError):
            out[name] = set()
            continue
        package = name if file.endswith("__init__.py") else name.rpartition(".")[0]
        named: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                named |= {a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                base = ".".join([*parts, *([node.module] if node.module else [])])
                named |= {base, *(f"{base}.{a.name}" for a in node.names)}
        parents = {n.rpartition(".")[0] for n in named}
        out[name] = {n for n in named | parents if n in modules and n != name}
    return out


def _depths(modules: Mapping[str, str]) -> dict[str, int]:
    """How many modules deep each one imports; modules that import each other count as they are met."""
    imports, depth = _imports(modules), {}

    def of(name: str) -> int:
        if name not in depth:
            depth[name] = 0
            depth[name] = 1 + max(map(of, imports[name]), default=0)
        return depth[name]

    return {name: of(name) for name in modules}


def _dependents(modules: Mapping[str, str], files: Collection[str]) -> set[str]:
    """The modules of these files, and those that import them, and so on."""
    imports = _imports(modules)
    out = {name for name, file in modules.items() if file in files}
    while more := {name for name, named in imports.items() if named & out} - out:
        out |= more
    return out
