"""Tile sizes as parameters: a kernel with other constants, and which values of those that a stage offers fit."""

from __future__ import annotations

import ast
import os
import sys
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import Any

from helpers.errors import InputError, KernelError, WorkbookError
from helpers.interpret.language.decorated import bounds, unwrap
from helpers.interpret.source import texts
from helpers.interpret.source.texts import FileText
from helpers.interpret.trace.trace import Trace
from helpers.stages import Knob, Stage, find, trace_stage
from kernels.qwen3 import BATCH


def knobs(stage: str, version: str) -> tuple[Knob, ...]:
    """What can be changed of a version; () where nothing can."""
    return find(stage).tiles.get(version, ())


def constants(kernel: Any, names: tuple[str, ...]) -> dict[str, int]:
    """The values that constants have: of a kernel's module, or, written "mlp.WIDE_N", of one whose parts it uses.

    Raises:
        KernelError: it is no kernel of a module.
        InputError: there is no such constant.
    """
    own, loaded = _module(kernel), _texts(kernel)
    out = {}
    for module, values in _by_module(own, loaded, dict.fromkeys(names, 0)).items():
        found = texts.of(unwrap(kernel)[0]).names() if module == own.__name__ else vars(sys.modules[module])
        for constant, name in values:
            if constant not in found:
                raise InputError(f"{module} has no constant {constant}")
            out[name] = found[constant]
    return {n: out[n] for n in names}


def tuned(kernel: Any, stages: int | None = None, **values: int) -> Any:
    """The kernel with other values for constants; what is computed from them follows.

    With `stages`, the loops of its InCore regions that load from global memory are `pl.pipeline(stage=stages)`, or, at
    1, plain `pl.range`: those of its own module, and of modules whose parts it uses.

    A constant is one of the kernel's module, or, written "mlp.WIDE_N", one of a module of kernels/ whose parts it uses,
    directly or through others. The kernel itself and all modules stay as they are. It is made of the text that the
    kernel is bound to, whose line numbers it has.

    Raises:
        KernelError: it is no kernel of a module.
        InputError: there is no such constant.
    """
    module, loaded = _module(kernel), _texts(kernel)
    wanted = {
        name: {constant: values[given] for constant, given in names}
        for name, names in _by_module(module, loaded, values).items()
    }
    if stages is not None:
        wanted = {name: wanted.get(name, {}) for name in (module.__name__, *_parts(module, loaded))}
    return getattr(_copy(module, loaded, wanted, {}, stages), unwrap(kernel)[0].__name__)


def _texts(kernel: Any) -> dict[str, FileText]:
    """The files that a kernel depends on, by path, as they were when it was decorated."""
    return texts.files(bounds(kernel))


def _text(module: ModuleType, loaded: dict[str, FileText]) -> FileText:
    text = loaded.get(os.path.abspath(module.__file__)) or texts.read(module.__file__)
    if text is None:
        raise InputError(f"the source of {module.__name__} is not there: {module.__file__}")
    return text


def _by_module(
    module: ModuleType, loaded: dict[str, FileText], values: dict[str, int]
) -> dict[str, list[tuple[str, str]]]:
    """(constant, name as given) by the module that has it."""
    known = {name.rpartition(".")[2]: name for name in _parts(module, loaded)}
    out: dict[str, list[tuple[str, str]]] = {}
    for given in values:
        part, _, constant = given.rpartition(".")
        if part and part not in known:
            raise InputError(f"{module.__name__} uses nothing of a module {part}")
        out.setdefault(known[part] if part else module.__name__, []).append((constant, given))
    return out


def _parts(module: ModuleType, loaded: dict[str, FileText]) -> dict[str, None]:
    """The modules of kernels/ that a module takes names from, and those that these do."""
    out: dict[str, None] = {}
    for name in _taken_from("".join(_text(module, loaded).lines)):
        out |= {name: None} | _parts(sys.modules[name], loaded)
    return out


@lru_cache(maxsize=64)
def _taken_from(code: str) -> tuple[str, ...]:
    """The modules of kernels/ that the text of a module takes names from."""
    body = ast.parse(code).body
    return tuple(str(n.module) for n in body if isinstance(n, ast.ImportFrom) and str(n.module).startswith("kernels."))


def _copy(
    module: ModuleType,
    loaded: dict[str, FileText],
    wanted: dict[str, dict[str, int]],
    done: dict[str, ModuleType],
    stages: int | None = None,
) -> ModuleType:
    """The module with other constants, and with copies of those that it takes names from, where they change."""
    if module.__name__ in done:
        return done[module.__name__]
    if not wanted.keys() & {module.__name__, *_parts(module, loaded)}:
        return module
    copy = done[module.__name__] = ModuleType(module.__name__)
    copy.__file__ = module.__file__
    text = _text(module, loaded)
    tree = ast.parse("".join(text.lines), text.file)
    if stages is not None:
        text = texts.of_code(text.file, _staged("".join(text.lines), tree, stages))
        tree = ast.parse("".join(text.lines), text.file)
    left = dict(wanted.get(module.__name__, {}))
    body = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("kernels."):
            part = _copy(sys.modules[node.module], loaded, wanted, done, stages)
            vars(copy).update({a.asname or a.name: getattr(part, a.name) for a in node.names})
            continue
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in left:
                node.value = ast.copy_location(ast.Constant(left.pop(name)), node.value)
        body.append(node)
    if left:
        raise InputError(f"{module.__name__} has no constant {', '.join(left)}")
    tree.body = body
    texts.execute(text, vars(copy), tree)
    return copy


def _staged(code: str, tree: ast.Module, stages: int) -> str:
    """The text with other loops around loads: `pl.range` and `pl.pipeline` in turn."""
    rows = code.splitlines(keepends=True)
    edits = []
    for inside in ast.walk(tree):
        if not _is_region(inside):
            continue
        for loop in (n for s in inside.body for n in ast.walk(s)):
            call = loop.iter if isinstance(loop, ast.For) else None
            what = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
            loads = any(isinstance(n, ast.Call) and ast.unparse(n.func) in _LOADS for n in ast.walk(loop))
            if what in ("pl.range", "pl.pipeline") and loads and call.lineno == call.end_lineno:
                bounds = [ast.unparse(a) for a in call.args]
                bounds += [f"{k.arg}={ast.unparse(k.value)}" for k in call.keywords if k.arg != "stage"]
                new = f"pl.pipeline({', '.join([*bounds, f'stage={stages}'])})" if stages > 1 else ""
                edits.append((call, new or f"pl.range({', '.join(bounds)})"))
    for call, new in sorted(set(edits), key=lambda e: (e[0].lineno, e[0].col_offset), reverse=True):
        row = rows[call.lineno - 1].encode()
        rows[call.lineno - 1] = (row[: call.col_offset] + new.encode() + row[call.end_col_offset :]).decode()
    return "".join(rows)


_LOADS = ("pl.slice", "pl.load")


def _is_region(node: ast.AST) -> bool:
    """True for what holds an InCore region: `with pl.at(...)`, `for block in pl.spmd(...)`."""
    calls = [node.iter] if isinstance(node, ast.For) else []
    calls += [i.context_expr for i in node.items] if isinstance(node, ast.With) else []
    return any(isinstance(c, ast.Call) and ast.unparse(c.func) in ("pl.at", "pl.spmd") for c in calls)


def tuned_stage(stage: Stage, version: str, stages: int | None = None, **values: int) -> Stage:
    """The stage with a version whose constants, or whose loops' `stages`, are others; without any the stage itself."""
    if not values and stages is None:
        return stage
    return replace(stage, versions={**stage.versions, version: tuned(stage.versions[version], stages, **values)})


def attempt(
    stage: Stage, version: str, *, chip: str, batch: int | None = BATCH, ctx: int | None = None, **values: int
) -> Trace | WorkbookError:
    """The trace of a version with other constants, or what stands against them: on-chip memory, as a rule.

    It runs nothing, see `helpers.stages.trace_stage`.
    """
    try:
        return trace_stage(tuned_stage(stage, version, **values), version, chip=chip, batch=batch, ctx=ctx)
    except WorkbookError as error:
        return error


def _module(kernel: Any) -> ModuleType:
    found = unwrap(kernel)
    if found is None:
        raise KernelError(f"{kernel!r} is not a kernel: decorate the function with @pl.jit")
    module = sys.modules.get(found[0].__module__)
    if getattr(module, "__file__", None) is None or "<locals>" in found[0].__qualname__:
        raise KernelError(
            f"kernel '{found[0].__name__}' is not at the top of an imported module: put it into a file, with its tile "
            "sizes as constants, and import it from there"
        )
    return module
